/*
 * rows.cu
 *	  Kernels on the rows and columns of a matrix.
 *
 * Where a row must be looked at as a whole, a warp takes it: its threads take
 * every 32nd number, and what they find they tell each other.
 */
#include "columns.h"

void
gpu_places(nn_device *d, const nn_rows *rows, int m, uint32_t *index)
{
	const nn_rows r = *rows;

	gpu_each(d, (size_t) m,
			 [=] __device__(size_t i)
			 { index[i] = nn_order_at(&r.order, r.first + (uint32_t) i); });
}

void
gpu_gather(nn_device *d, int m, int n, const float *x, const uint32_t *index,
		   float *y)
{
	gpu_each(d, (size_t) m * n,
			 [=] __device__(size_t at)
			 {
				 gpu_place p = gpu_place_of(at, n);

				 y[at] = x[(size_t) index[p.row] * n + p.column];
			 });
}

void
gpu_sum_rows(nn_device *d, int m, int n, const float *x, float beta, float *s)
{
	gpu_sum_columns(d, m, n, sum_term{x, n}, beta, s);
}

void
gpu_dot_rows(nn_device *d, int m, int n, const float *a, const float *b,
			 float beta, float *s)
{
	gpu_sum_columns(d, m, n, dot_term{a, b, n}, beta, s);
}

struct square_term
{
	const float *x, *mean;
	int n;
	double center;

	__device__ void begin(int column)
	{
		x += column;
		center = mean[column];
	}

	__device__ double at(int i)
	{
		double e = x[(size_t) i * n] - center;

		return e * e;
	}
};

void
gpu_sum_squares_rows(nn_device *d, int m, int n, const float *x,
					 const float *mean, float *s)
{
	gpu_sum_columns(d, m, n, square_term{x, mean, n, 0}, 0, s);
}

/* dz is written on the way, and as a factor where that is wanted. */
struct slope_term
{
	nn_function f;
	float a;
	const float *v, *dy;
	float *dz;
	uint16_t *rounded; /* or NULL */
	int n;

	__device__ void begin(int column)
	{
		v += column;
		dy += column;
		dz += column;
		if (rounded)
			rounded += column;
	}

	__device__ double at(int i)
	{
		size_t at = (size_t) i * n;
		float slope = dy[at] * nn_function_slope(f, a, v[at], v[at]);

		dz[at] = slope;
		if (rounded)
			rounded[at] = gpu_bf16(slope);
		return slope;
	}
};

void
gpu_dense_slope(nn_device *d, int m, int n, nn_function f, double a,
				const float *z, const float *y, const float *dy, float *dz,
				float *db)
{
	const float *v = nn_function_needs_input(f) ? z : y;

	if (db == NULL)
		gpu_map_slope(d, f, a, (size_t) m * n, z, y, dy, 0, dz);
	else
		gpu_sum_columns(d, m, n,
						slope_term{f, (float) a, v, dy, dz,
								   gpu_round_ahead(d, dz, (size_t) m * n), n},
						0, db);
}

void
gpu_scale_rows(nn_device *d, int m, int n, const float *x, const float *s,
			   const float *t, float beta, float *y)
{
	gpu_each(d, (size_t) m * n,
			 [=] __device__(size_t at)
			 {
				 int j = gpu_place_of(at, n).column;

				 y[at] = gpu_blend(x[at] * s[j] + (t ? t[j] : 0), beta, &y[at]);
			 });
}

void
gpu_copy_columns(nn_device *d, int m, int n, const float *x, int xs, int xo,
				 float beta, float *y, int ys, int yo)
{
	gpu_each(d, (size_t) m * n,
			 [=] __device__(size_t at)
			 {
				 gpu_place p = gpu_place_of(at, n);
				 float *to = y + p.row * ys + yo + p.column;

				 *to = gpu_blend(x[p.row * xs + xo + p.column], beta, to);
			 });
}

static __global__ void
softmax(int m, int n, const float *x, float *y)
{
	int lane = threadIdx.x % WARP;

	for (size_t i = blockIdx.x * WARPS_OF_BLOCK + threadIdx.x / WARP;
		 i < (size_t) m; i += gridDim.x * WARPS_OF_BLOCK)
	{
		const float *from = x + i * n;
		float *to = y + i * n, most = -INFINITY, scale;
		double sum = 0;

		for (int j = lane; j < n; j += WARP)
			most = nn_at_least(from[j], most);
		most = warp_max(most);
		for (int j = lane; j < n; j += WARP)
		{
			float e = nn_exp(from[j] - most);

			to[j] = e;
			sum += e;
		}
		scale = (float) (1 / warp_sum(sum));
		for (int j = lane; j < n; j += WARP)
			to[j] *= scale;
	}
}

void
gpu_softmax(nn_device *d, int m, int n, const float *x, float *y)
{
	if (m > 0)
		gpu_launch(d, softmax, gpu_blocks_of_rows(m, 65535),
				   dim3(BLOCK_THREADS), m, n, x, y);
}

static __global__ void
softmax_slope(int m, int n, const float *y, const float *dy, float beta,
			  float *dx)
{
	int lane = threadIdx.x % WARP;

	for (size_t i = blockIdx.x * WARPS_OF_BLOCK + threadIdx.x / WARP;
		 i < (size_t) m; i += gridDim.x * WARPS_OF_BLOCK)
	{
		size_t row = i * n;
		double dot = 0;
		float mean;

		for (int j = lane; j < n; j += WARP)
			dot += (double) y[row + j] * dy[row + j];
		mean = (float) warp_sum(dot);
		for (int j = lane; j < n; j += WARP)
		{
			float slope = y[row + j] * (dy[row + j] - mean);

			dx[row + j] = gpu_blend(slope, beta, &dx[row + j]);
		}
	}
}

void
gpu_softmax_slope(nn_device *d, int m, int n, const float *y, const float *dy,
				  float beta, float *dx)
{
	if (m > 0)
		gpu_launch(d, softmax_slope, gpu_blocks_of_rows(m, 65535),
				   dim3(BLOCK_THREADS), m, n, y, dy, beta, dx);
}
