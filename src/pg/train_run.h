/*
 * train_run.h
 *	  A training from its request to its published version: the one path of
 *	  neural.train, neural.retrain and background jobs.
 *
 * What differs is where transactions end.  A function has one transaction for
 * all.  A procedure and a job have three: one reads, the second computes and
 * holds no snapshot meanwhile, so that vacuum is not kept from its work, and
 * the third publishes.  kill -9 at any moment leaves the model as it was or as
 * it is to be.
 */
#ifndef NEURAL_TRAIN_RUN_H
#define NEURAL_TRAIN_RUN_H

#include "training.h"

#include "publish.h"

typedef enum NeuralTransactions
{
	NEURAL_ONE_TRANSACTION,
	NEURAL_OF_PROCEDURE, /* under SPI_connect_ext(SPI_OPT_NONATOMIC) */
	NEURAL_OF_WORKER	 /* with an active snapshot pushed by the caller */
} NeuralTransactions;

typedef struct NeuralRun
{
	/* wanted */
	NeuralTransactions transactions;
	const char *function; /* for messages: "neural.train()" */
	const char *schema, *table;
	Oid relid; /* of the model; InvalidOid where it is to be made */
	const char *data;
	NeuralTrainOptions *options;
	NeuralActivate activate;
	int elevel;
	Jsonb *settings; /* to train under, or NULL */

	/* a retraining acts as the model's owner */
	Oid owner; /* else InvalidOid */
	int predecessor_version;
	Datum predecessor;
	bool warm;

	/* what came of it */
	NeuralTraining *training;
	int version;
	bool active;

	/* while it acts as somebody else */
	Oid saved_user;
	int saved_context, guc_level;
} NeuralRun;

/* What is palloc'd in the current context must outlive transactions. */
extern void neural_run(NeuralRun *run);

/*
 * To act as the owner under the settings of the request, as REFRESH
 * MATERIALIZED VIEW does, or, without an owner, under the settings only.
 * Must not span the end of a transaction.
 */
extern void neural_run_enter(NeuralRun *run);
extern void neural_run_leave(NeuralRun *run);

/* "churn", or "sales.churn" where it is not visible. */
extern char *neural_run_model(Oid relid);

/* One line about what came of it. */
extern char *neural_run_report(const NeuralRun *run);

#endif /* NEURAL_TRAIN_RUN_H */
