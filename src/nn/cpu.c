/*
 * cpu.c
 *	  The CPU as a device: its memory, and the choice of its kernels.
 *
 * Kernels run when they are called and cannot fail, so there is no state.
 */
#include <stdlib.h>
#include <string.h>

#include "cpu.h"

#if defined(__x86_64__) && !defined(NN_REAL_IS_DOUBLE)
#define HAVE_X86_LEVELS
#endif

bool
nn_cpu_describe(int ordinal, nn_device_info *info)
{
	memset(info, 0, sizeof(*info));
	return ordinal == 0;
}

bool
nn_cpu_open(nn_device *d, int ordinal, nn_error *err)
{
	if (ordinal != 0)
		return nn_fail(err, NN_UNAVAILABLE, "there is no CPU device %d",
					   ordinal);
	d->state = NULL;
	return true;
}

void
nn_cpu_close(nn_device *d)
{
	(void) d;
}

/* Whole cache lines, so that threads with neighbouring blocks share none. */
void *
nn_cpu_alloc(nn_device *d, size_t bytes)
{
	void *p;

	(void) d;
	if (bytes > SIZE_MAX / 2)
		return NULL;
	bytes = bytes == 0 ? 64 : (bytes + 63) / 64 * 64;
	return posix_memalign(&p, 64, bytes) == 0 ? p : NULL;
}

void
nn_cpu_free(nn_device *d, void *p)
{
	(void) d;
	free(p);
}

void
nn_cpu_copy(nn_device *d, void *dst, const void *src, size_t bytes)
{
	(void) d;
	if (bytes > 0)
		memmove(dst, src, bytes);
}

void
nn_cpu_zero(nn_device *d, void *dst, size_t bytes)
{
	(void) d;
	if (bytes > 0)
		memset(dst, 0, bytes);
}

bool
nn_cpu_sync(nn_device *d, nn_error *err)
{
	(void) d;
	(void) err;
	return true;
}

/* Work is done as it comes. */
void
nn_cpu_step(nn_device *d)
{
	(void) d;
}

void
nn_cpu_settle(nn_device *d, const nn_real *x, size_t n)
{
	(void) d;
	(void) x;
	(void) n;
}

/* It is open already, and what a product takes is known by its recipe. */
void
nn_cpu_costs(nn_device_costs *costs)
{
	memset(costs, 0, sizeof(*costs));
	costs->product = 1e-10;
}

const nn_device_ops *
nn_cpu_ops(int level)
{
#ifdef HAVE_X86_LEVELS
	__builtin_cpu_init();
	if ((level < 0 || level >= 2) && __builtin_cpu_supports("avx512f") &&
		__builtin_cpu_supports("avx512vl") &&
		__builtin_cpu_supports("avx512dq") &&
		__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("fma"))
		return &nn_cpu_avx512;
	if (level != 0 && __builtin_cpu_supports("avx2") &&
		__builtin_cpu_supports("fma"))
		return &nn_cpu_avx2;
#endif
	(void) level;
	return &nn_cpu_plain;
}
