/*
 * retrain.c
 *	  neural.retrain: repeat the training of a model's active version.
 *
 * The rules are those of REFRESH MATERIALIZED VIEW: the model's owner may do
 * it, and so may a superuser, and whoever does, what is run is run as the
 * owner, as a restricted operation, under the settings that were kept with the
 * training.  Because what is run stands in the model's table, nobody but the
 * owner may be allowed to write there; else such a role could have its own
 * query run as the owner.
 *
 * A session lock keeps a second retraining of the model away across the
 * transactions.  An abort gives it back, as it does VACUUM's.
 */
#include "retrain.h"

#include <math.h>

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "json.h"
#include "miscadmin.h"
#include "model_value.h"
#include "predict_state.h"
#include "request.h"
#include "sql.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

/* What the active version says of itself. */
typedef struct Stored
{
	int version;
	Datum model;
	Jsonb *training;
} Stored;

/*
 * --- who may ---
 */

void
neural_retrain_owner(Oid relid, NeuralRun *run)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation with OID %u does not exist", relid)));
	run->owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
}

/* Whoever may write the request would be running it as the owner. */
static void
check_writers(Oid relid)
{
	Oid types[] = {OIDOID};
	Datum values[] = {ObjectIdGetDatum(relid)};
	int level = neural_sql_begin();

	if (neural_sql_run(
			"SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' "
			"ELSE pg_get_userbyid(a.grantee)::text END, a.privilege_type "
			"FROM pg_class c, LATERAL (SELECT c.relacl UNION ALL "
			"SELECT attacl FROM pg_attribute WHERE attrelid = c.oid "
			"AND attname = 'training') x(acl), LATERAL aclexplode(x.acl) a "
			"WHERE c.oid = $1 AND a.privilege_type IN ('INSERT', 'UPDATE') "
			"AND a.grantee <> c.relowner ORDER BY 1, 2 LIMIT 1",
			true, 1, types, values, NULL) > 0)
	{
		HeapTuple row = SPI_tuptable->vals[0];
		TupleDesc desc = SPI_tuptable->tupdesc;

		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("model \"%s\" cannot be retrained, because not only "
					"its owner may write to it",
					get_rel_name(relid)),
			 errdetail("%s has %s on it, and so could decide what is run "
					   "as the owner.",
					   SPI_getvalue(row, desc, 1), SPI_getvalue(row, desc, 2)),
			 errhint("Revoke it, or train new versions with "
					 "neural.train().")));
	}
	neural_sql_end(level);
}

void
neural_retrain_check(Oid relid, const char *function)
{
	PreventCommandIfReadOnly(function);
	PreventCommandDuringRecovery(function);
	neural_check_model_table(relid);
	if (!pg_class_ownercheck(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(relid));
}

/*
 * --- one at a time ---
 */

static void
lock_model(Oid relid, bool session, LOCKTAG *tag)
{
	SET_LOCKTAG_OBJECT(*tag, MyDatabaseId, RelationRelationId, relid, 0);
	if (LockAcquire(tag, ExclusiveLock, session, true) == LOCKACQUIRE_NOT_AVAIL)
		ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE),
						errmsg("model \"%s\" is being retrained already",
							   get_rel_name(relid)),
						errhint("neural.progress and pg_stat_activity show "
								"trainings that are running.")));
}

/*
 * --- the request ---
 */

static void
not_repeatable(Oid relid, int version, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("training of version %d of model \"%s\" cannot be "
					"repeated",
					version, get_rel_name(relid)),
			 errdetail("It has no %s.", what),
			 errhint("Train a version with neural.train(); imported ones and "
					 "those written by hand do not tell how.")));
}

/* Copied to the current context. */
static void
read_active(Oid relid, Stored *s)
{
	MemoryContext caller = CurrentMemoryContext;
	int level = neural_sql_begin();
	bool isnull;
	Datum d;

	if (neural_sql_run(psprintf("SELECT version, model, training FROM %s "
								"WHERE active AND version IS NOT NULL "
								"AND model IS NOT NULL",
								neural_sql_name(relid)),
					   true, 0, NULL, NULL, NULL) == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("model \"%s\" has no active version",
							   get_rel_name(relid)),
						errhint("Make one the active one by neural.promote.")));
	s->version = DatumGetInt32(SPI_getbinval(
		SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	d = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull);
	MemoryContextSwitchTo(caller);
	s->model = datumCopy(d, false, -1);
	d = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &isnull);
	if (!isnull)
		s->training = DatumGetJsonbPCopy(d);
	neural_sql_end(level);
	if (s->training == NULL || !JB_ROOT_IS_OBJECT(s->training))
		not_repeatable(relid, s->version, "description");
}

/*
 * What must stay as it was, though the request left it to be chosen: a rating
 * that has one value less today is not to become a number, and a column that
 * was added since is not to become a feature.
 */
static Jsonb *
pinned(const Stored *s, Jsonb *asked)
{
	const nn_model *m =
		neural_model_load(s->model, CurrentMemoryContext)->model;
	StringInfoData out;
	char *task = neural_member_text(s->training, "task");
	JsonbValue *features = neural_json_member(s->training, "features");

	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	neural_append_text(&out, "activate", "better");
	neural_append_text(&out, "note", NULL);
	if (task != NULL)
		neural_append_text(&out, "task", task);
	if (m->time_zone != NULL && neural_json_member(asked, "time_zone") == NULL)
		neural_append_text(&out, "time_zone", neural_server_text(m->time_zone));
	if (features != NULL && neural_json_member(asked, "features") == NULL)
	{
		neural_append_key(&out, "features");
		appendStringInfoString(
			&out, neural_json_text_of(JsonbValueToJsonb(features)));
	}
	appendStringInfoChar(&out, '}');
	return neural_json_parse(out.data);
}

/* Settings of columns that turned out to be no features. */
static void
forget_columns(NeuralTrainOptions *o)
{
	List *kept = NIL;
	ListCell *lc;

	foreach (lc, o->columns)
		if (neural_list_has(o->features,
							((NeuralColumnOption *) lfirst(lc))->name))
			kept = lappend(kept, lfirst(lc));
	o->columns = kept;
}

static NeuralTrainOptions *
repeated_options(Oid relid, const Stored *s, Jsonb *overrides)
{
	Jsonb *arguments = neural_member_object(s->training, "arguments");
	Jsonb *options = neural_member_object(s->training, "options");
	NeuralTrainOptions *o;
	Jsonb *all;

	if (arguments == NULL)
		not_repeatable(relid, s->version, "arguments");
	if (overrides != NULL && !JB_ROOT_IS_OBJECT(overrides))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("options must be an object")));
	all = neural_json_concat(arguments, options);
	o = neural_request_options(arguments, options,
							   neural_json_concat(pinned(s, all), overrides));
	if (neural_json_member(all, "features") == NULL)
		forget_columns(o);
	return o;
}

/* All that the active version tells, into the current context. */
static void
open_request(Oid relid, Jsonb *overrides, NeuralRun *run)
{
	Stored s = {0};

	check_writers(relid);
	run->relid = relid;
	neural_retrain_owner(relid, run);
	run->table = get_rel_name(relid);
	neural_run_enter(run);
	read_active(relid, &s);
	neural_run_leave(run);
	run->settings = neural_member_object(s.training, "settings");
	run->data = neural_member_text(s.training, "data");
	if (run->data == NULL)
		not_repeatable(relid, s.version, "data");
	if (run->settings == NULL)
		not_repeatable(relid, s.version, "settings");
	run->options = repeated_options(relid, &s, overrides);
	run->predecessor_version = s.version;
	run->predecessor = s.model;
}

void
neural_retrain_enter(Oid relid, NeuralRun *run)
{
	open_request(relid, NULL, run);
	neural_run_enter(run);
}

char *
neural_retrain(Oid relid, const NeuralRetrainOptions *options,
			   NeuralTransactions transactions, int elevel)
{
	NeuralRun run = {0};
	bool session = transactions != NEURAL_ONE_TRANSACTION;
	LOCKTAG tag;
	char *report;

	neural_retrain_check(relid, "neural.retrain()");
	lock_model(relid, session, &tag);
	run.function = "neural.retrain()";
	run.transactions = transactions;
	run.elevel = elevel;
	run.warm = options->warm;
	open_request(relid, options->overrides, &run);
	run.activate = neural_train_activate(run.options);
	neural_run(&run);
	report = neural_run_report(&run);
	MemoryContextDelete(run.training->context);
	if (session)
		LockRelease(&tag, ExclusiveLock, true);
	return report;
}

/*
 * --- the procedure ---
 */

NeuralTransactions
neural_procedure(FunctionCallInfo fcinfo, const char *function, int arg)
{
	if (arg >= 0 && !PG_ARGISNULL(arg) && PG_GETARG_BOOL(arg))
		return NEURAL_ONE_TRANSACTION;
	if (fcinfo->context != NULL && IsA(fcinfo->context, CallContext) &&
		!((CallContext *) fcinfo->context)->atomic)
		return NEURAL_OF_PROCEDURE;
	ereport(ERROR,
			(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
			 errmsg("%s cannot run inside a transaction block", function),
			 arg >= 0 ? errhint("CALL it as a statement of its own, or with "
								"in_transaction => true, which keeps the "
								"snapshot while it computes.")
					  : errhint("CALL it as a statement of its own.")));
	return NEURAL_ONE_TRANSACTION;
}

PG_FUNCTION_INFO_V1(neural_retrain_call);
Datum
neural_retrain_call(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	NeuralRetrainOptions options = {0};
	NeuralTransactions transactions;
	TupleDesc desc;
	Datum values[1];
	bool nulls[1] = {false};
	char *report;
	Oid relid;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("%s must not be NULL", "model")));
	relid = PG_GETARG_OID(0);
	options.warm = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	transactions = neural_procedure(fcinfo, "neural.retrain()", 3);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "neural.retrain does not return a row");
	desc = BlessTupleDesc(desc);
	/* its memory lasts until SPI_finish, over the ends of transactions */
	if (SPI_connect_ext(transactions == NEURAL_OF_PROCEDURE
							? SPI_OPT_NONATOMIC
							: 0) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (!PG_ARGISNULL(2))
		options.overrides = PG_GETARG_JSONB_P_COPY(2);
	report = neural_retrain(relid, &options, transactions, NOTICE);
	MemoryContextSwitchTo(caller);
	report = pstrdup(report);
	SPI_finish();
	values[0] = CStringGetTextDatum(report);
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}
