/*
 * dataset.c
 *	  Encoded rows: from records, and to batches in random order.
 *
 * Rows that fit lie in memory as one matrix, and an epoch visits them by a
 * random permutation.  Rows that do not are in a temporary file of blocks; an
 * epoch visits the blocks in random order and the rows of each in random
 * order.  The validation rows are always in memory.
 */
#include "training.h"

#include "../nn/team.h"
#include "miscadmin.h"
#include "utils/memutils.h"

/* A block of encoded rows in a file, unless a few batches are more. */
#define FILE_BLOCK_BYTES (16 * 1024 * 1024)

struct NeuralStream
{
	NeuralTraining *training;
	const NeuralDataset *data;
	uint64 seed;
	bool for_device, shuffle, drop_partial;
	int batch_rows;
	int64 pass;

	/* of the rows at hand: all of them, or those of a block */
	nn_order order;
	int rows, at;
	const nn_real *x, *y, *weight; /* NULL: not read yet */

	/* of a file */
	nn_order block_order;
	int block, nblocks;
	int number; /* of the block at hand */
	nn_real *buffer_x, *buffer_y, *buffer_weight;
	bool host; /* see nn_batch */
};

/* Numbers of a row of the file. */
static int
row_numbers(const NeuralDataset *d)
{
	return d->width + d->target_width + 1;
}

static Size
dataset_bytes(const NeuralDataset *d, int64 rows)
{
	return (Size) rows * row_numbers(d) * sizeof(nn_real);
}

/*
 * --- encoding ---
 */

static void
alloc_rows(NeuralDataset *d, bool weighted)
{
	Size rows = Max(d->rows, 1);

	d->x = MemoryContextAllocHuge(CurrentMemoryContext,
								  rows * d->width * sizeof(nn_real));
	d->y = MemoryContextAllocHuge(CurrentMemoryContext,
								  rows * d->target_width * sizeof(nn_real));
	d->weight = weighted ? MemoryContextAllocHuge(CurrentMemoryContext,
												  rows * sizeof(nn_real))
						 : NULL;
}

static void
does_not_fit(const NeuralTraining *t, Size need, Size left)
{
	char a[32], b[32];

	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("training needs %s of memory for its rows, but %s are "
					"left of neural.max_memory",
					neural_size_text(need, a, sizeof(a)),
					neural_size_text(left, b, sizeof(b))),
			 errhint("Raise neural.max_memory, or use fewer columns or "
					 "validation rows.")));
}

/* Where the rows will lie. */
static void
place(NeuralTraining *t)
{
	NeuralDataset *d = &t->training, *v = &t->validation;
	Size left = neural_training_memory_left(t);
	Size held = dataset_bytes(v, t->validation_rows);
	bool weights = t->weight_column > 0;
	int rows;

	v->rows = t->validation_rows;
	d->rows = t->training_rows;
	if (held + dataset_bytes(d, d->rows) <= left)
		alloc_rows(d, weights || t->class_weight != NULL);
	else
	{
		/* two buffers of the file, one of a stream */
		rows = (int) Max(Min(FILE_BLOCK_BYTES, left / 8) /
							 (row_numbers(d) * sizeof(nn_real)),
						 1);
		rows = Max(rows / t->plan.batch_rows, 1) * t->plan.batch_rows;
		if (held + 3 * dataset_bytes(d, rows) > left)
			does_not_fit(t, held + 3 * dataset_bytes(d, rows), left);
		d->block_rows = rows;
		d->file = neural_records_create(row_numbers(d) * sizeof(nn_real), rows,
										0, false);
		ereport(DEBUG1, (errmsg_internal("encoded rows go to a temporary "
										 "file in blocks of %d rows",
										 rows)));
	}
	alloc_rows(v, weights);
}

static double
row_weight(NeuralTraining *t, const double *extra)
{
	double w = extra[NEURAL_WEIGHT_SLOT(t)];

	if (t->class_weight != NULL)
		w *= t->class_weight[neural_target_class(t, 0, extra[0])];
	t->weighs |= w > 0;
	return w;
}

/* x NULL: they are there already. */
static void
add_training_row(NeuralTraining *t, int64 at, const nn_real *x,
				 const double *extra)
{
	NeuralDataset *d = &t->training;

	if (d->file != NULL)
	{
		nn_real *row = (nn_real *) neural_records_add(d->file);

		memcpy(row, x, d->width * sizeof(nn_real));
		neural_targets_encode(t, extra, row + d->width);
		row[d->width + d->target_width] = (nn_real) row_weight(t, extra);
		return;
	}
	if (x != NULL)
		memcpy(d->x + at * d->width, x, d->width * sizeof(nn_real));
	neural_targets_encode(t, extra, d->y + at * d->target_width);
	if (d->weight != NULL)
		d->weight[at] = (nn_real) row_weight(t, extra);
}

static void
add_validation_row(NeuralTraining *t, int64 at, const nn_real *x,
				   const double *extra)
{
	NeuralDataset *d = &t->validation;

	memcpy(d->x + at * d->width, x, d->width * sizeof(nn_real));
	neural_targets_encode(t, extra, d->y + at * d->target_width);
	if (d->weight != NULL)
		d->weight[at] = (nn_real) extra[NEURAL_WEIGHT_SLOT(t)];
}

/* Numbers that are encoded sooner than threads are started. */
#define WORTH_THREADS 1e6

/* A block whose rows are shared by threads; its context ends them. */
typedef struct Encoding
{
	MemoryContext context;
	MemoryContextCallback callback;
	nn_team *team; /* NULL: alone */
	const nn_features *features;
	const char *block;
	int n;
	nn_real *x;
} Encoding;

static void
end_encoding(void *arg)
{
	nn_team_destroy(((Encoding *) arg)->team);
}

static Encoding *
begin_encoding(const NeuralTraining *t)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "neural encoding", ALLOCSET_SMALL_SIZES);
	Encoding *e = MemoryContextAllocZero(context, sizeof(*e));
	nn_error err;

	e->context = context;
	e->features = t->features;
	if (t->threads > 1 &&
		(double) t->rows * t->features->layout.width > WORTH_THREADS)
		e->team = nn_team_create(neural_arena(context), t->threads, &err);
	e->callback.func = end_encoding;
	e->callback.arg = e;
	MemoryContextRegisterResetCallback(context, &e->callback);
	return e;
}

static void
encode_share(int member, void *arg)
{
	const Encoding *e = arg;
	int64 size = nn_team_size(e->team);
	int first = (int) (e->n * member / size),
		end = (int) (e->n * (member + 1) / size);

	nn_features_encode(
		e->features, e->block + (Size) first * e->features->record_size,
		end - first, e->x + (Size) first * e->features->layout.width);
}

static void
encode_rows(Encoding *e, const char *block, int n, nn_real *x)
{
	e->block = block;
	e->n = n;
	e->x = x;
	nn_team_run(e->team, encode_share, e);
}

/* Rows that are all trained on are encoded where they are to lie. */
static void
encode_in_place(NeuralTraining *t, Encoding *e, char *block, int n, int64 at)
{
	NeuralDataset *d = &t->training;

	encode_rows(e, block, n, d->x + at * d->width);
	for (int i = 0; i < n; i++)
		add_training_row(t, at + i, NULL,
						 neural_extra(t, block + i * t->features->record_size));
}

void
neural_training_encode(NeuralTraining *t)
{
	int width = t->features->layout.width;
	size_t record_size = t->features->record_size;
	int64 row = 0, training = 0, validation = 0;
	Encoding *e = begin_encoding(t);
	nn_real *x = NULL;

	t->training.width = t->validation.width = width;
	t->training.target_width = t->validation.target_width =
		neural_target_width(t);
	place(t);
	for (int b = 0; b < neural_records_blocks(t->records); b++)
	{
		int n;
		char *block = neural_records_block(t->records, b, &n);

		CHECK_FOR_INTERRUPTS();
		if (t->training.file == NULL && memchr(t->use + row, 0, n) == NULL)
		{
			encode_in_place(t, e, block, n, training);
			training += n;
			row += n;
			continue;
		}
		if (x == NULL) /* the first block is the largest */
			x = MemoryContextAllocHuge(CurrentMemoryContext,
									   (Size) n * width * sizeof(nn_real));
		encode_rows(e, block, n, x);
		for (int i = 0; i < n; i++, row++)
		{
			const double *extra = neural_extra(t, block + i * record_size);

			if (t->use[row])
				add_training_row(t, training++, x + (Size) i * width, extra);
			else
				add_validation_row(t, validation++, x + (Size) i * width,
								   extra);
		}
	}
	if (x != NULL)
		pfree(x);
	MemoryContextDelete(e->context);
	if ((t->weight_column > 0 || t->class_weight != NULL) && !t->weighs)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("every row to learn from has weight 0"),
				 errhint("sample_weight and class_weight must leave some rows "
						 "a weight.")));
	neural_records_free(t->records);
	t->records = NULL;
}

/*
 * --- batches ---
 */

/* Read a block of the file and take its rows apart. */
static void
load_block(const NeuralDataset *d, int block, nn_real *x, nn_real *y,
		   nn_real *weight)
{
	int n;
	const nn_real *row =
		(const nn_real *) neural_records_block(d->file, block, &n);

	for (int i = 0; i < n; i++, row += row_numbers(d))
	{
		memcpy(x + (Size) i * d->width, row, d->width * sizeof(nn_real));
		memcpy(y + (Size) i * d->target_width, row + d->width,
			   d->target_width * sizeof(nn_real));
		weight[i] = row[d->width + d->target_width];
	}
}

static void
alloc_buffers(NeuralStream *s)
{
	const NeuralDataset *d = s->data;
	Size n = d->block_rows;

	s->nblocks = neural_records_blocks(d->file);
	s->buffer_x = MemoryContextAllocHuge(CurrentMemoryContext,
										 n * d->width * sizeof(nn_real));
	s->buffer_y = MemoryContextAllocHuge(CurrentMemoryContext,
										 n * d->target_width * sizeof(nn_real));
	s->buffer_weight =
		MemoryContextAllocHuge(CurrentMemoryContext, n * sizeof(nn_real));
}

NeuralStream *
neural_stream(NeuralTraining *t, const NeuralDataset *d, bool for_device)
{
	NeuralStream *s = palloc0(sizeof(*s));

	s->training = t;
	s->data = d;
	s->for_device = for_device;
	s->seed = t->options->seed;
	s->shuffle = t->options->shuffle != 0;
	s->drop_partial = t->drop_partial;
	s->batch_rows = t->plan.batch_rows;
	if (d->file != NULL)
		alloc_buffers(s);
	return s;
}

/* What comes after another number of orders. */
static nn_order
next_order(NeuralStream *s, int n, int64 number)
{
	nn_key key = nn_random_key(s->seed, NN_STREAM_SHUFFLE, number);

	return s->shuffle ? nn_random_order(key, n) : (nn_order){{0}};
}

/* Rows at hand, where the training's device can read them if there is room. */
static void
hand_over(NeuralStream *s, const nn_real *x, const nn_real *y,
		  const nn_real *weight)
{
	NeuralTraining *t = s->training;

	s->x = x;
	s->y = y;
	s->weight = weight;
	s->host = !s->for_device ||
			  !neural_device_rows(t, s->data, &s->x, &s->y, &s->weight);
}

/* The next rows: a pass over all, or a block.  Nothing is read yet. */
static void
turn_to_next(NeuralStream *s)
{
	const NeuralDataset *d = s->data;

	s->at = 0;
	if (d->file == NULL)
	{
		s->rows = (int) d->rows;
		s->order = next_order(s, s->rows, s->pass++);
		return;
	}
	if (s->block == 0)
		s->block_order =
			next_order(s, s->nblocks, s->pass++ * (s->nblocks + 1));
	s->number = nn_order_at(&s->block_order, s->block);
	s->rows = neural_records_block_rows(d->file, s->number);
	s->x = NULL;
	s->block = (s->block + 1) % s->nblocks;
	s->order =
		next_order(s, s->rows, (s->pass - 1) * (s->nblocks + 1) + 1 + s->block);
}

/* How many rows the next batch has, from s->at on. */
static int
next_batch(NeuralStream *s)
{
	int least = s->drop_partial ? s->batch_rows : 1;

	/* a last block may be less than a batch */
	for (int tries = 0; s->rows - s->at < least; tries++)
	{
		turn_to_next(s);
		if (tries > 1)
			least = 1;
	}
	return Min(s->batch_rows, s->rows - s->at);
}

void
neural_stream_rewind(NeuralStream *s, int64 batches)
{
	s->pass = 0;
	s->rows = s->at = s->block = 0;
	s->x = s->y = s->weight = NULL;
	for (int64 i = 0; i < batches; i++)
	{
		CHECK_FOR_INTERRUPTS();
		s->at += next_batch(s);
	}
}

static void
read_rows(NeuralStream *s)
{
	const NeuralDataset *d = s->data;

	if (d->file == NULL)
		hand_over(s, d->x, d->y, d->weight);
	else
	{
		load_block(d, s->number, s->buffer_x, s->buffer_y, s->buffer_weight);
		hand_over(s, s->buffer_x, s->buffer_y, s->buffer_weight);
	}
}

void
neural_stream_next(NeuralStream *s, nn_batch *batch)
{
	batch->rows = next_batch(s);
	if (s->x == NULL)
		read_rows(s);
	batch->host = s->host && s->training->device->own_memory;
	batch->which = (nn_rows){s->order, s->at};
	batch->x = s->x;
	batch->y = s->y;
	batch->weight = s->weight;
	s->at += batch->rows;
}

int
neural_dataset_sample(const NeuralTraining *t, const NeuralDataset *d, int n,
					  nn_real *x)
{
	int loaded = -1;
	const nn_real *block = NULL;

	n = (int) Min((int64) n, d->rows);
	for (int i = 0; i < n; i++)
	{
		int64 row = (int64) i * d->rows / n;
		const nn_real *from;

		if (d->file == NULL)
			from = d->x + row * d->width;
		else
		{
			int number = (int) (row / d->block_rows), rows;

			if (number != loaded)
				block = (const nn_real *) neural_records_block(d->file, number,
															   &rows);
			loaded = number;
			from = block + (Size) (row % d->block_rows) * row_numbers(d);
		}
		memcpy(x + (Size) i * d->width, from, d->width * sizeof(nn_real));
	}
	return n;
}
