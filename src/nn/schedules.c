/*
 * schedules.c
 *	  How the learning rate changes during training.
 *
 * A schedule is an entry of this file and a line of its list.  It gives the
 * factor of the learning rate at a step; t below is the part of all steps that
 * is done, from 0 to 1.
 *
 *	constant		1
 *	exponential		decay_rate ^ (step / decay_steps)
 *	cosine			alpha + (1 - alpha) (1 + cos(pi t)) / 2, after a straight
 *					line from warmup_from to 1
 *	one_cycle		two half cosines: up to max in the first pct_start of the
 *					steps, then down to almost nothing (Smith and Topin, 2018;
 *					PyTorch's OneCycleLR)
 *	piecewise		values[i] until boundaries[i], that step included
 *	plateau			times factor after each patience epochs without progress
 *					of the validation loss (Keras' ReduceLROnPlateau)
 *	coslog			(1 - cos(2 pi log2(1 + (2^cycles - 1) t))) / 2: cycles, each
 *					twice as long as the one before (Holzmueller et al. 2024,
 *					arXiv 2407.04491)
 *	flat_cosine		1 in the first part, then half a cosine down to 0
 */
#include <math.h>

#include "train.h"

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})
#define MAX_STEPS  1e15

static const double pi = 3.14159265358979323846;

static const nn_option no_options[] = {{NULL}};

static double
constant_factor(const void *conf, const void *state, double rate, int64_t step,
				int64_t steps, int64_t steps_per_epoch)
{
	(void) conf;
	(void) state;
	(void) rate;
	(void) step;
	(void) steps;
	(void) steps_per_epoch;
	return 1;
}

static const nn_schedule_ops constant = {
	.named = {.name = "constant",
			  .summary = "the same learning rate in every step",
			  .options = no_options,
			  .examples = NAMES("constant")},
	.factor = constant_factor,
};

typedef struct exponential_conf
{
	double decay_rate, decay_steps;
	bool staircase;
} exponential_conf;

static const nn_option exponential_options[] = {
	{"decay_rate", NN_OPT_REAL, offsetof(exponential_conf, decay_rate), 0.96,
	 1e-9, 1, "Factor of the learning rate in decay_steps.", NULL, NULL,
	 "gamma"},
	{"decay_steps", NN_OPT_REAL, offsetof(exponential_conf, decay_steps), 0, 0,
	 MAX_STEPS, "Steps in which the rate falls by decay_rate; 0: an epoch."},
	{"staircase", NN_OPT_BOOL, offsetof(exponential_conf, staircase), 0, 0, 1,
	 "Whether the rate falls only after each decay_steps."},
	{NULL}};

static double
exponential_factor(const void *conf, const void *state, double rate,
				   int64_t step, int64_t steps, int64_t steps_per_epoch)
{
	const exponential_conf *c = conf;
	double n = c->decay_steps > 0 ? c->decay_steps : (double) steps_per_epoch,
		   x = n > 0 ? (double) step / n : 0;

	(void) state;
	(void) rate;
	(void) steps;
	return pow(c->decay_rate, c->staircase ? floor(x) : x);
}

static const nn_schedule_ops exponential = {
	.named = {.name = "exponential",
			  .aliases = NAMES("ExponentialDecay"),
			  .summary = "the same factor again and again",
			  .conf_size = sizeof(exponential_conf),
			  .options = exponential_options,
			  .examples = NAMES("exponential", "exponential(0.5, 10)",
								"exponential(0.5, 10, staircase = true)")},
	.factor = exponential_factor,
};

/* Half a cosine from 1 to end while t goes from 0 to 1. */
static double
half_cosine(double t, double end)
{
	t = t > 1 ? 1 : t;
	return end + (1 - end) * (1 + cos(pi * t)) / 2;
}

typedef struct cosine_conf
{
	double warmup_steps, alpha, warmup_from;
} cosine_conf;

static const nn_option cosine_options[] = {
	{"warmup_steps", NN_OPT_REAL, offsetof(cosine_conf, warmup_steps), 0, 0,
	 MAX_STEPS, "Steps in which the rate rises first."},
	{"alpha", NN_OPT_REAL, offsetof(cosine_conf, alpha), 0, 0, 1,
	 "Factor of the learning rate at the end."},
	{"warmup_from", NN_OPT_REAL, offsetof(cosine_conf, warmup_from), 0, 0, 1,
	 "Factor of the learning rate at the beginning of the warm-up."},
	{NULL}};

static double
cosine_factor(const void *conf, const void *state, double rate, int64_t step,
			  int64_t steps, int64_t steps_per_epoch)
{
	const cosine_conf *c = conf;
	double after = (double) step - c->warmup_steps,
		   length = (double) steps - c->warmup_steps;

	(void) state;
	(void) rate;
	(void) steps_per_epoch;
	if (after < 0)
		return c->warmup_from +
			   (1 - c->warmup_from) * (double) step / c->warmup_steps;
	return half_cosine(length > 0 ? after / length : 1, c->alpha);
}

static const nn_schedule_ops cosine = {
	.named = {.name = "cosine",
			  .aliases = NAMES("CosineDecay", "CosineAnnealingLR"),
			  .summary = "half a cosine over the whole training, after a "
						 "warm-up",
			  .conf_size = sizeof(cosine_conf),
			  .options = cosine_options,
			  .examples = NAMES("cosine", "cosine(alpha = 0.1)",
								"cosine(warmup_steps = 5)")},
	.factor = cosine_factor,
};

typedef struct one_cycle_conf
{
	double max, pct_start, div_factor, final_div_factor;
} one_cycle_conf;

static const nn_option one_cycle_options[] = {
	{"max", NN_OPT_REAL, offsetof(one_cycle_conf, max), 1, 1e-6, 1e6,
	 "Greatest factor of the learning rate."},
	{"pct_start", NN_OPT_REAL, offsetof(one_cycle_conf, pct_start), 0.3, 0, 1,
	 "Part of the steps in which the rate rises."},
	{"div_factor", NN_OPT_REAL, offsetof(one_cycle_conf, div_factor), 25, 1,
	 1e9, "How much smaller than max the factor is at the beginning."},
	{"final_div_factor", NN_OPT_REAL,
	 offsetof(one_cycle_conf, final_div_factor), 1e4, 1, 1e12,
	 "How much smaller than at the beginning the factor is at the end."},
	{NULL}};

static double
one_cycle_factor(const void *conf, const void *state, double rate, int64_t step,
				 int64_t steps, int64_t steps_per_epoch)
{
	const one_cycle_conf *c = conf;
	double s = (double) step, last = (double) steps - 1,
		   top = c->pct_start * (double) steps - 1, first = 1 / c->div_factor;

	(void) state;
	(void) rate;
	(void) steps_per_epoch;
	/* a rise of less than a step is none */
	if (top <= 0)
		top = 0;
	if (s < top)
		return c->max * half_cosine(1 - s / top, first);
	return c->max * half_cosine(last > top ? (s - top) / (last - top) : 0,
								first / c->final_div_factor);
}

static const nn_schedule_ops one_cycle = {
	.named = {.name = "one_cycle",
			  .aliases = NAMES("OneCycleLR"),
			  .summary = "up and down once",
			  .conf_size = sizeof(one_cycle_conf),
			  .options = one_cycle_options,
			  .examples = NAMES("one_cycle",
								"one_cycle(pct_start = 0.2, div_factor = 10)")},
	.factor = one_cycle_factor,
};

typedef struct piecewise_conf
{
	nn_list boundaries, values;
} piecewise_conf;

static const nn_option piecewise_options[] = {
	{"boundaries", NN_OPT_LIST, offsetof(piecewise_conf, boundaries),
	 NN_REQUIRED, 0, MAX_STEPS, "Last steps of all values but the last."},
	{"values", NN_OPT_LIST, offsetof(piecewise_conf, values), NN_REQUIRED, 0,
	 1e6, "Learning rates, one more than boundaries."},
	{NULL}};

static bool
piecewise_check(const void *conf, nn_error *err)
{
	const piecewise_conf *c = conf;

	if (c->values.count != c->boundaries.count + 1)
		return nn_fail(
			err, NN_INVALID, "piecewise: %d boundaries need %d values, not %d",
			c->boundaries.count, c->boundaries.count + 1, c->values.count);
	for (int i = 1; i < c->boundaries.count; i++)
	{
		if (c->boundaries.values[i] <= c->boundaries.values[i - 1])
			return nn_fail(err, NN_INVALID,
						   "piecewise: boundaries must be in ascending order");
	}
	return true;
}

static double
piecewise_factor(const void *conf, const void *state, double rate, int64_t step,
				 int64_t steps, int64_t steps_per_epoch)
{
	const piecewise_conf *c = conf;
	int i = 0;

	(void) state;
	(void) steps;
	(void) steps_per_epoch;
	while (i < c->boundaries.count && (double) step > c->boundaries.values[i])
		i++;
	return c->values.values[i] / rate;
}

static const nn_schedule_ops piecewise = {
	.named = {.name = "piecewise",
			  .aliases = NAMES("PiecewiseConstantDecay"),
			  .summary = "given learning rates, each up to a given step",
			  .conf_size = sizeof(piecewise_conf),
			  .options = piecewise_options,
			  .examples =
				  NAMES("piecewise(boundaries = [10, 20], values = [0.1, "
						"0.01, 0.001])")},
	.factor = piecewise_factor,
	.check = piecewise_check,
};

typedef struct plateau_conf
{
	double factor, min_delta, min_lr;
	int patience, cooldown;
} plateau_conf;

/* All zero at the start of training. */
typedef struct plateau_state
{
	bool started;
	double best;
	int waited, cooling;
	int reductions;
} plateau_state;

static const nn_option plateau_options[] = {
	{"factor", NN_OPT_REAL, offsetof(plateau_conf, factor), 0.1, 1e-6, 0.999999,
	 "Factor of the learning rate when there is no progress."},
	{"patience", NN_OPT_INT, offsetof(plateau_conf, patience), 10, 0, 1000000,
	 "Epochs without progress to wait."},
	{"min_delta", NN_OPT_REAL, offsetof(plateau_conf, min_delta), 1e-4, 0, 1e6,
	 "Smallest change of the validation loss that is progress.", NULL, NULL,
	 "threshold"},
	{"cooldown", NN_OPT_INT, offsetof(plateau_conf, cooldown), 0, 0, 1000000,
	 "Epochs after a reduction in which nothing is counted."},
	{"min_lr", NN_OPT_REAL, offsetof(plateau_conf, min_lr), 0, 0, 1e6,
	 "Smallest learning rate."},
	{NULL}};

static double
plateau_factor(const void *conf, const void *state, double rate, int64_t step,
			   int64_t steps, int64_t steps_per_epoch)
{
	const plateau_conf *c = conf;
	const plateau_state *s = state;

	(void) step;
	(void) steps;
	(void) steps_per_epoch;
	/* a rate below the least already is left alone */
	if (s->reductions == 0 || rate <= c->min_lr)
		return 1;
	return fmax(pow(c->factor, s->reductions), c->min_lr / rate);
}

static void
plateau_observe(const void *conf, void *state, double loss)
{
	const plateau_conf *c = conf;
	plateau_state *s = state;

	if (s->cooling > 0)
	{
		s->cooling--;
		s->waited = 0;
	}
	if (loss < (s->started ? s->best : INFINITY) - c->min_delta)
	{
		s->started = true;
		s->best = loss;
		s->waited = 0;
	}
	else if (s->cooling == 0 && ++s->waited >= c->patience)
	{
		s->reductions++;
		s->cooling = c->cooldown;
		s->waited = 0;
	}
}

static const nn_schedule_ops plateau = {
	.named = {.name = "plateau",
			  .aliases = NAMES("ReduceLROnPlateau"),
			  .summary = "smaller when the validation loss makes no progress",
			  .conf_size = sizeof(plateau_conf),
			  .options = plateau_options,
			  .examples = NAMES("plateau", "plateau(0.5, patience = 3)")},
	.state_size = sizeof(plateau_state),
	.factor = plateau_factor,
	.observe = plateau_observe,
};

typedef struct coslog_conf
{
	int cycles;
} coslog_conf;

static const nn_option coslog_options[] = {{"cycles", NN_OPT_INT,
											offsetof(coslog_conf, cycles), 4, 1,
											30, "Number of cycles."},
										   {NULL}};

static double
coslog_factor(const void *conf, const void *state, double rate, int64_t step,
			  int64_t steps, int64_t steps_per_epoch)
{
	const coslog_conf *c = conf;
	double t = steps > 0 ? (double) step / (double) steps : 0;

	(void) state;
	(void) rate;
	(void) steps_per_epoch;
	return (1 - cos(2 * pi * log2(1 + (ldexp(1, c->cycles) - 1) * t))) / 2;
}

static const nn_schedule_ops coslog = {
	.named = {.name = "coslog",
			  .summary = "cosine cycles, each twice as long as the last",
			  .conf_size = sizeof(coslog_conf),
			  .options = coslog_options,
			  .examples = NAMES("coslog", "coslog(3)")},
	.factor = coslog_factor,
};

typedef struct flat_cosine_conf
{
	double flat;
} flat_cosine_conf;

static const nn_option flat_cosine_options[] = {
	{"flat", NN_OPT_REAL, offsetof(flat_cosine_conf, flat), 0.5, 0, 1,
	 "Part of the steps in which the rate does not change."},
	{NULL}};

static double
flat_cosine_factor(const void *conf, const void *state, double rate,
				   int64_t step, int64_t steps, int64_t steps_per_epoch)
{
	const flat_cosine_conf *c = conf;
	double t = steps > 0 ? (double) step / (double) steps : 0;

	(void) state;
	(void) rate;
	(void) steps_per_epoch;
	if (t < c->flat || c->flat >= 1)
		return 1;
	return half_cosine((t - c->flat) / (1 - c->flat), 0);
}

static const nn_schedule_ops flat_cosine = {
	.named = {.name = "flat_cosine",
			  .summary = "constant at first, then half a cosine down to 0",
			  .conf_size = sizeof(flat_cosine_conf),
			  .options = flat_cosine_options,
			  .examples = NAMES("flat_cosine", "flat_cosine(0.8)")},
	.factor = flat_cosine_factor,
};

const nn_schedule_ops *const nn_schedules[] = {
	&constant, &exponential, &cosine,	   &one_cycle, &piecewise,
	&plateau,  &coslog,		 &flat_cosine, NULL,
};

static const nn_absent absent[] = {
	{"ExponentialLR", "Use exponential(decay_rate = gamma, staircase = true)."},
	{"StepLR", "Use exponential(decay_rate = gamma, decay_steps = steps, "
			   "staircase = true)."},
	{"MultiStepLR", "Use piecewise."},
	{"ConstantLR", "Use piecewise."},
	{"LinearLR", "Use cosine with warmup_steps."},
	{"PolynomialDecay", "Use cosine."},
	{"PolynomialLR", "Use cosine."},
	{"InverseTimeDecay", "Use exponential."},
	{"CosineDecayRestarts", "Use coslog."},
	{"CosineAnnealingWarmRestarts", "Use coslog."},
	{"CyclicLR", "Use coslog."},
	{"LambdaLR", "Use piecewise."},
	{NULL, NULL},
};

nn_schedule *
nn_schedule_parse(nn_arena *arena, const char *text, nn_error *err)
{
	nn_schedule *s = nn_alloc_small(arena, sizeof(nn_schedule), err);

	if (s == NULL)
		return NULL;
	s->ops =
		nn_named_parse(arena, "schedule", (const void *const *) nn_schedules,
					   absent, text, &s->conf, &s->text, err);
	if (s->ops == NULL ||
		(s->ops->check != NULL && !s->ops->check(s->conf, err)))
		return NULL;
	s->state = nn_alloc_small(arena, s->ops->state_size, err);
	return s->state == NULL ? NULL : s;
}

double
nn_schedule_rate(const nn_schedule *s, double rate, int64_t step, int64_t steps,
				 int64_t steps_per_epoch)
{
	if (s == NULL)
		return rate;
	return rate * s->ops->factor(s->conf, s->state, rate, step, steps,
								 steps_per_epoch);
}

void
nn_schedule_observe(nn_schedule *s, double loss)
{
	if (s != NULL && s->ops->observe != NULL)
		s->ops->observe(s->conf, s->state, loss);
}
