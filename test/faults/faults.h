/*
 * faults.h
 *	  What the preloaded library and the server's module share.
 */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum fault_kind
{
	FAULT_NOTHING,
	FAULT_MALLOC,	 /* of libc, and new threads */
	FAULT_PALLOC,	 /* from allocation sets */
	FAULT_TEMPORARY, /* writes to temporary files */
	FAULT_RELATION,	 /* writes to relations, as when they grow */
	FAULT_CANCEL	 /* a cancel, while a kept temporary file is removed */
} fault_kind;

/* Which kind is watched, how many there were, and the one that is to fail. */
typedef struct fault_watch
{
	volatile fault_kind kind;
	volatile int64_t seen, wanted;
	volatile bool fired;
} fault_watch;

extern fault_watch fault_watched;

/* Watch the main thread from now on, and let the n-th of a kind fail. */
extern void fault_watch_begin(fault_kind kind, int64_t n);

/* Whether this one, of the main thread, is the one that is to fail. */
extern bool fault_fails(fault_kind kind);

#endif /* FAULTS_H */
