/*
 * predict.c
 *	  The predict family: SQL functions of a model and a row.
 *
 * They differ only in what they make of the network's output: see the
 * NeuralFinish of each.  What depends on the model alone (labels as text, as
 * numbers, in the wanted type) is made once for the model, so that a row costs
 * reading it, the network, and a table look-up.
 *
 * Called without arguments, they are values of a batch: see batch.h.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/float.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "batch.h"
#include "json.h"
#include "predict_device.h"

/* ---------- what a model must be ---------- */

static inline bool
is_classes(const nn_model *m)
{
	return m->task == NN_BINARY || m->task == NN_MULTICLASS;
}

static char *
target_name(const nn_model *m)
{
	return neural_server_text(m->targets[0].name);
}

static void
require_one_target(NeuralPredictState *s)
{
	if (s->model->ntargets != 1)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("%s needs a model of one target, but this has %d",
						s->finish->name, s->model->ntargets),
				 errhint("Use neural.predict_all.")));
}

static void
require_classes(NeuralPredictState *s)
{
	if (s->model->task == NN_REGRESSION)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("%s needs classes, but \"%s\" is a number",
							   s->finish->name, target_name(s->model)),
						errhint("Use neural.predict.")));
}

/* ---------- classes ---------- */

/* The most probable; the first of equals. */
static int
best_class(const nn_model *m, const double *out)
{
	int best = 0;

	/* one yes-or-no target: its probability, of true */
	if (m->task == NN_MULTILABEL)
		return out[0] > 0.5;
	for (int i = 1; i < m->targets[0].nclasses; i++)
		if (out[i] > out[best])
			best = i;
	return best;
}

static double
label_number(const nn_target *t, int class)
{
	if (t->label_type == NN_LABEL_BOOLEAN)
		return strcmp(t->classes[class], "true") == 0;
	return strtod(t->classes[class], NULL);
}

static void
prepare_class_text(NeuralPredictState *s)
{
	const nn_target *t = &s->model->targets[0];

	s->class_text = palloc(sizeof(Datum) * t->nclasses);
	for (int i = 0; i < t->nclasses; i++)
		s->class_text[i] =
			CStringGetTextDatum(neural_server_text(t->classes[i]));
}

/* ---------- predict ---------- */

static void
prepare_predict(NeuralPredictState *s)
{
	const nn_model *m = s->model;
	const nn_target *t = &m->targets[0];

	require_one_target(s);
	if (m->task == NN_REGRESSION)
		return;
	if (t->label_type == NN_LABEL_TEXT)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("the classes of \"%s\" are not numbers",
							   target_name(m)),
						errhint("Use neural.classify for the class, or "
								"neural.predict_proba for the probability of "
								"one.")));
	s->class_number = palloc(sizeof(double) * t->nclasses);
	for (int i = 0; i < t->nclasses; i++)
		s->class_number[i] = label_number(t, i);
}

static Datum
finish_predict(NeuralPredictState *s, const double *out)
{
	if (s->class_number == NULL)
		return Float8GetDatum(out[0]);
	return Float8GetDatum(s->class_number[best_class(s->model, out)]);
}

static const NeuralFinish finish_of_predict = {"neural.predict",
											   prepare_predict, finish_predict};

/* ---------- classify ---------- */

static void
prepare_classify(NeuralPredictState *s)
{
	require_one_target(s);
	require_classes(s);
	prepare_class_text(s);
}

/* The text lives as long as the model is pinned: no copy a row. */
static Datum
finish_classify(NeuralPredictState *s, const double *out)
{
	return s->class_text[best_class(s->model, out)];
}

static const NeuralFinish finish_of_classify = {
	"neural.classify", prepare_classify, finish_classify};

/* ---------- predict_proba ---------- */

/* The label at a place of the output row; NULL past the last. */
static const char *
label_at(const nn_model *m, int i)
{
	if (i >= m->outputs)
		return NULL;
	return is_classes(m) ? m->targets[0].classes[i] : m->targets[i].name;
}

static void
prepare_proba(NeuralPredictState *s)
{
	require_classes(s);
}

/* {class: probability}, or {target: probability of true} */
static Datum
finish_proba(NeuralPredictState *s, const double *out)
{
	const nn_model *m = s->model;
	NeuralJson json = NULL;

	neural_json_begin(&json, false);
	for (int i = 0; i < m->outputs; i++)
	{
		neural_json_key(&json, neural_server_text(label_at(m, i)));
		neural_json_number(&json, out[i]);
	}
	return JsonbPGetDatum(neural_json_end(&json, false));
}

static const NeuralFinish finish_of_proba = {"neural.predict_proba",
											 prepare_proba, finish_proba};

static Datum
finish_proba_label(NeuralPredictState *s, const double *out)
{
	return Float8GetDatum(out[s->class]);
}

static const NeuralFinish finish_of_proba_label = {
	"neural.predict_proba", prepare_proba, finish_proba_label};

static void
no_label(const nn_model *m, const char *label)
{
	int shown = Min(m->outputs, 20);
	const char **all = palloc(sizeof(char *) * (m->outputs + 1));
	const char *meant;
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < m->outputs; i++)
	{
		all[i] = neural_server_text(label_at(m, i));
		if (i < shown)
			appendStringInfo(&list, "%s\"%s\"", i > 0 ? ", " : "", all[i]);
	}
	all[m->outputs] = NULL;
	if (m->outputs > shown)
		appendStringInfo(&list, " and %d more", m->outputs - shown);
	meant = nn_did_you_mean(label, all);
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("the model has no class \"%s\"", label),
					errdetail("Its classes are: %s.", list.data),
					meant ? errhint("Did you mean \"%s\"?", meant) : 0));
}

static inline bool
same_text(const text *a, const text *b)
{
	return a != NULL && VARSIZE_ANY(a) == VARSIZE_ANY(b) &&
		   memcmp(a, b, VARSIZE_ANY(b)) == 0;
}

/* Keep an argument, instead of the one that was kept. */
static text *
remember_text(NeuralPredictState *s, text *old, const text *new)
{
	text *kept = MemoryContextAlloc(s->model_context, VARSIZE_ANY(new));

	memcpy(kept, new, VARSIZE_ANY(new));
	if (old != NULL)
		pfree(old);
	return kept;
}

/* The number of a label, looked up when it is not that of the last row. */
static void
set_label(NeuralPredictState *s, text *label)
{
	const nn_model *m = s->model;
	const char *wanted;
	int i = 0;
	bool yes;

	if (same_text(s->label, label))
		return;
	wanted = text_to_cstring(label);
	while (label_at(m, i) != NULL &&
		   strcmp(neural_server_text(label_at(m, i)), wanted) != 0)
		i++;
	if (label_at(m, i) == NULL && is_classes(m) &&
		m->targets[0].label_type == NN_LABEL_BOOLEAN &&
		parse_bool(wanted, &yes))
	{
		/* "t", "yes", "1" */
		i = 0;
		while (label_at(m, i) != NULL &&
			   label_number(&m->targets[0], i) != (double) yes)
			i++;
	}
	if (label_at(m, i) == NULL)
		no_label(m, wanted);
	s->class = i;
	s->label = remember_text(s, s->label, label);
}

/* ---------- predict_as ---------- */

/*
 * Numbers are cast, as SQL casts them; everything else goes through the text
 * of the label and the input function of the type, which enums, domains and
 * types of other extensions have as well.
 */
static bool
is_plain_number(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID ||
		   type == FLOAT4OID || type == FLOAT8OID || type == NUMERICOID;
}

static Datum
cast_number(Oid type, double value)
{
	Datum d = Float8GetDatum(value);

	switch (type)
	{
		case INT2OID:
			return DirectFunctionCall1(dtoi2, d);
		case INT4OID:
			return DirectFunctionCall1(dtoi4, d);
		case INT8OID:
			return DirectFunctionCall1(dtoi8, d);
		case FLOAT4OID:
			return DirectFunctionCall1(dtof, d);
		case NUMERICOID:
			return DirectFunctionCall1(float8_numeric, d);
		default:
			return d;
	}
}

static bool
is_whole(const char *label)
{
	label += *label == '-';
	return *label != '\0' && label[strspn(label, "0123456789")] == '\0';
}

static Datum
input_text(NeuralPredictState *s, char *value)
{
	return InputFunctionCall(&s->type_input, value, s->type_param, -1);
}

static void
prepare_as(NeuralPredictState *s)
{
	const nn_model *m = s->model;
	const nn_target *t = &m->targets[0];
	Oid input;

	require_one_target(s);
	getTypeInputInfo(s->type, &input, &s->type_param);
	fmgr_info_cxt(input, &s->type_input, s->model_context);
	s->type_by_number = is_plain_number(s->type);
	if (m->task == NN_REGRESSION)
		return;
	if (s->type_by_number && t->label_type == NN_LABEL_TEXT)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("the classes of \"%s\" are of type %s, not %s",
							   target_name(m), neural_server_text(t->type_name),
							   format_type_be(s->type))));
	s->class_value = palloc(sizeof(Datum) * t->nclasses);
	s->class_known = palloc0(sizeof(bool) * t->nclasses);
}

/* A label in the wanted type, made when it is first predicted. */
static Datum
class_in_type(NeuralPredictState *s, int class)
{
	const nn_target *t = &s->model->targets[0];
	MemoryContext old;

	if (s->class_known[class])
		return s->class_value[class];
	old = MemoryContextSwitchTo(s->model_context);
	/* digits that a double has no room for are those of the label */
	if (s->type_by_number &&
		(t->label_type != NN_LABEL_NUMBER || !is_whole(t->classes[class])))
		s->class_value[class] = cast_number(s->type, label_number(t, class));
	else
		s->class_value[class] =
			input_text(s, neural_server_text(t->classes[class]));
	MemoryContextSwitchTo(old);
	s->class_known[class] = true;
	return s->class_value[class];
}

static Datum
finish_as(NeuralPredictState *s, const double *out)
{
	if (s->class_value != NULL)
		return class_in_type(s, best_class(s->model, out));
	if (s->type_by_number)
		return cast_number(s->type, out[0]);
	if (s->type == INTERVALOID)
		return input_text(s, psprintf("%.6f seconds", out[0]));
	return input_text(s, float8out_internal(out[0]));
}

static const NeuralFinish finish_of_as = {"neural.predict_as", prepare_as,
										  finish_as};

/* ---------- predict_all ---------- */

static void
push_label(NeuralJson *json, const nn_target *t, int class)
{
	if (t->label_type == NN_LABEL_NUMBER)
		neural_json_number(json, label_number(t, class));
	else if (t->label_type == NN_LABEL_BOOLEAN)
		neural_json_bool(json, label_number(t, class) != 0);
	else
		neural_json_text(json, neural_server_text(t->classes[class]));
}

static void
prepare_all(NeuralPredictState *s)
{
}

static Datum
finish_all(NeuralPredictState *s, const double *out)
{
	const nn_model *m = s->model;
	NeuralJson json = NULL;

	neural_json_begin(&json, false);
	for (int i = 0; i < m->ntargets; i++)
	{
		const nn_target *t = &m->targets[i];

		neural_json_key(&json, neural_server_text(t->name));
		if (m->task == NN_REGRESSION)
			neural_json_number(&json, out[i]);
		else if (is_classes(m))
			push_label(&json, t, best_class(m, out));
		else if (t->nclasses == 2)
			push_label(&json, t, out[i] > 0.5);
		else
			neural_json_bool(&json, out[i] > 0.5);
	}
	return JsonbPGetDatum(neural_json_end(&json, false));
}

static const NeuralFinish finish_of_all = {"neural.predict_all", prepare_all,
										   finish_all};

/* ---------- the functions ---------- */

/*
 * A function is declared with so many arguments.  If there are more, they are
 * the columns of the row, which is not there itself (batch_spell.c).
 */
static inline bool
has_no_row(FunctionCallInfo fcinfo, int declared)
{
	return PG_ARGISNULL(1) && fcinfo->nargs <= declared;
}

static inline void
read_row(NeuralPredictState *s, FunctionCallInfo fcinfo, int declared)
{
	s->used = true;
	if (fcinfo->nargs > declared)
		neural_predict_read_fields(s, fcinfo, declared);
	else
		neural_predict_read_row(s, PG_GETARG_DATUM(1));
}

static inline Datum
predict_record(NeuralPredictState *s)
{
	neural_predict_run(s, s->record, 1, s->out);
	return s->finish->finish(s, s->out);
}

/* Functions of (regclass, record, ..., version at version_arg or -1) */
static Datum
predict_by_table(FunctionCallInfo fcinfo, const NeuralFinish *finish,
				 int version_arg)
{
	int declared = version_arg > 0 ? version_arg + 1 : 2;
	NeuralPredictState *s;

	if (fcinfo->nargs == 0)
		return neural_batch_value(fcinfo);
	if (PG_ARGISNULL(0) || has_no_row(fcinfo, declared))
		PG_RETURN_NULL();
	s = neural_predict_state(fcinfo, finish);
	neural_predict_by_table(s, PG_GETARG_OID(0),
							neural_version_arg(fcinfo, version_arg));
	read_row(s, fcinfo, declared);
	return predict_record(s);
}

/* Functions of (neural.model, record) */
static Datum
predict_by_value(FunctionCallInfo fcinfo, const NeuralFinish *finish)
{
	NeuralPredictState *s;

	if (fcinfo->nargs == 0)
		return neural_batch_value(fcinfo);
	if (PG_ARGISNULL(0) || has_no_row(fcinfo, 2))
		PG_RETURN_NULL();
	s = neural_predict_state(fcinfo, finish);
	neural_predict_by_value(s, PG_GETARG_DATUM(0));
	read_row(s, fcinfo, 2);
	return predict_record(s);
}

PG_FUNCTION_INFO_V1(neural_predict);
Datum
neural_predict(PG_FUNCTION_ARGS)
{
	return predict_by_table(fcinfo, &finish_of_predict, 2);
}

PG_FUNCTION_INFO_V1(neural_classify);
Datum
neural_classify(PG_FUNCTION_ARGS)
{
	return predict_by_table(fcinfo, &finish_of_classify, 2);
}

PG_FUNCTION_INFO_V1(neural_predict_proba);
Datum
neural_predict_proba(PG_FUNCTION_ARGS)
{
	return predict_by_table(fcinfo, &finish_of_proba, -1);
}

PG_FUNCTION_INFO_V1(neural_predict_all);
Datum
neural_predict_all(PG_FUNCTION_ARGS)
{
	return predict_by_table(fcinfo, &finish_of_all, 2);
}

PG_FUNCTION_INFO_V1(neural_predict_with);
Datum
neural_predict_with(PG_FUNCTION_ARGS)
{
	return predict_by_value(fcinfo, &finish_of_predict);
}

PG_FUNCTION_INFO_V1(neural_classify_with);
Datum
neural_classify_with(PG_FUNCTION_ARGS)
{
	return predict_by_value(fcinfo, &finish_of_classify);
}

PG_FUNCTION_INFO_V1(neural_predict_proba_with);
Datum
neural_predict_proba_with(PG_FUNCTION_ARGS)
{
	return predict_by_value(fcinfo, &finish_of_proba);
}

PG_FUNCTION_INFO_V1(neural_predict_array);
Datum
neural_predict_array(PG_FUNCTION_ARGS)
{
	NeuralPredictState *s;

	if (fcinfo->nargs == 0)
		return neural_batch_value(fcinfo);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	s = neural_predict_state(fcinfo, &finish_of_predict);
	neural_predict_by_table(s, PG_GETARG_OID(0), 0);
	s->used = true;
	neural_predict_read_array(s, PG_GETARG_DATUM(1));
	return predict_record(s);
}

PG_FUNCTION_INFO_V1(neural_predict_proba_label);
Datum
neural_predict_proba_label(PG_FUNCTION_ARGS)
{
	NeuralPredictState *s;

	if (fcinfo->nargs == 0)
		return neural_batch_value(fcinfo);
	if (PG_ARGISNULL(0) || has_no_row(fcinfo, 4) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	s = neural_predict_state(fcinfo, &finish_of_proba_label);
	neural_predict_by_table(s, PG_GETARG_OID(0), neural_version_arg(fcinfo, 3));
	set_label(s, PG_GETARG_TEXT_PP(2));
	read_row(s, fcinfo, 4);
	return predict_record(s);
}

PG_FUNCTION_INFO_V1(neural_predict_as);
Datum
neural_predict_as(PG_FUNCTION_ARGS)
{
	NeuralPredictState *s;

	if (fcinfo->nargs == 0)
		return neural_batch_value(fcinfo);
	if (PG_ARGISNULL(0) || has_no_row(fcinfo, 4))
		PG_RETURN_NULL();
	s = neural_predict_state(fcinfo, &finish_of_as);
	if (!OidIsValid(s->type))
	{
		s->type = get_fn_expr_argtype(fcinfo->flinfo, 2);
		if (!OidIsValid(s->type))
			ereport(ERROR,
					(errcode(ERRCODE_INDETERMINATE_DATATYPE),
					 errmsg("could not determine the type to predict as")));
	}
	neural_predict_by_table(s, PG_GETARG_OID(0), neural_version_arg(fcinfo, 3));
	read_row(s, fcinfo, 4);
	return predict_record(s);
}

/* ---------- embed ---------- */

static Datum
finish_embed(NeuralPredictState *s, const nn_real *out)
{
	Size size = ARR_OVERHEAD_NONULLS(1) + sizeof(float4) * s->layer_width;
	ArrayType *result = palloc(size);

	StaticAssertStmt(sizeof(nn_real) == sizeof(float4),
					 "a layer's output is copied into the array");
	SET_VARSIZE(result, size);
	result->ndim = 1;
	result->dataoffset = 0;
	result->elemtype = FLOAT4OID;
	ARR_DIMS(result)[0] = s->layer_width;
	ARR_LBOUND(result)[0] = 1;
	memcpy(ARR_DATA_PTR(result), out, sizeof(float4) * s->layer_width);
	return PointerGetDatum(result);
}

static const NeuralFinish finish_of_embed = {"neural.embed", prepare_all, NULL,
											 finish_embed};

/* Look the layer up when it is not that of the last row. */
static void
set_layer(NeuralPredictState *s, text *name)
{
	int layer, width;
	nn_error err;

	if (same_text(s->layer_name, name))
		return;
	neural_check(
		nn_model_layer(s->model, text_to_cstring(name), &layer, &width, &err),
		&err);
	s->layer_name = remember_text(s, s->layer_name, name);
	s->layer = layer;
	s->layer_width = width;
}

PG_FUNCTION_INFO_V1(neural_embed);
Datum
neural_embed(PG_FUNCTION_ARGS)
{
	NeuralPredictState *s;
	nn_real *out;

	if (fcinfo->nargs == 0)
		return neural_batch_value(fcinfo);
	if (PG_ARGISNULL(0) || has_no_row(fcinfo, 4) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	s = neural_predict_state(fcinfo, &finish_of_embed);
	neural_predict_by_table(s, PG_GETARG_OID(0), neural_version_arg(fcinfo, 3));
	set_layer(s, PG_GETARG_TEXT_PP(2));
	read_row(s, fcinfo, 4);
	out = palloc(sizeof(nn_real) * s->layer_width);
	neural_predict_run_layer(s, s->record, 1, out);
	return finish_embed(s, out);
}
