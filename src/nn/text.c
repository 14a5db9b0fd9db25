/*
 * text.c
 *	  The little language: a recursive-descent parser.
 *
 * The text is untrusted.  Its length, the depth of nesting and the number of
 * arguments are limited, so time and memory are bounded by the text's length.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

typedef struct parser
{
	nn_arena *arena;
	const char *text, *p;
	int depth;
	nn_error *err;
} parser;

static bool parse_item(parser *ps, nn_item *item);

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static void
skip_blanks(parser *ps)
{
	while (*ps->p == ' ' || (*ps->p >= '\t' && *ps->p <= '\r'))
		ps->p++;
}

/* Bytes of what stands at p, for messages: a word, or one character. */
static int
token_length(const char *p)
{
	int n = 0;

	while ((is_letter(p[n]) || is_digit(p[n])) && n < NN_NAME_SIZE)
		n++;
	if (n == 0)
	{
		n = 1;
		while (((unsigned char) p[n] & 0xC0) == 0x80 && n < 4)
			n++;
	}
	return n;
}

static bool
unexpected(parser *ps, const char *expected)
{
	if (*ps->p == '\0')
		nn_fail(ps->err, NN_SYNTAX, "syntax error at end of text");
	else
		nn_fail(ps->err, NN_SYNTAX,
				"syntax error at or near \"%.*s\", character %d of the text",
				token_length(ps->p), ps->p, (int) (ps->p - ps->text) + 1);
	return nn_detail(ps->err, "Expected %s.", expected);
}

/* A name, perhaps in quotes. */
static const char *
parse_name(parser *ps, const char *expected)
{
	char quote = *ps->p == '"' || *ps->p == '\'' ? *ps->p : '\0';
	const char *start = ps->p + (quote != '\0'), *end = start;

	if (is_letter(*start))
		while (is_letter(*end) || is_digit(*end))
			end++;
	if (end == start || (quote != '\0' && *end != quote))
	{
		unexpected(ps, expected);
		return NULL;
	}
	if (end - start >= NN_NAME_SIZE)
	{
		nn_fail(ps->err, NN_LIMIT, "name \"%.*s...\" is too long", 20, start);
		nn_detail(ps->err, "Names have at most %d characters.",
				  NN_NAME_SIZE - 1);
		return NULL;
	}
	ps->p = end + (quote != '\0');
	return nn_strndup(ps->arena, start, (size_t) (end - start), ps->err);
}

/*
 * A decimal number.  Its form is checked here, because strtod() would accept
 * more: "inf", hexadecimal.
 */
static bool
parse_number(parser *ps, double *v)
{
	const char *q = ps->p;
	char buf[64];
	int digits = 0;

	if (*q == '-' || *q == '+')
		q++;
	for (; is_digit(*q); q++)
		digits++;
	if (*q == '.')
		for (q++; is_digit(*q); q++)
			digits++;
	if (digits == 0)
		return unexpected(ps, "a number");
	if ((*q == 'e' || *q == 'E') &&
		(is_digit(q[1]) || ((q[1] == '-' || q[1] == '+') && is_digit(q[2]))))
		for (q += 2; is_digit(*q);)
			q++;
	if (is_letter(*q) || *q == '.' || (size_t) (q - ps->p) >= sizeof(buf))
		return unexpected(ps, "a number");
	memcpy(buf, ps->p, (size_t) (q - ps->p));
	buf[q - ps->p] = '\0';
	*v = strtod(buf, NULL);
	if (!isfinite(*v))
		return nn_fail(ps->err, NN_SYNTAX, "number \"%s\" is out of range",
					   buf);
	ps->p = q;
	return true;
}

static bool
parse_list(parser *ps, nn_value *value)
{
	char close = *ps->p == '[' ? ']' : ')';
	double list[NN_MAX_LIST];

	value->kind = NN_VALUE_LIST;
	for (ps->p++;;)
	{
		skip_blanks(ps);
		if (*ps->p == close) /* also after a comma, as in "(3,)" */
			break;
		if (value->nlist == NN_MAX_LIST)
			return nn_fail(ps->err, NN_LIMIT, "a list has more than %d numbers",
						   NN_MAX_LIST);
		if (!parse_number(ps, &list[value->nlist]))
			return false;
		value->nlist++;
		skip_blanks(ps);
		if (*ps->p == ',')
			ps->p++;
		else if (*ps->p != close)
			return unexpected(ps, close == ']' ? "\",\" or \"]\""
											   : "\",\" or \")\"");
	}
	ps->p++;
	value->list = nn_alloc_small(
		ps->arena, sizeof(double) * (size_t) (value->nlist + 1), ps->err);
	if (value->list == NULL)
		return false;
	memcpy(value->list, list, sizeof(double) * (size_t) value->nlist);
	return true;
}

static bool
parse_value(parser *ps, nn_value *value)
{
	if (is_letter(*ps->p) || *ps->p == '"' || *ps->p == '\'')
	{
		nn_item *item = nn_alloc_small(ps->arena, sizeof(nn_item), ps->err);

		if (item == NULL || !parse_item(ps, item))
			return false;
		value->kind = NN_VALUE_ITEM;
		value->item = item;
		if (item->nargs == 0 && (nn_name_equal(item->name, "true") ||
								 nn_name_equal(item->name, "false")))
		{
			value->kind = NN_VALUE_BOOL;
			value->number = nn_name_equal(item->name, "true");
		}
		return true;
	}
	if (*ps->p == '[' || *ps->p == '(')
		return parse_list(ps, value);
	if (!is_digit(*ps->p) && *ps->p != '-' && *ps->p != '+' && *ps->p != '.')
		return unexpected(ps, "a value");
	value->kind = NN_VALUE_NUMBER;
	return parse_number(ps, &value->number);
}

static bool
parse_arg(parser *ps, nn_arg *arg)
{
	const char *start = ps->p;

	memset(arg, 0, sizeof(*arg));
	if (is_letter(*start))
	{
		arg->name = parse_name(ps, "a name");
		if (arg->name == NULL)
			return false;
		skip_blanks(ps);
		if (*ps->p == '=')
		{
			ps->p++;
			skip_blanks(ps);
		}
		else
		{
			arg->name = NULL;
			ps->p = start;
		}
	}
	return parse_value(ps, &arg->value);
}

static bool
parse_args(parser *ps, nn_item *item)
{
	nn_arg args[NN_MAX_ARGS];

	if (++ps->depth > NN_MAX_DEPTH)
		return nn_fail(ps->err, NN_LIMIT,
					   "text is nested more than %d levels deep", NN_MAX_DEPTH);
	for (ps->p++;;)
	{
		skip_blanks(ps);
		if (*ps->p == ')')
			break;
		if (item->nargs == NN_MAX_ARGS)
			return nn_fail(ps->err, NN_LIMIT,
						   "\"%s\" has more than %d arguments", item->name,
						   NN_MAX_ARGS);
		if (!parse_arg(ps, &args[item->nargs]))
			return false;
		item->nargs++;
		skip_blanks(ps);
		if (*ps->p == ',')
			ps->p++;
		else if (*ps->p != ')')
			return unexpected(ps, "\",\" or \")\"");
	}
	ps->p++;
	ps->depth--;
	item->args = nn_alloc_small(
		ps->arena, sizeof(nn_arg) * (size_t) (item->nargs + 1), ps->err);
	if (item->args == NULL)
		return false;
	memcpy(item->args, args, sizeof(nn_arg) * (size_t) item->nargs);
	return true;
}

static bool
parse_item(parser *ps, nn_item *item)
{
	const char *after;

	memset(item, 0, sizeof(*item));
	item->position = (int) (ps->p - ps->text);
	item->name = parse_name(ps, "a name");
	if (item->name == NULL)
		return false;
	after = ps->p;
	skip_blanks(ps);
	if (*ps->p == '(')
		return parse_args(ps, item);
	ps->p = after;
	return true;
}

/* Of the top level: a label may come first. */
static bool
parse_labelled(parser *ps, nn_item *item)
{
	const char *start = ps->p, *label;

	label = parse_name(ps, "the name of a layer");
	if (label == NULL)
		return false;
	skip_blanks(ps);
	if (*ps->p == ':')
	{
		ps->p++;
		skip_blanks(ps);
	}
	else
	{
		ps->p = start;
		label = NULL;
	}
	if (!parse_item(ps, item))
		return false;
	item->label = label;
	return true;
}

/* Everything between items; "->" is one of them. */
static void
skip_separators(parser *ps)
{
	for (;;)
	{
		skip_blanks(ps);
		if (*ps->p == ',' || *ps->p == ';')
			ps->p++;
		else if (ps->p[0] == '-' && ps->p[1] == '>')
			ps->p += 2;
		else
			return;
	}
}

static bool
start(parser *ps, nn_arena *arena, const char *text, nn_error *err)
{
	*ps = (parser){.arena = arena, .text = text, .p = text, .err = err};
	if (strnlen(text, NN_MAX_TEXT + 1) > NN_MAX_TEXT)
	{
		nn_fail(err, NN_LIMIT, "text is too long");
		return nn_detail(err, "Texts have at most %d bytes.", NN_MAX_TEXT);
	}
	return true;
}

nn_item_list *
nn_text_parse(nn_arena *arena, const char *text, nn_error *err)
{
	nn_item_list *list;
	parser ps;
	int room = 0;

	if (!start(&ps, arena, text, err))
		return NULL;
	list = nn_alloc_small(arena, sizeof(nn_item_list), err);
	if (list == NULL)
		return NULL;
	for (skip_separators(&ps); *ps.p != '\0'; skip_separators(&ps))
	{
		if (list->count == NN_MAX_LAYERS)
		{
			nn_fail(err, NN_LIMIT, "text has more than %d items",
					NN_MAX_LAYERS);
			return NULL;
		}
		if (list->count == room)
		{
			nn_item *items;

			room = room == 0 ? 16 : room * 2;
			items = nn_alloc_array(arena, (size_t) room, sizeof(nn_item), err);
			if (items == NULL)
				return NULL;
			if (list->count > 0)
				memcpy(items, list->items,
					   sizeof(nn_item) * (size_t) list->count);
			list->items = items;
		}
		if (!parse_labelled(&ps, &list->items[list->count]))
			return NULL;
		list->count++;
	}
	return list;
}

nn_item *
nn_text_parse_item(nn_arena *arena, const char *text, nn_error *err)
{
	nn_item *item;
	parser ps;

	if (!start(&ps, arena, text, err))
		return NULL;
	item = nn_alloc_small(arena, sizeof(nn_item), err);
	if (item == NULL)
		return NULL;
	skip_blanks(&ps);
	if (!parse_item(&ps, item))
		return NULL;
	skip_blanks(&ps);
	if (*ps.p != '\0')
	{
		unexpected(&ps, "the end of the text");
		return NULL;
	}
	return item;
}

const char *
nn_number_text(double v, char buf[NN_NUMBER_SIZE])
{
	for (int digits = 15; digits <= 17; digits++)
	{
		snprintf(buf, NN_NUMBER_SIZE, "%.*g", digits, v);
		if (strtod(buf, NULL) == v)
			break;
	}
	return buf;
}

static const char *
value_print(nn_arena *arena, const nn_value *v, nn_error *err)
{
	char buf[NN_NUMBER_SIZE];
	const char *s;

	switch (v->kind)
	{
		case NN_VALUE_BOOL:
			return v->number != 0 ? "true" : "false";
		case NN_VALUE_ITEM:
			return nn_item_print(arena, v->item, err);
		case NN_VALUE_NUMBER:
			return nn_printf(arena, err, "%s", nn_number_text(v->number, buf));
		case NN_VALUE_LIST:
			break;
	}
	s = "[";
	for (int i = 0; i < v->nlist && s != NULL; i++)
		s = nn_printf(arena, err, "%s%s%s", s, i == 0 ? "" : ", ",
					  nn_number_text(v->list[i], buf));
	return s == NULL ? NULL : nn_printf(arena, err, "%s]", s);
}

const char *
nn_item_print(nn_arena *arena, const nn_item *item, nn_error *err)
{
	const char *s = item->name;

	for (int i = 0; i < item->nargs && s != NULL; i++)
	{
		const nn_arg *a = &item->args[i];
		const char *value = value_print(arena, &a->value, err);

		s = value == NULL
				? NULL
				: nn_printf(arena, err, "%s%s%s%s%s", s, i == 0 ? "(" : ", ",
							a->name ? a->name : "", a->name ? " = " : "",
							value);
	}
	if (s != NULL && item->nargs > 0)
		s = nn_printf(arena, err, "%s)", s);
	return s;
}

bool
nn_name_equal(const char *a, const char *b)
{
	for (;;)
	{
		char x, y;

		while (*a == '_')
			a++;
		while (*b == '_')
			b++;
		x = *a >= 'A' && *a <= 'Z' ? *a + 'a' - 'A' : *a;
		y = *b >= 'A' && *b <= 'Z' ? *b + 'a' - 'A' : *b;
		if (x != y)
			return false;
		if (x == '\0')
			return true;
		a++;
		b++;
	}
}
