/*
 * catalog.c
 *	  Models as rows: versions, history, features, layers, weights.
 *
 * What is stored in the columns of a model table is read as the caller, by
 * SQL.  Features and layers come out of the model itself, which everybody who
 * may predict may use; but what they tell about the training rows (means,
 * ranges) is for those only who may read the column "model".
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "catalog.h"
#include "predict_state.h"
#include "sql.h"

bool
neural_may_read(Oid relid, const char *column)
{
	Oid user = GetUserId();

	return pg_class_aclcheck(relid, user, ACL_SELECT) == ACLCHECK_OK ||
		   pg_attribute_aclcheck(relid, get_attnum(relid, column), user,
								 ACL_SELECT) == ACLCHECK_OK;
}

/* Run a query and make its rows the result. */
static uint64
return_query(ReturnSetInfo *result, const char *sql, int nargs, Oid *types,
			 Datum *values)
{
	int level = neural_sql_begin();
	uint64 n = neural_sql_run(sql, true, nargs, types, values, NULL);

	for (uint64 i = 0; i < n; i++)
		tuplestore_puttuple(result->setResult, SPI_tuptable->vals[i]);
	neural_sql_end(level);
	return n;
}

/* ---------- versions ---------- */

/* A column where the caller may read it, else NULL. */
static const char *
column_or_null(Oid relid, const char *column, const char *type)
{
	if (neural_may_read(relid, column))
		return quote_identifier(column);
	return psprintf("NULL::%s", type);
}

/*
 * A number of a jsonb column; NULL when there is something else, as rows can
 * be written by hand.
 */
#define NUMBER(object, key, type)                                              \
	"CASE jsonb_typeof(j." object "->'" key "') WHEN 'number' THEN (j." object \
	"->'" key "')::" type " END, "

PG_FUNCTION_INFO_V1(neural_versions);
Datum
neural_versions(PG_FUNCTION_ARGS)
{
	Oid relid;
	StringInfoData sql;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	relid = PG_GETARG_OID(0);
	neural_model_lock(relid);

	initStringInfo(&sql);
	appendStringInfo(
		&sql,
		"SELECT v.version, v.active, %s, %s, %s, j.t->>'task', " NUMBER(
			"t", "rows", "int8") NUMBER("t", "parameters", "int8")
			NUMBER("t", "epochs", "int4")
				NUMBER("m", "loss", "float8") "j.m->>'metric', " NUMBER(
					"m", "value", "float8") NUMBER("t", "seconds", "float8"),
		column_or_null(relid, "status", "text"),
		column_or_null(relid, "trained_at", "timestamptz"),
		column_or_null(relid, "trained_by", "text"));
	if (neural_may_read(relid, "model"))
		appendStringInfoString(&sql, "pg_column_size(v.model)::int8");
	else
		appendStringInfoString(&sql, "NULL::int8");
	appendStringInfo(&sql,
					 ", %s FROM %s v, LATERAL (SELECT %s, %s) j(t, m) "
					 "ORDER BY v.version DESC",
					 column_or_null(relid, "note", "text"),
					 neural_sql_name(relid),
					 column_or_null(relid, "training", "jsonb"),
					 column_or_null(relid, "metrics", "jsonb"));
	return_query((ReturnSetInfo *) fcinfo->resultinfo, sql.data, 0, NULL, NULL);
	return (Datum) 0;
}

/* ---------- history ---------- */

PG_FUNCTION_INFO_V1(neural_history);
Datum
neural_history(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid relid;
	Oid types[1] = {INT4OID};
	Datum values[1];
	int version;
	char *sql;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	relid = PG_GETARG_OID(0);
	neural_model_lock(relid);
	version = neural_version_arg(fcinfo, 1);
	values[0] = Int32GetDatum(version);
	sql = psprintf(
		"SELECT h.* FROM %s v, LATERAL jsonb_to_recordset(CASE WHEN "
		"jsonb_typeof(v.history) = 'array' THEN v.history ELSE '[]' END) "
		"h(epoch int4, loss float8, validation_loss float8, metric float8, "
		"learning_rate float8, seconds float8) WHERE %s ORDER BY h.epoch",
		neural_sql_name(relid), version == 0 ? "v.active" : "v.version = $1");
	if (return_query(result, sql, version == 0 ? 0 : 1, types, values) == 0)
		/* no epochs, or no such version: that is an error */
		(void) neural_model_fetch(relid, version, NULL);
	return (Datum) 0;
}

/* ---------- features ---------- */

char *
neural_encoder_text(nn_arena *scratch, const nn_column *c)
{
	nn_error err;
	const nn_named *named = &c->encoder->named;
	const char *text = nn_options_print(scratch, named->name, named->options,
										c->conf, NULL, &err);

	neural_check(text != NULL, &err);
	return neural_server_text(text);
}

static void
put_feature(ReturnSetInfo *result, nn_arena *scratch, const nn_column *c,
			int position, bool statistics)
{
	Datum values[11];
	bool nulls[11] = {false};
	int numbers = 0;
	bool has_moments =
		statistics && c->class != NN_CLASS_TEXT && c->rows > c->nulls;

	for (int k = 0; k < NN_SECTION_KINDS; k++)
		numbers += c->width[k];
	values[0] = Int32GetDatum(position);
	values[1] = CStringGetTextDatum(neural_server_text(c->name));
	values[2] = CStringGetTextDatum(neural_server_text(c->type_name));
	values[3] = CStringGetTextDatum(neural_encoder_text(scratch, c));
	values[4] = Int32GetDatum(numbers);
	nulls[5] = c->dictionary == NULL;
	values[5] =
		Int32GetDatum(nulls[5] ? 0 : nn_dictionary_count(c->dictionary));
	nulls[6] = !statistics;
	values[6] = Int64GetDatum(c->nulls);
	values[7] = Float8GetDatum(c->mean);
	values[8] = Float8GetDatum(c->stddev);
	values[9] = Float8GetDatum(c->min);
	values[10] = Float8GetDatum(c->max);
	for (int i = 7; i < 11; i++)
		nulls[i] = !has_moments;
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(neural_features);
Datum
neural_features(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext context;
	const nn_features *f;
	nn_arena *scratch;
	bool statistics;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	context = AllocSetContextCreate(CurrentMemoryContext, "neural features",
									ALLOCSET_DEFAULT_SIZES);
	scratch = neural_arena(context);
	f = neural_model_open(PG_GETARG_OID(0), neural_version_arg(fcinfo, 1),
						  context)
			->model->features;
	statistics = neural_may_read(PG_GETARG_OID(0), "model");
	for (int i = 0; i < f->ncolumns; i++)
		put_feature(result, scratch, &f->columns[i], i + 1, statistics);
	MemoryContextDelete(context);
	return (Datum) 0;
}

/* ---------- layers ---------- */

static Datum
int_array(const int *values, int n)
{
	Datum *datums = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		datums[i] = Int32GetDatum(values[i]);
	return PointerGetDatum(
		construct_array(datums, n, INT4OID, 4, true, TYPALIGN_INT));
}

char *
neural_layer_text(nn_arena *scratch, const nn_layer *l)
{
	nn_error err;
	const nn_named *named = &l->ops->named;
	const char *text = nn_options_print(scratch, named->name, named->options,
										l->conf, &l->refs, &err);

	neural_check(text != NULL, &err);
	return neural_server_text(text);
}

int64
neural_layer_parameters(const nn_layer *l)
{
	int64 n = 0;

	for (int i = 0; i < l->nparam; i++)
		n += nn_count(&l->param[i].shape);
	return n;
}

static void
put_layer(ReturnSetInfo *result, nn_arena *scratch, int network,
		  const nn_layer *l)
{
	Datum values[7];
	bool nulls[7] = {false};
	int inputs[NN_MAX_INPUTS];
	int ninputs = 0;

	/* the encoded row is no layer */
	for (int i = 0; i < l->nin; i++)
		if (l->in_number[i] >= 0)
			inputs[ninputs++] = l->in_number[i];
	values[0] = Int32GetDatum(network);
	values[1] = Int32GetDatum(l->number);
	nulls[2] = l->label == NULL;
	if (l->label != NULL)
		values[2] = CStringGetTextDatum(neural_server_text(l->label));
	values[3] = CStringGetTextDatum(neural_layer_text(scratch, l));
	values[4] = int_array(inputs, ninputs);
	values[5] = int_array(l->out.shape.dim, l->out.shape.ndim);
	values[6] = Int64GetDatum(neural_layer_parameters(l));
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(neural_layers);
Datum
neural_layers(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext context;
	const nn_model *m;
	nn_arena *scratch;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	context = AllocSetContextCreate(CurrentMemoryContext, "neural layers",
									ALLOCSET_DEFAULT_SIZES);
	scratch = neural_arena(context);
	m = neural_model_open(PG_GETARG_OID(0), neural_version_arg(fcinfo, 1),
						  context)
			->model;
	for (int i = 0; i < m->nnetworks; i++)
		for (int j = 0; j < m->networks[i].graph->nlayers; j++)
			put_layer(result, scratch, i, &m->networks[i].graph->layers[j]);
	MemoryContextDelete(context);
	return (Datum) 0;
}

/* ---------- weights ---------- */

Datum
neural_model_select(Oid relid, int version)
{
	Oid types[1] = {INT4OID};
	Datum values[1];
	Datum model = (Datum) 0;
	bool isnull = true;
	MemoryContext caller = CurrentMemoryContext;
	int level;

	neural_model_lock(relid);
	level = neural_sql_begin();
	values[0] = Int32GetDatum(version);
	if (neural_sql_run(psprintf("SELECT model FROM %s WHERE %s",
								neural_sql_name(relid),
								version == 0 ? "active" : "version = $1"),
					   true, version == 0 ? 0 : 1, types, values, NULL) > 0)
		model = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
							  &isnull);
	if (!isnull)
	{
		MemoryContext spi = MemoryContextSwitchTo(caller);

		model = PointerGetDatum(PG_DETOAST_DATUM_COPY(model));
		MemoryContextSwitchTo(spi);
	}
	neural_sql_end(level);
	if (isnull)
		/* says what is wrong */
		(void) neural_model_fetch(relid, version, NULL);
	return model;
}

static void
put_weights(ReturnSetInfo *result, int network, const nn_layer *l,
			const nn_param *param, const nn_real *params)
{
	Datum values[5];
	bool nulls[5] = {false};
	Size n = nn_count(&param->shape);
	Size size = ARR_OVERHEAD_NONULLS(1) + n * sizeof(float4);
	ArrayType *array;

	StaticAssertStmt(sizeof(nn_real) == sizeof(float4),
					 "parameters are copied into the array");
	if (!AllocSizeIsValid(size))
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("parameter \"%s\" is too large for an array",
							   param->name)));
	array = palloc(size);
	SET_VARSIZE(array, size);
	array->ndim = 1;
	array->dataoffset = 0;
	array->elemtype = FLOAT4OID;
	ARR_DIMS(array)[0] = n;
	ARR_LBOUND(array)[0] = 1;
	memcpy(ARR_DATA_PTR(array), params + param->offset, n * sizeof(float4));

	values[0] = Int32GetDatum(network);
	values[1] = Int32GetDatum(l->number);
	values[2] = CStringGetTextDatum(param->name);
	values[3] = int_array(param->shape.dim, param->shape.ndim);
	values[4] = PointerGetDatum(array);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	pfree(array);
}

PG_FUNCTION_INFO_V1(neural_weights);
Datum
neural_weights(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext context;
	const nn_model *m;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	context = AllocSetContextCreate(CurrentMemoryContext, "neural weights",
									ALLOCSET_DEFAULT_SIZES);
	m = neural_model_load(neural_model_select(PG_GETARG_OID(0),
											  neural_version_arg(fcinfo, 1)),
						  context)
			->model;
	for (int i = 0; i < m->nnetworks; i++)
	{
		const nn_network *network = &m->networks[i];

		for (int j = 0; j < network->graph->nlayers; j++)
		{
			const nn_layer *l = &network->graph->layers[j];

			for (int k = 0; k < l->nparam; k++)
				put_weights(result, i, l, &l->param[k], network->params);
		}
	}
	MemoryContextDelete(context);
	return (Datum) 0;
}
