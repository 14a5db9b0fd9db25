/*
 * batch_explain.c
 *	  What EXPLAIN says of a Custom Scan (NeuralPredict).
 *
 * A parallel worker has a node of its own.  It adds what it does to counters
 * in shared memory before its rows go to the leader, which takes the counters
 * over once it has all rows.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "utils/lsyscache.h"

#include "batch_scan.h"

/* ---------- the work of several processes ---------- */

Size
neural_batch_estimate_shared(CustomScanState *node, ParallelContext *pcxt)
{
	return sizeof(BatchShared);
}

void
neural_batch_init_shared(CustomScanState *node, ParallelContext *pcxt,
						 void *shared)
{
	BatchShared *s = shared;

	pg_atomic_init_u64(&s->batches, 0);
	pg_atomic_init_u64(&s->predicted, 0);
	pg_atomic_init_u64(&s->replayed, 0);
	pg_atomic_init_u64(&s->microseconds, 0);
	((BatchScan *) node)->shared = s;
}

/* The counts of a scan that has been stopped stay, to be added to. */
void
neural_batch_reinit_shared(CustomScanState *node, ParallelContext *pcxt,
						   void *shared)
{
}

void
neural_batch_attach_shared(CustomScanState *node, shm_toc *toc, void *shared)
{
	((BatchScan *) node)->shared = shared;
}

void
neural_batch_count(BatchScan *b, BatchCounts add)
{
	BatchCounts *c = &b->counts;

	c->batches += add.batches;
	c->predicted += add.predicted;
	c->replayed += add.replayed;
	c->microseconds += add.microseconds;
	if (b->shared == NULL || !IsParallelWorker())
		return;
	pg_atomic_fetch_add_u64(&b->shared->batches, add.batches);
	pg_atomic_fetch_add_u64(&b->shared->predicted, add.predicted);
	pg_atomic_fetch_add_u64(&b->shared->replayed, add.replayed);
	pg_atomic_fetch_add_u64(&b->shared->microseconds, add.microseconds);
}

void
neural_batch_shutdown(CustomScanState *node)
{
	BatchScan *b = (BatchScan *) node;
	BatchShared *s = b->shared;

	if (s == NULL || IsParallelWorker())
		return;
	b->shared = NULL;
	b->counts.batches += pg_atomic_read_u64(&s->batches);
	b->counts.predicted += pg_atomic_read_u64(&s->predicted);
	b->counts.replayed += pg_atomic_read_u64(&s->replayed);
	b->counts.microseconds += pg_atomic_read_u64(&s->microseconds);
}

/* ---------- what it says ---------- */

/* A model by its name, and its version where that is known. */
static char *
model_name(BatchCall *c, ExplainState *es)
{
	Node *arg = linitial(c->expr->args);
	StringInfoData name;
	Oid relid = InvalidOid;

	if (c->kind == NEURAL_CALL_VALUE)
		return "value";
	if (c->nmodels > 0)
		relid = c->models[0].state->relid;
	else if (IsA(arg, Const) && !((Const *) arg)->constisnull)
		relid = DatumGetObjectId(((Const *) arg)->constvalue);
	if (get_rel_name(relid) == NULL)
		return "parameter";
	initStringInfo(&name);
	if (es->verbose)
		appendStringInfo(&name, "%s.",
						 get_namespace_name(get_rel_namespace(relid)));
	appendStringInfoString(&name, get_rel_name(relid));
	if (c->nmodels > 0)
		appendStringInfo(&name, " version %d", c->last_version);
	return name.data;
}

void
neural_batch_explain(CustomScanState *node, List *ancestors, ExplainState *es)
{
	BatchScan *b = (BatchScan *) node;
	List *names = NIL;

	for (int i = 0; i < b->ncalls; i++)
	{
		char *name = model_name(&b->calls[i], es);
		bool known = false;
		ListCell *cell;

		foreach (cell, names)
			known |= strcmp(lfirst(cell), name) == 0;
		if (!known)
			names = lappend(names, name);
	}
	if (es->format == EXPLAIN_FORMAT_TEXT && list_length(names) == 1)
		ExplainPropertyText("Model", linitial(names), es);
	else
		ExplainPropertyList("Models", names, es);
	neural_placement_explain(b->placement, es);
	if (!es->analyze)
		return;
	if (b->threads > 1)
		ExplainPropertyInteger("Threads", NULL, b->threads, es);
	ExplainPropertyInteger("Batches", NULL, b->counts.batches, es);
	ExplainPropertyInteger("Rows Predicted", NULL, b->counts.predicted, es);
	ExplainPropertyInteger("Rows Replayed", NULL, b->counts.replayed, es);
	if (es->timing)
		ExplainPropertyFloat("Network Time", "ms",
							 b->counts.microseconds / 1000.0, 3, es);
}
