/*
 * dense.c
 *	  dense: every output from every input, over the last dimension.
 *
 *		z = x W + b			y = f(z)
 *		dz = dy f'(z)		dW = x^T dz		db = sum of dz		dx = dz W^T
 *
 * With ntk the parameters are those of the neural tangent parametrisation
 * (Jacot, Gabriel and Hongler, 2018), z = x W / sqrt(inputs) + b with W and b
 * standard normal.  For an optimizer that does not depend on the gradient's
 * scale, such as Adam, this is W of standard deviation 1 / sqrt(inputs) at
 * 1 / sqrt(inputs) times the learning rate, which costs no multiplication.
 */
#include <math.h>
#include <stddef.h>

#include "../layer.h"

#define NTK_BIAS_RATE 0.1

typedef struct conf
{
	int units;
	int activation;
	bool use_bias, ntk;
	const nn_item *kernel_initializer, *bias_initializer;
} conf;

enum
{
	KERNEL,
	BIAS
};

static const nn_option options[] = {
	{.name = "units",
	 .type = NN_OPT_INT,
	 .offset = offsetof(conf, units),
	 .initial = NN_REQUIRED,
	 .min = 1,
	 .max = NN_MAX_UNITS,
	 .alias = "out_features",
	 .help = "Number of outputs."},
	{.name = "activation",
	 .type = NN_OPT_CHOICE,
	 .offset = offsetof(conf, activation),
	 .initial = NN_LINEAR,
	 .choices = nn_function_names,
	 .help = "Function applied to the outputs."},
	{.name = "use_bias",
	 .type = NN_OPT_BOOL,
	 .offset = offsetof(conf, use_bias),
	 .initial = true,
	 .alias = "bias",
	 .help = "Whether a learned number is added to each output."},
	{.name = "kernel_initializer",
	 .type = NN_OPT_ITEM,
	 .offset = offsetof(conf, kernel_initializer),
	 .choices = nn_initializer_names,
	 .help = "First values of the matrix; glorot_uniform when left out."},
	{.name = "bias_initializer",
	 .type = NN_OPT_ITEM,
	 .offset = offsetof(conf, bias_initializer),
	 .choices = nn_initializer_names,
	 .help = "First values of the bias; zeros when left out."},
	{.name = "ntk",
	 .type = NN_OPT_BOOL,
	 .offset = offsetof(conf, ntk),
	 .initial = false,
	 .help = "Use the neural tangent parametrisation."},
	{.name = NULL}};

static bool
infer(nn_layer *l, nn_arena *arena, nn_error *err)
{
	conf *c = l->conf;
	const nn_shape *in = &l->in[0]->shape;
	int inputs = nn_last(in);
	double stddev = 1 / sqrt(inputs);
	const char *init = "glorot_uniform";
	nn_param *p;

	l->function = nn_function_choose(&c->activation);
	l->argument = nn_function_default(l->function);
	l->out.shape = *in;
	l->out.shape.dim[in->ndim - 1] = c->units;

	if (c->ntk)
		init = nn_printf(arena, err, "random_normal(0, %.17g)", stddev);
	if (init == NULL)
		return false;
	p = nn_layer_param(l, arena, "kernel", (nn_shape){2, {inputs, c->units}},
					   c->kernel_initializer, init, err);
	if (p == NULL)
		return false;
	p->kernel = true;
	if (c->ntk)
		p->rate = stddev;
	if (c->use_bias)
	{
		p = nn_layer_param(l, arena, "bias", (nn_shape){1, {c->units}},
						   c->bias_initializer,
						   c->ntk ? "random_normal(0, 1)" : "zeros", err);
		if (p == NULL)
			return false;
		if (c->ntk)
			p->rate = NTK_BIAS_RATE;
	}
	if (nn_function_needs_input(l->function))
		l->saved_per_row = nn_count(in) / (size_t) inputs * (size_t) c->units;
	return true;
}

static void
forward(const nn_layer *l, const nn_pass *p)
{
	const conf *c = l->conf;
	const nn_tensor *in = l->in[0];
	bool note = p->training && nn_function_needs_input(l->function);
	int m = p->rows * nn_outer(&in->shape), k = nn_last(&in->shape);

	/* what the products of the way back read again */
	if (p->training)
		p->device->ops->settle(p->device, in->data, (size_t) m * k);
	if (p->training && in->grad != NULL)
		p->device->ops->settle(p->device, l->param[KERNEL].data,
							   (size_t) k * c->units);
	p->device->ops->dense(p->device, m, c->units, k, in->data,
						  l->param[KERNEL].data,
						  c->use_bias ? l->param[BIAS].data : NULL, l->function,
						  l->argument, note ? l->saved : NULL, l->out.data);
}

static void
backward(const nn_layer *l, const nn_pass *p)
{
	const conf *c = l->conf;
	const nn_device_ops *ops = p->device->ops;
	const nn_tensor *in = l->in[0];
	int m = p->rows * nn_outer(&in->shape), n = c->units,
		k = nn_last(&in->shape);
	nn_real *dz = l->out.grad;

	if (in->grad != NULL)
		ops->settle(p->device, dz, (size_t) m * n);
	if (l->function != NN_LINEAR || c->use_bias)
		ops->dense_slope(p->device, m, n, l->function, l->argument, l->saved,
						 l->out.data, dz, dz,
						 c->use_bias ? l->param[BIAS].grad : NULL);
	ops->gemm(p->device, true, false, k, n, m, in->data, dz, 0,
			  l->param[KERNEL].grad);
	if (in->grad != NULL)
		ops->gemm(p->device, false, true, m, k, n, dz, l->param[KERNEL].data,
				  l->in_beta[0], in->grad);
}

static double
work(const nn_layer *l)
{
	return (double) nn_count(&l->in[0]->shape) *
		   ((const conf *) l->conf)->units;
}

const nn_layer_ops nn_layer_dense = {
	.named = {.name = "dense",
			  .aliases = (const char *const[]){"Linear", NULL},
			  .summary = "every output from every input, with learned weights",
			  .conf_size = sizeof(conf),
			  .options = options,
			  .examples =
				  (const char *const[]){"dense(4)", "dense(4, relu)",
										"dense(4) gelu dense(3) tanh dense(2)",
										"dense(4, gelu, use_bias = false)",
										"dense(5, tanh, ntk = true) dense(1)",
										"reshape([2, 3]) dense(4, silu)",
										"dense(3, leaky_relu, "
										"kernel_initializer = he_normal)",
										NULL}},
	.applies_function = true,
	.infer = infer,
	.forward = forward,
	.backward = backward,
	.work = work};
