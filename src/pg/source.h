/*
 * source.h
 *	  The rows that a training or an evaluation reads: a table, a view or a
 *	  SELECT, given as text.
 *
 * A relation is looked up and locked with the caller's rights and read by a
 * quoted name; anything else must be exactly one SELECT without INTO, FOR
 * UPDATE or data-modifying WITH.  Reading goes through the executor, so
 * privileges, row security and views hold.
 */
#ifndef NEURAL_SOURCE_H
#define NEURAL_SOURCE_H

#include "neural.h"

#include "access/tupdesc.h"
#include "executor/tuptable.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"
#include "nodes/plannodes.h"
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

/* ERRCODE_READ_ONLY_SQL_TRANSACTION if it locks or changes rows, in a
 * subquery or a rewritten view perhaps. */
extern void neural_source_check_query(Node *query);

/*
 * Some columns of the source (a list of 1-based numbers), planned
 * (source_scan.c).  Rows come as the executor has them: they may have further
 * columns, and others' order.  desc is theirs, with the source's names for the
 * wanted columns; at[i] is the number of the i-th, from 0.
 */
typedef struct NeuralScan
{
	const NeuralSource *source;
	const char *sql;
	PlannedStmt *plan; /* NULL: of rows held already */
	TupleDesc desc;
	int *at;
	int last; /* of the wanted, 1-based: how far a row must be taken apart */
} NeuralScan;

extern NeuralScan *neural_scan_begin(const NeuralSource *s, List *columns);

/* Calls row() for each row, in memory that lives as long as the call. */
typedef void (*NeuralRowCallback)(void *arg, TupleTableSlot *row);
extern void neural_scan_run(const NeuralScan *scan, NeuralRowCallback row,
							void *arg);

/*
 * The elements of an array column, by the first row that has any; 0 where none
 * has, -1 where there are no rows.
 */
extern int neural_source_length(const NeuralSource *s, int column);

#endif /* NEURAL_SOURCE_H */
