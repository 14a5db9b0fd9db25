/*
 * train.cu
 *	  Losses, optimizers and penalties; the sources are named in
 *	  src/nn/kernel_train.h.
 */
#include "classes.h"
#include "gpu.h"
#include "update.h"

static unsigned
partial_blocks(size_t work)
{
	return (unsigned) gpu_at_most(gpu_divide_up(work, BLOCK_THREADS),
								  MAX_PARTIALS);
}

static __global__ void
add_partials(int count, const double *partials, double *sum)
{
	double total = 0;

	for (int i = threadIdx.x; i < count; i += BLOCK_THREADS)
		total += partials[i];
	total = block_sum(total);
	if (threadIdx.x == 0)
		*sum += total;
}

void
gpu_add_partials(nn_device *d, int count, const double *partials, double *sum)
{
	gpu_launch(d, add_partials, dim3(1), dim3(BLOCK_THREADS), count, partials,
			   sum);
}

/* Losses of single numbers, where the loss of a row is the mean. */
static __global__ void
loss_of_numbers(nn_loss_args a, double *partial)
{
	float p0 = (float) a.p[0], p1 = (float) a.p[1];
	size_t n = (size_t) a.m * a.n;
	double sum = 0;

	for (size_t at = (size_t) blockIdx.x * BLOCK_THREADS + threadIdx.x; at < n;
		 at += (size_t) gridDim.x * BLOCK_THREADS)
	{
		double weight = a.weight ? a.weight[gpu_place_of(at, a.n).row] : 1;
		float slope;

		sum += weight *
			   nn_loss_formula(a.kind, p0, p1, a.pred[at], a.y[at], &slope);
		if (a.dpred)
			a.dpred[at] = slope * (float) (weight * a.scale / a.n);
	}
	sum = block_sum(sum);
	if (threadIdx.x == 0)
		partial[blockIdx.x] = sum / a.n;
}

/* A warp takes a row. */
static __global__ void
loss_of_classes(nn_loss_args a, double *partial)
{
	int lane = threadIdx.x % WARP, n = a.n;
	double total = 0;

	for (size_t i = blockIdx.x * WARPS_OF_BLOCK + threadIdx.x / WARP;
		 i < (size_t) a.m; i += gridDim.x * WARPS_OF_BLOCK)
	{
		const float *x = a.pred + i * n;
		class_loss of = loss_of_row(a, i, x);

		if (lane == 0)
			total += of.value;
		for (int j = lane; a.dpred && j < n; j += WARP)
			a.dpred[i * n + j] = of.slope(x[j], j);
	}
	total = block_sum(total);
	if (threadIdx.x == 0)
		partial[blockIdx.x] = total;
}

void
gpu_loss(nn_device *d, const nn_loss_args *a)
{
	bool classes =
		a->kind == NN_LOSS_CATEGORICAL || a->kind == NN_LOSS_CATEGORICAL_FOCAL;
	size_t threads = classes ? (size_t) a->m * WARP : (size_t) a->m * a->n;
	unsigned blocks = partial_blocks(threads);
	double *partial = (double *) gpu_scratch(d, MAX_PARTIALS * sizeof(double));

	if (blocks == 0 || partial == NULL)
		return;
	gpu_launch(d, classes ? loss_of_classes : loss_of_numbers, dim3(blocks),
			   dim3(BLOCK_THREADS), *a, partial);
	gpu_add_partials(d, (int) blocks, partial, a->sum);
}

/* Updates that one kernel makes; it takes them as an argument. */
#define MOST_UPDATES 16

typedef struct updates
{
	size_t begin[MOST_UPDATES + 1];
	update of[MOST_UPDATES];
} updates;

void
gpu_optimizers(nn_device *d, int count, const nn_optimizer_args *a)
{
	for (int done = 0; done < count; done += MOST_UPDATES)
	{
		int some = count - done < MOST_UPDATES ? count - done : MOST_UPDATES;
		updates u = {};

		for (int i = 0; i < some; i++)
		{
			u.of[i] = plan_update(&a[done + i]);
			u.begin[i + 1] = u.begin[i] + a[done + i].n;
		}
		gpu_each(d, u.begin[some],
				 [=] __device__(size_t at)
				 {
					 int part = 0;

					 while (at >= u.begin[part + 1])
						 part++;

					 size_t i = at - u.begin[part];

					 make_update(u.of[part], i, u.of[part].grad[i]);
				 });
	}
}

void
gpu_optimizer(nn_device *d, const nn_optimizer_args *a)
{
	gpu_optimizers(d, 1, a);
}

/* l1 |x| + l2 x^2, and its slope where that is wanted */
static __global__ void
penalty(size_t n, double l1, double l2, const float *x, float *dx,
		double *partial)
{
	float c1 = (float) l1, c2 = (float) (2 * l2);
	double absolute = 0, square = 0, sum;

	for (size_t i = (size_t) blockIdx.x * BLOCK_THREADS + threadIdx.x; i < n;
		 i += (size_t) gridDim.x * BLOCK_THREADS)
	{
		float p = x[i];

		absolute += nn_abs(p);
		square += (double) p * p;
		if (dx)
			dx[i] += (p > 0 ? c1 : (p < 0 ? -c1 : 0)) + c2 * p;
	}
	sum = block_sum(l1 * absolute + l2 * square);
	if (threadIdx.x == 0)
		partial[blockIdx.x] = sum;
}

void
gpu_regularize(nn_device *d, size_t n, double l1, double l2, const float *p,
			   double *sum, float *dp)
{
	unsigned blocks = partial_blocks(n);
	double *partial = (double *) gpu_scratch(d, MAX_PARTIALS * sizeof(double));

	if (blocks == 0 || partial == NULL)
		return;
	gpu_launch(d, penalty, dim3(blocks), dim3(BLOCK_THREADS), n, l1, l2, p, dp,
			   partial);
	gpu_add_partials(d, (int) blocks, partial, sum);
}

void
gpu_sum_squares(nn_device *d, size_t n, const float *x, double *sum)
{
	gpu_regularize(d, n, 0, 1, x, sum, NULL);
}
