/*
 * models.h
 *	  Models for tests: every kind of column, every task, no training.
 */
#ifndef MODELS_H
#define MODELS_H

#include "crc32c.h"
#include "model.h"
#include "reference.h"

#define EXAMPLE_ROWS 300

typedef struct example
{
	nn_task task;
	const char *loss;
	int ntargets, nclasses; /* 0: numbers */
	int columns;			/* of a network's output */
	int networks;
	bool plain; /* one layer, which reads the whole row */
} example;

static const example examples[] = {
	{NN_REGRESSION, "mean_squared_error", 1, 0, 1, 1, true},
	{NN_REGRESSION, "huber(delta = 2)", 2, 0, 2, 3, true},
	{NN_REGRESSION, "poisson", 1, 0, 1, 2, true},
	{NN_BINARY, "binary_crossentropy", 1, 2, 1, 1, true},
	{NN_BINARY, "categorical_crossentropy", 1, 2, 2, 2, true},
	{NN_MULTICLASS, "categorical_crossentropy", 1, 4, 4, 2, true},
	{NN_MULTILABEL, "binary_crossentropy", 3, 2, 3, 2, true},
	{NN_REGRESSION, "mean_squared_error", 1, 0, 1, 1, false},
	{NN_MULTICLASS, "categorical_crossentropy", 1, 3, 3, 4, false}};
#define EXAMPLES ((int) (sizeof(examples) / sizeof(*examples)))

#define PLAIN_NETWORK "dense(%d)"
#define JOINED_NETWORK                                                         \
	"n: input(number) f: input(flag) input(category) c: one_hot "              \
	"input(entity) e: embedding(3) input(number) p: piecewise_linear(2) "      \
	"concatenate(n, f, c, e, p) scale h: dense(16, relu) "                     \
	"batch_normalization dropout(0.5) dense(%d)"

/* A row of the table; it has more kinds of cells than any one needs. */
__attribute__((unused)) static bool
example_record(const nn_features *f, int i, bool learn, char *record,
			   nn_error *err)
{
	const nn_column *c = f->columns;
	char text[32];
	float vector[4];
	int len;

	memset(record, 0, f->record_size);
	nn_set_number(&c[0], record, 10 * phase(1, i));
	if (i % 6 == 1)
		nn_set_null(&c[1], record);
	else
		nn_set_number(&c[1], record, exp(phase(2, i)));
	nn_set_number(&c[2], record, phase(3, i) > 0);
	len = snprintf(text, sizeof(text), "kind %d", i % 4);
	if (i % 11 == 5)
		nn_set_null(&c[3], record);
	else if (!nn_set_text(&c[3], record, text, len, learn, err))
		return false;
	len = snprintf(text, sizeof(text), "city %d", i % 17);
	if (!nn_set_text(&c[4], record, text, len, learn, err))
		return false;
	nn_set_number(&c[5], record, 1e8 + 5000.0 * i);
	for (int j = 0; j < 4; j++)
		vector[j] = (float) phase(4 + j, i);
	if (!nn_set_vector(&c[6], record, vector, 4, err))
		return false;
	nn_set_number(&c[7], record, 7);
	if (i % 13 == 4)
		nn_set_null(&c[8], record);
	else
		nn_set_number(&c[8], record, 86400.0 * (1158 + i + i % 5));
	nn_features_derive(f, record);
	return true;
}

__attribute__((unused)) static nn_features *
example_features(nn_arena *arena, nn_error *err)
{
	static const struct
	{
		const char *name;
		nn_column_class class;
		nn_slot_kind slot;
		int length;
		const char *encoder;
	} columns[] = {
		{"amount", NN_CLASS_NUMBER, NN_SLOT_REAL32, 1,
		 "number(scale = robust, clip = 3)"},
		{"rate", NN_CLASS_NUMBER, NN_SLOT_REAL64, 1, NULL},
		{"paid", NN_CLASS_BOOLEAN, NN_SLOT_REAL32, 1, NULL},
		{"kind", NN_CLASS_TEXT, NN_SLOT_TEXT, 1, NULL},
		{"city", NN_CLASS_TEXT, NN_SLOT_TEXT, 1, "category(max_one_hot = 8)"},
		{"since", NN_CLASS_TIMESTAMP, NN_SLOT_REAL64, 1, NULL},
		{"trace", NN_CLASS_VECTOR, NN_SLOT_VECTOR, 4, NULL},
		{"constant", NN_CLASS_NUMBER, NN_SLOT_REAL64, 1, NULL},
		{"until", NN_CLASS_DATE, NN_SLOT_REAL64, 1, NULL}};
	const int n = sizeof(columns) / sizeof(*columns);
	nn_features *f = nn_features_create(arena, n + 1, err);
	char *records;

	if (f == NULL)
		return NULL;
	for (int i = 0; i < n; i++)
		if (nn_features_add(f, columns[i].name, columns[i].class, "numeric",
							columns[i].slot, columns[i].length,
							columns[i].encoder, err) == NULL)
			return NULL;
	if (nn_features_add_difference(f, 8, 5, "number(clip = 3)", err) == NULL ||
		!nn_features_layout(f, 0, NULL, err))
		return NULL;
	records = nn_alloc_array(arena, EXAMPLE_ROWS, f->record_size, err);
	if (records == NULL)
		return NULL;
	for (int i = 0; i < EXAMPLE_ROWS; i++)
		if (!example_record(f, i, true, records + i * f->record_size, err))
			return NULL;
	return nn_features_observe(f, records, EXAMPLE_ROWS, NULL, err) &&
				   nn_features_finish(f, err)
			   ? f
			   : NULL;
}

static bool
example_targets(nn_model *m, const example *e, nn_error *err)
{
	static const char *names[] = {"one", "two", "three", "four"};

	m->ntargets = e->ntargets;
	m->targets = nn_alloc_array(m->arena, e->ntargets, sizeof(nn_target), err);
	if (m->targets == NULL)
		return false;
	for (int i = 0; i < e->ntargets; i++)
	{
		nn_target *t = &m->targets[i];

		t->name = names[i];
		t->type_name = "text";
		t->nclasses = e->nclasses;
		t->classes = names;
		t->mean = 5 + i;
		t->scale = 2 - i * 0.5;
		t->min = 4.5;
		t->max = 8;
		t->clamp = i == 0 && e->nclasses == 0;
	}
	return true;
}

__attribute__((unused)) static nn_model *
example_model(nn_arena *arena, const example *e, nn_error *err)
{
	nn_model *m = nn_alloc(arena, sizeof(*m), err);
	const char *text;

	if (m == NULL)
		return NULL;
	m->arena = arena;
	m->task = e->task;
	m->features = example_features(arena, err);
	m->loss = nn_loss_parse(arena, e->loss, err);
	m->networks = nn_alloc_array(arena, e->networks, sizeof(nn_network), err);
	text = nn_printf(arena, err, e->plain ? PLAIN_NETWORK : JOINED_NETWORK,
					 e->columns);
	if (m->features == NULL || m->loss == NULL || m->networks == NULL ||
		text == NULL || !example_targets(m, e, err))
		return NULL;
	m->nnetworks = e->networks;
	for (int k = 0; k < e->networks; k++)
	{
		nn_graph *g = nn_graph_build(arena, text, &m->features->layout, err);
		nn_real *params;

		if (g == NULL)
			return NULL;
		params = nn_alloc_array(arena, g->nparams + 1, sizeof(nn_real), err);
		if (params == NULL)
			return NULL;
		/* variances among them, so all positive */
		for (size_t i = 0; i < g->nparams; i++)
			params[i] = (nn_real) (0.3 + 0.25 * phase(20 + k, (int) i));
		if (e->plain)
			for (size_t i = 0; i < g->nparams; i++)
				params[i] = (nn_real) (0.3 * phase(20 + k, (int) i));
		m->networks[k].graph = g;
		m->networks[k].params = params;
	}
	m->outputs = nn_model_predicted(m->task, m->ntargets, m->targets);
	m->time_zone = e->networks > 1 ? "Europe/Zurich" : NULL;
	m->description = e->networks > 1 ? "{\"seed\": 1}" : NULL;
	return m;
}

/* The model as bytes; NULL after a failure. */
__attribute__((unused)) static unsigned char *
example_bytes(nn_arena *arena, const nn_model *m, size_t *n, nn_error *err)
{
	nn_writer w = {.arena = arena, .crc32c = crc32c};

	if (!nn_model_write(m, &w, err))
		return NULL;
	*n = w.used;
	return w.bytes;
}

#endif /* MODELS_H */
