/*
 * training_report.c
 *	  What is kept about a training: its metrics, its history, and how it was
 *	  done.
 *
 * Two trainings that gave the same network must give the same bytes, so what
 * a model carries of its own story has no times in it; the model's table has
 * them.
 */
#include "training.h"

#include <math.h>

#include "catalog/namespace.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

/* Training rows that are judged where there are no validation rows. */
#define JUDGED_ROWS	 20000
#define JUDGED_BYTES (64 * 1024 * 1024)

static const char *const task_names[] = {"regression", "binary", "multiclass",
										 "multilabel"};

static const char *
server(const char *utf8)
{
	return pg_any_to_server(utf8, strlen(utf8), PG_UTF8);
}

/*
 * --- metrics ---
 */

typedef struct Judged
{
	int rows;
	double *out, *y;
	double loss;
} Judged;

/* The first training rows in the order of an epoch, as a dataset. */
static NeuralDataset *
some_training_rows(NeuralTraining *t)
{
	NeuralDataset *d = palloc0(sizeof(*d));
	NeuralStream *stream = neural_stream(t, &t->training, false);
	Size width = t->training.width, target_width = t->training.target_width;
	int64 most =
		Min(t->training_rows,
			Min(JUDGED_ROWS, JUDGED_BYTES / (width * sizeof(nn_real)) + 1));
	int64 fit = JUDGED_BYTES / NEURAL_JUDGED_BYTES(t->model->outputs) + 1;
	nn_batch b;

	most = Min(most, fit);
	d->width = width;
	d->target_width = target_width;
	d->x = MemoryContextAllocHuge(CurrentMemoryContext,
								  most * width * sizeof(nn_real));
	d->y = MemoryContextAllocHuge(CurrentMemoryContext,
								  most * target_width * sizeof(nn_real));
	while (d->rows < most)
	{
		neural_stream_next(stream, &b);
		for (int i = 0; i < b.rows && d->rows < most; i++, d->rows++)
		{
			Size row = nn_order_at(&b.which.order, b.which.first + i);

			memcpy(d->x + d->rows * width, b.x + row * width,
				   width * sizeof(nn_real));
			memcpy(d->y + d->rows * target_width, b.y + row * target_width,
				   target_width * sizeof(nn_real));
		}
		if (t->training.file == NULL && d->rows + b.rows > t->training_rows)
			break; /* the rest is no whole batch */
	}
	return d;
}

static void
judge(NeuralTraining *t, const NeuralDataset *d, Judged *j)
{
	int outputs = t->graph->outputs;
	nn_real *raw = MemoryContextAllocHuge(
		CurrentMemoryContext, Max(d->rows, 1) * outputs * sizeof(nn_real));

	j->rows = (int) d->rows;
	j->out = MemoryContextAllocHuge(
		CurrentMemoryContext, d->rows * t->model->outputs * sizeof(double));
	j->y = MemoryContextAllocHuge(CurrentMemoryContext,
								  d->rows * d->target_width * sizeof(double));
	neural_training_predict(t, d, raw);
	j->loss = nn_loss_value(t->loss, j->rows, outputs, raw, d->y, d->weight);
	nn_model_finish_outputs(t->model, j->rows, raw, j->out);
	neural_training_targets(t, d, j->y);
	pfree(raw);
}

/*
 * Whoever leaves all to us may not look at the number either; accuracies of
 * rare classes look well when nothing has been learned.
 */
static void
say_what_is_useless(const NeuralTraining *t, const Judged *j)
{
	const nn_target *target = &t->model_targets[0];
	const char *hint = "Has the data what it follows from? Columns that are "
					   "left out are named in a NOTICE.";
	int64 *count;
	int most = 0;

	if (t->metric != nn_metric_default(t->task))
		return;
	if (t->task == NN_REGRESSION && t->value <= 0)
		ereport(t->elevel, (errmsg("the model predicts no better than always "
								   "answering the mean"),
							errhint("%s", hint)));
	if (t->task != NN_BINARY && t->task != NN_MULTICLASS)
		return;
	count = palloc0(target->nclasses * sizeof(int64));
	for (int i = 0; i < j->rows; i++)
		count[(int) j->y[i]]++;
	for (int i = 1; i < target->nclasses; i++)
		if (count[i] > count[most])
			most = i;
	if (t->value * j->rows <= count[most])
		ereport(t->elevel,
				(errmsg("the model is right no more often than always "
						"answering \"%s\" would be",
						server(target->classes[most])),
				 errhint("%s For a rare class, try options => "
						 "'{\"class_weight\": \"balanced\"}'.",
						 hint)));
	pfree(count);
}

static void
write_metrics(NeuralTraining *t)
{
	const NeuralDataset *d =
		t->validation_rows > 0 ? &t->validation : some_training_rows(t);
	const NeuralEpoch *best = &t->history[t->best_epoch - 1];
	nn_metric_args args = {0};
	StringInfoData s, each;
	Judged j;
	nn_error err;

	judge(t, d, &j);
	args.task = t->task;
	args.rows = j.rows;
	args.columns = t->model->outputs;
	args.out = j.out;
	args.y = j.y;
	args.stop = neural_interrupted;
	t->value = NAN;
	initStringInfo(&each);
	for (int i = 0; nn_metrics[i] != NULL; i++)
	{
		const nn_metric_ops *metric = nn_metrics[i];
		double value = NAN;

		CHECK_FOR_INTERRUPTS();
		if ((metric->tasks & 1u << t->task) == 0)
			continue;
		neural_check(metric->value(&args, t->arena, &value, &err), &err);
		if (metric == t->metric)
			t->value = value;
		neural_append_number(&each, metric->named.name, value);
	}
	if (t->automatic && t->options->epochs <= 0 && j.rows > 0)
		say_what_is_useless(t, &j);
	if (t->predecessor != NULL && t->predecessor->out != NULL)
	{
		args.out = t->predecessor->out;
		neural_check(
			t->metric->value(&args, t->arena, &t->predecessor->value, &err),
			&err);
	}
	initStringInfo(&s);
	appendStringInfoChar(&s, '{');
	neural_append_number(&s, "loss", best->loss);
	neural_append_number(&s, "validation_loss",
						 t->validation_rows > 0 ? j.loss : NAN);
	neural_append_text(&s, "metric", t->metric->named.name);
	neural_append_number(&s, "value", t->value);
	if (t->predecessor != NULL)
	{
		neural_append_integer(&s, "predecessor", t->predecessor->version);
		neural_append_number(&s, "predecessor_value", t->predecessor->value);
	}
	appendStringInfo(&s, ", %s}", each.data);
	t->loss_value = t->validation_rows > 0 ? j.loss : best->loss;
	t->metrics = s.data;
}

/*
 * --- history ---
 */

const char *
neural_training_history(const NeuralTraining *t)
{
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfoChar(&s, '[');
	for (int i = 0; i < t->nhistory; i++)
	{
		const NeuralEpoch *e = &t->history[i];

		appendStringInfoString(&s, i > 0 ? ", {" : "{");
		neural_append_number(&s, "epoch", i + 1);
		neural_append_number(&s, "loss", e->loss);
		neural_append_number(&s, "validation_loss", e->validation_loss);
		neural_append_number(&s, "metric", e->metric);
		neural_append_number(&s, "learning_rate", e->rate);
		neural_append_number(&s, "seconds", e->seconds);
		appendStringInfoChar(&s, '}');
	}
	appendStringInfoChar(&s, ']');
	return s.data;
}

/*
 * --- how it was done ---
 */

static List *
feature_names(const NeuralTraining *t)
{
	List *names = NIL;

	for (int i = 0; i < t->features->nread; i++)
		names = lappend(names, (char *) server(t->features->columns[i].name));
	return names;
}

/* All that decides the result. */
static void
write_settings(const NeuralTraining *t, StringInfo s)
{
	neural_append_text(s, "data", t->source->text);
	neural_append_list(s, "targets", t->options->targets);
	if (t->ntargets == 1)
		neural_append_text(s, "target", t->targets[0].name);
	neural_append_list(s, "features", feature_names(t));
	neural_append_text(s, "task", task_names[t->task]);
	neural_append_text(s, "layers", server(t->graph->text));
	neural_append_text(s, "loss", server(t->loss->text));
	neural_append_text(s, "optimizer", server(t->optimizer->text));
	neural_append_text(s, "schedule",
					   t->schedule ? server(t->schedule->text) : NULL);
	neural_append_number(s, "learning_rate", t->learning_rate);
	neural_append_number(s, "epochs", t->nhistory);
	neural_append_number(s, "planned_epochs", t->plan.epochs);
	neural_append_number(s, "best_epoch", t->best_epoch);
	neural_append_number(s, "batch_size", t->plan.batch_rows);
	neural_append_text(s, "validation",
					   t->options->validation ? t->options->validation
											  : "auto");
	neural_append_integer(s, "seed", t->options->seed);
	neural_append_text(s, "device", t->device->name);
	if (neural_training_precision(t) != NULL)
		neural_append_text(s, "precision", neural_training_precision(t));
	neural_append_number(s, "threads", t->threads);
	neural_append_number(s, "rows", (double) t->rows);
	neural_append_number(s, "validation_rows", (double) t->validation_rows);
	neural_append_number(s, "parameters", (double) t->graph->nparams);
	neural_append_text(s, "library", NEURAL_VERSION);
}

/* What was asked for, so that it can be asked for again. */
static void
write_request(const NeuralTraining *t, StringInfo s)
{
	neural_append_key(s, "options");
	if (t->options->object != NULL)
		appendStringInfoString(s,
							   JsonbToCString(NULL, &t->options->object->root,
											  VARSIZE(t->options->object)));
	else
		appendStringInfoString(s, "null");
	neural_append_key(s, "arguments");
	appendStringInfoString(s, t->options->arguments ? t->options->arguments
													: "null");
	neural_append_key(s, "settings");
	appendStringInfoString(s, t->settings);
	neural_append_key(s, "profile");
	appendStringInfoString(s, t->profile);
	neural_append_number(s, "seconds", t->seconds);
	neural_append_number(s, "read_seconds", t->read_seconds);
	neural_append_number(s, "encode_seconds", t->encode_seconds);
}

void
neural_training_report(NeuralTraining *t)
{
	StringInfoData own, all;

	write_metrics(t);
	initStringInfo(&own);
	appendStringInfoChar(&own, '{');
	write_settings(t, &own);

	initStringInfo(&all);
	appendStringInfoString(&all, own.data);
	t->seconds = neural_training_seconds(t);
	write_request(t, &all);
	appendStringInfoChar(&all, '}');
	t->training_json = all.data;

	appendStringInfoChar(&own, '}');
	t->model->description = pg_server_to_any(own.data, own.len, PG_UTF8);
}
