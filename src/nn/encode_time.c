/*
 * encode_time.c
 *	  Encoder of timestamps, dates and times of day.
 *
 * A moment becomes the elapsed time as a scaled number, and the sine and
 * cosine of where it lies in the day, the week and the year.  The week has
 * seven steps and the year 365.25 days counted from 2000-01-01, which is
 * within a day of the calendar for centuries and needs none.  Components that
 * are the same in all training rows are dropped, so a date gives no hour.
 */
#include "encode_scale.h"

#include "encoders.h"

#define CYCLES 3
#define PARTS  (2 * CYCLES) /* sine and cosine of each */

typedef struct time_conf
{
	int scale;
	double clip;
	bool cycles;
} time_conf;

static const char *const scale_choices[] = {"standard", "robust", "min_max",
											"none", NULL};

static const nn_option time_options[] = {
	{.name = "scale",
	 .type = NN_OPT_CHOICE,
	 .offset = offsetof(time_conf, scale),
	 .choices = scale_choices,
	 .help = "How the elapsed time is scaled."},
	{.name = "clip",
	 .type = NN_OPT_REAL,
	 .offset = offsetof(time_conf, clip),
	 .max = 1e6,
	 .help = "The scaled number is limited smoothly to this; 0 is no limit."},
	{.name = "cycles",
	 .type = NN_OPT_BOOL,
	 .offset = offsetof(time_conf, cycles),
	 .initial = 1,
	 .help = "Add sine and cosine of the hour, the weekday and the day of the "
			 "year."},
	{.name = NULL}};

typedef struct moment
{
	nn_moments *moments; /* while learning */
	bool any;
	double first_phase[CYCLES];
	nn_real first[PARTS];

	nn_scale scale;
	double fill;
	int null_flag;
	int varies[PARTS];
} moment;

/* Where a moment lies in a cycle, 0..1. */
static double
phase_of(double t, int cycle)
{
	double days = floor(t / 86400);

	switch (cycle)
	{
		case 0:
			return t / 86400 - days;
		case 1:
			return days / 7 - floor(days / 7);
		default:
			return days / 365.25 - floor(days / 365.25);
	}
}

/* Sine (part 0) or cosine of a phase; what should be 0 is 0. */
static nn_real
part_of(double phase, int part)
{
	double angle = 2 * 3.14159265358979323846 * phase;
	double v = part == 0 ? sin(angle) : cos(angle);

	return fabs(v) < 1e-9 ? 0 : (nn_real) v;
}

static bool
time_start(nn_column *c, nn_arena *arena, nn_error *err)
{
	const time_conf *conf = c->conf;
	moment *l = nn_alloc_small(arena, sizeof(*l), err);

	if (l == NULL)
		return false;
	c->learned = l;
	l->moments = nn_alloc(arena, sizeof(*l->moments), err);
	return l->moments != NULL &&
		   nn_moments_start(l->moments, arena,
							conf->scale == NN_SCALING_ROBUST ? c->sample : 0,
							err);
}

/*
 * Look for a component that differs from the first row's.  Once all are known
 * to vary, which is soon, there is nothing left to do.
 */
static void
look_for_change(moment *l, double t, int cycles)
{
	for (int i = 0; i < cycles; i++)
	{
		double phase;

		if (l->any && l->varies[2 * i] && l->varies[2 * i + 1])
			continue;
		phase = phase_of(t, i);
		if (l->any && phase == l->first_phase[i])
			continue;
		for (int part = 0; part < 2; part++)
		{
			nn_real v = part_of(phase, part);

			if (!l->any)
				l->first[2 * i + part] = v;
			else if (v != l->first[2 * i + part])
				l->varies[2 * i + part] = 1;
		}
		if (!l->any)
			l->first_phase[i] = phase;
	}
	l->any = true;
}

static bool
time_observe(nn_column *c, nn_arena *arena, const char *base, size_t stride,
			 int n, const uint8_t *use, nn_error *err)
{
	const time_conf *conf = c->conf;
	moment *l = c->learned;
	/* a time of day has no date; 24:00 must not give it one */
	int cycles = c->class == NN_CLASS_TIME ? 1 : CYCLES;

	if (conf->cycles)
		for (int i = 0; i < n; i++)
		{
			double t = nn_slot_number(base + i * stride, c->slot);

			if ((use == NULL || use[i] != 0) && fabs(t) <= DBL_MAX)
				look_for_change(l, t, cycles);
		}
	return nn_moments_add(l->moments, arena, base, stride, c->slot, n, use,
						  err);
}

static void
set_widths(nn_column *c, const moment *l, int number)
{
	c->width[NN_SECTION_NUMBER] = number;
	c->width[NN_SECTION_FLAG] = l->null_flag;
	for (int i = 0; i < PARTS; i++)
		c->width[NN_SECTION_FLAG] += l->varies[i];
}

static bool
time_finish(nn_column *c, nn_arena *arena, nn_error *err)
{
	const time_conf *conf = c->conf;
	moment *l = c->learned;
	nn_moments *m = l->moments;
	bool number;

	if (!nn_moments_finish(m, arena, err))
		return false;
	nn_column_take_moments(c, m);
	number = nn_scale_learn(&l->scale, conf->scale, m);
	if (number)
		l->fill = isnan(m->mean) ? 0 : nn_scale_value(&l->scale, m->mean);
	l->null_flag = m->nulls > 0 && m->nulls < c->rows;
	set_widths(c, l, number);
	if (c->width[NN_SECTION_NUMBER] + c->width[NN_SECTION_FLAG] == 0)
		c->dropped =
			m->nulls == c->rows ? nn_dropped_null : nn_dropped_constant;
	l->moments = NULL;
	return true;
}

static void
encode_cycles(const nn_column *c, const moment *l, const char *slot,
			  nn_real *out)
{
	double t = nn_slot_number(slot, c->slot);

	if (!(fabs(t) <= DBL_MAX) && !isnan(t))
		t = t < 0 ? l->scale.min : l->scale.max;
	for (int i = 0; i < CYCLES; i++)
	{
		double phase;

		if (!l->varies[2 * i] && !l->varies[2 * i + 1])
			continue;
		phase = isnan(t) ? 0 : phase_of(t, i);
		for (int part = 0; part < 2; part++)
			if (l->varies[2 * i + part])
				*out++ = isnan(t) ? 0 : part_of(phase, part);
	}
}

static void
time_encode(const nn_column *c, const char *base, size_t stride, int n,
			nn_real *out, size_t out_stride)
{
	const time_conf *conf = c->conf;
	const moment *l = c->learned;
	nn_real *flag = out + c->at[NN_SECTION_FLAG];

	if (c->width[NN_SECTION_NUMBER] != 0)
		nn_encode_numbers(&l->scale, l->fill, conf->clip, c->slot, base, stride,
						  n, out + c->at[NN_SECTION_NUMBER], out_stride);
	if (l->null_flag)
		nn_encode_nulls(c->slot, base, stride, n, flag++, out_stride);
	if (c->width[NN_SECTION_FLAG] > l->null_flag)
		for (int i = 0; i < n; i++)
			encode_cycles(c, l, base + i * stride, flag + i * out_stride);
}

static bool
time_save(const nn_column *c, nn_writer *w, nn_error *err)
{
	const moment *l = c->learned;

	if (!nn_write_u8(w, c->width[NN_SECTION_NUMBER], err) ||
		!nn_write_u8(w, l->null_flag, err))
		return false;
	for (int i = 0; i < PARTS; i++)
		if (!nn_write_u8(w, l->varies[i], err))
			return false;
	return nn_scale_save(&l->scale, w, err) && nn_write_f64(w, l->fill, err);
}

static bool
time_load(nn_column *c, nn_arena *arena, nn_reader *r, nn_error *err)
{
	moment *l = nn_alloc_small(arena, sizeof(*l), err);
	int number;

	if (l == NULL)
		return false;
	c->learned = l;
	if (!nn_read_bool(r, &number, err) || !nn_read_bool(r, &l->null_flag, err))
		return false;
	for (int i = 0; i < PARTS; i++)
		if (!nn_read_bool(r, &l->varies[i], err))
			return false;
	set_widths(c, l, number);
	return nn_scale_load(&l->scale, r, err) &&
		   nn_read_encoded(r, &l->fill, err);
}

static const char *const time_aliases[] = {"date", "time", NULL};
static const char *const time_examples[] = {
	"timestamp", "timestamp(scale = robust, clip = 3, cycles = false)", NULL};

const nn_encoder_ops nn_encoder_timestamp = {
	.named = {.name = "timestamp",
			  .aliases = time_aliases,
			  .summary = "Elapsed time, scaled; and sine and cosine of hour, "
						 "weekday and day of the year.",
			  .conf_size = sizeof(time_conf),
			  .options = time_options,
			  .examples = time_examples},
	.classes =
		1 << NN_CLASS_TIMESTAMP | 1 << NN_CLASS_DATE | 1 << NN_CLASS_TIME,
	.start = time_start,
	.observe = time_observe,
	.finish = time_finish,
	.encode = time_encode,
	.save = time_save,
	.load = time_load};
