/*
 * progress.h
 *	  How far the trainings of all sessions are.
 *
 * Where the library is preloaded, each training has a slot in shared memory,
 * which the view neural.progress shows.  Else only pg_stat_activity tells.
 */
#ifndef NEURAL_PROGRESS_H
#define NEURAL_PROGRESS_H

#include "neural.h"

#include "datatype/timestamp.h"

/* What is not known yet is NaN, zero or NULL. */
typedef struct NeuralProgress
{
	char phase[16];
	int epoch, epochs;
	int64 rows; /* that the training has */
	double loss, validation_loss, best, rows_per_second;
	char device[32];
	int64 memory;		/* bytes */
	TimestampTz finish; /* expected; 0: not known */
} NeuralProgress;

/* From _PG_init. */
extern void neural_progress_init(void);

/*
 * The training of this session, told apart by owner: one inside of another is
 * not shown.  The end may be said more than once.
 */
extern void neural_progress_begin(const void *owner, const char *model);
extern void neural_progress_set(const void *owner, const NeuralProgress *p);
extern void neural_progress_end(const void *owner);

#endif /* NEURAL_PROGRESS_H */
