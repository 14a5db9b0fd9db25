/*
 * kernel_lookup.h
 *	  Kernels that take table rows by code or by bin; see cpu_kernels.h.
 */
#ifndef NN_KERNEL_LOOKUP_H
#define NN_KERNEL_LOOKUP_H

#include "kernel_rows.h"

/* The row of the table, or -1; NaN is outside too. */
static inline int
table_row(nn_real code, int levels, int first)
{
	return code >= 0 && code < (nn_real) levels ? first + (int) code : -1;
}

static void
k_lookup(nn_device *d, int m, int ncodes, int n, const int *levels,
		 const int *first, const nn_real *code, const nn_real *table,
		 nn_real *y)
{
	(void) d;
	for (int i = 0; i < m; i++)
	{
		for (int c = 0; c < ncodes; c++, code++, y += n)
		{
			int row = table_row(*code, levels[c], first[c]);

			if (row < 0)
				memset(y, 0, (size_t) n * sizeof(nn_real));
			else
				memcpy(y, table + (size_t) row * n,
					   (size_t) n * sizeof(nn_real));
		}
	}
}

static void
k_lookup_slope(nn_device *d, int m, int ncodes, int n, const int *levels,
			   const int *first, int total, const nn_real *code,
			   const nn_real *dy, nn_real *dtable)
{
	(void) d;
	memset(dtable, 0, (size_t) total * n * sizeof(nn_real));
	for (int i = 0; i < m; i++)
	{
		for (int c = 0; c < ncodes; c++, code++, dy += n)
		{
			int row = table_row(*code, levels[c], first[c]);
			nn_real *to = dtable + (size_t) row * n;

			if (row < 0)
				continue;
			NN_ELEMENTWISE
			for (int j = 0; j < n; j++)
				to[j] += dy[j];
		}
	}
}

static void
k_one_hot(nn_device *d, int m, int ncodes, const int *levels, const int *first,
		  int total, const nn_real *code, const nn_real *on, const nn_real *off,
		  nn_real *y)
{
	(void) d;
	for (int i = 0; i < m; i++, y += total)
	{
		memcpy(y, off, (size_t) total * sizeof(nn_real));
		for (int c = 0; c < ncodes; c++, code++)
		{
			int place = table_row(*code, levels[c], first[c]);

			if (place >= 0)
				y[place] = on[place];
		}
	}
}

/* The number of bins of a column: the leading knots that ascend. */
static inline int
count_bins(const nn_real *knot, int max_bins)
{
	int n = 0;

	while (n < max_bins && knot[n] < knot[n + 1])
		n++;
	return n;
}

/* How far x is through bin j of n: 0 below and 1 above, but open outside. */
static inline nn_real
bin_share(nn_real x, const nn_real *knot, int j, int n)
{
	nn_real share = (x - knot[j]) / (knot[j + 1] - knot[j]);

	if (j > 0)
		share = nn_at_least(share, 0);
	if (j < n - 1)
		share = nn_at_most(share, 1);
	return share;
}

static void
k_piecewise(nn_device *d, int m, int n, int units, int max_bins,
			const nn_real *knot, const nn_real *x, const nn_real *l,
			const nn_real *b, const nn_real *v, nn_real *y)
{
	(void) d;
	for (int c = 0; c < n; c++)
	{
		const nn_real *k = knot + (size_t) c * (max_bins + 1);
		int bins = count_bins(k, max_bins);

		for (int i = 0; i < m; i++)
		{
			nn_real number = x[(size_t) i * n + c];
			nn_real *to = y + ((size_t) i * n + c) * units;

			NN_ELEMENTWISE
			for (int u = 0; u < units; u++)
				to[u] = l[(size_t) c * units + u] * number +
						b[(size_t) c * units + u];
			for (int j = 0; j < bins; j++)
			{
				const nn_real *vj = v + ((size_t) c * max_bins + j) * units;
				nn_real share = bin_share(number, k, j, bins);

				if (share == 0)
					continue;
				NN_ELEMENTWISE
				for (int u = 0; u < units; u++)
					to[u] += share * vj[u];
			}
		}
	}
}

static void
k_piecewise_slope(nn_device *d, int m, int n, int units, int max_bins,
				  const nn_real *knot, const nn_real *x, const nn_real *dy,
				  nn_real *dl, nn_real *db, nn_real *dv)
{
	size_t size = (size_t) n * units * sizeof(nn_real);

	(void) d;
	memset(dl, 0, size);
	memset(db, 0, size);
	memset(dv, 0, size * max_bins);
	for (int c = 0; c < n; c++, dl += units, db += units)
	{
		const nn_real *k = knot + (size_t) c * (max_bins + 1);
		int bins = count_bins(k, max_bins);

		for (int i = 0; i < m; i++)
		{
			nn_real number = x[(size_t) i * n + c];
			const nn_real *from = dy + ((size_t) i * n + c) * units;

			NN_ELEMENTWISE
			for (int u = 0; u < units; u++)
			{
				dl[u] += from[u] * number;
				db[u] += from[u];
			}
			for (int j = 0; j < bins; j++)
			{
				nn_real *to = dv + ((size_t) c * max_bins + j) * units;
				nn_real share = bin_share(number, k, j, bins);

				if (share == 0)
					continue;
				NN_ELEMENTWISE
				for (int u = 0; u < units; u++)
					to[u] += share * from[u];
			}
		}
	}
}

#endif /* NN_KERNEL_LOOKUP_H */
