/*
 * input.c
 *	  input: a section of the encoded row, or all of it.
 *
 * Where it is the whole row, the graph lets the output be the row itself, and
 * nothing is copied.
 */
#include <stddef.h>
#include <string.h>

#include "../graph.h"

typedef struct conf
{
	const nn_item *section; /* NULL: the whole row */
	int offset;
} conf;

static const nn_option options[] = {
	{.name = "section",
	 .type = NN_OPT_ITEM,
	 .offset = offsetof(conf, section),
	 .help = "Name of the part of the row to read; all of it when left out."},
	{.name = NULL}};

static bool
no_such_section(const nn_layer *l, const char *name, nn_error *err)
{
	const char *names[NN_MAX_SECTIONS + 1], *near;
	int n = 0;

	for (int i = 0; i < l->layout->nsections; i++)
		if (l->layout->section[i].count > 0)
			names[n++] = l->layout->section[i].name;
	names[n] = NULL;
	nn_fail(err, NN_UNDEFINED, "layer %d (input): rows have no part \"%s\"",
			l->number, name);
	near = nn_did_you_mean(name, names);
	if (near != NULL)
		nn_hint(err, "Did you mean \"%s\"?", near);
	return false;
}

static bool
infer(nn_layer *l, nn_arena *arena, nn_error *err)
{
	conf *c = l->conf;
	const nn_layout *layout = l->layout;

	(void) arena;
	if (c->section == NULL)
	{
		l->out.shape = l->in[0]->shape;
		l->out.levels = l->in[0]->levels;
		return true;
	}
	for (int i = 0; i < layout->nsections; i++)
	{
		const nn_section *s = &layout->section[i];

		if (s->count > 0 && c->section->nargs == 0 &&
			nn_name_equal(s->name, c->section->name))
		{
			c->offset = s->offset;
			l->out.shape = (nn_shape){1, {s->count}};
			l->out.levels = s->levels;
			return true;
		}
	}
	return no_such_section(l, c->section->name, err);
}

static void
forward(const nn_layer *l, const nn_pass *p)
{
	const conf *c = l->conf;
	int n = l->out.shape.dim[0];

	if (l->out.data != l->in[0]->data)
		p->device->ops->copy_columns(p->device, p->rows, n, l->in[0]->data,
									 l->layout->width, c->offset, 0,
									 l->out.data, n, 0);
}

static double
work(const nn_layer *l)
{
	(void) l;
	return 0;
}

const nn_layer_ops nn_layer_input = {
	.named = {.name = "input",
			  .aliases = (const char *const[]){"InputLayer", NULL},
			  .summary = "the encoded row, or a part of it",
			  .conf_size = sizeof(conf),
			  .options = options,
			  .examples = (const char *const[]){"input(number) dense(3)",
												"input dense(2)", NULL}},
	.infer = infer,
	.forward = forward,
	.work = work};
