/*
 * team.h
 *	  A team of threads that share each training step.
 *
 * Threads are born here and nowhere else, with all signals blocked, so that
 * the host program's handlers only ever run on its own thread.  They execute
 * engine code only, and between calls of nn_team_run they sleep; so the caller
 * may raise an error, or destroy the team, at any moment outside of it, and of
 * what is between nn_team_start and nn_team_wait.
 *
 * The caller is member 0.  All reductions add in order of the member, so that
 * a result depends on the number of threads but not on their timing.
 */
#ifndef NN_TEAM_H
#define NN_TEAM_H

#include "arena.h"

#define NN_MAX_THREADS 64

typedef struct nn_team nn_team;

/* NULL and *err when threads cannot be had.  size 1 starts no thread. */
extern nn_team *nn_team_create(nn_arena *arena, int size, nn_error *err);
extern void nn_team_destroy(nn_team *team);
extern int nn_team_size(const nn_team *team); /* 1 for NULL */

/* Run work(member, arg) on every member and wait for all. */
extern void nn_team_run(nn_team *team, void (*work)(int member, void *arg),
						void *arg);

/* The same in two steps, and member 0 has no part in it. */
extern void nn_team_start(nn_team *team, void (*work)(int member, void *arg),
						  void *arg);
extern void nn_team_wait(nn_team *team);

/* Inside work: wait until every member is here. */
extern void nn_team_barrier(nn_team *team);

/* Inside work: x becomes the sum of every member's x.  A collective call;
 * nothing to do for a team of one or NULL. */
extern void nn_team_sum(nn_team *team, int member, nn_real *x, size_t n);

#endif /* NN_TEAM_H */
