/*
 * perceptron.h
 *	  What the kernels for small perceptrons share: perceptron.cu in fp32, and
 *	  perceptron_tensor.cu on tensor cores.
 *
 * A kernel is a step of training.  Its blocks first take tiles of rows through
 * the layers and back, each adding up gradients of its own.  Then all blocks
 * meet, and what follows is shared out anew: they add up the gradients of all,
 * number by number, and update the parameters.  Where a device cannot let
 * blocks meet, a second kernel does the rest.
 *
 * A block adds gradients up in order of its tiles, and those of the blocks are
 * added in an order of their own.  So the sums depend on shapes, and on how
 * many blocks there is room for.
 */
#ifndef CUDA_PERCEPTRON_H
#define CUDA_PERCEPTRON_H

#ifdef __CUDACC__
#include <cooperative_groups.h>
#define BARRIER_OF_ALL() cooperative_groups::this_grid().sync()
#endif

#include "update.h"

#define BLOCKS_OF_SM 2
/* bytes, of which older devices' kernels take no more */
#define MOST_OF_ARGUMENTS 4096
#define MOST_OF_TILE	  64 /* rows */
#define PLACE			  128 /* bytes, to which what tensor cores read is aligned */
#define SUMMED			  32 /* numbers that are added up together, */
#define SHARES			  8	 /* and shares of the blocks whose they are */

/* Where a parameter's gradient lies in what a block adds up, by rows of
 * stride, and where it goes, by rows of n. */
typedef struct gradient_part
{
	size_t begin; /* of its numbers among all parameters' */
	size_t at;
	int n, stride;
	float *to;
	bool updates;
	update change; /* if so */
} gradient_part;

/* What a step adds up. */
typedef struct gradients
{
	int count;
	gradient_part part[2 * NN_MLP_LAYERS + 1]; /* the last only begins */
	size_t size;							   /* of what a block adds up */
	size_t blocks;
	float *partial; /* of each block */
	double *losses; /* the same */
	double *loss;	/* += all */
} gradients;

typedef double share_sums[SHARES][SUMMED];

/* Room for one more parameter of rows by n; where a block has it. */
static inline size_t
place_gradient(gradients *g, int rows, int n, int padded_rows, int stride,
			   float *to, const nn_optimizer_args *change)
{
	gradient_part *p = &g->part[g->count++];
	size_t at = g->size;

	p->at = at;
	p->n = n;
	p->stride = stride;
	p->to = to;
	p->updates = change != NULL;
	if (p->updates)
		p->change = plan_update(change);
	p[1].begin = p->begin + (size_t) rows * n;
	g->size += (size_t) padded_rows * stride;
	return at;
}

/* What blocks leave to the end of the step, and other memory before it, which
 * is returned; NULL: there is none, and the failure is kept. */
static inline char *
place_partials(nn_device *d, gradients *g, size_t blocks, size_t other)
{
	size_t losses = gpu_round_up(blocks * sizeof(double), PLACE);
	char *memory;

	other = gpu_round_up(other, PLACE);
	memory = (char *) gpu_scratch(d, other + losses +
										 blocks * g->size * sizeof(float));
	g->blocks = blocks;
	g->losses = (double *) (memory + other);
	g->partial = (float *) (memory + other + losses);
	return memory;
}

/* As many blocks as are useful and have room. */
static inline size_t
blocks_for(gpu_state *s, int tiles, const void *kernel)
{
	return gpu_at_most((size_t) tiles,
					   gpu_at_most((size_t) (BLOCKS_OF_SM * s->processors),
								   gpu_room_for(s, kernel)));
}

/* The end of a step where blocks do not meet. */
extern void gpu_finish_step(nn_device *d, const gradients *g);

template <class P>
static inline void
run_step(nn_device *d, void (*kernel)(P, gradients, bool), const P &p,
		 const gradients &g)
{
	const dim3 grid((unsigned) g.blocks), block(BLOCK_THREADS);

	static_assert(sizeof(P) + sizeof(gradients) + 16 <= MOST_OF_ARGUMENTS,
				  "a kernel's arguments");
	if (gpu_of(d)->cooperates)
	{
		gpu_launch_to_meet(d, kernel, grid, block, p, g, true);
		return;
	}
	gpu_launch(d, kernel, grid, block, p, g, false);
	gpu_finish_step(d, &g);
}

/* The gradient of number i of all parameters, in double; and update what it is
 * of.  A thread has a share of the blocks: one that had them all would wait for
 * memory some hundred times in turn. */
static __device__ __forceinline__ void
finish_number(const gradients &g, size_t i, int share, int lane,
			  share_sums &sums)
{
	const size_t end = g.blocks * (share + 1) / SHARES;
	int number = 0;
	double sum = 0;

	while (number < g.count && i >= g.part[number + 1].begin)
		number++;

	const gradient_part &p = g.part[number];

	if (number < g.count)
	{
		gpu_place place = gpu_place_of(i - p.begin, p.n);
		size_t at = p.at + place.row * p.stride + place.column;

		for (size_t b = g.blocks * share / SHARES; b < end; b++)
			sum += g.partial[b * g.size + at];
	}
	sums[share][lane] = sum;
	__syncthreads();
	if (share > 0 || number == g.count)
		return;
	for (int s = 1; s < SHARES; s++)
		sum += sums[s][lane];
	p.to[i - p.begin] = (float) sum;
	if (p.updates)
		make_update(p.change, i - p.begin, (float) sum);
}

/* What is left of a step when all blocks have done their tiles. */
static __device__ __noinline__ void
finish_step(const gradients &g, share_sums &sums)
{
	const int share = threadIdx.x / SUMMED, lane = threadIdx.x % SUMMED;
	const size_t count = g.part[g.count].begin;

	for (size_t first = blockIdx.x * (size_t) SUMMED; first < count;
		 first += gridDim.x * (size_t) SUMMED)
	{
		finish_number(g, first + lane, share, lane, sums);
		/* before the sums are others' */
		__syncthreads();
	}
	if (blockIdx.x == 0)
	{
		double loss = 0;

		for (size_t b = threadIdx.x; b < g.blocks; b += BLOCK_THREADS)
			loss += g.losses[b];
		loss = block_sum(loss);
		if (threadIdx.x == 0)
			*g.loss += loss;
	}
}

/* A block has done its tiles, whose losses a thread has added up. */
static __device__ __forceinline__ void
end_tiles(const gradients &g, double loss, bool meets, share_sums &sums)
{
	loss = block_sum(loss);
	if (threadIdx.x == 0)
		g.losses[blockIdx.x] = loss;
	if (!meets)
		return;
	BARRIER_OF_ALL();
	finish_step(g, sums);
}

/* On tensor cores; false: not done. */
extern bool gpu_mlp_tensor(nn_device *d, const nn_mlp_args *a);

/* Which rows of x, and of targets, those of a tile are. */
typedef struct tile_rows
{
	uint32_t x[MOST_OF_TILE], y[MOST_OF_TILE];
} tile_rows;

/* Rows of the batch are as many as there are of the tile, or fewer. */
static __device__ __noinline__ void
find_rows(const nn_rows &x, const nn_rows &y, int first, int count,
		  tile_rows &at)
{
	for (int i = threadIdx.x; i < 2 * count; i += BLOCK_THREADS)
	{
		const nn_rows &of = i < count ? x : y;
		int row = i % count;

		(i < count ? at.x : at.y)[row] =
			nn_order_at(&of.order, of.first + (uint32_t) (first + row));
	}
}

static __device__ __noinline__ float
value_of_other(nn_function f, float a, float x)
{
	return nn_function_value(f, a, x);
}

static __device__ __noinline__ float
slope_of_other(nn_function f, float a, float x, float y)
{
	return nn_function_slope(f, a, x, y);
}

/* A function's value, and its slope; the simplest without a call. */
static __device__ __forceinline__ float
value_of(nn_function f, float a, float x)
{
	return f == NN_RELU		? nn_function_value(NN_RELU, a, x)
		   : f == NN_LINEAR ? x
							: value_of_other(f, a, x);
}

static __device__ __forceinline__ float
slope_of(nn_function f, float a, float x, float y)
{
	return f == NN_RELU		? nn_function_slope(NN_RELU, a, x, y)
		   : f == NN_LINEAR ? 1
							: slope_of_other(f, a, x, y);
}

/* Whether dropout makes a layer's number of the batch zero. */
static __device__ __noinline__ bool
is_dropped(nn_key key, uint64_t limit, uint64_t number)
{
	return (nn_random_bits(key, number) >> 11) < limit;
}

/* What comes after a layer's sums: its function, and dropout. */
typedef struct layer_end
{
	nn_function f;
	float a;
	float scale; /* of what dropout keeps; 0: there is none */
	uint64_t limit;
	nn_key key;
} layer_end;

static inline layer_end
end_of_layer(const nn_mlp_layer *from)
{
	layer_end e = {};

	e.f = from->f;
	e.a = (float) from->a;
	if (from->dropout > 0)
	{
		e.scale = (float) (1 / (1 - from->dropout));
		e.limit = (uint64_t) ceil(from->dropout * 0x1p53);
		e.key = from->key;
	}
	return e;
}

/* The output for a sum; number is that of the batch's. */
static __device__ __forceinline__ float
output_of(const layer_end &e, float z, uint64_t number)
{
	if (e.f != NN_LINEAR)
		z = value_of(e.f, e.a, z);
	if (e.scale != 0)
		z = is_dropped(e.key, e.limit, number) ? 0 : e.scale * z;
	return z;
}

/* By how much it multiplies a slope, by the sum, where the function needs it,
 * and the output y. */
static __device__ __forceinline__ float
slope_of_end(const layer_end &e, float z, float y, uint64_t number)
{
	float by = 1;

	if (e.scale != 0)
	{
		if (is_dropped(e.key, e.limit, number))
			return 0;
		by = e.scale;
		y /= by;
	}
	return by * slope_of(e.f, e.a, z, y);
}

/* The products of a tile are worked through in squares. */
struct square
{
	int i, j; /* where it begins */
};

template <int BY>
static __device__ __forceinline__ square
square_of(int number, int columns)
{
	int across = (columns + BY - 1) / BY;

	return square{number / across * BY, number % across * BY};
}

template <int BY>
static __host__ __device__ __forceinline__ int
squares_of(int rows, int columns)
{
	return (rows + BY - 1) / BY * ((columns + BY - 1) / BY);
}

static __device__ __forceinline__ bool
is_of_classes(const nn_loss_args &a)
{
	return a.kind == NN_LOSS_CATEGORICAL || a.kind == NN_LOSS_CATEGORICAL_FOCAL;
}

#endif /* CUDA_PERCEPTRON_H */
