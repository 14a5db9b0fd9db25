/*
 * device.h
 *	  What a device must provide.
 *
 * A device is memory plus a fixed set of kernels.  Layers are written once, in
 * terms of kernels; devices know nothing of layers.  Every kernel works on
 * contiguous row-major nn_real, and is defined by its plain C version in
 * cpu_*.c; SIMD code, OpenBLAS and CUDA replace some or all of them.
 *
 * Kernels return nothing.  They may run later than the call.  The device
 * remembers its first failure, ignores work after it, and reports it from
 * sync() - so layers need no error checks, and shapes are checked before any
 * kernel runs (see layer.h).
 *
 * "beta" is what the destination is multiplied with before the result is
 * added: 0 overwrites (whatever was there, NaN included), 1 accumulates.
 * Sizes: m is a number of rows, n of columns; x[i][j] is x[i * n + j].
 *
 * Every kernel but gemm computes a row from that row alone, and in an order
 * that does not depend on m.  gemm keeps the same promise where
 * row_independent is set: that is what makes predict give one row alone the
 * same bits as among others.
 */
#ifndef NN_DEVICE_H
#define NN_DEVICE_H

#include "error.h"
#include "random.h"

typedef struct nn_device nn_device;

/* Functions of one number.  Formulas and sources are in formula.h. */
typedef enum nn_function
{
	NN_LINEAR,
	NN_RELU,
	NN_LEAKY_RELU, /* a = negative slope */
	NN_ELU,		   /* a = alpha */
	NN_SELU,
	NN_SIGMOID,
	NN_TANH,
	NN_SOFTPLUS,
	NN_SOFTSIGN,
	NN_EXPONENTIAL,
	NN_HARD_SIGMOID, /* x/6 + 1/2 in 0..1, as in Keras 3 and PyTorch */
	NN_GELU,		 /* exact, by erf */
	NN_SILU,
	NN_MISH,
	NN_FUNCTIONS
} nn_function;

/* Losses, as kernels.  Formulas are in formula.h; y is the target. */
typedef enum nn_loss_kind
{
	NN_LOSS_MSE,
	NN_LOSS_MAE,
	NN_LOSS_HUBER, /* p[0] = delta */
	NN_LOSS_LOG_COSH,
	NN_LOSS_POISSON,		   /* prediction is the logarithm of the rate */
	NN_LOSS_QUANTILE,		   /* p[0] = quantile */
	NN_LOSS_BINARY,			   /* logits, y in 0..1; p[0] = label smoothing */
	NN_LOSS_BINARY_FOCAL,	   /* p[0] = gamma, p[1] = alpha or < 0 */
	NN_LOSS_CATEGORICAL,	   /* logits, y one column: class number;
								* p[0] = label smoothing */
	NN_LOSS_CATEGORICAL_FOCAL, /* p[0] = gamma, p[1] = alpha */
	NN_LOSS_KINDS
} nn_loss_kind;

/*
 * m rows of pred, n columns.  y has n columns, or one for the categorical
 * kinds.  weight is one number a row or NULL.  The loss of a row is the mean
 * over its columns (one value for the categorical kinds).
 * *sum += the sum over rows of weight * loss;
 * dpred = the derivative of that sum times scale, unless NULL.
 */
typedef struct nn_loss_args
{
	nn_loss_kind kind;
	double p[2];
	int m, n;
	const nn_real *pred, *y, *weight;
	double *sum; /* device memory */
	nn_real *dpred;
	double scale; /* usually 1 / rows of the whole batch */
} nn_loss_args;

typedef enum nn_optimizer_kind
{
	NN_OPTIMIZER_SGD,	  /* slot 0: momentum */
	NN_OPTIMIZER_ADAM,	  /* slots: m, v, and the greatest v with amsgrad */
	NN_OPTIMIZER_RMSPROP, /* slots: v, momentum, mean gradient */
	NN_OPTIMIZER_ADAGRAD, /* slot 0: sum of squares */
	NN_OPTIMIZER_KINDS
} nn_optimizer_kind;

/*
 * One update of n parameters, PyTorch's formulas (torch.optim documentation).
 * Where squares is not NULL, grad is first brought to a norm of at most `most`
 * (nn_clip_scale; Pascanu, Mikolov and Bengio, 2013).  Then it is limited to
 * +-clip_value where that is > 0.  decay is decoupled: param -= rate * decay *
 * param, before the update (Loshchilov and Hutter, 2019, algorithm 2).
 */
typedef struct nn_optimizer_args
{
	nn_optimizer_kind kind;
	double rate, decay;
	const double *squares; /* device memory: the squared norm; or NULL */
	double most;
	double clip_value;
	double momentum; /* sgd, rmsprop; beta 1 of adam */
	double rho;		 /* rmsprop's alpha; beta 2 of adam */
	double epsilon;
	bool nesterov, centered, amsgrad;
	int64_t t; /* this step, from 1 */
	size_t n;
	const nn_real *grad;
	nn_real *slot[3];
	nn_real *param;
} nn_optimizer_args;

/* Which rows of a matrix are meant: row i is that of number order.at(first + i),
 * see nn_order_at. */
typedef struct nn_rows
{
	nn_order order;
	uint32_t first;
} nn_rows;

/*
 * Dense layers in a row, each of at most NN_MLP_WIDTH inputs and outputs, with
 * the loss after the last: see the kernels dense, dropout and dense_slope.
 */
#define NN_MLP_LAYERS 8
#define NN_MLP_WIDTH  128

typedef struct nn_mlp_layer
{
	int inputs, outputs;
	nn_function f;
	double a;
	const nn_real *w, *b; /* b, db may be NULL */
	nn_real *dw, *db;
	double dropout; /* rate of that of its output; 0: none */
	nn_key key;		/* of the dropout, whose first number is 0 */
	/* what is done with dw and db, once they and dx are there; or NULL */
	const nn_optimizer_args *w_update, *b_update;
} nn_mlp_layer;

typedef struct nn_mlp_args
{
	int nlayers;
	nn_mlp_layer layer[NN_MLP_LAYERS];
	const nn_real *x;
	nn_rows x_rows, y_rows; /* loss.m rows of x; of loss.y and loss.weight */
	nn_real *dx;			/* or NULL */
	nn_real dx_beta;
	nn_loss_args loss; /* pred and dpred are not looked at */
} nn_mlp_args;

/* What there is to be told about a device; zero and "" where unknown. */
typedef struct nn_device_info
{
	char name[256];
	char driver[64];
	size_t memory, memory_free;
	char reason[256]; /* why it cannot be used */
} nn_device_info;

/*
 * Seconds that work takes on a device: measured by a process that has opened
 * one, and what is usual before.
 */
typedef struct nn_device_costs
{
	bool measured;
	double start;	/* to open it, in a process that has not yet */
	double launch;	/* to start a kernel, or a step that has come before */
	double node;	/* for each kernel of such a step */
	double byte;	/* to copy it to the device or back */
	double product; /* a multiplication and an addition of a matrix product */
} nn_device_costs;

typedef struct nn_device_ops
{
	const char *name;
	bool row_independent; /* gemm computes each row as if it were alone */
	bool own_memory;	  /* the host cannot touch what alloc returns */
	int ordinal; /* of the devices, that which trainers and predictors open */

	/* false: there is no device of this number; leaves nothing behind */
	bool (*describe)(int ordinal, nn_device_info *info);

	/* memory; alloc returns NULL when there is none; memory is not zeroed */
	bool (*open)(nn_device *d, int ordinal, nn_error *err);
	void (*close)(nn_device *d);
	/* whether the process takes memory of devices though all are closed; NULL:
	 * it never does */
	bool (*occupied)(void);
	void *(*alloc)(nn_device *d, size_t bytes);
	void (*free)(nn_device *d, void *p);
	void (*upload)(nn_device *d, void *dst, const void *src, size_t bytes);
	void (*download)(nn_device *d, void *dst, const void *src, size_t bytes);
	void (*copy)(nn_device *d, void *dst, const void *src, size_t bytes);
	void (*zero)(nn_device *d, void *dst, size_t bytes);
	bool (*sync)(nn_device *d, nn_error *err);
	void (*costs)(nn_device_costs *costs);

	/* work between the two is likely to come again, in the same order and
	 * sizes; it need not begin before the end */
	void (*begin_step)(nn_device *d);
	void (*end_step)(nn_device *d);

	/* until the end of the step, the n numbers of x are a factor of more than
	 * one product and do not change from the first of these on: a device may
	 * keep what it makes of them */
	void (*settle)(nn_device *d, const nn_real *x, size_t n);

	/* host memory that is copied to and from while the host goes on; of other
	 * memory, a copy may wait for the work before it */
	void *(*alloc_host)(nn_device *d, size_t bytes);
	void (*free_host)(nn_device *d, void *p);

	/* index[i] = the place of the i-th of m rows, device memory */
	void (*places)(nn_device *d, const nn_rows *rows, int m, uint32_t *index);

	/* y[i] = x[index[i]], rows of n; index is device memory */
	void (*gather)(nn_device *d, int m, int n, const nn_real *x,
				   const uint32_t *index, nn_real *y);
	/* the same where x is host memory, too, which may be overwritten at once;
	 * index NULL: y[i] = x[i] */
	void (*upload_rows)(nn_device *d, int m, int n, const nn_real *x,
						const uint32_t *index, nn_real *y);

	/* --- matrix products; a and b transposed on request --- */

	/* c[m][n] = a[m][k] b[k][n] + beta c */
	void (*gemm)(nn_device *d, bool ta, bool tb, int m, int n, int k,
				 const nn_real *a, const nn_real *b, nn_real beta, nn_real *c);
	/* y[m][n] = f(x[m][k] w[k][n] + b[n]);  b may be NULL.  z, unless NULL,
	 * receives the argument of f (for f whose slope needs it). */
	void (*dense)(nn_device *d, int m, int n, int k, const nn_real *x,
				  const nn_real *w, const nn_real *b, nn_function f, double a,
				  nn_real *z, nn_real *y);
	/* dz = dy f'  (dz may be dy) and db[j] = sum over i of dz[i][j], db may be
	 * NULL.  f' is computed from z where nn_function_needs_input(f), else
	 * from y. */
	void (*dense_slope)(nn_device *d, int m, int n, nn_function f, double a,
						const nn_real *z, const nn_real *y, const nn_real *dy,
						nn_real *dz, nn_real *db);

	/* --- elementwise, n numbers --- */

	/* y = f(x) */
	void (*map)(nn_device *d, nn_function f, double a, size_t n,
				const nn_real *x, nn_real *y);
	/* dx = dy f'(x) + beta dx; x may be NULL where the slope needs only y */
	void (*map_slope)(nn_device *d, nn_function f, double a, size_t n,
					  const nn_real *x, const nn_real *y, const nn_real *dy,
					  nn_real beta, nn_real *dx);
	/* y = alpha x + beta y */
	void (*axpby)(nn_device *d, size_t n, nn_real alpha, const nn_real *x,
				  nn_real beta, nn_real *y);
	/* y = a b + beta y */
	void (*multiply)(nn_device *d, size_t n, const nn_real *a, const nn_real *b,
					 nn_real beta, nn_real *y);
	/* y = x / (1 - rate) where a random number says so, else 0, + beta y.
	 * The number of element i is nn_random_bits(key, first + i). */
	void (*dropout)(nn_device *d, size_t n, double rate, nn_key key,
					uint64_t first, const nn_real *x, nn_real beta, nn_real *y);

	/* --- rows and columns of a matrix --- */

	/* s[j] = sum over i of x[i][j], + beta s */
	void (*sum_rows)(nn_device *d, int m, int n, const nn_real *x, nn_real beta,
					 nn_real *s);
	/* s[j] = sum over i of a[i][j] b[i][j], + beta s */
	void (*dot_rows)(nn_device *d, int m, int n, const nn_real *a,
					 const nn_real *b, nn_real beta, nn_real *s);
	/* y[i][j] = x[i][j] s[j] + t[j] + beta y; t may be NULL */
	void (*scale_rows)(nn_device *d, int m, int n, const nn_real *x,
					   const nn_real *s, const nn_real *t, nn_real beta,
					   nn_real *y);
	/* y[i][yo + j] = x[i][xo + j] + beta y, j < n; xs, ys: columns of x, y */
	void (*copy_columns)(nn_device *d, int m, int n, const nn_real *x, int xs,
						 int xo, nn_real beta, nn_real *y, int ys, int yo);

	/* --- normalization --- */

	/* s[j] = sum over i of (x[i][j] - mean[j])^2 */
	void (*sum_squares_rows)(nn_device *d, int m, int n, const nn_real *x,
							 const nn_real *mean, nn_real *s);
	/* xhat = (x - mean) / sqrt(var + epsilon), y = gamma xhat + beta; gamma,
	 * beta (either may be NULL) and xhat (may be NULL) by column */
	void (*batch_norm)(nn_device *d, int m, int n, double epsilon,
					   const nn_real *x, const nn_real *mean,
					   const nn_real *var, const nn_real *gamma,
					   const nn_real *beta, nn_real *xhat, nn_real *y);
	/* dx = gamma / sqrt(var + epsilon) (dy - sum_dy / rows - xhat sum_dyx /
	 * rows) + beta dx, where sum_dy[j] = sum of dy and sum_dyx[j] = sum of
	 * dy xhat over all rows of the batch */
	void (*batch_norm_slope)(nn_device *d, int m, int n, double epsilon,
							 int rows, const nn_real *xhat, const nn_real *var,
							 const nn_real *gamma, const nn_real *sum_dy,
							 const nn_real *sum_dyx, const nn_real *dy,
							 nn_real beta, nn_real *dx);
	/* by row: mean[i], rstd[i] = 1/sqrt(var + epsilon); y = gamma (x - mean)
	 * rstd + beta; gamma and beta by column, either may be NULL */
	void (*layer_norm)(nn_device *d, int m, int n, double epsilon,
					   const nn_real *x, const nn_real *gamma,
					   const nn_real *beta, nn_real *mean, nn_real *rstd,
					   nn_real *y);
	/* dgamma and dbeta (either may be NULL) are overwritten; dx may be NULL */
	void (*layer_norm_slope)(nn_device *d, int m, int n, const nn_real *x,
							 const nn_real *gamma, const nn_real *mean,
							 const nn_real *rstd, const nn_real *dy,
							 nn_real beta, nn_real *dx, nn_real *dgamma,
							 nn_real *dbeta);
	/* by row, with the greatest number subtracted first */
	void (*softmax)(nn_device *d, int m, int n, const nn_real *x, nn_real *y);
	void (*softmax_slope)(nn_device *d, int m, int n, const nn_real *y,
						  const nn_real *dy, nn_real beta, nn_real *dx);

	/*
	 * --- lookup ---
	 *
	 * code[i][c], c < ncodes, are whole numbers; table c has levels[c] rows
	 * and begins at row first[c] of one table of rows of width n.  A code
	 * outside 0 .. levels[c] - 1 gives zeros.  levels and first are host
	 * memory.  y[i] is ncodes * n wide.
	 */
	void (*lookup)(nn_device *d, int m, int ncodes, int n, const int *levels,
				   const int *first, const nn_real *code, const nn_real *table,
				   nn_real *y);
	/* dtable (all rows, total of them) is overwritten */
	void (*lookup_slope)(nn_device *d, int m, int ncodes, int n,
						 const int *levels, const int *first, int total,
						 const nn_real *code, const nn_real *dy,
						 nn_real *dtable);
	/* y[i][first[c] + l] = on[..] where code[i][c] = l, else off[..]; y is
	 * total wide; on and off are total wide, device memory */
	void (*one_hot)(nn_device *d, int m, int ncodes, const int *levels,
					const int *first, int total, const nn_real *code,
					const nn_real *on, const nn_real *off, nn_real *y);

	/*
	 * --- piecewise-linear embedding (Gorishniy et al. 2022, arXiv
	 * 2203.05556; version B of rtdl-num-embeddings) ---
	 *
	 * n columns, each with up to max_bins bins between the knots
	 * k_j = knot[c * (max_bins + 1) + j], which ascend.  A column with fewer
	 * bins repeats its last knot: its bins are the leading j with k_j < k_j+1,
	 * and any knot after the first that does not ascend is never looked at.
	 * e[i][c][u], u < units, = l[c][u] x + b[c][u] + sum over its bins j of
	 * clip((x - k_j) / (k_j+1 - k_j)) V[c][j][u], the clip to 0..1 open below
	 * in the first and above in the last bin.  V is [n][max_bins][units].  A
	 * column of no bins gets l x + b.
	 */
	void (*piecewise)(nn_device *d, int m, int n, int units, int max_bins,
					  const nn_real *knot, const nn_real *x, const nn_real *l,
					  const nn_real *b, const nn_real *v, nn_real *y);
	/* dl, db, dv are overwritten (they have no dx: the input is data) */
	void (*piecewise_slope)(nn_device *d, int m, int n, int units, int max_bins,
							const nn_real *knot, const nn_real *x,
							const nn_real *dy, nn_real *dl, nn_real *db,
							nn_real *dv);

	/* --- training --- */

	void (*loss)(nn_device *d, const nn_loss_args *a);
	void (*optimizer)(nn_device *d, const nn_optimizer_args *a);
	/* several, of parameters that do not overlap */
	void (*optimizers)(nn_device *d, int count, const nn_optimizer_args *a);
	/*
	 * Forward through layers, the loss, and backward: dw, db and dx; then
	 * updates of parameters.  False: not done, as this device does it no better
	 * than layer by layer.  NULL: as no device of this kind does.
	 */
	bool (*mlp)(nn_device *d, const nn_mlp_args *a);
	/* *sum += sum of squares of x; device memory */
	void (*sum_squares)(nn_device *d, size_t n, const nn_real *x, double *sum);
	/* *sum += l1 |p| + l2 p^2;  dp += l1 sign(p) + 2 l2 p, unless NULL */
	void (*regularize)(nn_device *d, size_t n, double l1, double l2,
					   const nn_real *p, double *sum, nn_real *dp);
} nn_device_ops;

/*
 * What a device may make of the factors of a product of matrices, before they
 * are multiplied; sums and all that is stored keep the precision of nn_real.
 * A device need not do so, nor for every product.  What flows between the
 * layers of the kernel mlp is a factor, and may be kept rounded.
 */
typedef enum nn_precision
{
	NN_FP32, /* nothing */
	NN_TF32, /* 11 significant bits */
	NN_BF16	 /* 8 significant bits */
} nn_precision;

struct nn_device
{
	const nn_device_ops *ops;
	void *state; /* the device's own */
	nn_precision precision;

	/*
	 * Whether to give up, or NULL: never.  Any thread may ask, and once the
	 * answer is yes it stays so.  Products of matrices, which may take
	 * minutes, then leave their results undone; all other kernels are done as
	 * ever, so that threads still meet.
	 */
	bool (*stop)(void);
};

static inline bool
nn_stops(bool (*stop)(void))
{
	return stop != NULL && stop();
}

static inline bool
nn_device_stops(const nn_device *d)
{
	return nn_stops(d->stop);
}

/* The same for large memory, whose pages the system has yet to find. */
static inline void
nn_device_clear(nn_device *d, void *memory, size_t bytes)
{
	const size_t most = 64 * 1024 * 1024;

	for (size_t at = 0; at < bytes && !nn_device_stops(d); at += most)
		d->ops->zero(d, (char *) memory + at,
					 bytes - at < most ? bytes - at : most);
}

/* Whether f' is computed from the argument (else from the value). */
static inline bool
nn_function_needs_input(nn_function f)
{
	return f == NN_GELU || f == NN_SILU || f == NN_MISH;
}

/* The kernels in plain C: the definition. */
extern const nn_device_ops nn_cpu_plain;

/*
 * The best kernels for this processor, chosen once by what it can do (plain C,
 * AVX2, AVX-512, NEON); row_independent.  level limits the choice for tests:
 * 0 plain, 1 first SIMD level, and so on; -1 the best.  In builds where
 * nn_real is double this is plain C.
 */
extern const nn_device_ops *nn_cpu_ops(int level);

/*
 * A provider is a shared library that replaces kernels.  It is given a copy of
 * the CPU device and overwrites what it does better: a BLAS provider the
 * matrix products, a CUDA provider all of them.  The number in the name is the
 * version of this interface, so a mismatched library is not found, rather than
 * called.  A provider that cannot do better here returns false and says why.
 */
#define NN_PROVIDER		 nn_device_provider_4
#define NN_PROVIDER_NAME "nn_device_provider_4"
typedef bool (*nn_provider)(nn_device_ops *ops, char *why, size_t why_size);

/*
 * Load a provider into *ops, which is set from nn_cpu_ops(-1) first.  All
 * signals are blocked meanwhile, so that threads the library starts can never
 * run the host program's handlers.
 */
extern bool nn_provider_load(const char *path, nn_device_ops *ops,
							 nn_error *err);

#endif /* NN_DEVICE_H */
