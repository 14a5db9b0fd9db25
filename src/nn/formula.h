/*
 * formula.h
 *	  The functions of one number and the losses, value and slope.
 *
 * These are the formulas that plain C, the SIMD levels and CUDA share.  They
 * have no branches and call no library, so that a compiler can turn a loop
 * over them into vector code; as no operation may be contracted or reordered
 * (-ffp-contract=off), a number comes out with the same bits from a vector,
 * from the scalar rest of a loop, and on every level.
 *
 * In single precision exp, log, tanh and erf are polynomials, good to about
 * 1e-7 relative.  Where nn_real is double they are libm's, because there the
 * point is to verify gradients, not to be fast.
 *
 * In the slopes x is the argument and y the value of the function.
 */
#ifndef NN_FORMULA_H
#define NN_FORMULA_H

#include <float.h>
#include <math.h>
#include <string.h>

#include "device.h"

#ifdef __CUDACC__
#define NN_FORMULA static __host__ __device__ __forceinline__
#else
#define NN_FORMULA static inline __attribute__((always_inline, unused))
#endif

#ifdef NN_REAL_IS_DOUBLE

#define NN_TINY DBL_MIN

NN_FORMULA nn_real
nn_exp(nn_real x)
{
	return exp(x);
}

NN_FORMULA nn_real
nn_log(nn_real x)
{
	return log(x);
}

NN_FORMULA nn_real
nn_log1p(nn_real x)
{
	return log1p(x);
}

NN_FORMULA nn_real
nn_expm1(nn_real x)
{
	return expm1(x);
}

NN_FORMULA nn_real
nn_tanh(nn_real x)
{
	return tanh(x);
}

NN_FORMULA nn_real
nn_erf(nn_real x)
{
	return erf(x);
}

NN_FORMULA nn_real
nn_sqrt(nn_real x)
{
	return sqrt(x);
}

NN_FORMULA nn_real
nn_abs(nn_real x)
{
	return fabs(x);
}

#else

#define NN_TINY FLT_MIN

NN_FORMULA uint32_t
nn_float_bits(float x)
{
	uint32_t u;

	memcpy(&u, &x, sizeof(u));
	return u;
}

NN_FORMULA float
nn_bits_float(uint32_t u)
{
	float x;

	memcpy(&x, &u, sizeof(x));
	return x;
}

NN_FORMULA float
nn_sqrt(float x)
{
	return sqrtf(x);
}

NN_FORMULA float
nn_abs(float x)
{
	return fabsf(x);
}

/*
 * Cephes' expf: x = n ln 2 + r, exp(x) = 2^n exp(r).  Adding 1.5 * 2^23 rounds
 * to a whole number, which is then in the low bits.  2^n is made of two
 * factors because n reaches from -150 (denormal results) to 128 (infinity).
 */
NN_FORMULA float
nn_exp(float x)
{
	const float shift = 12582912.0f;
	float t, r, p;
	uint32_t n, half;

	x = x > 89.0f ? 89.0f : x;
	x = x < -104.0f ? -104.0f : x;
	t = x * 1.44269504f + shift;
	n = nn_float_bits(t) - nn_float_bits(shift) + 1024;
	t = t - shift;
	r = x - t * 0.693359375f;
	r = r - t * -2.12194440e-4f;
	p = 1.9875691500e-4f;
	p = p * r + 1.3981999507e-3f;
	p = p * r + 8.3334519073e-3f;
	p = p * r + 4.1665795894e-2f;
	p = p * r + 1.6666665459e-1f;
	p = p * r + 5.0000001201e-1f;
	p = p * (r * r) + r + 1.0f;
	half = n >> 1;
	p = p * nn_bits_float((half - 512 + 127) << 23);
	return p * nn_bits_float((n - half - 512 + 127) << 23);
}

/*
 * Cephes' logf: x = 2^e (1 + f), with 1 + f between sqrt(1/2) and sqrt(2).
 * Denormals are scaled up first.
 */
NN_FORMULA float
nn_log(float x)
{
	float big = x < FLT_MIN ? x * 33554432.0f : x;
	float bias = x < FLT_MIN ? 25.0f : 0.0f;
	uint32_t u = nn_float_bits(big) - 0x3f3504f3;
	float e = (float) ((int32_t) u >> 23) - bias;
	float f = nn_bits_float((u & 0x007fffff) + 0x3f3504f3) - 1.0f;
	float f2 = f * f;
	float p = 7.0376836292e-2f;

	p = p * f - 1.1514610310e-1f;
	p = p * f + 1.1676998740e-1f;
	p = p * f - 1.2420140846e-1f;
	p = p * f + 1.4249322787e-1f;
	p = p * f - 1.6668057665e-1f;
	p = p * f + 2.0000714765e-1f;
	p = p * f - 2.4999993993e-1f;
	p = p * f + 3.3333331174e-1f;
	p = p * f * f2 + e * -2.12194440e-4f;
	p = p - 0.5f * f2 + f + e * 0.693359375f;
	p = x == 0.0f ? -INFINITY : p;
	p = x == INFINITY ? x : p;
	return x >= 0.0f ? p : NAN;
}

/*
 * For x >= -1/2.  Rounding 1 + x loses x - (u - 1), which is put back with the
 * slope of the logarithm (Kahan's correction).
 */
NN_FORMULA float
nn_log1p(float x)
{
	float u = 1.0f + x;
	float lost = (x - (u - 1.0f)) / u;

	return nn_log(u) + (x == INFINITY ? 0.0f : lost);
}

/* Cephes' tanhf: a polynomial near zero, by exp elsewhere. */
NN_FORMULA float
nn_tanh(float x)
{
	float t = nn_abs(x);
	float s = x * x;
	float p = -5.70498872745e-3f;
	float large = 1.0f - 2.0f / (nn_exp(2.0f * t) + 1.0f);

	p = p * s + 2.06390887954e-2f;
	p = p * s - 5.37397155531e-2f;
	p = p * s + 1.33314422036e-1f;
	p = p * s - 3.33332819422e-1f;
	p = p * s * x + x;
	large = x < 0.0f ? -large : large;
	return t < 0.625f ? p : large;
}

/*
 * exp(x) - 1: by exp(x) - 1 = tanh(x/2) (exp(x) + 1), which loses nothing near
 * zero.
 */
NN_FORMULA float
nn_expm1(float x)
{
	float e = nn_exp(x);
	float small = nn_tanh(0.5f * x) * (e + 1.0f);

	return nn_abs(x) < 0.5f ? small : e - 1.0f;
}

/*
 * erf: minimax polynomials, x + x P(x^2) near zero and 1 - exp(P(|x|))
 * elsewhere, where it is 1 from |x| = 4 on.
 */
NN_FORMULA float
nn_erf(float x)
{
	float t = nn_abs(x);
	float s = x * x;
	float p, q;

	p = -5.96761703e-4f;
	p = p * s + 4.99119423e-3f;
	p = p * s - 2.67681349e-2f;
	p = p * s + 1.12819925e-1f;
	p = p * s - 3.76125336e-1f;
	p = p * s + 1.28379166e-1f;
	p = p * x + x;

	t = t > 4.0f ? 4.0f : t;
	q = -1.72853470e-5f;
	q = q * t + 3.83197126e-4f;
	q = q * t - 3.88396438e-3f;
	q = q * t + 2.42546219e-2f;
	q = q * t - 1.06777877e-1f;
	q = q * t - 6.34846687e-1f;
	q = q * t - 1.28717512e-1f;
	q = q * t - t;
	q = 1.0f - nn_exp(q);
	q = x < 0.0f ? -q : q;
	return t > 0.927734375f ? q : p;
}

#endif /* NN_REAL_IS_DOUBLE */

/* The greater of the two; NaN when x is. */
NN_FORMULA nn_real
nn_at_least(nn_real x, nn_real least)
{
	return x < least ? least : x;
}

NN_FORMULA nn_real
nn_at_most(nn_real x, nn_real most)
{
	return x > most ? most : x;
}

NN_FORMULA nn_real
nn_sigmoid(nn_real x)
{
	return (nn_real) 1 / ((nn_real) 1 + nn_exp(-x));
}

/* log(1 + exp(x)) without overflow (Maechler, "Accurately computing
 * log(1 - exp(-|a|))", 2012, note 4). */
NN_FORMULA nn_real
nn_softplus(nn_real x)
{
	return nn_at_least(x, 0) + nn_log1p(nn_exp(-nn_abs(x)));
}

/*
 * --- functions ---
 */

/* Klambauer et al., "Self-normalizing neural networks", 2017 (arXiv
 * 1706.02515), equation 2. */
#define NN_SELU_ALPHA ((nn_real) 1.6732632423543772)
#define NN_SELU_SCALE ((nn_real) 1.0507009873554805)

/* Clevert et al., "Fast and accurate deep network learning by exponential
 * linear units", 2016 (arXiv 1511.07289), equation 15. */
NN_FORMULA nn_real
nn_elu(nn_real x, nn_real a)
{
	return x > 0 ? x : a * nn_expm1(nn_at_most(x, 0));
}

/* The distribution function of the standard normal. */
NN_FORMULA nn_real
nn_normal_cdf(nn_real x)
{
	return (nn_real) 0.5 +
		   (nn_real) 0.5 * nn_erf(x * (nn_real) 0.70710678118654752);
}

/*
 * Glorot et al. 2011 (relu); Maas et al. 2013 (leaky relu); Dugas et al. 2001
 * (softplus); Courbariaux et al. 2015, arXiv 1511.00363 (hard sigmoid, with
 * the slope 1/6 of Keras 3 and PyTorch); Hendrycks and Gimpel 2016, arXiv
 * 1606.08415, section 2 (gelu, silu); Misra 2019, arXiv 1908.08681, equation 1
 * (mish).  f should be a constant, so that the compiler leaves one formula.
 */
NN_FORMULA nn_real
nn_function_value(nn_function f, nn_real a, nn_real x)
{
	switch (f)
	{
		case NN_RELU:
			return nn_at_least(x, 0);
		case NN_LEAKY_RELU:
			return x > 0 ? x : a * x;
		case NN_ELU:
			return nn_elu(x, a);
		case NN_SELU:
			return NN_SELU_SCALE * nn_elu(x, NN_SELU_ALPHA);
		case NN_SIGMOID:
			return nn_sigmoid(x);
		case NN_TANH:
			return nn_tanh(x);
		case NN_SOFTPLUS:
			return nn_softplus(x);
		case NN_SOFTSIGN:
			return x / ((nn_real) 1 + nn_abs(x));
		case NN_EXPONENTIAL:
			return nn_exp(x);
		case NN_HARD_SIGMOID:
			return nn_at_most(nn_at_least(x / (nn_real) 6 + (nn_real) 0.5, 0),
							  1);
		case NN_GELU:
			return x * nn_normal_cdf(x);
		case NN_SILU:
			return x * nn_sigmoid(x);
		case NN_MISH:
			return x * nn_tanh(nn_softplus(x));
		case NN_LINEAR:
		case NN_FUNCTIONS:
			break;
	}
	return x;
}

/*
 * The slope.  x is looked at only where nn_function_needs_input(f) says so,
 * else everything follows from y.
 */
NN_FORMULA nn_real
nn_function_slope(nn_function f, nn_real a, nn_real x, nn_real y)
{
	const nn_real one = 1;

	switch (f)
	{
		case NN_RELU:
			return y > 0 ? one : 0;
		case NN_LEAKY_RELU:
			return y > 0 ? one : a;
		case NN_ELU:
			return y > 0 ? one : y + a;
		case NN_SELU:
			return y > 0 ? NN_SELU_SCALE : y + NN_SELU_SCALE * NN_SELU_ALPHA;
		case NN_SIGMOID:
			return y * (one - y);
		case NN_TANH:
			return one - y * y;
		case NN_SOFTPLUS:
			return -nn_expm1(-y);
		case NN_SOFTSIGN:
			return (one - nn_abs(y)) * (one - nn_abs(y));
		case NN_EXPONENTIAL:
			return y;
		case NN_HARD_SIGMOID:
			return y > 0 && y < one ? one / 6 : 0;
		case NN_GELU:
			return nn_normal_cdf(x) + x * (nn_real) 0.39894228040143268 *
										  nn_exp((nn_real) -0.5 * x * x);
		case NN_SILU:
		{
			nn_real s = nn_sigmoid(x);

			return s + x * s * (one - s);
		}
		case NN_MISH:
		{
			nn_real t = nn_tanh(nn_softplus(x));

			return t + x * (one - t * t) * nn_sigmoid(x);
		}
		case NN_LINEAR:
		case NN_FUNCTIONS:
			break;
	}
	return one;
}

/*
 * --- losses of one prediction x and target y ---
 *
 * Each stores the slope (by x) and returns the value.  The two categorical
 * losses look at a whole row and are written out in their kernel.
 */

/* a^g for 0 <= a <= 1, where a may have underflowed to zero */
NN_FORMULA nn_real
nn_power(nn_real a, nn_real g)
{
	return nn_exp(g * nn_log(nn_at_least(a, NN_TINY)));
}

/*
 * Cross entropy from logits.  y counts as (1 - s) y + s / 2 with label
 * smoothing s (Szegedy et al. 2016, arXiv 1512.00567, section 7).
 */
NN_FORMULA nn_real
nn_loss_binary(nn_real smoothing, nn_real x, nn_real y, nn_real *slope)
{
	y = y * ((nn_real) 1 - smoothing) + smoothing * (nn_real) 0.5;
	*slope = nn_sigmoid(x) - y;
	return nn_softplus(x) - x * y;
}

/*
 * Lin et al., "Focal loss for dense object detection", 2017 (arXiv
 * 1708.02002), equations 4 and 5; alpha < 0 is equation 4.  q is 1 - p_t.
 */
NN_FORMULA nn_real
nn_loss_focal(nn_real gamma, nn_real alpha, nn_real x, nn_real y,
			  nn_real *slope)
{
	const nn_real one = 1;
	nn_real p = nn_sigmoid(x), not_p = nn_sigmoid(-x);
	nn_real q = y * not_p + (one - y) * p;
	nn_real factor = nn_power(q, gamma);
	nn_real entropy = nn_softplus(x) - x * y;
	nn_real weight = alpha * y + (one - alpha) * (one - y);
	nn_real by_factor =
		gamma * factor / nn_at_least(q, NN_TINY) * (one - 2 * y) * p * not_p;

	weight = alpha < 0 ? one : weight;
	*slope = weight * (factor * (p - y) + by_factor * entropy);
	return weight * factor * entropy;
}

/* What a gradient is multiplied with, by its squared norm. */
NN_FORMULA double
nn_clip_scale(double squares, double most)
{
	double norm = sqrt(squares);

	return norm > most ? most / norm : 1;
}

/*
 * Huber 1964 (delta); log cosh as |d| + log(1 + exp(-2 |d|)) - log 2; Poisson
 * deviance up to a constant, of the logarithm of the rate; Koenker and Bassett
 * 1978 (quantile).  kind should be a constant.
 */
NN_FORMULA nn_real
nn_loss_formula(nn_loss_kind kind, nn_real p0, nn_real p1, nn_real x, nn_real y,
				nn_real *slope)
{
	nn_real d = x - y, t = nn_abs(d), rate;

	switch (kind)
	{
		case NN_LOSS_MSE:
			*slope = 2 * d;
			return d * d;
		case NN_LOSS_MAE:
			*slope = d > 0 ? (nn_real) 1 : (d < 0 ? (nn_real) -1 : 0 * d);
			return t;
		case NN_LOSS_HUBER:
			*slope = nn_at_most(nn_at_least(d, -p0), p0);
			return t <= p0 ? (nn_real) 0.5 * d * d
						   : p0 * (t - (nn_real) 0.5 * p0);
		case NN_LOSS_LOG_COSH:
			*slope = nn_tanh(d);
			return t + nn_log1p(nn_exp(-2 * t)) - (nn_real) 0.69314718055994531;
		case NN_LOSS_POISSON:
			rate = nn_exp(x);
			*slope = rate - y;
			return rate - y * x;
		case NN_LOSS_QUANTILE:
			*slope = d > 0 ? 1 - p0 : (d < 0 ? -p0 : 0 * d);
			return d > 0 ? (1 - p0) * d : -p0 * d;
		case NN_LOSS_BINARY:
			return nn_loss_binary(p0, x, y, slope);
		case NN_LOSS_BINARY_FOCAL:
			return nn_loss_focal(p0, p1, x, y, slope);
		case NN_LOSS_CATEGORICAL:
		case NN_LOSS_CATEGORICAL_FOCAL:
		case NN_LOSS_KINDS:
			break;
	}
	*slope = 0;
	return 0;
}

#endif /* NN_FORMULA_H */
