/*
 * join.c
 *	  add, multiply, concatenate: several layers become one.
 *
 *		add			y = a + b + ...		da = dy
 *		multiply	y = a b ...			da = dy (product of the others)
 *		concatenate	y = [a, b, ...] along the last dimension
 *
 * With one label the layer before is joined with the labelled one; with more
 * labels, exactly those are joined.
 */
#include <stddef.h>

#include "../layer.h"

typedef struct conf
{
	int unused;
} conf;

static const nn_option no_options[] = {{.name = NULL}};

static bool
needs_labels(const nn_layer *l, nn_error *err)
{
	if (l->nin > 1)
		return true;
	nn_layer_fail(l, err, "it needs the label of a layer to join with");
	return nn_hint(err, "For example: \"a: dense(64) relu dense(64) %s(a)\".",
				   l->ops->named.name);
}

static bool
same_infer(nn_layer *l, nn_arena *arena, nn_error *err)
{
	char a[NN_SHAPE_SIZE], b[NN_SHAPE_SIZE];

	(void) arena;
	if (!needs_labels(l, err))
		return false;
	l->out.shape = l->in[0]->shape;
	for (int i = 1; i < l->nin; i++)
	{
		const nn_shape *s = &l->in[i]->shape;
		bool same = s->ndim == l->out.shape.ndim;

		for (int j = 0; j < s->ndim && same; j++)
			same = s->dim[j] == l->out.shape.dim[j];
		if (!same)
			return nn_layer_fail(
				l, err, "inputs of shapes %s and %s do not fit together",
				nn_shape_text(&l->out.shape, a, sizeof(a)),
				nn_shape_text(s, b, sizeof(b)));
	}
	return true;
}

static void
add_forward(const nn_layer *l, const nn_pass *p)
{
	size_t n = (size_t) p->rows * nn_count(&l->out.shape);

	for (int i = 0; i < l->nin; i++)
		p->device->ops->axpby(p->device, n, 1, l->in[i]->data, i > 0,
							  l->out.data);
}

static void
add_backward(const nn_layer *l, const nn_pass *p)
{
	size_t n = (size_t) p->rows * nn_count(&l->out.shape);

	for (int i = 0; i < l->nin; i++)
		if (l->in[i]->grad != NULL)
			p->device->ops->axpby(p->device, n, 1, l->out.grad, l->in_beta[i],
								  l->in[i]->grad);
}

static bool
multiply_infer(nn_layer *l, nn_arena *arena, nn_error *err)
{
	if (!same_infer(l, arena, err))
		return false;
	l->saved_per_row = 2 * nn_count(&l->out.shape);
	return true;
}

/*
 * y = product of first and of all inputs but one, + beta y.  Partial products
 * go to and fro between the two halves of the notes, as a kernel's result must
 * not be its argument.
 */
static void
product(const nn_layer *l, const nn_pass *p, const nn_real *first, int but,
		nn_real beta, nn_real *y)
{
	size_t n = (size_t) p->rows * nn_count(&l->out.shape);
	int last = but == l->nin - 1 ? l->nin - 2 : l->nin - 1, half = 0;

	for (int i = 0; i <= last; i++)
	{
		nn_real *to = i == last ? y : l->saved + (size_t) half * n;

		if (i == but)
			continue;
		p->device->ops->multiply(p->device, n, first, l->in[i]->data,
								 i == last ? beta : 0, to);
		first = to;
		half = 1 - half;
	}
}

static void
multiply_forward(const nn_layer *l, const nn_pass *p)
{
	product(l, p, l->in[0]->data, 0, 0, l->out.data);
}

static void
multiply_backward(const nn_layer *l, const nn_pass *p)
{
	for (int i = 0; i < l->nin; i++)
		if (l->in[i]->grad != NULL)
			product(l, p, l->out.grad, i, l->in_beta[i], l->in[i]->grad);
}

static bool
concatenate_infer(nn_layer *l, nn_arena *arena, nn_error *err)
{
	char a[NN_SHAPE_SIZE], b[NN_SHAPE_SIZE];
	int width = 0;

	(void) arena;
	if (!needs_labels(l, err))
		return false;
	l->out.shape = l->in[0]->shape;
	for (int i = 0; i < l->nin; i++)
	{
		const nn_shape *s = &l->in[i]->shape;
		bool fits = s->ndim == l->out.shape.ndim;

		for (int j = 0; j < s->ndim - 1 && fits; j++)
			fits = s->dim[j] == l->out.shape.dim[j];
		if (!fits)
			return nn_layer_fail(
				l, err, "inputs of shapes %s and %s do not fit together",
				nn_shape_text(&l->in[0]->shape, a, sizeof(a)),
				nn_shape_text(s, b, sizeof(b)));
		width += nn_last(s); /* NN_MAX_INPUTS times NN_MAX_UNITS at most */
	}
	l->out.shape.dim[l->out.shape.ndim - 1] = width;
	return true;
}

static void
concatenate_forward(const nn_layer *l, const nn_pass *p)
{
	int width = nn_last(&l->out.shape), at = 0;

	for (int i = 0; i < l->nin; i++)
	{
		const nn_tensor *in = l->in[i];
		int n = nn_last(&in->shape);

		p->device->ops->copy_columns(p->device, p->rows * nn_outer(&in->shape),
									 n, in->data, n, 0, 0, l->out.data, width,
									 at);
		at += n;
	}
}

static void
concatenate_backward(const nn_layer *l, const nn_pass *p)
{
	int width = nn_last(&l->out.shape), at = 0;

	for (int i = 0; i < l->nin; i++)
	{
		const nn_tensor *in = l->in[i];
		int n = nn_last(&in->shape);

		if (in->grad != NULL)
			p->device->ops->copy_columns(
				p->device, p->rows * nn_outer(&in->shape), n, l->out.grad,
				width, at, l->in_beta[i], in->grad, n, 0);
		at += n;
	}
}

const nn_layer_ops nn_layer_add = {
	.named = {.name = "add",
			  .summary = "the sum of layers of one shape",
			  .conf_size = sizeof(conf),
			  .options = no_options,
			  .examples =
				  (const char *const[]){"a: dense(4) tanh dense(4) add(a)",
										"a: dense(4) b: tanh c: dense(4) "
										"add(a, b, c, a)",
										NULL}},
	.takes_refs = true,
	.joins = true,
	.infer = same_infer,
	.forward = add_forward,
	.backward = add_backward};

const nn_layer_ops nn_layer_multiply = {
	.named = {.name = "multiply",
			  .summary = "the product of layers of one shape",
			  .conf_size = sizeof(conf),
			  .options = no_options,
			  .examples =
				  (const char *const[]){"a: dense(4) sigmoid multiply(a)",
										"a: dense(4) b: tanh c: dense(4) "
										"multiply(a, b, c)",
										"a: dense(3) multiply(a, a)", NULL}},
	.takes_refs = true,
	.joins = true,
	.infer = multiply_infer,
	.forward = multiply_forward,
	.backward = multiply_backward};

const nn_layer_ops nn_layer_concatenate = {
	.named = {.name = "concatenate",
			  .aliases = (const char *const[]){"cat", "concat", NULL},
			  .summary = "layers side by side",
			  .conf_size = sizeof(conf),
			  .options = no_options,
			  .examples =
				  (const char *const[]){"a: dense(3) tanh concatenate(a)",
										"a: input(number) input(category) b: "
										"one_hot concatenate(a, b) dense(3)",
										NULL}},
	.takes_refs = true,
	.joins = true,
	.infer = concatenate_infer,
	.forward = concatenate_forward,
	.backward = concatenate_backward};
