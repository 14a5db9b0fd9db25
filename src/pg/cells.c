/*
 * cells.c
 *	  From Datums to the engine's records.
 *
 * How a column is read is decided once, from its type; a row is then a loop
 * over columns with one switch in it.
 */
#include "cells.h"

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

/* How a Datum is turned into a slot. */
typedef enum CellKind
{
	CELL_NONE,
	CELL_BOOL,
	CELL_INT2,
	CELL_INT4,
	CELL_INT8,
	CELL_FLOAT4,
	CELL_FLOAT8,
	CELL_NUMERIC,
	CELL_INTERVAL,
	CELL_DATE,
	CELL_TIMESTAMP,
	CELL_TIMESTAMPTZ,
	CELL_TIME,
	CELL_TIMETZ,
	CELL_VARLENA_TEXT, /* text, varchar */
	CELL_BPCHAR,
	CELL_OUTPUT_TEXT, /* by the type's output function */
	CELL_ARRAY,
	CELL_PGVECTOR
} CellKind;

typedef struct Cell
{
	CellKind kind;
	AttrNumber attribute;
	Oid type; /* domains resolved */
	const nn_column *column;
	FmgrInfo output;
} Cell;

/* A float4 that is kept as it is: the commonest cell, read by a tight loop. */
typedef struct FloatCell
{
	int at;		   /* in the row */
	size_t offset; /* in the record */
} FloatCell;

struct NeuralRowReader
{
	const nn_features *features;
	int nfloats;
	FloatCell *floats;
	int ncells; /* all others */
	Cell *cells;
	AttrNumber *attributes;
	int last;
	bool learn;
	pg_tz *time_zone;
	int64 nans;
	float *elements; /* of the longest vector */
};

/* The layout of pgvector's type. */
typedef struct PgVector
{
	int32 vl_len_;
	int16 dim;
	int16 unused;
	float x[FLEXIBLE_ARRAY_MEMBER];
} PgVector;

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

static CellKind
element_kind(Oid type)
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

static CellKind
cell_kind(Oid type)
{
	CellKind kind = element_kind(type);
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
			return CELL_OUTPUT_TEXT;
	}
	element = get_element_type(type);
	if (OidIsValid(element))
		return element_kind(getBaseType(element)) != CELL_NONE ? CELL_ARRAY
															   : CELL_NONE;
	if (type_is_enum(type))
		return CELL_OUTPUT_TEXT;
	get_type_category_preferred(type, &category, &preferred);
	if (category == TYPCATEGORY_STRING)
		return CELL_OUTPUT_TEXT; /* citext and its like */
	return is_pgvector(type) ? CELL_PGVECTOR : CELL_NONE;
}

static nn_column_class
class_of_kind(CellKind kind)
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
	CellKind kind = cell_kind(getBaseType(type));

	if (kind == CELL_NONE)
		return false;
	*class = class_of_kind(kind);
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
 * --- finding the columns ---
 */

static int
find_attribute(TupleDesc desc, const char *name)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute a = TupleDescAttr(desc, i);

		if (!a->attisdropped && strcmp(NameStr(a->attname), name) == 0)
			return i + 1;
	}
	return 0;
}

static void
no_attribute(TupleDesc desc, const char *name)
{
	const char **names = palloc0((desc->natts + 1) * sizeof(char *));
	const char *near;
	int n = 0;

	for (int i = 0; i < desc->natts; i++)
		if (!TupleDescAttr(desc, i)->attisdropped)
			names[n++] = NameStr(TupleDescAttr(desc, i)->attname);
	near = nn_did_you_mean(name, names);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("row has no column \"%s\", which the model reads", name),
			 near ? errhint("Did you mean \"%s\"?", near)
				  : errhint("A row must have every column the model reads, by "
							"name; see neural.features().")));
}

/*
 * A number, boolean or date that was learned as a category is read as text
 * again where its type is still the same.
 */
static bool
fits_as_text(Oid type, CellKind kind, const nn_column *column)
{
	static const char *const integers[] = {"smallint", "integer", "bigint"};

	if (column->class != NN_CLASS_TEXT || kind > CELL_TIMETZ)
		return false;
	if (strcmp(format_type_be(type), column->type_name) == 0)
		return true;
	if (kind >= CELL_INT2 && kind <= CELL_INT8)
		for (int i = 0; i < (int) lengthof(integers); i++)
			if (strcmp(integers[i], column->type_name) == 0)
				return true;
	return false;
}

/* Whether a value of one class can stand where another was learned. */
static bool
class_fits(nn_column_class have, nn_column_class want)
{
	if ((have == NN_CLASS_DATE || have == NN_CLASS_TIMESTAMP) &&
		(want == NN_CLASS_DATE || want == NN_CLASS_TIMESTAMP))
		return true;
	return have == want;
}

static void
find_cell(Cell *cell, const nn_column *column, TupleDesc desc, int position)
{
	/* models keep names in UTF-8 */
	const char *name =
		pg_any_to_server(column->name, strlen(column->name), PG_UTF8);
	Form_pg_attribute a;

	if (position > 0)
	{
		if (position > desc->natts)
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
							errmsg("row has %d columns, too few for the model",
								   desc->natts),
							errhint("A row without column names must have the "
									"model's columns in their order; see "
									"neural.features().")));
		cell->attribute = position;
	}
	else
		cell->attribute = find_attribute(desc, name);
	if (cell->attribute == 0)
		no_attribute(desc, name);

	a = TupleDescAttr(desc, cell->attribute - 1);
	cell->column = column;
	cell->type = getBaseType(a->atttypid);
	cell->kind = cell_kind(cell->type);
	if (cell->kind != CELL_NONE && fits_as_text(cell->type, cell->kind, column))
		cell->kind = CELL_OUTPUT_TEXT;
	if (cell->kind == CELL_NONE ||
		!class_fits(class_of_kind(cell->kind), column->class))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" is of type %s, but the model reads %s",
						name, format_type_be(a->atttypid), column->type_name)));
	if (cell->kind == CELL_OUTPUT_TEXT)
	{
		Oid output;
		bool varlena;

		getTypeOutputInfo(cell->type, &output, &varlena);
		fmgr_info(output, &cell->output);
	}
}

NeuralRowReader *
neural_row_reader(const nn_features *f, TupleDesc desc, bool by_position,
				  bool learn, const char *time_zone)
{
	NeuralRowReader *r = palloc0(sizeof(*r));
	int longest = 0;

	r->features = f;
	r->cells = palloc0(Max(f->nread, 1) * sizeof(Cell));
	r->floats = palloc(Max(f->nread, 1) * sizeof(FloatCell));
	r->attributes = palloc0(Max(f->nread, 1) * sizeof(AttrNumber));
	r->learn = learn;
	r->time_zone = time_zone ? pg_tzset(time_zone) : session_timezone;
	if (r->time_zone == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("time zone \"%s\" not recognized", time_zone)));
	for (int i = 0; i < f->nread; i++)
	{
		const nn_column *column = &f->columns[i];
		Cell *cell = &r->cells[r->ncells];

		find_cell(cell, column, desc, by_position ? i + 1 : 0);
		r->attributes[i] = cell->attribute;
		r->last = Max(r->last, cell->attribute);
		if (column->class == NN_CLASS_VECTOR)
			longest = Max(longest, column->length);
		if (cell->kind == CELL_FLOAT4 && column->slot == NN_SLOT_REAL32)
		{
			r->floats[r->nfloats].at = cell->attribute - 1;
			r->floats[r->nfloats++].offset = column->offset;
		}
		else
			r->ncells++;
	}
	r->elements = palloc(Max(longest, 1) * sizeof(float));
	return r;
}

const AttrNumber *
neural_row_reader_attributes(const NeuralRowReader *r)
{
	return r->attributes;
}

int
neural_row_reader_last(const NeuralRowReader *r)
{
	return r->last;
}

int64
neural_row_reader_nans(const NeuralRowReader *r)
{
	return r->nans;
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

static double
number_of(CellKind kind, Datum value, pg_tz *zone)
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
static const char *
text_of(CellKind kind, FmgrInfo *output, Datum value, pg_tz *zone, int *len)
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

static void
array_elements(ArrayType *a, CellKind kind, float *out)
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
		out[i] = nulls[i] ? NAN : (float) number_of(kind, values[i], NULL);
}

int
neural_cell_length(Oid type, Datum value)
{
	ArrayType *a;

	if (cell_kind(getBaseType(type)) == CELL_PGVECTOR)
		return ((PgVector *) PG_DETOAST_DATUM(value))->dim;
	a = DatumGetArrayTypeP(value);
	return ArrayGetNItems(ARR_NDIM(a), ARR_DIMS(a));
}

static void
read_vector(NeuralRowReader *r, Cell *cell, Datum value, char *record)
{
	const nn_column *c = cell->column;
	const float *x = r->elements;
	nn_error err;
	int n;

	if (cell->kind == CELL_PGVECTOR)
	{
		PgVector *v = (PgVector *) PG_DETOAST_DATUM(value);

		n = v->dim;
		x = v->x;
	}
	else
	{
		ArrayType *a = DatumGetArrayTypeP(value);

		n = ArrayGetNItems(ARR_NDIM(a), ARR_DIMS(a));
		if (n == c->length)
			array_elements(a, element_kind(getBaseType(ARR_ELEMTYPE(a))),
						   r->elements);
	}
	neural_check(nn_set_vector(c, record, x, n, &err), &err);
}

void
neural_row_read(NeuralRowReader *r, const Datum *values, const bool *nulls,
				char *record)
{
	nn_error err;
	int nans = 0;

	for (int i = 0; i < r->nfloats; i++)
	{
		const FloatCell *cell = &r->floats[i];
		float x = NAN;

		if (!nulls[cell->at])
		{
			x = DatumGetFloat4(values[cell->at]);
			nans += isnan(x) != 0;
		}
		*(float *) (record + cell->offset) = x;
	}
	r->nans += nans;
	for (int i = 0; i < r->ncells; i++)
	{
		Cell *cell = &r->cells[i];
		const nn_column *c = cell->column;
		int at = cell->attribute - 1;

		if (nulls[at])
			nn_set_null(c, record);
		else if (c->class == NN_CLASS_TEXT)
		{
			int len;
			const char *s = text_of(cell->kind, &cell->output, values[at],
									r->time_zone, &len);

			neural_check(nn_set_text(c, record, s, len, r->learn, &err), &err);
		}
		else if (c->class == NN_CLASS_VECTOR)
			read_vector(r, cell, values[at], record);
		else
		{
			double x = number_of(cell->kind, values[at], r->time_zone);

			if (isnan(x))
				r->nans++;
			nn_set_number(c, record, x);
		}
	}
	nn_features_derive(r->features, record);
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
	CellKind kind = cell_kind(r->type);

	if (kind == CELL_BOOL)
	{
		*len = DatumGetBool(value) ? 4 : 5;
		return DatumGetBool(value) ? "true" : "false";
	}
	if (kind == CELL_NUMERIC) /* 1.0 and 1 are one class */
		value = DirectFunctionCall1(numeric_trim_scale, value);
	if (kind != CELL_VARLENA_TEXT && kind != CELL_BPCHAR)
		kind = CELL_OUTPUT_TEXT;
	return text_of(kind, &r->output, value, NULL, len);
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
	return element_kind(getBaseType(type)) != CELL_NONE &&
		   getBaseType(type) != BOOLOID;
}

double
neural_cell_number(Oid type, Datum value, bool isnull)
{
	if (isnull)
		return NAN;
	return number_of(element_kind(getBaseType(type)), value, NULL);
}

bool
neural_has_order(Oid type)
{
	CellKind kind = cell_kind(getBaseType(type));

	return kind != CELL_NONE && kind <= CELL_TIMETZ;
}

/* timestamptz by UTC, whose order is the same everywhere. */
double
neural_cell_order(Oid type, Datum value, bool isnull)
{
	CellKind kind = cell_kind(getBaseType(type));

	if (isnull)
		return NAN;
	if (kind == CELL_TIMESTAMPTZ)
		kind = CELL_TIMESTAMP;
	return number_of(kind, value, NULL);
}
