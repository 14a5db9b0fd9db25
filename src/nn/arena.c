/*
 * arena.c
 *	  Host memory for the engine.
 *
 * Memory is cut from blocks.  Blocks double in size up to LARGEST_BLOCK, so a
 * small model stays small.  A request too large for a block of usual size gets
 * one of its own, behind the current block, whose rest stays in use.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "arena.h"

/* A test sets both to 1, so that every request asks the allocator. */
#ifndef SMALLEST_BLOCK
#define SMALLEST_BLOCK ((size_t) 4 * 1024)
#define LARGEST_BLOCK  ((size_t) 256 * 1024)
#endif

typedef struct block
{
	struct block *next;
	size_t size; /* bytes after the header */
	size_t used;
} block;

struct nn_arena
{
	nn_allocator from;
	block *blocks; /* the first is the current one */
	size_t next_size;
	size_t total, most;
};

nn_arena *
nn_arena_create(const nn_allocator *from, nn_error *err)
{
	nn_arena *arena = from->alloc(from->self, sizeof(nn_arena));

	if (arena == NULL)
	{
		nn_fail(err, NN_NOMEM, "out of memory");
		return NULL;
	}
	arena->from = *from;
	arena->blocks = NULL;
	arena->next_size = SMALLEST_BLOCK;
	arena->total = sizeof(nn_arena);
	arena->most = SIZE_MAX;
	return arena;
}

nn_arena *
nn_arena_create_scratch(const nn_arena *like, nn_error *err)
{
	return nn_arena_create(&like->from, err);
}

void
nn_arena_destroy(nn_arena *arena)
{
	nn_allocator from;

	if (arena == NULL)
		return;
	from = arena->from;
	while (arena->blocks != NULL)
	{
		block *b = arena->blocks;

		arena->blocks = b->next;
		from.free(from.self, b);
	}
	from.free(from.self, arena);
}

size_t
nn_arena_size(const nn_arena *arena)
{
	return arena->total;
}

void
nn_arena_limit(nn_arena *arena, size_t most)
{
	arena->most = most;
}

static block *
add_block(nn_arena *arena, size_t size, nn_error *err)
{
	bool own = size > arena->next_size / 2;
	size_t bytes = own ? size : arena->next_size;
	block *b;

	if (arena->total > arena->most ||
		sizeof(block) + bytes > arena->most - arena->total)
	{
		nn_fail(err, NN_LIMIT, "more memory is needed than allowed");
		nn_detail(err, "%zu bytes are in use, %zu more are needed, and %zu "
					   "are allowed.",
				  arena->total, size, arena->most);
		return NULL;
	}
	b = arena->from.alloc(arena->from.self, sizeof(block) + bytes);
	if (b == NULL)
	{
		nn_fail(err, NN_NOMEM, "out of memory");
		nn_detail(err, "Failed on request of size %zu.", size);
		return NULL;
	}
	b->size = bytes;
	b->used = 0;
	arena->total += sizeof(block) + bytes;
	if (own && arena->blocks != NULL)
	{
		b->next = arena->blocks->next;
		arena->blocks->next = b;
	}
	else
	{
		b->next = arena->blocks;
		arena->blocks = b;
	}
	if (arena->next_size < LARGEST_BLOCK)
		arena->next_size *= 2;
	return b;
}

/* The padding that aligns the block's next free byte. */
static size_t
padding(const block *b, size_t align)
{
	uintptr_t p = (uintptr_t) (b + 1) + b->used;

	return (size_t) (-p & (align - 1));
}

static void *
take(nn_arena *arena, size_t size, size_t align, nn_error *err)
{
	block *b = arena->blocks;
	char *p;

	if (size > SIZE_MAX / 2)
	{
		nn_fail(err, NN_NOMEM, "out of memory");
		nn_detail(err, "Failed on request of size %zu.", size);
		return NULL;
	}
	if (b == NULL || b->size - b->used < align + size)
		b = add_block(arena, align + size, err);
	if (b == NULL)
		return NULL;
	b->used += padding(b, align);
	p = (char *) (b + 1) + b->used;
	b->used += size;
	memset(p, 0, size);
	return p;
}

void *
nn_alloc(nn_arena *arena, size_t size, nn_error *err)
{
	return take(arena, size, NN_ALIGN, err);
}

void *
nn_alloc_array(nn_arena *arena, size_t count, size_t size, nn_error *err)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes))
		bytes = SIZE_MAX;
	return take(arena, bytes, NN_ALIGN, err);
}

void *
nn_alloc_small(nn_arena *arena, size_t size, nn_error *err)
{
	return take(arena, size, 8, err);
}

char *
nn_strndup(nn_arena *arena, const char *s, size_t len, nn_error *err)
{
	char *copy = take(arena, len < SIZE_MAX ? len + 1 : len, 1, err);

	if (copy != NULL)
		memcpy(copy, s, len);
	return copy;
}

char *
nn_printf(nn_arena *arena, nn_error *err, const char *fmt, ...)
{
	va_list ap;
	int n;
	char *s;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
	{
		nn_fail(err, NN_INVALID, "could not format text");
		return NULL;
	}
	s = take(arena, (size_t) n + 1, 1, err);
	if (s == NULL)
		return NULL;
	va_start(ap, fmt);
	vsnprintf(s, (size_t) n + 1, fmt, ap);
	va_end(ap);
	return s;
}
