/*
 * kernel_cases.h
 *	  Calls of every kernel, for comparing a device with plain C.
 *
 * A case makes its buffers, calls kernels, and says which buffers they write.
 * Where the device has memory of its own, a buffer is copied there when it is
 * first handed to a kernel, and back at the end.  Each buffer is exactly as
 * large as it must be, so that AddressSanitizer, or an emulated device, sees
 * whoever goes beyond it.  Destinations are filled with NaN before beta = 0,
 * so that a kernel that reads one is caught.  Host memory that kernels are
 * given is overwritten as soon as they return.
 */
#ifndef KERNEL_CASES_H
#define KERNEL_CASES_H

#include "check.h"
#include "device.h"

#define MAX_BUFFERS 256
#define MAX_SUMS	32

typedef struct context
{
	nn_device *d;
	bool remote; /* the device has memory of its own */
	int m, n, k;
	float beta;
	uint64_t seed;
	int nbuffers;
	float *buffer[MAX_BUFFERS];
	void *device[MAX_BUFFERS];
	size_t count[MAX_BUFFERS];
	bool out[MAX_BUFFERS];
	double sum[MAX_SUMS];
	double *device_sum[MAX_SUMS];
	int nsums;
} context;

/* A copy on the device, of memory that nobody else frees. */
static void *
send(context *t, const void *host, size_t bytes)
{
	void *p = t->d->ops->alloc(t->d, bytes);

	if (p == NULL)
		exit(2);
	t->d->ops->upload(t->d, p, host, bytes);
	return p;
}

/* The buffer as kernels must be given it; from then on it is the device's. */
static float *
at(context *t, float *x)
{
	int b = 0;

	if (!t->remote)
		return x;
	while (t->buffer[b] != x)
		b++;
	if (t->device[b] == NULL)
		t->device[b] = send(t, x, t->count[b] * sizeof(float));
	return t->device[b];
}

/* Exact buffers in host memory. */
static float *
host_buffer(context *t, size_t count, bool out, bool filled)
{
	float *x = malloc(count * sizeof(float) + (count == 0));
	int b = t->nbuffers++;

	if (x == NULL || b >= MAX_BUFFERS)
		exit(2);
	for (size_t i = 0; i < count; i++)
		x[i] = filled ? (float) check_normal(t->seed++) : NAN;
	t->buffer[b] = x;
	t->count[b] = count;
	t->out[b] = out;
	return x;
}

static float *
host_in(context *t, size_t count)
{
	return host_buffer(t, count, false, true);
}

/*
 * The same on the device.  in: numbers to read.  out: beta-dependent.  fresh:
 * always overwritten.  inout: numbers, and compared.
 */
static float *
in(context *t, size_t count)
{
	return at(t, host_in(t, count));
}

static float *
out(context *t, size_t count)
{
	return at(t, host_buffer(t, count, true, t->beta != 0));
}

static float *
fresh(context *t, size_t count)
{
	return at(t, host_buffer(t, count, true, false));
}

static float *
inout(context *t, size_t count)
{
	return at(t, host_buffer(t, count, true, true));
}

static float *
positive(context *t, size_t count, bool compared)
{
	float *x = host_buffer(t, count, compared, true);

	for (size_t i = 0; i < count; i++)
		x[i] = fabsf(x[i]) + 0.1f;
	return at(t, x);
}

static double *
sum_from(context *t, double value)
{
	int s = t->nsums++;

	if (s >= MAX_SUMS)
		exit(2);
	t->sum[s] = value;
	if (!t->remote)
		return &t->sum[s];
	t->device_sum[s] = send(t, &t->sum[s], sizeof(double));
	return t->device_sum[s];
}

/* Bring all back to host memory; false when the device failed. */
static bool
collect(context *t)
{
	nn_device *d = t->d;
	nn_error err;

	if (!t->remote)
		return true;
	for (int b = 0; b < t->nbuffers; b++)
	{
		if (t->device[b] != NULL)
			d->ops->download(d, t->buffer[b], t->device[b],
							 t->count[b] * sizeof(float));
	}
	for (int s = 0; s < t->nsums; s++)
		d->ops->download(d, &t->sum[s], t->device_sum[s], sizeof(double));
	return d->ops->sync(d, &err);
}

static void
release(context *t)
{
	for (int b = 0; b < t->nbuffers; b++)
	{
		if (t->device[b] != NULL)
			t->d->ops->free(t->d, t->device[b]);
		free(t->buffer[b]);
	}
	for (int s = 0; s < t->nsums && t->remote; s++)
		t->d->ops->free(t->d, t->device_sum[s]);
}

static size_t
mn(const context *t)
{
	return (size_t) t->m * t->n;
}

/* Rows that stay in host memory until they are asked for. */
static void
run_upload_rows(context *t)
{
	float *x = host_in(t, mn(t));
	float *kept = malloc(mn(t) * sizeof(float));
	uint32_t *index = malloc((size_t) t->m * sizeof(uint32_t));

	if (kept == NULL || index == NULL)
		exit(2);
	memcpy(kept, x, mn(t) * sizeof(float));
	for (int i = 0; i < t->m; i++)
		index[i] = (uint32_t) ((i * 7 + 3) % t->m);
	t->d->ops->upload_rows(t->d, t->m, t->n, kept, index, fresh(t, mn(t)));
	t->d->ops->upload_rows(t->d, t->m, t->n, kept, NULL, fresh(t, mn(t)));
	memset(kept, 0xff, mn(t) * sizeof(float));
	memset(index, 0xff, (size_t) t->m * sizeof(uint32_t));
	for (int i = 0; i < 8; i++)
		t->d->ops->upload_rows(t->d, t->m, t->n, x, NULL, fresh(t, mn(t)));
	free(index);
	free(kept);
}

/* Rows in their order, of which some are wanted; and as they are. */
static void
run_gather(context *t)
{
	const nn_device_ops *ops = t->d->ops;
	nn_rows rows = {nn_random_order(nn_random_key(6, NN_STREAM_SHUFFLE, 1),
									(uint32_t) t->m),
					(uint32_t) (t->m / 3)};
	int m = t->m - t->m / 3;
	/* numbers of rows take the place of numbers */
	uint32_t *index = ops->alloc(t->d, (size_t) m * sizeof(uint32_t));
	float *x = in(t, mn(t));

	for (int i = 0; i < 2; i++)
	{
		ops->places(t->d, &rows, m, index);
		ops->gather(t->d, m, t->n, x, index, fresh(t, (size_t) m * t->n));
		rows.order.columns = 0;
	}
	ops->free(t->d, index);
}

static void
run_gemm(context *t)
{
	for (int c = 0; c < 4; c++)
	{
		const float *a = in(t, (size_t) t->m * t->k);
		const float *b = in(t, (size_t) t->k * t->n);

		t->d->ops->gemm(t->d, c & 1, c & 2, t->m, t->n, t->k, a, b, t->beta,
						out(t, mn(t)));
	}
}

static void
run_dense(context *t)
{
	float *x = in(t, (size_t) t->m * t->k);
	float *w = host_in(t, (size_t) t->k * t->n), *b = in(t, t->n);

	for (size_t i = 0; i < (size_t) t->k * t->n; i++)
		w[i] /= sqrtf(t->k);
	w = at(t, w);
	for (int f = 0; f < NN_FUNCTIONS; f++)
		t->d->ops->dense(t->d, t->m, t->n, t->k, x, w, f % 3 ? b : NULL, f, 0.3,
						 f % 2 ? fresh(t, mn(t)) : NULL, fresh(t, mn(t)));
}

static void
run_dense_slope(context *t)
{
	for (int f = 0; f < NN_FUNCTIONS; f++)
	{
		bool x = nn_function_needs_input(f);
		float *z = in(t, mn(t));
		float *dy = f % 2 ? in(t, mn(t)) : inout(t, mn(t));

		t->d->ops->dense_slope(t->d, t->m, t->n, f, 0.3, x ? z : NULL,
							   x ? NULL : z, dy, f % 2 ? fresh(t, mn(t)) : dy,
							   f % 3 ? fresh(t, t->n) : NULL);
	}
}

static void
run_map(context *t)
{
	for (int f = 0; f < NN_FUNCTIONS; f++)
	{
		float *x = inout(t, mn(t));

		t->d->ops->map(t->d, f, 0.3, mn(t), x, f % 2 ? x : fresh(t, mn(t)));
	}
}

static void
run_map_slope(context *t)
{
	for (int f = 0; f < NN_FUNCTIONS; f++)
	{
		bool x = nn_function_needs_input(f);
		float *v = in(t, mn(t));

		t->d->ops->map_slope(t->d, f, 0.3, mn(t), x ? v : NULL, x ? NULL : v,
							 in(t, mn(t)), t->beta, out(t, mn(t)));
	}
}

static void
run_elementwise(context *t)
{
	nn_key key = {12345};

	t->d->ops->axpby(t->d, mn(t), 0.7f, in(t, mn(t)), t->beta, out(t, mn(t)));
	t->d->ops->multiply(t->d, mn(t), in(t, mn(t)), in(t, mn(t)), t->beta,
						out(t, mn(t)));
	t->d->ops->dropout(t->d, mn(t), 0.3, key, UINT64_C(1) << 33, in(t, mn(t)),
					   t->beta, out(t, mn(t)));
}

static void
run_rows(context *t)
{
	int m = t->m, n = t->n;
	nn_device *d = t->d;

	d->ops->sum_rows(d, m, n, in(t, mn(t)), t->beta, out(t, n));
	d->ops->dot_rows(d, m, n, in(t, mn(t)), in(t, mn(t)), t->beta, out(t, n));
	d->ops->sum_squares_rows(d, m, n, in(t, mn(t)), in(t, n), fresh(t, n));
	for (int with = 0; with < 2; with++)
		d->ops->scale_rows(d, m, n, in(t, mn(t)), in(t, n),
						   with ? in(t, n) : NULL, t->beta, out(t, mn(t)));
	d->ops->copy_columns(d, m, n, in(t, (size_t) m * (n + 3)), n + 3, 2,
						 t->beta, inout(t, (size_t) m * (n + 5)), n + 5, 4);
}

static void
run_batch_norm(context *t)
{
	int m = t->m, n = t->n;
	nn_device *d = t->d;

	for (int with = 0; with < 2; with++)
	{
		float *var = positive(t, n, false);
		float *gamma = with ? in(t, n) : NULL;

		d->ops->batch_norm(d, m, n, 1e-3, in(t, mn(t)), in(t, n), var, gamma,
						   with ? in(t, n) : NULL,
						   with ? fresh(t, mn(t)) : NULL, fresh(t, mn(t)));
		d->ops->batch_norm_slope(d, m, n, 1e-3, m + 5, in(t, mn(t)), var, gamma,
								 in(t, n), in(t, n), in(t, mn(t)), t->beta,
								 out(t, mn(t)));
	}
}

static void
run_layer_norm(context *t)
{
	int m = t->m, n = t->n;
	nn_device *d = t->d;

	for (int with = 0; with < 2; with++)
	{
		float *gamma = with ? in(t, n) : NULL;

		d->ops->layer_norm(d, m, n, 1e-3, in(t, mn(t)), gamma,
						   with ? in(t, n) : NULL, fresh(t, m), fresh(t, m),
						   fresh(t, mn(t)));
		d->ops->layer_norm_slope(
			d, m, n, in(t, mn(t)), gamma, in(t, m), positive(t, m, false),
			in(t, mn(t)), t->beta, with ? NULL : out(t, mn(t)),
			with ? fresh(t, n) : NULL, with ? fresh(t, n) : NULL);
	}
}

static void
run_softmax(context *t)
{
	t->d->ops->softmax(t->d, t->m, t->n, in(t, mn(t)), fresh(t, mn(t)));
	t->d->ops->softmax_slope(t->d, t->m, t->n, in(t, mn(t)), in(t, mn(t)),
							 t->beta, out(t, mn(t)));
}

static void
run_lookup(context *t)
{
	int levels[] = {3, 1, 17}, first[] = {0, 3, 4};
	int m = t->m, n = t->n;
	float *code = host_in(t, (size_t) m * 3);

	/* codes just outside the table on both sides, and one that is none */
	for (int i = 0; i < m * 3; i++)
		code[i] = (float) ((i * 5) % 21 - 1);
	code[m] = NAN;
	code = at(t, code);
	t->d->ops->lookup(t->d, m, 3, n, levels, first, code, in(t, 21 * n),
					  fresh(t, mn(t) * 3));
	t->d->ops->lookup_slope(t->d, m, 3, n, levels, first, 21, code,
							in(t, mn(t) * 3), fresh(t, 21 * n));
	t->d->ops->one_hot(t->d, m, 3, levels, first, 21, code, in(t, 21),
					   in(t, 21), fresh(t, (size_t) m * 21));
	memset(levels, 0xff, sizeof(levels));
	memset(first, 0xff, sizeof(first));
}

static void
run_piecewise(context *t)
{
	int m = t->m, n = t->k < 9 ? t->k : 9, units = t->n, most = 4;
	size_t table = (size_t) n * units;
	float *knot = host_in(t, n * (most + 1));

	/* columns of 0 to 4 bins */
	for (int c = 0; c < n; c++)
	{
		for (int j = 0; j <= most; j++)
			knot[c * (most + 1) + j] = (float) (j < c % 5 ? j : c % 5) - 1;
	}
	knot = at(t, knot);
	t->d->ops->piecewise(t->d, m, n, units, most, knot, in(t, (size_t) m * n),
						 in(t, table), in(t, table), in(t, table * most),
						 fresh(t, m * table));
	t->d->ops->piecewise_slope(
		t->d, m, n, units, most, knot, in(t, (size_t) m * n), in(t, m * table),
		fresh(t, table), fresh(t, table), fresh(t, table * most));
}

static void
run_loss(context *t)
{
	for (int kind = 0; kind < NN_LOSS_KINDS; kind++)
	{
		bool classes =
			kind == NN_LOSS_CATEGORICAL || kind == NN_LOSS_CATEGORICAL_FOCAL;
		float *y = host_in(t, classes ? (size_t) t->m : mn(t));
		nn_loss_args a = {.kind = kind,
						  .p = {kind == NN_LOSS_BINARY_FOCAL ? 2 : 0.1, 0.25},
						  .m = t->m,
						  .n = t->n,
						  .pred = in(t, mn(t)),
						  .weight = kind % 2 ? positive(t, t->m, false) : NULL,
						  .sum = sum_from(t, 1),
						  .dpred = fresh(t, mn(t)),
						  .scale = 0.01};

		for (size_t i = 0; classes && i < (size_t) t->m; i++)
			y[i] = (float) (i % t->n);
		a.y = at(t, y);
		t->d->ops->loss(t->d, &a);
		if (kind % 3 == 0)
			a.dpred = NULL, t->d->ops->loss(t->d, &a);
	}
}

static void
run_optimizer(context *t)
{
	for (int v = 0; v < 12; v++)
	{
		size_t n = mn(t);
		nn_optimizer_args a = {.kind = v % 4,
							   .rate = 0.01,
							   .decay = v / 4 == 1 ? 0.1 : 0,
							   .squares = v % 2 ? sum_from(t, v) : NULL,
							   .most = 0.5,
							   .clip_value = v / 4 == 2 ? 0.4 : 0,
							   .momentum = v == 0 || v >= 8 ? 0 : 0.9,
							   .rho = 0.99,
							   .epsilon = 1e-7,
							   .nesterov = v / 4 == 1,
							   .centered = v / 4 != 0,
							   .amsgrad = v / 4 == 1,
							   .t = 3,
							   .n = n,
							   .grad = in(t, n),
							   .slot = {positive(t, n, true),
										positive(t, n, true),
										positive(t, n, true)},
							   .param = inout(t, n)};

		t->d->ops->optimizer(t->d, &a);
	}
}

static void
run_penalty(context *t)
{
	size_t n = mn(t);

	t->d->ops->sum_squares(t->d, n, in(t, n), sum_from(t, 0));
	t->d->ops->regularize(t->d, n, 0.1, 0.2, in(t, n), sum_from(t, 1),
						  inout(t, n));
	t->d->ops->regularize(t->d, n, 0.1, 0.2, in(t, n), sum_from(t, 2), NULL);
}

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

		/* small enough that no function is at its ends */
		for (size_t j = 0; j < n; j++)
			w[j] /= sqrtf((float) width[i]);
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
	a->loss.scale = 1.0 / t->m;
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

static void
run_in(context *t, nn_precision precision, void (*run)(context *t))
{
	nn_precision before = t->d->precision;

	t->d->precision = precision;
	run(t);
	t->d->precision = before;
}

static void
run_mlp_tf32(context *t)
{
	run_in(t, NN_TF32, run_mlp);
}

static void
run_mlp_bf16(context *t)
{
	run_in(t, NN_BF16, run_mlp);
}

static void
run_every_loss_tf32(context *t)
{
	run_in(t, NN_TF32, run_every_loss);
}

static void
run_every_loss_bf16(context *t)
{
	run_in(t, NN_BF16, run_every_loss);
}

static const struct
{
	const char *name;
	void (*run)(context *t);
	double limit; /* relative to the sum of what was added; 0: same bits */
	double apart; /* the same for a device that adds in another order */
} kernels[] = {
	{"places, gather", run_gather, 0, 0},
	{"upload_rows", run_upload_rows, 0, 0},
	{"gemm", run_gemm, 3e-6, 3e-6},
	{"dense", run_dense, 3e-6, 3e-6},
	{"dense_slope", run_dense_slope, 0, 3e-7},
	{"map", run_map, 0, 0},
	{"map_slope", run_map_slope, 0, 0},
	{"axpby, multiply, dropout", run_elementwise, 0, 0},
	{"sums of rows, scale_rows, copy_columns", run_rows, 0, 3e-7},
	{"batch_norm", run_batch_norm, 0, 3e-7},
	{"layer_norm", run_layer_norm, 0, 3e-7},
	{"softmax", run_softmax, 0, 3e-7},
	{"lookup, one_hot", run_lookup, 0, 3e-7},
	{"piecewise", run_piecewise, 0, 3e-6},
	{"loss", run_loss, 0, 3e-7},
	{"optimizer", run_optimizer, 0, 0},
	{"sum_squares, regularize", run_penalty, 0, 3e-7},
	{"mlp", run_mlp, 3e-6, 3e-6},
	{"mlp of every loss", run_every_loss, 3e-6, 3e-6},
	/* a number at the edge may be rounded the other way */
	{"mlp, tf32", run_mlp_tf32, 1e-4, 1e-4},
	{"mlp, bf16", run_mlp_bf16, 1e-3, 1e-3},
	{"mlp of every loss, tf32", run_every_loss_tf32, 1e-4, 1e-4},
	{"mlp of every loss, bf16", run_every_loss_bf16, 1e-3, 1e-3},
};
#define KERNELS ((int) (sizeof(kernels) / sizeof(kernels[0])))

/* Run a case; false when the device failed. */
static bool
run_case(context *t, nn_device *d, bool remote, int kernel, int m, int n, int k,
		 float beta)
{
	memset(t, 0, sizeof(*t));
	t->d = d;
	t->remote = remote;
	t->m = m;
	t->n = n;
	t->k = k;
	t->beta = beta;
	kernels[kernel].run(t);
	return collect(t);
}

/*
 * The greatest difference, as a multiple of the limit; a number and a sum of k
 * products may differ by the limit times the root of k.  Limit 0: the bits.
 */
static double
difference(const context *x, const context *y, double limit)
{
	double worst = 0;

	for (int b = 0; b < x->nbuffers; b++)
	{
		if (!x->out[b])
			continue;
		for (size_t i = 0; i < x->count[b]; i++)
		{
			float p = x->buffer[b][i], q = y->buffer[b][i];
			double off = fabs((double) p - q);

			if (!isfinite(p) || !isfinite(q))
				return INFINITY;
			if (limit > 0)
				off /= limit * sqrt(x->k + 10) * (1 + fabs(p));
			else
				off = memcmp(&p, &q, sizeof(p)) != 0 ? INFINITY : 0;
			worst = fmax(worst, off);
		}
	}
	for (int s = 0; s < x->nsums; s++)
	{
		double off = fabs(x->sum[s] - y->sum[s]) / (1 + fabs(x->sum[s]));

		if (!(off <= limit))
			return INFINITY;
	}
	return worst;
}

#endif /* KERNEL_CASES_H */
