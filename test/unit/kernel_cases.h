/*
 * kernel_cases.h
 *	  Calls of every kernel, for comparing a device with plain C.
 *
 * Host memory that kernels are given is overwritten as soon as they return.
 */
#ifndef KERNEL_CASES_H
#define KERNEL_CASES_H

#include "kernel_buffers.h"
#include "perceptron_cases.h"

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

static const struct
{
	const char *name;
	void (*run)(context *t);
	double limit; /* relative to the sum of what was added; 0: same bits */
	double apart; /* the same for a device that adds in another order */
	nn_precision precision; /* in which a device need not compute */
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
	{"mlp, tf32", run_mlp, 1e-4, 1e-4, NN_TF32},
	{"mlp, bf16", run_mlp, 1e-3, 1e-3, NN_BF16},
	{"mlp of every loss, tf32", run_every_loss, 1e-4, 1e-4, NN_TF32},
	{"mlp of every loss, bf16", run_every_loss, 1e-3, 1e-3, NN_BF16},
};
#define KERNELS ((int) (sizeof(kernels) / sizeof(kernels[0])))

/* Run a case in a precision, of device and plain C; false when it failed. */
static bool
run_case_in(context *t, nn_device *d, bool remote, int kernel,
			nn_precision precision, int m, int n, int k, float beta)
{
	nn_precision before = d->precision;

	memset(t, 0, sizeof(*t));
	t->d = d;
	t->remote = remote;
	t->m = m;
	t->n = n;
	t->k = k;
	t->beta = beta;
	d->precision = precision;
	kernels[kernel].run(t);
	d->precision = before;
	return collect(t);
}

/* Run a case; false when the device failed. */
static bool
run_case(context *t, nn_device *d, bool remote, int kernel, int m, int n, int k,
		 float beta)
{
	return run_case_in(t, d, remote, kernel, kernels[kernel].precision, m, n, k,
					   beta);
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
