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

#define MAX_SEEDS 512
#define MAX_TEXT  512

static const char *const composed[] = {
	"dense(64) -> relu -> dropout(0.2) -> dense(1)",
	"input(number) n: piecewise_linear x: input(number) input(category) "
	"c: one_hot(robust) concatenate(n, x, c) scale dense(8, selu, ntk = true)",
	"a: Dense(units=4, activation='relu'); Linear(4), add(a)\n"
	"dense(1, kernel_initializer = variance_scaling(2, fan_out, uniform))",
	"reshape((2, -1)) layer_normalization(1e-5) flatten softmax",
	"Conv2D(32, kernel_size = (3, 3)) MaxPooling2D((2, 2))",
	"dense(true) dense(-1) dense(1e300) dense(x(y(z(1))))"};

static const char *const pieces[] = {
	"(",  ")",	"[",	"]",		",",	  ";",		 ":",
	"=",  "->", "-1",	"0",		"1e9",	  "1048576", "0.5",
	"a",  "b",	"relu", "dense(3)", "add(a)", "input",	 "true",
	"\"", "'",	"\n",	"\xC3\xA9", "((",	  "_"};

#define NPIECES (sizeof(pieces) / sizeof(pieces[0]))

static const char *seeds[MAX_SEEDS];
static uint32_t nseeds;

static void
collect_seeds(void)
{
	for (size_t i = 0; i < sizeof(composed) / sizeof(composed[0]); i++)
		seeds[nseeds++] = composed[i];
	for (int i = 0; nn_layers[i] != NULL; i++)
		for (const char *const *e = nn_layers[i]->named.examples;
			 *e != NULL && nseeds < MAX_SEEDS; e++)
			seeds[nseeds++] = *e;
}

static void
append(char *text, const char *from, size_t n)
{
	size_t at = strlen(text), room = MAX_TEXT - 1 - at;

	n = strnlen(from, n < room ? n : room);
	memcpy(text + at, from, n);
	text[at + n] = '\0';
}

/* Whole numbers below a limit, one after the other. */
typedef struct dice
{
	nn_key key;
	uint64_t thrown;
} dice;

static uint32_t
throw_dice(dice *d, size_t limit)
{
	return nn_random_below(d->key, d->thrown++, (uint32_t) limit);
}

/* A seed with a piece replaced, inserted, removed, or taken from another. */
static void
mutate(nn_key key, char *text)
{
	dice d = {key, 0};
	char old[MAX_TEXT];

	text[0] = '\0';
	old[0] = '\0';
	append(text, seeds[throw_dice(&d, nseeds)], MAX_TEXT);
	for (uint32_t times = 1 + throw_dice(&d, 4); times > 0; times--)
	{
		size_t len = strlen(text), cut = throw_dice(&d, len + 1),
			   most = throw_dice(&d, 2) == 0 ? 2 : len - cut + 1,
			   end = cut + throw_dice(&d, most);
		const char *piece = pieces[throw_dice(&d, NPIECES)];

		if (end > len)
			end = len;
		memcpy(old, text, len + 1);
		text[cut] = '\0';
		switch (throw_dice(&d, 4))
		{
			case 0:
				append(text, piece, strlen(piece));
				break;
			case 1:
				piece = seeds[throw_dice(&d, nseeds)];
				append(text, piece, throw_dice(&d, strlen(piece) + 1));
				break;
			case 2:
				append(text, old + cut, end - cut);
				append(text, old + cut, end - cut);
				break;
			default:
				break;
		}
		append(text, old + end, len - end);
	}
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
