/*
 * error.h
 *	  How the engine reports failure.
 *
 * A function that can fail returns bool (or a pointer), takes nn_error *err
 * last, and says why exactly once:
 *
 *		return nn_fail(err, NN_SHAPE, "dense: input has %d dimensions", n);
 *
 * Reporting never allocates, so running out of memory can be reported too.
 * Messages follow PostgreSQL's style guide: the message is a clause without
 * capital and period, detail and hint are sentences.
 */
#ifndef NN_ERROR_H
#define NN_ERROR_H

#include "nn.h"

typedef enum nn_code
{
	NN_OK = 0,
	NN_INVALID,		 /* wrong argument or option */
	NN_SYNTAX,		 /* text that does not parse */
	NN_UNDEFINED,	 /* a name that does not exist */
	NN_SHAPE,		 /* tensors do not fit together */
	NN_DATA,		 /* training data nothing can be learned from */
	NN_LIMIT,		 /* larger than the engine supports */
	NN_UNSUPPORTED,	 /* known, but not offered */
	NN_CORRUPT,		 /* stored bytes are damaged */
	NN_VERSION,		 /* stored bytes are newer than this code */
	NN_NOMEM,		 /* out of host memory */
	NN_DEVICE_NOMEM, /* out of device memory */
	NN_DEVICE,		 /* the device failed */
	NN_UNAVAILABLE,	 /* no such device here */
	NN_NUMERIC,		 /* the loss is no longer finite */
	NN_INTERRUPTED	 /* asked to stop */
} nn_code;

typedef struct nn_error
{
	nn_code code;
	char message[320];
	char detail[320]; /* or empty */
	char hint[320];	  /* or empty */
	const char *file; /* where nn_fail was called */
	int line;
	const char *func;
} nn_error;

/* Record a failure.  Always false, so that callers can return it. */
#define nn_fail(err, ...)                                                      \
	nn_fail_at(err, __FILE__, __LINE__, __func__, __VA_ARGS__)

extern bool nn_fail_at(nn_error *err, const char *file, int line,
					   const char *func, nn_code code, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));

/* Add a sentence to a failure already recorded.  Always false. */
extern bool nn_detail(nn_error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
extern bool nn_hint(nn_error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * The name in a NULL-terminated list nearest to the given one, or NULL when
 * none is near enough to be meant (edit distance, case and "_" ignored).
 */
extern const char *nn_did_you_mean(const char *name, const char *const *list);

#endif /* NN_ERROR_H */
