/*
 * tail.c
 *	  The end of a network as one kernel, where a device has it.
 *
 * Most networks end in small dense layers, each of which reads the one before
 * it and is read by no other, with dropout between some.  As many of them as
 * the kernel takes, counted from the loss, are its work, and so are the updates
 * of their parameters, unless norms or penalties come between.  A network of
 * nothing else is its work wholly; then it also finds its rows in the data.
 */
#include "trainer.h"

/* A dense layer as the kernel takes it; false when it does not. */
static bool
is_small_dense(const nn_layer *l)
{
	for (int i = 0; i < l->nparam; i++)
		if (!l->param[i].trainable)
			return false;
	return l->ops == &nn_layer_dense && l->in[0]->shape.ndim == 1 &&
		   l->in[0]->shape.dim[0] <= NN_MLP_WIDTH &&
		   l->out.shape.dim[0] <= NN_MLP_WIDTH;
}

static void
describe(const nn_layer *l, nn_mlp_layer *to)
{
	const nn_param *w = &l->param[0], *b = l->nparam > 1 ? &l->param[1] : NULL;

	*to = (nn_mlp_layer){
		.inputs = l->in[0]->shape.dim[0],
		.outputs = l->out.shape.dim[0],
		.f = l->function,
		.a = l->argument,
		.w = w->data,
		.b = b != NULL ? b->data : NULL,
		.dw = w->grad,
		.db = b != NULL ? b->grad : NULL,
	};
}

/*
 * The layer before one, when the kernel takes both: nothing is between but a
 * function, and dropout, whose number is given, too.  Else -1.
 */
static int
layer_before(const nn_exec *e, const nn_layer *l, int *dropout)
{
	int i = l->in_number[0];

	*dropout = -1;
	if (i < 0 || l->in_beta[0] != 0)
		return -1;
	if (e->layers[i].ops == &nn_layer_dropout)
	{
		if (e->layers[i].readers != 1 || e->layers[i].in_beta[0] != 0)
			return -1;
		*dropout = i;
		i = e->layers[i].in_number[0];
	}
	if (i < 0 || e->layers[i].readers != 1)
		return -1;
	while (i > 0 && e->layers[i].fused)
		i--;
	return is_small_dense(&e->layers[i]) ? i : -1;
}

/* The segment that a parameter is. */
static int
find_segment(const nn_trainer *t, const nn_param *p)
{
	int i = 0;

	while (t->segments[i].from != p->offset)
		i++;
	return i;
}

void
nn_tail_find(nn_trainer *trainer)
{
	const nn_exec *e = trainer->members[0].exec;
	tail *t = &trainer->tail;
	int number[NN_MLP_LAYERS], dropout[NN_MLP_LAYERS], count = 0;
	int i = e->graph->nlayers - 1, between = -1;
	const nn_layer *first;

	t->first = -1;
	if (e->device->ops->mlp == NULL)
		return;
	while (i > 0 && e->layers[i].fused)
		i--;
	if (!is_small_dense(&e->layers[i]))
		return;
	/* from the loss backwards */
	for (; i >= 0 && count < NN_MLP_LAYERS; count++)
	{
		number[count] = i;
		dropout[count] = between;
		i = layer_before(e, &e->layers[i], &between);
	}
	t->args.nlayers = count;
	for (i = 0; i < count; i++)
	{
		nn_mlp_layer *to = &t->args.layer[count - 1 - i];
		const nn_layer *l = &e->layers[number[i]];

		describe(l, to);
		t->w_segment[count - 1 - i] = find_segment(trainer, &l->param[0]);
		if (l->nparam > 1)
			t->b_segment[count - 1 - i] = find_segment(trainer, &l->param[1]);
		t->dropout[count - 1 - i] = dropout[i];
		if (dropout[i] >= 0)
			to->dropout = e->layers[dropout[i]].argument;
	}
	t->first = number[count - 1];
	first = &e->layers[t->first];
	t->args.x = first->in[0]->data;
	t->args.dx = first->in[0]->grad;
	t->args.dx_beta = first->in_beta[0];
	t->whole = true;
	for (i = 0; i < t->first; i++)
		t->whole = t->whole && e->layers[i].out.data == e->x;
	t->updates =
		!trainer->norms && trainer->conf.l1 <= 0 && trainer->conf.l2 <= 0;
}

/* Say to the kernel which rows are to be read; of others have them read. */
static void
find_rows(nn_trainer *t, member *m, const nn_pass *p)
{
	const nn_batch *b = t->batch;
	const nn_rows which = nn_trainer_which(b, p->first_row);
	nn_mlp_args *args = &t->tail.args;

	if (b->host || !t->tail.whole)
	{
		nn_trainer_find_rows(m, b, p->first_row, p->rows);
		nn_trainer_rows(m, b, p->first_row, p->rows, t->graph->layout->width,
						b->x, m->exec->x);
	}
	if (t->tail.whole)
	{
		args->x = b->host ? m->exec->x : b->x;
		args->x_rows = b->host ? (nn_rows){{{0}}} : which;
	}
	args->loss.y = b->y;
	args->loss.weight = b->weight;
	args->y_rows = which;
	if (b->host)
	{
		nn_trainer_targets(t, m, p);
		args->loss.y = m->y;
		args->loss.weight = b->weight != NULL ? m->weight : NULL;
		args->y_rows = (nn_rows){{{0}}};
	}
}

/* The updates of the kernel's layers are its own. */
static void
hand_updates_over(tail *t, member *m)
{
	for (int i = 0; i < t->args.nlayers && t->updates; i++)
	{
		nn_mlp_layer *l = &t->args.layer[i];

		l->w_update = &m->updates[t->w_segment[i]];
		if (l->b != NULL)
			l->b_update = &m->updates[t->b_segment[i]];
	}
}

static void
forget_updates(tail *t, member *m)
{
	for (int i = 0; i < t->args.nlayers && t->updates; i++)
	{
		m->updates[t->w_segment[i]].n = 0;
		if (t->args.layer[i].b != NULL)
			m->updates[t->b_segment[i]].n = 0;
	}
}

bool
nn_tail_gradient(nn_trainer *trainer, member *m, const nn_pass *p)
{
	const nn_loss *loss = trainer->conf.loss;
	tail *t = &trainer->tail;
	nn_exec *e = m->exec;

	if (t->first < 0 || p->rows == 0)
		return false;
	t->args.loss = (nn_loss_args){
		.kind = loss->ops->kind,
		.p = {loss->p[0], loss->p[1]},
		.m = p->rows,
		.n = e->graph->outputs,
		.sum = m->sums + SUM_LOSS,
		.scale = 1.0 / p->batch_rows,
	};
	for (int i = 0; i < t->args.nlayers; i++)
		if (t->dropout[i] >= 0)
			t->args.layer[i].key = nn_random_key(
				p->seed, NN_STREAM_MASK + (uint32_t) t->dropout[i], p->step);
	find_rows(trainer, m, p);
	hand_updates_over(t, m);
	nn_exec_forward_to(e, p, t->first);
	if (!p->device->ops->mlp(p->device, &t->args))
	{
		/* it never will */
		t->first = -1;
		return false;
	}
	forget_updates(t, m);
	nn_exec_backward_from(e, p, t->first);
	return true;
}
