/* builds: float double */
/*
 * test_parity.c
 *	  Fifty training steps of many networks against PyTorch.
 *
 * reference/parity.txt, which reference/parity.py wrote, has for each case the
 * loss of every step and the predictions after the last one.  A layer, loss or
 * optimizer that is registered but in no case is a failure.
 *
 * With the environment variable NEURAL_CUDA, which names a CUDA provider, its
 * device is compared, too.
 */
#include "reference.h"
#include "train.h"

#define STEPS			 50
#define STEPS_PER_EPOCH	 5
#define MOST_ROWS		 64
#define MOST_PREDICTIONS 512
#define MOST_COLUMNS	 16

#ifdef NN_REAL_IS_DOUBLE
#define FIRST_STEPS 1e-10
#define LATER_STEPS 1e-10
#define PREDICTIONS 1e-10
#else
#define FIRST_STEPS 1e-5
#define LATER_STEPS 1e-4
#define PREDICTIONS 1e-4
#endif
#define OTHER_THREADS 1e-11

typedef struct reference
{
	int number;
	char *sections, *layers, *loss, *optimizer, *schedule, *kind;
	int rows, batch, columns, weighted;
	double l1, l2;
	double losses[STEPS];
	int npredictions;
	double predictions[MOST_PREDICTIONS];
} reference;

typedef struct result
{
	double losses[STEPS];
	nn_real predictions[MOST_PREDICTIONS];
} result;

static nn_arena *arena;
static nn_error err;
static bool used_layer[256], used_loss[64], used_optimizer[64];

/* --- reading --- */

static int
read_numbers(const char *text, double *out, int most)
{
	int n = 0;
	char *end;

	for (double v = strtod(text, &end); end != text && n < most;
		 v = strtod(text, &end))
	{
		out[n++] = v;
		text = end;
	}
	return n;
}

/* The next case; false at the end of the file. */
static bool
read_case(FILE *f, reference *c)
{
	char *line = NULL;
	size_t size = 0;
	bool complete = false;

	memset(c, 0, sizeof(*c));
	while (!complete && getline(&line, &size, f) > 0)
	{
		char *value = strchr(line, ' ');

		line[strcspn(line, "\n")] = '\0';
		*value++ = '\0';
		if (strcmp(line, "case") == 0)
			c->number = atoi(value);
		else if (strcmp(line, "sizes") == 0)
			sscanf(value, "%d %d %d %d %lf %lf", &c->rows, &c->batch,
				   &c->columns, &c->weighted, &c->l1, &c->l2);
		else if (strcmp(line, "losses") == 0)
			read_numbers(value, c->losses, STEPS);
		else if (strcmp(line, "predictions") == 0)
		{
			c->npredictions =
				read_numbers(value, c->predictions, MOST_PREDICTIONS);
			complete = true;
		}
		else
		{
			char **field = strcmp(line, "sections") == 0	? &c->sections
						   : strcmp(line, "layers") == 0	? &c->layers
						   : strcmp(line, "loss") == 0		? &c->loss
						   : strcmp(line, "optimizer") == 0 ? &c->optimizer
						   : strcmp(line, "schedule") == 0	? &c->schedule
															: &c->kind;

			*field = nn_strndup(arena, value, strlen(value), &err);
		}
	}
	free(line);
	return complete;
}

/* "number 5 category [3,4]" */
static nn_layout *
read_layout(const char *text)
{
	nn_layout *layout = nn_alloc_small(arena, sizeof(nn_layout), &err);

	while (*text != '\0')
	{
		nn_section *s = &layout->section[layout->nsections++];
		size_t name = strcspn(text, " ");

		s->name = nn_strndup(arena, text, name, &err);
		s->offset = layout->width;
		text += name + 1;
		if (*text == '[')
		{
			int *levels =
				nn_alloc_small(arena, MOST_COLUMNS * sizeof(int), &err);

			while (*text != ']')
				levels[s->count++] =
					(int) strtol(text + 1, (char **) &text, 10);
			s->levels = levels;
			text++;
		}
		else
			s->count = (int) strtol(text, (char **) &text, 10);
		layout->width += s->count;
		text += *text == ' ';
	}
	return layout;
}

/* --- the data, as parity.py makes it --- */

static nn_real *
make_x(const reference *c, const nn_layout *layout)
{
	int w = layout->width;
	nn_real *x =
		nn_alloc_array(arena, (size_t) c->rows * w, sizeof(nn_real), &err);

	for (int r = 0; r < c->rows; r++)
	{
		for (int i = 0; i < layout->nsections; i++)
		{
			const nn_section *s = &layout->section[i];

			for (int j = 0; j < s->count; j++)
			{
				int column = s->offset + j;

				x[r * w + column] =
					s->levels != NULL
						? (r * r + r * (column + 3) + 5 * column) %
							  (s->levels[j] + 1)
						: 1.5 * phase(0.3, r * w + column);
			}
		}
	}
	return x;
}

static nn_real *
make_y(const reference *c, int width)
{
	nn_real *y =
		nn_alloc_array(arena, (size_t) c->rows * width, sizeof(nn_real), &err);

	for (int r = 0; r < c->rows; r++)
	{
		for (int j = 0; j < width; j++)
		{
			double v = phase(1.1, r * width + j);

			if (strcmp(c->kind, "binary") == 0)
				v = v > 0;
			else if (strcmp(c->kind, "count") == 0)
				v = (5 * r + 3 * j) % 4;
			else if (strcmp(c->kind, "class") == 0)
				v = (r * r + 3 * r) % c->columns;
			y[r * width + j] = v;
		}
	}
	return y;
}

/* What is not learned, such as knots, is as the layer sets it. */
static nn_real *
make_params(const reference *c, const nn_graph *g, const nn_real *x)
{
	nn_real *params =
		nn_alloc_array(arena, g->nparams + 1, sizeof(nn_real), &err);
	int number = 0;

	if (!nn_graph_initialize(g, 1, c->rows, x, params, &err))
		return NULL;
	for (int i = 0; i < g->nlayers; i++)
	{
		for (int j = 0; j < g->layers[i].nparam; j++)
		{
			const nn_param *p = &g->layers[i].param[j];

			if (!p->trainable)
				continue;
			number++;
			for (size_t k = 0; k < nn_count(&p->shape); k++)
				params[p->offset + k] = 0.5 * phase(1.3 * number, (int) k);
		}
	}
	return params;
}

static void
note_use(const nn_graph *g, const nn_loss *loss, const nn_optimizer *o)
{
	for (int i = 0; nn_layers[i] != NULL; i++)
	{
		for (int j = 0; j < g->nlayers; j++)
			used_layer[i] |= g->layers[j].ops == nn_layers[i];
	}
	for (int i = 0; nn_losses[i] != NULL; i++)
		used_loss[i] |= loss->ops == nn_losses[i];
	for (int i = 0; nn_optimizers[i] != NULL; i++)
		used_optimizer[i] |= o->ops == nn_optimizers[i];
}

/* --- training --- */

/* The rows, and once more after them: a batch may begin at any. */
static nn_real *
twice(int rows, int width, const nn_real *x)
{
	size_t n = (size_t) rows * (size_t) width;
	nn_real *both = nn_alloc_array(arena, 2 * n, sizeof(nn_real), &err);

	if (both == NULL)
		exit(2);
	memcpy(both, x, n * sizeof(nn_real));
	memcpy(both + n, x, n * sizeof(nn_real));
	return both;
}

static bool
train(const reference *c, int threads, const nn_device_ops *device, result *r)
{
	nn_layout *layout = read_layout(c->sections);
	nn_graph *g = nn_graph_build(arena, c->layers, layout, &err);
	nn_loss *loss = nn_loss_parse(arena, c->loss, &err);
	nn_optimizer *o = nn_optimizer_parse(arena, c->optimizer, &err);
	nn_schedule *schedule = nn_schedule_parse(arena, c->schedule, &err);
	nn_real *x = make_x(c, layout), weight[MOST_ROWS];
	nn_trainer_conf conf = {.loss = loss,
							.optimizer = o,
							.batch_rows = c->batch,
							.threads = threads,
							.l1 = c->l1,
							.l2 = c->l2,
							.seed = 1};
	nn_batch b = {.rows = c->batch, .x = twice(c->rows, layout->width, x)};
	nn_real *params;
	nn_trainer *t;
	bool ok = true;

	if (g == NULL || loss == NULL || o == NULL || schedule == NULL)
		return false;
	note_use(g, loss, o);
	params = make_params(c, g, x);
	if (params == NULL)
		return false;
	conf.target_width = loss->ops->categorical ? 1 : c->columns;
	b.y = twice(c->rows, conf.target_width, make_y(c, conf.target_width));
	for (int i = 0; i < c->rows; i++)
		weight[i] = 0.5 + 0.5 * (i % 4);
	b.weight = c->weighted ? twice(c->rows, 1, weight) : NULL;
	b.host = device->own_memory;
	t = nn_trainer_create(arena, g, device, &conf, params, &err);
	if (t == NULL)
		return false;
	for (int step = 0; step < STEPS && ok; step++)
	{
		double rate = nn_schedule_rate(schedule, o->learning_rate, step, STEPS,
									   STEPS_PER_EPOCH);

		b.which.first = (uint32_t) (step * c->batch % c->rows);
		ok = nn_trainer_step(t, &b, rate, &err) &&
			 nn_trainer_sync(t, &r->losses[step], &err);
	}
	b.rows = c->rows;
	b.which.first = 0;
	ok = ok && c->rows * g->outputs <= MOST_PREDICTIONS &&
		 nn_trainer_predict(t, &b, r->predictions, &err);
	nn_trainer_release(t);
	return ok;
}

static void
compare(const reference *c, const result *r)
{
	double first = 0, later = 0, predictions = 0, size = 0;

	for (int i = 0; i < STEPS; i++)
	{
		double d = fabs(r->losses[i] - c->losses[i]) / fabs(c->losses[i]);

		if (i < 5)
			first = fmax(first, isnan(d) ? INFINITY : d);
		else
			later = fmax(later, isnan(d) ? INFINITY : d);
	}
	for (int i = 0; i < c->npredictions; i++)
		size = fmax(size, fabs(c->predictions[i]));
	for (int i = 0; i < c->npredictions; i++)
	{
		double d = fabs((double) r->predictions[i] - c->predictions[i]) /
				   fmax(1, size);

		predictions = fmax(predictions, isnan(d) ? INFINITY : d);
	}
	check(c->npredictions > 0 && first <= FIRST_STEPS && later <= LATER_STEPS &&
			  predictions <= PREDICTIONS,
		  "case %d: losses differ by %.2g at first and %.2g later, "
		  "predictions by %.2g: %s; %s; %s",
		  c->number, first, later, predictions, c->layers, c->loss,
		  c->optimizer);
}

#ifndef NN_REAL_IS_DOUBLE
static nn_device_ops cuda; /* no name: there is none */
#else
/* The number of threads may change the order of sums, and nothing else. */
static void
compare_threads(const reference *c, const result *one, int threads)
{
	result r;
	double worst = 0;

	if (!train(c, threads, &nn_cpu_plain, &r))
	{
		check(false, "case %d: %s", c->number, err.message);
		return;
	}
	for (int i = 0; i < STEPS; i++)
		worst = fmax(worst,
					 fabs(r.losses[i] - one->losses[i]) / fabs(one->losses[i]));
	for (int i = 0; i < c->npredictions; i++)
		worst = fmax(worst, fabs(r.predictions[i] - one->predictions[i]));
	check(worst <= OTHER_THREADS, "case %d with %d threads differs by %g: %s",
		  c->number, threads, worst, c->layers);
}
#endif

static void
run_case(const reference *c)
{
	result r;

	if (!train(c, 1, &nn_cpu_plain, &r))
	{
		check(false, "case %d: %s; %s", c->number, c->layers, err.message);
		return;
	}
	compare(c, &r);
#ifdef NN_REAL_IS_DOUBLE
	compare_threads(c, &r, 2);
	compare_threads(c, &r, 3);
#else
	if (!train(c, 2, nn_cpu_ops(-1), &r))
		check(false, "case %d: %s", c->number, err.message);
	else
		compare(c, &r);
	if (cuda.name == NULL)
		return;
	if (!train(c, 1, &cuda, &r))
		check(false, "case %d, CUDA: %s", c->number, err.message);
	else
		compare(c, &r);
#endif
}

int
main(int argc, char **argv)
{
	FILE *f = reference_open(argc, argv, "parity.txt");
#ifndef NN_REAL_IS_DOUBLE
	const char *library = getenv("NEURAL_CUDA");
#endif
	reference c;
	bool more = f != NULL;
	int ncases = 0;

#ifndef NN_REAL_IS_DOUBLE
	if (library != NULL && !nn_provider_load(library, &cuda, &err))
		check(false, "%s: %s", err.message, err.detail);
#endif
	while (more)
	{
		arena = nn_arena_create(&check_heap, &err);
		more = read_case(f, &c);
		if (more)
		{
			run_case(&c);
			ncases++;
		}
		nn_arena_destroy(arena);
	}
	if (f != NULL)
		fclose(f);
	check(ncases > 0, "%d cases", ncases);
	for (int i = 0; nn_layers[i] != NULL; i++)
		check(used_layer[i], "layer %s is in a case", nn_layers[i]->named.name);
	for (int i = 0; nn_losses[i] != NULL; i++)
		check(used_loss[i], "loss %s is in a case", nn_losses[i]->named.name);
	for (int i = 0; nn_optimizers[i] != NULL; i++)
		check(used_optimizer[i], "optimizer %s is in a case",
			  nn_optimizers[i]->named.name);
	return check_failed;
}
