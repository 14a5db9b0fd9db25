/*
 * scale.c
 *	  scale: a learned factor for every number of the row.
 *
 *		y = s x		ds = sum x dy		dx = s dy
 *
 * In front of a network over table columns it lets the network choose columns
 * quickly, with a higher rate than the rest (Holzmueller et al., 2024, arXiv
 * 2407.04491).
 */
#include <stddef.h>

#include "../layer.h"

typedef struct conf
{
	double rate;
} conf;

static const nn_option options[] = {{.name = "rate",
									 .type = NN_OPT_REAL,
									 .offset = offsetof(conf, rate),
									 .initial = 6,
									 .min = 0,
									 .max = 1000,
									 .help = "Factor of the learning rate."},
									{.name = NULL}};

static bool
infer(nn_layer *l, nn_arena *arena, nn_error *err)
{
	nn_param *p;

	l->out.shape = l->in[0]->shape;
	p = nn_layer_param(l, arena, "factor",
					   (nn_shape){1, {(int) nn_count(&l->out.shape)}}, NULL,
					   "ones", err);
	if (p == NULL)
		return false;
	p->rate = ((const conf *) l->conf)->rate;
	return true;
}

static void
forward(const nn_layer *l, const nn_pass *p)
{
	p->device->ops->scale_rows(p->device, p->rows,
							   (int) nn_count(&l->out.shape), l->in[0]->data,
							   l->param[0].data, NULL, 0, l->out.data);
}

static void
backward(const nn_layer *l, const nn_pass *p)
{
	const nn_device_ops *ops = p->device->ops;
	int n = (int) nn_count(&l->out.shape);

	ops->dot_rows(p->device, p->rows, n, l->in[0]->data, l->out.grad, 0,
				  l->param[0].grad);
	if (l->in[0]->grad != NULL)
		ops->scale_rows(p->device, p->rows, n, l->out.grad, l->param[0].data,
						NULL, l->in_beta[0], l->in[0]->grad);
}

const nn_layer_ops nn_layer_scale = {
	.named = {.name = "scale",
			  .aliases = (const char *const[]){"learned_scale", NULL},
			  .summary = "a learned factor for every number",
			  .conf_size = sizeof(conf),
			  .options = options,
			  .examples =
				  (const char *const[]){"scale", "scale(rate = 2)", NULL}},
	.infer = infer,
	.forward = forward,
	.backward = backward};
