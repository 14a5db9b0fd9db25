/*
 * cells_internal.h
 *	  Between cells.c, which knows types, and row_reader.c, which knows rows.
 */
#ifndef NEURAL_CELLS_INTERNAL_H
#define NEURAL_CELLS_INTERNAL_H

#include "cells.h"
#include "pgtime.h"
#include "utils/array.h"

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

/* The layout of pgvector's type. */
typedef struct PgVector
{
	int32 vl_len_;
	int16 dim;
	int16 unused;
	float x[FLEXIBLE_ARRAY_MEMBER];
} PgVector;

extern CellKind neural_cell_kind(Oid type);
extern CellKind neural_element_kind(Oid type);
extern nn_column_class neural_class_of_kind(CellKind kind);
/* A number, of no vector or text; timestamps with time zone by the zone. */
extern double neural_number_of(CellKind kind, Datum value, pg_tz *zone);
/* A text, of UTF-8. */
extern const char *neural_text_of(CellKind kind, FmgrInfo *output, Datum value,
								  pg_tz *zone, int *len);
/* The elements of an array of numbers as floats; NULLs are NaN. */
extern void neural_array_elements(ArrayType *a, CellKind kind, float *out);

#endif /* NEURAL_CELLS_INTERNAL_H */
