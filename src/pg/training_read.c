/*
 * training_read.c
 *	  Which columns a training reads, and reading them into records.
 */
#include "training.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "predict_state.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#define MAX_FEATURES	100000
#define TEXT_CHECK_ROWS 1000

/* Timestamps and dates whose differences are taken: 15 pairs of them. */
#define MAX_MOMENTS		6
#define MAX_DIFFERENCES (MAX_MOMENTS * (MAX_MOMENTS - 1) / 2)

static const char *
column_name(const NeuralTraining *t, int column)
{
	return NameStr(TupleDescAttr(t->source->desc, column - 1)->attname);
}

static Oid
column_type(const NeuralTraining *t, int column)
{
	return TupleDescAttr(t->source->desc, column - 1)->atttypid;
}

/* The place of a column in the row that is read, adding it if need be. */
static int
read_column(NeuralTraining *t, int column)
{
	ListCell *lc;

	foreach (lc, t->columns)
		if (lfirst_int(lc) == column)
			return foreach_current_index(lc);
	t->columns = lappend_int(t->columns, column);
	return list_length(t->columns) - 1;
}

static bool
is_target(const NeuralTraining *t, int column)
{
	for (int i = 0; i < t->ntargets; i++)
		if (t->targets[i].column == column)
			return true;
	return false;
}

/*
 * --- encoders ---
 */

static const char *
encoder_name(nn_column_class class)
{
	switch (class)
	{
		case NN_CLASS_BOOLEAN:
			return "boolean";
		case NN_CLASS_TEXT:
			return "category";
		case NN_CLASS_TIMESTAMP:
		case NN_CLASS_DATE:
		case NN_CLASS_TIME:
			return "timestamp";
		case NN_CLASS_VECTOR:
			return "vector";
		default:
			return "number";
	}
}

/* The forms of a category, which are not encoders of their own. */
static bool
is_category_form(const char *encode)
{
	return nn_name_equal(encode, "one_hot") ||
		   nn_name_equal(encode, "embedding") ||
		   nn_name_equal(encode, "binary");
}

static bool
has_setting(List *settings, const char *key)
{
	ListCell *lc;

	foreach (lc, settings)
		if (nn_name_equal(((NeuralSetting *) lfirst(lc))->key, key))
			return true;
	return false;
}

/*
 * The encoder's text: what the user said of the column, and for the rest the
 * recipe's settings where the network is the recipe's.
 */
static const char *
encoder_text(const NeuralTraining *t, const NeuralColumnOption *o,
			 nn_column_class class)
{
	StringInfoData s;
	const char *separator = "";
	ListCell *lc;
	List *settings = o ? o->settings : NIL;

	if (o != NULL && o->encode != NULL && strchr(o->encode, '(') != NULL)
		return o->encode;
	initStringInfo(&s);
	if (o == NULL || o->encode == NULL)
		appendStringInfo(&s, "%s(", encoder_name(class));
	else if (is_category_form(o->encode))
	{
		appendStringInfo(&s, "category(encode = %s", o->encode);
		separator = ", ";
	}
	else
		appendStringInfo(&s, "%s(", o->encode);
	foreach (lc, settings)
	{
		NeuralSetting *setting = lfirst(lc);

		appendStringInfo(&s, "%s%s = %s", separator, setting->key,
						 setting->value);
		separator = ", ";
	}
	for (int i = 0; t->automatic && nn_recipe_settings[i].key; i++)
		if (!has_setting(settings, nn_recipe_settings[i].key))
		{
			appendStringInfo(&s, "%s%s = %s", separator,
							 nn_recipe_settings[i].key,
							 nn_recipe_settings[i].value);
			separator = ", ";
		}
	appendStringInfoChar(&s, ')');
	return s.data;
}

/*
 * --- features ---
 */

/* Models keep names in UTF-8. */
static const char *
utf8(const char *s)
{
	return pg_server_to_any(s, strlen(s), PG_UTF8);
}

static void
no_rows(void)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("data has no rows")));
}

/* False: it is an array that has no elements in any row. */
static bool
add_feature(NeuralTraining *t, int column)
{
	const char *name = column_name(t, column);
	Oid type = getBaseType(column_type(t, column));
	NeuralColumnOption *o = neural_column_option(t->options, name);
	nn_column_class class;
	nn_slot_kind slot;
	int length = 1;
	nn_error err;

	if (!neural_class_of(type, &class, &slot))
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("column \"%s\" of type %s cannot be a feature",
							   name, format_type_be(type))));
	if (o != NULL && o->encode != NULL && class != NN_CLASS_VECTOR &&
		(is_category_form(o->encode) ||
		 pg_strncasecmp(o->encode, "category", 8) == 0))
	{
		class = NN_CLASS_TEXT;
		slot = NN_SLOT_TEXT;
	}
	if (o != NULL && o->length > 0 && class != NN_CLASS_VECTOR)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\" of type %s has no shape", name,
						format_type_be(type)),
				 errhint("An array or a vector has one.")));
	if (class == NN_CLASS_VECTOR)
	{
		length = neural_source_length(t->source, column);
		if (length < 0)
			no_rows();
		if (length == 0)
			return false;
		if (o != NULL && o->length > 0 && o->length != length)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" has %d elements in a row, but its "
							"shape has %d",
							name, length, o->length)));
	}
	neural_check(nn_features_add(t->features, utf8(name), class,
								 utf8(neural_type_name(type)), slot, length,
								 utf8(encoder_text(t, o, class)), &err),
				 &err);
	if (o != NULL)
		o->used = true;
	(void) read_column(t, column);
	return true;
}

static void
add_named_features(NeuralTraining *t)
{
	ListCell *lc;

	foreach (lc, t->options->features)
	{
		const char *name = lfirst(lc);
		int column = neural_source_column(t->source, name);

		if (column == 0)
			neural_source_no_column(t->source, name);
		if (is_target(t, column))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" is both target and feature", name)));
		for (int i = 0; i < t->features->ncolumns; i++)
			if (strcmp(t->features->columns[i].name, utf8(name)) == 0)
				ereport(ERROR, (errcode(ERRCODE_DUPLICATE_COLUMN),
								errmsg("feature \"%s\" is given more than once",
									   name)));
		if (!add_feature(t, column))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" has no elements in any row", name),
					 errhint("Use other features, or exclude it.")));
	}
}

/* Why a column is no feature where none were named; NULL: it is one. */
static const char *
not_a_feature(const NeuralTraining *t, int column)
{
	const char *name = column_name(t, column);
	nn_column_class class;
	nn_slot_kind slot;

	if (!neural_class_of(column_type(t, column), &class, &slot))
		return psprintf("type %s", format_type_be(column_type(t, column)));
	if (bms_is_member(column, t->source->key) &&
		!neural_list_has(t->options->keep_features, name))
		return "primary key";
	return NULL;
}

static void
add_all_features(NeuralTraining *t)
{
	StringInfoData out;

	initStringInfo(&out);
	for (int column = 1; column <= t->source->desc->natts; column++)
	{
		const char *reason;

		if (TupleDescAttr(t->source->desc, column - 1)->attisdropped ||
			is_target(t, column) || column == t->weight_column ||
			neural_list_has(t->options->exclude, column_name(t, column)) ||
			(column == t->split.column && t->split.kind != NEURAL_SPLIT_TIME))
			continue;
		reason = not_a_feature(t, column);
		if (reason == NULL && !add_feature(t, column))
			reason = "no elements in any row";
		if (reason != NULL)
			appendStringInfo(&out, "%s\"%s\" (%s)", out.len > 0 ? ", " : "",
							 column_name(t, column), reason);
	}
	if (out.len > 0)
		ereport(t->elevel,
				(errmsg("columns that are not features: %s", out.data)));
}

/*
 * How long it was from one moment to another often says more than either.
 * The later column less the earlier one: tables have start before end.
 */
static void
add_differences(NeuralTraining *t)
{
	nn_features *f = t->features;
	int asked = t->options->date_differences;
	int moments[MAX_MOMENTS], n = 0;
	nn_error err;

	if (asked == -1 ? !t->automatic : asked == 0)
		return;
	for (int i = 0; i < f->nread && n < MAX_MOMENTS; i++)
		if (f->columns[i].class == NN_CLASS_TIMESTAMP ||
			f->columns[i].class == NN_CLASS_DATE)
			moments[n++] = i;
	for (int i = 0; i < n; i++)
		for (int j = i + 1; j < n; j++)
			neural_check(nn_features_add_difference(
							 f, moments[j], moments[i],
							 encoder_text(t, NULL, NN_CLASS_NUMBER), &err),
						 &err);
}

static void
check_names(const NeuralTraining *t, List *names)
{
	ListCell *lc;

	foreach (lc, names)
		if (neural_source_column(t->source, lfirst(lc)) == 0)
			neural_source_no_column(t->source, lfirst(lc));
}

/* Those of the version that the training starts from. */
static void
take_features(NeuralTraining *t)
{
	neural_predecessor_features(t);
	for (int i = 0; i < t->features->nread; i++)
	{
		const char *name = neural_server_text(t->features->columns[i].name);
		int column = neural_source_column(t->source, name);

		if (column == 0)
			neural_source_no_column(t->source, name);
		(void) read_column(t, column);
	}
	t->extra_at =
		nn_features_extend(t->features, NEURAL_EXTRA_SLOTS(t) * sizeof(double));
}

static void
choose_features(NeuralTraining *t)
{
	nn_error err;
	ListCell *lc;

	t->features = nn_features_create(
		t->arena, Min(t->source->desc->natts, MAX_FEATURES) + MAX_DIFFERENCES,
		&err);
	neural_check(t->features, &err);
	check_names(t, t->options->exclude);
	check_names(t, t->options->keep_features);
	foreach (lc, t->options->features)
		if (neural_list_has(t->options->exclude, lfirst(lc)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" is both a feature and excluded",
							(char *) lfirst(lc))));
	if (t->options->features != NIL)
		add_named_features(t);
	else
		add_all_features(t);
	if (t->features->ncolumns == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("data has no column to learn from"),
				 errhint("The data needs a column beside the target. One that is "
						 "left out is used when it is named in features, or "
						 "in options as keep_features.")));
	add_differences(t);
	foreach (lc, t->options->columns)
	{
		NeuralColumnOption *o = lfirst(lc);

		if (neural_source_column(t->source, o->name) == 0)
			neural_source_no_column(t->source, o->name);
		if (!o->used)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("settings are given for column \"%s\", which is "
							"not a feature",
							o->name)));
	}
	neural_check(nn_features_layout(t->features,
									NEURAL_EXTRA_SLOTS(t) * sizeof(double),
									&t->extra_at, &err),
				 &err);
}

/*
 * --- reading ---
 */

static void
open_weight(NeuralTraining *t)
{
	const char *name = t->options->sample_weight;

	if (name == NULL)
		return;
	t->weight_column = neural_source_column(t->source, name);
	if (t->weight_column == 0)
		neural_source_no_column(t->source, name);
	t->weight_type = column_type(t, t->weight_column);
	if (!neural_is_number(t->weight_type))
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("sample_weight column \"%s\" is not of a "
							   "numeric type",
							   name)));
}

static double
read_weight(NeuralTraining *t, Datum value, bool isnull)
{
	double w = neural_cell_number(t->weight_type, value, isnull);

	if (!(w >= 0 && w <= 1e6))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("sample_weight column \"%s\" has a weight that is "
						"not from 0 to 1000000",
						t->options->sample_weight)));
	return w;
}

/* Texts are kept once each, but there may be many, and long ones. */
static void
check_texts(const NeuralTraining *t)
{
	Size limit = (Size) neural_max_memory * 1024;
	char size[32];

	if (nn_arena_size(t->arena) <= limit / 2)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("the different values of text columns take more than half "
					"of neural.max_memory (%s)",
					neural_size_text(limit, size, sizeof(size))),
			 errhint("Leave out columns of free text, or raise "
					 "neural.max_memory.")));
}

/*
 * What is wanted of a row beside its features, without taking it apart: false
 * when it has no fixed places.
 */
static bool
read_fixed_extras(NeuralTraining *t, HeapTupleHeader row)
{
	for (int i = 0; i < t->nextras; i++)
		if (!neural_row_fixed_value(t->reader, row, t->extras[i],
									&t->values[t->extras[i]]))
			return false;
	return true;
}

/* A NeuralRowCallback. */
static void
read_row(void *arg, TupleTableSlot *row)
{
	NeuralTraining *t = arg;
	HeapTupleHeader stored = NULL;
	const Datum *values = t->values;
	const bool *nulls = t->nulls;
	char *record;
	double *extra;

	if (TTS_IS_BUFFERTUPLE(row))
		stored = ExecFetchSlotHeapTuple(row, false, NULL)->t_data;
	if (stored != NULL && !read_fixed_extras(t, stored))
		stored = NULL;
	if (stored == NULL)
	{
		slot_getsomeattrs(row, t->scan->last);
		values = row->tts_values;
		nulls = row->tts_isnull;
	}
	for (int i = 0; i < t->ntargets; i++)
		if (nulls[t->targets[i].at])
		{
			t->skipped++;
			return;
		}
	record = neural_records_add(t->records);
	extra = neural_extra(t, record);
	if (!neural_targets_read(t, values, nulls, record))
	{
		neural_records_take_back(t->records);
		t->skipped++;
		return;
	}
	if (stored == NULL || !neural_row_read_fixed(t->reader, stored, record))
	{
		slot_getsomeattrs(row, t->scan->last);
		neural_row_read(t->reader, row->tts_values, row->tts_isnull, record);
	}
	if (neural_records_count(t->records) % TEXT_CHECK_ROWS == 0)
		check_texts(t);
	extra[NEURAL_WEIGHT_SLOT(t)] =
		t->weight_at >= 0
			? read_weight(t, values[t->weight_at], nulls[t->weight_at])
			: 1;
	if (t->split.column > 0)
		extra[NEURAL_SPLIT_SLOT(t)] =
			neural_split_read(t, values[t->split.at], nulls[t->split.at]);
}

/*
 * The session's time zone is part of the model, unless the user gave one, as
 * soon as a column depends on it: predictions must not depend on the session.
 */
static const char *
choose_time_zone(const NeuralTraining *t)
{
	for (int i = 0; i < list_length(t->columns); i++)
		if (getBaseType(column_type(t, list_nth_int(t->columns, i))) ==
			TIMESTAMPTZOID)
			return t->options->time_zone
					   ? t->options->time_zone
					   : pg_get_timezone_name(session_timezone);
	return NULL;
}

/* A column that is wanted beside the features: where it is in a row. */
static int
extra_at(NeuralTraining *t, int place)
{
	int at = t->scan->at[place];

	t->extras[t->nextras++] = at;
	return at;
}

static void
open_scan(NeuralTraining *t)
{
	int targets[NN_MAX_TARGETS], weight = 0, split = 0;

	for (int i = 0; i < t->ntargets; i++)
		targets[i] = read_column(t, t->targets[i].column);
	if (t->weight_column > 0)
		weight = read_column(t, t->weight_column);
	if (t->split.column > 0)
		split = read_column(t, t->split.column);
	t->scan = neural_scan_begin(t->source, t->columns);
	t->values = palloc0(t->scan->desc->natts * sizeof(Datum));
	t->nulls = palloc0(t->scan->desc->natts * sizeof(bool));
	t->extras = palloc((t->ntargets + 2) * sizeof(int));
	for (int i = 0; i < t->ntargets; i++)
		t->targets[i].at = extra_at(t, targets[i]);
	t->weight_at = t->weight_column > 0 ? extra_at(t, weight) : -1;
	if (t->split.column > 0)
		t->split.at = extra_at(t, split);
}

static void
check_infinite(const NeuralTraining *t)
{
	for (int i = 0; i < t->ntargets; i++)
		if (t->targets[i].infinite > 0)
			ereport(
				ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg_plural(
					 "target \"%s\" is infinite in " INT64_FORMAT " row",
					 "target \"%s\" is infinite in " INT64_FORMAT " rows",
					 t->targets[i].infinite, t->targets[i].name,
					 t->targets[i].infinite),
				 errdetail("Numbers beyond those of double precision count as "
						   "infinite."),
				 errhint("Replace infinity by NULL or by a number, or leave "
						 "those rows out.")));
}

static void
check_rows(NeuralTraining *t)
{
	check_infinite(t);
	t->rows = neural_records_count(t->records);
	if (t->rows == 0 && t->skipped > 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("target \"%s\" is NULL in every row",
							   t->targets[0].name),
						errhint("Rows whose target is not known yet are for "
								"predicting; a model learns from rows where it "
								"is.")));
	if (t->rows == 0)
		no_rows();
	if (t->rows < NEURAL_MIN_ROWS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("data has " INT64_FORMAT " rows with a target, too "
						"few to learn from",
						t->rows),
				 errdetail("At least %d are needed.", NEURAL_MIN_ROWS)));
	if (t->rows > PG_INT32_MAX)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("data has more than %d rows", PG_INT32_MAX)));
	if (t->skipped > 0)
		ereport(t->elevel,
				(errmsg(INT64_FORMAT " rows without a target are left out",
						t->skipped)));
	if (neural_row_reader_nans(t->reader) > 0)
		ereport(t->elevel,
				(errmsg(INT64_FORMAT " values are NaN and count as NULL",
						neural_row_reader_nans(t->reader))));
}

void
neural_training_read(NeuralTraining *t)
{
	bool warm = t->predecessor != NULL && t->predecessor->warm;

	open_weight(t);
	neural_targets_open(t);
	neural_split_open(t);
	if (warm)
		take_features(t);
	else
		choose_features(t);
	open_scan(t);
	t->time_zone = choose_time_zone(t);
	t->reader = neural_row_reader(t->features, t->scan->desc, false, !warm,
								  t->time_zone);
	t->records = neural_records_create(t->features->record_size, 0,
									   (Size) neural_max_memory * 1024 / 3,
									   t->spans_transactions);
	neural_scan_run(t->scan, read_row, t);
	check_rows(t);
	neural_targets_decide(t);
	neural_split_decide(t);
}
