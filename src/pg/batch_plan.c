/*
 * batch_plan.c
 *	  Splitting the nodes of a finished plan that call predict.
 *
 * Expressions move verbatim: what a node below is left with are the columns
 * that the expressions above want, in the node's own terms, so nothing has to
 * be renumbered there.  Only quals from the first that predicts on are lifted,
 * in their order, so that whatever the planner put before them (cheap filters,
 * row security) is still evaluated first.
 *
 * Rows are read ahead, which nobody may notice: a node is split only if all
 * below it is known to have no effects, and, where a LIMIT above may stop
 * early, not to fail.  A node that is not known here is left as it is.
 */
#include "postgres.h"

#include "access/table.h"
#include "jit/jit.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/plancat.h"
#include "parser/parsetree.h"
#include "utils/rel.h"

#include "batch.h"
#include "batch_walk.h"

typedef struct Rewriting
{
	PlannedStmt *stmt;
	int last_id; /* of a plan node */
	bool changed;
	Cost predicting; /* what the planner thinks that batches cost */
} Rewriting;

/* What the nodes above make of the rows of a node. */
typedef struct Above
{
	int start;	   /* NeuralBatchStart */
	bool stops;	   /* may do without further rows */
	bool exact;	   /* needs just as many as start says */
	int bound;	   /* rows at most, which a Sort below wants to know; 0: none */
	int tried;	   /* columns from this on may be NULL instead of an error; 0 */
	bool parallel; /* in several processes */
} Above;

/* There is a bound, but not a constant one. */
#define BOUND_UNKNOWN (-1)

typedef struct Split
{
	Rewriting *rewriting;
	Plan *node;
	List *calls;   /* equal ones once, in the node's terms */
	List *columns; /* TargetEntries of the node below */
	bool direct;   /* columns are all those of the node's child */
} Split;

static Plan *rewrite(Rewriting *r, Plan *p, Above above);

/* ---------- columns and calls ---------- */

static bool
collect_calls(Node *node, Split *s)
{
	if (node == NULL)
		return false;
	if (neural_is_batch_call(node))
	{
		s->calls = list_append_unique(s->calls, node);
		return false;
	}
	return expression_tree_walker(node, collect_calls, s);
}

/* A column of the node below, added to it when it is wanted first. */
static Var *
column(Split *s, Var *var)
{
	AttrNumber at = 0;
	ListCell *cell;

	if (s->direct)
		at = var->varattno;
	foreach (cell, s->columns)
	{
		TargetEntry *entry = lfirst(cell);

		if (at == 0 && equal(entry->expr, var))
			at = entry->resno;
	}
	if (at == 0)
	{
		at = list_length(s->columns) + 1;
		s->columns =
			lappend(s->columns,
					makeTargetEntry(copyObject((Expr *) var), at, NULL, false));
	}
	return makeVar(INDEX_VAR, list_length(s->calls) + at, var->vartype,
				   var->vartypmod, var->varcollid, 0);
}

/* An expression of the node, in terms of the split one. */
static Node *
lift(Node *node, Split *s)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
		return (Node *) column(s, (Var *) node);
	if (IsA(node, FuncExpr))
	{
		int i = 0;
		ListCell *cell;

		foreach (cell, s->calls)
		{
			FuncExpr *call = lfirst(cell);

			i++;
			if (equal(call, node))
				return (Node *) makeVar(INDEX_VAR, i, call->funcresulttype,
										exprTypmod(node), call->funccollid, 0);
		}
	}
	return expression_tree_mutator(node, lift, s);
}

/*
 * The scanned table, if the node reads one whose whole row may be spelled
 * out, and the variable is its whole row.
 */
static Relation
open_whole_row(Split *s, Node *node)
{
	Var *var = (Var *) node;
	RangeTblEntry *rte;
	Relation rel;

	if (!IsA(node, Var) || var->varattno != 0 || IS_SPECIAL_VARNO(var->varno))
		return NULL;
	rte = rt_fetch(var->varno, s->rewriting->stmt->rtable);
	if (rte->rtekind != RTE_RELATION)
		return NULL;
	rel = table_open(rte->relid, NoLock);
	if (RelationGetForm(rel)->reltype == var->vartype)
		return rel;
	table_close(rel, NoLock);
	return NULL;
}

/*
 * A whole row as a row of the table's columns, which need not be put together
 * to be predicted.  Wanted before all others, these columns are those of the
 * table as they are stored, which a scan delivers without any work.
 */
static Node *
spell_out(Split *s, Node *node)
{
	Relation rel = open_whole_row(s, node);
	Var *var = (Var *) node;
	RowExpr *row;

	if (rel == NULL)
		return lift(node, s);
	row = makeNode(RowExpr);
	row->row_typeid = var->vartype;
	row->row_format = COERCE_IMPLICIT_CAST;
	row->location = -1;
	for (int i = 0; i < RelationGetDescr(rel)->natts; i++)
	{
		Form_pg_attribute a = TupleDescAttr(RelationGetDescr(rel), i);
		Node *field;

		if (a->attisdropped)
			field = (Node *) makeNullConst(INT4OID, -1, InvalidOid);
		else
			field =
				(Node *) column(s, makeVar(var->varno, i + 1, a->atttypid,
										   a->atttypmod, a->attcollation, 0));
		row->args = lappend(row->args, field);
	}
	table_close(rel, NoLock);
	return (Node *) row;
}

/* A call with its arguments in terms of the split node. */
static FuncExpr *
lift_call(Split *s, FuncExpr *call)
{
	FuncExpr *lifted = copyObject(call);
	ListCell *cell;

	foreach (cell, lifted->args)
		lfirst(cell) = foreach_current_index(cell) == 1
						   ? spell_out(s, lfirst(cell))
						   : lift(lfirst(cell), s);
	return lifted;
}

static Node *
to_outer(Node *node, int *calls)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && ((Var *) node)->varno == INDEX_VAR)
	{
		Var *var = copyObject((Var *) node);

		return (Node *) makeVar(OUTER_VAR, var->varattno - *calls, var->vartype,
								var->vartypmod, var->varcollid, 0);
	}
	return expression_tree_mutator(node, to_outer, calls);
}

/*
 * A call as EXPLAIN shows it: a scan's variables are known by the name of the
 * table in all nodes, those of others are shown by what is below.
 */
static Expr *
shown_call(Split *s, FuncExpr *call, FuncExpr *lifted)
{
	int calls = list_length(s->calls);

	if (neural_plan_scans_table(s->node))
		return copyObject((Expr *) call);
	return (Expr *) to_outer((Node *) lifted, &calls);
}

/* ---------- splitting ---------- */

/*
 * Calls that read most of a table's columns are best served with the rows as
 * they are stored, which a scan delivers without any work.
 */
static void
prefer_stored_columns(Split *s)
{
	List *vars = pull_var_clause((Node *) s->calls, 0), *distinct = NIL;
	RangeTblEntry *rte;
	Relation rel;
	TupleDesc desc;
	ListCell *cell;
	Index scanned;

	/* a foreign table delivers what it was asked for when it was planned */
	if (!neural_plan_scans_table(s->node) || IsA(s->node, ForeignScan))
		return;
	scanned = ((Scan *) s->node)->scanrelid;
	rte = rt_fetch(scanned, s->rewriting->stmt->rtable);
	if (rte->rtekind != RTE_RELATION)
		return;
	foreach (cell, vars)
		if (((Var *) lfirst(cell))->varattno > 0)
			distinct = list_append_unique(distinct, lfirst(cell));
	rel = table_open(rte->relid, NoLock);
	desc = RelationGetDescr(rel);
	if (list_length(distinct) * 2 > desc->natts)
		for (int i = 0; i < desc->natts; i++)
		{
			Form_pg_attribute a = TupleDescAttr(desc, i);

			if (!a->attisdropped)
				column(s, makeVar(scanned, i + 1, a->atttypid, a->atttypmod,
								  a->attcollation, 0));
		}
	table_close(rel, NoLock);
}

/* The tuple that the node's expressions see: values of calls, then columns. */
static void
describe_tuple(Split *s, CustomScan *node)
{
	List *lifted = NIL;
	ListCell *cell, *cell2;
	int at = 0;

	prefer_stored_columns(s);
	foreach (cell, s->calls)
		lifted = lappend(lifted, lift_call(s, lfirst(cell)));
	forboth (cell, s->calls, cell2, lifted)
		node->custom_scan_tlist =
			lappend(node->custom_scan_tlist,
					makeTargetEntry(shown_call(s, lfirst(cell), lfirst(cell2)),
									++at, NULL, false));
	node->custom_exprs = lifted;
}

static void
describe_columns(Split *s, CustomScan *node)
{
	ListCell *cell;
	int at = list_length(s->calls);

	foreach (cell, s->columns)
	{
		TargetEntry *entry = lfirst(cell);

		node->custom_scan_tlist =
			lappend(node->custom_scan_tlist,
					makeTargetEntry((Expr *) neural_plan_column(entry), ++at,
									entry->resname, false));
	}
}

static Cost
cost_of_calls(Split *s)
{
	QualCost cost = {0};
	ListCell *cell;

	foreach (cell, s->calls)
		add_function_cost(NULL, ((FuncExpr *) lfirst(cell))->funcid, NULL,
						  &cost);
	return cost.per_tuple * s->node->plan_rows;
}

/*
 * Compiling expressions has been decided by the cost of predicting, which is
 * no expression any more.
 */
static void
decide_jit(Rewriting *r)
{
	Cost cost = r->stmt->planTree->total_cost - r->predicting;

	if (jit_above_cost >= 0 && cost <= jit_above_cost)
		r->stmt->jitFlags = PGJIT_NONE;
	if (jit_optimize_above_cost >= 0 && cost <= jit_optimize_above_cost)
		r->stmt->jitFlags &= ~PGJIT_OPT3;
	if (jit_inline_above_cost >= 0 && cost <= jit_inline_above_cost)
		r->stmt->jitFlags &= ~PGJIT_INLINE;
}

/* The quals that stay below: all before the first that predicts. */
static List *
quals_below(Plan *p)
{
	List *below = NIL;
	ListCell *cell;

	foreach (cell, p->qual)
	{
		if (neural_has_batch_call(lfirst(cell)))
			break;
		below = lappend(below, lfirst(cell));
	}
	return below;
}

static List *
lift_targets(Split *s, List *targets)
{
	List *lifted = NIL;
	ListCell *cell;

	foreach (cell, targets)
	{
		TargetEntry *entry = flatCopyTargetEntry(lfirst(cell));

		entry->expr = (Expr *) lift((Node *) entry->expr, s);
		lifted = lappend(lifted, entry);
	}
	return lifted;
}

/* A Result that only computes has no work left. */
static bool
is_plain_result(Plan *p)
{
	return IsA(p, Result) && p->lefttree != NULL && p->qual == NIL &&
		   p->initPlan == NIL && ((Result *) p)->resconstantqual == NULL;
}

static Plan *
split(Rewriting *r, Plan *p, Above above)
{
	Split s = {.rewriting = r, .node = p};
	List *below = quals_below(p), *above_quals, *params = NIL;
	CustomScan *node;
	bool must_not_fail, may_fail;

	above_quals = list_copy_tail(p->qual, list_length(below));
	collect_calls((Node *) above_quals, &s);
	collect_calls((Node *) p->targetlist, &s);
	/* a node of ours is worth its while for several rows only */
	if (s.calls == NIL || neural_plan_gives_one_row(p))
		return p;
	/* a LIMIT tells a Sort how much to keep, but not through our node */
	if (!neural_plan_passes_bound(p))
		above.bound = 0;
	if (above.bound == BOUND_UNKNOWN)
		return p;
	must_not_fail =
		above.stops && !(above.start > 0 && above.exact && above_quals == NIL);
	if (!neural_plan_reads_ahead(r->stmt, p, below, must_not_fail, &params))
		return p;
	may_fail = !must_not_fail &&
			   !neural_plan_reads_ahead(r->stmt, p, below, true, NULL);

	node = neural_batch_node();
	neural_plan_copy_estimates(&node->scan.plan, p);
	node->scan.plan.plan_node_id = ++r->last_id;
	/* only such a node is given shared memory, to count in */
	node->scan.plan.parallel_aware = above.parallel;
	node->custom_private = list_make5_int(above.start, above.bound, may_fail,
										  above.tried, above.stops);
	node->custom_private = list_concat(node->custom_private, params);
	if (is_plain_result(p))
	{
		s.direct = true;
		s.columns = p->lefttree->targetlist;
	}
	describe_tuple(&s, node);
	node->scan.plan.qual = (List *) lift((Node *) above_quals, &s);
	node->scan.plan.targetlist = lift_targets(&s, p->targetlist);
	describe_columns(&s, node);
	if (s.direct)
		node->scan.plan.lefttree = p->lefttree;
	else
	{
		p->targetlist = s.columns;
		p->qual = below;
		node->scan.plan.lefttree = p;
	}
	r->predicting += cost_of_calls(&s);
	r->changed = true;
	return (Plan *) node;
}

/* ---------- walking down the plan ---------- */

static const Above runs_to_the_end = {.start = NEURAL_BATCH_FULL};
static const Above may_stop = {.start = NEURAL_BATCH_GROW, .stops = true};

/* A node that wants rows for rows, but nobody knows how many. */
static Above
unknown(Above above)
{
	if (above.start != NEURAL_BATCH_FULL)
		above.start = NEURAL_BATCH_GROW;
	above.exact = false;
	above.bound = 0;
	return above;
}

/* It may even stop of its own accord. */
static Above
stopping(Above above)
{
	above = unknown(above);
	above.start = NEURAL_BATCH_GROW;
	above.stops = true;
	return above;
}

static bool
keeps_outer(JoinType type)
{
	return type == JOIN_LEFT || type == JOIN_ANTI || type == JOIN_FULL;
}

static bool
constant_count(Node *node, int64 *count)
{
	Const *c = (Const *) node;

	*count = 0;
	if (node == NULL)
		return true;
	if (!IsA(node, Const) || c->constisnull)
		return false;
	*count = DatumGetInt64(c->constvalue);
	return *count >= 0;
}

static Above
under_limit(Limit *limit, Above above)
{
	bool ties = limit->limitOption != LIMIT_OPTION_COUNT;
	Above below = may_stop;
	int64 count, offset;

	if (limit->limitCount == NULL)
		return unknown(above);
	below.bound = ties ? 0 : BOUND_UNKNOWN;
	if (!constant_count(limit->limitCount, &count) ||
		!constant_count(limit->limitOffset, &offset) || count == 0 ||
		count > PG_INT32_MAX || offset > PG_INT32_MAX - count)
		return below;
	if (!ties)
		below.bound = (int) (count + offset);
	if (above.stops)
		return below;
	below.start = (int) (count + offset);
	below.exact = !ties;
	return below;
}

/* What a node makes of the rows of its (outer) child. */
static Above
above_child(Plan *p, Above above)
{
	switch (nodeTag(p))
	{
		case T_Limit:
			return under_limit((Limit *) p, above);
		case T_ModifyTable:
		case T_Sort:
		case T_Hash:
			return runs_to_the_end;
		case T_Agg:
			return ((Agg *) p)->aggstrategy == AGG_SORTED ||
						   ((Agg *) p)->aggstrategy == AGG_MIXED
					   ? unknown(above)
					   : runs_to_the_end;
		case T_Result:
		case T_SubqueryScan:
			above.exact = above.exact && p->qual == NIL;
			if (!neural_plan_passes_bound(p))
				above.bound = 0;
			return above;
		case T_Append:
		case T_MergeAppend:
		case T_Gather:
		case T_GatherMerge:
		{
			int bound = above.bound;

			above = unknown(above);
			above.bound = bound;
			return above;
		}
		case T_MergeJoin:
			return stopping(above);
		case T_WindowAgg:
			/* ends where its run condition does not hold any more */
			return ((WindowAgg *) p)->runCondition != NIL ? stopping(above)
														  : unknown(above);
		case T_HashJoin:
			/* ends after a row when there is none to join it with */
			return keeps_outer(((Join *) p)->jointype) ? unknown(above)
													   : stopping(above);
		default:
			return unknown(above);
	}
}

static void
rewrite_list(Rewriting *r, List *plans, Above above)
{
	ListCell *cell;

	foreach (cell, plans)
		lfirst(cell) = rewrite(r, lfirst(cell), above);
}

/* A merge join goes back in its inner rows, which we cannot. */
static bool
goes_back(Plan *inner)
{
	return !IsA(inner, Sort) && !IsA(inner, Material);
}

static void
rewrite_children(Rewriting *r, Plan *p, Above above)
{
	Above below = above_child(p, above), inner = may_stop;

	below.tried = 0;
	below.parallel = above.parallel || IsA(p, Gather) || IsA(p, GatherMerge);
	inner.parallel = below.parallel;
	switch (nodeTag(p))
	{
		case T_SubqueryScan:
			((SubqueryScan *) p)->subplan =
				rewrite(r, ((SubqueryScan *) p)->subplan, below);
			return;
		case T_Append:
			rewrite_list(r, ((Append *) p)->appendplans, below);
			return;
		case T_MergeAppend:
			rewrite_list(r, ((MergeAppend *) p)->mergeplans, below);
			return;
		case T_NestLoop:
			p->lefttree = rewrite(r, p->lefttree, below);
			p->righttree = rewrite(r, p->righttree, inner);
			return;
		case T_MergeJoin:
			p->lefttree = rewrite(r, p->lefttree, below);
			if (!goes_back(p->righttree))
				p->righttree = rewrite(r, p->righttree, below);
			return;
		case T_HashJoin:
			p->lefttree = rewrite(r, p->lefttree, below);
			inner = unknown(above);
			inner.parallel = below.parallel;
			p->righttree = rewrite(r, p->righttree, inner);
			return;
		case T_Agg:
			if (neural_batch_slip_under(r->stmt, (Agg *) p, r->last_id + 1,
										below.stops, &below.tried))
				r->last_id++;
			/* fall through */
		case T_Limit:
		case T_ModifyTable:
		case T_Sort:
		case T_IncrementalSort:
		case T_Hash:
		case T_Material:
		case T_Memoize:
		case T_Group:
		case T_WindowAgg:
		case T_Unique:
		case T_SetOp:
		case T_LockRows:
		case T_Gather:
		case T_GatherMerge:
		case T_ProjectSet:
		case T_Result:
			if (p->lefttree != NULL)
				p->lefttree = rewrite(r, p->lefttree, below);
			return;
		default:
			return;
	}
}

static Plan *
rewrite(Rewriting *r, Plan *p, Above above)
{
	rewrite_children(r, p, above);
	if (neural_plan_is_splittable(p))
		return split(r, p, above);
	return p;
}

static void
rewrite_all(Rewriting *r)
{
	ListCell *cell;

	r->stmt->planTree =
		rewrite(r, r->stmt->planTree, (Above){.start = NEURAL_BATCH_GROW});
	foreach (cell, r->stmt->subplans)
		if (lfirst(cell) != NULL)
			lfirst(cell) = rewrite(r, lfirst(cell), may_stop);
	if (r->changed)
		decide_jit(r);
}

PlannedStmt *
neural_batch_plan(PlannedStmt *stmt, bool batches)
{
	Rewriting r = {0};

	if (!neural_plan_calls(stmt))
		return stmt;
	/* the plan may be somebody else's; and half a change is none */
	r.stmt = copyObject(stmt);
	r.last_id = neural_plan_last_id(r.stmt);
	if (batches)
		rewrite_all(&r);
	r.changed |= neural_batch_spell_out(r.stmt);
	return r.changed ? r.stmt : stmt;
}
