/*
 * random.c
 *	  Counter-based random numbers.
 */
#include <math.h>

#include "random.h"

/* The finalizer of splitmix64 (Steele, Lea and Flood, OOPSLA 2014). */
static uint64_t
mix(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xBF58476D1CE4E5B9);
	x ^= x >> 27;
	x *= UINT64_C(0x94D049BB133111EB);
	return x ^ x >> 31;
}

nn_key
nn_random_key(uint64_t seed, uint32_t stream, uint64_t step)
{
	const uint64_t odd = UINT64_C(0x9E3779B97F4A7C15);
	uint64_t x = mix(seed + odd);

	x = mix(x + odd + stream);
	x = mix(x + odd + step);
	return (nn_key){(uint32_t) (x >> 32)};
}

double
nn_random_normal(nn_key key, uint64_t counter)
{
	/* 1 - u is in (0, 1], so the logarithm is finite */
	double u = 1 - nn_random_uniform(key, 2 * counter),
		   v = nn_random_uniform(key, 2 * counter + 1);

	return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

nn_order
nn_random_order(nn_key key, uint32_t n)
{
	uint32_t columns = (uint32_t) ceil(sqrt(n)), rows = 0;

	if (columns > 0)
		rows = n / columns + (n % columns != 0);
	return (nn_order){key, n, rows, columns};
}

void
nn_random_permutation(nn_key key, uint32_t *order, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
	{
		uint32_t j = nn_random_below(key, i, i + 1);

		order[i] = order[j];
		order[j] = i;
	}
}
