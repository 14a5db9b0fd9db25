/*
 * training.h
 *	  One training: its phases, and what they hand on.
 *
 *	check		what can be refused before reading (training_plan.c)
 *	read		rows become records (training_read.c); targets.c and split.c
 *				know of their own slots in them
 *	encode		encoders learn from the training rows, records become numbers
 *				(dataset.c)
 *	plan		network, loss, optimizer, number of epochs (training_plan.c)
 *	train		epochs and steps (training_loop.c)
 *	report		metrics, and the training as JSON (training_report.c)
 *
 * Only the first two look at the database.  A caller that wants to hold no
 * snapshot while computing ends its transaction after neural_training_gather
 * (train_run.c).
 *
 * All memory is under one context.  Threads and device memory are released by
 * a callback of it, temporary files go with it or with the transaction; so an
 * error or a cancel at any point needs no cleaning up.
 */
#ifndef NEURAL_TRAINING_H
#define NEURAL_TRAINING_H

#include "neural.h"

#include "../nn/metric.h"
#include "../nn/model.h"
#include "../nn/recipe.h"
#include "cells.h"
#include "lib/ilist.h"
#include "lib/stringinfo.h"
#include "portability/instr_time.h"
#include "predecessor.h"
#include "progress.h"
#include "records.h"
#include "source.h"
#include "train_options.h"

/* Fewer rows say nothing. */
#define NEURAL_MIN_ROWS 10

/* Labels met lately, of a type whose values are their own keys. */
#define NEURAL_MEMO_LABELS 16

typedef struct NeuralLabelMemo
{
	bool by_value;
	Datum value[NEURAL_MEMO_LABELS];
	int32 number[NEURAL_MEMO_LABELS]; /* in the dictionary, plus 1; 0: none */
} NeuralLabelMemo;

typedef struct NeuralTarget
{
	const char *name;
	int column; /* of the source */
	int at;		/* of the row that is read */
	Oid type;
	bool by_label; /* classes are told apart by text, not by number */
	NeuralLabelReader label;
	nn_dictionary *dictionary; /* by_label */
	NeuralLabelMemo memo;
	int *code;	  /* dictionary's number -> class */
	double first; /* number of class 0, when not by_label */
	int64 nulls, infinite;
} NeuralTarget;

typedef enum NeuralSplitKind
{
	NEURAL_SPLIT_NONE,
	NEURAL_SPLIT_RANDOM,
	NEURAL_SPLIT_COLUMN, /* a boolean: true is for validation */
	NEURAL_SPLIT_TIME,	 /* the last rows by a column */
	NEURAL_SPLIT_GROUP	 /* whole groups of a column */
} NeuralSplitKind;

typedef struct NeuralSplit
{
	NeuralSplitKind kind;
	double fraction; /* NaN: chosen by the number of rows */
	int column;		 /* of the source, or 0 */
	int at;			 /* of the row that is read */
	Oid type;
	NeuralLabelReader label;
	nn_dictionary *groups;
} NeuralSplit;

/* Encoded rows, in memory or in a file. */
typedef struct NeuralDataset
{
	int64 rows;
	int width, target_width;
	nn_real *x, *y, *weight; /* weight NULL: all 1 */
	NeuralRecords *file;	 /* rows of x, y, weight; then x is NULL */
	int block_rows;			 /* of the file */
} NeuralDataset;

/* What was asked for. */
typedef enum NeuralDeviceWish
{
	NEURAL_DEVICE_AUTO,
	NEURAL_DEVICE_CPU,
	NEURAL_DEVICE_CUDA
} NeuralDeviceWish;

typedef struct NeuralEpoch
{
	double loss, validation_loss, metric, rate, seconds;
} NeuralEpoch;

typedef struct NeuralTraining
{
	MemoryContext context;
	dlist_node running; /* among those of this process */
	bool listed;
	nn_arena *arena;
	const NeuralTrainOptions *options;
	const NeuralSource *source;
	const char *name; /* of the model, for messages */
	int elevel;		  /* of notes to the user: NOTICE, or DEBUG1 in fit */
	bool automatic;	  /* the network is ours to choose */
	instr_time started;
	const char *query;	  /* of the session */
	const char *settings; /* JSON, of the session */
	int train_seconds;	  /* neural.train_seconds, likewise */
	NeuralProgress progress;

	/* set by the caller before rows are read */
	bool spans_transactions;		/* between reading and computing */
	NeuralPredecessor *predecessor; /* or NULL */

	/* read */
	nn_features *features;
	NeuralRowReader *reader;
	List *columns; /* of the source that are read */
	NeuralScan *scan;
	int nextras; /* columns of its rows that are targets, weight, split */
	int *extras;
	Datum *values; /* of such columns, in a row that is not taken apart */
	bool *nulls;
	int ntargets;
	NeuralTarget *targets;
	int weight_column, weight_at;
	bool weighs; /* a row to learn from has a weight above 0 */
	Oid weight_type;
	NeuralSplit split;
	size_t extra_at; /* doubles in a record: targets, weight, split */
	NeuralRecords *records;
	int64 skipped;		   /* rows whose target is NULL */
	const char *time_zone; /* of timestamps with time zone; NULL: none */

	/* decided */
	nn_task task;
	nn_target *model_targets;
	double *class_weight; /* by class, or NULL */
	int64 rows;
	uint8 *use; /* by row: 1 training, 0 validation */
	int64 training_rows, validation_rows;

	/* encoded */
	NeuralDataset training, validation;

	/* planned */
	nn_loss *loss;
	nn_optimizer *optimizer;
	nn_schedule *schedule; /* or NULL */
	double learning_rate;
	nn_graph *graph;
	nn_plan plan;
	bool drop_partial; /* batches that are not full */
	int threads;
	const nn_device_ops *device;
	const nn_metric_ops *metric;
	nn_trainer_conf conf;

	/* a device that has memory of its own (training_device.c), and the rows
	 * that lie there (device_rows.c) */
	NeuralDeviceWish device_wish;
	bool gpu_used;		/* a slot is held */
	Size trainer_bytes; /* of device memory, counted */
	bool rows_on_device;
	nn_device rows_device;
	void *device_rows[3];
	int ndevice_rows;
	Size device_bytes;

	/* trained */
	nn_trainer *trainer;
	nn_real *params; /* the model's */
	nn_model *model;
	NeuralEpoch *history;
	int nhistory;
	int best_epoch; /* from 1 */
	double seconds;
	double read_seconds, encode_seconds; /* of them */

	/* reported */
	double value;		 /* of the metric */
	double loss_value;	 /* of the validation rows, if there are any */
	const char *metrics; /* JSON */
	const char *profile; /* JSON; of the training rows (training_profile.c) */
	const char *training_json;
} NeuralTraining;

/* Bytes of the outputs of a row when it is judged: raw, and as probabilities. */
#define NEURAL_JUDGED_BYTES(outputs)                                           \
	((Size) (outputs) * (sizeof(nn_real) + sizeof(double)))

/* Slots of the caller's own in a record. */
static inline double *
neural_extra(const NeuralTraining *t, char *record)
{
	return (double *) (record + t->extra_at);
}

#define NEURAL_WEIGHT_SLOT(t) ((t)->ntargets)
#define NEURAL_SPLIT_SLOT(t)  ((t)->ntargets + 1)
#define NEURAL_EXTRA_SLOTS(t) ((t)->ntargets + 2)

/* All phases; the result's fields are then set.  (training.c) */
extern NeuralTraining *neural_training_run(const NeuralSource *source,
										   const NeuralTrainOptions *options,
										   const char *name, int elevel);

/* The same in parts: begin; check and read; all the rest. */
extern NeuralTraining *neural_training_begin(const NeuralSource *source,
											 const NeuralTrainOptions *options,
											 const char *name, int elevel);
extern void neural_training_gather(NeuralTraining *t);
extern void neural_training_compute(NeuralTraining *t);

extern void neural_training_check(NeuralTraining *t);
extern void neural_training_read(NeuralTraining *t);
extern void neural_training_plan(NeuralTraining *t);
extern void neural_training_encode(NeuralTraining *t);
extern void neural_training_loop(NeuralTraining *t);
extern void neural_training_report(NeuralTraining *t);

/* What the training rows are like, for neural.drift; sets t->profile. */
extern void neural_training_profile(NeuralTraining *t);

/* Bytes that are left of neural.max_memory, the trainer's not counted. */
extern Size neural_training_memory_left(const NeuralTraining *t);

/* Seconds since the training began. */
extern double neural_training_seconds(const NeuralTraining *t);

/*
 * targets.c: open before reading, read each row (false: it has no target),
 * decide when all are read; scale when it is known which rows are trained on.
 */
extern void neural_targets_open(NeuralTraining *t);
extern bool neural_targets_read(NeuralTraining *t, const Datum *values,
								const bool *nulls, char *record);
extern void neural_targets_decide(NeuralTraining *t);
extern void neural_targets_scale(NeuralTraining *t);
extern int neural_target_class(const NeuralTraining *t, int target,
							   double slot);
extern int neural_target_width(const NeuralTraining *t);
extern void neural_targets_encode(const NeuralTraining *t, const double *extra,
								  nn_real *y);

/* split.c, in the same order. */
extern void neural_split_open(NeuralTraining *t);
extern double neural_split_read(NeuralTraining *t, Datum value, bool isnull);
extern void neural_split_decide(NeuralTraining *t);

/*
 * dataset.c: batches in random order, for the training's device or else to be
 * read by the host.
 */
typedef struct NeuralStream NeuralStream;

extern NeuralStream *neural_stream(NeuralTraining *t, const NeuralDataset *d,
								   bool for_device);
extern void neural_stream_next(NeuralStream *s, nn_batch *batch);

/* As if it were new and had given so many batches; the device may be another. */
extern void neural_stream_rewind(NeuralStream *s, int64 batches);

/* Up to n rows of x, evenly drawn; returns how many. */
extern int neural_dataset_sample(const NeuralTraining *t,
								 const NeuralDataset *d, int n, nn_real *x);

/*
 * training_device.c: what the device was asked to be, before reading; what it
 * is, when the network is known, and whether the rows go there, too.  After a
 * failure to take device memory: whether there is something else to try.
 */
extern void neural_device_check(NeuralTraining *t);
extern void neural_device_choose(NeuralTraining *t);
/* That of products, where it is not that of all numbers; else NULL. */
extern const char *neural_training_precision(const NeuralTraining *t);
extern bool neural_device_next(NeuralTraining *t, const nn_error *err);
/* After any other failure: whether the CPU is to go on, for which all of the
 * GPU's has been given back. */
extern bool neural_device_lost(NeuralTraining *t, const nn_error *err);
extern void neural_device_release(NeuralTraining *t);

/*
 * device_rows.c: where on the training's device the rows of a dataset are, to
 * which they are copied; false when they are not there.
 */
extern bool neural_device_rows(NeuralTraining *t, const NeuralDataset *d,
							   const nn_real **x, const nn_real **y,
							   const nn_real **weight);
extern void neural_device_rows_release(NeuralTraining *t);

/* training_loop.c: outputs before the link for all rows of the dataset. */
extern void neural_training_predict(NeuralTraining *t, const NeuralDataset *d,
									nn_real *raw);

/* Targets of all rows as metrics compare them with predictions. */
extern void neural_training_targets(const NeuralTraining *t,
									const NeuralDataset *d, double *y);

/* JSON as text: each adds a comma where one is needed. */
extern void neural_append_key(StringInfo s, const char *key);
extern void neural_append_text(StringInfo s, const char *key,
							   const char *value);
extern void neural_append_number(StringInfo s, const char *key, double value);
extern void neural_append_integer(StringInfo s, const char *key, int64 value);
extern void neural_append_list(StringInfo s, const char *key, List *texts);
extern Jsonb *neural_json_parse(const char *text);

/* History as a JSON array. */
extern const char *neural_training_history(const NeuralTraining *t);

#endif /* NEURAL_TRAINING_H */
