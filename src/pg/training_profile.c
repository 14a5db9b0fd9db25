/*
 * training_profile.c
 *	  What the training rows are like, column by column, for neural.drift.
 *
 *	{"age":  {"edges": [23, 31, 40], "shares": [0.2, 0.3, 0.3, 0.2]},
 *	 "plan": {"categories": ["free", "gold"], "shares": [0.7, 0.2, 0.1]}}
 *
 * Numbers are counted in bins that hold about a tenth each: up to the first
 * edge, up to the second, beyond the last.  Of texts the most frequent are
 * counted, and all others together as the last share.  NULLs are left out; the
 * model knows how many there were.  It is taken from a sample of the training
 * rows, evenly drawn, and kept in the model's table, not in the model.
 */
#include "training.h"

#include <math.h>

#include "miscadmin.h"
#include "predict_state.h"

#define SAMPLE_ROWS	   10000
#define SAMPLE_BYTES   (32 * 1024 * 1024)
#define BINS		   10
#define MAX_CATEGORIES 50
#define MAX_COLUMNS	   1000

/* Records of the sample, one after another. */
static char *
draw_sample(NeuralTraining *t, int *n)
{
	Size size = t->features->record_size;
	int64 most = Min(SAMPLE_ROWS, SAMPLE_BYTES / size + 1);
	int64 row = 0, seen = 0;
	char *sample;

	most = Min(most, t->training_rows);
	sample = MemoryContextAllocHuge(CurrentMemoryContext, most * size);
	*n = 0;
	for (int b = 0; b < neural_records_blocks(t->records); b++)
	{
		int rows;
		const char *block = neural_records_block(t->records, b, &rows);

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < rows; i++)
			/* the n-th of them when its turn has come */
			if (t->use[row++] && seen++ * most / t->training_rows >= *n &&
				*n < most)
				memcpy(sample + (*n)++ * size, block + i * size, size);
	}
	return sample;
}

static void
append_shares(StringInfo s, const int64 *count, int bins, int64 total)
{
	neural_append_key(s, "shares");
	appendStringInfoChar(s, '[');
	for (int i = 0; i < bins; i++)
		neural_append_number(s, NULL, rint(1e6 * count[i] / total) / 1e6);
	appendStringInfoChar(s, ']');
}

/*
 * --- numbers ---
 */

#define ST_SORT			 sort_doubles
#define ST_ELEMENT_TYPE	 double
#define ST_COMPARE(a, b) (*(a) < *(b) ? -1 : *(a) > *(b))
#define ST_SCOPE		 static
#define ST_DEFINE
#include "lib/sort_template.h"

static void
profile_numbers(StringInfo s, const nn_column *c, const char *sample,
				Size stride, int n)
{
	double *v = palloc(n * sizeof(double));
	double edges[BINS];
	int64 count[BINS + 1] = {0};
	int m = 0, nedges = 0, bin = 0;

	for (int i = 0; i < n; i++)
	{
		const char *at = sample + i * stride + c->offset;

		v[m] = c->slot == NN_SLOT_REAL32 ? *(const float *) at
										 : *(const double *) at;
		m += isfinite(v[m]);
	}
	sort_doubles(v, m);
	for (int k = 1; k < BINS && m > 0; k++)
	{
		double edge = v[(int64) m * k / BINS];

		if (nedges == 0 || edge > edges[nedges - 1])
			edges[nedges++] = edge;
	}
	for (int i = 0; i < m; i++)
	{
		while (bin < nedges && v[i] > edges[bin])
			bin++;
		count[bin]++;
	}
	neural_append_key(s, "edges");
	appendStringInfoChar(s, '[');
	for (int i = 0; i < nedges; i++)
		neural_append_number(s, NULL, edges[i]);
	appendStringInfoChar(s, ']');
	append_shares(s, count, nedges + 1, Max(m, 1));
	pfree(v);
}

/*
 * --- categories ---
 */

typedef struct Counted
{
	int64 count;
	int32 number;
} Counted;

static int
compare_counted(const void *a, const void *b)
{
	const Counted *x = a, *y = b;

	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

static void
profile_texts(StringInfo s, const nn_column *c, const char *sample, Size stride,
			  int n)
{
	int known = nn_dictionary_count(c->dictionary);
	Counted *all = palloc0((known + 1) * sizeof(Counted));
	int64 count[MAX_CATEGORIES + 1] = {0};
	int64 total = 0;
	int kept = 0;

	for (int i = 0; i < known; i++)
		all[i].number = i;
	for (int i = 0; i < n; i++)
	{
		int32_t number = *(const int32_t *) (sample + i * stride + c->offset);

		if (number >= 0 && number < known)
			all[number].count++;
		total += number != NN_TEXT_NULL;
	}
	qsort(all, known, sizeof(Counted), compare_counted);
	neural_append_key(s, "categories");
	appendStringInfoChar(s, '[');
	for (; kept < known && kept < MAX_CATEGORIES && all[kept].count > 0; kept++)
	{
		int len;
		const char *text =
			nn_dictionary_text(c->dictionary, all[kept].number, &len);

		neural_append_text(s, NULL, neural_server_text(pnstrdup(text, len)));
		count[kept] = all[kept].count;
	}
	appendStringInfoChar(s, ']');
	count[kept] = total;
	for (int i = 0; i < kept; i++)
		count[kept] -= count[i];
	append_shares(s, count, kept + 1, Max(total, 1));
	pfree(all);
}

void
neural_training_profile(NeuralTraining *t)
{
	int n;
	char *sample = draw_sample(t, &n);
	Size stride = t->features->record_size;
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfoChar(&s, '{');
	for (int i = 0; i < Min(t->features->nread, MAX_COLUMNS); i++)
	{
		const nn_column *c = &t->features->columns[i];

		if (c->slot == NN_SLOT_VECTOR)
			continue;
		neural_append_key(&s, neural_server_text(c->name));
		appendStringInfoChar(&s, '{');
		if (c->slot == NN_SLOT_TEXT)
			profile_texts(&s, c, sample, stride, n);
		else
			profile_numbers(&s, c, sample, stride, n);
		appendStringInfoChar(&s, '}');
	}
	appendStringInfoChar(&s, '}');
	pfree(sample);
	t->profile = s.data;
}
