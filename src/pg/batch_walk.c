/*
 * batch_walk.c
 *	  What batch_plan.c asks of a finished plan.
 *
 * The server has no walker for plans, so the nodes that are known are listed
 * here.  One that is not known is never split, and never read ahead of.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "catalog/pg_am_d.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "batch.h"
#include "batch_walk.h"

List *
neural_plan_children(Plan *p)
{
	List *list = NIL;

	switch (nodeTag(p))
	{
		case T_Append:
			list = list_copy(((Append *) p)->appendplans);
			break;
		case T_MergeAppend:
			list = list_copy(((MergeAppend *) p)->mergeplans);
			break;
		case T_BitmapAnd:
			list = list_copy(((BitmapAnd *) p)->bitmapplans);
			break;
		case T_BitmapOr:
			list = list_copy(((BitmapOr *) p)->bitmapplans);
			break;
		case T_SubqueryScan:
			list = list_make1(((SubqueryScan *) p)->subplan);
			break;
		case T_CustomScan:
			list = list_copy(((CustomScan *) p)->custom_plans);
			break;
		default:
			break;
	}
	if (p->lefttree != NULL)
		list = lappend(list, p->lefttree);
	if (p->righttree != NULL)
		list = lappend(list, p->righttree);
	return list;
}

static int
last_id(Plan *p)
{
	int last = p->plan_node_id;
	ListCell *cell;

	foreach (cell, neural_plan_children(p))
		last = Max(last, last_id(lfirst(cell)));
	return last;
}

int
neural_plan_last_id(PlannedStmt *stmt)
{
	int last = last_id(stmt->planTree);
	ListCell *cell;

	foreach (cell, stmt->subplans)
		if (lfirst(cell) != NULL)
			last = Max(last, last_id(lfirst(cell)));
	return last;
}

static bool
calls(Plan *p)
{
	ListCell *cell;

	if (neural_is_batch_node(p))
		return false; /* it has been split */
	if (neural_has_batch_call((Node *) p->targetlist) ||
		neural_has_batch_call((Node *) p->qual))
		return true;
	foreach (cell, neural_plan_children(p))
		if (calls(lfirst(cell)))
			return true;
	return false;
}

bool
neural_plan_calls(PlannedStmt *stmt)
{
	ListCell *cell;

	if (stmt->planTree == NULL)
		return false;
	if (calls(stmt->planTree))
		return true;
	foreach (cell, stmt->subplans)
		if (lfirst(cell) != NULL && calls(lfirst(cell)))
			return true;
	return false;
}

/* Not a join or an aggregate of foreign tables, nor a change of one. */
static bool
is_foreign_table(Plan *p)
{
	ForeignScan *scan = (ForeignScan *) p;

	return scan->operation == CMD_SELECT && scan->scan.scanrelid > 0 &&
		   scan->fdw_scan_tlist == NIL;
}

bool
neural_plan_scans_table(Plan *p)
{
	switch (nodeTag(p))
	{
		case T_SeqScan:
		case T_SampleScan:
		case T_IndexScan:
		case T_BitmapHeapScan:
		case T_TidScan:
		case T_TidRangeScan:
		case T_SubqueryScan:
		case T_FunctionScan:
		case T_TableFuncScan:
		case T_ValuesScan:
		case T_CteScan:
		case T_NamedTuplestoreScan:
		case T_WorkTableScan:
			return true;
		case T_ForeignScan:
			return is_foreign_table(p);
		default:
			return false;
	}
}

bool
neural_plan_passes_bound(Plan *p)
{
	return IsA(p, Result) || (IsA(p, SubqueryScan) && p->qual == NIL);
}

bool
neural_plan_is_splittable(Plan *p)
{
	if (p->async_capable)
		return false;
	switch (nodeTag(p))
	{
		case T_IndexOnlyScan:
			return true;
		case T_Result:
			return p->lefttree != NULL;
		case T_NestLoop:
		case T_MergeJoin:
		case T_HashJoin:
			return true;
		default:
			return neural_plan_scans_table(p);
	}
}

static bool
finds_one_entry(Oid indexid, List *quals)
{
	Relation index = index_open(indexid, NoLock);
	Bitmapset *found = NULL;
	bool one = index->rd_index->indisunique && index->rd_index->indimmediate &&
			   index->rd_rel->relam == BTREE_AM_OID;
	int keys = index->rd_index->indnkeyatts;
	ListCell *cell;

	foreach (cell, quals)
	{
		OpExpr *qual = lfirst(cell);
		Var *key;

		if (!IsA(qual, OpExpr) || list_length(qual->args) != 2)
			continue;
		key = linitial(qual->args);
		if (IsA(key, Var) && key->varno == INDEX_VAR && key->varattno <= keys &&
			get_op_opfamily_strategy(qual->opno,
									 index->rd_opfamily[key->varattno - 1]) ==
				BTEqualStrategyNumber)
			found = bms_add_member(found, key->varattno);
	}
	one = one && bms_num_members(found) == keys;
	bms_free(found);
	index_close(index, NoLock);
	return one;
}

bool
neural_plan_gives_one_row(Plan *p)
{
	if (IsA(p, IndexScan))
		return finds_one_entry(((IndexScan *) p)->indexid,
							   ((IndexScan *) p)->indexqual);
	if (IsA(p, IndexOnlyScan))
		return finds_one_entry(((IndexOnlyScan *) p)->indexid,
							   ((IndexOnlyScan *) p)->indexqual);
	return false;
}

Var *
neural_plan_column(TargetEntry *entry)
{
	return makeVar(OUTER_VAR, entry->resno, exprType((Node *) entry->expr),
				   exprTypmod((Node *) entry->expr),
				   exprCollation((Node *) entry->expr), 0);
}

static bool
collect_outer_columns(Node *node, Bitmapset **columns)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var) && ((Var *) node)->varno == OUTER_VAR)
		*columns = bms_add_member(*columns, ((Var *) node)->varattno);
	return expression_tree_walker(node, collect_outer_columns, columns);
}

Bitmapset *
neural_plan_outer_columns(Agg *agg)
{
	Bitmapset *columns = NULL;

	collect_outer_columns((Node *) agg->plan.targetlist, &columns);
	collect_outer_columns((Node *) agg->plan.qual, &columns);
	for (int i = 0; i < agg->numCols; i++)
		columns = bms_add_member(columns, agg->grpColIdx[i]);
	return columns;
}

void
neural_plan_copy_estimates(Plan *to, const Plan *from)
{
	to->startup_cost = from->startup_cost;
	to->total_cost = from->total_cost;
	to->plan_rows = from->plan_rows;
	to->plan_width = from->plan_width;
	to->parallel_safe = from->parallel_safe;
	to->extParam = bms_copy(from->extParam);
	to->allParam = bms_copy(from->allParam);
}

/* ---------- reading ahead ---------- */

typedef struct Ahead
{
	PlannedStmt *stmt;
	bool must_not_fail;
	List **params; /* that the executor sets */
} Ahead;

static bool plan_is_quiet(Plan *p, List *quals, Ahead *a);

static bool
subplan_is_quiet(int id, Ahead *a)
{
	Plan *p;

	if (id < 1 || id > list_length(a->stmt->subplans))
		return false;
	p = list_nth(a->stmt->subplans, id - 1);
	return p != NULL && plan_is_quiet(p, p->qual, a);
}

static bool
noisy_subplan_walker(Node *node, Ahead *a)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubPlan) && !subplan_is_quiet(((SubPlan *) node)->plan_id, a))
		return true;
	return expression_tree_walker(node, noisy_subplan_walker, a);
}

bool
neural_collect_params(Node *node, List **params)
{
	if (node == NULL)
		return false;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXEC)
		*params = list_append_unique_int(*params, ((Param *) node)->paramid);
	return expression_tree_walker(node, neural_collect_params, params);
}

static bool
is_quiet(void *expression, Ahead *a)
{
	Node *node = expression;

	if (node == NULL)
		return true;
	neural_collect_params(node, a->params);
	if (contain_volatile_functions(node) || noisy_subplan_walker(node, a))
		return false;
	return !a->must_not_fail || neural_cannot_fail(node);
}

/* The expressions that nodes of one kind only have. */
static bool
own_expressions_are_quiet(Plan *p, Ahead *a)
{
	switch (nodeTag(p))
	{
		case T_SeqScan:
		case T_BitmapAnd:
		case T_BitmapOr:
		case T_NamedTuplestoreScan:
		case T_SubqueryScan:
		case T_Append:
		case T_MergeAppend:
		case T_Material:
		case T_Sort:
		case T_IncrementalSort:
		case T_Group:
		case T_Agg:
		case T_Unique:
		case T_SetOp:
		case T_ProjectSet:
		case T_Gather:
		case T_GatherMerge:
		case T_RecursiveUnion:
		case T_WorkTableScan:
			return true;
		case T_ForeignScan:
			return ((ForeignScan *) p)->operation == CMD_SELECT &&
				   !a->must_not_fail &&
				   is_quiet(((ForeignScan *) p)->fdw_exprs, a) &&
				   is_quiet(((ForeignScan *) p)->fdw_recheck_quals, a);
		case T_SampleScan:
			return is_quiet(((SampleScan *) p)->tablesample->args, a) &&
				   is_quiet(((SampleScan *) p)->tablesample->repeatable, a);
		case T_IndexScan:
			return is_quiet(((IndexScan *) p)->indexqual, a) &&
				   is_quiet(((IndexScan *) p)->indexorderby, a);
		case T_IndexOnlyScan:
			return is_quiet(((IndexOnlyScan *) p)->indexqual, a) &&
				   is_quiet(((IndexOnlyScan *) p)->indexorderby, a);
		case T_BitmapIndexScan:
			return is_quiet(((BitmapIndexScan *) p)->indexqual, a);
		case T_BitmapHeapScan:
			return is_quiet(((BitmapHeapScan *) p)->bitmapqualorig, a);
		case T_TidScan:
			return is_quiet(((TidScan *) p)->tidquals, a);
		case T_TidRangeScan:
			return is_quiet(((TidRangeScan *) p)->tidrangequals, a);
		case T_FunctionScan:
			return is_quiet(((FunctionScan *) p)->functions, a);
		case T_TableFuncScan:
			return is_quiet(((TableFuncScan *) p)->tablefunc, a);
		case T_ValuesScan:
			return is_quiet(((ValuesScan *) p)->values_lists, a);
		case T_CteScan:
			return subplan_is_quiet(((CteScan *) p)->ctePlanId, a);
		case T_NestLoop:
			return is_quiet(((Join *) p)->joinqual, a);
		case T_MergeJoin:
			return is_quiet(((Join *) p)->joinqual, a) &&
				   is_quiet(((MergeJoin *) p)->mergeclauses, a);
		case T_HashJoin:
			return is_quiet(((Join *) p)->joinqual, a) &&
				   is_quiet(((HashJoin *) p)->hashclauses, a);
		case T_Hash:
			return is_quiet(((Hash *) p)->hashkeys, a);
		case T_Memoize:
			return is_quiet(((Memoize *) p)->param_exprs, a);
		case T_WindowAgg:
			return is_quiet(((WindowAgg *) p)->startOffset, a) &&
				   is_quiet(((WindowAgg *) p)->endOffset, a) &&
				   is_quiet(((WindowAgg *) p)->runCondition, a);
		case T_Limit:
			return is_quiet(((Limit *) p)->limitOffset, a) &&
				   is_quiet(((Limit *) p)->limitCount, a);
		case T_Result:
			return is_quiet(((Result *) p)->resconstantqual, a);
		default:
			return false;
	}
}

/*
 * Whether the node has read all that is below it before it gives a first row;
 * what fails there does so whether or not a second row is read.
 */
static bool
reads_all_at_first(Plan *p)
{
	return IsA(p, Sort) ||
		   (IsA(p, Agg) && (((Agg *) p)->aggstrategy == AGG_HASHED ||
							((Agg *) p)->aggstrategy == AGG_PLAIN));
}

/*
 * Has no effects (and cannot fail).  A node that has been split is quiet when
 * the one below it is, and its expressions are.
 */
static bool
plan_is_quiet(Plan *p, List *quals, Ahead *a)
{
	Ahead below = *a;
	ListCell *cell;

	check_stack_depth();
	below.must_not_fail &= !reads_all_at_first(p);
	if (neural_is_batch_node(p))
	{
		if (a->must_not_fail)
			return false;
	}
	else if (!own_expressions_are_quiet(p, a))
		return false;
	if (!is_quiet(p->targetlist, a) || !is_quiet(quals, a) ||
		noisy_subplan_walker((Node *) p->initPlan, a))
		return false;
	foreach (cell, neural_plan_children(p))
	{
		Plan *child = lfirst(cell);

		if (!plan_is_quiet(child, child->qual, &below))
			return false;
	}
	return true;
}

/*
 * The node's own target list does not count: it is evaluated when a row is
 * wanted.
 */
bool
neural_plan_reads_ahead(PlannedStmt *stmt, Plan *p, List *quals,
						bool must_not_fail, List **params)
{
	List *ignored = NIL;
	Ahead a = {.stmt = stmt,
			   .must_not_fail = must_not_fail,
			   .params = params != NULL ? params : &ignored};
	List *targets = p->targetlist;
	bool quiet;

	p->targetlist = NIL;
	quiet = plan_is_quiet(p, quals, &a);
	p->targetlist = targets;
	return quiet;
}
