/*
 * graph.h
 *	  Layers joined up, and the memory they run in.
 *
 * A graph is an array of layers in evaluation order: a layer may read only
 * layers before it, so there are no cycles and nothing to sort.  By default a
 * layer reads the one before it; labels name others: "a: dense(64) relu
 * dense(64) add(a)".  A joining layer with one label joins the layer before it
 * and that one; with more labels, exactly those; "identity(a)" continues from
 * a.  Every layer must be read by another, but for the last, whose output is
 * the output.
 *
 * An encoded row is a flat row of numbers in named sections (encode.h).
 * "input(number)" is the layer that gives one section; a text that does not
 * begin with an input layer reads the whole row.
 *
 * A graph is a description.  It runs as an nn_exec: the same layers with
 * memory on a device.  Every thread of a team has an nn_exec of its own over
 * the same parameters.  All parameters lie in one block, their gradients in a
 * second block of the same layout.  Saving, loading, uploading and clipping a
 * network are therefore each one operation on one block.
 */
#ifndef NN_GRAPH_H
#define NN_GRAPH_H

#include "layer.h"

#define NN_MAX_SECTIONS 16

typedef struct nn_section
{
	const char *name;
	int offset, count; /* place in the encoded row */
	const int *levels; /* count numbers of codes per column, or NULL */
} nn_section;

typedef struct nn_layout
{
	int width; /* numbers of an encoded row */
	int nsections;
	nn_section section[NN_MAX_SECTIONS];
} nn_layout;

typedef struct nn_graph
{
	nn_arena *arena;
	const nn_layout *layout;
	const char *text; /* canonical */
	int nlayers;
	nn_layer *layers;
	size_t nparams;		/* numbers, not bytes */
	size_t ntrainable;	/* of them, the ones a gradient moves */
	double work;		/* multiplications of one row forward */
	int outputs;		/* numbers of an output row */
	bool (*stop)(void); /* of nn_device; asked while it is initialized */
} nn_graph;

/* "dense(64) relu dropout(0.2) dense(1)" becomes layers, shapes checked. */
extern nn_graph *nn_graph_build(nn_arena *arena, const char *text,
								const nn_layout *layout, nn_error *err);

/*
 * Set params (host memory, nparams numbers) by the layers' initializers, then
 * run each layer's fit over rows of x (host memory, may be NULL with rows 0:
 * then layers with a fit keep their initializers' values).
 */
extern bool nn_graph_initialize(const nn_graph *g, uint64_t seed, int rows,
								const nn_real *x, nn_real *params,
								nn_error *err);

typedef struct nn_exec
{
	const nn_graph *graph;
	nn_device *device;
	int rows; /* most rows a pass may have */
	bool training;
	nn_layer *layers; /* the graph's, with memory */
	nn_real *x;		  /* rows * layout->width: write the encoded rows here */
	nn_real *y;		  /* rows * outputs: the last layer's output */
	nn_real *dy;	  /* its gradient, NULL unless training */
	nn_real *grads;	  /* nparams, NULL unless training */
	void *memory;	  /* all of it, one piece of device memory */
	size_t bytes;
} nn_exec;

/* Bytes of device memory an exec takes.  0 and *err when it overflows. */
extern size_t nn_exec_size(const nn_graph *g, int rows, bool training,
						   nn_error *err);

/* params is device memory.  The only place where working memory is taken. */
extern nn_exec *nn_exec_create(nn_arena *arena, const nn_graph *g, nn_device *d,
							   nn_real *params, int rows, bool training,
							   nn_error *err);
extern void nn_exec_release(nn_exec *e); /* NULL is fine */

extern void nn_exec_forward(nn_exec *e, const nn_pass *p);
extern void nn_exec_backward(nn_exec *e, const nn_pass *p);
/* Of the layers before a number only. */
extern void nn_exec_forward_to(nn_exec *e, const nn_pass *p, int end);
extern void nn_exec_backward_from(nn_exec *e, const nn_pass *p, int end);
extern void nn_exec_learn(nn_exec *e, const nn_pass *p);

#endif /* NN_GRAPH_H */
