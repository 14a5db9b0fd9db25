/*
 * embedding.c
 *	  embedding: a learned row of numbers for every category.
 *
 *		y[c] = table[first[c] + x[c]]		dtable = sum of dy where looked up
 *
 * A code that is no category gives zeros.  The tables of all columns are one
 * parameter.
 *
 * embedding(8) is the size of the output, as the input knows its categories;
 * embedding(1000, 8) says both, in the order that Keras and PyTorch have.
 */
#include <stddef.h>

#include "codes.h"

typedef struct conf
{
	int input_dim, output_dim;
	const nn_item *initializer;
	nn_codes codes;
} conf;

static const nn_option options[] = {
	{.name = "input_dim",
	 .type = NN_OPT_INT,
	 .offset = offsetof(conf, input_dim),
	 .initial = 0,
	 .min = 0,
	 .max = NN_MAX_UNITS,
	 .alias = "num_embeddings",
	 .help = "Number of categories; 0 for those of the column itself."},
	{.name = "output_dim",
	 .type = NN_OPT_INT,
	 .offset = offsetof(conf, output_dim),
	 .initial = NN_REQUIRED,
	 .min = 1,
	 .max = NN_MAX_UNITS,
	 .alias = "embedding_dim",
	 .lone = true,
	 .help = "Numbers for each category; a single argument is this one."},
	{.name = "embeddings_initializer",
	 .type = NN_OPT_ITEM,
	 .offset = offsetof(conf, initializer),
	 .choices = nn_initializer_names,
	 .initial_item = "random_uniform",
	 .help = "First values of the table."},
	{.name = NULL}};

static bool
infer(nn_layer *l, nn_arena *arena, nn_error *err)
{
	conf *c = l->conf;
	nn_param *p;
	int64_t width;

	if (!nn_codes_infer(&c->codes, l, c->input_dim, arena, err))
		return false;
	width = (int64_t) c->codes.count * c->output_dim;
	if (width > NN_MAX_UNITS || c->codes.total == 0)
		return nn_layer_fail(l, err,
							 width > NN_MAX_UNITS
								 ? "its output is too large"
								 : "its input has no categories");
	l->out.shape = (nn_shape){1, {(int) width}};
	p = nn_layer_param(l, arena, "embeddings",
					   (nn_shape){2, {c->codes.total, c->output_dim}},
					   c->initializer, NULL, err);
	if (p == NULL)
		return false;
	p->kernel = true;
	return true;
}

static void
forward(const nn_layer *l, const nn_pass *p)
{
	const conf *c = l->conf;

	p->device->ops->lookup(p->device, p->rows, c->codes.count, c->output_dim,
						   c->codes.levels, c->codes.first, l->in[0]->data,
						   l->param[0].data, l->out.data);
}

static void
backward(const nn_layer *l, const nn_pass *p)
{
	const conf *c = l->conf;

	p->device->ops->lookup_slope(p->device, p->rows, c->codes.count,
								 c->output_dim, c->codes.levels, c->codes.first,
								 c->codes.total, l->in[0]->data, l->out.grad,
								 l->param[0].grad);
}

const nn_layer_ops nn_layer_embedding = {
	.named = {.name = "embedding",
			  .summary = "learned numbers for every category",
			  .conf_size = sizeof(conf),
			  .options = options,
			  .examples =
				  (const char *const[]){"input(category) embedding(3)",
										"input(category) embedding(5, 2, "
										"random_normal(0, 1)) dense(2)",
										NULL}},
	.infer = infer,
	.forward = forward,
	.backward = backward};
