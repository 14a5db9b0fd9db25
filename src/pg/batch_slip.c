/*
 * batch_slip.c
 *	  Predicting for aggregates.
 *
 * An aggregate's arguments are evaluated in its node, which cannot be split:
 * it reads more rows than it gives.  So calls in them are made columns of the
 * node's child, which is then split like any other.  They are evaluated before
 * all other arguments of a row then, so only those are moved of which nobody
 * can tell.
 *
 * Where rows come in the order of their groups, the first row of a group is
 * read before the group before it is given, which an error must not prevent.
 * There the column is NULL for a row that has not been predicted in a batch,
 * and the aggregate calls the function for it: COALESCE(column, call).
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"

#include "batch.h"
#include "batch_walk.h"

typedef struct Slip
{
	List *calls;	  /* in the aggregate's terms */
	int columns;	  /* of its child */
	bool conditional; /* what is looked at is not evaluated for every row */
	bool may_fail;	  /* what is evaluated before it may */
	bool refused;
	bool sorted; /* rows come group by group */
} Slip;

static bool collect_slipping(Node *node, Slip *s);

/* The first is evaluated for every row, and the others are for some. */
static void
collect_first(List *args, Slip *s)
{
	bool outer = s->conditional;
	ListCell *cell;

	foreach (cell, args)
	{
		collect_slipping(lfirst(cell), s);
		s->conditional = true;
	}
	s->conditional = outer;
}

static void
collect_case(CaseExpr *expr, Slip *s)
{
	List *parts = list_make1(expr->arg);
	ListCell *cell;

	foreach (cell, expr->args)
		parts =
			list_concat(parts, list_make2(lfirst_node(CaseWhen, cell)->expr,
										  lfirst_node(CaseWhen, cell)->result));
	parts = lappend(parts, expr->defresult);
	if (expr->arg == NULL)
		parts = list_delete_first(parts);
	collect_first(parts, s);
}

/*
 * Calls that may be evaluated before all else, in the order in which they
 * are: nothing that comes before one of them may fail, and each must be
 * evaluated for every row somewhere.
 */
static bool
collect_slipping(Node *node, Slip *s)
{
	if (node == NULL || s->refused)
		return false;
	if (neural_is_batch_call(node))
	{
		if (!list_member(s->calls, node))
			s->refused = s->conditional || s->may_fail;
		s->calls = list_append_unique(s->calls, node);
		return false;
	}
	if (!neural_has_batch_call(node))
	{
		/* whoever asks for a parameter first may run a subquery */
		s->may_fail |= !neural_cannot_fail(node) || neural_has_exec_param(node);
		return false;
	}
	switch (nodeTag(node))
	{
		case T_List:
		case T_TargetEntry:
		case T_RelabelType:
		case T_NullTest:
		case T_BooleanTest:
			expression_tree_walker(node, collect_slipping, s);
			break;
		case T_FuncExpr:
		case T_OpExpr:
		case T_DistinctExpr:
			expression_tree_walker(node, collect_slipping, s);
			s->may_fail = true;
			break;
		case T_CaseExpr:
			collect_case((CaseExpr *) node, s);
			break;
		case T_CoalesceExpr:
			collect_first(((CoalesceExpr *) node)->args, s);
			break;
		case T_BoolExpr:
			collect_first(((BoolExpr *) node)->args, s);
			break;
		default:
			s->refused = true;
	}
	return false;
}

static bool
collect_aggregates(Node *node, List **aggregates)
{
	if (node == NULL)
		return false;
	if (IsA(node, Aggref))
	{
		*aggregates = list_append_unique_ptr(*aggregates, node);
		return false;
	}
	return expression_tree_walker(node, collect_aggregates, aggregates);
}

static int
by_transition(const ListCell *a, const ListCell *b)
{
	return ((Aggref *) lfirst(a))->aggtransno -
		   ((Aggref *) lfirst(b))->aggtransno;
}

/* In the order in which a row meets them. */
static void
collect_arguments(Agg *agg, Slip *s)
{
	List *aggregates = NIL;
	ListCell *cell;

	collect_aggregates((Node *) agg->plan.targetlist, &aggregates);
	collect_aggregates((Node *) agg->plan.qual, &aggregates);
	list_sort(aggregates, by_transition);
	foreach (cell, aggregates)
	{
		Aggref *a = lfirst(cell);

		if (neural_has_batch_call((Node *) a->aggdirectargs))
			s->refused = true;
		collect_slipping((Node *) a->aggfilter, s);
		s->conditional = a->aggfilter != NULL;
		collect_slipping((Node *) a->args, s);
		s->conditional = false;
	}
}

/* What stands for a call: its column, or the call where that is NULL. */
static Node *
slipped(Slip *s, int at, Node *call)
{
	Var *column = makeVar(OUTER_VAR, at, exprType(call), exprTypmod(call),
						  exprCollation(call), 0);
	CoalesceExpr *either;

	if (!s->sorted)
		return (Node *) column;
	either = makeNode(CoalesceExpr);
	either->coalescetype = exprType(call);
	either->coalescecollid = exprCollation(call);
	either->args = list_make2(column, copyObject(call));
	either->location = -1;
	return (Node *) either;
}

static Node *
replace_slipped(Node *node, Slip *s)
{
	int at = s->columns;
	ListCell *cell;

	if (node == NULL)
		return NULL;
	if (IsA(node, FuncExpr))
		foreach (cell, s->calls)
		{
			at++;
			if (equal(lfirst(cell), node))
				return slipped(s, at, node);
		}
	return expression_tree_mutator(node, replace_slipped, s);
}

/* Under aggregates only: what is beside them is evaluated once a group. */
static Node *
replace_arguments(Node *node, Slip *s)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Aggref))
		return expression_tree_mutator(node, replace_slipped, s);
	return expression_tree_mutator(node, replace_arguments, s);
}

/* Variables of the child, as the child computes them. */
static Node *
in_terms_of_child(Node *node, Plan *child)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && ((Var *) node)->varno == OUTER_VAR)
	{
		TargetEntry *entry =
			list_nth(child->targetlist, ((Var *) node)->varattno - 1);

		return copyObject((Node *) entry->expr);
	}
	return expression_tree_mutator(node, in_terms_of_child, child);
}

/* The calls as the child computes them, or NIL if that cannot be batched. */
static List *
calls_of_child(List *calls, Plan *child)
{
	List *computed = NIL;
	ListCell *cell;

	foreach (cell, calls)
	{
		Node *call = in_terms_of_child(lfirst(cell), child);

		if (!neural_is_batch_call(call))
			return NIL;
		computed = lappend(computed, call);
	}
	return computed;
}

/* A node over the child that computes nothing yet. */
static Plan *
pass_on(Plan *child, int id)
{
	Result *result = makeNode(Result);
	ListCell *cell;

	neural_plan_copy_estimates(&result->plan, child);
	result->plan.plan_node_id = id;
	result->plan.lefttree = child;
	foreach (cell, child->targetlist)
	{
		TargetEntry *entry = flatCopyTargetEntry(lfirst(cell));

		entry->expr = (Expr *) neural_plan_column(entry);
		result->plan.targetlist = lappend(result->plan.targetlist, entry);
	}
	return (Plan *) result;
}

/* Columns that only the calls wanted need not be kept with the rows. */
static void
drop_columns(Agg *agg, Plan *child)
{
	Bitmapset *wanted = neural_plan_outer_columns(agg);
	ListCell *cell;

	foreach (cell, child->targetlist)
	{
		TargetEntry *entry = lfirst(cell);

		if (IsA(entry->expr, Var) && !bms_is_member(entry->resno, wanted))
			entry->expr =
				(Expr *) makeNullConst(exprType((Node *) entry->expr),
									   exprTypmod((Node *) entry->expr),
									   exprCollation((Node *) entry->expr));
	}
}

/*
 * Whether one of the calls may fail where its row has been predicted: what is
 * predicted is cast, or the model comes with the row, and is found by calling
 * the function.
 */
static bool
may_fail_late(List *calls)
{
	ListCell *cell;

	foreach (cell, calls)
	{
		FuncExpr *call = lfirst(cell);

		if (neural_call_kind(call->funcid) == NEURAL_CALL_CAST ||
			contain_var_clause(linitial(call->args)))
			return true;
	}
	return false;
}

/* Whether the node, with calls as further columns, will be split. */
static bool
will_be_split(PlannedStmt *stmt, Plan *p, bool stops)
{
	return !neural_plan_gives_one_row(p) &&
		   neural_plan_reads_ahead(stmt, p, p->qual, stops, NULL);
}

bool
neural_batch_slip_under(PlannedStmt *stmt, Agg *agg, int id, bool stops,
						int *tried)
{
	Plan *child = agg->plan.lefttree;
	Slip s = {.sorted = agg->aggstrategy == AGG_SORTED};
	List *calls;
	ListCell *cell;

	if (agg->chain != NIL || agg->groupingSets != NIL)
		return false;
	collect_arguments(agg, &s);
	if (s.refused || s.calls == NIL || (s.sorted && may_fail_late(s.calls)))
		return false;
	calls =
		neural_plan_is_splittable(child) ? calls_of_child(s.calls, child) : NIL;
	if (calls == NIL)
	{
		child = pass_on(child, id);
		calls = calls_of_child(s.calls, child);
	}
	if (calls == NIL || !will_be_split(stmt, child, stops))
		return false;
	s.columns = list_length(child->targetlist);
	if (s.sorted)
		*tried = s.columns + 1;
	agg->plan.targetlist =
		(List *) replace_arguments((Node *) agg->plan.targetlist, &s);
	agg->plan.qual = (List *) replace_arguments((Node *) agg->plan.qual, &s);
	drop_columns(agg, child);
	foreach (cell, calls)
		child->targetlist = lappend(
			child->targetlist,
			makeTargetEntry(lfirst(cell), list_length(child->targetlist) + 1,
							NULL, false));
	if (child == agg->plan.lefttree)
		return false;
	agg->plan.lefttree = child;
	return true;
}
