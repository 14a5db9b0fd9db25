/*
 * encode_category.c
 *	  Encoder of texts that name categories.
 *
 * The categories met in the training rows are numbered by frequency, equal
 * ones in order of their bytes, so that the code of a category does not depend
 * on the order of the rows.  What becomes of them:
 *
 *	flag		two categories, never NULL: one number, -1 or +1; 0 for a text
 *				never met
 *	one-hot		few categories: a code for each, one more for NULL where it
 *				occurred; a text never met has no code and gives zeros
 *	embedding	many categories: a code for each and a last one for NULL and
 *				for texts never met
 *
 * The vector of that last code must be learned from something.  Where no rare
 * category and no NULL maps to it, categories met only once do: a single row
 * says little about its category, but all of them say what a new one is like.
 */
#include "encode_scale.h"

#include "encoders.h"

#include <stdlib.h>
#include <string.h>

typedef enum category_form
{
	FORM_AUTO,
	FORM_ONE_HOT,
	FORM_EMBEDDING,
	FORM_BINARY,
	FORM_DROPPED
} category_form;

/* Distinct texts from which on a column can be suspected to name rows. */
#define MANY_DISTINCT 100

typedef struct category_conf
{
	nn_flag_conf flag;
	int encode;
	int max_one_hot;
	int min_count;
	int max_categories;
} category_conf;

static const char *const encode_choices[] = {"auto", "one_hot", "embedding",
											 "binary", NULL};
static const char *const scale_choices[] = {"none", "robust", NULL};

static const nn_option category_options[] = {
	{.name = "encode",
	 .type = NN_OPT_CHOICE,
	 .offset = offsetof(category_conf, encode),
	 .choices = encode_choices,
	 .help = "Form of the numbers; binary is one number for two categories."},
	{.name = "max_one_hot",
	 .type = NN_OPT_INT,
	 .offset = offsetof(category_conf, max_one_hot),
	 .initial = 64,
	 .min = 0,
	 .max = NN_MAX_CATEGORIES,
	 .help = "Categories up to which auto chooses one_hot."},
	{.name = "min_count",
	 .type = NN_OPT_INT,
	 .offset = offsetof(category_conf, min_count),
	 .initial = 1,
	 .min = 1,
	 .max = 1000000000,
	 .help = "Training rows below which a category counts as unknown."},
	{.name = "max_categories",
	 .type = NN_OPT_INT,
	 .offset = offsetof(category_conf, max_categories),
	 .initial = 10000,
	 .min = 2,
	 .max = NN_MAX_CATEGORIES,
	 .help = "Most categories; rarer ones count as unknown."},
	{.name = "scale",
	 .type = NN_OPT_CHOICE,
	 .offset = offsetof(category_conf, flag.scale),
	 .choices = scale_choices,
	 .help = "How the number of two categories is scaled."},
	{.name = "clip",
	 .type = NN_OPT_REAL,
	 .offset = offsetof(category_conf, flag.clip),
	 .max = 1e6,
	 .help = "That number is limited smoothly to this; 0 is no limit."},
	{.name = NULL}};

typedef struct category
{
	/* while learning, by number in the dictionary */
	int64_t *count;
	int32_t room;
	int64_t nulls, unknown;

	category_form form;
	nn_flag flag;
	int ncodes;	 /* categories that have a code */
	int ntexts;	 /* texts that code[] of the column covers */
	int missing; /* 1: NULL has a code of its own, the one after the last */
	int levels;
	int32_t null_code, unknown_code;
	const int32_t *text_of; /* code -> dictionary number, while training */
} category;

static bool
category_start(nn_column *c, nn_arena *arena, nn_error *err)
{
	c->learned = nn_alloc_small(arena, sizeof(category), err);
	return c->learned != NULL;
}

static bool
category_observe(nn_column *c, nn_arena *arena, const char *base, size_t stride,
				 int n, const uint8_t *use, nn_error *err)
{
	category *l = c->learned;
	int32_t known = nn_dictionary_count(c->dictionary);

	if (known > l->room)
	{
		int32_t room = 2 * known;
		int64_t *count = nn_alloc_array(arena, room, sizeof(*count), err);

		if (count == NULL)
			return false;
		if (l->room > 0)
			memcpy(count, l->count, l->room * sizeof(*count));
		l->count = count;
		l->room = room;
	}
	for (int i = 0; i < n; i++)
	{
		int32_t number = *(const int32_t *) (base + i * stride);

		if (use != NULL && use[i] == 0)
			continue;
		if (number >= 0 && number < known)
			l->count[number]++;
		else if (number == NN_TEXT_NULL)
			l->nulls++;
		else
			l->unknown++;
	}
	return true;
}

typedef struct ranked
{
	const nn_dictionary *dictionary;
	int64_t count;
	int32_t number;
} ranked;

/* Frequent before rare, then by bytes. */
static int
compare_ranked(const void *pa, const void *pb)
{
	const ranked *a = pa, *b = pb;
	const char *ta, *tb;
	int la, lb, order;

	if (a->count != b->count)
		return a->count > b->count ? -1 : 1;
	ta = nn_dictionary_text(a->dictionary, a->number, &la);
	tb = nn_dictionary_text(b->dictionary, b->number, &lb);
	order = memcmp(ta, tb, la < lb ? la : lb);
	return order != 0 ? order : la - lb;
}

static category_form
choose_form(const nn_column *c, const category *l)
{
	const category_conf *conf = c->conf;
	int64_t rows = c->rows - l->nulls;

	if (conf->encode != FORM_AUTO)
		return conf->encode;
	if (l->unknown > 0 ||
		(c->distinct > MANY_DISTINCT && c->distinct > rows / 2))
		return FORM_DROPPED;
	if (l->ncodes == 2 && c->distinct == 2 && l->nulls == 0)
		return FORM_BINARY;
	return l->ncodes <= conf->max_one_hot ? FORM_ONE_HOT : FORM_EMBEDDING;
}

/*
 * Which of the ranked categories get a code, and in what form.  Sets all of
 * learned but the tables.
 */
static bool
choose_codes(nn_column *c, category *l, const ranked *rank, nn_error *err)
{
	const category_conf *conf = c->conf;
	int most = c->distinct < conf->max_categories ? (int) c->distinct
												  : conf->max_categories;
	int64_t others = l->unknown;

	while (l->ncodes < most && rank[l->ncodes].count >= conf->min_count)
		l->ncodes++;
	for (int i = l->ncodes; i < c->distinct; i++)
		others += rank[i].count;
	l->form = choose_form(c, l);
	if (l->form == FORM_EMBEDDING && others == 0 && l->nulls == 0)
	{
		int repeated = l->ncodes;

		while (repeated > 0 && rank[repeated - 1].count == 1)
			repeated--;
		if (repeated >= 2 && repeated < l->ncodes)
		{
			others = l->ncodes - repeated;
			l->ncodes = repeated;
		}
	}
	if (l->form == FORM_BINARY && l->ncodes > 2)
		return nn_fail(err, NN_DATA,
					   "column \"%s\" has %d categories, but encode = binary "
					   "is for two",
					   c->name, l->ncodes);
	if ((l->ncodes > 0) + (l->ncodes > 1) + (l->nulls > 0) + (others > 0) < 2)
		l->form = FORM_DROPPED;
	if (l->form == FORM_BINARY &&
		!nn_flag_learn(&l->flag, &conf->flag, l->ncodes > 0 ? rank[0].count : 0,
					   l->ncodes > 1 ? rank[1].count : 0, l->nulls + others))
		l->form = FORM_DROPPED;
	l->missing = l->form == FORM_ONE_HOT && l->nulls > 0;
	return true;
}

/* What follows from form, ncodes and missing: also of a loaded column. */
static void
set_codes(nn_column *c, category *l)
{
	l->null_code = l->unknown_code = -1;
	l->levels = l->ncodes;
	if (l->form == FORM_ONE_HOT && l->missing)
		l->null_code = l->levels++;
	else if (l->form == FORM_EMBEDDING)
		l->null_code = l->unknown_code = l->levels++;
	c->width[NN_SECTION_FLAG] = l->form == FORM_BINARY;
	c->width[NN_SECTION_CATEGORY] = l->form == FORM_ONE_HOT;
	c->width[NN_SECTION_ENTITY] = l->form == FORM_EMBEDDING;
	c->levels = &l->levels;
}

static bool
category_finish(nn_column *c, nn_arena *arena, nn_error *err)
{
	category *l = c->learned;
	int known = nn_dictionary_count(c->dictionary);
	ranked *rank = nn_alloc_array(arena, known + 1, sizeof(*rank), err);
	int32_t *code, *text_of;
	int n = 0;

	if (rank == NULL)
		return false;
	for (int i = 0; i < known && i < l->room; i++)
	{
		if (l->count[i] == 0)
			continue;
		rank[n].dictionary = c->dictionary;
		rank[n].count = l->count[i];
		rank[n++].number = i;
	}
	qsort(rank, n, sizeof(*rank), compare_ranked);
	c->distinct = n;
	c->nulls = l->nulls;
	if (!choose_codes(c, l, rank, err))
		return false;
	if (l->form == FORM_DROPPED)
	{
		c->dropped = l->nulls == c->rows ? nn_dropped_null
					 : n > 1			 ? nn_dropped_distinct
										 : nn_dropped_constant;
		l->ncodes = 0;
	}

	code = nn_alloc_array(arena, known + 1, sizeof(*code), err);
	text_of = nn_alloc_array(arena, l->ncodes + 1, sizeof(*text_of), err);
	if (code == NULL || text_of == NULL)
		return false;
	set_codes(c, l);
	for (int i = 0; i < known; i++)
		code[i] = l->unknown_code;
	for (int i = 0; i < l->ncodes; i++)
	{
		code[rank[i].number] = i;
		text_of[i] = rank[i].number;
	}
	c->code = code;
	l->ntexts = known;
	l->text_of = text_of;
	return true;
}

/* The code of a slot. */
static inline int32_t
code_of(const nn_column *c, const category *l, const char *slot)
{
	int32_t number = *(const int32_t *) slot;

	if (number == NN_TEXT_NULL)
		return l->null_code;
	if (number < 0 || number >= l->ntexts)
		return l->unknown_code;
	return c->code != NULL ? c->code[number] : number;
}

static void
category_encode(const nn_column *c, const char *base, size_t stride, int n,
				nn_real *out, size_t out_stride)
{
	const category *l = c->learned;

	if (l->form == FORM_BINARY)
	{
		out += c->at[NN_SECTION_FLAG];
		for (int i = 0; i < n; i++)
		{
			int32_t code = code_of(c, l, base + i * stride);

			out[i * out_stride] = l->flag.value[code < 0 ? 1 : 2 * code];
		}
		return;
	}
	out += c->at[l->form == FORM_EMBEDDING ? NN_SECTION_ENTITY
										   : NN_SECTION_CATEGORY];
	for (int i = 0; i < n; i++)
		out[i * out_stride] = (nn_real) code_of(c, l, base + i * stride);
}

static bool
category_save(const nn_column *c, nn_writer *w, nn_error *err)
{
	const category *l = c->learned;

	if (!nn_write_u8(w, l->form, err) || !nn_write_u8(w, l->missing, err) ||
		!nn_flag_save(&l->flag, w, err) || !nn_write_u32(w, l->ncodes, err))
		return false;
	for (int i = 0; i < l->ncodes; i++)
	{
		int len;
		const char *text = nn_dictionary_text(
			c->dictionary, l->text_of != NULL ? l->text_of[i] : i, &len);

		if (!nn_write_text(w, text, len, err))
			return false;
	}
	return true;
}

static bool
read_categories(nn_column *c, category *l, nn_reader *r, nn_error *err)
{
	for (int i = 0; i < l->ncodes; i++)
	{
		const char *text;
		int len;
		int32_t number;

		if (!nn_read_text_in_place(r, &text, &len, err))
			return false;
		if (len > NN_MAX_TEXT_LENGTH)
			return nn_fail(err, NN_CORRUPT,
						   "category of column \"%s\" is "
						   "longer than %d bytes",
						   c->name, NN_MAX_TEXT_LENGTH);
		number = nn_dictionary_add(c->dictionary, text, len, err);
		if (number < NN_TEXT_UNKNOWN)
			return false;
		if (number != i)
			return nn_fail(err, NN_CORRUPT,
						   "column \"%s\" has a category twice", c->name);
	}
	return true;
}

static bool
category_load(nn_column *c, nn_arena *arena, nn_reader *r, nn_error *err)
{
	category *l = nn_alloc_small(arena, sizeof(*l), err);
	uint8_t form;
	uint32_t ncodes;

	if (l == NULL)
		return false;
	c->learned = l;
	if (!nn_read_u8(r, &form, err) || !nn_read_bool(r, &l->missing, err) ||
		!nn_flag_load(&l->flag, r, err) ||
		!nn_read_count(r, NN_MAX_CATEGORIES, 4, &ncodes, err))
		return false;
	if (form < FORM_ONE_HOT || form > FORM_DROPPED ||
		(form == FORM_BINARY && ncodes > 2) ||
		(form == FORM_DROPPED && ncodes > 0) ||
		(form == FORM_ONE_HOT && ncodes == 0 && !l->missing) ||
		(form != FORM_ONE_HOT && l->missing))
		return nn_fail(err, NN_CORRUPT,
					   "form of the categories of column \"%s\" is wrong",
					   c->name);
	l->form = form;
	l->ncodes = l->ntexts = (int) ncodes;
	set_codes(c, l);
	return read_categories(c, l, r, err);
}

static const char *const category_examples[] = {
	"category", "category(max_one_hot = 8, min_count = 5)",
	"category(encode = embedding)", NULL};

const nn_encoder_ops nn_encoder_category = {
	.named = {.name = "category",
			  .summary = "Names of categories: one-hot, or embedded where "
						 "there are many.",
			  .conf_size = sizeof(category_conf),
			  .options = category_options,
			  .examples = category_examples},
	.classes = 1 << NN_CLASS_TEXT,
	.start = category_start,
	.observe = category_observe,
	.finish = category_finish,
	.encode = category_encode,
	.save = category_save,
	.load = category_load};
