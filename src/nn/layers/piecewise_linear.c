/*
 * piecewise_linear.c
 *	  piecewise_linear: a learned piecewise linear curve of every number.
 *
 * Version B of the embeddings of Gorishniy et al. (2022, arXiv 2203.05556, and
 * their package rtdl-num-embeddings).  For column c and unit u
 *
 *		y = slope x + intercept + sum over bins j of
 *			clip((x - k_j) / (k_j+1 - k_j), 0, 1) kernel_j
 *
 * where the first bin is open below and the last above.  The knots k are
 * quantiles of the training rows.  A column of few distinct values has fewer
 * bins than others; it repeats its last knot, and the device knows that a bin
 * without width is none.  So the knots say all, and a stored model needs
 * nothing else.
 */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#include "../layer.h"

#define RATE 0.1 /* of the learning rate, as in tables' best recipes */

typedef struct conf
{
	int units, knots;
} conf;

enum
{
	SLOPE,
	INTERCEPT,
	KERNEL,
	KNOTS
};

static const nn_option options[] = {{.name = "units",
									 .type = NN_OPT_INT,
									 .offset = offsetof(conf, units),
									 .initial = 6,
									 .min = 1,
									 .max = 1024,
									 .help = "Outputs for each number."},
									{.name = "knots",
									 .type = NN_OPT_INT,
									 .offset = offsetof(conf, knots),
									 .initial = 16,
									 .min = 1,
									 .max = 1024,
									 .help = "Most pieces of a curve."},
									{.name = NULL}};

static bool
infer(nn_layer *l, nn_arena *arena, nn_error *err)
{
	const conf *c = l->conf;
	int n = (int) nn_count(&l->in[0]->shape);
	double bound = 1 / sqrt(c->units);
	const char *uniform;
	nn_param *p;

	if (!nn_layer_needs_data(l, err))
		return false;
	if ((int64_t) n * c->units > NN_MAX_UNITS)
		return nn_layer_fail(l, err, "its output is too large");
	l->out.shape = (nn_shape){1, {n * c->units}};
	uniform =
		nn_printf(arena, err, "random_uniform(%.17g, %.17g)", -bound, bound);
	if (uniform == NULL)
		return false;
	if (!nn_layer_param(l, arena, "slope", (nn_shape){2, {n, c->units}}, NULL,
						uniform, err) ||
		!nn_layer_param(l, arena, "intercept", (nn_shape){2, {n, c->units}},
						NULL, uniform, err) ||
		!nn_layer_param(l, arena, "kernel",
						(nn_shape){3, {n, c->knots, c->units}}, NULL, "zeros",
						err))
		return false;
	p = nn_layer_param(l, arena, "knots", (nn_shape){2, {n, c->knots + 1}},
					   NULL, "zeros", err);
	if (p == NULL)
		return false;
	p->trainable = false;
	for (int i = SLOPE; i <= KERNEL; i++)
		l->param[i].rate = RATE;
	return true;
}

static int
compare(const void *a, const void *b)
{
	nn_real x = *(const nn_real *) a, y = *(const nn_real *) b;

	return (x > y) - (x < y);
}

/* Linear interpolation between the two nearest of n sorted numbers. */
static nn_real
quantile(const nn_real *sorted, int n, double q)
{
	double at = q * (n - 1);
	int i = (int) at;

	if (i >= n - 1)
		return sorted[n - 1];
	return (nn_real) (sorted[i] +
					  (at - i) * ((double) sorted[i + 1] - sorted[i]));
}

static bool
fit(nn_layer *l, nn_arena *arena, int rows, uint64_t seed, nn_error *err)
{
	const conf *c = l->conf;
	int n = (int) nn_count(&l->in[0]->shape);
	nn_real *column;

	(void) seed;
	column = nn_alloc_array(arena, (size_t) rows, sizeof(nn_real), err);
	if (column == NULL)
		return false;
	for (int j = 0; j < n; j++)
	{
		nn_real *knot = l->param[KNOTS].data + (size_t) j * (c->knots + 1);
		int found = 0;

		for (int i = 0; i < rows; i++)
			column[i] = l->in[0]->data[(size_t) i * n + j];
		qsort(column, (size_t) rows, sizeof(nn_real), compare);
		for (int k = 0; k <= c->knots; k++)
		{
			nn_real q = quantile(column, rows, (double) k / c->knots);

			if (found == 0 || q > knot[found - 1])
				knot[found++] = q;
		}
		for (int k = found; k <= c->knots; k++)
			knot[k] = knot[found - 1];
	}
	return true;
}

static void
forward(const nn_layer *l, const nn_pass *p)
{
	const conf *c = l->conf;

	p->device->ops->piecewise(
		p->device, p->rows, (int) nn_count(&l->in[0]->shape), c->units,
		c->knots, l->param[KNOTS].data, l->in[0]->data, l->param[SLOPE].data,
		l->param[INTERCEPT].data, l->param[KERNEL].data, l->out.data);
}

static void
backward(const nn_layer *l, const nn_pass *p)
{
	const conf *c = l->conf;

	p->device->ops->piecewise_slope(
		p->device, p->rows, (int) nn_count(&l->in[0]->shape), c->units,
		c->knots, l->param[KNOTS].data, l->in[0]->data, l->out.grad,
		l->param[SLOPE].grad, l->param[INTERCEPT].grad, l->param[KERNEL].grad);
}

static double
work(const nn_layer *l)
{
	return 3 * (double) nn_count(&l->out.shape);
}

const nn_layer_ops nn_layer_piecewise_linear = {
	.named = {.name = "piecewise_linear",
			  .summary = "a learned piecewise linear curve of every number",
			  .conf_size = sizeof(conf),
			  .options = options,
			  .examples =
				  (const char *const[]){"input(number) piecewise_linear",
										"input(number) piecewise_linear(units "
										"= 3, knots = 4) dense(2)",
										NULL}},
	.infer = infer,
	.fit = fit,
	.forward = forward,
	.backward = backward,
	.work = work};
