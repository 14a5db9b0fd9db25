/*
 * arena.h
 *	  Host memory for the engine.
 *
 * Everything the engine allocates comes from an arena and is freed with it;
 * there is no way to free one object.  An arena takes its blocks from an
 * nn_allocator, which is malloc() in the tests and a MemoryContext in the
 * server.  An allocator returns NULL when it has no memory; it must not throw.
 */
#ifndef NN_ARENA_H
#define NN_ARENA_H

#include "error.h"

typedef struct nn_allocator
{
	void *(*alloc)(void *self, size_t size);
	void (*free)(void *self, void *block);
	void *self;
} nn_allocator;

typedef struct nn_arena nn_arena;

extern nn_arena *nn_arena_create(const nn_allocator *from, nn_error *err);
extern void nn_arena_destroy(nn_arena *arena); /* NULL is fine */

/* Another arena from the same allocator, for what is needed briefly. */
extern nn_arena *nn_arena_create_scratch(const nn_arena *like, nn_error *err);

/* Bytes taken from the allocator so far. */
extern size_t nn_arena_size(const nn_arena *arena);

/* From now on take at most so many bytes in all; SIZE_MAX: no limit.  What
 * does not fit fails with NN_LIMIT.  For work on what is not trusted. */
extern void nn_arena_limit(nn_arena *arena, size_t most);

/* Zeroed and aligned to NN_ALIGN; NULL and *err when memory is out. */
#define NN_ALIGN 64
extern void *nn_alloc(nn_arena *arena, size_t size, nn_error *err);

/* The same for count objects of a size; the product is checked. */
extern void *nn_alloc_array(nn_arena *arena, size_t count, size_t size,
							nn_error *err);

/* Small things (names, list nodes) aligned to 8, so that they stay small. */
extern void *nn_alloc_small(nn_arena *arena, size_t size, nn_error *err);

/* A zero-terminated copy. */
extern char *nn_strndup(nn_arena *arena, const char *s, size_t len,
						nn_error *err);

/* A zero-terminated formatted string. */
extern char *nn_printf(nn_arena *arena, nn_error *err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif /* NN_ARENA_H */
