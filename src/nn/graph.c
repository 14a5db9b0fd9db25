/*
 * graph.c
 *	  From text to layers joined up.
 */
#include <string.h>

#include "graph.h"

/* Of the data that layers are fitted to. */
#define MAX_FIT_BYTES ((size_t) 128 * 1024 * 1024)

/* Building: the graph, and what only its builder needs. */
typedef struct builder
{
	nn_arena *arena;
	nn_graph *g;
	nn_tensor *row; /* in[0] of input layers */
	nn_error *err;
} builder;

static bool
check_layout(const nn_layout *layout, nn_error *err)
{
	if (layout->width < 1)
		return nn_fail(err, NN_SHAPE, "there is nothing to learn from");
	if (layout->width > NN_MAX_UNITS)
	{
		nn_fail(err, NN_LIMIT, "a row has too many numbers");
		return nn_detail(err, "It has %d, and at most %d are supported.",
						 layout->width, NN_MAX_UNITS);
	}
	for (int i = 0; i < layout->nsections; i++)
	{
		const nn_section *s = &layout->section[i];

		if (s->offset < 0 || s->count < 0 || s->offset > layout->width ||
			s->count > layout->width - s->offset)
			return nn_fail(err, NN_INVALID,
						   "section \"%s\" lies outside of the row", s->name);
	}
	return true;
}

/* The levels of a whole row, if all of it is codes. */
static bool
row_levels(builder *b, const nn_layout *layout, nn_tensor *row)
{
	int *levels;

	levels =
		nn_alloc_array(b->arena, (size_t) layout->width, sizeof(int), b->err);
	if (levels == NULL)
		return false;
	for (int i = 0; i < layout->nsections; i++)
	{
		const nn_section *s = &layout->section[i];

		if (s->levels != NULL && s->count > 0)
			memcpy(levels + s->offset, s->levels,
				   sizeof(int) * (size_t) s->count);
	}
	row->levels = levels;
	for (int i = 0; i < layout->width; i++)
		if (levels[i] == 0)
			row->levels = NULL;
	return true;
}

static bool
is_input(const nn_item *item)
{
	return nn_name_equal(item->name, "input") ||
		   nn_name_equal(item->name, "InputLayer");
}

/* The number of the layer of a label before layer n, or -1. */
static int
find_label(const builder *b, const char *label, int n)
{
	for (int i = 0; i < n; i++)
		if (b->g->layers[i].label != NULL &&
			strcmp(b->g->layers[i].label, label) == 0)
			return i;
	return -1;
}

static bool
undefined_label(const builder *b, const nn_layer *l, const char *label)
{
	const char *labels[NN_MAX_LAYERS + 1], *near;
	int n = 0;

	for (int i = 0; i < l->number && n < NN_MAX_LAYERS; i++)
		if (b->g->layers[i].label != NULL)
			labels[n++] = b->g->layers[i].label;
	labels[n] = NULL;
	nn_fail(b->err, NN_UNDEFINED,
			"layer %d (%s): there is no layer labelled \"%s\" before it",
			l->number, l->ops->named.name, label);
	near = nn_did_you_mean(label, labels);
	if (near != NULL)
		return nn_hint(b->err, "Did you mean \"%s\"?", near);
	return nn_hint(b->err,
				   "A label is written before a layer: "
				   "\"%.32s: dense(64)\".",
				   label);
}

/*
 * What the layer reads.  No label: the previous layer.  One: the previous one
 * and that one, or that one alone if it takes a single input.  Several:
 * exactly those.
 */
static bool
connect(builder *b, nn_layer *l)
{
	if (l->ops == &nn_layer_input)
	{
		l->nin = 1;
		l->in[0] = b->row;
		l->in_number[0] = -1;
		return true;
	}
	if (l->refs.count == 0 || (l->refs.count == 1 && l->ops->joins))
		l->in_number[l->nin++] = l->number - 1;
	for (int i = 0; i < l->refs.count; i++)
	{
		int from = find_label(b, l->refs.label[i], l->number);

		if (from < 0)
			return undefined_label(b, l, l->refs.label[i]);
		l->in_number[l->nin++] = from;
	}
	for (int i = 0; i < l->nin; i++)
		l->in[i] = &b->g->layers[l->in_number[i]].out;
	return true;
}

static bool
check_output(const nn_layer *l, nn_error *err)
{
	const nn_shape *s = &l->out.shape;
	int64_t n = 1;

	for (int i = 0; i < s->ndim; i++)
	{
		if (s->dim[i] < 1)
			return nn_layer_fail(l, err, "its output would be empty");
		n *= s->dim[i];
		if (n > NN_MAX_UNITS)
		{
			nn_layer_fail(l, err, "its output is too large");
			err->code = NN_LIMIT;
			return nn_detail(err, "Rows have at most %d numbers.",
							 NN_MAX_UNITS);
		}
	}
	return true;
}

static bool
add_params(builder *b, nn_layer *l)
{
	nn_graph *g = b->g;

	for (int i = 0; i < l->nparam; i++)
	{
		nn_param *p = &l->param[i];
		size_t n = nn_count(&p->shape);

		p->offset = g->nparams;
		g->nparams += n;
		if (p->trainable)
			g->ntrainable += n;
		l->out.learns = l->out.learns || p->trainable;
		if (g->nparams > (size_t) NN_MAX_NUMBERS)
		{
			nn_fail(b->err, NN_LIMIT, "network has too many parameters");
			return nn_detail(b->err, "At most %lld are supported.",
							 NN_MAX_NUMBERS);
		}
	}
	return true;
}

static bool
add_layer(builder *b, const nn_item *item)
{
	nn_graph *g = b->g;
	nn_layer *l = &g->layers[g->nlayers];

	l->number = g->nlayers;
	l->label = item->label;
	l->layout = g->layout;
	l->ops = nn_layer_find(item->name, b->err);
	if (l->ops == NULL)
		return false;
	if (l->label != NULL && find_label(b, l->label, l->number) >= 0)
		return nn_fail(b->err, NN_INVALID,
					   "label \"%s\" is given to more than one layer",
					   l->label);
	l->conf = nn_alloc_small(b->arena, l->ops->named.conf_size + 1, b->err);
	if (l->conf == NULL)
		return false;
	if (!nn_options_parse(b->arena, item, l->ops->named.options, l->conf,
						  l->ops->takes_refs ? &l->refs : NULL, b->err))
		return false;
	if (!connect(b, l))
		return false;
	for (int i = 0; i < l->nin; i++)
		l->out.learns = l->out.learns || l->in[i]->learns;
	if (!l->ops->infer(l, b->arena, b->err) || !check_output(l, b->err) ||
		!add_params(b, l))
		return false;
	g->work +=
		l->ops->work ? l->ops->work(l) : (double) nn_count(&l->out.shape);
	g->nlayers++;
	return true;
}

/*
 * The order of the backward pass decides who writes a tensor's gradient first.
 * A layer that nobody reads would get no gradient at all, and is most probably
 * a mistake.
 */
static bool
order_gradients(builder *b)
{
	nn_graph *g = b->g;

	for (int i = g->nlayers - 1; i >= 0; i--)
	{
		nn_layer *l = &g->layers[i];

		if (i < g->nlayers - 1 && l->readers == 0)
		{
			nn_fail(b->err, NN_INVALID,
					"layer %d%s%s%s (%s): no layer reads its output", i,
					l->label ? " \"" : "", l->label ? l->label : "",
					l->label ? "\"" : "", l->ops->named.name);
			return nn_hint(b->err, "Label it and join it with add(), "
								   "multiply() or concatenate().");
		}
		for (int j = 0; j < l->nin; j++)
			if (l->in_number[j] >= 0)
			{
				l->in_beta[j] = g->layers[l->in_number[j]].readers++ > 0;
			}
	}
	return true;
}

/* The text of the layers; the leading "input" of the whole row is understood
 * and left out. */
static const char *
print_graph(builder *b)
{
	const nn_graph *g = b->g;
	const char *text[NN_MAX_LAYERS + 1];
	size_t size = 1, at = 0;
	char *s;

	for (int i = 0; i < g->nlayers; i++)
	{
		const nn_layer *l = &g->layers[i];

		text[i] =
			nn_options_print(b->arena, l->ops->named.name,
							 l->ops->named.options, l->conf, &l->refs, b->err);
		if (text[i] == NULL)
			return NULL;
		if (i == 0 && g->nlayers > 1 && l->label == NULL &&
			strcmp(text[i], "input") == 0 &&
			g->layers[1].ops != &nn_layer_input)
			text[i] = "";
		size += strlen(text[i]) + (l->label ? strlen(l->label) + 2 : 0) + 1;
	}
	s = nn_alloc_array(b->arena, size, 1, b->err);
	if (s == NULL)
		return NULL;
	for (int i = 0; i < g->nlayers; i++)
	{
		const char *label = g->layers[i].label;
		size_t n;

		if (at > 0)
			s[at++] = ' ';
		if (label != NULL)
		{
			n = strlen(label);
			memcpy(s + at, label, n);
			memcpy(s + at + n, ": ", 2);
			at += n + 2;
		}
		n = strlen(text[i]);
		memcpy(s + at, text[i], n);
		at += n;
	}
	s[at] = '\0';
	return s;
}

nn_graph *
nn_graph_build(nn_arena *arena, const char *text, const nn_layout *layout,
			   nn_error *err)
{
	static const nn_item whole_row = {.name = "input"};
	builder b = {.arena = arena, .err = err};
	nn_item_list *list;
	nn_graph *g;

	if (!check_layout(layout, err))
		return NULL;
	list = nn_text_parse(arena, text, err);
	if (list == NULL)
		return NULL;
	if (list->count == 0)
	{
		nn_fail(err, NN_INVALID, "network has no layers");
		return NULL;
	}
	b.g = g = nn_alloc(arena, sizeof(nn_graph), err);
	b.row = nn_alloc_small(arena, sizeof(nn_tensor), err);
	if (g == NULL || b.row == NULL)
		return NULL;
	b.row->shape = (nn_shape){1, {layout->width}};
	g->arena = arena;
	g->layout = layout;
	g->layers =
		nn_alloc_array(arena, (size_t) list->count + 1, sizeof(nn_layer), err);
	if (g->layers == NULL || !row_levels(&b, layout, b.row))
		return NULL;
	if (!is_input(&list->items[0]) && !add_layer(&b, &whole_row))
		return NULL;
	for (int i = 0; i < list->count; i++)
		if (!add_layer(&b, &list->items[i]))
			return NULL;
	if (!order_gradients(&b))
		return NULL;
	g->outputs = (int) nn_count(&g->layers[g->nlayers - 1].out.shape);
	g->text = print_graph(&b);
	return g->text == NULL ? NULL : g;
}

static bool
goes_on(const nn_graph *g, nn_error *err)
{
	return !nn_stops(g->stop) ||
		   nn_fail(err, NN_INTERRUPTED, "training was interrupted");
}

/* Let layers set parameters from rows, each from what the ones before make of
 * the rows. */
static bool
fit_layers(const nn_graph *g, int nlayers, nn_arena *scratch, uint64_t seed,
		   int rows, const nn_real *x, nn_real *params, nn_error *err)
{
	nn_device device = {.ops = &nn_cpu_plain, .stop = g->stop};
	nn_graph head = *g;
	nn_pass pass = {.device = &device, .rows = rows, .batch_rows = rows};
	nn_exec *e;
	size_t bytes;
	int step = 1;
	bool ok = true;

	head.nlayers = nlayers;
	/* what learns is no layer's data (nn_layer_needs_data), and takes no room */
	head.layers =
		nn_alloc_array(scratch, (size_t) nlayers, sizeof(nn_layer), err);
	if (head.layers == NULL)
		return false;
	memcpy(head.layers, g->layers, sizeof(nn_layer) * (size_t) nlayers);
	for (int i = 0; i < nlayers; i++)
		if (head.layers[i].out.learns)
		{
			head.layers[i].out.shape = (nn_shape){1, {0}};
			head.layers[i].saved_fixed = head.layers[i].saved_per_row = 0;
		}
	while ((bytes = nn_exec_size(&head, rows, false, err)) == 0 ||
		   bytes > MAX_FIT_BYTES)
	{
		if (rows == 1)
			return false;
		rows /= 2;
		step *= 2;
	}
	pass.rows = pass.batch_rows = rows;
	head.outputs = (int) nn_count(&g->layers[nlayers - 1].out.shape);
	if (!device.ops->open(&device, 0, err))
		return false;
	e = nn_exec_create(scratch, &head, &device, params, rows, false, err);
	if (e == NULL)
		ok = false;
	for (int i = 0; i < rows && ok; i++)
		memcpy(e->x + (size_t) i * g->layout->width,
			   x + (size_t) i * step * g->layout->width,
			   sizeof(nn_real) * (size_t) g->layout->width);
	for (int i = 0; i < nlayers && ok; i++)
	{
		nn_layer *l = &e->layers[i];

		if (l->ops->fit != NULL)
			ok = l->ops->fit(l, scratch, rows, seed, err);
		ok = ok && goes_on(g, err);
		if (ok && i < nlayers - 1 && !l->out.learns)
			l->ops->forward(l, &pass);
	}
	nn_exec_release(e);
	device.ops->close(&device);
	return ok;
}

bool
nn_graph_initialize(const nn_graph *g, uint64_t seed, int rows,
					const nn_real *x, nn_real *params, nn_error *err)
{
	nn_arena *scratch = nn_arena_create_scratch(g->arena, err);
	uint32_t number = 0;
	int last_fit = -1;
	bool ok = scratch != NULL;

	for (int i = 0; i < g->nlayers && ok; i++)
	{
		const nn_layer *l = &g->layers[i];

		for (int j = 0; j < l->nparam && ok; j++)
		{
			nn_param p = l->param[j];
			nn_key key = nn_random_key(seed, NN_STREAM_INIT + number++, 0);

			p.stop = g->stop;
			ok = nn_initialize(scratch, &p, key, params + p.offset, err) &&
				 goes_on(g, err);
		}
		if (l->ops->fit != NULL)
			last_fit = i;
	}
	if (ok && rows > 0 && last_fit >= 0)
		ok = fit_layers(g, last_fit + 1, scratch, seed, rows, x, params, err);
	nn_arena_destroy(scratch);
	return ok;
}
