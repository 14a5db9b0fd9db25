/*
 * recipe.h
 *	  What is trained when the user leaves it to us.
 *
 * Everything follows from the columns, the task, the number of rows and of
 * threads; nothing from the clock or the machine's speed, so that the same
 * rows give the same plan.
 */
#ifndef NN_RECIPE_H
#define NN_RECIPE_H

#include "encode.h"
#include "train.h"

/* Settings of every column's encoder, where the user gives no others. */
typedef struct nn_recipe_setting
{
	const char *key, *value;
} nn_recipe_setting;

extern const nn_recipe_setting nn_recipe_settings[]; /* ends with NULL */

/*
 * Multiplications and additions a second that one thread is taken to do, all
 * other work of a step included: what a processor with AVX2 does at least.
 */
#define NN_RECIPE_RATE 20e9

/* How the default network is trained. */
typedef struct nn_recipe
{
	const char *loss, *optimizer, *schedule;
	double learning_rate;
} nn_recipe;

extern const nn_recipe *nn_recipe_training(nn_task task);

/* The default network, with a head of so many outputs. */
extern const char *nn_recipe_network(nn_arena *arena, const nn_layout *layout,
									 nn_task task, int outputs, nn_error *err);

/*
 * A network the user described, complete: before it what turns the sections
 * of an encoded row into one row of numbers (unless the text begins with an
 * input of its own), after it the head.
 */
extern const char *nn_recipe_complete(nn_arena *arena, const nn_layout *layout,
									  const char *layers, int outputs,
									  nn_error *err);

typedef struct nn_plan
{
	int batch_rows;
	int epochs;
	/* an epoch is so many rows: all of them, or less where a pass over all
	 * would leave too few epochs to choose the best one from */
	int64_t epoch_rows;
} nn_plan;

/* The batch: rows is the number of training rows. */
extern int nn_plan_batch(int64_t rows);

/* work is the graph's; seconds what the training may take. */
extern void nn_plan_epochs(nn_plan *plan, double work, int64_t rows,
						   int threads, double seconds, int max_epochs);

#endif /* NN_RECIPE_H */
