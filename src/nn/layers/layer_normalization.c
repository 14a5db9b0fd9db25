/*
 * layer_normalization.c
 *	  layer_normalization: zero mean and unit variance within a row, over the
 *	  last dimension.
 *
 *		xhat = (x - mean) rstd		rstd = 1 / sqrt(var + epsilon)
 *		y = gamma xhat + beta
 *		dgamma = sum dy xhat		dbeta = sum dy		g = gamma dy
 *		dx = rstd (g - mean(g) - xhat mean(g xhat))
 */
#include <stddef.h>

#include "../layer.h"

typedef struct conf
{
	double epsilon;
	bool center, scale;
} conf;

static const nn_option options[] = {
	{.name = "epsilon",
	 .type = NN_OPT_REAL,
	 .offset = offsetof(conf, epsilon),
	 .initial = 1e-3,
	 .min = 1e-12,
	 .max = 1,
	 .alias = "eps",
	 .help = "Added to the variance."},
	{.name = "center",
	 .type = NN_OPT_BOOL,
	 .offset = offsetof(conf, center),
	 .initial = true,
	 .alias = "bias",
	 .help = "Whether a learned number is added."},
	{.name = "scale",
	 .type = NN_OPT_BOOL,
	 .offset = offsetof(conf, scale),
	 .initial = true,
	 .help = "Whether a learned factor is applied."},
	{.name = NULL}};

static bool
infer(nn_layer *l, nn_arena *arena, nn_error *err)
{
	const conf *c = l->conf;
	nn_shape shape = {1, {nn_last(&l->in[0]->shape)}};

	l->out.shape = l->in[0]->shape;
	if (c->scale &&
		!nn_layer_param(l, arena, "gamma", shape, NULL, "ones", err))
		return false;
	if (c->center &&
		!nn_layer_param(l, arena, "beta", shape, NULL, "zeros", err))
		return false;
	l->saved_per_row = 2 * (size_t) nn_outer(&l->out.shape);
	return true;
}

/* gamma comes first, if there is one */
static const nn_param *
gamma_of(const nn_layer *l)
{
	return ((const conf *) l->conf)->scale ? &l->param[0] : NULL;
}

static const nn_param *
beta_of(const nn_layer *l)
{
	const conf *c = l->conf;

	return c->center ? &l->param[c->scale] : NULL;
}

static void
forward(const nn_layer *l, const nn_pass *p)
{
	const conf *c = l->conf;
	int m = p->rows * nn_outer(&l->out.shape);
	const nn_param *gamma = gamma_of(l), *beta = beta_of(l);

	p->device->ops->layer_norm(p->device, m, nn_last(&l->out.shape), c->epsilon,
							   l->in[0]->data, gamma ? gamma->data : NULL,
							   beta ? beta->data : NULL, l->saved, l->saved + m,
							   l->out.data);
}

static void
backward(const nn_layer *l, const nn_pass *p)
{
	int m = p->rows * nn_outer(&l->out.shape);
	const nn_param *gamma = gamma_of(l), *beta = beta_of(l);

	p->device->ops->layer_norm_slope(
		p->device, m, nn_last(&l->out.shape), l->in[0]->data,
		gamma ? gamma->data : NULL, l->saved, l->saved + m, l->out.grad,
		l->in_beta[0], l->in[0]->grad, gamma ? gamma->grad : NULL,
		beta ? beta->grad : NULL);
}

const nn_layer_ops nn_layer_layer_normalization = {
	.named = {.name = "layer_normalization",
			  .aliases = (const char *const[]){"LayerNorm", NULL},
			  .summary = "zero mean and unit variance within a row",
			  .conf_size = sizeof(conf),
			  .options = options,
			  .examples =
				  (const char *const[]){"layer_normalization",
										"layer_normalization(1e-5, scale = "
										"false)",
										"layer_normalization(center = false)",
										"reshape([2, 3]) layer_normalization",
										NULL}},
	.infer = infer,
	.forward = forward,
	.backward = backward};
