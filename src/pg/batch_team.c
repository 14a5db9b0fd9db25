/*
 * batch_team.c
 *	  Predicting a batch on several threads.
 *
 * A query that has no parallel workers may use as many threads as it might
 * have had processes.  They run engine code only, and between batches they
 * sleep.  A row's bits do not depend on which of them predicts it.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "optimizer/cost.h"
#include "utils/memutils.h"

#include "../nn/team.h"
#include "batch_scan.h"

/* Less work than this (products of a weight and a number) is done sooner than
 * a thread wakes up. */
#define WORTH_A_THREAD 1e6

struct BatchTeam
{
	MemoryContextCallback callback;
	nn_team *team;
};

/* The predictors of a model, one for each member; the first is the model's. */
struct BatchMembers
{
	MemoryContextCallback callback;
	int made;
	nn_predictor *predictors[NN_MAX_THREADS];
};

static int
threads_of_query(const BatchScan *b)
{
	int n = neural_predict_threads;

	if (IsParallelWorker() ||
		b->css.ss.ps.state->es_plannedstmt->parallelModeNeeded)
		return 1;
	if (n == 0)
		n = Min(max_parallel_workers_per_gather + 1, neural_processors());
	return Min(n, NN_MAX_THREADS);
}

static void
destroy_team(void *arg)
{
	nn_team_destroy(((BatchTeam *) arg)->team);
}

/* Threads that cannot be had are done without. */
static nn_team *
find_team(BatchScan *b, int threads)
{
	nn_error err;

	if (b->team == NULL)
	{
		b->team = MemoryContextAllocZero(b->context, sizeof(BatchTeam));
		b->team->callback.func = destroy_team;
		b->team->callback.arg = b->team;
		b->team->team = nn_team_create(neural_arena(b->context), threads, &err);
		MemoryContextRegisterResetCallback(b->context, &b->team->callback);
	}
	return b->team->team;
}

static void
release_members(void *arg)
{
	BatchMembers *members = arg;

	for (int i = 1; i < members->made; i++)
		nn_predictor_release(members->predictors[i]);
}

static BatchMembers *
find_members(BatchModel *m, int threads)
{
	NeuralLoadedModel *loaded = m->state->loaded;
	BatchMembers *members = m->members;
	nn_arena *arena;
	nn_error err;

	if (members != NULL)
		return members;
	members = MemoryContextAllocZero(m->context, sizeof(BatchMembers));
	/* callbacks run last first: the model goes after what predicts with it */
	neural_model_pin(loaded, m->context);
	members->callback.func = release_members;
	members->callback.arg = members;
	MemoryContextRegisterResetCallback(m->context, &members->callback);
	arena = neural_arena(m->context);
	members->predictors[0] = loaded->predictor;
	for (members->made = 1; members->made < threads; members->made++)
	{
		nn_predictor *p = nn_predictor_create(
			arena, loaded->model, nn_cpu_ops(-1), loaded->max_rows, &err);

		neural_check(p, &err);
		members->predictors[members->made] = p;
	}
	m->members = members;
	return members;
}

/* Threads that a batch of so many rows is worth. */
int
neural_batch_threads(const BatchScan *b, const NeuralPredictState *s, int rows)
{
	double work = s->model->features->layout.width;

	for (int i = 0; i < s->model->nnetworks; i++)
		work += s->model->networks[i].graph->nparams;
	return work * rows < 2 * WORTH_A_THREAD ? 1 : threads_of_query(b);
}

void
neural_batch_team_predict(BatchScan *b, BatchModel *m, int threads,
						  const char *records, int rows, void *out)
{
	NeuralPredictState *s = m->state;
	nn_team *team = find_team(b, threads);
	int layer = s->finish->finish_layer != NULL ? s->layer : -1;
	nn_error err;

	b->threads = Max(b->threads, nn_team_size(team));
	neural_check(nn_predict_by_team(
					 team, find_members(m, nn_team_size(team))->predictors,
					 records, rows, layer, out, &err),
				 &err);
}
