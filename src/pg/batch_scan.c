/*
 * batch_scan.c
 *	  The plan node that predicts batches.
 *
 * A batch is a run of rows of the node below.  While they are read, what the
 * model needs of each goes into records; of the row itself only the columns
 * that the expressions above want are kept, unless a call may yet have to be
 * made for it, which needs all of them.  The records are predicted together,
 * and the rows then come out one by one.
 *
 * Where a batch is predicted by several threads, the next one is read while
 * they are at it, and predicted while the rows of the first come out.
 *
 * The first row is always passed on without a batch: its calls look the model
 * up and check that it suits, and batches then use what they found
 * (neural_predict_clone).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/extensible.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "utils/datum.h"
#include "utils/memutils.h"

#include "batch_scan.h"
#include "batch_walk.h"

/* Marks a call without arguments as ours. */
#define BATCH_VALUE (-20260)

/* A call in the expressions of the node. */
typedef struct BatchValue
{
	FuncExpr call;
	BatchCall *batch;
	bool tries; /* NULL where the function would have to be called */
} BatchValue;

typedef struct Asking
{
	BatchScan *scan;
	bool tries;
} Asking;

static const CustomExecMethods exec_methods;

/* ---------- setting up ---------- */

/* The columns of calls become calls that ask the batch. */
static Node *
ask_batch(Node *node, Asking *asking)
{
	BatchScan *b = asking->scan;

	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && ((Var *) node)->varno == INDEX_VAR &&
		((Var *) node)->varattno <= b->ncalls)
	{
		BatchCall *c = &b->calls[((Var *) node)->varattno - 1];
		BatchValue *value = palloc(sizeof(BatchValue));

		value->call = *c->expr;
		value->call.args = NIL;
		value->call.location = BATCH_VALUE;
		value->batch = c;
		value->tries = asking->tries;
		return (Node *) value;
	}
	return expression_tree_mutator(node, ask_batch, asking);
}

/* The node's expressions, asking the batch; columns from tried on try only. */
static List *
ask_batch_all(BatchScan *b, List *expressions, int tried)
{
	List *asking = NIL;
	ListCell *cell;

	foreach (cell, expressions)
	{
		Asking a = {b, tried > 0 && foreach_current_index(cell) + 1 >= tried};

		asking = lappend(asking, ask_batch(lfirst(cell), &a));
	}
	return asking;
}

/* Where the fields of a row that is spelled out come from. */
static void
find_fields(BatchCall *c, RowExpr *row)
{
	BatchScan *b = c->scan;

	c->nfields = list_length(row->args);
	c->fields = palloc0(sizeof(BatchField) * c->nfields);
	c->values = palloc0(sizeof(Datum) * c->nfields);
	c->nulls = palloc0(sizeof(bool) * c->nfields);
	c->in_order = c->nfields == b->ncolumns;
	for (int i = 0; i < c->nfields; i++)
	{
		Expr *field = list_nth(row->args, i);

		if (IsA(field, Var))
			c->fields[i].column = ((Var *) field)->varattno - b->ncalls;
		else if (IsA(field, Const))
		{
			c->values[i] = ((Const *) field)->constvalue;
			c->nulls[i] = ((Const *) field)->constisnull;
		}
		else
		{
			c->fields[i].expr = ExecInitExpr(field, &b->css.ss.ps);
			b->evaluates = true;
		}
		c->last = Max(c->last, c->fields[i].column);
		c->in_order &= c->fields[i].column == i + 1;
	}
	/* such a row need not be taken apart */
	if (c->in_order)
		c->last = 0;
}

static void
begin_call(BatchScan *b, BatchCall *c, FuncExpr *expr)
{
	int nargs = list_length(expr->args);
	Node *row = lsecond(expr->args);

	c->scan = b;
	c->expr = expr;
	c->kind = neural_call_kind(expr->funcid);
	fmgr_info(expr->funcid, &c->function);
	fmgr_info_set_expr((Node *) expr, &c->function);
	c->fcinfo = palloc0(SizeForFunctionCallInfo(nargs));
	InitFunctionCallInfoData(*c->fcinfo, &c->function, nargs, expr->inputcollid,
							 (fmNodePtr) b, NULL);
	c->args = palloc(sizeof(ExprState *) * nargs);
	for (int i = 0; i < nargs; i++)
	{
		Node *arg = list_nth(expr->args, i);

		c->args[i] = ExecInitExpr((Expr *) arg, &b->css.ss.ps);
		if (i != 1 && neural_has_exec_param(arg))
			c->has_param = true;
	}
	neural_collect_params(row, &c->params);
	if (IsA(row, RowExpr))
		find_fields(c, (RowExpr *) row);
	else
		b->evaluates = true;
	if (IsA(linitial(expr->args), Var))
	{
		c->model_column = ((Var *) linitial(expr->args))->varattno - b->ncalls;
		c->last = Max(c->last, c->model_column);
	}
	c->may_fail = !neural_cannot_fail(row);
	b->calls_may_fail |= c->may_fail;
}

static bool
collect_columns(Node *node, Bitmapset **columns)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var) && ((Var *) node)->varno == INDEX_VAR)
		*columns = bms_add_member(*columns, ((Var *) node)->varattno);
	return expression_tree_walker(node, collect_columns, columns);
}

/* The columns that are kept with a row. */
static void
find_kept_columns(BatchScan *b, Plan *plan)
{
	Bitmapset *used = NULL;

	collect_columns((Node *) plan->targetlist, &used);
	collect_columns((Node *) plan->qual, &used);
	b->kept = palloc(sizeof(AttrNumber) * Max(b->ncolumns, 1));
	for (int i = 1; i <= b->ncolumns; i++)
		if (bms_is_member(b->ncalls + i, used))
			b->kept[b->nkept++] = i;
	bms_free(used);
}

static Node *
create_scan(CustomScan *plan)
{
	BatchScan *b = palloc0(sizeof(BatchScan));

	NodeSetTag(b, T_CustomScanState);
	b->css.methods = &exec_methods;
	return (Node *) b;
}

/* How many rows the planner expects to be read. */
static double
expected_rows(const BatchScan *b)
{
	const Plan *plan = b->css.ss.ps.plan;
	double rows = outerPlan(plan)->plan_rows;

	/* no more than it takes to fill the LIMIT above */
	if (b->start > 0)
		rows *= Min(1, b->start / Max(plan->plan_rows, 1));
	if (b->bound > 0)
		rows = Min(rows, b->bound);
	return Max(rows, 1);
}

static void
begin_scan(CustomScanState *node, EState *estate, int eflags)
{
	BatchScan *b = (BatchScan *) node;
	CustomScan *plan = (CustomScan *) node->ss.ps.plan;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;
	List *targets;

	outerPlanState(node) =
		ExecInitNode(outerPlan(plan), estate,
					 eflags & ~(EXEC_FLAG_BACKWARD | EXEC_FLAG_MARK));
	b->start = linitial_int(plan->custom_private);
	b->bound = lsecond_int(plan->custom_private);
	b->may_fail = lthird_int(plan->custom_private) != 0;
	b->stops = list_nth_int(plan->custom_private, 4) != 0;
	b->params = list_copy_tail(plan->custom_private, 5);
	if (b->bound > 0)
		ExecSetTupleBound(b->bound, outerPlanState(node));
	b->ncalls = list_length(plan->custom_exprs);
	b->ncolumns = list_length(plan->custom_scan_tlist) - b->ncalls;
	b->calls = palloc0(sizeof(BatchCall) * b->ncalls);
	for (int i = 0; i < b->ncalls; i++)
		begin_call(b, &b->calls[i], list_nth(plan->custom_exprs, i));
	b->placement = neural_placement(estate, b->ncalls * expected_rows(b));
	find_kept_columns(b, &plan->scan.plan);

	targets = ask_batch_all(b, plan->scan.plan.targetlist,
							lfourth_int(plan->custom_private));
	b->projection = ExecBuildProjectionInfo(
		targets, node->ss.ps.ps_ExprContext, node->ss.ps.ps_ResultTupleSlot,
		&node->ss.ps, slot->tts_tupleDescriptor);
	b->qual =
		ExecInitQual(ask_batch_all(b, plan->scan.plan.qual, 0), &node->ss.ps);
	memset(slot->tts_isnull, true, sizeof(bool) * (b->ncalls + b->ncolumns));
	b->full_slot = ExecInitExtraTupleSlot(
		estate, ExecGetResultType(outerPlanState(node)), &TTSOpsMinimalTuple);
	b->context = AllocSetContextCreate(CurrentMemoryContext, "neural batches",
									   ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < BATCHES; i++)
		b->batches[i].context = AllocSetContextCreate(
			b->context, "neural batch", ALLOCSET_DEFAULT_SIZES);
}

/* ---------- values ---------- */

/* The function itself, of the row at hand. */
static Datum
call_function(BatchCall *c, bool *isnull)
{
	ExprContext *econtext = c->scan->css.ss.ps.ps_ExprContext;
	Datum value;

	for (int i = 0; i < c->fcinfo->nargs; i++)
		c->fcinfo->args[i].value =
			ExecEvalExpr(c->args[i], econtext, &c->fcinfo->args[i].isnull);
	c->fcinfo->isnull = false;
	value = FunctionCallInvoke(c->fcinfo);
	*isnull = c->fcinfo->isnull;
	neural_batch_count(c->scan, (BatchCounts){.replayed = 1});
	if (c->model_column > 0 && c->scan->counts.batches > 0)
		neural_batch_adopt(c);
	return value;
}

NeuralPlacement *
neural_batch_placement(Node *context)
{
	if (context == NULL || !IsA(context, CustomScanState) ||
		((CustomScanState *) context)->methods != &exec_methods)
		return NULL;
	return ((BatchScan *) context)->placement;
}

Datum
neural_batch_value(FunctionCallInfo fcinfo)
{
	BatchValue *value = (BatchValue *) fcinfo->flinfo->fn_expr;
	BatchCall *c;

	if (value == NULL || !IsA(value, FuncExpr) ||
		value->call.location != BATCH_VALUE)
		ereport(ERROR, (errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
						errmsg("function needs arguments")));
	c = value->batch;
	/* the first row's call finds the model, and nothing is before it */
	if (value->tries && !c->known && c->place.model < 0 && c->scan->read > 1)
		PG_RETURN_NULL();
	if (!c->known)
	{
		c->asked++;
		if (c->place.model >= 0)
		{
			c->value = neural_batch_finish(c);
			c->isnull = false;
		}
		else if (c->place.model == PLACE_NULL)
		{
			c->value = (Datum) 0;
			c->isnull = true;
		}
		else
			c->value = call_function(c, &c->isnull);
		c->known = true;
	}
	fcinfo->isnull = c->isnull;
	return c->value;
}

/* ---------- rows ---------- */

/* The columns of a row of the node below, for all expressions to see. */
static void
show_row(BatchScan *b, TupleTableSlot *row)
{
	TupleTableSlot *slot = b->css.ss.ss_ScanTupleSlot;

	slot_getallattrs(row);
	ExecClearTuple(slot);
	memcpy(slot->tts_values + b->ncalls, row->tts_values,
		   sizeof(Datum) * b->ncolumns);
	memcpy(slot->tts_isnull + b->ncalls, row->tts_isnull,
		   sizeof(bool) * b->ncolumns);
	ExecStoreVirtualTuple(slot);
}

void
neural_batch_show_whole(BatchScan *b, int batch, int row)
{
	ExecStoreMinimalTuple(b->batches[batch].full[row], b->full_slot, false);
	show_row(b, b->full_slot);
}

/* The next row of the batch that comes out. */
static void
show_batch_row(BatchScan *b)
{
	TupleTableSlot *slot = b->css.ss.ss_ScanTupleSlot;
	Batch *batch = &b->batches[b->shown];
	int row = batch->next++;

	for (int i = 0; i < b->ncalls; i++)
	{
		b->calls[i].known = false;
		b->calls[i].place = b->calls[i].places[b->shown][row];
	}
	if (batch->full[row] != NULL)
	{
		neural_batch_show_whole(b, b->shown, row);
		return;
	}
	ExecClearTuple(slot);
	for (int i = 0; i < b->nkept; i++)
	{
		int at = b->ncalls + b->kept[i] - 1, from = row * b->nkept + i;

		slot->tts_values[at] = batch->values[from];
		slot->tts_isnull[at] = batch->nulls[from];
	}
	ExecStoreVirtualTuple(slot);
}

/* A row without a batch. */
static bool
show_single_row(BatchScan *b)
{
	TupleTableSlot *row;

	row = ExecProcNode(outerPlanState(b));
	if (TupIsNull(row))
	{
		b->ended = true;
		return false;
	}
	b->read++;
	for (int i = 0; i < b->ncalls; i++)
	{
		b->calls[i].known = false;
		b->calls[i].place.model = PLACE_UNKNOWN;
	}
	show_row(b, row);
	return true;
}

static void
keep_row(const BatchScan *b, Batch *batch, TupleTableSlot *row, bool whole)
{
	MemoryContext old = MemoryContextSwitchTo(batch->context);
	int at = batch->nrows++;

	batch->full[at] = whole ? ExecCopySlotMinimalTuple(row) : NULL;
	for (int i = 0; i < b->nkept && !whole; i++)
	{
		int from = b->kept[i] - 1, to = at * b->nkept + i;
		Form_pg_attribute a = TupleDescAttr(row->tts_tupleDescriptor, from);

		batch->nulls[to] = row->tts_isnull[from];
		batch->values[to] = row->tts_values[from];
		if (!a->attbyval && !batch->nulls[to])
			batch->values[to] = datumCopy(batch->values[to], false, a->attlen);
	}
	MemoryContextSwitchTo(old);
}

/* How many rows to read now. */
static int
batch_size(BatchScan *b)
{
	int64 size = b->read;

	if (b->start == NEURAL_BATCH_FULL)
		size = b->room;
	else if (b->read < b->start)
		size = b->start - b->read;
	return (int) Min(Max(size, 1), b->room);
}

/*
 * Whether rows must come one by one now.  Errors of rows and of what calls
 * compute from them must keep their order, and the latter are put off by a
 * subtransaction, of which there is none in parallel queries.
 */
static bool
is_single(BatchScan *b)
{
	if (b->css.ss.ps.state->es_epq_active != NULL ||
		neural_batch_is_open(b, b->params))
		return true;
	if (b->may_fail && b->start != NEURAL_BATCH_FULL && neural_may_be_left)
		return true;
	if (b->calls_may_fail && (b->may_fail || IsInParallelMode()))
		return true;
	return !neural_batch_ready(b);
}

static void
clear_batch(Batch *batch)
{
	MemoryContextReset(batch->context);
	batch->nrows = batch->next = 0;
	batch->bytes = 0;
	batch->last = false;
}

/* Read the batch that is not shown, which is empty. */
static void
read_batch(BatchScan *b)
{
	ExprContext *econtext = b->css.ss.ps.ps_ExprContext;
	int number = !b->shown;
	Batch *batch = &b->batches[number];
	/* a GPU has one batch at a time */
	Size limit = (Size) work_mem * 1024 / (b->placement->gpu ? 1 : BATCHES);
	int size, last = b->nkept > 0 ? b->kept[b->nkept - 1] : 0;

	for (int i = 0; i < b->ncalls; i++)
		last = Max(last, b->calls[i].last);
	if (b->evaluates)
		last = b->ncolumns;
	size = batch_size(b);
	while (!batch->last && batch->nrows < size &&
		   batch->bytes + MemoryContextMemAllocated(batch->context, false) <=
			   limit)
	{
		TupleTableSlot *row;
		bool whole = false;

		CHECK_FOR_INTERRUPTS();
		row = ExecProcNode(outerPlanState(b));
		if (TupIsNull(row))
		{
			b->ended = true;
			break;
		}
		b->read++;
		ResetExprContext(econtext);
		slot_getsomeattrs(row, last);
		if (b->evaluates)
		{
			show_row(b, row);
			econtext->ecxt_scantuple = b->css.ss.ss_ScanTupleSlot;
		}
		for (int i = 0; i < b->ncalls; i++)
			whole |=
				b->calls[i].may_fail ||
				!neural_batch_read(&b->calls[i], number, row, batch->nrows);
		keep_row(b, batch, row, whole);
		/* the error of this row, if it has one, comes before the next row's */
		batch->last = whole && b->may_fail;
	}
	if (b->calls_may_fail)
		neural_batch_read_failing(b, number);
}

/* Whether all rows are wanted, of which there have been enough for a batch. */
static bool
runs_to_the_end(const BatchScan *b)
{
	return b->start == NEURAL_BATCH_FULL ||
		   (!b->stops && !neural_may_be_left && b->read >= b->room);
}

/*
 * Whether a batch may be read before the rows of this one come out.  Both
 * might as well be one that is larger, so nothing more can be noticed of it;
 * but there is a point in it only where threads predict.
 */
static bool
may_read_ahead(BatchScan *b)
{
	return neural_team_is_busy(b) && runs_to_the_end(b) && !b->ended &&
		   !b->batches[b->shown].last && !is_single(b);
}

/* The next row, from another batch; false: there is none. */
static bool
next_batch(BatchScan *b)
{
	Batch *next = &b->batches[!b->shown];

	clear_batch(&b->batches[b->shown]);
	if (next->nrows == 0)
	{
		if (b->ended)
			return false;
		if (is_single(b))
			return show_single_row(b);
		read_batch(b);
		if (next->nrows == 0)
			return false;
		neural_batch_start(b, !b->shown);
	}
	b->shown = !b->shown;
	next = &b->batches[!b->shown];
	if (may_read_ahead(b))
		read_batch(b);
	neural_batch_wait(b);
	if (next->nrows > 0)
		neural_batch_start(b, !b->shown);
	show_batch_row(b);
	return true;
}

static TupleTableSlot *
exec_scan(CustomScanState *node)
{
	BatchScan *b = (BatchScan *) node;
	ExprContext *econtext = node->ss.ps.ps_ExprContext;

	for (;;)
	{
		ResetExprContext(econtext);
		if (b->batches[b->shown].next < b->batches[b->shown].nrows)
			show_batch_row(b);
		else if (!next_batch(b))
			return NULL;
		econtext->ecxt_scantuple = node->ss.ss_ScanTupleSlot;
		if (ExecQual(b->qual, econtext))
			return ExecProject(b->projection);
		InstrCountFiltered1(node, 1);
	}
}

static void
end_scan(CustomScanState *node)
{
	neural_team_stop((BatchScan *) node);
	ExecEndNode(outerPlanState(node));
}

static void
rescan(CustomScanState *node)
{
	BatchScan *b = (BatchScan *) node;

	neural_team_stop(b);
	for (int i = 0; i < BATCHES; i++)
		clear_batch(&b->batches[i]);
	b->read = 0;
	b->ended = false;
	for (int i = 0; i < b->ncalls; i++)
		if (b->calls[i].has_param)
			neural_batch_renew(&b->calls[i]);
	if (outerPlanState(node)->chgParam == NULL)
		ExecReScan(outerPlanState(node));
}

/* ---------- the node ---------- */

static const CustomExecMethods exec_methods = {
	.CustomName = "NeuralPredict",
	.BeginCustomScan = begin_scan,
	.ExecCustomScan = exec_scan,
	.EndCustomScan = end_scan,
	.ReScanCustomScan = rescan,
	.EstimateDSMCustomScan = neural_batch_estimate_shared,
	.InitializeDSMCustomScan = neural_batch_init_shared,
	.ReInitializeDSMCustomScan = neural_batch_reinit_shared,
	.InitializeWorkerCustomScan = neural_batch_attach_shared,
	.ShutdownCustomScan = neural_batch_shutdown,
	.ExplainCustomScan = neural_batch_explain};

static const CustomScanMethods scan_methods = {"NeuralPredict", create_scan};

void
neural_batch_register(void)
{
	RegisterCustomScanMethods(&scan_methods);
}

CustomScan *
neural_batch_node(void)
{
	CustomScan *node = makeNode(CustomScan);

	node->methods = &scan_methods;
	return node;
}

bool
neural_is_batch_node(Plan *plan)
{
	return IsA(plan, CustomScan) &&
		   ((CustomScan *) plan)->methods == &scan_methods;
}
