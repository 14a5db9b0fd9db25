/*
 * provider.c
 *	  Opening a library that brings faster kernels; see device.h.
 *
 * The library stays open for the life of the process: its threads, if it has
 * any, may still run code in it.
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "device.h"

static bool
open_and_ask(const char *path, nn_device_ops *ops, nn_error *err)
{
	char why[256] = "";
	nn_provider provider;
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (library == NULL)
	{
		nn_fail(err, NN_UNAVAILABLE, "could not open device library \"%s\"",
				path);
		return nn_detail(err, "%s", dlerror());
	}

	/* the way to fetch a function that ISO C accepts */
	*(void **) &provider = dlsym(library, NN_PROVIDER_NAME);
	if (provider == NULL)
	{
		dlclose(library);
		nn_fail(err, NN_UNAVAILABLE,
				"device library \"%s\" is of another version", path);
		return nn_detail(err, "It has no function \"%s\".", NN_PROVIDER_NAME);
	}
	if (!provider(ops, why, sizeof(why)))
	{
		*ops = *nn_cpu_ops(-1);
		nn_fail(err, NN_UNAVAILABLE, "device library \"%s\" is of no use here",
				path);
		return why[0] ? nn_detail(err, "%s", why) : false;
	}
	return true;
}

bool
nn_provider_load(const char *path, nn_device_ops *ops, nn_error *err)
{
	sigset_t all, before;
	bool ok;

	*ops = *nn_cpu_ops(-1);
	sigfillset(&all);
	if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0)
		return nn_fail(err, NN_UNAVAILABLE, "could not block signals");
	ok = open_and_ask(path, ops, err);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return ok;
}
