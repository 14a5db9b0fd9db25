/*
 * encode_number.c
 *	  Encoders of numbers and of booleans.
 *
 * A number becomes
 *
 *		z = (x - center) * factor,	then z / sqrt(1 + (z / clip)^2) with clip
 *
 * where the scale is learned from the training rows: standard (mean and
 * standard deviation), robust (median and interquartile range; 2 / (max -
 * min) where the range is 0), min_max, or none.  NULL becomes the imputed
 * value; where NULLs occurred, a flag says so.  Robust scale and smooth clip
 * are those of RealMLP (Holzmueller, Grinsztajn and Steinwart, "Better by
 * default", 2024, arXiv 2407.04491).
 *
 * A boolean becomes -1 or +1, and 0 for NULL.
 */
#include "encode_scale.h"

#include "encoders.h"

#include <string.h>

/* Rows encoded at a time, small enough for the stack. */
#define BLOCK 128

typedef enum impute_kind
{
	IMPUTE_MEAN,
	IMPUTE_MEDIAN,
	IMPUTE_ZERO
} impute_kind;

typedef struct number_conf
{
	int scale;
	double clip;
	int impute;
	bool indicator;
} number_conf;

static const char *const scale_choices[] = {"standard", "robust", "min_max",
											"none", NULL};
static const char *const impute_choices[] = {"mean", "median", "zero", NULL};

static const nn_option number_options[] = {
	{.name = "scale",
	 .type = NN_OPT_CHOICE,
	 .offset = offsetof(number_conf, scale),
	 .choices = scale_choices,
	 .help = "Scale by mean and standard deviation, by median and "
			 "interquartile range, to 0..1, or not at all."},
	{.name = "clip",
	 .type = NN_OPT_REAL,
	 .offset = offsetof(number_conf, clip),
	 .max = 1e6,
	 .help = "Scaled numbers are limited smoothly to this; 0 is no limit."},
	{.name = "impute",
	 .type = NN_OPT_CHOICE,
	 .offset = offsetof(number_conf, impute),
	 .choices = impute_choices,
	 .help = "What stands for NULL."},
	{.name = "indicator",
	 .type = NN_OPT_BOOL,
	 .offset = offsetof(number_conf, indicator),
	 .initial = 1,
	 .help = "Add a number that is 1 for NULL, where NULLs occur."},
	{.name = NULL}};

typedef struct number
{
	nn_moments *moments; /* while learning */
	nn_scale scale;
	double fill; /* encoded NULL */
} number;

static bool
number_start(nn_column *c, nn_arena *arena, nn_error *err)
{
	const number_conf *conf = c->conf;
	bool quantiles =
		conf->scale == NN_SCALING_ROBUST || conf->impute == IMPUTE_MEDIAN;
	number *l = nn_alloc_small(arena, sizeof(*l), err);

	if (l == NULL)
		return false;
	c->learned = l;
	l->moments = nn_alloc(arena, sizeof(*l->moments), err);
	return l->moments != NULL &&
		   nn_moments_start(l->moments, arena, quantiles ? c->sample : 0, err);
}

static struct nn_moments *
number_moments(const nn_column *c)
{
	const number *l = c->learned;

	return l->moments;
}

static bool
number_observe(nn_column *c, nn_arena *arena, const char *base, size_t stride,
			   int n, const uint8_t *use, nn_error *err)
{
	number *l = c->learned;

	return nn_moments_add(l->moments, arena, base, stride, c->slot, n, use,
						  err);
}

void
nn_column_take_moments(nn_column *c, const nn_moments *m)
{
	c->nulls = m->nulls;
	c->infinite = m->infinite;
	c->mean = m->mean;
	c->stddev = nn_moments_stddev(m);
	c->min = m->count > 0 ? m->min : 0;
	c->max = m->count > 0 ? m->max : 0;
}

/* What stands for NULL, before scaling. */
static double
imputed(const number_conf *conf, nn_moments *m)
{
	switch (conf->impute)
	{
		case IMPUTE_MEDIAN:
			return nn_quantile(m->sample, m->nsample, 0.5);
		case IMPUTE_ZERO:
			return 0;
		default:
			return m->mean;
	}
}

static bool
number_finish(nn_column *c, nn_arena *arena, nn_error *err)
{
	const number_conf *conf = c->conf;
	number *l = c->learned;
	nn_moments *m = l->moments;

	if (!nn_moments_finish(m, arena, err))
		return false;
	nn_column_take_moments(c, m);
	c->width[NN_SECTION_NUMBER] = nn_scale_learn(&l->scale, conf->scale, m);
	c->width[NN_SECTION_FLAG] =
		conf->indicator && m->nulls > 0 && m->nulls < c->rows;
	if (c->width[NN_SECTION_NUMBER] != 0)
	{
		double fill = imputed(conf, m);

		l->fill = nn_scale_value(&l->scale, isnan(fill) ? 0 : fill);
	}
	l->moments = NULL;
	if (c->width[NN_SECTION_NUMBER] + c->width[NN_SECTION_FLAG] == 0)
		c->dropped =
			m->nulls == c->rows ? nn_dropped_null : nn_dropped_constant;
	return true;
}

/* Gather n slots and notice whether any is not a finite number. */
#define GATHER(type)                                                           \
	for (int i = 0; i < n; i++)                                                \
	{                                                                          \
		v[i] = *(const type *) (base + i * stride);                            \
		special |= !(fabs(v[i]) <= DBL_MAX);                                   \
	}

/*
 * The simple loops are apart, so that they become vector instructions; each
 * of these rounds as its scalar twin does, so one row alone gets the same bits.
 */
NN_ANY_LEVEL void
nn_encode_numbers(const nn_scale *scale, double null, double clip,
				  nn_slot_kind slot, const char *base, size_t stride, int n,
				  nn_real *out, size_t out_stride)
{
	const double center = scale->center, factor = scale->factor;
	const nn_real inverse = clip > 0 ? (nn_real) (1 / clip) : 0;
	double v[BLOCK];
	nn_real z[BLOCK];
	int special = 0;

	for (; n > BLOCK; n -= BLOCK)
	{
		nn_encode_numbers(scale, null, clip, slot, base, stride, BLOCK, out,
						  out_stride);
		base += BLOCK * stride;
		out += BLOCK * out_stride;
	}
	if (slot == NN_SLOT_REAL32)
		GATHER(float)
	else
		GATHER(double)
	if (special)
		for (int i = 0; i < n; i++)
			if (isinf(v[i]))
				v[i] = v[i] < 0 ? scale->min : scale->max;
	for (int i = 0; i < n; i++)
		z[i] = nn_scale_finite(v[i], center, factor);
	if (special)
		for (int i = 0; i < n; i++)
			if (isnan(v[i]))
				z[i] = (nn_real) null;
	if (clip > 0)
		for (int i = 0; i < n; i++)
			z[i] = nn_soft_clip(z[i], inverse);
	for (int i = 0; i < n; i++)
		out[i * out_stride] = z[i];
}

void
nn_encode_nulls(nn_slot_kind slot, const char *base, size_t stride, int n,
				nn_real *out, size_t out_stride)
{
	for (int i = 0; i < n; i++)
		out[i * out_stride] =
			isnan(nn_slot_number(base + i * stride, slot)) ? 1 : 0;
}

/* The same for one row. */
static void
number_code(const nn_column *c, nn_number_code *code)
{
	const number_conf *conf = c->conf;
	const number *l = c->learned;

	code->real32 = c->slot == NN_SLOT_REAL32;
	code->at = c->width[NN_SECTION_NUMBER] != 0 ? c->at[NN_SECTION_NUMBER] : -1;
	code->flag = c->width[NN_SECTION_FLAG] != 0 ? c->at[NN_SECTION_FLAG] : -1;
	code->offset = c->offset;
	code->center = l->scale.center;
	code->factor = l->scale.factor;
	code->min = l->scale.min;
	code->max = l->scale.max;
	code->clip = conf->clip > 0 ? (nn_real) (1 / conf->clip) : 0;
	code->fill = (nn_real) l->fill;
}

static void
number_encode(const nn_column *c, const char *base, size_t stride, int n,
			  nn_real *out, size_t out_stride)
{
	const number_conf *conf = c->conf;
	const number *l = c->learned;

	if (c->width[NN_SECTION_NUMBER] != 0)
		nn_encode_numbers(&l->scale, l->fill, conf->clip, c->slot, base, stride,
						  n, out + c->at[NN_SECTION_NUMBER], out_stride);
	if (c->width[NN_SECTION_FLAG] != 0)
		nn_encode_nulls(c->slot, base, stride, n, out + c->at[NN_SECTION_FLAG],
						out_stride);
}

static bool
number_save(const nn_column *c, nn_writer *w, nn_error *err)
{
	const number *l = c->learned;

	return nn_write_u8(w, c->width[NN_SECTION_NUMBER], err) &&
		   nn_write_u8(w, c->width[NN_SECTION_FLAG], err) &&
		   nn_scale_save(&l->scale, w, err) && nn_write_f64(w, l->fill, err);
}

static bool
number_load(nn_column *c, nn_arena *arena, nn_reader *r, nn_error *err)
{
	number *l = nn_alloc_small(arena, sizeof(*l), err);

	if (l == NULL)
		return false;
	c->learned = l;
	return nn_read_bool(r, &c->width[NN_SECTION_NUMBER], err) &&
		   nn_read_bool(r, &c->width[NN_SECTION_FLAG], err) &&
		   nn_scale_load(&l->scale, r, err) &&
		   nn_read_encoded(r, &l->fill, err);
}

static const char *const number_examples[] = {
	"number", "number(scale = robust, clip = 3, impute = median)", NULL};

const nn_encoder_ops nn_encoder_number = {
	.named = {.name = "number",
			  .summary = "A number, scaled; and whether it was NULL.",
			  .conf_size = sizeof(number_conf),
			  .options = number_options,
			  .examples = number_examples},
	.classes = 1 << NN_CLASS_NUMBER | 1 << NN_CLASS_BOOLEAN |
			   1 << NN_CLASS_TIMESTAMP | 1 << NN_CLASS_DATE |
			   1 << NN_CLASS_TIME,
	.start = number_start,
	.observe = number_observe,
	.moments = number_moments,
	.finish = number_finish,
	.encode = number_encode,
	.code = number_code,
	.save = number_save,
	.load = number_load};

/*
 * Booleans, and the flag of any column with two values: three numbers, for
 * false, true and NULL, scaled when learned.
 */

static const char *const flag_scale_choices[] = {"none", "robust", NULL};

const nn_option nn_flag_options[] = {
	{.name = "scale",
	 .type = NN_OPT_CHOICE,
	 .offset = offsetof(nn_flag_conf, scale),
	 .choices = flag_scale_choices,
	 .help = "Scale by median and interquartile range, or not at all."},
	{.name = "clip",
	 .type = NN_OPT_REAL,
	 .offset = offsetof(nn_flag_conf, clip),
	 .max = 1e6,
	 .help = "The scaled number is limited smoothly to this; 0 is no limit."},
	{.name = NULL}};

/* The value at a place in order, of counts[] of -1, 0 and +1. */
static double
value_at(const int64_t counts[3], int64_t place)
{
	return place < counts[0] ? -1 : place < counts[0] + counts[1] ? 0 : 1;
}

static double
count_quantile(const int64_t counts[3], double q)
{
	double at = q * (double) (counts[0] + counts[1] + counts[2] - 1);
	int64_t k = (int64_t) at;
	double low = value_at(counts, k);

	return low + (value_at(counts, k + 1) - low) * (at - (double) k);
}

bool
nn_flag_learn(nn_flag *flag, const nn_flag_conf *conf, int64_t falses,
			  int64_t trues, int64_t nulls)
{
	const int64_t counts[3] = {falses, nulls, trues};
	nn_scale s = {.center = 0, .factor = 1};
	nn_real inverse = conf->clip > 0 ? (nn_real) (1 / conf->clip) : 0;

	if ((falses > 0) + (trues > 0) + (nulls > 0) < 2)
		return false;
	if (conf->scale != 0)
	{
		double range =
			count_quantile(counts, 0.75) - count_quantile(counts, 0.25);

		s.center = count_quantile(counts, 0.5);
		if (range > 0)
			s.factor = 1 / range;
		else
			s.factor = 2.0 / ((trues > 0 ? 1 : 0) - (falses > 0 ? -1 : 0));
	}
	for (int i = 0; i < 3; i++)
		flag->value[i] = nn_soft_clip(nn_scale_value(&s, i - 1), inverse);
	return true;
}

bool
nn_flag_save(const nn_flag *flag, nn_writer *w, nn_error *err)
{
	return nn_write_reals(w, flag->value, 3, err);
}

bool
nn_flag_load(nn_flag *flag, nn_reader *r, nn_error *err)
{
	return nn_read_reals(r, flag->value, 3, err);
}

typedef struct boolean
{
	int64_t falses, trues, nulls;
	nn_flag flag;
} boolean;

static bool
boolean_start(nn_column *c, nn_arena *arena, nn_error *err)
{
	c->learned = nn_alloc_small(arena, sizeof(boolean), err);
	return c->learned != NULL;
}

static bool
boolean_observe(nn_column *c, nn_arena *arena, const char *base, size_t stride,
				int n, const uint8_t *use, nn_error *err)
{
	boolean *l = c->learned;

	(void) arena;
	(void) err;
	for (int i = 0; i < n; i++)
	{
		double v = nn_slot_number(base + i * stride, c->slot);
		bool counts = use == NULL || use[i] != 0;

		l->nulls += counts & (v != v);
		l->falses += counts & (v == 0);
		l->trues += counts & (v == v) & (v != 0);
	}
	return true;
}

static bool
boolean_finish(nn_column *c, nn_arena *arena, nn_error *err)
{
	boolean *l = c->learned;
	double known = (double) (l->falses + l->trues);

	(void) arena;
	(void) err;
	c->nulls = l->nulls;
	if (known > 0)
	{
		c->mean = (double) l->trues / known;
		c->stddev = sqrt(c->mean * (1 - c->mean));
		c->min = l->falses > 0 ? 0 : 1;
		c->max = l->trues > 0 ? 1 : 0;
	}
	c->width[NN_SECTION_FLAG] =
		nn_flag_learn(&l->flag, c->conf, l->falses, l->trues, l->nulls);
	if (c->width[NN_SECTION_FLAG] == 0)
		c->dropped = known > 0 ? nn_dropped_constant : nn_dropped_null;
	return true;
}

static void
boolean_encode(const nn_column *c, const char *base, size_t stride, int n,
			   nn_real *out, size_t out_stride)
{
	const nn_flag flag = ((const boolean *) c->learned)->flag;

	out += c->at[NN_SECTION_FLAG];
	for (int i = 0; i < n; i++)
	{
		double v = nn_slot_number(base + i * stride, c->slot);

		out[i * out_stride] = flag.value[v != v ? 1 : v == 0 ? 0 : 2];
	}
}

static bool
boolean_save(const nn_column *c, nn_writer *w, nn_error *err)
{
	const boolean *l = c->learned;

	return nn_write_u8(w, c->width[NN_SECTION_FLAG], err) &&
		   nn_flag_save(&l->flag, w, err);
}

static bool
boolean_load(nn_column *c, nn_arena *arena, nn_reader *r, nn_error *err)
{
	boolean *l = nn_alloc_small(arena, sizeof(*l), err);

	if (l == NULL)
		return false;
	c->learned = l;
	return nn_read_bool(r, &c->width[NN_SECTION_FLAG], err) &&
		   nn_flag_load(&l->flag, r, err);
}

static const char *const boolean_examples[] = {
	"boolean", "boolean(scale = robust, clip = 3)", NULL};

const nn_encoder_ops nn_encoder_boolean = {
	.named = {.name = "boolean",
			  .summary = "-1 for false, 1 for true, 0 for NULL.",
			  .conf_size = sizeof(nn_flag_conf),
			  .options = nn_flag_options,
			  .examples = boolean_examples},
	.classes = 1 << NN_CLASS_BOOLEAN,
	.start = boolean_start,
	.observe = boolean_observe,
	.finish = boolean_finish,
	.encode = boolean_encode,
	.save = boolean_save,
	.load = boolean_load};
