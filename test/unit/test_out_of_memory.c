/* builds: asan */
/*
 * test_out_of_memory.c
 *	  Every allocation fails once, while building, initializing and running.
 *
 * The arena is compiled into the test with blocks that serve one request each.
 * With ASan this also shows that nothing leaks and nothing is used after.
 */
#define SMALLEST_BLOCK ((size_t) 1)
#define LARGEST_BLOCK  ((size_t) 1)
#include "../../src/nn/arena.c"

#include "examples.h"

#define ROWS 8

static int device_fails;
static nn_device_ops failing_device;

static void *
device_alloc(nn_device *d, size_t bytes)
{
	return device_fails ? NULL : nn_cpu_plain.alloc(d, bytes);
}

/* All there is to do with a network, until something fails. */
static bool
live(nn_arena *arena, const char *text, nn_error *err)
{
	nn_device device = {&failing_device, NULL};
	nn_graph *g = nn_graph_build(arena, text, &example_layout, err);
	nn_real x[ROWS * WIDTH], *params;
	nn_exec *e;

	if (g == NULL)
		return false;
	params = nn_alloc_array(arena, g->nparams, sizeof(nn_real), err);
	example_rows(ROWS, 1, x);
	if (params == NULL || !nn_graph_initialize(g, 1, ROWS, x, params, err) ||
		!device.ops->open(&device, 0, err))
		return false;
	e = nn_exec_create(arena, g, &device, params, ROWS, true, err);
	if (e != NULL)
	{
		nn_pass p = {.device = &device,
					 .rows = ROWS,
					 .batch_rows = ROWS,
					 .training = true};

		memcpy(e->x, x, sizeof(x));
		nn_exec_forward(e, &p);
		nn_exec_backward(e, &p);
		nn_exec_learn(e, &p);
		nn_exec_release(e);
	}
	device.ops->close(&device);
	return e != NULL;
}

static void
check_text(const char *text)
{
	int bad = 0, n = 0;
	nn_error err = {NN_OK};

	for (bool done = false; !done && n < 5000; n++)
	{
		nn_arena *arena;

		failing_after = n;
		failing_live = 0;
		err = (nn_error){NN_OK};
		arena = nn_arena_create(&check_failing, &err);
		done = arena != NULL && live(arena, text, &err);
		nn_arena_destroy(arena);
		if ((!done && err.code != NN_NOMEM) || failing_live != 0)
			bad++;
	}
	check(bad == 0 && n > 3, "%d allocations of \"%s\": %s", n, text,
		  bad ? err.message : "");
}

static void
check_device(void)
{
	nn_error err = {NN_OK};
	nn_arena *arena = nn_arena_create(&check_heap, &err);

	device_fails = 1;
	check(!live(arena, "dense(3)", &err) && err.code == NN_DEVICE_NOMEM &&
			  err.hint[0] != '\0',
		  "no device memory: %s; %s", err.message, err.hint);
	device_fails = 0;
	nn_exec_release(NULL);
	nn_arena_destroy(arena);
}

static void
check_arena(void)
{
	nn_error err = {NN_OK};
	nn_arena *arena = nn_arena_create(&check_heap, &err);
	size_t before = nn_arena_size(arena);
	bool aligned = true, zero = true;

	for (size_t n = 1; n < 100000; n = n * 3 + 1)
	{
		char *p = nn_alloc(arena, n, &err), *q = nn_alloc_small(arena, 3, &err);

		aligned =
			aligned && (uintptr_t) p % NN_ALIGN == 0 && (uintptr_t) q % 8 == 0;
		for (size_t i = 0; i < n; i++)
			zero = zero && p[i] == 0;
		memset(p, 1, n);
		memset(q, 1, 3);
	}
	check(aligned, "memory is aligned");
	check(zero, "memory is zero");
	check(nn_arena_size(arena) > before, "the size is known");
	check(nn_alloc_array(arena, SIZE_MAX / 4, 8, &err) == NULL &&
			  err.code == NN_NOMEM,
		  "a product that overflows: %s", err.detail);
	check(nn_alloc(arena, SIZE_MAX - 8, &err) == NULL && err.code == NN_NOMEM,
		  "a size that overflows: %s", err.detail);
	check(strcmp(nn_printf(arena, &err, "%d %s", 7, "of 9"), "7 of 9") == 0,
		  "formatted text");
	check(strcmp(nn_strndup(arena, "abc", 2, &err), "ab") == 0, "copied text");
	nn_arena_destroy(arena);
	nn_arena_destroy(NULL);
}

int
main(void)
{
	nn_error err;

	failing_device = nn_cpu_plain;
	failing_device.alloc = device_alloc;
	for (int i = 0; nn_layers[i] != NULL; i++)
		for (const char *const *e = nn_layers[i]->named.examples; *e; e++)
		{
			nn_arena *arena = nn_arena_create(&check_heap, &err);

			check_text(example_network(arena, *e, &err));
			nn_arena_destroy(arena);
		}
	check_text("dense(8, tanh, kernel_initializer = orthogonal(2)) dense(1)");
	check_device();
	check_arena();
	return check_failed;
}
