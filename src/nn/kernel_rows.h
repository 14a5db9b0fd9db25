/*
 * kernel_rows.h
 *	  Kernels on the rows and columns of a matrix; see cpu_kernels.h.
 *
 * A sum over rows is taken in double, in order of the rows, for a block of
 * columns at a time; a sum over columns in eight partial sums, which the
 * source fixes, so that every level adds in the same order.
 */
#ifndef NN_KERNEL_ROWS_H
#define NN_KERNEL_ROWS_H

#include "kernel_map.h"

#define COLUMNS 128 /* of a block; a multiple of every vector's length */

static inline double
row_sum(int n, const nn_real *x)
{
	double s[8] = {0};
	int j;

	for (j = 0; j + 8 <= n; j += 8)
	{
		for (int l = 0; l < 8; l++)
			s[l] += x[j + l];
	}
	for (int l = 0; j + l < n; l++)
		s[l] += x[j + l];
	return ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]));
}

static inline double
row_dot(int n, const nn_real *x, const nn_real *y)
{
	double s[8] = {0};
	int j;

	for (j = 0; j + 8 <= n; j += 8)
	{
		for (int l = 0; l < 8; l++)
			s[l] += (double) x[j + l] * y[j + l];
	}
	for (int l = 0; j + l < n; l++)
		s[l] += (double) x[j + l] * y[j + l];
	return ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]));
}

static inline nn_real
row_max(int n, const nn_real *x)
{
	nn_real most[8];
	int j;

	for (int l = 0; l < 8; l++)
		most[l] = x[l < n ? l : 0];
	for (j = 8; j + 8 <= n; j += 8)
	{
		for (int l = 0; l < 8; l++)
			most[l] = x[j + l] > most[l] ? x[j + l] : most[l];
	}
	for (int l = 0; j + l < n; l++)
		most[l] = x[j + l] > most[l] ? x[j + l] : most[l];
	for (int half = 4; half > 0; half /= 2)
	{
		for (int l = 0; l < half; l++)
			most[l] = most[l + half] > most[l] ? most[l + half] : most[l];
	}
	return most[0];
}

static inline void
store_sums(int n, const double *sum, nn_real beta, nn_real *s)
{
	for (int j = 0; j < n; j++)
		s[j] = (nn_real) (beta == 0 ? sum[j] : sum[j] + (double) beta * s[j]);
}

#define PLACES 64 /* enciphered at a time */

static void
k_places(nn_device *d, const nn_rows *rows, int m, uint32_t *index)
{
	const nn_order *o = &rows->order;
	uint32_t row[PLACES], column[PLACES];

	(void) d;
	for (int i = 0; i < m && o->columns == 0; i++)
		index[i] = rows->first + (uint32_t) i;
	for (int done = 0; done < m && o->columns != 0; done += PLACES)
	{
		uint32_t at = rows->first + (uint32_t) done;
		int count = m - done < PLACES ? m - done : PLACES;

		row[0] = at / o->columns;
		column[0] = at % o->columns;
		for (int i = 1; i < PLACES; i++)
		{
			bool next = column[i - 1] + 1 == o->columns;

			row[i] = row[i - 1] + next;
			column[i] = next ? 0 : column[i - 1] + 1;
		}
		/* all of them, as a known number is faster */
		nn_order_encipher(o, PLACES, row, column);
		for (int i = 0; i < count; i++)
		{
			uint32_t number = row[i] * o->columns + column[i];

			index[done + i] = number < o->n ? number : nn_order_at(o, number);
		}
	}
}

static void
k_gather(nn_device *d, int m, int n, const nn_real *x, const uint32_t *index,
		 nn_real *y)
{
	(void) d;
	for (int i = 0; i < m; i++)
		memcpy(y + (size_t) i * n, x + (size_t) index[i] * n,
			   (size_t) n * sizeof(nn_real));
}

static void
k_upload_rows(nn_device *d, int m, int n, const nn_real *x,
			  const uint32_t *index, nn_real *y)
{
	if (index != NULL)
		k_gather(d, m, n, x, index, y);
	else
		memcpy(y, x, (size_t) m * (size_t) n * sizeof(nn_real));
}

static void
k_sum_rows(nn_device *d, int m, int n, const nn_real *x, nn_real beta,
		   nn_real *s)
{
	(void) d;
	for (int first = 0; first < n; first += COLUMNS)
	{
		int count = n - first < COLUMNS ? n - first : COLUMNS;
		double sum[COLUMNS] = {0};

		for (int i = 0; i < m; i++)
		{
			const nn_real *row = x + (size_t) i * n + first;

			for (int j = 0; j < count; j++)
				sum[j] += row[j];
		}
		store_sums(count, sum, beta, s + first);
	}
}

static void
k_dot_rows(nn_device *d, int m, int n, const nn_real *a, const nn_real *b,
		   nn_real beta, nn_real *s)
{
	(void) d;
	for (int first = 0; first < n; first += COLUMNS)
	{
		int count = n - first < COLUMNS ? n - first : COLUMNS;
		double sum[COLUMNS] = {0};

		for (int i = 0; i < m; i++)
		{
			const nn_real *arow = a + (size_t) i * n + first;
			const nn_real *brow = b + (size_t) i * n + first;

			for (int j = 0; j < count; j++)
				sum[j] += (double) arow[j] * brow[j];
		}
		store_sums(count, sum, beta, s + first);
	}
}

static void
k_sum_squares_rows(nn_device *d, int m, int n, const nn_real *x,
				   const nn_real *mean, nn_real *s)
{
	(void) d;
	for (int first = 0; first < n; first += COLUMNS)
	{
		int count = n - first < COLUMNS ? n - first : COLUMNS;
		double sum[COLUMNS] = {0};

		for (int i = 0; i < m; i++)
		{
			const nn_real *row = x + (size_t) i * n + first;

			for (int j = 0; j < count; j++)
			{
				double e = (double) row[j] - mean[first + j];

				sum[j] += e * e;
			}
		}
		store_sums(count, sum, 0, s + first);
	}
}

/*
 * Rows are taken in groups, so that a narrow matrix is worked through in
 * pieces of a good length, and each piece summed while it is in cache.
 */
static void
k_dense_slope(nn_device *d, int m, int n, nn_function f, double a,
			  const nn_real *z, const nn_real *y, const nn_real *dy,
			  nn_real *dz, nn_real *db)
{
	int width = n < COLUMNS ? n : COLUMNS;
	int group = n <= COLUMNS ? 1024 / n : 1;

	(void) d;
	for (int first = 0; first < n; first += width)
	{
		int count = n - first < width ? n - first : width;
		double sum[COLUMNS] = {0};

		for (int i = 0; i < m; i += group)
		{
			int rows = m - i < group ? m - i : group;
			size_t at = (size_t) i * n + first;

			apply_slope(f, (nn_real) a, (size_t) rows * count,
						z ? z + at : NULL, y ? y + at : NULL, dy + at, dz + at);
			if (db == NULL)
				continue;
			for (int r = 0; r < rows; r++)
			{
				for (int j = 0; j < count; j++)
					sum[j] += dz[at + (size_t) r * n + j];
			}
		}
		if (db != NULL)
			store_sums(count, sum, 0, db + first);
	}
}

static void
k_scale_rows(nn_device *d, int m, int n, const nn_real *x, const nn_real *s,
			 const nn_real *t, nn_real beta, nn_real *y)
{
	(void) d;
	for (int i = 0; i < m; i++, x += n, y += n)
	{
		if (beta == 0)
		{
			NN_ELEMENTWISE
			for (int j = 0; j < n; j++)
				y[j] = x[j] * s[j] + (t ? t[j] : 0);
		}
		else
		{
			NN_ELEMENTWISE
			for (int j = 0; j < n; j++)
				y[j] = x[j] * s[j] + (t ? t[j] : 0) + beta * y[j];
		}
	}
}

static void
k_copy_columns(nn_device *d, int m, int n, const nn_real *x, int xs, int xo,
			   nn_real beta, nn_real *y, int ys, int yo)
{
	(void) d;
	for (int i = 0; i < m; i++)
	{
		const nn_real *from = x + (size_t) i * xs + xo;
		nn_real *to = y + (size_t) i * ys + yo;

		if (beta == 0)
			memcpy(to, from, (size_t) n * sizeof(nn_real));
		else
		{
			NN_ELEMENTWISE
			for (int j = 0; j < n; j++)
				to[j] = from[j] + beta * to[j];
		}
	}
}

static void
k_softmax(nn_device *d, int m, int n, const nn_real *x, nn_real *y)
{
	(void) d;
	for (int i = 0; i < m; i++, x += n, y += n)
	{
		nn_real most = row_max(n, x), scale;

		NN_ELEMENTWISE
		for (int j = 0; j < n; j++)
			y[j] = nn_exp(x[j] - most);
		scale = (nn_real) (1 / row_sum(n, y));
		NN_ELEMENTWISE
		for (int j = 0; j < n; j++)
			y[j] *= scale;
	}
}

/* dx = y (dy - sum of y dy) */
static void
k_softmax_slope(nn_device *d, int m, int n, const nn_real *y, const nn_real *dy,
				nn_real beta, nn_real *dx)
{
	(void) d;
	for (int i = 0; i < m; i++, y += n, dy += n, dx += n)
	{
		nn_real mean = (nn_real) row_dot(n, y, dy);

		if (beta == 0)
		{
			NN_ELEMENTWISE
			for (int j = 0; j < n; j++)
				dx[j] = y[j] * (dy[j] - mean);
		}
		else
		{
			NN_ELEMENTWISE
			for (int j = 0; j < n; j++)
				dx[j] = y[j] * (dy[j] - mean) + beta * dx[j];
		}
	}
}

#endif /* NN_KERNEL_ROWS_H */
