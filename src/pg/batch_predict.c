/*
 * batch_predict.c
 *	  Records of a batch, and their predictions.
 *
 * Reading a row ahead must not raise errors, since the row may never be
 * wanted.  So a cell that cannot be read, or might not be, makes the row one
 * for which the function will be called.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "batch_scan.h"

/* Rows of a batch that may fail, until the rest is left to the function. */
#define FAILING_ROWS 8
/* A GPU is given as many rows as work_mem has room for, up to this. */
#define GPU_BATCH_ROWS 65536

/* ---------- models ---------- */

void
neural_batch_forget(BatchCall *c)
{
	for (int i = 0; i < c->nmodels; i++)
		MemoryContextDelete(c->models[i].context);
	c->nmodels = 0;
}

void
neural_batch_adopt(BatchCall *c)
{
	NeuralPredictState *found = c->function.fn_extra;
	MemoryContext old;
	BatchModel *m;

	if (found == NULL || !found->found ||
		(found->reader == NULL && c->kind != NEURAL_CALL_ARRAY) ||
		!neural_predict_is_current(found))
		return;
	for (int i = 0; i < c->nmodels; i++)
		if (c->models[i].state->loaded == found->loaded)
			return;
	if (c->nmodels == BATCH_MODELS)
		return;
	m = &c->models[c->nmodels];
	memset(m, 0, sizeof(*m));
	m->context = AllocSetContextCreate(c->scan->context, "neural batch model",
									   ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(m->context);
	m->state = neural_predict_clone(found, m->context);
	m->record_size = m->state->model->features->record_size;
	m->out_size = m->state->finish->finish_layer != NULL
					  ? m->state->layer_width * sizeof(nn_real)
					  : m->state->model->outputs * sizeof(double);
	MemoryContextSwitchTo(old);
	c->nmodels++;
	c->last_version = found->found_version;
}

/*
 * A call under CASE may be wanted of few rows only, and is then better made
 * for these alone.
 */
static bool
is_worth_it(const BatchCall *c)
{
	return c->predicted < 1024 || c->asked * 16 >= c->predicted;
}

static void
make_room(BatchScan *b)
{
	Size row = b->nkept * (sizeof(Datum) + sizeof(bool)) +
			   b->ncalls * sizeof(BatchPlace) + sizeof(MinimalTuple),
		 most = (Size) work_mem * 1024 / 4 / row;
	int rows = b->placement->gpu ? Max(neural_batch_rows, GPU_BATCH_ROWS)
								 : neural_batch_rows,
		room = (int) Min(Max(most, 1), rows);
	MemoryContext old;

	if (b->room > 0)
		return;
	old = MemoryContextSwitchTo(b->context);
	b->full = palloc(sizeof(MinimalTuple) * room);
	b->values = palloc(sizeof(Datum) * Max(room * b->nkept, 1));
	b->nulls = palloc(sizeof(bool) * Max(room * b->nkept, 1));
	for (int i = 0; i < b->ncalls; i++)
		b->calls[i].places = palloc(sizeof(BatchPlace) * room);
	b->room = room;
	MemoryContextSwitchTo(old);
}

bool
neural_batch_ready(BatchScan *b)
{
	bool ready = false;

	for (int i = 0; i < b->ncalls; i++)
	{
		BatchCall *c = &b->calls[i];

		/* another user, for one, may not be allowed the same */
		if (c->nmodels > 0 && !neural_predict_is_current(c->models[0].state))
			neural_batch_forget(c);
		neural_batch_adopt(c);
		ready |= c->nmodels > 0 && is_worth_it(c);
		for (int j = 0; j < c->nmodels; j++)
		{
			c->models[j].rows = 0;
			neural_predict_place(c->models[j].state);
		}
	}
	if (ready)
		make_room(b);
	return ready;
}

/* ---------- reading ---------- */

static Size
new_room(BatchModel *m)
{
	return m->room == 0 ? 64 : (Size) m->room * 2;
}

/* Where the next record goes. */
static char *
next_record(BatchModel *m)
{
	if (m->rows == m->room)
	{
		Size room = new_room(m), records = room * Max(m->record_size, 1),
			 out = room * Max(m->out_size, 1);

		if (m->room == 0)
		{
			m->records = MemoryContextAllocHuge(m->context, records);
			m->out = MemoryContextAllocHuge(m->context, out);
		}
		else
		{
			m->records = repalloc_huge(m->records, records);
			m->out = repalloc_huge(m->out, out);
		}
		m->room = (int) room;
	}
	return m->records + m->rows * m->record_size;
}

static bool
is_seen_value(const BatchModel *m, const struct varatt_external *pointer)
{
	return pointer->va_valueid != InvalidOid &&
		   m->toast_value == pointer->va_valueid &&
		   m->toast_relid == pointer->va_toastrelid;
}

/* The model of a row that brings its own; -1 when it is a new one. */
static int
find_model(BatchCall *c, Datum value)
{
	struct varlena *v = (struct varlena *) DatumGetPointer(value);
	struct varatt_external pointer = {0};

	if (VARATT_IS_EXTERNAL_ONDISK(v))
		VARATT_EXTERNAL_GET_POINTER(pointer, v);
	for (int i = 0; i < c->nmodels; i++)
		if (is_seen_value(&c->models[i], &pointer))
			return i;
	for (int i = 0; i < c->nmodels; i++)
		if (neural_predict_is_model(c->models[i].state, value))
		{
			c->models[i].toast_relid = pointer.va_toastrelid;
			c->models[i].toast_value = pointer.va_valueid;
			return i;
		}
	return -1;
}

/* The fields of a row that is spelled out. */
static bool
read_fields(BatchCall *c, BatchModel *m, TupleTableSlot *row, char *record)
{
	NeuralRowReader *reader = m->state->reader;
	ExprContext *econtext = c->scan->css.ss.ps.ps_ExprContext;

	if (c->in_order)
	{
		if ((TTS_IS_BUFFERTUPLE(row) || TTS_IS_HEAPTUPLE(row)) &&
			neural_row_is_plain(reader) &&
			neural_row_read_fixed(
				reader, ExecFetchSlotHeapTuple(row, false, NULL)->t_data,
				record))
			return true;
		slot_getsomeattrs(row, neural_row_reader_last(reader));
		return neural_row_try(reader, row->tts_values, row->tts_isnull, record);
	}
	for (int i = 0; i < c->nfields; i++)
	{
		int at = c->fields[i].column - 1;

		if (at >= 0)
		{
			c->values[i] = row->tts_values[at];
			c->nulls[i] = row->tts_isnull[at];
		}
		else if (c->fields[i].expr != NULL)
			c->values[i] =
				ExecEvalExpr(c->fields[i].expr, econtext, &c->nulls[i]);
	}
	return neural_row_try(reader, c->values, c->nulls, record);
}

/* In short-lived memory. */
static BatchPlace
read_row(BatchCall *c, TupleTableSlot *row)
{
	ExprContext *econtext = c->scan->css.ss.ps.ps_ExprContext;
	BatchPlace place = {PLACE_UNKNOWN, 0};
	BatchModel *m;
	char *record;
	int model = 0;

	if (c->nmodels == 0)
		return place;
	if (c->model_column > 0)
	{
		int at = c->model_column - 1;

		if (row->tts_isnull[at])
			return (BatchPlace){PLACE_NULL, 0};
		model = find_model(c, row->tts_values[at]);
		if (model < 0)
			return place;
	}
	m = &c->models[model];
	record = next_record(m);
	if (c->nfields > 0)
	{
		if (!read_fields(c, m, row, record))
			return place;
	}
	else
	{
		bool isnull;
		Datum value = ExecEvalExpr(c->args[1], econtext, &isnull);

		if (isnull)
			return (BatchPlace){PLACE_NULL, 0};
		if (c->kind == NEURAL_CALL_ARRAY
				? !neural_predict_try_array(m->state, value, record)
				: !neural_predict_try_row(m->state, value, record))
			return place;
	}
	c->scan->bytes += m->record_size + m->out_size;
	place.model = model;
	place.row = m->rows++;
	return place;
}

bool
neural_batch_read(BatchCall *c, TupleTableSlot *row, int number)
{
	MemoryContext old = MemoryContextSwitchTo(
		c->scan->css.ss.ps.ps_ExprContext->ecxt_per_tuple_memory);

	if (is_worth_it(c))
		c->places[number] = read_row(c, row);
	else
		c->places[number] = (BatchPlace){PLACE_UNKNOWN, 0};
	MemoryContextSwitchTo(old);
	return c->places[number].model != PLACE_UNKNOWN;
}

/* From a row on, until all are read or one fails; *row is that one then. */
static void
read_failing(BatchScan *b, volatile int *row)
{
	ExprContext *econtext = b->css.ss.ps.ps_ExprContext;

	for (; *row < b->nrows; (*row)++)
	{
		CHECK_FOR_INTERRUPTS();
		ResetExprContext(econtext);
		neural_batch_show_whole(b, *row);
		econtext->ecxt_scantuple = b->css.ss.ss_ScanTupleSlot;
		for (int i = 0; i < b->ncalls; i++)
			if (b->calls[i].may_fail)
				(void) neural_batch_read(&b->calls[i], b->full_slot, *row);
	}
}

/*
 * What fails here is left to the function, in its turn.  A subtransaction
 * keeps what an error leaves behind from the query.
 */
static void
try_failing(BatchScan *b, volatile int *row)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		read_failing(b, row);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(error);
		FreeErrorData(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
}

void
neural_batch_read_failing(BatchScan *b)
{
	volatile int row = 0;

	for (int i = 0; i < b->ncalls; i++)
		for (int j = 0; j < b->nrows && b->calls[i].may_fail; j++)
			b->calls[i].places[j] = (BatchPlace){PLACE_UNKNOWN, 0};
	/* where many fail, all are as well read one by one */
	for (int tries = 0; tries < FAILING_ROWS && row < b->nrows; tries++)
	{
		try_failing(b, &row);
		row++;
	}
}

/* ---------- predicting ---------- */

static void
predict_model(BatchScan *b, BatchModel *m)
{
	NeuralPredictState *s = m->state;
	int part;

	for (int done = 0; done < m->rows; done += part)
	{
		const char *records = m->records + done * m->record_size;
		char *out = m->out + done * m->out_size;
		int threads =
			neural_predict_place(s) ? 1 : neural_batch_threads(b, s, m->rows);

		CHECK_FOR_INTERRUPTS();
		part = Min(m->rows - done, threads * neural_predict_rows(s));
		if (threads > 1)
			neural_batch_team_predict(b, m, threads, records, part, out);
		else if (s->finish->finish_layer != NULL)
			neural_predict_run_layer(s, records, part, (nn_real *) out);
		else
			neural_predict_run(s, records, part, (double *) out);
	}
}

void
neural_batch_predict(BatchScan *b)
{
	BatchCounts counts = {.batches = 1};
	instr_time start, time;

	INSTR_TIME_SET_CURRENT(start);
	for (int i = 0; i < b->ncalls; i++)
		for (int j = 0; j < b->calls[i].nmodels; j++)
		{
			BatchModel *m = &b->calls[i].models[j];

			if (m->rows == 0)
				continue;
			predict_model(b, m);
			counts.predicted += m->rows;
			b->calls[i].predicted += m->rows;
		}
	INSTR_TIME_SET_CURRENT(time);
	INSTR_TIME_SUBTRACT(time, start);
	counts.microseconds = INSTR_TIME_GET_MICROSEC(time);
	neural_batch_count(b, counts);
}

Datum
neural_batch_finish(BatchCall *c)
{
	BatchModel *m = &c->models[c->place.model];
	NeuralPredictState *s = m->state;
	const char *out = m->out + c->place.row * m->out_size;

	if (s->finish->finish_layer != NULL)
		return s->finish->finish_layer(s, (const nn_real *) out);
	return s->finish->finish(s, (const double *) out);
}
