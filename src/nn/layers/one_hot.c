/*
 * one_hot.c
 *	  one_hot: a number for every category, of which one is on.
 *
 *		y[first[c] + l] = on where x[c] = l, else off
 *
 * on and off are 1 and 0, or with scale = robust what 1 and 0 become when each
 * output is scaled like a number (Holzmueller et al., 2024, arXiv 2407.04491):
 * the median is subtracted, the result is divided by the distance of the
 * quartiles (or half the range where that is zero), and smoothly clipped to
 * -3 .. 3.  A code that is no category gives all off.
 */
#include <math.h>
#include <stddef.h>

#include "codes.h"

typedef struct conf
{
	int scale, input_dim;
	nn_codes codes;
} conf;

enum
{
	SCALE_NONE,
	SCALE_ROBUST
};

enum
{
	ON,
	OFF
};

static const char *const scales[] = {"none", "robust", NULL};

static const nn_option options[] = {
	{.name = "scale",
	 .type = NN_OPT_CHOICE,
	 .offset = offsetof(conf, scale),
	 .initial = SCALE_NONE,
	 .choices = scales,
	 .help = "Whether each output is scaled like a number."},
	{.name = "num_tokens",
	 .type = NN_OPT_INT,
	 .offset = offsetof(conf, input_dim),
	 .initial = 0,
	 .min = 0,
	 .max = NN_MAX_UNITS,
	 .alias = "num_classes",
	 .help = "Number of categories; 0 for those of the column itself."},
	{.name = NULL}};

static bool
infer(nn_layer *l, nn_arena *arena, nn_error *err)
{
	conf *c = l->conf;
	nn_param *on, *off;
	nn_shape shape;

	if (!nn_codes_infer(&c->codes, l, c->input_dim, arena, err))
		return false;
	shape = l->out.shape = (nn_shape){1, {c->codes.total}};
	on = nn_layer_param(l, arena, "on", shape, NULL, "ones", err);
	off =
		on ? nn_layer_param(l, arena, "off", shape, NULL, "zeros", err) : NULL;
	if (off == NULL)
		return false;
	on->trainable = off->trainable = false;
	return true;
}

/* Quantile q of n numbers, of which the greatest k are 1 and others 0. */
static double
quantile(double n, double k, double q)
{
	double at = q * (n - 1) - (n - k - 1); /* places past the last zero */

	return fmin(fmax(at, 0), 1);
}

static double
clip(double x)
{
	return x / sqrt(1 + x * x / 9);
}

static bool
fit(nn_layer *l, nn_arena *arena, int rows, uint64_t seed, nn_error *err)
{
	const conf *c = l->conf;
	const nn_codes *codes = &c->codes;
	nn_real *on = l->param[ON].data, *off = l->param[OFF].data;
	double *seen;

	(void) seed;
	if (c->scale == SCALE_NONE)
		return true;
	seen = nn_alloc_array(arena, (size_t) codes->total, sizeof(double), err);
	if (seen == NULL)
		return false;
	for (int i = 0; i < rows; i++)
		for (int j = 0; j < codes->count; j++)
		{
			nn_real x = l->in[0]->data[(size_t) i * codes->count + j];

			if (x >= 0 && x < codes->levels[j])
				seen[codes->first[j] + (int) x]++;
		}
	for (int j = 0; j < codes->total; j++)
	{
		double k = seen[j], median = quantile(rows, k, 0.5),
			   range = quantile(rows, k, 0.75) - quantile(rows, k, 0.25),
			   factor = range > 0			? 1 / range
						: k > 0 && k < rows ? 2
											: 0;

		on[j] = (nn_real) clip((1 - median) * factor);
		off[j] = (nn_real) clip((0 - median) * factor);
	}
	return true;
}

static void
forward(const nn_layer *l, const nn_pass *p)
{
	const conf *c = l->conf;

	p->device->ops->one_hot(p->device, p->rows, c->codes.count, c->codes.levels,
							c->codes.first, c->codes.total, l->in[0]->data,
							l->param[ON].data, l->param[OFF].data, l->out.data);
}

const nn_layer_ops nn_layer_one_hot = {
	.named = {.name = "one_hot",
			  .aliases = (const char *const[]){"category_encoding", NULL},
			  .summary = "a number for every category, of which one is on",
			  .conf_size = sizeof(conf),
			  .options = options,
			  .examples =
				  (const char *const[]){"input(category) one_hot dense(2)",
										"input(category) one_hot(robust) "
										"dense(2)",
										"input(category) one_hot(num_tokens = "
										"6) dense(2)",
										NULL}},
	.infer = infer,
	.fit = fit,
	.forward = forward};
