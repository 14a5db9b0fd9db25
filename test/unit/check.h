/*
 * check.h
 *	  The few lines that the unit tests share: reporting, heap, random data.
 */
#ifndef CHECK_H
#define CHECK_H

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "random.h"

static int check_failed;

/* Report one test; the message says what was found when it failed. */
__attribute__((format(printf, 2, 3), unused)) static void
check(bool ok, const char *fmt, ...)
{
	va_list ap;

	printf(ok ? "ok " : "not ok ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	if (!ok)
		check_failed = 1;
}

static void *
heap_alloc(void *self, size_t n)
{
	(void) self;
	return malloc(n);
}

static void
heap_free(void *self, void *p)
{
	(void) self;
	free(p);
}

static const nn_allocator check_heap __attribute__((unused)) = {
	heap_alloc, heap_free, NULL};

/*
 * An allocator that fails from the nth request on (SQLite's way of proving
 * that every allocation is checked), and counts what is live.
 */
static int failing_after, failing_live;

__attribute__((unused)) static void *
failing_alloc(void *self, size_t n)
{
	void *p;

	(void) self;
	if (failing_after-- <= 0)
		return NULL;
	p = malloc(n);
	if (p != NULL)
		failing_live++;
	return p;
}

__attribute__((unused)) static void
failing_free(void *self, void *p)
{
	(void) self;
	if (p != NULL)
		failing_live--;
	free(p);
}

static const nn_allocator check_failing __attribute__((unused)) = {
	failing_alloc, failing_free, NULL};

/* Standard normal numbers, the same in every run. */
__attribute__((unused)) static double
check_normal(uint64_t i)
{
	return nn_random_normal(nn_random_key(4711, NN_STREAM_SAMPLE, 0), i);
}

#endif /* CHECK_H */
