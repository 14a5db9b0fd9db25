/*
 * training_loop.c
 *	  Epochs and steps.
 *
 * The engine takes one step at a time; between steps this loop looks at
 * interrupts, at the clock, and at the postmaster, which a loop that never
 * waits would not notice to be gone.
 *
 * The weights that are kept are those of the best epoch by the validation
 * rows; see epoch_score.  Without validation rows they are those of the last
 * epoch.
 *
 * A GPU that nobody insists on may fail, and the CPU goes on from the end of
 * the epoch before: what a trainer keeps is copied to the host at the end of
 * each, all else of the loop changes only after that.  So whatever waits for
 * the device says whether it has failed.
 */
#include "training.h"

#include <math.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* Rows from which layers learn scales and knots before the first step. */
#define FIT_ROWS  20000
#define FIT_BYTES (64 * 1024 * 1024)

#define TICK_SECONDS 0.5

/*
 * Scores of classes that differ by less are equal: few rows change sides, and
 * a later epoch has usually seen lower learning rates.
 */
#define SCORE_TOLERANCE 0.005

typedef struct Loop
{
	NeuralTraining *t;
	NeuralStream *stream;
	nn_model *model; /* for what outputs mean */
	nn_real *raw;	 /* outputs for the validation rows */
	double *out, *y; /* the same, and targets, as metrics want them */
	nn_arena *scratch;
	MemoryContext scratch_context;

	int64 step, steps, steps_per_epoch;
	double started, last_tick, last_report, epoch_started;
	double sum, rows;	 /* of the losses of this epoch */
	double fresh;		 /* rows since the last sync */
	int64 reported_rows; /* since the last report */
	double last_shown;
	int64 shown_rows; /* since neural.progress was last told */
	bool diverged, out_of_time;

	/* of the last epoch's end, where there may be a way on; see above */
	void *state, *spare;

	bool have_best;
	double best_score; /* the least so far */
	double watched;	   /* by early stopping */
	int waited;
} Loop;

double
neural_training_seconds(const NeuralTraining *t)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, t->started);
	return INSTR_TIME_GET_DOUBLE(now);
}

/* The trainer with first weights. */
static void
open_trainer(NeuralTraining *t)
{
	Size width = t->features->layout.width;
	int n = (int) Min(FIT_ROWS, FIT_BYTES / (width * sizeof(nn_real)) + 1);
	nn_error err;

	t->params = MemoryContextAllocHuge(
		CurrentMemoryContext, Max(t->graph->nparams, 1) * sizeof(nn_real));
	if (t->predecessor != NULL && t->predecessor->warm)
		neural_predecessor_params(t);
	else
	{
		nn_real *x = MemoryContextAllocHuge(CurrentMemoryContext,
											n * width * sizeof(nn_real));

		n = neural_dataset_sample(t, &t->training, n, x);
		t->graph->stop = t->conf.stop;
		neural_check(nn_graph_initialize(t->graph, t->options->seed, n, x,
										 t->params, &err),
					 &err);
		pfree(x);
	}
	do
	{
		t->trainer = nn_trainer_create(t->arena, t->graph, t->device, &t->conf,
									   t->params, &err);
		if (t->trainer == NULL && !neural_device_next(t, &err))
			neural_ereport(&err);
	} while (t->trainer == NULL);
}

/* A trainer for the CPU, after the GPU has failed.  Params are the host's. */
static void
replace_trainer(NeuralTraining *t, const nn_error *failure)
{
	nn_error err;

	if (!neural_device_lost(t, failure))
		neural_ereport(failure);
	t->trainer = nn_trainer_create(t->arena, t->graph, t->device, &t->conf,
								   t->params, &err);
	if (t->trainer == NULL)
		neural_ereport(&err);
}

/*
 * --- judging ---
 */

static bool
predict_rows(NeuralTraining *t, const NeuralDataset *d, nn_real *raw,
			 nn_error *err)
{
	Assert(d->file == NULL);
	for (int64 i = 0; i < d->rows; i += t->plan.batch_rows)
	{
		nn_batch b = {0};

		CHECK_FOR_INTERRUPTS();
		b.rows = (int) Min(t->plan.batch_rows, d->rows - i);
		b.host = t->device->own_memory;
		b.x = d->x + i * d->width;
		if (!nn_trainer_predict(t->trainer, &b, raw + i * t->graph->outputs,
								err))
			return false;
	}
	return true;
}

void
neural_training_predict(NeuralTraining *t, const NeuralDataset *d, nn_real *raw)
{
	nn_error err;

	if (predict_rows(t, d, raw, &err))
		return;
	replace_trainer(t, &err);
	if (!predict_rows(t, d, raw, &err))
		neural_ereport(&err);
}

static double
metric_value(Loop *l)
{
	NeuralTraining *t = l->t;
	const NeuralDataset *d = &t->validation;
	nn_metric_args args = {0};
	double value = NAN;
	nn_error err;

	nn_model_finish_outputs(l->model, (int) d->rows, l->raw, l->out);
	args.task = t->task;
	args.rows = (int) d->rows;
	args.columns = l->model->outputs;
	args.out = l->out;
	args.y = l->y;
	args.stop = neural_interrupted;
	neural_check(t->metric->value(&args, l->scratch, &value, &err), &err);
	if (nn_arena_size(l->scratch) > 16 * 1024 * 1024)
	{
		nn_arena_destroy(l->scratch);
		MemoryContextReset(l->scratch_context);
		l->scratch = neural_arena(l->scratch_context);
	}
	return value;
}

/* The mean log loss of the predicted probabilities, label smoothing undone. */
static double
log_loss(const Loop *l)
{
	const NeuralTraining *t = l->t;
	int columns = l->model->outputs;
	double sum = 0;

	for (int64 i = 0; i < t->validation.rows; i++)
	{
		const double *p = l->out + i * columns;
		double part = 0;

		if (t->task == NN_MULTILABEL)
		{
			for (int j = 0; j < columns; j++)
				part -= log(Max(l->y[i * columns + j] > 0 ? p[j] : 1 - p[j],
								1e-15)) /
						columns;
		}
		else
			part = -log(Max(p[(int) l->y[i]], 1e-15));
		sum += part;
	}
	return sum / t->validation.rows;
}

/*
 * What epochs are compared by; less is better.  Of numbers the loss; of
 * classes the share of errors plus half the log loss, because the former alone
 * moves in steps of one row and says little when there are few rows.  A
 * metric that the user chose is taken as it is.
 */
static double
epoch_score(const Loop *l, const NeuralEpoch *e)
{
	const NeuralTraining *t = l->t;

	if (t->options->metric != NULL && !isnan(e->metric))
		return t->metric->maximize ? -e->metric : e->metric;
	if (t->task == NN_REGRESSION || isnan(e->metric))
		return e->validation_loss;
	return 1 - e->metric + log_loss(l) / 2;
}

/* Whether this epoch is as good as the best one; of equals the later wins. */
static bool
is_best(Loop *l, const NeuralEpoch *e)
{
	NeuralTraining *t = l->t;
	double tolerance = t->task == NN_REGRESSION || t->options->metric != NULL
						   ? 0
						   : SCORE_TOLERANCE;
	double score;

	if (t->validation_rows == 0 || t->options->restore_best == 0)
		return true;
	score = epoch_score(l, e);
	if (l->have_best && score > l->best_score + tolerance)
		return false;
	l->best_score = l->have_best ? Min(l->best_score, score) : score;
	return true;
}

/* Whether early stopping has waited long enough. */
static bool
stops_early(Loop *l, const NeuralEpoch *e)
{
	const NeuralTrainOptions *o = l->t->options;
	const char *monitor = o->monitor;
	double x;

	if (!o->early_stopping)
		return false;
	if (monitor != NULL && strcmp(monitor, "loss") == 0)
		x = e->loss;
	else if (l->t->validation_rows > 0 &&
			 (monitor == NULL || strcmp(monitor, "val_loss") == 0))
		x = e->validation_loss;
	else if (monitor == NULL)
		x = e->loss;
	else
		x = l->t->metric->maximize ? -e->metric : e->metric;
	if (l->t->nhistory == 1 || x < l->watched - o->min_delta)
	{
		l->watched = x;
		l->waited = 0;
		return false;
	}
	return ++l->waited >= Max(o->patience, 1);
}

static void
check_monitor(const NeuralTraining *t)
{
	const char *monitor = t->options->monitor;

	if (monitor == NULL || strcmp(monitor, "loss") == 0 ||
		strcmp(monitor, "val_loss") == 0 ||
		strcmp(monitor, "val_metric") == 0 ||
		nn_name_equal(monitor, t->metric->named.name))
		return;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("early_stopping cannot monitor \"%s\"", monitor),
					errhint("It can be loss, val_loss or the metric, %s.",
							t->metric->named.name)));
}

/*
 * --- progress ---
 */

static void
report_progress(Loop *l, double now)
{
	NeuralTraining *t = l->t;
	double seconds = Max(now - l->last_report, 1e-6);
	double left = (now - l->started) * (double) (l->steps - l->step) /
				  (double) Max(l->step, 1);
	int epoch = (int) (l->step / l->steps_per_epoch) + 1;
	double loss = l->rows > 0		? l->sum / l->rows
				  : t->nhistory > 0 ? t->history[t->nhistory - 1].loss
									: NAN;
	char validation[64] = "";

	if (t->nhistory > 0 && t->validation_rows > 0)
		snprintf(validation, sizeof(validation), ", validation loss %.4g",
				 t->history[t->nhistory - 1].validation_loss);
	ereport(NOTICE,
			(errmsg("%s: epoch %d/%d, loss %.4g%s, %.0f rows/s, %.0f s left",
					t->name, Min(epoch, t->plan.epochs), t->plan.epochs, loss,
					validation, l->reported_rows / seconds, left)));
	l->last_report = now;
	l->reported_rows = 0;
}

static void
show_activity(Loop *l)
{
	NeuralTraining *t = l->t;
	char text[256];

	snprintf(text, sizeof(text), "neural.train: %s epoch %d/%d loss %.4g",
			 t->name, (int) (l->step / l->steps_per_epoch) + 1, t->plan.epochs,
			 l->rows > 0 ? l->sum / l->rows : NAN);
	pgstat_report_activity(STATE_RUNNING, text);
}

/* The same for neural.progress. */
static void
show_progress(Loop *l, double now)
{
	NeuralTraining *t = l->t;
	NeuralProgress *p = &t->progress;
	double seconds = now - l->last_shown;
	double left = (now - l->started) * (double) (l->steps - l->step) /
				  (double) Max(l->step, 1);

	p->epoch = Min((int) (l->step / l->steps_per_epoch) + 1, t->plan.epochs);
	p->epochs = t->plan.epochs;
	if (l->rows > 0)
		p->loss = l->sum / l->rows;
	if (t->nhistory > 0)
		p->validation_loss = t->history[t->nhistory - 1].validation_loss;
	if (t->best_epoch > 0)
		p->best = t->history[t->best_epoch - 1].metric;
	if (l->shown_rows > 0)
		p->rows_per_second = l->shown_rows / Max(seconds, 1e-6);
	p->memory = MemoryContextMemAllocated(t->context, true);
	if (l->step > 0)
		p->finish = TimestampTzPlusMilliseconds(
			GetCurrentTimestamp(), (int64) (1000 * Min(left, 1e9)));
	l->last_shown = now;
	l->shown_rows = 0;
	neural_progress_set(t, p);
}

/* Wait for the device; what it has learned since the last time. */
static bool
sync_loss(Loop *l, nn_error *err)
{
	double loss;

	if (l->fresh == 0)
		return true;
	if (!nn_trainer_sync(l->t->trainer, &loss, err))
		return false;
	l->sum += loss * l->fresh;
	l->rows += l->fresh;
	l->fresh = 0;
	if (!isfinite(l->sum))
		l->diverged = true;
	return true;
}

/* Now and then, between steps. */
static bool
tick(Loop *l, nn_error *err)
{
	double now = neural_training_seconds(l->t);
	double limit = l->t->options->max_seconds;

	if (!isnan(limit) && now > limit)
		l->out_of_time = true;
	if (now - l->last_tick < TICK_SECONDS)
		return true;
	l->last_tick = now;
	/* fails only when the postmaster is gone */
	(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 0,
					 PG_WAIT_EXTENSION);
	if (!sync_loss(l, err))
		return false;
	show_activity(l);
	show_progress(l, now);
	if (neural_progress_interval > 0 &&
		(now - l->last_report) * 1000 >= neural_progress_interval)
		report_progress(l, now);
	return true;
}

/*
 * --- the loop ---
 */

static bool
take_step(Loop *l, nn_error *err)
{
	NeuralTraining *t = l->t;
	double rate = t->learning_rate;
	nn_batch batch;

	CHECK_FOR_INTERRUPTS();
	neural_stream_next(l->stream, &batch);
	if (t->schedule != NULL)
		rate = nn_schedule_rate(t->schedule, rate, l->step, l->steps,
								l->steps_per_epoch);
	if (!nn_trainer_step(t->trainer, &batch, rate, err))
		return false;
	l->step++;
	l->fresh += batch.rows;
	l->reported_rows += batch.rows;
	l->shown_rows += batch.rows;
	t->history[t->nhistory].rate = rate;
	return tick(l, err);
}

/* Where the CPU could go on from here, and what it would need. */
static bool
save_state(Loop *l, nn_error *err)
{
	void *state = l->spare;

	if (state == NULL)
		return true;
	if (!nn_trainer_save(l->t->trainer, state, err))
		return false;
	l->spare = l->state;
	l->state = state;
	return true;
}

static void
keep_weights(Loop *l)
{
	NeuralTraining *t = l->t;
	nn_error err;

	if (l->state != NULL)
		memcpy(t->params, l->state, t->graph->nparams * sizeof(nn_real));
	else if (!nn_trainer_params(t->trainer, t->params, &err))
		neural_ereport(&err);
	l->have_best = true;
	t->best_epoch = t->nhistory;
}

/* False: the device has failed. */
static bool
end_epoch(Loop *l, bool *enough, nn_error *err)
{
	NeuralTraining *t = l->t;
	const NeuralDataset *v = &t->validation;
	NeuralEpoch *e = &t->history[t->nhistory];
	double now;

	*enough = true;
	if (!sync_loss(l, err))
		return false;
	if (l->diverged)
		return true;
	e->loss = l->sum / Max(l->rows, 1);
	e->validation_loss = e->metric = NAN;
	if (v->rows > 0)
	{
		if (!predict_rows(t, v, l->raw, err))
			return false;
		e->validation_loss = nn_loss_value(
			t->loss, (int) v->rows, t->graph->outputs, l->raw, v->y, v->weight);
		e->metric = metric_value(l);
		if (!isfinite(e->validation_loss))
			l->diverged = true;
	}
	if (l->diverged)
		return true;
	if (!save_state(l, err))
		return false;
	now = neural_training_seconds(t);
	e->seconds = now - l->epoch_started;
	t->nhistory++;
	if (t->schedule != NULL)
		nn_schedule_observe(t->schedule,
							v->rows > 0 ? e->validation_loss : e->loss);
	if (is_best(l, e))
		keep_weights(l);
	l->epoch_started = now;
	l->sum = l->rows = 0;
	*enough = stops_early(l, e) || l->out_of_time;
	return true;
}

/* False: the device has failed. */
static bool
run_epoch(Loop *l, bool *enough, nn_error *err)
{
	for (int64 i = 0; i < l->steps_per_epoch && !l->diverged; i++)
	{
		if (!take_step(l, err))
			return false;
		if (l->out_of_time)
			break;
	}
	return end_epoch(l, enough, err);
}

/* The epoch that failed, again, on the CPU. */
static void
go_back(Loop *l, const nn_error *failure)
{
	NeuralTraining *t = l->t;
	nn_error err;

	if (l->state == NULL)
		neural_ereport(failure);
	replace_trainer(t, failure);
	l->step = t->nhistory * l->steps_per_epoch;
	neural_check(nn_trainer_restore(t->trainer, l->state, l->step, &err), &err);
	l->sum = l->rows = l->fresh = 0;
	l->diverged = false;
	neural_stream_rewind(l->stream, l->step);
	/* which will not fail in this way */
	pfree(l->spare);
	l->spare = NULL;
	pfree(l->state);
	l->state = NULL;
}

void
neural_training_targets(const NeuralTraining *t, const NeuralDataset *d,
						double *y)
{
	for (int64 i = 0; i < d->rows; i++)
		for (int j = 0; j < d->target_width; j++)
		{
			const nn_target *target = &t->model_targets[j];
			double v = d->y[i * d->target_width + j];

			y[i * d->target_width + j] =
				t->task == NN_REGRESSION ? v * target->scale + target->mean : v;
		}
}

static void
describe_model(NeuralTraining *t)
{
	nn_model *m = palloc0(sizeof(*m));

	m->arena = t->arena;
	m->features = t->features;
	m->task = t->task;
	m->ntargets = t->ntargets;
	m->targets = t->model_targets;
	m->loss = t->loss;
	m->nnetworks = 1;
	m->networks = palloc0(sizeof(nn_network));
	m->networks[0].graph = t->graph;
	m->networks[0].params = t->params;
	m->time_zone = t->time_zone;
	m->outputs = nn_model_predicted(t->task, t->ntargets, t->model_targets);
	t->model = m;
}

static void
open_loop(Loop *l)
{
	NeuralTraining *t = l->t;
	Size rows = Max(t->validation.rows, 1);

	l->stream = neural_stream(t, &t->training, true);
	l->model = t->model;
	l->raw = MemoryContextAllocHuge(CurrentMemoryContext,
									rows * t->graph->outputs * sizeof(nn_real));
	l->out = MemoryContextAllocHuge(CurrentMemoryContext,
									rows * t->model->outputs * sizeof(double));
	l->y = MemoryContextAllocHuge(CurrentMemoryContext,
								  rows * t->validation.target_width *
									  sizeof(double));
	neural_training_targets(t, &t->validation, l->y);
	l->scratch_context = AllocSetContextCreate(t->context, "neural metrics",
											   ALLOCSET_DEFAULT_SIZES);
	l->scratch = neural_arena(l->scratch_context);
	l->steps_per_epoch = t->drop_partial
							 ? Max(t->plan.epoch_rows / t->plan.batch_rows, 1)
							 : (t->plan.epoch_rows + t->plan.batch_rows - 1) /
								   t->plan.batch_rows;
	l->steps = l->steps_per_epoch * t->plan.epochs;
}

/* The first state to go on from, if that is wanted, and there is room. */
static void
open_states(Loop *l)
{
	NeuralTraining *t = l->t;
	Size size = nn_trainer_state_size(t->trainer);
	nn_error err;

	if (!t->gpu_used || t->device_wish != NEURAL_DEVICE_AUTO ||
		2 * size > neural_training_memory_left(t))
		return;
	l->state = MemoryContextAllocHuge(CurrentMemoryContext, size);
	l->spare = MemoryContextAllocHuge(CurrentMemoryContext, size);
	if (!save_state(l, &err))
		neural_ereport(&err);
}

static void
end_loop(Loop *l)
{
	NeuralTraining *t = l->t;
	nn_error err;

	if (l->diverged && !l->have_best)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("training diverged: the loss is no longer a finite "
						"number"),
				 errhint("Use a smaller learning_rate, or options => "
						 "'{\"global_clipnorm\": 1}'.")));
	if (l->diverged)
		ereport(WARNING,
				(errmsg("training diverged in epoch %d; the weights of epoch "
						"%d are kept",
						t->nhistory + 1, t->best_epoch)));
	if (!nn_trainer_set_params(t->trainer, t->params, &err))
		replace_trainer(t, &err);
	nn_arena_destroy(l->scratch);
	MemoryContextDelete(l->scratch_context);
	pfree(l->raw);
	pfree(l->out);
	pfree(l->y);
}

void
neural_training_loop(NeuralTraining *t)
{
	Loop *l = palloc0(sizeof(*l));

	l->t = t;
	if (t->spans_transactions)
		InvalidateCatalogSnapshot(); /* or vacuum would wait for it */
	check_monitor(t);
	open_trainer(t);
	describe_model(t);
	open_loop(l);
	l->started = l->epoch_started = l->last_report = l->last_shown =
		l->last_tick = neural_training_seconds(t);
	show_progress(l, l->started);
	open_states(l);
	while (t->nhistory < t->plan.epochs)
	{
		bool enough;
		nn_error err;

		if (!run_epoch(l, &enough, &err))
			go_back(l, &err);
		else if (enough)
			break;
	}
	end_loop(l);
}
