/*
 * trainer.c
 *	  One training step, shared by a team of threads.
 *
 * Every member of the team has an nn_exec of its own and takes a contiguous
 * share of the batch through it.  All read one block of parameters.  When
 * every member has its gradient, each adds up one slice of all gradients, in
 * order of the members, and updates that slice of the parameters.  So a step
 * takes one barrier (a second one when norms are clipped), nothing is
 * allocated, and no two threads write to the same memory.
 *
 * All numbers that kernels touch are device memory and all arithmetic is done
 * by kernels, so a team of one drives any device with the same code.
 */
#include <math.h>

#include "train.h"

/* A parameter that a gradient moves, as a part of the block of all. */
typedef struct segment
{
	size_t from, to;
	double rate;
	bool kernel;
} segment;

typedef struct member
{
	nn_device device;
	bool opened;
	nn_exec *exec;
	void *memory; /* device memory of the next three */
	double *sums; /* of the loss, since last asked; of the penalty and the
					* squares of a segment, which come after it */
	nn_real *y;	  /* targets of its share of the batch */
	nn_real *weight;
	double *norm;	 /* host memory: squares of its slice, by segment */
	size_t from, to; /* slice of the parameters that it updates */
	double loss;	 /* host memory: sum of its losses */
	bool failed;
	nn_error error;
} member;

enum
{
	SUM_LOSS,
	SUM_PENALTY,
	SUM_SQUARES,
	SUMS = 8
};

struct nn_trainer
{
	const nn_graph *graph;
	nn_trainer_conf conf;
	nn_team *team;
	int size; /* of the team */
	member *members;
	int nsegments;
	segment *segments;
	nn_real *params;
	nn_real *slot[3];
	bool norms; /* whether norms of gradients are needed */
	int64_t step;
	int64_t rows; /* since the loss was last asked for */

	/* what the team is working at */
	const nn_batch *batch;
	double rate;
	nn_real *out;
};

#define LINE (NN_ALIGN / sizeof(nn_real))
#define FILL 1024

/* Rows of a batch that each of so many members takes at most. */
static int
share_of(int rows, int members)
{
	return rows / members + (rows % members != 0);
}

/* *sum += a b, rounded up to whole cache lines. */
static bool
add_bytes(size_t *sum, size_t a, size_t b)
{
	size_t n;

	return !__builtin_mul_overflow(a, b, &n) &&
		   !__builtin_add_overflow(n, NN_ALIGN - 1, &n) &&
		   !__builtin_add_overflow(*sum, n / NN_ALIGN * NN_ALIGN, sum);
}

/* Bytes of a member's own memory, and those of the blocks that all share. */
static bool
memory_sizes(const nn_graph *g, const nn_trainer_conf *conf, size_t *own,
			 size_t *shared, nn_error *err)
{
	size_t rows = (size_t) share_of(conf->batch_rows, conf->threads),
		   width = (size_t) conf->target_width,
		   blocks =
			   1 + (size_t) conf->optimizer->ops->slots(conf->optimizer->conf);

	*own = *shared = 0;
	if (!add_bytes(own, SUMS, sizeof(double)) ||
		!add_bytes(own, rows * sizeof(nn_real), width) ||
		!add_bytes(own, rows, sizeof(nn_real)))
		return nn_fail(err, NN_LIMIT, "batch of %d rows is too large",
					   conf->batch_rows);
	for (size_t i = 0; i < blocks; i++)
	{
		if (!add_bytes(shared, g->nparams, sizeof(nn_real)))
			return nn_fail(err, NN_LIMIT, "network of %zu numbers is too large",
						   g->nparams);
	}
	return true;
}

static bool
check_conf(const nn_graph *g, const nn_trainer_conf *conf, nn_error *err)
{
	const nn_loss_ops *loss = conf->loss->ops;

	if (conf->threads < 1 || conf->threads > NN_MAX_THREADS)
		return nn_fail(err, NN_INVALID, "number of threads must be 1 to %d",
					   NN_MAX_THREADS);
	if (conf->batch_rows < 1)
		return nn_fail(err, NN_INVALID, "a batch must have at least one row");
	if (loss->categorical ? conf->target_width != 1
						  : conf->target_width != g->outputs)
		return nn_fail(err, NN_SHAPE,
					   "%s: network of %d outputs does not fit %d targets",
					   loss->named.name, g->outputs, conf->target_width);
	return true;
}

size_t
nn_trainer_size(const nn_graph *g, const nn_trainer_conf *conf, nn_error *err)
{
	size_t own, total, exec;

	if (!check_conf(g, conf, err) || !memory_sizes(g, conf, &own, &total, err))
		return 0;
	exec =
		nn_exec_size(g, share_of(conf->batch_rows, conf->threads), true, err);
	if (exec == 0)
		return 0;
	for (int i = 0; i < conf->threads; i++)
	{
		if (!add_bytes(&total, own, 1) || !add_bytes(&total, exec, 1))
		{
			nn_fail(err, NN_LIMIT, "batch of %d rows is too large",
					conf->batch_rows);
			return 0;
		}
	}
	return total;
}

/* List what a gradient moves, and cut all parameters into a slice a member. */
static bool
plan_updates(nn_trainer *t, nn_arena *arena, nn_error *err)
{
	const nn_graph *g = t->graph;
	size_t slice = (g->nparams / LINE / t->size + 1) * LINE;

	for (int i = 0; i < g->nlayers; i++)
	{
		for (int j = 0; j < g->layers[i].nparam; j++)
			t->nsegments += g->layers[i].param[j].trainable;
	}
	t->segments = nn_alloc_array(arena, t->nsegments, sizeof(segment), err);
	if (t->segments == NULL)
		return false;
	t->nsegments = 0;
	for (int i = 0; i < g->nlayers; i++)
	{
		for (int j = 0; j < g->layers[i].nparam; j++)
		{
			const nn_param *p = &g->layers[i].param[j];

			if (p->trainable)
				t->segments[t->nsegments++] =
					(segment){p->offset, p->offset + nn_count(&p->shape),
							  p->rate, p->kernel};
		}
	}
	for (int i = 0; i < t->size; i++)
	{
		member *m = &t->members[i];

		m->from = i * slice < g->nparams ? i * slice : g->nparams;
		m->to = m->from + slice < g->nparams ? m->from + slice : g->nparams;
		m->norm = nn_alloc_array(arena, t->nsegments, sizeof(double), err);
		if (m->norm == NULL)
			return false;
	}
	return true;
}

static bool
open_member(nn_trainer *t, member *m, size_t own, nn_error *err)
{
	const nn_device_ops *ops = m->device.ops;
	char *memory;
	size_t rows = (size_t) share_of(t->conf.batch_rows, t->size), at = 0;

	m->opened = ops->open(&m->device, 0, err);
	if (!m->opened)
		return false;
	m->memory = memory = ops->alloc(&m->device, own);
	if (memory == NULL)
		return nn_fail(err, NN_DEVICE_NOMEM, "out of device memory");
	ops->zero(&m->device, memory, own);
	m->sums = (double *) memory;
	add_bytes(&at, SUMS, sizeof(double));
	m->weight = (nn_real *) (memory + at);
	add_bytes(&at, rows, sizeof(nn_real));
	m->y = (nn_real *) (memory + at);
	return true;
}

/* Fill a slot with the number it begins at.  buf must live until sync. */
static void
fill_slot(nn_trainer *t, nn_real *slot, double value, nn_real *buf)
{
	nn_device *d = &t->members[0].device;

	for (size_t i = 0; i < FILL; i++)
		buf[i] = (nn_real) value;
	for (size_t i = 0; i < t->graph->nparams; i += FILL)
	{
		size_t left = t->graph->nparams - i;

		d->ops->upload(d, slot + i, buf,
					   (left < FILL ? left : FILL) * sizeof(nn_real));
	}
}

static bool
place_params(nn_trainer *t, nn_arena *arena, size_t shared,
			 const nn_real *params, nn_error *err)
{
	const nn_optimizer *o = t->conf.optimizer;
	nn_device *d = &t->members[0].device;
	size_t bytes = 0;

	add_bytes(&bytes, t->graph->nparams, sizeof(nn_real));
	t->params = d->ops->alloc(d, shared);
	if (t->params == NULL)
		return nn_fail(err, NN_DEVICE_NOMEM, "out of device memory");
	d->ops->zero(d, t->params, shared);
	for (int i = 0; i < o->ops->slots(o->conf); i++)
		t->slot[i] = t->params + (i + 1) * (bytes / sizeof(nn_real));
	if (o->ops->slot_value != NULL && t->slot[0] != NULL)
	{
		nn_real *buf = nn_alloc_array(arena, FILL, sizeof(nn_real), err);

		if (buf == NULL)
			return false;
		fill_slot(t, t->slot[0], o->ops->slot_value(o->conf), buf);
	}
	d->ops->upload(d, t->params, params, t->graph->nparams * sizeof(nn_real));
	return d->ops->sync(d, err);
}

static bool
create(nn_trainer *t, nn_arena *arena, const nn_device_ops *device,
	   const nn_real *params, nn_error *err)
{
	int rows = share_of(t->conf.batch_rows, t->size);
	size_t own, shared;

	if (!memory_sizes(t->graph, &t->conf, &own, &shared, err) ||
		!plan_updates(t, arena, err))
		return false;
	for (int i = 0; i < t->size; i++)
	{
		t->members[i].device.ops = device;
		if (!open_member(t, &t->members[i], own, err))
			return false;
	}
	if (!place_params(t, arena, shared, params, err))
		return false;
	for (int i = 0; i < t->size; i++)
	{
		member *m = &t->members[i];

		m->exec = nn_exec_create(arena, t->graph, &m->device, t->params, rows,
								 true, err);
		if (m->exec == NULL)
			return false;
	}
	t->team = nn_team_create(arena, t->size, err);
	return t->team != NULL;
}

nn_trainer *
nn_trainer_create(nn_arena *arena, const nn_graph *g,
				  const nn_device_ops *device, const nn_trainer_conf *conf,
				  const nn_real *params, nn_error *err)
{
	nn_trainer *t;

	/* all that can be known to be too large, before anything is taken */
	if (nn_trainer_size(g, conf, err) == 0)
		return NULL;
	t = nn_alloc(arena, sizeof(nn_trainer), err);
	if (t == NULL)
		return NULL;
	t->graph = g;
	t->conf = *conf;
	t->members = nn_alloc_array(arena, conf->threads, sizeof(member), err);
	if (t->members == NULL)
		return NULL;
	t->size = conf->threads;
	t->norms =
		conf->optimizer->clipnorm > 0 || conf->optimizer->global_clipnorm > 0;
	if (!create(t, arena, device, params, err))
	{
		nn_trainer_release(t);
		return NULL;
	}
	return t;
}

void
nn_trainer_release(nn_trainer *t)
{
	if (t == NULL)
		return;
	if (t->team != NULL)
		nn_team_destroy(t->team);
	t->team = NULL;
	/* backwards, as the parameters belong to the first member's device */
	for (int i = t->size - 1; i >= 0; i--)
	{
		member *m = &t->members[i];

		if (!m->opened)
			continue;
		nn_exec_release(m->exec);
		m->exec = NULL;
		if (i == 0 && t->params != NULL)
			m->device.ops->free(&m->device, t->params);
		if (m->memory != NULL)
			m->device.ops->free(&m->device, m->memory);
		m->device.ops->close(&m->device);
		m->opened = false;
	}
	t->params = NULL;
}

/* Rows from .. of x, or those that index says, into y. */
static void
take_rows(nn_device *d, const uint32_t *index, int from, int rows, int width,
		  const nn_real *x, nn_real *y)
{
	if (rows == 0)
		return;
	if (index != NULL)
		d->ops->gather(d, rows, width, x, index + from, y);
	else
		d->ops->copy(d, y, x + (size_t) from * width,
					 (size_t) rows * width * sizeof(nn_real));
}

/* What part of the batch a member takes. */
static nn_pass
member_pass(nn_trainer *t, int number)
{
	int rows = t->batch->rows, share = share_of(rows, t->size),
		from = (int64_t) number * share < rows ? number * share : rows;

	return (nn_pass){
		.device = &t->members[number].device,
		.rows = rows - from < share ? rows - from : share,
		.first_row = from,
		.batch_rows = rows,
		.training = true,
		.seed = t->conf.seed,
		.step = (uint64_t) t->step,
		.team = t->size > 1 ? t->team : NULL,
		.member = number,
	};
}

/* The gradient of a member's share, into its exec's grads. */
static void
compute_gradient(nn_trainer *t, member *m, const nn_pass *p)
{
	const nn_batch *b = t->batch;
	const nn_loss *loss = t->conf.loss;
	nn_device *d = &m->device;
	nn_exec *e = m->exec;

	take_rows(d, b->index, p->first_row, p->rows, t->graph->layout->width, b->x,
			  e->x);
	take_rows(d, b->index, p->first_row, p->rows, t->conf.target_width, b->y,
			  m->y);
	if (b->weight != NULL)
		take_rows(d, b->index, p->first_row, p->rows, 1, b->weight, m->weight);
	nn_exec_forward(e, p);
	if (p->rows > 0)
	{
		nn_loss_args args = {
			.kind = loss->ops->kind,
			.p = {loss->p[0], loss->p[1]},
			.m = p->rows,
			.n = t->graph->outputs,
			.pred = e->y,
			.y = m->y,
			.weight = b->weight != NULL ? m->weight : NULL,
			.sum = m->sums + SUM_LOSS,
			.dpred = e->dy,
			.scale = 1.0 / b->rows,
		};

		d->ops->loss(d, &args);
	}
	nn_exec_backward(e, p);
}

/* The part of a segment that is in a member's slice; false when none is. */
static bool
part_of(const segment *s, const member *m, size_t *from, size_t *n)
{
	size_t to = s->to < m->to ? s->to : m->to;

	*from = s->from > m->from ? s->from : m->from;
	if (*from >= to)
		return false;
	*n = to - *from;
	return true;
}

/*
 * Add up a member's slice of the gradients of all who had rows, into the first
 * member's, and add the gradient of the penalty.
 */
static void
sum_gradients(nn_trainer *t, member *m)
{
	nn_device *d = &m->device;
	nn_real *sum = t->members[0].exec->grads;
	int share = share_of(t->batch->rows, t->size);
	size_t from, n;

	for (int i = 1; i < t->size && (int64_t) i * share < t->batch->rows; i++)
	{
		if (m->to > m->from)
			d->ops->axpby(d, m->to - m->from, 1,
						  t->members[i].exec->grads + m->from, 1,
						  sum + m->from);
	}
	if (t->conf.l1 <= 0 && t->conf.l2 <= 0)
		return;
	for (int i = 0; i < t->nsegments; i++)
	{
		if (t->segments[i].kernel && part_of(&t->segments[i], m, &from, &n))
			d->ops->regularize(d, n, t->conf.l1, t->conf.l2, t->params + from,
							   m->sums + SUM_PENALTY, sum + from);
	}
}

/* The squares of a member's slice of the gradient, to host memory. */
static void
measure_slice(nn_trainer *t, member *m)
{
	nn_device *d = &m->device;
	size_t from, n;

	for (int i = 0; i < t->nsegments; i++)
	{
		m->norm[i] = 0;
		if (!part_of(&t->segments[i], m, &from, &n))
			continue;
		d->ops->zero(d, m->sums + SUM_SQUARES, sizeof(double));
		d->ops->sum_squares(d, n, t->members[0].exec->grads + from,
							m->sums + SUM_SQUARES);
		d->ops->download(d, &m->norm[i], m->sums + SUM_SQUARES, sizeof(double));
	}
	m->failed = !d->ops->sync(d, &m->error);
}

/* What gradients of a segment are multiplied with, or of all for -1. */
static double
clip_scale(const nn_trainer *t, int number, double most)
{
	double squares = 0;

	for (int i = 0; i < t->nsegments; i++)
	{
		if (number >= 0 && i != number)
			continue;
		for (int j = 0; j < t->size; j++)
			squares += t->members[j].norm[i];
	}
	return sqrt(squares) > most ? most / sqrt(squares) : 1;
}

static void
update_slice(nn_trainer *t, member *m)
{
	const nn_optimizer *o = t->conf.optimizer;
	nn_device *d = &m->device;
	nn_optimizer_args args = {
		.kind = o->ops->kind,
		.clip_value = o->clipvalue,
		.t = t->step + 1,
	};
	double scale =
		o->global_clipnorm > 0 ? clip_scale(t, -1, o->global_clipnorm) : 1;
	size_t from;

	o->ops->args(o->conf, &args);
	for (int i = 0; i < t->nsegments; i++)
	{
		const segment *s = &t->segments[i];

		if (!part_of(s, m, &from, &args.n))
			continue;
		args.rate = t->rate * s->rate;
		args.decay = s->kernel ? o->weight_decay : 0;
		args.grad_scale =
			o->clipnorm > 0 ? clip_scale(t, i, o->clipnorm) : scale;
		args.grad = t->members[0].exec->grads + from;
		args.param = t->params + from;
		for (int j = 0; j < 3; j++)
			args.slot[j] = t->slot[j] == NULL ? NULL : t->slot[j] + from;
		d->ops->optimizer(d, &args);
	}
}

static void
step_member(int number, void *arg)
{
	nn_trainer *t = arg;
	member *m = &t->members[number];
	nn_pass p = member_pass(t, number);

	compute_gradient(t, m, &p);
	nn_team_barrier(t->team);
	sum_gradients(t, m);
	if (t->norms)
	{
		measure_slice(t, m);
		nn_team_barrier(t->team);
	}
	update_slice(t, m);
}

bool
nn_trainer_step(nn_trainer *t, const nn_batch *b, double rate, nn_error *err)
{
	nn_pass p;

	if (b->rows < 1 || b->rows > t->conf.batch_rows)
		return nn_fail(err, NN_INVALID,
					   "a batch of %d rows is not among 1 to %d", b->rows,
					   t->conf.batch_rows);
	t->batch = b;
	t->rate = rate;
	nn_team_run(t->team, step_member, t);
	/* the others sleep now, so none reads what this changes */
	p = member_pass(t, 0);
	nn_exec_learn(t->members[0].exec, &p);
	t->step++;
	t->rows += b->rows;
	for (int i = 0; i < t->size && t->norms; i++)
	{
		if (t->members[i].failed)
		{
			*err = t->members[i].error;
			return false;
		}
	}
	return true;
}

/* Wait for every member's device. */
static bool
sync_all(nn_trainer *t, nn_error *err)
{
	for (int i = 0; i < t->size; i++)
	{
		nn_device *d = &t->members[i].device;

		if (!d->ops->sync(d, err))
			return false;
	}
	return true;
}

bool
nn_trainer_sync(nn_trainer *t, double *loss, nn_error *err)
{
	double sum = 0;

	for (int i = 0; i < t->size; i++)
	{
		member *m = &t->members[i];
		nn_device *d = &m->device;

		d->ops->download(d, &m->loss, m->sums + SUM_LOSS, sizeof(double));
		d->ops->zero(d, m->sums, SUMS * sizeof(double));
	}
	if (!sync_all(t, err))
		return false;
	for (int i = 0; i < t->size; i++)
		sum += t->members[i].loss;
	*loss = t->rows > 0 ? sum / (double) t->rows : 0;
	t->rows = 0;
	return true;
}

static void
predict_member(int number, void *arg)
{
	nn_trainer *t = arg;
	member *m = &t->members[number];
	nn_device *d = &m->device;
	nn_exec *e = m->exec;
	nn_pass p = member_pass(t, number);
	int end = p.first_row + p.rows;
	size_t outputs = (size_t) t->graph->outputs;

	p.training = false;
	p.team = NULL;
	for (; p.first_row < end; p.first_row += p.rows)
	{
		p.rows = end - p.first_row < e->rows ? end - p.first_row : e->rows;
		take_rows(d, t->batch->index, p.first_row, p.rows,
				  t->graph->layout->width, t->batch->x, e->x);
		nn_exec_forward(e, &p);
		d->ops->download(d, t->out + (size_t) p.first_row * outputs, e->y,
						 (size_t) p.rows * outputs * sizeof(nn_real));
	}
}

bool
nn_trainer_predict(nn_trainer *t, const nn_batch *b, nn_real *y, nn_error *err)
{
	t->batch = b;
	t->out = y;
	nn_team_run(t->team, predict_member, t);
	return sync_all(t, err);
}

bool
nn_trainer_params(nn_trainer *t, nn_real *params, nn_error *err)
{
	nn_device *d = &t->members[0].device;

	d->ops->download(d, params, t->params, t->graph->nparams * sizeof(nn_real));
	return d->ops->sync(d, err);
}

bool
nn_trainer_set_params(nn_trainer *t, const nn_real *params, nn_error *err)
{
	nn_device *d = &t->members[0].device;

	d->ops->upload(d, t->params, params, t->graph->nparams * sizeof(nn_real));
	return d->ops->sync(d, err);
}
