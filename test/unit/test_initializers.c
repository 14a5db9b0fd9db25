/* builds: float */
/*
 * test_initializers.c
 *	  Random numbers, and the distributions of first values.
 *
 * Expected moments are those of the formulas in Keras' documentation.
 */
#include <limits.h>

#include "device.h"
#include "layer.h"

#include "check.h"

#define IN	300
#define OUT 200

#define MOST_ORDERED 2000

static nn_real numbers[IN * OUT];

/* How often it was asked whether to stop, and from which time on it is yes. */
static int asked, stop_at = INT_MAX;

static bool
stop(void)
{
	return ++asked >= stop_at;
}

static bool
fill(const char *text, int in, int out, uint64_t seed, nn_error *err)
{
	nn_arena *arena = nn_arena_create(&check_heap, err);
	nn_param p = {.name = "kernel",
				  .shape = {2, {in, out}},
				  .fan_in = in,
				  .fan_out = out,
				  .stop = stop};
	bool ok;

	p.init = nn_text_parse_item(arena, text, err);
	ok = p.init != NULL &&
		 nn_initialize(arena, &p, nn_random_key(seed, NN_STREAM_INIT, 0),
					   numbers, err);
	nn_arena_destroy(arena);
	return ok;
}

/* bound: no number is greater, and some come near; 0: not looked at */
static void
check_moments(const char *text, double mean, double stddev, double bound)
{
	nn_error err = {NN_OK};
	double n = IN * OUT, sum = 0, squares = 0, greatest = 0;

	if (!fill(text, IN, OUT, 1, &err))
	{
		check(false, "%s: %s", text, err.message);
		return;
	}
	for (int i = 0; i < IN * OUT; i++)
	{
		sum += numbers[i];
		squares += (numbers[i] - mean) * (numbers[i] - mean);
		greatest = fmax(greatest, fabs(numbers[i] - mean));
	}
	/* five standard errors */
	check(fabs(sum / n - mean) <= 5 * stddev / sqrt(n) &&
			  fabs(sqrt(squares / n) - stddev) <= 5 * stddev / sqrt(2 * n) &&
			  (bound == 0 ||
			   (greatest <= bound * 1.00001 && greatest > 0.99 * bound)),
		  "%s: mean %.5f, standard deviation %.5f (%.5f), greatest %.5f (%.5f)",
		  text, sum / n, sqrt(squares / n), stddev, greatest, bound);
}

static void
check_all_moments(void)
{
	double glorot = sqrt(2.0 / (IN + OUT)), he = sqrt(2.0 / IN),
		   lecun = sqrt(1.0 / IN), cut = 2 / 0.87962566103423978;

	check_moments("glorot_uniform", 0, glorot, glorot * sqrt(3));
	check_moments("xavier_uniform_", 0, glorot, glorot * sqrt(3));
	check_moments("GlorotNormal", 0, glorot, glorot * cut);
	check_moments("he_uniform", 0, he, he * sqrt(3));
	check_moments("kaiming_normal_", 0, he, he * cut);
	check_moments("lecun_uniform", 0, lecun, lecun * sqrt(3));
	check_moments("lecun_normal", 0, lecun, lecun * cut);
	check_moments("random_normal(1, 0.5)", 1, 0.5, 0);
	check_moments("random_normal", 0, 0.05, 0);
	check_moments("random_uniform(-1, 3)", 1, 4 / sqrt(12), 2);
	check_moments("truncated_normal(2, 0.5)", 2, 0.5 * 0.87962566, 1);
	check_moments("variance_scaling(3, fan_out, uniform)", 0, sqrt(3.0 / OUT),
				  sqrt(9.0 / OUT));
	check_moments("variance_scaling(2, fan_avg, untruncated_normal)", 0,
				  sqrt(4.0 / (IN + OUT)), 0);
	check_moments("zeros", 0, 0, 0);
	check_moments("ones", 1, 0, 0);
	check_moments("constant(-0.25)", -0.25, 0, 0);
}

static void
check_orthogonal(int rows, int columns)
{
	nn_error err = {NN_OK};
	int n = rows < columns ? rows : columns;
	double worst = 0;
	bool ok = fill("orthogonal(2)", rows, columns, 3, &err);

	for (int i = 0; i < n; i++)
		for (int j = 0; j < n; j++)
		{
			double dot = 0;

			for (int k = 0; k < (rows < columns ? columns : rows); k++)
				dot +=
					rows < columns
						? numbers[i * columns + k] * numbers[j * columns + k]
						: numbers[k * columns + i] * numbers[k * columns + j];
			worst = fmax(worst, fabs(dot - (i == j ? 4 : 0)));
		}
	check(ok && worst < 1e-5, "orthogonal %d x %d: %g", rows, columns, worst);
}

static void
check_identity(void)
{
	nn_error err = {NN_OK};
	bool ok = fill("identity(3)", 4, 3, 0, &err);

	for (int i = 0; i < 12; i++)
		ok = ok && numbers[i] == (i / 3 == i % 3 ? 3 : 0);
	check(ok, "identity of 4 x 3");
}

static void
check_seeds(void)
{
	nn_error err = {NN_OK};
	nn_real first[8];

	fill("random_normal", 8, 1, 1, &err);
	memcpy(first, numbers, sizeof(first));
	fill("random_normal", 8, 1, 1, &err);
	check(memcmp(first, numbers, sizeof(first)) == 0, "repeatable");
	fill("random_normal", 8, 1, 2, &err);
	check(memcmp(first, numbers, sizeof(first)) != 0, "depends on the seed");
}

/* Pearson's statistic of counts of equal expectation. */
static double
chi_square(const int *count, int n, double expected)
{
	double sum = 0;

	for (int i = 0; i < n; i++)
		sum += (count[i] - expected) * (count[i] - expected) / expected;
	return sum;
}

static void
check_random(void)
{
	enum
	{
		BINS = 100,
		DRAWS = 200000
	};
	nn_key key = nn_random_key(1, NN_STREAM_SAMPLE, 0);
	int uniform[BINS] = {0}, below[7] = {0};
	double fourth = 0, u, z;

	for (int i = 0; i < DRAWS; i++)
	{
		u = nn_random_uniform(key, (uint64_t) i);
		uniform[(int) (u * BINS)]++;
		below[nn_random_below(key, (uint64_t) i, 7)]++;
		z = nn_random_normal(key, (uint64_t) i);
		fourth += z * z * z * z;
	}
	/* far beyond the 99.99 % points of 99 and 6 degrees of freedom */
	z = chi_square(uniform, BINS, (double) DRAWS / BINS);
	check(z > 40 && z < 165, "uniform numbers: chi-square %.1f", z);
	z = chi_square(below, 7, DRAWS / 7.0);
	check(z < 30, "whole numbers below 7: chi-square %.1f", z);
	check(fabs(fourth / DRAWS - 3) < 0.15, "fourth moment of normal: %.3f",
		  fourth / DRAWS);
	check(nn_random_key(1, 2, 3).word != nn_random_key(1, 3, 2).word &&
			  nn_random_key(0, 0, 0).word != nn_random_key(0, 0, 1).word &&
			  nn_random_key(1, 0, 0).word !=
				  nn_random_key(UINT64_C(1) << 32 | 1, 0, 0).word,
		  "keys depend on all of seed, stream and step");
}

static void
check_permutation(void)
{
	int count[24] = {0};
	uint32_t order[1000];
	bool seen[1000] = {false}, ok = true;

	for (uint64_t s = 0; s < 24000; s++)
	{
		nn_random_permutation(nn_random_key(9, NN_STREAM_SHUFFLE, s), order, 4);
		/* the number of the order among all 24 */
		count[order[0] * 6 + (order[1] - (order[1] > order[0])) * 2 +
			  (order[2] > order[3])]++;
	}
	check(chi_square(count, 24, 1000) < 70, "all orders of 4: chi-square %.1f",
		  chi_square(count, 24, 1000));
	nn_random_permutation(nn_random_key(1, NN_STREAM_SHUFFLE, 0), order, 1000);
	for (int i = 0; i < 1000; i++)
	{
		ok = ok && order[i] < 1000 && !seen[order[i]];
		if (order[i] < 1000)
			seen[order[i]] = true;
	}
	check(ok, "a permutation of 1000");
	nn_random_permutation(nn_random_key(1, NN_STREAM_SHUFFLE, 0), order, 0);
}

/* Whether every number is there once, and alone what it is among others. */
static bool
is_order(uint32_t n, uint64_t seed)
{
	const nn_order o =
		nn_random_order(nn_random_key(seed, NN_STREAM_SHUFFLE, 0), n);
	bool seen[MOST_ORDERED] = {false}, ok = true;
	uint32_t index[MOST_ORDERED];

	nn_cpu_ops(-1)->places(NULL, &(nn_rows){o, 0}, (int) n, index);
	for (uint32_t i = 0; i < n && ok; i++)
	{
		ok = index[i] < n && !seen[index[i]] && index[i] == nn_order_at(&o, i);
		seen[ok ? index[i] : 0] = true;
	}
	return ok;
}

static void
check_order(void)
{
	int all[120] = {0}, neighbours[100] = {0}, first[100] = {0};
	const int draws = 20000;
	bool ok = true;

	for (uint32_t n = 0; n <= MOST_ORDERED && ok; n += n < 300 ? 1 : 97)
		ok = is_order(n, n);
	check(ok, "orders of up to %d numbers", MOST_ORDERED);
	for (uint64_t s = 0; s < 120000; s++)
	{
		const nn_order o =
			nn_random_order(nn_random_key(9, NN_STREAM_SHUFFLE, s), 5);
		uint32_t x[5];
		int code = 0;

		for (uint32_t i = 0; i < 5; i++)
			x[i] = nn_order_at(&o, i);
		/* the number of the order among all 120 */
		for (int i = 0; i < 5; i++)
		{
			int less = 0;

			for (int j = i + 1; j < 5; j++)
				less += x[j] < x[i];
			code = code * (5 - i) + less;
		}
		all[code]++;
	}
	check(chi_square(all, 120, 1000) < 190, "all orders of 5: chi-square %.1f",
		  chi_square(all, 120, 1000));
	/* where the first number goes to, and how far off the second is */
	for (int s = 0; s < draws; s++)
	{
		const nn_order o = nn_random_order(
			nn_random_key(9, NN_STREAM_SHUFFLE, (uint64_t) s), 100);
		uint32_t a = nn_order_at(&o, 0), b = nn_order_at(&o, 1);

		first[a]++;
		neighbours[(b + 100 - a) % 100]++;
	}
	check(chi_square(first, 100, draws / 100.0) < 165, "places: %.1f",
		  chi_square(first, 100, draws / 100.0));
	check(neighbours[0] == 0 &&
			  chi_square(neighbours + 1, 99, draws / 99.0) < 165,
		  "neighbours: %.1f", chi_square(neighbours + 1, 99, draws / 99.0));
}

static void
check_errors(void)
{
	nn_error err = {NN_OK};
	nn_arena *arena = nn_arena_create(&check_heap, &err);
	nn_param p = {.name = "bias", .shape = {1, {3}}};
	nn_key key = {0};

	p.init = nn_text_parse_item(arena, "orthogonal", &err);
	check(!nn_initialize(arena, &p, key, numbers, &err) && err.code == NN_SHAPE,
		  "orthogonal of a vector: %s", err.message);
	p.init = nn_text_parse_item(arena, "identity", &err);
	check(!nn_initialize(arena, &p, key, numbers, &err) && err.code == NN_SHAPE,
		  "identity of a vector: %s", err.message);
	p.shape = (nn_shape){2, {4096, 4096}};
	p.init = nn_text_parse_item(arena, "orthogonal", &err);
	check(!nn_initialize(arena, &p, key, numbers, &err) && err.code == NN_LIMIT,
		  "orthogonal of 4096 x 4096: %s", err.message);
	p.init = nn_text_parse_item(arena, "random_normal(stddev = -1)", &err);
	check(!nn_initialize(arena, &p, key, numbers, &err) &&
			  err.code == NN_INVALID,
		  "negative standard deviation: %s", err.message);
	nn_arena_destroy(arena);
}

/* What takes seconds of a large matrix asks at every step. */
static void
check_stop(void)
{
	nn_error err = {NN_OK};

	asked = 0;
	stop_at = INT_MAX;
	check(fill("orthogonal", IN, OUT, 1, &err) && asked >= OUT,
		  "orthogonal has asked %d times whether to stop", asked);
	asked = 0;
	stop_at = 10;
	check(fill("orthogonal", IN, OUT, 1, &err) && asked == stop_at,
		  "orthogonal has asked %d times after it was told to stop",
		  asked - stop_at);
	stop_at = INT_MAX;
}

int
main(void)
{
	check_all_moments();
	check_orthogonal(40, 40);
	check_orthogonal(60, 20);
	check_orthogonal(20, 60);
	check_identity();
	check_seeds();
	check_random();
	check_permutation();
	check_order();
	check_errors();
	check_stop();
	for (int i = 0; nn_initializers[i] != NULL; i++)
		check(nn_initializer_names[i] != NULL &&
				  strcmp(nn_initializer_names[i],
						 nn_initializers[i]->named.name) == 0,
			  "%s is in the list of names", nn_initializers[i]->named.name);
	return check_failed;
}
