/*
 * metrics.c
 *	  How good predictions are, by scikit-learn's definitions.
 *
 * Everything is computed from all rows at once, in double, in the order of the
 * rows.  Two things differ from scikit-learn, which raises an error there:
 *
 *	- a value that is not defined, such as the area under the curve of rows
 *	  of one class, is NaN;
 *	- of several classes or targets the mean is taken over those where it is
 *	  defined.
 *
 * A metric of yes-or-no targets is the unweighted mean over the targets.
 */
#include <float.h>
#include <math.h>

#include "metric.h"

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NUMBERS	   (1u << NN_REGRESSION)
#define CLASSES	   (1u << NN_BINARY | 1u << NN_MULTICLASS | 1u << NN_MULTILABEL)

static const nn_option no_options[] = {{NULL}};

static double
weight_of(const nn_metric_args *a, int row)
{
	return a->weight != NULL ? a->weight[row] : 1;
}

/* The mean of those values that are defined. */
static double
mean_of_defined(const double *value, int n)
{
	double sum = 0;
	int defined = 0;

	for (int i = 0; i < n; i++)
	{
		if (!isnan(value[i]))
		{
			sum += value[i];
			defined++;
		}
	}
	return defined > 0 ? sum / defined : NAN;
}

/* --- classes, from counts --- */

/* Weights of the rows of each class: in truth, as predicted, and both. */
typedef struct counts
{
	int classes;
	double *truth, *predicted, *hit;
	double total;
} counts;

static void
count_row(counts *c, int truth, int predicted, double weight)
{
	c->truth[truth] += weight;
	c->predicted[predicted] += weight;
	if (truth == predicted)
		c->hit[truth] += weight;
	c->total += weight;
}

static bool
start_counts(counts *c, int classes, nn_arena *scratch, nn_error *err)
{
	double *all =
		nn_alloc_array(scratch, 3 * (size_t) classes, sizeof(double), err);

	if (all == NULL)
		return false;
	*c = (counts){classes, all, all + classes, all + 2 * (size_t) classes, 0};
	return true;
}

/* The class of a row's greatest probability, the first of equal ones. */
static int
predicted_class(const nn_metric_args *a, int row)
{
	const double *p = a->out + (size_t) row * a->columns;
	int best = 0;

	for (int j = 1; j < a->columns; j++)
	{
		if (p[j] > p[best])
			best = j;
	}
	return best;
}

static double
accuracy_of(const counts *c)
{
	double hits = 0;

	for (int k = 0; k < c->classes; k++)
		hits += c->hit[k];
	return hits / c->total;
}

static double
balanced_accuracy_of(const counts *c)
{
	double sum = 0;
	int present = 0;

	for (int k = 0; k < c->classes; k++)
	{
		if (c->truth[k] > 0)
		{
			sum += c->hit[k] / c->truth[k];
			present++;
		}
	}
	return present > 0 ? sum / present : NAN;
}

/*
 * The share of hits among some other count of each class: the mean over the
 * classes that occur, or of two classes the second.  Zero where there is
 * nothing to divide by.
 */
static double
mean_share(const counts *c, double by_truth, double by_predicted)
{
	double sum = 0;
	int present = 0;

	for (int k = c->classes == 2 ? 1 : 0; k < c->classes; k++)
	{
		double n = by_truth * c->truth[k] + by_predicted * c->predicted[k];

		if (c->classes > 2 && c->truth[k] <= 0 && c->predicted[k] <= 0)
			continue;
		sum += n > 0 ? c->hit[k] / n : 0;
		present++;
	}
	return present > 0 ? sum / present : NAN;
}

static double
precision_of(const counts *c)
{
	return mean_share(c, 0, 1);
}

static double
recall_of(const counts *c)
{
	return mean_share(c, 1, 0);
}

static double
f1_of(const counts *c)
{
	return mean_share(c, 0.5, 0.5);
}

/* Gorodkin's R_K, which of two classes is Matthews' coefficient. */
static double
mcc_of(const counts *c)
{
	double both = 0, truth = c->total * c->total, predicted = truth;

	for (int k = 0; k < c->classes; k++)
	{
		both += c->total * c->hit[k] - c->truth[k] * c->predicted[k];
		truth -= c->truth[k] * c->truth[k];
		predicted -= c->predicted[k] * c->predicted[k];
	}
	if (truth <= 0 || predicted <= 0)
		return 0;
	return both / sqrt(truth * predicted);
}

/* A metric of counts: of classes at once, or of each yes-or-no target. */
static bool
from_counts(const nn_metric_args *a, double (*of)(const counts *c),
			nn_arena *scratch, double *value, nn_error *err)
{
	counts c;
	double *each;

	if (a->task != NN_MULTILABEL)
	{
		if (!start_counts(&c, a->columns, scratch, err))
			return false;
		for (int i = 0; i < a->rows; i++)
			count_row(&c, (int) a->y[i], predicted_class(a, i),
					  weight_of(a, i));
		*value = a->rows > 0 ? of(&c) : NAN;
		return true;
	}

	each = nn_alloc_array(scratch, a->columns, sizeof(double), err);
	if (each == NULL)
		return false;
	for (int j = 0; j < a->columns; j++)
	{
		if (!start_counts(&c, 2, scratch, err))
			return false;
		for (int i = 0; i < a->rows; i++)
		{
			size_t at = (size_t) i * a->columns + j;

			count_row(&c, a->y[at] > 0.5, a->out[at] > 0.5, weight_of(a, i));
		}
		each[j] = a->rows > 0 ? of(&c) : NAN;
	}
	*value = mean_of_defined(each, a->columns);
	return true;
}

#define FROM_COUNTS(name)                                                      \
	static bool name(const nn_metric_args *a, nn_arena *scratch,               \
					 double *value, nn_error *err)                             \
	{                                                                          \
		return from_counts(a, name##_of, scratch, value, err);                 \
	}

FROM_COUNTS(accuracy)
FROM_COUNTS(balanced_accuracy)
FROM_COUNTS(precision)
FROM_COUNTS(recall)
FROM_COUNTS(f1)
FROM_COUNTS(mcc)

/* --- classes, from the order of probabilities --- */

/*
 * Sort row numbers by score, greatest first; equal ones stay in order.  False:
 * it was stopped.
 */
static bool
sort_by_score(const double *score, uint32_t *order, uint32_t *other, int n,
			  bool (*stop)(void))
{
	for (int64_t width = 1; width < n; width *= 2)
	{
		if (nn_stops(stop))
			return false;
		for (int64_t from = 0; from < n; from += 2 * width)
		{
			int64_t left = from, middle = from + width < n ? from + width : n,
					right = middle,
					end = middle + width < n ? middle + width : n;

			for (int64_t k = from; k < end; k++)
			{
				if (left < middle &&
					(right >= end || score[order[left]] >= score[order[right]]))
					other[k] = order[left++];
				else
					other[k] = order[right++];
			}
		}
		for (int k = 0; k < n; k++)
			order[k] = other[k];
	}
	return true;
}

/* What the curve of one class against the rest is made of. */
typedef struct curve
{
	double *score;
	bool *positive;
	uint32_t *order, *other;
} curve;

/* The area under the curve: pairs in the right order, equal ones by half. */
static bool
area(const nn_metric_args *a, const curve *c, double *value, nn_error *err)
{
	double pairs = 0, positives = 0, negatives = 0;
	int n = a->rows;

	*value = NAN;
	for (int i = 0; i < n; i++)
	{
		if (isnan(c->score[i]))
			return true;
		c->order[i] = (uint32_t) i;
	}
	if (!sort_by_score(c->score, c->order, c->other, n, a->stop))
		return nn_fail(err, NN_INTERRUPTED, "a metric was interrupted");
	for (int i = 0; i < n;)
	{
		double score = c->score[c->order[i]], tied_positives = 0,
			   tied_negatives = 0;

		for (; i < n && c->score[c->order[i]] == score; i++)
		{
			double weight = weight_of(a, (int) c->order[i]);

			if (c->positive[c->order[i]])
				tied_positives += weight;
			else
				tied_negatives += weight;
		}
		pairs += tied_negatives * (positives + tied_positives / 2);
		positives += tied_positives;
		negatives += tied_negatives;
	}
	if (positives > 0 && negatives > 0)
		*value = pairs / positives / negatives;
	return true;
}

static bool
roc_auc(const nn_metric_args *a, nn_arena *scratch, double *value,
		nn_error *err)
{
	size_t n = (size_t) a->rows;
	curve c = {nn_alloc_array(scratch, n, sizeof(double), err),
			   nn_alloc_array(scratch, n, sizeof(bool), err),
			   nn_alloc_array(scratch, n, sizeof(uint32_t), err),
			   nn_alloc_array(scratch, n, sizeof(uint32_t), err)};
	double *each = nn_alloc_array(scratch, a->columns, sizeof(double), err);

	if (c.score == NULL || c.positive == NULL || c.order == NULL ||
		c.other == NULL || each == NULL)
		return false;
	for (int j = 0; j < a->columns; j++)
	{
		for (int i = 0; i < a->rows; i++)
		{
			size_t at = (size_t) i * a->columns + j;

			c.score[i] = a->out[at];
			c.positive[i] =
				a->task == NN_MULTILABEL ? a->y[at] > 0.5 : (int) a->y[i] == j;
		}
		if (!area(a, &c, &each[j], err))
			return false;
	}
	*value = a->task == NN_BINARY ? each[1] : mean_of_defined(each, a->columns);
	return true;
}

/* --- classes, from probabilities --- */

static double
clipped(double p)
{
	return p < DBL_EPSILON ? DBL_EPSILON
						   : (p > 1 - DBL_EPSILON ? 1 - DBL_EPSILON : p);
}

static double
log_loss_row(const nn_metric_args *a, int row)
{
	const double *p = a->out + (size_t) row * a->columns;
	double sum = 0;

	if (a->task == NN_MULTILABEL)
	{
		const double *y = a->y + (size_t) row * a->columns;

		for (int j = 0; j < a->columns; j++)
			sum -= log(clipped(y[j] > 0.5 ? p[j] : 1 - p[j]));
		return sum / a->columns;
	}
	for (int j = 0; j < a->columns; j++)
		sum += clipped(p[j]);
	return log(sum) - log(clipped(p[(int) a->y[row]]));
}

/* Of two classes the square of one difference, of more the sum over all. */
static double
brier_row(const nn_metric_args *a, int row)
{
	const double *p = a->out + (size_t) row * a->columns;
	double sum = 0;

	if (a->task == NN_BINARY)
		return (p[1] - a->y[row]) * (p[1] - a->y[row]);
	for (int j = 0; j < a->columns; j++)
	{
		double y = a->task == NN_MULTILABEL
					   ? a->y[(size_t) row * a->columns + j]
					   : (int) a->y[row] == j;

		sum += (p[j] - y) * (p[j] - y);
	}
	return a->task == NN_MULTILABEL ? sum / a->columns : sum;
}

static void
mean_of_rows(const nn_metric_args *a,
			 double (*of)(const nn_metric_args *a, int row), double *value)
{
	double sum = 0, total = 0;

	for (int i = 0; i < a->rows; i++)
	{
		sum += weight_of(a, i) * of(a, i);
		total += weight_of(a, i);
	}
	*value = sum / total;
}

static bool
log_loss(const nn_metric_args *a, nn_arena *scratch, double *value,
		 nn_error *err)
{
	(void) scratch;
	(void) err;
	mean_of_rows(a, log_loss_row, value);
	return true;
}

static bool
brier(const nn_metric_args *a, nn_arena *scratch, double *value, nn_error *err)
{
	(void) scratch;
	(void) err;
	mean_of_rows(a, brier_row, value);
	return true;
}

/* --- numbers: the mean over the targets --- */

static double
squared(double y, double predicted)
{
	return (y - predicted) * (y - predicted);
}

static double
absolute(double y, double predicted)
{
	return fabs(y - predicted);
}

static double
relative(double y, double predicted)
{
	return fabs(y - predicted) / fmax(fabs(y), DBL_EPSILON);
}

/* The mean of an error over the rows, of one target. */
static double
mean_error(const nn_metric_args *a, int column,
		   double (*error)(double y, double predicted))
{
	double sum = 0, total = 0;

	for (int i = 0; i < a->rows; i++)
	{
		size_t at = (size_t) i * a->columns + column;

		sum += weight_of(a, i) * error(a->y[at], a->out[at]);
		total += weight_of(a, i);
	}
	return sum / total;
}

static double
r2_column(const nn_metric_args *a, int column)
{
	double mean = 0, total = 0, residual = 0, around_mean = 0;

	if (a->rows < 2)
		return NAN;
	for (int i = 0; i < a->rows; i++)
	{
		mean += weight_of(a, i) * a->y[(size_t) i * a->columns + column];
		total += weight_of(a, i);
	}
	mean /= total;
	for (int i = 0; i < a->rows; i++)
	{
		size_t at = (size_t) i * a->columns + column;

		residual += weight_of(a, i) * squared(a->y[at], a->out[at]);
		around_mean += weight_of(a, i) * squared(a->y[at], mean);
	}
	if (around_mean == 0)
		return residual == 0 ? 1 : 0;
	return 1 - residual / around_mean;
}

static double
mse_column(const nn_metric_args *a, int column)
{
	return mean_error(a, column, squared);
}

static double
rmse_column(const nn_metric_args *a, int column)
{
	return sqrt(mean_error(a, column, squared));
}

static double
mae_column(const nn_metric_args *a, int column)
{
	return mean_error(a, column, absolute);
}

static double
mape_column(const nn_metric_args *a, int column)
{
	return mean_error(a, column, relative);
}

#define MEAN_OF_COLUMNS(name)                                                  \
	static bool name(const nn_metric_args *a, nn_arena *scratch,               \
					 double *value, nn_error *err)                             \
	{                                                                          \
		double sum = 0;                                                        \
                                                                               \
		(void) scratch;                                                        \
		(void) err;                                                            \
		for (int j = 0; j < a->columns; j++)                                   \
			sum += name##_column(a, j);                                        \
		*value = sum / a->columns;                                             \
		return true;                                                           \
	}

MEAN_OF_COLUMNS(r2)
MEAN_OF_COLUMNS(mse)
MEAN_OF_COLUMNS(rmse)
MEAN_OF_COLUMNS(mae)
MEAN_OF_COLUMNS(mape)

/* clang-format off */
#define METRIC(id, others, tells, for_tasks, greater_is_better)                \
	static const nn_metric_ops metric_##id = {                                 \
		.named = {.name = #id,                                                 \
				  .aliases = others,                                           \
				  .summary = tells,                                            \
				  .options = no_options,                                       \
				  .examples = NAMES(#id)},                                     \
		.tasks = for_tasks,                                                    \
		.maximize = greater_is_better,                                         \
		.value = id,                                                           \
	}

METRIC(accuracy, NAMES("acc", "BinaryAccuracy", "CategoricalAccuracy",
					   "SparseCategoricalAccuracy"),
	   "share of rows whose class is right", CLASSES, true);
METRIC(balanced_accuracy, NULL,
	   "mean over the classes of the share of their rows that are found",
	   CLASSES, true);
METRIC(precision, NULL,
	   "share of rows predicted to be of a class that are", CLASSES, true);
METRIC(recall, NULL, "share of rows of a class that are predicted to be",
	   CLASSES, true);
METRIC(f1, NAMES("f1_score"), "harmonic mean of precision and recall",
	   CLASSES, true);
METRIC(roc_auc, NAMES("auc"),
	   "chance that a row of a class has a greater probability than a row "
	   "of another",
	   CLASSES, true);
METRIC(log_loss, NULL,
	   "mean of the negative logarithm of the right class's probability",
	   CLASSES, false);
METRIC(brier, NAMES("brier_score"),
	   "mean of the squared differences of probabilities and classes",
	   CLASSES, false);
METRIC(mcc, NAMES("matthews_corrcoef"),
	   "correlation of predicted and true classes", CLASSES, true);
METRIC(r2, NAMES("r2_score"), "share of the variance that is explained",
	   NUMBERS, true);
METRIC(rmse, NAMES("root_mean_squared_error"),
	   "root of the mean of the squared differences", NUMBERS, false);
METRIC(mae, NAMES("mean_absolute_error"), "mean of the absolute differences",
	   NUMBERS, false);
METRIC(mse, NAMES("mean_squared_error"), "mean of the squared differences",
	   NUMBERS, false);
METRIC(mape, NAMES("mean_absolute_percentage_error"),
	   "mean of the absolute differences relative to the true value",
	   NUMBERS, false);
/* clang-format on */

const nn_metric_ops *const nn_metrics[] = {
	&metric_accuracy,
	&metric_balanced_accuracy,
	&metric_precision,
	&metric_recall,
	&metric_f1,
	&metric_roc_auc,
	&metric_log_loss,
	&metric_brier,
	&metric_mcc,
	&metric_r2,
	&metric_rmse,
	&metric_mae,
	&metric_mse,
	&metric_mape,
	NULL,
};

const nn_metric_ops *
nn_metric_default(nn_task task)
{
	return task == NN_REGRESSION ? &metric_r2 : &metric_accuracy;
}
