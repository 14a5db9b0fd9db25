/*
 * golden.h
 *	  What write_golden stores of a release, and test_golden reads ever after.
 *
 * A directory test/golden/VERSION has
 *
 *	rows.txt		names of columns, then rows; tabs between, \N for NULL
 *	NAME.model		a model
 *	NAME.txt		what it predicts for the rows
 *	defaults.txt	every name in a model's texts, and every option's default
 */
#ifndef GOLDEN_H
#define GOLDEN_H

#include "crc32c.h"
#include "model.h"
#include "reference.h"

#define GOLDEN_LINE	  1024
#define GOLDEN_FIELDS 32
#define GOLDEN_ROWS	  64

__attribute__((unused)) static FILE *
golden_open(const char *directory, const char *name, const char *mode)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return fopen(path, mode);
}

/* A line's fields; how many. */
static int
golden_split(char *line, char *fields[GOLDEN_FIELDS])
{
	int n = 0;

	line[strcspn(line, "\n")] = '\0';
	while (line != NULL && n < GOLDEN_FIELDS)
		fields[n++] = strsep(&line, "\t");
	return n;
}

static bool
golden_cell(const nn_column *c, const char *text, char *record, nn_error *err)
{
	float vector[GOLDEN_FIELDS];
	int n = 0;

	if (strcmp(text, "\\N") == 0)
		nn_set_null(c, record);
	else if (c->class == NN_CLASS_TEXT)
		return nn_set_text(c, record, text, (int) strlen(text), false, err);
	else if (c->class == NN_CLASS_VECTOR)
	{
		for (char *end; n < GOLDEN_FIELDS && *text != '\0';
			 text = *end == ',' ? end + 1 : end)
			vector[n++] = strtof(text, &end);
		return nn_set_vector(c, record, vector, n, err);
	}
	else
		nn_set_number(c, record, strtod(text, NULL));
	return true;
}

/* The records of rows.txt; how many, 0 after a failure. */
__attribute__((unused)) static int
golden_rows(const char *directory, const nn_features *f, nn_arena *arena,
			char **records, nn_error *err)
{
	FILE *file = golden_open(directory, "rows.txt", "r");
	char header[GOLDEN_LINE], line[GOLDEN_LINE];
	char *names[GOLDEN_FIELDS], *fields[GOLDEN_FIELDS];
	int nnames, rows = 0;

	*records = nn_alloc_array(arena, GOLDEN_ROWS, f->record_size, err);
	if (file == NULL || fgets(header, sizeof(header), file) == NULL)
		return 0;
	nnames = golden_split(header, names);
	while (rows < GOLDEN_ROWS && fgets(line, sizeof(line), file) != NULL)
	{
		char *record = *records + rows++ * f->record_size;

		if (golden_split(line, fields) != nnames)
			return 0;
		for (int i = 0; i < f->nread; i++)
		{
			int j = 0;

			while (j < nnames && strcmp(names[j], f->columns[i].name) != 0)
				j++;
			if (j == nnames ||
				!golden_cell(&f->columns[i], fields[j], record, err))
				return 0;
		}
		nn_features_derive(f, record);
	}
	fclose(file);
	return rows;
}

static void
golden_default(FILE *out, const char *kind, const char *name,
			   const nn_option *o)
{
	char number[NN_NUMBER_SIZE];

	fprintf(out, "%s %s: %s", kind, name, o->name);
	if (o->type == NN_OPT_ITEM)
		fprintf(out, " = %s", o->initial_item ? o->initial_item : "none");
	else if (o->type == NN_OPT_LIST || o->initial == NN_REQUIRED)
		;
	else if (o->type == NN_OPT_CHOICE)
		fprintf(out, " = %s", o->choices[(int) o->initial]);
	else
		fprintf(out, " = %s", nn_number_text(o->initial, number));
	fputc('\n', out);
}

/* Every name that a model's texts may have, and the defaults they leave out. */
__attribute__((unused)) static void
golden_defaults(FILE *out)
{
	static const struct
	{
		const char *kind;
		const void *const *list;
	} lists[] = {{"encoder", (const void *const *) nn_encoders},
				 {"layer", (const void *const *) nn_layers},
				 {"initializer", (const void *const *) nn_initializers},
				 {"loss", (const void *const *) nn_losses}};

	for (int k = 0; k < (int) (sizeof(lists) / sizeof(*lists)); k++)
		for (int i = 0; lists[k].list[i] != NULL; i++)
		{
			const nn_named *named = lists[k].list[i];

			fprintf(out, "%s %s\n", lists[k].kind, named->name);
			for (const nn_option *o = named->options; o && o->name; o++)
				golden_default(out, lists[k].kind, named->name, o);
		}
}

#endif /* GOLDEN_H */
