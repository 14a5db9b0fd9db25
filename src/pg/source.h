/*
 * source.h
 *	  The rows that a training or an evaluation reads: a table, a view or a
 *	  SELECT, given as text.
 *
 * A relation is looked up and locked with the caller's rights and read by a
 * quoted name; anything else must be exactly one SELECT without INTO, FOR
 * UPDATE or data-modifying WITH, and runs read-only.  Reading goes through the
 * executor, so privileges, row security and views hold, and its result goes
 * into our own DestReceiver (measured: several times faster than a cursor).
 */
#ifndef NEURAL_SOURCE_H
#define NEURAL_SOURCE_H

#include "neural.h"

#include "access/tupdesc.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"
#include "utils/tuplestore.h"

typedef struct NeuralSource
{
	const char *text; /* as given */
	Oid relid;		  /* of a relation, else InvalidOid */
	const char *from; /* what to put after FROM: "s.t" or "(SELECT ...) q" */
	TupleDesc desc;	  /* all columns, dropped ones left out */
	Bitmapset *key;	  /* 1-based numbers of primary-key columns */
	Tuplestorestate *rows; /* of rows held already; else NULL */
} NeuralSource;

extern NeuralSource *neural_source_open(const char *data);

/* Rows that somebody holds already. */
extern NeuralSource *neural_source_of_rows(Tuplestorestate *rows,
										   TupleDesc desc);

/* The 1-based number of a column, or 0. */
extern int neural_source_column(const NeuralSource *s, const char *name);

/* ERRCODE_UNDEFINED_COLUMN with "did you mean". */
extern void neural_source_no_column(const NeuralSource *s, const char *name)
	pg_attribute_noreturn();

/*
 * Run SELECT of these columns (a list of 1-based numbers; each row comes with
 * exactly them, in this order), calling row() for each.
 */
typedef void (*NeuralRowCallback)(void *arg, const Datum *values,
								  const bool *nulls);
extern void neural_source_run(const NeuralSource *s, List *columns,
							  NeuralRowCallback row, void *arg);

/*
 * The elements of an array column, by the first row that has any; 0 where none
 * has, -1 where there are no rows.
 */
extern int neural_source_length(const NeuralSource *s, int column);

#endif /* NEURAL_SOURCE_H */
