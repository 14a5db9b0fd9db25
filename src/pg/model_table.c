/*
 * model_table.c
 *	  Finding the value of a version in a model table.
 *
 * Whoever may read the column "version" of a model may predict with it, though
 * not read the column "model": this is the one place of the extension that
 * reads something its caller could not.  So the order matters: first the
 * privilege on the table, then row security, then the value.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "model_value.h"
#include "sql.h"

bool
neural_is_model_table(Oid relid)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Form_pg_class form;
	bool result;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation with OID %u does not exist", relid)));
	form = (Form_pg_class) GETSTRUCT(tuple);
	result = form->relkind == RELKIND_RELATION && OidIsValid(form->reloftype) &&
			 form->reloftype == neural_type_oid("model_table");
	ReleaseSysCache(tuple);
	return result;
}

void
neural_check_model_table(Oid relid)
{
	if (!neural_is_model_table(relid))
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is not a model", get_rel_name(relid)),
						errhint("Models are made by neural.train; the view "
								"neural.models lists them.")));
}

int
neural_version_arg(FunctionCallInfo fcinfo, int arg)
{
	int version;

	if (arg < 0 || PG_ARGISNULL(arg))
		return 0;
	version = PG_GETARG_INT32(arg);
	if (version < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("version must be at least 1")));
	return version;
}

static AttrNumber
column_number(Oid relid, const char *name)
{
	AttrNumber number = get_attnum(relid, name);

	if (number == InvalidAttrNumber)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("column \"%s\" of model \"%s\" does not exist",
							   name, get_rel_name(relid))));
	return number;
}

static void
denied(Oid relid)
{
	ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					errmsg("permission denied for model %s",
						   neural_relation_name(relid)),
					errhint("Its owner can let a role predict with it by "
							"neural.grant_predict.")));
}

static void
check_privilege(Oid relid)
{
	Oid user = GetUserId();

	if (pg_class_aclcheck(relid, user, ACL_SELECT) != ACLCHECK_OK &&
		pg_attribute_aclcheck(relid, column_number(relid, "version"), user,
							  ACL_SELECT) != ACLCHECK_OK)
		denied(relid);
}

void
neural_model_lock(Oid relid)
{
	Oid user = GetUserId();

	neural_check_model_table(relid);
	if (pg_class_aclcheck(relid, user, ACL_SELECT) != ACLCHECK_OK &&
		pg_attribute_aclcheck_all(relid, user, ACL_SELECT, ACLMASK_ANY) !=
			ACLCHECK_OK)
		denied(relid);
	LockRelationOid(relid, AccessShareLock);
	neural_check_model_table(relid);
}

void
neural_model_check_snapshot(Oid relid)
{
	Relation rel;
	TupleTableSlot *slot;
	TableScanDesc scan;
	Snapshot latest;

	if (!IsolationUsesXactSnapshot())
		return;
	rel = table_open(relid, NoLock);
	latest = RegisterSnapshot(GetLatestSnapshot());
	slot = table_slot_create(rel, NULL);
	scan = table_beginscan(rel, latest, 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
		if (!table_tuple_satisfies_snapshot(rel, slot,
											GetTransactionSnapshot()))
			ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
							errmsg("could not serialize access due to "
								   "concurrent update")));
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(latest);
	table_close(rel, NoLock);
}

static void
no_version(Oid relid, int version)
{
	if (version == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("model \"%s\" has no active version",
							   get_rel_name(relid)),
						errhint("neural.versions lists its versions, and "
								"neural.promote makes one the active one.")));
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
					errmsg("version %d of model \"%s\" does not exist", version,
						   get_rel_name(relid)),
					errhint("neural.versions lists its versions.")));
}

/* The version that row security lets the caller see. */
static int
visible_version(Oid relid, int version)
{
	Oid types[1] = {INT4OID};
	Datum values[1];
	bool isnull;
	int found;
	int level = neural_sql_begin();

	values[0] = Int32GetDatum(version);
	if (neural_sql_run(psprintf("SELECT version FROM %s WHERE %s",
								neural_sql_name(relid),
								version == 0 ? "active" : "version = $1"),
					   true, version == 0 ? 0 : 1, types, values, NULL) == 0)
		no_version(relid, version);
	found = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0],
										SPI_tuptable->tupdesc, 1, &isnull));
	neural_sql_end(level);
	if (isnull)
		no_version(relid, version);
	return found;
}

static void
find_place(TupleTableSlot *slot, Datum value, NeuralModelPlace *place)
{
	struct varlena *v = (struct varlena *) DatumGetPointer(value);
	struct varatt_external pointer = {0};
	bool isnull;

	if (VARATT_IS_EXTERNAL_ONDISK(v))
		VARATT_EXTERNAL_GET_POINTER(pointer, v);
	*place = (NeuralModelPlace){
		.relid = slot->tts_tableOid,
		.xmin = DatumGetTransactionId(
			slot_getsysattr(slot, MinTransactionIdAttributeNumber, &isnull)),
		.block = ItemPointerGetBlockNumber(&slot->tts_tid),
		.offset = ItemPointerGetOffsetNumber(&slot->tts_tid),
		.toast_relid = pointer.va_toastrelid,
		.toast_value = pointer.va_valueid,
	};
}

/* Look through the rows that the active snapshot sees: they are few. */
static bool
scan_versions(Relation rel, int version, Datum *model, int *found,
			  NeuralModelPlace *place)
{
	Oid relid = RelationGetRelid(rel);
	AttrNumber version_number = column_number(relid, "version"),
			   active_number = column_number(relid, "active"),
			   model_number = column_number(relid, "model");
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);
	bool ok = false;

	while (!ok && table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool version_null, active_null, model_null;
		int number =
			DatumGetInt32(slot_getattr(slot, version_number, &version_null));
		bool active =
			DatumGetBool(slot_getattr(slot, active_number, &active_null));
		Datum value = slot_getattr(slot, model_number, &model_null);

		if (version_null || model_null ||
			(version == 0 ? (active_null || !active) : number != version))
			continue;
		/* the toast pointer is copied, not what it points to */
		*model = datumCopy(value, false, -1);
		*found = number;
		find_place(slot, value, place);
		ok = true;
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return ok;
}

Datum
neural_model_find(Oid relid, int version, int *found_version,
				  NeuralModelPlace *place)
{
	Relation rel;
	int wanted = version;
	Datum model = (Datum) 0;

	neural_model_lock(relid);
	check_privilege(relid);
	if (check_enable_rls(relid, InvalidOid, false) == RLS_ENABLED)
		wanted = visible_version(relid, version);

	rel = table_open(relid, NoLock);
	if (!scan_versions(rel, wanted, &model, found_version, place))
		no_version(relid, version);
	table_close(rel, NoLock);
	return model;
}

Datum
neural_model_fetch(Oid relid, int version, int *found_version)
{
	NeuralModelPlace place;
	int found;

	return neural_model_find(relid, version,
							 found_version != NULL ? found_version : &found,
							 &place);
}
