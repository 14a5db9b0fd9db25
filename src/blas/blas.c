/*
 * blas.c
 *	  The CPU provider on OpenBLAS: neural_blas.so, opened on demand.
 *
 * It replaces the matrix products of the CPU device.  Threads are the
 * engine's: they call the products at the same time, so OpenBLAS itself is
 * told to use one.  OpenBLAS chooses its kernels by m, so rows are no longer
 * independent of each other.
 *
 * Whether OpenBLAS does better than our own kernels is decided by names, never
 * by a measurement, which would make results depend on the load of the
 * machine.  Our AVX2 and AVX-512 products are as fast as those of OpenBLAS
 * 0.3.21 at 1024^3 and 1.2 to 1.8 times as fast at the shapes of tabular
 * networks (bench/kernels.c), so OpenBLAS is for processors that have neither:
 * those that are not x86-64, and the old ones that are.
 */
#include <cblas.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "../nn/device.h"

/* About as many numbers of y as stay in the second-level cache until the bias
 * and the function have been applied. */
#define BLOCK_NUMBERS 65536

/* Multiplications between two looks at whether to stop. */
#define PART_WORK 1e9

#ifdef NN_REAL_IS_DOUBLE
#error "the provider is built for single precision"
#endif

static void
blas_gemm(nn_device *d, bool ta, bool tb, int m, int n, int k, const float *a,
		  const float *b, float beta, float *c)
{
	double row_work = (double) n * k;
	int rows = row_work * m <= PART_WORK ? m : (int) (PART_WORK / row_work) + 1;

	if (n == 1)
	{
		cblas_sgemv(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, ta ? k : m,
					ta ? m : k, 1, a, ta ? m : k, b, 1, beta, c, 1);
		return;
	}
	for (int i = 0; i < m && !nn_device_stops(d); i += rows)
		cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans,
					tb ? CblasTrans : CblasNoTrans, m - i < rows ? m - i : rows,
					n, k, 1, ta ? a + i : a + (size_t) i * k, ta ? m : k, b,
					tb ? k : n, beta, c + (size_t) i * n, n);
}

static void
blas_dense(nn_device *d, int m, int n, int k, const float *x, const float *w,
		   const float *b, nn_function f, double a, float *z, float *y)
{
	int rows = BLOCK_NUMBERS / n > 64 ? BLOCK_NUMBERS / n : 64;

	for (int i = 0; i < m; i += rows)
	{
		int count = m - i < rows ? m - i : rows;
		float *to = (z ? z : y) + (size_t) i * n;

		for (int r = 0; b && r < count; r++)
			memcpy(to + (size_t) r * n, b, (size_t) n * sizeof(float));
		blas_gemm(d, false, false, count, n, k, x + (size_t) i * k, w,
				  b ? 1 : 0, to);
		if (z || f != NN_LINEAR)
			d->ops->map(d, f, a, (size_t) count * n, to, y + (size_t) i * n);
	}
}

extern bool NN_PROVIDER(nn_device_ops *ops, char *why, size_t why_size)
	__attribute__((visibility("default")));

bool
NN_PROVIDER(nn_device_ops *ops, char *why, size_t why_size)
{
	if (strcmp(ops->name, "cpu") != 0)
	{
		snprintf(why, why_size,
				 "The engine's own kernels (\"%s\") are as fast on this "
				 "processor.",
				 ops->name);
		return false;
	}
	if (strcasecmp(openblas_get_corename(), "generic") == 0)
	{
		snprintf(why, why_size,
				 "OpenBLAS has no kernels for this processor either.");
		return false;
	}
	openblas_set_num_threads(1);
	ops->name = "cpu, OpenBLAS";
	ops->row_independent = false;
	ops->gemm = blas_gemm;
	ops->dense = blas_dense;
	return true;
}
