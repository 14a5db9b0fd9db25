/*
 * perceptron.h
 *	  What the kernels for small perceptrons share: perceptron.cu in fp32, and
 *	  perceptron_tensor.cu on tensor cores.
 */
#ifndef CUDA_PERCEPTRON_H
#define CUDA_PERCEPTRON_H

#include "gpu.h"

#define BLOCKS_OF_SM 2

/* Where a parameter's gradient lies in what a block adds up, by rows of
 * stride, and where it goes, by rows of n. */
typedef struct gradient_part
{
	size_t begin; /* of its numbers among all parameters' */
	size_t at;
	int n, stride;
	float *to;
} gradient_part;

typedef struct gradients
{
	int count;
	gradient_part part[2 * NN_MLP_LAYERS + 1]; /* the last only begins */
	size_t size;							   /* of what a block adds up */
} gradients;

/* Room for one more parameter of rows by n; where a block has it. */
static inline size_t
place_gradient(gradients *g, int rows, int n, int padded_rows, int stride,
			   float *to)
{
	gradient_part *p = &g->part[g->count++];
	size_t at = g->size;

	p->at = at;
	p->n = n;
	p->stride = stride;
	p->to = to;
	p[1].begin = p->begin + (size_t) rows * n;
	g->size += (size_t) padded_rows * stride;
	return at;
}

/* Add those of all blocks up. */
extern void gpu_add_gradients(nn_device *d, const gradients *g, size_t blocks,
							  const float *partial);

/* On tensor cores; false: not done. */
extern bool gpu_mlp_tensor(nn_device *d, const nn_mlp_args *a);

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
