/*
 * initializer.c
 *	  First values of parameters: Keras' initializers.
 *
 * Scaled ones follow keras/src/initializers/random_initializers.py:
 * the variance is scale / fan, where fan is the number of inputs, of outputs,
 * or their mean.  A truncated normal redraws what is beyond two standard
 * deviations, which leaves 0.8796 of its standard deviation; Keras divides by
 * that, so that the variance is the one asked for.
 */
#include <math.h>
#include <stddef.h>

#include "layer.h"

/* the standard deviation of a standard normal cut at -2 and 2 */
#define TRUNCATED_STDDEV 0.87962566103423978

/* orthogonal() takes about this many multiplications: seconds */
#define MAX_ORTHOGONAL ((double) (UINT64_C(1) << 34))

typedef struct conf
{
	double a, b; /* mean and standard deviation, bounds, value, gain, scale */
	int mode, distribution;
} conf;

enum
{
	FAN_IN,
	FAN_OUT,
	FAN_AVG
};

enum
{
	TRUNCATED,
	UNTRUNCATED,
	UNIFORM
};

static double
truncated_normal(nn_key key, uint64_t i)
{
	for (int attempt = 0; attempt < 256; attempt++)
	{
		double v = nn_random_normal(key, i << 8 | (uint64_t) attempt);

		if (fabs(v) <= 2)
			return v;
	}
	return 0;
}

static void
fill_truncated(double mean, double stddev, nn_key key, size_t n, nn_real *out)
{
	for (size_t i = 0; i < n; i++)
		out[i] = (nn_real) (mean + stddev * truncated_normal(key, i));
}

static void
fill_normal(double mean, double stddev, nn_key key, size_t n, nn_real *out)
{
	for (size_t i = 0; i < n; i++)
		out[i] = (nn_real) (mean + stddev * nn_random_normal(key, i));
}

static void
fill_uniform(double min, double max, nn_key key, size_t n, nn_real *out)
{
	for (size_t i = 0; i < n; i++)
		out[i] = (nn_real) (min + (max - min) * nn_random_uniform(key, i));
}

static void
fill_scaled(double scale, int mode, int distribution, const nn_param *p,
			nn_key key, nn_real *out)
{
	double fan = mode == FAN_IN	   ? p->fan_in
				 : mode == FAN_OUT ? p->fan_out
								   : (p->fan_in + (double) p->fan_out) / 2;
	double variance = scale / fmax(1, fan);
	size_t n = nn_count(&p->shape);

	if (distribution == TRUNCATED)
		fill_truncated(0, sqrt(variance) / TRUNCATED_STDDEV, key, n, out);
	else if (distribution == UNTRUNCATED)
		fill_normal(0, sqrt(variance), key, n, out);
	else
		fill_uniform(-sqrt(3 * variance), sqrt(3 * variance), key, n, out);
}

/*
 * Make count vectors of a length orthonormal, in order (modified Gram and
 * Schmidt, twice over for accuracy).  This is the Q of a QR decomposition
 * whose R has a positive diagonal, as Keras makes it.
 */
static void
orthonormalize(double *v, size_t count, size_t length, bool (*stop)(void))
{
	for (size_t i = 0; i < count && !nn_stops(stop); i++)
	{
		double *x = v + i * length, norm = 0;

		for (int pass = 0; pass < 2; pass++)
			for (size_t j = 0; j < i; j++)
			{
				const double *q = v + j * length;
				double dot = 0;

				for (size_t k = 0; k < length; k++)
					dot += q[k] * x[k];
				for (size_t k = 0; k < length; k++)
					x[k] -= dot * q[k];
			}
		for (size_t k = 0; k < length; k++)
			norm += x[k] * x[k];
		norm = sqrt(norm);
		for (size_t k = 0; k < length; k++)
			x[k] /= norm;
	}
}

static bool
orthogonal(const void *vconf, const nn_param *p, nn_arena *scratch, nn_key key,
		   nn_real *out, nn_error *err)
{
	const conf *c = vconf;
	size_t columns, rows, count, length;
	double *v;

	if (p->shape.ndim < 2)
		return nn_fail(err, NN_SHAPE,
					   "initializer \"orthogonal\" needs a matrix, but "
					   "parameter \"%s\" has %d dimension",
					   p->name, p->shape.ndim);
	columns = (size_t) p->shape.dim[p->shape.ndim - 1];
	rows = nn_count(&p->shape) / columns;
	count = rows < columns ? rows : columns;
	length = rows < columns ? columns : rows;
	if ((double) count * (double) count * (double) length > MAX_ORTHOGONAL)
		return nn_fail(err, NN_LIMIT,
					   "parameter \"%s\" is too large for initializer "
					   "\"orthogonal\"",
					   p->name);
	v = nn_alloc_array(scratch, count * length, sizeof(double), err);
	if (v == NULL)
		return false;
	for (size_t i = 0; i < count * length; i++)
		v[i] = nn_random_normal(key, i);
	orthonormalize(v, count, length, p->stop);
	for (size_t i = 0; i < rows; i++)
		for (size_t j = 0; j < columns; j++)
			out[i * columns + j] =
				(nn_real) (c->a * (rows < columns ? v[i * length + j]
												  : v[j * length + i]));
	return true;
}

static bool
identity(const void *vconf, const nn_param *p, nn_arena *scratch, nn_key key,
		 nn_real *out, nn_error *err)
{
	const conf *c = vconf;

	(void) scratch;
	(void) key;
	if (p->shape.ndim != 2)
		return nn_fail(err, NN_SHAPE,
					   "initializer \"identity\" needs a matrix, but "
					   "parameter \"%s\" has %d dimensions",
					   p->name, p->shape.ndim);
	for (int i = 0; i < p->shape.dim[0]; i++)
		for (int j = 0; j < p->shape.dim[1]; j++)
			*out++ = i == j ? (nn_real) c->a : 0;
	return true;
}

/* One function of the common signature from one statement. */
#define FILL(fname, statement)                                                 \
	static bool fname(const void *vconf, const nn_param *p, nn_arena *scratch, \
					  nn_key key, nn_real *out, nn_error *err)                 \
	{                                                                          \
		const conf *c = vconf;                                                 \
		size_t n = nn_count(&p->shape);                                        \
                                                                               \
		(void) c;                                                              \
		(void) n;                                                              \
		(void) scratch;                                                        \
		(void) key;                                                            \
		(void) err;                                                            \
		statement;                                                             \
		return true;                                                           \
	}

FILL(glorot_uniform, fill_scaled(1, FAN_AVG, UNIFORM, p, key, out))
FILL(glorot_normal, fill_scaled(1, FAN_AVG, TRUNCATED, p, key, out))
FILL(he_uniform, fill_scaled(2, FAN_IN, UNIFORM, p, key, out))
FILL(he_normal, fill_scaled(2, FAN_IN, TRUNCATED, p, key, out))
FILL(lecun_uniform, fill_scaled(1, FAN_IN, UNIFORM, p, key, out))
FILL(lecun_normal, fill_scaled(1, FAN_IN, TRUNCATED, p, key, out))
FILL(scaled, fill_scaled(c->a, c->mode, c->distribution, p, key, out))
FILL(random_normal, fill_normal(c->a, c->b, key, n, out))
FILL(random_uniform, fill_uniform(c->a, c->b, key, n, out))
FILL(truncated, fill_truncated(c->a, c->b, key, n, out))
FILL(zeros, for (size_t i = 0; i < n; i++) out[i] = 0)
FILL(ones, for (size_t i = 0; i < n; i++) out[i] = 1)
FILL(constant, for (size_t i = 0; i < n; i++) out[i] = (nn_real) c->a)

#define REAL(oname, field, def, lo, hi, text)                                  \
	{                                                                          \
		.name = oname, .type = NN_OPT_REAL, .offset = offsetof(conf, field),   \
		.initial = def, .min = lo, .max = hi, .help = text                     \
	}
#define CHOICE(oname, field, list, text)                                       \
	{                                                                          \
		.name = oname, .type = NN_OPT_CHOICE, .offset = offsetof(conf, field), \
		.choices = list, .help = text                                          \
	}

static const char *const modes[] = {"fan_in", "fan_out", "fan_avg", NULL};
static const char *const distributions[] = {
	"truncated_normal", "untruncated_normal", "uniform", NULL};

static const nn_option no_options[] = {{.name = NULL}};
static const nn_option normal_options[] = {
	REAL("mean", a, 0, -1e30, 1e30, "Mean of the numbers."),
	REAL("stddev", b, 0.05, 0, 1e30, "Standard deviation of the numbers."),
	{.name = NULL}};
static const nn_option uniform_options[] = {
	REAL("minval", a, -0.05, -1e30, 1e30, "Least number."),
	REAL("maxval", b, 0.05, -1e30, 1e30, "Greatest number."),
	{.name = NULL}};
static const nn_option constant_options[] = {
	REAL("value", a, 0, -1e30, 1e30, "Value of all numbers."), {.name = NULL}};
static const nn_option gain_options[] = {
	REAL("gain", a, 1, -1e30, 1e30, "Factor of the matrix."), {.name = NULL}};
static const nn_option scaling_options[] = {
	REAL("scale", a, 1, 0, 1e30, "Variance times the fan."),
	CHOICE("mode", mode, modes, "What the variance is divided by."),
	CHOICE("distribution", distribution, distributions,
		   "Distribution of the numbers."),
	{.name = NULL}};

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
#define INITIALIZER(iname, function, table, other, text, ...)                  \
	static const nn_initializer_ops iname##_ops = {                            \
		.named = {.name = #iname,                                              \
				  .aliases = other,                                            \
				  .summary = text,                                             \
				  .conf_size = sizeof(conf),                                   \
				  .options = table,                                            \
				  .examples = LIST(__VA_ARGS__)},                              \
		.fill = function}

INITIALIZER(glorot_uniform, glorot_uniform, no_options, LIST("xavier_uniform"),
			"uniform of variance 2 / (inputs + outputs)", "glorot_uniform");
INITIALIZER(glorot_normal, glorot_normal, no_options, LIST("xavier_normal"),
			"truncated normal of variance 2 / (inputs + outputs)",
			"glorot_normal");
INITIALIZER(he_uniform, he_uniform, no_options, LIST("kaiming_uniform"),
			"uniform of variance 2 / inputs", "he_uniform");
INITIALIZER(he_normal, he_normal, no_options, LIST("kaiming_normal"),
			"truncated normal of variance 2 / inputs", "he_normal");
INITIALIZER(lecun_uniform, lecun_uniform, no_options, NULL,
			"uniform of variance 1 / inputs", "lecun_uniform");
INITIALIZER(lecun_normal, lecun_normal, no_options, NULL,
			"truncated normal of variance 1 / inputs", "lecun_normal");
INITIALIZER(random_normal, random_normal, normal_options, LIST("normal"),
			"normal", "random_normal(0, 0.1)");
INITIALIZER(random_uniform, random_uniform, uniform_options, LIST("uniform"),
			"uniform", "random_uniform(-0.1, 0.1)");
INITIALIZER(truncated_normal, truncated, normal_options, LIST("trunc_normal"),
			"normal without what is beyond two standard deviations",
			"truncated_normal(stddev = 0.1)");
INITIALIZER(zeros, zeros, no_options, NULL, "all zero", "zeros");
INITIALIZER(ones, ones, no_options, NULL, "all one", "ones");
INITIALIZER(constant, constant, constant_options, NULL, "all the same value",
			"constant(0.5)");
INITIALIZER(orthogonal, orthogonal, gain_options, NULL,
			"a matrix of orthonormal rows or columns", "orthogonal(2)");
INITIALIZER(identity, identity, gain_options, LIST("eye"),
			"one on the diagonal, else zero", "identity");
INITIALIZER(variance_scaling, scaled, scaling_options, NULL,
			"random numbers of a variance divided by a fan",
			"variance_scaling(2, fan_out, uniform)",
			"variance_scaling(2, fan_avg, untruncated_normal)");

const nn_initializer_ops *const nn_initializers[] = {&glorot_uniform_ops,
													 &glorot_normal_ops,
													 &he_uniform_ops,
													 &he_normal_ops,
													 &lecun_uniform_ops,
													 &lecun_normal_ops,
													 &random_normal_ops,
													 &random_uniform_ops,
													 &truncated_normal_ops,
													 &zeros_ops,
													 &ones_ops,
													 &constant_ops,
													 &orthogonal_ops,
													 &identity_ops,
													 &variance_scaling_ops,
													 NULL};

/* for the choices of options, whose tables are constants */
const char *const nn_initializer_names[] = {"glorot_uniform",
											"glorot_normal",
											"he_uniform",
											"he_normal",
											"lecun_uniform",
											"lecun_normal",
											"random_normal",
											"random_uniform",
											"truncated_normal",
											"zeros",
											"ones",
											"constant",
											"orthogonal",
											"identity",
											"variance_scaling",
											NULL};

static const nn_initializer_ops *
find(nn_arena *arena, const nn_item *item, conf *c, nn_error *err)
{
	const nn_initializer_ops *ops = nn_named_find(
		"initializer", (const void *const *) nn_initializers, item->name, err);

	*c = (conf){0};
	if (ops == NULL ||
		!nn_options_parse(arena, item, ops->named.options, c, NULL, err))
		return NULL;
	return ops;
}

bool
nn_initializer_check(nn_arena *scratch, const nn_item *item, nn_error *err)
{
	conf c;

	return find(scratch, item, &c, err) != NULL;
}

bool
nn_initialize(nn_arena *scratch, const nn_param *param, nn_key key,
			  nn_real *out, nn_error *err)
{
	conf c;
	const nn_initializer_ops *ops = find(scratch, param->init, &c, err);

	return ops != NULL && ops->fill(&c, param, scratch, key, out, err);
}
