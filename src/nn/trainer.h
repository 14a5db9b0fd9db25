/*
 * trainer.h
 *	  What trainer.c and step.c share.
 */
#ifndef NN_TRAINER_H
#define NN_TRAINER_H

#include "train.h"

/* A parameter that a gradient moves, as a part of the block of all. */
typedef struct segment
{
	size_t from, to;
	double rate;
	bool kernel;
} segment;

typedef struct member
{
	nn_device device;
	bool opened;
	nn_exec *exec;
	void *memory; /* device memory of the next four */
	double *sums; /* see below */
	nn_real *y;	  /* targets of its share of the batch */
	nn_real *weight;
	uint32_t *index; /* which rows are its share, where they are in disorder, */
	uint32_t *host_index; /* and the same in host memory */
	double *squares; /* host memory: of all slices, as sums has of its own */
	nn_optimizer_args *updates; /* host memory, by segment in its slice */
	int nupdates;
	size_t from, to; /* slice of the parameters that it updates */
	double loss;	 /* host memory: sum of its losses */
} member;

/* What a member adds up; the last is an array. */
enum
{
	SUM_LOSS,	 /* since last asked for */
	SUM_PENALTY, /* nobody asks, but the kernel that adds its slope gives it */
	SUM_SQUARES	 /* of each segment of the gradient, or of all */
};

/* The last layers, where a kernel takes them as a whole (tail.c). */
typedef struct tail
{
	int first;	/* layer of the graph; negative: none */
	bool whole; /* nothing is before it */
	/* whether nothing is between a gradient and its update */
	bool updates;
	nn_mlp_args args;
	int dropout[NN_MLP_LAYERS]; /* number of that of a layer, if it has one */
	int w_segment[NN_MLP_LAYERS], b_segment[NN_MLP_LAYERS];
} tail;

struct nn_trainer
{
	const nn_graph *graph;
	nn_trainer_conf conf;
	nn_team *team;
	int size; /* of the team */
	member *members;
	int nsegments;
	segment *segments;
	nn_real *params; /* followed by the slots */
	nn_real *slot[3];
	size_t state_size; /* bytes of both */
	tail tail;
	bool norms; /* whether norms of gradients are needed */
	int64_t step;
	int64_t rows; /* since the loss was last asked for */

	/* what the team is working at */
	const nn_batch *batch;
	double rate;
	nn_real *out;
};

/* Rows of a batch that each of so many members takes at most. */
static inline int
nn_trainer_share(int rows, int members)
{
	return rows / members + (rows % members != 0);
}

/* Find the tail of the network of a trainer that has memory; and take the
 * gradient of its batch, all of the network's.  False: there is no tail. */
extern void nn_tail_find(nn_trainer *t);
extern bool nn_tail_gradient(nn_trainer *t, member *m, const nn_pass *p);

/* False, with NN_INTERRUPTED, when results may be undone. */
extern bool nn_trainer_goes_on(const nn_trainer *t, nn_error *err);

/* Rows of a batch from a number on. */
static inline nn_rows
nn_trainer_which(const nn_batch *b, int from)
{
	return (nn_rows){b->which.order, b->which.first + (uint32_t) from};
}

/* What part of t->batch a member takes. */
extern nn_pass nn_trainer_pass(nn_trainer *t, int number);

/* Rows of a batch from a number on: which they are, which is to be said first;
 * and those of x, or of what else it has, into y. */
extern void nn_trainer_find_rows(member *m, const nn_batch *b, int from,
								 int rows);
extern void nn_trainer_rows(member *m, const nn_batch *b, int from, int rows,
							int width, const nn_real *x, nn_real *y);
/* The targets of a pass, and its weights. */
extern void nn_trainer_targets(nn_trainer *t, member *m, const nn_pass *p);

#endif /* NN_TRAINER_H */
