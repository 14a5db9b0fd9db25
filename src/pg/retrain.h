/*
 * retrain.h
 *	  Repeating the training of a model's active version.
 */
#ifndef NEURAL_RETRAIN_H
#define NEURAL_RETRAIN_H

#include "train_run.h"

/* Beside what of its training is kept, and for this time only. */
typedef struct NeuralRetrainOptions
{
	bool warm;
	Jsonb *overrides; /* options of neural.train; or NULL */
} NeuralRetrainOptions;

/* One may retrain what one owns; refuses all others, and what is no model. */
extern void neural_retrain_check(Oid relid, const char *function);

/* Returns one line about what came of it, in the current context. */
extern char *neural_retrain(Oid relid, const NeuralRetrainOptions *options,
							NeuralTransactions transactions, int elevel);

/* To act as the model's owner, without more. */
extern void neural_retrain_owner(Oid relid, NeuralRun *run);

/*
 * Act as the owner under the settings of the active version's training, to
 * look at the data that run->data then is, until neural_run_leave.
 */
extern void neural_retrain_enter(Oid relid, NeuralRun *run);

/*
 * How a procedure that ends transactions was called, or an error.  arg is that
 * of its argument in_transaction, or -1.
 */
extern NeuralTransactions neural_procedure(FunctionCallInfo fcinfo,
										   const char *function, int arg);

#endif /* NEURAL_RETRAIN_H */
