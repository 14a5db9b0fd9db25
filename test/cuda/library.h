/*
 * library.h
 *	  The library that a test of test/cuda is about, and what an emulated device
 *	  shows of itself.
 */
#ifndef TEST_CUDA_LIBRARY_H
#define TEST_CUDA_LIBRARY_H

#include <dlfcn.h>

#include "../../cuda/emulated.h"
#include "check.h"

static nn_device_ops cuda;
static emulated_device *emulated; /* NULL: the device is real */
static nn_error err;

/* Open what NEURAL_CUDA names; false: there is nothing to test. */
static bool
open_library(void)
{
	const char *path = getenv("NEURAL_CUDA");

	if (path == NULL)
	{
		printf("skipped: NEURAL_CUDA does not name a library\n");
		return false;
	}
	if (!nn_provider_load(path, &cuda, &err))
	{
		check(false, "%s: %s", err.message, err.detail);
		return false;
	}
	emulated = dlsym(dlopen(path, RTLD_NOW | RTLD_LOCAL), EMULATED_DEVICE_NAME);
	return true;
}

#endif /* TEST_CUDA_LIBRARY_H */
