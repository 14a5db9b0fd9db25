/*
 * model.h
 *	  What is stored and what predicts: encoders, networks, parameters,
 *	  targets.
 *
 * A model may hold several networks over the same encoded row, whose outputs
 * (after the link) are averaged.
 */
#ifndef NN_MODEL_H
#define NN_MODEL_H

#include "encode.h"
#include "format.h"
#include "team.h"
#include "train.h"

#define NN_MAX_TARGETS		 1024
#define NN_MAX_NETWORKS		 64
#define NN_MAX_MODEL_CLASSES 100000

/* What the labels of a class target are in the database. */
typedef enum nn_label_type
{
	NN_LABEL_TEXT,	  /* text, enum, uuid */
	NN_LABEL_BOOLEAN, /* "false", "true" */
	NN_LABEL_NUMBER	  /* integers, as text */
} nn_label_type;

typedef struct nn_target
{
	const char *name;
	const char *type_name;	  /* SQL type of the column, such as "integer" */
	nn_label_type label_type; /* classes */
	int nclasses;			  /* 0: a number */
	const char **classes;	  /* in order of class number */
	/* numbers: encoded = (value - mean) / scale; predictions are clamped to
	 * min .. max, the range of the training rows, where clamp is set */
	double mean, scale, min, max;
	bool clamp;
} nn_target;

typedef struct nn_network
{
	nn_graph *graph;
	const nn_real *params; /* graph->nparams, host memory */
} nn_network;

typedef struct nn_model
{
	nn_arena *arena;
	nn_features *features;
	nn_task task;
	int ntargets;
	nn_target *targets;
	const nn_loss *loss;
	int nnetworks;
	nn_network *networks;
	const char *time_zone;	 /* in which timestamps were read, or NULL */
	const char *description; /* JSON of how it was trained: the caller's own */
	int outputs;			 /* numbers of a predicted row, see nn_predict */
} nn_model;

/* Numbers of a row of the networks' output, by task and loss. */
extern int nn_model_outputs(nn_task task, const nn_loss *loss, int ntargets,
							const nn_target *targets);

/*
 * The magic, the format version and a digest of what follows come first:
 *
 *	 0	8	"NNMODEL\n"
 *	 8	4	format version (u32)
 *	12	4	oldest reader's version (u32)
 *	16	8	length of the whole (u64)
 *	24	32	SHA-256 of all bytes from 56 on, filled in by the caller
 *	56	8	zero
 *	64	..	sections
 */
#define NN_MODEL_MAGIC		 "NNMODEL\n"
#define NN_MODEL_DIGEST_AT	 24
#define NN_MODEL_DIGEST_SIZE 32
#define NN_MODEL_DIGEST_FROM 56
#define NN_MODEL_HEADER		 64

extern bool nn_model_write(const nn_model *m, nn_writer *w, nn_error *err);

/* Check magic, version and length of the header only: cheap. */
extern bool nn_model_check_header(const void *bytes, size_t n, nn_error *err);

/* max_memory: bytes the loaded model may take, 0: no limit but the bytes'. */
extern nn_model *nn_model_read(nn_arena *arena, const void *bytes, size_t n,
							   nn_crc32c crc32c, size_t max_memory,
							   nn_error *err);

/*
 * Predicting: records in, numbers out; synchronous, on one thread.  Where the
 * device's kernels are row_independent, a row alone and among others gives the
 * same bits.
 *
 * A row of the output is: regression, the targets' values in their own units;
 * binary and multiclass, a probability for each class (two for binary);
 * multilabel, the probability of true for each target.
 */
typedef struct nn_predictor nn_predictor;

extern nn_predictor *nn_predictor_create(nn_arena *arena, const nn_model *m,
										 const nn_device_ops *device,
										 int max_rows, nn_error *err);
extern void nn_predictor_release(nn_predictor *p); /* NULL is fine */
/* Bytes of device memory that it takes; 0 and *err when that overflows. */
extern size_t nn_predictor_size(const nn_model *m, const nn_device_ops *device,
								int max_rows, nn_error *err);
/* What the networks take for a row among so many, by the clock, encoding not
 * counted; negative when the device failed. */
extern double nn_predictor_seconds(nn_predictor *p, int rows, nn_error *err);
extern bool nn_predict(nn_predictor *p, const char *records, int rows,
					   double *out, nn_error *err);
/* The output of the layer labelled so (or numbered, "3"), of network 0: rows
 * of *width numbers.  NN_UNDEFINED when there is no such layer. */
extern bool nn_embed(nn_predictor *p, const char *records, int rows, int layer,
					 nn_real *out, nn_error *err);
extern bool nn_model_layer(const nn_model *m, const char *name, int *layer,
						   int *width, nn_error *err);

/*
 * Predicting by a team while its caller does something else (predict_team.c).
 * The members take rows, so many at a time, until none are left; what a row
 * becomes does not depend on who took it.
 */
typedef struct nn_share
{
	/* the same model for each member of the team */
	nn_predictor *const *predictors;
	int layer; /* negative: nn_predict, else nn_embed */
	const char *records;
	int rows, at_a_time;
	void *out;
	size_t record_size, out_size; /* bytes of a row */
	int taken;					  /* rows, so far */
} nn_share;

typedef struct nn_shared_work
{
	nn_team *team;
	nn_share *shares;
	int nshares;
	bool stop, failed;
	nn_error err;
} nn_shared_work;

/* Set the members to work, all but the caller.  All of it, and what it points
 * to, must stay until nn_work_wait. */
extern void nn_work_start(nn_shared_work *w);
/* A part of it by the caller; false: there is none left to take. */
extern bool nn_work_help(nn_shared_work *w);
/* Wait for the others; false and *err when any failed. */
extern bool nn_work_wait(nn_shared_work *w, nn_error *err);
/* The same, and what nobody has taken is left undone. */
extern void nn_work_stop(nn_shared_work *w);

/* Raw network outputs to the output row of nn_predict, for callers (the
 * training loop) that have them already.  raw is overwritten. */
extern void nn_model_finish_outputs(const nn_model *m, int rows, nn_real *raw,
									double *out);

/* The same in two parts, for several networks: add the outputs of one (which
 * are overwritten) to out, the first of them setting it; then make out the
 * mean of so many networks in the targets' own units. */
extern void nn_model_add_outputs(const nn_model *m, int rows, bool first,
								 nn_real *raw, double *out);
extern void nn_model_scale_outputs(const nn_model *m, int rows, int networks,
								   double *out);

/* Numbers of a row that nn_predict gives. */
extern int nn_model_predicted(nn_task task, int ntargets,
							  const nn_target *targets);

#endif /* NN_MODEL_H */
