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
neural_batch_renew(BatchCall *c)
{
	NeuralPredictState *found = c->function.fn_extra;

	neural_batch_forget(c);
	if (found != NULL)
		found->used = false;
}

void
neural_batch_adopt(BatchCall *c)
{
	NeuralPredictState *found = c->function.fn_extra;
	MemoryContext old;
	BatchModel *m;

	if (found == NULL || !found->found || !found->used ||
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
	for (int i = 0; i < BATCHES; i++)
	{
		Batch *batch = &b->batches[i];

		batch->full = palloc(sizeof(MinimalTuple) * room);
		batch->values = palloc(sizeof(Datum) * Max(room * b->nkept, 1));
		batch->nulls = palloc(sizeof(bool) * Max(room * b->nkept, 1));
		for (int j = 0; j < b->ncalls; j++)
			b->calls[j].places[i] = palloc(sizeof(BatchPlace) * room);
	}
	b->room = room;
	MemoryContextSwitchTo(old);
}

bool
neural_batch_is_open(BatchScan *b, List *params)
{
	ListCell *cell;

	foreach (cell, params)
		if (b->css.ss.ps.state->es_param_exec_vals[lfirst_int(cell)].execPlan !=
			NULL)
			return true;
	return false;
}

bool
neural_batch_ready(BatchScan *b)
{
	bool ready = false, busy = neural_team_is_busy(b);

	for (int i = 0; i < b->ncalls; i++)
	{
		BatchCall *c = &b->calls[i];

		/* another user, for one, may not be allowed the same */
		if (c->nmodels > 0 && !neural_predict_is_current(c->models[0].state))
		{
			/* what it predicts now is yet to come out */
			if (busy)
				return false;
			neural_batch_forget(c);
		}
		neural_batch_adopt(c);
		ready |= c->nmodels > 0 && is_worth_it(c);
		for (int j = 0; j < c->nmodels; j++)
		{
			c->models[j].of[!b->shown].rows = 0;
			neural_predict_place(c->models[j].state);
		}
	}
	if (ready)
		make_room(b);
	return ready;
}

/* ---------- reading ---------- */

/* Where the next record goes. */
static char *
next_record(BatchModel *m, BatchRecords *r)
{
	if (r->rows == r->room)
	{
		Size room = r->room == 0 ? 64 : (Size) r->room * 2,
			 records = room * Max(m->record_size, 1),
			 out = room * Max(m->out_size, 1);

		if (r->room == 0)
		{
			r->records = MemoryContextAllocHuge(m->context, records);
			r->out = MemoryContextAllocHuge(m->context, out);
		}
		else
		{
			r->records = repalloc_huge(r->records, records);
			r->out = repalloc_huge(r->out, out);
		}
		r->room = (int) room;
	}
	return r->records + r->rows * m->record_size;
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
read_row(BatchCall *c, int batch, TupleTableSlot *row)
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
	record = next_record(m, &m->of[batch]);
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
	c->scan->batches[batch].bytes += m->record_size + m->out_size;
	place.model = model;
	place.row = m->of[batch].rows++;
	return place;
}

bool
neural_batch_read(BatchCall *c, int batch, TupleTableSlot *row, int number)
{
	BatchPlace *place = &c->places[batch][number];
	MemoryContext old = MemoryContextSwitchTo(
		c->scan->css.ss.ps.ps_ExprContext->ecxt_per_tuple_memory);

	if (is_worth_it(c) && !neural_batch_is_open(c->scan, c->params))
		*place = read_row(c, batch, row);
	else
		*place = (BatchPlace){PLACE_UNKNOWN, 0};
	MemoryContextSwitchTo(old);
	return place->model != PLACE_UNKNOWN;
}

/* From a row on, until all are read or one fails; *row is that one then. */
static void
read_failing(BatchScan *b, int batch, volatile int *row)
{
	ExprContext *econtext = b->css.ss.ps.ps_ExprContext;

	for (; *row < b->batches[batch].nrows; (*row)++)
	{
		CHECK_FOR_INTERRUPTS();
		ResetExprContext(econtext);
		neural_batch_show_whole(b, batch, *row);
		econtext->ecxt_scantuple = b->css.ss.ss_ScanTupleSlot;
		for (int i = 0; i < b->ncalls; i++)
			if (b->calls[i].may_fail)
				(void) neural_batch_read(&b->calls[i], batch, b->full_slot,
										 *row);
	}
}

/*
 * What fails here is left to the function, in its turn.  A subtransaction
 * keeps what an error leaves behind from the query.
 */
static void
try_failing(BatchScan *b, int batch, volatile int *row)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		read_failing(b, batch, row);
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
neural_batch_read_failing(BatchScan *b, int batch)
{
	int nrows = b->batches[batch].nrows;
	volatile int row = 0;

	for (int i = 0; i < b->ncalls; i++)
		for (int j = 0; j < nrows && b->calls[i].may_fail; j++)
			b->calls[i].places[batch][j] = (BatchPlace){PLACE_UNKNOWN, 0};
	/* where many fail, all are as well read one by one */
	for (int tries = 0; tries < FAILING_ROWS && row < nrows; tries++)
	{
		try_failing(b, batch, &row);
		row++;
	}
}

/* ---------- predicting ---------- */

static void
predict_model(BatchModel *m, const BatchRecords *r)
{
	NeuralPredictState *s = m->state;
	int part;

	for (int done = 0; done < r->rows; done += part)
	{
		const char *records = r->records + done * m->record_size;
		char *out = r->out + done * m->out_size;

		CHECK_FOR_INTERRUPTS();
		part = Min(r->rows - done, neural_predict_rows(s));
		if (s->finish->finish_layer != NULL)
			neural_predict_run_layer(s, records, part, (nn_real *) out);
		else
			neural_predict_run(s, records, part, (double *) out);
	}
}

/* What a query spends on predicting, threads of its own not counted. */
static void
count_time(BatchScan *b, instr_time start)
{
	instr_time time;

	INSTR_TIME_SET_CURRENT(time);
	INSTR_TIME_SUBTRACT(time, start);
	neural_batch_count(
		b, (BatchCounts){.microseconds = INSTR_TIME_GET_MICROSEC(time)});
}

void
neural_batch_start(BatchScan *b, int batch)
{
	BatchCounts counts = {.batches = 1};
	instr_time start;

	INSTR_TIME_SET_CURRENT(start);
	for (int i = 0; i < b->ncalls; i++)
		for (int j = 0; j < b->calls[i].nmodels; j++)
		{
			BatchModel *m = &b->calls[i].models[j];
			int rows = m->of[batch].rows;

			if (rows == 0)
				continue;
			if (neural_predict_place(m->state) || !neural_team_add(b, m, batch))
				predict_model(m, &m->of[batch]);
			counts.predicted += rows;
			b->calls[i].predicted += rows;
		}
	neural_batch_count(b, counts);
	neural_team_start(b);
	count_time(b, start);
}

void
neural_batch_wait(BatchScan *b)
{
	instr_time start;

	if (!neural_team_is_busy(b))
		return;
	INSTR_TIME_SET_CURRENT(start);
	neural_team_wait(b);
	count_time(b, start);
}

Datum
neural_batch_finish(BatchCall *c)
{
	BatchModel *m = &c->models[c->place.model];
	NeuralPredictState *s = m->state;
	const char *out = m->of[c->scan->shown].out + c->place.row * m->out_size;

	neural_predict_check_user(s);
	if (s->finish->finish_layer != NULL)
		return s->finish->finish_layer(s, (const nn_real *) out);
	return s->finish->finish(s, (const double *) out);
}
