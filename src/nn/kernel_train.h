/*
 * kernel_train.h
 *	  Losses, optimizers and penalties; see cpu_kernels.h.
 */
#ifndef NN_KERNEL_TRAIN_H
#define NN_KERNEL_TRAIN_H

#include "kernel_rows.h"

/* clang-format off */
#define EACH_LOSS(one)														\
	one(NN_LOSS_MSE)														\
	one(NN_LOSS_MAE)														\
	one(NN_LOSS_HUBER)														\
	one(NN_LOSS_LOG_COSH)													\
	one(NN_LOSS_POISSON)													\
	one(NN_LOSS_QUANTILE)													\
	one(NN_LOSS_BINARY)														\
	one(NN_LOSS_BINARY_FOCAL)
/* clang-format on */

/* At most COLUMNS elements: values and slopes. */
static void
apply_loss(const nn_loss_args *a, int n, const nn_real *pred, const nn_real *y,
		   nn_real *value, nn_real *slope)
{
	nn_real p0 = (nn_real) a->p[0], p1 = (nn_real) a->p[1];

#define ONE(K)                                                                 \
	case K:                                                                    \
		NN_ELEMENTWISE                                                         \
		for (int j = 0; j < n; j++)                                            \
			value[j] = nn_loss_formula(K, p0, p1, pred[j], y[j], &slope[j]);   \
		break;

	switch (a->kind)
	{
		EACH_LOSS(ONE)
		case NN_LOSS_CATEGORICAL:
		case NN_LOSS_CATEGORICAL_FOCAL:
		case NN_LOSS_KINDS:
			break;
	}
#undef ONE
}

/* Losses of single numbers, where the loss of a row is the mean. */
static double
loss_of_numbers(const nn_loss_args *a)
{
	nn_real value[COLUMNS], slope[COLUMNS];
	double total = 0;

	for (int i = 0; i < a->m; i++)
	{
		double weight = a->weight ? a->weight[i] : 1, sum = 0;
		nn_real scale = (nn_real) (weight * a->scale / a->n);

		for (int first = 0; first < a->n; first += COLUMNS)
		{
			int count = a->n - first < COLUMNS ? a->n - first : COLUMNS;
			size_t at = (size_t) i * a->n + first;

			apply_loss(a, count, a->pred + at, a->y + at, value, slope);
			sum += row_sum(count, value);
			if (a->dpred == NULL)
				continue;
			NN_ELEMENTWISE
			for (int j = 0; j < count; j++)
				a->dpred[at + j] = slope[j] * scale;
		}
		total += weight * sum / a->n;
	}
	return total;
}

/* The same for rows of one number, many rows at a time. */
static double
loss_of_column(const nn_loss_args *a)
{
	nn_real value[COLUMNS], slope[COLUMNS];
	double total = 0;

	for (int first = 0; first < a->m; first += COLUMNS)
	{
		int count = a->m - first < COLUMNS ? a->m - first : COLUMNS;
		const nn_real *weight = a->weight ? a->weight + first : NULL;

		apply_loss(a, count, a->pred + first, a->y + first, value, slope);
		total += weight ? row_dot(count, value, weight) : row_sum(count, value);
		for (int i = 0; a->dpred && i < count; i++)
		{
			nn_real scale =
				(nn_real) ((weight ? (double) weight[i] : 1) * a->scale);

			a->dpred[first + i] = slope[i] * scale;
		}
	}
	return total;
}

/* log of the sum of exp(x) */
static double
log_sum(int n, const nn_real *x)
{
	nn_real part[COLUMNS], most = row_max(n, x);
	double sum = 0;

	for (int first = 0; first < n; first += COLUMNS)
	{
		int count = n - first < COLUMNS ? n - first : COLUMNS;

		NN_ELEMENTWISE
		for (int j = 0; j < count; j++)
			part[j] = nn_exp(x[first + j] - most);
		sum += row_sum(count, part);
	}
	return most + log(sum);
}

/* dpred = factor (softmax - target), the target being rest everywhere but
 * main at one place */
static void
softmax_minus_target(int n, const nn_real *x, double lse, int at, double main,
					 double rest, double factor, nn_real *dpred)
{
	nn_real shift = (nn_real) lse, scale = (nn_real) factor;

	NN_ELEMENTWISE
	for (int j = 0; j < n; j++)
		dpred[j] = scale * (nn_exp(x[j] - shift) - (nn_real) rest);
	dpred[at] = scale * (nn_exp(x[at] - shift) - (nn_real) main);
}

/*
 * Cross entropy of softmax, the target being 1 - s + s/n for the class and s/n
 * for the others, s the label smoothing (Szegedy et al. 2016, arXiv
 * 1512.00567, section 7); or with focal weight alpha (1 - p)^gamma, p being
 * the class's probability (Lin et al. 2017, arXiv 1708.02002, equation 5).
 * Target class numbers are checked where rows are encoded; one that is
 * nevertheless outside makes the sum NaN.
 */
static double
loss_of_classes(const nn_loss_args *a)
{
	bool focal = a->kind == NN_LOSS_CATEGORICAL_FOCAL;
	double smoothing = focal ? 0 : a->p[0], total = 0;
	int n = a->n;

	for (int i = 0; i < a->m; i++)
	{
		const nn_real *x = a->pred + (size_t) i * n;
		double weight = a->weight ? a->weight[i] : 1, value, factor = 1, lse;
		bool inside = a->y[i] >= 0 && a->y[i] < (nn_real) n;
		int label = inside ? (int) a->y[i] : 0;

		lse = log_sum(n, x);
		if (focal)
		{
			double logp = x[label] - lse;
			double q = -expm1(logp < 0 ? logp : 0);
			double power;

			q = q < DBL_MIN ? DBL_MIN : q;
			power = a->p[1] * pow(q, a->p[0]);
			value = -power * logp;
			factor = power - a->p[0] * power / q * exp(logp) * logp;
		}
		else
		{
			value = lse - (1 - smoothing) * x[label];
			if (smoothing != 0)
				value -= smoothing / n * row_sum(n, x);
		}
		total += inside ? weight * value : NAN;
		if (a->dpred)
			softmax_minus_target(
				n, x, lse, label, 1 - smoothing + smoothing / n, smoothing / n,
				factor * weight * a->scale, a->dpred + (size_t) i * n);
	}
	return total;
}

static void
k_loss(nn_device *d, const nn_loss_args *a)
{
	double total;

	(void) d;
	if (a->kind == NN_LOSS_CATEGORICAL || a->kind == NN_LOSS_CATEGORICAL_FOCAL)
		total = loss_of_classes(a);
	else if (a->n == 1)
		total = loss_of_column(a);
	else
		total = loss_of_numbers(a);
	*a->sum += total;
}

/* The gradient as every optimizer sees it. */
NN_FORMULA nn_real
clipped(nn_real g, nn_real scale, nn_real limit)
{
	return nn_at_most(nn_at_least(g * scale, -limit), limit);
}

static void
update_sgd(const nn_optimizer_args *a, nn_real scale, nn_real limit,
		   nn_real keep)
{
	nn_real rate = (nn_real) a->rate, momentum = (nn_real) a->momentum;
	nn_real *velocity = a->slot[0], *p = a->param;
	bool nesterov = a->nesterov;

	if (a->momentum == 0)
	{
		NN_ELEMENTWISE
		for (size_t i = 0; i < a->n; i++)
			p[i] = p[i] * keep - rate * clipped(a->grad[i], scale, limit);
		return;
	}
	NN_ELEMENTWISE
	for (size_t i = 0; i < a->n; i++)
	{
		nn_real g = clipped(a->grad[i], scale, limit);
		nn_real v = momentum * velocity[i] + g;

		velocity[i] = v;
		p[i] = p[i] * keep - rate * (nesterov ? g + momentum * v : v);
	}
}

/* Kingma and Ba 2015, arXiv 1412.6980, algorithm 1; Reddi et al. 2018, arXiv
 * 1904.09237, algorithm 2 (amsgrad) */
static void
update_adam(const nn_optimizer_args *a, nn_real scale, nn_real limit,
			nn_real keep)
{
	nn_real b1 = (nn_real) a->momentum, b2 = (nn_real) a->rho;
	nn_real c1 = (nn_real) (1 - a->momentum), c2 = (nn_real) (1 - a->rho);
	nn_real step = (nn_real) (a->rate / (1 - pow(a->momentum, (double) a->t)));
	nn_real unbias = (nn_real) (1 / sqrt(1 - pow(a->rho, (double) a->t)));
	nn_real epsilon = (nn_real) a->epsilon;
	nn_real *m = a->slot[0], *v = a->slot[1], *most = a->slot[2];
	nn_real *p = a->param;

	if (a->amsgrad)
	{
		NN_ELEMENTWISE
		for (size_t i = 0; i < a->n; i++)
		{
			nn_real g = clipped(a->grad[i], scale, limit);

			m[i] = b1 * m[i] + c1 * g;
			v[i] = b2 * v[i] + c2 * (g * g);
			most[i] = nn_at_least(v[i], most[i]);
			p[i] = p[i] * keep -
				   step * m[i] / (nn_sqrt(most[i]) * unbias + epsilon);
		}
		return;
	}
	NN_ELEMENTWISE
	for (size_t i = 0; i < a->n; i++)
	{
		nn_real g = clipped(a->grad[i], scale, limit);

		m[i] = b1 * m[i] + c1 * g;
		v[i] = b2 * v[i] + c2 * (g * g);
		p[i] = p[i] * keep - step * m[i] / (nn_sqrt(v[i]) * unbias + epsilon);
	}
}

/*
 * Tieleman and Hinton 2012, lecture 6.5; centered: Graves 2013, arXiv
 * 1308.0850, equations 38 to 41.  centered and moving are constants where this
 * is expanded.
 */
NN_FORMULA void
update_rmsprop(const nn_optimizer_args *a, nn_real scale, nn_real limit,
			   nn_real keep, const bool centered, const bool moving)
{
	nn_real rho = (nn_real) a->rho, rest = (nn_real) (1 - a->rho);
	nn_real rate = (nn_real) a->rate, momentum = (nn_real) a->momentum;
	nn_real epsilon = (nn_real) a->epsilon;
	nn_real *v = a->slot[0], *velocity = a->slot[1], *mean = a->slot[2];
	nn_real *p = a->param;

	NN_ELEMENTWISE
	for (size_t i = 0; i < a->n; i++)
	{
		nn_real g = clipped(a->grad[i], scale, limit), var;

		var = rho * v[i] + rest * (g * g);
		v[i] = var;
		if (centered)
		{
			nn_real average = rho * mean[i] + rest * g;

			mean[i] = average;
			var = nn_at_least(var - average * average, 0);
		}
		g = g / (nn_sqrt(var) + epsilon);
		if (moving)
		{
			g = momentum * velocity[i] + g;
			velocity[i] = g;
		}
		p[i] = p[i] * keep - rate * g;
	}
}

/* Duchi, Hazan and Singer, JMLR 12, 2011 */
static void
update_adagrad(const nn_optimizer_args *a, nn_real scale, nn_real limit,
			   nn_real keep)
{
	nn_real rate = (nn_real) a->rate, epsilon = (nn_real) a->epsilon;
	nn_real *sum = a->slot[0], *p = a->param;

	NN_ELEMENTWISE
	for (size_t i = 0; i < a->n; i++)
	{
		nn_real g = clipped(a->grad[i], scale, limit);

		sum[i] += g * g;
		p[i] = p[i] * keep - rate * g / (nn_sqrt(sum[i]) + epsilon);
	}
}

static void
k_optimizer(nn_device *d, const nn_optimizer_args *a)
{
	nn_real scale =
		a->squares ? (nn_real) nn_clip_scale(*a->squares, a->most) : 1;
	nn_real limit = a->clip_value > 0 ? (nn_real) a->clip_value : INFINITY;
	nn_real keep = (nn_real) (1 - a->rate * a->decay);

	(void) d;
	switch (a->kind)
	{
		case NN_OPTIMIZER_SGD:
			update_sgd(a, scale, limit, keep);
			break;
		case NN_OPTIMIZER_ADAM:
			update_adam(a, scale, limit, keep);
			break;
		case NN_OPTIMIZER_RMSPROP:
			if (a->centered && a->momentum != 0)
				update_rmsprop(a, scale, limit, keep, true, true);
			else if (a->centered)
				update_rmsprop(a, scale, limit, keep, true, false);
			else if (a->momentum != 0)
				update_rmsprop(a, scale, limit, keep, false, true);
			else
				update_rmsprop(a, scale, limit, keep, false, false);
			break;
		case NN_OPTIMIZER_ADAGRAD:
			update_adagrad(a, scale, limit, keep);
			break;
		case NN_OPTIMIZER_KINDS:
			break;
	}
}

static void
k_optimizers(nn_device *d, int count, const nn_optimizer_args *a)
{
	for (int i = 0; i < count; i++)
		k_optimizer(d, &a[i]);
}

static void
k_sum_squares(nn_device *d, size_t n, const nn_real *x, double *sum)
{
	double s = 0;

	(void) d;
	for (size_t first = 0; first < n; first += COLUMNS)
	{
		int count = n - first < COLUMNS ? (int) (n - first) : COLUMNS;

		s += row_dot(count, x + first, x + first);
	}
	*sum += s;
}

static void
k_regularize(nn_device *d, size_t n, double l1, double l2, const nn_real *p,
			 double *sum, nn_real *dp)
{
	nn_real c1 = (nn_real) l1, c2 = (nn_real) (2 * l2), part[COLUMNS];
	double absolute = 0, square = 0;

	(void) d;
	for (size_t first = 0; first < n; first += COLUMNS)
	{
		int count = n - first < COLUMNS ? (int) (n - first) : COLUMNS;
		const nn_real *x = p + first;

		NN_ELEMENTWISE
		for (int i = 0; i < count; i++)
			part[i] = nn_abs(x[i]);
		absolute += row_sum(count, part);
		square += row_dot(count, x, x);
	}
	*sum += l1 * absolute + l2 * square;
	if (dp == NULL)
		return;
	NN_ELEMENTWISE
	for (size_t i = 0; i < n; i++)
		dp[i] += (p[i] > 0 ? c1 : (p[i] < 0 ? -c1 : 0)) + c2 * p[i];
}

#endif /* NN_KERNEL_TRAIN_H */
