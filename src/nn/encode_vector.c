/*
 * encode_vector.c
 *	  Encoder of arrays of numbers of one length.
 *
 * Each element is scaled by what the training rows had at its place, or, with
 * scale = global, all elements alike, which keeps the contrast of an image or
 * a sequence.  Elements that never vary become 0 but keep their place, so
 * that a layer can still see the shape.  A vector whose first element is NaN
 * is NULL: its numbers are 0, and where NULLs occurred a flag says so.  NaN at
 * another place is 0 as well.
 *
 * Sums are taken around the first row's elements, in double: elements are
 * floats, so that leaves about half of the digits spare.
 */
#include "encode_scale.h"

#include "encoders.h"

#include <string.h>

/* Rows kept for quantiles, unless rows are so long that they would take more
 * than this many numbers. */
#define SAMPLE_ROWS	   256
#define SAMPLE_NUMBERS (1 << 24)

typedef enum vector_scaling
{
	SCALE_STANDARD,
	SCALE_ROBUST,
	SCALE_NONE,
	SCALE_GLOBAL
} vector_scaling;

typedef struct vector_conf
{
	int scale;
	double clip;
} vector_conf;

static const char *const scale_choices[] = {"standard", "robust", "none",
											"global", NULL};

static const nn_option vector_options[] = {
	{.name = "scale",
	 .type = NN_OPT_CHOICE,
	 .offset = offsetof(vector_conf, scale),
	 .choices = scale_choices,
	 .help = "Scale each element by mean and standard deviation, by median and "
			 "interquartile range, not at all, or all elements alike."},
	{.name = "clip",
	 .type = NN_OPT_REAL,
	 .offset = offsetof(vector_conf, clip),
	 .max = 1e6,
	 .help = "Scaled numbers are limited smoothly to this; 0 is no limit."},
	{.name = NULL}};

typedef struct vector
{
	/* while learning, one for each element */
	float *shift;
	double *sum, *square;
	int64_t *missing; /* NaN or infinite, in rows that are not NULL */
	int64_t rows, nulls, infinite;
	float *sample; /* rows of elements */
	int nsample, sample_rows;
	int64_t sample_step;

	/* encoded = (value - center) * factor; infinities become min, max */
	float *center, *factor, *min, *max;
} vector;

static bool
alloc_scales(vector *l, int length, nn_arena *arena, nn_error *err)
{
	l->center = nn_alloc_array(arena, length, sizeof(float), err);
	l->factor = nn_alloc_array(arena, length, sizeof(float), err);
	l->min = nn_alloc_array(arena, length, sizeof(float), err);
	l->max = nn_alloc_array(arena, length, sizeof(float), err);
	return l->center != NULL && l->factor != NULL && l->min != NULL &&
		   l->max != NULL;
}

static bool
vector_start(nn_column *c, nn_arena *arena, nn_error *err)
{
	const vector_conf *conf = c->conf;
	vector *l = nn_alloc_small(arena, sizeof(*l), err);
	int length = c->length;

	if (l == NULL || !alloc_scales(l, length, arena, err))
		return false;
	c->learned = l;
	l->shift = nn_alloc_array(arena, length, sizeof(float), err);
	l->sum = nn_alloc_array(arena, length, sizeof(double), err);
	l->square = nn_alloc_array(arena, length, sizeof(double), err);
	l->missing = nn_alloc_array(arena, length, sizeof(int64_t), err);
	if (l->shift == NULL || l->sum == NULL || l->square == NULL ||
		l->missing == NULL)
		return false;
	for (int j = 0; j < length; j++)
	{
		l->min[j] = FLT_MAX;
		l->max[j] = -FLT_MAX;
	}
	l->sample_step = 1;
	if (conf->scale != SCALE_ROBUST)
		return true;
	l->sample_rows = SAMPLE_NUMBERS / length;
	if (l->sample_rows > SAMPLE_ROWS)
		l->sample_rows = SAMPLE_ROWS;
	if (l->sample_rows < c->sample / length)
		l->sample_rows = c->sample / length;
	l->sample =
		nn_alloc_array(arena, l->sample_rows, length * sizeof(float), err);
	return l->sample != NULL;
}

static inline uint32_t
float_bits(float v)
{
	uint32_t bits;

	memcpy(&bits, &v, sizeof(bits));
	return bits;
}

static bool
all_finite(const float *x, int n)
{
	uint32_t bad = 0;

	for (int j = 0; j < n; j++)
		bad |= (float_bits(x[j]) & 0x7f800000) == 0x7f800000;
	return bad == 0;
}

/* Keep every sample_step-th row; when full, half of them. */
static void
keep_sample(vector *l, const float *x, int length)
{
	if (l->rows % l->sample_step != 0)
		return;
	if (l->nsample == l->sample_rows)
	{
		for (int i = 0; 2 * i < l->nsample; i++)
			memmove(l->sample + (size_t) i * length,
					l->sample + (size_t) 2 * i * length,
					length * sizeof(float));
		l->nsample = (l->nsample + 1) / 2;
		l->sample_step *= 2;
		if (l->rows % l->sample_step != 0)
			return;
	}
	memcpy(l->sample + (size_t) l->nsample++ * length, x,
		   length * sizeof(float));
}

static void
observe_clean(vector *l, const float *restrict x, int length)
{
	const float *restrict shift = l->shift;
	double *restrict sum = l->sum;
	double *restrict square = l->square;
	float *restrict min = l->min;
	float *restrict max = l->max;

	for (int j = 0; j < length; j++)
	{
		double d = (double) x[j] - shift[j];

		sum[j] += d;
		square[j] += d * d;
	}
	for (int j = 0; j < length; j++)
	{
		min[j] = x[j] < min[j] ? x[j] : min[j];
		max[j] = x[j] > max[j] ? x[j] : max[j];
	}
}

static void
observe_mixed(vector *l, const float *x, int length)
{
	for (int j = 0; j < length; j++)
	{
		double d = (double) x[j] - l->shift[j];

		if (!(fabsf(x[j]) <= FLT_MAX))
		{
			l->missing[j]++;
			l->infinite += x[j] == x[j];
			continue;
		}
		l->sum[j] += d;
		l->square[j] += d * d;
		l->min[j] = x[j] < l->min[j] ? x[j] : l->min[j];
		l->max[j] = x[j] > l->max[j] ? x[j] : l->max[j];
	}
}

static bool
vector_observe(nn_column *c, nn_arena *arena, const char *base, size_t stride,
			   int n, const uint8_t *use, nn_error *err)
{
	vector *l = c->learned;

	(void) arena;
	(void) err;
	for (int i = 0; i < n; i++)
	{
		const float *x = (const float *) (base + i * stride);

		if (use != NULL && use[i] == 0)
			continue;
		if (isnan(x[0]))
		{
			l->nulls++;
			continue;
		}
		if (l->rows == 0)
			for (int j = 0; j < c->length; j++)
				l->shift[j] = fabsf(x[j]) <= FLT_MAX ? x[j] : 0;
		if (l->sample != NULL)
			keep_sample(l, x, c->length);
		if (all_finite(x, c->length))
			observe_clean(l, x, c->length);
		else
			observe_mixed(l, x, c->length);
		l->rows++;
	}
	return true;
}

/* Median and interquartile range of an element, from the sample. */
static void
robust_scale(const vector *l, int j, int length, double *work, double *center,
			 double *range)
{
	int n = 0;

	for (int i = 0; i < l->nsample; i++)
	{
		float v = l->sample[(size_t) i * length + j];

		if (fabsf(v) <= FLT_MAX)
			work[n++] = v;
	}
	*range = 0;
	if (n == 0)
		return;
	*range = nn_quantile(work, n, 0.75);
	*range -= nn_quantile(work, n, 0.25);
	*center = nn_quantile(work, n, 0.5);
	if (*range == 0)
		*range = ((double) l->max[j] - l->min[j]) / 2;
}

/* Mean and standard deviation of all elements together. */
static void
take_moments(nn_column *c, const vector *l)
{
	double count = 0, mean = 0, m2 = 0;

	c->nulls = l->nulls;
	c->infinite = l->infinite;
	for (int j = 0; j < c->length; j++)
	{
		double n = (double) (l->rows - l->missing[j]);
		double d, own;

		if (n == 0)
			continue;
		own = l->shift[j] + l->sum[j] / n;
		d = own - mean;
		mean += d * (n / (count + n));
		m2 += fmax(l->square[j] - l->sum[j] * (l->sum[j] / n), 0) +
			  d * d * (count * n / (count + n));
		if (count == 0 || l->min[j] < c->min)
			c->min = l->min[j];
		if (count == 0 || l->max[j] > c->max)
			c->max = l->max[j];
		count += n;
	}
	c->mean = mean;
	c->stddev = count > 0 ? sqrt(m2 / count) : 0;
}

static bool
vector_finish(nn_column *c, nn_arena *arena, nn_error *err)
{
	const vector_conf *conf = c->conf;
	vector *l = c->learned;
	bool varies = false;
	double *work = nn_alloc_array(arena, l->nsample + 1, sizeof(*work), err);

	if (work == NULL)
		return false;
	take_moments(c, l);
	for (int j = 0; j < c->length; j++)
	{
		double n = (double) (l->rows - l->missing[j]);
		double center = 0, range = 1;
		float factor;

		if (n == 0 || !(l->min[j] < l->max[j]))
		{
			l->min[j] = l->max[j] = 0;
			continue;
		}
		varies = true;
		if (conf->scale == SCALE_GLOBAL)
		{
			center = c->mean;
			range = c->stddev;
		}
		else if (conf->scale == SCALE_STANDARD)
		{
			center = l->shift[j] + l->sum[j] / n;
			range =
				sqrt(fmax(l->square[j] - l->sum[j] * (l->sum[j] / n), 0) / n);
		}
		else if (conf->scale == SCALE_ROBUST)
			robust_scale(l, j, c->length, work, &center, &range);
		factor = (float) (1 / range);
		l->center[j] = (float) center;
		l->factor[j] = factor <= FLT_MAX ? factor : 0;
	}
	if (varies)
		c->width[NN_SECTION_NUMBER] = c->length;
	c->width[NN_SECTION_FLAG] = l->nulls > 0 && l->nulls < c->rows;
	if (!varies && c->width[NN_SECTION_FLAG] == 0)
		c->dropped =
			l->nulls == c->rows ? nn_dropped_null : nn_dropped_constant;
	return true;
}

static void
encode_row(const vector *l, const float *x, int length, double clip,
		   nn_real *out)
{
	const nn_real inverse = clip > 0 ? (nn_real) (1 / clip) : 0;
	const nn_real limit = (nn_real) NN_ENCODED_LIMIT;

	if (isnan(x[0]))
	{
		memset(out, 0, length * sizeof(*out));
		return;
	}
	for (int j = 0; j < length; j++)
	{
		float v = x[j] < -FLT_MAX ? l->min[j] : x[j];
		nn_real z;

		v = v > FLT_MAX ? l->max[j] : v;
		z = ((nn_real) v - l->center[j]) * l->factor[j];
		z = z < -limit ? -limit : z;
		z = z > limit ? limit : z;
		out[j] = z == z ? z : 0;
	}
	if (inverse > 0)
		for (int j = 0; j < length; j++)
			out[j] = nn_soft_clip(out[j], inverse);
}

static void
vector_encode(const nn_column *c, const char *base, size_t stride, int n,
			  nn_real *out, size_t out_stride)
{
	const vector_conf *conf = c->conf;
	const vector *l = c->learned;

	if (c->width[NN_SECTION_NUMBER] != 0)
		for (int i = 0; i < n; i++)
			encode_row(l, (const float *) (base + i * stride), c->length,
					   conf->clip,
					   out + i * out_stride + c->at[NN_SECTION_NUMBER]);
	if (c->width[NN_SECTION_FLAG] != 0)
		nn_encode_nulls(NN_SLOT_REAL32, base, stride, n,
						out + c->at[NN_SECTION_FLAG], out_stride);
}

static bool
vector_save(const nn_column *c, nn_writer *w, nn_error *err)
{
	const vector *l = c->learned;
	int length = c->width[NN_SECTION_NUMBER];

	if (!nn_write_u8(w, length > 0, err) ||
		!nn_write_u8(w, c->width[NN_SECTION_FLAG], err))
		return false;
	return nn_write_floats(w, l->center, length, err) &&
		   nn_write_floats(w, l->factor, length, err) &&
		   nn_write_floats(w, l->min, length, err) &&
		   nn_write_floats(w, l->max, length, err);
}

static bool
vector_load(nn_column *c, nn_arena *arena, nn_reader *r, nn_error *err)
{
	vector *l = nn_alloc_small(arena, sizeof(*l), err);
	int number, length;

	if (l == NULL)
		return false;
	c->learned = l;
	if (!nn_read_bool(r, &number, err) ||
		!nn_read_bool(r, &c->width[NN_SECTION_FLAG], err))
		return false;
	length = number ? c->length : 0;
	if (r->left / (4 * sizeof(float)) < (size_t) length)
		return nn_fail(err, NN_CORRUPT, "scales of column \"%s\" are cut off",
					   c->name);
	c->width[NN_SECTION_NUMBER] = length;
	return alloc_scales(l, length, arena, err) &&
		   nn_read_floats(r, l->center, length, err) &&
		   nn_read_floats(r, l->factor, length, err) &&
		   nn_read_floats(r, l->min, length, err) &&
		   nn_read_floats(r, l->max, length, err);
}

static const char *const vector_examples[] = {
	"vector", "vector(scale = global)", "vector(scale = robust, clip = 3)",
	NULL};

const nn_encoder_ops nn_encoder_vector = {
	.named = {.name = "vector",
			  .summary = "An array of numbers, each element scaled.",
			  .conf_size = sizeof(vector_conf),
			  .options = vector_options,
			  .examples = vector_examples},
	.classes = 1 << NN_CLASS_VECTOR,
	.start = vector_start,
	.observe = vector_observe,
	.finish = vector_finish,
	.encode = vector_encode,
	.save = vector_save,
	.load = vector_load};
