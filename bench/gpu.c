/*
 * gpu.c
 *	  Speed of training and predicting on a GPU, without a server.
 *
 *		bench_gpu LIBRARY [quick]
 *
 * Prints lines of what was measured, a number, and its unit, separated by
 * tabs; scripts/gpucheck makes a table of them.  The network and the batches
 * are those of bench/gpu_torch.py.  "quick" is for trying the program out: its
 * figures say nothing.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "train.h"

#define INPUTS	   28
#define SMALL	   "dense(128, relu) dense(64, relu) dense(1)"
#define WIDE	   4096
#define WIDE_TEXT  "dense(4096, relu) dense(4096, relu) dense(1)"
#define WIDE_BATCH 8192

static nn_device_ops cuda;
static nn_arena *arena;
static nn_error err;
static bool quick;

static void *
heap_alloc(void *self, size_t size)
{
	(void) self;
	return malloc(size);
}

static void
heap_free(void *self, void *block)
{
	(void) self;
	free(block);
}

static const nn_allocator heap = {heap_alloc, heap_free, NULL};

static void
must(bool ok)
{
	if (ok)
		return;
	fprintf(stderr, "%s %s\n", err.message, err.detail);
	exit(1);
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static void
report(const char *what, double number, const char *unit)
{
	printf("%s\t%.4g\t%s\n", what, number, unit);
	fflush(stdout);
}

/* A device with random rows in its memory. */
typedef struct bench
{
	nn_device d;
	nn_layout layout;
	nn_graph *graph;
	nn_real *params, *x, *y; /* params: the host's */
	nn_order order;
	size_t rows;
} bench;

static nn_real *
random_numbers(nn_device *d, size_t count)
{
	nn_real *host = malloc(count * sizeof(nn_real));
	nn_real *p = d->ops->alloc(d, count * sizeof(nn_real));

	if (host == NULL || p == NULL)
		exit(1);
	for (size_t i = 0; i < count; i++)
		host[i] = (nn_real) (i * 2654435761u % 1000) / 500 - 1;
	d->ops->upload(d, p, host, count * sizeof(nn_real));
	must(d->ops->sync(d, &err));
	free(host);
	return p;
}

static void
open_bench(bench *b, const char *network, int width, size_t rows)
{
	memset(b, 0, sizeof(*b));
	b->d.ops = &cuda;
	b->rows = rows;
	b->layout = (nn_layout){.width = width,
							.nsections = 1,
							.section = {{"number", 0, width, NULL}}};
	b->graph = nn_graph_build(arena, network, &b->layout, &err);
	must(b->graph != NULL);
	b->params = nn_alloc_array(arena, b->graph->nparams, sizeof(nn_real), &err);
	must(b->params != NULL &&
		 nn_graph_initialize(b->graph, 1, 0, NULL, b->params, &err));
	must(cuda.open(&b->d, 0, &err));
	b->x = random_numbers(&b->d, rows * (size_t) width);
	b->y = random_numbers(&b->d, rows);
	b->order = nn_random_order(nn_random_key(1, NN_STREAM_SHUFFLE, 0),
							   (uint32_t) rows);
}

static void
close_bench(bench *b)
{
	b->d.ops->free(&b->d, b->x);
	b->d.ops->free(&b->d, b->y);
	cuda.close(&b->d);
}

/* Seconds of a step of training. */
static double
train(bench *b, int batch, nn_precision precision)
{
	nn_trainer_conf conf = {.loss = nn_loss_parse(arena, "mse", &err),
							.optimizer =
								nn_optimizer_parse(arena, "adam", &err),
							.target_width = 1,
							.batch_rows = batch,
							.threads = 1,
							.seed = 1,
							.precision = precision};
	nn_trainer *t =
		nn_trainer_create(arena, b->graph, &cuda, &conf, b->params, &err);
	size_t at = 0;
	double from = 0, loss;
	int steps = 0, warm = quick ? 1 : 20;

	must(t != NULL);
	for (;; steps++)
	{
		nn_batch rows = {.rows = batch,
						 .which = {b->order, (uint32_t) at},
						 .x = b->x,
						 .y = b->y};

		if (steps == warm || (steps > warm && steps % 32 == 0))
		{
			must(nn_trainer_sync(t, &loss, &err));
			if (steps == warm)
				from = now();
			else if (quick || now() - from > 3)
				break;
		}
		must(nn_trainer_step(t, &rows, 1e-3, &err));
		at += (size_t) batch;
		if (at + (size_t) batch > b->rows)
			at = 0;
	}
	from = now() - from;
	nn_trainer_release(t);
	return from / (steps - warm);
}

static void
train_small(void)
{
	const int batches[] = {1024, 65536};
	const char *const precisions[] = {"", ", tf32", ", bf16"};
	bench b;

	open_bench(&b, SMALL, INPUTS, quick ? 64 : (size_t) 1 << 20);
	for (int i = 0; i < 6; i++)
	{
		int batch = quick ? 32 : batches[i % 2];
		double seconds = train(&b, batch, (nn_precision) (i / 2));
		char what[64];

		snprintf(what, sizeof(what), "train 28-128-64-1, batch %d%s",
				 batches[i % 2], precisions[i / 2]);
		report(what, batch / seconds / 1e6, "M rows/s");
	}
	close_bench(&b);
}

/* A large product of bf16, whose factors are rounded once for all of them. */
static double
measure_peak(void)
{
	int side = quick ? 64 : 8192, times = quick ? 1 : 20;
	nn_device d = {.ops = &cuda, .precision = NN_BF16};
	size_t numbers = (size_t) side * (size_t) side;
	nn_real *a, *b, *c;
	double from = 0;

	must(cuda.open(&d, 0, &err));
	a = random_numbers(&d, numbers);
	b = random_numbers(&d, numbers);
	c = random_numbers(&d, numbers);
	/* the first time plans are made, and the second a graph */
	for (int round = 0; round < 3; round++)
	{
		from = now();
		cuda.begin_step(&d);
		cuda.settle(&d, a, numbers);
		cuda.settle(&d, b, numbers);
		for (int i = 0; i < times; i++)
			cuda.gemm(&d, false, false, side, side, side, a, b, 0, c);
		cuda.end_step(&d);
		must(cuda.sync(&d, &err));
		from = now() - from;
	}
	cuda.free(&d, a);
	cuda.free(&d, b);
	cuda.free(&d, c);
	cuda.close(&d);
	return 2.0 * side * side * side * times / from;
}

/*
 * A layer of a large product, whose bias and function cuBLASLt knows, and the
 * same by a product and a kernel of our own: whether the first is worth it.
 */
static void
measure_layer(void)
{
	int side = quick ? 64 : WIDE, times = quick ? 1 : 50;
	nn_device d = {.ops = &cuda, .precision = NN_BF16};
	size_t numbers = (size_t) side * (size_t) side;
	nn_real *x, *w, *b, *y;
	double seconds[2];

	must(cuda.open(&d, 0, &err));
	x = random_numbers(&d, numbers);
	w = random_numbers(&d, numbers);
	b = random_numbers(&d, (size_t) side);
	y = random_numbers(&d, numbers);
	for (int way = 0; way < 2; way++)
	{
		for (int i = 0; i <= times; i++)
		{
			if (way == 0)
				cuda.dense(&d, side, side, side, x, w, b, NN_RELU, 0, NULL, y);
			else
			{
				cuda.gemm(&d, false, false, side, side, side, x, w, 0, y);
				cuda.map(&d, NN_RELU, 0, numbers, y, y);
			}
			if (i == 0)
			{
				must(cuda.sync(&d, &err));
				seconds[way] = now();
			}
		}
		must(cuda.sync(&d, &err));
		seconds[way] = (now() - seconds[way]) / times;
	}
	report("layer 4096 x 4096, bf16, in one", seconds[0] * 1e6, "us");
	report("the same as a product and a function", seconds[1] * 1e6, "us");
	cuda.free(&d, x);
	cuda.free(&d, w);
	cuda.free(&d, b);
	cuda.free(&d, y);
	cuda.close(&d);
}

static void
train_wide(void)
{
	double peak = measure_peak(), flops;
	int width = quick ? 40 : WIDE, batch = quick ? 32 : WIDE_BATCH;
	bench b;

	report("product of 8192 x 8192, bf16", peak / 1e12, "TFLOP/s");
	open_bench(&b, quick ? "dense(40, relu) dense(1)" : WIDE_TEXT, width,
			   (size_t) batch * 2);
	/* forward, for the weights' gradient, and, but in the first layer, for the
	 * inputs' */
	flops = (6.0 * (double) b.graph->nparams - 2.0 * width * width) * batch /
			train(&b, batch, NN_BF16);
	report("train 4096-4096-4096-1, bf16", flops / 1e12, "TFLOP/s");
	report("the same, of the product's", 100 * flops / peak, "%");
	close_bench(&b);
}

/* Rows that are encoded already: copied, predicted, copied back, by turns in
 * two streams.  predict false: only copied. */
static double
pass_rows(bool predict, int part, int parts)
{
	nn_layout layout = {.width = INPUTS,
						.nsections = 1,
						.section = {{"number", 0, INPUTS, NULL}}};
	nn_graph *g = nn_graph_build(arena, SMALL, &layout, &err);
	size_t in = (size_t) part * INPUTS * sizeof(nn_real);
	size_t out = (size_t) part * sizeof(nn_real);
	nn_device d[2];
	nn_exec *e[2];
	nn_real *params, *x[2], *y[2];
	double from;

	must(g != NULL);
	for (int i = 0; i < 2; i++)
	{
		d[i] = (nn_device){.ops = &cuda};
		must(cuda.open(&d[i], 0, &err));
		if (i == 0)
			params = random_numbers(&d[0], g->nparams);
		e[i] = nn_exec_create(arena, g, &d[i], params, part, false, &err);
		x[i] = cuda.alloc_host(&d[i], in);
		y[i] = cuda.alloc_host(&d[i], out);
		must(e[i] != NULL && x[i] != NULL && y[i] != NULL);
		memset(x[i], 0, in);
	}
	from = now();
	for (int i = 0; i < parts; i++)
	{
		nn_device *lane = &d[i % 2];
		nn_pass pass = {.device = lane, .rows = part, .batch_rows = part};

		must(cuda.sync(lane, &err));
		cuda.upload(lane, e[i % 2]->x, x[i % 2], in);
		if (predict)
			nn_exec_forward(e[i % 2], &pass);
		cuda.download(lane, y[i % 2], e[i % 2]->y, out);
	}
	must(cuda.sync(&d[0], &err) && cuda.sync(&d[1], &err));
	from = now() - from;
	for (int i = 1; i >= 0; i--)
	{
		nn_exec_release(e[i]);
		cuda.free_host(&d[i], x[i]);
		cuda.free_host(&d[i], y[i]);
		if (i == 0)
			cuda.free(&d[0], params);
		cuda.close(&d[i]);
	}
	return (double) part * parts / from;
}

static void
predict_encoded(void)
{
	int part = quick ? 64 : 65536, parts = quick ? 3 : 160;
	double copied, predicted;

	/* the first one loads the kernels */
	(void) pass_rows(true, part, 2);
	copied = pass_rows(false, part, parts);
	predicted = pass_rows(true, part, parts);
	report("copy encoded rows to the device", copied / 1e6, "M rows/s");
	report("predict encoded rows", predicted / 1e6, "M rows/s");
	report("the same, of the copy's", 100 * predicted / copied, "%");
}

int
main(int argc, char **argv)
{
	quick = argc > 2 && strcmp(argv[2], "quick") == 0;
	arena = nn_arena_create(&heap, &err);
	if (argc < 2 || arena == NULL)
	{
		fprintf(stderr, "usage: bench_gpu LIBRARY [quick]\n");
		return 2;
	}
	must(nn_provider_load(argv[1], &cuda, &err));
	train_small();
	measure_layer();
	train_wide();
	predict_encoded();
	return 0;
}
