/*
 * perceptron_tensor.cu
 *	  Small dense layers as a whole, on tensor cores.
 *
 * What perceptron.cu does, with the factors of all products rounded to bf16 or
 * tf32, and what flows between layers kept so in shared memory.  Weights are
 * rounded once a step, by all blocks, into memory that the caches hold.  Sums, functions, the
 * loss and the gradients are in fp32.
 *
 * Products are made by squares of SIDE by SIDE numbers, each by a warp, so all
 * extents are rounded up to SIDE; what is beyond the real ones is zero, or
 * meets zero.  A warp sees the result of a square through a piece of shared
 * memory of its own.
 *
 * A block's gradients of weights stay in registers over all of its tiles, as
 * far as there is room: each warp has every WARPS_OF_BLOCK-th square of all
 * layers'.  The rest is added up in memory.
 *
 * Needs compute capability 8.0.
 */
#ifdef __CUDACC__
#include <mma.h>
#define UNROLL		 _Pragma("unroll")
#define UNROLL_TWICE _Pragma("unroll 2")
#else
#include "emulation_mma.h"
#define UNROLL
#define UNROLL_TWICE
#endif

#include "classes.h"
#include "perceptron.h"

using namespace nvcuda;

#define LEAST_MAJOR 8
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 100 * LEAST_MAJOR
#define HAS_TENSORS 1
typedef __nv_bfloat16 bf16_kind;
typedef wmma::precision::tf32 tf32_kind;
#else
#define HAS_TENSORS 0
typedef void bf16_kind, tf32_kind;
#endif

#define SIDE	16
#define SQUARES 8 /* of gradients that a warp has in registers */
/* Of the 48 KiB of shared memory; the rest is for rows and for the last sum. */
#define SHARED_BYTES (48 * 1024 - 1024)
#define PIECE		 (SIDE * SIDE) /* floats of a warp's own */

/*
 * A number as a factor: rounded to the nearest of fewer bits, of two the even
 * one.  SKEW numbers after each row keep a square's rows in different banks.
 */
struct bf16_factor
{
	typedef bf16_kind kind;
	typedef uint16_t type;
	static const int DEPTH = 16, SKEW = 8;

	static __device__ __forceinline__ type of(float x);
	static __device__ __forceinline__ float value(type x);
	static __device__ __forceinline__ const kind *at(const type *p)
	{
		return (const kind *) p;
	}
};

struct tf32_factor
{
	typedef tf32_kind kind;
	typedef float type;
	static const int DEPTH = 8, SKEW = 4;

	static __device__ __forceinline__ type of(float x);
	static __device__ __forceinline__ float value(type x)
	{
		return x;
	}
	static __device__ __forceinline__ const float *at(const type *p)
	{
		return p;
	}
};

static __device__ __forceinline__ float
of_bits(uint32_t u)
{
	float x;

	memcpy(&x, &u, sizeof(x));
	return x;
}

__device__ __forceinline__ uint16_t
bf16_factor::of(float x)
{
	return gpu_bf16(x);
}

__device__ __forceinline__ float
bf16_factor::value(uint16_t x)
{
	return of_bits((uint32_t) x << 16);
}

__device__ __forceinline__ float
tf32_factor::of(float x)
{
	return of_bits(gpu_rounded(x, 13));
}

typedef struct tensor_layer
{
	int k, n;		/* inputs, outputs */
	int kp, np;		/* the same, rounded up */
	int lx, ly;		/* between two rows of inputs, of outputs */
	int in, out, z; /* where those of the tile begin; z -1: not kept */
	int squares;	/* of gradients, of the layers before */
	size_t w;		/* where the rounded weights begin */
	const float *from_w;
	size_t dw, db;	/* in the gradients of a block */
	const float *b; /* or NULL */
	layer_end end;
} tensor_layer;

/* aligned as squares must be */
typedef struct alignas(128) shared_bytes
{
	char bytes[SHARED_BYTES];
} shared_bytes;

typedef struct tensor_perceptron
{
	int m, rows, tiles; /* rows in all, of a tile, and tiles */
	int nlayers, squares;
	tensor_layer layers[NN_MLP_LAYERS];
	int pieces, pred; /* where they begin, in floats of shared memory */
	int lpred;
	const float *x;
	nn_rows x_rows, y_rows;
	void *w;		 /* rounded */
	size_t nweights; /* of all layers, rounded up */
	float *dx;		 /* or NULL */
	float dx_beta;
	nn_loss_args loss;
} tensor_perceptron;

/* The same of a number of a tile that begins at row first; y is the output. */
template <class T>
static __device__ __forceinline__ float
slope_at(const tensor_layer &l, const typename T::type *kept, int first,
		 int row, int column, float y)
{
	return slope_of_end(l.end,
						l.z < 0 ? 0 : T::value(kept[l.z + row * l.ly + column]),
						y, (uint64_t) (first + row) * l.n + column);
}

template <class T>
static __device__ void
load_rows(const tensor_perceptron &p, int count, const tile_rows &at,
		  typename T::type *kept)
{
	const tensor_layer &l = p.layers[0];

	for (int i = threadIdx.x; i < p.rows * l.kp; i += BLOCK_THREADS)
	{
		int row = i / l.kp, column = i % l.kp;

		kept[row * l.lx + column] = T::of(
			row < count && column < l.k ? p.x[(size_t) at.x[row] * l.k + column]
										: 0);
	}
}

/* Number i of the rounded weights of all layers. */
template <class T>
static __device__ __forceinline__ void
round_weight(const tensor_perceptron &p, size_t i)
{
	int number = p.nlayers - 1;

	while (p.layers[number].w > i)
		number--;

	const tensor_layer &l = p.layers[number];
	gpu_place at = gpu_place_of(i - l.w, l.np);

	((typename T::type *) p.w)[i] =
		T::of(at.row < (size_t) l.k && at.column < l.n
				  ? l.from_w[at.row * l.n + at.column]
				  : 0);
}

#if HAS_TENSORS

template <class T>
using sums = wmma::fragment<wmma::accumulator, SIDE, SIDE, T::DEPTH, float>;

/* += a square of a product of depth numbers, of matrices in memory */
template <class T, class LA, class LB>
static __device__ __forceinline__ void
multiply(sums<T> &sum, const typename T::type *a, int a_row,
		 const typename T::type *b, int b_row, int depth, int a_step,
		 int b_step)
{
	wmma::fragment<wmma::matrix_a, SIDE, SIDE, T::DEPTH, typename T::kind, LA>
		x;
	wmma::fragment<wmma::matrix_b, SIDE, SIDE, T::DEPTH, typename T::kind, LB>
		y;

	/* more often, and tf32 has not enough registers */
	UNROLL_TWICE
	for (int q = 0; q < depth; q += T::DEPTH)
	{
		wmma::load_matrix_sync(x, T::at(a + q * a_step), a_row);
		wmma::load_matrix_sync(y, T::at(b + q * b_step), b_row);
		wmma::mma_sync(sum, x, y, sum);
	}
}

/* f(row, column, number) of a square's numbers, through the warp's piece */
template <class T, class F>
static __device__ __forceinline__ void
each_of_square(const sums<T> &sum, float *piece, F f)
{
	wmma::store_matrix_sync(piece, sum, SIDE, wmma::mem_row_major);
	__syncwarp();
	for (int i = threadIdx.x % WARP; i < SIDE * SIDE; i += WARP)
		f(i / SIDE, i % SIDE, piece[i]);
	__syncwarp();
}

template <class T>
static __device__ void
go_forward(const tensor_perceptron &p, int number, int first,
		   typename T::type *kept, float *piece, float *pred)
{
	const tensor_layer &l = p.layers[number];
	const typename T::type *w = (const typename T::type *) p.w + l.w;
	bool last = number == p.nlayers - 1;

	for (int s = threadIdx.x / WARP; s < squares_of<SIDE>(p.rows, l.n);
		 s += WARPS_OF_BLOCK)
	{
		square at = square_of<SIDE>(s, l.n);
		sums<T> sum;

		wmma::fill_fragment(sum, 0.0f);
		multiply<T, wmma::row_major, wmma::row_major>(
			sum, kept + l.in + at.i * l.lx, l.lx, w + at.j, l.np, l.kp, 1,
			l.np);
		each_of_square<T>(
			sum, piece,
			[&](int row, int column, float z)
			{
				int r = at.i + row, c = at.j + column, to = r * l.ly + c;

				if (c >= l.n)
				{
					kept[l.out + to] = T::of(0);
					return;
				}
				if (l.b != NULL)
					z += l.b[c];
				if (l.z >= 0)
					kept[l.z + to] = T::of(z);
				z = output_of(l.end, z, (uint64_t) (first + r) * l.n + c);
				if (last)
					pred[r * p.lpred + c] = z;
				else
					kept[l.out + to] = T::of(z);
			});
	}
}

/* Losses of numbers, and their slopes where the last layer's outputs would be
 * kept. */
template <class T>
static __device__ double
judge_numbers(const tensor_perceptron &p, int first, const tile_rows &at,
			  typename T::type *kept, const float *pred)
{
	const tensor_layer &l = p.layers[p.nlayers - 1];
	const nn_loss_args &a = p.loss;
	float p0 = (float) a.p[0], p1 = (float) a.p[1];
	double sum = 0;

	for (int i = threadIdx.x; i < p.rows * l.n; i += BLOCK_THREADS)
	{
		int r = i / l.n, j = i % l.n;
		float y = pred[r * p.lpred + j], slope = 0;

		if (first + r < p.m)
		{
			size_t row = at.y[r];
			double weight = a.weight ? a.weight[row] : 1;

			sum += weight * nn_loss_formula(a.kind, p0, p1, y,
											a.y[row * l.n + j], &slope);
			slope *= (float) (weight * a.scale / l.n) *
					 slope_at<T>(l, kept, first, r, j, y);
		}
		kept[l.out + r * l.ly + j] = T::of(slope);
	}
	return sum / l.n;
}

/* Those of classes, of which a warp takes a row. */
template <class T>
static __device__ double
judge_classes(const tensor_perceptron &p, int first, const tile_rows &at,
			  typename T::type *kept, const float *pred)
{
	const tensor_layer &l = p.layers[p.nlayers - 1];
	int lane = threadIdx.x % WARP;
	double sum = 0;

	for (int r = threadIdx.x / WARP; r < p.rows; r += WARPS_OF_BLOCK)
	{
		const float *y = pred + r * p.lpred;
		bool real = first + r < p.m;
		class_loss of = {};

		if (real)
			of = loss_of_row(p.loss, at.y[r], y);
		if (lane == 0)
			sum += of.value;
		for (int j = lane; j < l.n; j += WARP)
			kept[l.out + r * l.ly + j] =
				T::of(real ? of.slope(y[j], j) *
								 slope_at<T>(l, kept, first, r, j, y[j])
						   : 0);
	}
	return sum;
}

/* A tile's part of a square of the gradients of a layer's weights. */
template <class T>
static __device__ __forceinline__ void
add_square(const tensor_perceptron &p, const tensor_layer &l, int s,
		   const typename T::type *kept, sums<T> &sum)
{
	square at = square_of<SIDE>(s, l.n);

	multiply<T, wmma::col_major, wmma::row_major>(sum, kept + l.in + at.i, l.lx,
												  kept + l.out + at.j, l.ly,
												  p.rows, l.lx, l.ly);
}

static __device__ __forceinline__ float *
square_in(const tensor_layer &l, int s, float *partial)
{
	square at = square_of<SIDE>(s, l.n);

	return partial + l.dw + (size_t) at.i * l.np + at.j;
}

template <class T>
static __device__ __forceinline__ void
add_gradients(const tensor_perceptron &p, const tensor_layer &l,
			  const typename T::type *kept, bool fresh, sums<T> *own,
			  float *partial)
{
	int warp = threadIdx.x / WARP, end = squares_of<SIDE>(l.k, l.n);

	UNROLL
	for (int q = 0; q < SQUARES; q++)
	{
		int s = warp + q * WARPS_OF_BLOCK - l.squares;

		if (s >= 0 && s < end)
			add_square<T>(p, l, s, kept, own[q]);
	}
	for (int q = warp + SQUARES * WARPS_OF_BLOCK; q < l.squares + end;
		 q += WARPS_OF_BLOCK)
	{
		int s = q - l.squares;
		sums<T> sum;

		if (s < 0)
			continue;
		if (fresh)
			wmma::fill_fragment(sum, 0.0f);
		else
			wmma::load_matrix_sync(sum, square_in(l, s, partial), l.np,
								   wmma::mem_row_major);
		add_square<T>(p, l, s, kept, sum);
		wmma::store_matrix_sync(square_in(l, s, partial), sum, l.np,
								wmma::mem_row_major);
	}
	for (int j = threadIdx.x; l.b && j < l.n; j += BLOCK_THREADS)
	{
		float sum = 0;

		for (int r = 0; r < p.rows; r++)
			sum += T::value(kept[l.out + r * l.ly + j]);
		partial[l.db + j] = fresh ? sum : partial[l.db + j] + sum;
	}
}

/* Those that were in registers. */
template <class T>
static __device__ __forceinline__ void
store_gradients(const tensor_perceptron &p, const sums<T> *own, float *partial)
{
	UNROLL
	for (int q = 0; q < SQUARES; q++)
	{
		int s = threadIdx.x / WARP + q * WARPS_OF_BLOCK, i = p.nlayers - 1;

		if (s >= p.squares)
			continue;
		while (p.layers[i].squares > s)
			i--;
		wmma::store_matrix_sync(
			square_in(p.layers[i], s - p.layers[i].squares, partial), own[q],
			p.layers[i].np, wmma::mem_row_major);
	}
}

/* The slope of a layer's input: of what came before it, or dx. */
template <class T>
static __device__ void
go_back(const tensor_perceptron &p, int number, int first,
		typename T::type *kept, float *piece)
{
	const tensor_layer &l = p.layers[number];
	const typename T::type *w = (const typename T::type *) p.w + l.w;

	for (int s = threadIdx.x / WARP; s < squares_of<SIDE>(p.rows, l.k);
		 s += WARPS_OF_BLOCK)
	{
		square from = square_of<SIDE>(s, l.k);
		sums<T> sum;

		wmma::fill_fragment(sum, 0.0f);
		multiply<T, wmma::row_major, wmma::col_major>(
			sum, kept + l.out + from.i * l.ly, l.ly, w + (size_t) from.j * l.np,
			l.np, l.np, 1, 1);
		each_of_square<T>(
			sum, piece,
			[&](int row, int column, float slope)
			{
				int r = from.i + row, c = from.j + column;

				if (c >= l.k)
					return;
				if (number > 0)
				{
					const tensor_layer &before = p.layers[number - 1];
					typename T::type *at = &kept[l.in + r * l.lx + c];

					*at = T::of(slope * slope_at<T>(before, kept, first, r, c,
													T::value(*at)));
				}
				else if (first + r < p.m)
				{
					float *dx = p.dx + (size_t) (first + r) * l.k + c;

					*dx = gpu_blend(slope, p.dx_beta, dx);
				}
			});
	}
}

template <class T>
static __device__ __forceinline__ double
train_tiles(const tensor_perceptron &p, float *partial, char *memory)
{
	SHARED(at, tile_rows);
	typename T::type *kept = (typename T::type *) memory;
	float *piece = (float *) memory + p.pieces + threadIdx.x / WARP * PIECE;
	float *pred = (float *) memory + p.pred;
	sums<T> own[SQUARES];
	double loss = 0;

	UNROLL
	for (int q = 0; q < SQUARES; q++)
		wmma::fill_fragment(own[q], 0.0f);
	for (int tile = blockIdx.x; tile < p.tiles; tile += gridDim.x)
	{
		int first = tile * p.rows;
		int count = p.m - first < p.rows ? p.m - first : p.rows;

		find_rows(p.x_rows, p.y_rows, first, count, at);
		__syncthreads();
		load_rows<T>(p, count, at, kept);
		for (int i = 0; i < p.nlayers; i++)
		{
			__syncthreads();
			go_forward<T>(p, i, first, kept, piece, pred);
		}
		__syncthreads();
		loss += is_of_classes(p.loss)
					? judge_classes<T>(p, first, at, kept, pred)
					: judge_numbers<T>(p, first, at, kept, pred);
		for (int i = p.nlayers - 1; i >= 0; i--)
		{
			__syncthreads();
			add_gradients<T>(p, p.layers[i], kept, tile == (int) blockIdx.x,
							 own, partial);
			if (i == 0 && p.dx == NULL)
				break;
			/* of the input, whose place the slopes take */
			__syncthreads();
			go_back<T>(p, i, first, kept, piece);
		}
	}
	store_gradients<T>(p, own, partial);
	return loss;
}

#endif /* HAS_TENSORS */

/* Where blocks do not meet, the weights have been rounded before. */
template <class T>
static __global__ void
__launch_bounds__(BLOCK_THREADS, BLOCKS_OF_SM)
	step_on_tensors(const __grid_constant__ tensor_perceptron p,
					const __grid_constant__ gradients g, bool meets)
{
#if HAS_TENSORS
	SHARED(memory, shared_bytes);

	if (meets)
	{
		for (size_t i = (size_t) blockIdx.x * BLOCK_THREADS + threadIdx.x;
			 i < p.nweights; i += (size_t) gridDim.x * BLOCK_THREADS)
			round_weight<T>(p, i);
		BARRIER_OF_ALL();
	}
	end_tiles(g,
			  train_tiles<T>(p, g.partial + blockIdx.x * g.size, memory.bytes),
			  meets, *(share_sums *) memory.bytes);
#else
	__trap();
#endif
}

/* All of a layer but where a tile keeps it. */
template <class T>
static void
place_layer(const nn_mlp_layer *from, tensor_perceptron *p, tensor_layer *l,
			gradients *g)
{
	*l = tensor_layer{};
	l->k = from->inputs;
	l->n = from->outputs;
	l->kp = (int) gpu_round_up((size_t) l->k, SIDE);
	l->np = (int) gpu_round_up((size_t) l->n, SIDE);
	l->lx = l->kp + T::SKEW;
	l->ly = l->np + T::SKEW;
	l->b = from->b;
	l->end = end_of_layer(from);
	l->squares = p->squares;
	p->squares += squares_of<SIDE>(l->k, l->n);
	l->dw =
		place_gradient(g, l->k, l->n, l->kp, l->np, from->dw, from->w_update);
	if (l->b != NULL)
		l->db = place_gradient(g, 1, l->n, 1, l->np, from->db, from->b_update);
	l->w = p->nweights;
	l->from_w = from->w;
	p->nweights += (size_t) l->kp * l->np;
}

/* Lay out a tile of so many rows; the bytes of shared memory that it takes. */
template <class T>
static size_t
place_tile(tensor_perceptron *p, int rows)
{
	int numbers = rows * p->layers[0].lx;
	size_t floats;

	p->rows = rows;
	for (int i = 0; i < p->nlayers; i++)
	{
		tensor_layer *l = &p->layers[i];

		l->in = i > 0 ? p->layers[i - 1].out : 0;
		l->out = numbers;
		numbers += rows * l->ly;
		l->z = -1;
		if (nn_function_needs_input(l->end.f))
		{
			l->z = numbers;
			numbers += rows * l->ly;
		}
	}
	floats = (size_t) numbers * sizeof(typename T::type) / sizeof(float);
	p->pieces = (int) floats;
	p->pred = p->pieces + WARPS_OF_BLOCK * PIECE;
	p->lpred = p->layers[p->nlayers - 1].np;
	return ((size_t) p->pred + (size_t) rows * p->lpred) * sizeof(float);
}

/* The most rows for which there is room; fewer where processors would have
 * nothing to do. */
template <class T>
static bool
choose_rows(tensor_perceptron *p, int processors)
{
	int rows = MOST_OF_TILE;

	while (rows > SIDE &&
		   (place_tile<T>(p, rows) > SHARED_BYTES || p->m < processors * rows))
		rows /= 2;
	if (place_tile<T>(p, rows) > SHARED_BYTES)
		return false;
	p->tiles = (int) gpu_divide_up((size_t) p->m, (size_t) rows);
	return true;
}

template <class T>
static bool
gpu_mlp_rounded(nn_device *d, const nn_mlp_args *a)
{
	gpu_state *s = gpu_of(d);
	tensor_perceptron p = {};
	gradients g = {};

	p.m = a->loss.m;
	p.nlayers = a->nlayers;
	for (int i = 0; i < a->nlayers; i++)
		place_layer<T>(&a->layer[i], &p, &p.layers[i], &g);
	if (p.m == 0 || !choose_rows<T>(&p, s->processors))
		return false;
	p.w = place_partials(
		d, &g, blocks_for(s, p.tiles, (const void *) step_on_tensors<T>),
		p.nweights * sizeof(typename T::type));
	if (p.w == NULL)
		return true; /* a failure that is kept */
	p.x = a->x;
	p.x_rows = a->x_rows;
	p.y_rows = a->y_rows;
	p.dx = a->dx;
	p.dx_beta = a->dx_beta;
	p.loss = a->loss;
	g.loss = a->loss.sum;
	if (!s->cooperates)
		gpu_each(d, p.nweights,
				 [=] __device__(size_t i) { round_weight<T>(p, i); });
	run_step(d, step_on_tensors<T>, p, g);
	return true;
}

/* Whether the kernel there is has been compiled for tensor cores: what a newer
 * device makes of older PTX has not, and would do nothing. */
static bool
has_tensors(gpu_state *s)
{
	cudaFuncAttributes a = {};

	if (s->tensors == 0 &&
		gpu_check(s,
				  cudaFuncGetAttributes(
					  &a, (const void *) step_on_tensors<bf16_factor>),
				  "look at a kernel"))
		s->tensors = a.ptxVersion >= 10 * LEAST_MAJOR ? 1 : -1;
	return s->tensors > 0;
}

bool
gpu_mlp_tensor(nn_device *d, const nn_mlp_args *a)
{
	if (gpu_of(d)->major < LEAST_MAJOR || !has_tensors(gpu_of(d)))
		return false;
	return d->precision == NN_BF16 ? gpu_mlp_rounded<bf16_factor>(d, a)
								   : gpu_mlp_rounded<tf32_factor>(d, a);
}
