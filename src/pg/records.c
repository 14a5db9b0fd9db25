/*
 * records.c
 *	  A store of rows of one size, in memory or in a temporary file.
 */
#include "records.h"

#include <fcntl.h>

#include "lib/ilist.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "storage/buffile.h"
#include "storage/fileset.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

#define BLOCK_BYTES (1024 * 1024)
#define SET_NAME	"records"

/* Blocks that are allocated together, at most. */
#define CHUNK_BLOCKS 32

struct NeuralRecords
{
	MemoryContext context;
	Size record_size;
	int block_rows;
	Size limit;
	int64 count;

	/* in memory: allocated in ever larger chunks */
	int nblocks, room;
	char **blocks;
	List *chunks;
	int chunk_left; /* blocks of the last one that are free, */
	char *chunk_at; /* from here */

	/* in a file: the last block, not yet written, is in tail */
	bool spilled;
	BufFile *file; /* NULL: suspended */
	char *tail;
	char *buffer;

	/* of a file that is kept */
	bool keep, in_set;
	FileSet set;
	dlist_node node;
};

static Size
block_bytes(const NeuralRecords *r)
{
	return r->record_size * r->block_rows;
}

static char *
new_blocks(NeuralRecords *r, int n)
{
	return MemoryContextAllocHuge(r->context, n * block_bytes(r));
}

/*
 * --- files that are kept ---
 *
 * An ordinary temporary file could be kept open beyond its transaction, but
 * not be closed safely after an error: closing writes what is not written yet,
 * and may fail again.  A file of a set is closed by the transaction's end and
 * removed by its name.
 */

static dlist_head kept = DLIST_STATIC_INIT(kept);

/* A session that ends by force ends no memory context. */
static void
remove_all(int code, Datum arg)
{
	dlist_iter iter;

	dlist_foreach(iter, &kept)
		FileSetDeleteAll(&dlist_container(NeuralRecords, node, iter.cur)->set);
}

/* When the store's memory goes away. */
static void
remove_file(void *arg)
{
	NeuralRecords *r = arg;

	if (!r->in_set)
		return;
	dlist_delete(&r->node);
	r->in_set = false;
	/* it would obey a cancel halfway, and nobody knows of the file any more */
	HOLD_INTERRUPTS();
	FileSetDeleteAll(&r->set);
	RESUME_INTERRUPTS();
}

static void
create_kept(NeuralRecords *r)
{
	static bool registered = false;

	if (!registered)
		before_shmem_exit(remove_all, (Datum) 0);
	registered = true;
	FileSetInit(&r->set);
	dlist_push_head(&kept, &r->node);
	r->in_set = true;
	r->file = BufFileCreateFileSet(&r->set, SET_NAME);
}

void
neural_records_suspend(NeuralRecords *r)
{
	if (r->file == NULL)
		return;
	BufFileExportFileSet(r->file);
	BufFileClose(r->file);
	r->file = NULL;
}

static void
resume(NeuralRecords *r)
{
	MemoryContext old = MemoryContextSwitchTo(r->context);

	r->file = BufFileOpenFileSet(&r->set, SET_NAME, O_RDONLY, false);
	MemoryContextSwitchTo(old);
}

/*
 * --- the store ---
 */

NeuralRecords *
neural_records_create(Size record_size, int block_rows, Size memory_limit,
					  bool keep)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "neural records", ALLOCSET_DEFAULT_SIZES);
	NeuralRecords *r = MemoryContextAllocZero(context, sizeof(*r));

	r->context = context;
	r->record_size = record_size;
	r->block_rows =
		block_rows > 0 ? block_rows : (int) Max(BLOCK_BYTES / record_size, 1);
	r->limit = memory_limit;
	r->keep = keep;
	if (keep)
	{
		MemoryContextCallback *callback =
			MemoryContextAllocZero(context, sizeof(*callback));

		callback->func = remove_file;
		callback->arg = r;
		MemoryContextRegisterResetCallback(context, callback);
	}
	return r;
}

static void
write_block(NeuralRecords *r, char *block)
{
	BufFileWrite(r->file, block, block_bytes(r));
}

/* From here on the rows are in a file. */
static void
spill(NeuralRecords *r)
{
	MemoryContext old = MemoryContextSwitchTo(r->context);

	if (r->keep)
		create_kept(r);
	else
		r->file = BufFileCreateTemp(false);
	r->spilled = true;
	for (int i = 0; i < r->nblocks; i++)
		write_block(r, r->blocks[i]);
	list_free_deep(r->chunks);
	r->chunks = NIL;
	if (r->blocks != NULL)
		pfree(r->blocks);
	r->blocks = NULL;
	r->tail = new_blocks(r, 1);
	r->buffer = new_blocks(r, 1);
	MemoryContextSwitchTo(old);
}

static void
add_chunk(NeuralRecords *r)
{
	MemoryContext old = MemoryContextSwitchTo(r->context);
	int64 fit = r->limit / block_bytes(r) - r->nblocks;

	r->chunk_left = (int) Max(Min(Min(r->nblocks, CHUNK_BLOCKS), fit), 1);
	r->chunk_at = new_blocks(r, r->chunk_left);
	r->chunks = lappend(r->chunks, r->chunk_at);
	MemoryContextSwitchTo(old);
}

static void
add_block(NeuralRecords *r)
{
	if (r->nblocks == r->room)
	{
		r->room = Max(r->room * 2, 64);
		r->blocks =
			r->blocks == NULL
				? MemoryContextAlloc(r->context, r->room * sizeof(char *))
				: repalloc(r->blocks, r->room * sizeof(char *));
	}
	if (r->chunk_left == 0)
		add_chunk(r);
	r->blocks[r->nblocks] = r->chunk_at;
	r->chunk_at += block_bytes(r);
	r->chunk_left--;
}

char *
neural_records_add(NeuralRecords *r)
{
	int at = (int) (r->count % r->block_rows);
	char *record;

	if (at == 0 && r->count == (int64) r->nblocks * r->block_rows)
	{
		if (!r->spilled && (r->nblocks + 1) * block_bytes(r) > r->limit &&
			r->nblocks > 0)
			spill(r);
		else if (r->spilled)
			write_block(r, r->tail);
		if (!r->spilled)
			add_block(r);
		r->nblocks++;
	}
	r->count++;
	record = (r->spilled ? r->tail : r->blocks[r->nblocks - 1]) +
			 at * r->record_size;
	/* now, as it is about to be written anyway */
	return memset(record, 0, r->record_size);
}

/* Its block stays, for the next. */
void
neural_records_take_back(NeuralRecords *r)
{
	r->count--;
}

int64
neural_records_count(const NeuralRecords *r)
{
	return r->count;
}

Size
neural_records_memory(const NeuralRecords *r)
{
	return block_bytes(r) * (r->spilled ? 2 : r->nblocks + r->chunk_left);
}

int
neural_records_blocks(const NeuralRecords *r)
{
	return (int) ((r->count + r->block_rows - 1) / r->block_rows);
}

int
neural_records_block_rows(const NeuralRecords *r, int block)
{
	return (int) Min(r->count - (int64) block * r->block_rows,
					 (int64) r->block_rows);
}

char *
neural_records_block(NeuralRecords *r, int block, int *rows)
{
	*rows = neural_records_block_rows(r, block);
	if (!r->spilled)
		return r->blocks[block];
	if (block == r->nblocks - 1)
		return r->tail;
	if (r->file == NULL)
		resume(r);
	if (BufFileSeek(r->file, 0, (off_t) block * block_bytes(r), SEEK_SET) !=
			0 ||
		BufFileRead(r->file, r->buffer, block_bytes(r)) != block_bytes(r))
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not read from a temporary file")));
	return r->buffer;
}

void
neural_records_free(NeuralRecords *r)
{
	if (r->file != NULL)
		BufFileClose(r->file);
	r->file = NULL;
	MemoryContextDelete(r->context);
}
