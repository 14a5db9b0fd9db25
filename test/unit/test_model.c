/* builds: float asan */
/*
 * test_model.c
 *	  Models of every task are written, read, and predict what a computation
 *	  by hand gives; one row alone and among others alike; damage is refused.
 */
#include "models.h"

static nn_error err;

/* What a network of one dense layer gives, in double. */
static void
raw_by_hand(const nn_model *m, int k, const nn_real *x, double *y)
{
	int n = m->features->layout.width;
	int columns = m->networks[k].graph->outputs;
	const nn_real *w = m->networks[k].params, *b = w + n * columns;

	for (int j = 0; j < columns; j++)
	{
		y[j] = b[j];
		for (int i = 0; i < n; i++)
			y[j] += (double) x[i] * w[i * columns + j];
	}
}

static void
row_by_hand(const nn_model *m, const example *e, const nn_real *x, double *out)
{
	double y[8], sum;

	memset(out, 0, m->outputs * sizeof(double));
	for (int k = 0; k < e->networks; k++)
	{
		raw_by_hand(m, k, x, y);
		sum = 0;
		for (int j = 0; j < e->columns; j++)
			sum += exp(y[j]);
		for (int j = 0; j < e->columns; j++)
			if (strcmp(e->loss, "poisson") == 0)
				out[j] += exp(y[j]) / e->networks;
			else if (e->task == NN_REGRESSION)
				out[j] += y[j] / e->networks;
			else if (strncmp(e->loss, "categorical", 11) == 0)
				out[j] += exp(y[j]) / sum / e->networks;
			else if (e->task == NN_BINARY)
			{
				out[0] += 1 / (1 + exp(y[0])) / e->networks;
				out[1] += 1 / (1 + exp(-y[0])) / e->networks;
			}
			else
				out[j] += 1 / (1 + exp(-y[j])) / e->networks;
	}
	if (e->task == NN_REGRESSION)
		for (int j = 0; j < m->outputs; j++)
			out[j] = m->targets[j].mean + m->targets[j].scale * out[j];
	if (e->task == NN_REGRESSION)
		out[0] = fmin(fmax(out[0], 4.5), 8);
}

/* Records of all rows, texts numbered as this model does. */
static char *
all_records(nn_arena *arena, const nn_model *m)
{
	size_t size = m->features->record_size;
	char *records = nn_alloc_array(arena, EXAMPLE_ROWS, size, &err);

	for (int i = 0; i < EXAMPLE_ROWS; i++)
		example_record(m->features, i, false, records + i * size, &err);
	return records;
}

typedef struct teamwork
{
	nn_shared_work work;
	nn_share share;
} teamwork;

/* As many as members share rows, so many at a time. */
static bool
by_team(teamwork *t, int rows, int at_a_time, int layer, void *out,
		size_t out_size)
{
	t->share.rows = rows;
	t->share.at_a_time = at_a_time;
	t->share.layer = layer;
	t->share.out = out;
	t->share.out_size = out_size;
	nn_work_start(&t->work);
	while (nn_work_help(&t->work))
		;
	return nn_work_wait(&t->work, &err);
}

/* Three share the rows, which is no matter of even shares. */
static void
test_team(const nn_model *m, const char *records, const double *expected,
		  const char *name)
{
	static double out[4 * EXAMPLE_ROWS];
	nn_arena *arena = nn_arena_create(&check_heap, &err);
	nn_team *team = nn_team_create(arena, 3, &err);
	nn_predictor *p[3];
	size_t size = m->outputs * sizeof(double);
	teamwork t = {.work = {.team = team, .shares = &t.share, .nshares = 1},
				  .share = {.predictors = p,
							.records = records,
							.record_size = m->features->record_size}};
	int layer, width;
	nn_real *one, *shared;

	for (int i = 0; i < 3; i++)
		p[i] = nn_predictor_create(arena, m, nn_cpu_ops(-1), 16 + i, &err);
	check(by_team(&t, EXAMPLE_ROWS, 7, -1, out, size) &&
			  memcmp(out, expected, EXAMPLE_ROWS * size) == 0,
		  "%s: the same by a team", name);
	check(by_team(&t, 2, 1, -1, out, size) &&
			  memcmp(out, expected, 2 * size) == 0,
		  "%s: the same by a team larger than the rows", name);
	nn_work_start(&t.work);
	nn_work_stop(&t.work);
	check(t.share.taken <= 2 && by_team(&t, 2, 2, -1, out, size) &&
			  memcmp(out, expected, 2 * size) == 0,
		  "%s: the same after it has been stopped", name);
	check(nn_model_layer(m, "0", &layer, &width, &err) ||
			  nn_model_layer(m, "1", &layer, &width, &err),
		  "%s: has a layer", name);
	one = nn_alloc_array(arena, EXAMPLE_ROWS * width, sizeof(nn_real), &err);
	shared = nn_alloc_array(arena, EXAMPLE_ROWS * width, sizeof(nn_real), &err);
	check(nn_embed(p[0], records, EXAMPLE_ROWS, layer, one, &err) &&
			  by_team(&t, EXAMPLE_ROWS, 50, layer, shared,
					  width * sizeof(nn_real)) &&
			  memcmp(one, shared, EXAMPLE_ROWS * width * sizeof(nn_real)) == 0,
		  "%s: a layer's output is the same by a team", name);
	nn_team_destroy(team);
	for (int i = 0; i < 3; i++)
		nn_predictor_release(p[i]);
	nn_arena_destroy(arena);
}

static void
test_predictions(const nn_model *m, const nn_model *back, const example *e,
				 const char *name)
{
	enum
	{
		MOST = 4 * EXAMPLE_ROWS
	};
	static double out[MOST], again[MOST], alone[MOST], by_hand[4];
	nn_arena *arena = nn_arena_create(&check_heap, &err);
	size_t bytes = EXAMPLE_ROWS * m->outputs * sizeof(double);
	/* 300 rows by 128 at a time: parts of uneven size */
	nn_predictor *p = nn_predictor_create(arena, m, nn_cpu_ops(-1), 128, &err);
	nn_predictor *q =
		nn_predictor_create(arena, back, nn_cpu_ops(-1), 300, &err);
	const char *records = all_records(arena, m);
	const char *same = all_records(arena, back);
	size_t size = m->features->record_size;
	int bad = 0;

	if (p == NULL || q == NULL)
	{
		check(false, "%s: %s", name, err.message);
		return;
	}
	check(nn_predict(p, records, EXAMPLE_ROWS, out, &err) &&
			  nn_predict(q, same, EXAMPLE_ROWS, again, &err),
		  "%s: predicts", name);
	check(memcmp(out, again, bytes) == 0, "%s: the same once stored", name);
	for (int i = 0; i < EXAMPLE_ROWS; i++)
		nn_predict(q, same + i * size, 1, alone + i * m->outputs, &err);
	check(memcmp(out, alone, bytes) == 0, "%s: the same row by row", name);
	for (int i = 0; i < EXAMPLE_ROWS; i++)
	{
		nn_real x[64];

		nn_features_encode(m->features, records + i * size, 1, x);
		if (e->plain)
			row_by_hand(m, e, x, by_hand);
		for (int j = 0; j < m->outputs; j++)
			bad += e->plain ? !near(out[i * m->outputs + j], by_hand[j], 1e-5)
							: !isfinite(out[i * m->outputs + j]);
	}
	check(bad == 0, "%s: as by hand: %d differ", name, bad);
	test_team(m, records, out, name);
	nn_predictor_release(p);
	nn_predictor_release(q);
	nn_arena_destroy(arena);
}

static void
test_example(const example *e)
{
	nn_arena *arena = nn_arena_create(&check_heap, &err);
	nn_model *m = example_model(arena, e, &err), *back = NULL;
	unsigned char *bytes = NULL, *again;
	size_t n = 0, n_again = 0;
	char name[128];

	snprintf(name, sizeof(name), "task %d, %s, %d networks", e->task, e->loss,
			 e->networks);
	if (m != NULL)
		bytes = example_bytes(arena, m, &n, &err);
	if (bytes != NULL)
		back = nn_model_read(arena, bytes, n, crc32c, 0, &err);
	check(back != NULL, "%s: %zu bytes read back: %s %s", name, n,
		  back ? "" : err.message, back ? "" : err.detail);
	if (back == NULL)
		return;
	again = example_bytes(arena, back, &n_again, &err);
	check(again != NULL && n == n_again && memcmp(bytes, again, n) == 0,
		  "%s: written with the same bytes", name);
	check(back->task == m->task && back->ntargets == m->ntargets &&
			  back->outputs == m->outputs &&
			  (m->time_zone == NULL ||
			   strcmp(back->time_zone, m->time_zone) == 0) &&
			  strcmp(back->targets[0].name, m->targets[0].name) == 0,
		  "%s: all is there", name);
	test_predictions(m, back, e, name);
	nn_arena_destroy(arena);
}

static void
test_layers(void)
{
	nn_arena *arena = nn_arena_create(&check_heap, &err);
	nn_model *m = example_model(arena, &examples[EXAMPLES - 1], &err);
	nn_predictor *p = nn_predictor_create(arena, m, nn_cpu_ops(0), 16, &err);
	size_t size = m->features->record_size;
	char *records = nn_alloc_array(arena, 40, size, &err);
	nn_real *all, *one;
	int layer = 0, width = 0, other, bad = 0;
	int n = m->networks[0].graph->nlayers;
	bool ok;
	char number[16];

	for (int i = 0; i < 40; i++)
		example_record(m->features, i, false, records + i * size, &err);
	ok = nn_model_layer(m, "h", &layer, &width, &err);
	check(ok && layer == 10 && width == 16, "a layer by its label: %d", layer);
	snprintf(number, sizeof(number), "%d", layer);
	check(nn_model_layer(m, number, &other, &width, &err) && layer == other,
		  "the same by its number");
	ok = nn_model_layer(m, "BatchNormalization", &other, &width, &err);
	check(ok && other == layer + 1, "a layer by its name");
	check(!nn_model_layer(m, "dense", &other, &width, &err) &&
			  err.code == NN_INVALID,
		  "by a name of two: %s / %s", err.message, err.hint);
	check(!nn_model_layer(m, "absent", &other, &width, &err) &&
			  err.code == NN_UNDEFINED,
		  "by a name of none: %s", err.message);
	snprintf(number, sizeof(number), "%d", n);
	check(
		!nn_model_layer(m, number, &other, &width, &err) &&
			err.code == NN_UNDEFINED &&
			!nn_model_layer(m, "99999999999999999999", &other, &width, &err) &&
			!nn_model_layer(m, "-1", &other, &width, &err) &&
			!nn_model_layer(m, "", &other, &width, &err),
		"by a number out of range: %s", err.message);
	for (int l = 0; l < n; l++)
	{
		snprintf(number, sizeof(number), "%d", l);
		nn_model_layer(m, number, &other, &width, &err);
		all = malloc(40 * width * sizeof(nn_real));
		one = malloc(width * sizeof(nn_real));
		bad += !nn_embed(p, records, 40, l, all, &err);
		for (int i = 0; i < 40; i++)
		{
			bad += !nn_embed(p, records + i * size, 1, l, one, &err);
			bad += memcmp(one, all + i * width, width * sizeof(*one)) != 0;
		}
		free(all);
		free(one);
	}
	check(bad == 0, "every layer's output, alone and among others");
	nn_predictor_release(p);
	nn_arena_destroy(arena);
}

/* Bytes are copied to where ASan sees every step outside of them. */
static bool
readable(const unsigned char *bytes, size_t n, nn_crc32c crc)
{
	nn_arena *arena = nn_arena_create(&check_heap, &err);
	unsigned char *copy = malloc(n + (n == 0));
	nn_model *m;

	memcpy(copy, bytes, n);
	memset(&err, 0, sizeof(err));
	m = nn_model_read(arena, copy, n, crc, 0, &err);
	if (m == NULL && (err.code == NN_OK || err.message[0] == '\0'))
		check(false, "refused without a reason");
	free(copy);
	nn_arena_destroy(arena);
	return m != NULL;
}

static void
test_damage(void)
{
	nn_arena *arena = nn_arena_create(&check_heap, &err);
	nn_model *m = example_model(arena, &examples[6], &err);
	size_t n;
	unsigned char *bytes = example_bytes(arena, m, &n, &err);
	int cut = 0, changed = 0, codes = 0;
	size_t info = n - 16 - 4 - strlen(m->description);

	for (size_t i = 0; i < n; i++)
	{
		cut += readable(bytes, i, crc32c);
		codes += err.code != NN_CORRUPT;
	}
	check(cut == 0 && codes == 0, "cut off anywhere it is damaged");
	for (size_t i = 0; i < n; i++)
	{
		/* the writer's version says nothing, the digest is the caller's to
		 * check, and "info" can become a section to skip */
		bool may = (i >= 8 && i < 12) ||
				   (i >= NN_MODEL_DIGEST_AT && i < NN_MODEL_DIGEST_FROM) ||
				   (i > info && i < info + 4);

		bytes[i] ^= 0x15;
		readable(bytes, n, NULL);
		changed += readable(bytes, n, crc32c) && !may;
		bytes[i] ^= 0x15;
	}
	check(changed == 0, "changed anywhere it is refused: %d are not", changed);

	bytes[12] = NN_FORMAT_VERSION + 1;
	bytes[8] = NN_FORMAT_VERSION + 1;
	check(!readable(bytes, n, crc32c) && err.code == NN_VERSION,
		  "a newer format: %s / %s", err.message, err.hint);
	bytes[12] = NN_FORMAT_VERSION;
	check(readable(bytes, n, crc32c), "a newer one that we may read");
	bytes[0] = 'X';
	check(!nn_model_check_header(bytes, n, &err), "not a model: %s",
		  err.message);
	nn_arena_destroy(arena);
}

/* Sections of later versions: small letters are skipped, capitals not. */
static void
test_sections(void)
{
	nn_arena *arena = nn_arena_create(&check_heap, &err);
	nn_model *m = example_model(arena, &examples[0], &err);
	nn_writer w = {.arena = arena, .crc32c = crc32c};
	size_t mark, used;
	unsigned char *bytes;

	nn_model_write(m, &w, &err);
	used = w.used;
	for (int i = 0; i < 2; i++)
	{
		w.used = used;
		nn_section_begin(&w, i == 0 ? "note" : "NOTE", &mark, &err);
		nn_write_text(&w, "hello", 5, &err);
		nn_section_end(&w, mark, &err);
		for (int j = 0; j < 8; j++)
			w.bytes[16 + j] = (unsigned char) (w.used >> (8 * j));
		check(readable(w.bytes, w.used, crc32c) == (i == 0),
			  "an unknown section: %s %s", err.message, err.hint);
	}
	/* without its networks: FEAT, TARG and LOSS remain */
	bytes = w.bytes;
	mark = NN_MODEL_HEADER;
	for (int i = 0; i < 3; i++)
		mark += 16 + bytes[mark + 8] + 256 * bytes[mark + 9];
	for (int j = 0; j < 8; j++)
		bytes[16 + j] = (unsigned char) (mark >> (8 * j));
	check(!readable(bytes, mark, crc32c) && err.code == NN_CORRUPT,
		  "a model without networks: %s", err.message);
	nn_arena_destroy(arena);
}

static void
test_limits(void)
{
	nn_arena *arena = nn_arena_create(&check_heap, &err);
	nn_model *m = example_model(arena, &examples[EXAMPLES - 1], &err);
	size_t n;
	unsigned char *bytes = example_bytes(arena, m, &n, &err);
	nn_arena *other = nn_arena_create(&check_heap, &err);
	nn_real *params;
	nn_writer w = {.arena = arena, .crc32c = crc32c};

	check(nn_model_read(other, bytes, n, crc32c, 20000, &err) == NULL &&
			  err.code == NN_LIMIT,
		  "more memory than allowed: %s: %s", err.message, err.detail);
	m = nn_model_read(other, bytes, n, crc32c, 10 << 20, &err);
	check(m != NULL, "a model of %zu bytes takes %zu", n, nn_arena_size(other));
	m = example_model(arena, &examples[0], &err);
	params = (nn_real *) m->networks[0].params;
	params[3] = NAN;
	check(!nn_model_write(m, &w, &err) && err.code == NN_NUMERIC,
		  "weights that are not finite: %s", err.message);
	nn_arena_destroy(other);
	nn_arena_destroy(arena);
}

/* Read and predict on an allocator that fails from some request on.  Padding
 * lets other requests be the ones for which a block is taken. */
static bool
live(const unsigned char *bytes, size_t n, size_t padding)
{
	nn_arena *arena = nn_arena_create(&check_failing, &err);
	nn_predictor *p;
	nn_model *m;
	double out[8];
	bool ok = false;

	if (arena == NULL)
		return false;
	nn_alloc(arena, padding, &err);
	m = nn_model_read(arena, bytes, n, crc32c, 0, &err);
	if (m != NULL)
	{
		p = nn_predictor_create(arena, m, nn_cpu_ops(0), 4, &err);
		if (p != NULL)
		{
			char *record = nn_alloc(arena, m->features->record_size, &err);

			ok = record != NULL &&
				 example_record(m->features, 1, false, record, &err) &&
				 nn_predict(p, record, 1, out, &err);
			nn_predictor_release(p);
		}
	}
	nn_arena_destroy(arena);
	return ok;
}

static void
test_memory(void)
{
	nn_arena *arena = nn_arena_create(&check_heap, &err);
	nn_model *m = example_model(arena, &examples[EXAMPLES - 1], &err);
	size_t size;
	unsigned char *bytes = example_bytes(arena, m, &size, &err);
	int tried = 0, bad = 0;

	for (size_t padding = 0; padding < 4096; padding += 128)
		for (int n = 0;; n++, tried++)
		{
			bool ok;

			failing_after = n;
			failing_live = 0;
			memset(&err, 0, sizeof(err));
			ok = live(bytes, size, padding);
			bad += failing_live != 0;
			if (ok)
				break;
			bad += err.code != NN_NOMEM;
		}
	check(bad == 0 && tried > 100, "%d failing allocations: %d bad", tried,
		  bad);
	nn_arena_destroy(arena);
}

int
main(void)
{
	for (int i = 0; i < EXAMPLES; i++)
		test_example(&examples[i]);
	test_layers();
	test_damage();
	test_sections();
	test_limits();
	test_memory();
	return check_failed;
}
