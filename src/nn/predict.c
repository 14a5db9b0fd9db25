/*
 * predict.c
 *	  Records in, predictions out.
 *
 * Everything is made ready once: predicting allocates nothing and decides
 * nothing that depends on the model, because a query calls it for one row at
 * a time.  More rows than fit are worked off in parts.
 */
#include "model.h"

#include <math.h>
#include <string.h>
#include <time.h>

/*
 * What one pass of rows needs.  A device with memory of its own has two, so
 * that the host encodes rows, and the rows of one pass travel, while the
 * device computes the other.
 */
typedef struct lane
{
	nn_device device;
	bool opened;
	nn_exec **execs; /* one for each network */
	nn_real *x;		 /* host memory to encode into: an exec's, or our own */
	nn_real *y;		 /* host memory for outputs; NULL: the exec's own serve */
	int rows;		 /* under way, */
	double *out;	 /* and where their predictions go */
} lane;

#define MAX_LANES 2

struct nn_predictor
{
	const nn_model *model;
	bool own_memory; /* the device's memory is not the host's */
	int rows;		 /* of a pass, at most */
	int nlanes;
	lane lanes[MAX_LANES];
	nn_real **params;
};

static size_t
output_numbers(const nn_predictor *p)
{
	return (size_t) p->rows * p->model->networks[0].graph->outputs;
}

/*
 * Host memory beside the device's: where that is not the host's, and where a
 * network's output is its input, so that the one must not overwrite the other.
 */
static bool
create_staging(nn_predictor *p, lane *l, nn_arena *arena, nn_error *err)
{
	const nn_model *m = p->model;
	const nn_device_ops *ops = l->device.ops;
	bool needed = false;

	if (p->own_memory)
	{
		l->x = ops->alloc_host(&l->device, (size_t) p->rows *
											   m->features->layout.width *
											   sizeof(nn_real));
		l->y = ops->alloc_host(&l->device, (size_t) m->nnetworks *
											   output_numbers(p) *
											   sizeof(nn_real));
		return (l->x != NULL && l->y != NULL) ||
			   nn_fail(err, NN_NOMEM,
					   "out of memory for copies to device \"%s\"", ops->name);
	}
	for (int i = 0; i < m->nnetworks; i++)
		needed |= l->execs[i]->y == l->execs[i]->x;
	l->x = l->execs[0]->x;
	if (needed)
		l->y = nn_alloc_array(arena, output_numbers(p), sizeof(nn_real), err);
	return l->y != NULL || !needed;
}

/* The parameters of a network where the device can read them. */
static nn_real *
place_params(nn_predictor *p, int number, nn_error *err)
{
	const nn_network *n = &p->model->networks[number];
	nn_device *d = &p->lanes[0].device;
	size_t bytes = n->graph->nparams * sizeof(nn_real);

	if (!p->own_memory)
		return (nn_real *) n->params;
	if (p->params[number] == NULL)
	{
		p->params[number] = d->ops->alloc(d, bytes > 0 ? bytes : 1);
		if (p->params[number] == NULL)
		{
			nn_fail(err, NN_DEVICE_NOMEM, "out of device memory");
			return NULL;
		}
		d->ops->upload(d, p->params[number], n->params, bytes);
	}
	return p->params[number];
}

static bool
create_lane(nn_predictor *p, lane *l, nn_arena *arena, nn_error *err)
{
	const nn_model *m = p->model;

	l->execs = nn_alloc_array(arena, m->nnetworks, sizeof(nn_exec *), err);
	if (l->execs == NULL)
		return false;
	l->opened = l->device.ops->open(&l->device, l->device.ops->ordinal, err);
	if (!l->opened)
		return false;
	for (int i = 0; i < m->nnetworks; i++)
	{
		nn_real *params = place_params(p, i, err);

		if (params == NULL)
			return false;
		l->execs[i] = nn_exec_create(arena, m->networks[i].graph, &l->device,
									 params, p->rows, false, err);
		if (l->execs[i] == NULL)
			return false;
	}
	return create_staging(p, l, arena, err);
}

static bool
prepare(nn_predictor *p, nn_arena *arena, const nn_device_ops *device,
		nn_error *err)
{
	p->params =
		nn_alloc_array(arena, p->model->nnetworks, sizeof(nn_real *), err);
	if (p->params == NULL)
		return false;
	for (int i = 0; i < p->nlanes; i++)
	{
		p->lanes[i].device.ops = device;
		if (!create_lane(p, &p->lanes[i], arena, err))
			return false;
	}
	/* the first lane's work brings the parameters that all read */
	return device->sync(&p->lanes[0].device, err);
}

nn_predictor *
nn_predictor_create(nn_arena *arena, const nn_model *m,
					const nn_device_ops *device, int max_rows, nn_error *err)
{
	nn_predictor *p = nn_alloc(arena, sizeof(*p), err);

	if (p == NULL)
		return NULL;
	p->model = m;
	p->own_memory = device->own_memory;
	p->nlanes = p->own_memory ? MAX_LANES : 1;
	p->rows = max_rows;
	if (prepare(p, arena, device, err))
		return p;
	nn_predictor_release(p);
	return NULL;
}

size_t
nn_predictor_size(const nn_model *m, const nn_device_ops *device, int rows,
				  nn_error *err)
{
	size_t lanes = device->own_memory ? MAX_LANES : 1, total = 0;

	for (int i = 0; i < m->nnetworks; i++)
	{
		const nn_graph *g = m->networks[i].graph;
		size_t exec = nn_exec_size(g, rows, false, err);

		if (exec == 0)
			return 0;
		total += lanes * exec;
		if (device->own_memory)
			total += g->nparams * sizeof(nn_real);
	}
	return total;
}

static void
release_lane(lane *l, int networks)
{
	const nn_device_ops *ops = l->device.ops;

	if (l->device.ops->own_memory)
	{
		ops->free_host(&l->device, l->x);
		ops->free_host(&l->device, l->y);
	}
	for (int i = 0; i < networks; i++)
		nn_exec_release(l->execs[i]);
	ops->close(&l->device);
	l->opened = false;
}

void
nn_predictor_release(nn_predictor *p)
{
	lane *first;

	if (p == NULL)
		return;
	first = &p->lanes[0];
	/* the parameters belong to the first lane's device */
	for (int i = p->nlanes - 1; i >= 0; i--)
	{
		for (int j = 0; i == 0 && first->opened && j < p->model->nnetworks; j++)
			if (p->params[j] != NULL)
				first->device.ops->free(&first->device, p->params[j]);
		if (p->lanes[i].opened)
			release_lane(&p->lanes[i], p->model->nnetworks);
	}
}

/* Run one network over rows that are encoded in l->x. */
static void
run_network(const nn_predictor *p, lane *l, int number, int rows)
{
	nn_exec *e = l->execs[number];
	nn_pass pass = {.device = &l->device, .rows = rows, .batch_rows = rows};
	size_t bytes =
		(size_t) rows * p->model->features->layout.width * sizeof(nn_real);

	if (p->own_memory)
		l->device.ops->upload(&l->device, e->x, l->x, bytes);
	else if (e->x != l->x)
		memcpy(e->x, l->x, bytes);
	nn_exec_forward(e, &pass);
}

/* Take what a lane's networks have computed. */
static bool
finish_lane(const nn_predictor *p, lane *l, nn_error *err)
{
	const nn_model *m = p->model;

	if (l->rows == 0)
		return true;
	if (!l->device.ops->sync(&l->device, err))
	{
		l->rows = 0;
		return false;
	}
	for (int i = 0; i < m->nnetworks; i++)
		nn_model_add_outputs(m, l->rows, i == 0,
							 l->y + (size_t) i * output_numbers(p), l->out);
	nn_model_scale_outputs(m, l->rows, m->nnetworks, l->out);
	l->rows = 0;
	return true;
}

/* All networks, whose outputs come to the lane's memory later. */
static void
start_lane(const nn_predictor *p, lane *l, const char *records, int rows,
		   double *out)
{
	const nn_model *m = p->model;

	nn_features_encode(m->features, records, rows, l->x);
	for (int i = 0; i < m->nnetworks; i++)
	{
		run_network(p, l, i, rows);
		l->device.ops->download(
			&l->device, l->y + (size_t) i * output_numbers(p), l->execs[i]->y,
			(size_t) rows * l->execs[i]->graph->outputs * sizeof(nn_real));
	}
	l->rows = rows;
	l->out = out;
}

static bool
predict_in_lanes(nn_predictor *p, const char *records, int rows, double *out,
				 nn_error *err)
{
	bool ok = true;
	int part, number = 0;

	for (; rows > 0 && ok; rows -= part)
	{
		lane *l = &p->lanes[number++ % p->nlanes];

		part = rows < p->rows ? rows : p->rows;
		ok = finish_lane(p, l, err);
		if (ok)
			start_lane(p, l, records, part, out);
		records += part * p->model->features->record_size;
		out += (size_t) part * p->model->outputs;
	}
	for (int i = 0; i < p->nlanes; i++)
		ok = finish_lane(p, &p->lanes[i], err) && ok;
	return ok;
}

/* On the host, where a pass ends before the next begins. */
static void
predict_here(nn_predictor *p, const char *records, int rows, double *out)
{
	const nn_model *m = p->model;
	lane *l = &p->lanes[0];

	nn_features_encode(m->features, records, rows, l->x);
	for (int i = 0; i < m->nnetworks; i++)
	{
		nn_real *y = l->execs[i]->y;

		run_network(p, l, i, rows);
		if (l->y != NULL)
		{
			memcpy(l->y, y,
				   (size_t) rows * m->networks[i].graph->outputs *
					   sizeof(nn_real));
			y = l->y;
		}
		nn_model_add_outputs(m, rows, i == 0, y, out);
	}
	nn_model_scale_outputs(m, rows, m->nnetworks, out);
}

bool
nn_predict(nn_predictor *p, const char *records, int rows, double *out,
		   nn_error *err)
{
	int part;

	if (p->own_memory)
		return predict_in_lanes(p, records, rows, out, err);
	for (; rows > 0; rows -= part)
	{
		part = rows < p->rows ? rows : p->rows;
		predict_here(p, records, part, out);
		records += part * p->model->features->record_size;
		out += (size_t) part * p->model->outputs;
	}
	return true;
}

double
nn_predictor_seconds(nn_predictor *p, int rows, nn_error *err)
{
	lane *l = &p->lanes[0];
	double best = INFINITY;

	rows = rows < p->rows ? rows : p->rows;
	for (int round = 0; round < 3; round++)
	{
		struct timespec from, to;
		double seconds;

		clock_gettime(CLOCK_MONOTONIC, &from);
		for (int i = 0; i < p->model->nnetworks; i++)
			run_network(p, l, i, rows);
		if (!l->device.ops->sync(&l->device, err))
			return -1;
		clock_gettime(CLOCK_MONOTONIC, &to);
		seconds = (double) (to.tv_sec - from.tv_sec) +
				  1e-9 * (double) (to.tv_nsec - from.tv_nsec);
		best = seconds < best ? seconds : best;
	}
	return best / rows;
}

bool
nn_embed(nn_predictor *p, const char *records, int rows, int layer,
		 nn_real *out, nn_error *err)
{
	const nn_features *f = p->model->features;
	lane *l = &p->lanes[0];
	nn_device *d = &l->device;
	const nn_tensor *t = &l->execs[0]->layers[layer].out;
	size_t width = nn_count(&t->shape);
	int part;

	for (; rows > 0; rows -= part)
	{
		part = rows < p->rows ? rows : p->rows;
		nn_features_encode(f, records, part, l->x);
		run_network(p, l, 0, part);
		d->ops->download(d, out, t->data, part * width * sizeof(nn_real));
		if (!d->ops->sync(d, err))
			return false;
		records += part * f->record_size;
		out += part * width;
	}
	return true;
}
