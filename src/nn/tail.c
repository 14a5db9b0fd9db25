/*
 * tail.c
 *	  The end of a network as one kernel, where a device has it.
 *
 * Most networks end in small dense layers, each of which reads the one before
 * it and is read by no other, with dropout between some.  As many of them as the kernel takes, counted
 * from the loss, are its work; a network of nothing else is wholly.
 */
#include "trainer.h"

/* A dense layer as the kernel takes it; false when it does not. */
static bool
is_small_dense(const nn_layer *l)
{
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

void
nn_tail_find(tail *t, const nn_exec *e)
{
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

		describe(&e->layers[number[i]], to);
		t->dropout[count - 1 - i] = dropout[i];
		if (dropout[i] >= 0)
			to->dropout = e->layers[dropout[i]].argument;
	}
	t->first = number[count - 1];
	first = &e->layers[t->first];
	t->args.x = first->in[0]->data;
	t->args.dx = first->in[0]->grad;
	t->args.dx_beta = first->in_beta[0];
}

bool
nn_tail_gradient(tail *t, nn_exec *e, const nn_pass *p, const nn_loss *loss,
				 const member *m, double scale, bool weighted)
{
	nn_device *d = p->device;

	if (t->first < 0 || p->rows == 0)
		return false;
	t->args.loss = (nn_loss_args){
		.kind = loss->ops->kind,
		.p = {loss->p[0], loss->p[1]},
		.m = p->rows,
		.n = e->graph->outputs,
		.y = m->y,
		.weight = weighted ? m->weight : NULL,
		.sum = m->sums + SUM_LOSS,
		.scale = scale,
	};
	for (int i = 0; i < t->args.nlayers; i++)
		if (t->dropout[i] >= 0)
			t->args.layer[i].key = nn_random_key(
				p->seed, NN_STREAM_MASK + (uint32_t) t->dropout[i], p->step);
	nn_exec_forward_to(e, p, t->first);
	if (!d->ops->mlp(d, &t->args))
	{
		/* it never will */
		t->first = -1;
		return false;
	}
	nn_exec_backward_from(e, p, t->first);
	return true;
}
