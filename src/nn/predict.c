/*
 * predict.c
 *	  Records in, predictions out.
 *
 * Everything is made ready once: predicting allocates nothing and decides
 * nothing that depends on the model, because a query calls it for one row at
 * a time.  More rows than fit are worked off in parts.
 */
#include "model.h"

#include <string.h>

struct nn_predictor
{
	const nn_model *model;
	nn_device device;
	bool opened;
	bool own_memory; /* the device's memory is not the host's */
	int rows;		 /* of a pass, at most */
	nn_exec **execs; /* one for each network */
	nn_real **params;
	nn_real *x; /* host memory to encode into: an exec's, or our own */
	nn_real *y; /* host memory for outputs; NULL: the exec's own serve */
};

/*
 * Host memory beside the device's: where that is not the host's, and where a
 * network's output is its input, so that the one must not overwrite the other.
 */
static bool
create_staging(nn_predictor *p, nn_arena *arena, nn_error *err)
{
	const nn_model *m = p->model;
	size_t rows = (size_t) p->rows;
	bool needed = p->own_memory;

	for (int i = 0; i < m->nnetworks; i++)
		needed |= p->execs[i]->y == p->execs[i]->x;
	p->x = p->execs[0]->x;
	if (needed)
	{
		p->y = nn_alloc_array(arena, rows * m->networks[0].graph->outputs,
							  sizeof(nn_real), err);
		if (p->y == NULL)
			return false;
	}
	if (p->own_memory)
		p->x = nn_alloc_array(arena, rows * m->features->layout.width,
							  sizeof(nn_real), err);
	return p->x != NULL;
}

static bool
create_exec(nn_predictor *p, int number, nn_arena *arena, nn_error *err)
{
	const nn_network *n = &p->model->networks[number];
	size_t bytes = n->graph->nparams * sizeof(nn_real);
	nn_real *params = (nn_real *) n->params;

	if (p->own_memory)
	{
		params = p->device.ops->alloc(&p->device, bytes > 0 ? bytes : 1);
		if (params == NULL)
			return nn_fail(err, NN_DEVICE_NOMEM, "out of device memory");
		p->params[number] = params;
		p->device.ops->upload(&p->device, params, n->params, bytes);
	}
	p->execs[number] = nn_exec_create(arena, n->graph, &p->device, params,
									  p->rows, false, err);
	return p->execs[number] != NULL;
}

static bool
prepare(nn_predictor *p, nn_arena *arena, nn_error *err)
{
	const nn_model *m = p->model;

	p->execs = nn_alloc_array(arena, m->nnetworks, sizeof(nn_exec *), err);
	p->params = nn_alloc_array(arena, m->nnetworks, sizeof(nn_real *), err);
	if (p->execs == NULL || p->params == NULL)
		return false;
	p->opened = p->device.ops->open(&p->device, 0, err);
	if (!p->opened)
		return false;
	for (int i = 0; i < m->nnetworks; i++)
		if (!create_exec(p, i, arena, err))
			return false;
	return create_staging(p, arena, err);
}

nn_predictor *
nn_predictor_create(nn_arena *arena, const nn_model *m,
					const nn_device_ops *device, int max_rows, nn_error *err)
{
	nn_predictor *p = nn_alloc(arena, sizeof(*p), err);

	if (p == NULL)
		return NULL;
	p->model = m;
	p->device.ops = device;
	p->own_memory = device->alloc != nn_cpu_plain.alloc;
	p->rows = max_rows;
	if (prepare(p, arena, err))
		return p;
	nn_predictor_release(p);
	return NULL;
}

void
nn_predictor_release(nn_predictor *p)
{
	if (p == NULL || !p->opened)
		return;
	for (int i = 0; i < p->model->nnetworks; i++)
	{
		nn_exec_release(p->execs[i]);
		if (p->params[i] != NULL)
			p->device.ops->free(&p->device, p->params[i]);
	}
	p->device.ops->close(&p->device);
	p->opened = false;
}

/* Run one network over rows that are encoded in p->x. */
static void
run_network(nn_predictor *p, int number, int rows)
{
	nn_exec *e = p->execs[number];
	nn_pass pass = {.device = &p->device, .rows = rows, .batch_rows = rows};
	size_t bytes =
		(size_t) rows * p->model->features->layout.width * sizeof(nn_real);

	if (p->own_memory)
		p->device.ops->upload(&p->device, e->x, p->x, bytes);
	else if (e->x != p->x)
		memcpy(e->x, p->x, bytes);
	nn_exec_forward(e, &pass);
}

/* The outputs of a network that has run, in host memory, to be overwritten. */
static nn_real *
network_outputs(nn_predictor *p, int number, int rows)
{
	const nn_exec *e = p->execs[number];

	if (p->y == NULL)
		return e->y;
	p->device.ops->download(&p->device, p->y, e->y,
							(size_t) rows * e->graph->outputs *
								sizeof(nn_real));
	return p->y;
}

bool
nn_predict(nn_predictor *p, const char *records, int rows, double *out,
		   nn_error *err)
{
	const nn_model *m = p->model;
	int part;

	for (; rows > 0; rows -= part)
	{
		part = rows < p->rows ? rows : p->rows;
		nn_features_encode(m->features, records, part, p->x);
		for (int i = 0; i < m->nnetworks; i++)
		{
			nn_real *y;

			run_network(p, i, part);
			y = network_outputs(p, i, part);
			if (!p->device.ops->sync(&p->device, err))
				return false;
			nn_model_add_outputs(m, part, i == 0, y, out);
		}
		nn_model_scale_outputs(m, part, m->nnetworks, out);
		records += part * m->features->record_size;
		out += (size_t) part * m->outputs;
	}
	return true;
}

bool
nn_embed(nn_predictor *p, const char *records, int rows, int layer,
		 nn_real *out, nn_error *err)
{
	const nn_features *f = p->model->features;
	const nn_tensor *t = &p->execs[0]->layers[layer].out;
	size_t width = nn_count(&t->shape);
	int part;

	for (; rows > 0; rows -= part)
	{
		part = rows < p->rows ? rows : p->rows;
		nn_features_encode(f, records, part, p->x);
		run_network(p, 0, part);
		p->device.ops->download(&p->device, out, t->data,
								part * width * sizeof(nn_real));
		if (!p->device.ops->sync(&p->device, err))
			return false;
		records += part * f->record_size;
		out += part * width;
	}
	return true;
}

/* What the members of a team share. */
typedef struct shared_rows
{
	nn_team *team;
	nn_predictor *const *predictors;
	const char *records;
	int rows, layer;
	char *out;
	size_t out_size; /* of a row */
	bool failed; /* set by the first to fail, which sets err */
	nn_error *err;
} shared_rows;

static void
predict_share(int member, void *arg)
{
	shared_rows *s = arg;
	nn_predictor *p = s->predictors[member];
	size_t size = (size_t) nn_team_size(s->team), rows = (size_t) s->rows;
	size_t first = rows * member / size, end = rows * (member + 1) / size;
	const char *records = s->records + first * p->model->features->record_size;
	char *out = s->out + first * s->out_size;
	int n = (int) (end - first);
	nn_error err;
	bool ok;

	if (s->layer < 0)
		ok = nn_predict(p, records, n, (double *) out, &err);
	else
		ok = nn_embed(p, records, n, s->layer, (nn_real *) out, &err);
	if (!ok && !__atomic_exchange_n(&s->failed, true, __ATOMIC_ACQ_REL))
		*s->err = err;
}

bool
nn_predict_by_team(nn_team *team, nn_predictor *const *predictors,
				   const char *records, int rows, int layer, void *out,
				   nn_error *err)
{
	const nn_predictor *p = predictors[0];
	shared_rows s = {.team = team,
					 .predictors = predictors,
					 .records = records,
					 .rows = rows,
					 .layer = layer,
					 .out = out,
					 .err = err};

	s.out_size =
		layer < 0 ? p->model->outputs * sizeof(double)
				  : nn_count(&p->execs[0]->layers[layer].out.shape) *
						sizeof(nn_real);
	nn_team_run(team, predict_share, &s);
	return !s.failed;
}
