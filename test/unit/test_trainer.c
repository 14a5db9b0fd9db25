/* builds: float asan */
/*
 * test_trainer.c
 *	  What a trainer promises beyond its arithmetic, which test_parity.c
 *	  proves: repeatability, prediction in pieces, accounting of losses and
 *	  memory, and what happens when something fails.
 */
#include "reference.h"
#include "train.h"

#define ROWS  50
#define WIDTH 6
#define NETWORK                                                                \
	"dense(9, tanh) batch_normalization dropout(0.3) dense(5, relu) dense(2)"
#define OUTPUTS 2

static nn_arena *arena;
static nn_error err;
static nn_real x[ROWS * WIDTH], y[ROWS * OUTPUTS], weight[ROWS];
static nn_layout layout = {WIDTH, 1, {{"number", 0, WIDTH, NULL}}};

/* A device that counts its memory, and fails when told to. */
static nn_device_ops counting;
static int allocations_left = -1, live, sync_fails;
static size_t live_bytes, sizes[256];
static void *pointers[256];

static void *
counting_alloc(nn_device *d, size_t bytes)
{
	void *p;

	if (allocations_left == 0)
		return NULL;
	if (allocations_left > 0)
		allocations_left--;
	p = nn_cpu_plain.alloc(d, bytes);
	for (int i = 0; i < 256; i++)
	{
		if (pointers[i] == NULL)
		{
			pointers[i] = p;
			sizes[i] = bytes;
			break;
		}
	}
	live++;
	live_bytes += bytes;
	return p;
}

static void
counting_free(nn_device *d, void *p)
{
	for (int i = 0; i < 256; i++)
	{
		if (pointers[i] == p)
		{
			pointers[i] = NULL;
			live--;
			live_bytes -= sizes[i];
			break;
		}
	}
	nn_cpu_plain.free(d, p);
}

static bool
failing_sync(nn_device *d, nn_error *e)
{
	(void) d;
	return sync_fails > 0 ? nn_fail(e, NN_DEVICE, "the device is gone") : true;
}

/* Whether this thread takes denormal numbers for zero. */
static bool
flushes(void)
{
	volatile float small = 1e-30f;

	return small * 1e-10f == 0;
}

static bool flushed;

static void
noting_loss(nn_device *d, const nn_loss_args *a)
{
	flushed = flushes();
	nn_cpu_plain.loss(d, a);
}

static nn_trainer_conf
make_conf(const char *optimizer, int batch, int threads)
{
	return (nn_trainer_conf){
		.loss = nn_loss_parse(arena, "mse", &err),
		.optimizer = nn_optimizer_parse(arena, optimizer, &err),
		.target_width = OUTPUTS,
		.batch_rows = batch,
		.threads = threads,
		.l2 = 0.001,
		.seed = 7,
	};
}

static nn_trainer *
make_trainer(nn_arena *a, const char *text, const nn_trainer_conf *conf,
			 const nn_device_ops *device)
{
	nn_graph *g = nn_graph_build(a, text, &layout, &err);
	nn_real *params;

	if (g == NULL)
		return NULL;
	params = nn_alloc_array(a, g->nparams + 1, sizeof(nn_real), &err);
	if (params == NULL ||
		!nn_graph_initialize(g, conf->seed, ROWS, x, params, &err))
		return NULL;
	return nn_trainer_create(a, g, device, conf, params, &err);
}

static nn_batch
batch_of(int rows)
{
	return (nn_batch){.rows = rows, .x = x, .y = y};
}

/* Some steps with shuffled rows; the parameters and the mean loss. */
static double
learn(nn_trainer *t, int steps, int rows, const nn_real *weights,
	  nn_real *params)
{
	nn_batch b = batch_of(rows);
	double loss = NAN;

	b.weight = weights;
	for (int i = 0; i < steps; i++)
	{
		b.which = (nn_rows){
			nn_random_order(nn_random_key(2, NN_STREAM_SHUFFLE, i / 3), ROWS),
			(uint32_t) (i % 3 * (ROWS - rows) / 2)};
		if (!nn_trainer_step(t, &b, 0.05, &err))
			return NAN;
	}
	if (!nn_trainer_sync(t, &loss, &err) || !nn_trainer_params(t, params, &err))
		return NAN;
	return loss;
}

/* The same run gives the same bits; another number of threads nearly. */
static void
repeatable(void)
{
	static const int threads[] = {1, 2, 3, 8};
	nn_real first[1000], again[1000], other[1000];

	for (size_t i = 0; i < sizeof(threads) / sizeof(threads[0]); i++)
	{
		for (int rows = 1; rows <= 21; rows += 5)
		{
			nn_trainer_conf conf =
				make_conf("adam(clipnorm = 1)", 21, threads[i]);
			nn_trainer *t = make_trainer(arena, NETWORK, &conf, nn_cpu_ops(-1)),
					   *u = make_trainer(arena, NETWORK, &conf, nn_cpu_ops(-1));
			double a, b, worst = 0;

			memset(first, 0, sizeof(first));
			memset(again, 0, sizeof(again));
			a = learn(t, 20, rows, NULL, first);
			b = learn(u, 20, rows, NULL, again);
			check(a == b && memcmp(first, again, sizeof(first)) == 0,
				  "%d threads, %d rows: the same bits", threads[i], rows);
			nn_trainer_release(t);
			nn_trainer_release(u);

			/* sgd, as Adam magnifies the rounding of gradients near zero */
			conf = make_conf("sgd", 21, threads[i]);
			t = make_trainer(arena, NETWORK, &conf, nn_cpu_ops(-1));
			memset(first, 0, sizeof(first));
			memset(other, 0, sizeof(other));
			a = learn(t, 20, rows, NULL, first);
			nn_trainer_release(t);
			conf.threads = 1;
			t = make_trainer(arena, NETWORK, &conf, nn_cpu_ops(-1));
			b = learn(t, 20, rows, NULL, other);
			nn_trainer_release(t);
			for (int j = 0; j < 1000; j++)
				worst = fmax(worst, fabs((double) first[j] - other[j]));
			check(near(a, b, 1e-5) && worst < 1e-4,
				  "%d threads, %d rows as one thread: %g and %g, %g",
				  threads[i], rows, a, b, worst);
		}
	}
}

/* Rows alone, in pieces, in an order, on any number of threads: the same bits. */
static void
predicts(void)
{
	nn_real all[ROWS * OUTPUTS], part[ROWS * OUTPUTS];
	const nn_order order =
		nn_random_order(nn_random_key(3, NN_STREAM_SHUFFLE, 0), ROWS);
	nn_trainer_conf conf = make_conf("sgd", ROWS, 1);
	nn_trainer *t = make_trainer(arena, NETWORK, &conf, nn_cpu_ops(-1));
	nn_batch b = batch_of(ROWS);
	bool ok = nn_trainer_predict(t, &b, all, &err);

	nn_trainer_release(t);
	for (int threads = 1; threads <= 5; threads++)
	{
		conf = make_conf("sgd", 6, threads);
		t = make_trainer(arena, NETWORK, &conf, nn_cpu_ops(-1));
		memset(part, 0, sizeof(part));
		b.which.order.columns = 0;
		ok = ok && nn_trainer_predict(t, &b, part, &err);
		check(ok && memcmp(all, part, sizeof(all)) == 0,
			  "prediction in pieces with %d threads", threads);
		b.which.order = order;
		ok = ok && nn_trainer_predict(t, &b, part, &err);
		for (int i = 0; i < ROWS && ok; i++)
			ok = memcmp(all + nn_order_at(&order, (uint32_t) i) * OUTPUTS,
						part + i * OUTPUTS, OUTPUTS * sizeof(nn_real)) == 0;
		check(ok, "prediction in an order with %d threads", threads);
		nn_trainer_release(t);
	}
}

/* The loss is that of nn_loss_value; weights count as they say. */
static void
losses(void)
{
	nn_real before[ROWS * OUTPUTS], params[1000], half[ROWS];
	nn_trainer_conf conf = make_conf("sgd", ROWS, 2);
	nn_trainer *t =
		make_trainer(arena, "dense(5, tanh) dense(2)", &conf, nn_cpu_ops(-1));
	nn_batch b = batch_of(ROWS);
	double loss, wanted, unweighted;

	check(nn_trainer_sync(t, &loss, &err) && loss == 0, "no loss yet");
	nn_trainer_predict(t, &b, before, &err);
	b.weight = weight;
	nn_trainer_step(t, &b, 0, &err);
	nn_trainer_sync(t, &loss, &err);
	wanted = nn_loss_value(conf.loss, ROWS, OUTPUTS, before, y, weight);
	check(near(loss, wanted, 1e-6), "weighted loss %g, not %g", loss, wanted);

	/* two steps of different sizes: the mean over all rows */
	b.weight = NULL;
	b.rows = 10;
	nn_trainer_step(t, &b, 0, &err);
	b.rows = 40;
	b.x = x + 10 * WIDTH;
	b.y = y + 10 * OUTPUTS;
	nn_trainer_step(t, &b, 0, &err);
	nn_trainer_sync(t, &loss, &err);
	wanted = nn_loss_value(conf.loss, ROWS, OUTPUTS, before, y, NULL);
	check(near(loss, wanted, 1e-6), "mean loss %g, not %g", loss, wanted);
	nn_trainer_release(t);

	/* half the weight everywhere is half the loss */
	for (int i = 0; i < ROWS; i++)
		half[i] = 0.5;
	t = make_trainer(arena, "dense(2)", &conf, nn_cpu_ops(-1));
	unweighted = learn(t, 1, ROWS, NULL, params);
	nn_trainer_release(t);
	t = make_trainer(arena, "dense(2)", &conf, nn_cpu_ops(-1));
	loss = learn(t, 1, ROWS, half, params);
	check(near(loss, unweighted / 2, 1e-6), "half of %g is %g", unweighted,
		  loss);
	nn_trainer_release(t);
}

static void
parameters(void)
{
	nn_real first[1000], later[1000], before[ROWS * OUTPUTS],
		after[ROWS * OUTPUTS];
	nn_trainer_conf conf = make_conf("adam", 20, 2);
	nn_trainer *t = make_trainer(arena, NETWORK, &conf, nn_cpu_ops(-1));
	nn_batch b = batch_of(ROWS);
	double loss;

	nn_trainer_params(t, first, &err);
	nn_trainer_predict(t, &b, before, &err);
	learn(t, 10, 20, NULL, later);
	nn_trainer_predict(t, &b, after, &err);
	check(memcmp(before, after, sizeof(before)) != 0, "training has effects");
	nn_trainer_set_params(t, first, &err);
	nn_trainer_predict(t, &b, after, &err);
	check(memcmp(before, after, sizeof(before)) == 0,
		  "parameters can be put back");

	/* a rate that is far too large: no crash, and it can be seen */
	b.rows = 20;
	for (int i = 0; i < 60; i++)
		nn_trainer_step(t, &b, i % 2 ? 1e30 : -1e30, &err);
	nn_trainer_sync(t, &loss, &err);
	check(!isfinite(loss), "divergence is seen: %g", loss);
	nn_trainer_release(t);
}

static void
refuse(const char *what, const char *text, nn_trainer_conf conf, nn_code code)
{
	nn_trainer *t;

	err = (nn_error){0};
	t = make_trainer(arena, text, &conf, nn_cpu_ops(-1));
	check(t == NULL && err.code == code, "%s is refused: %d, %s", what,
		  err.code, err.message);
	nn_trainer_release(t);
}

static void
refusals(void)
{
	nn_trainer_conf conf = make_conf("sgd", 8, 0);
	nn_trainer *t;
	nn_batch b = batch_of(0);
	nn_real out[1];

	refuse("no thread", "dense(2)", conf, NN_INVALID);
	conf = make_conf("sgd", 8, NN_MAX_THREADS + 1);
	refuse("too many threads", "dense(2)", conf, NN_INVALID);
	conf = make_conf("sgd", 0, 1);
	refuse("an empty batch", "dense(2)", conf, NN_INVALID);
	conf = make_conf("sgd", 2000000000, 1);
	refuse("a huge batch", "dense(2)", conf, NN_LIMIT);
	conf = make_conf("sgd", 8, 1);
	refuse("a network of too many outputs", "dense(3)", conf, NN_SHAPE);
	conf.loss = nn_loss_parse(arena, "categorical_crossentropy", &err);
	refuse("too many class numbers", "dense(3)", conf, NN_SHAPE);

	conf = make_conf("sgd", 8, 2);
	t = make_trainer(arena, "dense(2)", &conf, nn_cpu_ops(-1));
	check(!nn_trainer_step(t, &b, 0.1, &err) && err.code == NN_INVALID,
		  "a step of no rows");
	b.rows = 9;
	check(!nn_trainer_step(t, &b, 0.1, &err) && err.code == NN_INVALID,
		  "a step of too many rows");
	b.rows = 0;
	check(nn_trainer_predict(t, &b, out, &err), "predicting no rows");
	nn_trainer_release(t);
	nn_trainer_release(NULL);
}

/* What nn_trainer_size says is what is taken, and all of it is given back. */
static void
memory(void)
{
	static const char *const optimizers[] = {"sgd", "sgd(momentum = 0.5)",
											 "adam(amsgrad = true)", "adagrad"};

	for (int threads = 1; threads <= 3; threads++)
	{
		for (int i = 0; i < 4; i++)
		{
			nn_trainer_conf conf = make_conf(optimizers[i], 21, threads);
			nn_graph *g = nn_graph_build(arena, NETWORK, &layout, &err);
			nn_trainer *t = make_trainer(arena, NETWORK, &conf, &counting);
			size_t size = nn_trainer_size(g, &counting, &conf, &err);

			check(t != NULL && size == live_bytes,
				  "%s, %d threads: %zu bytes, %zu taken", optimizers[i],
				  threads, size, live_bytes);
			nn_trainer_release(t);
			check(live == 0 && live_bytes == 0, "all is given back");
		}
	}
}

static void
out_of_memory(void)
{
	nn_trainer_conf conf = make_conf("adagrad(clipnorm = 1)", 21, 3);
	nn_trainer *t = NULL;
	int n;

	for (n = 0; t == NULL && n < 100; n++)
	{
		err = (nn_error){0};
		allocations_left = n;
		t = make_trainer(arena, NETWORK, &conf, &counting);
		if (t == NULL)
			check(err.code == NN_DEVICE_NOMEM && live == 0,
				  "device memory out at %d: %d, %d left", n, err.code, live);
	}
	allocations_left = -1;
	check(t != NULL && n > 6, "%d allocations of device memory", n - 1);
	nn_trainer_release(t);

	t = NULL;
	for (n = 0; t == NULL && n < 1000; n++)
	{
		nn_arena *a;

		err = (nn_error){0};
		failing_after = n;
		a = nn_arena_create(&check_failing, &err);
		if (a != NULL)
			t = make_trainer(a, NETWORK, &conf, &counting);
		if (t == NULL && (err.code != NN_NOMEM || live != 0))
			check(false, "memory out at %d: %d, %s", n, err.code, err.message);
		nn_trainer_release(t);
		if (a != NULL)
			nn_arena_destroy(a);
	}
	check(t != NULL && failing_live == 0 && live == 0,
		  "%d allocations of memory", n - 1);
}

/* A device that fails is noticed at the next wait; no step waits. */
static void
device_failure(void)
{
	nn_trainer_conf conf = make_conf("sgd(global_clipnorm = 1)", 20, 2);
	nn_trainer *t = make_trainer(arena, NETWORK, &conf, &counting);
	nn_batch b = batch_of(20);
	nn_real out[1000];
	double loss;

	sync_fails = 1;
	err = (nn_error){0};
	check(nn_trainer_step(t, &b, 0.1, &err), "a clipped step does not wait");
	check(!nn_trainer_sync(t, &loss, &err) && err.code == NN_DEVICE &&
			  strcmp(err.message, "the device is gone") == 0,
		  "sync notices");
	check(!nn_trainer_predict(t, &b, out, &err), "predict notices");
	check(!nn_trainer_params(t, out, &err), "params notices");
	sync_fails = 0;
	check(nn_trainer_step(t, &b, 0.1, &err), "and it goes on");
	nn_trainer_release(t);
}

/* A network without parameters does nothing, and does it well. */
static void
nothing_to_learn(void)
{
	nn_trainer_conf conf = make_conf("adam(clipnorm = 1)", 16, 2);
	nn_batch b = batch_of(16);
	nn_real out[16 * WIDTH];
	nn_trainer *t;
	double loss = NAN;

	conf.target_width = WIDTH;
	b.y = x;
	t = make_trainer(arena, "identity", &conf, nn_cpu_ops(-1));
	check(t != NULL && nn_trainer_step(t, &b, 0.1, &err) &&
			  nn_trainer_sync(t, &loss, &err) && loss == 0 &&
			  nn_trainer_predict(t, &b, out, &err) &&
			  memcmp(out, x, sizeof(out)) == 0,
		  "nothing to learn: loss %g, %s", loss, err.message);
	nn_trainer_release(t);
}

/* Looks at whether to stop, which is so after the first few. */
static int looks;

static bool
stop_soon(void)
{
	return __atomic_add_fetch(&looks, 1, __ATOMIC_RELAXED) > 3;
}

/* A step ends when it is told to, and all threads with it. */
static void
interruption(void)
{
	nn_trainer_conf conf = make_conf("sgd", ROWS, 2);
	nn_batch b = batch_of(ROWS);
	nn_real out[ROWS * OUTPUTS];

	conf.stop = stop_soon;
	for (int plain = 0; plain < 2; plain++)
	{
		const char *name = plain ? "plain" : "cpu";
		nn_trainer *t;

		looks = -1000;
		t = make_trainer(arena,
						 "dense(300) batch_normalization dense(300) dense(2)",
						 &conf, plain ? &nn_cpu_plain : nn_cpu_ops(-1));
		check(t != NULL, "%s: a trainer: %s", name, err.message);
		if (t == NULL)
			continue;
		looks = 0;
		check(!nn_trainer_step(t, &b, 0.1, &err) && err.code == NN_INTERRUPTED,
			  "%s: a step is interrupted: %s", name, err.message);
		check(!nn_trainer_predict(t, &b, out, &err) &&
				  err.code == NN_INTERRUPTED,
			  "%s: a prediction is interrupted: %s", name, err.message);
		nn_trainer_release(t);
		/* and so is making another */
		t = make_trainer(arena, "dense(2)", &conf, nn_cpu_ops(-1));
		check(t == NULL && err.code == NN_INTERRUPTED,
			  "%s: a beginning is interrupted: %s", name, err.message);
	}
}

/* Denormal numbers would make steps slow; the host program keeps them. */
static void
denormals(void)
{
	nn_device_ops noting = nn_cpu_plain;
	nn_trainer_conf conf = make_conf("sgd", 20, 1);
	nn_batch b = batch_of(20);
	nn_trainer *t;

	noting.loss = noting_loss;
	t = make_trainer(arena, "dense(2)", &conf, &noting);
	check(!flushes() && nn_trainer_step(t, &b, 0.1, &err) && !flushes(),
		  "a step leaves the mode of the processor as it was");
#if defined(__SSE__) || defined(__aarch64__)
	check(flushed, "denormal numbers are zero during a step");
#endif
	nn_trainer_release(t);
}

int
main(void)
{
	counting = nn_cpu_plain;
	counting.alloc = counting_alloc;
	counting.free = counting_free;
	counting.sync = failing_sync;
	for (int i = 0; i < ROWS * WIDTH; i++)
		x[i] = (nn_real) phase(0.3, i);
	for (int i = 0; i < ROWS * OUTPUTS; i++)
		y[i] = (nn_real) phase(1.1, i);
	for (int i = 0; i < ROWS; i++)
		weight[i] = (nn_real) (0.5 * (i % 4));
	arena = nn_arena_create(&check_heap, &err);
	repeatable();
	predicts();
	losses();
	parameters();
	refusals();
	memory();
	out_of_memory();
	device_failure();
	nothing_to_learn();
	interruption();
	denormals();
	nn_arena_destroy(arena);
	return check_failed;
}
