/*
 * predict_state.c
 *	  What a call of the predict family remembers from row to row.
 *
 * A function is called once a row and must not look its model up again each
 * time; but in PL/pgSQL one call site serves many statements of a transaction,
 * so it may not keep it blindly either.  Everything kept is tied to the moment
 * at which it was true.
 */
#include "postgres.h"

#include <math.h>

#include "access/detoast.h"
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "storage/proc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "batch.h"
#include "predict_state.h"

static inline void
get_moment(NeuralMoment *m)
{
	Snapshot snapshot = GetActiveSnapshot();

	m->lxid = neural_lxid();
	m->command = snapshot->curcid;
	m->xmin = snapshot->xmin;
	m->xmax = snapshot->xmax;
	m->xcnt = snapshot->xcnt;
	m->subxcnt = snapshot->subxcnt;
	m->user = GetUserId();
}

static inline bool
same_moment(const NeuralMoment *a, const NeuralMoment *b)
{
	return a->lxid == b->lxid && a->command == b->command &&
		   a->xmin == b->xmin && a->xmax == b->xmax && a->xcnt == b->xcnt &&
		   a->subxcnt == b->subxcnt && a->user == b->user;
}

static NeuralPredictState *
create_state(MemoryContext context, const NeuralFinish *finish)
{
	NeuralPredictState *s =
		MemoryContextAllocZero(context, sizeof(NeuralPredictState));

	s->context = context;
	s->model_context = AllocSetContextCreate(context, "neural predict model",
											 ALLOCSET_SMALL_SIZES);
	s->row_context = AllocSetContextCreate(context, "neural predict row",
										   ALLOCSET_SMALL_SIZES);
	s->finish = finish;
	return s;
}

NeuralPredictState *
neural_predict_state(FunctionCallInfo fcinfo, const NeuralFinish *finish)
{
	NeuralPredictState *s = fcinfo->flinfo->fn_extra;

	if (likely(s != NULL))
		return s;
	s = create_state(fcinfo->flinfo->fn_mcxt, finish);
	s->placement = neural_batch_placement(fcinfo->context);
	fcinfo->flinfo->fn_extra = s;
	return s;
}

char *
neural_server_text(const char *utf8)
{
	return pg_any_to_server(utf8, strlen(utf8), PG_UTF8);
}

/* Let go of the model and of all that was made for it. */
static void
forget_model(NeuralPredictState *s)
{
	s->found = false;
	s->loaded = NULL;
	s->device = NULL;
	s->reader = NULL;
	s->class_text = NULL;
	s->class_number = NULL;
	s->class_value = NULL;
	s->label = NULL;
	s->layer_name = NULL;
	MemoryContextReset(s->row_context);
	MemoryContextReset(s->model_context);
}

static bool
is_model(const NeuralPredictState *s, Datum value, const NeuralModelPlace *place)
{
	uint8 digest[NN_MODEL_DIGEST_SIZE];

	return s->found && neural_model_digest(value, place, digest) &&
		   memcmp(digest, s->loaded->digest, NN_MODEL_DIGEST_SIZE) == 0;
}

bool
neural_predict_is_model(const NeuralPredictState *s, Datum value)
{
	return is_model(s, value, NULL);
}

/* What is made once for the model. */
static void
prepare_model(NeuralPredictState *s)
{
	MemoryContext old = MemoryContextSwitchTo(s->model_context);

	s->model = s->loaded->model;
	s->record = palloc0(s->model->features->record_size);
	s->out = palloc0(sizeof(double) * s->model->outputs);
	s->finish->prepare(s);
	MemoryContextSwitchTo(old);
	s->found = true;
}

static void
use_model(NeuralPredictState *s, Datum value, const NeuralModelPlace *place)
{
	if (is_model(s, value, place))
		return;
	forget_model(s);
	s->loaded = neural_model_load_at(value, place, s->model_context);
	prepare_model(s);
}

void
neural_predict_by_table(NeuralPredictState *s, Oid relid, int version)
{
	NeuralModelPlace place;
	NeuralMoment now;
	Datum value;

	get_moment(&now);
	if (likely(s->found && s->relid == relid && s->version == version &&
			   same_moment(&s->moment, &now)))
		return;
	/* what fails from here on must not leave a moment that passed */
	s->relid = InvalidOid;
	s->row_unchecked = true;
	value = neural_model_find(relid, version, &s->found_version, &place);
	use_model(s, value, &place);
	s->relid = relid;
	s->version = version;
	s->moment = now;
}

/*
 * A value stored outside its row is known by its toast pointer as long as
 * nothing can have been vacuumed away; any other by the digest it carries.
 */
void
neural_predict_by_value(NeuralPredictState *s, Datum value)
{
	struct varlena *v = (struct varlena *) DatumGetPointer(value);
	struct varatt_external pointer = {0};
	NeuralMoment now;

	get_moment(&now);
	if (VARATT_IS_EXTERNAL_ONDISK(v))
		VARATT_EXTERNAL_GET_POINTER(pointer, v);
	if (likely(same_moment(&s->moment, &now)))
	{
		if (s->found && pointer.va_valueid != InvalidOid &&
			pointer.va_valueid == s->toast_value &&
			pointer.va_toastrelid == s->toast_relid)
			return;
	}
	else
		s->row_unchecked = true;
	s->toast_value = InvalidOid;
	use_model(s, value, NULL);
	s->toast_relid = pointer.va_toastrelid;
	s->toast_value = pointer.va_valueid;
	s->moment = now;
}

/* Is it ROW(a, b, ...), whose columns are called f1, f2, ...? */
static bool
is_anonymous(TupleDesc desc)
{
	if (desc->tdtypeid != RECORDOID)
		return false;
	for (int i = 0; i < desc->natts; i++)
	{
		char name[NAMEDATALEN];

		snprintf(name, sizeof(name), "f%d", i + 1);
		if (strcmp(NameStr(TupleDescAttr(desc, i)->attname), name) != 0)
			return false;
	}
	return true;
}

static bool
has_all_columns(TupleDesc desc, const nn_features *f)
{
	for (int i = 0; i < f->nread; i++)
	{
		char *name = neural_server_text(f->columns[i].name);
		int j = 0;

		while (j < desc->natts &&
			   (TupleDescAttr(desc, j)->attisdropped ||
				strcmp(NameStr(TupleDescAttr(desc, j)->attname), name) != 0))
			j++;
		if (j == desc->natts)
			return false;
	}
	return true;
}

/* "a, b, c and 4 more", for messages */
static char *
column_list(const nn_features *f)
{
	StringInfoData buf;
	int shown = Min(f->nread, 20);

	initStringInfo(&buf);
	for (int i = 0; i < shown; i++)
		appendStringInfo(&buf, "%s%s", i > 0 ? ", " : "",
						 neural_server_text(f->columns[i].name));
	if (f->nread > shown)
		appendStringInfo(&buf, " and %d more", f->nread - shown);
	return buf.data;
}

/* By position when it has no names of its own. */
static bool
by_position(TupleDesc desc, const nn_features *f)
{
	if (!is_anonymous(desc))
		return false;
	if (desc->natts == f->nread)
		return true;
	if (has_all_columns(desc, f))
		return false;
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("row has %d columns, but the model takes %d", desc->natts,
					f->nread),
			 errdetail("The columns of the model are: %s.", column_list(f))));
}

/*
 * How a model reads rows of a type, which takes longer to find out than to
 * predict one row.  Kept with the loaded model, for the queries to come.
 */
typedef struct NeuralRowShape
{
	struct NeuralRowShape *next;
	Oid type;
	int32 typmod;
	uint64 identifier; /* another one when the type is altered */
	pg_tz *time_zone;  /* of the session */
	TupleDesc desc;
	NeuralRowReader *reader;
} NeuralRowShape;

#define MAX_SHAPES 8

static NeuralRowShape *
find_shape(const NeuralPredictState *s, Oid type, int32 typmod,
		   uint64 identifier)
{
	NeuralRowShape *shape = s->loaded->shapes;

	while (shape != NULL && (shape->type != type || shape->typmod != typmod ||
							 shape->identifier != identifier ||
							 shape->time_zone != session_timezone))
		shape = shape->next;
	return shape;
}

/* In a context of its own, which is a child of the state's. */
static NeuralRowShape *
create_shape(NeuralPredictState *s, Oid type, int32 typmod, uint64 identifier)
{
	MemoryContext context = AllocSetContextCreate(
		s->row_context, "neural row shape", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	const nn_features *f = s->model->features;
	NeuralRowShape *shape = palloc0(sizeof(*shape)), *other;
	int n = 0;

	shape->type = type;
	shape->typmod = typmod;
	shape->identifier = identifier;
	shape->time_zone = session_timezone;
	shape->desc = lookup_rowtype_tupdesc_copy(type, typmod);
	shape->reader =
		neural_row_reader(f, shape->desc, by_position(shape->desc, f), false,
						  s->model->time_zone);
	MemoryContextSwitchTo(old);
	for (other = s->loaded->shapes; other != NULL; other = other->next)
		n++;
	if (n < MAX_SHAPES && neural_row_reader_lasts(shape->reader))
	{
		MemoryContextSetParent(context, s->loaded->context);
		shape->next = s->loaded->shapes;
		s->loaded->shapes = shape;
	}
	return shape;
}

static void
make_reader(NeuralPredictState *s, Oid type, int32 typmod)
{
	uint64 identifier = assign_record_type_identifier(type, typmod);
	NeuralRowShape *shape;
	MemoryContext old;

	s->reader = NULL;
	MemoryContextReset(s->row_context);
	shape = find_shape(s, type, typmod, identifier);
	if (shape == NULL)
		shape = create_shape(s, type, typmod, identifier);
	old = MemoryContextSwitchTo(s->row_context);
	s->values = palloc0(sizeof(Datum) * shape->desc->natts);
	s->nulls = palloc0(sizeof(bool) * shape->desc->natts);
	MemoryContextSwitchTo(old);
	s->desc = shape->desc;
	s->reader = shape->reader;
	s->row_type = type;
	s->row_typmod = typmod;
	s->row_identifier = identifier;
	s->row_unchecked = false;
}

/* The type may have been altered, but not within a moment. */
static inline void
find_reader(NeuralPredictState *s, Oid type, int32 typmod)
{
	if (unlikely(s->reader == NULL || s->row_type != type ||
				 s->row_typmod != typmod))
		make_reader(s, type, typmod);
	else if (unlikely(s->row_unchecked))
	{
		if (s->row_identifier != assign_record_type_identifier(type, typmod))
			make_reader(s, type, typmod);
		s->row_unchecked = false;
	}
}

void
neural_predict_read_fields(NeuralPredictState *s, FunctionCallInfo fcinfo,
						   int first)
{
	/* a call site's type is looked up once */
	find_reader(s,
				s->reader != NULL ? s->row_type
								  : get_fn_expr_argtype(fcinfo->flinfo, 1),
				-1);
	neural_row_read_arguments(s->reader, &fcinfo->args[first], s->record);
}

void
neural_predict_read_row(NeuralPredictState *s, Datum row)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(row);
	HeapTupleData tuple;

	find_reader(s, HeapTupleHeaderGetTypeId(header),
				HeapTupleHeaderGetTypMod(header));
	if (likely(neural_row_read_fixed(s->reader, header, s->record)))
		return;
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	/* whole: the server refuses to read a datum by a part of its type */
	heap_deform_tuple(&tuple, s->desc, s->values, s->nulls);
	neural_row_read(s->reader, s->values, s->nulls, s->record);
}

bool
neural_predict_try_row(NeuralPredictState *s, Datum row, char *record)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(row);
	HeapTupleData tuple;

	if (s->row_type != HeapTupleHeaderGetTypeId(header) ||
		s->row_typmod != HeapTupleHeaderGetTypMod(header))
		return false;
	if (neural_row_is_plain(s->reader) &&
		neural_row_read_fixed(s->reader, header, record))
		return true;
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	heap_deform_tuple(&tuple, s->desc, s->values, s->nulls);
	return neural_row_try(s->reader, s->values, s->nulls, record);
}

NeuralPredictState *
neural_predict_clone(const NeuralPredictState *s, MemoryContext context)
{
	NeuralPredictState *clone = create_state(context, s->finish);

	clone->type = s->type;
	clone->placement = s->placement;
	clone->loaded = s->loaded;
	neural_model_pin(clone->loaded, clone->model_context);
	prepare_model(clone);
	clone->relid = s->relid;
	clone->version = s->version;
	clone->found_version = s->found_version;
	clone->moment = s->moment;
	clone->class = s->class;
	clone->layer = s->layer;
	clone->layer_width = s->layer_width;
	if (s->reader != NULL)
		make_reader(clone, s->row_type, s->row_typmod);
	return clone;
}

bool
neural_predict_is_current(const NeuralPredictState *s)
{
	NeuralMoment now;

	get_moment(&now);
	return same_moment(&s->moment, &now);
}

void
neural_predict_check_user(NeuralPredictState *s)
{
	NeuralModelPlace place;
	Oid user = GetUserId();
	int found;

	if (s->moment.user == user || s->checked == user)
		return;
	if (OidIsValid(s->relid))
		(void) neural_model_find(s->relid, s->version, &found, &place);
	s->checked = user;
}

/* How many numbers the columns take, all of which must be made of numbers. */
static int
count_numbers(const nn_features *f)
{
	int n = 0;

	for (int i = 0; i < f->nread; i++)
	{
		const nn_column *c = &f->columns[i];

		if (c->class != NN_CLASS_NUMBER && c->class != NN_CLASS_BOOLEAN &&
			c->class != NN_CLASS_VECTOR)
			ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
							errmsg("column \"%s\" of the model is not a number",
								   neural_server_text(c->name)),
							errdetail("It is of type %s.",
									  neural_server_text(c->type_name)),
							errhint("Pass a row instead of an array.")));
		n += c->length;
	}
	return n;
}

/* The numbers of an array, which are the columns in order. */
static bool
read_numbers(const nn_features *f, const Datum *values, const bool *nulls,
			 char *record, nn_error *err)
{
	int next = 0;

	for (int i = 0; i < f->nread; i++)
	{
		const nn_column *c = &f->columns[i];
		bool isnull = false;

		for (int j = 0; j < c->length; j++)
			isnull |= nulls[next + j];
		if (isnull)
			nn_set_null(c, record);
		else if (c->class == NN_CLASS_VECTOR)
		{
			float *vector = palloc(sizeof(float) * c->length);

			for (int j = 0; j < c->length; j++)
				vector[j] = (float) DatumGetFloat8(values[next + j]);
			if (!nn_set_vector(c, record, vector, c->length, err))
				return false;
			pfree(vector);
		}
		else
		{
			double value = DatumGetFloat8(values[next]);

			if (c->class == NN_CLASS_BOOLEAN && !isnan(value))
				value = value != 0;
			nn_set_number(c, record, value);
		}
		next += c->length;
	}
	return true;
}

static int
take_apart(Datum array, Datum **values, bool **nulls)
{
	int n;

	deconstruct_array(DatumGetArrayTypeP(array), FLOAT8OID, sizeof(float8),
					  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, values, nulls, &n);
	return n;
}

void
neural_predict_read_array(NeuralPredictState *s, Datum array)
{
	const nn_features *f = s->model->features;
	Datum *values;
	bool *nulls;
	nn_error err;
	int n = take_apart(array, &values, &nulls), expected = count_numbers(f);

	if (n != expected)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("array has %d elements, but the model takes %d",
							   n, expected),
						errdetail("The columns of the model are: %s.",
								  column_list(f))));
	neural_check(read_numbers(f, values, nulls, s->record, &err), &err);
	pfree(values);
	pfree(nulls);
}

bool
neural_predict_try_array(NeuralPredictState *s, Datum array, char *record)
{
	const nn_features *f = s->model->features;
	Datum *values;
	bool *nulls;
	nn_error err;

	return take_apart(array, &values, &nulls) == count_numbers(f) &&
		   read_numbers(f, values, nulls, record, &err);
}
