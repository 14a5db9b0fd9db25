/* builds: float asan */
/*
 * test_golden.c
 *	  Models of every release load, and predict what they predicted then; no
 *	  default and no name has changed since.
 */
#include <dirent.h>

#include "golden.h"

#define MOST_BYTES (1 << 16)

static nn_error err;

/*
 * Predictions by kernels of one level (plain C wrote those that are stored;
 * others add in another order), compared with those stored.
 */
static void
check_predictions(const char *path, const nn_model *m, const char *records,
				  int rows, int level, double tolerance)
{
	double out[GOLDEN_ROWS * GOLDEN_FIELDS], worst = 0, v;
	nn_predictor *p =
		nn_predictor_create(m->arena, m, nn_cpu_ops(level), 7, &err);
	FILE *f = fopen(path, "r");
	int bad = 0, seen = 0;

	if (p == NULL || f == NULL || rows * m->outputs > GOLDEN_ROWS * 8 ||
		!nn_predict(p, records, rows, out, &err))
	{
		check(false, "%s: cannot predict: %s", path, err.message);
		return;
	}
	while (seen < rows * m->outputs && fscanf(f, "%lf", &v) == 1)
	{
		bad += !near(out[seen], v, tolerance);
		worst = fmax(worst, fabs(out[seen] - v));
		seen++;
	}
	check(bad == 0 && seen == rows * m->outputs && fscanf(f, "%lf", &v) != 1,
		  "%s, level %d: %d of %d differ, by up to %g", path, level, bad, seen,
		  worst);
	fclose(f);
	nn_predictor_release(p);
}

static void
test_stored(const char *directory, const char *name)
{
	static unsigned char bytes[MOST_BYTES];
	nn_arena *arena = nn_arena_create(&check_heap, &err);
	FILE *f = golden_open(directory, name, "rb");
	size_t n = f != NULL ? fread(bytes, 1, sizeof(bytes), f) : 0;
	nn_model *m = nn_model_read(arena, bytes, n, crc32c, 0, &err);
	char *records, path[512];
	int rows;

	check(m != NULL, "%s/%s: %zu bytes: %s", directory, name, n,
		  m == NULL ? err.message : "read");
	if (f != NULL)
		fclose(f);
	if (m != NULL)
	{
		rows = golden_rows(directory, m->features, arena, &records, &err);
		snprintf(path, sizeof(path), "%s/%.*s.txt", directory,
				 (int) (strlen(name) - strlen(".model")), name);
		check(rows > 0, "%s/rows.txt: %d rows", directory, rows);
		check_predictions(path, m, records, rows, 0, 1e-6);
		check_predictions(path, m, records, rows, -1, 1e-5);
	}
	nn_arena_destroy(arena);
}

static bool
has_line(const char *text, const char *line)
{
	for (const char *at = strstr(text, line); at != NULL;
		 at = strstr(at + 1, line))
		if (at == text || at[-1] == '\n')
			return true;
	return false;
}

/* Every stored line, its end included, is still true. */
static void
test_defaults(const char *directory)
{
	FILE *then = golden_open(directory, "defaults.txt", "r");
	char *now = NULL, line[GOLDEN_LINE];
	size_t size = 0;
	FILE *out = open_memstream(&now, &size);
	int lines = 0;

	golden_defaults(out);
	fclose(out);
	while (then != NULL && fgets(line, sizeof(line), then) != NULL)
	{
		bool same = has_line(now, line);

		line[strcspn(line, "\n")] = '\0';
		check(same, "%s: %s", directory, line);
		lines++;
	}
	check(lines > 50, "%s: %d names and defaults", directory, lines);
	if (then != NULL)
		fclose(then);
	free(now);
}

static void
test_release(const char *directory)
{
	DIR *d = opendir(directory);
	int models = 0;

	for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
		if (strstr(e->d_name, ".model") != NULL)
		{
			test_stored(directory, e->d_name);
			models++;
		}
	check(models >= 5, "%s: %d models", directory, models);
	test_defaults(directory);
	if (d != NULL)
		closedir(d);
}

int
main(void)
{
	DIR *d = opendir("golden");
	int releases = 0;

	for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
		if (e->d_name[0] != '.')
		{
			char directory[300];

			snprintf(directory, sizeof(directory), "golden/%s", e->d_name);
			test_release(directory);
			releases++;
		}
	check(releases > 0, "%d releases", releases);
	if (d != NULL)
		closedir(d);
	return check_failed;
}
