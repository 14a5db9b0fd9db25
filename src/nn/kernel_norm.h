/*
 * kernel_norm.h
 *	  Normalization kernels; see cpu_kernels.h.
 *
 * Ioffe and Szegedy 2015, arXiv 1502.03167, algorithm 1 and its gradient
 * (batch); Ba, Kiros and Hinton 2016, arXiv 1607.06450, equation 3 (layer).
 */
#ifndef NN_KERNEL_NORM_H
#define NN_KERNEL_NORM_H

#include "kernel_rows.h"

static void
k_batch_norm(nn_device *d, int m, int n, double epsilon, const nn_real *x,
			 const nn_real *mean, const nn_real *var, const nn_real *gamma,
			 const nn_real *beta, nn_real *xhat, nn_real *y)
{
	(void) d;
	for (int first = 0; first < n; first += COLUMNS)
	{
		int count = n - first < COLUMNS ? n - first : COLUMNS;
		nn_real rstd[COLUMNS], scale[COLUMNS], shift[COLUMNS];

		for (int j = 0; j < count; j++)
		{
			rstd[j] = (nn_real) (1 / sqrt((double) var[first + j] + epsilon));
			scale[j] = gamma ? gamma[first + j] : 1;
			shift[j] = beta ? beta[first + j] : 0;
		}
		for (int i = 0; i < m; i++)
		{
			size_t at = (size_t) i * n + first;

			NN_ELEMENTWISE
			for (int j = 0; j < count; j++)
			{
				nn_real h = (x[at + j] - mean[first + j]) * rstd[j];

				if (xhat)
					xhat[at + j] = h;
				y[at + j] = scale[j] * h + shift[j];
			}
		}
	}
}

static void
k_batch_norm_slope(nn_device *d, int m, int n, double epsilon, int rows,
				   const nn_real *xhat, const nn_real *var,
				   const nn_real *gamma, const nn_real *sum_dy,
				   const nn_real *sum_dyx, const nn_real *dy, nn_real beta,
				   nn_real *dx)
{
	(void) d;
	for (int first = 0; first < n; first += COLUMNS)
	{
		int count = n - first < COLUMNS ? n - first : COLUMNS;
		nn_real scale[COLUMNS], mean[COLUMNS], slope[COLUMNS];

		for (int j = 0; j < count; j++)
		{
			scale[j] = (nn_real) ((gamma ? gamma[first + j] : 1) /
								  sqrt((double) var[first + j] + epsilon));
			mean[j] = sum_dy[first + j] / rows;
			slope[j] = sum_dyx[first + j] / rows;
		}
		for (int i = 0; i < m; i++)
		{
			size_t at = (size_t) i * n + first;

			NN_ELEMENTWISE
			for (int j = 0; j < count; j++)
			{
				nn_real g =
					scale[j] * (dy[at + j] - mean[j] - xhat[at + j] * slope[j]);

				dx[at + j] = beta == 0 ? g : g + beta * dx[at + j];
			}
		}
	}
}

static void
k_layer_norm(nn_device *d, int m, int n, double epsilon, const nn_real *x,
			 const nn_real *gamma, const nn_real *beta, nn_real *mean,
			 nn_real *rstd, nn_real *y)
{
	(void) d;
	for (int i = 0; i < m; i++, x += n, y += n)
	{
		nn_real mu = (nn_real) (row_sum(n, x) / n), r;

		NN_ELEMENTWISE
		for (int j = 0; j < n; j++)
			y[j] = x[j] - mu;
		r = (nn_real) (1 / sqrt(row_dot(n, y, y) / n + epsilon));
		mean[i] = mu;
		rstd[i] = r;
		NN_ELEMENTWISE
		for (int j = 0; j < n; j++)
			y[j] = (gamma ? gamma[j] : 1) * (y[j] * r) + (beta ? beta[j] : 0);
	}
}

/* The sums over rows that are the gradients of gamma and beta. */
static void
layer_norm_sums(int m, int n, const nn_real *x, const nn_real *mean,
				const nn_real *rstd, const nn_real *dy, nn_real *dgamma,
				nn_real *dbeta)
{
	for (int first = 0; first < n; first += COLUMNS)
	{
		int count = n - first < COLUMNS ? n - first : COLUMNS;
		double sum[COLUMNS] = {0}, dot[COLUMNS] = {0};

		for (int i = 0; i < m; i++)
		{
			size_t at = (size_t) i * n + first;

			for (int j = 0; j < count; j++)
			{
				sum[j] += dy[at + j];
				dot[j] +=
					(double) dy[at + j] * ((x[at + j] - mean[i]) * rstd[i]);
			}
		}
		if (dgamma)
			store_sums(count, dot, 0, dgamma + first);
		if (dbeta)
			store_sums(count, sum, 0, dbeta + first);
	}
}

/*
 * With g = gamma dy and h = (x - mean) rstd: dx = rstd (g - mean of g - h
 * (mean of g h)).
 */
static void
k_layer_norm_slope(nn_device *d, int m, int n, const nn_real *x,
				   const nn_real *gamma, const nn_real *mean,
				   const nn_real *rstd, const nn_real *dy, nn_real beta,
				   nn_real *dx, nn_real *dgamma, nn_real *dbeta)
{
	(void) d;
	if (dgamma || dbeta)
		layer_norm_sums(m, n, x, mean, rstd, dy, dgamma, dbeta);
	for (int i = 0; dx && i < m; i++, x += n, dy += n, dx += n)
	{
		nn_real mu = mean[i], r = rstd[i], g[COLUMNS], h[COLUMNS], mg, mgh;
		double sum = 0, dot = 0;

		for (int first = 0; first < n; first += COLUMNS)
		{
			int count = n - first < COLUMNS ? n - first : COLUMNS;

			NN_ELEMENTWISE
			for (int j = 0; j < count; j++)
			{
				g[j] = (gamma ? gamma[first + j] : 1) * dy[first + j];
				h[j] = (x[first + j] - mu) * r;
			}
			sum += row_sum(count, g);
			dot += row_dot(count, g, h);
		}
		mg = (nn_real) (sum / n);
		mgh = (nn_real) (dot / n);
		NN_ELEMENTWISE
		for (int j = 0; j < n; j++)
		{
			nn_real e = (gamma ? gamma[j] : 1) * dy[j];

			e = r * (e - mg - (x[j] - mu) * r * mgh);
			dx[j] = beta == 0 ? e : e + beta * dx[j];
		}
	}
}

#endif /* NN_KERNEL_NORM_H */
