/*
 * predecessor.c
 *	  The version that a retraining repeats: to be compared with, and perhaps
 *	  to start from.
 *
 * Its columns are found among the new training's by name.  Where one is
 * missing or has become something else, or where the task is another one, it
 * cannot be compared, which is no error here; see neural_publish.
 */
#include "training.h"

#include <math.h>

#include "miscadmin.h"
#include "predict_state.h"
#include "utils/memutils.h"

NeuralPredecessor *
neural_predecessor(int version, Datum value, bool warm)
{
	NeuralPredecessor *p = palloc0(sizeof(*p));

	p->version = version;
	p->warm = warm;
	p->value = NAN;
	p->loaded = neural_model_load(value, CurrentMemoryContext);
	p->model = p->loaded->model;
	if (warm)
	{
		/* of our own, because its features will be written to */
		struct varlena *bytes = PG_DETOAST_DATUM_PACKED(value);
		Size n = VARSIZE_ANY_EXHDR(bytes);
		nn_error err;

		p->model = nn_model_read(neural_arena(CurrentMemoryContext),
								 VARDATA_ANY(bytes), n, neural_crc32c,
								 NEURAL_LOAD_LIMIT(n), &err);
		neural_check(p->model, &err);
	}
	return p;
}

/*
 * --- warm start ---
 */

static void
no_warm_start(const NeuralPredecessor *p, const char *why)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("training cannot start from version %d", p->version),
					errdetail_internal("%s", why),
					errhint("Retrain without warm_start.")));
}

void
neural_predecessor_features(NeuralTraining *t)
{
	NeuralPredecessor *p = t->predecessor;

	if (p->model->nnetworks != 1)
		no_warm_start(p, "It has several networks.");
	t->features = p->model->features;
}

void
neural_predecessor_classes(NeuralTraining *t, NeuralTarget *target, int number)
{
	const nn_model *m = t->predecessor->model;
	nn_error err;

	if (!t->predecessor->warm || number >= m->ntargets)
		return;
	for (int i = 0; i < m->targets[number].nclasses; i++)
	{
		const char *class = m->targets[number].classes[i];

		neural_check(nn_dictionary_add(target->dictionary, class, strlen(class),
									   &err) >= 0,
					 &err);
	}
}

void
neural_predecessor_targets(NeuralTraining *t)
{
	const NeuralPredecessor *p = t->predecessor;
	const nn_model *m = p->model;

	if (m->task != t->task || m->ntargets != t->ntargets)
		no_warm_start(p, "It has learned another task.");
	for (int i = 0; i < t->ntargets; i++)
	{
		nn_target *new = &t->model_targets[i];
		const nn_target *old = &m->targets[i];

		if (new->nclasses != old->nclasses)
			no_warm_start(p, psprintf("Target \"%s\" has classes that it does "
									  "not know.",
									  t->targets[i].name));
		if (t->task != NN_REGRESSION)
			continue;
		new->mean = old->mean;
		new->scale = old->scale;
		new->min = Min(new->min, old->min);
		new->max = Max(new->max, old->max);
	}
}

void
neural_predecessor_params(NeuralTraining *t)
{
	const NeuralPredecessor *p = t->predecessor;
	const nn_network *old = &p->model->networks[0];

	if (strcmp(old->graph->text, t->graph->text) != 0 ||
		old->graph->nparams != t->graph->nparams)
		no_warm_start(p, "Its network is another one.");
	memcpy(t->params, old->params, t->graph->nparams * sizeof(nn_real));
}

/*
 * --- predicting the validation rows ---
 */

static bool
is_numeric_slot(const nn_column *c)
{
	return c->slot == NN_SLOT_REAL32 || c->slot == NN_SLOT_REAL64;
}

/* For each column that it reads, that of the new training; NULL: it cannot. */
static const nn_column **
match_columns(const nn_features *old, const nn_features *new)
{
	const nn_column **from = palloc0((old->nread + 1) * sizeof(nn_column *));

	for (int i = 0; i < old->nread; i++)
	{
		const nn_column *c = &old->columns[i];

		for (int j = 0; j < new->nread &&from[i] == NULL; j++)
			if (strcmp(new->columns[j].name, c->name) == 0)
				from[i] = &new->columns[j];
		if (from[i] == NULL || from[i]->length != c->length ||
			is_numeric_slot(from[i]) != is_numeric_slot(c) ||
			(!is_numeric_slot(c) && from[i]->slot != c->slot))
			return NULL;
	}
	return from;
}

static void
copy_slot(const nn_column *from, const char *source, const nn_column *to,
		  char *record)
{
	const char *at = source + from->offset;
	nn_error err;

	switch (from->slot)
	{
		case NN_SLOT_REAL32:
			nn_set_number(to, record, *(const float *) at);
			break;
		case NN_SLOT_REAL64:
			nn_set_number(to, record, *(const double *) at);
			break;
		case NN_SLOT_VECTOR:
			memcpy(record + to->offset, at, from->length * sizeof(float));
			break;
		case NN_SLOT_TEXT:
		{
			int32_t number = *(const int32_t *) at;
			const char *text;
			int len;

			if (number == NN_TEXT_NULL)
				nn_set_null(to, record);
			else if (number < 0)
				*(int32_t *) (record + to->offset) = NN_TEXT_UNKNOWN;
			else
			{
				text = nn_dictionary_text(from->dictionary, number, &len);
				neural_check(nn_set_text(to, record, text, len, false, &err),
							 &err);
			}
			break;
		}
	}
}

/* Which of its outputs is each of the new model's; -1: none is. */
static int *
match_outputs(const nn_model *old, const NeuralTraining *t, int outputs)
{
	int *from = palloc(outputs * sizeof(int));
	const nn_target *target = &t->model_targets[0];

	for (int i = 0; i < outputs; i++)
	{
		from[i] = i;
		if (t->task != NN_BINARY && t->task != NN_MULTICLASS)
			continue;
		from[i] = -1;
		for (int j = 0; j < old->targets[0].nclasses; j++)
			if (strcmp(old->targets[0].classes[j], target->classes[i]) == 0)
				from[i] = j;
	}
	return from;
}

/* Whether task and targets are the same. */
static bool
same_targets(const nn_model *m, const NeuralTraining *t)
{
	if (m->task != t->task || m->ntargets != t->ntargets)
		return false;
	for (int i = 0; i < m->ntargets; i++)
		if (strcmp(m->targets[i].name, t->model_targets[i].name) != 0)
			return false;
	return true;
}

/* State of predicting, a batch at a time. */
typedef struct Rows
{
	NeuralPredecessor *p;
	const int *from;
	int outputs;
	char *records;
	double *raw;
	int filled;
	int64 done;
} Rows;

static void
predict_batch(Rows *r)
{
	int width = r->p->loaded->model->outputs;
	nn_error err;

	CHECK_FOR_INTERRUPTS();
	if (r->filled == 0)
		return;
	neural_check(nn_predict(r->p->loaded->predictor, r->records, r->filled,
							r->raw, &err),
				 &err);
	for (int i = 0; i < r->filled; i++, r->done++)
		for (int j = 0; j < r->outputs; j++)
			r->p->out[r->done * r->outputs + j] =
				r->from[j] < 0 ? 0 : r->raw[i * width + r->from[j]];
	r->filled = 0;
}

void
neural_predecessor_predict(NeuralPredecessor *p, NeuralTraining *t)
{
	const nn_features *f = p->loaded->model->features;
	const nn_column **from = match_columns(f, t->features);
	Rows r = {0};
	int64 row = 0;

	if (from == NULL || !same_targets(p->loaded->model, t) ||
		t->validation_rows == 0)
		return;
	r.p = p;
	r.outputs = nn_model_predicted(t->task, t->ntargets, t->model_targets);
	r.from = match_outputs(p->loaded->model, t, r.outputs);
	r.records = palloc0(p->loaded->max_rows * f->record_size);
	r.raw = MemoryContextAllocHuge(
		CurrentMemoryContext, (Size) p->loaded->max_rows *
								  p->loaded->model->outputs * sizeof(double));
	p->out = MemoryContextAllocHuge(
		CurrentMemoryContext, t->validation_rows * r.outputs * sizeof(double));
	for (int b = 0; b < neural_records_blocks(t->records); b++)
	{
		int n;
		const char *block = neural_records_block(t->records, b, &n);

		for (int i = 0; i < n; i++)
		{
			char *record = r.records + r.filled * f->record_size;

			if (t->use[row++])
				continue;
			for (int c = 0; c < f->nread; c++)
				copy_slot(from[c], block + i * t->features->record_size,
						  &f->columns[c], record);
			nn_features_derive(f, record);
			if (++r.filled == p->loaded->max_rows)
				predict_batch(&r);
		}
	}
	predict_batch(&r);
	pfree(r.records);
	pfree(r.raw);
}
