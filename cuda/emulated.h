/*
 * emulated.h
 *	  What a test may set in an emulated device, and what it may see.
 *
 * An emulated provider exports one of these beside the provider's own symbol;
 * a provider for real devices does not.  C and C++ read this header.
 *
 * Where the test cannot reach the process, a file beside the library, with the
 * library's name and ".conf" added, has lines of a setting's name and its
 * value: devices, memory, blas, failure and fails_after.  It is read whenever a
 * device is opened.
 */
#ifndef CUDA_EMULATED_H
#define CUDA_EMULATED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../src/nn/device.h"

#define EMULATED_MAX_BARRIERS 64

typedef struct emulated_barrier
{
	const char *file;
	int line;
	bool tests[64]; /* those that came by, by number */
} emulated_barrier;

typedef struct emulated_device
{
	unsigned seed;	  /* of the order in which threads run */
	int devices;	  /* that there are, of the same memory; */
	int current;	  /* and that in use */
	size_t memory;	  /* bytes that there are */
	size_t allocated; /* bytes in use now */
	int syncs;		  /* times the host has waited for all that was under way */
	size_t waiting;	  /* most work that was under way at a time */
	int launches;	  /* kernels started one by one, */
	int graphs;		  /* and graphs of them */
	int changed_nodes;	  /* of graphs, that were given other arguments */
	bool no_graphs;		  /* whether none can be had, */
	bool no_captures;	  /* or none of a library's work, */
	bool no_changes;	  /* or none be changed */
	int compiled;		  /* for what compute capability, times ten */
	bool no_cooperation;  /* whether blocks of a grid cannot meet */
	bool blas;			  /* whether there is a cuBLASLt */
	int blas_products;	  /* that it has made */
	int failure;		  /* what every call returns from now on, 0: nothing */
	uint64_t fails_after; /* so many jobs there is a failure, 0: never */
	nn_device_costs costs;
	int test;	   /* number of the test that is running */
	int without;   /* number of the barrier that lets all pass, or -1 */
	int nbarriers; /* found so far */
	emulated_barrier barriers[EMULATED_MAX_BARRIERS];
} emulated_device;

#define EMULATED_DEVICE		 nn_emulated_device
#define EMULATED_DEVICE_NAME "nn_emulated_device"

#endif /* CUDA_EMULATED_H */
