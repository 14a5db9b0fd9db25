/*
 * encode_scale.h
 *	  What encoders of numbers share: learning a distribution, scaling by it.
 *
 * Mean and variance are exact and numerically stable: values are collected in
 * blocks of a fixed size, each block is reduced around its own mean, and the
 * blocks are combined (Chan, Golub and LeVeque, "Algorithms for computing the
 * sample variance", 1983).  The result depends on the order of the values but
 * not on how a caller cuts them into calls.
 *
 * Quantiles come from every k-th value; k doubles whenever the sample is
 * full.  They are exact while all values fit, and need no random numbers.
 */
#ifndef NN_ENCODE_SCALE_H
#define NN_ENCODE_SCALE_H

#include "encode.h"

#include <float.h>
#include <math.h>

#define NN_MOMENTS_BLOCK 128

/*
 * For loops over all cells of the training data: compiled for several levels,
 * of which the loader takes the best that the processor has.  The bits are the
 * same on all of them, as nothing is contracted or reordered.
 */
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) &&      \
	!defined(__clang__)
#define NN_ANY_LEVEL                                                           \
	__attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define NN_ANY_LEVEL
#endif

/* Encoded numbers are kept within this, so that no product of them with a
 * weight of sane size overflows. */
#define NN_ENCODED_LIMIT 1e18

/* Most values of a column that are kept for its quantiles. */
#define NN_MAX_SAMPLE 65536

typedef enum nn_scaling
{
	NN_SCALING_STANDARD,
	NN_SCALING_ROBUST,
	NN_SCALING_MIN_MAX,
	NN_SCALING_NONE
} nn_scaling;

typedef struct nn_moments
{
	int64_t count; /* finite values that are in mean and m2 */
	int64_t nulls, infinite;
	double mean, m2; /* m2: sum of squares around the mean */
	double min, max;

	int pending; /* values of the block that is not yet full */
	double block[NN_MOMENTS_BLOCK];

	double *sample; /* NULL where no quantiles are wanted */
	int nsample, sample_room, sample_limit;
	int64_t sample_step, sample_next; /* take values at these positions */
} nn_moments;

extern bool nn_moments_start(nn_moments *m, nn_arena *arena, int sample,
							 nn_error *err);
extern bool nn_moments_add(nn_moments *m, nn_arena *arena, const char *base,
						   size_t stride, nn_slot_kind slot, int n,
						   const uint8_t *use, nn_error *err);
/*
 * Add n finite values at once, of which mean, sum of squares around it, least
 * and greatest are known (Chan, Golub and LeVeque, 1979, "Updating formulae
 * and a pairwise algorithm for computing sample variances").  Not where a
 * sample is kept.
 */
extern void nn_moments_merge(nn_moments *m, int n, double mean, double m2,
							 double min, double max);
/* After the last value: the block is reduced, the sample is complete. */
extern bool nn_moments_finish(nn_moments *m, nn_arena *arena, nn_error *err);
extern double nn_moments_stddev(const nn_moments *m);

/* The q-quantile by linear interpolation.  Reorders x.  n > 0. */
extern double nn_quantile(double *x, int n, double q);

typedef struct nn_scale
{
	double center, factor; /* encoded = (value - center) * factor */
	double min, max;	   /* range of the training rows, for infinities */
} nn_scale;

/* False when the values do not vary, or too little to be told apart. */
extern bool nn_scale_learn(nn_scale *s, nn_scaling kind, nn_moments *m);

/* Smooth limit of a robustly scaled number: into -limit .. limit. */
static inline nn_real
nn_soft_clip(nn_real x, nn_real inverse_limit)
{
	nn_real t = x * inverse_limit;

#ifdef NN_REAL_IS_DOUBLE
	return x / sqrt(1 + t * t);
#else
	return x / sqrtf(1 + t * t);
#endif
}

/* Before the clip. */
static inline nn_real
nn_scale_finite(double v, double center, double factor)
{
	double z = (v - center) * factor;

	z = z < -NN_ENCODED_LIMIT ? -NN_ENCODED_LIMIT : z;
	z = z > NN_ENCODED_LIMIT ? NN_ENCODED_LIMIT : z;
	return (nn_real) z;
}

/* The same for what may be an infinity, but not NaN. */
static inline nn_real
nn_scale_value(const nn_scale *s, double v)
{
	if (!(fabs(v) <= DBL_MAX))
		v = v < 0 ? s->min : s->max;
	return nn_scale_finite(v, s->center, s->factor);
}

static inline double
nn_slot_number(const char *slot, nn_slot_kind kind)
{
	return kind == NN_SLOT_REAL32 ? *(const float *) slot
								  : *(const double *) slot;
}

/* Stored form of a scale; load refuses what learn cannot produce. */
extern bool nn_scale_save(const nn_scale *s, nn_writer *w, nn_error *err);
extern bool nn_scale_load(nn_scale *s, nn_reader *r, nn_error *err);

#endif /* NN_ENCODE_SCALE_H */
