/*
 * emulation.h
 *	  A CUDA device on the CPU, for tests: .cu files compiled by g++ run on it.
 *
 * It is made to find mistakes, not to be fast:
 *
 * - Every thread of a block is a fiber.  Warps run in random order, each as
 *	 far as it can go before the next begins, and so do the threads of a warp
 *	 between its warp operations, and the blocks of a grid that meet at a barrier
 *	 of all.  So a thread that counts on a barrier that is not there finds
 *	 another's work undone, or its own overwritten.
 * - Shared memory is filled with NaN before each block, device memory when it
 *	 is allocated.
 * - Threads of a block that wait at different places abort, as do warp
 *	 operations that not all threads of a warp take part in.
 *
 * Blocks must have whole warps, and warp operations all of a warp.  Memory and
 * the host's calls are in emulation_host.h.
 */
#ifndef CUDA_EMULATION_H
#define CUDA_EMULATION_H

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <vector>

extern "C"
{
#include "emulated.h"
}

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__	__attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__

struct dim3
{
	unsigned x, y, z;

	dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c)
	{
	}
};

inline emulated_device
emulated_at_first(void)
{
	emulated_device e = {};

	e.devices = 1;
	e.compiled = 90;
	e.memory = (size_t) 1 << 30;
	e.costs = {true, 2e-5, 1e-7, 2e-8, 1e-11, 1e-12};
	e.without = -1;
	return e;
}

extern "C"
{
	__attribute__((visibility("default"),
				   used)) inline emulated_device EMULATED_DEVICE =
		emulated_at_first();
}

struct alignas(16) float4
{
	float x, y, z, w;
};

/* not in a namespace, as structures of CUDA have members of their names */
inline dim3 emulated_block_size, emulated_grid_size;

namespace emulation
{

/*
 * --- threads ---
 */

enum fiber_state
{
	READY,
	AT_BARRIER,
	AT_BARRIER_OF_ALL,
	AT_WARP_OPERATION,
	DONE
};

/* A fiber is born by setcontext and then moved by longjmp, which leaves the
 * signal mask alone and so needs no system call. */
struct fiber
{
	bool born;
	ucontext_t birth;
	jmp_buf place;
	fiber_state state;
	dim3 thread;
	unsigned number; /* within its block */
	const char *file;
	int line;			 /* where it waits */
	unsigned operations; /* of its warp, so far */
};

struct shared_variable
{
	const char *file;
	int line;
	size_t size, offset;
};

const size_t STACK = 64 * 1024, SHARED_SIZE = 48 * 1024;
const unsigned WARP = 32, MOST_THREADS = 1024, MOST_BLOCKS = 16;

/* A block, of which a grid has more than one at a time only where all meet. */
struct block_state
{
	dim3 index;
	fiber *fibers[MOST_THREADS];
	/* what lanes show each other; of two operations, as a fast lane may already
	 * be at the next while a slow one still reads */
	uint64_t shown[MOST_THREADS][2];
	alignas(256) char shared_memory[SHARED_SIZE];
	std::vector<shared_variable> shared_variables;
	size_t shared_used;
};

inline block_state blocks[MOST_BLOCKS];
inline block_state *block = blocks; /* that is running */
inline fiber *current;
inline jmp_buf scheduler;
inline std::function<void()> work;
inline bool meets; /* whether all blocks of the grid run at once */
inline std::mt19937 rng;

[[noreturn]] inline void
die(const char *what)
{
	fprintf(stderr, "emulation: %s", what);
	if (current != NULL)
		fprintf(stderr, " at %s:%d, block %u %u %u, thread %u",
				current->file ? current->file : "?", current->line,
				block->index.x, block->index.y, block->index.z,
				current->number);
	fprintf(stderr, "\n");
	abort();
}

__attribute__((noinline)) inline void
leave(void)
{
	if (_setjmp(current->place) == 0)
		_longjmp(scheduler, 1);
}

inline void
live(void)
{
	for (;;)
	{
		work();
		current->state = DONE;
		leave();
	}
}

__attribute__((noinline)) inline void
enter(fiber *f)
{
	current = f;
	if (_setjmp(scheduler) != 0)
		return;
	if (f->born)
		_longjmp(f->place, 1);
	f->born = true;
	setcontext(&f->birth);
}

inline void
wait_as(fiber_state state, const char *file, int line)
{
	current->state = state;
	current->file = file;
	current->line = line;
	leave();
}

/* The number of a barrier in the source, which a test may have removed. */
inline int
barrier_number(const char *file, int line)
{
	emulated_device *e = &EMULATED_DEVICE;
	int i = 0;

	while (i < e->nbarriers && (e->barriers[i].line != line ||
								strcmp(e->barriers[i].file, file) != 0))
		i++;
	if (i == e->nbarriers)
	{
		if (i == EMULATED_MAX_BARRIERS)
			die("too many barriers");
		e->barriers[i].file = file;
		e->barriers[i].line = line;
		e->nbarriers++;
	}
	return i;
}

inline void
barrier(const char *file, int line)
{
	emulated_device *e = &EMULATED_DEVICE;
	int number = barrier_number(file, line);

	e->barriers[number].tests[e->test] = true;
	if (number != e->without)
		wait_as(AT_BARRIER, file, line);
}

inline void
barrier_of_all(const char *file, int line)
{
	emulated_device *e = &EMULATED_DEVICE;
	int number = barrier_number(file, line);

	if (!meets)
		die("a barrier of all blocks in a launch that is not cooperative");
	e->barriers[number].tests[e->test] = true;
	if (number != e->without)
		wait_as(AT_BARRIER_OF_ALL, file, line);
}

inline unsigned
lane(void)
{
	return current->number % WARP;
}

/* Show a value to the warp; the place where others' are found. */
template <class T>
unsigned
show(T value, unsigned mask, const char *file, int line)
{
	unsigned slot = current->operations++ % 2;

	static_assert(sizeof(T) <= sizeof(uint64_t), "a value of a register");
	if (mask != 0xffffffff)
		die("warp operation of a part of a warp");
	memcpy(&block->shown[current->number][slot], &value, sizeof(T));
	wait_as(AT_WARP_OPERATION, file, line);
	return slot;
}

template <class T>
T
seen(unsigned slot, unsigned from)
{
	T value;

	memcpy(&value, &block->shown[current->number - lane() + from % WARP][slot],
		   sizeof(T));
	return value;
}

template <class T>
T
shuffle(T value, unsigned from, unsigned mask, const char *file, int line)
{
	unsigned slot = show(value, mask, file, line);

	return seen<T>(slot, from);
}

inline unsigned
ballot(bool vote, unsigned mask, const char *file, int line)
{
	unsigned slot = show((uint32_t) vote, mask, file, line), votes = 0;

	for (unsigned i = 0; i < WARP; i++)
		votes |= seen<uint32_t>(slot, i) << i;
	return votes;
}

/* A variable of the block that is running, the same for all its threads. */
template <class T>
T &
shared(const char *file, int line)
{
	size_t at = (block->shared_used + 15) / 16 * 16;

	for (const shared_variable &v : block->shared_variables)
	{
		if (v.line == line && v.size == sizeof(T) && strcmp(v.file, file) == 0)
			return *(T *) (block->shared_memory + v.offset);
	}
	if (at + sizeof(T) > SHARED_SIZE)
		die("out of shared memory");
	block->shared_used = at + sizeof(T);
	block->shared_variables.push_back({file, line, sizeof(T), at});
	return *(T *) (block->shared_memory + at);
}

/* Run the threads of a warp until all wait for other warps, or are done. */
inline void
run_warp(unsigned first)
{
	fiber **fibers = block->fibers;
	unsigned order[WARP], waiting = WARP;

	for (unsigned i = 0; i < WARP; i++)
		order[i] = i;
	while (waiting == WARP)
	{
		std::shuffle(order, order + WARP, rng);
		for (unsigned i : order)
		{
			if (fibers[first + i]->state == READY)
				enter(fibers[first + i]);
		}
		waiting = 0;
		for (unsigned i = first; i < first + WARP; i++)
			waiting += fibers[i]->state == AT_WARP_OPERATION;
		for (unsigned i = first; i < first + WARP && waiting == WARP; i++)
		{
			if (fibers[i]->line != fibers[first]->line)
				die("threads of a warp are at different operations");
			fibers[i]->state = READY;
		}
	}
	if (waiting > 0)
		die("threads of a warp wait for others that do not come");
}

/* Let all threads pass a barrier of the block; false when they are at one of
 * all blocks, or done. */
inline bool
pass_barrier(unsigned threads)
{
	fiber **fibers = block->fibers;
	unsigned done = 0;

	for (unsigned i = 0; i < threads; i++)
		done += fibers[i]->state == DONE;
	if (done == threads)
		return false;
	current = fibers[0];
	if (done > 0)
		die("some threads are at a barrier, others are gone");
	for (unsigned i = 0; i < threads; i++)
	{
		if (fibers[i]->line != fibers[0]->line ||
			strcmp(fibers[i]->file, fibers[0]->file) != 0)
			die("threads are at different barriers");
	}
	if (fibers[0]->state == AT_BARRIER_OF_ALL)
		return false;
	for (unsigned i = 0; i < threads; i++)
		fibers[i]->state = READY;
	return true;
}

/* Let all blocks pass one of all; false when all are done. */
inline bool
pass_barrier_of_all(unsigned count, unsigned threads)
{
	unsigned done = 0;

	for (unsigned i = 0; i < count; i++)
		done += blocks[i].fibers[0]->state == DONE;
	if (done == count)
		return false;
	block = blocks;
	current = block->fibers[0];
	if (done > 0)
		die("some blocks are at a barrier of all, others are gone");
	for (unsigned i = 0; i < count; i++)
	{
		if (blocks[i].fibers[0]->line != current->line)
			die("blocks are at different barriers of all");
		for (unsigned j = 0; j < threads; j++)
			blocks[i].fibers[j]->state = READY;
	}
	return true;
}

inline fiber *
new_fiber(unsigned number)
{
	fiber *f = new fiber();
	void *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
					   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (stack == MAP_FAILED)
		die("no memory for a stack");
	f->number = number;
	getcontext(&f->birth);
	f->birth.uc_stack.ss_sp = stack;
	f->birth.uc_stack.ss_size = STACK;
	makecontext(&f->birth, live, 0);
	return f;
}

/* A block that is to begin, where another was before. */
inline void
begin_block(unsigned number, unsigned threads)
{
	const dim3 grid = emulated_grid_size, size = emulated_block_size;

	block->index = dim3(number % grid.x, number / grid.x % grid.y,
						number / grid.x / grid.y);
	memset(block->shared_memory, 0xff, SHARED_SIZE);
	block->shared_variables.clear();
	block->shared_used = 0;
	for (unsigned i = 0; i < threads; i++)
	{
		fiber *&f = block->fibers[i];

		if (f == NULL)
			f = new_fiber(i);
		f->state = READY;
		f->operations = 0;
		f->file = NULL;
		f->thread = dim3(i % size.x, i / size.x % size.y, i / size.x / size.y);
	}
}

/* Run a block until it is at a barrier of all blocks, or done. */
inline void
run_block(unsigned threads)
{
	std::vector<unsigned> warps;

	for (unsigned i = 0; i < threads; i += WARP)
		warps.push_back(i);
	do
	{
		std::shuffle(warps.begin(), warps.end(), rng);
		for (unsigned first : warps)
			run_warp(first);
	} while (pass_barrier(threads));
}

inline void
run_grid(dim3 grid, dim3 size, bool cooperative,
		 const std::function<void()> &kernel)
{
	unsigned threads = size.x * size.y * size.z;
	std::vector<unsigned> order(grid.x * grid.y * grid.z);

	if (threads == 0 || threads > MOST_THREADS || threads % WARP != 0 ||
		order.empty() || grid.y > 65535 || grid.z > 65535)
		die("a launch that no device takes");
	work = kernel;
	meets = cooperative;
	emulated_grid_size = grid;
	emulated_block_size = size;
	for (unsigned i = 0; i < order.size(); i++)
	{
		order[i] = i;
		if (cooperative)
		{
			block = &blocks[i];
			begin_block(i, threads);
		}
	}
	do
	{
		std::shuffle(order.begin(), order.end(), rng);
		for (unsigned i : order)
		{
			block = &blocks[cooperative ? i : 0];
			if (!cooperative)
				begin_block(i, threads);
			run_block(threads);
		}
	} while (cooperative && pass_barrier_of_all(order.size(), threads));
	current = NULL;
}

} /* namespace emulation */

/*
 * --- what kernels use ---
 */

#define threadIdx (emulation::current->thread)
#define blockIdx  (emulation::block->index)
#define blockDim  emulated_block_size
#define gridDim	  emulated_grid_size

#define __syncthreads()	 emulation::barrier(__FILE__, __LINE__)
#define BARRIER_OF_ALL() emulation::barrier_of_all(__FILE__, __LINE__)
#define __shfl_xor_sync(mask, value, by)                                       \
	emulation::shuffle(value, emulation::lane() ^ (by), mask, __FILE__,        \
					   __LINE__)
#define __shfl_sync(mask, value, from)                                         \
	emulation::shuffle(value, from, mask, __FILE__, __LINE__)
#define __syncwarp()                                                           \
	emulation::show((uint32_t) 0, 0xffffffff, __FILE__, __LINE__)
#define __trap() emulation::die("a trap")
#define __ballot_sync(mask, vote)                                              \
	emulation::ballot(vote, mask, __FILE__, __LINE__)

inline int
__ffs(int x)
{
	return __builtin_ffs(x);
}

#include "emulation_host.h"

#endif /* CUDA_EMULATION_H */
