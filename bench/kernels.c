/*
 * kernels.c
 *	  How fast the matrix products are: GFLOP/s on one thread.
 *
 *		make -C test blas bench
 *
 * Shapes are those of a training step (batch m, layer k to n): forward is
 * dense() with relu, dw is a'b over the batch, dx is a b'.  Every column is
 * one level of the CPU device, then the provider named.  Rounds of all columns
 * are interleaved and the best of them counts, as machines drift.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "device.h"

#define COLUMNS 4
#define ROUNDS	15

typedef enum pass
{
	FORWARD,
	DW,
	DX,
	GEMM
} pass;

static const char *const pass_names[] = {"forward", "dw", "dx", "gemm"};

typedef struct shape
{
	int m, k, n;
} shape;

static const shape shapes[] = {
	{256, 256, 256},  {1024, 28, 128},	  {1024, 128, 64}, {1024, 64, 1},
	{512, 28, 128},	  {512, 128, 64},	  {512, 64, 1},	   {1024, 400, 256},
	{1024, 256, 256}, {1024, 1024, 1024}, {512, 256, 10},  {1, 28, 128},
	{1, 128, 64},	  {1, 64, 1}};

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static void
once(nn_device *d, pass p, const shape *s, const float *x, const float *w,
	 const float *bias, float *y, float *g)
{
	switch (p)
	{
		case FORWARD:
			d->ops->dense(d, s->m, s->n, s->k, x, w, bias, NN_RELU, 0, NULL, y);
			break;
		case DW:
			d->ops->gemm(d, true, false, s->k, s->n, s->m, x, y, 0, g);
			break;
		case DX:
			d->ops->gemm(d, false, true, s->m, s->k, s->n, y, w, 0, g);
			break;
		case GEMM:
			d->ops->gemm(d, false, false, s->m, s->n, s->k, x, w, 0, y);
			break;
	}
}

static float *
numbers(nn_device *d, size_t n)
{
	float *x = d->ops->alloc(d, n * sizeof(float));

	if (x == NULL)
		exit(2);
	for (size_t i = 0; i < n; i++)
		x[i] = (float) (i % 17) / 17 - 0.5f;
	return x;
}

static void
measure(const nn_device_ops **ops, int columns, pass p, const shape *s)
{
	nn_device d = {ops[0], NULL};
	size_t m = s->m, n = s->n, k = s->k;
	float *x = numbers(&d, m * k), *w = numbers(&d, k * n);
	float *bias = numbers(&d, n), *y = numbers(&d, m * n);
	float *g = numbers(&d, k * (m > n ? m : n));
	double flop = 2.0 * m * n * k, best[COLUMNS] = {0};
	int repeat = (int) (2e8 / (flop + 20000)) + 1;

	for (int round = 0; round < ROUNDS; round++)
	{
		for (int c = 0; c < columns; c++)
		{
			double start, rate;

			d.ops = ops[c];
			once(&d, p, s, x, w, bias, y, g);
			start = now();
			for (int r = 0; r < repeat; r++)
				once(&d, p, s, x, w, bias, y, g);
			rate = flop * repeat / (now() - start) * 1e-9;
			if (rate > best[c])
				best[c] = rate;
		}
	}
	printf("%-8s %5d %4d %4d", pass_names[p], s->m, s->k, s->n);
	for (int c = 0; c < columns; c++)
		printf(" %12.1f", best[c]);
	printf("\n");
	d.ops->free(&d, x);
	d.ops->free(&d, w);
	d.ops->free(&d, bias);
	d.ops->free(&d, y);
	d.ops->free(&d, g);
}

/*
 * A provider steps back where it is not expected to be faster; to see whether
 * that is so, tell it that there is only plain C.
 */
static bool
load(const char *path, nn_device_ops *ops)
{
	char why[256] = "";
	nn_provider provider;
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (library == NULL)
	{
		printf("%s\n", dlerror());
		return false;
	}
	*(void **) &provider = dlsym(library, NN_PROVIDER_NAME);
	*ops = *nn_cpu_ops(-1);
	ops->name = nn_cpu_plain.name;
	if (provider == NULL || !provider(ops, why, sizeof(why)))
	{
		printf("%s: %s\n", path, why);
		return false;
	}
	return true;
}

int
main(int argc, char **argv)
{
	const nn_device_ops *ops[COLUMNS];
	nn_device_ops provided;
	int columns = 0;

	for (int level = 0; level < 3; level++)
	{
		const nn_device_ops *o = nn_cpu_ops(level);

		if (columns == 0 || o != ops[columns - 1])
			ops[columns++] = o;
	}
	if (argc > 1 && load(argv[1], &provided))
		ops[columns++] = &provided;
	printf("%-8s %5s %4s %4s", "GFLOP/s", "m", "k", "n");
	for (int c = 0; c < columns; c++)
		printf(" %12s", ops[c]->name);
	printf("\n");
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
	{
		if (i == 0)
			measure(ops, columns, GEMM, &shapes[i]);
		measure(ops, columns, FORWARD, &shapes[i]);
		if (shapes[i].m == 1)
			continue;
		measure(ops, columns, DW, &shapes[i]);
		measure(ops, columns, DX, &shapes[i]);
	}
	return 0;
}
