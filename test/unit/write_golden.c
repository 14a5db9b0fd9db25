/*
 * write_golden.c
 *	  Stores what a release can do, for test_golden to compare later ones with.
 *
 *	  write_golden DIRECTORY
 *
 * The directory has the rows already.  A directory of a release is written
 * once, before it, and never again.
 */
#include "golden.h"
#include "models.h"

typedef struct golden
{
	const char *name;
	example what;
	const char *network[2];
} golden;

static const golden models[] = {
	{"regression",
	 {NN_REGRESSION, "mean_squared_error", 1, 0, 1, 2, true},
	 {"number: input(number) number_in: piecewise_linear flag: input(flag) "
	  "category: input(category) category_in: one_hot(robust) entity: "
	  "input(entity) entity_in: embedding(3) concatenate(number_in, number, "
	  "flag, category_in, entity_in) scale dense(6, mish, ntk = true) "
	  "dense(1, ntk = true)",
	  "dense(5, gelu) layer_normalization tanh dense(1)"}},
	{"several",
	 {NN_REGRESSION, "poisson", 3, 0, 3, 1, true},
	 {"input(category) one_hot flatten elu a: dense(4, leaky_relu) "
	  "input(number) dense(4) leaky_relu dropout dense(4, exponential) softplus "
	  "concatenate(a) dense(3)"}},
	{"binary",
	 {NN_BINARY, "binary_crossentropy(label_smoothing = 0.1, undo = true)", 1,
	  2, 1, 1, true},
	 {"dense(6) batch_normalization selu dropout(0.2) a: dense(6) softsign "
	  "add(a) relu dense(1)"}},
	{"multiclass",
	 {NN_MULTICLASS, "categorical_crossentropy", 1, 4, 4, 2, true},
	 {"dense(6, tanh) layer_normalization(center = false) b: dense(6, silu) "
	  "multiply(b) hard_sigmoid dense(4)",
	  "dense(8, sigmoid) reshape([2, 4]) layer_normalization flatten "
	  "dense(4)"}},
	{"multilabel",
	 {NN_MULTILABEL, "binary_focal_crossentropy", 3, 2, 3, 1, true},
	 {"dense(8, elu) batch_normalization(unbiased = true) activation(selu) "
	  "mish silu gelu identity dense(3)"}}};

static nn_error err;

static bool
build_network(nn_model *m, int k, const char *text)
{
	nn_graph *g = nn_graph_build(m->arena, text, &m->features->layout, &err);
	int width = m->features->layout.width;
	nn_real *x, *params;
	char *record;

	if (g == NULL)
		return false;
	params = nn_alloc_array(m->arena, g->nparams + 1, sizeof(nn_real), &err);
	x = nn_alloc_array(m->arena, EXAMPLE_ROWS, width * sizeof(nn_real), &err);
	record = nn_alloc(m->arena, m->features->record_size, &err);
	for (int i = 0; i < EXAMPLE_ROWS; i++)
	{
		if (!example_record(m->features, i, false, record, &err))
			return false;
		nn_features_encode(m->features, record, 1, x + i * width);
	}
	if (!nn_graph_initialize(g, k + 1, EXAMPLE_ROWS, x, params, &err))
		return false;
	/* heads begin at zero */
	for (size_t i = 0; i < g->nparams; i++)
		params[i] += (nn_real) (0.1 * phase(30 + k, (int) i));
	m->networks[k].graph = g;
	m->networks[k].params = params;
	return true;
}

static bool
write_predictions(const char *directory, const char *name, const nn_model *m)
{
	char file[64], *records;
	int rows = golden_rows(directory, m->features, m->arena, &records, &err);
	double out[GOLDEN_ROWS * GOLDEN_FIELDS];
	nn_predictor *p =
		nn_predictor_create(m->arena, m, nn_cpu_ops(0), GOLDEN_ROWS, &err);
	FILE *f;

	snprintf(file, sizeof(file), "%s.txt", name);
	f = golden_open(directory, file, "w");
	if (rows == 0 || p == NULL || f == NULL ||
		!nn_predict(p, records, rows, out, &err))
		return false;
	for (int i = 0; i < rows; i++)
		for (int j = 0; j < m->outputs; j++)
			fprintf(f, "%.9g%c", out[i * m->outputs + j],
					j == m->outputs - 1 ? '\n' : '\t');
	nn_predictor_release(p);
	return fclose(f) == 0;
}

static bool
write_model(const char *directory, const golden *g)
{
	nn_arena *arena = nn_arena_create(&check_heap, &err);
	nn_model *m = example_model(arena, &g->what, &err);
	unsigned char *bytes;
	char file[64];
	size_t n;
	FILE *f;

	if (m == NULL)
		return false;
	/* so that few predictions are but a limit */
	m->targets[0].min = -20;
	m->targets[0].max = 20;
	for (int k = 0; k < m->nnetworks; k++)
		if (!build_network(m, k, g->network[k]))
			return false;
	bytes = example_bytes(arena, m, &n, &err);
	snprintf(file, sizeof(file), "%s.model", g->name);
	f = golden_open(directory, file, "wb");
	if (bytes == NULL || f == NULL || fwrite(bytes, 1, n, f) != n ||
		fclose(f) != 0 || !write_predictions(directory, g->name, m))
		return false;
	nn_arena_destroy(arena);
	return true;
}

int
main(int argc, char **argv)
{
	FILE *f;

	if (argc != 2)
		return 2;
	for (int i = 0; i < (int) (sizeof(models) / sizeof(*models)); i++)
	{
		bool ok = write_model(argv[1], &models[i]);

		check(ok, "%s: %s", models[i].name, ok ? "written" : err.message);
	}
	f = golden_open(argv[1], "defaults.txt", "w");
	check(f != NULL, "defaults");
	if (f != NULL)
	{
		golden_defaults(f);
		fclose(f);
	}
	return check_failed;
}
