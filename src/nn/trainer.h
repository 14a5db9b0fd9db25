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
	void *memory; /* device memory of the next three */
	double *sums; /* see below */
	nn_real *y;	  /* targets of its share of the batch */
	nn_real *weight;
	double *squares; /* host memory: of all slices, as sums has of its own */
	nn_optimizer_args *updates; /* host memory, by segment */
	size_t from, to;			/* slice of the parameters that it updates */
	double loss;				/* host memory: sum of its losses */
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
	int first; /* layer of the graph; negative: none */
	nn_mlp_args args;
	int dropout[NN_MLP_LAYERS]; /* number of that of a layer, if it has one */
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

/* Find the tail of a network that has memory; and take its gradient together
 * with that of what comes before it, if there is one. */
extern void nn_tail_find(tail *t, const nn_exec *e);
extern bool nn_tail_gradient(tail *t, nn_exec *e, const nn_pass *p,
							 const nn_loss *loss, const member *m, double scale,
							 bool weighted);

/* False, with NN_INTERRUPTED, when results may be undone. */
extern bool nn_trainer_goes_on(const nn_trainer *t, nn_error *err);

/* What part of t->batch a member takes. */
extern nn_pass nn_trainer_pass(nn_trainer *t, int number);

/* Rows of a batch from a number on, of x or what else it has, into y. */
extern void nn_trainer_rows(nn_device *d, const nn_batch *b, int from, int rows,
							int width, const nn_real *x, nn_real *y);

#endif /* NN_TRAINER_H */
