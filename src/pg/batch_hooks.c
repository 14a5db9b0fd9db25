/*
 * batch_hooks.c
 *	  Where batches come into queries: settings and hooks.
 *
 * The server looks at planner_hook before it plans, and the library is loaded
 * while the first query that predicts is planned (by the functions' support
 * function), unless it was preloaded.  That query is caught when it starts.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/planner.h"
#include "tcop/pquery.h"
#include "utils/guc.h"
#include "utils/plancache.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"

#include "batch.h"

bool neural_enable_batch;
bool neural_batch_cursors;
int neural_batch_rows;
int neural_predict_threads;

static planner_hook_type previous_planner = NULL;
static ExecutorStart_hook_type previous_start = NULL;
static ExecutorRun_hook_type previous_run = NULL;

bool neural_may_be_left = false;

/* The statement that was under way when the library was loaded; 0: none. */
static TimestampTz late_statement = 0;

/*
 * A cursor may want to go back, or be named by WHERE CURRENT OF, which finds
 * scans only.
 */
static bool
is_cursor(int options)
{
	return (options & CURSOR_OPT_SCROLL) != 0 ||
		   ((options & CURSOR_OPT_FAST_PLAN) != 0 && !neural_batch_cursors);
}

static PlannedStmt *
plan_batches(Query *query, const char *text, int options, ParamListInfo params)
{
	PlannedStmt *stmt = previous_planner
							? previous_planner(query, text, options, params)
							: standard_planner(query, text, options, params);

	return neural_batch_plan(stmt, neural_enable_batch && !is_cursor(options));
}

/* What the planner was not asked to do; but plans that are kept must be. */
static void
plan_late(QueryDesc *query, bool batches)
{
	PlannedStmt *stmt;

	if (late_statement != GetCurrentStatementStartTimestamp())
	{
		late_statement = 0;
		return;
	}
	stmt = neural_batch_plan(query->plannedstmt, batches);
	if (stmt == query->plannedstmt)
		return;
	query->plannedstmt = stmt;
	ResetPlanCache();
}

static void
start_batches(QueryDesc *query, int eflags)
{
	if (late_statement != 0 && !IsParallelWorker())
		plan_late(query,
				  neural_enable_batch &&
					  (eflags & (EXEC_FLAG_REWIND | EXEC_FLAG_BACKWARD)) == 0 &&
					  !(ActivePortal != NULL &&
						is_cursor(ActivePortal->cursorOptions)));
	if (previous_start)
		previous_start(query, eflags);
	else
		standard_ExecutorStart(query, eflags);
}

static void
run_batches(QueryDesc *query, ScanDirection direction,
			uint64 count NEURAL_RUN_ONCE_PARAM)
{
	bool outer = neural_may_be_left;

	neural_may_be_left = count > 0;
	PG_TRY();
	{
		if (previous_run)
			previous_run(query, direction, count NEURAL_RUN_ONCE);
		else
			standard_ExecutorRun(query, direction, count NEURAL_RUN_ONCE);
	}
	PG_FINALLY();
	{
		neural_may_be_left = outer;
	}
	PG_END_TRY();
}

/* Does nothing, but to do it the planner loads the library. */
PG_FUNCTION_INFO_V1(neural_planner_support);
Datum
neural_planner_support(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(NULL);
}

void
neural_batch_init(void)
{
	DefineCustomBoolVariable(
		"neural.enable_batch", "Predict the rows of queries in batches.", NULL,
		&neural_enable_batch, true, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("neural.batch_rows", "Rows of a batch, at most.",
							"Wide rows make smaller batches, within work_mem.",
							&neural_batch_rows, 1024, 1, 65536, PGC_USERSET, 0,
							NULL, NULL, NULL);
	DefineCustomBoolVariable(
		"neural.batch_cursors", "Predict the rows of cursors in batches.",
		"Such cursors cannot go back, nor be named by WHERE CURRENT OF.",
		&neural_batch_cursors, false, PGC_USERSET, 0, NULL, NULL, NULL);

	DefineCustomIntVariable(
		"neural.predict_threads", "Threads that predict a batch, at most.",
		"0 is one more than max_parallel_workers_per_gather, as far as there "
		"are processors. A query with parallel workers has no further threads.",
		&neural_predict_threads, 0, 0, 64, PGC_SUSET, 0, NULL, NULL, NULL);

	neural_batch_register();
	if (ActiveSnapshotSet())
		late_statement = GetCurrentStatementStartTimestamp();
	previous_planner = planner_hook;
	planner_hook = plan_batches;
	previous_start = ExecutorStart_hook;
	ExecutorStart_hook = start_batches;
	previous_run = ExecutorRun_hook;
	ExecutorRun_hook = run_batches;
}
