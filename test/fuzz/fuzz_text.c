/*
 * fuzz_text.c
 *	  Random changes to network texts.
 *
 * Every text must either be refused with a message, or build; then its
 * canonical text must build too, and be its own canonical text.
 *
 *		fuzz_text [iterations [seed]]
 */
#include "../unit/examples.h"
#include "mutate.h"

static const char *const composed[] = {
	"dense(64) -> relu -> dropout(0.2) -> dense(1)",
	"input(number) n: piecewise_linear x: input(number) input(category) "
	"c: one_hot(robust) concatenate(n, x, c) scale dense(8, selu, ntk = true)",
	"a: Dense(units=4, activation='relu'); Linear(4), add(a)\n"
	"dense(1, kernel_initializer = variance_scaling(2, fan_out, uniform))",
	"reshape((2, -1)) layer_normalization(1e-5) flatten softmax",
	"Conv2D(32, kernel_size = (3, 3)) MaxPooling2D((2, 2))",
	"dense(true) dense(-1) dense(1e300) dense(x(y(z(1))))",
	NULL};

static void
collect_seeds(void)
{
	add_seeds(composed);
	for (int i = 0; nn_layers[i] != NULL; i++)
		add_seeds(nn_layers[i]->named.examples);
}

/* What is wrong with what became of a text, or NULL. */
static const char *
complaint(const char *text, int *built)
{
	nn_error err = {NN_OK};
	nn_arena *arena = nn_arena_create(&check_heap, &err);
	const char *bad = NULL, *again;
	nn_graph *g = nn_graph_build(arena, text, &example_layout, &err);

	if (g == NULL)
	{
		if (err.code == NN_OK || err.message[0] == '\0')
			bad = "refused without a reason";
	}
	else
	{
		(*built)++;
		again = g->text;
		g = nn_graph_build(arena, again, &example_layout, &err);
		if (g == NULL)
			bad = "canonical text refused";
		else if (strcmp(g->text, again) != 0)
			bad = "canonical text changes";
		else if (nn_exec_size(g, 3, true, &err) == 0)
			bad = "no size";
	}
	nn_arena_destroy(arena);
	return bad;
}

int
main(int argc, char **argv)
{
	int iterations = argc > 1 ? atoi(argv[1]) : 20000, built = 0, bad = 0;
	uint64_t seed = argc > 2 ? (uint64_t) atoll(argv[2]) : 1;
	char text[MAX_TEXT];

	collect_seeds();
	for (int i = 0; i < iterations && bad < 10; i++)
	{
		const char *why;

		mutate(nn_random_key(seed, NN_STREAM_SAMPLE, (uint64_t) i), text);
		why = complaint(text, &built);
		if (why != NULL)
		{
			bad++;
			check(false, "%s: \"%s\"", why, text);
		}
	}
	check(bad == 0, "%d texts, of which %d are networks", iterations, built);
	return check_failed;
}
