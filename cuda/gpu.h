/*
 * gpu.h
 *	  What the files of the CUDA provider share.
 *
 * The same sources are compiled by nvcc for GPUs, and by g++ with emulation.h
 * for tests.  Three things are therefore not written in CUDA's own syntax:
 * a launch is gpu_launch(), and a variable in shared memory is SHARED(name,
 * type).  Blocks have whole warps, and warp operations are of whole warps.
 *
 * Kernels compute what the plain C kernels of src/nn compute, from the same
 * formulas.  nvcc is told not to contract products and sums (-fmad=false), so
 * elementwise kernels give the same bits; the matrix product asks for fused
 * operations by name.  Sums are added in double precision, in an order that
 * shapes and the number of processors fix: no atomic operation is used, so a
 * run can be repeated.
 *
 * Everything is put on one stream and nothing waits.  The first failure is
 * kept in the state, later work is ignored, and sync() says what it was.
 */
#ifndef CUDA_GPU_H
#define CUDA_GPU_H

/* before formula.h, as the C++ library's versions are templates */
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef __CUDACC__
#include <cuda_runtime.h>

template <class T> struct gpu_type
{
	typedef T type;
};
#define SHARED(name, ...) __shared__ typename gpu_type<__VA_ARGS__>::type name
#else
#include "emulation.h"

#define SHARED(name, ...)                                                      \
	auto &name = emulation::shared<__VA_ARGS__>(__FILE__, __LINE__)
#endif

extern "C"
{
#include "../src/nn/formula.h"
}

#define WARP		  32
#define FULL_WARP	  0xffffffffu
#define BLOCK_THREADS 256 /* where a kernel has no wish of its own */
#define MAX_PARTIALS  256 /* of a sum over everything */

/* Host memory that kernels need a copy of, kept for the next time. */
typedef struct gpu_table
{
	struct gpu_table *next;
	size_t bytes;
	void *device;
	char host[]; /* what was copied */
} gpu_table;

/* Rows on their way to the device, in memory it reads by itself. */
typedef struct gpu_slot
{
	size_t size;
	void *host;
	cudaEvent_t copied;
	bool waiting;
} gpu_slot;

/* Rows, targets and weights of two steps. */
#define GPU_ROW_SLOTS 6

/* Steps that are on the stream: see graph.cu. */
typedef struct gpu_group
{
	cudaEvent_t done;
	int steps; /* 0: it is known to be done */
} gpu_group;

#define GPU_GROUPS 2

/* How many blocks of a kernel run at once. */
typedef struct gpu_room
{
	const void *kernel;
	size_t blocks;
} gpu_room;

#define GPU_ROOMS 4

/*
 * Numbers that do not change in a step, as a factor of products in bf16, which
 * is made when the first of these comes (blas.cu).
 */
typedef struct gpu_factor
{
	struct gpu_factor *next;
	const float *x;
	size_t n, room;	 /* of the rounded ones: how many fit, */
	size_t too_many; /* and for how many there was no memory; 0: none yet */
	uint16_t *rounded;
	bool settled, made; /* in this step */
} gpu_factor;

typedef struct gpu_state
{
	cudaStream_t stream;
	int processors, major; /* of compute capability */
	int cooperates;		   /* whether blocks of a grid can meet */
	int tensors;		   /* whether there are kernels for them; 0: unknown */
	cudaError_t failure;   /* the first */
	const char *doing;	   /* what failed */
	size_t asked;		   /* bytes, where that was memory; 0: unknown */
	void *scratch;
	size_t scratch_size;
	gpu_table *tables;
	gpu_slot rows[GPU_ROW_SLOTS];
	int last_rows;
	gpu_group group[GPU_GROUPS];
	int this_group, group_steps, most_steps;
	double last_done; /* when a group was known to be; 0: long ago */
	gpu_room room[GPU_ROOMS];
	bool noting; /* launches are put off: see graph.cu */
	struct gpu_steps *steps;
	gpu_factor *factors;
	struct gpu_blas *blas; /* cuBLASLt, or NULL */
	bool blas_tried;
} gpu_state;

static inline gpu_state *
gpu_of(nn_device *d)
{
	return (gpu_state *) d->state;
}

/* Seconds, of a clock that goes on. */
static inline double
gpu_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

/* Remember the first failure; whether there has been none. */
extern bool gpu_check(gpu_state *s, cudaError_t result, const char *doing);

/*
 * --- memory (staging.cu) ---
 *
 * Device memory for what one kernel leaves to the next, valid until asked for
 * again.  NULL after a failure.
 */
extern void *gpu_scratch(nn_device *d, size_t bytes);

/* The copy on the device of an array that hardly changes.  The host may
 * overwrite its own at once. */
extern const void *gpu_constant(nn_device *d, const void *host, size_t bytes);
extern void gpu_staging_release(gpu_state *s);

/* What work takes (costs.cu): measured once, when a context has been made. */
extern void gpu_costs_begin(void);
extern void gpu_costs_measure(nn_device *d);
extern void gpu_costs(nn_device_costs *costs);

static inline size_t
gpu_at_most(size_t n, size_t most)
{
	return n < most ? n : most;
}

static inline size_t
gpu_divide_up(size_t n, size_t by)
{
	return n / by + (n % by != 0);
}

/* To a multiple of by. */
static inline size_t
gpu_round_up(size_t n, size_t by)
{
	return gpu_divide_up(n, by) * by;
}

#define GPU_MAX_ARGUMENTS 16

/* A kernel with its grid; blocks that meet wait for each other. */
typedef struct gpu_kernel
{
	const void *function;
	dim3 grid, block;
	bool meets;
} gpu_kernel;

/* Note a launch down for the end of the step; false: start the kernel now. */
extern bool gpu_note(gpu_state *s, const gpu_kernel *k, int count,
					 const void *const *arguments, const size_t *sizes);

/* How many blocks of BLOCK_THREADS of a kernel run at once. */
extern size_t gpu_room_for(gpu_state *s, const void *kernel);

/* The same of a product by cuBLASLt, of a plan that has worked before. */
typedef struct gpu_product
{
	const struct gpu_plan *plan;
	const void *a, *b;
	const float *bias;
	float *c;
	double beta; /* compared with the others as bytes */
} gpu_product;

extern bool gpu_note_product(gpu_state *s, const gpu_product *p);

/* Make it now; false: not made. */
extern bool gpu_blas_multiply(gpu_state *s, const gpu_product *p);

/* Start what has been noted down: to be called before work is put on the
 * stream that is no kernel of ours, and before memory is given back. */
extern void gpu_flush(gpu_state *s);
/* Before memory is given back: CUDA need not wait for work that uses it. */
extern void gpu_finish(gpu_state *s);
/* From now on, the context of the device in use lives as long as the process. */
extern void gpu_keep_context(void);
/* Nothing is under way. */
extern void gpu_caught_up(gpu_state *s);
extern void gpu_steps_release(gpu_state *s);

/* Start a kernel at once. */
static inline void
gpu_start_kernel(gpu_state *s, const gpu_kernel *k, void **arguments)
{
	gpu_check(s,
			  k->meets
				  ? cudaLaunchCooperativeKernel(k->function, k->grid, k->block,
												arguments, 0, s->stream)
				  : cudaLaunchKernel(k->function, k->grid, k->block, arguments,
									 0, s->stream),
			  "start a kernel");
}

/* The arguments as the kernel takes them. */
template <class... P>
static inline void
gpu_start(gpu_state *s, void (*kernel)(P...), dim3 grid, dim3 block, bool meets,
		  P... args)
{
	const gpu_kernel k = {(const void *) kernel, grid, block, meets};
	const void *at[] = {(const void *) &args...};
	const size_t sizes[] = {sizeof(P)...};

	static_assert(sizeof...(P) <= GPU_MAX_ARGUMENTS, "room for arguments");
#ifndef __CUDACC__
	emulation::know_kernel(kernel);
#endif
	if (!gpu_note(s, &k, sizeof...(P), at, sizes))
		gpu_start_kernel(s, &k, (void **) at);
}

template <class... P, class... A>
static inline void
gpu_launch(nn_device *d, void (*kernel)(P...), dim3 grid, dim3 block, A... args)
{
	gpu_state *s = gpu_of(d);

	if (s->failure == cudaSuccess)
		gpu_start<P...>(s, kernel, grid, block, false, args...);
}

/* The same of one whose blocks meet; there must be room for all of them. */
template <class... P, class... A>
static inline void
gpu_launch_to_meet(nn_device *d, void (*kernel)(P...), dim3 grid, dim3 block,
				   A... args)
{
	gpu_state *s = gpu_of(d);

	if (s->failure == cudaSuccess)
		gpu_start<P...>(s, kernel, grid, block, true, args...);
}

template <class F>
__global__ void
for_each(size_t n, F f)
{
	for (size_t i = (size_t) blockIdx.x * blockDim.x + threadIdx.x; i < n;
		 i += (size_t) gridDim.x * blockDim.x)
		f(i);
}

/* f(i) for every i < n, in any order */
template <class F>
static inline void
gpu_each(nn_device *d, size_t n, F f)
{
	size_t blocks = gpu_at_most(gpu_divide_up(n, BLOCK_THREADS), 1 << 20);

	if (n > 0)
		gpu_launch(d, for_each<F>, dim3((unsigned) blocks), dim3(BLOCK_THREADS),
				   n, f);
}

/* The bits of x but for so many, to the nearest number, of two the even one; a
 * NaN stays one. */
static __device__ __forceinline__ uint32_t
gpu_rounded(float x, int lost)
{
	uint32_t u;

	if (!(x == x))
		return 0x7fc00000;
	memcpy(&u, &x, sizeof(u));
	return (u + ((1u << (lost - 1)) - 1) + (u >> lost & 1)) &
		   ~((1u << lost) - 1);
}

static __device__ __forceinline__ uint16_t
gpu_bf16(float x)
{
	return (uint16_t) (gpu_rounded(x, 16) >> 16);
}

/* Row and column of a number of a matrix; most fit the fast division. */
typedef struct gpu_place
{
	size_t row;
	int column;
} gpu_place;

static __device__ __forceinline__ gpu_place
gpu_place_of(size_t at, int n)
{
	gpu_place p;

	if (at <= UINT32_MAX)
		p.row = (uint32_t) at / (uint32_t) n;
	else
		p.row = at / (size_t) n;
	p.column = (int) (at - p.row * (size_t) n);
	return p;
}

/* result + beta old, where old is not looked at when beta is zero */
static __device__ __forceinline__ float
gpu_blend(float result, float beta, const float *old)
{
	return beta == 0 ? result : result + beta * *old;
}

/* The sum of x over the warp, the same for all its threads. */
static __device__ __forceinline__ double
warp_sum(double x)
{
	for (int by = WARP / 2; by > 0; by /= 2)
		x += __shfl_xor_sync(FULL_WARP, x, by);
	return x;
}

static __device__ __forceinline__ float
warp_max(float x)
{
	for (int by = WARP / 2; by > 0; by /= 2)
		x = nn_at_least(__shfl_xor_sync(FULL_WARP, x, by), x);
	return x;
}

/* The sum of x over a block of BLOCK_THREADS, for its first thread; again in a
 * kernel only after all threads have met. */
static __device__ __forceinline__ double
block_sum(double x)
{
	SHARED(sum, double[BLOCK_THREADS / WARP]);
	double total = 0;

	x = warp_sum(x);
	if (threadIdx.x % WARP == 0)
		sum[threadIdx.x / WARP] = x;
	__syncthreads();
	if (threadIdx.x == 0)
	{
		for (int i = 0; i < BLOCK_THREADS / WARP; i++)
			total += sum[i];
	}
	return total;
}

/* Rows of a matrix are shared among the warps of all blocks. */
#define WARPS_OF_BLOCK (BLOCK_THREADS / WARP)

static inline dim3
gpu_blocks_of_rows(int m, int most)
{
	return dim3((unsigned) gpu_at_most(
		gpu_divide_up((size_t) m, WARPS_OF_BLOCK), (size_t) most));
}

/* Products by cuBLASLt (blas.cu), and a layer whose function it knows; false:
 * not made. */
extern bool gpu_blas_gemm(nn_device *d, bool ta, bool tb, int m, int n, int k,
						  const float *a, const float *b, float beta, float *c);
extern bool gpu_blas_dense(nn_device *d, int m, int n, int k, const float *x,
						   const float *w, const float *b, nn_function f,
						   float *y);
extern void gpu_blas_close(struct gpu_blas *s);
/* Where kernels may put numbers, rounded, that are settled and about to be
 * written, since a step before has wanted them so; NULL: nowhere. */
extern uint16_t *gpu_round_ahead(nn_device *d, const float *x, size_t n);
/* at the ends of a step */
extern void gpu_forget_factors(gpu_state *s);
extern void gpu_factors_release(gpu_state *s);

/* *sum += the sum of partials */
extern void gpu_add_partials(nn_device *d, int count, const double *partials,
							 double *sum);

/*
 * --- the kernels, as device.h defines them ---
 */

extern void gpu_begin_step(nn_device *d);
extern void gpu_end_step(nn_device *d);
extern void gpu_settle(nn_device *d, const float *x, size_t n);
extern void gpu_places(nn_device *d, const nn_rows *rows, int m,
					   uint32_t *index);
extern void gpu_upload_rows(nn_device *d, int m, int n, const float *x,
							const uint32_t *index, float *y);
extern void gpu_gather(nn_device *d, int m, int n, const float *x,
					   const uint32_t *index, float *y);
extern void gpu_gemm(nn_device *d, bool ta, bool tb, int m, int n, int k,
					 const float *a, const float *b, float beta, float *c);
extern void gpu_dense(nn_device *d, int m, int n, int k, const float *x,
					  const float *w, const float *b, nn_function f, double a,
					  float *z, float *y);
extern void gpu_dense_slope(nn_device *d, int m, int n, nn_function f, double a,
							const float *z, const float *y, const float *dy,
							float *dz, float *db);
extern void gpu_map(nn_device *d, nn_function f, double a, size_t n,
					const float *x, float *y);
extern void gpu_map_slope(nn_device *d, nn_function f, double a, size_t n,
						  const float *x, const float *y, const float *dy,
						  float beta, float *dx);
extern void gpu_axpby(nn_device *d, size_t n, float alpha, const float *x,
					  float beta, float *y);
extern void gpu_multiply(nn_device *d, size_t n, const float *a, const float *b,
						 float beta, float *y);
extern void gpu_dropout(nn_device *d, size_t n, double rate, nn_key key,
						uint64_t first, const float *x, float beta, float *y);
extern void gpu_sum_rows(nn_device *d, int m, int n, const float *x, float beta,
						 float *s);
extern void gpu_dot_rows(nn_device *d, int m, int n, const float *a,
						 const float *b, float beta, float *s);
extern void gpu_scale_rows(nn_device *d, int m, int n, const float *x,
						   const float *s, const float *t, float beta,
						   float *y);
extern void gpu_copy_columns(nn_device *d, int m, int n, const float *x, int xs,
							 int xo, float beta, float *y, int ys, int yo);
extern void gpu_sum_squares_rows(nn_device *d, int m, int n, const float *x,
								 const float *mean, float *s);
extern void gpu_batch_norm(nn_device *d, int m, int n, double epsilon,
						   const float *x, const float *mean, const float *var,
						   const float *gamma, const float *beta, float *xhat,
						   float *y);
extern void gpu_batch_norm_slope(nn_device *d, int m, int n, double epsilon,
								 int rows, const float *xhat, const float *var,
								 const float *gamma, const float *sum_dy,
								 const float *sum_dyx, const float *dy,
								 float beta, float *dx);
extern void gpu_layer_norm(nn_device *d, int m, int n, double epsilon,
						   const float *x, const float *gamma,
						   const float *beta, float *mean, float *rstd,
						   float *y);
extern void gpu_layer_norm_slope(nn_device *d, int m, int n, const float *x,
								 const float *gamma, const float *mean,
								 const float *rstd, const float *dy, float beta,
								 float *dx, float *dgamma, float *dbeta);
extern void gpu_softmax(nn_device *d, int m, int n, const float *x, float *y);
extern void gpu_softmax_slope(nn_device *d, int m, int n, const float *y,
							  const float *dy, float beta, float *dx);
extern void gpu_lookup(nn_device *d, int m, int ncodes, int n,
					   const int *levels, const int *first, const float *code,
					   const float *table, float *y);
extern void gpu_lookup_slope(nn_device *d, int m, int ncodes, int n,
							 const int *levels, const int *first, int total,
							 const float *code, const float *dy, float *dtable);
extern void gpu_one_hot(nn_device *d, int m, int ncodes, const int *levels,
						const int *first, int total, const float *code,
						const float *on, const float *off, float *y);
extern void gpu_piecewise(nn_device *d, int m, int n, int units, int max_bins,
						  const float *knot, const float *x, const float *l,
						  const float *b, const float *v, float *y);
extern void gpu_piecewise_slope(nn_device *d, int m, int n, int units,
								int max_bins, const float *knot, const float *x,
								const float *dy, float *dl, float *db,
								float *dv);
extern void gpu_loss(nn_device *d, const nn_loss_args *a);
extern void gpu_optimizer(nn_device *d, const nn_optimizer_args *a);
extern void gpu_optimizers(nn_device *d, int count, const nn_optimizer_args *a);
extern bool gpu_mlp(nn_device *d, const nn_mlp_args *a);
extern void gpu_sum_squares(nn_device *d, size_t n, const float *x,
							double *sum);
extern void gpu_regularize(nn_device *d, size_t n, double l1, double l2,
						   const float *p, double *sum, float *dp);

#endif /* CUDA_GPU_H */
