/*
 * lifecycle.c
 *	  Versions that become active, go away, leave and come in; who may
 *	  predict; and typed wrappers.
 *
 * All of it is SQL on the model table as the caller, so it takes exactly the
 * privileges that the same statements would take by hand.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_func.h"
#include "parser/parse_type.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"

#include "catalog.h"
#include "model_value.h"
#include "predict_state.h"
#include "publish.h"
#include "sql.h"

/* ---------- promote, rollback, prune ---------- */

/*
 * Those who change which version is active take turns, as publishers do.  Only
 * those who may change the table may lock it.
 */
static void
lock_versions(Oid relid, const char *function, AclMode mode)
{
	AclResult acl;

	PreventCommandIfReadOnly(function);
	PreventCommandDuringRecovery(function);
	neural_check_model_table(relid);
	acl = pg_class_aclcheck(relid, GetUserId(), mode);
	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, OBJECT_TABLE, neural_relation_name(relid));
	LockRelationOid(relid, ShareUpdateExclusiveLock);
	neural_check_model_table(relid);
	neural_model_check_snapshot(relid);
}

/* Make a version the active one, inside neural_sql_begin and _end. */
static bool
activate(Oid relid, int version)
{
	const char *name = neural_sql_name(relid);
	Oid types[1] = {INT4OID};
	Datum values[1];

	values[0] = Int32GetDatum(version);
	/* the index on active rows is checked at each row: first clear, then set */
	neural_sql_run(psprintf("UPDATE %s SET active = false "
							"WHERE active AND version <> $1",
							name),
				   false, 1, types, values, NULL);
	return neural_sql_run(psprintf("UPDATE %s SET active = true "
								   "WHERE version = $1",
								   name),
						  false, 1, types, values, NULL) == 1;
}

/* The first column of the first row, an integer; 0 when there is none. */
static int
first_integer(const char *sql, int nargs, Oid *types, Datum *values)
{
	bool isnull;
	Datum d;

	if (neural_sql_run(sql, false, nargs, types, values, NULL) == 0)
		return 0;
	d = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	return isnull ? 0 : DatumGetInt32(d);
}

PG_FUNCTION_INFO_V1(neural_promote);
Datum
neural_promote(PG_FUNCTION_ARGS)
{
	Oid relid = PG_GETARG_OID(0);
	int version = PG_GETARG_INT32(1);
	int level;

	lock_versions(relid, "neural.promote()", ACL_UPDATE);
	level = neural_sql_begin();
	if (!activate(relid, version))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("version %d of model \"%s\" does not exist",
							   version, get_rel_name(relid)),
						errhint("neural.versions lists its versions.")));
	neural_sql_end(level);
	PG_RETURN_INT32(version);
}

PG_FUNCTION_INFO_V1(neural_rollback);
Datum
neural_rollback(PG_FUNCTION_ARGS)
{
	Oid relid = PG_GETARG_OID(0);
	const char *name;
	int active, before, level;
	Oid types[1] = {INT4OID};
	Datum values[1];

	lock_versions(relid, "neural.rollback()", ACL_UPDATE);
	name = neural_sql_name(relid);
	level = neural_sql_begin();
	active = first_integer(
		psprintf("SELECT version FROM %s WHERE active", name), 0, NULL, NULL);
	if (active == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("model \"%s\" has no active version",
							   get_rel_name(relid)),
						errhint("Make one the active one by neural.promote.")));
	values[0] = Int32GetDatum(active);
	before = first_integer(
		psprintf("SELECT max(version) FROM %s WHERE version < $1", name), 1,
		types, values);
	if (before == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("model \"%s\" has no version before version %d",
							   get_rel_name(relid), active)));
	if (!activate(relid, before))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("version %d of model \"%s\" does not exist",
							   before, get_rel_name(relid))));
	neural_sql_end(level);
	PG_RETURN_INT32(before);
}

PG_FUNCTION_INFO_V1(neural_prune);
Datum
neural_prune(PG_FUNCTION_ARGS)
{
	Oid relid = PG_GETARG_OID(0);
	int keep = PG_GETARG_INT32(1);
	const char *name;
	int level;
	Oid types[1] = {INT4OID};
	Datum values[1];
	uint64 deleted;

	if (keep < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the number of versions to keep must not be "
							   "negative")));
	lock_versions(relid, "neural.prune()", ACL_DELETE);
	name = neural_sql_name(relid);
	level = neural_sql_begin();
	values[0] = Int32GetDatum(keep);
	deleted = neural_sql_run(
		psprintf("DELETE FROM %s WHERE NOT active AND version NOT IN "
				 "(SELECT version FROM %s ORDER BY version DESC LIMIT $1)",
				 name, name),
		false, 1, types, values, NULL);
	neural_sql_end(level);
	PG_RETURN_INT32((int32) deleted);
}

/* ---------- export, import ---------- */

PG_FUNCTION_INFO_V1(neural_export_model);
Datum
neural_export_model(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	/* the bytes of the value are the bytes of the file */
	PG_RETURN_DATUM(
		neural_model_select(PG_GETARG_OID(0), neural_version_arg(fcinfo, 1)));
}

PG_FUNCTION_INFO_V1(neural_import_model);
Datum
neural_import_model(PG_FUNCTION_ARGS)
{
	NeuralVersion v = {0};
	MemoryContext context;
	const char *schema, *table;
	struct varlena *bytes;
	bool active;
	Oid relid;
	int version;

	PreventCommandIfReadOnly("neural.import_model()");
	PreventCommandDuringRecovery("neural.import_model()");
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("a model's name and its bytes must not be "
							   "null")));
	neural_model_name(text_to_cstring(PG_GETARG_TEXT_PP(0)), &relid, &schema,
					  &table);
	bytes = PG_GETARG_VARLENA_PP(1);
	v.model = neural_model_import(VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));

	context = AllocSetContextCreate(CurrentMemoryContext, "neural import",
									ALLOCSET_SMALL_SIZES);
	v.training =
		neural_model_training(neural_model_load(v.model, context)->model);
	MemoryContextDelete(context);
	if (!PG_ARGISNULL(2))
		v.note = text_to_cstring(PG_GETARG_TEXT_PP(2));
	v.value = get_float8_nan();
	version = neural_publish(schema, table, &v, NEURAL_ACTIVATE_BETTER, &active,
							 &relid);
	PG_RETURN_INT32(version);
}

/* ---------- create_function ---------- */

/*
 * A type that a model names, as SQL that means the same under any search_path.
 * The text is only ever taken for the name of a type, and "text" for the name
 * of the server's own: so this is called between neural_sql_begin and _end.
 */
static char *
resolve_type(const char *utf8, Oid *type)
{
	int32 typmod;

	parseTypeString(neural_server_text(utf8), type, &typmod, false);
	return format_type_extended(*type, -1, FORMAT_TYPE_FORCE_QUALIFY);
}

/* How the function predicts: "neural.predict('s.m'::regclass, ROW($1, ...))" */
static char *
function_body(const nn_model *m, Oid relid, Oid type, const char *type_name)
{
	StringInfoData row;
	char *model = quote_literal_cstr(neural_sql_name(relid));

	initStringInfo(&row);
	for (int i = 0; i < m->features->nread; i++)
		appendStringInfo(&row, "%s$%d", i > 0 ? ", " : "", i + 1);
	if (m->ntargets != 1)
		return psprintf("neural.predict_all(%s::pg_catalog.regclass, ROW(%s))",
						model, row.data);
	if (m->task == NN_REGRESSION && type == FLOAT8OID)
		return psprintf("neural.predict(%s::pg_catalog.regclass, ROW(%s))",
						model, row.data);
	if (m->task != NN_REGRESSION && type == TEXTOID)
		return psprintf("neural.classify(%s::pg_catalog.regclass, ROW(%s))",
						model, row.data);
	return psprintf("neural.predict_as(%s::pg_catalog.regclass, ROW(%s), "
					"NULL::%s)",
					model, row.data, type_name);
}

PG_FUNCTION_INFO_V1(neural_create_function);
Datum
neural_create_function(PG_FUNCTION_ARGS)
{
	Oid relid = PG_GETARG_OID(0);
	MemoryContext context;
	List *names;
	char *function;
	const char *schema;
	const nn_model *m;
	Oid *types, type = JSONBOID, created;
	char *type_name;
	StringInfoData sql;
	int level;

	PreventCommandIfReadOnly("neural.create_function()");
	names = neural_name_list(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	schema =
		get_namespace_name(QualifiedNameGetCreationNamespace(names, &function));
	names = list_make2(makeString(pstrdup(schema)), makeString(function));
	context = AllocSetContextCreate(CurrentMemoryContext, "neural function",
									ALLOCSET_SMALL_SIZES);
	m = neural_model_open(relid, 0, context)->model;

	level = neural_sql_begin();
	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE FUNCTION %s(",
					 quote_qualified_identifier(schema, function));
	if (m->features->nread > FUNC_MAX_ARGS)
		ereport(ERROR,
				(errcode(ERRCODE_TOO_MANY_ARGUMENTS),
				 errmsg("the model has %d columns, but functions cannot have "
						"more than %d arguments",
						m->features->nread, FUNC_MAX_ARGS)));
	types = palloc(sizeof(Oid) * m->features->nread);
	for (int i = 0; i < m->features->nread; i++)
	{
		const nn_column *c = &m->features->columns[i];

		type_name = resolve_type(c->type_name, &types[i]);
		appendStringInfo(&sql, "%s%s %s", i > 0 ? ", " : "",
						 quote_identifier(neural_server_text(c->name)),
						 type_name);
	}
	type_name = "pg_catalog.jsonb";
	if (m->ntargets == 1)
		type_name = resolve_type(m->targets[0].type_name, &type);
	appendStringInfo(&sql,
					 ") RETURNS %s LANGUAGE sql STABLE PARALLEL SAFE COST 1000 "
					 "RETURN %s",
					 type_name, function_body(m, relid, type, type_name));

	neural_sql_run(sql.data, false, 0, NULL, NULL, NULL);
	created = LookupFuncName(names, m->features->nread, types, false);
	neural_sql_end(level);
	MemoryContextDelete(context);
	PG_RETURN_OID(created);
}

/* ---------- grant_predict ---------- */

/* What a role must read to predict, and may read to look. */
static const char *const predict_columns[] = {"version", "active", "trained_at",
											  "metrics"};

/*
 * GRANT does as much as the caller may, with a warning about the rest.  Here
 * a part is worth nothing.
 */
static void
check_may_grant(Oid relid)
{
	AclMode mode = ACL_GRANT_OPTION_FOR(ACL_SELECT);
	Oid user = GetUserId();

	if (pg_class_aclcheck(relid, user, mode) == ACLCHECK_OK)
		return;
	for (int i = 0; i < (int) lengthof(predict_columns); i++)
		if (pg_attribute_aclcheck(relid, get_attnum(relid, predict_columns[i]),
								  user, mode) != ACLCHECK_OK)
			ereport(
				ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for model %s", get_rel_name(relid)),
				 errhint("Only its owner, and roles that hold SELECT on it "
						 "WITH GRANT OPTION, can let others predict with "
						 "it.")));
}

static void
check_schema_usage(Oid relid, const char *role, Oid role_oid)
{
	Oid namespace = get_rel_namespace(relid);

	if (pg_namespace_aclcheck(namespace, role_oid, ACL_USAGE) == ACLCHECK_OK)
		return;
	ereport(NOTICE, (errmsg("role \"%s\" has no USAGE on schema \"%s\"", role,
							get_namespace_name(namespace)),
					 errdetail("Without it the role cannot name the model.")));
}

PG_FUNCTION_INFO_V1(neural_grant_predict);
Datum
neural_grant_predict(PG_FUNCTION_ARGS)
{
	Oid relid = PG_GETARG_OID(0);
	char *role = text_to_cstring(PG_GETARG_TEXT_PP(1));
	bool everybody = strcmp(role, "public") == 0;
	StringInfoData sql;
	Oid role_oid;
	int level;

	PreventCommandIfReadOnly("neural.grant_predict()");
	PreventCommandDuringRecovery("neural.grant_predict()");
	neural_check_model_table(relid);
	check_may_grant(relid);
	role_oid = everybody ? ACL_ID_PUBLIC : get_role_oid(role, false);
	/* two GRANTs at once fail with "tuple concurrently updated" */
	LockRelationOid(relid, ShareUpdateExclusiveLock);
	neural_check_model_table(relid);
	level = neural_sql_begin();
	initStringInfo(&sql);
	for (int i = 0; i < (int) lengthof(predict_columns); i++)
		appendStringInfo(&sql, "%s%s", i > 0 ? ", " : "GRANT SELECT (",
						 predict_columns[i]);
	appendStringInfo(&sql, ") ON %s TO %s", neural_sql_name(relid),
					 everybody ? "PUBLIC" : quote_identifier(role));
	neural_sql_run(sql.data, false, 0, NULL, NULL, NULL);
	neural_sql_end(level);
	check_schema_usage(relid, role, role_oid);
	PG_RETURN_VOID();
}
