/*
 * predecessor.h
 *	  The version that a retraining repeats: to be compared with, and perhaps
 *	  to start from.
 *
 * Scores of two versions say little when each is measured on validation rows
 * of its own, so the predecessor predicts the very rows that judge the new
 * version.  They are taken from the new training's records; the predecessor
 * reads them with its own encoders.
 *
 * A warm start keeps the predecessor's encoders, classes and scales of targets
 * and begins with its parameters.
 */
#ifndef NEURAL_PREDECESSOR_H
#define NEURAL_PREDECESSOR_H

#include "neural.h"

#include "model_value.h"

struct NeuralTraining;
struct NeuralTarget;

typedef struct NeuralPredecessor
{
	int version;
	bool warm;
	const nn_model *model;
	NeuralLoadedModel *loaded; /* the same, ready to predict */
	double *out;			   /* predictions as of the new model; or NULL */
	double value;			   /* of the new training's metric; NaN: unknown */
} NeuralPredecessor;

/* From a value of type neural.model, in the current context. */
extern NeuralPredecessor *neural_predecessor(int version, Datum value,
											 bool warm);

/* Of a warm start: its features in place of new ones. */
extern void neural_predecessor_features(struct NeuralTraining *t);

/* Its classes come first in a target's dictionary, before rows are read. */
extern void neural_predecessor_classes(struct NeuralTraining *t,
									   struct NeuralTarget *target, int number);

/* Task, classes and scales must be, or become, its own. */
extern void neural_predecessor_targets(struct NeuralTraining *t);

/* Its parameters in place of first ones. */
extern void neural_predecessor_params(struct NeuralTraining *t);

/* Predict the validation rows, from records; out stays NULL if it cannot. */
extern void neural_predecessor_predict(NeuralPredecessor *p,
									   struct NeuralTraining *t);

#endif /* NEURAL_PREDECESSOR_H */
