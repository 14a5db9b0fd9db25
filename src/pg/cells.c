/*
 * cells.c
 *	  What types are to the engine, and single cells as numbers and texts.
 */
#include "cells_internal.h"

#include <math.h>

#include "access/htup_details.h"
#include "catalog/dependency.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/float.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

static bool
is_pgvector(Oid type)
{
	Oid extension;
	char *name;

	if (get_typlen(type) != -1)
		return false;
	extension = getExtensionOfObject(TypeRelationId, type);
	if (!OidIsValid(extension))
		return false;
	name = get_extension_name(extension);
	return name != NULL && strcmp(name, "vector") == 0 &&
		   strcmp(format_type_extended(type, -1, FORMAT_TYPE_INVALID_AS_NULL),
				  "vector") == 0;
}

CellKind
neural_element_kind(Oid type)
{
	switch (type)
	{
		case BOOLOID:
			return CELL_BOOL;
		case INT2OID:
			return CELL_INT2;
		case INT4OID:
			return CELL_INT4;
		case INT8OID:
			return CELL_INT8;
		case FLOAT4OID:
			return CELL_FLOAT4;
		case FLOAT8OID:
			return CELL_FLOAT8;
		case NUMERICOID:
			return CELL_NUMERIC;
		default:
			return CELL_NONE;
	}
}

CellKind
neural_cell_kind(Oid type)
{
	CellKind kind = neural_element_kind(type);
	Oid element;
	char category;
	bool preferred;

	if (kind != CELL_NONE)
		return kind;
	switch (type)
	{
		case INTERVALOID:
			return CELL_INTERVAL;
		case DATEOID:
			return CELL_DATE;
		case TIMESTAMPOID:
			return CELL_TIMESTAMP;
		case TIMESTAMPTZOID:
			return CELL_TIMESTAMPTZ;
		case TIMEOID:
			return CELL_TIME;
		case TIMETZOID:
			return CELL_TIMETZ;
		case TEXTOID:
		case VARCHAROID:
			return CELL_VARLENA_TEXT;
		case BPCHAROID:
			return CELL_BPCHAR;
		case UUIDOID:
		case NAMEOID:
		case CHAROID:
		case UNKNOWNOID: /* a literal in ROW(), which nothing resolves */
			return CELL_OUTPUT_TEXT;
	}
	element = get_element_type(type);
	if (OidIsValid(element))
		return neural_element_kind(getBaseType(element)) != CELL_NONE
				   ? CELL_ARRAY
				   : CELL_NONE;
	if (type_is_enum(type))
		return CELL_OUTPUT_TEXT;
	get_type_category_preferred(type, &category, &preferred);
	if (category == TYPCATEGORY_STRING)
		return CELL_OUTPUT_TEXT; /* citext and its like */
	return is_pgvector(type) ? CELL_PGVECTOR : CELL_NONE;
}

nn_column_class
neural_class_of_kind(CellKind kind)
{
	switch (kind)
	{
		case CELL_BOOL:
			return NN_CLASS_BOOLEAN;
		case CELL_DATE:
			return NN_CLASS_DATE;
		case CELL_TIMESTAMP:
		case CELL_TIMESTAMPTZ:
			return NN_CLASS_TIMESTAMP;
		case CELL_TIME:
		case CELL_TIMETZ:
			return NN_CLASS_TIME;
		case CELL_VARLENA_TEXT:
		case CELL_BPCHAR:
		case CELL_OUTPUT_TEXT:
			return NN_CLASS_TEXT;
		case CELL_ARRAY:
		case CELL_PGVECTOR:
			return NN_CLASS_VECTOR;
		default:
			return NN_CLASS_NUMBER;
	}
}

bool
neural_class_of(Oid type, nn_column_class *class, nn_slot_kind *slot)
{
	CellKind kind = neural_cell_kind(getBaseType(type));

	if (kind == CELL_NONE)
		return false;
	*class = neural_class_of_kind(kind);
	switch (*class)
	{
		case NN_CLASS_TEXT:
			*slot = NN_SLOT_TEXT;
			break;
		case NN_CLASS_VECTOR:
			*slot = NN_SLOT_VECTOR;
			break;
		default:
			*slot =
				kind == CELL_BOOL || kind == CELL_INT2 || kind == CELL_FLOAT4
					? NN_SLOT_REAL32
					: NN_SLOT_REAL64;
	}
	return true;
}

/*
 * --- reading ---
 */

static double
interval_seconds(const Interval *v)
{
	return (double) v->time / USECS_PER_SEC + (double) v->day * SECS_PER_DAY +
		   (double) v->month * (SECS_PER_YEAR / MONTHS_PER_YEAR);
}

static double
timestamp_seconds(Timestamp t)
{
	if (TIMESTAMP_NOT_FINITE(t))
		return TIMESTAMP_IS_NOBEGIN(t) ? -INFINITY : INFINITY;
	return (double) t / USECS_PER_SEC;
}

/* Seconds of local time, of the zone. */
static double
timestamptz_seconds(TimestampTz t, pg_tz *zone)
{
	struct pg_tm tm;
	fsec_t fraction;
	int offset;

	if (TIMESTAMP_NOT_FINITE(t))
		return timestamp_seconds(t);
	if (timestamp2tm(t, &offset, &tm, &fraction, NULL, zone) != 0)
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
						errmsg("timestamp out of range")));
	return (double) t / USECS_PER_SEC - offset;
}

static double
date_seconds(DateADT d)
{
	if (DATE_NOT_FINITE(d))
		return DATE_IS_NOBEGIN(d) ? -INFINITY : INFINITY;
	return (double) d * SECS_PER_DAY;
}

double
neural_number_of(CellKind kind, Datum value, pg_tz *zone)
{
	switch (kind)
	{
		case CELL_BOOL:
			return DatumGetBool(value) ? 1 : 0;
		case CELL_INT2:
			return DatumGetInt16(value);
		case CELL_INT4:
			return DatumGetInt32(value);
		case CELL_INT8:
			return (double) DatumGetInt64(value);
		case CELL_FLOAT4:
			return DatumGetFloat4(value);
		case CELL_FLOAT8:
			return DatumGetFloat8(value);
		case CELL_NUMERIC:
			return DatumGetFloat8(
				DirectFunctionCall1(numeric_float8_no_overflow, value));
		case CELL_INTERVAL:
			return interval_seconds(DatumGetIntervalP(value));
		case CELL_DATE:
			return date_seconds(DatumGetDateADT(value));
		case CELL_TIMESTAMP:
			return timestamp_seconds(DatumGetTimestamp(value));
		case CELL_TIMESTAMPTZ:
			return timestamptz_seconds(DatumGetTimestampTz(value), zone);
		case CELL_TIME:
			return (double) DatumGetTimeADT(value) / USECS_PER_SEC;
		case CELL_TIMETZ:
			return (double) DatumGetTimeTzADTP(value)->time / USECS_PER_SEC;
		default:
			elog(ERROR, "unexpected kind of cell: %d", (int) kind);
	}
	return 0;
}

/*
 * A category or class must have the same text in every session, so the
 * settings that output functions follow are set for the moment.
 */
static char *
output_text(FmgrInfo *output, Datum value, pg_tz *zone)
{
	int dates = DateStyle, intervals = IntervalStyle,
		digits = extra_float_digits;
	pg_tz *session_zone = session_timezone;
	char *volatile s = NULL;

	DateStyle = USE_ISO_DATES;
	IntervalStyle = INTSTYLE_POSTGRES;
	extra_float_digits = 1;
	if (zone != NULL)
		session_timezone = zone;
	PG_TRY();
	{
		s = OutputFunctionCall(output, value);
	}
	PG_FINALLY();
	{
		DateStyle = dates;
		IntervalStyle = intervals;
		extra_float_digits = digits;
		session_timezone = session_zone;
	}
	PG_END_TRY();
	return s;
}

/* A cell's bytes in UTF-8; not zero-terminated. */
const char *
neural_text_of(CellKind kind, FmgrInfo *output, Datum value, pg_tz *zone,
			   int *len)
{
	const char *s;
	char *utf8;

	if (kind == CELL_OUTPUT_TEXT)
	{
		s = output_text(output, value, zone);
		*len = strlen(s);
	}
	else
	{
		struct varlena *v = PG_DETOAST_DATUM_PACKED(value);

		s = VARDATA_ANY(v);
		*len = VARSIZE_ANY_EXHDR(v);
		if (kind == CELL_BPCHAR)
			*len = bpchartruelen((char *) s, *len);
	}
	utf8 = pg_server_to_any(s, *len, PG_UTF8);
	if (utf8 != s)
		*len = strlen(utf8);
	return utf8;
}

void
neural_array_elements(ArrayType *a, CellKind kind, float *out)
{
	Oid type = ARR_ELEMTYPE(a);
	int n = ArrayGetNItems(ARR_NDIM(a), ARR_DIMS(a));
	Datum *values;
	bool *nulls;
	int16 typlen;
	bool typbyval;
	char typalign;

	if (kind == CELL_FLOAT4 && !ARR_HASNULL(a))
	{
		memcpy(out, ARR_DATA_PTR(a), n * sizeof(float));
		return;
	}
	get_typlenbyvalalign(type, &typlen, &typbyval, &typalign);
	deconstruct_array(a, type, typlen, typbyval, typalign, &values, &nulls, &n);
	for (int i = 0; i < n; i++)
		out[i] =
			nulls[i] ? NAN : (float) neural_number_of(kind, values[i], NULL);
}

int
neural_cell_length(Oid type, Datum value)
{
	ArrayType *a;

	if (neural_cell_kind(getBaseType(type)) == CELL_PGVECTOR)
		return ((PgVector *) PG_DETOAST_DATUM(value))->dim;
	a = DatumGetArrayTypeP(value);
	return ArrayGetNItems(ARR_NDIM(a), ARR_DIMS(a));
}

/*
 * --- single cells: targets, weights, splits ---
 */

void
neural_label_reader(NeuralLabelReader *r, Oid type)
{
	Oid output;
	bool varlena;

	r->type = getBaseType(type);
	getTypeOutputInfo(r->type, &output, &varlena);
	fmgr_info(output, &r->output);
}

const char *
neural_label_text(NeuralLabelReader *r, Datum value, int *len)
{
	CellKind kind = neural_cell_kind(r->type);

	if (kind == CELL_BOOL)
	{
		*len = DatumGetBool(value) ? 4 : 5;
		return DatumGetBool(value) ? "true" : "false";
	}
	if (kind == CELL_NUMERIC) /* 1.0 and 1 are one class */
		value = DirectFunctionCall1(numeric_trim_scale, value);
	if (kind != CELL_VARLENA_TEXT && kind != CELL_BPCHAR)
		kind = CELL_OUTPUT_TEXT;
	return neural_text_of(kind, &r->output, value, NULL, len);
}

int
neural_label_compare(nn_label_type type, const char *a, const char *b)
{
	if (type == NN_LABEL_NUMBER)
	{
		Datum x = DirectFunctionCall3(numeric_in, CStringGetDatum(a),
									  ObjectIdGetDatum(InvalidOid),
									  Int32GetDatum(-1));
		Datum y = DirectFunctionCall3(numeric_in, CStringGetDatum(b),
									  ObjectIdGetDatum(InvalidOid),
									  Int32GetDatum(-1));
		int order = DatumGetInt32(DirectFunctionCall2(numeric_cmp, x, y));

		if (order != 0)
			return order;
	}
	return strcmp(a, b);
}

bool
neural_is_number(Oid type)
{
	return neural_element_kind(getBaseType(type)) != CELL_NONE &&
		   getBaseType(type) != BOOLOID;
}

double
neural_cell_number(Oid type, Datum value, bool isnull)
{
	if (isnull)
		return NAN;
	return neural_number_of(neural_element_kind(getBaseType(type)), value,
							NULL);
}

bool
neural_has_order(Oid type)
{
	CellKind kind = neural_cell_kind(getBaseType(type));

	return kind != CELL_NONE && kind <= CELL_TIMETZ;
}

/* timestamptz by UTC, whose order is the same everywhere. */
double
neural_cell_order(Oid type, Datum value, bool isnull)
{
	CellKind kind = neural_cell_kind(getBaseType(type));

	if (isnull)
		return NAN;
	if (kind == CELL_TIMESTAMPTZ)
		kind = CELL_TIMESTAMP;
	return neural_number_of(kind, value, NULL);
}
