/*
 * row_reader.c
 *	  From rows to the engine's records.
 *
 * How a column is read is decided once, from its type; a row is then a loop
 * over columns with one switch in it.  In a row that has no NULLs and whose
 * columns are all of fixed length every column lies at the same place, so such
 * a row is read without taking it apart, and floats side by side are copied.
 */
#include "cells_internal.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/tupmacs.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

typedef struct Cell
{
	CellKind kind; /* CELL_NONE: can be nothing but NULL */
	AttrNumber attribute;
	Oid type; /* domains resolved */
	const nn_column *column;
	FmgrInfo output;
} Cell;

/*
 * Float4s that are kept as they are, side by side in row and record: the
 * commonest cells, read by tight loops.
 */
typedef struct FloatSpan
{
	int at, count; /* in the row */
	size_t offset; /* in the record */
} FloatSpan;

/* Floats side by side, in rows of fixed places and in records. */
typedef struct FloatRun
{
	size_t from, to, bytes;
} FloatRun;

struct NeuralRowReader
{
	const nn_features *features;
	int nspans;
	FloatSpan *spans;
	int ncells; /* all others */
	Cell *cells;
	int last;
	int nplaces; /* the first attributes, as far as they have fixed places */
	int *place;	 /* in rows without NULLs */
	bool fixed;	 /* all that is read has such a place */
	int nruns;
	FloatRun *runs; /* of the floats; likewise */
	TupleDesc desc;
	bool learn;
	bool may_throw; /* reading a cell calls what may throw */
	pg_tz *time_zone;
	int64 nans;
	float *elements; /* of the longest vector */
};

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
wrong_type(const nn_column *column, Oid type)
{
	const char *name =
		pg_any_to_server(column->name, strlen(column->name), PG_UTF8);

	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("column \"%s\" is of type %s, but the model reads %s", name,
					format_type_be(type), column->type_name),
			 errhint("Cast it: %s::%s.", quote_identifier(name),
					 column->type_name)));
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
	cell->kind = neural_cell_kind(cell->type);
	if (cell->kind != CELL_NONE && fits_as_text(cell->type, cell->kind, column))
		cell->kind = CELL_OUTPUT_TEXT;
	if (cell->kind == CELL_NONE ||
		!class_fits(neural_class_of_kind(cell->kind), column->class))
	{
		/* a literal in ROW(), which may be NULL */
		if (cell->type != UNKNOWNOID)
			wrong_type(column, a->atttypid);
		cell->kind = CELL_NONE;
	}
	if (cell->kind == CELL_OUTPUT_TEXT)
	{
		Oid output;
		bool varlena;

		getTypeOutputInfo(cell->type, &output, &varlena);
		fmgr_info(output, &cell->output);
	}
}

/*
 * The output functions of the server's own types do not fail on what has been
 * stored; of others we know nothing, nor of text to be converted.
 */
static bool
cell_may_throw(const Cell *cell)
{
	if (cell->kind == CELL_NONE)
		return true;
	if (cell->column->class != NN_CLASS_TEXT)
		return false;
	return GetDatabaseEncoding() != PG_UTF8 ||
		   (cell->kind == CELL_OUTPUT_TEXT &&
			cell->output.fn_oid >= FirstNormalObjectId);
}

/* Where attributes lie in every row without NULLs. */
static void
find_places(NeuralRowReader *r)
{
	int at = 0;

	r->place = palloc(Max(r->desc->natts, 1) * sizeof(int));
	for (; r->nplaces < r->desc->natts; r->nplaces++)
	{
		Form_pg_attribute a = TupleDescAttr(r->desc, r->nplaces);

		if (a->attlen <= 0)
			break;
		r->place[r->nplaces] = at = att_align_nominal(at, a->attalign);
		at += a->attlen;
	}
	r->fixed = r->last <= r->nplaces;
}

/* Floats side by side lie side by side there, too. */
static void
find_runs(NeuralRowReader *r)
{
	r->runs = palloc(Max(r->nspans, 1) * sizeof(FloatRun));
	for (int i = 0; i < r->nspans && r->fixed; i++)
	{
		const FloatSpan *span = &r->spans[i];

		r->runs[r->nruns++] = (FloatRun){r->place[span->at], span->offset,
										 span->count * sizeof(float)};
	}
}

static void
add_float(NeuralRowReader *r, int at, size_t offset)
{
	FloatSpan *last = &r->spans[r->nspans - 1];

	if (r->nspans > 0 && last->at + last->count == at &&
		last->offset + last->count * sizeof(float) == offset)
		last->count++;
	else
		r->spans[r->nspans++] = (FloatSpan){at, 1, offset};
}

NeuralRowReader *
neural_row_reader(const nn_features *f, TupleDesc desc, bool by_position,
				  bool learn, const char *time_zone)
{
	NeuralRowReader *r = palloc0(sizeof(*r));
	int longest = 0;

	r->features = f;
	r->desc = desc;
	r->cells = palloc0(Max(f->nread, 1) * sizeof(Cell));
	r->spans = palloc(Max(f->nread, 1) * sizeof(FloatSpan));
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
		r->last = Max(r->last, cell->attribute);
		if (column->class == NN_CLASS_VECTOR)
			longest = Max(longest, column->length);
		r->may_throw |= cell_may_throw(cell);
		if (cell->kind == CELL_FLOAT4 && column->slot == NN_SLOT_REAL32)
			add_float(r, cell->attribute - 1, column->offset);
		else
			r->ncells++;
	}
	r->elements = palloc(Max(longest, 1) * sizeof(float));
	find_places(r);
	find_runs(r);
	return r;
}

bool
neural_row_reader_lasts(const NeuralRowReader *r)
{
	return !r->may_throw;
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

static bool
read_vector(NeuralRowReader *r, Cell *cell, Datum value, char *record,
			nn_error *err)
{
	const nn_column *c = cell->column;
	const float *x = r->elements;
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
			neural_array_elements(
				a, neural_element_kind(getBaseType(ARR_ELEMTYPE(a))),
				r->elements);
	}
	return nn_set_vector(c, record, x, n, err);
}

static bool
read_cell(NeuralRowReader *r, Cell *cell, Datum value, char *record,
		  nn_error *err)
{
	const nn_column *c = cell->column;

	if (cell->kind == CELL_NONE)
		wrong_type(c, cell->type);
	if (c->class == NN_CLASS_TEXT)
	{
		int len;
		const char *s = neural_text_of(cell->kind, &cell->output, value,
									   r->time_zone, &len);

		return nn_set_text(c, record, s, len, r->learn, err);
	}
	else if (c->class == NN_CLASS_VECTOR)
		return read_vector(r, cell, value, record, err);
	else
	{
		double x = neural_number_of(cell->kind, value, r->time_zone);

		if (isnan(x))
			r->nans++;
		nn_set_number(c, record, x);
	}
	return true;
}

/* Cells side by side, or one by one as arguments: one of the two is there. */
typedef struct Cells
{
	const Datum *values;
	const bool *nulls;
	const NullableDatum *arguments;
} Cells;

static pg_attribute_always_inline bool
is_null(Cells cells, int at)
{
	return cells.arguments ? cells.arguments[at].isnull : cells.nulls[at];
}

static pg_attribute_always_inline Datum
value_of(Cells cells, int at)
{
	return cells.arguments ? cells.arguments[at].value : cells.values[at];
}

static void
count_nans(NeuralRowReader *r, const float *x, int n)
{
	int nans = 0;

	for (int i = 0; i < n; i++)
		nans += x[i] != x[i];
	r->nans += nans;
}

static pg_attribute_always_inline void
read_floats(NeuralRowReader *r, Cells cells, const FloatSpan *span, float *x)
{
	bool nulls = false;

	for (int i = 0; i < span->count; i++)
	{
		bool null = is_null(cells, span->at + i);

		x[i] = null ? 0 : DatumGetFloat4(value_of(cells, span->at + i));
		nulls |= null;
	}
	if (r->learn)
		count_nans(r, x, span->count);
	for (int i = 0; i < span->count && nulls; i++)
		if (is_null(cells, span->at + i))
			x[i] = NAN;
}

static pg_attribute_always_inline bool
read_row(NeuralRowReader *r, Cells cells, char *record, nn_error *err)
{
	for (int i = 0; i < r->nspans; i++)
		read_floats(r, cells, &r->spans[i],
					(float *) (record + r->spans[i].offset));
	for (int i = 0; i < r->ncells; i++)
	{
		Cell *cell = &r->cells[i];
		int at = cell->attribute - 1;

		if (is_null(cells, at))
			nn_set_null(cell->column, record);
		else if (!read_cell(r, cell, value_of(cells, at), record, err))
			return false;
	}
	nn_features_derive(r->features, record);
	return true;
}

void
neural_row_read(NeuralRowReader *r, const Datum *values, const bool *nulls,
				char *record)
{
	nn_error err;

	neural_check(read_row(r, (Cells){values, nulls, NULL}, record, &err), &err);
}

void
neural_row_read_arguments(NeuralRowReader *r, const NullableDatum *arguments,
						  char *record)
{
	nn_error err;

	neural_check(read_row(r, (Cells){NULL, NULL, arguments}, record, &err),
				 &err);
}

/* Far enough from the ends that no time zone leads over them. */
static bool
is_plain_time(TimestampTz t)
{
	return t > MIN_TIMESTAMP + 2 * USECS_PER_DAY &&
		   t < END_TIMESTAMP - 2 * USECS_PER_DAY;
}

bool
neural_row_try(NeuralRowReader *r, const Datum *values, const bool *nulls,
			   char *record)
{
	nn_error err;

	if (r->may_throw)
		return false;
	for (int i = 0; i < r->ncells; i++)
	{
		int at = r->cells[i].attribute - 1;

		if (r->cells[i].type == TIMESTAMPTZOID && !nulls[at] &&
			!is_plain_time(DatumGetTimestampTz(values[at])))
			return false;
	}
	return read_row(r, (Cells){values, nulls, NULL}, record, &err);
}

bool
neural_row_read_fixed(NeuralRowReader *r, HeapTupleHeader row, char *record)
{
	const char *data = (const char *) row + row->t_hoff;
	nn_error err;

	if (!r->fixed || (row->t_infomask & HEAP_HASNULL) != 0 ||
		HeapTupleHeaderGetNatts(row) < r->last)
		return false;
	for (int i = 0; i < r->nruns; i++)
	{
		memcpy(record + r->runs[i].to, data + r->runs[i].from,
			   r->runs[i].bytes);
		if (r->learn)
			count_nans(r, (const float *) (record + r->runs[i].to),
					   r->runs[i].bytes / sizeof(float));
	}
	for (int i = 0; i < r->ncells; i++)
	{
		Cell *cell = &r->cells[i];
		int at = cell->attribute - 1;

		neural_check(
			read_cell(r, cell,
					  fetchatt(TupleDescAttr(r->desc, at), data + r->place[at]),
					  record, &err),
			&err);
	}
	nn_features_derive(r->features, record);
	return true;
}

bool
neural_row_fixed_value(const NeuralRowReader *r, HeapTupleHeader row, int at,
					   Datum *value)
{
	if (at >= r->nplaces || (row->t_infomask & HEAP_HASNULL) != 0 ||
		HeapTupleHeaderGetNatts(row) <= at)
		return false;
	*value = fetchatt(TupleDescAttr(r->desc, at),
					  (const char *) row + row->t_hoff + r->place[at]);
	return true;
}

bool
neural_row_is_plain(const NeuralRowReader *r)
{
	if (!r->fixed)
		return false;
	for (int i = 0; i < r->ncells; i++)
		if (r->cells[i].column->class == NN_CLASS_TEXT ||
			r->cells[i].column->class == NN_CLASS_VECTOR ||
			r->cells[i].type == TIMESTAMPTZOID)
			return false;
	return true;
}
