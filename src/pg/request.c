/*
 * request.c
 *	  Trainings that were asked for, as jsonb.
 */
#include "request.h"

#include "json.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

Jsonb *
neural_member_object(const Jsonb *object, const char *name)
{
	JsonbValue *v = neural_json_member(object, name);

	return v != NULL && v->type == jbvBinary &&
				   JsonContainerIsObject(v->val.binary.data)
			   ? JsonbValueToJsonb(v)
			   : NULL;
}

char *
neural_member_text(const Jsonb *object, const char *name)
{
	JsonbValue *v = neural_json_member(object, name);

	return v != NULL && v->type == jbvString
			   ? pnstrdup(v->val.string.val, v->val.string.len)
			   : NULL;
}

Jsonb *
neural_json_concat(Jsonb *a, Jsonb *b)
{
	if (a == NULL || b == NULL)
		return a != NULL ? a : b;
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(a),
											  JsonbPGetDatum(b)));
}

Jsonb *
neural_json_without(Jsonb *object, const char *name)
{
	return DatumGetJsonbP(DirectFunctionCall2(
		jsonb_delete, JsonbPGetDatum(object), CStringGetTextDatum(name)));
}

char *
neural_json_text_of(Jsonb *object)
{
	return JsonbToCString(NULL, &object->root, VARSIZE(object));
}

NeuralTrainOptions *
neural_request_options(Jsonb *arguments, Jsonb *options, Jsonb *this_time)
{
	NeuralTrainOptions *o = palloc(sizeof(*o));
	Jsonb *all = neural_json_concat(arguments, options);

	all = neural_json_concat(all, this_time);
	/* arguments have the list, an empty one where an option names the target */
	if (neural_json_member(all, "target") != NULL)
		all = neural_json_without(all, "targets");
	neural_train_options_init(o);
	neural_train_options_read(o, all);
	neural_train_options_check(o);
	o->object = options;
	o->arguments = neural_json_text_of(arguments);
	return o;
}
