/*
 * codes.h
 *	  What the layers that read codes of categories share.
 *
 * Every column of codes has a number of levels; the levels of all columns are
 * numbered through, so that one table or row of numbers serves all columns.
 */
#ifndef NN_CODES_H
#define NN_CODES_H

#include "../layer.h"

typedef struct nn_codes
{
	int count;		   /* columns */
	const int *levels; /* of each column */
	const int *first;  /* number of each column's first level */
	int total;
} nn_codes;

/*
 * input_dim is the number of levels of every column, or 0 for those the input
 * itself knows.
 */
extern bool nn_codes_infer(nn_codes *codes, const nn_layer *l, int input_dim,
						   nn_arena *arena, nn_error *err);

#endif /* NN_CODES_H */
