/*
 * metric.h
 *	  How good predictions are.
 *
 * Computed on the host, in double, from all predictions at once.
 */
#ifndef NN_METRIC_H
#define NN_METRIC_H

#include "train.h"

typedef struct nn_metric_args
{
	nn_task task;
	int rows;
	int columns;		  /* of out: classes, or targets */
	const double *out;	  /* as from nn_predict */
	const double *y;	  /* classes: class number a row; else columns wide */
	const double *weight; /* one a row, or NULL */
	bool (*stop)(void);	  /* see nn_device; then NN_INTERRUPTED; or NULL */
} nn_metric_args;

typedef struct nn_metric_ops
{
	nn_named named; /* "accuracy", "roc_auc", "r2", "rmse", ... */
	unsigned tasks; /* bits 1 << nn_task */
	bool maximize;	/* greater is better */
	/* NaN when undefined, such as the AUC of rows of one class.  Precision,
	 * recall and F1 of more than two classes are unweighted class means. */
	bool (*value)(const nn_metric_args *a, nn_arena *scratch, double *value,
				  nn_error *err);
} nn_metric_ops;

extern const nn_metric_ops *const nn_metrics[];

/* The metric a task is judged by: accuracy or R2. */
extern const nn_metric_ops *nn_metric_default(nn_task task);

#endif /* NN_METRIC_H */
