/*
 * evaluate.h
 *	  How good a model is on rows that hold its target.
 */
#ifndef NEURAL_EVALUATE_H
#define NEURAL_EVALUATE_H

#include "model_value.h"

/*
 * A metric of the model on these rows, read as the caller; NaN when there is
 * no such metric of its task, or no row with a target.
 */
extern double neural_evaluate_metric(NeuralLoadedModel *loaded,
									 const char *data, const char *metric);

#endif /* NEURAL_EVALUATE_H */
