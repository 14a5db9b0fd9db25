/*
 * sql.c
 *	  Statements of our own, run as the caller.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "sql.h"

int
neural_sql_begin(void)
{
	int level = NewGUCNestLevel();

	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	SPI_connect();
	return level;
}

void
neural_sql_end(int level)
{
	SPI_finish();
	AtEOXact_GUC(true, level);
}

uint64
neural_sql_run(const char *sql, bool read_only, int nargs, Oid *types,
			   Datum *values, const char *nulls)
{
	int rc =
		SPI_execute_with_args(sql, nargs, types, values, nulls, read_only, 0);

	if (rc < 0)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("could not run \"%s\": %s", sql,
							   SPI_result_code_string(rc))));
	return SPI_processed;
}

const char *
neural_relation_name(Oid relid)
{
	const char *name = get_rel_name(relid);

	if (name == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation with OID %u does not exist", relid)));
	return name;
}

const char *
neural_sql_name(Oid relid)
{
	const char *name = neural_relation_name(relid);

	return quote_qualified_identifier(
		get_namespace_name(get_rel_namespace(relid)), name);
}
