/*
 * option.c
 *	  Options declared as data.
 */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "option.h"

#define MAX_NAMES 512 /* considered for "did you mean" */

static void *
field(const nn_option *o, void *conf)
{
	return (char *) conf + o->offset;
}

/* "a", "b" or "c", as far as there is room */
static const char *
choices_text(const nn_option *o, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = '\0';
	for (int i = 0; o->choices[i] != NULL; i++)
	{
		const char *before = i == 0						 ? ""
							 : o->choices[i + 1] == NULL ? " and "
														 : ", ";

		if (n + strlen(before) + strlen(o->choices[i]) + 3 > size)
			break;
		n += (size_t) snprintf(buf + n, size - n, "%s\"%s\"", before,
							   o->choices[i]);
	}
	return buf;
}

static bool
bad_value(const nn_item *item, const nn_option *o, const char *wanted,
		  nn_error *err)
{
	return nn_fail(err, NN_INVALID, "%s: \"%s\" must be %s", item->name,
				   o->name, wanted);
}

static bool
check_range(const nn_item *item, const nn_option *o, double v, nn_error *err)
{
	char buf[NN_NUMBER_SIZE], lo[NN_NUMBER_SIZE], hi[NN_NUMBER_SIZE];

	if ((o->type == NN_OPT_INT && (v < INT_MIN || v > INT_MAX)) ||
		(o->min < o->max && !(v >= o->min && v <= o->max)))
	{
		nn_fail(err, NN_INVALID, "%s: value %s out of bounds for option \"%s\"",
				item->name, nn_number_text(v, buf), o->name);
		if (o->min < o->max)
			nn_detail(err, "Valid values are between %s and %s.",
					  nn_number_text(o->min, lo), nn_number_text(o->max, hi));
		return false;
	}
	if (o->type == NN_OPT_INT && v != floor(v))
		return bad_value(item, o, "a whole number", err);
	return true;
}

static bool
store_choice(const nn_item *item, const nn_option *o, const nn_value *v,
			 void *conf, nn_error *err)
{
	char buf[280];
	const char *near;

	if (v->kind != NN_VALUE_ITEM || v->item->nargs > 0)
	{
		bad_value(item, o, "a name", err);
		return nn_detail(err, "Valid values are %s.",
						 choices_text(o, buf, sizeof(buf)));
	}
	for (int i = 0; o->choices[i] != NULL; i++)
		if (nn_name_equal(o->choices[i], v->item->name))
		{
			*(int *) field(o, conf) = i;
			return true;
		}
	nn_fail(err, NN_INVALID, "%s: invalid value for option \"%s\": \"%s\"",
			item->name, o->name, v->item->name);
	nn_detail(err, "Valid values are %s.", choices_text(o, buf, sizeof(buf)));
	near = nn_did_you_mean(v->item->name, o->choices);
	if (near != NULL)
		nn_hint(err, "Did you mean \"%s\"?", near);
	return false;
}

static bool
store_list(nn_arena *arena, const nn_item *item, const nn_option *o,
		   const nn_value *v, void *conf, nn_error *err)
{
	nn_list *list = field(o, conf);
	double *values;

	if (v->kind != NN_VALUE_NUMBER && v->kind != NN_VALUE_LIST)
		return bad_value(item, o, "a list of numbers", err);
	list->count = v->kind == NN_VALUE_LIST ? v->nlist : 1;
	values =
		nn_alloc_small(arena, sizeof(double) * (size_t) (list->count + 1), err);
	if (values == NULL)
		return false;
	for (int i = 0; i < list->count; i++)
	{
		values[i] = v->kind == NN_VALUE_LIST ? v->list[i] : v->number;
		if (!check_range(item, o, values[i], err))
			return false;
	}
	list->values = values;
	return true;
}

static bool
store(nn_arena *arena, const nn_item *item, const nn_option *o,
	  const nn_value *v, void *conf, nn_error *err)
{
	switch (o->type)
	{
		case NN_OPT_INT:
		case NN_OPT_REAL:
			if (v->kind != NN_VALUE_NUMBER)
				return bad_value(item, o, "a number", err);
			if (!check_range(item, o, v->number, err))
				return false;
			if (o->type == NN_OPT_INT)
				*(int *) field(o, conf) = (int) v->number;
			else
				*(double *) field(o, conf) = v->number;
			return true;
		case NN_OPT_BOOL:
			if (v->kind != NN_VALUE_BOOL &&
				!(v->kind == NN_VALUE_NUMBER &&
				  (v->number == 0 || v->number == 1)))
				return bad_value(item, o, "true or false", err);
			*(bool *) field(o, conf) = v->number != 0;
			return true;
		case NN_OPT_CHOICE:
			return store_choice(item, o, v, conf, err);
		case NN_OPT_ITEM:
			if (v->kind != NN_VALUE_ITEM)
				return bad_value(item, o, "a name", err);
			*(const nn_item **) field(o, conf) = v->item;
			return true;
		case NN_OPT_LIST:
			return store_list(arena, item, o, v, conf, err);
	}
	return false;
}

/* The default of an option that was not given. */
static bool
store_initial(nn_arena *arena, const nn_item *item, const nn_option *o,
			  void *conf, nn_error *err)
{
	if (o->initial == NN_REQUIRED)
		return nn_fail(err, NN_INVALID, "%s: option \"%s\" is required",
					   item->name, o->name);
	switch (o->type)
	{
		case NN_OPT_INT:
		case NN_OPT_CHOICE:
			*(int *) field(o, conf) = (int) o->initial;
			break;
		case NN_OPT_REAL:
			*(double *) field(o, conf) = o->initial;
			break;
		case NN_OPT_BOOL:
			*(bool *) field(o, conf) = o->initial != 0;
			break;
		case NN_OPT_ITEM:
			if (o->initial_item != NULL)
			{
				const nn_item *given =
					nn_text_parse_item(arena, o->initial_item, err);

				if (given == NULL)
					return false;
				*(const nn_item **) field(o, conf) = given;
			}
			break;
		case NN_OPT_LIST:
			break; /* empty */
	}
	return true;
}

static int
count_options(const nn_option *table)
{
	int n = 0;

	while (table[n].name != NULL)
		n++;
	return n;
}

static bool
is_option(const nn_option *o, const char *name)
{
	return nn_name_equal(o->name, name) ||
		   (o->alias != NULL && nn_name_equal(o->alias, name));
}

/* The option that a named argument means, or -1 and *err. */
static int
find_option(const nn_item *item, const nn_option *table, const char *name,
			nn_error *err)
{
	const char *names[MAX_NAMES + 1], *near;
	int n = 0;

	for (int i = 0; table[i].name != NULL; i++)
	{
		if (is_option(&table[i], name))
			return i;
		if (n < MAX_NAMES)
			names[n++] = table[i].name;
	}
	names[n] = NULL;
	nn_fail(err, NN_INVALID, "%s: unrecognized option \"%s\"", item->name,
			name);
	near = nn_did_you_mean(name, names);
	if (near != NULL)
		nn_hint(err, "Did you mean \"%s\"?", near);
	else if (n == 0)
		nn_hint(err, "%s has no options.", item->name);
	return -1;
}

/* Whether a positional argument names another item, as in add(a, b). */
static bool
is_reference(const nn_arg *arg, const nn_option *next)
{
	return arg->value.kind == NN_VALUE_ITEM && arg->value.item->nargs == 0 &&
		   (next->name == NULL ||
			(next->type != NN_OPT_CHOICE && next->type != NN_OPT_ITEM));
}

/*
 * The option of the first positional argument: the table's first, unless it is
 * the only one and another is marked for that, and not given by its name.
 */
static int
first_option(const nn_item *item, const nn_option *table)
{
	int lone = 0;

	while (table[lone].name != NULL && !table[lone].lone)
		lone++;
	if (table[lone].name == NULL)
		return 0;
	for (int i = 0; i < item->nargs; i++)
	{
		const char *name = item->args[i].name;

		if (name == NULL ? i > 0 : is_option(&table[lone], name))
			return 0;
	}
	return lone;
}

bool
nn_options_parse(nn_arena *arena, const nn_item *item, const nn_option *table,
				 void *conf, nn_refs *refs, nn_error *err)
{
	int noptions = count_options(table), next = first_option(item, table);
	uint64_t given = 0;

	for (int i = 0; i < item->nargs; i++)
	{
		const nn_arg *arg = &item->args[i];
		int at = next;

		if (arg->name != NULL)
		{
			at = find_option(item, table, arg->name, err);
			if (at < 0)
				return false;
			next = noptions; /* nothing positional may follow */
		}
		else if (refs != NULL && is_reference(arg, &table[next]))
		{
			if (refs->count == NN_MAX_INPUTS)
				return nn_fail(err, NN_LIMIT, "%s: more than %d inputs",
							   item->name, NN_MAX_INPUTS);
			refs->label[refs->count++] = arg->value.item->name;
			continue;
		}
		else if (next == noptions)
		{
			if (i > 0 && item->args[i - 1].name != NULL)
				return nn_fail(
					err, NN_SYNTAX,
					"%s: positional argument cannot follow named argument",
					item->name);
			nn_fail(err, NN_INVALID, "%s: too many arguments", item->name);
			return nn_detail(err, "It takes at most %d.", noptions);
		}
		else
			next++;
		if (given & UINT64_C(1) << at)
			return nn_fail(err, NN_INVALID,
						   "%s: option \"%s\" specified more than once",
						   item->name, table[at].name);
		given |= UINT64_C(1) << at;
		if (!store(arena, item, &table[at], &arg->value, conf, err))
			return false;
	}
	for (int i = 0; i < noptions; i++)
		if (!(given & UINT64_C(1) << i) &&
			!store_initial(arena, item, &table[i], conf, err))
			return false;
	return true;
}

/*
 * The value of an option as text; "" when it is the default, which can
 * therefore never change: see option.h.
 */
static const char *
value_text(nn_arena *arena, const nn_option *o, const void *conf, nn_error *err)
{
	const void *p = (const char *) conf + o->offset;
	char buf[NN_NUMBER_SIZE];
	double v;

	if (o->type == NN_OPT_ITEM)
	{
		const nn_item *item = *(const nn_item *const *) p;
		const char *s;

		if (item == NULL)
			return "";
		s = nn_item_print(arena, item, err);
		return s != NULL && o->initial_item != NULL &&
					   nn_name_equal(s, o->initial_item)
				   ? ""
				   : s;
	}
	if (o->type == NN_OPT_LIST)
	{
		const nn_list *list = p;
		const char *s = list->count > 0 ? "[" : "";

		for (int i = 0; i < list->count && s != NULL; i++)
			s = nn_printf(arena, err, "%s%s%s%s", s, i > 0 ? ", " : "",
						  nn_number_text(list->values[i], buf),
						  i == list->count - 1 ? "]" : "");
		return s;
	}
	v = o->type == NN_OPT_REAL	 ? *(const double *) p
		: o->type == NN_OPT_BOOL ? *(const bool *) p
								 : *(const int *) p;
	if (v == o->initial)
		return "";
	if (o->type == NN_OPT_CHOICE)
		return o->choices[(int) v];
	if (o->type == NN_OPT_BOOL)
		return v != 0 ? "true" : "false";
	return nn_printf(arena, err, "%s", nn_number_text(v, buf));
}

const char *
nn_options_print(nn_arena *arena, const char *name, const nn_option *table,
				 const void *conf, const nn_refs *refs, nn_error *err)
{
	const char *s = name;
	bool positional = true;
	int n = 0;

	for (int i = 0; refs != NULL && i < refs->count && s != NULL; i++)
		s = nn_printf(arena, err, "%s%s%s", s, n++ == 0 ? "(" : ", ",
					  refs->label[i]);
	for (const nn_option *o = table; o->name != NULL && s != NULL; o++)
	{
		const char *value = value_text(arena, o, conf, err);

		if (value == NULL)
			return NULL;
		/* what must be given needs no name to be understood */
		positional = o->lone ? n == 0 : positional && o->initial == NN_REQUIRED;
		if (value[0] != '\0')
			s = nn_printf(arena, err, "%s%s%s%s%s", s, n++ == 0 ? "(" : ", ",
						  positional ? "" : o->name, positional ? "" : " = ",
						  value);
	}
	return n > 0 && s != NULL ? nn_printf(arena, err, "%s)", s) : s;
}

static bool
named_matches(const nn_named *named, const char *name)
{
	if (nn_name_equal(named->name, name))
		return true;
	for (int i = 0; named->aliases != NULL && named->aliases[i] != NULL; i++)
		if (nn_name_equal(named->aliases[i], name))
			return true;
	return false;
}

const void *
nn_named_find(const char *what, const void *const *list, const char *name,
			  nn_error *err)
{
	const char *names[MAX_NAMES + 1], *near;
	int n = 0;

	for (int i = 0; list[i] != NULL; i++)
	{
		const nn_named *named = list[i];

		if (named_matches(named, name))
			return named;
		if (n < MAX_NAMES)
			names[n++] = named->name;
		for (int j = 0; named->aliases != NULL && named->aliases[j] != NULL &&
						n < MAX_NAMES;
			 j++)
			names[n++] = named->aliases[j];
	}
	names[n] = NULL;
	nn_fail(err, NN_UNDEFINED, "%s \"%s\" does not exist", what, name);
	near = nn_did_you_mean(name, names);
	if (near != NULL)
		nn_hint(err, "Did you mean \"%s\"?", near);
	return NULL;
}
