/*
 * drift.c
 *	  neural.drift: how far today's rows are from those that a model was
 *	  trained on.
 *
 * What the training rows were like is kept with the version as a profile
 * (training_profile.c): shares of bins.  Today's rows are counted in the same
 * bins, and the population stability index is the sum over the bins of
 *
 *		(now - then) * ln(now / then)
 *
 * where shares below LEAST_SHARE count as that much, so that an empty bin does
 * not make it infinite.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "catalog.h"
#include "cells.h"
#include "drift.h"
#include "evaluate.h"
#include "json.h"
#include "predict_state.h"
#include "source.h"
#include "sql.h"

#define LEAST_SHARE 1e-4

typedef struct Feature
{
	const nn_column *column;
	int nbins; /* 0: it has no profile */
	double *edges;
	double *then;
	int32 *bin_of; /* by number in the dictionary; of a text */

	int64 *count;
	int64 nulls, unseen, numbers;
	double sum;
} Feature;

typedef struct Drift
{
	const nn_model *model;
	NeuralScan *scan;
	NeuralRowReader *reader;
	Feature *features;
	char *record;
	int64 rows;
} Drift;

/* What the model's table says of the version. */
typedef struct Stored
{
	int version;
	Jsonb *profile;
	char *metric;
	double value;
} Stored;

/*
 * --- then ---
 */

/* In the current context. */
static void
read_stored(Oid relid, int version, Stored *s)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid types[] = {INT4OID};
	Datum values[] = {Int32GetDatum(version)};
	Datum d;
	bool isnull;
	int level;

	if (!neural_may_read(relid, "training") ||
		!neural_may_read(relid, "metrics"))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for model %s", get_rel_name(relid)),
				 errhint("neural.drift tells what the training rows were "
						 "like, so it needs SELECT on the model's columns "
						 "\"training\" and \"metrics\".")));
	level = neural_sql_begin();
	s->value = NAN;
	if (neural_sql_run(
			psprintf("SELECT training -> 'profile', metrics ->> 'metric', CASE "
					 "jsonb_typeof(metrics -> 'value') WHEN 'number' THEN "
					 "(metrics -> 'value')::float8 END FROM %s "
					 "WHERE version = $1",
					 neural_sql_name(relid)),
			true, 1, types, values, NULL) > 0)
	{
		HeapTuple row = SPI_tuptable->vals[0];
		TupleDesc desc = SPI_tuptable->tupdesc;

		d = SPI_getbinval(row, desc, 1, &isnull);
		MemoryContextSwitchTo(caller);
		if (!isnull)
			s->profile = DatumGetJsonbPCopy(d);
		d = SPI_getbinval(row, desc, 2, &isnull);
		if (!isnull)
			s->metric = TextDatumGetCString(d);
		d = SPI_getbinval(row, desc, 3, &isnull);
		if (!isnull)
			s->value = DatumGetFloat8(d);
	}
	neural_sql_end(level);
	if (s->profile != NULL && !JB_ROOT_IS_OBJECT(s->profile))
		s->profile = NULL;
	if (s->profile == NULL)
		ereport(NOTICE,
				(errmsg("version %d has no profile of its training rows",
						s->version),
				 errdetail("Imported versions and those written by hand have "
						   "none, so their features cannot be compared.")));
}

/* The elements of an array that is a member; NULL where it is none. */
static JsonbValue *
elements(const Jsonb *object, const char *name, int *n)
{
	JsonbValue *v = neural_json_member(object, name);
	JsonbValue *all;

	if (v == NULL || v->type != jbvBinary ||
		!JsonContainerIsArray(v->val.binary.data))
		return NULL;
	*n = JsonContainerSize(v->val.binary.data);
	all = palloc((*n + 1) * sizeof(JsonbValue));
	for (int i = 0; i < *n; i++)
		all[i] = *getIthJsonbValueFromContainer(v->val.binary.data, i);
	return all;
}

/* NULL unless all are numbers. */
static double *
numbers(const Jsonb *object, const char *name, int *n)
{
	JsonbValue *v = elements(object, name, n);
	double *all;

	if (v == NULL)
		return NULL;
	all = palloc((*n + 1) * sizeof(double));
	for (int i = 0; i < *n; i++)
	{
		if (v[i].type != jbvNumeric)
			return NULL;
		all[i] = DatumGetFloat8(DirectFunctionCall1(
			numeric_float8_no_overflow, NumericGetDatum(v[i].val.numeric)));
	}
	return all;
}

/*
 * Categories that the model does not tell from others are not told apart here
 * either: their shares go to the last bin.
 */
static bool
open_texts(Feature *f, const Jsonb *profile)
{
	nn_dictionary *dictionary = f->column->dictionary;
	int known = nn_dictionary_count(dictionary), n;
	JsonbValue *categories = elements(profile, "categories", &n);

	if (categories == NULL || n + 1 != f->nbins)
		return false;
	f->bin_of = palloc((known + 1) * sizeof(int32));
	for (int i = 0; i < known; i++)
		f->bin_of[i] = n;
	for (int i = 0; i < n; i++)
	{
		int32_t number = NN_TEXT_UNKNOWN;

		if (categories[i].type == jbvString)
		{
			char *text = pnstrdup(categories[i].val.string.val,
								  categories[i].val.string.len);
			char *utf8 = pg_server_to_any(text, strlen(text), PG_UTF8);

			number = nn_dictionary_find(dictionary, utf8, strlen(utf8));
		}
		if (number >= 0)
			f->bin_of[number] = i;
		else
		{
			f->then[n] += f->then[i];
			f->then[i] = 0;
		}
	}
	return true;
}

/* A profile that is not as it should be was written by hand: there is none. */
static void
open_feature(Feature *f, const nn_column *c, const Jsonb *profiles)
{
	JsonbValue *v;
	Jsonb *profile;
	int n;

	f->column = c;
	v = profiles == NULL
			? NULL
			: neural_json_member(profiles, neural_server_text(c->name));
	if (v == NULL || v->type != jbvBinary ||
		!JsonContainerIsObject(v->val.binary.data))
		return;
	profile = JsonbValueToJsonb(v);
	f->then = numbers(profile, "shares", &f->nbins);
	if (f->then == NULL)
		f->nbins = 0;
	else if (c->slot == NN_SLOT_TEXT)
	{
		if (!open_texts(f, profile))
			f->nbins = 0;
	}
	else
	{
		f->edges = numbers(profile, "edges", &n);
		if (f->edges == NULL || c->slot == NN_SLOT_VECTOR || n + 1 != f->nbins)
			f->nbins = 0;
	}
	f->count = palloc0((f->nbins + 1) * sizeof(int64));
}

/*
 * --- now ---
 */

static void
count_number(Feature *f, double x)
{
	int bin = 0;

	if (isnan(x))
	{
		f->nulls++;
		return;
	}
	f->numbers++;
	f->sum += x;
	while (bin + 1 < f->nbins && x > f->edges[bin])
		bin++;
	if (f->nbins > 0)
		f->count[bin]++;
}

static void
count_text(Feature *f, int32_t number)
{
	if (number == NN_TEXT_NULL)
		f->nulls++;
	else if (number < 0)
	{
		f->unseen++;
		if (f->nbins > 0)
			f->count[f->nbins - 1]++;
	}
	else if (f->nbins > 0)
		f->count[f->bin_of[number]]++;
}

/* A NeuralRowCallback. */
static void
count_row(void *arg, TupleTableSlot *row)
{
	Drift *d = arg;

	slot_getsomeattrs(row, d->scan->last);
	neural_row_read(d->reader, row->tts_values, row->tts_isnull, d->record);
	d->rows++;
	for (int i = 0; i < d->model->features->nread; i++)
	{
		Feature *f = &d->features[i];
		const char *at = d->record + f->column->offset;

		switch (f->column->slot)
		{
			case NN_SLOT_REAL32:
				count_number(f, *(const float *) at);
				break;
			case NN_SLOT_REAL64:
				count_number(f, *(const double *) at);
				break;
			case NN_SLOT_TEXT:
				count_text(f, *(const int32_t *) at);
				break;
			case NN_SLOT_VECTOR:
				f->nulls += isnan(*(const float *) at);
				break;
		}
	}
}

static void
count_rows(Drift *d, const NeuralSource *source)
{
	const nn_features *f = d->model->features;
	List *columns = NIL;

	for (int i = 0; i < f->nread; i++)
	{
		const char *name = neural_server_text(f->columns[i].name);
		int number = neural_source_column(source, name);

		if (number == 0)
			neural_source_no_column(source, name);
		columns = lappend_int(columns, number);
	}
	d->scan = neural_scan_begin(source, columns);
	d->reader =
		neural_row_reader(f, d->scan->desc, false, false, d->model->time_zone);
	d->record = palloc0(f->record_size);
	neural_scan_run(d->scan, count_row, d);
	if (d->rows == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("data has no rows")));
}

static double
stability(const Feature *f)
{
	int64 total = 0;
	double sum = 0;

	for (int i = 0; i < f->nbins; i++)
		total += f->count[i];
	if (total == 0)
		return NAN;
	for (int i = 0; i < f->nbins; i++)
	{
		double now = Max((double) f->count[i] / total, LEAST_SHARE);
		double then = Max(f->then[i], LEAST_SHARE);

		sum += (now - then) * log(now / then);
	}
	return sum;
}

static Drift *
open_drift(const nn_model *m, const Jsonb *profiles, const char *data,
		   NeuralSource **source)
{
	Drift *d = palloc0(sizeof(*d));

	d->model = m;
	d->features = palloc0((m->features->nread + 1) * sizeof(Feature));
	for (int i = 0; i < m->features->nread; i++)
		open_feature(&d->features[i], &m->features->columns[i], profiles);
	*source = neural_source_open(data);
	count_rows(d, *source);
	return d;
}

double
neural_drift_greatest(Oid relid, int version, const char *data)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "neural drift", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	NeuralSource *source;
	Stored stored = {0};
	NeuralLoadedModel *loaded;
	double greatest = NAN;
	Drift *d;

	loaded = neural_model_load(
		neural_model_fetch(relid, version, &stored.version), context);
	read_stored(relid, stored.version, &stored);
	d = open_drift(loaded->model, stored.profile, data, &source);
	for (int i = 0; i < loaded->model->features->nread; i++)
	{
		double x = stability(&d->features[i]);

		if (!isnan(x) && !(greatest >= x))
			greatest = x;
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return greatest;
}

/*
 * --- the function ---
 */

#define COLUMNS 8

static void
put_row(ReturnSetInfo *result, const char *kind, const char *name,
		const double *values)
{
	Datum datums[COLUMNS];
	bool nulls[COLUMNS] = {false};

	datums[0] = CStringGetTextDatum(kind);
	datums[1] = CStringGetTextDatum(name);
	for (int i = 2; i < COLUMNS; i++)
	{
		datums[i] = Float8GetDatum(values[i - 2]);
		nulls[i] = isnan(values[i - 2]);
	}
	tuplestore_putvalues(result->setResult, result->setDesc, datums, nulls);
}

static void
put_feature(ReturnSetInfo *result, const Drift *d, const Feature *f)
{
	const nn_column *c = f->column;
	bool number = c->class == NN_CLASS_NUMBER || c->class == NN_CLASS_BOOLEAN;
	double known = d->rows - f->nulls;
	double values[COLUMNS - 2] = {
		stability(f),
		c->slot == NN_SLOT_TEXT && known > 0 ? f->unseen / known : NAN,
		c->rows > 0 ? (double) c->nulls / c->rows : NAN,
		(double) f->nulls / d->rows,
		number && c->rows > c->nulls ? c->mean : NAN,
		number && f->numbers > 0 ? f->sum / f->numbers : NAN};

	put_row(result, "feature", neural_server_text(c->name), values);
}

/* Whether the rows hold all targets. */
static bool
has_targets(const nn_model *m, const NeuralSource *source)
{
	for (int i = 0; i < m->ntargets; i++)
		if (neural_source_column(source,
								 neural_server_text(m->targets[i].name)) == 0)
			return false;
	return true;
}

PG_FUNCTION_INFO_V1(neural_drift);
Datum
neural_drift(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext context, old;
	NeuralLoadedModel *loaded;
	NeuralSource *source;
	Stored stored = {0};
	const char *data;
	Oid relid;
	Drift *d;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;
	relid = PG_GETARG_OID(0);
	context = AllocSetContextCreate(CurrentMemoryContext, "neural drift",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	data = text_to_cstring(PG_GETARG_TEXT_PP(1));
	loaded = neural_model_load(neural_model_fetch(relid,
												  neural_version_arg(fcinfo, 2),
												  &stored.version),
							   context);
	read_stored(relid, stored.version, &stored);
	d = open_drift(loaded->model, stored.profile, data, &source);
	for (int i = 0; i < loaded->model->features->nread; i++)
		put_feature(result, d, &d->features[i]);
	if (stored.metric != NULL && has_targets(loaded->model, source))
	{
		double values[COLUMNS - 2] = {NAN, NAN, NAN, NAN};

		values[4] = stored.value;
		values[5] = neural_evaluate_metric(loaded, data, stored.metric);
		put_row(result, "metric", stored.metric, values);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return (Datum) 0;
}
