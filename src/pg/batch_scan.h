/*
 * batch_scan.h
 *	  The state of a Custom Scan (NeuralPredict): batch_scan.c moves rows,
 *	  batch_predict.c predicts them.
 */
#ifndef NEURAL_BATCH_SCAN_H
#define NEURAL_BATCH_SCAN_H

#include "postgres.h"

#include "access/parallel.h"
#include "commands/explain.h"
#include "nodes/execnodes.h"
#include "port/atomics.h"

#include "batch.h"
#include "predict_device.h"

typedef struct BatchScan BatchScan;
typedef struct BatchTeam BatchTeam;
typedef struct BatchMembers BatchMembers;

/* What EXPLAIN says of a node's work. */
typedef struct BatchCounts
{
	uint64 batches, predicted, replayed, microseconds;
} BatchCounts;

typedef struct BatchShared
{
	pg_atomic_uint64 batches, predicted, replayed, microseconds;
} BatchShared;

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
	BatchMembers *members; /* of the team; NULL: not used yet */
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
	bool may_fail;			 /* computing the row may */
	AttrNumber model_column; /* 0: the same model for all rows */
	int nfields;			 /* of a row that is spelled out; 0: it is not */
	BatchField *fields;
	bool in_order; /* the fields are the columns of the node below */
	int last;	   /* column up to which a row must be taken apart */
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
	int start;			 /* NeuralBatchStart */
	int bound;			 /* rows at most; 0: no bound */
	bool may_fail;		 /* reading rows may */
	bool calls_may_fail; /* computing a call's row may */
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
	int64 read;		 /* rows, in this scan */
	BatchTeam *team; /* NULL: not needed yet */

	/* for EXPLAIN */
	int threads; /* at most at the same time */
	BatchCounts counts;
	BatchShared *shared; /* of all processes; NULL: this one is alone */
};

/* Whether there is a call that a batch may serve now; makes room for one. */
extern bool neural_batch_ready(BatchScan *b);

/* Take over the model that the call's function has found. */
extern void neural_batch_adopt(BatchCall *c);

/* Let go of its models. */
extern void neural_batch_forget(BatchCall *c);

/* Read a row for a call; false when the function will have to be called. */
extern bool neural_batch_read(BatchCall *c, TupleTableSlot *row, int number);

/*
 * The same for all rows of the batch and all calls for which that may fail,
 * which has been left out so far.
 */
extern void neural_batch_read_failing(BatchScan *b);

/* Show a row of the batch that has been kept whole to all expressions. */
extern void neural_batch_show_whole(BatchScan *b, int row);

/* Predict what has been read. */
extern void neural_batch_predict(BatchScan *b);

/*
 * How many threads are to predict so many rows, and predicting by several:
 * rows of numbers, or of a layer's output, as the call wants (batch_team.c).
 */
extern int neural_batch_threads(const BatchScan *b, const NeuralPredictState *s,
								int rows);
extern void neural_batch_team_predict(BatchScan *b, BatchModel *m, int threads,
									  const char *records, int rows, void *out);

/* The result for the row at hand. */
extern Datum neural_batch_finish(BatchCall *c);

/* What EXPLAIN says, with the work of all processes (batch_explain.c). */
extern void neural_batch_explain(CustomScanState *node, List *ancestors,
								 ExplainState *es);
extern Size neural_batch_estimate_shared(CustomScanState *node,
										 ParallelContext *pcxt);
extern void neural_batch_init_shared(CustomScanState *node,
									 ParallelContext *pcxt, void *shared);
extern void neural_batch_reinit_shared(CustomScanState *node,
									   ParallelContext *pcxt, void *shared);
extern void neural_batch_attach_shared(CustomScanState *node, shm_toc *toc,
									   void *shared);
extern void neural_batch_shutdown(CustomScanState *node);
extern void neural_batch_count(BatchScan *b, BatchCounts add);

#endif /* NEURAL_BATCH_SCAN_H */
