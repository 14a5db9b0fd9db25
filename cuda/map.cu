/*
 * map.cu
 *	  Elementwise kernels.
 */
#include "gpu.h"

void
gpu_map(nn_device *d, nn_function f, double a, size_t n, const float *x,
		float *y)
{
	float argument = (float) a;

	gpu_each(d, n,
			 [=] __device__(size_t i)
			 { y[i] = nn_function_value(f, argument, x[i]); });
}

void
gpu_map_slope(nn_device *d, nn_function f, double a, size_t n, const float *x,
			  const float *y, const float *dy, float beta, float *dx)
{
	float argument = (float) a;
	/* the one that is not looked at need not exist */
	const float *v = nn_function_needs_input(f) ? x : y;

	gpu_each(d, n,
			 [=] __device__(size_t i)
			 {
				 float slope =
					 dy[i] * nn_function_slope(f, argument, v[i], v[i]);

				 dx[i] = gpu_blend(slope, beta, &dx[i]);
			 });
}

void
gpu_axpby(nn_device *d, size_t n, float alpha, const float *x, float beta,
		  float *y)
{
	gpu_each(d, n,
			 [=] __device__(size_t i)
			 { y[i] = gpu_blend(alpha * x[i], beta, &y[i]); });
}

void
gpu_multiply(nn_device *d, size_t n, const float *a, const float *b, float beta,
			 float *y)
{
	gpu_each(d, n,
			 [=] __device__(size_t i)
			 { y[i] = gpu_blend(a[i] * b[i], beta, &y[i]); });
}

/* An element is kept where its uniform number, of 53 bits, is at least rate. */
void
gpu_dropout(nn_device *d, size_t n, double rate, nn_key key, uint64_t first,
			const float *x, float beta, float *y)
{
	uint64_t limit = (uint64_t) ceil(rate * 0x1p53);
	float scale = (float) (1 / (1 - rate));

	gpu_each(d, n,
			 [=] __device__(size_t i)
			 {
				 bool drop = (nn_random_bits(key, first + i) >> 11) < limit;

				 y[i] = gpu_blend(drop ? 0 : scale * x[i], beta, &y[i]);
			 });
}
