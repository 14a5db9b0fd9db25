/*
 * training_plan.c
 *	  Encoders, network, loss, optimizer, epochs: all that follows from the
 *	  rows and the options before the first step.
 */
#include "training.h"

#include <math.h>

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "predict_state.h"
#include "utils/builtins.h"

/* Of networks that the user described. */
#define DEFAULT_EPOCHS	  100
#define SMALL_BATCH		  32
#define SMALL_BATCH_BELOW 10000

/* Networks and losses are given in the database's encoding. */
static const char *
utf8(const char *s)
{
	return pg_server_to_any(s, strlen(s), PG_UTF8);
}

/*
 * --- encoders ---
 */

static void
check_infinite(const NeuralTraining *t)
{
	for (int i = 0; i < t->features->ncolumns; i++)
	{
		const nn_column *c = &t->features->columns[i];

		if (c->infinite > 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg_plural(
						 "column \"%s\" is infinite in " INT64_FORMAT " row",
						 "column \"%s\" is infinite in " INT64_FORMAT " rows",
						 c->infinite, neural_server_text(c->name), c->infinite),
					 errhint("Replace infinity by NULL or by a number, or "
							 "leave those rows out.")));
	}
}

/* Columns that say nothing are no part of the model. */
static void
drop_columns(NeuralTraining *t)
{
	nn_features *f = t->features;
	StringInfoData dropped;
	const char *distinct = NULL;
	nn_error err;

	initStringInfo(&dropped);
	/* nobody knows of columns that are derived */
	for (int i = 0; i < f->nread; i++)
	{
		const nn_column *c = &f->columns[i];

		if (c->dropped == nn_dropped_distinct)
			distinct = neural_server_text(c->name);
		if (c->dropped != NULL)
			appendStringInfo(&dropped, "%s\"%s\" (%s)",
							 dropped.len > 0 ? ", " : "",
							 neural_server_text(c->name), c->dropped);
	}
	if (dropped.len > 0)
		ereport(t->elevel,
				(errmsg("columns that are left out: %s", dropped.data),
				 distinct
					 ? errhint("options => '{\"columns\": {\"%s\": "
							   "{\"encode\": \"embedding\"}}}' uses it all "
							   "the same.",
							   distinct)
					 : 0));
	neural_check(nn_features_forget(f, &err), &err);
}

static void
learn_encoders(NeuralTraining *t)
{
	nn_error err;
	int64 row = 0;

	if (t->predecessor != NULL && t->predecessor->warm)
		return; /* they are the predecessor's */

	for (int b = 0; b < neural_records_blocks(t->records); b++)
	{
		int n;
		const char *block = neural_records_block(t->records, b, &n);

		CHECK_FOR_INTERRUPTS();
		neural_check(
			nn_features_observe(t->features, block, n, t->use + row, &err),
			&err);
		row += n;
	}
	neural_check(nn_features_finish(t->features, &err), &err);
	check_infinite(t);
	drop_columns(t);
}

/*
 * --- loss, optimizer, schedule, metric ---
 */

static const char *
loss_text(const NeuralTraining *t)
{
	const NeuralTrainOptions *o = t->options;
	const char *name = o->loss;

	if (name == NULL)
	{
		if (t->automatic && isnan(o->label_smoothing))
			return nn_recipe_training(t->task)->loss;
		name = t->task == NN_REGRESSION	  ? "mean_squared_error"
			   : t->task == NN_MULTICLASS ? "categorical_crossentropy"
										  : "binary_crossentropy";
	}
	if (isnan(o->label_smoothing))
		return utf8(name);
	if (strchr(name, '(') != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("label_smoothing must be an argument of the loss "
						"where that has arguments")));
	return psprintf("%s(label_smoothing = %.17g%s)", utf8(name),
					o->label_smoothing, t->automatic ? ", undo = true" : "");
}

static void
choose_loss(NeuralTraining *t)
{
	static const char *const tasks[] = {"regression", "two classes",
										"several classes",
										"several yes-or-no targets"};
	nn_error err;

	t->loss = nn_loss_parse(t->arena, loss_text(t), &err);
	neural_check(t->loss, &err);
	if ((t->loss->ops->tasks & 1u << t->task) == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("loss %s cannot learn %s",
							   t->loss->ops->named.name, tasks[t->task])));
}

static void
set_number(double *field, double given)
{
	if (!isnan(given))
		*field = given;
}

static void
choose_optimizer(NeuralTraining *t)
{
	const NeuralTrainOptions *o = t->options;
	const nn_recipe *recipe = nn_recipe_training(t->task);
	bool ours = t->automatic && o->optimizer == NULL;
	const char *schedule = o->schedule ? utf8(o->schedule)
						   : ours	   ? recipe->schedule
									   : NULL;
	nn_error err;

	t->optimizer = nn_optimizer_parse(t->arena,
									  o->optimizer ? utf8(o->optimizer)
									  : ours	   ? recipe->optimizer
												   : "adam",
									  &err);
	neural_check(t->optimizer, &err);
	set_number(&t->optimizer->weight_decay, o->weight_decay);
	set_number(&t->optimizer->clipnorm, o->clipnorm);
	set_number(&t->optimizer->clipvalue, o->clipvalue);
	set_number(&t->optimizer->global_clipnorm, o->global_clipnorm);
	t->learning_rate =
		ours ? recipe->learning_rate : t->optimizer->learning_rate;
	set_number(&t->learning_rate, o->learning_rate);
	if (schedule != NULL && pg_strcasecmp(schedule, "none") != 0)
	{
		t->schedule = nn_schedule_parse(t->arena, schedule, &err);
		neural_check(t->schedule, &err);
	}
}

static void
choose_metric(NeuralTraining *t)
{
	nn_error err;

	if (t->options->metric == NULL)
	{
		t->metric = nn_metric_default(t->task);
		return;
	}
	t->metric = nn_named_find("metric", (const void *const *) nn_metrics,
							  utf8(t->options->metric), &err);
	neural_check(t->metric, &err);
	if ((t->metric->tasks & 1u << t->task) == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("metric %s does not fit the target",
							   t->metric->named.name)));
}

/*
 * What can be found wrong before the rows are read: names that do not exist,
 * text that does not parse.  The results are thrown away, as what they mean
 * may depend on the task.
 */
void
neural_training_check(NeuralTraining *t)
{
	const NeuralTrainOptions *o = t->options;
	nn_error err;

	neural_device_check(t);
	if (o->time_zone != NULL && pg_tzset(o->time_zone) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("time zone \"%s\" not recognized", o->time_zone)));
	if (o->loss != NULL)
		neural_check(nn_loss_parse(t->arena, utf8(o->loss), &err), &err);
	if (o->optimizer != NULL)
		neural_check(nn_optimizer_parse(t->arena, utf8(o->optimizer), &err),
					 &err);
	if (o->schedule != NULL && pg_strcasecmp(o->schedule, "none") != 0)
		neural_check(nn_schedule_parse(t->arena, utf8(o->schedule), &err),
					 &err);
	if (o->metric != NULL)
		neural_check(nn_named_find("metric", (const void *const *) nn_metrics,
								   utf8(o->metric), &err),
					 &err);
	if (!t->automatic)
	{
		nn_item_list *items = nn_text_parse(t->arena, utf8(o->layers), &err);

		neural_check(items, &err);
		for (int i = 0; i < items->count; i++)
			neural_check(nn_layer_find(items->items[i].name, &err), &err);
	}
}

/*
 * --- class weights ---
 */

static void
balance(NeuralTraining *t, int k)
{
	int64 *count = palloc0(k * sizeof(int64));
	int64 row = 0;

	for (int b = 0; b < neural_records_blocks(t->records); b++)
	{
		int n;
		char *block = neural_records_block(t->records, b, &n);

		for (int i = 0; i < n; i++)
		{
			char *record = block + i * t->features->record_size;

			if (t->use[row++])
				count[neural_target_class(t, 0, neural_extra(t, record)[0])]++;
		}
	}
	for (int c = 0; c < k; c++)
		t->class_weight[c] =
			(double) t->training_rows / ((double) k * Max(count[c], 1));
}

static void
weigh_classes(NeuralTraining *t)
{
	const nn_target *target = &t->model_targets[0];
	int k = target->nclasses;
	ListCell *lc;

	if (!t->options->balanced && t->options->class_weights == NIL)
		return;
	if (t->task != NN_BINARY && t->task != NN_MULTICLASS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("class_weight needs a target of classes")));
	t->class_weight = palloc(k * sizeof(double));
	for (int c = 0; c < k; c++)
		t->class_weight[c] = 1;
	if (t->options->balanced)
		balance(t, k);
	foreach (lc, t->options->class_weights)
	{
		NeuralClassWeight *w = lfirst(lc);
		bool found = false;

		for (int c = 0; c < k; c++)
			if (strcmp(target->classes[c], utf8(w->label)) == 0)
			{
				t->class_weight[c] = w->weight;
				found = true;
			}
		if (!found)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("target \"%s\" has no class \"%s\"",
								   t->targets[0].name, w->label)));
	}
}

/*
 * --- network and epochs ---
 */

static void
build_network(NeuralTraining *t)
{
	int outputs =
		nn_model_outputs(t->task, t->loss, t->ntargets, t->model_targets);
	const nn_layout *layout = &t->features->layout;
	const char *text;
	char need[32], limit[32];
	nn_error err;

	text = t->automatic
			   ? nn_recipe_network(t->arena, layout, t->task, outputs, &err)
			   : nn_recipe_complete(t->arena, layout, utf8(t->options->layers),
									outputs, &err);
	neural_check(text, &err);
	t->graph = nn_graph_build(t->arena, text, layout, &err);
	neural_check(t->graph, &err);
	if (t->graph->outputs != outputs)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("network gives %d numbers a row, but %d are needed",
						t->graph->outputs, outputs),
				 errhint("Put a flatten or pooling layer at the end.")));
	if (t->graph->nparams * sizeof(float) > (Size) neural_max_model_size * 1024)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("network has %zu parameters (%s), more than "
						"neural.max_model_size allows (%s)",
						t->graph->nparams,
						neural_size_text(t->graph->nparams * sizeof(float),
										 need, sizeof(need)),
						neural_size_text((Size) neural_max_model_size * 1024,
										 limit, sizeof(limit)))));
}

static void
choose_epochs(NeuralTraining *t)
{
	const NeuralTrainOptions *o = t->options;
	int rows = (int) t->training_rows;

	if (o->batch_size > 0)
		t->plan.batch_rows = Min(o->batch_size, rows);
	else if (t->automatic)
		t->plan.batch_rows = nn_plan_batch(rows);
	else
		t->plan.batch_rows =
			Min(rows < SMALL_BATCH_BELOW ? SMALL_BATCH : 256, rows);
	nn_plan_epochs(&t->plan, t->graph->work, rows, t->threads, t->train_seconds,
				   t->automatic ? 256 : DEFAULT_EPOCHS);
	t->drop_partial = t->automatic;
	if (o->epochs > 0)
	{
		t->plan.epochs = o->epochs;
		t->plan.epoch_rows = rows;
	}
	else if (!t->automatic)
	{
		t->plan.epoch_rows = rows;
		ereport(t->elevel,
				(errmsg("training for at most %d epochs with batches of %d "
						"rows",
						t->plan.epochs, t->plan.batch_rows)));
	}
	t->history = MemoryContextAllocHuge(CurrentMemoryContext,
										t->plan.epochs * sizeof(NeuralEpoch));
}

static void
configure_trainer(NeuralTraining *t)
{
	t->conf.loss = t->loss;
	t->conf.optimizer = t->optimizer;
	t->conf.target_width = neural_target_width(t);
	t->conf.batch_rows = t->plan.batch_rows;
	t->conf.threads = t->threads;
	set_number(&t->conf.l1, t->options->l1);
	set_number(&t->conf.l2, t->options->l2);
	t->conf.seed = t->options->seed;
	t->conf.stop = neural_interrupted;
}

/* The host's; that of a device is looked at when it is chosen. */
static void
check_memory(NeuralTraining *t, Size left)
{
	Size need, judged;
	char a[32], b[32];
	nn_error err;

	need = nn_trainer_size(t->graph, t->device, &t->conf, &err);
	neural_check(need > 0, &err);
	if (t->device->own_memory)
		need = 0;
	judged = t->validation_rows * NEURAL_JUDGED_BYTES(nn_model_predicted(
									  t->task, t->ntargets, t->model_targets));
	if (t->predecessor != NULL) /* which has predicted them as well */
		judged *= 2;
	if (judged > left / 2 && need <= left)
		ereport(
			ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("predictions of the validation rows take %s of memory, "
					"but %s are left of neural.max_memory",
					neural_size_text(judged, a, sizeof(a)),
					neural_size_text(left, b, sizeof(b))),
			 errdetail("They may take half of it."),
			 errhint("Raise neural.max_memory, or use fewer validation rows "
					 "or classes.")));
	left -= judged;
	if (need > left)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("training needs %s of memory for its network, but %s "
						"are left of neural.max_memory",
						neural_size_text(need, a, sizeof(a)),
						neural_size_text(left, b, sizeof(b))),
				 errhint("Raise neural.max_memory, or use a smaller network "
						 "or batch_size.")));
}

void
neural_training_plan(NeuralTraining *t)
{
	Size left;

	choose_loss(t);
	choose_optimizer(t);
	choose_metric(t);
	neural_targets_scale(t);
	if (t->predecessor != NULL && t->predecessor->warm)
		neural_predecessor_targets(t);
	weigh_classes(t);
	learn_encoders(t);
	build_network(t);
	choose_epochs(t);
	left = neural_training_memory_left(t);
	configure_trainer(t);
	neural_device_choose(t);
	check_memory(t, left);
}
