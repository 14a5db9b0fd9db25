/*
 * gpu.h
 *	  GPUs as a resource that the sessions of a server share.
 *
 * A process that computes on a GPU holds a context there, which takes some
 * hundred megabytes of its memory; neural.gpu_slots bounds how many processes
 * do.  A use is counted: the first takes a slot, the last gives it back.
 * neural.gpu_memory_limit bounds what a process allocates beside its context;
 * neural.max_memory has no part in that.
 */
#ifndef NEURAL_GPU_H
#define NEURAL_GPU_H

#include "neural.h"

extern int neural_gpu_slots;
extern int neural_gpu_memory_limit; /* kilobytes */

/*
 * The CUDA device's kernels, with a slot taken; to be followed by
 * neural_gpu_leave().  Where there is no device or no slot: an error that says
 * so when required, else NULL and the reason.
 */
extern const nn_device_ops *neural_gpu_use(bool required, const char **why);
extern void neural_gpu_leave(void);

/* What an error says, to go on with in a sentence. */
extern char *neural_gpu_reason(const nn_error *err);

/* Whether this process has a slot, and so most likely a context. */
extern bool neural_gpu_is_used(void);

/* Device memory that is counted towards the limit, and what is left of it. */
extern void neural_gpu_count(Size bytes);
extern void neural_gpu_uncount(Size bytes);
extern Size neural_gpu_memory_left(void);
extern Size neural_gpu_memory_used(void);

/* ERROR: so many bytes are more than are left. */
extern void neural_gpu_too_little(const char *what, Size need)
	pg_attribute_noreturn();

/* Settings, from _PG_init. */
extern void neural_gpu_init(void);

#endif /* NEURAL_GPU_H */
