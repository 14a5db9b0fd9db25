/*
 * batch_walk.h
 *	  What batch_plan.c asks of a finished plan.
 */
#ifndef NEURAL_BATCH_WALK_H
#define NEURAL_BATCH_WALK_H

#include "postgres.h"

#include "nodes/plannodes.h"

/* Whether a node anywhere calls what may be predicted in batches. */
extern bool neural_plan_calls(PlannedStmt *stmt);

/* All nodes right below. */
extern List *neural_plan_children(Plan *p);

/* The columns of its child that an aggregate wants. */
extern Bitmapset *neural_plan_outer_columns(Agg *agg);

/* The greatest plan_node_id. */
extern int neural_plan_last_id(PlannedStmt *stmt);

/* Whether the node is of a kind that computes expressions and can be split. */
extern bool neural_plan_is_splittable(Plan *p);

/* Whether it tells its child how many rows a LIMIT above wants. */
extern bool neural_plan_passes_bound(Plan *p);

/* Whether its variables are those of one table of the query. */
extern bool neural_plan_scans_table(Plan *p);

/* A child's column, for the node above it. */
extern Var *neural_plan_column(TargetEntry *entry);

/* What a new node has in common with the one that it is made from. */
extern void neural_plan_copy_estimates(Plan *to, const Plan *from);

/*
 * Make the calls in an aggregate's arguments columns of its child (batch_slip.c).
 * True when a new child was needed, which has this plan_node_id.  stops: the
 * aggregate may do without further rows.  Columns from *tried on, if that is
 * set, are to be NULL rather than call the function.
 */
extern bool neural_batch_slip_under(PlannedStmt *stmt, Agg *agg, int id,
									bool stops, int *tried);

/*
 * Spell out the rows of calls that are left, in place (batch_spell.c).  True
 * when there was one.
 */
extern bool neural_batch_spell_out(PlannedStmt *stmt);

/* Whether it is known to give one row at most. */
extern bool neural_plan_gives_one_row(Plan *p);

/*
 * Whether nobody can notice that rows of the node are read before they are
 * wanted, if it has these quals.  must_not_fail: because they may never be
 * wanted, reading them must not raise errors, either.  As long as one of the
 * parameters added to *params is to be computed by a subquery, that may yet
 * raise an error, or be noticed.
 */
extern bool neural_plan_reads_ahead(PlannedStmt *stmt, Plan *p, List *quals,
									bool must_not_fail, List **params);

/* Add the parameters that the executor sets. */
extern bool neural_collect_params(Node *node, List **params);

#endif /* NEURAL_BATCH_WALK_H */
