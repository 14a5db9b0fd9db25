/*
 * predict_device.h
 *	  On what device the rows of a query are predicted.
 *
 * neural.predict_device says.  The results of a GPU differ from those of the
 * CPU in their last bits, so it is used only where that setting allows it, and
 * then for all rows of a query's NeuralPredict nodes: the decision is made
 * once for a query, when the first of its models is known.
 */
#ifndef NEURAL_PREDICT_DEVICE_H
#define NEURAL_PREDICT_DEVICE_H

#include "commands/explain.h"
#include "nodes/execnodes.h"

#include "predict_state.h"

typedef enum NeuralPredictDevice
{
	NEURAL_PREDICT_CPU,
	NEURAL_PREDICT_AUTO, /* the GPU where that takes less time */
	NEURAL_PREDICT_CUDA
} NeuralPredictDevice;

extern int neural_predict_device;

/* The decision of a query. */
typedef struct NeuralPlacement
{
	struct NeuralPlacement *next;
	MemoryContext query; /* it is of, and lives in */
	bool parallel;		 /* other processes decide, too */
	double rows;		 /* that are expected to be predicted */
	bool decided, gpu;
	bool required;	  /* nothing but the GPU will do */
	char reason[320]; /* what decided, or empty */
} NeuralPlacement;

/* That of the running query, to which so many rows are added. */
extern NeuralPlacement *neural_placement(EState *estate, double rows);

/*
 * The device that a state's model predicts on: decides where that has not been
 * done, and brings the model there.  Returns whether it is a GPU.
 */
extern bool neural_predict_place(NeuralPredictState *s);

/* Rows that are predicted at once, there. */
extern int neural_predict_rows(NeuralPredictState *s);

/* Predict records, or give the output of the state's layer. */
extern void neural_predict_run(NeuralPredictState *s, const char *records,
							   int rows, double *out);
extern void neural_predict_run_layer(NeuralPredictState *s, const char *records,
									 int rows, nn_real *out);

/* What EXPLAIN says. */
extern void neural_placement_explain(const NeuralPlacement *p,
									 ExplainState *es);

/*
 * Let go of the models on the device that no query uses: all, or the least
 * recently used until so many bytes are left of neural.gpu_memory_limit.
 */
extern void neural_device_models_forget(void);
extern void neural_device_models_trim(Size bytes);

/* Settings, from _PG_init. */
extern void neural_predict_device_init(void);

#endif /* NEURAL_PREDICT_DEVICE_H */
