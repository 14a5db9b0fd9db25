/* builds: float asan */
/*
 * test_kernels.c
 *	  Every kernel of every SIMD level against plain C, for many shapes.
 *
 * Levels are the same source, compiled with other flags and no licence to
 * reorder, so all kernels but the matrix products must give the same bits.
 * The products differ by the fused multiply-add: each is allowed 3e-6 of what
 * was added up.
 */
#include "kernel_cases.h"

static const struct
{
	int m, n, k;
} shapes[] = {{1, 1, 1},	{1, 7, 3},	  {3, 5, 28},	{2, 16, 17},
			  {7, 17, 64},	{64, 33, 1},  {65, 128, 9}, {129, 65, 300},
			  {5, 300, 33}, {515, 3, 65}, {4, 131, 16}, {15, 63, 513},
			  {300, 1, 70}, {29, 2, 257}, {6, 64, 1024}};

static void
compare_levels(const nn_device_ops *ops)
{
	nn_device d = {&nn_cpu_plain, NULL}, other = {ops, NULL};

	for (int kernel = 0; kernel < KERNELS; kernel++)
	{
		for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++)
		{
			for (float beta = 0; beta <= 1; beta += 0.5f)
			{
				context plain, level;
				double worst;

				run_case(&plain, &d, false, kernel, shapes[s].m, shapes[s].n,
						 shapes[s].k, beta);
				run_case(&level, &other, false, kernel, shapes[s].m,
						 shapes[s].n, shapes[s].k, beta);
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
