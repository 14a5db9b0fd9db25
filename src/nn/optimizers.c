/*
 * optimizers.c
 *	  The optimizers that can be named.
 *
 * An optimizer is an entry of this file and a line of its list.  Names,
 * arguments and defaults are those of Keras; the update itself, which every
 * device computes in its optimizer kernel, is PyTorch's formula.
 *
 * Weight decay is decoupled from the gradient for every optimizer.  So it is
 * the weight_decay of Keras and of PyTorch's AdamW, not the one of PyTorch's
 * Adam and SGD, which is an L2 penalty.
 */
#include "train.h"

/* One configuration for all. */
typedef struct optimizer_conf
{
	double learning_rate;
	double weight_decay;
	double clipnorm, clipvalue, global_clipnorm;
	double momentum, rho, epsilon;
	double accumulator;
	bool nesterov, centered, amsgrad;
} optimizer_conf;

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

#define NUMBER(name, field, initial, min, max, alias, help)                    \
	{                                                                          \
		name, NN_OPT_REAL, offsetof(optimizer_conf, field), initial, min, max, \
			help, NULL, NULL, alias                                            \
	}
#define FLAG(name, field, help)                                                \
	{                                                                          \
		name, NN_OPT_BOOL, offsetof(optimizer_conf, field), 0, 0, 1, help      \
	}

#define LEARNING_RATE(initial)                                                 \
	NUMBER("learning_rate", learning_rate, initial, 1e-12, 1e6, "lr",          \
		   "Step size.")
#define MOMENTUM                                                               \
	NUMBER("momentum", momentum, 0, 0, 1, NULL,                                \
		   "Share of the last step that is taken again.")
#define EPSILON                                                                \
	NUMBER("epsilon", epsilon, 1e-7, 0, 1, "eps",                              \
		   "Added to divisors, so that none is zero.")
#define BETAS                                                                  \
	NUMBER("beta_1", momentum, 0.9, 0, 0.999999, NULL,                         \
		   "Decay of the mean of gradients."),                                 \
		NUMBER("beta_2", rho, 0.999, 0, 0.99999999, NULL,                      \
			   "Decay of the mean of squared gradients.")

/* What every optimizer takes. */
#define COMMON(decay)                                                          \
	NUMBER("weight_decay", weight_decay, decay, 0, 1e6, NULL,                  \
		   "Share of every kernel's weights, times the learning rate, that "   \
		   "is taken away in each step."),                                     \
		NUMBER("clipnorm", clipnorm, 0, 0, 1e30, NULL,                         \
			   "Greatest norm of the gradient of one parameter tensor; 0: "    \
			   "any."),                                                        \
		NUMBER("clipvalue", clipvalue, 0, 0, 1e30, NULL,                       \
			   "Greatest absolute value of a gradient; 0: any."),              \
		NUMBER("global_clipnorm", global_clipnorm, 0, 0, 1e30, NULL,           \
			   "Greatest norm of the gradient of all parameters; 0: any.")

static void
args(const void *conf, nn_optimizer_args *a)
{
	const optimizer_conf *c = conf;

	a->momentum = c->momentum;
	a->rho = c->rho;
	a->epsilon = c->epsilon;
	a->nesterov = c->nesterov;
	a->centered = c->centered;
	a->amsgrad = c->amsgrad;
}

static const nn_option sgd_options[] = {
	LEARNING_RATE(0.01),
	MOMENTUM,
	FLAG("nesterov", nesterov,
		 "Whether to look at the gradient after the momentum step."),
	COMMON(0),
	{NULL}};

static int
sgd_slots(const void *conf)
{
	return ((const optimizer_conf *) conf)->momentum > 0 ? 1 : 0;
}

static const nn_optimizer_ops sgd = {
	.named = {.name = "sgd",
			  .summary = "stochastic gradient descent, with or without "
						 "momentum",
			  .conf_size = sizeof(optimizer_conf),
			  .options = sgd_options,
			  .examples = NAMES("sgd", "sgd(0.05, momentum = 0.9)",
								"sgd(0.05, momentum = 0.9, nesterov = true)")},
	.kind = NN_OPTIMIZER_SGD,
	.learning_rate = 0.01,
	.slots = sgd_slots,
	.args = args,
};

static const nn_option adam_options[] = {
	LEARNING_RATE(0.001),
	BETAS,
	EPSILON,
	FLAG("amsgrad", amsgrad, "Whether to divide by the greatest mean so far."),
	COMMON(0),
	{NULL}};

static int
adam_slots(const void *conf)
{
	return ((const optimizer_conf *) conf)->amsgrad ? 3 : 2;
}

static const nn_optimizer_ops adam = {
	.named = {.name = "adam",
			  .summary = "steps of adapted size (Kingma and Ba, 2015)",
			  .conf_size = sizeof(optimizer_conf),
			  .options = adam_options,
			  .examples =
				  NAMES("adam", "adam(beta_2 = 0.95)", "adam(amsgrad = true)")},
	.kind = NN_OPTIMIZER_ADAM,
	.learning_rate = 0.001,
	.slots = adam_slots,
	.args = args,
};

static const nn_option adamw_options[] = {
	LEARNING_RATE(0.001),
	BETAS,
	EPSILON,
	FLAG("amsgrad", amsgrad, "Whether to divide by the greatest mean so far."),
	COMMON(0.004),
	{NULL}};

static const nn_optimizer_ops adamw = {
	.named = {.name = "adamw",
			  .summary = "adam with weight decay (Loshchilov and Hutter, 2019)",
			  .conf_size = sizeof(optimizer_conf),
			  .options = adamw_options,
			  .examples = NAMES("adamw", "adamw(weight_decay = 0.01)")},
	.kind = NN_OPTIMIZER_ADAM,
	.learning_rate = 0.001,
	.slots = adam_slots,
	.args = args,
};

static const nn_option rmsprop_options[] = {
	LEARNING_RATE(0.001),
	NUMBER("rho", rho, 0.9, 0, 0.99999999, "alpha",
		   "Decay of the mean of squared gradients."),
	MOMENTUM,
	EPSILON,
	FLAG("centered", centered,
		 "Whether to divide by the variance of gradients instead of "
		 "their mean square."),
	COMMON(0),
	{NULL}};

static int
rmsprop_slots(const void *conf)
{
	const optimizer_conf *c = conf;

	return c->centered ? 3 : c->momentum > 0 ? 2 : 1;
}

static const nn_optimizer_ops rmsprop = {
	.named = {.name = "rmsprop",
			  .summary = "steps divided by the mean size of gradients",
			  .conf_size = sizeof(optimizer_conf),
			  .options = rmsprop_options,
			  .examples = NAMES("rmsprop", "rmsprop(momentum = 0.5)",
								"rmsprop(momentum = 0.5, centered = true)")},
	.kind = NN_OPTIMIZER_RMSPROP,
	.learning_rate = 0.001,
	.slots = rmsprop_slots,
	.args = args,
};

static const nn_option adagrad_options[] = {
	LEARNING_RATE(0.001),
	NUMBER("initial_accumulator_value", accumulator, 0.1, 0, 1e6, NULL,
		   "Where the sums of squared gradients begin."),
	EPSILON,
	COMMON(0),
	{NULL}};

static int
adagrad_slots(const void *conf)
{
	(void) conf;
	return 1;
}

static double
adagrad_slot_value(const void *conf)
{
	return ((const optimizer_conf *) conf)->accumulator;
}

static const nn_optimizer_ops adagrad = {
	.named = {.name = "adagrad",
			  .summary = "steps that shrink with the squares of all gradients "
						 "so far",
			  .conf_size = sizeof(optimizer_conf),
			  .options = adagrad_options,
			  .examples =
				  NAMES("adagrad", "adagrad(initial_accumulator_value = 0)")},
	.kind = NN_OPTIMIZER_ADAGRAD,
	.learning_rate = 0.001,
	.slots = adagrad_slots,
	.slot_value = adagrad_slot_value,
	.args = args,
};

const nn_optimizer_ops *const nn_optimizers[] = {
	&sgd, &adam, &adamw, &rmsprop, &adagrad, NULL,
};

static const nn_absent absent[] = {
	{"nadam", "Use adam."},
	{"radam", "Use adam."},
	{"adamax", "Use adam."},
	{"adafactor", "Use adam."},
	{"lion", "Use adamw."},
	{"lamb", "Use adamw."},
	{"muon", "Use adamw."},
	{"schedule_free_adamw", "Use adamw."},
	{"adadelta", "Use rmsprop."},
	{"rprop", "Use rmsprop."},
	{"ftrl", "Use adagrad."},
	{"asgd", "Use sgd."},
	{"sparse_adam", "Use adam."},
	{"lbfgs", "Use adam."},
	{NULL, NULL},
};

nn_optimizer *
nn_optimizer_parse(nn_arena *arena, const char *text, nn_error *err)
{
	nn_optimizer *o = nn_alloc_small(arena, sizeof(nn_optimizer), err);
	const optimizer_conf *c;

	if (o == NULL)
		return NULL;
	o->ops =
		nn_named_parse(arena, "optimizer", (const void *const *) nn_optimizers,
					   absent, text, &o->conf, &o->text, err);
	if (o->ops == NULL)
		return NULL;
	c = o->conf;
	if ((c->clipnorm > 0) + (c->clipvalue > 0) + (c->global_clipnorm > 0) > 1)
	{
		nn_fail(err, NN_INVALID,
				"only one of clipnorm, clipvalue and global_clipnorm can be "
				"given to %s",
				o->ops->named.name);
		return NULL;
	}
	o->learning_rate = c->learning_rate;
	o->weight_decay = c->weight_decay;
	o->clipnorm = c->clipnorm;
	o->clipvalue = c->clipvalue;
	o->global_clipnorm = c->global_clipnorm;
	return o;
}
