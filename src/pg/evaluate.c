/*
 * evaluate.c
 *	  How good a model is on rows that hold its target.
 *
 * Rows are read once, predicted in batches, and all predictions are kept until
 * the metrics, which need all of them, are computed at the end.
 */
#include "postgres.h"

#include <math.h>

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "../nn/metric.h"
#include "cells.h"
#include "evaluate.h"
#include "model_value.h"
#include "predict_state.h"
#include "source.h"

/* What stands in y for a label that the model does not know. */
#define UNKNOWN_CLASS (-1)

typedef struct EvaluateTarget
{
	Oid type;
	NeuralLabelReader labels;
	nn_dictionary *classes; /* NULL: a number */
} EvaluateTarget;

typedef struct Evaluation
{
	NeuralLoadedModel *loaded;
	const nn_model *model;
	NeuralScan *scan;
	NeuralRowReader *reader;
	int nfeatures;
	EvaluateTarget *targets;
	int y_width;

	MemoryContext context; /* lives as long as the evaluation */
	int batch_rows;
	int filled;
	char *records;

	int64 rows, room;
	double *out; /* of all rows, outputs wide */
	double *y;	 /* of all rows, y_width wide */
	int64 nulls, unknown;
} Evaluation;

/* ---------- the targets ---------- */

static bool
is_integer(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID;
}

/* Does a column of this type hold what the model predicts? */
static bool
target_fits(const nn_target *t, Oid type)
{
	nn_column_class class;
	nn_slot_kind slot;

	if (!neural_class_of(type, &class, &slot))
		return false;
	if (t->nclasses == 0 || t->label_type == NN_LABEL_NUMBER)
		return neural_is_number(type);
	if (t->label_type == NN_LABEL_BOOLEAN)
		return class == NN_CLASS_BOOLEAN;
	return class == NN_CLASS_TEXT;
}

static void
open_target(EvaluateTarget *e, const nn_target *t, Oid type, nn_arena *arena)
{
	nn_error err;

	if (!target_fits(t, type))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" is of type %s, but the model's "
						"target is of type %s",
						neural_server_text(t->name), format_type_be(type),
						neural_server_text(t->type_name))));
	e->type = type;
	if (t->nclasses == 0)
		return;
	neural_label_reader(&e->labels, type);
	e->classes = nn_dictionary_create(arena, &err);
	neural_check(e->classes != NULL, &err);
	for (int i = 0; i < t->nclasses; i++)
		neural_check(nn_dictionary_add(e->classes, t->classes[i],
									   strlen(t->classes[i]), &err) >= 0,
					 &err);
}

/* A target cell as the metrics want it; NaN for NULL. */
static double
target_value(EvaluateTarget *e, const nn_target *t, Datum value, bool isnull)
{
	const char *label;
	char number[32];
	int len;
	int32_t class;

	if (isnull)
		return NAN;
	if (e->classes == NULL)
		return neural_cell_number(e->type, value, false);
	if (t->label_type == NN_LABEL_NUMBER && !is_integer(e->type))
	{
		/* 2.0 is the class 2 */
		double x = neural_cell_number(e->type, value, false);

		if (isnan(x))
			return NAN;
		len = snprintf(number, sizeof(number), "%.15g", x);
		label = number;
	}
	else
		label = neural_label_text(&e->labels, value, &len);
	class = nn_dictionary_find(e->classes, label, len);
	return class >= 0 ? class : UNKNOWN_CLASS;
}

/* ---------- reading and predicting ---------- */

static void
predict_batch(Evaluation *e)
{
	nn_error err;

	if (e->filled == 0)
		return;
	neural_check(nn_predict(e->loaded->predictor, e->records, e->filled,
							e->out + (e->rows - e->filled) * e->model->outputs,
							&err),
				 &err);
	e->filled = 0;
}

/* Rows come in a context that is reset after each. */
static double *
enlarge(Evaluation *e, double *numbers, Size n)
{
	if (numbers == NULL)
		return MemoryContextAllocHuge(e->context, n * sizeof(double));
	return repalloc_huge(numbers, n * sizeof(double));
}

static void
make_room(Evaluation *e)
{
	Size width = sizeof(double) * (e->model->outputs + e->y_width);
	int64 room = Max(e->room * 2, 1024);

	if (e->rows < e->room)
		return;
	room = Min(room, (int64) ((Size) neural_max_memory * 1024 / width));
	room = Min(room, INT_MAX);
	if (room <= e->rows)
	{
		char limit[32];

		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many rows to evaluate at once"),
				 errdetail("The predictions of " INT64_FORMAT
						   " rows do not fit into neural.max_memory, which "
						   "is %s.",
						   e->rows + 1,
						   neural_size_text((Size) neural_max_memory * 1024,
											limit, sizeof(limit))),
				 errhint("Evaluate a sample of the rows.")));
	}
	e->out = enlarge(e, e->out, room * e->model->outputs);
	e->y = enlarge(e, e->y, room * e->y_width);
	e->room = room;
}

static void
evaluate_row(void *arg, TupleTableSlot *row)
{
	Evaluation *e = arg;
	const nn_model *m = e->model;
	double *y;
	bool missing = false, unknown = false;

	make_room(e);
	y = e->y + e->rows * e->y_width;
	slot_getsomeattrs(row, e->scan->last);
	for (int i = 0; i < m->ntargets; i++)
	{
		int at = e->scan->at[e->nfeatures + i];

		y[i] = target_value(&e->targets[i], &m->targets[i], row->tts_values[at],
							row->tts_isnull[at]);
		missing |= isnan(y[i]);
		unknown |= e->targets[i].classes != NULL && y[i] == UNKNOWN_CLASS;
	}
	if (missing)
		e->nulls++;
	else if (unknown)
		e->unknown++;
	else
	{
		neural_row_read(e->reader, row->tts_values, row->tts_isnull,
						e->records + e->filled * m->features->record_size);
		e->filled++;
		e->rows++;
	}
	if (e->filled == e->batch_rows)
		predict_batch(e);
}

/* The columns to read: the features, in the model's order, and the targets. */
static List *
choose_columns(const NeuralSource *source, const nn_model *m)
{
	List *columns = NIL;

	for (int f = 0; f < m->features->nread + m->ntargets; f++)
	{
		const char *name = neural_server_text(
			f < m->features->nread ? m->features->columns[f].name
								   : m->targets[f - m->features->nread].name);
		int number = neural_source_column(source, name);

		if (number == 0)
			neural_source_no_column(source, name);
		columns = lappend_int(columns, number);
	}
	return columns;
}

static void
run_evaluation(Evaluation *e, const char *data, nn_arena *arena)
{
	const nn_model *m = e->model;
	NeuralSource *source = neural_source_open(data);
	TupleDesc desc;

	e->scan = neural_scan_begin(source, choose_columns(source, m));
	desc = e->scan->desc;
	e->nfeatures = m->features->nread;
	e->targets = palloc0(sizeof(EvaluateTarget) * m->ntargets);
	for (int i = 0; i < m->ntargets; i++)
		open_target(
			&e->targets[i], &m->targets[i],
			TupleDescAttr(desc, e->scan->at[e->nfeatures + i])->atttypid,
			arena);
	e->y_width = m->ntargets;
	e->reader =
		neural_row_reader(m->features, desc, false, false, m->time_zone);
	e->batch_rows = e->loaded->max_rows;
	e->records = palloc0(m->features->record_size * e->batch_rows);
	neural_scan_run(e->scan, evaluate_row, e);
	predict_batch(e);
}

/* ---------- metrics ---------- */

static void
put_metric(ReturnSetInfo *result, const char *name, double value)
{
	Datum values[2];
	bool nulls[2] = {false, false};

	values[0] = CStringGetTextDatum(name);
	values[1] = Float8GetDatum(value);
	nulls[1] = isnan(value);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static double
metric_value(const Evaluation *e, const nn_metric_ops *metric, nn_arena *arena)
{
	nn_metric_args args = {0};
	double value = NAN;
	nn_error err;

	CHECK_FOR_INTERRUPTS();
	args.task = e->model->task;
	args.rows = e->rows;
	args.columns = e->model->outputs;
	args.out = e->out;
	args.y = e->y;
	args.stop = neural_interrupted;
	if (e->rows > 0)
		neural_check(metric->value(&args, arena, &value, &err), &err);
	/* a class that the model does not know is never predicted */
	if (strcmp(metric->named.name, "accuracy") == 0 && e->unknown > 0)
		value = e->rows > 0 ? value * e->rows / (e->rows + e->unknown) : 0;
	return value;
}

static void
put_metrics(ReturnSetInfo *result, const Evaluation *e, nn_arena *arena)
{
	put_metric(result, "rows", e->rows + e->unknown);
	for (int i = 0; nn_metrics[i] != NULL; i++)
		if ((nn_metrics[i]->tasks & (1u << e->model->task)) != 0)
			put_metric(result, nn_metrics[i]->named.name,
					   metric_value(e, nn_metrics[i], arena));
}

static void
report_left_out(const Evaluation *e)
{
	if (e->nulls > 0)
		ereport(
			NOTICE,
			(errmsg_plural(INT64_FORMAT " row has no target and is left out",
						   INT64_FORMAT " rows have no target and are left out",
						   e->nulls, e->nulls)));
	if (e->unknown > 0)
		ereport(
			NOTICE,
			(errmsg_plural(INT64_FORMAT
						   " row is of a class that the model does not know",
						   INT64_FORMAT
						   " rows are of classes that the model does not know",
						   e->unknown, e->unknown),
			 errdetail("Such rows count as wrong in the accuracy, and are "
					   "left out of all other metrics.")));
}

double
neural_evaluate_metric(NeuralLoadedModel *loaded, const char *data,
					   const char *metric)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "neural evaluate", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	nn_arena *arena = neural_arena(context);
	Evaluation e = {0};
	double value = NAN;

	e.loaded = loaded;
	e.model = loaded->model;
	e.context = context;
	run_evaluation(&e, data, arena);
	for (int i = 0; nn_metrics[i] != NULL; i++)
		if ((nn_metrics[i]->tasks & (1u << e.model->task)) != 0 &&
			strcmp(nn_metrics[i]->named.name, metric) == 0)
			value = metric_value(&e, nn_metrics[i], arena);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return value;
}

PG_FUNCTION_INFO_V1(neural_evaluate);
Datum
neural_evaluate(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext context, old;
	Evaluation e = {0};
	nn_arena *arena;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;

	context = AllocSetContextCreate(CurrentMemoryContext, "neural evaluate",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	arena = neural_arena(context);
	e.loaded = neural_model_open(PG_GETARG_OID(0),
								 neural_version_arg(fcinfo, 2), context);
	e.model = e.loaded->model;
	e.context = context;
	run_evaluation(&e, text_to_cstring(PG_GETARG_TEXT_PP(1)), arena);
	report_left_out(&e);
	put_metrics(result, &e, arena);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return (Datum) 0;
}
