/*
 * dropout.c
 *	  dropout: while training, numbers become zero at random.
 *
 *		y = x m / (1 - rate)	dx = dy m / (1 - rate)
 *
 * m is 0 with probability rate, else 1.  It is never stored: both passes draw
 * it from (seed, step, layer, place in the batch).
 */
#include <stddef.h>

#include "../layer.h"

typedef struct conf
{
	double rate;
} conf;

static const nn_option options[] = {
	{.name = "rate",
	 .type = NN_OPT_REAL,
	 .offset = offsetof(conf, rate),
	 .initial = 0.5,
	 .min = 0,
	 .max = 0.999,
	 .alias = "p",
	 .help = "Share of the numbers that become zero."},
	{.name = NULL}};

static bool
infer(nn_layer *l, nn_arena *arena, nn_error *err)
{
	const conf *c = l->conf;

	(void) arena;
	(void) err;
	l->argument = c->rate;
	l->out.shape = l->in[0]->shape;
	return true;
}

static void
apply(const nn_layer *l, const nn_pass *p, const nn_real *x, nn_real beta,
	  nn_real *y)
{
	const conf *c = l->conf;
	size_t n = nn_count(&l->out.shape);
	nn_key key =
		nn_random_key(p->seed, NN_STREAM_MASK + (uint32_t) l->number, p->step);

	p->device->ops->dropout(p->device, (size_t) p->rows * n, c->rate, key,
							(uint64_t) p->first_row * n, x, beta, y);
}

static void
forward(const nn_layer *l, const nn_pass *p)
{
	size_t n = (size_t) p->rows * nn_count(&l->out.shape);

	if (p->training)
		apply(l, p, l->in[0]->data, 0, l->out.data);
	else
		p->device->ops->copy(p->device, l->out.data, l->in[0]->data,
							 n * sizeof(nn_real));
}

static void
backward(const nn_layer *l, const nn_pass *p)
{
	apply(l, p, l->out.grad, l->in_beta[0], l->in[0]->grad);
}

const nn_layer_ops nn_layer_dropout = {
	.named = {.name = "dropout",
			  .summary = "sets numbers to zero at random while training",
			  .conf_size = sizeof(conf),
			  .options = options,
			  .examples =
				  (const char *const[]){"dropout(0.2)", "dropout", NULL}},
	.infer = infer,
	.forward = forward,
	.backward = backward};
