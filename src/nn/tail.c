/*
 * tail.c
 *	  The end of a network as one kernel, where a device has it.
 *
 * Most networks end in small dense layers, each of which reads the one before
 * it and is read by no other.  As many of them as the kernel takes, counted
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

/* The layer whose output a layer reads: functions write their input's. */
static int
source_of(const nn_exec *e, const nn_layer *l)
{
	int i = l->in_number[0];

	while (i >= 0 && e->layers[i].fused)
		i--;
	return i;
}

void
nn_tail_find(tail *t, const nn_exec *e)
{
	int last = e->graph->nlayers - 1, count = 0, i;
	const nn_layer *first = NULL;

	t->first = -1;
	while (last >= 0 && e->layers[last].fused)
		last--;
	if (e->device->ops->mlp == NULL)
		return;
	for (i = last; i >= 0 && count < NN_MLP_LAYERS; i = source_of(e, first))
	{
		if (!is_small_dense(&e->layers[i]) ||
			(count > 0 && (first->in_beta[0] != 0 ||
						   e->layers[first->in_number[0]].readers != 1)))
			break;
		first = &e->layers[i];
		t->first = i;
		count++;
	}
	t->args.nlayers = count;
	for (i = last; count > 0; i = source_of(e, &e->layers[i]))
		describe(&e->layers[i], &t->args.layer[--count]);
	if (t->first < 0)
		return;
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
