/*
 * shape.c
 *	  flatten, reshape, identity: the same numbers, in another shape.
 *
 *		y = x		dx = dy
 */
#include <stddef.h>

#include "../layer.h"

typedef struct conf
{
	nn_list dims;
} conf;

static const nn_option no_options[] = {{.name = NULL}};

static const nn_option reshape_options[] = {
	{.name = "target_shape",
	 .type = NN_OPT_LIST,
	 .offset = offsetof(conf, dims),
	 .initial = NN_REQUIRED,
	 .min = -1,
	 .max = NN_MAX_UNITS,
	 .help = "Sizes of the dimensions; one may be -1, for what is left."},
	{.name = NULL}};

static bool
identity_infer(nn_layer *l, nn_arena *arena, nn_error *err)
{
	(void) arena;
	if (l->nin != 1)
		return nn_layer_fail(l, err, "it takes one input, not %d", l->nin);
	l->out.shape = l->in[0]->shape;
	l->out.levels = l->in[0]->levels;
	return true;
}

static bool
flatten_infer(nn_layer *l, nn_arena *arena, nn_error *err)
{
	(void) arena;
	(void) err;
	l->out.shape = (nn_shape){1, {(int) nn_count(&l->in[0]->shape)}};
	l->out.levels = l->in[0]->levels;
	return true;
}

static bool
reshape_infer(nn_layer *l, nn_arena *arena, nn_error *err)
{
	const nn_list *dims = &((const conf *) l->conf)->dims;
	size_t count = nn_count(&l->in[0]->shape), known = 1;
	char buf[NN_SHAPE_SIZE];
	int open = -1;

	(void) arena;
	if (dims->count < 1 || dims->count > NN_MAX_DIMS)
		return nn_layer_fail(l, err, "a shape has 1 to %d dimensions",
							 NN_MAX_DIMS);
	l->out.shape.ndim = dims->count;
	for (int i = 0; i < dims->count; i++)
	{
		double v = dims->values[i];

		if (v != (int) v || v == 0)
			return nn_layer_fail(l, err,
								 "dimensions must be positive whole numbers");
		l->out.shape.dim[i] = (int) v;
		if (v > 0)
			known = known <= NN_MAX_UNITS ? known * (size_t) v : known;
		else if (open >= 0)
			return nn_layer_fail(l, err, "only one dimension may be -1");
		else
			open = i;
	}
	if (open >= 0)
		l->out.shape.dim[open] = (int) (count / known);
	if (open >= 0 ? count % known != 0 : count != known)
	{
		if (open >= 0)
			l->out.shape.dim[open] = -1;
		nn_layer_fail(l, err, "%zu numbers do not fit shape %s", count,
					  nn_shape_text(&l->out.shape, buf, sizeof(buf)));
		return nn_detail(err, "The shape of the input is %s.",
						 nn_shape_text(&l->in[0]->shape, buf, sizeof(buf)));
	}
	return true;
}

static void
forward(const nn_layer *l, const nn_pass *p)
{
	size_t n = (size_t) p->rows * nn_count(&l->out.shape);

	p->device->ops->copy(p->device, l->out.data, l->in[0]->data,
						 n * sizeof(nn_real));
}

static void
backward(const nn_layer *l, const nn_pass *p)
{
	p->device->ops->axpby(p->device, (size_t) p->rows * nn_count(&l->out.shape),
						  1, l->out.grad, l->in_beta[0], l->in[0]->grad);
}

static double
work(const nn_layer *l)
{
	(void) l;
	return 0;
}

const nn_layer_ops nn_layer_identity = {
	.named = {.name = "identity",
			  .summary = "passes on the layer before it, or a labelled one",
			  .conf_size = sizeof(conf),
			  .options = no_options,
			  .examples = (const char *const[]){"identity",
												"a: dense(4) b: dense(4, tanh) "
												"identity(a) dense(4) add(b)",
												NULL}},
	.takes_refs = true,
	.infer = identity_infer,
	.forward = forward,
	.backward = backward,
	.work = work};

const nn_layer_ops nn_layer_flatten = {
	.named = {.name = "flatten",
			  .summary = "one dimension of all numbers",
			  .conf_size = sizeof(conf),
			  .options = no_options,
			  .examples =
				  (const char *const[]){"reshape([3, 2]) flatten dense(2)",
										NULL}},
	.infer = flatten_infer,
	.forward = forward,
	.backward = backward,
	.work = work};

const nn_layer_ops nn_layer_reshape = {
	.named = {.name = "reshape",
			  .aliases = (const char *const[]){"Unflatten", NULL},
			  .summary = "the same numbers in another shape",
			  .conf_size = sizeof(conf),
			  .options = reshape_options,
			  .examples =
				  (const char *const[]){"reshape([3, 2])",
										"reshape([1, -1, 2]) dense(2)", NULL}},
	.infer = reshape_infer,
	.forward = forward,
	.backward = backward,
	.work = work};
