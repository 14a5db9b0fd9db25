/*
 * fit.c
 *	  neural.fit: an aggregate that trains a network on the rows of a group.
 *
 * The rows are kept as they are until the group is complete, in memory up to
 * work_mem and then in a file, because what becomes of them depends on all of
 * them.
 */
#include "training.h"

#include "access/htup_details.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "model_value.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"
#include "utils/typcache.h"

PG_FUNCTION_INFO_V1(neural_fit_step);
PG_FUNCTION_INFO_V1(neural_fit_final);

typedef struct FitState
{
	Oid type; /* of the rows */
	int32 typmod;
	TupleDesc desc;
	Tuplestorestate *rows;
	char *target;
	Jsonb *options;
} FitState;

/* The memory of a group goes away with its context, but a file does not. */
static void
end_rows(Datum arg)
{
	FitState *state = (FitState *) DatumGetPointer(arg);

	if (state->rows != NULL)
		tuplestore_end(state->rows);
	state->rows = NULL;
}

static FitState *
new_state(FunctionCallInfo fcinfo, MemoryContext context, HeapTupleHeader row)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	FitState *state = palloc0(sizeof(*state));

	state->type = HeapTupleHeaderGetTypeId(row);
	state->typmod = HeapTupleHeaderGetTypMod(row);
	state->desc = lookup_rowtype_tupdesc_copy(state->type, state->typmod);
	state->rows = tuplestore_begin_heap(false, false, work_mem);
	if (!PG_ARGISNULL(2))
		state->target = text_to_cstring(PG_GETARG_TEXT_PP(2));
	if (PG_NARGS() > 3 && !PG_ARGISNULL(3))
		state->options = PG_GETARG_JSONB_P_COPY(3);
	AggRegisterCallback(fcinfo, end_rows, PointerGetDatum(state));
	MemoryContextSwitchTo(old);
	return state;
}

Datum
neural_fit_step(PG_FUNCTION_ARGS)
{
	FitState *state =
		PG_ARGISNULL(0) ? NULL : (FitState *) PG_GETARG_POINTER(0);
	MemoryContext context, old;
	HeapTupleHeader row;
	HeapTupleData tuple;

	if (!AggCheckCallContext(fcinfo, &context))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("neural.fit_step can be called by an aggregate only")));
	if (PG_ARGISNULL(1))
	{
		if (state == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(state);
	}
	row = PG_GETARG_HEAPTUPLEHEADER(1);
	if (state == NULL)
		state = new_state(fcinfo, context, row);
	else if (state->type != HeapTupleHeaderGetTypeId(row) ||
			 state->typmod != HeapTupleHeaderGetTypMod(row))
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("rows of neural.fit are of different types")));
	tuple.t_len = HeapTupleHeaderGetDatumLength(row);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = row;
	old = MemoryContextSwitchTo(context);
	tuplestore_puttuple(state->rows, &tuple);
	MemoryContextSwitchTo(old);
	PG_RETURN_POINTER(state);
}

Datum
neural_fit_final(PG_FUNCTION_ARGS)
{
	FitState *state;
	NeuralTrainOptions o;
	NeuralSource *source;
	NeuralTraining *t;
	Datum result;

	if (!AggCheckCallContext(fcinfo, NULL))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("neural.fit_final can be called by an aggregate only")));
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (FitState *) PG_GETARG_POINTER(0);
	neural_train_options_init(&o);
	if (state->target != NULL)
		o.targets = list_make1(state->target);
	if (state->options != NULL)
		neural_train_options_read(&o, state->options);
	neural_train_options_check(&o);
	source = neural_source_of_rows(state->rows, state->desc);
	t = neural_training_run(source, &o, "neural.fit", DEBUG1);
	result = neural_model_datum(t->model);
	MemoryContextDelete(t->context);
	PG_RETURN_DATUM(result);
}
