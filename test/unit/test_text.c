/* builds: float asan */
/*
 * test_text.c
 *	  Network text: what it means, what it prints as, and what is wrong with it.
 */
#include "examples.h"

/* Texts and their canonical form. */
static const char *const canonical[][2] = {
	{"Dense(64) ReLU Dropout(p=0.2) Linear(out_features=1, bias=False)",
	 "dense(64) relu dropout(rate = 0.2) dense(1, use_bias = false)"},
	{"dense(64, relu)->dense(1);", "dense(64, activation = relu) dense(1)"},
	{"dense(units = 8, activation = 'swish', kernel_initializer = "
	 "\"he_normal\")",
	 "dense(8, activation = silu, kernel_initializer = he_normal)"},
	{"dense(8, activation=None, bias_initializer=Constant(value=.5),)",
	 "dense(8, bias_initializer = Constant(value = 0.5))"},
	{"input dense(2)", "dense(2)"},
	{"input", "input"},
	{"x: input dense(2) add(b) b: dense(2)", NULL},
	{"A: dense(2) a: relu add(A, a)", "A: dense(2) a: relu add(A, a)"},
	{"reshape((3, -1,)) flatten", "reshape([3, -1]) flatten"},
	{"reshape(9)", "reshape([9])"},
	{"BatchNorm1d(momentum=0.9, eps=1e-5)",
	 "batch_normalization(momentum = 0.9, epsilon = 1e-05)"},
	{"input(category) embedding(4, embeddings_initializer=RandomUniform)",
	 "input(section = category) embedding(4)"},
	{"input(category) Embedding(1000, 8)",
	 "input(section = category) embedding(input_dim = 1000, output_dim = 8)"},
	{"input(category) embedding(0, 8, random_normal)",
	 "input(section = category) embedding(8, embeddings_initializer = "
	 "random_normal)"},
	{"input(category) embedding(1000, output_dim = 8)",
	 "input(section = category) embedding(input_dim = 1000, output_dim = 8)"},
	{"input(category) embedding(8, num_embeddings = 1000)",
	 "input(section = category) embedding(input_dim = 1000, output_dim = 8)"},
	{"input(category) embedding(1000, embedding_dim = 8, 3)", NULL},
	{"input(category) embedding(1000, input_dim = 8, output_dim = 8)", NULL},
	{"input(category) embedding(input_dim = 1000)", NULL},
	{"swish activation(swish) leakyReLU(0.3) leaky_relu(0.1)",
	 "silu activation(silu) leaky_relu leaky_relu(negative_slope = 0.1)"},
	{"dense(\t3\r\n) , ; dense ( 4 )", "dense(3) dense(4)"}};

static void
check_canonical(const char *text, const char *wanted)
{
	nn_error err = {NN_OK};
	nn_arena *arena = nn_arena_create(&check_heap, &err);
	nn_graph *g = nn_graph_build(arena, text, &example_layout, &err);
	const char *found = g ? g->text : NULL;

	if (wanted == NULL)
		check(found == NULL, "\"%s\" is refused: %s", text, err.message);
	else
	{
		check(found != NULL && strcmp(found, wanted) == 0,
			  "\"%s\" is \"%s\", %s", text, found ? found : err.message,
			  err.hint);
		g = nn_graph_build(arena, wanted, &example_layout, &err);
		check(g != NULL && strcmp(g->text, wanted) == 0,
			  "\"%s\" prints as itself", wanted);
	}
	nn_arena_destroy(arena);
}

/* Building the printed text of an example gives the same network. */
static void
check_round_trip(const char *example)
{
	nn_error err = {NN_OK};
	nn_arena *arena = nn_arena_create(&check_heap, &err);
	const char *text = example_network(arena, example, &err);
	nn_graph *g = nn_graph_build(arena, text, &example_layout, &err), *h = NULL;
	nn_real *a = NULL, *b = NULL;

	if (g != NULL)
		h = nn_graph_build(arena, g->text, &example_layout, &err);
	check(h != NULL && strcmp(g->text, h->text) == 0 &&
			  g->nlayers == h->nlayers && g->nparams == h->nparams &&
			  g->outputs == h->outputs && g->work == h->work,
		  "round trip of \"%s\"%s", text, h ? "" : err.message);
	if (h != NULL)
	{
		a = nn_alloc_array(arena, g->nparams, sizeof(nn_real), &err);
		b = nn_alloc_array(arena, g->nparams, sizeof(nn_real), &err);
		check(nn_graph_initialize(g, 5, 0, NULL, a, &err) &&
				  nn_graph_initialize(h, 5, 0, NULL, b, &err) &&
				  memcmp(a, b, sizeof(nn_real) * g->nparams) == 0,
			  "the same parameters of \"%s\"", text);
	}
	nn_arena_destroy(arena);
}

/* Wrong texts, with what the message, and the hint or detail, must contain. */
static const struct
{
	const char *text;
	nn_code code;
	const char *message, *advice;
} wrong[] = {
	{"", NN_INVALID, "network has no layers", NULL},
	{"  ; ->", NN_INVALID, "network has no layers", NULL},
	{"dense(64", NN_SYNTAX, "syntax error at end of text", "\",\" or \")\""},
	{"dense(64))", NN_SYNTAX, "at or near \")\", character 10", NULL},
	{"dense(64 relu)", NN_SYNTAX, "at or near \"relu\", character 10", NULL},
	{"dense(=3)", NN_SYNTAX, "near \"=\"", "a value"},
	{"dense(0x10)", NN_SYNTAX, "near \"0x10\"", "a number"},
	{"dense(1e999)", NN_SYNTAX, "out of range", NULL},
	{"dense(1.2.3)", NN_SYNTAX, "syntax error", NULL},
	{"dense(units = )", NN_SYNTAX, "near \")\"", NULL},
	{"reshape([1, a])", NN_SYNTAX, "near \"a\"", "a number"},
	{"dense('relu)", NN_SYNTAX, "syntax error", NULL},
	{"d\xC3\xA9nse(3)", NN_SYNTAX, "near \"\xC3\xA9\"", NULL},
	{"a(a(a(a(a(a(a(a(a(1)))))))))", NN_LIMIT, "nested", NULL},
	{"dense()", NN_INVALID, "option \"units\" is required", NULL},
	{"dense(0)", NN_INVALID, "value 0 out of bounds for option \"units\"",
	 "between 1 and 1048576"},
	{"dense(1.5)", NN_INVALID, "\"units\" must be a whole number", NULL},
	{"dense(true)", NN_INVALID, "\"units\" must be a number", NULL},
	{"dense(8, unts = 3)", NN_INVALID, "unrecognized option \"unts\"",
	 "Did you mean \"units\"?"},
	{"dense(8, units = 3)", NN_INVALID, "specified more than once", NULL},
	{"dense(units = 8, relu)", NN_SYNTAX, "positional argument", NULL},
	{"dense(8, rleu)", NN_INVALID, "\"activation\": \"rleu\"",
	 "Did you mean \"relu\"?"},
	{"dense(8, softmax)", NN_INVALID, "invalid value", "\"linear\""},
	{"dense(8, kernel_initializer = glorot_unifrom)", NN_UNDEFINED,
	 "initializer \"glorot_unifrom\" does not exist",
	 "Did you mean \"glorot_uniform\"?"},
	{"dense(8, kernel_initializer = constant(a = 1))", NN_INVALID,
	 "unrecognized option \"a\"", NULL},
	{"relu(1)", NN_INVALID, "relu: too many arguments", NULL},
	{"relu(slope = 1)", NN_INVALID, "unrecognized", "relu has no options."},
	{"dens(3)", NN_UNDEFINED, "layer \"dens\" does not exist",
	 "Did you mean \"dense\"?"},
	{"Droput(0.2)", NN_UNDEFINED, "does not exist",
	 "Did you mean \"dropout\"?"},
	{"Zebra(0.2)", NN_UNDEFINED, "layer \"Zebra\" does not exist", NULL},
	{"Conv2D(32, 3)", NN_UNSUPPORTED, "layer \"Conv2D\" is not supported",
	 "Convolution"},
	{"lstm(32)", NN_UNSUPPORTED, "\"lstm\"", "Recurrent"},
	{"dropout(1)", NN_INVALID, "out of bounds", NULL},
	{"reshape([4, 2])", NN_SHAPE,
	 "layer 1 (reshape): 9 numbers do not fit shape [4, 2]",
	 "The shape of the input is [9]."},
	{"reshape([2, -1])", NN_SHAPE, "do not fit shape [2, -1]", NULL},
	{"reshape([-1, -1])", NN_SHAPE, "only one dimension", NULL},
	{"reshape([1, 1, 1, 1, 9])", NN_SHAPE, "1 to 4 dimensions", NULL},
	{"a: dense(3) b: dense(4) add(a, b)", NN_SHAPE,
	 "layer 3 (add): inputs of shapes [3] and [4] do not fit together", NULL},
	{"a: dense(3) c: dense(4) \"sum\": add(a)", NN_SHAPE,
	 "layer 3 \"sum\" (add)", NULL},
	{"dense(3) add", NN_SHAPE, "needs the label", "add(a)"},
	{"block: dense(3) dense(3) add(blcok)", NN_UNDEFINED, "labelled \"blcok\"",
	 "Did you mean \"block\"?"},
	{"dense(3) add(b) b: dense(3)", NN_UNDEFINED, "labelled \"b\"", NULL},
	{"a: dense(3) a: relu", NN_INVALID, "label \"a\"", NULL},
	{"a: dense(3) input(number) dense(2)", NN_INVALID,
	 "layer 1 \"a\" (dense): no layer reads its output", "Label it"},
	{"input(nubmer) dense(2)", NN_UNDEFINED, "no part \"nubmer\"",
	 "Did you mean \"number\"?"},
	{"input(number) embedding(3)", NN_SHAPE, "its input is not categories",
	 "input(category)"},
	{"dense(4) piecewise_linear", NN_SHAPE, "its input must be data", NULL},
	{"add(a, b, c, d, e, f, g, h, i)", NN_LIMIT, "more than 8 inputs", NULL},
	{"input(category) embedding(1000000)", NN_SHAPE, "too large", NULL},
	{"dense(1000000) dense(1000000)", NN_LIMIT, "is too large", NULL}};

static void
check_wrong(void)
{
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
	{
		nn_error err = {NN_OK};
		nn_arena *arena = nn_arena_create(&check_heap, &err);
		nn_graph *g =
			nn_graph_build(arena, wrong[i].text, &example_layout, &err);

		check(g == NULL && err.code == wrong[i].code &&
				  strstr(err.message, wrong[i].message) != NULL &&
				  (wrong[i].advice == NULL ||
				   strstr(err.detail, wrong[i].advice) != NULL ||
				   strstr(err.hint, wrong[i].advice) != NULL),
			  "\"%s\": %d %s; %s; %s", wrong[i].text, err.code, err.message,
			  err.detail, err.hint);
		nn_arena_destroy(arena);
	}
}

static void
check_limits(void)
{
	nn_error err = {NN_OK};
	nn_arena *arena = nn_arena_create(&check_heap, &err);
	char *text = malloc(NN_MAX_TEXT + 2), name[NN_NAME_SIZE + 1];

	memset(text, ' ', NN_MAX_TEXT + 1);
	text[NN_MAX_TEXT + 1] = '\0';
	check(nn_text_parse(arena, text, &err) == NULL && err.code == NN_LIMIT,
		  "too long a text: %s", err.message);
	text[NN_MAX_TEXT] = '\0';
	check(nn_text_parse(arena, text, &err) != NULL, "the longest text");
	text[0] = '\0';
	for (int i = 0; i <= NN_MAX_LAYERS; i++)
		memcpy(text + 5 * i, "relu ", 6);
	check(nn_text_parse(arena, text, &err) == NULL && err.code == NN_LIMIT,
		  "too many layers: %s", err.message);
	text[5 * NN_MAX_LAYERS] = '\0';
	check(nn_graph_build(arena, text, &example_layout, &err) != NULL,
		  "the deepest network");
	memset(name, 'a', NN_NAME_SIZE);
	name[NN_NAME_SIZE] = '\0';
	check(nn_text_parse(arena, name, &err) == NULL && err.code == NN_LIMIT,
		  "too long a name: %s", err.message);
	free(text);
	nn_arena_destroy(arena);
}

static void
check_numbers(void)
{
	static const double values[] = {
		0, 1, -1, 0.1, 1e-5, 1.0 / 3, 1e22, 0.30000000000000004, 123456789.125};
	char buf[NN_NUMBER_SIZE];

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		check(strtod(nn_number_text(values[i], buf), NULL) == values[i],
			  "number %s", buf);
	check(strcmp(nn_number_text(0.1, buf), "0.1") == 0, "short: %s", buf);
}

static void
check_names(void)
{
	static const char *const list[] = {"dense", "dropout",
									   "layer_normalization", NULL};
	static const char *const cases[][2] = {
		{"dnese", "dense"},
		{"DENSE", "dense"},
		{"denses", "dense"},
		{"drop_out", "dropout"},
		{"Layernormalisation", "layer_normalization"},
		{"x", NULL},
		{"", NULL},
		{"conv", NULL}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		const char *found = nn_did_you_mean(cases[i][0], list);

		check(found == NULL ? cases[i][1] == NULL
							: cases[i][1] && strcmp(found, cases[i][1]) == 0,
			  "\"%s\" means %s", cases[i][0], found ? found : "nothing");
	}
	check(nn_name_equal("LayerNormalization", "layer_normalization") &&
			  nn_name_equal("_a_", "A") && !nn_name_equal("a", "ab") &&
			  !nn_name_equal("ab", "a_"),
		  "names without case and underscores");
}

/* A message that is too long ends at a character's end. */
static void
check_cut(void)
{
	nn_error err;
	char text[1001];

	for (int shift = 0; shift < 3; shift++)
	{
		size_t n;

		for (int i = 0; i < 1000; i++)
			text[i] = i < shift ? 'x' : "\xE2\x82\xAC"[(i - shift) % 3];
		text[1000] = '\0';
		nn_fail(&err, NN_INVALID, "%s", text);
		n = strlen(err.message);
		check(n < sizeof(err.message) && n > sizeof(err.message) - 6 &&
				  (n - (size_t) shift) % 3 == 0,
			  "cut at %zu", n);
	}
}

int
main(void)
{
	for (size_t i = 0; i < sizeof(canonical) / sizeof(canonical[0]); i++)
		check_canonical(canonical[i][0], canonical[i][1]);
	for (int i = 0; nn_layers[i] != NULL; i++)
		for (const char *const *e = nn_layers[i]->named.examples; *e; e++)
			check_round_trip(*e);
	check_wrong();
	check_limits();
	check_numbers();
	check_names();
	check_cut();
	return check_failed;
}
