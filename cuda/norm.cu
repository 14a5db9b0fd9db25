/*
 * norm.cu
 *	  Normalization kernels; the sources are named in src/nn/kernel_norm.h.
 */
#include "columns.h"

void
gpu_batch_norm(nn_device *d, int m, int n, double epsilon, const float *x,
			   const float *mean, const float *var, const float *gamma,
			   const float *beta, float *xhat, float *y)
{
	gpu_each(d, (size_t) m * n,
			 [=] __device__(size_t at)
			 {
				 int j = gpu_place_of(at, n).column;
				 float rstd = (float) (1 / sqrt((double) var[j] + epsilon));
				 float h = (x[at] - mean[j]) * rstd;

				 if (xhat)
					 xhat[at] = h;
				 y[at] = (gamma ? gamma[j] : 1) * h + (beta ? beta[j] : 0);
			 });
}

void
gpu_batch_norm_slope(nn_device *d, int m, int n, double epsilon, int rows,
					 const float *xhat, const float *var, const float *gamma,
					 const float *sum_dy, const float *sum_dyx, const float *dy,
					 float beta, float *dx)
{
	gpu_each(d, (size_t) m * n,
			 [=] __device__(size_t at)
			 {
				 int j = gpu_place_of(at, n).column;
				 float scale = (float) ((gamma ? gamma[j] : 1) /
										sqrt((double) var[j] + epsilon));
				 float mean = sum_dy[j] / rows, slope = sum_dyx[j] / rows;
				 float g = scale * (dy[at] - mean - xhat[at] * slope);

				 dx[at] = gpu_blend(g, beta, &dx[at]);
			 });
}

static __global__ void
layer_norm(int m, int n, double epsilon, const float *x, const float *gamma,
		   const float *beta, float *mean, float *rstd, float *y)
{
	int lane = threadIdx.x % WARP;

	for (size_t i = blockIdx.x * WARPS_OF_BLOCK + threadIdx.x / WARP;
		 i < (size_t) m; i += gridDim.x * WARPS_OF_BLOCK)
	{
		size_t row = i * n;
		double sum = 0, squares = 0;
		float mu, r;

		for (int j = lane; j < n; j += WARP)
			sum += x[row + j];
		mu = (float) (warp_sum(sum) / n);
		for (int j = lane; j < n; j += WARP)
		{
			float e = x[row + j] - mu;

			squares += (double) e * e;
		}
		r = (float) (1 / sqrt(warp_sum(squares) / n + epsilon));
		if (lane == 0)
		{
			mean[i] = mu;
			rstd[i] = r;
		}
		for (int j = lane; j < n; j += WARP)
			y[row + j] = (gamma ? gamma[j] : 1) * ((x[row + j] - mu) * r) +
						 (beta ? beta[j] : 0);
	}
}

void
gpu_layer_norm(nn_device *d, int m, int n, double epsilon, const float *x,
			   const float *gamma, const float *beta, float *mean, float *rstd,
			   float *y)
{
	if (m > 0)
		gpu_launch(d, layer_norm, gpu_blocks_of_rows(m, 65535),
				   dim3(BLOCK_THREADS), m, n, epsilon, x, gamma, beta, mean,
				   rstd, y);
}

struct layer_norm_term
{
	const float *x, *mean, *rstd, *dy;
	int n;

	__device__ void begin(int column)
	{
		x += column;
		dy += column;
	}

	__device__ double at(int i)
	{
		size_t at = (size_t) i * n;

		return (double) dy[at] * ((x[at] - mean[i]) * rstd[i]);
	}
};

static __global__ void
layer_norm_slope(int m, int n, const float *x, const float *gamma,
				 const float *mean, const float *rstd, const float *dy,
				 float beta, float *dx)
{
	int lane = threadIdx.x % WARP;

	for (size_t i = blockIdx.x * WARPS_OF_BLOCK + threadIdx.x / WARP;
		 i < (size_t) m; i += gridDim.x * WARPS_OF_BLOCK)
	{
		size_t row = i * n;
		float mu = mean[i], r = rstd[i], mg, mgh;
		double sum = 0, dot = 0;

		for (int j = lane; j < n; j += WARP)
		{
			float g = (gamma ? gamma[j] : 1) * dy[row + j];
			float h = (x[row + j] - mu) * r;

			sum += g;
			dot += (double) g * h;
		}
		mg = (float) (warp_sum(sum) / n);
		mgh = (float) (warp_sum(dot) / n);
		for (int j = lane; j < n; j += WARP)
		{
			float e = (gamma ? gamma[j] : 1) * dy[row + j];

			e = r * (e - mg - (x[row + j] - mu) * r * mgh);
			dx[row + j] = gpu_blend(e, beta, &dx[row + j]);
		}
	}
}

void
gpu_layer_norm_slope(nn_device *d, int m, int n, const float *x,
					 const float *gamma, const float *mean, const float *rstd,
					 const float *dy, float beta, float *dx, float *dgamma,
					 float *dbeta)
{
	if (dgamma)
		gpu_sum_columns(d, m, n, layer_norm_term{x, mean, rstd, dy, n}, 0,
						dgamma);
	if (dbeta)
		gpu_sum_columns(d, m, n, sum_term{dy, n}, 0, dbeta);
	if (dx && m > 0)
		gpu_launch(d, layer_norm_slope, gpu_blocks_of_rows(m, 65535),
				   dim3(BLOCK_THREADS), m, n, x, gamma, mean, rstd, dy, beta,
				   dx);
}
