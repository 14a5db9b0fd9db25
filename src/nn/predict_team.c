/*
 * predict_team.c
 *	  Predicting by a team while its caller does something else.
 */
#include "model.h"

/* Take rows of a share and predict them; false: all are taken. */
static bool
take_rows(nn_shared_work *w, nn_share *s, int member)
{
	nn_predictor *p = s->predictors[member];
	int first = __atomic_fetch_add(&s->taken, s->at_a_time, __ATOMIC_RELAXED);
	int rows = s->rows - first;
	const char *records;
	char *out;
	nn_error err;
	bool ok;

	if (rows <= 0)
	{
		/* asked again and again, it must not overflow */
		__atomic_store_n(&s->taken, s->rows, __ATOMIC_RELAXED);
		return false;
	}
	if (rows > s->at_a_time)
		rows = s->at_a_time;
	records = s->records + first * s->record_size;
	out = (char *) s->out + first * s->out_size;
	if (s->layer < 0)
		ok = nn_predict(p, records, rows, (double *) out, &err);
	else
		ok = nn_embed(p, records, rows, s->layer, (nn_real *) out, &err);
	if (!ok && !__atomic_exchange_n(&w->failed, true, __ATOMIC_ACQ_REL))
		w->err = err;
	return true;
}

static bool
take_any(nn_shared_work *w, int member)
{
	for (int i = 0; i < w->nshares; i++)
		if (take_rows(w, &w->shares[i], member))
			return true;
	return false;
}

static void
take_all(int member, void *arg)
{
	nn_shared_work *w = arg;

	while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED) && take_any(w, member))
		;
}

void
nn_work_start(nn_shared_work *w)
{
	w->stop = w->failed = false;
	for (int i = 0; i < w->nshares; i++)
		w->shares[i].taken = 0;
	nn_team_start(w->team, take_all, w);
}

bool
nn_work_help(nn_shared_work *w)
{
	return take_any(w, 0);
}

bool
nn_work_wait(nn_shared_work *w, nn_error *err)
{
	nn_team_wait(w->team);
	if (w->failed)
		*err = w->err;
	return !w->failed;
}

void
nn_work_stop(nn_shared_work *w)
{
	__atomic_store_n(&w->stop, true, __ATOMIC_RELAXED);
	nn_team_wait(w->team);
}
