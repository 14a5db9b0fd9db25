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

/*
 * There are two batches: the rows of one come out while those of the other are
 * being predicted.
 */
#define BATCHES 2

/* Of a batch, what one model predicts. */
typedef struct BatchRecords
{
	int rows, room;
	char *records;
	char *out;
} BatchRecords;

typedef struct BatchModel
{
	MemoryContext context;
	NeuralPredictState *state;
	Oid toast_relid, toast_value; /* of the value seen last, when outside */
	Size record_size, out_size;	  /* of a row */
	BatchRecords of[BATCHES];
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
	List *params;	/* in the row */
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
	BatchPlace *places[BATCHES]; /* of their rows */
	int64 predicted, asked;		 /* rows, and those of them that were wanted */
	int last_version;

	/* the value of the row at hand */
	BatchPlace place;
	bool known, isnull;
	Datum value;
} BatchCall;

typedef struct Batch
{
	MemoryContext context; /* of its rows */
	int nrows, next;
	MinimalTuple *full; /* of rows that are kept whole, else NULL */
	Datum *values;
	bool *nulls;
	Size bytes; /* of records and outputs */
	bool last;	/* nothing may be read before its rows have come out */
} Batch;

struct BatchScan
{
	CustomScanState css;
	int start;			 /* NeuralBatchStart */
	List *params;		 /* that the node below may look at */
	int bound;			 /* rows at most; 0: no bound */
	bool may_fail;		 /* reading rows may */
	bool stops;			 /* a node above may do without further rows */
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

	/* the batches */
	MemoryContext context; /* of what they share */
	int room;			   /* rows of each; 0: nothing has been allocated */
	Batch batches[BATCHES];
	int shown; /* the one whose rows come out; the other is read */
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

/* Whether one of the parameters has yet to be computed by a subquery. */
extern bool neural_batch_is_open(BatchScan *b, List *params);

/* Take over the model that the call's function has found. */
extern void neural_batch_adopt(BatchCall *c);

/* Let go of its models. */
extern void neural_batch_forget(BatchCall *c);

/* The same, and of what the function found: its arguments may have changed. */
extern void neural_batch_renew(BatchCall *c);

/* Read a row of a batch for a call; false when the function will have to be
 * called. */
extern bool neural_batch_read(BatchCall *c, int batch, TupleTableSlot *row,
							  int number);

/*
 * The same for all its rows and all calls for which that may fail, which has
 * been left out so far.
 */
extern void neural_batch_read_failing(BatchScan *b, int batch);

/* Show a row that has been kept whole to all expressions. */
extern void neural_batch_show_whole(BatchScan *b, int batch, int row);

/* Predict what has been read, or set threads to it, and wait for them. */
extern void neural_batch_start(BatchScan *b, int batch);
extern void neural_batch_wait(BatchScan *b);

/*
 * Predicting by several threads (batch_team.c).  A batch's work is added to
 * what there is to do, and then started; false: it is better done at once.
 */
extern bool neural_team_add(BatchScan *b, BatchModel *m, int batch);
extern void neural_team_start(BatchScan *b);
extern bool neural_team_is_busy(const BatchScan *b);
extern void neural_team_wait(BatchScan *b);
/* What is under way is not wanted any more. */
extern void neural_team_stop(BatchScan *b);

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
