/*
 * encode_scale.c
 *	  Moments, quantiles and scales of numbers.
 */
#include "encode_scale.h"

#include "random.h"

#include <string.h>

#define FIRST_SAMPLE 1024

bool
nn_moments_start(nn_moments *m, nn_arena *arena, int sample, nn_error *err)
{
	memset(m, 0, sizeof(*m));
	m->min = DBL_MAX;
	m->max = -DBL_MAX;
	m->sample_step = 1;
	m->sample_limit = sample;
	if (sample == 0)
		return true;
	m->sample_room = sample < FIRST_SAMPLE ? sample : FIRST_SAMPLE;
	m->sample = nn_alloc_array(arena, m->sample_room, sizeof(*m->sample), err);
	return m->sample != NULL;
}

/* Make room in a full sample: more memory, or half of the values. */
static bool
thin_sample(nn_moments *m, nn_arena *arena, nn_error *err)
{
	if (m->sample_room < m->sample_limit)
	{
		int room = 4 * m->sample_room;
		double *sample;

		if (room > m->sample_limit)
			room = m->sample_limit;
		sample = nn_alloc_array(arena, room, sizeof(*sample), err);
		if (sample == NULL)
			return false;
		memcpy(sample, m->sample, m->nsample * sizeof(*sample));
		m->sample = sample;
		m->sample_room = room;
		return true;
	}
	for (int i = 0; 2 * i < m->nsample; i++)
		m->sample[i] = m->sample[2 * i];
	m->nsample = (m->nsample + 1) / 2;
	m->sample_step *= 2;
	m->sample_next = m->nsample * m->sample_step;
	return true;
}

void
nn_moments_merge(nn_moments *m, int n, double mean, double m2, double min,
				 double max)
{
	double total = (double) m->count + n, delta = mean - m->mean;

	m->mean += delta * (n / total);
	m->m2 += m2 + delta * delta * ((double) m->count * n / total);
	m->count += n;
	m->min = min < m->min ? min : m->min;
	m->max = max > m->max ? max : m->max;
}

/* Reduce the pending block into the moments. */
static bool
flush(nn_moments *m, nn_arena *arena, nn_error *err)
{
	int n = m->pending;
	double *x = m->block;
	double sum[4] = {0}, square[4] = {0};
	double mean, m2;
	double lo = m->min, hi = m->max;
	int padded = (n + 3) & ~3;

	if (n == 0)
		return true;
	while (m->sample != NULL && m->sample_next < m->count + n)
	{
		if (m->nsample < m->sample_room)
		{
			m->sample[m->nsample++] = x[m->sample_next - m->count];
			m->sample_next += m->sample_step;
		}
		else if (!thin_sample(m, arena, err))
			return false;
	}

	/* four sums, so that additions need not wait for each other; a block
	 * that is not full is filled up with what adds nothing */
	for (int i = 0; i < n; i++)
	{
		lo = x[i] < lo ? x[i] : lo;
		hi = x[i] > hi ? x[i] : hi;
	}
	for (int i = n; i < padded; i++)
		x[i] = 0;
	for (int i = 0; i < padded; i += 4)
		for (int j = 0; j < 4; j++)
			sum[j] += x[i + j];
	mean = ((sum[0] + sum[1]) + (sum[2] + sum[3])) / n;
	for (int i = n; i < padded; i++)
		x[i] = mean;
	for (int i = 0; i < padded; i += 4)
		for (int j = 0; j < 4; j++)
			square[j] += (x[i + j] - mean) * (x[i + j] - mean);
	m2 = (square[0] + square[1]) + (square[2] + square[3]);

	nn_moments_merge(m, n, mean, m2, lo, hi);
	m->pending = 0;
	return true;
}

/*
 * The loop is written once per slot kind and mask, as the compiler must know
 * them to keep it short: it runs for every cell of the training data.
 */
#define ADD_VALUES(type, used)                                                 \
	for (int i = first; i < first + part; i++)                                 \
	{                                                                          \
		double v = *(const type *) (base + i * stride);                        \
		bool finite = fabs(v) <= DBL_MAX;                                      \
		bool counts = used;                                                    \
		m->block[k] = v;                                                       \
		k += counts & finite;                                                  \
		nulls += counts & (v != v);                                            \
		seen += counts;                                                        \
	}

bool
nn_moments_add(nn_moments *m, nn_arena *arena, const char *base, size_t stride,
			   nn_slot_kind slot, int n, const uint8_t *use, nn_error *err)
{
	int part;

	for (int first = 0; first < n; first += part)
	{
		int k = m->pending, nulls = 0, seen = 0;

		if (k == NN_MOMENTS_BLOCK)
		{
			if (!flush(m, arena, err))
				return false;
			k = 0;
		}
		part = n - first;
		if (part > NN_MOMENTS_BLOCK - k)
			part = NN_MOMENTS_BLOCK - k;
		if (slot == NN_SLOT_REAL32 && use == NULL)
			ADD_VALUES(float, true)
		else if (slot == NN_SLOT_REAL32)
			ADD_VALUES(float, use[i] != 0)
		else if (use == NULL)
			ADD_VALUES(double, true)
		else
			ADD_VALUES(double, use[i] != 0)
		m->nulls += nulls;
		m->infinite += seen - nulls - (k - m->pending);
		m->pending = k;
		if (k == NN_MOMENTS_BLOCK && !flush(m, arena, err))
			return false;
	}
	return true;
}

bool
nn_moments_finish(nn_moments *m, nn_arena *arena, nn_error *err)
{
	return flush(m, arena, err);
}

double
nn_moments_stddev(const nn_moments *m)
{
	return m->count > 0 ? sqrt(m->m2 / (double) m->count) : 0;
}

/*
 * Put the k-th smallest of x where it belongs, nothing greater before it and
 * nothing smaller after it.  Hoare's selection; the pivot's place is drawn by
 * counter, so that ordered data are not a bad case.
 */
static double
select_kth(double *x, int n, int k)
{
	nn_key key = nn_random_key(0, NN_STREAM_SAMPLE, 0);
	int lo = 0, hi = n - 1;

	while (lo < hi)
	{
		double pivot = x[lo + (int) nn_random_below(key, (uint64_t) lo + hi,
													(uint32_t) (hi - lo + 1))];
		int i = lo, j = hi;

		while (i <= j)
		{
			while (x[i] < pivot)
				i++;
			while (x[j] > pivot)
				j--;
			if (i <= j)
			{
				double swap = x[i];

				x[i++] = x[j];
				x[j--] = swap;
			}
		}
		if (k <= j)
			hi = j;
		else if (k >= i)
			lo = i;
		else
			break;
	}
	return x[k];
}

double
nn_quantile(double *x, int n, double q)
{
	double at = q * (n - 1);
	int k = (int) at;
	double low = select_kth(x, n, k), high;

	if (k + 1 >= n || at == k)
		return low;
	high = x[k + 1];
	for (int i = k + 2; i < n; i++)
		high = x[i] < high ? x[i] : high;
	/* halves, so that the difference cannot overflow */
	return low + 2 * ((high / 2 - low / 2) * (at - k));
}

bool
nn_scale_learn(nn_scale *s, nn_scaling kind, nn_moments *m)
{
	/* halves, because max - min can overflow; so can the moments */
	double half_range = m->max / 2 - m->min / 2;

	if (m->count == 0 || !(m->min < m->max))
		return false;
	s->min = m->min;
	s->max = m->max;
	switch (kind)
	{
		case NN_SCALING_STANDARD:
			s->center = m->mean;
			s->factor = 1 / nn_moments_stddev(m);
			break;
		case NN_SCALING_ROBUST:
		{
			double q25 = nn_quantile(m->sample, m->nsample, 0.25);
			double q75 = nn_quantile(m->sample, m->nsample, 0.75);

			s->center = nn_quantile(m->sample, m->nsample, 0.5);
			s->factor = q75 > q25 ? 0.5 / (q75 / 2 - q25 / 2) : 1 / half_range;
			break;
		}
		case NN_SCALING_MIN_MAX:
			s->center = m->min;
			s->factor = 0.5 / half_range;
			break;
		case NN_SCALING_NONE:
			s->center = 0;
			s->factor = 1;
			break;
	}
	if (!(fabs(s->center) <= DBL_MAX) || !(s->factor > 0) ||
		!(s->factor <= DBL_MAX))
	{
		s->center = m->min / 2 + m->max / 2;
		s->factor = 1 / half_range;
	}
	if (s->factor > 0 && s->factor <= DBL_MAX)
		return true;
	memset(s, 0, sizeof(*s));
	return false;
}

bool
nn_scale_save(const nn_scale *s, nn_writer *w, nn_error *err)
{
	return nn_write_f64(w, s->center, err) && nn_write_f64(w, s->factor, err) &&
		   nn_write_f64(w, s->min, err) && nn_write_f64(w, s->max, err);
}

bool
nn_scale_load(nn_scale *s, nn_reader *r, nn_error *err)
{
	if (!nn_read_f64(r, &s->center, err) || !nn_read_f64(r, &s->factor, err) ||
		!nn_read_f64(r, &s->min, err) || !nn_read_f64(r, &s->max, err))
		return false;
	if (!(fabs(s->center) <= DBL_MAX) || !(fabs(s->factor) <= DBL_MAX) ||
		!(s->min >= -DBL_MAX) || !(s->max <= DBL_MAX) || !(s->min <= s->max))
		return nn_fail(err, NN_CORRUPT, "scale of a column is not finite");
	return true;
}
