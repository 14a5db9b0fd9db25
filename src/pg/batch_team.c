/*
 * batch_team.c
 *	  Predicting a batch on several threads.
 *
 * A query that has no parallel workers may use as many threads as it might
 * have had processes.  They run engine code only, and between batches they
 * sleep.  A row's bits do not depend on which of them predicts it.
 *
 * While they are at it the backend does something else, and may fail at that:
 * whatever they need is released by a callback of a memory context, and that
 * stops them first.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "optimizer/cost.h"
#include "utils/memutils.h"

#include "../nn/team.h"
#include "batch_scan.h"

/* Less work than this (products of a weight and a number) is done sooner than
 * a thread wakes up. */
#define WORTH_A_THREAD 1e6

/* Rows that a thread takes at a time, at most. */
#define SHARE_ROWS 128

struct BatchTeam
{
	MemoryContextCallback callback;
	nn_team *team;
	bool busy;
	int room; /* for shares */
	nn_shared_work work;
};

/* The predictors of a model, one for each member; the first is the model's. */
struct BatchMembers
{
	MemoryContextCallback callback;
	BatchScan *scan;
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

	neural_team_stop(members->scan);
	for (int i = 1; i < members->made; i++)
		nn_predictor_release(members->predictors[i]);
}

static BatchMembers *
find_members(BatchScan *b, BatchModel *m, int threads)
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
	members->scan = b;
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

/* Threads that so many rows are worth. */
static int
threads_of_rows(const BatchScan *b, const NeuralPredictState *s, int rows)
{
	double work = s->model->features->layout.width;

	for (int i = 0; i < s->model->nnetworks; i++)
		work += s->model->networks[i].graph->nparams;
	return work * rows < 2 * WORTH_A_THREAD ? 1 : threads_of_query(b);
}

/* Room for one share more. */
static nn_share *
new_share(BatchScan *b, BatchTeam *t)
{
	nn_shared_work *w = &t->work;

	if (w->nshares == t->room)
	{
		t->room = Max(4, t->room * 2);
		w->shares =
			w->shares == NULL
				? MemoryContextAlloc(b->context, sizeof(nn_share) * t->room)
				: repalloc(w->shares, sizeof(nn_share) * t->room);
	}
	return &w->shares[w->nshares++];
}

bool
neural_team_add(BatchScan *b, BatchModel *m, int batch)
{
	NeuralPredictState *s = m->state;
	BatchRecords *r = &m->of[batch];
	int threads = threads_of_rows(b, s, r->rows);
	BatchMembers *members;
	nn_team *team;

	if (threads == 1)
		return false;
	team = find_team(b, threads);
	if (nn_team_size(team) == 1)
		return false;
	members = find_members(b, m, nn_team_size(team));
	*new_share(b, b->team) =
		(nn_share){.predictors = members->predictors,
				   .layer = s->finish->finish_layer != NULL ? s->layer : -1,
				   .records = r->records,
				   .rows = r->rows,
				   .at_a_time = Min(neural_predict_rows(s), SHARE_ROWS),
				   .out = r->out,
				   .record_size = m->record_size,
				   .out_size = m->out_size};
	return true;
}

void
neural_team_start(BatchScan *b)
{
	BatchTeam *t = b->team;

	if (t == NULL || t->work.nshares == 0)
		return;
	b->threads = Max(b->threads, nn_team_size(t->team));
	t->work.team = t->team;
	t->busy = true;
	nn_work_start(&t->work);
}

bool
neural_team_is_busy(const BatchScan *b)
{
	return b->team != NULL && b->team->busy;
}

void
neural_team_wait(BatchScan *b)
{
	BatchTeam *t = b->team;
	nn_error err;
	bool ok;

	do
		CHECK_FOR_INTERRUPTS();
	while (nn_work_help(&t->work));
	ok = nn_work_wait(&t->work, &err);
	t->busy = false;
	t->work.nshares = 0;
	neural_check(ok, &err);
}

void
neural_team_stop(BatchScan *b)
{
	BatchTeam *t = b->team;

	if (t == NULL)
		return;
	if (t->busy)
		nn_work_stop(&t->work);
	t->busy = false;
	t->work.nshares = 0;
}
