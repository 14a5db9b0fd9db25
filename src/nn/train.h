/*
 * train.h
 *	  Losses, optimizers, schedules, and one training step.
 *
 * The engine has no training loop.  Its caller has: it brings a batch, takes
 * a step, looks at the clock or at its interrupts, and brings the next.
 */
#ifndef NN_TRAIN_H
#define NN_TRAIN_H

#include "graph.h"

/* How the network's output becomes what the user sees. */
typedef enum nn_link
{
	NN_LINK_IDENTITY,
	NN_LINK_SIGMOID,
	NN_LINK_SOFTMAX,
	NN_LINK_EXP
} nn_link;

/* What a loss can learn. */
typedef enum nn_task
{
	NN_REGRESSION, /* numbers */
	NN_BINARY,	   /* one of two classes */
	NN_MULTICLASS, /* one of several classes */
	NN_MULTILABEL  /* several yes-or-no targets */
} nn_task;

typedef struct nn_loss_ops
{
	nn_named named;
	nn_loss_kind kind;
	nn_link link;
	bool categorical; /* a class number a row; outputs = number of classes */
	unsigned tasks;	  /* bits 1 << nn_task */
	void (*params)(const void *conf, double p[2]);
} nn_loss_ops;

typedef struct nn_optimizer_ops
{
	nn_named named;
	nn_optimizer_kind kind;
	double learning_rate;			/* default */
	int (*slots)(const void *conf); /* numbers kept for each parameter */
	double (*slot_value)(const void *conf); /* initial; NULL: zeros */
	void (*args)(const void *conf, nn_optimizer_args *a); /* all but n, t.. */
} nn_optimizer_ops;

/*
 * A schedule gives the factor of the learning rate.  step counts from 0, of
 * steps in all.  plateau also looks at the validation loss, by observe.
 */
typedef struct nn_schedule_ops
{
	nn_named named;
	size_t state_size;
	double (*factor)(const void *conf, const void *state, double rate,
					 int64_t step, int64_t steps, int64_t steps_per_epoch);
	void (*observe)(const void *conf, void *state, double loss); /* or NULL */
	bool (*check)(const void *conf, nn_error *err);				 /* or NULL */
} nn_schedule_ops;

/* Names known from Keras or PyTorch, but not offered, each with a sentence
 * that says what to use instead, or NULL.  The list ends with a NULL name. */
typedef struct nn_absent
{
	const char *name;
	const char *hint;
} nn_absent;

extern const nn_loss_ops *const nn_losses[];
extern const nn_optimizer_ops *const nn_optimizers[];
extern const nn_schedule_ops *const nn_schedules[];

/* A named thing with its configuration, parsed from text such as
 * "adam(beta_1 = 0.9)"; print gives the canonical text back. */
typedef struct nn_loss
{
	const nn_loss_ops *ops;
	void *conf;
	double p[2];
	/* probabilities are corrected for label smoothing: p' = max((p - a/C) /
	 * (1 - a), 0.002/C), renormalised */
	bool undo;
	const char *text;
} nn_loss;

typedef struct nn_optimizer
{
	const nn_optimizer_ops *ops;
	void *conf;
	double learning_rate; /* given as an argument, else the default */
	double weight_decay;  /* given as an argument (adamw has a default) */
	double clipvalue, clipnorm, global_clipnorm; /* 0: off; Keras' arguments */
	const char *text;
} nn_optimizer;

typedef struct nn_schedule
{
	const nn_schedule_ops *ops;
	void *conf, *state;
	const char *text;
} nn_schedule;

/*
 * Parse text that names one thing of a list of things that begin with an
 * nn_named.  Returns the thing, its configuration and its canonical text.
 */
extern const void *nn_named_parse(nn_arena *arena, const char *what,
								  const void *const *list,
								  const nn_absent *absent, const char *text,
								  void **conf, const char **canonical,
								  nn_error *err);

extern nn_loss *nn_loss_parse(nn_arena *arena, const char *text, nn_error *err);
extern nn_optimizer *nn_optimizer_parse(nn_arena *arena, const char *text,
										nn_error *err);
extern nn_schedule *nn_schedule_parse(nn_arena *arena, const char *text,
									  nn_error *err);

/* The learning rate of a step. */
extern double nn_schedule_rate(const nn_schedule *s, double rate, int64_t step,
							   int64_t steps, int64_t steps_per_epoch);
/* Tell the schedule the validation loss of an epoch. */
extern void nn_schedule_observe(nn_schedule *s, double loss);

/*
 * Apply the loss's link to rows of outputs in host memory, in place.  classes
 * is the row's width.
 */
extern void nn_link_apply(const nn_loss *loss, int rows, int classes,
						  nn_real *y);

/* Rows of matrices in device memory; "host" says of a device with memory of its
 * own that they are in the host's nevertheless. */
typedef struct nn_batch
{
	int rows;
	bool host;
	nn_rows which;		   /* rows of the following; zero: the first */
	const nn_real *x;	   /* encoded rows, layout->width wide */
	const nn_real *y;	   /* targets, target_width wide */
	const nn_real *weight; /* one a row, or NULL */
} nn_batch;

typedef struct nn_trainer_conf
{
	const nn_loss *loss;
	const nn_optimizer *optimizer;
	int target_width;
	int batch_rows; /* most rows of a batch */
	int threads;
	double l1, l2; /* of kernels */
	uint64_t seed;
	nn_precision precision;
	bool (*stop)(void); /* see nn_device; then NN_INTERRUPTED */
} nn_trainer_conf;

typedef struct nn_trainer nn_trainer;

/* params: host memory, graph->nparams numbers, copied. */
extern nn_trainer *nn_trainer_create(nn_arena *arena, const nn_graph *g,
									 const nn_device_ops *device,
									 const nn_trainer_conf *conf,
									 const nn_real *params, nn_error *err);
/* Stops the threads, frees device memory.  NULL is fine. */
extern void nn_trainer_release(nn_trainer *t);

/* Bytes of device memory a trainer would take, for the budget. */
extern size_t nn_trainer_size(const nn_graph *g, const nn_device_ops *device,
							  const nn_trainer_conf *conf,
							  nn_error *err);

/*
 * Learn from one batch: the gradient of sum(weight * loss) / rows plus the
 * L1/L2 penalty, at this learning rate.  May return before the device is done.
 * After NN_INTERRUPTED the parameters are of no use.
 */
extern bool nn_trainer_step(nn_trainer *t, const nn_batch *b, double rate,
							nn_error *err);

/*
 * Wait; the mean loss (without the penalty) over the rows since last asked,
 * and any device failure since then.  NaN or infinity when it diverged.
 */
extern bool nn_trainer_sync(nn_trainer *t, double *loss, nn_error *err);

/* Outputs of the network (before the link) for rows; y in host memory. */
extern bool nn_trainer_predict(nn_trainer *t, const nn_batch *b, nn_real *y,
							   nn_error *err);

/* Copy the parameters out to (or in from) host memory. */
extern bool nn_trainer_params(nn_trainer *t, nn_real *params, nn_error *err);
extern bool nn_trainer_set_params(nn_trainer *t, const nn_real *params,
								  nn_error *err);

/*
 * What a training goes on from, on any device: parameters, which come first,
 * and what the optimizer keeps.  The state is host memory of so many bytes.
 * Restored with the number of steps that had been taken, the same batches
 * teach the same.
 */
extern size_t nn_trainer_state_size(const nn_trainer *t);
extern bool nn_trainer_save(nn_trainer *t, void *state, nn_error *err);
extern bool nn_trainer_restore(nn_trainer *t, const void *state, int64_t steps,
							   nn_error *err);

/* The mean loss of predictions before the link, by the loss's formula. */
extern double nn_loss_value(const nn_loss *loss, int rows, int columns,
							const nn_real *pred, const nn_real *y,
							const nn_real *weight);

#endif /* NN_TRAIN_H */
