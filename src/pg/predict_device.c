/*
 * predict_device.c
 *	  On what device the rows of a query are predicted.
 *
 * A model that has predicted on the GPU stays there, as long as it stays in
 * the session's cache of models: so the digest that is the key of that cache
 * (model_cache.c) is the key here as well.  When neural.gpu_memory_limit asks
 * for it, or the device has no memory left, the least recently used of those
 * that no query uses go.
 */
#include "postgres.h"

#include <math.h>

#include "access/parallel.h"
#include "lib/ilist.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "gpu.h"
#include "predict_device.h"

/* Rows of a pass on the device, at most and at least. */
#define MOST_ROWS  8192
#define LEAST_ROWS 256
/* Working memory of a pass that is not asked for in vain. */
#define PASS_BYTES ((Size) 128 * 1024 * 1024)

/* Rows to time the CPU with. */
#define TIMED_ROWS 64

struct NeuralDeviceModel
{
	dlist_node lru;		   /* last used first */
	MemoryContext context; /* of all this; a child of the loaded model's */
	MemoryContextCallback released;
	NeuralLoadedModel *loaded;
	const nn_device_ops *ops; /* a slot is held */
	nn_predictor *predictor;
	bool listed;
	int rows; /* of a pass */
	Size bytes;
	int pins;
	bool useless; /* goes with its last pin */
};

int neural_predict_device;

static dlist_head models = DLIST_STATIC_INIT(models);
static NeuralPlacement *placements = NULL;

/* ---------- models on the device ---------- */

/* Its context goes: it was dropped, or the loaded model goes. */
static void
release_model(void *arg)
{
	NeuralDeviceModel *m = arg;

	if (m->listed)
		dlist_delete(&m->lru);
	if (m->loaded->device == m)
		m->loaded->device = NULL;
	nn_predictor_release(m->predictor);
	neural_gpu_uncount(m->bytes);
	if (m->ops != NULL)
		neural_gpu_leave();
}

/* Never throws: it is called when transactions end. */
static bool
drop_oldest(void)
{
	for (dlist_node *node = models.head.prev; node != &models.head;
		 node = node->prev)
	{
		NeuralDeviceModel *m = dlist_container(NeuralDeviceModel, lru, node);

		if (m->pins > 0)
			continue;
		MemoryContextDelete(m->context);
		return true;
	}
	return false;
}

void
neural_device_models_forget(void)
{
	if (dlist_is_empty(&models))
		return;
	while (drop_oldest())
		;
}

void
neural_device_models_trim(Size bytes)
{
	if (dlist_is_empty(&models))
		return;
	while (neural_gpu_memory_left() < bytes && drop_oldest())
		;
}

static Size
predictor_bytes(const NeuralDeviceModel *m, int rows)
{
	nn_error err;
	Size bytes = nn_predictor_size(m->loaded->model, m->ops, rows, &err);

	neural_check(bytes > 0, &err);
	return bytes;
}

/* How many rows a pass may have, of those that there is memory for. */
static int
choose_rows(const NeuralDeviceModel *m)
{
	int rows = MOST_ROWS;
	Size fixed = predictor_bytes(m, 1);

	while (rows > LEAST_ROWS && predictor_bytes(m, rows) - fixed > PASS_BYTES)
		rows /= 2;
	neural_device_models_trim(predictor_bytes(m, rows));
	while (rows > LEAST_ROWS &&
		   predictor_bytes(m, rows) > neural_gpu_memory_left())
		rows /= 2;
	return rows;
}

/* Where the device has less memory than that, less is tried. */
static bool
create_predictor(NeuralDeviceModel *m, nn_error *err)
{
	nn_arena *arena = neural_arena(m->context);

	for (;;)
	{
		m->predictor =
			nn_predictor_create(arena, m->loaded->model, m->ops, m->rows, err);
		if (m->predictor != NULL)
			return true;
		if (err->code != NN_DEVICE_NOMEM)
			return false;
		if (drop_oldest())
			continue;
		if (m->rows <= LEAST_ROWS)
			break;
		m->rows /= 2;
	}
	nn_detail(err,
			  "The model and a pass of %d rows take %zu bytes; neural has "
			  "taken %zu so far in this session.",
			  m->rows, predictor_bytes(m, m->rows), neural_gpu_memory_used());
	return false;
}

/* NULL, and why; an error when it is required. */
static NeuralDeviceModel *
create_model(NeuralLoadedModel *loaded, bool required, const char **why)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "neural device model", ALLOCSET_DEFAULT_SIZES);
	NeuralDeviceModel *m = MemoryContextAllocZero(context, sizeof(*m));
	nn_error err;

	m->context = context;
	m->loaded = loaded;
	m->released.func = release_model;
	m->released.arg = m;
	MemoryContextRegisterResetCallback(context, &m->released);
	m->ops = neural_gpu_use(required, why);
	if (m->ops == NULL)
	{
		MemoryContextDelete(context);
		return NULL;
	}
	m->rows = choose_rows(m);
	if (predictor_bytes(m, m->rows) > neural_gpu_memory_left())
	{
		if (required)
			neural_gpu_too_little("predicting", predictor_bytes(m, m->rows));
		*why = "the model is too large for what is left of "
			   "neural.gpu_memory_limit";
	}
	else if (create_predictor(m, &err))
	{
		m->bytes = predictor_bytes(m, m->rows);
		neural_gpu_count(m->bytes);
		MemoryContextSetParent(context, loaded->context);
		dlist_push_head(&models, &m->lru);
		m->listed = true;
		loaded->device = m;
		return m;
	}
	else if (required)
		neural_ereport(&err);
	else
		*why = neural_gpu_reason(&err);
	MemoryContextDelete(context);
	return NULL;
}

static void
unpin(void *arg)
{
	NeuralDeviceModel *m = arg;

	Assert(m->pins > 0);
	if (--m->pins == 0 && m->useless)
		MemoryContextDelete(m->context);
}

/* The model on the device, pinned until pin_context is reset. */
static NeuralDeviceModel *
find_model(NeuralLoadedModel *loaded, MemoryContext pin_context, bool required,
		   const char **why)
{
	NeuralDeviceModel *m = loaded->device;
	MemoryContextCallback *pin =
		MemoryContextAlloc(pin_context, sizeof(MemoryContextCallback));

	if (m == NULL)
		m = create_model(loaded, required, why);
	if (m == NULL)
		return NULL;
	dlist_move_head(&models, &m->lru);
	m->pins++;
	pin->func = unpin;
	pin->arg = m;
	MemoryContextRegisterResetCallback(pin_context, pin);
	return m;
}

/* ---------- the decision ---------- */

static void
forget_placement(void *arg)
{
	NeuralPlacement **p = &placements;

	while (*p != arg)
		p = &(*p)->next;
	*p = (*p)->next;
}

NeuralPlacement *
neural_placement(EState *estate, double rows)
{
	NeuralPlacement *p = placements;
	MemoryContextCallback *callback;

	while (p != NULL && p->query != estate->es_query_cxt)
		p = p->next;
	if (p == NULL)
	{
		p = MemoryContextAllocZero(estate->es_query_cxt, sizeof(*p));
		/* nothing may fail once it is in the list */
		callback = MemoryContextAlloc(estate->es_query_cxt, sizeof(*callback));
		callback->func = forget_placement;
		callback->arg = p;
		p->query = estate->es_query_cxt;
		p->parallel =
			IsParallelWorker() || estate->es_plannedstmt->parallelModeNeeded;
		p->next = placements;
		placements = p;
		MemoryContextRegisterResetCallback(p->query, callback);
	}
	p->rows += rows;
	return p;
}

/* Seconds that the GPU takes for so many rows, by what it is known to take. */
static double
gpu_seconds(const NeuralLoadedModel *loaded, const nn_device_ops *cuda,
			double rows)
{
	const nn_model *m = loaded->model;
	double passes = ceil(rows / MOST_ROWS), launches = 2, products = 0;
	double bytes = m->networks[0].graph->outputs, params = 0, seconds = 0;
	nn_device_costs costs;

	cuda->costs(&costs);
	for (int i = 0; i < m->nnetworks; i++)
	{
		launches += m->networks[i].graph->nlayers;
		products += m->networks[i].graph->work;
		params += m->networks[i].graph->nparams;
		bytes += m->features->layout.width;
	}
	if (!neural_gpu_is_used())
		seconds += costs.start;
	if (loaded->device == NULL)
		seconds += params * sizeof(nn_real) * costs.byte;
	return seconds + passes * launches * costs.launch +
		   rows * (bytes * sizeof(nn_real) * costs.byte +
				   products * costs.product);
}

static void
compare_devices(NeuralPlacement *p, NeuralLoadedModel *loaded,
				const nn_device_ops *cuda)
{
	nn_error err;
	double here =
		p->rows * nn_predictor_seconds(loaded->predictor, TIMED_ROWS, &err);
	double there = gpu_seconds(loaded, cuda, p->rows);

	p->gpu = there < here;
	snprintf(p->reason, sizeof(p->reason),
			 "%.0f rows take about %.3f ms on the CPU, %.3f ms on the GPU",
			 p->rows, here * 1000, there * 1000);
}

static void
decide(NeuralPlacement *p, NeuralLoadedModel *loaded)
{
	const nn_device_ops *cuda;
	nn_error err;

	p->decided = true;
	p->required = neural_predict_device == NEURAL_PREDICT_CUDA;
	p->gpu = p->required;
	if (neural_predict_device != NEURAL_PREDICT_AUTO)
		return;
	if (p->parallel)
		strlcpy(p->reason, "the query is worked at by several processes",
				sizeof(p->reason));
	else if ((cuda = neural_cuda_find(&err)) == NULL)
		strlcpy(p->reason, neural_gpu_reason(&err), sizeof(p->reason));
	else
		compare_devices(p, loaded, cuda);
}

bool
neural_predict_place(NeuralPredictState *s)
{
	NeuralPlacement *p = s->placement;
	const char *why = "";

	if (p == NULL)
		return false;
	if (!p->decided)
		decide(p, s->loaded);
	if (!p->gpu)
		return false;
	if (s->device == NULL)
		s->device = find_model(s->loaded, s->model_context, p->required, &why);
	if (s->device != NULL)
		return true;
	p->gpu = false;
	strlcpy(p->reason, why, sizeof(p->reason));
	ereport(WARNING,
			(errmsg("predicting on the CPU, as the GPU cannot be used"),
			 errdetail_internal("%s.", why)));
	return false;
}

/* ---------- predicting ---------- */

/*
 * Rows between two looks for a cancel: some milliseconds, also of a network
 * that is very large.
 */
int
neural_predict_rows(NeuralPredictState *s)
{
	bool gpu = neural_predict_place(s);
	double weights = 1;

	for (int i = 0; i < s->model->nnetworks; i++)
		weights += s->model->networks[i].graph->nparams;
	return Max(1, (int) Min(gpu ? 8 * s->device->rows : s->loaded->max_rows,
							(gpu ? 5e10 : 1e9) / weights));
}

/* The GPU has failed; what it was to do is done on the CPU, unless it must
 * not be. */
static void
fall_back(NeuralPredictState *s, const nn_error *err)
{
	NeuralDeviceModel *m = s->device;

	s->device = NULL;
	m->useless = true;
	if (m->loaded->device == m)
		m->loaded->device = NULL;
	if (s->placement->required)
		neural_ereport(err);
	s->placement->gpu = false;
	strlcpy(s->placement->reason, err->message, sizeof(s->placement->reason));
	ereport(WARNING, (errmsg("predicting on the CPU, as the GPU has failed"),
					  errdetail_internal("%s.", neural_gpu_reason(err))));
}

void
neural_predict_run(NeuralPredictState *s, const char *records, int rows,
				   double *out)
{
	nn_error err;

	if (unlikely(neural_predict_place(s)))
	{
		if (nn_predict(s->device->predictor, records, rows, out, &err))
			return;
		fall_back(s, &err);
	}
	neural_check(nn_predict(s->loaded->predictor, records, rows, out, &err),
				 &err);
}

void
neural_predict_run_layer(NeuralPredictState *s, const char *records, int rows,
						 nn_real *out)
{
	nn_error err;

	if (unlikely(neural_predict_place(s)))
	{
		if (nn_embed(s->device->predictor, records, rows, s->layer, out, &err))
			return;
		fall_back(s, &err);
	}
	neural_check(
		nn_embed(s->loaded->predictor, records, rows, s->layer, out, &err),
		&err);
}

/* ---------- EXPLAIN, settings ---------- */

void
neural_placement_explain(const NeuralPlacement *p, ExplainState *es)
{
	bool open = !p->decided && neural_predict_device == NEURAL_PREDICT_AUTO;
	bool gpu =
		p->decided ? p->gpu : neural_predict_device == NEURAL_PREDICT_CUDA;

	ExplainPropertyText("Device",
						open  ? "CPU or CUDA"
						: gpu ? "CUDA"
							  : "CPU",
						es);
	if (open)
		ExplainPropertyText("Device Choice", "made when the query runs", es);
	else if (p->reason[0] != '\0')
		ExplainPropertyText("Device Choice", p->reason, es);
}

void
neural_predict_device_init(void)
{
	static const struct config_enum_entry choices[] = {
		{"cpu", NEURAL_PREDICT_CPU, false},
		{"auto", NEURAL_PREDICT_AUTO, false},
		{"cuda", NEURAL_PREDICT_CUDA, false},
		{"gpu", NEURAL_PREDICT_CUDA, true},
		{NULL, 0, false}};

	DefineCustomEnumVariable(
		"neural.predict_device", "Where rows are predicted in batches.",
		"auto is a GPU where that takes less time; its results may differ from "
		"those of the CPU in their last bits.",
		&neural_predict_device, NEURAL_PREDICT_CPU, choices, PGC_USERSET, 0,
		NULL, NULL, NULL);
}
