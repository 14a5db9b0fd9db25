/*
 * model_cache.c
 *	  Loaded models of this backend.
 *
 * The key is the digest that a value carries, so there is nothing to
 * invalidate: whoever sees another version sees another digest.  A cached
 * model grants nothing, either: who may use a model is decided before its
 * value is read (model_table.c).
 *
 * A model in use is pinned by a memory context of whoever uses it.  The least
 * recently used of the others go when the cache outgrows
 * neural.model_cache_size.
 */
#include "postgres.h"

#include "lib/ilist.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "model_value.h"

/* Places whose digest is known: forgotten all at once when they are too many. */
#define MAX_PLACES 1024
/* Working memory of a predictor, and rows, at most. */
#define PREDICTOR_BYTES (4 * 1024 * 1024)
#define PREDICTOR_ROWS	256

typedef struct CacheEntry
{
	NeuralLoadedModel loaded; /* begins with the key */
	dlist_node lru;			  /* last used first */
} CacheEntry;

typedef struct Pin
{
	MemoryContextCallback callback;
	NeuralLoadedModel *model;
} Pin;

typedef struct PredictorRelease
{
	MemoryContextCallback callback;
	nn_predictor *predictor;
} PredictorRelease;

typedef struct KnownPlace
{
	NeuralModelPlace place; /* the key */
	uint8 digest[NN_MODEL_DIGEST_SIZE];
} KnownPlace;

static HTAB *cache = NULL;
static HTAB *places = NULL;
static dlist_head recent = DLIST_STATIC_INIT(recent);
static Size cache_bytes = 0;

static void
create_cache(void)
{
	HASHCTL ctl = {0};

	ctl.keysize = NN_MODEL_DIGEST_SIZE;
	ctl.entrysize = sizeof(CacheEntry);
	cache = hash_create("neural models", 16, &ctl, HASH_ELEM | HASH_BLOBS);
}

/* Push out what is too much.  Never throws: unpinning calls it. */
static void
trim_cache(void)
{
	Size limit = (Size) neural_model_cache_size * 1024;
	dlist_node *node, *next;

	if (cache_bytes <= limit || dlist_is_empty(&recent))
		return;
	for (node = dlist_tail_node(&recent);
		 cache_bytes > limit && node != &recent.head; node = next)
	{
		CacheEntry *entry = dlist_container(CacheEntry, lru, node);
		MemoryContext context = entry->loaded.context;

		next = node->prev;
		if (entry->loaded.pins > 0)
			continue;
		dlist_delete(node);
		cache_bytes -= entry->loaded.size;
		hash_search(cache, entry->loaded.digest, HASH_REMOVE, NULL);
		MemoryContextDelete(context);
	}
}

static void
unpin(void *arg)
{
	NeuralLoadedModel *model = arg;

	Assert(model->pins > 0);
	model->pins--;
	trim_cache();
}

static void
release_predictor(void *arg)
{
	nn_predictor_release(((PredictorRelease *) arg)->predictor);
}

/* Bytes of working memory to predict so many rows at once. */
static Size
working_bytes(const nn_model *m, int rows)
{
	Size bytes = 0;

	for (int i = 0; i < m->nnetworks; i++)
	{
		nn_error err;
		Size one = nn_exec_size(m->networks[i].graph, rows, false, &err);

		neural_check(one > 0, &err);
		bytes += one;
	}
	return bytes;
}

/*
 * How many rows to predict at once.  A few bytes of text can ask for very wide
 * layers, so even one row may be too much.
 */
static int
choose_rows(const nn_model *m)
{
	int rows = PREDICTOR_ROWS;
	char need[32], limit[32];

	while (rows > 1 && working_bytes(m, rows) > PREDICTOR_BYTES)
		rows /= 2;
	if (working_bytes(m, rows) > (Size) neural_max_memory * 1024)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("predicting needs %s of memory, but "
							   "neural.max_memory is %s",
							   neural_size_text(working_bytes(m, rows), need,
												sizeof(need)),
							   neural_size_text((Size) neural_max_memory * 1024,
												limit, sizeof(limit)))));
	return rows;
}

/* Everything but the place in the cache. */
static void
load_model(struct varlena *bytes, NeuralLoadedModel *loaded)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "neural model", ALLOCSET_DEFAULT_SIZES);
	PredictorRelease *release =
		MemoryContextAllocZero(context, sizeof(PredictorRelease));
	Size n = VARSIZE_ANY_EXHDR(bytes);
	nn_arena *arena = neural_arena(context);
	nn_error err;

	release->callback.func = release_predictor;
	release->callback.arg = release;
	MemoryContextRegisterResetCallback(context, &release->callback);

	/* it lay on a disk since it came in */
	neural_model_check(VARDATA_ANY(bytes), n);
	memset(loaded, 0, sizeof(*loaded));
	loaded->context = context;
	loaded->model = nn_model_read(arena, VARDATA_ANY(bytes), n, neural_crc32c,
								  NEURAL_LOAD_LIMIT(n), &err);
	neural_check(loaded->model != NULL, &err);

	loaded->max_rows = choose_rows(loaded->model);
	loaded->predictor = nn_predictor_create(
		arena, loaded->model, nn_cpu_ops(-1), loaded->max_rows, &err);
	neural_check(loaded->predictor != NULL, &err);
	release->predictor = loaded->predictor;
	loaded->size = MemoryContextMemAllocated(context, true) +
				   working_bytes(loaded->model, loaded->max_rows);
}

static CacheEntry *
add_to_cache(Datum value, const uint8 *digest)
{
	struct varlena *bytes = PG_DETOAST_DATUM_PACKED(value);
	NeuralLoadedModel loaded;
	CacheEntry *entry;

	load_model(bytes, &loaded);
	memcpy(loaded.digest, digest, NN_MODEL_DIGEST_SIZE);
	entry = hash_search(cache, digest, HASH_ENTER, NULL);
	entry->loaded = loaded;
	dlist_push_head(&recent, &entry->lru);
	cache_bytes += loaded.size;
	MemoryContextSetParent(loaded.context, TopMemoryContext);
	if ((Pointer) bytes != DatumGetPointer(value))
		pfree(bytes);
	return entry;
}

void
neural_model_pin(NeuralLoadedModel *model, MemoryContext pin_context)
{
	Pin *pin = MemoryContextAlloc(pin_context, sizeof(Pin));

	model->pins++;
	pin->model = model;
	pin->callback.func = unpin;
	pin->callback.arg = model;
	MemoryContextRegisterResetCallback(pin_context, &pin->callback);
}

static bool
read_digest(Datum value, uint8 *digest)
{
	struct varlena *head =
		(struct varlena *) PG_DETOAST_DATUM_SLICE(value, 0, NN_MODEL_HEADER);
	bool ok = VARSIZE_ANY_EXHDR(head) == NN_MODEL_HEADER;

	if (ok)
		memcpy(digest, VARDATA_ANY(head) + NN_MODEL_DIGEST_AT,
			   NN_MODEL_DIGEST_SIZE);
	pfree(head);
	return ok;
}

static void
create_places(void)
{
	HASHCTL ctl = {0};

	ctl.keysize = sizeof(NeuralModelPlace);
	ctl.entrysize = sizeof(KnownPlace);
	places = hash_create("neural model places", 16, &ctl, HASH_ELEM | HASH_BLOBS);
}

bool
neural_model_digest(Datum value, const NeuralModelPlace *place, uint8 *digest)
{
	KnownPlace *known;

	if (place == NULL || place->toast_value == InvalidOid)
		return read_digest(value, digest);
	if (places == NULL)
		create_places();
	known = hash_search(places, place, HASH_FIND, NULL);
	if (known == NULL)
	{
		if (!read_digest(value, digest))
			return false;
		if (hash_get_num_entries(places) >= MAX_PLACES)
		{
			hash_destroy(places);
			places = NULL;
			create_places();
		}
		known = hash_search(places, place, HASH_ENTER, NULL);
		memcpy(known->digest, digest, NN_MODEL_DIGEST_SIZE);
	}
	memcpy(digest, known->digest, NN_MODEL_DIGEST_SIZE);
	return true;
}

NeuralLoadedModel *
neural_model_load_at(Datum value, const NeuralModelPlace *place,
					 MemoryContext pin_context)
{
	uint8 digest[NN_MODEL_DIGEST_SIZE];
	CacheEntry *entry;

	if (!neural_model_digest(value, place, digest))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED), errmsg("model is damaged"),
				 errdetail("It is shorter than its header.")));
	if (cache == NULL)
		create_cache();
	entry = hash_search(cache, digest, HASH_FIND, NULL);
	if (entry != NULL)
		dlist_move_head(&recent, &entry->lru);
	else
		entry = add_to_cache(value, digest);

	neural_model_pin(&entry->loaded, pin_context);
	trim_cache();
	return &entry->loaded;
}

NeuralLoadedModel *
neural_model_load(Datum value, MemoryContext pin_context)
{
	return neural_model_load_at(value, NULL, pin_context);
}

NeuralLoadedModel *
neural_model_open(Oid relid, int version, MemoryContext pin_context)
{
	return neural_model_load(neural_model_fetch(relid, version, NULL),
							 pin_context);
}
