/*
 * source_scan.c
 *	  Reading the rows of a source.
 *
 * The query runs once, through the executor, into a DestReceiver of our own
 * (measured: several times faster than a cursor).  The order of the rows
 * decides the result of a training, so they are read without parallel workers
 * and without synchronized scans: the same table gives the same model.
 *
 * Of a table that is scanned, rows come as they are stored, with columns that
 * nobody asked for: putting the wanted ones together would cost more than all
 * else.  Privileges are those of the query as it was written.
 */
#include "postgres.h"

#include "access/table.h"
#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parsetree.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "cells.h"
#include "source.h"

/* Hands rows to a NeuralRowCallback. */
typedef struct RowReceiver
{
	DestReceiver pub;
	NeuralRowCallback row;
	void *arg;
	MemoryContext context; /* of what one row needs */
} RowReceiver;

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	RowReceiver *r = (RowReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(r->context);

	r->row(r->arg, slot);
	MemoryContextSwitchTo(old);
	MemoryContextReset(r->context);
	return true;
}

static void
receiver_startup(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
receiver_nothing(DestReceiver *self)
{
}

static void
init_receiver(RowReceiver *r, NeuralRowCallback row, void *arg)
{
	memset(r, 0, sizeof(*r));
	r->pub.receiveSlot = receive_row;
	r->pub.rStartup = receiver_startup;
	r->pub.rShutdown = receiver_nothing;
	r->pub.rDestroy = receiver_nothing;
	r->pub.mydest = DestTuplestore;
	r->row = row;
	r->arg = arg;
	r->context = AllocSetContextCreate(CurrentMemoryContext, "neural row",
									   ALLOCSET_DEFAULT_SIZES);
}

/* ---------- planning and running a statement ---------- */

/* The statement is not the one that the user gave. */
static void
statement_error(void *arg)
{
	int position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(arg);
	}
	else
		errcontext("SQL statement \"%s\"", (const char *) arg);
}

/* A procedure between two of its transactions has none. */
static bool
push_snapshot(void)
{
	if (ActiveSnapshotSet())
		return false;
	PushActiveSnapshot(GetTransactionSnapshot());
	return true;
}

static PlannedStmt *
plan_statement(const NeuralSource *s, const char *sql)
{
	ErrorContextCallback callback = {error_context_stack, statement_error,
									 unconstify(char *, sql)};
	List *queries;
	PlannedStmt *plan;
	bool pushed = push_snapshot();

	error_context_stack = &callback;
	queries = pg_analyze_and_rewrite_fixedparams(
		linitial_node(RawStmt, pg_parse_query(sql)), sql, NULL, 0, NULL);
	neural_source_check_query((Node *) queries);
	plan = pg_plan_query(linitial_node(Query, queries), sql, 0, NULL);
	error_context_stack = callback.previous;
	if (pushed)
		PopActiveSnapshot();
	/* the relation that was locked must be the one that was planned */
	if (OidIsValid(s->relid) && !list_member_oid(plan->relationOids, s->relid))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("\"%s\" was replaced while it was being read",
							   s->text)));
	return plan;
}

static void
run_plan(PlannedStmt *plan, const char *sql, RowReceiver *receiver)
{
	ErrorContextCallback callback = {error_context_stack, statement_error,
									 unconstify(char *, sql)};
	int nest_level = NewGUCNestLevel();
	bool pushed = push_snapshot();
	QueryDesc *query;

	error_context_stack = &callback;
	(void) set_config_option("synchronize_seqscans", "off", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	query = CreateQueryDesc(plan, sql, GetActiveSnapshot(), InvalidSnapshot,
							&receiver->pub, NULL, NULL, 0);
	ExecutorStart(query, 0);
	neural_executor_run(query, ForwardScanDirection, 0);
	ExecutorFinish(query);
	ExecutorEnd(query);
	FreeQueryDesc(query);
	if (pushed)
		PopActiveSnapshot();
	AtEOXact_GUC(true, nest_level);
	error_context_stack = callback.previous;
}

/* ---------- rows as they are stored ---------- */

/*
 * The table whose rows the plan could give as they are: it scans one, and
 * gives columns of it and nothing else, each once.  Their numbers in *at.
 */
static Relation
open_scanned(const PlannedStmt *stmt, int *at)
{
	Plan *p = stmt->planTree;
	Bitmapset *met = NULL;
	RangeTblEntry *rte;
	ListCell *cell;

	if (!IsA(p, SeqScan) && !IsA(p, SampleScan) && !IsA(p, IndexScan) &&
		!IsA(p, BitmapHeapScan))
		return NULL;
	foreach (cell, p->targetlist)
	{
		TargetEntry *entry = lfirst(cell);
		Var *var = (Var *) entry->expr;

		if (entry->resjunk || !IsA(var, Var) || var->varattno <= 0 ||
			bms_is_member(var->varattno, met))
			return NULL;
		met = bms_add_member(met, var->varattno);
		at[foreach_current_index(cell)] = var->varattno - 1;
	}
	rte = rt_fetch(((Scan *) p)->scanrelid, stmt->rtable);
	return table_open(rte->relid, NoLock);
}

/* All columns of a table; NIL when its rows are not what it says. */
static List *
stored_columns(Relation rel, Index relid)
{
	List *columns = NIL;

	for (int i = 0; i < RelationGetDescr(rel)->natts; i++)
	{
		Form_pg_attribute a = TupleDescAttr(RelationGetDescr(rel), i);
		Var *var;

		if (a->attisdropped || a->atthasmissing)
			return NIL;
		var = makeVar(relid, i + 1, a->atttypid, a->atttypmod, a->attcollation,
					  0);
		columns = lappend(columns, makeTargetEntry((Expr *) var, i + 1,
												   NameStr(a->attname), false));
	}
	return columns;
}

/* The same plan without a projection, if that is possible. */
static bool
read_as_stored(NeuralScan *scan, TupleDesc wanted)
{
	Relation rel = open_scanned(scan->plan, scan->at);
	List *columns;

	if (rel == NULL)
		return false;
	columns = stored_columns(rel, ((Scan *) scan->plan->planTree)->scanrelid);
	if (columns != NIL)
	{
		scan->plan->planTree->targetlist = columns;
		scan->desc = CreateTupleDescCopy(RelationGetDescr(rel));
		/* one that was not asked for must not be found by its name */
		for (int i = 0; i < scan->desc->natts; i++)
			namestrcpy(&TupleDescAttr(scan->desc, i)->attname, "");
		for (int i = 0; i < wanted->natts; i++)
			TupleDescAttr(scan->desc, scan->at[i])->attname =
				TupleDescAttr(wanted, i)->attname;
	}
	table_close(rel, NoLock);
	return columns != NIL;
}

/* ---------- reading ---------- */

static const char *
select_statement(const NeuralSource *s, List *columns)
{
	StringInfoData sql;
	ListCell *cell;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT");
	foreach (cell, columns)
	{
		Form_pg_attribute a = TupleDescAttr(s->desc, lfirst_int(cell) - 1);

		appendStringInfo(&sql, "%s%s",
						 foreach_current_index(cell) > 0 ? ", " : " ",
						 quote_identifier(NameStr(a->attname)));
	}
	appendStringInfo(&sql, " FROM %s", s->from);
	return sql.data;
}

static TupleDesc
select_desc(const NeuralSource *s, List *columns)
{
	TupleDesc desc = CreateTemplateTupleDesc(list_length(columns));
	ListCell *cell;

	foreach (cell, columns)
		TupleDescCopyEntry(desc, foreach_current_index(cell) + 1, s->desc,
						   lfirst_int(cell));
	return desc;
}

NeuralScan *
neural_scan_begin(const NeuralSource *s, List *columns)
{
	NeuralScan *scan = palloc0(sizeof(*scan));
	TupleDesc wanted = select_desc(s, columns);
	ListCell *cell;

	scan->source = s;
	scan->at = palloc(list_length(columns) * sizeof(int));
	if (s->rows != NULL)
	{
		scan->desc = s->desc;
		foreach (cell, columns)
			scan->at[foreach_current_index(cell)] = lfirst_int(cell) - 1;
	}
	else
	{
		scan->sql = select_statement(s, columns);
		scan->plan = plan_statement(s, scan->sql);
		if (!read_as_stored(scan, wanted))
		{
			scan->desc = wanted;
			for (int i = 0; i < wanted->natts; i++)
				scan->at[i] = i;
		}
	}
	for (int i = 0; i < wanted->natts; i++)
		scan->last = Max(scan->last, scan->at[i] + 1);
	return scan;
}

/* Rows held already. */
static void
run_rows(const NeuralSource *s, RowReceiver *r)
{
	TupleTableSlot *slot =
		MakeSingleTupleTableSlot(s->desc, &TTSOpsMinimalTuple);

	tuplestore_rescan(s->rows);
	while (tuplestore_gettupleslot(s->rows, true, false, slot))
	{
		CHECK_FOR_INTERRUPTS();
		receive_row(slot, &r->pub);
	}
	ExecDropSingleTupleTableSlot(slot);
}

void
neural_scan_run(const NeuralScan *scan, NeuralRowCallback row, void *arg)
{
	RowReceiver receiver;

	init_receiver(&receiver, row, arg);
	if (scan->plan == NULL)
		run_rows(scan->source, &receiver);
	else
		run_plan(scan->plan, scan->sql, &receiver);
	MemoryContextDelete(receiver.context);
}

/* ---------- the length of an array column ---------- */

typedef struct FirstLength
{
	Oid type;
	int at;
	int length; /* -1: there was no row */
} FirstLength;

static void
note_length(void *arg, TupleTableSlot *row)
{
	FirstLength *first = arg;
	bool isnull;
	Datum value = slot_getattr(row, first->at + 1, &isnull);

	first->length = Max(first->length, 0);
	if (first->length == 0 && !isnull)
		first->length = neural_cell_length(first->type, value);
}

int
neural_source_length(const NeuralSource *s, int column)
{
	Form_pg_attribute a = TupleDescAttr(s->desc, column - 1);
	const char *name = quote_identifier(NameStr(a->attname)), *sql;
	FirstLength first = {a->atttypid, 0, -1};
	RowReceiver receiver;
	bool array = OidIsValid(get_element_type(getBaseType(a->atttypid)));

	init_receiver(&receiver, note_length, &first);
	if (s->rows != NULL)
	{
		first.at = column - 1;
		run_rows(s, &receiver);
	}
	else
	{
		sql = psprintf("SELECT %s FROM %s WHERE %s%s%s LIMIT 1", name, s->from,
					   array ? "pg_catalog.cardinality(" : "", name,
					   array ? ") OPERATOR(pg_catalog.>) 0" : " IS NOT NULL");
		run_plan(plan_statement(s, sql), sql, &receiver);
		/* no elements, or no rows at all */
		if (first.length < 0)
		{
			sql = psprintf("SELECT %s FROM %s LIMIT 1", name, s->from);
			run_plan(plan_statement(s, sql), sql, &receiver);
		}
	}
	MemoryContextDelete(receiver.context);
	return first.length;
}
