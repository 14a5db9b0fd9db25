/*
 * matrix.cu
 *	  The matrix product, and the layer that is one.
 *
 * A block computes a tile of 64 rows and 64 columns, 16 numbers of the inner
 * dimension at a time from shared memory, while the next 16 are on their way
 * from the device's memory to registers.  A thread has 4 by 4 of the tile.
 *
 * The gradients of weights have few tiles and a long inner dimension (the rows
 * of the batch).  It is then cut, so that there are blocks for all processors,
 * and the parts are added in order of the cuts.
 */
#include "gpu.h"

#define TILE	 64
#define DEPTH	 16
#define OWN		 4			  /* rows and columns of a thread */
#define SIDE	 (TILE / OWN) /* threads along a side of the tile */
#define LOADS	 (TILE * DEPTH / BLOCK_THREADS)
#define PADDED	 (TILE + 4) /* keeps rows aligned, and banks apart */
#define MIN_CUT	 256		/* least numbers worth a cut */
#define MAX_CUTS 64

/* What is done with a sum: y = f(sum + b + beta y), and z the argument of f */
typedef struct finish
{
	float beta;
	const float *b;
	nn_function f;
	float a;
	float *z, *y;
} finish;

typedef struct alignas(16) tile
{
	float x[DEPTH][PADDED];
} tile;

/* Not inlined: a thread stores 16 numbers, and there are many functions. */
static __device__ __noinline__ float
apply(nn_function f, float a, float x)
{
	return nn_function_value(f, a, x);
}

static __device__ __forceinline__ void
store(const finish &to, size_t at, int j, float sum)
{
	float v = gpu_blend(sum, to.beta, &to.y[at]);

	if (to.b)
		v += to.b[j];
	if (to.z)
		to.z[at] = v;
	to.y[at] = to.f == NN_LINEAR ? v : apply(to.f, to.a, v);
}

/*
 * The part of a matrix that a thread brings to a tile.  "inner" says whether
 * numbers that follow each other in memory do so along the inner dimension;
 * neighbouring threads take neighbours in memory either way.
 */
template <bool inner> struct loader
{
	const float *x;
	int size, k, first; /* rows or columns, of which the tile begins at first */
	float held[LOADS];

	__device__ void place(int load, int *i, int *p) const
	{
		int thread = threadIdx.x;

		*i = inner ? thread / DEPTH + load * (BLOCK_THREADS / DEPTH)
				   : thread % TILE;
		*p = inner ? thread % DEPTH
				   : thread / TILE + load * (BLOCK_THREADS / TILE);
	}

	__device__ void fetch(int from, int to)
	{
		for (int load = 0; load < LOADS; load++)
		{
			int i, p;

			place(load, &i, &p);
			i += first;
			p += from;
			held[load] = 0;
			if (i < size && p < to)
				held[load] =
					inner ? x[(size_t) i * k + p] : x[(size_t) p * size + i];
		}
	}

	__device__ void put(tile &t) const
	{
		for (int load = 0; load < LOADS; load++)
		{
			int i, p;

			place(load, &i, &p);
			t.x[p][i] = held[load];
		}
	}
};

/* cut: numbers of the inner dimension that a block takes; parts: where sums go
 * when there are several cuts, else NULL */
template <bool ta, bool tb>
static __global__ void
__launch_bounds__(BLOCK_THREADS)
	product(int m, int n, int k, int cut, const float *a, const float *b,
			float *parts, finish to)
{
	SHARED(as, tile);
	SHARED(bs, tile);
	loader<!ta> rows = {a, m, k, (int) blockIdx.x * TILE, {}};
	loader<tb> columns = {b, n, k, (int) blockIdx.y * TILE, {}};
	int i0 = threadIdx.x / SIDE * OWN, j0 = threadIdx.x % SIDE * OWN;
	int from = blockIdx.z * cut, end = k - from < cut ? k : from + cut;
	float sum[OWN][OWN] = {};

	rows.fetch(from, end);
	columns.fetch(from, end);
	for (; from < end; from += DEPTH)
	{
		rows.put(as);
		columns.put(bs);
		__syncthreads();
		rows.fetch(from + DEPTH, end);
		columns.fetch(from + DEPTH, end);
		for (int p = 0; p < DEPTH; p++)
		{
			for (int i = 0; i < OWN; i++)
			{
				for (int j = 0; j < OWN; j++)
					sum[i][j] =
						fmaf(as.x[p][i0 + i], bs.x[p][j0 + j], sum[i][j]);
			}
		}
		__syncthreads();
	}
	for (int i = 0; i < OWN; i++)
	{
		int row = blockIdx.x * TILE + i0 + i;

		for (int j = 0; j < OWN; j++)
		{
			int column = blockIdx.y * TILE + j0 + j;
			size_t at = (size_t) row * n + column;

			if (row >= m || column >= n)
				continue;
			if (parts)
				parts[(size_t) blockIdx.z * m * n + at] = sum[i][j];
			else
				store(to, at, column, sum[i][j]);
		}
	}
}

/* In how many parts the inner dimension is worked through. */
static int
count_cuts(const gpu_state *s, size_t tiles, int k)
{
	size_t wanted = 2 * (size_t) s->processors / tiles;

	wanted = gpu_at_most(wanted, gpu_divide_up((size_t) k, MIN_CUT));
	wanted = gpu_at_most(wanted, MAX_CUTS);
	return wanted > 1 ? (int) wanted : 1;
}

static void
multiply(nn_device *d, bool ta, bool tb, int m, int n, int k, const float *a,
		 const float *b, finish to)
{
	size_t right = gpu_divide_up((size_t) n, TILE);
	size_t down = gpu_divide_up((size_t) m, TILE), numbers = (size_t) m * n;
	int cuts, cut;
	float *parts = NULL;
	dim3 grid;

	if (numbers == 0)
		return;
	cuts = count_cuts(gpu_of(d), right * down, k);
	cut = (int) gpu_divide_up((size_t) k, (size_t) cuts);
	if (cuts > 1)
	{
		parts = (float *) gpu_scratch(d, cuts * numbers * sizeof(float));
		if (parts == NULL)
			return;
	}
	/* rows may be so many that only x can number them */
	grid = dim3((unsigned) down, (unsigned) right, (unsigned) cuts);
	gpu_launch(d,
			   ta ? (tb ? product<true, true> : product<true, false>)
				  : (tb ? product<false, true> : product<false, false>),
			   grid, dim3(BLOCK_THREADS), m, n, k, cut, a, b, parts, to);
	if (cuts > 1)
		gpu_each(d, numbers,
				 [=] __device__(size_t at)
				 {
					 float sum = 0;

					 for (int i = 0; i < cuts; i++)
						 sum += parts[i * numbers + at];
					 store(to, at, gpu_place_of(at, n).column, sum);
				 });
}

void
gpu_gemm(nn_device *d, bool ta, bool tb, int m, int n, int k, const float *a,
		 const float *b, float beta, float *c)
{
	if (gpu_blas_gemm(d, ta, tb, m, n, k, a, b, beta, c))
		return;
	multiply(d, ta, tb, m, n, k, a, b,
			 finish{beta, NULL, NN_LINEAR, 0, NULL, c});
}

void
gpu_dense(nn_device *d, int m, int n, int k, const float *x, const float *w,
		  const float *b, nn_function f, double a, float *z, float *y)
{
	finish to = {0, b, f, (float) a, z, y};
	float *sums = z ? z : y;

	if (z == NULL && gpu_blas_dense(d, m, n, k, x, w, b, f, y))
		return;
	if (!gpu_blas_gemm(d, false, false, m, n, k, x, w, 0, sums))
	{
		multiply(d, false, false, m, n, k, x, w, to);
		return;
	}
	gpu_each(d, (size_t) m * n,
			 [=] __device__(size_t at)
			 { store(to, at, gpu_place_of(at, n).column, sums[at]); });
}
