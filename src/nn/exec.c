/*
 * exec.c
 *	  A graph with memory.
 *
 * All working memory is one piece, placed by one function: run over no memory
 * it gives the size, run over memory it sets the pointers, so the two cannot
 * disagree.
 */
#include <limits.h>
#include <string.h>

#include "graph.h"

typedef struct cursor
{
	char *base; /* NULL: only count */
	size_t at;
	bool overflow;
} cursor;

/* Room for a number of numbers times another. */
static nn_real *
place(cursor *c, size_t count, size_t times)
{
	size_t bytes, at = c->at;

	if (__builtin_mul_overflow(count, times, &bytes) ||
		__builtin_mul_overflow(bytes, sizeof(nn_real), &bytes) ||
		__builtin_add_overflow(bytes, (size_t) NN_ALIGN - 1, &bytes) ||
		__builtin_add_overflow(at, bytes & ~(size_t) (NN_ALIGN - 1), &c->at))
		c->overflow = true;
	return c->base == NULL || c->overflow ? NULL : (nn_real *) (c->base + at);
}

/* Whether a layer's output is the encoded row itself. */
static bool
is_whole_row(const nn_graph *g, const nn_layer *l)
{
	return l->ops == &nn_layer_input &&
		   nn_count(&l->out.shape) == (size_t) g->layout->width;
}

/*
 * Whether layer i is a function that the layer before it applies while it
 * writes its output, which saves a pass over memory in each direction.  When
 * only predicting, every layer's own output can be asked for.
 */
static bool
is_fused(const nn_graph *g, int i, bool training)
{
	const nn_layer *l, *before;

	if (!training || i < 1 || i >= g->nlayers)
		return false;
	l = &g->layers[i];
	before = &g->layers[i - 1];
	return l->ops->is_function && l->in_number[0] == i - 1 &&
		   before->ops->applies_function && before->function == NN_LINEAR &&
		   before->readers == 1;
}

/* Let the layer before i do what i does; they share one tensor. */
static void
fuse(nn_exec *e, int i)
{
	nn_layer *l = &e->layers[i], *before = l - 1;

	before->function = l->function;
	before->argument = l->argument;
	l->out.data = before->out.data;
	l->out.grad = before->out.grad;
	l->fused = true;
}

/*
 * Place everything.  layers may be the graph's own when only counting: they
 * are not written then.
 */
static void
place_all(cursor *c, const nn_graph *g, nn_exec *e, size_t rows, bool training)
{
	nn_real *x = place(c, rows, (size_t) g->layout->width),
			*grads = training ? place(c, g->nparams, 1) : NULL;

	if (e != NULL)
	{
		e->x = x;
		e->grads = grads;
	}
	for (int i = 0; i < g->nlayers; i++)
	{
		const nn_layer *l = &g->layers[i];
		size_t count = nn_count(&l->out.shape);
		nn_real *data, *grad, *saved;
		size_t notes, per_row = l->saved_per_row;

		if (is_fused(g, i, training))
		{
			if (e != NULL)
				fuse(e, i);
			continue;
		}
		if (is_fused(g, i + 1, training) &&
			nn_function_needs_input(g->layers[i + 1].function))
			per_row = count;

		/* kernels take a tensor's rows as an int */
		if (rows * count > INT_MAX ||
			__builtin_mul_overflow(per_row, rows, &notes) ||
			__builtin_add_overflow(l->saved_fixed, notes, &notes))
		{
			c->overflow = true;
			return;
		}
		data = is_whole_row(g, l) ? x : place(c, rows, count);
		grad = training && l->out.learns ? place(c, rows, count) : NULL;
		saved = place(c, notes, 1);
		if (e == NULL)
			continue;
		e->layers[i].out.data = data;
		e->layers[i].out.grad = grad;
		e->layers[i].saved = saved;
	}
}

size_t
nn_exec_size(const nn_graph *g, int rows, bool training, nn_error *err)
{
	cursor c = {NULL, 0, false};

	place_all(&c, g, NULL, (size_t) rows, training);
	if (c.overflow || rows < 1)
	{
		nn_fail(err, NN_LIMIT, "batch of %d rows is too large", rows);
		nn_hint(err, "Use a smaller batch or a smaller network.");
		return 0;
	}
	return c.at;
}

/* Point layers at each other's tensors and at the parameters. */
static void
join_layers(nn_exec *e, nn_tensor *row, nn_real *params)
{
	for (int i = 0; i < e->graph->nlayers; i++)
	{
		nn_layer *l = &e->layers[i];

		for (int j = 0; j < l->nin; j++)
			l->in[j] =
				l->in_number[j] < 0 ? row : &e->layers[l->in_number[j]].out;
		for (int j = 0; j < l->nparam; j++)
		{
			nn_param *p = &l->param[j];

			p->data = params + p->offset;
			p->grad = e->training && p->trainable ? e->grads + p->offset : NULL;
		}
	}
}

nn_exec *
nn_exec_create(nn_arena *arena, const nn_graph *g, nn_device *d,
			   nn_real *params, int rows, bool training, nn_error *err)
{
	size_t bytes = nn_exec_size(g, rows, training, err);
	nn_exec *e;
	nn_tensor *row;
	cursor c = {NULL, 0, false};

	if (bytes == 0)
		return NULL;
	e = nn_alloc_small(arena, sizeof(nn_exec), err);
	row = nn_alloc_small(arena, sizeof(nn_tensor), err);
	if (e == NULL || row == NULL)
		return NULL;
	e->graph = g;
	e->device = d;
	e->rows = rows;
	e->training = training;
	e->bytes = bytes;
	e->layers =
		nn_alloc_array(arena, (size_t) g->nlayers, sizeof(nn_layer), err);
	if (e->layers == NULL)
		return NULL;
	memcpy(e->layers, g->layers, sizeof(nn_layer) * (size_t) g->nlayers);
	e->memory = d->ops->alloc(d, bytes);
	if (e->memory == NULL)
	{
		nn_fail(err, NN_DEVICE_NOMEM, "out of memory on device \"%s\"",
				d->ops->name);
		nn_detail(err, "Failed on request of size %zu.", bytes);
		nn_hint(err, "Use a smaller batch or a smaller network.");
		return NULL;
	}
	nn_device_clear(d, e->memory, bytes);
	c.base = e->memory;
	place_all(&c, g, e, (size_t) rows, training);
	*row = *g->layers[0].in[0];
	row->data = e->x;
	join_layers(e, row, params);
	e->y = e->layers[g->nlayers - 1].out.data;
	e->dy = e->layers[g->nlayers - 1].out.grad;
	return e;
}

void
nn_exec_release(nn_exec *e)
{
	if (e == NULL || e->memory == NULL)
		return;
	e->device->ops->free(e->device, e->memory);
	e->memory = NULL;
}

void
nn_exec_forward_to(nn_exec *e, const nn_pass *p, int end)
{
	for (int i = 0; i < end; i++)
		if (!e->layers[i].fused)
			e->layers[i].ops->forward(&e->layers[i], p);
}

void
nn_exec_backward_from(nn_exec *e, const nn_pass *p, int end)
{
	for (int i = end - 1; i >= 0; i--)
		if (e->layers[i].out.grad != NULL && !e->layers[i].fused)
			e->layers[i].ops->backward(&e->layers[i], p);
}

void
nn_exec_forward(nn_exec *e, const nn_pass *p)
{
	nn_exec_forward_to(e, p, e->graph->nlayers);
}

void
nn_exec_backward(nn_exec *e, const nn_pass *p)
{
	nn_exec_backward_from(e, p, e->graph->nlayers);
}

void
nn_exec_learn(nn_exec *e, const nn_pass *p)
{
	for (int i = 0; i < e->graph->nlayers; i++)
		if (e->layers[i].ops->learn != NULL)
			e->layers[i].ops->learn(&e->layers[i], p);
}
