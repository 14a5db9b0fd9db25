/* builds: float */
/*
 * test_rows.c
 *	  A row's result does not depend on the rows around it: bit for bit.
 *
 * This is what makes a prediction of one row the same number inside a batch.
 * Each kernel runs over MOST rows at once, then over batches of other sizes
 * cut out of them at several places.
 */
#include "check.h"
#include "device.h"

#define MOST 1024

static const int batches[] = {1, 2, 3, 4, 5, 7, 13, 14, 15, 29, 64, 1023};

typedef struct setting
{
	nn_device d;
	int n, k;
	nn_function f;
	const float *w, *b, *mean, *var;
} setting;

/* One kernel: m rows of k numbers to rows of width numbers. */
typedef void (*row_kernel)(setting *s, int m, const float *x, float *y);

static void
dense(setting *s, int m, const float *x, float *y)
{
	s->d.ops->dense(&s->d, m, s->n, s->k, x, s->w, s->b, s->f, 0.3, NULL, y);
}

/* with the argument of f, which takes the other way to the function */
static void
dense_z(setting *s, int m, const float *x, float *y)
{
	static float z[MOST * 1024];

	s->d.ops->dense(&s->d, m, s->n, s->k, x, s->w, NULL, s->f, 0.3, z, y);
}

static void
gemm(setting *s, int m, const float *x, float *y)
{
	s->d.ops->gemm(&s->d, false, false, m, s->n, s->k, x, s->w, 0, y);
}

static void
gemm_tb(setting *s, int m, const float *x, float *y)
{
	s->d.ops->gemm(&s->d, false, true, m, s->n, s->k, x, s->w, 0, y);
}

/* the rest: n is k */
static void
map(setting *s, int m, const float *x, float *y)
{
	s->d.ops->map(&s->d, s->f, 0.3, (size_t) m * s->k, x, y);
}

static void
scale_rows(setting *s, int m, const float *x, float *y)
{
	s->d.ops->scale_rows(&s->d, m, s->k, x, s->mean, s->b, 0, y);
}

static void
batch_norm(setting *s, int m, const float *x, float *y)
{
	s->d.ops->batch_norm(&s->d, m, s->k, 1e-3, x, s->mean, s->var, s->b,
						 s->mean, NULL, y);
}

static void
layer_norm(setting *s, int m, const float *x, float *y)
{
	float mean[MOST], rstd[MOST];

	s->d.ops->layer_norm(&s->d, m, s->k, 1e-3, x, s->b, s->mean, mean, rstd, y);
}

static void
softmax(setting *s, int m, const float *x, float *y)
{
	s->d.ops->softmax(&s->d, m, s->k, x, y);
}

static void
piecewise(setting *s, int m, const float *x, float *y)
{
	static float knot[1024 * 4] = {-1, 0, 0.5f, 2};

	/* a column for every number, of one unit */
	for (int c = 1; c < s->k; c++)
		memcpy(knot + c * 4, knot, 4 * sizeof(float));
	s->d.ops->piecewise(&s->d, m, s->k, 1, 3, knot, x, s->mean, s->b, s->w, y);
}

static const float *
numbers(size_t n, uint64_t seed, bool positive)
{
	float *x = malloc(n * sizeof(float));

	for (size_t i = 0; i < n; i++)
	{
		x[i] = (float) check_normal(seed + i);
		if (positive)
			x[i] = fabsf(x[i]);
	}
	return x;
}

static void
check_rows(setting *s, const char *name, row_kernel kernel, int width)
{
	size_t size = (size_t) MOST * width;
	const float *x = numbers((size_t) MOST * s->k, 77, false);
	float *all = malloc(size * sizeof(float));
	float *some = malloc(size * sizeof(float));
	int wrong = 0, at = 0;

	kernel(s, MOST, x, all);
	for (size_t b = 0; b < sizeof(batches) / sizeof(batches[0]); b++)
	{
		int m = batches[b], step = m < 64 ? 61 : MOST - m;

		for (int first = 0; first + m <= MOST; first += step)
		{
			kernel(s, m, x + (size_t) first * s->k, some);
			if (memcmp(some, all + (size_t) first * width,
					   (size_t) m * width * sizeof(float)) != 0)
				wrong++, at = m;
		}
	}
	check(wrong == 0, "%s: %s, f %d, k %d n %d: %d batches wrong, of %d rows",
		  s->d.ops->name, name, s->f, s->k, width, wrong, at);
	free((void *) x);
	free(all);
	free(some);
}

static void
check_products(setting *s)
{
	static const int shapes[][2] = {{28, 128}, {128, 64}, {64, 1},	{1, 5},
									{1, 1},	   {3, 16},	  {17, 33}, {300, 10},
									{513, 7},  {5, 257},  {256, 1}, {1024, 48}};

	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
	{
		s->k = shapes[i][0];
		s->n = shapes[i][1];
		s->f = NN_LINEAR;
		check_rows(s, "gemm", gemm, s->n);
		check_rows(s, "gemm with b transposed", gemm_tb, s->n);
		for (int f = 0; f < NN_FUNCTIONS; f += i < 3 ? 1 : 5)
		{
			s->f = f;
			check_rows(s, "dense", dense, s->n);
			check_rows(s, "dense with z", dense_z, s->n);
		}
	}
}

static void
check_others(setting *s)
{
	static const int widths[] = {1, 3, 8, 16, 17, 33, 100, 130};

	for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++)
	{
		s->k = s->n = widths[i];
		for (int f = 0; f < NN_FUNCTIONS; f++)
		{
			s->f = f;
			check_rows(s, "map", map, s->k);
		}
		s->f = NN_LINEAR;
		check_rows(s, "scale_rows", scale_rows, s->k);
		check_rows(s, "batch_norm", batch_norm, s->k);
		check_rows(s, "layer_norm", layer_norm, s->k);
		check_rows(s, "softmax", softmax, s->k);
		check_rows(s, "piecewise", piecewise, s->k);
	}
}

int
main(void)
{
	setting s = {.w = numbers(65536, 1, false),
				 .b = numbers(1024, 2, false),
				 .mean = numbers(1024, 3, false),
				 .var = numbers(1024, 4, true)};
	const nn_device_ops *last = NULL;

	for (int level = 0; level < 3; level++)
	{
		s.d.ops = nn_cpu_ops(level);
		if (s.d.ops == last)
			continue;
		last = s.d.ops;
		check_products(&s);
		check_others(&s);
	}
	return check_failed;
}
