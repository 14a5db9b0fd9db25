/*
 * batch_normalization.c
 *	  batch_normalization: zero mean and unit variance over the batch, by place
 *	  in the last dimension.
 *
 *		xhat = (x - mean) / sqrt(var + epsilon)		y = gamma xhat + beta
 *		dgamma = sum dy xhat		dbeta = sum dy
 *		dx = gamma / sqrt(var + epsilon) (dy - dbeta / n - xhat dgamma / n)
 *
 * While training, mean and variance are those of the whole batch, over all
 * members of the team: a network learns the same with any number of threads.
 * When predicting they are moving averages, kept as parameters that do not
 * learn by gradient: moving = momentum moving + (1 - momentum) batch.
 */
#include <stddef.h>

#include "../layer.h"

typedef struct conf
{
	double momentum, epsilon;
	bool center, scale, unbiased;
	/* places of parameters; -1: there is none */
	int gamma, beta, mean, variance;
} conf;

/* The notes are arrays as long as the last dimension, then xhat. */
enum
{
	SUM,	 /* of x, then of squares, then of dy */
	SUM_DYX, /* of dy xhat */
	MEAN,
	VARIANCE,
	NOTES
};

static const nn_option options[] = {
	{.name = "momentum",
	 .type = NN_OPT_REAL,
	 .offset = offsetof(conf, momentum),
	 .initial = 0.99,
	 .min = 0,
	 .max = 1,
	 .help = "Share of the moving averages that a batch leaves as it was."},
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
	 .help = "Whether a learned number is added."},
	{.name = "scale",
	 .type = NN_OPT_BOOL,
	 .offset = offsetof(conf, scale),
	 .initial = true,
	 .help = "Whether a learned factor is applied."},
	{.name = "unbiased",
	 .type = NN_OPT_BOOL,
	 .offset = offsetof(conf, unbiased),
	 .initial = false,
	 .help = "Whether the moving variance is the unbiased one, as in PyTorch."},
	{.name = NULL}};

/* Declare one parameter; its place, or -2 and *err. */
static int
declare(nn_layer *l, nn_arena *arena, const char *name, const char *init,
		bool trainable, nn_error *err)
{
	nn_shape shape = {1, {nn_last(&l->in[0]->shape)}};
	nn_param *p = nn_layer_param(l, arena, name, shape, NULL, init, err);

	if (p == NULL)
		return -2;
	p->trainable = trainable;
	return l->nparam - 1;
}

static bool
infer(nn_layer *l, nn_arena *arena, nn_error *err)
{
	conf *c = l->conf;

	l->out.shape = l->in[0]->shape;
	c->gamma = c->scale ? declare(l, arena, "gamma", "ones", true, err) : -1;
	if (c->gamma == -2)
		return false;
	c->beta = c->center ? declare(l, arena, "beta", "zeros", true, err) : -1;
	if (c->beta == -2)
		return false;
	c->mean = declare(l, arena, "moving_mean", "zeros", false, err);
	if (c->mean == -2)
		return false;
	c->variance = declare(l, arena, "moving_variance", "ones", false, err);
	if (c->variance == -2)
		return false;
	l->saved_fixed = NOTES * (size_t) nn_last(&l->out.shape);
	l->saved_per_row = nn_count(&l->out.shape);
	return true;
}

static nn_real *
note(const nn_layer *l, int which)
{
	return l->saved + (size_t) which * (size_t) nn_last(&l->out.shape);
}

static nn_real *
param_data(const nn_layer *l, int number)
{
	return number < 0 ? NULL : l->param[number].data;
}

static nn_real *
param_grad(const nn_layer *l, int number)
{
	return number < 0 ? NULL : l->param[number].grad;
}

/* Mean and variance over the whole batch, into the notes. */
static void
measure(const nn_layer *l, const nn_pass *p, int m, int n, nn_real share)
{
	const nn_device_ops *ops = p->device->ops;
	nn_real *sum = note(l, SUM);

	ops->sum_rows(p->device, m, n, l->in[0]->data, 0, sum);
	nn_team_sum(p->team, p->member, sum, (size_t) n);
	ops->axpby(p->device, (size_t) n, share, sum, 0, note(l, MEAN));
	ops->sum_squares_rows(p->device, m, n, l->in[0]->data, note(l, MEAN), sum);
	nn_team_sum(p->team, p->member, sum, (size_t) n);
	ops->axpby(p->device, (size_t) n, share, sum, 0, note(l, VARIANCE));
}

static void
forward(const nn_layer *l, const nn_pass *p)
{
	const conf *c = l->conf;
	int n = nn_last(&l->out.shape), outer = nn_outer(&l->out.shape);
	int m = p->rows * outer;
	const nn_real *mean = param_data(l, c->mean),
				  *variance = param_data(l, c->variance);

	if (p->training)
	{
		measure(l, p, m, n, 1 / ((nn_real) p->batch_rows * (nn_real) outer));
		mean = note(l, MEAN);
		variance = note(l, VARIANCE);
	}
	p->device->ops->batch_norm(
		p->device, m, n, c->epsilon, l->in[0]->data, mean, variance,
		param_data(l, c->gamma), param_data(l, c->beta),
		p->training ? note(l, NOTES) : NULL, l->out.data);
}

static void
backward(const nn_layer *l, const nn_pass *p)
{
	const conf *c = l->conf;
	const nn_device_ops *ops = p->device->ops;
	int n = nn_last(&l->out.shape), outer = nn_outer(&l->out.shape);
	int m = p->rows * outer;
	size_t bytes = (size_t) n * sizeof(nn_real);
	nn_real *sum = note(l, SUM), *sum_dyx = note(l, SUM_DYX),
			*xhat = note(l, NOTES), *dgamma = param_grad(l, c->gamma),
			*dbeta = param_grad(l, c->beta);

	ops->sum_rows(p->device, m, n, l->out.grad, 0, sum);
	ops->dot_rows(p->device, m, n, l->out.grad, xhat, 0, sum_dyx);
	/* of this member's rows only: the trainer adds up the members' */
	if (dgamma != NULL)
		ops->copy(p->device, dgamma, sum_dyx, bytes);
	if (dbeta != NULL)
		ops->copy(p->device, dbeta, sum, bytes);
	if (!l->in[0]->learns)
		return;
	nn_team_sum(p->team, p->member, sum, (size_t) n);
	nn_team_sum(p->team, p->member, sum_dyx, (size_t) n);
	ops->batch_norm_slope(p->device, m, n, c->epsilon, p->batch_rows * outer,
						  xhat, note(l, VARIANCE), param_data(l, c->gamma), sum,
						  sum_dyx, l->out.grad, l->in_beta[0], l->in[0]->grad);
}

static void
learn(const nn_layer *l, const nn_pass *p)
{
	const conf *c = l->conf;
	const nn_device_ops *ops = p->device->ops;
	size_t n = (size_t) nn_last(&l->out.shape);
	double rows = (double) p->batch_rows * nn_outer(&l->out.shape),
		   share = 1 - c->momentum;

	ops->axpby(p->device, n, (nn_real) share, note(l, MEAN),
			   (nn_real) c->momentum, param_data(l, c->mean));
	if (c->unbiased && rows > 1)
		share *= rows / (rows - 1);
	ops->axpby(p->device, n, (nn_real) share, note(l, VARIANCE),
			   (nn_real) c->momentum, param_data(l, c->variance));
}

const nn_layer_ops nn_layer_batch_normalization = {
	.named = {.name = "batch_normalization",
			  .aliases =
				  (const char *const[]){"BatchNorm1d", "BatchNorm", NULL},
			  .summary = "zero mean and unit variance over the batch",
			  .conf_size = sizeof(conf),
			  .options = options,
			  .examples =
				  (const char *const[]){"batch_normalization",
										"batch_normalization(0.9, 1e-5, center "
										"= false, unbiased = true)",
										"batch_normalization(scale = false)",
										"reshape([2, 3]) batch_normalization",
										NULL}},
	.couples_rows = true,
	.infer = infer,
	.forward = forward,
	.backward = backward,
	.learn = learn};
