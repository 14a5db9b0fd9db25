/*
 * split.c
 *	  Which rows a training is judged by instead of learning from them.
 *
 *	'0.2'			that share of the rows, drawn at random; of every class
 *					alike
 *	'none'			no rows
 *	'column'		those where a boolean column is true
 *	'time:column'	the last fifth by that column ('time:column:0.1': tenth)
 *	'group:column'	about a fifth, whole groups of equal values
 *
 * The default is 15 of 100 rows, at least 10 and at most 20000; none of fewer
 * than 20 rows; fewer where there are so many classes that their probabilities
 * would take much of neural.max_memory.
 */
#include "training.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#define DEFAULT_SHARE	   0.15
#define DEFAULT_LEAST	   10
#define DEFAULT_MOST	   20000
#define DEFAULT_PART_SHARE 0.2 /* of time and group */

static double
parse_fraction(const char *s)
{
	char *end;
	double f = strtod(s, &end);

	if (end == s || *end != '\0' || !(f > 0 && f <= 0.9))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid share of validation rows: \"%s\"", s),
				 errdetail("It must be greater than 0 and at most 0.9.")));
	return f;
}

static void
open_column(NeuralTraining *t, const char *name)
{
	NeuralSplit *s = &t->split;

	s->column = neural_source_column(t->source, name);
	if (s->column == 0)
		neural_source_no_column(t->source, name);
	s->type = TupleDescAttr(t->source->desc, s->column - 1)->atttypid;
}

/* "time:column" and "time:column:0.1"; a column may have colons itself. */
static void
open_time(NeuralTraining *t, char *name)
{
	char *colon = strrchr(name, ':');

	t->split.kind = NEURAL_SPLIT_TIME;
	if (colon != NULL && neural_source_column(t->source, name) == 0)
	{
		*colon = '\0';
		t->split.fraction = parse_fraction(colon + 1);
	}
	open_column(t, name);
	if (!neural_has_order(t->split.type))
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("column \"%s\" of type %s has no order in time",
							   name, format_type_be(t->split.type))));
}

static void
open_group(NeuralTraining *t, const char *name)
{
	nn_column_class class;
	nn_slot_kind slot;
	nn_error err;

	t->split.kind = NEURAL_SPLIT_GROUP;
	open_column(t, name);
	if (!neural_class_of(t->split.type, &class, &slot) ||
		class == NN_CLASS_VECTOR)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("column \"%s\" of type %s cannot tell groups "
							   "apart",
							   name, format_type_be(t->split.type))));
	neural_label_reader(&t->split.label, t->split.type);
	t->split.groups = nn_dictionary_create(t->arena, &err);
	neural_check(t->split.groups, &err);
}

void
neural_split_open(NeuralTraining *t)
{
	const char *text = t->options->validation;
	NeuralSplit *s = &t->split;

	s->kind = NEURAL_SPLIT_RANDOM;
	s->fraction = NAN;
	if (text == NULL || pg_strcasecmp(text, "auto") == 0)
		return;
	if (pg_strcasecmp(text, "none") == 0 || strcmp(text, "0") == 0)
		s->kind = NEURAL_SPLIT_NONE;
	else if (strncmp(text, "time:", 5) == 0)
		open_time(t, pstrdup(text + 5));
	else if (strncmp(text, "group:", 6) == 0)
		open_group(t, text + 6);
	else if (strchr("0123456789.+-", text[0]) != NULL &&
			 neural_source_column(t->source, text) == 0)
		s->fraction = parse_fraction(text);
	else
	{
		s->kind = NEURAL_SPLIT_COLUMN;
		open_column(t, text);
		if (getBaseType(s->type) != BOOLOID)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("validation column \"%s\" is not boolean", text),
					 errhint("Other columns can be used as 'time:%s' or "
							 "'group:%s'.",
							 text, text)));
	}
}

double
neural_split_read(NeuralTraining *t, Datum value, bool isnull)
{
	NeuralSplit *s = &t->split;
	const char *text;
	nn_error err;
	int32_t group;
	int len;

	if (s->kind == NEURAL_SPLIT_COLUMN)
		return !isnull && DatumGetBool(value);
	if (s->kind == NEURAL_SPLIT_TIME)
		return isnull ? -INFINITY : neural_cell_order(s->type, value, false);
	if (isnull)
		return -1;
	text = neural_label_text(&s->label, value, &len);
	group = nn_dictionary_add(s->groups, text, len, &err);
	neural_check(group >= NN_TEXT_UNKNOWN, &err);
	return group;
}

/*
 * --- deciding, when all rows are there ---
 */

/* One of the caller's slots of every row. */
static double *
all_slots(NeuralTraining *t, int slot)
{
	double *all =
		MemoryContextAllocHuge(CurrentMemoryContext, t->rows * sizeof(double));
	int64 row = 0;

	for (int b = 0; b < neural_records_blocks(t->records); b++)
	{
		int n;
		char *block = neural_records_block(t->records, b, &n);

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < n; i++)
			all[row++] =
				neural_extra(t, block + i * t->features->record_size)[slot];
	}
	return all;
}

static uint32_t *
random_order(NeuralTraining *t, int64 n)
{
	uint32_t *order =
		MemoryContextAllocHuge(CurrentMemoryContext, n * sizeof(uint32_t));

	nn_random_permutation(nn_random_key(t->options->seed, NN_STREAM_SPLIT, 0),
						  order, n);
	return order;
}

static int64
default_count(const NeuralTraining *t, int outputs)
{
	double wanted = t->rows * DEFAULT_SHARE;
	Size fit =
		(Size) neural_max_memory * 1024 / 4 / NEURAL_JUDGED_BYTES(outputs);

	if (t->rows < 2 * DEFAULT_LEAST)
		return 0;
	wanted = Min(wanted, fit);
	wanted = Max(wanted, Min(DEFAULT_LEAST, t->rows / 4));
	return (int64) Min(wanted, DEFAULT_MOST);
}

/* The same share of every class, at least one row of each for training. */
static void
split_random(NeuralTraining *t)
{
	bool by_class = t->task == NN_BINARY || t->task == NN_MULTICLASS;
	int k = by_class ? t->model_targets[0].nclasses : 1;
	int64 wanted = isnan(t->split.fraction)
					   ? default_count(t, Max(k, t->ntargets))
					   : (int64) rint(t->rows * t->split.fraction);
	int64 *count = palloc0(k * sizeof(int64));
	uint32_t *order = random_order(t, t->rows);
	double *slot = by_class ? all_slots(t, 0) : NULL;

	if (by_class)
		for (int64 i = 0; i < t->rows; i++)
			count[neural_target_class(t, 0, slot[i])]++;
	else
		count[0] = t->rows;
	for (int c = 0; c < k; c++)
		count[c] = Min((int64) rint((double) count[c] * wanted / t->rows),
					   Max(count[c] - 1, 0));
	for (int64 i = 0; i < t->rows; i++)
	{
		int64 row = order[i];
		int c = by_class ? neural_target_class(t, 0, slot[row]) : 0;

		if (count[c] > 0)
		{
			count[c]--;
			t->use[row] = 0;
		}
	}
	if (slot != NULL)
		pfree(slot);
	pfree(order);
	pfree(count);
}

#define ST_SORT			 sort_doubles
#define ST_ELEMENT_TYPE	 double
#define ST_COMPARE(a, b) (*(a) < *(b) ? -1 : *(a) > *(b))
#define ST_CHECK_FOR_INTERRUPTS
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/* The last rows; rows of one moment stay together. */
static void
split_time(NeuralTraining *t)
{
	double share =
		isnan(t->split.fraction) ? DEFAULT_PART_SHARE : t->split.fraction;
	double *slot = all_slots(t, NEURAL_SPLIT_SLOT(t));
	double *sorted =
		MemoryContextAllocHuge(CurrentMemoryContext, t->rows * sizeof(double));
	double border;

	memcpy(sorted, slot, t->rows * sizeof(double));
	sort_doubles(sorted, t->rows);
	border = sorted[(int64) ((t->rows - 1) * (1 - share))];
	for (int64 i = 0; i < t->rows; i++)
		t->use[i] = !(slot[i] > border);
	pfree(sorted);
	pfree(slot);
}

static void
split_group(NeuralTraining *t)
{
	double *slot = all_slots(t, NEURAL_SPLIT_SLOT(t));
	int k = nn_dictionary_count(t->split.groups) + 1; /* and NULL */
	int64 wanted = (int64) rint(t->rows * DEFAULT_PART_SHARE), taken = 0;
	int64 *count = palloc0(k * sizeof(int64));
	uint8 *use = palloc(k);
	uint32_t *order = random_order(t, k);

	for (int64 i = 0; i < t->rows; i++)
		count[(int) slot[i] + 1]++;
	memset(use, 1, k);
	for (int i = 0; i < k && taken < wanted; i++)
	{
		/* not a group that would take more than all of the others leave */
		if (taken + count[order[i]] > t->rows / 2)
			continue;
		taken += count[order[i]];
		use[order[i]] = 0;
	}
	for (int64 i = 0; i < t->rows; i++)
		t->use[i] = use[(int) slot[i] + 1];
	pfree(slot);
	pfree(order);
}

void
neural_split_decide(NeuralTraining *t)
{
	double *slot;

	t->use = MemoryContextAllocHuge(CurrentMemoryContext, t->rows);
	memset(t->use, 1, t->rows);
	switch (t->split.kind)
	{
		case NEURAL_SPLIT_NONE:
			break;
		case NEURAL_SPLIT_RANDOM:
			split_random(t);
			break;
		case NEURAL_SPLIT_TIME:
			split_time(t);
			break;
		case NEURAL_SPLIT_GROUP:
			split_group(t);
			break;
		case NEURAL_SPLIT_COLUMN:
			slot = all_slots(t, NEURAL_SPLIT_SLOT(t));
			for (int64 i = 0; i < t->rows; i++)
				t->use[i] = slot[i] == 0;
			pfree(slot);
			break;
	}
	t->training_rows = 0;
	for (int64 i = 0; i < t->rows; i++)
		t->training_rows += t->use[i];
	t->validation_rows = t->rows - t->training_rows;
	if (t->training_rows < 2)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg_plural("validation leaves " INT64_FORMAT
									  " row to learn from",
									  "validation leaves " INT64_FORMAT
									  " rows to learn from",
									  t->training_rows, t->training_rows)));
	if (t->validation_rows == 0 && t->split.kind >= NEURAL_SPLIT_COLUMN)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("validation \"%s\" chooses no rows",
							   t->options->validation)));
}
