/*
 * examples.h
 *	  Networks for tests: the examples that layers give of themselves.
 *
 * Nothing here names a layer, so a new one is tested by being registered.
 */
#ifndef EXAMPLES_H
#define EXAMPLES_H

#include "check.h"
#include "graph.h"

#define NUMBERS 6
#define CODES	3
#define WIDTH	(NUMBERS + CODES)

static const int example_levels[CODES] = {3, 4, 2};

static const nn_layout example_layout __attribute__((unused)) = {
	.width = WIDTH,
	.nsections = 2,
	.section = {{"number", 0, NUMBERS, NULL},
				{"category", NUMBERS, CODES, example_levels}}};

/*
 * The example as a network.  One that names no input gets one in front, then a
 * layer that learns, so that gradients must pass all of the example.
 */
__attribute__((unused)) static const char *
example_network(nn_arena *arena, const char *example, nn_error *err)
{
	nn_item_list *items = nn_text_parse(arena, example, err);

	if (items == NULL)
		return NULL;
	for (int i = 0; i < items->count; i++)
		if (nn_name_equal(items->items[i].name, "input"))
			return example;
	return nn_printf(arena, err, "input(number) scale(rate = 1) %s", example);
}

/* Encoded rows: normal numbers, and codes, of which some are unknown. */
__attribute__((unused)) static void
example_rows(int rows, uint64_t seed, nn_real *x)
{
	nn_key key = nn_random_key(seed, NN_STREAM_SAMPLE, 1);

	for (int i = 0; i < rows; i++)
		for (int j = 0; j < WIDTH; j++)
		{
			uint64_t at = (uint64_t) (i * WIDTH + j);

			if (j < NUMBERS)
				x[at] = (nn_real) nn_random_normal(key, at);
			else
				x[at] =
					(nn_real) nn_random_below(
						key, at, (uint32_t) example_levels[j - NUMBERS] + 1) -
					(i % 2);
		}
}

#endif /* EXAMPLES_H */
