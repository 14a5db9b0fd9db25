/*
 * train.cu
 *	  Losses, optimizers and penalties; the sources are named in
 *	  src/nn/kernel_train.h.
 */
#include "classes.h"
#include "gpu.h"

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

/* What an update needs of its arguments, computed once. */
typedef struct update
{
	nn_optimizer_kind kind;
	bool nesterov, centered, amsgrad, moving;
	float rate, keep, limit;
	double most;
	const double *squares;
	float momentum, rho, new_momentum, new_rho; /* new_x is 1 - x */
	float step, unbias, epsilon;				/* step, unbias: adam */
	const float *grad;
	float *slot[3], *param;
} update;

/* The change of a parameter, divided by the rate. */
static __device__ float
change_adam(const update &u, size_t i, float g)
{
	float m = u.momentum * u.slot[0][i] + u.new_momentum * g;
	float v = u.rho * u.slot[1][i] + u.new_rho * (g * g);

	u.slot[0][i] = m;
	u.slot[1][i] = v;
	if (u.amsgrad)
	{
		v = nn_at_least(v, u.slot[2][i]);
		u.slot[2][i] = v;
	}
	return u.step * m / (nn_sqrt(v) * u.unbias + u.epsilon);
}

static __device__ float
change_rmsprop(const update &u, size_t i, float g)
{
	float var = u.rho * u.slot[0][i] + u.new_rho * (g * g);

	u.slot[0][i] = var;
	if (u.centered)
	{
		float average = u.rho * u.slot[2][i] + u.new_rho * g;

		u.slot[2][i] = average;
		var = nn_at_least(var - average * average, 0);
	}
	g = g / (nn_sqrt(var) + u.epsilon);
	if (u.moving)
	{
		g = u.momentum * u.slot[1][i] + g;
		u.slot[1][i] = g;
	}
	return u.rate * g;
}

static __device__ float
change(const update &u, size_t i, float g)
{
	float v;

	switch (u.kind)
	{
		case NN_OPTIMIZER_SGD:
			if (!u.moving)
				return u.rate * g;
			v = u.momentum * u.slot[0][i] + g;
			u.slot[0][i] = v;
			return u.rate * (u.nesterov ? g + u.momentum * v : v);
		case NN_OPTIMIZER_ADAM:
			return change_adam(u, i, g);
		case NN_OPTIMIZER_RMSPROP:
			return change_rmsprop(u, i, g);
		case NN_OPTIMIZER_ADAGRAD:
			v = u.slot[0][i] + g * g;
			u.slot[0][i] = v;
			return u.rate * g / (nn_sqrt(v) + u.epsilon);
		case NN_OPTIMIZER_KINDS:
			break;
	}
	return 0;
}

static update
plan_update(const nn_optimizer_args *a)
{
	update u = {};

	u.kind = a->kind;
	u.nesterov = a->nesterov;
	u.centered = a->centered;
	u.amsgrad = a->amsgrad;
	u.moving = a->momentum != 0;
	u.rate = (float) a->rate;
	u.keep = (float) (1 - a->rate * a->decay);
	u.squares = a->squares;
	u.most = a->most;
	u.limit = a->clip_value > 0 ? (float) a->clip_value : INFINITY;
	u.momentum = (float) a->momentum;
	u.rho = (float) a->rho;
	u.new_momentum = (float) (1 - a->momentum);
	u.new_rho = (float) (1 - a->rho);
	u.step = (float) (a->rate / (1 - pow(a->momentum, (double) a->t)));
	u.unbias = (float) (1 / sqrt(1 - pow(a->rho, (double) a->t)));
	u.epsilon = (float) a->epsilon;
	u.grad = a->grad;
	for (int i = 0; i < 3; i++)
		u.slot[i] = a->slot[i];
	u.param = a->param;
	return u;
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

					 const update &o = u.of[part];
					 size_t i = at - u.begin[part];
					 float g = o.grad[i];

					 if (o.squares)
						 g *= (float) nn_clip_scale(*o.squares, o.most);
					 g = nn_at_most(nn_at_least(g, -o.limit), o.limit);
					 o.param[i] = o.param[i] * o.keep - change(o, i, g);
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
