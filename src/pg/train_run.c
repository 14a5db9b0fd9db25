/*
 * train_run.c
 *	  A training from its request to its published version.
 *
 * On an error the transaction's abort gives back user, settings and locks, and
 * the training's memory context everything else; so nothing is caught here.
 */
#include "train_run.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/namespace.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "model_value.h"
#include "settings.h"
#include "tcop/pquery.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/*
 * --- on whose behalf ---
 */

void
neural_run_enter(NeuralRun *run)
{
	GetUserIdAndSecContext(&run->saved_user, &run->saved_context);
	if (OidIsValid(run->owner))
		SetUserIdAndSecContext(run->owner, run->saved_context |
											   SECURITY_RESTRICTED_OPERATION);
	run->guc_level = NewGUCNestLevel();
	neural_settings_apply(run->settings);
}

void
neural_run_leave(NeuralRun *run)
{
	/* what the owner's functions set is not the caller's */
	AtEOXact_GUC(!OidIsValid(run->owner), run->guc_level);
	SetUserIdAndSecContext(run->saved_user, run->saved_context);
}

/*
 * --- transactions ---
 */

/* The next transaction; its snapshot is not taken yet. */
static void
next_transaction(const NeuralRun *run)
{
	MemoryContext old = CurrentMemoryContext;

	switch (run->transactions)
	{
		case NEURAL_ONE_TRANSACTION:
			break;
		case NEURAL_OF_PROCEDURE:
			SPI_commit();
			break;
		case NEURAL_OF_WORKER:
			if (ActiveSnapshotSet())
				PopActiveSnapshot();
			CommitTransactionCommand();
			StartTransactionCommand();
			break;
	}
	MemoryContextSwitchTo(old);
}

static void
take_snapshot(const NeuralRun *run)
{
	if (run->transactions == NEURAL_OF_PROCEDURE)
		EnsurePortalSnapshotExists();
	else if (run->transactions == NEURAL_OF_WORKER)
		PushActiveSnapshot(GetTransactionSnapshot());
}

/*
 * --- publishing ---
 */

/* The model may have been renamed, given away or dropped meanwhile. */
static void
find_again(NeuralRun *run)
{
	if (!OidIsValid(run->relid))
		return;
	run->table = get_rel_name(run->relid);
	if (run->table == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("model was dropped while it was trained")));
	neural_check_model_table(run->relid);
	run->schema = get_namespace_name(get_rel_namespace(run->relid));
	if (OidIsValid(run->owner) && !pg_class_ownercheck(run->relid, run->owner))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("model \"%s\" was given to another owner while "
							   "it was trained",
							   run->table)));
}

static void
publish(NeuralRun *run)
{
	const NeuralTraining *t = run->training;
	NeuralVersion v = {0};

	v.model = neural_model_datum(t->model);
	v.training = neural_json_parse(t->training_json);
	v.metrics = neural_json_parse(t->metrics);
	v.history = neural_json_parse(neural_training_history(t));
	v.note = run->options->note;
	v.metric = t->metric->named.name;
	v.value = t->value;
	v.maximize = t->metric->maximize;
	v.rival = run->predecessor_version;
	v.rival_value = t->predecessor ? t->predecessor->value : NAN;
	run->version = neural_publish(run->schema, run->table, &v, run->activate,
								  &run->active, &run->relid);
}

void
neural_run(NeuralRun *run)
{
	NeuralTraining *t;

	neural_run_enter(run);
	t = run->training = neural_training_begin(
		neural_source_open(run->data), run->options, run->table, run->elevel);
	t->spans_transactions = run->transactions != NEURAL_ONE_TRANSACTION;
	if (run->predecessor_version > 0)
	{
		MemoryContext old = MemoryContextSwitchTo(t->context);

		t->predecessor = neural_predecessor(run->predecessor_version,
											run->predecessor, run->warm);
		MemoryContextSwitchTo(old);
	}
	neural_training_gather(t);
	neural_run_leave(run);

	next_transaction(run);
	neural_training_compute(t);

	next_transaction(run);
	take_snapshot(run);
	find_again(run);
	neural_run_enter(run);
	publish(run);
	neural_run_leave(run);
}

/*
 * --- saying what came of it ---
 */

char *
neural_run_model(Oid relid)
{
	return quote_qualified_identifier(
		RelationIsVisible(relid) ? NULL
								 : get_namespace_name(get_rel_namespace(relid)),
		get_rel_name(relid));
}

char *
neural_run_report(const NeuralRun *run)
{
	const NeuralTraining *t = run->training;
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfo(&s, "version %d of %s %s: %s %.4g", run->version,
					 neural_run_model(run->relid),
					 run->active ? "is active" : "stays aside",
					 t->metric->named.name, t->value);
	if (t->predecessor != NULL && !isnan(t->predecessor->value))
		appendStringInfo(&s, ", version %d has %.4g", t->predecessor->version,
						 t->predecessor->value);
	appendStringInfo(&s, "; " INT64_FORMAT " rows, %d epochs, %.1f s", t->rows,
					 t->nhistory, t->seconds);
	return s.data;
}
