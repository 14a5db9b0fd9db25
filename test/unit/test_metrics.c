/* builds: float asan */
/*
 * test_metrics.c
 *	  Metrics against scikit-learn's values (reference/metrics.py).
 */
#include "metric.h"
#include "reference.h"

#define ROWS	60
#define CLASSES 4
#define LABELS	3
#define TARGETS 2
#define MOST	4

static const char *const tasks[] = {"regression", "binary", "multiclass",
									"multilabel"};
static double y[ROWS * MOST], out[ROWS * MOST], weight[ROWS];
static nn_metric_args args;

static double
sigmoid(double x)
{
	return 1 / (1 + exp(-x));
}

static void
binary_row(int i, const char *variant)
{
	double p = sigmoid(1.2 * phase(1, i) + phase(2, i));

	if (strcmp(variant, "ties") == 0)
		p = floor(p * 8 + 0.5) / 8;
	if (strcmp(variant, "absent") == 0)
		p *= 0.4;
	y[i] = phase(1, i) > 0.1;
	out[2 * i] = 1 - p;
	out[2 * i + 1] = p;
}

static void
multiclass_row(int i, const char *variant)
{
	int label = (int) floor(2 + 1.999 * phase(1, i));
	double *p = out + i * CLASSES, sum = 0;

	if (strcmp(variant, "absent") == 0 && label == 3)
		label = 0;
	y[i] = label;
	for (int j = 0; j < CLASSES; j++)
	{
		p[j] = exp(phase(3 + j, i) + (j == label ? 1 : 0));
		if (strcmp(variant, "ties") == 0)
			p[j] = floor(p[j]) + 1;
		sum += p[j];
	}
	for (int j = 0; j < CLASSES; j++)
		p[j] /= sum;
}

static void
multilabel_row(int i, const char *variant)
{
	for (int j = 0; j < LABELS; j++)
	{
		double p = sigmoid(1.2 * phase(1 + j, i) + phase(5 + j, i));

		if (strcmp(variant, "ties") == 0)
			p = floor(p * 7 + 0.5) / 7;
		if (strcmp(variant, "absent") == 0 && j == 0)
			p *= 0.4;
		y[i * LABELS + j] = phase(1 + j, i) > 0.1 * j;
		out[i * LABELS + j] = p;
	}
}

static void
regression_row(int i, const char *variant)
{
	for (int j = 0; j < TARGETS; j++)
	{
		double value = 3 * phase(1 + j, i) + j;

		out[i * TARGETS + j] = value + 0.5 * phase(5 + j, i);
		y[i * TARGETS + j] =
			strcmp(variant, "constant") == 0 && j == 0 ? 2 : value;
	}
}

static void
make_data(nn_task task, const char *variant, bool weighted)
{
	static const int columns[] = {TARGETS, 2, CLASSES, LABELS};

	for (int i = 0; i < ROWS; i++)
	{
		weight[i] = 0.5 + 0.5 * (i % 4);
		if (task == NN_BINARY)
			binary_row(i, variant);
		else if (task == NN_MULTICLASS)
			multiclass_row(i, variant);
		else if (task == NN_MULTILABEL)
			multilabel_row(i, variant);
		else
			regression_row(i, variant);
	}
	args = (nn_metric_args){task, ROWS, columns[task],
							out,  y,	weighted ? weight : NULL};
}

static double
value_of(const nn_metric_ops *m)
{
	nn_error err = {0};
	nn_arena *arena = nn_arena_create(&check_heap, &err);
	double value = NAN;

	check(m->value(&args, arena, &value, &err), "%s computes", m->named.name);
	nn_arena_destroy(arena);
	return value;
}

static const nn_metric_ops *
find(const char *name)
{
	nn_error err = {0};

	return nn_named_find("metric", (const void *const *) nn_metrics, name,
						 &err);
}

/* Every line of the file; then, whether the file has every metric and task. */
static void
compare_all(FILE *f)
{
	char task[16], variant[16], name[32];
	int weighted;
	double wanted;
	bool seen[64][4] = {{false}};

	while (fscanf(f, "%15s %15s %d %31s %lf", task, variant, &weighted, name,
				  &wanted) == 5)
	{
		nn_task t = NN_REGRESSION;
		const nn_metric_ops *m = find(name);
		double value;

		while (strcmp(tasks[t], task) != 0)
			t++;
		make_data(t, variant, weighted);
		value = value_of(m);
		check(near(value, wanted, 1e-12), "%s %s %s %d: %.17g, not %.17g", name,
			  task, variant, weighted, value, wanted);
		for (int i = 0; nn_metrics[i] != NULL; i++)
			seen[i][t] |= nn_metrics[i] == m;
	}
	for (int i = 0; nn_metrics[i] != NULL; i++)
	{
		for (int t = 0; t < 4; t++)
		{
			if (nn_metrics[i]->tasks & 1u << t)
				check(seen[i][t], "%s of %s is in the reference",
					  nn_metrics[i]->named.name, tasks[t]);
		}
	}
}

static bool
stop(void)
{
	return true;
}

static void
check_stop(void)
{
	nn_error err = {0};
	nn_arena *arena = nn_arena_create(&check_heap, &err);
	double value;

	make_data(NN_MULTICLASS, "plain", false);
	args.stop = stop;
	check(!find("roc_auc")->value(&args, arena, &value, &err) &&
			  err.code == NN_INTERRUPTED,
		  "roc_auc, which sorts, can be stopped");
	args.stop = NULL;
	nn_arena_destroy(arena);
}

/* Where a metric has no value, or only just. */
static void
edge_cases(void)
{
	make_data(NN_BINARY, "plain", false);
	for (int i = 0; i < ROWS; i++)
		y[i] = 1;
	check(isnan(value_of(find("roc_auc"))), "AUC of one class is no number");
	check(value_of(find("mcc")) == 0, "MCC of one class is 0");
	make_data(NN_BINARY, "plain", false);
	out[7] = NAN;
	check(isnan(value_of(find("roc_auc"))) && isnan(value_of(find("brier"))),
		  "NaN is not hidden");
	make_data(NN_REGRESSION, "plain", false);
	args.rows = 1;
	check(isnan(value_of(find("r2"))), "R2 of one row is no number");
	args.rows = 0;
	for (int i = 0; nn_metrics[i] != NULL; i++)
	{
		for (int t = 0; t < 4; t++)
		{
			if (!(nn_metrics[i]->tasks & 1u << t))
				continue;
			make_data(t, "plain", false);
			args.rows = 0;
			check(isnan(value_of(nn_metrics[i])), "%s of no %s rows",
				  nn_metrics[i]->named.name, tasks[t]);
		}
	}
	check(nn_metric_default(NN_MULTICLASS) == find("accuracy") &&
			  nn_metric_default(NN_REGRESSION) == find("R2Score"),
		  "default metrics");
}

/* Every allocation is checked. */
static void
out_of_memory(void)
{
	for (int i = 0; nn_metrics[i] != NULL; i++)
	{
		const nn_metric_ops *m = nn_metrics[i];
		bool ok = false;

		make_data(m->tasks & 1u << NN_MULTILABEL ? NN_MULTILABEL
												 : NN_REGRESSION,
				  "plain", false);
		for (int n = 0; !ok && n < 100; n++)
		{
			nn_error err = {0};
			nn_arena *arena;
			double value;

			failing_after = n;
			arena = nn_arena_create(&check_failing, &err);
			ok = arena != NULL && m->value(&args, arena, &value, &err);
			if (!ok && err.code != NN_NOMEM)
				check(false, "%s: code %d at %d", m->named.name, err.code, n);
			if (arena != NULL)
				nn_arena_destroy(arena);
		}
		check(ok && failing_live == 0, "%s without memory", m->named.name);
	}
}

int
main(int argc, char **argv)
{
	FILE *f = reference_open(argc, argv, "metrics.txt");

	if (f == NULL)
		return 1;
	compare_all(f);
	fclose(f);
	edge_cases();
	check_stop();
	out_of_memory();
	return check_failed;
}
