/*
 * test_cuda_train.c
 *	  Training on a CUDA device against training on the CPU, and how its steps
 *	  get there.
 *
 * The environment variable NEURAL_CUDA names the library to test, as for
 * test_cuda.c.  With NEURAL_CUDA_BRIEF trainings are few and short.
 */
#include "examples.h"
#include "library.h"
#include "train.h"

static nn_arena *arena;
static nn_precision precision;		/* of learners that are started, */
static double l1 = 1e-4, l2 = 1e-3; /* and their penalties */

#define ROWS  150
#define BATCH 64
#define STEPS 200
#define NETWORK                                                                \
	"n: input(number) input(category) c: one_hot input(category) "             \
	"e: embedding(3) input(number) p: piecewise_linear(2) "                    \
	"concatenate(n, c, e, p) scale dense(24, relu) batch_normalization "       \
	"dropout(0.2) dense(16, gelu) layer_normalization dense(3)"

#define PERCEPTRON                                                             \
	"dense(24, relu) dropout(0.2) dense(16) gelu dropout(0.1) dense(3)"

#define MAX_TARGETS 200

/* y: class numbers first, then any numbers */
static nn_real x[ROWS * WIDTH], y[ROWS * MAX_TARGETS], weight[ROWS];

/* A trainer on a device, with the data where it wants them. */
typedef struct learner
{
	nn_device d;
	nn_trainer *trainer;
	nn_batch batch;
	void *memory[3];
	nn_real *params, *predicted;
	size_t nparams, npredicted;
} learner;

static bool
start(learner *l, const nn_device_ops *ops, const char *network,
	  const char *loss, const char *optimizer)
{
	nn_graph *g = nn_graph_build(arena, network, &example_layout, &err);
	nn_trainer_conf conf = {.loss = nn_loss_parse(arena, loss, &err),
							.optimizer =
								nn_optimizer_parse(arena, optimizer, &err),
							.batch_rows = BATCH,
							.threads = 1,
							.l1 = l1,
							.l2 = l2,
							.seed = 3,
							.precision = precision};
	const void *data[] = {x, y, weight};
	const size_t sizes[] = {sizeof(x), sizeof(y), sizeof(weight)};

	memset(l, 0, sizeof(*l));
	l->d.ops = ops;
	if (g == NULL || conf.loss == NULL || conf.optimizer == NULL ||
		!ops->open(&l->d, ops->ordinal, &err))
		return false;
	conf.target_width = conf.loss->ops->categorical ? 1 : g->outputs;
	if (conf.target_width > MAX_TARGETS)
		return false;
	l->nparams = g->nparams;
	l->params = nn_alloc_array(arena, g->nparams, sizeof(nn_real), &err);
	l->npredicted = (size_t) (BATCH * g->outputs);
	l->predicted = nn_alloc_array(arena, l->npredicted, sizeof(nn_real), &err);
	if (l->params == NULL || l->predicted == NULL ||
		!nn_graph_initialize(g, 3, ROWS, x, l->params, &err))
		return false;
	for (int i = 0; i < 3; i++)
	{
		l->memory[i] = ops->alloc(&l->d, sizes[i]);
		ops->upload(&l->d, l->memory[i], data[i], sizes[i]);
	}
	l->batch = (nn_batch){.rows = BATCH,
						  .x = l->memory[0],
						  .y = l->memory[1],
						  .weight = l->memory[2]};
	l->trainer = nn_trainer_create(arena, g, ops, &conf, l->params, &err);
	return ops->sync(&l->d, &err) && l->trainer != NULL;
}

/* Some steps on rows in an order that depends on the first step's number. */
static double
learn(learner *l, int first, int steps)
{
	double loss = NAN;

	for (int step = first; step < first + steps; step++)
	{
		nn_key key = nn_random_key(8, NN_STREAM_SHUFFLE, (uint64_t) step);

		l->batch.rows = step % 5 == 4 ? 37 : BATCH;
		l->batch.which =
			(nn_rows){nn_random_order(key, ROWS), (uint32_t) (step % 3 * 40)};
		if (!nn_trainer_step(l->trainer, &l->batch, 0.01, &err))
			return NAN;
	}
	return nn_trainer_sync(l->trainer, &loss, &err) ? loss : NAN;
}

static bool
finish(learner *l)
{
	bool ok;

	l->batch.rows = BATCH;
	l->batch.which = (nn_rows){.first = 3};
	ok = nn_trainer_predict(l->trainer, &l->batch, l->predicted, &err) &&
		 nn_trainer_params(l->trainer, l->params, &err);
	nn_trainer_release(l->trainer);
	for (int i = 0; i < 3; i++)
		l->d.ops->free(&l->d, l->memory[i]);
	l->d.ops->close(&l->d);
	return ok;
}

static double
furthest(size_t n, const nn_real *a, const nn_real *b)
{
	double worst = 0;

	for (size_t i = 0; i < n; i++)
	{
		double off = fabs((double) a[i] - b[i]) / (1 + fabs(a[i]));

		worst = isfinite(off) ? fmax(worst, off) : INFINITY;
	}
	return worst;
}

/* The same training here and there: the losses on the way, and the end. */
static void
check_training(const char *network, const char *loss, const char *optimizer)
{
	learner here, there;
	double worst = 0, first = 0, last = 0;
	bool ok = start(&here, &nn_cpu_plain, network, loss, optimizer) &&
			  start(&there, &cuda, network, loss, optimizer);

	check(ok, "%s, %s: start%s%s", loss, optimizer, ok ? "" : ": ",
		  ok ? "" : err.message);
	if (!ok)
		return;
	for (int step = 0; step < STEPS; step += 10)
	{
		double a = learn(&here, step, 10), b = learn(&there, step, 10);

		worst = isfinite(a) && isfinite(b) ? fmax(worst, fabs(a - b) / fabs(a))
										   : INFINITY;
		first = step == 0 ? a : first;
		last = a;
	}
	check(last < 0.9 * first, "%s, %s: loss falls from %.3f to %.3f", loss,
		  optimizer, first, last);
	check(worst < 1e-3, "%s, %s: losses are as far apart as %.3g", loss,
		  optimizer, worst);
	ok = finish(&here) && finish(&there);
	check(ok && furthest(here.nparams, here.params, there.params) < 2e-2,
		  "%s, %s: parameters are as far apart as %.3g", loss, optimizer,
		  furthest(here.nparams, here.params, there.params));
	check(ok &&
			  furthest(here.npredicted, here.predicted, there.predicted) < 2e-2,
		  "%s, %s: predictions are as far apart as %.3g", loss, optimizer,
		  furthest(here.npredicted, here.predicted, there.predicted));
}

/* A few steps of a network that has the layer, as the layer's author shows it.
 * That it computes what it should was shown for plain C. */
static void
check_example(const char *name, const char *example)
{
	const char *network = example_network(arena, example, &err);
	learner here, there;
	double a, b;
	bool ok = network != NULL &&
			  start(&here, &nn_cpu_plain, network, "mse", "sgd") &&
			  start(&there, &cuda, network, "mse", "sgd");

	if (!ok)
	{
		check(false, "%s: %s: %s", name, example, err.message);
		return;
	}
	a = learn(&here, 0, 3);
	b = learn(&there, 0, 3);
	ok = finish(&here) && finish(&there);
	check(ok && fabs(a - b) <= 1e-5 * (1 + fabs(a)) &&
			  furthest(here.nparams, here.params, there.params) < 1e-4 &&
			  furthest(here.npredicted, here.predicted, there.predicted) < 1e-4,
		  "%s: %s: loss %.6g and %.6g", name, example, a, b);
}

static void
check_layers(void)
{
	for (int i = 0; nn_layers[i] != NULL; i++)
	{
		const nn_named *named = &nn_layers[i]->named;

		for (int j = 0; named->examples[j] != NULL; j++)
			check_example(named->name, named->examples[j]);
	}
}

/* Losses of a precision are near those of the CPU, and a second training has
 * the same bytes: small layers, and products that cuBLASLt makes. */
static void
check_precision(const char *network, nn_precision p, double apart)
{
	learner here, there[2];
	double a, b = NAN, c = NAN;
	bool ok;

	precision = p;
	ok = start(&here, &nn_cpu_plain, network, "mse", "sgd(momentum = 0.5)") &&
		 start(&there[0], &cuda, network, "mse", "sgd(momentum = 0.5)") &&
		 start(&there[1], &cuda, network, "mse", "sgd(momentum = 0.5)");
	precision = NN_FP32;
	if (!ok)
	{
		check(false, "start: %s", err.message);
		return;
	}
	a = learn(&here, 0, 10);
	b = learn(&there[0], 0, 10);
	c = learn(&there[1], 0, 10);
	ok = finish(&here) && finish(&there[0]) && finish(&there[1]);
	check(ok && fabs(a - b) <= apart * fabs(a),
		  "precision %d, %s: losses %.6g and %.6g", (int) p, network, a, b);
	check(ok && b == c &&
			  memcmp(there[0].params, there[1].params,
					 there[0].nparams * sizeof(nn_real)) == 0,
		  "precision %d, %s: a second training has the same bytes", (int) p,
		  network);
}

static void
check_precisions(void)
{
	const double apart[] = {1e-3, 2e-3, 2e-2};

	for (int p = NN_FP32; p <= NN_BF16; p++)
	{
		check_precision("dense(24, relu) dense(16, gelu) dense(8)",
						(nn_precision) p, apart[p]);
		/* too small for cuBLASLt */
		if (p == NN_FP32)
			continue;
		if (emulated != NULL)
			emulated->blas = true;
		check_precision("dense(300, relu) dense(300, tanh) dense(20)",
						(nn_precision) p, apart[p]);
		if (emulated != NULL)
			emulated->blas = false;
	}
}

/* The loss of the first step from some parameters, which it changes by rate. */
static double
first_loss(learner *l, const void *state, double rate)
{
	double loss = NAN;

	l->batch.rows = BATCH;
	if (!nn_trainer_restore(l->trainer, state, 0, &err) ||
		!nn_trainer_step(l->trainer, &l->batch, rate, &err) ||
		!nn_trainer_sync(l->trainer, &loss, &err))
		return NAN;
	return loss;
}

#define DIFFERENCE 2e-3

/* A number of a direction: 0 is the gradient's own. */
static double
direction(int way, const nn_real *gradient, size_t i)
{
	return way == 0 ? gradient[i] : fabs(gradient[i]) * check_normal(i);
}

/* A gradient, in its own direction and in any other, against differences of
 * the losses.  Numbers of single precision do not allow more than a percent. */
static void
check_gradient(const char *network, const char *loss)
{
	nn_graph *g = nn_graph_build(arena, network, &example_layout, &err);
	nn_real *state, *gradient, *moved;
	double size = 0, along[2] = {0}, length[2] = {0}, change[2] = {0};
	learner l;

	if (g == NULL || !start(&l, &cuda, network, loss, "sgd"))
	{
		check(false, "%s: %s", network, err.message);
		return;
	}
	state = calloc(1, nn_trainer_state_size(l.trainer));
	gradient = calloc(l.nparams, sizeof(nn_real));
	moved = calloc(1, nn_trainer_state_size(l.trainer));
	if (state == NULL || gradient == NULL || moved == NULL)
		exit(2);
	memcpy(state, l.params, l.nparams * sizeof(nn_real));
	first_loss(&l, state, 1);
	nn_trainer_params(l.trainer, moved, &err);
	/* numbers that are learned otherwise are no part of it */
	for (int i = 0; i < g->nlayers; i++)
		for (int j = 0; j < g->layers[i].nparam; j++)
		{
			const nn_param *p = &g->layers[i].param[j];
			size_t n = p->trainable ? nn_count(&p->shape) : 0;

			for (size_t q = p->offset; q < p->offset + n; q++)
				gradient[q] = (nn_real) ((state[q] - moved[q]) / p->rate);
		}
	for (size_t i = 0; i < l.nparams; i++)
		size += (double) gradient[i] * gradient[i];
	size = sqrt(size);
	for (int way = 0; way < 2; way++)
		for (size_t i = 0; i < l.nparams; i++)
		{
			double d = direction(way, gradient, i);

			length[way] += d * d;
			along[way] += d * gradient[i];
		}
	for (int way = 0; way < 2; way++)
		for (int side = 1; side >= -1; side -= 2)
		{
			for (size_t i = 0; i < l.nparams; i++)
				moved[i] =
					(nn_real) (state[i] + side * DIFFERENCE *
											  direction(way, gradient, i) /
											  sqrt(length[way]));
			change[way] += side * first_loss(&l, moved, 0) / (2 * DIFFERENCE);
		}
	for (int way = 0; way < 2; way++)
		check(fabs(change[way] - along[way] / sqrt(length[way])) <=
				  2e-2 * size + 1e-4,
			  "%s, %s: loss changes by %.5g, the gradient says %.5g", network,
			  loss, change[way], along[way] / sqrt(length[way]));
	free(state);
	free(gradient);
	free(moved);
	finish(&l);
}

static void
check_gradients(void)
{
	l1 = l2 = 0;
	for (int i = 0; nn_layers[i] != NULL; i++)
	{
		const nn_named *named = &nn_layers[i]->named;

		for (int j = 0; named->examples[j] != NULL; j++)
			check_gradient(example_network(arena, named->examples[j], &err),
						   "mse");
	}
	check_gradient(PERCEPTRON, "categorical_crossentropy");
	check_gradient(NETWORK, "categorical_crossentropy");
	l1 = 1e-4;
	l2 = 1e-3;
}

/* Rows that stay with the host, which overwrites what it has handed over. */
static void
check_host_rows(void)
{
	learner resident, host;
	bool ok =
		start(&resident, &cuda, NETWORK, "categorical_crossentropy", "adam") &&
		start(&host, &cuda, NETWORK, "categorical_crossentropy", "adam");

	if (!ok)
	{
		check(false, "start: %s", err.message);
		return;
	}
	host.batch = (nn_batch){.host = true, .x = x, .y = y, .weight = weight};
	ok = learn(&resident, 0, 20) == learn(&host, 0, 20);
	ok = finish(&resident) && finish(&host) && ok;
	check(ok && furthest(host.nparams, resident.params, host.params) == 0 &&
			  furthest(host.npredicted, resident.predicted, host.predicted) ==
				  0,
		  "rows of the host teach the same as rows of the device");
}

/* The host never waits for all of the work between two steps. */
static void
check_waits(void)
{
	learner l;
	size_t of_step;
	int before;

	if (!start(&l, &cuda, NETWORK, "categorical_crossentropy", "adam"))
	{
		check(false, "start: %s", err.message);
		return;
	}
	learn(&l, 0, 4);
	before = emulated->syncs;
	l.batch.rows = BATCH;
	emulated->waiting = 0;
	nn_trainer_step(l.trainer, &l.batch, 0.01, &err);
	of_step = emulated->waiting;
	for (int step = 0; step < 20; step++)
	{
		l.batch.which.first = (uint32_t) step;
		nn_trainer_step(l.trainer, &l.batch, 0.01, &err);
	}
	check(emulated->syncs == before, "twenty steps wait %d times",
		  emulated->syncs - before);
	/* they take long, so few are under way at a time */
	check(emulated->waiting <= 4 * of_step, "%zu kernels wait, %zu of a step",
		  emulated->waiting, of_step);
	l.batch.host = true;
	l.batch.x = x;
	l.batch.y = y;
	l.batch.weight = weight;
	/* memory is taken for two steps */
	nn_trainer_step(l.trainer, &l.batch, 0.01, &err);
	nn_trainer_step(l.trainer, &l.batch, 0.01, &err);
	before = emulated->syncs;
	for (int step = 0; step < 20; step++)
		nn_trainer_step(l.trainer, &l.batch, 0.01, &err);
	check(emulated->syncs == before,
		  "twenty steps with rows of the host wait %d times",
		  emulated->syncs - before);
	check(finish(&l), "the end of training");
}

/* Steps that come again are graphs, and the same without them. */
static void
check_graphs(void)
{
	const char *const optimizers[] = {"adam", "sgd", "rmsprop",
									  "adam(global_clipnorm = 1)",
									  "adam(clipnorm = 0.2)"};

	for (int i = 0; i < 5; i++)
	{
		learner graphs, kernels;
		int before[2];
		bool ok = start(&graphs, &cuda, NETWORK, "categorical_crossentropy",
						optimizers[i]) &&
				  start(&kernels, &cuda, NETWORK, "categorical_crossentropy",
						optimizers[i]);

		if (!ok)
		{
			check(false, "start: %s", err.message);
			return;
		}
		ok = learn(&graphs, 0, 5) > 0;
		before[0] = emulated->launches;
		before[1] = emulated->graphs;
		ok = learn(&graphs, 5, 15) > 0 && ok;
		check(emulated->launches == before[0] &&
				  emulated->graphs == before[1] + 15,
			  "%s: 15 steps are %d graphs and %d kernels", optimizers[i],
			  emulated->graphs - before[1], emulated->launches - before[0]);
		emulated->no_graphs = true;
		before[1] = emulated->graphs;
		ok = learn(&kernels, 0, 5) > 0 && learn(&kernels, 5, 15) > 0 && ok;
		check(emulated->graphs == before[1], "%s: there can be none",
			  optimizers[i]);
		emulated->no_graphs = false;
		ok = finish(&graphs) && finish(&kernels) && ok;
		check(ok &&
				  furthest(kernels.nparams, kernels.params, graphs.params) == 0,
			  "%s: graphs teach the same as kernels", optimizers[i]);
	}
}

/* A trainer is on the device that the host program says, whatever others are
 * looked at meanwhile. */
static void
check_ordinal(void)
{
	nn_device_info info;
	learner l;

	emulated->devices = 2;
	cuda.ordinal = 1;
	check(start(&l, &cuda, PERCEPTRON, "categorical_crossentropy", "adam") &&
			  emulated->current == 1,
		  "a trainer on the second device: %s", err.message);
	emulated->no_graphs = true;
	for (int i = 0; i < 2; i++)
		check(cuda.describe(i, &info) &&
				  (info.memory_free < info.memory) == (i == 1),
			  "device %d has %zu bytes of %zu left", i, info.memory_free,
			  info.memory);
	check(cuda.describe(0, &info) && learn(&l, 0, 3) > 0 && finish(&l),
		  "which learns: %s", err.message);
	emulated->no_graphs = false;
	cuda.ordinal = 0;
	emulated->devices = 1;
}

/* Products by cuBLASLt are part of the graphs, and those of two sizes of batch
 * are two graphs. */
static void
check_graphs_of_products(void)
{
	/* so that what follows the first layer lies at odd places */
	const char *const network = "dense(299, relu) dense(300, tanh) dense(3)";
	/* what cannot be had, and how many of 20 steps are graphs then: in the first
	 * one products are made at once */
	const struct
	{
		bool *lacks;
		int graphs;
	} without[] = {{&emulated->no_graphs, 0},
				   {&emulated->no_captures, 0},
				   {&emulated->no_changes, 19}};
	learner graphs, other;
	int before[3];
	bool ok;

	emulated->blas = true;
	precision = NN_BF16; /* of which smaller products are worth it */
	ok = start(&graphs, &cuda, network, "categorical_crossentropy", "adam");
	if (!ok)
	{
		check(false, "start: %s", err.message);
		return;
	}
	before[0] = emulated->blas_products;
	/* the first time a product is made at once */
	ok = learn(&graphs, 0, 10) > 0;
	check(emulated->blas_products > before[0], "there are products");
	before[0] = emulated->blas_products;
	before[1] = emulated->graphs;
	before[2] = emulated->launches;
	ok = learn(&graphs, 10, 10) > 0 && ok;
	check(emulated->blas_products == before[0] &&
			  emulated->graphs == before[1] + 10 &&
			  emulated->launches == before[2],
		  "10 steps are %d graphs, %d products and %d kernels",
		  emulated->graphs - before[1], emulated->blas_products - before[0],
		  emulated->launches - before[2]);
	check(ok && finish(&graphs), "graphs: %s", err.message);
	for (size_t i = 0; i < sizeof(without) / sizeof(without[0]); i++)
	{
		ok = start(&other, &cuda, network, "categorical_crossentropy", "adam");
		before[1] = emulated->graphs;
		*without[i].lacks = true;
		ok = ok && learn(&other, 0, 10) > 0 && learn(&other, 10, 10) > 0;
		*without[i].lacks = false;
		ok = ok && finish(&other);
		check(ok && emulated->graphs == before[1] + without[i].graphs &&
				  furthest(other.nparams, other.params, graphs.params) == 0,
			  "graphs of products teach the same as what is done without (%zu, "
			  "%d graphs)",
			  i, emulated->graphs - before[1]);
	}
	emulated->blas = false;
	precision = NN_FP32;
}

static void
settle_nothing(nn_device *d, const nn_real *x, size_t n)
{
	(void) d;
	(void) x;
	(void) n;
}

/* What several products of a step read is rounded once; and no memory for it
 * is no failure. */
static void
check_settled(void)
{
	const char *const network = "dense(400, relu) dense(400, tanh) dense(200)";
	const size_t memory = emulated->memory;
	nn_device_ops other = cuda;
	int launches[3];
	learner l[3];

	emulated->blas = true;
	emulated->no_graphs = true;
	precision = NN_BF16;
	for (int i = 0; i < 3; i++)
	{
		bool ok;

		other.settle = i > 0 ? settle_nothing : cuda.settle;
		ok =
			start(&l[i], &other, network, "mse", "adam(global_clipnorm = 1)") &&
			learn(&l[i], 0, 5) > 0;
		if (i == 2)
		{
			other.settle = cuda.settle;
			emulated->memory = emulated->allocated;
		}
		launches[i] = emulated->launches;
		ok = ok && learn(&l[i], 5, 1) > 0;
		launches[i] = emulated->launches - launches[i];
		emulated->memory = memory;
		check(ok && finish(&l[i]), "bf16: %s", err.message);
	}
	/* of three factors of two layers, each is one of two products, and one is
	 * rounded by the kernel that makes it */
	check(launches[1] - launches[0] == 8 && launches[2] == launches[1],
		  "a step rounds %d factors again, and %d for want of memory",
		  launches[1] - launches[0], launches[2] - launches[0]);
	check(furthest(l[0].nparams, l[0].params, l[1].params) == 0 &&
			  furthest(l[0].nparams, l[0].params, l[2].params) == 0,
		  "all teach the same");
	precision = NN_FP32;
	emulated->no_graphs = false;
	emulated->blas = false;
}

/* A learner of a small perceptron, after some steps, and how many kernels the
 * next one is.  False: it failed. */
static bool
learn_perceptron(learner *l, bool cooperates, int *launches)
{
	bool ok;

	emulated->no_cooperation = !cooperates;
	emulated->no_graphs = true;
	ok = start(l, &cuda,
			   "dense(24, relu) dense(16) gelu dropout(0.3) dense(8) tanh "
			   "dense(3)",
			   "categorical_crossentropy", "adam(weight_decay = 0.01)") &&
		 learn(l, 0, 5) > 0;
	*launches = emulated->launches;
	ok = ok && learn(l, 5, 1) > 0;
	*launches = emulated->launches - *launches;
	ok = ok && finish(l);
	emulated->no_cooperation = emulated->no_graphs = false;
	return ok;
}

/* A step of a network of dense layers is one kernel, however many it has, and
 * gives the same where blocks cannot meet. */
static void
check_perceptron(void)
{
	/* with penalties, of which two kernels each: then an update is another */
	const int kernels[] = {1, 1 + 8 + 1}, apart[] = {2, 3};
	learner one, more;
	int launches;
	bool ok;

	for (int i = 0; i < 2; i++)
	{
		l1 = l2 = i * 1e-4;
		ok = learn_perceptron(&one, true, &launches);
		check(ok && launches == kernels[i], "a step is %d kernels", launches);
	}
	l1 = l2 = 0;
	for (int i = 0; i < 2; i++)
	{
		precision = i == 0 ? NN_FP32 : NN_BF16;
		ok = learn_perceptron(&one, true, &launches) && launches == 1 &&
			 learn_perceptron(&more, false, &launches);
		/* weights that are rounded, and the end */
		check(ok && launches == apart[i], "and else %d", launches);
		check(ok && furthest(one.nparams, one.params, more.params) == 0,
			  "which teach the same");
	}
	precision = NN_FP32;
	l1 = 1e-4;
	l2 = 1e-3;
}

/* As above, but of kernels that update the parameters they have a gradient of:
 * all, and some. */
static void
check_updates(void)
{
	const char *const networks[] = {PERCEPTRON, NETWORK};

	l1 = l2 = 0;
	for (int i = 0; i < 2; i++)
	{
		check_training(networks[i], "categorical_crossentropy",
					   "adam(weight_decay = 0.01)");
		check_training(networks[i], "categorical_crossentropy",
					   "sgd(momentum = 0.9, clipvalue = 0.1)");
	}
	l1 = 1e-4;
	l2 = 1e-3;
}

static void
make_data(void)
{
	example_rows(ROWS, 1, x);
	for (int i = 0; i < ROWS; i++)
	{
		double score = x[i * WIDTH] + x[i * WIDTH + 1] * x[i * WIDTH + 2];

		/* what follows the classes is there for several targets a row */
		y[i] = score < -0.5 ? 0 : (score < 0.5 ? 1 : 2);
		for (int j = 1; j < MAX_TARGETS; j++)
			y[j * ROWS + i] = (nn_real) check_normal((uint64_t) (j * ROWS + i));
		weight[i] = (nn_real) (0.5 + i % 3);
	}
}

int
main(void)
{
	arena = nn_arena_create(&check_heap, &err);
	if (arena == NULL || !open_library())
		return check_failed;
	make_data();
	if (getenv("NEURAL_CUDA_BRIEF") != NULL)
	{
		check_precisions();
		check_host_rows();
		return check_failed;
	}
	check_training(NETWORK, "categorical_crossentropy", "adam");
	check_training(NETWORK, "categorical_crossentropy",
				   "sgd(momentum = 0.9, global_clipnorm = 1)");
	check_training(PERCEPTRON, "categorical_crossentropy", "adam");
	check_updates();
	check_layers();
	check_gradients();
	check_precisions();
	check_host_rows();
	if (emulated != NULL)
	{
		check_waits();
		check_graphs();
		check_graphs_of_products();
		check_ordinal();
		check_settled();
		check_perceptron();
	}
	return check_failed;
}
