/*
 * look.c
 *	  Models as text and as jsonb, and the vocabulary they are written in.
 */
#include "postgres.h"

#include <math.h>

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "../nn/metric.h"
#include "catalog.h"
#include "json.h"
#include "predict_state.h"

const char *
neural_task_name(nn_task task)
{
	switch (task)
	{
		case NN_REGRESSION:
			return "regression";
		case NN_BINARY:
			return "binary";
		case NN_MULTICLASS:
			return "multiclass";
		case NN_MULTILABEL:
			return "multilabel";
	}
	return "unknown";
}

/* ---------- summary ---------- */

/* 1234567 as 1,234,567 */
static char *
grouped(int64 n)
{
	char *plain = psprintf(INT64_FORMAT, n);
	StringInfoData buf;
	int len = strlen(plain);

	initStringInfo(&buf);
	for (int i = 0; i < len; i++)
	{
		if (i > 0 && (len - i) % 3 == 0)
			appendStringInfoChar(&buf, ',');
		appendStringInfoChar(&buf, plain[i]);
	}
	return buf.data;
}

static char *
inputs_text(const nn_layer *l)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < l->nin; i++)
		if (l->in_number[i] >= 0)
			appendStringInfo(&buf, "%s%d", buf.len > 0 ? ", " : "",
							 l->in_number[i]);
	return buf.data;
}

#define SUMMARY_COLUMNS 5

typedef struct SummaryLine
{
	const char *cell[SUMMARY_COLUMNS];
} SummaryLine;

static void
put_line(StringInfo buf, const SummaryLine *line, const int *width)
{
	static const bool right[SUMMARY_COLUMNS] = {true, false, true, true, false};

	for (int i = 0; i < SUMMARY_COLUMNS; i++)
	{
		if (i > 0)
			appendStringInfoString(buf, "  ");
		appendStringInfo(buf, "%*s", right[i] ? width[i] : -width[i],
						 line->cell[i]);
	}
	while (buf->len > 0 && buf->data[buf->len - 1] == ' ')
		buf->data[--buf->len] = '\0';
	appendStringInfoChar(buf, '\n');
}

/* The table of layers, as Keras prints it. */
static void
put_layers(StringInfo buf, nn_arena *scratch, const nn_graph *g)
{
	SummaryLine *lines = palloc(sizeof(SummaryLine) * (g->nlayers + 1));
	int width[SUMMARY_COLUMNS] = {0};
	int total = 2 * (SUMMARY_COLUMNS - 1);

	lines[0] = (SummaryLine){{"", "Layer", "Output", "Parameters", "Reads"}};
	for (int i = 0; i < g->nlayers; i++)
	{
		const nn_layer *l = &g->layers[i];
		char shape[128];
		char *text = neural_layer_text(scratch, l);

		if (l->label != NULL)
			text = psprintf("%s: %s", neural_server_text(l->label), text);
		lines[i + 1] = (SummaryLine){
			{psprintf("%d", i), text,
			 pstrdup(nn_shape_text(&l->out.shape, shape, sizeof(shape))),
			 grouped(neural_layer_parameters(l)), inputs_text(l)}};
	}
	for (int i = 0; i <= g->nlayers; i++)
		for (int j = 0; j < SUMMARY_COLUMNS; j++)
			width[j] = Max(width[j], (int) strlen(lines[i].cell[j]));
	for (int j = 0; j < SUMMARY_COLUMNS; j++)
		total += width[j];
	put_line(buf, &lines[0], width);
	for (int i = 0; i < total; i++)
		appendStringInfoChar(buf, '-');
	appendStringInfoChar(buf, '\n');
	for (int i = 1; i <= g->nlayers; i++)
		put_line(buf, &lines[i], width);
}

static void
put_target(StringInfo buf, const nn_target *t)
{
	int shown = Min(t->nclasses, 10);

	appendStringInfo(buf, "Target: %s %s", neural_server_text(t->name),
					 neural_server_text(t->type_name));
	for (int i = 0; i < shown; i++)
		appendStringInfo(buf, "%s%s", i == 0 ? ", one of " : ", ",
						 neural_server_text(t->classes[i]));
	if (t->nclasses > shown)
		appendStringInfo(buf, " and %d more", t->nclasses - shown);
	appendStringInfoChar(buf, '\n');
}

static void
put_totals(StringInfo buf, const nn_model *m)
{
	int64 all = 0, trainable = 0;
	char size[32];

	for (int i = 0; i < m->nnetworks; i++)
	{
		all += m->networks[i].graph->nparams;
		trainable += m->networks[i].graph->ntrainable;
	}
	appendStringInfo(
		buf, "Parameters: %s (%s)", grouped(all),
		neural_size_text(all * sizeof(float4), size, sizeof(size)));
	if (trainable < all)
		appendStringInfo(buf, ", %s of them trained", grouped(trainable));
	appendStringInfo(buf, "\nLoss: %s", neural_server_text(m->loss->text));
}

PG_FUNCTION_INFO_V1(neural_summary);
Datum
neural_summary(PG_FUNCTION_ARGS)
{
	MemoryContext context, old;
	const nn_model *m;
	nn_arena *scratch;
	StringInfoData buf;
	Oid relid;
	int version;
	text *result;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	relid = PG_GETARG_OID(0);
	context = AllocSetContextCreate(CurrentMemoryContext, "neural summary",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	scratch = neural_arena(context);
	m = neural_model_load(
			neural_model_fetch(relid, neural_version_arg(fcinfo, 1), &version),
			context)
			->model;

	initStringInfo(&buf);
	appendStringInfo(&buf, "Model %s, version %d: %s%s\n", get_rel_name(relid),
					 version, neural_task_name(m->task),
					 m->task == NN_REGRESSION ? "" : " classification");
	for (int i = 0; i < m->ntargets; i++)
		put_target(&buf, &m->targets[i]);
	appendStringInfo(&buf, "Input: %d columns, as %d numbers\n",
					 m->features->nread, m->features->layout.width);
	for (int i = 0; i < m->nnetworks; i++)
	{
		const nn_graph *g = m->networks[i].graph;

		appendStringInfoChar(&buf, '\n');
		if (m->nnetworks > 1)
			appendStringInfo(&buf, "Network %d of %d\n", i + 1, m->nnetworks);
		if (i > 0 && strcmp(g->text, m->networks[0].graph->text) == 0)
			appendStringInfoString(&buf, "as the first\n");
		else
			put_layers(&buf, scratch, g);
	}
	appendStringInfoChar(&buf, '\n');
	put_totals(&buf, m);
	MemoryContextSwitchTo(old);
	result = cstring_to_text_with_len(buf.data, buf.len);
	MemoryContextDelete(context);
	PG_RETURN_TEXT_P(result);
}

/* ---------- describe ---------- */

static void
describe_target(NeuralJson *j, const nn_target *t)
{
	neural_json_begin(j, false);
	neural_json_key(j, "name");
	neural_json_text(j, neural_server_text(t->name));
	neural_json_key(j, "type");
	neural_json_text(j, neural_server_text(t->type_name));
	if (t->nclasses > 0)
	{
		neural_json_key(j, "classes");
		neural_json_begin(j, true);
		for (int i = 0; i < t->nclasses; i++)
			neural_json_text(j, neural_server_text(t->classes[i]));
		neural_json_end(j, true);
	}
	neural_json_end(j, false);
}

static void
describe_column(NeuralJson *j, nn_arena *scratch, const nn_column *c)
{
	neural_json_begin(j, false);
	neural_json_key(j, "name");
	neural_json_text(j, neural_server_text(c->name));
	neural_json_key(j, "type");
	neural_json_text(j, neural_server_text(c->type_name));
	neural_json_key(j, "encoder");
	neural_json_text(j, neural_encoder_text(scratch, c));
	neural_json_end(j, false);
}

static void
describe_network(NeuralJson *j, const nn_graph *g)
{
	neural_json_begin(j, false);
	neural_json_key(j, "layers");
	neural_json_text(j, neural_server_text(g->text));
	neural_json_key(j, "parameters");
	neural_json_int(j, g->nparams);
	neural_json_end(j, false);
}

static Jsonb *
describe_model(nn_arena *scratch, const nn_model *m, const char *digest,
			   Size bytes)
{
	NeuralJson j = NULL;

	neural_json_begin(&j, false);
	neural_json_key(&j, "task");
	neural_json_text(&j, neural_task_name(m->task));
	neural_json_key(&j, "loss");
	neural_json_text(&j, neural_server_text(m->loss->text));
	neural_json_key(&j, "targets");
	neural_json_begin(&j, true);
	for (int i = 0; i < m->ntargets; i++)
		describe_target(&j, &m->targets[i]);
	neural_json_end(&j, true);
	neural_json_key(&j, "features");
	neural_json_begin(&j, true);
	for (int i = 0; i < m->features->ncolumns; i++)
		describe_column(&j, scratch, &m->features->columns[i]);
	neural_json_end(&j, true);
	neural_json_key(&j, "networks");
	neural_json_begin(&j, true);
	for (int i = 0; i < m->nnetworks; i++)
		describe_network(&j, m->networks[i].graph);
	neural_json_end(&j, true);
	neural_json_key(&j, "time_zone");
	neural_json_text(&j, m->time_zone);
	neural_json_key(&j, "training");
	neural_json_jsonb(&j, neural_model_training(m));
	neural_json_key(&j, "bytes");
	neural_json_int(&j, bytes);
	neural_json_key(&j, "sha256");
	neural_json_text(&j, digest);
	return neural_json_end(&j, false);
}

Jsonb *
neural_model_training(const nn_model *m)
{
	const char *text = m->description != NULL && m->description[0] != '\0'
						   ? neural_server_text(m->description)
						   : "{}";

	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

PG_FUNCTION_INFO_V1(neural_describe);
Datum
neural_describe(PG_FUNCTION_ARGS)
{
	Datum value = PG_GETARG_DATUM(0);
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "neural describe", ALLOCSET_DEFAULT_SIZES);
	NeuralLoadedModel *loaded = neural_model_load(value, context);
	char digest[2 * NN_MODEL_DIGEST_SIZE + 1];
	Jsonb *result;

	hex_encode((const char *) loaded->digest, NN_MODEL_DIGEST_SIZE, digest);
	digest[2 * NN_MODEL_DIGEST_SIZE] = '\0';
	result = describe_model(neural_arena(context), loaded->model, digest,
							toast_raw_datum_size(value) - VARHDRSZ);
	MemoryContextDelete(context);
	PG_RETURN_JSONB_P(result);
}

/* ---------- vocabulary ---------- */

static const char *
type_text(nn_option_type type)
{
	switch (type)
	{
		case NN_OPT_INT:
			return "integer";
		case NN_OPT_REAL:
			return "number";
		case NN_OPT_BOOL:
			return "boolean";
		case NN_OPT_CHOICE:
			return "name";
		case NN_OPT_ITEM:
			return "name with arguments";
		case NN_OPT_LIST:
			return "list of numbers";
	}
	return "";
}

static void
put_default(StringInfo buf, const nn_option *o)
{
	char number[NN_NUMBER_SIZE];

	if (o->type == NN_OPT_ITEM)
	{
		if (o->initial_item != NULL)
			appendStringInfo(buf, " = %s", o->initial_item);
	}
	else if (o->initial == NN_REQUIRED || o->type == NN_OPT_LIST)
		return;
	else if (o->type == NN_OPT_BOOL)
		appendStringInfo(buf, " = %s", o->initial != 0 ? "true" : "false");
	else if (o->type == NN_OPT_CHOICE)
		appendStringInfo(buf, " = %s", o->choices[(int) o->initial]);
	else
		appendStringInfo(buf, " = %s", nn_number_text(o->initial, number));
}

/* "rate = 0.5 (number, 0 to 1): share of the numbers that are dropped" */
static void
put_option(StringInfo buf, const nn_option *o)
{
	char low[NN_NUMBER_SIZE], high[NN_NUMBER_SIZE];

	if (buf->len > 0)
		appendStringInfoChar(buf, '\n');
	appendStringInfoString(buf, o->name);
	put_default(buf, o);
	appendStringInfo(buf, " (%s", type_text(o->type));
	if (o->min < o->max)
		appendStringInfo(buf, ", %s to %s", nn_number_text(o->min, low),
						 nn_number_text(o->max, high));
	if (o->choices != NULL)
		for (int i = 0; o->choices[i] != NULL; i++)
			appendStringInfo(buf, "%s%s", i == 0 ? ": " : ", ", o->choices[i]);
	if (o->type != NN_OPT_ITEM && o->initial == NN_REQUIRED)
		appendStringInfoString(buf, ", required");
	appendStringInfoChar(buf, ')');
	if (o->alias != NULL)
		appendStringInfo(buf, ", also %s", o->alias);
	if (o->help != NULL)
		appendStringInfo(buf, ": %s", o->help);
}

static Datum
text_array(const char *const *list)
{
	ArrayBuildState *state =
		initArrayResult(TEXTOID, CurrentMemoryContext, false);

	for (int i = 0; list != NULL && list[i] != NULL; i++)
		state = accumArrayResult(state, CStringGetTextDatum(list[i]), false,
								 TEXTOID, CurrentMemoryContext);
	return makeArrayResult(state, CurrentMemoryContext);
}

static void
put_named(ReturnSetInfo *result, const char *kind, const nn_named *named)
{
	Datum values[6];
	bool nulls[6] = {false};
	StringInfoData options;

	initStringInfo(&options);
	for (const nn_option *o = named->options; o != NULL && o->name != NULL; o++)
		put_option(&options, o);
	values[0] = CStringGetTextDatum(kind);
	values[1] = CStringGetTextDatum(named->name);
	values[2] = text_array(named->aliases);
	values[3] = CStringGetTextDatum(named->summary ? named->summary : "");
	nulls[4] = options.len == 0;
	values[4] = CStringGetTextDatum(options.data);
	values[5] = text_array(named->examples);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(neural_vocabulary);
Datum
neural_vocabulary(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	struct
	{
		const char *kind;
		const void *const *list;
	} lists[] = {
		{"layer", (const void *const *) nn_layers},
		{"initializer", (const void *const *) nn_initializers},
		{"loss", (const void *const *) nn_losses},
		{"optimizer", (const void *const *) nn_optimizers},
		{"schedule", (const void *const *) nn_schedules},
		{"encoder", (const void *const *) nn_encoders},
		{"metric", (const void *const *) nn_metrics},
	};

	InitMaterializedSRF(fcinfo, 0);
	/* all of these structs begin with an nn_named */
	for (int i = 0; i < (int) lengthof(lists); i++)
		for (int j = 0; lists[i].list[j] != NULL; j++)
			put_named(result, lists[i].kind, lists[i].list[j]);
	return (Datum) 0;
}
