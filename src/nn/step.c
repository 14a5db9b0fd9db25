/*
 * step.c
 *	  One training step, shared by a team of threads.
 *
 * Every member of the team takes a contiguous share of the batch through its
 * own nn_exec.  All read one block of parameters.  When every member has its
 * gradient, each adds up one slice of all gradients, in order of the members,
 * and updates that slice of the parameters.  So a step takes one barrier (a
 * second one when norms are clipped), nothing is allocated, and no two threads
 * write to the same memory.
 *
 * All numbers that kernels touch are device memory and all arithmetic is done
 * by kernels, so a team of one drives any device with the same code.
 */
#include "trainer.h"

void
nn_trainer_find_rows(member *m, const nn_batch *b, int from, int rows)
{
	const nn_rows which = nn_trainer_which(b, from);
	nn_device *d = &m->device;

	if (rows == 0 || which.order.columns == 0)
		return;
	if (b->host)
		nn_cpu_ops(-1)->places(d, &which, rows, m->host_index);
	else
		d->ops->places(d, &which, rows, m->index);
}

void
nn_trainer_rows(member *m, const nn_batch *b, int from, int rows, int width,
				const nn_real *x, nn_real *y)
{
	nn_device *d = &m->device;
	bool ordered = b->which.order.columns == 0;

	if (rows == 0)
		return;
	if (ordered)
		x += ((size_t) b->which.first + (size_t) from) * (size_t) width;
	if (b->host)
		d->ops->upload_rows(d, rows, width, x, ordered ? NULL : m->host_index,
							y);
	else if (ordered)
		d->ops->copy(d, y, x, (size_t) rows * width * sizeof(nn_real));
	else
		d->ops->gather(d, rows, width, x, m->index, y);
}

void
nn_trainer_targets(nn_trainer *t, member *m, const nn_pass *p)
{
	const nn_batch *b = t->batch;

	nn_trainer_rows(m, b, p->first_row, p->rows, t->conf.target_width, b->y,
					m->y);
	if (b->weight != NULL)
		nn_trainer_rows(m, b, p->first_row, p->rows, 1, b->weight, m->weight);
}

nn_pass
nn_trainer_pass(nn_trainer *t, int number)
{
	int rows = t->batch->rows, share = nn_trainer_share(rows, t->size),
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

	if (nn_tail_gradient(t, m, p))
		return;
	nn_trainer_find_rows(m, b, p->first_row, p->rows);
	nn_trainer_rows(m, b, p->first_row, p->rows, t->graph->layout->width, b->x,
					e->x);
	nn_trainer_targets(t, m, p);
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
	int share = nn_trainer_share(t->batch->rows, t->size);
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

/* How many norms there are: that of all of the gradient, or by segment. */
static int
count_norms(const nn_trainer *t)
{
	return t->conf.optimizer->global_clipnorm > 0 ? 1 : t->nsegments;
}

/* The squares of a member's slice of the gradient. */
static void
measure_slice(const nn_trainer *t, member *m)
{
	nn_device *d = &m->device;
	int norms = count_norms(t);
	double *squares = m->sums + SUM_SQUARES;
	size_t from, n;

	d->ops->zero(d, squares, (size_t) norms * sizeof(double));
	for (int i = 0; i < t->nsegments; i++)
		if (part_of(&t->segments[i], m, &from, &n))
			d->ops->sum_squares(d, n, t->members[0].exec->grads + from,
								squares + (norms > 1 ? i : 0));
}

/*
 * Those of all slices.  One member's are where its device has them, so that
 * the host need not wait; several members share the host's memory.
 */
static const double *
place_of_squares(const nn_trainer *t, const member *m)
{
	return t->size == 1 ? m->sums + SUM_SQUARES : m->squares;
}

static void
add_squares(const nn_trainer *t, member *m)
{
	for (int i = 0; i < count_norms(t) && t->size > 1; i++)
	{
		m->squares[i] = 0;
		for (int j = 0; j < t->size; j++)
			m->squares[i] += t->members[j].sums[SUM_SQUARES + i];
	}
}

/* How a member's slice is updated, from gradients that need not be there yet. */
static void
plan_updates(nn_trainer *t, member *m)
{
	const nn_optimizer *o = t->conf.optimizer;
	nn_optimizer_args args = {
		.kind = o->ops->kind,
		.most = o->global_clipnorm > 0 ? o->global_clipnorm : o->clipnorm,
		.clip_value = o->clipvalue,
		.t = t->step + 1,
	};
	const double *squares = t->norms ? place_of_squares(t, m) : NULL;
	bool each = count_norms(t) > 1;
	size_t from;

	m->nupdates = 0;
	o->ops->args(o->conf, &args);
	for (int i = 0; i < t->nsegments; i++)
	{
		const segment *s = &t->segments[i];

		if (!part_of(s, m, &from, &args.n))
			continue;
		args.rate = t->rate * s->rate;
		args.decay = s->kernel ? o->weight_decay : 0;
		args.squares = squares != NULL && each ? squares + i : squares;
		args.grad = t->members[0].exec->grads + from;
		args.param = t->params + from;
		for (int j = 0; j < 3; j++)
			args.slot[j] = t->slot[j] == NULL ? NULL : t->slot[j] + from;
		m->updates[m->nupdates++] = args;
	}
}

/*
 * Processors are a hundred times slower with denormal numbers, and training
 * makes them: a mean of gradients that have become zero decays through them
 * and never leaves.  So they are zero during a step.  The mode belongs to the
 * thread, which may be the host program's: flush_denormals returns what is to
 * be given to restore_mode.
 */
#if defined(__SSE__)
#define FLUSH_TO_ZERO	   0x8000
#define DENORMALS_ARE_ZERO 0x0040

static unsigned
flush_denormals(void)
{
	unsigned mode = __builtin_ia32_stmxcsr();

	__builtin_ia32_ldmxcsr(mode | FLUSH_TO_ZERO | DENORMALS_ARE_ZERO);
	return mode;
}

static void
restore_mode(unsigned mode)
{
	__builtin_ia32_ldmxcsr(mode);
}
#elif defined(__aarch64__)
#define FLUSH_TO_ZERO (UINT64_C(1) << 24)

static uint64_t
flush_denormals(void)
{
	uint64_t mode;

	__asm__ volatile("mrs %0, fpcr" : "=r"(mode));
	__asm__ volatile("msr fpcr, %0" : : "r"(mode | FLUSH_TO_ZERO));
	return mode;
}

static void
restore_mode(uint64_t mode)
{
	__asm__ volatile("msr fpcr, %0" : : "r"(mode));
}
#else
static int
flush_denormals(void)
{
	return 0;
}

static void
restore_mode(int mode)
{
	(void) mode;
}
#endif

static void
step_member(int number, void *arg)
{
	nn_trainer *t = arg;
	member *m = &t->members[number];
	nn_pass p = nn_trainer_pass(t, number);
	__typeof__(flush_denormals()) mode = flush_denormals();

	plan_updates(t, m);
	compute_gradient(t, m, &p);
	nn_team_barrier(t->team);
	sum_gradients(t, m);
	if (t->norms)
	{
		measure_slice(t, m);
		nn_team_barrier(t->team);
		add_squares(t, m);
	}
	m->device.ops->optimizers(&m->device, m->nupdates, m->updates);
	restore_mode(mode);
}

bool
nn_trainer_step(nn_trainer *t, const nn_batch *b, double rate, nn_error *err)
{
	nn_device *d = &t->members[0].device;
	nn_pass p;

	if (b->rows < 1 || b->rows > t->conf.batch_rows)
		return nn_fail(err, NN_INVALID,
					   "a batch of %d rows is not among 1 to %d", b->rows,
					   t->conf.batch_rows);
	t->batch = b;
	t->rate = rate;
	d->ops->begin_step(d);
	nn_team_run(t->team, step_member, t);
	if (!nn_trainer_goes_on(t, err))
	{
		d->ops->end_step(d);
		return false;
	}
	/* the others sleep now, so none reads what this changes */
	p = nn_trainer_pass(t, 0);
	nn_exec_learn(t->members[0].exec, &p);
	d->ops->end_step(d);
	t->step++;
	t->rows += b->rows;
	return true;
}
