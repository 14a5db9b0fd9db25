/*
 * training.c
 *	  One training, from rows to a model.
 */
#include "training.h"

#include <math.h>

#include "access/xact.h"
#include "pgstat.h"
#include "settings.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"

static dlist_head running = DLIST_STATIC_INIT(running);

/* Bytes of the rows of a dataset that lie in memory. */
static Size
dataset_memory(const NeuralDataset *d)
{
	Size n = d->file ? 2 * d->block_rows : d->x ? d->rows : 0;

	return n * (d->width + d->target_width + 1) * sizeof(nn_real) +
		   (d->file ? neural_records_memory(d->file) : 0);
}

Size
neural_training_memory_left(const NeuralTraining *t)
{
	Size limit = (Size) neural_max_memory * 1024;
	Size used = nn_arena_size(t->arena) + dataset_memory(&t->training) +
				dataset_memory(&t->validation);
	nn_error err;

	if (t->records != NULL)
		used += neural_records_memory(t->records);
	used += t->rows * (sizeof(uint8) + sizeof(uint32_t));
	if (t->graph != NULL)
		used += t->graph->nparams * sizeof(nn_real) +
				(t->conf.threads > 0 && !t->device->own_memory
					 ? nn_trainer_size(t->graph, t->device, &t->conf, &err)
					 : 0);
	return used < limit ? limit - used : 0;
}

static void
phase(NeuralTraining *t, const char *what)
{
	char text[256];

	snprintf(text, sizeof(text), "neural.train: %s %s", t->name, what);
	pgstat_report_activity(STATE_RUNNING, text);
	strlcpy(t->progress.phase, what, sizeof(t->progress.phase));
	strlcpy(t->progress.device, t->device->name, sizeof(t->progress.device));
	t->progress.rows = t->rows;
	t->progress.memory = MemoryContextMemAllocated(t->context, true);
	neural_progress_set(t, &t->progress);
}

/*
 * Runs when the context goes away, be it after an error: threads and device
 * memory are released, and what the session shows is its query again.
 */
static void
end_training(void *arg)
{
	NeuralTraining *t = arg;

	if (!t->listed)
		return;
	dlist_delete(&t->running);
	t->listed = false;
	nn_trainer_release(t->trainer);
	t->trainer = NULL;
	neural_device_rows_release(t);
	neural_device_release(t);
	neural_progress_end(t);
	pgstat_report_activity(STATE_RUNNING, t->query);
}

/* The memory of what failed may stay until the client says ROLLBACK. */
static void
at_abort(XactEvent event, void *arg)
{
	dlist_mutable_iter iter;

	if (event == XACT_EVENT_ABORT)
		dlist_foreach_modify(iter, &running)
			end_training(dlist_container(NeuralTraining, running, iter.cur));
}

static void
start_training(NeuralTraining *t)
{
	static bool registered = false;
	MemoryContextCallback *callback = palloc0(sizeof(*callback));

	t->query = debug_query_string ? pstrdup(debug_query_string) : NULL;
	t->settings = neural_settings_json();
	t->train_seconds = neural_train_seconds;
	t->progress.loss = t->progress.validation_loss = t->progress.best =
		t->progress.rows_per_second = NAN;
	if (!registered)
		RegisterXactCallback(at_abort, NULL);
	registered = true;
	callback->func = end_training;
	callback->arg = t;
	dlist_push_head(&running, &t->running);
	t->listed = true;
	MemoryContextRegisterResetCallback(t->context, callback);
	INSTR_TIME_SET_CURRENT(t->started);
	neural_progress_begin(t, t->name);
}

NeuralTraining *
neural_training_begin(const NeuralSource *source,
					  const NeuralTrainOptions *options, const char *name,
					  int elevel)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "neural training", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	NeuralTraining *t = palloc0(sizeof(*t));

	t->context = context;
	t->arena = neural_arena(context);
	t->source = source;
	t->options = options;
	t->name = name;
	t->elevel = elevel;
	t->automatic =
		options->layers == NULL || pg_strcasecmp(options->layers, "auto") == 0;
	start_training(t);
	MemoryContextSwitchTo(old);
	return t;
}

void
neural_training_gather(NeuralTraining *t)
{
	MemoryContext old = MemoryContextSwitchTo(t->context);

	neural_training_check(t);
	phase(t, "reading");
	neural_training_read(t);
	if (t->spans_transactions)
		neural_records_suspend(t->records);
	t->read_seconds = neural_training_seconds(t);
	MemoryContextSwitchTo(old);
}

void
neural_training_compute(NeuralTraining *t)
{
	MemoryContext old = MemoryContextSwitchTo(t->context);
	double began = neural_training_seconds(t);

	phase(t, "encoding");
	if (t->predecessor != NULL)
		neural_predecessor_predict(t->predecessor, t);
	neural_training_plan(t);
	neural_training_profile(t);
	neural_training_encode(t);
	t->encode_seconds = neural_training_seconds(t) - began;
	phase(t, "training");
	neural_training_loop(t);
	phase(t, "judging");
	neural_training_report(t);
	if (t->training.file != NULL)
		neural_records_free(t->training.file);
	phase(t, "publishing");
	MemoryContextSwitchTo(old);
}

NeuralTraining *
neural_training_run(const NeuralSource *source,
					const NeuralTrainOptions *options, const char *name,
					int elevel)
{
	NeuralTraining *t = neural_training_begin(source, options, name, elevel);

	neural_training_gather(t);
	neural_training_compute(t);
	return t;
}
