/*
 * random.h
 *	  Counter-based random numbers.
 *
 * A number is a function of (seed, stream, counter) and of nothing else, so
 * the forward and the backward pass, every thread and every device agree on a
 * dropout mask without storing it, and a run can be repeated from any point.
 * The function is Philox 2x32-10 (Salmon et al., "Parallel random numbers: as
 * easy as 1, 2, 3", SC 2011), with the seed and the stream mixed to its key.
 */
#ifndef NN_RANDOM_H
#define NN_RANDOM_H

#include "nn.h"

/* Streams, so that no two uses of one seed share numbers. */
typedef enum nn_stream
{
	NN_STREAM_INIT = 1 << 24, /* + number of the parameter */
	NN_STREAM_SHUFFLE = 2 << 24,
	NN_STREAM_SPLIT = 3 << 24,
	NN_STREAM_SAMPLE = 4 << 24,
	NN_STREAM_MASK = 5 << 24 /* + number of the layer */
} nn_stream;

typedef struct nn_key
{
	uint32_t word;
} nn_key;

/* Mixes all of seed and stream (and step, for masks) into a key. */
extern nn_key nn_random_key(uint64_t seed, uint32_t stream, uint64_t step);

NN_INLINE uint64_t
nn_random_bits(nn_key key, uint64_t counter)
{
	uint32_t lo = (uint32_t) counter, hi = (uint32_t) (counter >> 32),
			 k = key.word;

	for (int round = 0; round < 10; round++)
	{
		uint64_t product = (uint64_t) 0xD256D193u * lo;

		lo = (uint32_t) (product >> 32) ^ k ^ hi;
		hi = (uint32_t) product;
		k += 0x9E3779B9u;
	}
	return (uint64_t) hi << 32 | lo;
}

/* Uniform in [0, 1). */
static inline double
nn_random_uniform(nn_key key, uint64_t counter)
{
	return (double) (nn_random_bits(key, counter) >> 11) * 0x1p-53;
}

/* Standard normal, by Box and Muller: one number from two uniforms. */
extern double nn_random_normal(nn_key key, uint64_t counter);

/* Uniform in 0 .. n-1, n at most 2^32. */
static inline uint32_t
nn_random_below(nn_key key, uint64_t counter, uint32_t n)
{
	return (uint32_t) (((nn_random_bits(key, counter) >> 32) * n) >> 32);
}

/* Put 0 .. n-1 into random order (Fisher and Yates). */
extern void nn_random_permutation(nn_key key, uint32_t *order, uint32_t n);

/*
 * The numbers 0 .. n-1 in random order, of which any can be asked for without
 * the others: so rows are shuffled where they are gathered, by many threads at
 * once.  A generalized Feistel cipher, whose results beyond n are put through
 * it again (Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA
 * 2002, section 5); the numbers are places of a table that is hardly larger
 * than n.  There are as many rounds as make all orders of a few numbers equally
 * likely, but for this: a cipher is an even permutation of most tables.
 *
 * columns 0: the numbers as they are.
 */
typedef struct nn_order
{
	nn_key key;
	uint32_t n; /* at most 2^31 */
	uint32_t rows, columns;
} nn_order;

#define NN_ORDER_ROUNDS 10

extern nn_order nn_random_order(nn_key key, uint32_t n);

/* x + a number of 0 .. n-1 that depends on word, modulo n; x is below n. */
NN_INLINE uint32_t
nn_order_turn(uint32_t x, uint32_t word, uint32_t n)
{
	uint32_t wrapped;

	word *= 0x7FEB352Du;
	word ^= word >> 15;
	word *= 0x846CA68Bu;
	x += (uint32_t) ((uint64_t) word * n >> 32);
	wrapped = x - n; /* of what is below n it is the greater */
	return x < wrapped ? x : wrapped;
}

/* Encipher count places of the table. */
NN_INLINE void
nn_order_encipher(const nn_order *o, int count, uint32_t *row, uint32_t *column)
{
	uint32_t key = o->key.word;

	for (int round = 0; round < NN_ORDER_ROUNDS; round++)
	{
		for (int i = 0; i < count; i++)
		{
			column[i] = nn_order_turn(column[i], row[i] + key, o->columns);
			row[i] =
				nn_order_turn(row[i], column[i] + key + 0x9E3779B9u, o->rows);
		}
		key += 2 * 0x9E3779B9u;
	}
}

/* The number at place i. */
NN_INLINE uint32_t
nn_order_at(const nn_order *o, uint32_t i)
{
	if (o->columns == 0)
		return i;
	do
	{
		uint32_t row = i / o->columns, column = i % o->columns;

		nn_order_encipher(o, 1, &row, &column);
		i = row * o->columns + column;
	} while (i >= o->n);
	return i;
}

#endif /* NN_RANDOM_H */
