/* builds: float */
/*
 * test_layers.c
 *	  What gradients do not show: fitting, learning without a gradient,
 *	  predicting, and how layers are joined.
 */
#include "examples.h"

#define ROWS 40

typedef struct net
{
	nn_arena *arena;
	nn_device device;
	nn_graph *g;
	nn_real *params;
	nn_exec *e;
	nn_pass pass;
	nn_real x[ROWS * WIDTH];
} net;

static bool
open_net(net *n, const char *text, bool training)
{
	nn_error err = {NN_OK};

	memset(n, 0, sizeof(*n));
	n->device.ops = &nn_cpu_plain;
	n->arena = nn_arena_create(&check_heap, &err);
	example_rows(ROWS, 2, n->x);
	n->g = nn_graph_build(n->arena, text, &example_layout, &err);
	if (n->g != NULL && n->device.ops->open(&n->device, 0, &err))
	{
		n->params =
			nn_alloc_array(n->arena, n->g->nparams, sizeof(nn_real), &err);
		if (nn_graph_initialize(n->g, 1, ROWS, n->x, n->params, &err))
			n->e = nn_exec_create(n->arena, n->g, &n->device, n->params, ROWS,
								  training, &err);
	}
	n->pass = (nn_pass){.device = &n->device,
						.rows = ROWS,
						.batch_rows = ROWS,
						.training = training,
						.seed = 5};
	if (n->e == NULL)
		check(false, "%s: %s", text, err.message);
	else
		memcpy(n->e->x, n->x, sizeof(n->x));
	return n->e != NULL;
}

static void
close_net(net *n)
{
	nn_exec_release(n->e);
	nn_arena_destroy(n->arena);
}

static const nn_param *
find_param(const net *n, int layer, const char *name)
{
	const nn_layer *l = &n->e->layers[layer];

	for (int i = 0; i < l->nparam; i++)
		if (strcmp(l->param[i].name, name) == 0)
			return &l->param[i];
	return NULL;
}

static bool
near(double a, double b)
{
	return fabs(a - b) <= 1e-5 * fmax(1, fabs(b));
}

/* Moving averages after one step; m of the old value is kept. */
static void
check_moving(const char *text, double m, bool unbiased)
{
	net n;
	bool ok = open_net(&n, text, true);

	if (ok)
	{
		const nn_param *mean = find_param(&n, 1, "moving_mean"),
					   *variance = find_param(&n, 1, "moving_variance");

		nn_exec_forward(n.e, &n.pass);
		nn_exec_learn(n.e, &n.pass);
		for (int j = 0; j < NUMBERS; j++)
		{
			double sum = 0, squares = 0;

			for (int i = 0; i < ROWS; i++)
				sum += n.x[i * WIDTH + j];
			sum /= ROWS;
			for (int i = 0; i < ROWS; i++)
				squares += pow(n.x[i * WIDTH + j] - sum, 2);
			squares /= unbiased ? ROWS - 1 : ROWS;
			ok = ok && near(mean->data[j], (1 - m) * sum) &&
				 near(variance->data[j], m + (1 - m) * squares);
		}
		check(ok && !mean->trainable && mean->grad == NULL,
			  "%s: moving averages", text);
		/* predicting uses them */
		n.pass.training = false;
		nn_exec_forward(n.e, &n.pass);
		check(near(n.e->y[0],
				   (n.x[0] - mean->data[0]) / sqrt(variance->data[0] + 1e-3)),
			  "%s: predicting", text);
	}
	close_net(&n);
}

/* PyTorch's and numpy's quantile. */
static int
compare(const void *a, const void *b)
{
	double x = *(const double *) a, y = *(const double *) b;

	return (x > y) - (x < y);
}

static double
quantile(const double *sorted, int n, double q)
{
	double at = q * (n - 1);
	int i = (int) at;

	return i + 1 < n ? sorted[i] + (at - i) * (sorted[i + 1] - sorted[i])
					 : sorted[i];
}

static double
robust(double v, const double *sorted)
{
	double iqr = quantile(sorted, ROWS, 0.75) - quantile(sorted, ROWS, 0.25),
		   range = sorted[ROWS - 1] - sorted[0],
		   s = iqr != 0		? 1 / iqr
			   : range != 0 ? 2 / range
							: 0,
		   x = (v - quantile(sorted, ROWS, 0.5)) * s;

	return x / sqrt(1 + (x / 3) * (x / 3));
}

static void
check_one_hot(const char *text, bool scaled)
{
	net n;
	bool ok = open_net(&n, text, false);
	int at = 0;

	if (ok)
		nn_exec_forward(n.e, &n.pass);
	for (int c = 0; c < CODES && ok; c++)
		for (int level = 0; level < example_levels[c]; level++, at++)
		{
			double sorted[ROWS];

			for (int i = 0; i < ROWS; i++)
				sorted[i] = n.x[i * WIDTH + NUMBERS + c] == level;
			qsort(sorted, ROWS, sizeof(double), compare);
			for (int i = 0; i < ROWS; i++)
			{
				double v = n.x[i * WIDTH + NUMBERS + c] == level;

				ok = ok && near(n.e->y[i * n.g->outputs + at],
								scaled ? robust(v, sorted) : v);
			}
		}
	check(ok && at == n.g->outputs && n.g->ntrainable == 0, "%s", text);
	close_net(&n);
}

static void
check_knots(void)
{
	net n;
	bool ok =
		open_net(&n, "input(number) piecewise_linear(2, knots = 8)", false);
	const nn_param *knots = ok ? find_param(&n, 1, "knots") : NULL;

	for (int c = 0; c < NUMBERS && ok; c++)
	{
		double sorted[ROWS];

		for (int i = 0; i < ROWS; i++)
			sorted[i] = n.x[i * WIDTH + c];
		qsort(sorted, ROWS, sizeof(double), compare);
		for (int k = 0; k <= 8; k++)
			ok = ok &&
				 near(knots->data[c * 9 + k], quantile(sorted, ROWS, k / 8.0));
	}
	check(ok, "knots are quantiles");
	close_net(&n);

	/* codes as numbers have few values: the last knot is repeated */
	ok = open_net(&n, "input(category) piecewise_linear(2, knots = 8)", false);
	knots = ok ? find_param(&n, 1, "knots") : NULL;
	for (int c = 0; c < CODES && ok; c++)
	{
		const nn_real *k = knots->data + c * 9;
		int bins = 0;

		while (bins < 8 && k[bins] < k[bins + 1])
			bins++;
		ok = bins > 0 && bins < 8;
		for (int j = bins; j < 8; j++)
			ok = ok && k[j] == k[j + 1];
	}
	check(ok, "few distinct values have fewer bins");
	close_net(&n);
}

static void
check_dropout(void)
{
	net n;

	if (open_net(&n, "dense(200) dropout(0.25)", true))
	{
		const nn_real *in = n.e->layers[1].out.data;
		int total = ROWS * 200, dropped = 0, wrong = 0, same = 0;
		nn_real *first = malloc(sizeof(nn_real) * (size_t) total);

		nn_exec_forward(n.e, &n.pass);
		memcpy(first, n.e->y, sizeof(nn_real) * (size_t) total);
		for (int i = 0; i < total; i++)
			if (first[i] == 0)
				dropped++;
			else if (!near(first[i], in[i] / 0.75))
				wrong++;
		check(wrong == 0 && abs(dropped - total / 4) < 4 * sqrt(total * 0.1875),
			  "dropout of a quarter: %d of %d", dropped, total);
		n.pass.step++;
		nn_exec_forward(n.e, &n.pass);
		for (int i = 0; i < total; i++)
			same += (first[i] == 0) == (n.e->y[i] == 0);
		check(same < total * 0.7, "another mask in another step: %d", same);
		n.pass.training = false;
		nn_exec_forward(n.e, &n.pass);
		check(memcmp(n.e->y, in, sizeof(nn_real) * (size_t) total) == 0,
			  "no dropout when predicting");
		free(first);
	}
	close_net(&n);
}

static void
check_ntk(void)
{
	net n;

	if (open_net(&n, "dense(400, ntk = true)", false))
	{
		const nn_param *kernel = find_param(&n, 1, "kernel"),
					   *bias = find_param(&n, 1, "bias");
		double squares = 0;

		for (int i = 0; i < WIDTH * 400; i++)
			squares += kernel->data[i] * kernel->data[i];
		check(near(kernel->rate, 1.0 / 3) && near(bias->rate, 0.1) &&
				  kernel->kernel && !bias->kernel &&
				  fabs(squares / 400 - 1) < 0.1,
			  "neural tangent parametrisation: %.3f", squares / 400);
	}
	close_net(&n);
}

/* Sums and pieces of layers, from the layers' own outputs. */
static void
check_joins(void)
{
	net n;

	if (open_net(&n,
				 "a: dense(4) b: dense(4) c: add(a) d: multiply(a, b) "
				 "e: identity(a) f: concatenate(c, d) concatenate(e)",
				 false))
	{
		bool ok = n.g->outputs == 12;

		nn_exec_forward(n.e, &n.pass);
		for (int i = 0; i < ROWS && ok; i++)
			for (int j = 0; j < 4; j++)
			{
				nn_real a = n.e->layers[1].out.data[i * 4 + j],
						b = n.e->layers[2].out.data[i * 4 + j];

				ok = ok && near(n.e->y[i * 12 + j], a + b) &&
					 near(n.e->y[i * 12 + 4 + j], a * b) &&
					 n.e->y[i * 12 + 8 + j] == a;
			}
		check(ok, "add, multiply, identity, concatenate");
	}
	close_net(&n);
}

/* A row alone is predicted as among others, bit for bit. */
static void
check_alone(const char *example)
{
	nn_error err = {NN_OK};
	nn_arena *arena = nn_arena_create(&check_heap, &err);
	net n;

	if (open_net(&n, example_network(arena, example, &err), false))
	{
		size_t width = (size_t) n.g->outputs;
		nn_real *all = malloc(sizeof(nn_real) * ROWS * width);
		bool same = true;

		nn_exec_forward(n.e, &n.pass);
		memcpy(all, n.e->y, sizeof(nn_real) * ROWS * width);
		n.pass.rows = n.pass.batch_rows = 1;
		for (size_t i = 0; i < ROWS; i++)
		{
			memcpy(n.e->x, n.x + i * WIDTH, sizeof(nn_real) * WIDTH);
			nn_exec_forward(n.e, &n.pass);
			same = same && memcmp(n.e->y, all + i * width,
								  sizeof(nn_real) * width) == 0;
		}
		check(same, "rows alone and together: %s", example);
		free(all);
	}
	close_net(&n);
	nn_arena_destroy(arena);
}

static void
check_sizes(void)
{
	nn_error err = {NN_OK};
	net n;

	if (open_net(&n, "a: dense(4) b: relu dense(2)", true))
	{
		check(n.g->nparams == 9 * 4 + 4 + 4 * 2 + 2 &&
				  n.g->ntrainable == n.g->nparams && n.g->outputs == 2 &&
				  n.g->work == 36 + 4 + 8,
			  "numbers of a network");
		check(n.e->layers[0].out.data == n.e->x &&
				  n.e->layers[0].out.grad == NULL,
			  "the whole row is not copied");
		check(n.e->layers[2].fused &&
				  n.e->layers[2].out.data == n.e->layers[1].out.data,
			  "a function is fused into the layer before it");
		check(n.e->bytes == nn_exec_size(n.g, ROWS, true, &err) &&
				  nn_exec_size(n.g, ROWS, false, &err) < n.e->bytes,
			  "predicting takes less memory");
		check(nn_exec_size(n.g, INT32_MAX, true, &err) == 0 &&
				  err.code == NN_LIMIT,
			  "too many rows: %s", err.message);
		check(nn_exec_size(n.g, 0, true, &err) == 0, "no rows");
	}
	close_net(&n);
}

static bool
stop(void)
{
	return true;
}

static void
check_stop(void)
{
	static const char *const texts[] = {
		"dense(2)", "input(number) p: piecewise_linear dense(2)"};

	for (int i = 0; i < 2; i++)
	{
		nn_error err = {NN_OK};
		net n;

		if (open_net(&n, texts[i], false))
		{
			n.g->stop = stop;
			check(!nn_graph_initialize(n.g, 1, ROWS, n.x, n.params, &err) &&
					  err.code == NN_INTERRUPTED,
				  "the initialization of %s can be stopped", texts[i]);
		}
		close_net(&n);
	}
}

int
main(void)
{
	check_moving("input(number) batch_normalization", 0.99, false);
	check_moving("input(number) batch_normalization(0.9, unbiased = true)", 0.9,
				 true);
	check_one_hot("input(category) one_hot", false);
	check_one_hot("input(category) one_hot(robust)", true);
	check_knots();
	check_dropout();
	check_ntk();
	check_joins();
	check_sizes();
	check_stop();
	for (int i = 0; nn_layers[i] != NULL; i++)
		for (const char *const *e = nn_layers[i]->named.examples; *e; e++)
			check_alone(*e);
	return check_failed;
}
