/*
 * activation.c
 *	  Functions applied to every number, and softmax.
 *
 *		y = f(x)				dx = dy f'(x)
 *		softmax, over the last dimension:
 *		y = exp(x) / sum exp(x)		dx = y (dy - sum y dy)
 */
#include <stddef.h>

#include "../layer.h"

typedef struct conf
{
	int function; /* the choice of activation(...) */
	double a;	  /* negative_slope, alpha */
} conf;

static const nn_option no_options[] = {{.name = NULL}};

static const nn_option activation_options[] = {
	{.name = "function",
	 .type = NN_OPT_CHOICE,
	 .offset = offsetof(conf, function),
	 .initial = NN_REQUIRED,
	 .choices = nn_function_names,
	 .alias = "activation",
	 .help = "Name of the function."},
	{.name = NULL}};

static const nn_option leaky_relu_options[] = {
	{.name = "negative_slope",
	 .type = NN_OPT_REAL,
	 .offset = offsetof(conf, a),
	 .initial = 0.3,
	 .min = 0,
	 .max = 1,
	 .help = "Factor of negative numbers."},
	{.name = NULL}};

static const nn_option elu_options[] = {
	{.name = "alpha",
	 .type = NN_OPT_REAL,
	 .offset = offsetof(conf, a),
	 .initial = 1,
	 .min = 0,
	 .max = 1000,
	 .help = "Minus the limit at minus infinity."},
	{.name = NULL}};

static bool
infer_function(nn_layer *l, nn_function f)
{
	l->function = f;
	l->argument = ((const conf *) l->conf)->a;
	l->out.shape = l->in[0]->shape;
	return true;
}

static bool
infer_choice(nn_layer *l, nn_arena *arena, nn_error *err)
{
	conf *c = l->conf;

	(void) arena;
	(void) err;
	infer_function(l, nn_function_choose(&c->function));
	l->argument = nn_function_default(l->function);
	return true;
}

static void
forward(const nn_layer *l, const nn_pass *p)
{
	size_t n = (size_t) p->rows * nn_count(&l->out.shape);

	p->device->ops->map(p->device, l->function, l->argument, n, l->in[0]->data,
						l->out.data);
}

static void
backward(const nn_layer *l, const nn_pass *p)
{
	size_t n = (size_t) p->rows * nn_count(&l->out.shape);

	p->device->ops->map_slope(p->device, l->function, l->argument, n,
							  l->in[0]->data, l->out.data, l->out.grad,
							  l->in_beta[0], l->in[0]->grad);
}

static bool
softmax_infer(nn_layer *l, nn_arena *arena, nn_error *err)
{
	(void) arena;
	(void) err;
	l->out.shape = l->in[0]->shape;
	return true;
}

static void
softmax_forward(const nn_layer *l, const nn_pass *p)
{
	p->device->ops->softmax(p->device, p->rows * nn_outer(&l->out.shape),
							nn_last(&l->out.shape), l->in[0]->data,
							l->out.data);
}

static void
softmax_backward(const nn_layer *l, const nn_pass *p)
{
	p->device->ops->softmax_slope(p->device, p->rows * nn_outer(&l->out.shape),
								  nn_last(&l->out.shape), l->out.data,
								  l->out.grad, l->in_beta[0], l->in[0]->grad);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
#define ACTIVATION(id, F, table, other, text, ...)                             \
	static bool id##_infer(nn_layer *l, nn_arena *arena, nn_error *err)        \
	{                                                                          \
		(void) arena;                                                          \
		(void) err;                                                            \
		return infer_function(l, F);                                           \
	}                                                                          \
	const nn_layer_ops nn_layer_##id = {                                       \
		.named = {.name = #id,                                                 \
				  .aliases = other,                                            \
				  .summary = text,                                             \
				  .conf_size = sizeof(conf),                                   \
				  .options = table,                                            \
				  .examples = LIST(__VA_ARGS__)},                              \
		.is_function = true,                                                   \
		.infer = id##_infer,                                                   \
		.forward = forward,                                                    \
		.backward = backward}

ACTIVATION(relu, NN_RELU, no_options, NULL, "max(x, 0)", "relu");
ACTIVATION(leaky_relu, NN_LEAKY_RELU, leaky_relu_options, NULL,
		   "x, or a small multiple of it where negative", "leaky_relu",
		   "leaky_relu(0.1)");
ACTIVATION(elu, NN_ELU, elu_options, NULL,
		   "x, or alpha (exp(x) - 1) where negative", "elu", "elu(0.5)");
ACTIVATION(selu, NN_SELU, no_options, NULL, "elu scaled to normalize itself",
		   "selu");
ACTIVATION(sigmoid, NN_SIGMOID, no_options, LIST("logistic"),
		   "1 / (1 + exp(-x))", "sigmoid");
ACTIVATION(tanh, NN_TANH, no_options, NULL, "hyperbolic tangent", "tanh");
ACTIVATION(softplus, NN_SOFTPLUS, no_options, NULL, "log(1 + exp(x))",
		   "softplus");
ACTIVATION(softsign, NN_SOFTSIGN, no_options, NULL, "x / (1 + |x|)",
		   "softsign");
ACTIVATION(exponential, NN_EXPONENTIAL, no_options, LIST("exp"), "exp(x)",
		   "exponential");
ACTIVATION(hard_sigmoid, NN_HARD_SIGMOID, no_options, NULL,
		   "x / 6 + 1/2, limited to 0 .. 1", "hard_sigmoid");
ACTIVATION(gelu, NN_GELU, no_options, NULL,
		   "x times the normal distribution function", "gelu");
ACTIVATION(silu, NN_SILU, no_options, LIST("swish"), "x sigmoid(x)", "silu");
ACTIVATION(mish, NN_MISH, no_options, NULL, "x tanh(softplus(x))", "mish");

const nn_layer_ops nn_layer_activation = {
	.named = {.name = "activation",
			  .summary = "a function, by its name",
			  .conf_size = sizeof(conf),
			  .options = activation_options,
			  .examples = LIST("activation(relu)", "activation(mish)",
							   "activation(leaky_relu)")},
	.is_function = true,
	.infer = infer_choice,
	.forward = forward,
	.backward = backward};

const nn_layer_ops nn_layer_softmax = {
	.named = {.name = "softmax",
			  .summary = "positive numbers whose sum is one",
			  .conf_size = sizeof(conf),
			  .options = no_options,
			  .examples = LIST("softmax", "reshape([2, 3]) softmax")},
	.infer = softmax_infer,
	.forward = softmax_forward,
	.backward = softmax_backward};
