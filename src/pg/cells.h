/*
 * cells.h
 *	  From Datums to the engine's records.
 *
 * Training and prediction turn a column into a slot by the same code, chosen
 * once per column from its type (cells.c, row_reader.c): neural_class_of says what a type is to the
 * engine, and a NeuralRowReader holds one converter for each column of a row.
 */
#ifndef NEURAL_CELLS_H
#define NEURAL_CELLS_H

#include "neural.h"

#include "../nn/model.h"
#include "access/htup.h"
#include "access/tupdesc.h"

/*
 * What a type is to the engine.  Domains count as their base type.  False for
 * types that can be no feature (bytea, json, geometry, ...).
 */
extern bool neural_class_of(Oid type, nn_column_class *class,
							nn_slot_kind *slot);

typedef struct NeuralRowReader NeuralRowReader;

/*
 * A reader for rows of this descriptor.  Columns are found by name; a missing
 * one is ERRCODE_UNDEFINED_COLUMN with a HINT, further ones are ignored.
 * by_position takes them in the model's order instead (anonymous rows).  A
 * type of another class than the model's column is ERRCODE_DATATYPE_MISMATCH,
 * except that any number serves for any number (and text for text).
 * learn: unseen texts are added to the dictionaries.  time_zone, of timestamp
 * with time zone: NULL is the session's.
 */
extern NeuralRowReader *neural_row_reader(const nn_features *f, TupleDesc desc,
										  bool by_position, bool learn,
										  const char *time_zone);

/* Whether it depends on nothing but the row's type and the session's time zone,
 * so that it may serve other queries. */
extern bool neural_row_reader_lasts(const NeuralRowReader *r);

/* The last attribute it reads (1-based): how far a tuple must be deformed. */
extern int neural_row_reader_last(const NeuralRowReader *r);

/*
 * Fill the record's feature slots from a deformed row.  Short-lived memory is
 * taken from the current context.
 */
extern void neural_row_read(NeuralRowReader *r, const Datum *values,
							const bool *nulls, char *record);

/* The same from arguments of a function, which are the row's attributes. */
extern void neural_row_read_arguments(NeuralRowReader *r,
									  const NullableDatum *arguments,
									  char *record);

/* How many cells that are not NULL were NaN, which counts as NULL. */
extern int64 neural_row_reader_nans(const NeuralRowReader *r);

/* The number of elements of a value of NN_CLASS_VECTOR. */
extern int neural_cell_length(Oid type, Datum value);

/*
 * The same from a row that is not taken apart; false, and nothing has been
 * done, unless all that is read lies at fixed places (no NULLs, no column of
 * varying length before).  Counts NaNs when it learns.
 */
extern bool neural_row_read_fixed(NeuralRowReader *r, HeapTupleHeader row,
								  char *record);

/* One attribute (from 0) of such a row, read by the reader or not. */
extern bool neural_row_fixed_value(const NeuralRowReader *r,
								   HeapTupleHeader row, int at, Datum *value);

/*
 * neural_row_read where nothing may be thrown: false when a cell cannot be
 * read, or when reading it might throw; neural_row_read says what is wrong.
 */
extern bool neural_row_try(NeuralRowReader *r, const Datum *values,
						   const bool *nulls, char *record);

/* Whether neural_row_read_fixed cannot fail. */
extern bool neural_row_is_plain(const NeuralRowReader *r);

/*
 * One cell as text of UTF-8 (enum labels, uuid, integers, booleans as "true"
 * and "false"), as class labels are kept.  The type's output is looked up once
 * into the caller's struct.
 */
typedef struct NeuralLabelReader
{
	Oid type;
	FmgrInfo output;
} NeuralLabelReader;

extern void neural_label_reader(NeuralLabelReader *r, Oid type);
extern const char *neural_label_text(NeuralLabelReader *r, Datum value,
									 int *len);

/* The order of two labels: numbers by value, all others by bytes. */
extern int neural_label_compare(nn_label_type type, const char *a,
								const char *b);

/*
 * One cell of a number or a boolean as a double; NaN for NULL.
 * neural_cell_order does so for everything that has an order on a line: dates
 * and times as well.
 */
extern bool neural_is_number(Oid type);
extern bool neural_has_order(Oid type);
extern double neural_cell_order(Oid type, Datum value, bool isnull);
extern double neural_cell_number(Oid type, Datum value, bool isnull);

#endif /* NEURAL_CELLS_H */
