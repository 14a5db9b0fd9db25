/*
 * train.c
 *	  neural.train: its arguments, and what it says of the new version.
 */
#include "train.h"

#include <math.h>

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(neural_train);

/* The arguments, in the order of the SQL function. */
enum
{
	ARG_MODEL,
	ARG_DATA,
	ARG_TARGET,
	ARG_FEATURES,
	ARG_TASK,
	ARG_LAYERS,
	ARG_LOSS,
	ARG_OPTIMIZER,
	ARG_LEARNING_RATE,
	ARG_EPOCHS,
	ARG_BATCH_SIZE,
	ARG_VALIDATION,
	ARG_SEED,
	ARG_DEVICE,
	ARG_OPTIONS,
	ARG_TARGETS
};

static const char *
text_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

static List *
list_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	Datum *values;
	bool *nulls;
	int count;
	List *list = NIL;

	if (PG_ARGISNULL(n))
		return NIL;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(n), TEXTOID, -1, false,
					  TYPALIGN_INT, &values, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("%s must not have NULL elements", name)));
		list = lappend(list, TextDatumGetCString(values[i]));
	}
	if (list == NIL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must not be empty", name)));
	return list;
}

static void
read_targets(FunctionCallInfo fcinfo, NeuralTrainOptions *o)
{
	const char *target = text_argument(fcinfo, ARG_TARGET);

	o->targets = list_argument(fcinfo, ARG_TARGETS, "targets");
	if (target != NULL && o->targets != NIL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("both target and targets are given")));
	if (target != NULL)
		o->targets = list_make1((char *) target);
}

static void
check_count(int n, const char *name)
{
	if (n < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must be at least 1", name)));
}

/* Arguments as JSON, for training again. */
static const char *
arguments_json(const NeuralTrainOptions *o)
{
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfoChar(&s, '{');
	neural_append_list(&s, "targets", o->targets);
	if (o->features != NIL)
		neural_append_list(&s, "features", o->features);
	if (o->task != NULL)
		neural_append_text(&s, "task", o->task);
	if (o->layers != NULL)
		neural_append_text(&s, "layers", o->layers);
	if (o->loss != NULL)
		neural_append_text(&s, "loss", o->loss);
	if (o->optimizer != NULL)
		neural_append_text(&s, "optimizer", o->optimizer);
	if (!isnan(o->learning_rate))
		neural_append_number(&s, "learning_rate", o->learning_rate);
	if (o->epochs > 0)
		neural_append_number(&s, "epochs", o->epochs);
	if (o->batch_size > 0)
		neural_append_number(&s, "batch_size", o->batch_size);
	if (o->validation != NULL)
		neural_append_text(&s, "validation", o->validation);
	if (o->seed_given)
		neural_append_integer(&s, "seed", o->seed);
	if (o->device != NULL)
		neural_append_text(&s, "device", o->device);
	appendStringInfoChar(&s, '}');
	return s.data;
}

static NeuralTrainOptions *
read_arguments(FunctionCallInfo fcinfo)
{
	NeuralTrainOptions *o = palloc(sizeof(*o));

	neural_train_options_init(o);
	read_targets(fcinfo, o);
	o->features = list_argument(fcinfo, ARG_FEATURES, "features");
	o->task = text_argument(fcinfo, ARG_TASK);
	o->layers = text_argument(fcinfo, ARG_LAYERS);
	o->loss = text_argument(fcinfo, ARG_LOSS);
	o->optimizer = text_argument(fcinfo, ARG_OPTIMIZER);
	if (!PG_ARGISNULL(ARG_LEARNING_RATE))
	{
		o->learning_rate = PG_GETARG_FLOAT8(ARG_LEARNING_RATE);
		if (isnan(o->learning_rate))
			o->learning_rate = 0; /* which is out of range */
	}
	if (!PG_ARGISNULL(ARG_EPOCHS))
	{
		o->epochs = PG_GETARG_INT32(ARG_EPOCHS);
		check_count(o->epochs, "epochs");
	}
	if (!PG_ARGISNULL(ARG_BATCH_SIZE))
	{
		o->batch_size = PG_GETARG_INT32(ARG_BATCH_SIZE);
		check_count(o->batch_size, "batch_size");
	}
	o->validation = text_argument(fcinfo, ARG_VALIDATION);
	if (!PG_ARGISNULL(ARG_SEED))
	{
		o->seed = PG_GETARG_INT64(ARG_SEED);
		o->seed_given = true;
	}
	o->device = text_argument(fcinfo, ARG_DEVICE);
	o->arguments = arguments_json(o);
	if (!PG_ARGISNULL(ARG_OPTIONS))
		neural_train_options_read(o, PG_GETARG_JSONB_P(ARG_OPTIONS));
	neural_train_options_check(o);
	return o;
}

static Datum
number_or_null(double x, bool *isnull)
{
	*isnull = !isfinite(x);
	return Float8GetDatum(x);
}

HeapTuple
neural_train_result(const NeuralRun *run, TupleDesc desc)
{
	static const char *const tasks[] = {"regression", "binary", "multiclass",
										"multilabel"};
	const NeuralTraining *t = run->training;
	Datum values[12];
	bool nulls[12] = {false};

	if (desc->natts != lengthof(values))
		elog(ERROR, "neural.train does not return neural.train_result");
	values[0] = CStringGetTextDatum(neural_run_model(run->relid));
	values[1] = Int32GetDatum(run->version);
	values[2] = CStringGetTextDatum(tasks[t->task]);
	values[3] = Int64GetDatum(t->rows);
	values[4] = Int64GetDatum((int64) t->graph->nparams);
	values[5] = Int32GetDatum(t->nhistory);
	values[6] = number_or_null(t->loss_value, &nulls[6]);
	values[7] = CStringGetTextDatum(t->metric->named.name);
	values[8] = number_or_null(t->value, &nulls[8]);
	values[9] = BoolGetDatum(run->active);
	values[10] = number_or_null(t->seconds, &nulls[10]);
	values[11] = CStringGetTextDatum(t->device->name);
	return heap_form_tuple(desc, values, nulls);
}

void
neural_train_request(FunctionCallInfo fcinfo, const char *function,
					 NeuralRun *run)
{
	const char *name = text_argument(fcinfo, ARG_MODEL);

	run->function = function;
	run->data = text_argument(fcinfo, ARG_DATA);
	if (name == NULL || run->data == NULL)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("%s must not be NULL",
							   name == NULL ? "model" : "data")));
	PreventCommandIfReadOnly(function);
	PreventCommandDuringRecovery(function);
	run->options = read_arguments(fcinfo);
	run->activate = neural_train_activate(run->options);
	neural_model_name(name, &run->relid, &run->schema, &run->table);
}

Datum
neural_train(PG_FUNCTION_ARGS)
{
	NeuralRun run = {0};
	TupleDesc desc;
	Datum result;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "neural.train does not return neural.train_result");
	neural_train_request(fcinfo, "neural.train()", &run);
	run.elevel = NOTICE;
	neural_run(&run);
	result = HeapTupleGetDatum(neural_train_result(&run, BlessTupleDesc(desc)));
	MemoryContextDelete(run.training->context);
	return result;
}
