/*
 * columns.h
 *	  Sums over the rows of a matrix, for every column.
 *
 * What is added up is an object with begin(column) and at(row), each called by
 * the thread that keeps the copy; at() is called once for each row.  Threads
 * of a block take every eighth row of a chunk of rows and 32 columns; their
 * sums are added in order of threads, and those of chunks in order of chunks.
 */
#ifndef CUDA_COLUMNS_H
#define CUDA_COLUMNS_H

#include "gpu.h"

#define SUM_COLUMNS 32
#define SUM_ROWS	8

template <class Term>
__global__ void
sum_chunk(Term term, int m, int n, int chunk, double *partial)
{
	SHARED(sum, double[SUM_ROWS][SUM_COLUMNS]);
	int x = threadIdx.x, y = threadIdx.y;
	int column = blockIdx.x * SUM_COLUMNS + x;
	int from = blockIdx.y * chunk, to = m - from < chunk ? m : from + chunk;
	double total = 0;

	if (column < n)
	{
		term.begin(column);
		for (int i = from + y; i < to; i += SUM_ROWS)
			total += term.at(i);
	}
	sum[y][x] = total;
	__syncthreads();
	if (y > 0 || column >= n)
		return;
	for (int i = 1; i < SUM_ROWS; i++)
		total += sum[i][x];
	partial[(size_t) blockIdx.y * n + column] = total;
}

/* s = the sums + beta s.  The sums of chunks are left in scratch memory. */
template <class Term>
static void
gpu_sum_columns(nn_device *d, int m, int n, Term term, float beta, float *s)
{
	size_t columns = gpu_divide_up((size_t) n, SUM_COLUMNS);
	size_t wanted = 8 * (size_t) gpu_of(d)->processors / columns;
	size_t chunks = gpu_at_most(gpu_divide_up((size_t) m, 16 * SUM_ROWS),
								wanted > 0 ? wanted : 1);
	int chunk;
	double *partial;

	/* no row at all is one empty chunk */
	if (chunks == 0)
		chunks = 1;
	chunk = (int) gpu_divide_up((size_t) m, chunks);
	chunks = chunk > 0 ? gpu_divide_up((size_t) m, (size_t) chunk) : 1;
	partial = (double *) gpu_scratch(d, chunks * (size_t) n * sizeof(double));
	if (partial == NULL || n == 0)
		return;
	gpu_launch(d, sum_chunk<Term>, dim3((unsigned) columns, (unsigned) chunks),
			   dim3(SUM_COLUMNS, SUM_ROWS), term, m, n, chunk, partial);
	gpu_each(d, (size_t) n,
			 [=] __device__(size_t j)
			 {
				 double total = 0;

				 for (size_t i = 0; i < chunks; i++)
					 total += partial[i * (size_t) n + j];
				 s[j] =
					 (float) (beta == 0 ? total : total + (double) beta * s[j]);
			 });
}

/* The sum of a column. */
struct sum_term
{
	const float *x;
	int n;

	__device__ void begin(int column)
	{
		x += column;
	}

	__device__ double at(int i)
	{
		return x[(size_t) i * n];
	}
};

/* The sum of a column times another. */
struct dot_term
{
	const float *a, *b;
	int n;

	__device__ void begin(int column)
	{
		a += column;
		b += column;
	}

	__device__ double at(int i)
	{
		return (double) a[(size_t) i * n] * b[(size_t) i * n];
	}
};

#endif /* CUDA_COLUMNS_H */
