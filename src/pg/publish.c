/*
 * publish.c
 *	  Writing versions into model tables.
 *
 * Everything is done by SQL as the caller, so ownership, default privileges,
 * row security, triggers and event triggers are what its users expect.  Two
 * publishers of one model take turns by a lock that readers do not notice.
 */
#include "publish.h"

#include <math.h>

#include "access/xact.h"
#include "catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "json.h"
#include "miscadmin.h"
#include "model_value.h"
#include "nodes/makefuncs.h"
#include "sql.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/regproc.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* Only those who may write versions may lock or train the model. */
static void
check_insert(Oid relid)
{
	AclResult acl = pg_class_aclcheck(relid, GetUserId(), ACL_INSERT);

	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, OBJECT_TABLE, neural_relation_name(relid));
}

/* A table has a type of its name; only array types make way for it. */
static void
check_type_name(Oid namespace, const char *name)
{
	Oid type =
		GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(name),
						ObjectIdGetDatum(namespace));
	Oid element = OidIsValid(type) ? get_element_type(type) : InvalidOid;

	if (!OidIsValid(type) || !get_typisdefined(type) ||
		(OidIsValid(element) && get_array_type(element) == type))
		return;
	ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
					errmsg("type \"%s\" already exists", name),
					errhint("A model has a type of the same name, so the name "
							"must not be that of another type.")));
}

/* All that would be refused at the end of a training is refused here. */
void
neural_model_name(const char *name, Oid *relid, const char **schema,
				  const char **table)
{
	RangeVar *rv = makeRangeVarFromNameList(neural_name_list(name));
	Oid namespace;
	AclResult acl;

	*relid = RangeVarGetRelid(rv, NoLock, true);
	if (OidIsValid(*relid))
	{
		if (!neural_is_model_table(*relid))
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("relation \"%s\" exists and is not a model",
							rv->relname),
					 errhint("Choose another name for the model.")));
		check_insert(*relid);
		*schema = get_namespace_name(get_rel_namespace(*relid));
		*table = get_rel_name(*relid);
		return;
	}
	namespace = RangeVarGetCreationNamespace(rv);
	*schema = get_namespace_name(namespace);
	*table = rv->relname;
	acl = pg_namespace_aclcheck(namespace, GetUserId(), ACL_CREATE);
	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, OBJECT_SCHEMA, *schema);
	check_type_name(namespace, rv->relname);
}

/*
 * Of two trainings that make the same new model, the second waits for the
 * first and then adds its version, instead of failing at the very end.  There
 * is no table yet to lock, so the lock is on its schema and name.
 */
static Oid
lock_name(const char *schema, const char *table)
{
	Oid namespace = get_namespace_oid(schema, false);
	uint16 name = (uint16) (DatumGetUInt32(hash_any(
								(const unsigned char *) table, strlen(table))) |
							1);

	LockDatabaseObject(NamespaceRelationId, namespace, name, ExclusiveLock);
	return get_relname_relid(table, namespace);
}

static Oid
create_table(const char *schema, const char *table)
{
	const char *name = quote_qualified_identifier(schema, table);

	neural_sql_run(psprintf("CREATE TABLE %s OF neural.model_table ("
							"version WITH OPTIONS NOT NULL PRIMARY KEY, "
							"active WITH OPTIONS NOT NULL DEFAULT false, "
							"model WITH OPTIONS NOT NULL)",
							name),
				   false, 0, NULL, NULL, NULL);
	neural_sql_run(
		psprintf("CREATE UNIQUE INDEX ON %s ((true)) WHERE active", name),
		false, 0, NULL, NULL, NULL);
	return get_relname_relid(table, get_namespace_oid(schema, false));
}

/* Against other publishers. */
static void
lock_table(Oid relid)
{
	check_insert(relid);
	LockRelationOid(relid, ShareUpdateExclusiveLock);
	if (get_rel_name(relid) == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("model was dropped while it was trained")));
}

/*
 * The table of that name, locked; made if there is none.  Another may get the
 * name while this waits for the lock, and after it nobody can.
 */
static Oid
open_table(const char *schema, const char *table)
{
	for (;;)
	{
		Oid namespace = get_namespace_oid(schema, false);
		Oid relid = get_relname_relid(table, namespace);

		if (!OidIsValid(relid))
			relid = lock_name(schema, table);
		if (!OidIsValid(relid))
			return create_table(schema, table);
		neural_check_model_table(relid);
		lock_table(relid);
		if (get_relname_relid(table, namespace) == relid)
		{
			neural_model_check_snapshot(relid);
			return relid;
		}
		UnlockRelationOid(relid, ShareUpdateExclusiveLock);
	}
}

static int
next_version(const char *name)
{
	bool isnull;
	Datum d;

	neural_sql_run(
		psprintf("SELECT coalesce(max(version), 0) + 1 FROM %s", name), false,
		0, NULL, NULL, NULL);
	d = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	return DatumGetInt32(d);
}

/* What the new version is compared with. */
typedef struct Active
{
	int version;
	char *targets; /* NULL: unknown */
	char *metric;
	double value;
	bool validated; /* whether the value is that of validation rows */
} Active;

static bool
find_active(Oid relid, const char *name, Active *a)
{
	const char *targets =
		neural_may_read(relid, "training") ? "training ->> 'targets'" : "NULL";
	TupleDesc desc;
	HeapTuple row;
	char *number;
	bool isnull;

	if (neural_sql_run(
			psprintf("SELECT version, %s, metrics ->> 'metric', metrics ->> "
					 "'value', metrics ->> 'validation_loss' FROM %s WHERE "
					 "active",
					 targets, name),
			false, 0, NULL, NULL, NULL) == 0)
		return false;
	row = SPI_tuptable->vals[0];
	desc = SPI_tuptable->tupdesc;
	a->version = DatumGetInt32(SPI_getbinval(row, desc, 1, &isnull));
	a->targets = SPI_getvalue(row, desc, 2);
	a->metric = SPI_getvalue(row, desc, 3);
	number = SPI_getvalue(row, desc, 4);
	a->validated = SPI_getvalue(row, desc, 5) != NULL;
	a->value = NAN;
	if (number != NULL)
	{
		char *end;
		double x = strtod(number, &end);

		if (end != number && *end == '\0')
			a->value = x;
	}
	return true;
}

/* As "->>" gives it; NULL: there is none. */
static char *
member(const Jsonb *object, const char *key)
{
	JsonbValue *v = object != NULL ? neural_json_member(object, key) : NULL;

	if (v == NULL || v->type == jbvNull)
		return NULL;
	return JsonbToCString(NULL, &JsonbValueToJsonb(v)->root, 0);
}

/*
 * Whether the new version is to become the active one.  Who predicts with the
 * model relies on what it predicts, so one for other targets never does.  A
 * rival was judged on the same rows; so when another version is the active one
 * meanwhile, somebody has decided, and nothing is known about it.
 */
static bool
is_better(Oid relid, const char *name, const NeuralVersion *v)
{
	Active active;
	char *targets = member(v->training, "targets");
	bool comparable;

	if (!find_active(relid, name, &active))
		return true;
	if (targets != NULL && active.targets != NULL &&
		strcmp(targets, active.targets) != 0)
	{
		ereport(NOTICE,
				(errmsg("version %d stays the active one, as it predicts %s, "
						"and the new version %s",
						active.version, active.targets, targets),
				 errhint("Activate the new version with neural.promote().")));
		return false;
	}
	if (v->rival > 0 && v->rival != active.version)
	{
		ereport(NOTICE,
				(errmsg("version %d stays the active one, as it was made so "
						"while the new version was trained",
						active.version),
				 errhint("Activate the new version with neural.promote().")));
		return false;
	}
	comparable =
		active.validated == (member(v->metrics, "validation_loss") != NULL);
	if (v->rival > 0 && !isnan(v->rival_value))
	{
		active.value = v->rival_value;
		active.metric = (char *) v->metric;
		comparable = true;
	}
	if (!comparable || v->metric == NULL || active.metric == NULL ||
		strcmp(v->metric, active.metric) != 0 || isnan(active.value) ||
		isnan(v->value))
	{
		ereport(NOTICE, (errmsg("the new version becomes the active one, as it "
								"cannot be compared with version %d",
								active.version)));
		return true;
	}
	if (v->maximize ? v->value >= active.value : v->value <= active.value)
		return true;
	ereport(NOTICE,
			(errmsg("version %d stays the active one: its %s is %.4g, that "
					"of the new version is %.4g",
					active.version, active.metric, active.value, v->value),
			 errhint("Activate the new version with neural.promote().")));
	return false;
}

/* The new version inherits when the model is to be retrained. */
static const char *
inherited(Oid relid, const char *name)
{
	if (!neural_may_read(relid, "training"))
		return "'{}'";
	return psprintf("coalesce((SELECT jsonb_build_object('retrain', training "
					"-> 'retrain') FROM %s WHERE jsonb_typeof(training -> "
					"'retrain') = 'object' ORDER BY version DESC LIMIT 1), "
					"'{}')",
					name);
}

static void
insert_version(const char *name, const char *policy, int version, bool active,
			   const NeuralVersion *v)
{
	Oid types[] = {INT4OID,		   BOOLOID, TEXTOID,  neural_type_oid("model"),
				   TIMESTAMPTZOID, TEXTOID, JSONBOID, JSONBOID,
				   JSONBOID,	   TEXTOID};
	Datum values[] = {
		Int32GetDatum(version),
		BoolGetDatum(active),
		CStringGetTextDatum("ready"),
		v->model,
		TimestampTzGetDatum(GetCurrentTimestamp()),
		CStringGetTextDatum(GetUserNameFromId(GetUserId(), false)),
		JsonbPGetDatum(v->training),
		JsonbPGetDatum(v->metrics),
		JsonbPGetDatum(v->history),
		v->note ? CStringGetTextDatum(v->note) : (Datum) 0};
	char nulls[] = {' ',
					' ',
					' ',
					' ',
					' ',
					' ',
					v->training ? ' ' : 'n',
					v->metrics ? ' ' : 'n',
					v->history ? ' ' : 'n',
					v->note ? ' ' : 'n',
					'\0'};

	neural_sql_run(
		psprintf("INSERT INTO %s (version, active, status, model, trained_at, "
				 "trained_by, training, metrics, history, note) "
				 "VALUES ($1, $2, $3, $4, $5, $6, $7 || %s, $8, $9, $10)",
				 name, policy),
		false, lengthof(types), types, values, nulls);
}

int
neural_publish(const char *schema, const char *table, const NeuralVersion *v,
			   NeuralActivate activate, bool *active, Oid *relid)
{
	const char *name;
	int level, version;

	PreventCommandIfReadOnly("neural.train()");
	PreventCommandDuringRecovery("neural.train()");
	level = neural_sql_begin();
	if (OidIsValid(*relid))
	{
		lock_table(*relid);
		neural_model_check_snapshot(*relid);
	}
	else
		*relid = open_table(schema, table);
	name = neural_sql_name(*relid); /* which may be new */
	version = next_version(name);
	*active =
		activate == NEURAL_ACTIVATE_ALWAYS ||
		(activate == NEURAL_ACTIVATE_BETTER && is_better(*relid, name, v));
	if (*active)
		neural_sql_run(
			psprintf("UPDATE %s SET active = false WHERE active", name), false,
			0, NULL, NULL, NULL);
	insert_version(name, inherited(*relid, name), version, *active, v);
	neural_sql_end(level);
	return version;
}
