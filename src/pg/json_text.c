/*
 * json_text.c
 *	  Writing JSON as text.
 */
#include "training.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"

void
neural_append_key(StringInfo s, const char *key)
{
	if (s->len > 0 && s->data[s->len - 1] != '{' && s->data[s->len - 1] != '[')
		appendStringInfoString(s, ", ");
	if (key != NULL)
	{
		escape_json(s, key);
		appendStringInfoString(s, ": ");
	}
}

void
neural_append_text(StringInfo s, const char *key, const char *value)
{
	neural_append_key(s, key);
	if (value != NULL)
		escape_json(s, value);
	else
		appendStringInfoString(s, "null");
}

/* JSON has no infinities.  The digits do not depend on the session. */
void
neural_append_number(StringInfo s, const char *key, double value)
{
	char digits[DOUBLE_SHORTEST_DECIMAL_LEN];

	neural_append_key(s, key);
	if (isfinite(value))
	{
		double_to_shortest_decimal_buf(value, digits);
		appendStringInfoString(s, digits);
	}
	else
		appendStringInfoString(s, "null");
}

void
neural_append_integer(StringInfo s, const char *key, int64 value)
{
	neural_append_key(s, key);
	appendStringInfo(s, INT64_FORMAT, value);
}

void
neural_append_list(StringInfo s, const char *key, List *texts)
{
	ListCell *lc;

	neural_append_key(s, key);
	appendStringInfoChar(s, '[');
	foreach (lc, texts)
		neural_append_text(s, NULL, lfirst(lc));
	appendStringInfoChar(s, ']');
}

Jsonb *
neural_json_parse(const char *text)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}
