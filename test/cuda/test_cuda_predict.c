/*
 * test_cuda_predict.c
 *	  Predicting on a CUDA device against predicting on the CPU.
 *
 * The environment variable NEURAL_CUDA names the library to test, as for
 * test_cuda.c.
 */
#include "library.h"
#include "models.h"

#define MOST_NUMBERS (4 * EXAMPLE_ROWS)

static double
furthest(int n, const double *a, const double *b)
{
	double worst = 0;

	for (int i = 0; i < n; i++)
	{
		double off = fabs(a[i] - b[i]) / (1 + fabs(a[i]));

		worst = isfinite(off) ? fmax(worst, off) : INFINITY;
	}
	return worst;
}

static char *
all_records(nn_arena *arena, const nn_model *m)
{
	size_t size = m->features->record_size;
	char *records = nn_alloc_array(arena, EXAMPLE_ROWS, size, &err);

	for (int i = 0; records != NULL && i < EXAMPLE_ROWS; i++)
		if (!example_record(m->features, i, false, records + i * size, &err))
			return NULL;
	return records;
}

/* The layer before the last, of the first network. */
static void
compare_layers(nn_arena *arena, nn_predictor *here, nn_predictor *there,
			   const nn_model *m, const char *records, const char *name)
{
	const nn_graph *g = m->networks[0].graph;
	int layer = g->nlayers > 1 ? g->nlayers - 2 : 0;
	size_t n = EXAMPLE_ROWS * nn_count(&g->layers[layer].out.shape);
	nn_real *a = nn_alloc_array(arena, n, sizeof(nn_real), &err);
	nn_real *b = nn_alloc_array(arena, n, sizeof(nn_real), &err);
	bool ok = a != NULL && b != NULL &&
			  nn_embed(here, records, EXAMPLE_ROWS, layer, a, &err) &&
			  nn_embed(there, records, EXAMPLE_ROWS, layer, b, &err);
	double worst = 0;

	for (size_t i = 0; ok && i < n; i++)
		worst = fmax(worst, fabs(a[i] - b[i]) / (1 + fabs(a[i])));
	check(ok && worst < 1e-5,
		  "%s: outputs of layer %d are as far apart as %.3g", name, layer,
		  worst);
}

static void
compare_predictions(const example *e, const char *name)
{
	static double a[MOST_NUMBERS], b[MOST_NUMBERS], c[MOST_NUMBERS];
	nn_arena *arena = nn_arena_create(&check_heap, &err);
	nn_model *m = example_model(arena, e, &err);
	size_t before = emulated ? emulated->allocated : 0, size;
	nn_predictor *here, *there;
	const char *records;
	int n;

	if (m == NULL || (records = all_records(arena, m)) == NULL)
	{
		check(false, "%s: %s", name, err.message);
		return;
	}
	n = EXAMPLE_ROWS * m->outputs;
	size = nn_predictor_size(m, &cuda, 37, &err);
	here = nn_predictor_create(arena, m, &nn_cpu_plain, 64, &err);
	/* more passes than there is room for at a time, the last one not full */
	there = nn_predictor_create(arena, m, &cuda, 37, &err);
	if (here == NULL || there == NULL)
	{
		check(false, "%s: %s (%s)", name, err.message, err.detail);
		return;
	}
	if (emulated)
		check(emulated->allocated - before <= size &&
				  emulated->allocated - before > size / 2,
			  "%s: takes %zu bytes of %zu", name, emulated->allocated - before,
			  size);
	check(nn_predict(here, records, EXAMPLE_ROWS, a, &err) &&
			  nn_predict(there, records, EXAMPLE_ROWS, b, &err),
		  "%s: predicts", name);
	check(furthest(n, a, b) < 1e-5, "%s: predictions are as far apart as %.3g",
		  name, furthest(n, a, b));
	check(nn_predict(there, records, EXAMPLE_ROWS, c, &err) &&
			  memcmp(b, c, (size_t) n * sizeof(double)) == 0,
		  "%s: the same again", name);
	check(nn_predict(there, records, 1, c, &err) &&
			  furthest(m->outputs, a, c) < 1e-5,
		  "%s: one row", name);
	check(nn_predict(there, records, 0, c, &err), "%s: no row", name);
	compare_layers(arena, here, there, m, records, name);
	check(nn_predictor_seconds(here, 64, &err) > 0 &&
			  nn_predictor_seconds(there, 64, &err) > 0,
		  "%s: takes time", name);
	nn_predictor_release(there);
	nn_predictor_release(here);
	if (emulated)
		check(emulated->allocated == before, "%s: all memory is given back",
			  name);
	nn_arena_destroy(arena);
}

/* Whatever there is no memory for, nothing is kept and it is said. */
static void
run_out_of_memory(void)
{
	nn_arena *arena = nn_arena_create(&check_heap, &err);
	nn_model *m = example_model(arena, &examples[EXAMPLES - 1], &err);
	size_t all = emulated->memory, before = emulated->allocated;
	int failures = 0;

	for (size_t room = 0; room < 1 << 20; room += 1 + room / 2)
	{
		nn_predictor *p;

		emulated->memory = emulated->allocated + room;
		p = nn_predictor_create(arena, m, &cuda, 64, &err);
		if (p == NULL)
		{
			failures++;
			check(err.code == NN_DEVICE_NOMEM, "with %zu bytes: %s", room,
				  err.message);
		}
		nn_predictor_release(p);
		check(emulated->allocated == before, "with %zu bytes all is given back",
			  room);
	}
	emulated->memory = all;
	check(failures > 3, "%d times there was too little", failures);
	nn_arena_destroy(arena);
}

int
main(void)
{
	nn_device_costs costs;

	if (!open_library())
		return check_failed;
	cuda.costs(&costs);
	check(!costs.measured && costs.launch > 0 && costs.byte > 0,
		  "costs are assumed");
	for (int i = 0; i < EXAMPLES; i++)
	{
		char name[64];

		snprintf(name, sizeof(name), "model %d", i);
		compare_predictions(&examples[i], name);
	}
	cuda.costs(&costs);
	check(costs.measured && costs.start > 0 && costs.launch > 0 &&
			  costs.byte > 0 && costs.product > 0,
		  "opening takes %.3g s, a kernel %.3g s, a byte %.3g s, a product "
		  "%.3g s",
		  costs.start, costs.launch, costs.byte, costs.product);
	if (emulated)
		run_out_of_memory();
	return check_failed;
}
