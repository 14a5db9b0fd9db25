/*
 * job_worker.c
 *	  The background worker of one job.
 *
 * It does what the session that asked for the job could have done itself, as
 * the same role, with the code of the same functions, and writes what came of
 * it into the job's row: in the transaction that publishes the version, so
 * that a job is done exactly when the version is there.  When the process ends
 * before that, the row keeps saying "running", and neural.jobs says "lost".
 */
#include "job.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "json.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "request.h"
#include "retrain.h"
#include "sql.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "train.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

typedef struct Job
{
	int64 id;
	MemoryContext context; /* over the ends of transactions */
	char *kind;
	Jsonb *request;
	char *report;
	Jsonb *result;
	Jsonb *error;
} Job;

static void
begin(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
}

static void
commit(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
}

/* The next state of the job's row; false: there is no such row any more. */
static bool
set_state(Job *job, const char *sql)
{
	Oid types[] = {INT8OID, INT4OID, TEXTOID, JSONBOID, JSONBOID};
	Datum values[] = {Int64GetDatum(job->id), Int32GetDatum(MyProcPid), 0, 0,
					  0};
	char nulls[] = "  nnn";
	int level = neural_job_sql_begin();
	bool found;

	if (job->report != NULL)
	{
		values[2] = CStringGetTextDatum(job->report);
		nulls[2] = ' ';
	}
	if (job->result != NULL)
	{
		values[3] = JsonbPGetDatum(job->result);
		nulls[3] = ' ';
	}
	if (job->error != NULL)
	{
		values[4] = JsonbPGetDatum(job->error);
		nulls[4] = ' ';
	}
	found =
		neural_sql_run(sql, false, lengthof(types), types, values, nulls) > 0;
	if (found && SPI_tuptable != NULL)
	{
		HeapTuple row = SPI_tuptable->vals[0];
		TupleDesc desc = SPI_tuptable->tupdesc;
		Datum request;
		MemoryContext old;
		bool isnull;

		job->kind =
			MemoryContextStrdup(job->context, SPI_getvalue(row, desc, 1));
		request = SPI_getbinval(row, desc, 2, &isnull);
		old = MemoryContextSwitchTo(job->context);
		job->request = DatumGetJsonbPCopy(request);
		MemoryContextSwitchTo(old);
	}
	neural_sql_end(level);
	return found;
}

/*
 * Wait for the end of the transaction that asked, and for the place.  False:
 * it was rolled back, or the job was cancelled.
 */
static bool
open_job(Job *job, int place)
{
	LOCKTAG tag;
	bool found;

	StartTransactionCommand();
	neural_job_tag(&tag, job->id);
	(void) LockAcquire(&tag, ExclusiveLock, true, false);
	neural_place_tag(&tag, place);
	(void) LockAcquire(&tag, ExclusiveLock, true, false);
	CommitTransactionCommand();

	begin();
	found = set_state(job, "UPDATE neural.job SET state = 'running', "
						   "pid = $2, started = clock_timestamp() "
						   "WHERE id = $1 AND state = 'queued' "
						   "RETURNING kind, request");
	commit();
	return found;
}

/*
 * --- doing it ---
 */

static int64
member_integer(const Jsonb *object, const char *name)
{
	JsonbValue *v = neural_json_member(object, name);

	if (v == NULL || v->type != jbvNumeric)
		return 0;
	return DatumGetInt64(
		DirectFunctionCall1(numeric_int8, NumericGetDatum(v->val.numeric)));
}

static void
bad_request(const Job *job)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("request of job " INT64_FORMAT " is damaged", job->id)));
}

static void
do_retrain(Job *job)
{
	Oid relid = (Oid) member_integer(job->request, "relid");
	NeuralRetrainOptions options = {0};

	options.warm = member_integer(job->request, "warm_start") != 0;
	options.overrides = neural_member_object(job->request, "options");
	job->report = neural_retrain(relid, &options, NEURAL_OF_WORKER, DEBUG1);
}

static void
do_train(Job *job)
{
	NeuralRun run = {0};
	Jsonb *arguments = neural_member_object(job->request, "arguments");
	char *schema = neural_member_text(job->request, "schema");
	char *table = neural_member_text(job->request, "table");
	TupleDesc desc;

	run.data = neural_member_text(job->request, "data");
	if (arguments == NULL || schema == NULL || table == NULL ||
		run.data == NULL)
		bad_request(job);
	run.function = "neural.train()";
	run.transactions = NEURAL_OF_WORKER;
	run.elevel = DEBUG1;
	run.settings = neural_member_object(job->request, "settings");
	run.options = neural_request_options(
		arguments, neural_member_object(job->request, "options"), NULL);
	run.activate = neural_train_activate(run.options);
	neural_model_name(quote_qualified_identifier(schema, table), &run.relid,
					  &run.schema, &run.table);
	neural_run(&run);
	desc = lookup_rowtype_tupdesc_copy(neural_type_oid("train_result"), -1);
	job->result = neural_json_parse(TextDatumGetCString(DirectFunctionCall1(
		row_to_json,
		HeapTupleGetDatum(neural_train_result(&run, BlessTupleDesc(desc))))));
	job->report = neural_run_report(&run);
	MemoryContextDelete(run.training->context);
}

/* The error, with all that psql would show of it. */
static Jsonb *
error_json(const ErrorData *e)
{
	NeuralJson j = NULL;

	neural_json_begin(&j, false);
	neural_json_key(&j, "sqlstate");
	neural_json_text(&j, unpack_sql_state(e->sqlerrcode));
	neural_json_key(&j, "message");
	neural_json_text(&j, e->message);
	if (e->detail != NULL)
	{
		neural_json_key(&j, "detail");
		neural_json_text(&j, e->detail);
	}
	if (e->hint != NULL)
	{
		neural_json_key(&j, "hint");
		neural_json_text(&j, e->hint);
	}
	if (e->context != NULL)
	{
		neural_json_key(&j, "context");
		neural_json_text(&j, e->context);
	}
	return neural_json_end(&j, false);
}

/* After an error: its transaction is aborted, and it goes into the row. */
static void
fail(Job *job, MemoryContext work)
{
	ErrorData *error;

	/* a second cancel must not keep the first from being written down */
	HOLD_CANCEL_INTERRUPTS();
	EmitErrorReport();
	MemoryContextSwitchTo(job->context);
	error = CopyErrorData();
	FlushErrorState();
	AbortCurrentTransaction();
	MemoryContextDelete(work);
	MemoryContextSwitchTo(job->context);
	job->report = NULL;
	job->result = NULL;
	begin();
	MemoryContextSwitchTo(job->context);
	job->error = error_json(error);
	(void) set_state(job, error->sqlerrcode == ERRCODE_QUERY_CANCELED
							  ? "UPDATE neural.job SET state = 'cancelled', "
								"finished = clock_timestamp(), error = $5 "
								"WHERE id = $1 AND pid = $2"
							  : "UPDATE neural.job SET state = 'failed', "
								"finished = clock_timestamp(), error = $5 "
								"WHERE id = $1 AND pid = $2");
	commit();
	RESUME_CANCEL_INTERRUPTS();
}

static void
run_job(Job *job)
{
	MemoryContext work = AllocSetContextCreate(job->context, "neural job work",
											   ALLOCSET_DEFAULT_SIZES);

	PG_TRY();
	{
		begin();
		MemoryContextSwitchTo(work);
		if (strcmp(job->kind, "retrain") == 0)
			do_retrain(job);
		else
			do_train(job);
		(void) set_state(job, "UPDATE neural.job SET state = 'done', "
							  "finished = clock_timestamp(), report = $3, "
							  "result = $4 WHERE id = $1 AND pid = $2");
		commit();
	}
	PG_CATCH();
	{
		fail(job, work);
	}
	PG_END_TRY();
}

void
neural_job_main(Datum arg)
{
	NeuralJobStart start;
	Job job = {0};
	char text[64];

	memcpy(&start, MyBgworkerEntry->bgw_extra, sizeof(start));
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(start.database, start.role, 0);
	/* what the role has set for its statements is not meant for this */
	SetConfigOption("lock_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "off", PGC_SUSET,
					PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_isolation", "read committed",
					PGC_SUSET, PGC_S_OVERRIDE);
	if (GetConfigOption("transaction_timeout", true, false) != NULL)
		SetConfigOption("transaction_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	snprintf(text, sizeof(text), "neural job " INT64_FORMAT, start.job);
	pgstat_report_activity(STATE_RUNNING, text);
	job.id = start.job;
	job.context = AllocSetContextCreate(TopMemoryContext, "neural job",
										ALLOCSET_DEFAULT_SIZES);
	if (open_job(&job, start.place))
		run_job(&job);
	proc_exit(0);
}
