/*
 * json.c
 *	  Writing jsonb, piece by piece, and looking into it.
 *
 * Ends of inner objects and arrays give NULL, the end of the outermost the
 * whole.
 */
#include "json.h"

#include <math.h>

#include "utils/builtins.h"
#include "utils/numeric.h"

/* A value goes after a key in an object, and by itself in an array. */
static void
push(NeuralJson *j, JsonbValue *v)
{
	pushJsonbValue(j, (*j)->contVal.type == jbvArray ? WJB_ELEM : WJB_VALUE, v);
}

static void
push_string(NeuralJson *j, bool key, const char *text)
{
	JsonbValue v;

	v.type = jbvString;
	v.val.string.val = pstrdup(text);
	v.val.string.len = strlen(text);
	if (key)
		pushJsonbValue(j, WJB_KEY, &v);
	else
		push(j, &v);
}

void
neural_json_begin(NeuralJson *j, bool array)
{
	pushJsonbValue(j, array ? WJB_BEGIN_ARRAY : WJB_BEGIN_OBJECT, NULL);
}

Jsonb *
neural_json_end(NeuralJson *j, bool array)
{
	JsonbValue *whole =
		pushJsonbValue(j, array ? WJB_END_ARRAY : WJB_END_OBJECT, NULL);

	return *j == NULL ? JsonbValueToJsonb(whole) : NULL;
}

void
neural_json_key(NeuralJson *j, const char *key)
{
	push_string(j, true, key);
}

static void
push_null(NeuralJson *j)
{
	JsonbValue v;

	v.type = jbvNull;
	push(j, &v);
}

void
neural_json_text(NeuralJson *j, const char *value)
{
	if (value == NULL)
		push_null(j);
	else
		push_string(j, false, value);
}

static void
push_numeric(NeuralJson *j, Numeric value)
{
	JsonbValue v;

	v.type = jbvNumeric;
	v.val.numeric = value;
	push(j, &v);
}

void
neural_json_number(NeuralJson *j, double value)
{
	if (isfinite(value))
		push_numeric(j, DatumGetNumeric(DirectFunctionCall1(
							float8_numeric, Float8GetDatum(value))));
	else
		push_null(j);
}

void
neural_json_int(NeuralJson *j, int64 value)
{
	push_numeric(j, int64_to_numeric(value));
}

void
neural_json_bool(NeuralJson *j, bool value)
{
	JsonbValue v;

	v.type = jbvBool;
	v.val.boolean = value;
	push(j, &v);
}

void
neural_json_jsonb(NeuralJson *j, Jsonb *value)
{
	JsonbValue v;

	JsonbToJsonbValue(value, &v);
	pushJsonbValue(j, (*j)->contVal.type == jbvArray ? WJB_ELEM : WJB_VALUE,
				   &v);
}

JsonbValue *
neural_json_member(const Jsonb *object, const char *key)
{
	JsonbValue k;

	k.type = jbvString;
	k.val.string.val = (char *) key;
	k.val.string.len = strlen(key);
	return findJsonbValueFromContainer((JsonbContainer *) &object->root,
									   JB_FOBJECT, &k);
}
