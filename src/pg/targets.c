/*
 * targets.c
 *	  What is to be learned: the task, the classes, the scale of numbers.
 *
 * The task follows from the targets' types and values unless it is given:
 * text, boolean and enum are classes; numbers are learned as numbers, except
 * that an integer whose values are exactly 0..k-1 or 1..k, k at most 20, is
 * taken for a class and the user told so.
 *
 * While rows are read a target's slot holds its value, or the number of its
 * label in a dictionary, because neither task nor classes are known yet.
 */
#include "training.h"

#include <float.h>
#include <math.h>

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/lsyscache.h"

/* Whole numbers are taken for classes up to this many. */
#define MAX_SMALL_CLASSES 20

static const char *const task_names[] = {
	"auto",		  "regression", "classification", "binary", "multiclass",
	"multilabel", NULL};

typedef enum AskedTask
{
	ASKED_AUTO,
	ASKED_REGRESSION,
	ASKED_CLASSIFICATION,
	ASKED_BINARY,
	ASKED_MULTICLASS,
	ASKED_MULTILABEL
} AskedTask;

static AskedTask
asked_task(const NeuralTraining *t)
{
	const char *task = t->options->task;
	const char *near;

	if (task == NULL)
		return ASKED_AUTO;
	for (int i = 0; task_names[i] != NULL; i++)
		if (pg_strcasecmp(task_names[i], task) == 0)
			return (AskedTask) i;
	near = nn_did_you_mean(task, task_names);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized task \"%s\"", task),
			 near ? errhint("Did you mean \"%s\"?", near)
				  : errhint("It can be regression, classification, binary, "
							"multiclass or multilabel.")));
	return ASKED_AUTO;
}

static bool
is_integer(Oid type)
{
	type = getBaseType(type);
	return type == INT2OID || type == INT4OID || type == INT8OID;
}

static void
open_target(NeuralTraining *t, NeuralTarget *target, const char *name)
{
	AskedTask asked = asked_task(t);
	nn_column_class class;
	nn_slot_kind slot;
	nn_error err;

	target->name = name;
	target->column = neural_source_column(t->source, name);
	if (target->column == 0)
		neural_source_no_column(t->source, name);
	target->type = TupleDescAttr(t->source->desc, target->column - 1)->atttypid;
	if (!neural_class_of(target->type, &class, &slot) ||
		(class != NN_CLASS_BOOLEAN && class != NN_CLASS_TEXT &&
		 !neural_is_number(target->type)))
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("column \"%s\" of type %s cannot be a target",
							   name, format_type_be(target->type)),
						errhint("A target is a number, a boolean, a text or an "
								"enum.")));
	if (class == NN_CLASS_TEXT && asked == ASKED_REGRESSION)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("target \"%s\" of type %s cannot be learned "
							   "by regression",
							   name, format_type_be(target->type))));
	target->by_label = asked != ASKED_REGRESSION &&
					   (class == NN_CLASS_TEXT || class == NN_CLASS_BOOLEAN ||
						asked != ASKED_AUTO);
	if (target->by_label)
	{
		neural_label_reader(&target->label, target->type);
		target->memo.by_value = get_typbyval(target->type);
		target->dictionary = nn_dictionary_create(t->arena, &err);
		neural_check(target->dictionary, &err);
	}
}

void
neural_targets_open(NeuralTraining *t)
{
	ListCell *lc;

	t->ntargets = list_length(t->options->targets);
	if (t->ntargets > NN_MAX_TARGETS)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("more than %d targets", NN_MAX_TARGETS)));
	t->targets = palloc0(t->ntargets * sizeof(NeuralTarget));
	foreach (lc, t->options->targets)
	{
		int i = foreach_current_index(lc);

		for (int j = 0; j < i; j++)
			if (strcmp(t->targets[j].name, lfirst(lc)) == 0)
				ereport(ERROR, (errcode(ERRCODE_DUPLICATE_COLUMN),
								errmsg("target \"%s\" is given more than once",
									   (char *) lfirst(lc))));
		open_target(t, &t->targets[i], lfirst(lc));
		if (t->predecessor != NULL && t->targets[i].by_label)
			neural_predecessor_classes(t, &t->targets[i], i);
	}
}

/* The label's number in the target's dictionary. */
static int32
read_label(NeuralTarget *target, Datum value)
{
	NeuralLabelMemo *memo = &target->memo;
	int at = (int) (value % NEURAL_MEMO_LABELS), len;
	const char *s;
	int32 number;
	nn_error err;

	if (memo->by_value && memo->number[at] > 0 && memo->value[at] == value)
		return memo->number[at] - 1;
	s = neural_label_text(&target->label, value, &len);
	if (len > NN_MAX_TEXT_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a class of target \"%s\" is longer than %d bytes",
						target->name, NN_MAX_TEXT_LENGTH),
				 errhint("Learn a shorter name of it, such as left(%s, 100).",
						 quote_identifier(target->name))));
	number = nn_dictionary_add(target->dictionary, s, len, &err);
	neural_check(number >= NN_TEXT_UNKNOWN, &err);
	if (number < 0)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("target \"%s\" has too many classes", target->name)));
	memo->value[at] = value;
	memo->number[at] = number + 1;
	return number;
}

bool
neural_targets_read(NeuralTraining *t, const Datum *values, const bool *nulls,
					char *record)
{
	double *extra = neural_extra(t, record);

	for (int i = 0; i < t->ntargets; i++)
	{
		NeuralTarget *target = &t->targets[i];
		Datum value = values[target->at];

		if (target->by_label)
			extra[i] = read_label(target, value);
		else
		{
			extra[i] = neural_cell_number(target->type, value, false);
			if (isnan(extra[i]))
				return false;
			if (isinf(extra[i]))
				target->infinite++;
		}
	}
	return true;
}

/*
 * --- classes ---
 */

static nn_label_type
label_type(Oid type)
{
	if (getBaseType(type) == BOOLOID)
		return NN_LABEL_BOOLEAN;
	return neural_is_number(type) ? NN_LABEL_NUMBER : NN_LABEL_TEXT;
}

typedef struct Label
{
	const char *text;
	int number; /* in the dictionary */
	nn_label_type type;
} Label;

static int
compare_labels(const void *a, const void *b)
{
	const Label *x = a, *y = b;

	return neural_label_compare(x->type, x->text, y->text);
}

/* Labels of a dictionary, sorted, become classes. */
static void
classes_by_label(NeuralTraining *t, NeuralTarget *target, nn_target *model)
{
	int n = nn_dictionary_count(target->dictionary);
	Label *labels;

	if (n > NN_MAX_MODEL_CLASSES || (n > 2 && (int64) n * 2 > t->rows))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("target \"%s\" has %d classes in " INT64_FORMAT
							   " rows, too many to learn",
							   target->name, n, t->rows),
						errhint("A class needs several rows; is it the right "
								"column?")));
	labels = palloc(n * sizeof(Label));
	for (int i = 0; i < n; i++)
	{
		int len;
		const char *s = nn_dictionary_text(target->dictionary, i, &len);

		labels[i].text = pnstrdup(s, len);
		labels[i].number = i;
		labels[i].type = model->label_type;
	}
	qsort(labels, n, sizeof(Label), compare_labels);
	model->nclasses = n;
	model->classes = palloc(n * sizeof(char *));
	target->code = palloc(n * sizeof(int));
	for (int i = 0; i < n; i++)
	{
		model->classes[i] = labels[i].text;
		target->code[labels[i].number] = i;
	}
	pfree(labels);
}

/*
 * Whether the target's values are exactly 0..k-1 or 1..k, k from 2 to
 * MAX_SMALL_CLASSES; then *first and *k are set.
 */
static bool
small_integers(NeuralTraining *t, int target, int *first, int *k)
{
	bool seen[MAX_SMALL_CLASSES + 1] = {false};
	int greatest = 0;

	for (int b = 0; b < neural_records_blocks(t->records); b++)
	{
		int n;
		char *block = neural_records_block(t->records, b, &n);

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < n; i++)
		{
			double v =
				neural_extra(t, block + i * t->features->record_size)[target];

			if (v < 0 || v > MAX_SMALL_CLASSES)
				return false;
			seen[(int) v] = true;
			greatest = Max(greatest, (int) v);
		}
	}
	*first = seen[0] ? 0 : 1;
	*k = greatest - *first + 1;
	if (*k < 2 || *k > MAX_SMALL_CLASSES)
		return false;
	for (int i = *first; i <= greatest; i++)
		if (!seen[i])
			return false;
	return true;
}

static void
classes_by_number(NeuralTarget *target, nn_target *model, int first, int k)
{
	target->first = first;
	model->nclasses = k;
	model->classes = palloc(k * sizeof(char *));
	for (int i = 0; i < k; i++)
		model->classes[i] = psprintf("%d", first + i);
}

static void
check_classes(const NeuralTraining *t, int i)
{
	const nn_target *model = &t->model_targets[i];

	if (model->nclasses == 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("target \"%s\" has one class only, \"%s\"",
							   t->targets[i].name, model->classes[0]),
						errhint("Classes are learned from their differences: "
								"data must have rows of at least two.")));
}

/*
 * --- deciding ---
 */

static void
decide_one(NeuralTraining *t)
{
	NeuralTarget *target = &t->targets[0];
	nn_target *model = &t->model_targets[0];
	AskedTask asked = asked_task(t);
	int first, k;

	if (target->by_label)
		classes_by_label(t, target, model);
	else if (asked == ASKED_AUTO && is_integer(target->type) &&
			 small_integers(t, 0, &first, &k))
	{
		classes_by_number(target, model, first, k);
		ereport(t->elevel,
				(errmsg("target \"%s\" has the values %d to %d only and is "
						"learned as %d classes",
						target->name, first, first + k - 1, k),
				 errhint("To learn it as a number, say task => "
						 "'regression'.")));
	}
	if (model->nclasses == 0)
	{
		t->task = NN_REGRESSION;
		return;
	}
	check_classes(t, 0);
	if (asked == ASKED_BINARY && model->nclasses != 2)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("target \"%s\" has %d classes, but the task is "
							   "binary",
							   target->name, model->nclasses)));
	t->task = model->nclasses == 2 && asked != ASKED_MULTICLASS ? NN_BINARY
																: NN_MULTICLASS;
	if (asked == ASKED_MULTILABEL)
		t->task = NN_MULTILABEL;
}

/* Several targets are all numbers, or all of yes and no. */
static void
decide_several(NeuralTraining *t)
{
	int labels = 0;

	for (int i = 0; i < t->ntargets; i++)
		labels += t->targets[i].by_label;
	if (labels != 0 && labels != t->ntargets)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("targets must be all numbers or all boolean")));
	t->task = labels ? NN_MULTILABEL : NN_REGRESSION;
	for (int i = 0; labels && i < t->ntargets; i++)
	{
		classes_by_label(t, &t->targets[i], &t->model_targets[i]);
		check_classes(t, i);
	}
}

void
neural_targets_decide(NeuralTraining *t)
{
	t->model_targets = palloc0(t->ntargets * sizeof(nn_target));
	for (int i = 0; i < t->ntargets; i++)
	{
		nn_target *model = &t->model_targets[i];
		const char *name = t->targets[i].name;
		const char *type = neural_type_name(t->targets[i].type);

		model->name = pg_server_to_any(name, strlen(name), PG_UTF8);
		model->type_name = pg_server_to_any(type, strlen(type), PG_UTF8);
		model->label_type = label_type(t->targets[i].type);
		model->scale = 1;
	}
	if (t->ntargets == 1)
		decide_one(t);
	else
		decide_several(t);
	if (t->task == NN_MULTILABEL)
		for (int i = 0; i < t->ntargets; i++)
			if (t->model_targets[i].nclasses != 2)
				ereport(
					ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("target \"%s\" has %d classes, but one of "
							"several must be of yes and no",
							t->targets[i].name, t->model_targets[i].nclasses)));
}

int
neural_target_class(const NeuralTraining *t, int target, double slot)
{
	const NeuralTarget *x = &t->targets[target];

	return x->code ? x->code[(int) slot] : (int) (slot - x->first);
}

/*
 * --- numbers ---
 */

/* Mean, variance and range of the training rows (Welford's updates). */
static void
learn_scale(NeuralTraining *t, int i)
{
	nn_target *model = &t->model_targets[i];
	double mean = 0, m2 = 0, min = INFINITY, max = -INFINITY;
	int64 row = 0, count = 0;

	for (int b = 0; b < neural_records_blocks(t->records); b++)
	{
		int n;
		char *block = neural_records_block(t->records, b, &n);

		CHECK_FOR_INTERRUPTS();
		for (int r = 0; r < n; r++, row++)
		{
			double v = neural_extra(t, block + r * t->features->record_size)[i];
			double d = v - mean;

			if (!t->use[row])
				continue;
			mean += d / ++count;
			m2 += d * (v - mean);
			min = Min(min, v);
			max = Max(max, v);
		}
	}
	if (!(min < max))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("target \"%s\" is %.6g in every row",
							   t->targets[i].name, min),
						errhint("There is nothing to learn about a number that "
								"is always the same.")));
	model->mean = mean;
	model->scale = sqrt(m2 / count);
	model->min = min;
	model->max = max;
	if (!(model->scale > 0 && model->scale <= DBL_MAX))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("values of target \"%s\" are too large or too close "
						"to each other",
						t->targets[i].name)));
}

/*
 * A loss that learns logarithms of rates wants the numbers as they are, and
 * none below zero.
 */
void
neural_targets_scale(NeuralTraining *t)
{
	bool rates = t->loss->ops->link == NN_LINK_EXP;

	if (t->task != NN_REGRESSION)
		return;
	for (int i = 0; i < t->ntargets; i++)
	{
		nn_target *model = &t->model_targets[i];

		learn_scale(t, i);
		if (rates && model->min < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("target \"%s\" has negative values, which loss %s "
							"cannot learn",
							t->targets[i].name, t->loss->ops->named.name)));
		if (rates || t->options->target_scale == 0)
		{
			model->mean = 0;
			model->scale = 1;
		}
		model->clamp =
			t->options->clamp == -1 ? t->automatic : t->options->clamp == 1;
	}
}

int
neural_target_width(const NeuralTraining *t)
{
	return t->task == NN_BINARY || t->task == NN_MULTICLASS ? 1 : t->ntargets;
}

void
neural_targets_encode(const NeuralTraining *t, const double *extra, nn_real *y)
{
	for (int i = 0; i < neural_target_width(t); i++)
	{
		const nn_target *model = &t->model_targets[i];

		y[i] = t->task == NN_REGRESSION
				   ? (nn_real) ((extra[i] - model->mean) / model->scale)
				   : (nn_real) neural_target_class(t, i, extra[i]);
	}
}
