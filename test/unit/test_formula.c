/* builds: float asan */
/*
 * test_formula.c
 *	  The formulas in single precision, against libm in double.
 */
#include "check.h"
#include "formula.h"

/* Every STEPth of all 2^32 bit patterns: all exponents, NaNs, denormals. */
#define STEP 1999

static double
sigmoid(double x)
{
	return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x));
}

static double
softplus(double x)
{
	return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}

/* One polynomial over its whole range: relative error, or absolute where the
 * result is denormal. */
static void
sweep(const char *name, float (*got)(float), double (*want)(double),
	  float least, double limit)
{
	double worst = 0;
	float at = 0;
	long wrong = 0;

	for (uint64_t bits = 0; bits < UINT64_C(1) << 32; bits += STEP)
	{
		float x = nn_bits_float((uint32_t) bits);
		float y = got(x);
		double e = want(x), error;

		if (x < least)
			continue;
		if (isnan(e) || isinf((float) e))
		{
			/* just below the overflow, rounding may reach infinity */
			if (!(isnan(e) ? isnan(y) : (float) e == y) &&
				!(fabs(e) < 1.0001 * FLT_MAX && fabs(y) > 0.999 * FLT_MAX))
				wrong++, at = x;
			continue;
		}
		if (isinf(y) && fabs(e) > 0.9999999 * FLT_MAX)
			continue;
		error = fabs(y - e) / fmax(fabs(e), FLT_MIN);
		if (!(error <= worst))
		{
			worst = isnan(error) ? INFINITY : error;
			at = x;
		}
	}
	check(wrong == 0 && worst <= limit,
		  "%s: relative error %.3g at %g, %ld wrong specials", name, worst,
		  (double) at, wrong);
}

#define FLOAT_FUNCTION(name)                                                   \
	static float f_##name(float x)                                             \
	{                                                                          \
		return nn_##name(x);                                                   \
	}
FLOAT_FUNCTION(exp)
FLOAT_FUNCTION(log)
FLOAT_FUNCTION(log1p)
FLOAT_FUNCTION(expm1)
FLOAT_FUNCTION(tanh)
FLOAT_FUNCTION(erf)
FLOAT_FUNCTION(softplus)
FLOAT_FUNCTION(sigmoid)

static double
function(nn_function f, double a, double x)
{
	const double alpha = 1.6732632423543772848, scale = 1.0507009873554804934;

	switch (f)
	{
		case NN_RELU:
			return fmax(x, 0);
		case NN_LEAKY_RELU:
			return x > 0 ? x : a * x;
		case NN_ELU:
			return x > 0 ? x : a * expm1(x);
		case NN_SELU:
			return scale * (x > 0 ? x : alpha * expm1(x));
		case NN_SIGMOID:
			return sigmoid(x);
		case NN_TANH:
			return tanh(x);
		case NN_SOFTPLUS:
			return softplus(x);
		case NN_SOFTSIGN:
			return x / (1 + fabs(x));
		case NN_EXPONENTIAL:
			return exp(x);
		case NN_HARD_SIGMOID:
			return fmin(fmax(x / 6 + 0.5, 0), 1);
		case NN_GELU:
			return 0.5 * x * erfc(-x / sqrt(2));
		case NN_SILU:
			return x * sigmoid(x);
		case NN_MISH:
			return x * tanh(softplus(x));
		default:
			return x;
	}
}

/* Value and slope between -20 and 20; the slope by a central difference. */
static void
functions(void)
{
	for (int f = 0; f < NN_FUNCTIONS; f++)
	{
		const float a = 0.3f;
		double value = 0, slope = 0;

		for (int i = 0; i < 40001; i++)
		{
			float x = (float) (i - 20000) / 1000 + 1e-4f;
			float y = nn_function_value(f, a, x);
			float s =
				nn_function_slope(f, a, nn_function_needs_input(f) ? x : NAN,
								  nn_function_needs_input(f) ? NAN : y);
			double want = function(f, a, x), h = 1e-5, difference;

			difference =
				(function(f, a, x + h) - function(f, a, x - h)) / (2 * h);
			value = fmax(value, fabs(y - want) / (1 + fabs(want)));
			slope = fmax(slope, fabs(s - difference) / (1 + fabs(difference)));
			if (isnan(y) || isnan(s))
				value = INFINITY;
		}
		check(value < 4e-7 && slope < 1e-6,
			  "function %d: value off by %.3g, slope by %.3g", f, value, slope);
		check(isnan(nn_function_value(f, a, NAN)), "function %d keeps NaN", f);
		check(isfinite(nn_function_value(f, a, -FLT_MAX)) || f == NN_LINEAR ||
				  f == NN_LEAKY_RELU,
			  "function %d of the least number", f);
	}
}

static double
loss(nn_loss_kind kind, double p0, double p1, double x, double y)
{
	double d = x - y, t = fabs(d), p = sigmoid(x), pt, bce;

	switch (kind)
	{
		case NN_LOSS_MSE:
			return d * d;
		case NN_LOSS_MAE:
			return t;
		case NN_LOSS_HUBER:
			return t <= p0 ? 0.5 * d * d : p0 * (t - 0.5 * p0);
		case NN_LOSS_LOG_COSH:
			return log(cosh(d));
		case NN_LOSS_POISSON:
			return exp(x) - y * x;
		case NN_LOSS_QUANTILE:
			return fmax(p0 * (y - x), (p0 - 1) * (y - x));
		case NN_LOSS_BINARY:
			y = y * (1 - p0) + 0.5 * p0;
			return -y * log(p) - (1 - y) * log(sigmoid(-x));
		default:
			pt = y * p + (1 - y) * (1 - p);
			bce = -y * log(p) - (1 - y) * log(sigmoid(-x));
			return (p1 < 0 ? 1 : y * p1 + (1 - y) * (1 - p1)) *
				   pow(1 - pt, p0) * bce;
	}
}

static void
losses(void)
{
	static const struct
	{
		nn_loss_kind kind;
		double p0, p1;
	} kinds[] = {{NN_LOSS_MSE, 0, 0},
				 {NN_LOSS_MAE, 0, 0},
				 {NN_LOSS_HUBER, 0.7, 0},
				 {NN_LOSS_LOG_COSH, 0, 0},
				 {NN_LOSS_POISSON, 0, 0},
				 {NN_LOSS_QUANTILE, 0.9, 0},
				 {NN_LOSS_BINARY, 0, 0},
				 {NN_LOSS_BINARY, 0.2, 0},
				 {NN_LOSS_BINARY_FOCAL, 2, -1},
				 {NN_LOSS_BINARY_FOCAL, 0, 0.25},
				 {NN_LOSS_BINARY_FOCAL, 1.5, 0.25}};

	for (size_t c = 0; c < sizeof(kinds) / sizeof(kinds[0]); c++)
	{
		double value = 0, slope = 0;

		for (int i = 0; i < 4001; i++)
		{
			float x = (float) (i - 2000) / 250 + 1e-4f;
			float y = (float) (i % 5) / 4, s, v;
			double p0 = kinds[c].p0, p1 = kinds[c].p1, h = 1e-5, want,
				   difference;

			v = nn_loss_formula(kinds[c].kind, (float) p0, (float) p1, x, y,
								&s);
			want = loss(kinds[c].kind, p0, p1, x, y);
			difference = (loss(kinds[c].kind, p0, p1, x + h, y) -
						  loss(kinds[c].kind, p0, p1, x - h, y)) /
						 (2 * h);
			value = fmax(value, fabs(v - want) / (1 + fabs(want)));
			slope = fmax(slope, fabs(s - difference) / (1 + fabs(difference)));
		}
		check(value < 1e-6 && slope < 3e-6,
			  "loss %d (%g, %g): value off by %.3g, slope by %.3g",
			  kinds[c].kind, kinds[c].p0, kinds[c].p1, value, slope);
	}

	/* far out, the losses of logits stay finite where they are finite */
	for (int sign = -1; sign <= 1; sign += 2)
	{
		float s, v;

		v = nn_loss_formula(NN_LOSS_BINARY, 0, 0, sign * 1e4f, sign > 0, &s);
		check(v == 0 && s == 0, "binary loss of a certain, right answer");
		v = nn_loss_formula(NN_LOSS_BINARY_FOCAL, 2, 0.25f, sign * 1e4f,
							sign > 0, &s);
		check(v == 0 && s == 0, "focal loss of a certain, right answer");
		v = nn_loss_formula(NN_LOSS_BINARY, 0, 0, sign * 1e4f, sign < 0, &s);
		check(v == 1e4f && s == sign, "binary loss of a certain, wrong answer");
	}
}

int
main(void)
{
	sweep("exp", f_exp, exp, -INFINITY, 1.2e-7);
	sweep("log", f_log, log, -INFINITY, 1.5e-7);
	sweep("log1p", f_log1p, log1p, -0.5f, 2.5e-7);
	sweep("expm1", f_expm1, expm1, -INFINITY, 4e-7);
	sweep("tanh", f_tanh, tanh, -INFINITY, 2e-7);
	sweep("erf", f_erf, erf, -INFINITY, 2e-7);
	sweep("softplus", f_softplus, softplus, -INFINITY, 3e-7);
	sweep("sigmoid", f_sigmoid, sigmoid, -80, 3e-7);
	functions();
	losses();
	return check_failed;
}
