/*
 * perceptron.cu
 *	  Small dense layers as a whole: rows, forward, loss, backward and update
 *	  in one kernel.
 *
 * Layer by layer, a small network spends its time on starting kernels and on
 * bringing activations to memory and back.  Here a block takes a tile of rows
 * through all layers and back again.  What flows between layers stays in
 * shared memory; the weights, which all blocks read, stay in the caches.  On
 * the way back the slopes overwrite the activations they have used up.  How a
 * step ends is in perceptron.h.
 */
#include "classes.h"
#include "perceptron.h"

#ifdef __CUDACC__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL
#endif

#define OWN		   4	 /* rows and columns of a product that a thread has */
#define NUMBERS	   11264 /* in shared memory */
#define MOST_ROWS  32	 /* of a tile */
#define LEAST_ROWS 8

typedef struct layer
{
	int k, n;		/* inputs, outputs */
	int lx, ly;		/* between two rows of inputs, of outputs */
	int in, out, z; /* where those of a row begin; z -1: not kept */
	bool fours;		/* whether w can be read by four numbers */
	size_t dw, db;	/* in the gradients of a block; db: where b is */
	const float *w, *b;
	layer_end end;
} layer;

/* aligned as four numbers are */
typedef union alignas(16) shared_numbers
{
	float number[NUMBERS];
	share_sums sums; /* at the end */
} shared_numbers;

typedef struct perceptron
{
	int m, rows, tiles; /* rows in all, of a tile, and tiles */
	int nlayers;
	layer layers[NN_MLP_LAYERS];
	const float *x;
	nn_rows x_rows, y_rows;
	float *dx; /* or NULL */
	float dx_beta;
	nn_loss_args loss;
} perceptron;

/* The same of a number of a tile that begins at row first. */
static __device__ __forceinline__ float
slope_at(const layer &l, int rows, int first, const float *kept, int row,
		 int column)
{
	int at = row * l.ly + column;

	return slope_of_end(l.end, l.z < 0 ? 0 : kept[(size_t) l.z * rows + at],
						kept[(size_t) l.out * rows + at],
						(uint64_t) (first + row) * l.n + column);
}

/* Four numbers, which are aligned to their size; or as many as there are. */
static __device__ __forceinline__ void
load_fours(const float *p, float *v)
{
	const float4 four = *(const float4 *) p;

	v[0] = four.x;
	v[1] = four.y;
	v[2] = four.z;
	v[3] = four.w;
}

template <bool FOURS>
static __device__ __forceinline__ void
load_some(const float *p, int count, float *v)
{
	if (FOURS)
		load_fours(p, v);
	else
	{
		UNROLL
		for (int j = 0; j < OWN; j++)
			v[j] = j < count ? p[j] : 0;
	}
}

/* sum[i][j] += a[i] b[j], where the next of either lies a step further. */
static __device__ __forceinline__ void
add_products(float (&sum)[OWN][OWN], const float *a, int a_step, const float *b,
			 int b_step)
{
	UNROLL
	for (int i = 0; i < OWN; i++)
	{
		UNROLL
		for (int j = 0; j < OWN; j++)
			sum[i][j] = fmaf(a[i * a_step], b[j * b_step], sum[i][j]);
	}
}

/*
 * A product, of which every thread has squares; where there are few, threads
 * side by side share one.  Then each takes every so-manieth four of the depth,
 * and they add up what they have found.
 */
static __device__ __forceinline__ int
parts_for(int squares, int depth, int least)
{
	int parts = least;

	while (parts < WARP && parts * OWN < depth &&
		   squares * parts * 2 <= BLOCK_THREADS)
		parts *= 2;
	/* in two, a square cannot be added up as below */
	return parts == 2 ? 1 : parts;
}

/*
 * Add up the sums of OWN or more threads, each of which is left with the row of
 * its number.
 */
static __device__ __forceinline__ void
add_parts(float (&sum)[OWN][OWN], int part, int parts)
{
	/* half of the rows for the other half, and again */
	UNROLL
	for (int half = OWN / 2; half > 0; half /= 2)
	{
		bool upper = part & half;

		UNROLL
		for (int i = 0; i < half; i++)
		{
			UNROLL
			for (int j = 0; j < OWN; j++)
			{
				float other = upper ? sum[i][j] : sum[i + half][j];
				float own = upper ? sum[i + half][j] : sum[i][j];

				sum[i][j] = own + __shfl_xor_sync(FULL_WARP, other, half);
			}
		}
	}
	for (int by = OWN; by < parts; by *= 2)
	{
		UNROLL
		for (int j = 0; j < OWN; j++)
			sum[0][j] += __shfl_xor_sync(FULL_WARP, sum[0][j], by);
	}
}

/* add(square, depth, sums) of OWN of the depth; store(row, column, numbers) of
 * OWN numbers of a row. */
template <class Add, class Store>
static __device__ __forceinline__ void
multiply(int rows, int columns, int depth, int least, Add add, Store store)
{
	const int squares = squares_of<OWN>(rows, columns);
	const int parts = parts_for(squares, depth, least);
	/* whole warps, which add up together */
	const int threads = (squares * parts + WARP - 1) / WARP * WARP;

	for (int t = threadIdx.x; t < threads; t += BLOCK_THREADS)
	{
		int part = t % parts, s = t / parts;
		square at = square_of<OWN>(s, columns);
		float sum[OWN][OWN] = {};

		for (int q = part * OWN; s < squares && q < depth; q += parts * OWN)
			add(at, q, sum);
		if (parts > 1)
			add_parts(sum, part, parts);
		if (s >= squares || part >= OWN)
			continue;
		UNROLL
		for (int i = 0; i < OWN; i++)
			if (i == 0 || parts == 1)
				store(at.i + (parts == 1 ? i : part), at.j, sum[i]);
	}
}

static __device__ void
load_rows(const perceptron &p, int count, const tile_rows &at, float *kept)
{
	const layer &l = p.layers[0];

	for (int i = threadIdx.x; i < p.rows * l.lx; i += BLOCK_THREADS)
	{
		int row = i / l.lx, column = i % l.lx;

		kept[i] = row < count && column < l.k
					  ? p.x[(size_t) at.x[row] * l.k + column]
					  : 0;
	}
}

template <bool FOURS>
static __device__ __forceinline__ void
go_forward(const layer &l, int rows, int first, float *kept)
{
	const float *x = kept + (size_t) l.in * rows;

	multiply(
		rows, l.n, l.k, 1,
		[&](square at, int q, float(&sum)[OWN][OWN])
		{
			float a[OWN][OWN], w[OWN][OWN];

			UNROLL
			for (int i = 0; i < OWN; i++)
			{
				load_fours(&x[(at.i + i) * l.lx + q], a[i]);
				load_some<FOURS>(&l.w[(q + i < l.k ? q + i : 0) * l.n + at.j],
								 l.n - at.j, w[i]);
				/* beyond k, a is zero */
				UNROLL
				for (int j = 0; j < OWN; j++)
					w[i][j] = q + i < l.k ? w[i][j] : 0;
			}
			UNROLL
			for (int d = 0; d < OWN; d++)
				add_products(sum, &a[0][d], OWN, w[d], 1);
		},
		[&](int row, int column, const float *sum)
		{
			UNROLL
			for (int j = 0; j < OWN; j++)
			{
				int c = column + j, to = row * l.ly + c;
				float z = 0, y = 0;

				if (c < l.n)
				{
					z = l.b ? sum[j] + l.b[c] : sum[j];
					y = output_of(l.end, z, (uint64_t) (first + row) * l.n + c);
				}
				if (l.z >= 0)
					kept[(size_t) l.z * rows + to] = z;
				kept[(size_t) l.out * rows + to] = y;
			}
		});
}

/* Losses of numbers, whose slopes take the predictions' place. */
static __device__ double
judge_numbers(const perceptron &p, int first, const tile_rows &at, float *kept)
{
	const layer &l = p.layers[p.nlayers - 1];
	const nn_loss_args &a = p.loss;
	float p0 = (float) a.p[0], p1 = (float) a.p[1];
	float *pred = kept + (size_t) l.out * p.rows;
	double sum = 0;

	for (int i = threadIdx.x; i < p.rows * l.n; i += BLOCK_THREADS)
	{
		int r = i / l.n, j = i % l.n;
		float *here = &pred[r * l.ly + j], slope;
		double weight;
		size_t row;

		if (first + r >= p.m)
		{
			*here = 0;
			continue;
		}
		row = at.y[r];
		weight = a.weight ? a.weight[row] : 1;
		sum += weight * nn_loss_formula(a.kind, p0, p1, *here,
										a.y[row * l.n + j], &slope);
		*here = slope * (float) (weight * a.scale / l.n) *
				slope_at(l, p.rows, first, kept, r, j);
	}
	return sum / l.n;
}

/* Those of classes, of which a warp takes a row. */
static __device__ double
judge_classes(const perceptron &p, int first, const tile_rows &at, float *kept)
{
	const layer &l = p.layers[p.nlayers - 1];
	int lane = threadIdx.x % WARP;
	double sum = 0;

	for (int r = threadIdx.x / WARP; r < p.rows; r += WARPS_OF_BLOCK)
	{
		float *pred = kept + (size_t) l.out * p.rows + r * l.ly;
		class_loss of;

		if (first + r >= p.m)
		{
			for (int j = lane; j < l.n; j += WARP)
				pred[j] = 0;
			continue;
		}
		of = loss_of_row(p.loss, at.y[r], pred);
		if (lane == 0)
			sum += of.value;
		for (int j = lane; j < l.n; j += WARP)
			pred[j] =
				of.slope(pred[j], j) * slope_at(l, p.rows, first, kept, r, j);
	}
	return sum;
}

/* A tile's part of the gradients of a layer's parameters. */
static __device__ __forceinline__ void
add_gradients(const layer &l, int rows, const float *kept, bool fresh,
			  float *partial)
{
	const float *x = kept + (size_t) l.in * rows;
	const float *dz = kept + (size_t) l.out * rows;

	multiply(
		l.k, l.n, rows, 1,
		[&](square at, int r, float(&sum)[OWN][OWN])
		{
			UNROLL
			for (int d = 0; d < OWN; d++)
			{
				float a[OWN], b[OWN];

				load_fours(&x[(r + d) * l.lx + at.i], a);
				load_fours(&dz[(r + d) * l.ly + at.j], b);
				add_products(sum, a, 1, b, 1);
			}
		},
		[&](int row, int column, const float *sum)
		{
			UNROLL
			for (int j = 0; j < OWN; j++)
			{
				float *to = partial + l.dw + row * l.n + column + j;

				if (row < l.k && column + j < l.n)
					*to = fresh ? sum[j] : *to + sum[j];
			}
		});
	for (int j = threadIdx.x; l.b && j < l.n; j += BLOCK_THREADS)
	{
		float sum = 0;

		for (int r = 0; r < rows; r++)
			sum += dz[r * l.ly + j];
		partial[l.db + j] = fresh ? sum : partial[l.db + j] + sum;
	}
}

/* The slope of a layer's input: of what came before it, or dx. */
template <bool FOURS>
static __device__ __forceinline__ void
go_back(const perceptron &p, int number, int first, float *kept)
{
	const layer &l = p.layers[number];
	const float *dz = kept + (size_t) l.out * p.rows;

	/* side by side, as w is read along its rows */
	multiply(
		p.rows, l.k, l.n, OWN,
		[&](square at, int q, float(&sum)[OWN][OWN])
		{
			float a[OWN][OWN], w[OWN][OWN];

			UNROLL
			for (int i = 0; i < OWN; i++)
			{
				int row = at.j + i < l.k ? at.j + i : 0;

				load_fours(&dz[(at.i + i) * l.ly + q], a[i]);
				load_some<FOURS>(&l.w[row * l.n + q], l.n - q, w[i]);
			}
			UNROLL
			for (int d = 0; d < OWN; d++)
				add_products(sum, &a[0][d], OWN, &w[0][d], OWN);
		},
		[&](int row, int column, const float *sum)
		{
			UNROLL
			for (int j = 0; j < OWN; j++)
			{
				int c = column + j;

				if (c >= l.k)
					break;
				if (number > 0)
				{
					const layer &before = p.layers[number - 1];

					kept[(size_t) l.in * p.rows + row * l.lx + c] =
						sum[j] * slope_at(before, p.rows, first, kept, row, c);
				}
				else if (first + row < p.m)
				{
					float *dx = p.dx + (size_t) (first + row) * l.k + c;

					*dx = gpu_blend(sum[j], p.dx_beta, dx);
				}
			}
		});
}

static __device__ double
train_tiles(const perceptron &p, float *partial, float *kept)
{
	SHARED(at, tile_rows);
	bool classes = is_of_classes(p.loss);
	double loss = 0;

	for (int tile = blockIdx.x; tile < p.tiles; tile += gridDim.x)
	{
		int first = tile * p.rows;
		int count = p.m - first < p.rows ? p.m - first : p.rows;

		find_rows(p.x_rows, p.y_rows, first, count, at);
		__syncthreads();
		load_rows(p, count, at, kept);
		for (int i = 0; i < p.nlayers; i++)
		{
			__syncthreads();
			if (p.layers[i].fours)
				go_forward<true>(p.layers[i], p.rows, first, kept);
			else
				go_forward<false>(p.layers[i], p.rows, first, kept);
		}
		__syncthreads();
		loss += classes ? judge_classes(p, first, at, kept)
						: judge_numbers(p, first, at, kept);
		for (int i = p.nlayers - 1; i >= 0; i--)
		{
			__syncthreads();
			add_gradients(p.layers[i], p.rows, kept, tile == (int) blockIdx.x,
						  partial);
			if (i == 0 && p.dx == NULL)
				break;
			/* of the input, whose place the slopes take */
			__syncthreads();
			if (p.layers[i].fours)
				go_back<true>(p, i, first, kept);
			else
				go_back<false>(p, i, first, kept);
		}
	}
	return loss;
}

static __global__ void
__launch_bounds__(BLOCK_THREADS)
	step_of_perceptron(const __grid_constant__ perceptron p,
					   const __grid_constant__ gradients g, bool meets)
{
	SHARED(kept, shared_numbers);

	end_tiles(g, train_tiles(p, g.partial + blockIdx.x * g.size, kept.number),
			  meets, kept.sums);
}

static __global__ void
end_of_step(const __grid_constant__ gradients g)
{
	SHARED(sums, share_sums);

	finish_step(g, sums);
}

void
gpu_finish_step(nn_device *d, const gradients *g)
{
	size_t grid = gpu_divide_up(g->part[g->count].begin, SUMMED);

	gpu_launch(d, end_of_step, dim3((unsigned) grid), dim3(SUMMED * SHARES),
			   *g);
}

/* The place of every layer's numbers in a row; how many there are. */
static int
place_layers(const nn_mlp_args *a, perceptron *p, gradients *g)
{
	int numbers = (int) gpu_round_up((size_t) a->layer[0].inputs, OWN);

	p->nlayers = a->nlayers;
	for (int i = 0; i < a->nlayers; i++)
	{
		const nn_mlp_layer *from = &a->layer[i];
		layer *l = &p->layers[i];

		*l = layer{};
		l->k = from->inputs;
		l->n = from->outputs;
		l->lx = (int) gpu_round_up((size_t) l->k, OWN);
		l->ly = (int) gpu_round_up((size_t) l->n, OWN);
		l->out = numbers;
		l->z = -1;
		l->dw =
			place_gradient(g, l->k, l->n, l->k, l->n, from->dw, from->w_update);
		l->w = from->w;
		l->b = from->b;
		l->in = i > 0 ? p->layers[i - 1].out : 0;
		l->end = end_of_layer(from);
		l->fours =
			l->n % OWN == 0 && (uintptr_t) l->w % (OWN * sizeof(float)) == 0;
		numbers += l->ly;
		if (nn_function_needs_input(l->end.f))
		{
			l->z = numbers;
			numbers += l->ly;
		}
		if (l->b != NULL)
			l->db =
				place_gradient(g, 1, l->n, 1, l->n, from->db, from->b_update);
	}
	return numbers;
}

/* The most rows of a tile for which there is room; fewer where processors would
 * have nothing to do. */
static int
choose_rows(int m, int numbers, int processors)
{
	int rows = MOST_ROWS;

	while (rows >= LEAST_ROWS && rows * numbers > NUMBERS)
		rows /= 2;
	while (rows > LEAST_ROWS && m < processors * rows)
		rows /= 2;
	return rows;
}

bool
gpu_mlp(nn_device *d, const nn_mlp_args *a)
{
	gpu_state *s = gpu_of(d);
	perceptron p = {};
	gradients g = {};
	int numbers = place_layers(a, &p, &g);

	if (d->precision != NN_FP32 && gpu_mlp_tensor(d, a))
		return true;
	p.rows = choose_rows(a->loss.m, numbers, s->processors);
	if (p.rows < LEAST_ROWS || a->loss.m == 0)
		return false;
	p.m = a->loss.m;
	p.tiles = (int) gpu_divide_up((size_t) p.m, (size_t) p.rows);
	p.x = a->x;
	p.x_rows = a->x_rows;
	p.y_rows = a->y_rows;
	p.dx = a->dx;
	p.dx_beta = a->dx_beta;
	p.loss = a->loss;
	g.loss = a->loss.sum;
	if (place_partials(
			d, &g, blocks_for(s, p.tiles, (const void *) step_of_perceptron),
			0) != NULL)
		run_step(d, step_of_perceptron, p, g);
	return true;
}
