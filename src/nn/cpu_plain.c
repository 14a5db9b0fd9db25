/*
 * cpu_plain.c
 *	  The kernels in plain C: the definition, for every processor.
 *
 * The compiler may use whatever vector instructions all processors of the
 * architecture have.
 */
#include "cpu_kernels.h"

/*
 * Sum over k in order of k, for one row and a block of columns at a time, so
 * that the inner loop runs along rows of b and of the sums.
 */
static void
k_gemm(nn_device *d, bool ta, bool tb, int m, int n, int k, const nn_real *a,
	   const nn_real *b, nn_real beta, nn_real *c)
{
	size_t arow = ta ? 1 : (size_t) k, acol = ta ? (size_t) m : 1;
	nn_real sum[COLUMNS];

	(void) d;
	for (int i = 0; i < m; i++)
	{
		for (int first = 0; first < n; first += COLUMNS)
		{
			int count = n - first < COLUMNS ? n - first : COLUMNS;
			nn_real *to = c + (size_t) i * n + first;

			for (int j = 0; j < count; j++)
				sum[j] = beta == 0 ? 0 : beta * to[j];
			for (int p = 0; p < k; p++)
			{
				nn_real x = a[i * arow + p * acol];

				if (tb)
				{
					for (int j = 0; j < count; j++)
						sum[j] += x * b[(size_t) (first + j) * k + p];
				}
				else
				{
					const nn_real *row = b + (size_t) p * n + first;

					for (int j = 0; j < count; j++)
						sum[j] += x * row[j];
				}
			}
			for (int j = 0; j < count; j++)
				to[j] = sum[j];
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
