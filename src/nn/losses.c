/*
 * losses.c
 *	  The losses that can be named, and the way from a network's output to
 *	  what the user sees.
 *
 * A loss is an entry of this file and a line of its list.  The formulas, which
 * every device computes in its loss kernel, are in formula.h.
 *
 * Losses of classes take the network's output as it is (logits) and contain
 * the sigmoid or softmax, which is exact where exp() of a large number would
 * not be; so a network ends with a linear layer, and the link is applied to
 * predictions only.
 */
#include <math.h>

#include "train.h"

/* One configuration for all: the numbers of nn_loss_args, and undo. */
typedef struct loss_conf
{
	double p[2];
	bool undo;
} loss_conf;

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})
#define REGRESSION (1u << NN_REGRESSION)
#define YES_OR_NO  (1u << NN_BINARY | 1u << NN_MULTILABEL)
#define CLASSES	   (1u << NN_BINARY | 1u << NN_MULTICLASS)

static void
params(const void *conf, double p[2])
{
	const loss_conf *c = conf;

	p[0] = c->p[0];
	p[1] = c->p[1];
}

static const nn_option no_options[] = {{NULL}};

static const nn_loss_ops mean_squared_error = {
	.named = {.name = "mean_squared_error",
			  .aliases = NAMES("mse", "MSELoss"),
			  .summary = "mean of the squared differences",
			  .conf_size = sizeof(loss_conf),
			  .options = no_options,
			  .examples = NAMES("mean_squared_error")},
	.kind = NN_LOSS_MSE,
	.link = NN_LINK_IDENTITY,
	.tasks = REGRESSION,
	.params = params,
};

static const nn_loss_ops mean_absolute_error = {
	.named = {.name = "mean_absolute_error",
			  .aliases = NAMES("mae", "L1Loss"),
			  .summary = "mean of the absolute differences: learns medians",
			  .conf_size = sizeof(loss_conf),
			  .options = no_options,
			  .examples = NAMES("mean_absolute_error")},
	.kind = NN_LOSS_MAE,
	.link = NN_LINK_IDENTITY,
	.tasks = REGRESSION,
	.params = params,
};

static const nn_option huber_options[] = {
	{"delta", NN_OPT_REAL, offsetof(loss_conf, p[0]), 1, 1e-6, 1e6,
	 "Difference from which on the loss is linear instead of squared."},
	{NULL}};

static const nn_loss_ops huber = {
	.named = {.name = "huber",
			  .aliases = NAMES("HuberLoss"),
			  .summary = "squared for small differences, linear for large",
			  .conf_size = sizeof(loss_conf),
			  .options = huber_options,
			  .examples = NAMES("huber", "huber(delta = 0.5)")},
	.kind = NN_LOSS_HUBER,
	.link = NN_LINK_IDENTITY,
	.tasks = REGRESSION,
	.params = params,
};

static const nn_loss_ops log_cosh = {
	.named = {.name = "log_cosh",
			  .summary = "logarithm of the hyperbolic cosine of differences",
			  .conf_size = sizeof(loss_conf),
			  .options = no_options,
			  .examples = NAMES("log_cosh")},
	.kind = NN_LOSS_LOG_COSH,
	.link = NN_LINK_IDENTITY,
	.tasks = REGRESSION,
	.params = params,
};

static const nn_loss_ops poisson = {
	.named = {.name = "poisson",
			  .aliases = NAMES("PoissonNLLLoss"),
			  .summary = "for counts: the network gives the logarithm of "
						 "their mean",
			  .conf_size = sizeof(loss_conf),
			  .options = no_options,
			  .examples = NAMES("poisson")},
	.kind = NN_LOSS_POISSON,
	.link = NN_LINK_EXP,
	.tasks = REGRESSION,
	.params = params,
};

static const nn_option quantile_options[] = {
	{"quantile", NN_OPT_REAL, offsetof(loss_conf, p[0]), 0.5, 1e-6, 1 - 1e-6,
	 "Share of the targets that are to lie below the prediction."},
	{NULL}};

static const nn_loss_ops quantile = {
	.named = {.name = "quantile",
			  .aliases = NAMES("pinball"),
			  .summary = "learns a quantile instead of a mean",
			  .conf_size = sizeof(loss_conf),
			  .options = quantile_options,
			  .examples = NAMES("quantile", "quantile(0.9)")},
	.kind = NN_LOSS_QUANTILE,
	.link = NN_LINK_IDENTITY,
	.tasks = REGRESSION,
	.params = params,
};

static const nn_option crossentropy_options[] = {
	{"label_smoothing", NN_OPT_REAL, offsetof(loss_conf, p[0]), 0, 0, 0.99,
	 "Share of a row's certainty that is spread over all classes."},
	{"undo", NN_OPT_BOOL, offsetof(loss_conf, undo), 0, 0, 1,
	 "Whether predicted probabilities are corrected for label_smoothing."},
	{NULL}};

static const nn_loss_ops binary_crossentropy = {
	.named = {.name = "binary_crossentropy",
			  .aliases = NAMES("BCEWithLogitsLoss"),
			  .summary = "for one of two classes, or several yes-or-no targets",
			  .conf_size = sizeof(loss_conf),
			  .options = crossentropy_options,
			  .examples = NAMES("binary_crossentropy",
								"binary_crossentropy(label_smoothing = 0.1)")},
	.kind = NN_LOSS_BINARY,
	.link = NN_LINK_SIGMOID,
	.tasks = YES_OR_NO,
	.params = params,
};

static const nn_loss_ops categorical_crossentropy = {
	.named = {.name = "categorical_crossentropy",
			  .aliases =
				  NAMES("sparse_categorical_crossentropy", "CrossEntropyLoss"),
			  .summary = "for one of several classes",
			  .conf_size = sizeof(loss_conf),
			  .options = crossentropy_options,
			  .examples =
				  NAMES("categorical_crossentropy",
						"categorical_crossentropy(label_smoothing = 0.1)")},
	.kind = NN_LOSS_CATEGORICAL,
	.link = NN_LINK_SOFTMAX,
	.categorical = true,
	.tasks = CLASSES,
	.params = params,
};

static const nn_option binary_focal_options[] = {
	{"gamma", NN_OPT_REAL, offsetof(loss_conf, p[0]), 2, 0, 100,
	 "How much less rows count that are predicted well already."},
	{"alpha", NN_OPT_REAL, offsetof(loss_conf, p[1]), -1, -1, 1,
	 "Weight of the positive class, the negative having 1 - alpha; "
	 "-1: both have 1."},
	{NULL}};

static const nn_loss_ops binary_focal_crossentropy = {
	.named = {.name = "binary_focal_crossentropy",
			  .summary = "binary_crossentropy that looks at difficult rows",
			  .conf_size = sizeof(loss_conf),
			  .options = binary_focal_options,
			  .examples = NAMES("binary_focal_crossentropy",
								"binary_focal_crossentropy(gamma = 1.5, "
								"alpha = 0.25)")},
	.kind = NN_LOSS_BINARY_FOCAL,
	.link = NN_LINK_SIGMOID,
	.tasks = YES_OR_NO,
	.params = params,
};

static const nn_option categorical_focal_options[] = {
	{"gamma", NN_OPT_REAL, offsetof(loss_conf, p[0]), 2, 0, 100,
	 "How much less rows count that are predicted well already."},
	{"alpha", NN_OPT_REAL, offsetof(loss_conf, p[1]), 0.25, 0, 1,
	 "Weight of every class."},
	{NULL}};

static const nn_loss_ops categorical_focal_crossentropy = {
	.named = {.name = "categorical_focal_crossentropy",
			  .summary = "categorical_crossentropy that looks at difficult "
						 "rows",
			  .conf_size = sizeof(loss_conf),
			  .options = categorical_focal_options,
			  .examples = NAMES("categorical_focal_crossentropy",
								"categorical_focal_crossentropy(gamma = 1.5, "
								"alpha = 0.5)")},
	.kind = NN_LOSS_CATEGORICAL_FOCAL,
	.link = NN_LINK_SOFTMAX,
	.categorical = true,
	.tasks = CLASSES,
	.params = params,
};

const nn_loss_ops *const nn_losses[] = {
	&mean_squared_error,
	&mean_absolute_error,
	&huber,
	&log_cosh,
	&poisson,
	&quantile,
	&binary_crossentropy,
	&categorical_crossentropy,
	&binary_focal_crossentropy,
	&categorical_focal_crossentropy,
	NULL,
};

#define WANTS_LOGITS                                                           \
	"It is given the network's output before the sigmoid "                     \
	"or softmax."

static const nn_absent absent[] = {
	{"SmoothL1Loss", "Use huber."},
	{"BCELoss", "Use binary_crossentropy. " WANTS_LOGITS},
	{"NLLLoss", "Use categorical_crossentropy. " WANTS_LOGITS},
	{"GaussianNLLLoss", "Use quantile to learn the ends of an interval."},
	{"mean_absolute_percentage_error", "Use mean_absolute_error."},
	{"mape", "Use mean_absolute_error."},
	{"mean_squared_logarithmic_error",
	 "Use mean_squared_error on the logarithm of the target."},
	{"msle", "Use mean_squared_error on the logarithm of the target."},
	{"kl_divergence", "Use categorical_crossentropy."},
	{"KLDivLoss", "Use categorical_crossentropy."},
	{"hinge", "Use binary_crossentropy."},
	{"squared_hinge", "Use binary_crossentropy."},
	{"SoftMarginLoss", "Use binary_crossentropy."},
	{"MultiLabelSoftMarginLoss", "Use binary_crossentropy."},
	{"categorical_hinge", "Use categorical_crossentropy."},
	{"MultiMarginLoss", "Use categorical_crossentropy."},
	{"categorical_generalized_cross_entropy",
	 "Use categorical_crossentropy with label_smoothing."},
	{"dice", "Use binary_focal_crossentropy for rare classes."},
	{"tversky", "Use binary_focal_crossentropy for rare classes."},
	{"cosine_similarity", NULL},
	{"CosineEmbeddingLoss", NULL},
	{"TripletMarginLoss", NULL},
	{"circle", NULL},
	{"ctc", NULL},
	{"CTCLoss", NULL},
	{NULL, NULL},
};

nn_loss *
nn_loss_parse(nn_arena *arena, const char *text, nn_error *err)
{
	nn_loss *loss = nn_alloc_small(arena, sizeof(nn_loss), err);

	if (loss == NULL)
		return NULL;
	loss->ops = nn_named_parse(arena, "loss", (const void *const *) nn_losses,
							   absent, text, &loss->conf, &loss->text, err);
	if (loss->ops == NULL)
		return NULL;
	loss->ops->params(loss->conf, loss->p);
	loss->undo = ((const loss_conf *) loss->conf)->undo && loss->p[0] > 0;
	return loss;
}

double
nn_loss_value(const nn_loss *loss, int rows, int columns, const nn_real *pred,
			  const nn_real *y, const nn_real *weight)
{
	nn_device plain = {&nn_cpu_plain, NULL};
	double sum = 0;
	nn_loss_args args = {
		.kind = loss->ops->kind,
		.p = {loss->p[0], loss->p[1]},
		.m = rows,
		.n = columns,
		.pred = pred,
		.y = y,
		.weight = weight,
		.sum = &sum,
		.scale = 1,
	};

	nn_cpu_plain.loss(&plain, &args);
	return sum / rows;
}

/* What label smoothing made of a probability among so many, taken back. */
static double
unsmoothed(const nn_loss *loss, double p, int classes)
{
	double a = loss->p[0], least = 0.002 / classes;

	p = (p - a / classes) / (1 - a);
	return p < least ? least : p;
}

static void
softmax_row(const nn_loss *loss, int classes, nn_real *y)
{
	double greatest = y[0], sum = 0, corrected = 0;

	for (int j = 1; j < classes; j++)
		greatest = fmax(greatest, y[j]);
	for (int j = 0; j < classes; j++)
		sum += exp(y[j] - greatest);
	if (!loss->undo)
	{
		for (int j = 0; j < classes; j++)
			y[j] = (nn_real) (exp(y[j] - greatest) / sum);
		return;
	}
	for (int j = 0; j < classes; j++)
	{
		double p = unsmoothed(loss, exp(y[j] - greatest) / sum, classes);

		y[j] = (nn_real) p;
		corrected += p;
	}
	for (int j = 0; j < classes; j++)
		y[j] = (nn_real) (y[j] / corrected);
}

static double
sigmoid(const nn_loss *loss, double x)
{
	double e = exp(-fabs(x)), yes = (x < 0 ? e : 1) / (1 + e),
		   no = (x < 0 ? 1 : e) / (1 + e);

	if (loss->undo)
	{
		yes = unsmoothed(loss, yes, 2);
		no = unsmoothed(loss, no, 2);
		yes /= yes + no;
	}
	return yes;
}

void
nn_link_apply(const nn_loss *loss, int rows, int classes, nn_real *y)
{
	size_t n = (size_t) rows * classes;

	switch (loss->ops->link)
	{
		case NN_LINK_IDENTITY:
			break;
		case NN_LINK_SIGMOID:
			for (size_t i = 0; i < n; i++)
				y[i] = (nn_real) sigmoid(loss, y[i]);
			break;
		case NN_LINK_SOFTMAX:
			for (size_t i = 0; i < n; i += classes)
				softmax_row(loss, classes, y + i);
			break;
		case NN_LINK_EXP:
			for (size_t i = 0; i < n; i++)
				y[i] = (nn_real) exp(y[i]);
			break;
	}
}
