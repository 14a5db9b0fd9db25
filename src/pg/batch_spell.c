/*
 * batch_spell.c
 *	  Whole rows of calls that are made row by row, spelled out.
 *
 * predict('m', t) is given t as a datum, and to put that together costs as much
 * as reading the row from the table.  So where a scan's own row is the
 * argument, the finished plan calls the function with the row's columns
 * instead: after the arguments that it is declared with come all columns of
 * the table, and the row is NULL of its type.  An aggregate above a scan is
 * given the columns as well.
 */
#include "postgres.h"

#include "access/table.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/rel.h"

#include "batch.h"
#include "batch_walk.h"

typedef struct Spelling
{
	PlannedStmt *stmt;
	bool changed;

	/* the row at hand, as the expressions at hand see it */
	Relation rel;
	int varno;
	AttrNumber whole; /* the row */
	int columns;	  /* its columns come after this one */
	bool met;
} Spelling;

static Node *
spelled_column(Spelling *s, int i)
{
	Form_pg_attribute a = TupleDescAttr(RelationGetDescr(s->rel), i);

	if (a->attisdropped)
		return (Node *) makeNullConst(INT4OID, -1, InvalidOid);
	return (Node *) makeVar(s->varno, s->columns + i + 1, a->atttypid,
							a->atttypmod, a->attcollation, 0);
}

static bool
is_call_of_row(Spelling *s, FuncExpr *call)
{
	NeuralCallKind kind = neural_call_kind(call->funcid);
	int natts = RelationGetNumberOfAttributes(s->rel);
	Var *row;

	if (kind == NEURAL_CALL_NONE || kind == NEURAL_CALL_ARRAY ||
		list_length(call->args) < 2 ||
		list_length(call->args) + natts > FUNC_MAX_ARGS)
		return false;
	row = lsecond(call->args);
	return IsA(row, Var) && row->varno == s->varno &&
		   row->varattno == s->whole &&
		   row->vartype == RelationGetForm(s->rel)->reltype;
}

static Node *
spell_calls(Node *node, Spelling *s)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, FuncExpr) && is_call_of_row(s, (FuncExpr *) node))
	{
		FuncExpr *call = copyObject((FuncExpr *) node);

		lsecond(call->args) =
			makeNullConst(RelationGetForm(s->rel)->reltype, -1, InvalidOid);
		for (int i = 0; i < RelationGetNumberOfAttributes(s->rel); i++)
			call->args = lappend(call->args, spelled_column(s, i));
		s->met = true;
		return (Node *) call;
	}
	return expression_tree_mutator(node, spell_calls, s);
}

/*
 * The table that a node scans; NULL: it does something else, or gives one row,
 * of which the columns as arguments take longer to set up.
 */
static Relation
open_scanned(Spelling *s, Plan *p)
{
	RangeTblEntry *rte;

	if (!neural_plan_scans_table(p) || neural_plan_gives_one_row(p))
		return NULL;
	rte = rt_fetch(((Scan *) p)->scanrelid, s->stmt->rtable);
	return rte->rtekind == RTE_RELATION ? table_open(rte->relid, NoLock) : NULL;
}

static void
spell_scan(Spelling *s, Plan *p)
{
	s->rel = open_scanned(s, p);
	if (s->rel == NULL)
		return;
	s->varno = ((Scan *) p)->scanrelid;
	s->whole = 0;
	s->columns = 0;
	s->met = false;
	p->targetlist = (List *) spell_calls((Node *) p->targetlist, s);
	p->qual = (List *) spell_calls((Node *) p->qual, s);
	s->changed |= s->met;
	table_close(s->rel, NoLock);
}

/* ---------- aggregates ---------- */

/* The number of the child's column that is the whole row; 0: there is none. */
static AttrNumber
find_whole_row(Plan *child)
{
	ListCell *cell;

	foreach (cell, child->targetlist)
	{
		TargetEntry *entry = lfirst(cell);
		Var *var = (Var *) entry->expr;

		if (IsA(var, Var) && var->varno == ((Scan *) child)->scanrelid &&
			var->varattno == 0)
			return entry->resno;
	}
	return 0;
}

typedef struct Renumbering
{
	List *targets; /* of the child, before its row's columns */
} Renumbering;

static AttrNumber
renumbered(Renumbering *r, AttrNumber at)
{
	int columns = list_length(r->targets);
	TargetEntry *entry;

	if (at > columns)
		return at - columns;
	entry = list_nth(r->targets, at - 1);
	return ((Var *) entry->expr)->varattno;
}

static Node *
renumber(Node *node, Renumbering *r)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && ((Var *) node)->varno == OUTER_VAR)
	{
		Var *var = copyObject((Var *) node);

		var->varattno = renumbered(r, var->varattno);
		return (Node *) var;
	}
	return expression_tree_mutator(node, renumber, r);
}

/* All columns of the row, after those that the child has. */
static List *
child_columns(Spelling *s, Plan *child)
{
	List *columns = NIL;
	Spelling scan = *s;

	scan.varno = ((Scan *) child)->scanrelid;
	scan.columns = 0;
	for (int i = 0; i < RelationGetNumberOfAttributes(s->rel); i++)
		columns =
			lappend(columns, makeTargetEntry((Expr *) spelled_column(&scan, i),
											 s->columns + i + 1, NULL, false));
	return columns;
}

/* Whether all that is wanted of the child are columns of the table. */
static bool
wants_columns_only(Plan *child, Bitmapset *wanted)
{
	ListCell *cell;

	foreach (cell, child->targetlist)
	{
		TargetEntry *entry = lfirst(cell);

		if (bms_is_member(entry->resno, wanted) &&
			!(IsA(entry->expr, Var) && ((Var *) entry->expr)->varattno > 0))
			return false;
	}
	return true;
}

/*
 * The child gives the row's columns as well; or, if nothing else is wanted of
 * it, nothing else: rows as they are stored cost no projection.
 */
static void
give_columns(Spelling *s, Agg *agg, Plan *child)
{
	Bitmapset *wanted = neural_plan_outer_columns(agg);
	List *columns = child_columns(s, child);
	Renumbering r = {child->targetlist};
	ListCell *cell;

	if (!wants_columns_only(child, wanted))
	{
		if (!bms_is_member(s->whole, wanted))
		{
			TargetEntry *entry = list_nth(child->targetlist, s->whole - 1);

			entry->expr = (Expr *) makeNullConst(exprType((Node *) entry->expr),
												 -1, InvalidOid);
		}
		child->targetlist = list_concat(child->targetlist, columns);
		return;
	}
	agg->plan.targetlist = (List *) renumber((Node *) agg->plan.targetlist, &r);
	agg->plan.qual = (List *) renumber((Node *) agg->plan.qual, &r);
	for (int i = 0; i < agg->numCols; i++)
		agg->grpColIdx[i] = renumbered(&r, agg->grpColIdx[i]);
	foreach (cell, columns)
		((TargetEntry *) lfirst(cell))->resno -= s->columns;
	child->targetlist = columns;
}

static void
spell_aggregate(Spelling *s, Agg *agg)
{
	Plan *child = agg->plan.lefttree;

	s->rel = child != NULL ? open_scanned(s, child) : NULL;
	if (s->rel == NULL)
		return;
	s->varno = OUTER_VAR;
	s->whole = find_whole_row(child);
	s->columns = list_length(child->targetlist);
	s->met = false;
	if (s->whole > 0 && agg->chain == NIL)
	{
		agg->plan.targetlist =
			(List *) spell_calls((Node *) agg->plan.targetlist, s);
		agg->plan.qual = (List *) spell_calls((Node *) agg->plan.qual, s);
		if (s->met)
			give_columns(s, agg, child);
		s->changed |= s->met;
	}
	table_close(s->rel, NoLock);
}

/* ---------- the plan ---------- */

static void
spell(Spelling *s, Plan *p)
{
	ListCell *cell;

	if (IsA(p, Agg))
		spell_aggregate(s, (Agg *) p);
	spell_scan(s, p);
	foreach (cell, neural_plan_children(p))
		spell(s, lfirst(cell));
}

bool
neural_batch_spell_out(PlannedStmt *stmt)
{
	Spelling s = {.stmt = stmt};
	ListCell *cell;

	spell(&s, stmt->planTree);
	foreach (cell, stmt->subplans)
		if (lfirst(cell) != NULL)
			spell(&s, lfirst(cell));
	return s.changed;
}
