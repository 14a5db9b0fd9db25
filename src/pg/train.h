/*
 * train.h
 *	  The arguments of neural.train and its kin, and what it returns.
 */
#ifndef NEURAL_TRAIN_H
#define NEURAL_TRAIN_H

#include "train_run.h"

#include "access/htup.h"

/* The first sixteen arguments of a call, checked, as a request. */
extern void neural_train_request(FunctionCallInfo fcinfo, const char *function,
								 NeuralRun *run);

/* A row of type neural.train_result. */
extern HeapTuple neural_train_result(const NeuralRun *run, TupleDesc desc);

#endif /* NEURAL_TRAIN_H */
