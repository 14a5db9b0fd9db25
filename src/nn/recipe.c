/*
 * recipe.c
 *	  What is trained when the user leaves it to us.
 *
 * The network is the smaller one of RealMLP (Holzmueller, Grinsztajn and
 * Steinwart, "Better by default", 2024, arXiv 2407.04491, "TD-S") behind the
 * piecewise-linear embedding of numbers of Gorishniy, Rubachev and Babenko
 * ("On embeddings for numerical features", 2022, arXiv 2203.05556): robust
 * scaling with a smooth limit, a learned factor for each input at six times
 * the learning rate, three layers of 256 in the neural tangent
 * parametrisation, a head that begins at zero, Adam with a cyclic learning
 * rate, label smoothing that is undone in the probabilities, and the weights
 * of the best epoch.
 */
#include "recipe.h"

#include <string.h>

#include "text.h"

const nn_recipe_setting nn_recipe_settings[] = {
	{"scale", "robust"}, {"clip", "3"}, {NULL, NULL}};

/* Numbers up to which each is embedded: the embedding is that much wider. */
#define MAX_EMBEDDED_NUMBERS 256

#define LEAST_EPOCHS 16

/*
 * Which layers turn a section into numbers; NULL is none.  By
 * nn_section_kind.
 */
static const char *const plain_layers[NN_SECTION_KINDS] = {
	[NN_SECTION_CATEGORY] = "one_hot", [NN_SECTION_ENTITY] = "embedding(8)"};
static const char *const recipe_layers[NN_SECTION_KINDS] = {
	[NN_SECTION_NUMBER] = "piecewise_linear(6)",
	[NN_SECTION_CATEGORY] = "one_hot(robust)",
	[NN_SECTION_ENTITY] = "embedding(8)"};

static int
section_kind(const char *name)
{
	for (int kind = 0; kind < NN_SECTION_KINDS; kind++)
		if (strcmp(nn_section_names[kind], name) == 0)
			return kind;
	return NN_SECTION_NUMBER;
}

/*
 * "input(number) x1: piecewise_linear(6) ... concatenate(x1, x2)": every
 * section, in order, by its layers.  Numbers are kept beside what is made of
 * them.  Empty where the encoded row is what is wanted already.
 */
static const char *
prelude(nn_arena *arena, const nn_layout *layout, const char *const *layers,
		nn_error *err)
{
	const char *text = "", *parts = "";
	int nparts = 0;
	bool plain = true;

	for (int i = 0; i < layout->nsections; i++)
	{
		const nn_section *s = &layout->section[i];
		int kind = section_kind(s->name);
		const char *layer = layers[kind];
		bool beside = kind == NN_SECTION_NUMBER;

		if (beside && s->count > MAX_EMBEDDED_NUMBERS)
			layer = NULL;
		if (layer != NULL)
		{
			text = nn_printf(arena, err, "%s%s: input(%s) %s_in: %s ", text,
							 s->name, s->name, s->name, layer);
			if (text == NULL)
				return NULL;
			parts = nn_printf(arena, err, "%s%s%s_in", parts,
							  nparts++ > 0 ? ", " : "", s->name);
			plain = false;
		}
		else
			text = nn_printf(arena, err, "%s%s: input(%s) ", text, s->name,
							 s->name);
		if (text != NULL && parts != NULL && (layer == NULL || beside))
			parts = nn_printf(arena, err, "%s%s%s", parts,
							  nparts++ > 0 ? ", " : "", s->name);
		if (text == NULL || parts == NULL)
			return NULL;
	}
	if (plain)
		return "";
	if (nparts == 1)
		return text;
	return nn_printf(arena, err, "%sconcatenate(%s) ", text, parts);
}

const nn_recipe *
nn_recipe_training(nn_task task)
{
	static const char optimizer[] = "adam(beta_2 = 0.95, epsilon = 1e-8)";
	static const char schedule[] = "coslog(cycles = 4)";
	static const nn_recipe regression = {"mean_squared_error", optimizer,
										 schedule, 0.07};
	static const nn_recipe yes_or_no = {
		"binary_crossentropy(label_smoothing = 0.1, undo = true)", optimizer,
		schedule, 0.04};
	static const nn_recipe classes = {
		"categorical_crossentropy(label_smoothing = 0.1, undo = true)",
		optimizer, schedule, 0.04};

	return task == NN_REGRESSION   ? &regression
		   : task == NN_MULTICLASS ? &classes
								   : &yes_or_no;
}

const char *
nn_recipe_network(nn_arena *arena, const nn_layout *layout, nn_task task,
				  int outputs, nn_error *err)
{
	const char *f = task == NN_REGRESSION ? "mish" : "selu";
	const char *begin = prelude(arena, layout, recipe_layers, err);

	if (begin == NULL)
		return NULL;
	return nn_printf(
		arena, err,
		"%sscale(6) dense(256, %s, ntk = true) dense(256, %s, ntk = true) "
		"dense(256, %s, ntk = true) dense(%d, kernel_initializer = zeros, "
		"bias_initializer = zeros, ntk = true)",
		begin, f, f, f, outputs);
}

const char *
nn_recipe_complete(nn_arena *arena, const nn_layout *layout, const char *layers,
				   int outputs, nn_error *err)
{
	nn_item_list *items = nn_text_parse(arena, layers, err);
	const char *begin;

	if (items == NULL)
		return NULL;
	begin = items->count > 0 && nn_name_equal(items->items[0].name, "input")
				? ""
				: prelude(arena, layout, plain_layers, err);
	if (begin == NULL)
		return NULL;
	return nn_printf(arena, err, "%s%s dense(%d)", begin, layers, outputs);
}

int
nn_plan_batch(int64_t rows)
{
	if (rows >= 300000)
		return 1024;
	if (rows >= 100000)
		return 512;
	return rows < 256 ? (int) rows : 256;
}

void
nn_plan_epochs(nn_plan *plan, double work, int64_t rows, int threads,
			   double seconds, int max_epochs)
{
	/* a multiplication and an addition, forward, for the weights' gradient
	 * and for the inputs' */
	double flops = 6 * (work > 1000 ? work : 1000);
	double budget = seconds * threads * NN_RECIPE_RATE / flops;
	double epochs = budget / (double) rows;

	plan->epoch_rows = rows;
	if (epochs >= max_epochs)
		plan->epochs = max_epochs;
	else if (epochs >= LEAST_EPOCHS || max_epochs < LEAST_EPOCHS)
		plan->epochs = epochs < 1 ? 1 : (int) epochs;
	else
	{
		double part = budget / LEAST_EPOCHS;

		plan->epochs = LEAST_EPOCHS;
		if (part < (double) plan->batch_rows)
			part = plan->batch_rows;
		if (part < (double) rows)
			plan->epoch_rows = (int64_t) part;
	}
}
