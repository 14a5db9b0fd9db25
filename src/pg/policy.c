/*
 * policy.c
 *	  When models are to be retrained: neural.set_retrain and neural.run_due.
 *
 * The conditions are kept with every version, under the key "retrain" of
 * its training, and new versions inherit them; so they are dumped, renamed and
 * dropped with the model.  What is compared is the newest version, active or
 * not: one that stayed aside is not tried again before there is a reason to.
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "tcop/pquery.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "drift.h"
#include "model_value.h"
#include "retrain.h"
#include "sql.h"

/*
 * --- set_retrain ---
 */

static void
check_condition(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (!PG_ARGISNULL(arg) &&
		!(PG_GETARG_FLOAT8(arg) > 0 && isfinite(PG_GETARG_FLOAT8(arg))))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must be greater than zero", name)));
}

static void
check_interval(const Interval *every)
{
	Interval zero = {0};

	if (DatumGetInt32(DirectFunctionCall2(interval_cmp,
										  IntervalPGetDatum(every),
										  IntervalPGetDatum(&zero))) <= 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must be greater than zero", "every")));
}

PG_FUNCTION_INFO_V1(neural_set_retrain);
Datum
neural_set_retrain(PG_FUNCTION_ARGS)
{
	Oid types[] = {INTERVALOID, FLOAT8OID, FLOAT8OID};
	Datum values[3];
	char nulls[] = "   ";
	Oid relid;
	int level;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("%s must not be NULL", "model")));
	relid = PG_GETARG_OID(0);
	neural_retrain_check(relid, "neural.set_retrain()");
	if (!PG_ARGISNULL(1))
		check_interval(PG_GETARG_INTERVAL_P(1));
	check_condition(fcinfo, 2, "when_new_rows");
	check_condition(fcinfo, 3, "when_drift");
	for (int i = 0; i < 3; i++)
	{
		values[i] = PG_GETARG_DATUM(i + 1);
		nulls[i] = PG_ARGISNULL(i + 1) ? 'n' : ' ';
	}
	LockRelationOid(relid, ShareUpdateExclusiveLock);
	neural_check_model_table(relid);
	level = neural_sql_begin();
	/* an interval's text must not depend on the session */
	(void) set_config_option("IntervalStyle", "postgres", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	if (neural_sql_run(
			psprintf("UPDATE %s SET training = CASE jsonb_typeof(training) "
					 "WHEN 'object' THEN training - 'retrain' ELSE '{}' END || "
					 "CASE WHEN num_nonnulls($1, $2, $3) = 0 THEN '{}' ELSE "
					 "jsonb_build_object('retrain', jsonb_strip_nulls("
					 "jsonb_build_object('every', $1::text, 'when_new_rows', "
					 "$2, 'when_drift', $3))) END",
					 neural_sql_name(relid)),
			false, lengthof(types), types, values, nulls) == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("model \"%s\" has no version to retrain",
							   get_rel_name(relid))));
	neural_sql_end(level);
	PG_RETURN_VOID();
}

/*
 * --- what is due ---
 */

typedef struct Policy
{
	int newest;	 /* version */
	double rows; /* that it was trained on; NaN: not known */
	bool due;	 /* by time */
	double when_new_rows, when_drift; /* NaN: no condition */
} Policy;

#define NUMBER(path)                                                           \
	"CASE jsonb_typeof(" path ") WHEN 'number' THEN (" path ")::float8 END"

static double
number_or_nan(int column)
{
	bool isnull;
	Datum d = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
							column, &isnull);

	return isnull ? NAN : DatumGetFloat8(d);
}

/* False: nothing was set for this model.  As the owner. */
static bool
read_policy(Oid relid, Policy *p)
{
	int level = neural_sql_begin();
	bool found, isnull;

	(void) set_config_option("IntervalStyle", "postgres", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	found =
		neural_sql_run(
			psprintf(
				"SELECT version, " NUMBER(
					"training -> 'rows'") ", "
										  "coalesce(clock_timestamp() >= trained_at + "
										  "(training -> 'retrain' ->> 'every')::interval, "
										  "false), " NUMBER("training -> 'retrain' -> 'when_new_rows'") ", " NUMBER(
											  "training -> 'retrain' -> 'when_drift'") " FROM (SELECT version, training, trained_at FROM %s "
																					   "ORDER BY version DESC LIMIT 1) v "
																					   "WHERE jsonb_typeof(training -> 'retrain') = 'object'",
				neural_sql_name(relid)),
			true, 0, NULL, NULL, NULL) > 0;
	if (found)
	{
		p->newest = DatumGetInt32(SPI_getbinval(
			SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		p->rows = number_or_nan(2);
		p->due = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0],
											SPI_tuptable->tupdesc, 3, &isnull));
		p->when_new_rows = number_or_nan(4);
		p->when_drift = number_or_nan(5);
	}
	neural_sql_end(level);
	return found;
}

typedef struct Count
{
	const NeuralScan *scan;
	int targets;
	int64 rows;
} Count;

/* A NeuralRowCallback: rows that have all their targets. */
static void
count_row(void *arg, TupleTableSlot *row)
{
	Count *c = arg;

	slot_getsomeattrs(row, c->scan->last);
	for (int i = 0; i < c->targets; i++)
		if (row->tts_isnull[c->scan->at[i]])
			return;
	c->rows++;
}

static int64
count_rows(const NeuralRun *run)
{
	NeuralSource *source = neural_source_open(run->data);
	Count c = {0};
	List *columns = NIL;
	ListCell *lc;

	foreach (lc, run->options->targets)
	{
		int column = neural_source_column(source, lfirst(lc));

		if (column == 0)
			neural_source_no_column(source, lfirst(lc));
		columns = lappend_int(columns, column);
	}
	c.targets = list_length(columns);
	c.scan = neural_scan_begin(source, columns);
	neural_scan_run(c.scan, count_row, &c);
	return c.rows;
}

/* Whether the model is to be retrained now; it reads as the model's owner. */
static bool
is_due(Oid relid)
{
	NeuralRun run = {0};
	Policy p;
	bool due, some;

	neural_retrain_check(relid, "neural.run_due()");
	neural_retrain_owner(relid, &run);
	neural_run_enter(&run);
	some = read_policy(relid, &p);
	neural_run_leave(&run);
	if (!some || p.due)
		return some;
	if (isnan(p.when_new_rows) && isnan(p.when_drift))
		return false;
	neural_retrain_enter(relid, &run);
	due = !isnan(p.when_new_rows) && p.rows > 0 &&
		  count_rows(&run) - p.rows >= p.when_new_rows * p.rows;
	if (!due && !isnan(p.when_drift))
		due = neural_drift_greatest(relid, p.newest, run.data) >= p.when_drift;
	neural_run_leave(&run);
	return due;
}

/*
 * --- run_due ---
 */

/* Those that the caller may retrain, in the current context. */
static List *
list_models(void)
{
	MemoryContext caller = CurrentMemoryContext;
	int level = neural_sql_begin();
	List *models = NIL;
	uint64 n =
		neural_sql_run("SELECT c.oid FROM pg_class c WHERE c.reloftype = "
					   "'neural.model_table'::regtype AND c.relkind = 'r' "
					   "AND pg_has_role(c.relowner, 'USAGE') ORDER BY c.oid",
					   true, 0, NULL, NULL, NULL);

	for (uint64 i = 0; i < n; i++)
	{
		bool isnull;
		Oid relid = DatumGetObjectId(SPI_getbinval(
			SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
		MemoryContext old = MemoryContextSwitchTo(caller);

		models = lappend_oid(models, relid);
		MemoryContextSwitchTo(old);
	}
	neural_sql_end(level);
	return models;
}

/* A cancel is meant for the whole; a model's own query may only look like it. */
static bool
is_cancel(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_QUERY_CANCELED &&
		   error->funcname != NULL &&
		   strcmp(error->funcname, "ProcessInterrupts") == 0;
}

/*
 * The end of a failed retraining, whose SPI levels are still open above the
 * procedure's own.
 */
static char *
recover(const char *model)
{
	MemoryContext caller = CurrentMemoryContext;
	ErrorData *error = CopyErrorData();

	if (is_cancel(error) || IsSubTransaction())
		PG_RE_THROW();
	FlushErrorState();
	/* those of the statements that were under way; SPI_rollback counts */
	while (ActiveSnapshotSet() &&
		   GetActiveSnapshot() != ActivePortal->portalSnapshot)
		PopActiveSnapshot();
	/* each goes back to the context it was opened in */
	while (!SPI_inside_nonatomic_context())
		SPI_finish();
	SPI_rollback();
	MemoryContextSwitchTo(caller);
	ereport(
		WARNING,
		(errcode(error->sqlerrcode),
		 errmsg("model \"%s\" was not retrained: %s", model, error->message),
		 error->detail ? errdetail_internal("%s", error->detail) : 0,
		 error->hint ? errhint("%s", error->hint) : 0));
	return psprintf("%s was not retrained: %s", model, error->message);
}

/* What came of it in the current context; NULL: it is not due, or gone. */
static char *
retrain_if_due(Oid relid)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context;
	const NeuralRetrainOptions options = {0};
	char *volatile line = NULL;
	char *model;

	EnsurePortalSnapshotExists();
	model = get_rel_name(relid);
	if (model == NULL)
		return NULL;
	context = AllocSetContextCreate(caller, "neural retraining",
									ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		if (is_due(relid))
			line = MemoryContextStrdup(
				caller,
				neural_retrain(relid, &options, NEURAL_OF_PROCEDURE, DEBUG1));
		SPI_commit();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		line = recover(model);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return line;
}

PG_FUNCTION_INFO_V1(neural_run_due);
Datum
neural_run_due(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	StringInfoData report;
	List *models;
	ListCell *lc;
	TupleDesc desc;
	Datum values[1];
	bool nulls[1] = {false};

	PreventCommandIfReadOnly("neural.run_due()");
	PreventCommandDuringRecovery("neural.run_due()");
	(void) neural_procedure(fcinfo, "neural.run_due()", -1);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "neural.run_due does not return a row");
	desc = BlessTupleDesc(desc);
	initStringInfo(&report);
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	models = list_models();
	/* cursors of the caller are read to their end now, not amid a failure */
	SPI_commit();
	foreach (lc, models)
	{
		char *line = retrain_if_due(lfirst_oid(lc));

		if (line != NULL)
			appendStringInfo(&report, "%s%s", report.len > 0 ? "\n" : "", line);
	}
	SPI_finish();
	MemoryContextSwitchTo(caller);
	values[0] =
		CStringGetTextDatum(report.len > 0 ? report.data : "no model is due");
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}
