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

#define OWN		   4	 /* rows and columns of a product that a thread has */
#define NUMBERS	   11264 /* in shared memory */
#define MOST_ROWS  32	 /* of a tile */
#define LEAST_ROWS 8

typedef struct layer
{
	int k, n;		/* inputs, outputs */
	int in, out, z; /* where those of a row begin; z -1: not kept */
	size_t dw, db;	/* in the gradients of a block; db: where b is */
	const float *w, *b;
	layer_end end;
} layer;

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
slope_at(const layer &l, int rows, int first, const float *kept, int at)
{
	return slope_of_end(l.end, l.z < 0 ? 0 : kept[(size_t) l.z * rows + at],
						kept[(size_t) l.out * rows + at],
						(uint64_t) first * l.n + at);
}

static __device__ void
load_rows(const perceptron &p, int count, const tile_rows &at, float *kept)
{
	int k = p.layers[0].k;

	for (int i = threadIdx.x; i < p.rows * k; i += BLOCK_THREADS)
		kept[i] = i < count * k ? p.x[(size_t) at.x[i / k] * k + i % k] : 0;
}

static __device__ void
go_forward(const layer &l, int rows, int first, float *kept)
{
	const float *x = kept + (size_t) l.in * rows;

	for (int s = threadIdx.x; s < squares_of<OWN>(rows, l.n);
		 s += BLOCK_THREADS)
	{
		square at = square_of<OWN>(s, l.n);
		float sum[OWN][OWN] = {};

		for (int q = 0; q < l.k; q++)
		{
			float w[OWN];

			for (int j = 0; j < OWN; j++)
				w[j] = at.j + j < l.n ? l.w[q * l.n + at.j + j] : 0;
			for (int i = 0; i < OWN; i++)
			{
				for (int j = 0; j < OWN; j++)
					sum[i][j] = fmaf(x[(at.i + i) * l.k + q], w[j], sum[i][j]);
			}
		}
		for (int i = 0; i < OWN; i++)
		{
			for (int j = 0; j < OWN && at.j + j < l.n; j++)
			{
				int to = (at.i + i) * l.n + at.j + j;
				float z = l.b ? sum[i][j] + l.b[at.j + j] : sum[i][j];

				if (l.z >= 0)
					kept[(size_t) l.z * rows + to] = z;
				kept[(size_t) l.out * rows + to] =
					output_of(l.end, z, (uint64_t) first * l.n + to);
			}
		}
	}
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
		double weight;
		float slope;
		size_t row;

		if (first + i / l.n >= p.m)
		{
			pred[i] = 0;
			continue;
		}
		row = at.y[i / l.n];
		weight = a.weight ? a.weight[row] : 1;
		sum += weight * nn_loss_formula(a.kind, p0, p1, pred[i],
										a.y[row * l.n + i % l.n], &slope);
		pred[i] = slope * (float) (weight * a.scale / l.n) *
				  slope_at(l, p.rows, first, kept, i);
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
		float *pred = kept + (size_t) l.out * p.rows + r * l.n;
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
			pred[j] = of.slope(pred[j], j) *
					  slope_at(l, p.rows, first, kept, r * l.n + j);
	}
	return sum;
}

/* A tile's part of the gradients of a layer's parameters. */
static __device__ void
add_gradients(const layer &l, int rows, const float *kept, bool fresh,
			  float *partial)
{
	const float *x = kept + (size_t) l.in * rows;
	const float *dz = kept + (size_t) l.out * rows;

	for (int s = threadIdx.x; s < squares_of<OWN>(l.k, l.n); s += BLOCK_THREADS)
	{
		square at = square_of<OWN>(s, l.n);
		float sum[OWN][OWN] = {};

		for (int r = 0; r < rows; r++)
		{
			for (int i = 0; i < OWN && at.i + i < l.k; i++)
			{
				for (int j = 0; j < OWN && at.j + j < l.n; j++)
					sum[i][j] = fmaf(x[r * l.k + at.i + i],
									 dz[r * l.n + at.j + j], sum[i][j]);
			}
		}
		for (int i = 0; i < OWN && at.i + i < l.k; i++)
		{
			for (int j = 0; j < OWN && at.j + j < l.n; j++)
			{
				float *to = partial + l.dw + (at.i + i) * l.n + at.j + j;

				*to = fresh ? sum[i][j] : *to + sum[i][j];
			}
		}
	}
	for (int j = threadIdx.x; l.b && j < l.n; j += BLOCK_THREADS)
	{
		float sum = 0;

		for (int r = 0; r < rows; r++)
			sum += dz[r * l.n + j];
		partial[l.db + j] = fresh ? sum : partial[l.db + j] + sum;
	}
}

/* The slope of a layer's input: of what came before it, or dx. */
static __device__ void
go_back(const perceptron &p, int number, int first, float *kept)
{
	const layer &l = p.layers[number];
	const float *dz = kept + (size_t) l.out * p.rows;

	for (int s = threadIdx.x; s < squares_of<OWN>(p.rows, l.k);
		 s += BLOCK_THREADS)
	{
		square at = square_of<OWN>(s, l.k);
		float sum[OWN][OWN] = {};

		for (int q = 0; q < l.n; q++)
		{
			for (int j = 0; j < OWN && at.j + j < l.k; j++)
			{
				float w = l.w[(at.j + j) * l.n + q];

				for (int i = 0; i < OWN; i++)
					sum[i][j] = fmaf(dz[(at.i + i) * l.n + q], w, sum[i][j]);
			}
		}
		for (int i = 0; i < OWN; i++)
		{
			for (int j = 0; j < OWN && at.j + j < l.k; j++)
			{
				int to = (at.i + i) * l.k + at.j + j;

				if (number > 0)
					kept[(size_t) l.in * p.rows + to] =
						sum[i][j] *
						slope_at(p.layers[number - 1], p.rows, first, kept, to);
				else if (first + at.i + i < p.m)
				{
					float *dx = p.dx + (size_t) first * l.k + to;

					*dx = gpu_blend(sum[i][j], p.dx_beta, dx);
				}
			}
		}
	}
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
			go_forward(p.layers[i], p.rows, first, kept);
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
			go_back(p, i, first, kept);
		}
	}
	return loss;
}

static __global__ void
__launch_bounds__(BLOCK_THREADS)
	step_of_perceptron(const __grid_constant__ perceptron p,
					   const __grid_constant__ gradients g, bool meets)
{
	SHARED(kept, float[NUMBERS]);
	double loss = train_tiles(p, g.partial + blockIdx.x * g.size, kept);

	loss = block_sum(loss);
	if (threadIdx.x == 0)
		g.losses[blockIdx.x] = loss;
	if (!meets)
		return;
	BARRIER_OF_ALL();
	finish_step(g, *(share_sums *) kept);
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
	int numbers = a->layer[0].inputs;

	p->nlayers = a->nlayers;
	for (int i = 0; i < a->nlayers; i++)
	{
		const nn_mlp_layer *from = &a->layer[i];
		layer *l = &p->layers[i];

		*l = layer{};
		l->k = from->inputs;
		l->n = from->outputs;
		l->out = numbers;
		l->z = -1;
		l->dw =
			place_gradient(g, l->k, l->n, l->k, l->n, from->dw, from->w_update);
		l->w = from->w;
		l->b = from->b;
		l->in = i > 0 ? p->layers[i - 1].out : 0;
		l->end = end_of_layer(from);
		numbers += l->n;
		if (nn_function_needs_input(l->end.f))
		{
			l->z = numbers;
			numbers += l->n;
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
