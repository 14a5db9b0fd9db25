/*
 * kernel_map.h
 *	  Elementwise kernels; see cpu_kernels.h.
 *
 * Sources and destinations may be the same, but do not otherwise overlap,
 * which NN_ELEMENTWISE tells the compiler.
 */
#ifndef NN_KERNEL_MAP_H
#define NN_KERNEL_MAP_H

#include "formula.h"

#ifdef __clang__
#pragma clang diagnostic ignored "-Wpass-failed" /* libm's calls, in double */
#define NN_ELEMENTWISE _Pragma("clang loop vectorize(assume_safety)")
#else
#define NN_ELEMENTWISE _Pragma("GCC ivdep")
#endif

/* One loop per function, so that each can become vector code. */
/* clang-format off */
#define EACH_FUNCTION(one)													\
	one(NN_LINEAR)															\
	one(NN_RELU)															\
	one(NN_LEAKY_RELU)														\
	one(NN_ELU)																\
	one(NN_SELU)															\
	one(NN_SIGMOID)															\
	one(NN_TANH)															\
	one(NN_SOFTPLUS)														\
	one(NN_SOFTSIGN)														\
	one(NN_EXPONENTIAL)														\
	one(NN_HARD_SIGMOID)													\
	one(NN_GELU)															\
	one(NN_SILU)															\
	one(NN_MISH)
/* clang-format on */

static void
apply_function(nn_function f, nn_real a, size_t n, const nn_real *x, nn_real *y)
{
#define ONE(F)                                                                 \
	case F:                                                                    \
		NN_ELEMENTWISE                                                         \
		for (size_t i = 0; i < n; i++)                                         \
			y[i] = nn_function_value(F, a, x[i]);                              \
		break;

	switch (f)
	{
		EACH_FUNCTION(ONE)
		case NN_FUNCTIONS:
			break;
	}
#undef ONE
}

/* dx = dy f' */
static void
apply_slope(nn_function f, nn_real a, size_t n, const nn_real *x,
			const nn_real *y, const nn_real *dy, nn_real *dx)
{
	/* the one that is not looked at need not exist */
	if (nn_function_needs_input(f))
		y = x;
	else
		x = y;

#define ONE(F)                                                                 \
	case F:                                                                    \
		NN_ELEMENTWISE                                                         \
		for (size_t i = 0; i < n; i++)                                         \
			dx[i] = dy[i] * nn_function_slope(F, a, x[i], y[i]);               \
		break;

	switch (f)
	{
		EACH_FUNCTION(ONE)
		case NN_FUNCTIONS:
			break;
	}
#undef ONE
}

static void
add_slope(nn_function f, nn_real a, size_t n, const nn_real *x,
		  const nn_real *y, const nn_real *dy, nn_real beta, nn_real *dx)
{
	nn_real part[256];

	for (size_t first = 0; first < n; first += 256)
	{
		size_t count = n - first < 256 ? n - first : 256;

		apply_slope(f, a, count, x ? x + first : NULL, y ? y + first : NULL,
					dy + first, part);
		NN_ELEMENTWISE
		for (size_t i = 0; i < count; i++)
			dx[first + i] = part[i] + beta * dx[first + i];
	}
}

static void
k_map(nn_device *d, nn_function f, double a, size_t n, const nn_real *x,
	  nn_real *y)
{
	(void) d;
	apply_function(f, (nn_real) a, n, x, y);
}

static void
k_map_slope(nn_device *d, nn_function f, double a, size_t n, const nn_real *x,
			const nn_real *y, const nn_real *dy, nn_real beta, nn_real *dx)
{
	(void) d;
	if (beta == 0)
		apply_slope(f, (nn_real) a, n, x, y, dy, dx);
	else
		add_slope(f, (nn_real) a, n, x, y, dy, beta, dx);
}

static void
k_axpby(nn_device *d, size_t n, nn_real alpha, const nn_real *x, nn_real beta,
		nn_real *y)
{
	(void) d;
	if (beta == 0)
	{
		NN_ELEMENTWISE
		for (size_t i = 0; i < n; i++)
			y[i] = alpha * x[i];
	}
	else
	{
		NN_ELEMENTWISE
		for (size_t i = 0; i < n; i++)
			y[i] = alpha * x[i] + beta * y[i];
	}
}

static void
k_multiply(nn_device *d, size_t n, const nn_real *a, const nn_real *b,
		   nn_real beta, nn_real *y)
{
	(void) d;
	if (beta == 0)
	{
		NN_ELEMENTWISE
		for (size_t i = 0; i < n; i++)
			y[i] = a[i] * b[i];
	}
	else
	{
		NN_ELEMENTWISE
		for (size_t i = 0; i < n; i++)
			y[i] = a[i] * b[i] + beta * y[i];
	}
}

/*
 * An element is kept where its uniform number is at least rate; compared as
 * whole numbers, which gives the same answer and vector code.
 */
static void
k_dropout(nn_device *d, size_t n, double rate, nn_key key, uint64_t first,
		  const nn_real *x, nn_real beta, nn_real *y)
{
	uint64_t limit = (uint64_t) ceil(rate * 0x1p53);
	nn_real scale = (nn_real) (1 / (1 - rate));

	(void) d;
	if (beta == 0)
	{
		NN_ELEMENTWISE
		for (size_t i = 0; i < n; i++)
			y[i] = (nn_random_bits(key, first + i) >> 11) < limit
					   ? 0
					   : scale * x[i];
	}
	else
	{
		NN_ELEMENTWISE
		for (size_t i = 0; i < n; i++)
			y[i] = ((nn_random_bits(key, first + i) >> 11) < limit
						? 0
						: scale * x[i]) +
				   beta * y[i];
	}
}

#endif /* NN_KERNEL_MAP_H */
