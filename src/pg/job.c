/*
 * job.c
 *	  Trainings in the background, as their users see them: neural.train_async,
 *	  neural.retrain_async, neural.cancel, and the states of jobs.
 *
 * All statements on the table of jobs are run as the caller, whom row security
 * shows his own.  A row can be forged by its owner, but nothing of it is
 * trusted: a worker is told by shared memory as whom to act, and the process
 * to cancel is found by its lock.
 */
#include "job.h"

#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "request.h"
#include "retrain.h"
#include "settings.h"
#include "sql.h"
#include "storage/latch.h"
#include "tcop/utility.h"
#include "train.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* Classes of advisory locks. */
#define LOCK_JOB   3
#define LOCK_PLACE 4

/* How long a worker may take to go when its job has ended. */
#define GOING_MS 1000

void
neural_job_tag(LOCKTAG *tag, int64 job)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (job >> 32), (uint32) job,
						 LOCK_JOB);
}

void
neural_place_tag(LOCKTAG *tag, int place)
{
	SET_LOCKTAG_ADVISORY(*tag, InvalidOid, 0, (uint32) place, LOCK_PLACE);
}

int
neural_job_sql_begin(void)
{
	int level = neural_sql_begin();

	(void) set_config_option("row_security", "on", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	return level;
}

/*
 * --- asking ---
 */

/* A worker connects as the role, so the role must be able to. */
static void
check_login(void)
{
	HeapTuple tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	bool login = HeapTupleIsValid(tuple) &&
				 ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	if (!login)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("role \"%s\" is not permitted to log in, so it can "
						"have no background job",
						GetUserNameFromId(GetUserId(), false)),
				 errhint("SET ROLE to one that is, or train in this "
						 "session.")));
}

/* A free place, or -1; held until the transaction ends. */
static int
find_place(void)
{
	for (int place = 0; place < neural_max_workers; place++)
	{
		LOCKTAG tag;

		neural_place_tag(&tag, place);
		switch (LockAcquire(&tag, ExclusiveLock, false, true))
		{
			case LOCKACQUIRE_OK:
				return place;
			case LOCKACQUIRE_NOT_AVAIL:
				break;
			default: /* an earlier job of this transaction has it */
				LockRelease(&tag, ExclusiveLock, false);
				break;
		}
	}
	return -1;
}

static void
wait_a_moment(void)
{
	CHECK_FOR_INTERRUPTS();
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 5, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
}

/*
 * The worker of a job that has ended, or was not to begin, keeps its place and
 * the server's slot for the moment that it takes to go.  False: whoever was
 * about to go has gone since then.
 */
static bool
wait_for_those_who_go(TimestampTz began)
{
	if (TimestampDifferenceExceeds(began, GetCurrentTimestamp(), GOING_MS))
		return false;
	wait_a_moment();
	return true;
}

static int
take_place(void)
{
	TimestampTz began = GetCurrentTimestamp();
	int place = find_place();

	while (place < 0 && neural_max_workers > 0 && wait_for_those_who_go(began))
		place = find_place();
	if (place < 0)
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("too many background jobs"),
						errdetail("neural.max_workers allows %d at a time.",
								  neural_max_workers),
						errhint("Wait for one of them to end, or raise "
								"neural.max_workers.")));
	return place;
}

/*
 * Until the worker is there and waits for its place, which it will then get
 * without a moment in which nobody has it.
 */
static void
wait_for_worker(BackgroundWorkerHandle *handle, int place)
{
	LOCKTAG tag;

	neural_place_tag(&tag, place);
	for (;;)
	{
		pid_t pid;
		BgwHandleStatus status = GetBackgroundWorkerPid(handle, &pid);

		if (status == BGWH_STARTED &&
			LockHasWaiters(&tag, ExclusiveLock, false))
			return;
		if (status == BGWH_STOPPED || status == BGWH_POSTMASTER_DIED)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
					 errmsg("background worker could not connect as role "
							"\"%s\"",
							GetUserNameFromId(GetUserId(), false)),
					 errhint("The server's log says why.")));
		wait_a_moment();
	}
}

static void
start_worker(int64 job, int place)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle = NULL;
	NeuralJobStart start = {0};
	TimestampTz began = GetCurrentTimestamp();

	StaticAssertStmt(sizeof(NeuralJobStart) <= BGW_EXTRALEN,
					 "NeuralJobStart does not fit into bgw_extra");
	start.database = MyDatabaseId;
	start.role = GetUserId();
	start.place = place;
	start.job = job;
	memset(&worker, 0, sizeof(worker));
	snprintf(worker.bgw_name, BGW_MAXLEN, "neural job " INT64_FORMAT, job);
	snprintf(worker.bgw_type, BGW_MAXLEN, "neural job");
	snprintf(worker.bgw_library_name, BGW_MAXLEN, "neural");
	snprintf(worker.bgw_function_name, BGW_MAXLEN, "neural_job_main");
	worker.bgw_flags =
		BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	memcpy(worker.bgw_extra, &start, sizeof(start));
	while (!RegisterDynamicBackgroundWorker(&worker, &handle) &&
		   wait_for_those_who_go(began))
		;
	if (handle == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not start a background worker"),
				 errdetail("All of the server's max_worker_processes (%d) are "
						   "taken.",
						   max_worker_processes),
				 errhint("Try again later, or raise max_worker_processes.")));
	wait_for_worker(handle, place);
}

static int64
insert_job(const char *kind, const char *model, const char *request)
{
	Oid types[] = {OIDOID, TEXTOID, TEXTOID, JSONBOID};
	Datum values[] = {ObjectIdGetDatum(GetUserId()), CStringGetTextDatum(kind),
					  CStringGetTextDatum(model),
					  JsonbPGetDatum(neural_json_parse(request))};
	int level = neural_job_sql_begin();
	bool isnull;
	int64 id;

	neural_sql_run("INSERT INTO neural.job (owner, kind, model, request) "
				   "VALUES ($1, $2, $3, $4) RETURNING id",
				   false, lengthof(types), types, values, NULL);
	id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
									 SPI_tuptable->tupdesc, 1, &isnull));
	neural_sql_end(level);
	return id;
}

static int64
submit(const char *kind, const char *model, const char *request)
{
	int place;
	int64 job;

	check_login();
	place = take_place();
	job = insert_job(kind, model, request);
	start_worker(job, place);
	return job;
}

/* "key": {...}, or nothing */
static void
append_object(StringInfo s, const char *key, const char *object)
{
	if (object == NULL)
		return;
	neural_append_key(s, key);
	appendStringInfoString(s, object);
}

PG_FUNCTION_INFO_V1(neural_train_async);
Datum
neural_train_async(PG_FUNCTION_ARGS)
{
	NeuralRun run = {0};
	StringInfoData s;
	const Jsonb *options;

	neural_train_request(fcinfo, "neural.train_async()", &run);
	/* what can be found wrong now is an error now */
	(void) neural_source_open(run.data);
	options = run.options->object;
	initStringInfo(&s);
	appendStringInfoChar(&s, '{');
	neural_append_text(&s, "schema", run.schema);
	neural_append_text(&s, "table", run.table);
	neural_append_text(&s, "data", run.data);
	append_object(&s, "arguments", run.options->arguments);
	append_object(&s, "options",
				  options ? neural_json_text_of((Jsonb *) options) : NULL);
	append_object(&s, "settings", neural_settings_json());
	appendStringInfoChar(&s, '}');
	PG_RETURN_INT64(submit(
		"train", quote_qualified_identifier(run.schema, run.table), s.data));
}

PG_FUNCTION_INFO_V1(neural_retrain_async);
Datum
neural_retrain_async(PG_FUNCTION_ARGS)
{
	StringInfoData s;
	Oid relid;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("%s must not be NULL", "model")));
	relid = PG_GETARG_OID(0);
	neural_retrain_check(relid, "neural.retrain_async()");
	if (!PG_ARGISNULL(2))
	{
		NeuralTrainOptions o;

		/* what can be found wrong now is an error now */
		neural_train_options_init(&o);
		neural_train_options_read(&o, PG_GETARG_JSONB_P(2));
	}
	initStringInfo(&s);
	appendStringInfoChar(&s, '{');
	neural_append_integer(&s, "relid", relid);
	neural_append_integer(&s, "warm_start",
						  !PG_ARGISNULL(1) && PG_GETARG_BOOL(1));
	append_object(&s, "options",
				  PG_ARGISNULL(2) ? NULL
								  : neural_json_text_of(PG_GETARG_JSONB_P(2)));
	appendStringInfoChar(&s, '}');
	PG_RETURN_INT64(submit("retrain", neural_sql_name(relid), s.data));
}

/*
 * --- looking and cancelling ---
 */

/* The job's state now, whatever the caller's snapshot is; NULL: it is gone. */
static char *
current_state(int64 job)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(job)};
	MemoryContext caller = CurrentMemoryContext;
	int level = neural_job_sql_begin();
	char *state = NULL;

	if (neural_sql_run("SELECT state FROM neural.job WHERE id = $1", false, 1,
					   types, values, NULL) > 0)
		state =
			MemoryContextStrdup(caller, SPI_getvalue(SPI_tuptable->vals[0],
													 SPI_tuptable->tupdesc, 1));
	neural_sql_end(level);
	return state;
}

static bool
is_open(const char *state)
{
	return strcmp(state, "queued") == 0 || strcmp(state, "running") == 0;
}

/* Whether the job's worker is there. */
static bool
is_alive(int64 job)
{
	LOCKTAG tag;

	/* shared, so that two who look are no worker to each other */
	neural_job_tag(&tag, job);
	if (LockAcquire(&tag, ShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return true;
	LockRelease(&tag, ShareLock, false);
	return false;
}

PG_FUNCTION_INFO_V1(neural_job_state);
Datum
neural_job_state(PG_FUNCTION_ARGS)
{
	int64 job = PG_GETARG_INT64(0);
	char *state = text_to_cstring(PG_GETARG_TEXT_PP(1));

	/* a standby has no locks of the primary's workers */
	if (!is_open(state) || RecoveryInProgress() || is_alive(job))
		PG_RETURN_DATUM(PG_GETARG_DATUM(1));
	/* it may have ended since the row was read */
	state = current_state(job);
	if (state == NULL || is_open(state))
		state = "lost";
	PG_RETURN_TEXT_P(cstring_to_text(state));
}

/* True: it was waiting, and will not begin. */
static bool
cancel_queued(int64 job)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(job)};
	int level = neural_job_sql_begin();
	bool found;

	found = neural_sql_run("UPDATE neural.job SET state = 'cancelled', "
						   "finished = clock_timestamp() "
						   "WHERE id = $1 AND state = 'queued'",
						   false, 1, types, values, NULL) > 0;
	neural_sql_end(level);
	return found;
}

/* The worker's, by its lock; 0: there is none. */
static int
worker_pid(int64 job)
{
	Oid types[] = {INT8OID, INT4OID};
	Datum values[] = {Int64GetDatum(job), Int32GetDatum(LOCK_JOB)};
	int level = neural_job_sql_begin();
	int pid = 0;
	bool isnull;

	if (neural_sql_run(
			"SELECT pid FROM pg_locks WHERE locktype = 'advisory' "
			"AND database = (SELECT oid FROM pg_database "
			"WHERE datname = current_database()) "
			"AND classid::int8 = $1 >> 32 "
			"AND objid::int8 = $1 & 4294967295 "
			"AND objsubid = $2 AND granted AND mode = 'ExclusiveLock' "
			"AND pid <> pg_backend_pid()",
			true, lengthof(types), types, values, NULL) > 0)
		pid = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0],
										  SPI_tuptable->tupdesc, 1, &isnull));
	neural_sql_end(level);
	return pid;
}

PG_FUNCTION_INFO_V1(neural_cancel);
Datum
neural_cancel(PG_FUNCTION_ARGS)
{
	int64 job = PG_GETARG_INT64(0);
	char *state;
	int pid;

	PreventCommandIfReadOnly("neural.cancel()");
	PreventCommandDuringRecovery("neural.cancel()");
	state = current_state(job);
	if (state == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("job " INT64_FORMAT " does not exist", job),
						errhint("neural.jobs lists yours.")));
	if (strcmp(state, "queued") == 0 && cancel_queued(job))
		PG_RETURN_BOOL(true);
	state = current_state(job); /* it may have begun, or ended */
	pid = state != NULL && is_open(state) ? worker_pid(job) : 0;
	if (pid == 0)
		PG_RETURN_BOOL(false);
	/* which checks that the caller may */
	PG_RETURN_DATUM(DirectFunctionCall1(pg_cancel_backend, Int32GetDatum(pid)));
}
