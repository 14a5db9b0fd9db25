/*
 * lookup.cu
 *	  Kernels that take table rows by code or by bin.
 */
#include "columns.h"

/* The numbers of rows of the tables and where they begin, on the device. */
typedef struct table_list
{
	const int *levels, *first;
} table_list;

static bool
find_tables(nn_device *d, int ncodes, const int *levels, const int *first,
			table_list *t)
{
	size_t bytes = (size_t) ncodes * sizeof(int);

	t->levels = (const int *) gpu_constant(d, levels, bytes);
	t->first = (const int *) gpu_constant(d, first, bytes);
	return t->levels != NULL && t->first != NULL;
}

/* Whether a code is that of row "row" of all tables; NaN is none. */
static __device__ __forceinline__ bool
is_row(table_list t, int c, float code, int row)
{
	return code >= 0 && code < (float) t.levels[c] &&
		   t.first[c] + (int) code == row;
}

void
gpu_lookup(nn_device *d, int m, int ncodes, int n, const int *levels,
		   const int *first, const float *code, const float *table, float *y)
{
	table_list t;

	if (!find_tables(d, ncodes, levels, first, &t))
		return;
	gpu_each(
		d, (size_t) m * ncodes * n,
		[=] __device__(size_t at)
		{
			gpu_place p = gpu_place_of(at, n);
			int c = gpu_place_of(p.row, ncodes).column;
			float number = code[p.row];

			if (number >= 0 && number < (float) t.levels[c])
				y[at] =
					table[(size_t) (t.first[c] + (int) number) * n + p.column];
			else
				y[at] = 0;
		});
}

/*
 * A block adds up the gradient of one row of the tables, 32 columns of it.
 * Each warp goes through a part of the batch, 32 codes at a time, and stops at
 * those that are the row's.
 */
static __global__ void
lookup_slope(int m, int ncodes, int n, table_list t, const float *code,
			 const float *dy, float *dtable)
{
	SHARED(part, double[WARPS_OF_BLOCK][WARP]);
	int row = blockIdx.x, lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
	int j = blockIdx.y * WARP + lane;
	int share = (m + WARPS_OF_BLOCK - 1) / WARPS_OF_BLOCK;
	int from = warp * share, to = from + share < m ? from + share : m;
	double sum = 0;

	for (int c = 0; c < ncodes; c++)
	{
		if (row < t.first[c] || row >= t.first[c] + t.levels[c])
			continue;
		for (int i = from; i < to; i += WARP)
		{
			bool is = i + lane < to &&
					  is_row(t, c, code[(size_t) (i + lane) * ncodes + c], row);
			unsigned found = __ballot_sync(FULL_WARP, is);

			for (; found != 0; found &= found - 1)
			{
				size_t at = (size_t) (i + __ffs((int) found) - 1) * ncodes + c;

				if (j < n)
					sum += dy[at * n + j];
			}
		}
	}
	part[warp][lane] = sum;
	__syncthreads();
	if (warp > 0 || j >= n)
		return;
	for (int w = 1; w < WARPS_OF_BLOCK; w++)
		sum += part[w][lane];
	dtable[(size_t) row * n + j] = (float) sum;
}

void
gpu_lookup_slope(nn_device *d, int m, int ncodes, int n, const int *levels,
				 const int *first, int total, const float *code,
				 const float *dy, float *dtable)
{
	table_list t;

	if (find_tables(d, ncodes, levels, first, &t) && total > 0)
		gpu_launch(
			d, lookup_slope,
			dim3((unsigned) total, (unsigned) gpu_divide_up((size_t) n, WARP)),
			dim3(BLOCK_THREADS), m, ncodes, n, t, code, dy, dtable);
}

void
gpu_one_hot(nn_device *d, int m, int ncodes, const int *levels,
			const int *first, int total, const float *code, const float *on,
			const float *off, float *y)
{
	table_list t;

	if (!find_tables(d, ncodes, levels, first, &t))
		return;
	gpu_each(d, (size_t) m * total,
			 [=] __device__(size_t at)
			 {
				 gpu_place p = gpu_place_of(at, total);
				 const float *codes = code + p.row * ncodes;
				 bool is = false;

				 for (int c = 0; c < ncodes; c++)
					 is |= is_row(t, c, codes[c], p.column);
				 y[at] = is ? on[p.column] : off[p.column];
			 });
}

/* How far x is through bin j: 0 below and 1 above, but open outside. */
static __device__ __forceinline__ float
bin_share(float x, const float *knot, int j, bool last)
{
	float share = (x - knot[j]) / (knot[j + 1] - knot[j]);

	if (j > 0)
		share = nn_at_least(share, 0);
	if (!last)
		share = nn_at_most(share, 1);
	return share;
}

/* Whether there is a bin j, if there is one before it. */
static __device__ __forceinline__ bool
is_bin(const float *knot, int j, int max_bins)
{
	return j < max_bins && knot[j] < knot[j + 1];
}

void
gpu_piecewise(nn_device *d, int m, int n, int units, int max_bins,
			  const float *knot, const float *x, const float *l, const float *b,
			  const float *v, float *y)
{
	gpu_each(d, (size_t) m * n * units,
			 [=] __device__(size_t at)
			 {
				 gpu_place p = gpu_place_of(at, units);
				 int c = gpu_place_of(p.row, n).column;
				 const float *k = knot + (size_t) c * (max_bins + 1);
				 const float *to = v + (size_t) c * max_bins * units + p.column;
				 float number = x[p.row], sum;

				 sum = l[(size_t) c * units + p.column] * number +
					   b[(size_t) c * units + p.column];
				 for (int j = 0; is_bin(k, j, max_bins); j++)
				 {
					 float share =
						 bin_share(number, k, j, !is_bin(k, j + 1, max_bins));

					 if (share != 0)
						 sum += share * to[(size_t) j * units];
				 }
				 y[at] = sum;
			 });
}

/* The sum of dy x, of columns that are c * units + u. */
struct times_x_term
{
	const float *dy, *x;
	int n, units;

	__device__ void begin(int column)
	{
		dy += column;
		x += column / units;
	}

	__device__ double at(int i)
	{
		return (double) dy[(size_t) i * n * units] * x[(size_t) i * n];
	}
};

/* The sum of dy times the share of a bin, of columns that are (c * max_bins +
 * j) * units + u. */
struct times_share_term
{
	const float *dy, *x, *knot;
	int n, units, max_bins, bin;
	bool exists, last;

	__device__ void begin(int column)
	{
		int c = column / units / max_bins;

		bin = column / units % max_bins;
		dy += (size_t) c * units + column % units;
		x += c;
		knot += (size_t) c * (max_bins + 1);
		exists = true;
		for (int j = 0; j <= bin; j++)
			exists = exists && is_bin(knot, j, max_bins);
		last = !is_bin(knot, bin + 1, max_bins);
	}

	__device__ double at(int i)
	{
		float share;

		if (!exists)
			return 0;
		share = bin_share(x[(size_t) i * n], knot, bin, last);
		return share == 0 ? 0 : (double) share * dy[(size_t) i * n * units];
	}
};

void
gpu_piecewise_slope(nn_device *d, int m, int n, int units, int max_bins,
					const float *knot, const float *x, const float *dy,
					float *dl, float *db, float *dv)
{
	times_share_term share = {dy, x, knot, n, units, max_bins, 0, false, false};

	gpu_sum_columns(d, m, n * units, times_x_term{dy, x, n, units}, 0, dl);
	gpu_sum_columns(d, m, n * units, sum_term{dy, n * units}, 0, db);
	gpu_sum_columns(d, m, n * max_bins * units, share, 0, dv);
}
