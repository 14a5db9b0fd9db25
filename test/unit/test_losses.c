/* builds: double */
/*
 * test_losses.c
 *	  The slope of every loss against finite differences of its value, for
 *	  every registered loss and every example of it; links; label smoothing.
 *
 * Nothing here names a loss to be tested, so a new one is tested by being
 * registered.
 */
#include "reference.h"
#include "train.h"

#define ROWS 7
#define MOST 5

static nn_arena *arena;

/* The loss of a whole batch and, unless dpred is NULL, its slope. */
static double
loss_of(const nn_loss *loss, int n, const nn_real *pred, const nn_real *y,
		const nn_real *weight, nn_real *dpred)
{
	nn_device d = {&nn_cpu_plain, NULL};
	double sum = 0;
	nn_loss_args a = {.kind = loss->ops->kind,
					  .p = {loss->p[0], loss->p[1]},
					  .m = ROWS,
					  .n = n,
					  .pred = pred,
					  .y = y,
					  .weight = weight,
					  .sum = &sum,
					  .dpred = dpred,
					  .scale = 0.25};

	d.ops->loss(&d, &a);
	return sum;
}

static void
make_targets(const nn_loss *loss, int n, nn_real *y)
{
	for (int i = 0; i < ROWS * n; i++)
	{
		if (loss->ops->categorical)
			y[i] = (i * i + 3 * i) % n;
		else if (loss->ops->link == NN_LINK_SIGMOID)
			y[i] = phase(1, i) > 0;
		else if (loss->ops->link == NN_LINK_EXP)
			y[i] = i % 4;
		else
			y[i] = phase(1, i);
	}
}

static void
check_slope(const char *text, int n, bool weighted)
{
	nn_error err = {0};
	nn_loss *loss = nn_loss_parse(arena, text, &err);
	nn_real pred[ROWS * MOST], y[ROWS * MOST], slope[ROWS * MOST], weight[ROWS];
	double worst = 0;

	if (loss == NULL)
	{
		check(false, "%s: %s", text, err.message);
		return;
	}
	make_targets(loss, n, y);
	for (int i = 0; i < ROWS * n; i++)
		pred[i] = 2 * phase(3, i);
	for (int i = 0; i < ROWS; i++)
		weight[i] = 0.5 * (i % 4);
	loss_of(loss, n, pred, y, weighted ? weight : NULL, slope);
	for (int i = 0; i < ROWS * n; i++)
	{
		const double h = 1e-5;
		double x = pred[i], above, below, wanted;

		pred[i] = x + h;
		above = loss_of(loss, n, pred, y, weighted ? weight : NULL, NULL);
		pred[i] = x - h;
		below = loss_of(loss, n, pred, y, weighted ? weight : NULL, NULL);
		pred[i] = x;
		wanted = 0.25 * (above - below) / (2 * h);
		worst = fmax(worst, fabs(slope[i] - wanted) / fmax(1, fabs(wanted)));
	}
	check(worst < 1e-8, "%s of %d columns%s: slope differs by %g", text, n,
		  weighted ? ", weighted" : "", worst);
}

/* Extreme predictions must give a finite value and slope, and any a mean. */
static void
check_extremes(const char *text, int n)
{
	nn_error err = {0};
	nn_loss *loss = nn_loss_parse(arena, text, &err);
	nn_real pred[ROWS * MOST], y[ROWS * MOST], slope[ROWS * MOST];
	double size = loss->ops->link == NN_LINK_EXP ? 500 : 1e4;
	bool ok;

	make_targets(loss, n, y);
	for (int i = 0; i < ROWS * n; i++)
		pred[i] = i % 3 == 0 ? -size : (i % 3 == 1 ? size : 0);
	ok = isfinite(loss_of(loss, n, pred, y, NULL, slope));
	for (int i = 0; i < ROWS * n; i++)
		ok = ok && isfinite(slope[i]);
	check(ok, "%s of %d columns at %g", text, n, size);
	check(near(nn_loss_value(loss, ROWS, n, pred, y, NULL) * ROWS,
			   loss_of(loss, n, pred, y, NULL, NULL), 1e-14),
		  "%s: value is the mean", text);
}

static void
every_loss(void)
{
	for (int i = 0; nn_losses[i] != NULL; i++)
	{
		const nn_loss_ops *ops = nn_losses[i];

		for (int j = 0; ops->named.examples[j] != NULL; j++)
		{
			const char *text = ops->named.examples[j];

			for (int n = ops->categorical ? 2 : 1; n <= MOST; n += 2)
			{
				check_slope(text, n, false);
				check_slope(text, n, true);
				check_extremes(text, n);
			}
		}
	}
}

/*
 * A network that has learned smoothed labels perfectly gives smoothed
 * probabilities; undo must give back those it was not sure about.
 */
static void
smoothing(void)
{
	nn_error err = {0};
	nn_loss *plain = nn_loss_parse(arena, "categorical_crossentropy", &err),
			*undo = nn_loss_parse(arena,
								  "CrossEntropyLoss(label_smoothing = 0.1, "
								  "undo = true)",
								  &err),
			*binary = nn_loss_parse(arena,
									"binary_crossentropy(label_smoothing = "
									"0.2, undo = true)",
									&err);
	nn_real y[6], p;

	for (int j = 0; j < 3; j++)
	{
		static const double truth[] = {0.7, 0.25, 0.05};

		y[j] = log(0.9 * truth[j] + 0.1 / 3) + 5;
	}
	nn_link_apply(undo, 1, 3, y);
	check(near(y[0], 0.7, 1e-12) && near(y[1], 0.25, 1e-12) &&
			  near(y[2], 0.05, 1e-12),
		  "undo of smoothing: %g %g %g", y[0], y[1], y[2]);

	/* more certain than smoothing allows: the least probability is left */
	y[0] = 900;
	y[1] = y[2] = -900;
	nn_link_apply(undo, 1, 3, y);
	p = (1 - 0.1 / 3) / 0.9;
	check(near(y[1], 0.002 / 3 / (p + 0.004 / 3), 1e-12) &&
			  near(y[0] + y[1] + y[2], 1, 1e-12),
		  "undo of certainty: %g %g %g", y[0], y[1], y[2]);

	for (int i = 0; i < 6; i++)
		y[i] = i % 3 == 0 ? 1000 : -1000;
	nn_link_apply(plain, 2, 3, y);
	check(y[0] == 1 && y[1] == 0 && y[3] == 1, "softmax by row: %g %g %g", y[0],
		  y[1], y[3]);

	p = 0.8 * 0.7 + 0.1;
	y[0] = log(p / (1 - p));
	y[1] = -y[0];
	y[2] = 50;
	y[3] = NAN;
	nn_link_apply(binary, 4, 1, y);
	check(near(y[0], 0.7, 1e-12) && near(y[1], 0.3, 1e-12) && y[2] > 0.998 &&
			  y[2] < 1 && isnan(y[3]),
		  "undo of two classes: %g %g %g %g", y[0], y[1], y[2], y[3]);
}

static void
links(void)
{
	nn_error err = {0};
	nn_real y[4] = {0, -1000, 1000, 1};

	nn_link_apply(nn_loss_parse(arena, "binary_crossentropy", &err), 4, 1, y);
	check(y[0] == 0.5 && y[1] == 0 && y[2] == 1 &&
			  near(y[3], 1 / (1 + exp(-1)), 1e-15),
		  "sigmoid: %g %g %g %g", y[0], y[1], y[2], y[3]);
	nn_link_apply(nn_loss_parse(arena, "mse", &err), 2, 2, y);
	check(y[0] == 0.5 && y[2] == 1, "identity");
	nn_link_apply(nn_loss_parse(arena, "poisson", &err), 1, 1, y);
	check(near(y[0], exp(0.5), 1e-15) && y[1] == 0, "exp: %g", y[0]);
}

int
main(void)
{
	nn_error err = {0};

	arena = nn_arena_create(&check_heap, &err);
	every_loss();
	smoothing();
	links();
	nn_arena_destroy(arena);
	return check_failed;
}
