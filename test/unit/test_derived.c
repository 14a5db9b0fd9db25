/* builds: float asan */
/*
 * test_derived.c
 *	  Columns that no table has: how much later one moment is than another.
 */
#include "crc32c.h"
#include "encode.h"
#include "reference.h"

#define ROWS 200
#define READ 5 /* columns that are read */

static nn_error err;
static nn_arena *arena;

/* Two columns of moments, a third that is constant, and what is none. */
static nn_features *
three_moments(void)
{
	nn_features *f = nn_features_create(arena, READ + 3, &err);

	nn_features_add(f, "fixed", NN_CLASS_DATE, "date", NN_SLOT_REAL64, 1, NULL,
					&err);
	nn_features_add(f, "amount", NN_CLASS_NUMBER, "real", NN_SLOT_REAL32, 1,
					NULL, &err);
	nn_features_add(f, "start", NN_CLASS_TIMESTAMP, "timestamp", NN_SLOT_REAL64,
					1, NULL, &err);
	nn_features_add(f, "one", NN_CLASS_NUMBER, "real", NN_SLOT_REAL32, 1, NULL,
					&err);
	nn_features_add(f, "end", NN_CLASS_DATE, "date", NN_SLOT_REAL64, 1, NULL,
					&err);
	nn_features_add_difference(f, 2, 0, NULL, &err);
	nn_features_add_difference(f, 4, 0, NULL, &err);
	nn_features_add_difference(f, 4, 2, "number(clip = 3)", &err);
	if (!nn_features_layout(f, 0, NULL, &err))
		return NULL;
	return f;
}

static double
start_of(int i)
{
	return 5e8 + 7200.0 * i;
}

static double
end_of(int i)
{
	return 86400 * floor(5e8 / 86400 + i + 9 * phase(1, i));
}

static bool
lacks_start(int i)
{
	return i % 10 == 3;
}

static bool
lacks_end(int i)
{
	return i % 15 == 3;
}

static char *
fill(const nn_features *f)
{
	char *records = nn_alloc_array(arena, ROWS, f->record_size, &err);

	for (int i = 0; i < ROWS; i++)
	{
		char *record = records + i * f->record_size;

		for (int j = 0; j < f->nread; j++)
		{
			const nn_column *c = &f->columns[j];

			if (strcmp(c->name, "fixed") == 0)
				nn_set_number(c, record, 86400);
			else if (strcmp(c->name, "amount") == 0)
				nn_set_number(c, record, phase(2, i));
			else if (strcmp(c->name, "one") == 0)
				nn_set_number(c, record, 1);
			else if (strcmp(c->name, "start") == 0)
				nn_set_number(c, record, lacks_start(i) ? NAN : start_of(i));
			else
				nn_set_number(c, record, lacks_end(i) ? NAN : end_of(i));
		}
		nn_features_derive(f, record);
	}
	return records;
}

static void
test_values(const nn_features *f, const char *records)
{
	const nn_column *c = &f->columns[READ + 2];
	int bad = 0, nulls = 0;

	check(f->nread == READ && f->ncolumns == READ + 3 &&
			  strcmp(c->name, "end - start") == 0 &&
			  c->class == NN_CLASS_NUMBER && c->minus_from == 4 &&
			  c->minus_what == 2 && f->columns[2].minus_from == -1,
		  "a column is derived: \"%s\"", c->name);
	for (int i = 0; i < ROWS; i++)
	{
		double v = *(const double *) (records + i * f->record_size + c->offset);

		if (lacks_start(i) || lacks_end(i))
			bad += !isnan(v), nulls++;
		else
			bad += v != end_of(i) - start_of(i);
	}
	check(bad == 0 && nulls == 27, "%d of %d NULL, %d wrong", nulls, ROWS, bad);
}

static void
test_infinity(const nn_features *f)
{
	const nn_column *end = &f->columns[4], *start = &f->columns[2];
	const nn_column *c = &f->columns[READ + 2];
	char *record = nn_alloc(arena, f->record_size, &err);
	const double *v = (const double *) (record + c->offset);

	nn_set_number(&f->columns[0], record, 0);
	nn_set_number(end, record, INFINITY);
	nn_set_number(start, record, 1);
	nn_features_derive(f, record);
	check(*v == INFINITY, "from a moment to the end of time");
	nn_set_number(start, record, INFINITY);
	nn_features_derive(f, record);
	check(isnan(*v), "from the end of time to the end of time");
}

/* What is learned, and what is left when dropped columns are forgotten. */
static void
test_forget(nn_features *f, const char *records)
{
	const nn_column *c;
	static nn_real all[ROWS * 64], less[ROWS * 64], one[64];
	bool ok = nn_features_observe(f, records, ROWS, NULL, &err) &&
			  nn_features_finish(f, &err);
	int width = f->layout.width, bad = 0;

	check(ok, "learned: %s", err.message);
	check(f->columns[0].dropped != NULL && f->columns[5].dropped != NULL &&
			  f->columns[6].dropped != NULL && f->columns[7].dropped == NULL,
		  "left out, as from a constant column: %s", f->columns[5].dropped);
	check(f->columns[7].nulls == 27, "NULLs are counted");
	nn_features_encode(f, records, ROWS, all);
	ok = nn_features_forget(f, &err);
	c = &f->columns[3];
	check(ok && f->ncolumns == 4 && f->nread == 3 &&
			  strcmp(c->name, "end - start") == 0 && c->minus_from == 2 &&
			  c->minus_what == 1 && f->layout.width == width,
		  "forgotten, and the others renumbered: %d of %d", f->nread,
		  f->ncolumns);
	nn_features_encode(f, records, ROWS, less);
	check(memcmp(all, less, ROWS * width * sizeof(nn_real)) == 0,
		  "encoded rows are the same");
	for (int i = 0; i < ROWS; i++)
	{
		nn_features_encode(f, records + i * f->record_size, 1, one);
		bad += memcmp(one, less + i * width, width * sizeof(nn_real)) != 0;
	}
	check(bad == 0, "also row by row: %d differ", bad);
}

static nn_features *
reload(const nn_features *f)
{
	nn_writer w = {.arena = arena, .crc32c = crc32c};
	nn_reader r = {.what = "FEAT"};
	nn_features *g;

	memset(&err, 0, sizeof(err));
	if (!nn_features_save(f, &w, &err))
		return NULL;
	r.bytes = w.bytes;
	r.left = w.used;
	g = nn_features_load(arena, &r, &err);
	return g != NULL && r.left == 0 ? g : NULL;
}

static void
test_stored(const nn_features *f, const char *records)
{
	static nn_real x[ROWS * 64], y[ROWS * 64];
	nn_features *g = reload(f);

	check(g != NULL, "stored: %s", err.message);
	if (g == NULL)
		return;
	check(g->nread == f->nread && g->ncolumns == f->ncolumns &&
			  g->layout.width == f->layout.width &&
			  g->columns[3].minus_from == 2 && g->columns[3].minus_what == 1 &&
			  g->columns[2].minus_from == -1,
		  "derived as before");
	nn_features_encode(f, records, ROWS, x);
	nn_features_encode(g, fill(g), ROWS, y);
	check(memcmp(x, y, ROWS * f->layout.width * sizeof(nn_real)) == 0,
		  "encoded as before");
}

/* Stored columns that derive what cannot be derived. */
static void
test_damage(nn_features *f)
{
	static const int wrong[][2] = {{4, 1},		   {1, 4}, {3, 1},
								   {2, 0},		   {0, 2}, {1, 1},
								   {INT32_MAX, 1}, {2, 3}, {2, 100}};
	nn_column *c = &f->columns[3], kept = *c, read;

	for (int i = 0; i < (int) (sizeof(wrong) / sizeof(*wrong)); i++)
	{
		c->minus_from = wrong[i][0];
		c->minus_what = wrong[i][1];
		check(reload(f) == NULL && err.code == NN_CORRUPT,
			  "%d less %d is refused: %s", wrong[i][0], wrong[i][1],
			  err.message);
	}
	*c = kept;
	c->class = NN_CLASS_BOOLEAN;
	check(reload(f) == NULL && err.code == NN_CORRUPT,
		  "a boolean is not derived: %s", err.message);
	*c = kept;
	read = f->columns[2];
	f->columns[2] = kept;
	f->columns[3] = read;
	check(reload(f) == NULL && err.code == NN_CORRUPT,
		  "nothing read comes after what is derived: %s", err.message);
	f->columns[2] = read;
	f->columns[3] = kept;
	check(reload(f) != NULL, "as it was: %s", err.message);
}

int
main(void)
{
	nn_features *f;
	char *records;

	arena = nn_arena_create(&check_heap, &err);
	f = three_moments();
	check(f != NULL, "columns: %s", f == NULL ? err.message : "");
	if (f != NULL)
	{
		records = fill(f);
		test_values(f, records);
		test_infinity(f);
		test_forget(f, records);
		test_stored(f, records);
		test_damage(f);
	}
	nn_arena_destroy(arena);
	return check_failed;
}
