/*
 * cpu_plain.c
 *	  The kernels in plain C: the definition, for every processor.
 *
 * The compiler may use whatever vector instructions all processors of the
 * architecture have.
 */
#include "cpu_kernels.h"

#define BLOCK_K 64

/* Rows p .. p + k of a block of columns of the transpose of b. */
static void
transpose_block(int k, int p, int count, int first, int bk, const nn_real *b,
				nn_real *block)
{
	for (int j = 0; j < count; j++)
	{
		const nn_real *from = b + (size_t) (first + j) * bk + p;

		for (int q = 0; q < k; q++)
			block[q * COLUMNS + j] = from[q];
	}
}

/* c = old c + a times a block of rows of b, in order of those rows */
static void
add_block(int count, int k, const nn_real *a, size_t acol,
		  const nn_real *restrict b, size_t brow, nn_real old,
		  nn_real *restrict c)
{
	nn_real sum[COLUMNS];

	for (int j = 0; j < count; j++)
		sum[j] = old == 0 ? 0 : old * c[j];
	for (int p = 0; p < k; p++, a += acol, b += brow)
	{
		nn_real x = *a;

		for (int j = 0; j < count; j++)
			sum[j] += x * b[j];
	}
	for (int j = 0; j < count; j++)
		c[j] = sum[j];
}

/* For one row and a block of columns at a time: the inner loop runs along
 * rows of b and of the sums. */
static void
k_gemm(nn_device *d, bool ta, bool tb, int m, int n, int k, const nn_real *a,
	   const nn_real *b, nn_real beta, nn_real *c)
{
	size_t arow = ta ? 1 : (size_t) k, acol = ta ? (size_t) m : 1;
	nn_real block[BLOCK_K * COLUMNS];

	for (int first = 0; first < n && !nn_device_stops(d); first += COLUMNS)
	{
		int count = n - first < COLUMNS ? n - first : COLUMNS;

		for (int p = 0; p < k; p += BLOCK_K)
		{
			int depth = k - p < BLOCK_K ? k - p : BLOCK_K;
			const nn_real *rows = b + (size_t) p * n + first;

			if (tb)
			{
				transpose_block(depth, p, count, first, k, b, block);
				rows = block;
			}
			for (int i = 0; i < m; i++)
				add_block(count, depth, a + i * arow + p * acol, acol, rows,
						  tb ? COLUMNS : n, p == 0 ? beta : 1,
						  c + (size_t) i * n + first);
		}
	}
}

static void
k_dense(nn_device *d, int m, int n, int k, const nn_real *x, const nn_real *w,
		const nn_real *b, nn_function f, double a, nn_real *z, nn_real *y)
{
	nn_real *to = z ? z : y;

	k_gemm(d, false, false, m, n, k, x, w, 0, to);
	for (int i = 0; b && i < m; i++)
	{
		NN_ELEMENTWISE
		for (int j = 0; j < n; j++)
			to[(size_t) i * n + j] += b[j];
	}
	if (z || f != NN_LINEAR)
		k_map(d, f, a, (size_t) m * n, to, y);
}

const nn_device_ops nn_cpu_plain = CPU_OPS("cpu");
