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
 * drop[i]: whether the uniform number of element first + i is below limit /
 * 2^53.  This is nn_random_bits in words of 32 bits, of which a vector has
 * twice as many; the upper half of the counter is the same for all.
 */
static void
draw(nn_key key, uint64_t first, int n, uint64_t limit, uint32_t *drop)
{
	uint32_t begin = (uint32_t) first, top = (uint32_t) (first >> 32);
	uint32_t high = (uint32_t) (limit >> 21), low = limit & 0x1fffff;

	if (begin > UINT32_MAX - (uint32_t) n)
	{
		for (int i = 0; i < n; i++)
			drop[i] = (nn_random_bits(key, first + i) >> 11) < limit;
		return;
	}
	for (int i = 0; i < n; i++)
	{
		uint32_t lo = begin + (uint32_t) i, hi = top, k = key.word;

		for (int round = 0; round < 10; round++)
		{
			uint32_t upper = (uint32_t) (((uint64_t) 0xD256D193u * lo) >> 32);

			hi ^= upper ^ k;
			k += 0x9E3779B9u;
			upper = lo;
			lo = hi;
			hi = 0xD256D193u * upper;
		}
		drop[i] = (hi < high) | ((hi == high) & (lo >> 11 < low));
	}
}

/* An element is kept where its uniform number is at least rate. */
static void
k_dropout(nn_device *d, size_t n, double rate, nn_key key, uint64_t first,
		  const nn_real *x, nn_real beta, nn_real *y)
{
	uint64_t limit = (uint64_t) ceil(rate * 0x1p53);
	nn_real scale = (nn_real) (1 / (1 - rate));
	uint32_t drop[256];

	(void) d;
	for (size_t done = 0; done < n; done += 256)
	{
		int count = n - done < 256 ? (int) (n - done) : 256;
		const nn_real *from = x + done;
		nn_real *to = y + done;

		draw(key, first + done, count, limit, drop);
		if (beta == 0)
		{
			NN_ELEMENTWISE
			for (int i = 0; i < count; i++)
				to[i] = drop[i] ? 0 : scale * from[i];
		}
		else
		{
			NN_ELEMENTWISE
			for (int i = 0; i < count; i++)
				to[i] = (drop[i] ? 0 : scale * from[i]) + beta * to[i];
		}
	}
}

#endif /* NN_KERNEL_MAP_H */
