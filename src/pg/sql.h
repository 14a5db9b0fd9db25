/*
 * sql.h
 *	  Statements of our own, run as the caller.
 *
 * Between neural_sql_begin and neural_sql_end the search_path is pinned to
 * pg_catalog, so that nothing in these statements can be captured by objects
 * that others made.  Names in them are quoted, values are parameters.
 */
#ifndef NEURAL_SQL_H
#define NEURAL_SQL_H

#include "executor/spi.h"

#include "neural.h"

/* Opens an SPI connection; returns what neural_sql_end wants. */
extern int neural_sql_begin(void);
extern void neural_sql_end(int level);

/*
 * Run one statement; returns the number of rows.  They are in SPI_tuptable.
 * nulls is as SPI wants it ("n " ...), or NULL.
 */
extern uint64 neural_sql_run(const char *sql, bool read_only, int nargs,
							 Oid *types, Datum *values, const char *nulls);

/* The name of a relation, which may have been dropped meanwhile: an error. */
extern const char *neural_relation_name(Oid relid);

/* "schema"."name", for use in statements. */
extern const char *neural_sql_name(Oid relid);

#endif /* NEURAL_SQL_H */
