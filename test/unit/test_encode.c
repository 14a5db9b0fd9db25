/* builds: float asan */
/*
 * test_encode.c
 *	  Encoders against numpy's values (reference/encode.py), and what numpy
 *	  has no word for: categories, what is dropped, storing.
 */
#include "encode.h"
#include "reference.h"

#define ROWS	 500
#define LENGTH	 3
#define MOST_OUT 256

static nn_error err;
static nn_arena *arena;

static uint32_t
no_checksum(const void *bytes, size_t n)
{
	(void) bytes;
	return (uint32_t) n;
}

/* --- the data of encode.py --- */

static double
number(const char *kind, int i)
{
	if (strcmp(kind, "plain") == 0)
		return 10 * phase(1, i) + 3;
	if (strcmp(kind, "offset") == 0)
		return 1e9 + phase(1, i);
	if (strcmp(kind, "nulls") == 0)
		return i % 7 == 3 ? NAN : exp(3 * phase(2, i));
	if (strcmp(kind, "infinite") == 0)
		return i % 9 == 4 ? INFINITY : phase(3, i);
	if (strcmp(kind, "sparse") == 0)
		return i % 10 == 1 ? 2 * phase(4, i) + 5 : 0;
	return 1.5e308 * phase(5, i);
}

static double
boolean(const char *kind, int i)
{
	double v = phase(6, i);

	if (strcmp(kind, "rare") == 0)
		return v > 0.9;
	if (strcmp(kind, "holes") == 0 && i % 6 == 2)
		return NAN;
	return v > 0;
}

static double
moment(const char *kind, int i)
{
	double v = 3e8 + 4e8 * phase(7, i);

	if (strcmp(kind, "date") == 0)
		return 86400 * floor(v / 86400);
	if (strcmp(kind, "time") == 0)
		return 43200 + 43000 * phase(7, i);
	return 3600 * floor(v / 3600);
}

static double
element(int i, int j)
{
	return j == LENGTH - 1 ? 7.5 : 100 * j + (j + 1) * phase(8 + j, i);
}

static void
fill_record(const nn_column *c, const char *kind, int i, char *record)
{
	float values[LENGTH];

	switch (c->class)
	{
		case NN_CLASS_NUMBER:
			nn_set_number(c, record, number(kind, i));
			break;
		case NN_CLASS_BOOLEAN:
			nn_set_number(c, record, boolean(kind, i));
			break;
		case NN_CLASS_VECTOR:
			for (int j = 0; j < LENGTH; j++)
				values[j] = (float) element(i, j);
			nn_set_vector(c, record, values, LENGTH, &err);
			break;
		default:
			nn_set_number(c, record, moment(kind, i));
			break;
	}
}

/* Observe in pieces of uneven size, the same for every column. */
static bool
observe_all(nn_features *f, const char *records, int n, const uint8_t *use)
{
	int part;

	for (int i = 0; i < n; i += part)
	{
		part = 1 + (i * 7 + 3) % 311;
		if (part > n - i)
			part = n - i;
		if (!nn_features_observe(f, records + i * f->record_size, part, use + i,
								 &err))
			return false;
	}
	return nn_features_finish(f, &err);
}

/* Save and load. */
static nn_features *
reload(const nn_features *f)
{
	nn_writer w = {.arena = arena, .crc32c = no_checksum}, again = w;
	nn_reader r = {.what = "FEAT"};
	nn_features *g;

	if (!nn_features_save(f, &w, &err))
		return NULL;
	r.bytes = w.bytes;
	r.left = w.used;
	g = nn_features_load(arena, &r, &err);
	if (g == NULL || r.left != 0 || !nn_features_save(g, &again, &err) ||
		w.used != again.used || memcmp(w.bytes, again.bytes, w.used) != 0)
		return NULL;
	return g;
}

/* Loaded features whose records get room for the caller encode the same. */
static void
check_extended(nn_features *f, const char *kind, const char *records, int rows,
			   const nn_real *expected)
{
	size_t before = f->record_size, extra = 3 * sizeof(double);
	size_t at = nn_features_extend(f, extra);
	size_t n = (size_t) rows * f->layout.width * sizeof(nn_real);
	char *wide = calloc(rows, f->record_size);
	nn_real *out = malloc(n);

	for (int i = 0; i < rows; i++)
	{
		memcpy(wide + i * f->record_size, records + i * before, before);
		memset(wide + i * f->record_size + at, 0xff, extra);
	}
	nn_features_encode(f, wide, rows, out);
	check(at >= before && f->record_size >= at + extra &&
			  memcmp(out, expected, n) == 0,
		  "%s: the same with more in a record", kind);
	free(wide);
	free(out);
}

/* One column, learned from its training rows; NULL after a failed check. */
static nn_features *
learn(const char *class_name, const char *kind, const char *encoder)
{
	static const char *const names[] = {
		"number", "boolean", "text", "timestamp", "date", "time", "vector"};
	static uint8_t use[ROWS];
	nn_features *f = nn_features_create(arena, 1, &err);
	int class = 0;
	nn_column *c;
	char *records;

	while (strcmp(names[class], class_name) != 0)
		class ++;
	c = nn_features_add(f, "x", class, "numeric",
						class == NN_CLASS_VECTOR	? NN_SLOT_VECTOR
						: class == NN_CLASS_BOOLEAN ? NN_SLOT_REAL32
													: NN_SLOT_REAL64,
						class == NN_CLASS_VECTOR ? LENGTH : 1, encoder, &err);
	if (c == NULL || !nn_features_layout(f, 0, NULL, &err))
		return NULL;
	records = calloc(ROWS, f->record_size);
	for (int i = 0; i < ROWS; i++)
	{
		use[i] = i % 5 != 0;
		fill_record(c, kind, i, records + i * f->record_size);
	}
	if (!observe_all(f, records, ROWS, use))
		f = NULL;
	free(records);
	return f;
}

static void
check_line(char *line)
{
	static const double probes[] = {NAN, INFINITY, -INFINITY, 1e300};
	char *class_name = strtok(line, "|"), *kind = strtok(NULL, "|");
	char *encoder = strtok(NULL, "|"), *values = strtok(NULL, "|");
	nn_features *f = learn(class_name, kind, encoder), *g;
	bool is_number = strcmp(class_name, "number") == 0;
	int rows = is_number ? 16 : 12, bad = 0, n = 0, width;
	char *records;
	nn_real out[MOST_OUT], again[MOST_OUT], one[MOST_OUT];

	if (f == NULL)
	{
		check(false, "%s %s: %s", kind, encoder, err.message);
		return;
	}
	width = f->layout.width;
	records = calloc(rows, f->record_size);
	for (int i = 0; i < 12; i++)
		fill_record(f->columns, kind, i, records + i * f->record_size);
	for (int i = 12; i < rows; i++)
		nn_set_number(f->columns, records + i * f->record_size, probes[i - 12]);
	nn_features_encode(f, records, rows, out);
	for (char *at = strtok(values, " \n"); at != NULL;
		 at = strtok(NULL, " \n"), n++)
		if (n < rows * width && !near(out[n], atof(at), 2e-6) && bad++ == 0)
			printf("# number %d: %.9g, but numpy has %s\n", n, out[n], at);
	check(bad == 0 && n == rows * width, "%s %s %s: %d of %d, %d wide",
		  class_name, kind, encoder, n, rows * width, width);

	g = reload(f);
	if (g != NULL)
		nn_features_encode(g, records, rows, again);
	for (int i = 0; i < rows; i++)
		nn_features_encode(f, records + i * f->record_size, 1, one + i * width);
	check(g != NULL && memcmp(out, again, sizeof(nn_real) * rows * width) == 0,
		  "%s %s: the same once stored", kind, encoder);
	if (g != NULL)
		check_extended(g, kind, records, rows, again);
	check(memcmp(out, one, sizeof(nn_real) * rows * width) == 0,
		  "%s %s: the same row by row", kind, encoder);
	free(records);
}

static void
test_reference(int argc, char **argv)
{
	FILE *in = reference_open(argc, argv, "encode.txt");
	char line[4096];

	while (in != NULL && fgets(line, sizeof(line), in) != NULL)
	{
		arena = nn_arena_create(&check_heap, &err);
		check_line(line);
		nn_arena_destroy(arena);
	}
	if (in != NULL)
		fclose(in);
}

/* --- categories --- */

/* A column of texts, NULL where the text is; every row is used. */
static nn_features *
categories(const char *encoder, const char *const *texts, int n)
{
	nn_features *f = nn_features_create(arena, 1, &err);
	char *records;

	if (nn_features_add(f, "plan", NN_CLASS_TEXT, "text", NN_SLOT_TEXT, 1,
						encoder, &err) == NULL ||
		!nn_features_layout(f, 0, NULL, &err))
		return NULL;
	records = calloc(n, f->record_size);
	for (int i = 0; i < n; i++)
	{
		char *record = records + i * f->record_size;

		if (texts[i] == NULL)
			nn_set_null(f->columns, record);
		else
			nn_set_text(f->columns, record, texts[i], (int) strlen(texts[i]),
						true, &err);
	}
	if (!nn_features_observe(f, records, n, NULL, &err) ||
		!nn_features_finish(f, &err))
		f = NULL;
	free(records);
	return f;
}

static double
code_of(const nn_features *f, const char *text)
{
	char record[64];
	nn_real out[4] = {-9, -9, -9, -9};

	if (text == NULL)
		nn_set_null(f->columns, record);
	else
		nn_set_text(f->columns, record, text, (int) strlen(text), false, &err);
	nn_features_encode(f, record, 1, out);
	return out[0];
}

/* Codes of texts given as "text=code ..."; "NULL" is NULL, "?" is unseen. */
static void
check_codes(const char *name, const nn_features *f, const char *section,
			int levels, const char *expected)
{
	nn_features *g = f != NULL ? reload(f) : NULL;
	char buffer[256];

	if (g == NULL)
	{
		check(false, "%s: %s", name, err.message);
		return;
	}
	check(f->layout.nsections == 1 && f->layout.width == 1 &&
			  strcmp(f->layout.section[0].name, section) == 0,
		  "%s: one %s", name, section);
	if (levels > 0)
		check(f->layout.section[0].levels[0] == levels &&
				  g->layout.section[0].levels[0] == levels,
			  "%s: %d levels", name, f->layout.section[0].levels[0]);
	strcpy(buffer, expected);
	for (char *at = strtok(buffer, " "); at != NULL; at = strtok(NULL, " "))
	{
		char *code = strchr(at, '=');
		const char *text;

		*code++ = '\0';
		text = strcmp(at, "NULL") == 0 ? NULL : at;
		check(near(code_of(f, text), atof(code), 1e-6) &&
				  code_of(f, text) == code_of(g, text),
			  "%s: %s is %g", name, at, code_of(f, text));
	}
}

static void
test_categories(void)
{
	/* c three times, a and b twice, d once */
	const char *const abcd[] = {"c", "a", "b", "c", "d", "b", "a", "c"};
	const char *const nulls[] = {"c", "a", NULL, "c", "d", NULL, "a", "c"};
	const char *const two[] = {"no", "yes", "no", "no", "yes"};
	const char *const four[] = {"no", "yes", "no", "no"};

	check_codes("one-hot", categories(NULL, abcd, 8), "category", 4,
				"c=0 a=1 b=2 d=3 ?=-1 NULL=-1");
	check_codes("one-hot with NULL", categories(NULL, nulls, 8), "category", 4,
				"c=0 a=1 d=2 NULL=3 ?=-1");
	check_codes("rare", categories("category(min_count = 2)", abcd, 8),
				"category", 3, "c=0 a=1 b=2 d=-1 ?=-1");
	check_codes("most", categories("category(max_categories = 2)", abcd, 8),
				"category", 2, "c=0 a=1 b=-1 d=-1");
	check_codes("entity", categories("category(max_one_hot = 2)", nulls, 8),
				"entity", 4, "c=0 a=1 d=2 NULL=3 ?=3");
	check_codes("entity, unknown from singles",
				categories("category(encode = embedding)", abcd, 8), "entity",
				4, "c=0 a=1 b=2 d=3 ?=3 NULL=3");
	check_codes("two", categories(NULL, two, 5), "flag", 0,
				"no=-1 yes=1 ?=0 NULL=0");
	/* quartiles -1 and -0.5, median -1: 0, 4 and 2 before the clip */
	check_codes("two, robust",
				categories("category(scale = robust, clip = 3)", four, 4),
				"flag", 0, "no=0 yes=2.4 ?=1.6641006");
	check_codes("two one-hot", categories("category(encode = one_hot)", two, 5),
				"category", 2, "no=0 yes=1 ?=-1");
	check(categories("category(encode = binary)", abcd, 8) == NULL &&
			  err.code == NN_DATA,
		  "binary of four: %s", err.message);
}

static void
test_dropped(void)
{
	static char text[300][32];
	const char *names[300], *same[4] = {"a", "a", "a", "a"};
	nn_features *f;

	for (int i = 0; i < 300; i++)
	{
		snprintf(text[i], sizeof(text[i]), "name %d", i);
		names[i] = text[i];
	}
	check(categories(NULL, same, 4) == NULL && err.code == NN_DATA,
		  "nothing to learn from: %s %s", err.message, err.detail);
	check(categories(NULL, names, 300) == NULL, "names of rows are dropped: %s",
		  err.detail);
	f = categories("category(encode = embedding)", names, 300);
	check(f != NULL && f->columns[0].distinct == 300 &&
			  f->layout.section[0].levels[0] == 301,
		  "names of rows are kept where asked for");
	check(categories(NULL, names, 90) != NULL, "few different texts are kept");

	/* two numbers: a constant one is dropped, the other stays */
	f = nn_features_create(arena, 3, &err);
	nn_features_add(f, "constant", NN_CLASS_NUMBER, "real", NN_SLOT_REAL32, 1,
					NULL, &err);
	nn_features_add(f, "number", NN_CLASS_NUMBER, "real", NN_SLOT_REAL64, 1,
					NULL, &err);
	nn_features_add(f, "sometimes", NN_CLASS_NUMBER, "real", NN_SLOT_REAL32, 1,
					NULL, &err);
	nn_features_layout(f, 0, NULL, &err);
	{
		char records[2 * 64];

		for (int i = 0; i < 2; i++)
		{
			char *record = records + i * f->record_size;

			nn_set_number(&f->columns[0], record, 5);
			nn_set_number(&f->columns[1], record, i);
			if (i == 0)
				nn_set_null(&f->columns[2], record);
			else
				nn_set_number(&f->columns[2], record, 5);
		}
		check(nn_features_observe(f, records, 2, NULL, &err) &&
				  nn_features_finish(f, &err),
			  "a constant among others");
	}
	check(f->columns[0].dropped != NULL && f->columns[1].dropped == NULL &&
			  f->layout.width == 2 && f->columns[2].dropped == NULL &&
			  f->columns[2].width[NN_SECTION_FLAG] == 1,
		  "constant: %s; NULL or not is a flag", f->columns[0].dropped);
	f = reload(f);
	check(f != NULL && f->columns[0].dropped != NULL &&
			  strcmp(f->columns[0].name, "constant") == 0,
		  "a dropped column is remembered");
}

static void
test_dictionary(void)
{
	nn_dictionary *d = nn_dictionary_create(arena, &err);
	nn_dictionary *first = nn_dictionary_create(arena, &err);
	char text[NN_MAX_TEXT_LENGTH + 8];
	int bad = 0, len;
	int32_t n;

	for (int i = 0; i < 100000; i++)
	{
		len = snprintf(text, sizeof(text), "%d-%d", i, i % 7);
		bad += nn_dictionary_add(d, text, len, &err) != i;
		bad += nn_dictionary_add(d, text, len, &err) != i;
	}
	for (int i = 0; i < 100000; i++)
	{
		const char *back;

		len = snprintf(text, sizeof(text), "%d-%d", i, i % 7);
		bad += nn_dictionary_find(d, text, len) != i;
		back = nn_dictionary_text(d, i, &n);
		bad += n != len || memcmp(back, text, len) != 0;
	}
	check(bad == 0 && nn_dictionary_count(d) == 100000, "100000 texts: %d bad",
		  bad);
	check(nn_dictionary_find(d, "absent", 6) == NN_TEXT_UNKNOWN &&
			  nn_dictionary_find(d, "", 0) == NN_TEXT_UNKNOWN,
		  "absent texts are unknown");
	check(nn_dictionary_add(d, "", 0, &err) == 100000 &&
			  nn_dictionary_find(d, "", 0) == 100000 &&
			  nn_dictionary_add(first, "", 0, &err) == 0,
		  "the empty text is a text");

	/* a character of two bytes across the limit is left out whole */
	memset(text, 'x', sizeof(text));
	text[NN_MAX_TEXT_LENGTH - 1] = (char) 0xC3;
	text[NN_MAX_TEXT_LENGTH] = (char) 0xA4;
	n = nn_dictionary_add(d, text, NN_MAX_TEXT_LENGTH + 2, &err);
	nn_dictionary_text(d, n, &len);
	check(len == NN_MAX_TEXT_LENGTH - 1, "a long text is cut to %d bytes", len);
	text[NN_MAX_TEXT_LENGTH - 1] = text[NN_MAX_TEXT_LENGTH] = 'x';
	n = nn_dictionary_add(d, text, sizeof(text), &err);
	nn_dictionary_text(d, n, &len);
	check(len == NN_MAX_TEXT_LENGTH, "a long text is cut to %d bytes", len);
}

/* More values than the sample holds; any cut into calls gives the same. */
static void
test_sample(void)
{
	enum
	{
		MANY = 300000
	};
	nn_features *f[2];
	uint8_t *use = malloc(MANY);
	char *records;

	memset(use, 1, MANY);
	for (int k = 0; k < 2; k++)
	{
		f[k] = nn_features_create(arena, 1, &err);
		nn_features_add(f[k], "x", NN_CLASS_NUMBER, "integer", NN_SLOT_REAL32,
						1, "number(scale = robust, impute = median)", &err);
		nn_features_layout(f[k], 0, NULL, &err);
	}
	records = calloc(MANY, f[0]->record_size);
	for (int i = 0; i < MANY; i++)
		nn_set_number(f[0]->columns, records + i * f[0]->record_size,
					  (double) ((int64_t) i * 7919 % MANY));
	check(observe_all(f[0], records, MANY, use) &&
			  nn_features_observe(f[1], records, MANY, NULL, &err) &&
			  nn_features_finish(f[1], &err),
		  "300000 values");
	{
		nn_real a[2], b[2];
		const nn_column *c = f[0]->columns;

		nn_set_number(c, records, 0);
		nn_set_number(c, records + f[0]->record_size, MANY);
		nn_features_encode(f[0], records, 2, a);
		nn_features_encode(f[1], records, 2, b);
		/* (0 - n/2) / (n/2) and (n - n/2) / (n/2) */
		check(near(a[0], -1, 0.01) && near(a[1], 1, 0.01),
			  "median and quartiles of a sample: %g %g", a[0], a[1]);
		check(memcmp(a, b, sizeof(a)) == 0, "however it is cut into calls");
		check(
			near(c->mean, (MANY - 1) / 2.0, 1e-12) && c->min == 0 &&
				near(c->stddev, sqrt(((double) MANY * MANY - 1) / 12), 1e-12) &&
				c->max == MANY - 1 && c->rows == MANY,
			"mean and standard deviation are exact: %.12g %.12g", c->mean,
			c->stddev);
	}
	free(records);
	free(use);
}

static void
test_counts(void)
{
	nn_features *f = learn("number", "nulls", NULL);
	nn_features *g = learn("number", "infinite", NULL);
	int64_t nulls = 0, infinite = 0;

	for (int i = 0; i < ROWS; i++)
	{
		nulls += i % 5 != 0 && i % 7 == 3;
		infinite += i % 5 != 0 && i % 9 == 4;
	}
	check(f->columns->rows == 400 && f->columns->nulls == nulls &&
			  f->columns->infinite == 0,
		  "NULLs are counted");
	check(g->columns->infinite == infinite && g->columns->nulls == 0 &&
			  g->columns->max <= 1,
		  "infinities are counted");
}

static void
test_errors(void)
{
	nn_features *f = nn_features_create(arena, 4, &err);
	nn_column *c;
	float values[2] = {1, 2};
	char record[64];

	check(nn_features_add(f, "x", NN_CLASS_NUMBER, "integer", NN_SLOT_REAL64, 1,
						  "numbr", &err) == NULL &&
			  err.code == NN_UNDEFINED,
		  "unknown encoder: %s / %s", err.message, err.hint);
	check(nn_features_add(f, "x", NN_CLASS_TEXT, "text", NN_SLOT_TEXT, 1,
						  "number", &err) == NULL &&
			  err.code == NN_INVALID,
		  "wrong class: %s / %s", err.message, err.hint);
	check(nn_features_add(f, "x", NN_CLASS_NUMBER, "integer", NN_SLOT_REAL64, 1,
						  "number(clip = -1)", &err) == NULL &&
			  err.code == NN_INVALID,
		  "option out of range: %s", err.message);
	check(nn_features_add(f, "x", NN_CLASS_NUMBER, "integer", NN_SLOT_REAL64, 1,
						  "number(scale = robus)", &err) == NULL,
		  "unknown choice: %s / %s", err.message, err.hint);
	check(nn_features_add(f, "x", NN_CLASS_VECTOR, "real[]", NN_SLOT_VECTOR,
						  NN_MAX_UNITS + 1, NULL, &err) == NULL &&
			  err.code == NN_LIMIT,
		  "vector too long: %s", err.message);
	c = nn_features_add(f, "v", NN_CLASS_VECTOR, "real[]", NN_SLOT_VECTOR, 3,
						NULL, &err);
	check(c != NULL && nn_features_layout(f, 4, NULL, &err) &&
			  !nn_set_vector(c, record, values, 2, &err) && err.code == NN_DATA,
		  "vector of another length: %s", err.message);
	{
		const char *const bad[] = {"a", "b\xC3", "c", "a"};
		nn_writer w = {.arena = arena, .crc32c = no_checksum};

		f = categories(NULL, bad, 4);
		check(f != NULL && !nn_features_save(f, &w, &err) &&
				  err.code == NN_DATA,
			  "category that is not UTF-8: %s", err.message);
	}
}

/* Slots of both sizes, extra bytes, and alignment. */
static void
test_layout(void)
{
	nn_features *f = nn_features_create(arena, 4, &err);
	size_t extra = 0;
	bool ok;

	nn_features_add(f, "a", NN_CLASS_BOOLEAN, "boolean", NN_SLOT_REAL32, 1,
					NULL, &err);
	nn_features_add(f, "b", NN_CLASS_NUMBER, "double precision", NN_SLOT_REAL64,
					1, NULL, &err);
	nn_features_add(f, "c", NN_CLASS_TEXT, "text", NN_SLOT_TEXT, 1, NULL, &err);
	nn_features_add(f, "d", NN_CLASS_VECTOR, "real[]", NN_SLOT_VECTOR, 3, NULL,
					&err);
	ok = nn_features_layout(f, 12, &extra, &err);
	check(ok && f->columns[1].offset % 8 == 0 && extra % 8 == 0 &&
			  extra == 32 && f->record_size == 48,
		  "records of %zu bytes, extra at %zu", f->record_size, extra);
}

/* A life on an allocator that fails.  Padding lets other requests be the ones
 * for which a block is taken. */
static bool
live(const nn_allocator *from, size_t padding)
{
	nn_error e;
	nn_arena *a = nn_arena_create(from, &e);
	nn_arena *outer = arena;
	bool ok = false;

	memset(&err, 0, sizeof(err));
	if (a == NULL)
		return false;
	arena = a;
	nn_alloc(a, padding, &err);
	{
		nn_features *f = nn_features_create(a, 2, &err);
		char records[200 * 32];

		if (f == NULL ||
			nn_features_add(f, "n", NN_CLASS_NUMBER, "real", NN_SLOT_REAL32, 1,
							"number(scale = robust)", &err) == NULL ||
			nn_features_add(f, "t", NN_CLASS_TEXT, "text", NN_SLOT_TEXT, 1,
							"category(encode = embedding)", &err) == NULL ||
			!nn_features_layout(f, 0, NULL, &err))
			goto done;
		for (int i = 0; i < 200; i++)
		{
			char text[8];
			int len = snprintf(text, sizeof(text), "t%d", i);
			char *record = records + i * f->record_size;

			nn_set_number(&f->columns[0], record, phase(1, i));
			if (!nn_set_text(&f->columns[1], record, text, len, true, &err))
				goto done;
		}
		ok = nn_features_observe(f, records, 200, NULL, &err) &&
			 nn_features_finish(f, &err) && reload(f) != NULL;
	}
done:
	nn_arena_destroy(a);
	arena = outer;
	return ok;
}

static void
test_memory(void)
{
	int tried = 0, bad = 0;

	for (size_t padding = 0; padding < 4096; padding += 64)
		for (int n = 0;; n++, tried++)
		{
			bool ok;

			failing_after = n;
			failing_live = 0;
			ok = live(&check_failing, padding);
			bad += failing_live != 0;
			if (ok)
				break;
			bad += n > 0 && err.code != NN_NOMEM;
		}
	check(bad == 0 && tried > 100, "%d failing allocations: %d bad", tried,
		  bad);
}

int
main(int argc, char **argv)
{
	test_reference(argc, argv);
	arena = nn_arena_create(&check_heap, &err);
	test_categories();
	test_dropped();
	test_dictionary();
	test_sample();
	test_counts();
	test_errors();
	test_layout();
	test_memory();
	nn_arena_destroy(arena);
	return check_failed;
}
