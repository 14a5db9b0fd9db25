/*
 * layer.h
 *	  What a layer is.
 *
 * A layer is one file in layers/ that defines one nn_layer_ops, and one line
 * in the list in layers.c.  The file begins with the formula it computes.
 *
 * The calls come in this order:
 *
 *	infer		once.  Check the input shapes, set the output shape, declare
 *				parameters and saved numbers.  The only call that can fail.
 *	fit			once, before training, optional: set parameters from a sample
 *				of the training rows (in[] holds them), on the plain CPU.
 *	forward		per pass.  Write out->data.
 *	backward	per training pass, after forward.  Given out.grad (which it may
 *				destroy), write in[]->grad and param[].grad.  Into in[i]->grad
 *				with beta = in_beta[i], as a tensor may be used by several
 *				layers; not at all where in[i]->grad is NULL.  Each parameter
 *				belongs to one layer, so param[].grad is overwritten.
 *	learn		per training pass, last, on one member only.  Optional.
 *				Update parameters that have no gradient, such as running
 *				means.  Nothing before it may change a parameter, so a pass
 *				can be abandoned.
 */
#ifndef NN_LAYER_H
#define NN_LAYER_H

#include "device.h"
#include "option.h"
#include "team.h"

/*
 * The shape of a parameter is all of it.  The shape of what flows between
 * layers is that of one row; how many rows there are is said per pass.
 * Tensors are row-major and contiguous: no strides, no views.
 */
typedef struct nn_tensor
{
	nn_shape shape;
	const int *levels; /* number of codes per column, where the numbers are
						* codes of categories; else NULL.  Host memory. */
	nn_real *data;	   /* device memory */
	nn_real *grad;	   /* same shape; NULL when no layer below learns */
	bool learns;	   /* depends on parameters that learn; set by the graph */
} nn_tensor;

typedef struct nn_param
{
	const char *name; /* "kernel", "bias", ... */
	nn_shape shape;
	const nn_item *init; /* an initializer: see initializer.h */
	int fan_in, fan_out; /* for it */
	bool trainable;
	bool kernel; /* L1, L2 and weight decay apply */
	double rate; /* factor of the learning rate */

	/* set by the graph */
	size_t offset;		/* in the block of all parameters */
	nn_real *data;		/* device memory */
	nn_real *grad;		/* this member's; NULL unless training and trainable */
	bool (*stop)(void); /* of the graph, while it is initialized */
} nn_param;

typedef struct nn_pass
{
	nn_device *device;
	int rows;		/* of this member */
	int first_row;	/* where they begin in the batch */
	int batch_rows; /* of all members */
	bool training;
	uint64_t seed; /* random numbers depend on seed, step and layer only, */
	uint64_t step; /* so forward, backward and every device agree on them */
	nn_team *team; /* or NULL; for sums over the whole batch: nn_team_sum */
	int member;
} nn_pass;

typedef struct nn_layer
{
	const struct nn_layer_ops *ops;
	const char *label; /* or NULL */
	void *conf;		   /* ops->named.conf_size bytes, from named.options */
	nn_refs refs;
	int number;						/* place in the graph */
	const struct nn_layout *layout; /* of the encoded row (graph.h) */
	int nin;
	int in_number[NN_MAX_INPUTS]; /* layers that in[] are the outputs of */
	nn_tensor *in[NN_MAX_INPUTS];
	nn_real in_beta[NN_MAX_INPUTS];
	nn_tensor out;
	int nparam;
	nn_param param[NN_MAX_PARAMS];

	int readers; /* layers that read out, each as often as it does */

	/* The function that the layer applies to its output as it writes it.  Set
	 * by infer of layers that apply or are a function. */
	nn_function function;
	double argument;
	bool fused; /* a function that the layer before applies: nothing to do */

	/* forward's notes to backward, zeroed once when placed: saved_fixed
	 * numbers, then saved_per_row numbers for every row of the pass */
	size_t saved_fixed, saved_per_row;
	nn_real *saved;
} nn_layer;

typedef struct nn_layer_ops
{
	nn_named named;
	bool takes_refs; /* arguments may be labels: add(a, b) */
	bool joins;		 /* one label alone is joined with the previous layer */
	/* While training, a layer that is but a function is fused into a layer
	 * before it that applies one, has none of its own, and no other reader. */
	bool applies_function, is_function;
	bool couples_rows; /* an output row depends on other rows when training */
	bool (*infer)(nn_layer *l, nn_arena *arena, nn_error *err);
	bool (*fit)(nn_layer *l, nn_arena *arena, int rows, uint64_t seed,
				nn_error *err);
	void (*forward)(const nn_layer *l, const nn_pass *p);
	void (*backward)(const nn_layer *l, const nn_pass *p);
	void (*learn)(const nn_layer *l, const nn_pass *p);
	/* multiplications of one row forward; NULL: the size of the output */
	double (*work)(const nn_layer *l);
} nn_layer_ops;

/*
 * The input layer's in[0] is the encoded row itself, so a layer never reads
 * anything but in[].
 */
extern const nn_layer_ops nn_layer_input;

/* Layers that a kernel may take together (tail.c): of dense, param[0] is the
 * kernel and param[1] the bias, if it has one; of dropout, argument is the
 * rate. */
extern const nn_layer_ops nn_layer_dense;
extern const nn_layer_ops nn_layer_dropout;

/* The list of all layers, NULL-terminated (layers.c). */
extern const nn_layer_ops *const nn_layers[];

/* By name.  NN_UNSUPPORTED for layers known elsewhere, else NN_UNDEFINED. */
extern const nn_layer_ops *nn_layer_find(const char *name, nn_error *err);

/*
 * For use by infer: declare a parameter.  init is an initializer's text, such
 * as "zeros", used when item is NULL.  Returns it for further settings
 * (trainable, kernel = true, rate = 1 at first), or NULL and *err.
 */
extern nn_param *nn_layer_param(nn_layer *l, nn_arena *arena, const char *name,
								nn_shape shape, const nn_item *item,
								const char *init, nn_error *err);

/* For use by infer: "<layer> \"label\": ..." shape complaints. */
extern bool nn_layer_fail(const nn_layer *l, nn_error *err, const char *fmt,
						  ...) __attribute__((format(printf, 3, 4)));

/* For use by infer of a layer that reads data and passes no gradient on. */
extern bool nn_layer_needs_data(const nn_layer *l, nn_error *err);

/* The last dimension, and how often it occurs in a row. */
static inline int
nn_last(const nn_shape *s)
{
	return s->dim[s->ndim - 1];
}

static inline int
nn_outer(const nn_shape *s)
{
	return (int) (nn_count(s) / (size_t) nn_last(s));
}

/* "[28, 28, 1]" into a buffer. */
#define NN_SHAPE_SIZE 64
extern const char *nn_shape_text(const nn_shape *s, char *buf, size_t size);

/*
 * Initializers (initializer.c): Keras' names, arguments and formulas.
 * Fills n numbers of host memory.
 */
typedef struct nn_initializer_ops
{
	nn_named named;
	bool (*fill)(const void *conf, const nn_param *param, nn_arena *scratch,
				 nn_key key, nn_real *out, nn_error *err);
} nn_initializer_ops;

extern const nn_initializer_ops *const nn_initializers[];
extern const char *const nn_initializer_names[];
/* Check an item's name and arguments. */
extern bool nn_initializer_check(nn_arena *scratch, const nn_item *item,
								 nn_error *err);
extern bool nn_initialize(nn_arena *scratch, const nn_param *param, nn_key key,
						  nn_real *out, nn_error *err);

/*
 * The activation functions by name, for dense(..., activation = relu): one name
 * for each nn_function, then other names of some.  A choice among them becomes
 * the function that is meant, so that canonical text has the first name.
 */
extern const char *const nn_function_names[];
extern nn_function nn_function_choose(int *choice);

/* The function's number where it is given none: Keras' activations.*. */
extern double nn_function_default(nn_function f);

#endif /* NN_LAYER_H */
