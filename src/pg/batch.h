/*
 * batch.h
 *	  Predicting in batches: how its parts fit together.
 *
 * The planner plans a query as if predicting were any function.  In the
 * finished plan (batch_plan.c) a node that calls it is split: below stays the
 * node, which now delivers columns; above comes a Custom Scan (NeuralPredict)
 * (batch_scan.c), which reads rows ahead, predicts them together, and then
 * evaluates the node's expressions row by row.  Only how a value is computed
 * changes, never which rows there are or in which order.
 *
 * In those expressions a call stands without arguments; it asks for the value
 * of the row at hand (neural_batch_value).  If the batch has one, that is it.
 * If not (nothing has been predicted yet, or the row could not be read), the
 * function is called as it would have been, with the arguments evaluated then.
 * So a value that CASE or AND does not ask for raises no error, a model is
 * looked up, and its privileges checked, when the first row asks for it, and
 * every error is that of the function, at the row and the place where it
 * belongs.  A batch never raises an error of its own.
 *
 * Calls in an aggregate's arguments are first made columns of its child
 * (batch_slip.c); the rows of calls that remain one by one are spelled out
 * (batch_spell.c).  Large batches are shared by threads (batch_team.c), or go
 * to a GPU (predict_device.c).
 */
#ifndef NEURAL_BATCH_H
#define NEURAL_BATCH_H

#include "nodes/plannodes.h"

#include "neural.h"

/* Settings (batch_hooks.c). */
extern bool neural_enable_batch;
extern bool neural_batch_cursors;
extern int neural_batch_rows;
extern int neural_predict_threads; /* 0: as many as a query has processes */

/* Which arguments a function of the family has (batch_calls.c). */
typedef enum NeuralCallKind
{
	NEURAL_CALL_NONE,  /* not one of them */
	NEURAL_CALL_TABLE, /* (regclass, record, ...) */
	NEURAL_CALL_CAST,  /* likewise; the result is cast, which may fail */
	NEURAL_CALL_VALUE, /* (neural.model, record) */
	NEURAL_CALL_ARRAY  /* (regclass, float8[]) */
} NeuralCallKind;

extern NeuralCallKind neural_call_kind(Oid function);

/* Whether the node is a call whose rows may be predicted in batches. */
extern bool neural_is_batch_call(Node *node);

/* Whether there is one in an expression. */
extern bool neural_has_batch_call(Node *node);

/*
 * Whether evaluating it can never raise an error, and has no effects; once the
 * parameters that a subquery gives are known.
 */
extern bool neural_cannot_fail(Node *node);

/* Whether there is a parameter that the executor sets. */
extern bool neural_has_exec_param(Node *node);

/*
 * Split the nodes of a plan, if there are to be batches, and spell out the
 * rows of all calls that are left; the plan itself when there is nothing to do.
 */
extern PlannedStmt *neural_batch_plan(PlannedStmt *stmt, bool batches);

/*
 * What an upper node knows of how many rows it will read: the first batch.
 */
typedef enum NeuralBatchStart
{
	NEURAL_BATCH_FULL = -1, /* all there are */
	NEURAL_BATCH_GROW = 0	/* nothing; any greater number: at least as many */
} NeuralBatchStart;

/*
 * Whether the query that is running may be left before its end, by a portal
 * that wants so many rows, or an SQL function that wants the first.
 */
extern bool neural_may_be_left;

/*
 * The node (batch_scan.c): its place in plans, the value of a call, and for a
 * function that it calls, by the call's context, where its query predicts.
 */
extern CustomScan *neural_batch_node(void);
extern bool neural_is_batch_node(Plan *plan);
extern void neural_batch_register(void);
extern Datum neural_batch_value(FunctionCallInfo fcinfo);
extern struct NeuralPlacement *neural_batch_placement(Node *context);

/* Settings and hooks, from _PG_init. */
extern void neural_batch_init(void);

#endif /* NEURAL_BATCH_H */
