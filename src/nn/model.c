/*
 * model.c
 *	  What a model's outputs are, and which layer is meant.
 */
#include "model.h"

#include <stdlib.h>
#include <string.h>

int
nn_model_outputs(nn_task task, const nn_loss *loss, int ntargets,
				 const nn_target *targets)
{
	if (loss->ops->categorical)
		return targets[0].nclasses;
	return task == NN_MULTICLASS ? targets[0].nclasses : ntargets;
}

int
nn_model_predicted(nn_task task, int ntargets, const nn_target *targets)
{
	if (task == NN_BINARY || task == NN_MULTICLASS)
		return targets[0].nclasses;
	return ntargets;
}

void
nn_model_add_outputs(const nn_model *m, int rows, bool first, nn_real *raw,
					 double *out)
{
	int columns = m->networks[0].graph->outputs;
	size_t n = (size_t) rows * m->outputs;

	nn_link_apply(m->loss, rows, columns, raw);
	if (first)
		memset(out, 0, n * sizeof(double));
	if (columns == m->outputs)
		for (size_t i = 0; i < n; i++)
			out[i] += raw[i];
	else
		/* one number for two classes: that of the second */
		for (int i = 0; i < rows; i++)
			out[2 * i + 1] += raw[i];
}

/* Back to a target's units, within what training has seen. */
static double
target_value(const nn_target *t, double v)
{
	v = t->mean + t->scale * v;
	if (t->clamp)
	{
		v = v < t->min ? t->min : v;
		v = v > t->max ? t->max : v;
	}
	return v;
}

void
nn_model_scale_outputs(const nn_model *m, int rows, int networks, double *out)
{
	int columns = m->networks[0].graph->outputs;
	size_t n = (size_t) rows * m->outputs;

	if (networks > 1)
		for (size_t i = 0; i < n; i++)
			out[i] /= networks;
	if (m->task == NN_REGRESSION)
		for (int i = 0; i < rows; i++)
			for (int j = 0; j < m->outputs; j++, out++)
				*out = target_value(&m->targets[j], *out);
	else if (columns != m->outputs)
		for (int i = 0; i < rows; i++)
			out[2 * i] = 1 - out[2 * i + 1];
}

void
nn_model_finish_outputs(const nn_model *m, int rows, nn_real *raw, double *out)
{
	nn_model_add_outputs(m, rows, true, raw, out);
	nn_model_scale_outputs(m, rows, 1, out);
}

/* Layers of this label (exact) or name; the last one found in *found. */
static int
count_layers(const nn_graph *g, const char *name, bool by_label, int *found)
{
	int n = 0;

	for (int i = 0; i < g->nlayers; i++)
	{
		const nn_layer *l = &g->layers[i];

		if (by_label ? l->label != NULL && strcmp(l->label, name) == 0
					 : nn_name_equal(l->ops->named.name, name))
		{
			n++;
			*found = i;
		}
	}
	return n;
}

bool
nn_model_layer(const nn_model *m, const char *name, int *layer, int *width,
			   nn_error *err)
{
	const nn_graph *g = m->networks[0].graph;
	char *end;
	long number = strtol(name, &end, 10);

	if (count_layers(g, name, true, layer) == 0)
	{
		if (*name >= '0' && *name <= '9' && *end == '\0')
		{
			if (number >= g->nlayers)
				return nn_fail(err, NN_UNDEFINED,
							   "there is no layer %s: the last one is %d", name,
							   g->nlayers - 1);
			*layer = (int) number;
		}
		else
		{
			int n = count_layers(g, name, false, layer);

			if (n == 0)
				nn_fail(err, NN_UNDEFINED, "layer \"%s\" does not exist", name);
			else if (n > 1)
				nn_fail(err, NN_INVALID, "there are %d layers \"%s\"", n, name);
			if (n != 1)
				return nn_hint(err,
							   "Layers are named by their label or by "
							   "their number, 0 to %d.",
							   g->nlayers - 1);
		}
	}
	*width = (int) nn_count(&g->layers[*layer].out.shape);
	return true;
}
