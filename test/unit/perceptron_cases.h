/*
 * perceptron_cases.h
 *	  Calls of the kernel for small perceptrons; in plain C it is the kernels
 *	  for layers, with what is multiplied rounded as a precision wants it.
 */
#ifndef PERCEPTRON_CASES_H
#define PERCEPTRON_CASES_H

#include "kernel_buffers.h"

/* A number with so few significant bits, by arithmetic. */
static float
rounded(float x, int bits)
{
	int exponent;
	double fraction = frexp(x, &exponent);

	return (float) ldexp(nearbyint(ldexp(fraction, bits)), exponent - bits);
}

/* What a device of a precision makes of factors. */
static void
round_factors(nn_precision precision, size_t n, float *x)
{
	const int bits[] = {24, 11, 8};

	for (size_t i = 0; i < n && precision != NN_FP32; i++)
		x[i] = rounded(x[i], bits[precision]);
}

static float *
rounded_copy(nn_precision precision, size_t n, const float *x)
{
	float *copy = malloc(n * sizeof(float) + (n == 0));

	if (copy == NULL)
		exit(2);
	memcpy(copy, x, n * sizeof(float));
	round_factors(precision, n, copy);
	return copy;
}

/* What is kept of a layer in a precision: its output, of which its function's
 * value is found again, and its function's input. */
static void
keep_rounded(nn_precision precision, const nn_mlp_layer *l, size_t n,
			 float *out, float *z, float *y)
{
	round_factors(precision, n, out);
	round_factors(precision, n, z);
	for (size_t i = 0; i < n && precision != NN_FP32; i++)
		y[i] = out[i] * (float) (1 - l->dropout);
}

/* Rows of n that are meant, in host memory; NULL of NULL. */
static float *
gathered(nn_device *d, const nn_rows *rows, int m, int n, const float *x)
{
	uint32_t *index = malloc((size_t) m * sizeof(uint32_t));
	float *y = malloc((size_t) m * (size_t) n * sizeof(float));

	if (index == NULL || y == NULL)
		exit(2);
	d->ops->places(d, rows, m, index);
	if (x != NULL)
		d->ops->gather(d, m, n, x, index, y);
	free(index);
	if (x != NULL)
		return y;
	free(y);
	return NULL;
}

/*
 * A row of dense layers and their loss, layer by layer, then the updates: what
 * mlp does.  In another precision than fp32 all that is multiplied is rounded,
 * and kept so.
 */
static void
plain_mlp(nn_device *d, const nn_mlp_args *a)
{
	const nn_device_ops *ops = d->ops;
	const nn_precision precision = d->precision;
	int m = a->loss.m;
	float *in[NN_MLP_LAYERS + 1], *w[NN_MLP_LAYERS], *z[NN_MLP_LAYERS],
		*y[NN_MLP_LAYERS], *dy;
	nn_loss_args loss = a->loss;
	bool classes = loss.kind == NN_LOSS_CATEGORICAL ||
				   loss.kind == NN_LOSS_CATEGORICAL_FOCAL;
	float *x = gathered(d, &a->x_rows, m, a->layer[0].inputs, a->x);
	float *target = gathered(d, &a->y_rows, m, classes ? 1 : loss.n, loss.y);
	float *weight = gathered(d, &a->y_rows, m, 1, loss.weight);

	loss.y = target;
	loss.weight = weight;
	in[0] = rounded_copy(precision, (size_t) m * a->layer[0].inputs, x);
	for (int i = 0; i < a->nlayers; i++)
	{
		const nn_mlp_layer *l = &a->layer[i];
		size_t n = (size_t) m * l->outputs;

		w[i] = rounded_copy(precision, (size_t) l->inputs * l->outputs, l->w);
		in[i + 1] = malloc(n * sizeof(float));
		z[i] = malloc(n * sizeof(float));
		y[i] = malloc(n * sizeof(float));
		if (in[i + 1] == NULL || z[i] == NULL || y[i] == NULL)
			exit(2);
		ops->dense(d, m, l->outputs, l->inputs, in[i], w[i], l->b, l->f, l->a,
				   z[i], y[i]);
		ops->dropout(d, n, l->dropout, l->key, 0, y[i], 0, in[i + 1]);
		if (i < a->nlayers - 1)
			keep_rounded(precision, l, n, in[i + 1], z[i], y[i]);
	}
	dy = malloc((size_t) m * loss.n * sizeof(float));
	loss.pred = in[a->nlayers];
	loss.dpred = dy;
	ops->loss(d, &loss);
	for (int i = a->nlayers - 1; i >= 0; i--)
	{
		const nn_mlp_layer *l = &a->layer[i];
		size_t n = (size_t) m * l->outputs;
		float *dx =
			i > 0 ? malloc((size_t) m * l->inputs * sizeof(float)) : a->dx;

		ops->dropout(d, n, l->dropout, l->key, 0, dy, 0, dy);
		ops->dense_slope(d, m, l->outputs, l->f, l->a, z[i], y[i], dy, dy,
						 NULL);
		round_factors(precision, n, dy);
		if (l->db != NULL)
			ops->sum_rows(d, m, l->outputs, dy, 0, l->db);
		ops->gemm(d, true, false, l->inputs, l->outputs, m, in[i], dy, 0,
				  l->dw);
		if (dx != NULL)
			ops->gemm(d, false, true, m, l->inputs, l->outputs, dy, w[i],
					  i > 0 ? 0 : a->dx_beta, dx);
		free(dy);
		dy = i > 0 ? dx : NULL;
		free(in[i + 1]);
		free(w[i]);
		free(z[i]);
		free(y[i]);
	}
	for (int i = 0; i < a->nlayers; i++)
	{
		if (a->layer[i].w_update != NULL)
			ops->optimizer(d, a->layer[i].w_update);
		if (a->layer[i].b_update != NULL)
			ops->optimizer(d, a->layer[i].b_update);
	}
	free(in[0]);
	free(x);
	free(target);
	free(weight);
}

/* The update of a parameter of n numbers, of all kinds in turn. */
static nn_optimizer_args
update_of(context *t, int number, size_t n, float *param, const float *grad)
{
	return (nn_optimizer_args){
		.kind = (nn_optimizer_kind) (number % NN_OPTIMIZER_KINDS),
		.rate = 0.01,
		.decay = number % 3 == 1 ? 0.1 : 0,
		.clip_value = number % 3 == 2 ? 0.4 : 0,
		.momentum = 0.9,
		.rho = 0.99,
		.epsilon = 1e-7,
		.t = 3,
		.n = n,
		.grad = grad,
		.slot = {positive(t, n, true), positive(t, n, true),
				 positive(t, n, true)},
		.param = param};
}

static void
run_one_mlp(context *t, nn_mlp_args *a, const int *width,
			const nn_function *function)
{
	nn_optimizer_args update[2 * NN_MLP_LAYERS];

	for (int i = 0; i < a->nlayers; i++)
	{
		nn_mlp_layer *l = &a->layer[i];
		size_t n = (size_t) width[i] * (size_t) width[i + 1];
		float *w = host_buffer(t, n, true, true), *b = NULL;

		/* small enough that no function is at its ends, or steep */
		for (size_t j = 0; j < n; j++)
			w[j] /= sqrtf((float) width[i]) *
					(function[i] == NN_EXPONENTIAL ? 8 : 1);
		l->inputs = width[i];
		l->outputs = width[i + 1];
		l->f = function[i];
		l->a = 0.3;
		if (i < a->nlayers - 1 && i % 3 != 2)
		{
			l->dropout = 0.3;
			l->key = nn_random_key(7, NN_STREAM_MASK + (uint32_t) i, 4);
		}
		w = at(t, w);
		if (i % 3 != 1)
			b = inout(t, width[i + 1]);
		l->w = w;
		l->b = b;
		l->dw = fresh(t, n);
		l->db = b != NULL ? fresh(t, width[i + 1]) : NULL;
		if (i % 2 == 1)
			continue;
		update[2 * i] = update_of(t, t->m + i, n, w, l->dw);
		l->w_update = &update[2 * i];
		if (b == NULL)
			continue;
		update[2 * i + 1] = update_of(t, t->m + i + 1, width[i + 1], b, l->db);
		l->b_update = &update[2 * i + 1];
	}
	a->loss.m = t->m;
	a->loss.n = width[a->nlayers];
	a->loss.scale = (t->m > 1000 ? 10.0 : 1.0) / t->m;
	a->loss.sum = sum_from(t, 1);
	if (t->remote)
		check(t->d->ops->mlp(t->d, a), "mlp does %d rows", t->m);
	else
		plain_mlp(t->d, a);
}

static int
narrow(int width)
{
	return width < NN_MLP_WIDTH ? width : NN_MLP_WIDTH;
}

/* Every loss, and every function before one of them. */
static void
run_every_loss(context *t)
{
	const int width[] = {narrow(t->k), narrow(t->n), 4};
	const double p[NN_LOSS_KINDS][2] = {
		[NN_LOSS_HUBER] = {0.7},
		[NN_LOSS_QUANTILE] = {0.3},
		[NN_LOSS_BINARY] = {0.1},
		[NN_LOSS_BINARY_FOCAL] = {2, 0.25},
		[NN_LOSS_CATEGORICAL_FOCAL] = {2, 0.25}};

	for (int i = 0; i < NN_LOSS_KINDS || i < NN_FUNCTIONS; i++)
	{
		const nn_function f[] = {(nn_function) (i % NN_FUNCTIONS), NN_LINEAR};
		const nn_loss_kind kind = (nn_loss_kind) (i % NN_LOSS_KINDS);
		bool classes =
			kind == NN_LOSS_CATEGORICAL || kind == NN_LOSS_CATEGORICAL_FOCAL;
		nn_mlp_args a = {.nlayers = 2, .x = in(t, (size_t) t->m * width[0])};
		float *y = host_in(t, (size_t) t->m * 4);

		/* class numbers, probabilities, counts: all will do as a number */
		for (int j = 0; j < t->m * 4; j++)
			y[j] = classes ? (float) (j % 4) : (float) (j % 5) / 4;
		a.loss.kind = kind;
		memcpy(a.loss.p, p[kind], sizeof(p[kind]));
		a.loss.y = at(t, y);
		run_one_mlp(t, &a, width, f);
	}
}

/* Half of twice as many rows as there are. */
static nn_rows
some_rows(const context *t, uint64_t number)
{
	return (nn_rows){
		nn_random_order(nn_random_key(4, NN_STREAM_SHUFFLE, number),
						2 * (uint32_t) t->m),
		(uint32_t) t->m / 2};
}

/* Of numbers and of classes; one layer, and as many as there may be; rows as
 * they are, and others. */
static void
run_mlp(context *t)
{
	const int many[] = {narrow(t->k), 9, 33, 1, 17, narrow(t->n), 8, 5, 3};
	const int few[] = {narrow(t->k), narrow(t->n), narrow(t->k), 4};
	const int one[] = {narrow(t->k), narrow(t->n)};
	const nn_function of_many[] = {NN_RELU, NN_TANH, NN_GELU,	 NN_LINEAR,
								   NN_SILU, NN_ELU,	 NN_SIGMOID, NN_LINEAR};
	const nn_function of_few[] = {NN_LEAKY_RELU, NN_MISH, NN_LINEAR};
	const nn_function of_one[] = {NN_SOFTPLUS};
	float *label = host_in(t, 2 * (size_t) t->m);
	nn_mlp_args a = {.nlayers = 8, .x = in(t, (size_t) t->m * many[0])};

	a.loss.kind = NN_LOSS_HUBER;
	a.loss.p[0] = 0.7;
	a.loss.y = in(t, (size_t) t->m * 3);
	run_one_mlp(t, &a, many, of_many);

	for (int i = 0; i < 2 * t->m; i++)
		label[i] = (float) (i % 4);
	a = (nn_mlp_args){.nlayers = 3,
					  .x = in(t, (size_t) t->m * few[0]),
					  .y_rows = some_rows(t, 1)};
	a.dx = out(t, (size_t) t->m * few[0]);
	a.dx_beta = t->beta;
	a.loss.kind = NN_LOSS_CATEGORICAL;
	a.loss.p[0] = 0.1;
	a.loss.y = at(t, label);
	a.loss.weight = positive(t, 2 * (size_t) t->m, false);
	run_one_mlp(t, &a, few, of_few);

	a = (nn_mlp_args){.nlayers = 1,
					  .x = in(t, 2 * (size_t) t->m * one[0]),
					  .x_rows = some_rows(t, 2),
					  .y_rows = {.first = 0}};
	a.loss.kind = NN_LOSS_MSE;
	a.loss.y = in(t, (size_t) t->m * one[1]);
	a.loss.weight = positive(t, t->m, false);
	run_one_mlp(t, &a, one, of_one);
}

#endif /* PERCEPTRON_CASES_H */
