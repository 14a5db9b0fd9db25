/*
 * nn.h
 *	  Names shared by the whole engine.
 *
 * The engine is plain C.  It knows nothing of PostgreSQL, of CUDA or of any
 * BLAS; it includes libc headers only, prints nothing, and never calls abort()
 * or exit().
 */
#ifndef NN_H
#define NN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The number type of all tensors.  Production builds use float.  The gradient
 * tests compile these same sources with -DNN_REAL=double -DNN_REAL_IS_DOUBLE,
 * because finite differences in single precision are too noisy to judge a
 * formula by.
 */
#ifndef NN_REAL
#define NN_REAL float
#endif
typedef NN_REAL nn_real;

/* Inline functions that CUDA's kernels call as well. */
#ifdef __CUDACC__
#define NN_INLINE static __host__ __device__ inline
#else
#define NN_INLINE static inline
#endif

#define NN_MAX_DIMS	  4
#define NN_MAX_INPUTS 8
#define NN_MAX_PARAMS 8
#define NN_NAME_SIZE  64 /* labels, layer and option names, with the zero */

/*
 * Upper bounds on what a network may be, checked before any product of sizes
 * is formed, so that hostile model bytes or layer text cannot overflow one.
 */
#define NN_MAX_LAYERS  1000
#define NN_MAX_UNITS   (1 << 20)   /* numbers per row of any tensor */
#define NN_MAX_NUMBERS (1LL << 31) /* numbers in the parameters */

typedef struct nn_shape
{
	int ndim;
	int dim[NN_MAX_DIMS];
} nn_shape;

static inline size_t
nn_count(const nn_shape *s)
{
	size_t n = 1;

	for (int i = 0; i < s->ndim; i++)
		n *= (size_t) s->dim[i];
	return n;
}

#endif /* NN_H */
