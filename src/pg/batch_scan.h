/*
 * batch_scan.h
 *	  The state of a Custom Scan (NeuralPredict): batch_scan.c moves rows,
 *	  batch_predict.c predicts them.
 */
#ifndef NEURAL_BATCH_SCAN_H
#define NEURAL_BATCH_SCAN_H

#include "postgres.h"

#include "commands/explain.h"
#include "nodes/execnodes.h"

#include "batch.h"
#include "predict_device.h"

typedef struct BatchScan BatchScan;

/* A row's value of a call: where in the outputs of which model. */
typedef struct BatchPlace
{
	int model; /* or one of these: */
	int row;
} BatchPlace;

#define PLACE_UNKNOWN (-1) /* the function must be called */
#define PLACE_NULL	  (-2)

/* Models that one call predicts with at the same time, at most. */
#define BATCH_MODELS 16

typedef struct BatchModel
{
	MemoryContext context;
	NeuralPredictState *state;
	Oid toast_relid, toast_value; /* of the value seen last, when outside */
	Size record_size, out_size;	  /* of a row */
	int rows, room;
	char *records;
	char *out;
} BatchModel;

typedef struct BatchField
{
	AttrNumber column; /* of the node below; 0: */
	ExprState *expr;   /* NULL: a constant */
} BatchField;

typedef struct BatchCall
{
	BatchScan *scan;
	FuncExpr *expr;
	NeuralCallKind kind;

	/* calling the function */
	FmgrInfo function;
	FunctionCallInfo fcinfo;
	ExprState **args;
	bool has_param; /* that may be changed between scans */

	/* reading rows */
	AttrNumber model_column; /* 0: the same model for all rows */
	int nfields;			 /* of a row that is spelled out; 0: it is not */
	BatchField *fields;
	bool in_order; /* the fields are the columns of the node below */
	int last;	   /* column that is read */
	Datum *values;
	bool *nulls;

	/* predicting */
	int nmodels;
	BatchModel models[BATCH_MODELS];
	BatchPlace *places;		/* of the rows of the batch */
	int64 predicted, asked; /* rows, and those of them that were wanted */
	int last_version;

	/* the value of the row at hand */
	BatchPlace place;
	bool known, isnull;
	Datum value;
} BatchCall;

struct BatchScan
{
	CustomScanState css;
	int start;	   /* NeuralBatchStart */
	int bound;	   /* rows at most; 0: no bound */
	bool may_fail; /* reading rows may */
	int ncalls, ncolumns;
	BatchCall *calls;
	NeuralPlacement *placement;
	int nkept;
	AttrNumber *kept; /* columns */
	bool evaluates;	  /* expressions, to read rows */
	ExprState *qual;
	ProjectionInfo *projection;
	TupleTableSlot *full_slot;

	/* the batch */
	MemoryContext context;	   /* of what all batches use */
	MemoryContext row_context; /* of one */
	int room;				   /* rows; 0: nothing has been allocated */
	int nrows, next;
	MinimalTuple *full; /* of rows that are kept whole, else NULL */
	Datum *values;
	bool *nulls;
	Size bytes; /* of records and outputs */
	bool ended;
	int64 read; /* rows, in this scan */

	/* for EXPLAIN */
	int64 batches, predicted, replayed;
	instr_time network_time;
};

/* Whether there is a call that a batch may serve now; makes room for one. */
extern bool neural_batch_ready(BatchScan *b);

/* Take over the model that the call's function has found. */
extern void neural_batch_adopt(BatchCall *c);

/* Let go of its models. */
extern void neural_batch_forget(BatchCall *c);

/* Read a row for a call; false when the function will have to be called. */
extern bool neural_batch_read(BatchCall *c, TupleTableSlot *row, int number);

/* Predict what has been read. */
extern void neural_batch_predict(BatchScan *b);

/* The result for the row at hand. */
extern Datum neural_batch_finish(BatchCall *c);

extern void neural_batch_explain(CustomScanState *node, List *ancestors,
								 ExplainState *es);

#endif /* NEURAL_BATCH_SCAN_H */
