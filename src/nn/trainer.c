/*
 * trainer.c
 *	  A trainer: the memory of training, and all of it but the step.
 *
 * Every member of the team has an nn_exec of its own and room for the targets
 * of its share of a batch.  Parameters and what the optimizer keeps for each
 * are blocks of one layout, which all members share.
 */
#include "trainer.h"

#define LINE (NN_ALIGN / sizeof(nn_real))
#define FILL 1024

/* *sum += a b, rounded up to whole cache lines. */
static bool
add_bytes(size_t *sum, size_t a, size_t b)
{
	size_t n;

	return !__builtin_mul_overflow(a, b, &n) &&
		   !__builtin_add_overflow(n, NN_ALIGN - 1, &n) &&
		   !__builtin_add_overflow(*sum, n / NN_ALIGN * NN_ALIGN, sum);
}

/* What a member adds up, at most. */
static size_t
count_sums(const nn_graph *g)
{
	size_t n = SUM_SQUARES;

	for (int i = 0; i < g->nlayers; i++)
		n += (size_t) g->layers[i].nparam;
	return n;
}

/* Bytes of a member's own memory, and those of the blocks that all share. */
static bool
memory_sizes(const nn_graph *g, const nn_trainer_conf *conf, size_t *own,
			 size_t *shared, nn_error *err)
{
	size_t rows = (size_t) nn_trainer_share(conf->batch_rows, conf->threads),
		   width = (size_t) conf->target_width,
		   blocks =
			   1 + (size_t) conf->optimizer->ops->slots(conf->optimizer->conf);

	*own = *shared = 0;
	if (!add_bytes(own, count_sums(g), sizeof(double)) ||
		!add_bytes(own, rows * sizeof(nn_real), width) ||
		!add_bytes(own, rows, sizeof(nn_real)) ||
		!add_bytes(own, rows, sizeof(uint32_t)))
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
nn_trainer_size(const nn_graph *g, const nn_device_ops *device,
				const nn_trainer_conf *conf, nn_error *err)
{
	size_t own, total, exec, factors;

	if (!check_conf(g, conf, err) || !memory_sizes(g, conf, &own, &total, err))
		return 0;
	exec = nn_exec_size(g, nn_trainer_share(conf->batch_rows, conf->threads),
						true, err);
	if (exec == 0)
		return 0;
	/* factors of products, which are kept rounded */
	factors = conf->precision == NN_BF16 && device->own_memory
				  ? exec / 2 + g->nparams * sizeof(nn_real) / 2
				  : 0;
	for (int i = 0; i < conf->threads; i++)
	{
		if (!add_bytes(&total, own, 1) || !add_bytes(&total, exec, 1) ||
			!add_bytes(&total, factors, 1))
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
		m->squares = nn_alloc_array(arena, t->nsegments, sizeof(double), err);
		m->updates =
			nn_alloc_array(arena, t->nsegments, sizeof(nn_optimizer_args), err);
		if (m->squares == NULL || m->updates == NULL)
			return false;
	}
	return true;
}

static bool
open_member(nn_trainer *t, nn_arena *arena, member *m, size_t own,
			nn_error *err)
{
	const nn_device_ops *ops = m->device.ops;
	char *memory;
	size_t rows = (size_t) nn_trainer_share(t->conf.batch_rows, t->size),
		   at = 0;

	m->device.stop = t->conf.stop;
	m->device.precision = t->conf.precision;
	m->opened = ops->open(&m->device, ops->ordinal, err);
	if (!m->opened)
		return false;
	m->memory = memory = ops->alloc(&m->device, own);
	if (memory == NULL)
		return nn_fail(err, NN_DEVICE_NOMEM, "out of device memory");
	ops->zero(&m->device, memory, own);
	m->sums = (double *) memory;
	add_bytes(&at, count_sums(t->graph), sizeof(double));
	m->weight = (nn_real *) (memory + at);
	add_bytes(&at, rows, sizeof(nn_real));
	m->index = (uint32_t *) (memory + at);
	add_bytes(&at, rows, sizeof(uint32_t));
	m->y = (nn_real *) (memory + at);
	m->host_index = m->index;
	if (ops->own_memory)
		m->host_index =
			nn_alloc_array(arena, (int) rows, sizeof(uint32_t), err);
	return m->host_index != NULL;
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
	t->state_size = shared;
	t->params = d->ops->alloc(d, shared);
	if (t->params == NULL)
		return nn_fail(err, NN_DEVICE_NOMEM, "out of device memory");
	nn_device_clear(d, t->params, shared);
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

bool
nn_trainer_goes_on(const nn_trainer *t, nn_error *err)
{
	return !nn_device_stops(&t->members[0].device) ||
		   nn_fail(err, NN_INTERRUPTED, "training was interrupted");
}

static bool
create(nn_trainer *t, nn_arena *arena, const nn_device_ops *device,
	   const nn_real *params, nn_error *err)
{
	int rows = nn_trainer_share(t->conf.batch_rows, t->size);
	size_t own, shared;

	if (!memory_sizes(t->graph, &t->conf, &own, &shared, err) ||
		!plan_updates(t, arena, err))
		return false;
	for (int i = 0; i < t->size; i++)
	{
		t->members[i].device.ops = device;
		if (!open_member(t, arena, &t->members[i], own, err))
			return false;
	}
	if (!place_params(t, arena, shared, params, err))
		return false;
	for (int i = 0; i < t->size; i++)
	{
		member *m = &t->members[i];

		m->exec = nn_exec_create(arena, t->graph, &m->device, t->params, rows,
								 true, err);
		/* large memory takes its time, too */
		if (m->exec == NULL || !nn_trainer_goes_on(t, err))
			return false;
	}
	t->tail.first = -1;
	if (t->size == 1)
		nn_tail_find(t);
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
	if (nn_trainer_size(g, device, conf, err) == 0)
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
		d->ops->zero(d, m->sums, SUM_SQUARES * sizeof(double));
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
	nn_pass p = nn_trainer_pass(t, number);
	int end = p.first_row + p.rows;
	size_t outputs = (size_t) t->graph->outputs;

	p.training = false;
	p.team = NULL;
	for (; p.first_row < end; p.first_row += p.rows)
	{
		p.rows = end - p.first_row < e->rows ? end - p.first_row : e->rows;
		nn_trainer_find_rows(m, t->batch, p.first_row, p.rows);
		nn_trainer_rows(m, t->batch, p.first_row, p.rows,
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
	return nn_trainer_goes_on(t, err) && sync_all(t, err);
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

size_t
nn_trainer_state_size(const nn_trainer *t)
{
	return t->state_size;
}

bool
nn_trainer_save(nn_trainer *t, void *state, nn_error *err)
{
	nn_device *d = &t->members[0].device;

	d->ops->download(d, state, t->params, t->state_size);
	return d->ops->sync(d, err);
}

bool
nn_trainer_restore(nn_trainer *t, const void *state, int64_t steps,
				   nn_error *err)
{
	nn_device *d = &t->members[0].device;

	t->step = steps;
	d->ops->upload(d, t->params, state, t->state_size);
	return d->ops->sync(d, err);
}
