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

/* Floats side by side, in rows of fixed places and in records. */
typedef struct FloatRun
{
	size_t from, to, bytes;
} FloatRun;

struct NeuralRowReader
{
	const nn_features *features;
	int nfloats;
	FloatCell *floats;
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

/*
 * The output functions of the server's own types do not fail on what has been
 * stored; of others we know nothing, nor of text to be converted.
 */
static bool
cell_may_throw(const Cell *cell)
{
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

static void
find_runs(NeuralRowReader *r)
{
	r->runs = palloc(Max(r->nfloats, 1) * sizeof(FloatRun));
	for (int i = 0; i < r->nfloats && r->fixed; i++)
	{
		size_t from = r->place[r->floats[i].at], to = r->floats[i].offset;
		FloatRun *run = &r->runs[r->nruns - 1];

		if (r->nruns > 0 && run->from + run->bytes == from &&
			run->to + run->bytes == to)
			run->bytes += sizeof(float);
		else
			r->runs[r->nruns++] = (FloatRun){from, to, sizeof(float)};
	}
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
	r->floats = palloc(Max(f->nread, 1) * sizeof(FloatCell));
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
		{
			r->floats[r->nfloats].at = cell->attribute - 1;
			r->floats[r->nfloats++].offset = column->offset;
		}
		else
			r->ncells++;
	}
	r->elements = palloc(Max(longest, 1) * sizeof(float));
	find_places(r);
	find_runs(r);
	return r;
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

static bool
read_row(NeuralRowReader *r, const Datum *values, const bool *nulls,
		 char *record, nn_error *err)
{
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
		int at = cell->attribute - 1;

		if (nulls[at])
			nn_set_null(cell->column, record);
		else if (!read_cell(r, cell, values[at], record, err))
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

	neural_check(read_row(r, values, nulls, record, &err), &err);
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
	return read_row(r, values, nulls, record, &err);
}

static void
count_nans(NeuralRowReader *r, const float *x, size_t n)
{
	int nans = 0;

	for (size_t i = 0; i < n; i++)
		nans += x[i] != x[i];
	r->nans += nans;
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
