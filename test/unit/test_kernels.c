/* builds: float asan */
/*
 * test_kernels.c
 *	  Every kernel of every SIMD level against plain C, for many shapes.
 *
 * Levels are the same source, compiled with other flags and no licence to
 * reorder, so all kernels but the matrix products must give the same bits.
 * The products differ by the fused multiply-add: each is allowed 3e-6 of what
 * was added up.  Destinations are filled with NaN before beta = 0, so that a
 * kernel that reads one is caught; each buffer is exactly as large as it must
 * be, so that AddressSanitizer sees whoever goes beyond it.
 */
#include "check.h"
#include "device.h"

#define MAX_BUFFERS 64

typedef struct context
{
	nn_device *d;
	int m, n, k;
	float beta;
	uint64_t seed;
	int nbuffers;
	float *buffer[MAX_BUFFERS];
	size_t count[MAX_BUFFERS];
	bool out[MAX_BUFFERS];
	const char *label[MAX_BUFFERS];
	double sum[32];
	int nsums;
} context;

/*
 * Exact buffers.  in: numbers to read.  out: beta-dependent.  fresh: always
 * overwritten.  inout: numbers, and compared.
 */
static float *
buffer(context *t, size_t count, bool out, bool filled)
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
	t->label[b] = "";
	return x;
}

static float *
in(context *t, size_t count)
{
	return buffer(t, count, false, true);
}

static float *
out(context *t, size_t count)
{
	return buffer(t, count, true, t->beta != 0);
}

static float *
fresh(context *t, size_t count)
{
	return buffer(t, count, true, false);
}

static float *
positive(context *t, size_t count, bool compared)
{
	float *x = buffer(t, count, compared, true);

	for (size_t i = 0; i < count; i++)
		x[i] = fabsf(x[i]) + 0.1f;
	return x;
}

static size_t
mn(const context *t)
{
	return (size_t) t->m * t->n;
}

static void
run_gather(context *t)
{
	uint32_t *index = malloc(t->m * sizeof(uint32_t));

	for (int i = 0; i < t->m; i++)
		index[i] = (uint32_t) (i * 7) % t->m;
	t->d->ops->gather(t->d, t->m, t->n, in(t, mn(t)), index, fresh(t, mn(t)));
	free(index);
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
	float *x = in(t, (size_t) t->m * t->k), *w = in(t, (size_t) t->k * t->n);
	float *b = in(t, t->n);

	for (size_t i = 0; i < (size_t) t->k * t->n; i++)
		w[i] /= sqrtf(t->k);
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
		float *dy = f % 2 ? in(t, mn(t)) : buffer(t, mn(t), true, true);

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
		float *x = buffer(t, mn(t), true, true);

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
						 t->beta, buffer(t, (size_t) m * (n + 5), true, true),
						 n + 5, 4);
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
	static const int levels[] = {3, 1, 17}, first[] = {0, 3, 4};
	int m = t->m, n = t->n;
	float *code = in(t, (size_t) m * 3);

	/* codes just outside the table on both sides, and one that is none */
	for (int i = 0; i < m * 3; i++)
		code[i] = (float) ((i * 5) % 21 - 1);
	code[m] = NAN;
	t->d->ops->lookup(t->d, m, 3, n, levels, first, code, in(t, 21 * n),
					  fresh(t, mn(t) * 3));
	t->d->ops->lookup_slope(t->d, m, 3, n, levels, first, 21, code,
							in(t, mn(t) * 3), fresh(t, 21 * n));
	t->d->ops->one_hot(t->d, m, 3, levels, first, 21, code, in(t, 21),
					   in(t, 21), fresh(t, (size_t) m * 21));
}

static void
run_piecewise(context *t)
{
	int m = t->m, n = t->k < 9 ? t->k : 9, units = t->n, most = 4;
	size_t table = (size_t) n * units;
	float *knot = in(t, n * (most + 1));

	/* columns of 0 to 4 bins */
	for (int c = 0; c < n; c++)
	{
		for (int j = 0; j <= most; j++)
			knot[c * (most + 1) + j] = (float) (j < c % 5 ? j : c % 5) - 1;
	}
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
		float *y = in(t, classes ? (size_t) t->m : mn(t));
		nn_loss_args a = {.kind = kind,
						  .p = {kind == NN_LOSS_BINARY_FOCAL ? 2 : 0.1, 0.25},
						  .m = t->m,
						  .n = t->n,
						  .pred = in(t, mn(t)),
						  .y = y,
						  .weight = kind % 2 ? positive(t, t->m, false) : NULL,
						  .sum = &t->sum[t->nsums++],
						  .dpred = fresh(t, mn(t)),
						  .scale = 0.01};

		for (size_t i = 0; classes && i < (size_t) t->m; i++)
			y[i] = (float) (i % t->n);
		*a.sum = 1;
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
							   .grad_scale = 0.5,
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
							   .param = buffer(t, n, true, true)};

		t->d->ops->optimizer(t->d, &a);
	}
}

static void
run_penalty(context *t)
{
	double *sum = &t->sum[t->nsums];

	t->nsums += 3;
	t->d->ops->sum_squares(t->d, mn(t), in(t, mn(t)), &sum[0]);
	t->d->ops->regularize(t->d, mn(t), 0.1, 0.2, in(t, mn(t)), &sum[1],
						  buffer(t, mn(t), true, true));
	t->d->ops->regularize(t->d, mn(t), 0.1, 0.2, in(t, mn(t)), &sum[2], NULL);
}

static const struct
{
	const char *name;
	void (*run)(context *t);
	double limit; /* relative to the sum of what was added; 0: same bits */
} kernels[] = {
	{"gather", run_gather, 0},
	{"gemm", run_gemm, 3e-6},
	{"dense", run_dense, 3e-6},
	{"dense_slope", run_dense_slope, 0},
	{"map", run_map, 0},
	{"map_slope", run_map_slope, 0},
	{"axpby, multiply, dropout", run_elementwise, 0},
	{"sums of rows, scale_rows, copy_columns", run_rows, 0},
	{"batch_norm", run_batch_norm, 0},
	{"layer_norm", run_layer_norm, 0},
	{"softmax", run_softmax, 0},
	{"lookup, one_hot", run_lookup, 0},
	{"piecewise", run_piecewise, 0},
	{"loss", run_loss, 0},
	{"optimizer", run_optimizer, 0},
	{"sum_squares, regularize", run_penalty, 0},
};

static const struct
{
	int m, n, k;
} shapes[] = {{1, 1, 1},	{1, 7, 3},	  {3, 5, 28},	{2, 16, 17},
			  {7, 17, 64},	{64, 33, 1},  {65, 128, 9}, {129, 65, 300},
			  {5, 300, 33}, {515, 3, 65}, {4, 131, 16}, {15, 63, 513},
			  {300, 1, 70}, {29, 2, 257}, {6, 64, 1024}};

static void
run_on(context *t, const nn_device_ops *ops, int kernel, int shape, float beta)
{
	static nn_device d;

	memset(t, 0, sizeof(*t));
	d.ops = ops;
	t->d = &d;
	t->m = shapes[shape].m;
	t->n = shapes[shape].n;
	t->k = shapes[shape].k;
	t->beta = beta;
	kernels[kernel].run(t);
}

static void
release(context *t)
{
	for (int b = 0; b < t->nbuffers; b++)
		free(t->buffer[b]);
}

/* The greatest difference, as a multiple of the limit. */
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
		if (!(x->sum[s] == y->sum[s]))
			return INFINITY;
	}
	return worst;
}

static void
compare_levels(const nn_device_ops *ops)
{
	for (size_t kernel = 0; kernel < sizeof(kernels) / sizeof(kernels[0]);
		 kernel++)
	{
		for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++)
		{
			for (float beta = 0; beta <= 1; beta += 0.5f)
			{
				context plain, level;
				double worst;

				run_on(&plain, &nn_cpu_plain, kernel, s, beta);
				run_on(&level, ops, kernel, s, beta);
				worst = difference(&plain, &level, kernels[kernel].limit);
				check(worst <= 1, "%s: %s, m %d n %d k %d beta %g: %.3g",
					  ops->name, kernels[kernel].name, shapes[s].m, shapes[s].n,
					  shapes[s].k, beta, worst);
				release(&plain);
				release(&level);
			}
		}
	}
}

/* Destinations that may not be touched, and aliases, were in the above; here
 * beta = 1 must be beta = 0 plus what was there. */
static void
check_accumulation(int kernel)
{
	for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++)
	{
		nn_device d = {&nn_cpu_plain, NULL};
		context t = {
			.d = &d, .m = shapes[s].m, .n = shapes[s].n, .k = shapes[s].k};
		float *a = in(&t, (size_t) t.m * t.k), *b = in(&t, (size_t) t.k * t.n);
		float *c = in(&t, mn(&t)), *before = in(&t, mn(&t));
		double worst = 0;

		memcpy(before, c, mn(&t) * sizeof(float));
		d.ops->gemm(&d, kernel & 1, kernel & 2, t.m, t.n, t.k, a, b, 0.5f, c);
		for (int i = 0; i < t.m; i++)
		{
			for (int j = 0; j < t.n; j++)
			{
				size_t at = (size_t) i * t.n + j;
				double sum = 0.5 * before[at], size = fabs(sum);

				for (int p = 0; p < t.k; p++)
				{
					double term =
						(double) (kernel & 1 ? a[p * t.m + i]
											 : a[i * t.k + p]) *
						(kernel & 2 ? b[j * t.k + p] : b[p * t.n + j]);

					sum += term;
					size += fabs(term);
				}
				worst = fmax(worst, fabs(c[at] - sum) / size);
			}
		}
		check(worst < 1e-6, "plain gemm %d, m %d n %d k %d: %.3g", kernel, t.m,
			  t.n, t.k, worst);
		release(&t);
	}
}

/* Things that plain C must do, besides agreeing with itself. */
static void
check_plain(void)
{
	nn_device d = {&nn_cpu_plain, NULL};
	nn_key key = nn_random_key(1, NN_STREAM_MASK, 7);
	static const int levels[] = {3, 2}, first[] = {0, 3};
	const float code[] = {2, -1, 3, 1}, on[] = {1, 2, 3, 4, 5},
				off[] = {0, -1, -2, -3, -4}, one = 1;
	float x[3] = {1000, 1001, 999}, y[1000], table[10];
	bool right = true;
	double sum = 0;
	nn_loss_args outside = {
		NN_LOSS_CATEGORICAL, {0, 0}, 1, 2, x, &x[0], NULL, &sum, NULL, 1};

	for (int i = 0; i < 1000; i++)
		d.ops->dropout(&d, 1, 0.25, key, 5 + i, &one, 0, &y[i]);
	for (int i = 0; i < 1000; i++)
		right &= y[i] == (nn_random_uniform(key, 5 + i) < 0.25 ? 0 : 1 / 0.75f);
	check(right, "dropout follows the random numbers");

	d.ops->softmax(&d, 1, 3, x, y);
	check(fabsf(y[0] + y[1] + y[2] - 1) < 1e-6f &&
			  fabsf(y[1] - 0.66524096f) < 1e-6f,
		  "softmax of great numbers");

	for (int i = 0; i < 10; i++)
		table[i] = (float) i;
	d.ops->lookup(&d, 2, 2, 2, levels, first, code, table, y);
	check(y[0] == 4 && y[1] == 5 && y[2] == 0 && y[3] == 0 && y[4] == 0 &&
			  y[5] == 0 && y[6] == 8 && y[7] == 9,
		  "lookup, two codes outside");
	d.ops->one_hot(&d, 2, 2, levels, first, 5, code, on, off, y);
	check(y[0] == 0 && y[2] == 3 && y[3] == -3 && y[4] == -4 && y[7] == -2 &&
			  y[8] == -3 && y[9] == 5,
		  "one_hot, two codes outside");
	d.ops->loss(&d, &outside);
	check(isnan(sum), "a class that does not exist makes the loss NaN");
}

static void
check_memory(void)
{
	nn_device d = {&nn_cpu_plain, NULL};
	nn_error err = {0};
	void *p;

	check(d.ops->open(&d, 0, &err), "open");
	check(!d.ops->open(&d, 1, &err) && err.code == NN_UNAVAILABLE,
		  "a second CPU device: %s", err.message);
	p = d.ops->alloc(&d, 65);
	check(p != NULL && (uintptr_t) p % 64 == 0, "memory is aligned");
	d.ops->free(&d, p);
	check(d.ops->alloc(&d, SIZE_MAX) == NULL, "too much memory");
	check(d.ops->alloc(&d, SIZE_MAX - 64) == NULL, "too much memory");
	check(d.ops->sync(&d, &err), "sync");
	d.ops->close(&d);
}

int
main(void)
{
	const nn_device_ops *last = &nn_cpu_plain;

	check_memory();
	check_plain();
	for (int transposed = 0; transposed < 4; transposed++)
		check_accumulation(transposed);
	for (int level = 1; level < 4; level++)
	{
		const nn_device_ops *ops = nn_cpu_ops(level);

		check(ops->row_independent, "%s: rows are independent", ops->name);
		if (ops != last)
			compare_levels(ops);
		last = ops;
	}
	return check_failed;
}
