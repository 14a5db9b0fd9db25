/*
 * graph.cu
 *	  Steps that come again, started as a whole.
 *
 * To start a kernel takes longer than many a kernel runs.  A training step is
 * the same kernels every time, with few arguments changed: so between
 * begin_step() and end_step() launches are only noted down.  At the end the
 * notes are compared with those of earlier steps.  Where one had the same
 * kernels in the same sizes, its CUDA graph is told the arguments that have
 * changed, and started; else a graph is made.
 *
 * Products by cuBLASLt are kernels of its own, which it starts by itself: they
 * are captured, each as a graph within the graph.  A product whose arguments
 * have changed is captured again.
 *
 * Work that a graph cannot have (copies to and from the host) makes the notes
 * come true at once, and the rest of the step is done as it comes.  Rows of the
 * host's are different: they are copied ahead of what is noted down, so a step
 * asks for all of them before it puts down a kernel that has to do with them.
 *
 * The host puts steps on the stream faster than they are done, and whoever
 * cancels has to wait for all that is there.  So the host waits, but never for
 * the last steps: they form groups, of which two are under way, and a group has
 * as many steps as take some milliseconds.
 */
#include "gpu.h"

#define MAX_GRAPHS 4
#define ALIGNMENT  16

/* A launch, whose arguments are in the notes' bytes; or a product, which is
 * the one argument there. */
typedef struct note
{
	gpu_kernel kernel; /* without a function: a product */
	int count;
	size_t at[GPU_MAX_ARGUMENTS], size[GPU_MAX_ARGUMENTS];
	size_t end; /* of its arguments */
} note;

typedef struct notes
{
	note *list;
	int count, room;
	char *bytes;
	size_t used, bytes_room;
} notes;

typedef struct step_graph
{
	notes made_of;
	cudaGraph_t graph;
	cudaGraphExec_t exec;
	cudaGraphNode_t *nodes;
	uint64_t last_used;
} step_graph;

struct gpu_steps
{
	notes now;
	step_graph *graphs[MAX_GRAPHS];
	uint64_t steps;
	bool useless; /* graphs cannot be had here */
};

/* Room for one more of something; false when there is no memory. */
static bool
make_room(void **list, size_t size, size_t *room, size_t wanted)
{
	void *larger;
	size_t n = *room > 0 ? *room : 64;

	while (n < wanted)
		n *= 2;
	if (n == *room)
		return true;
	larger = realloc(*list, n * size);
	if (larger == NULL)
		return false;
	*list = larger;
	*room = n;
	return true;
}

static bool
add_note(notes *to, const gpu_kernel *kernel, int count,
		 const void *const *arguments, const size_t *sizes)
{
	size_t bytes = to->used, room = (size_t) to->room;
	note *n;

	for (int i = 0; i < count; i++)
		bytes += (sizes[i] + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	if (!make_room((void **) &to->bytes, 1, &to->bytes_room, bytes) ||
		!make_room((void **) &to->list, sizeof(note), &room,
				   (size_t) to->count + 1))
		return false;
	to->room = (int) room;
	n = &to->list[to->count++];
	n->kernel = *kernel;
	n->count = count;
	for (int i = 0; i < count; i++)
	{
		n->at[i] = to->used;
		n->size[i] = sizes[i];
		memcpy(to->bytes + to->used, arguments[i], sizes[i]);
		to->used += (sizes[i] + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	}
	n->end = to->used;
	return true;
}

static void
forget(notes *n)
{
	free(n->list);
	free(n->bytes);
	memset(n, 0, sizeof(*n));
}

static void
find_arguments(const notes *from, const note *n, void **arguments)
{
	for (int i = 0; i < n->count; i++)
		arguments[i] = from->bytes + n->at[i];
}

static const gpu_product *
product_of(const notes *from, const note *n)
{
	return (const gpu_product *) (from->bytes + n->at[0]);
}

/* Do what has been noted down. */
static void
start_kernels(gpu_state *s, const notes *from)
{
	for (int i = 0; i < from->count && s->failure == cudaSuccess; i++)
	{
		const note *n = &from->list[i];
		void *arguments[GPU_MAX_ARGUMENTS];

		if (n->kernel.function == NULL)
		{
			if (!gpu_blas_multiply(s, product_of(from, n)))
				gpu_check(s, cudaErrorUnknown, "make a product of matrices");
			continue;
		}
		find_arguments(from, n, arguments);
		gpu_start_kernel(s, &n->kernel, arguments);
	}
}

void
gpu_flush(gpu_state *s)
{
	if (!s->noting)
		return;
	s->noting = false;
	start_kernels(s, &s->steps->now);
	s->steps->now.count = 0;
	s->steps->now.used = 0;
}

void
gpu_finish(gpu_state *s)
{
	gpu_flush(s);
	/* after a failure as well: what was started before it goes on */
	if (s->stream != NULL)
		gpu_check(s, cudaStreamSynchronize(s->stream), "compute");
}

bool
gpu_note(gpu_state *s, const gpu_kernel *k, int count,
		 const void *const *arguments, const size_t *sizes)
{
	if (!s->noting)
		return false;
	if (add_note(&s->steps->now, k, count, arguments, sizes))
		return true;
	gpu_flush(s);
	return false;
}

bool
gpu_note_product(gpu_state *s, const gpu_product *p)
{
	const gpu_kernel none = {};
	const void *argument = p;
	const size_t size = sizeof(*p);

	return gpu_note(s, &none, 1, &argument, &size);
}

static void
free_graph(step_graph *g)
{
	if (g == NULL)
		return;
	if (g->exec != NULL)
		cudaGraphExecDestroy(g->exec);
	if (g->graph != NULL)
		cudaGraphDestroy(g->graph);
	forget(&g->made_of);
	free(g->nodes);
	free(g);
}

static cudaKernelNodeParams
node_params(const notes *from, const note *n, void **arguments)
{
	cudaKernelNodeParams p = {};

	find_arguments(from, n, arguments);
	p.func = (void *) n->kernel.function;
	p.gridDim = n->kernel.grid;
	p.blockDim = n->kernel.block;
	p.kernelParams = arguments;
	return p;
}

/* What cuBLASLt starts for a product, as a graph; NULL: it cannot be had. */
static cudaGraph_t
capture_product(gpu_state *s, const gpu_product *p)
{
	cudaGraph_t graph = NULL;
	bool made;

	if (cudaStreamBeginCapture(s->stream, cudaStreamCaptureModeThreadLocal) !=
		cudaSuccess)
		return NULL;
	made = gpu_blas_multiply(s, p);
	if (cudaStreamEndCapture(s->stream, &graph) != cudaSuccess)
		return NULL;
	if (!made)
	{
		cudaGraphDestroy(graph);
		return NULL;
	}
	return graph;
}

/* Make the graph's node of a product, or, of a graph that can be started,
 * change it. */
static bool
set_product(gpu_state *s, step_graph *g, int i, const gpu_product *p)
{
	cudaGraph_t product = capture_product(s, p);
	cudaError_t result;

	if (product == NULL)
		return false;
	if (g->exec != NULL)
		result =
			cudaGraphExecChildGraphNodeSetParams(g->exec, g->nodes[i], product);
	else
		result = cudaGraphAddChildGraphNode(&g->nodes[i], g->graph,
											i > 0 ? &g->nodes[i - 1] : NULL,
											i > 0 ? 1 : 0, product);
	/* the graph has a copy */
	cudaGraphDestroy(product);
	return result == cudaSuccess;
}

/* Make the graph's node of a kernel. */
static bool
add_kernel(step_graph *g, const notes *from, int i)
{
	const note *n = &from->list[i];
	void *arguments[GPU_MAX_ARGUMENTS];
	cudaKernelNodeParams p = node_params(from, n, arguments);
	cudaKernelNodeAttrValue value = {};

	value.cooperative = 1;
	return cudaGraphAddKernelNode(&g->nodes[i], g->graph,
								  i > 0 ? &g->nodes[i - 1] : NULL,
								  i > 0 ? 1 : 0, &p) == cudaSuccess &&
		   (!n->kernel.meets ||
			cudaGraphKernelNodeSetAttribute(g->nodes[i],
											cudaKernelNodeAttributeCooperative,
											&value) == cudaSuccess);
}

/* A graph of the notes, which it takes over; NULL: it cannot be made. */
static step_graph *
make_graph(gpu_state *s, notes *from)
{
	step_graph *g = (step_graph *) calloc(1, sizeof(step_graph));
	size_t count = (size_t) from->count;
	bool ok;

	if (g == NULL)
		return NULL;
	g->nodes = (cudaGraphNode_t *) calloc(count, sizeof(cudaGraphNode_t));
	ok = g->nodes != NULL && cudaGraphCreate(&g->graph, 0) == cudaSuccess;
	for (int i = 0; i < from->count && ok; i++)
	{
		const note *n = &from->list[i];

		ok = n->kernel.function == NULL
				 ? set_product(s, g, i, product_of(from, n))
				 : add_kernel(g, from, i);
	}
	if (!ok || cudaGraphInstantiate(&g->exec, g->graph, 0) != cudaSuccess)
	{
		cudaGetLastError();
		free_graph(g);
		return NULL;
	}
	g->made_of = *from;
	memset(from, 0, sizeof(*from));
	return g;
}

static bool
same_size(dim3 a, dim3 b)
{
	return a.x == b.x && a.y == b.y && a.z == b.z;
}

/* Whether the two differ in nothing but the values of arguments. */
static bool
same_kernels(const notes *a, const notes *b)
{
	if (a->count != b->count || a->used != b->used)
		return false;
	for (int i = 0; i < a->count; i++)
	{
		const note *x = &a->list[i], *y = &b->list[i];

		if (x->kernel.function != y->kernel.function ||
			!same_size(x->kernel.grid, y->kernel.grid) ||
			!same_size(x->kernel.block, y->kernel.block) ||
			x->kernel.meets != y->kernel.meets || x->count != y->count)
			return false;
	}
	return true;
}

/* Tell a graph the arguments of the notes; false when it does not take them. */
static bool
set_arguments(gpu_state *s, step_graph *g, const notes *from)
{
	for (int i = 0; i < from->count; i++)
	{
		const note *n = &from->list[i];
		size_t first = n->count > 0 ? n->at[0] : n->end;
		void *arguments[GPU_MAX_ARGUMENTS];
		cudaKernelNodeParams p;
		bool ok;

		if (memcmp(g->made_of.bytes + first, from->bytes + first,
				   n->end - first) == 0)
			continue;
		if (n->kernel.function == NULL)
			ok = set_product(s, g, i, product_of(from, n));
		else
		{
			p = node_params(from, n, arguments);
			ok = cudaGraphExecKernelNodeSetParams(g->exec, g->nodes[i], &p) ==
				 cudaSuccess;
		}
		if (!ok)
			return false;
		memcpy(g->made_of.bytes + first, from->bytes + first, n->end - first);
	}
	return true;
}

/* The graph for the notes, or NULL. */
static step_graph *
find_graph(gpu_state *s)
{
	struct gpu_steps *steps = s->steps;
	step_graph **place = &steps->graphs[0];

	for (int i = 0; i < MAX_GRAPHS; i++)
	{
		step_graph *g = steps->graphs[i];

		if (g == NULL)
		{
			place = &steps->graphs[i];
			break;
		}
		if (same_kernels(&g->made_of, &steps->now))
		{
			if (set_arguments(s, g, &steps->now))
				return g;
			cudaGetLastError();
			place = &steps->graphs[i];
			break;
		}
		if (g->last_used < (*place)->last_used)
			place = &steps->graphs[i];
	}
	free_graph(*place);
	*place = make_graph(s, &steps->now);
	return *place;
}

void
gpu_begin_step(nn_device *d)
{
	gpu_state *s = gpu_of(d);

	gpu_forget_factors(s);
	if (s->failure != cudaSuccess)
		return;
	if (s->steps == NULL)
		s->steps = (struct gpu_steps *) calloc(1, sizeof(struct gpu_steps));
	s->noting = s->steps != NULL && !s->steps->useless;
}

#define MOST_OF_GROUP 16
#define GROUP_SECONDS 0.005 /* that a group is to take */

/* Wait for the group before this one, when this one is full. */
static void
keep_up(gpu_state *s)
{
	gpu_group *g = &s->group[s->this_group];
	double seconds;

	if (s->failure != cudaSuccess || ++s->group_steps < s->most_steps)
		return;
	if (!gpu_check(s, cudaEventRecord(g->done, s->stream), "compute"))
		return;
	g->steps = s->group_steps;
	s->group_steps = 0;
	s->this_group = (s->this_group + 1) % GPU_GROUPS;
	g = &s->group[s->this_group];
	if (g->steps == 0 ||
		!gpu_check(s, cudaEventSynchronize(g->done), "compute"))
		return;
	/* since the group before it, which is not less than it took */
	seconds = gpu_now() - s->last_done;
	if (s->last_done > 0)
		s->most_steps = (int) fmin(GROUP_SECONDS / (seconds / g->steps + 1e-9),
								   MOST_OF_GROUP);
	s->last_done += seconds;
	g->steps = 0;
}

void
gpu_caught_up(gpu_state *s)
{
	for (int i = 0; i < GPU_GROUPS; i++)
		s->group[i].steps = 0;
	s->group_steps = 0;
	s->last_done = 0;
}

/* Start what has been noted down of a step, together if it can be had. */
static void
start_step(gpu_state *s)
{
	struct gpu_steps *steps = s->steps;
	step_graph *g;

	/* one kernel is started as fast alone */
	if (steps->now.count < 2 || s->failure != cudaSuccess)
	{
		gpu_flush(s);
		return;
	}
	g = find_graph(s);
	if (g == NULL)
	{
		/* whatever the reason, it would be the same next time */
		steps->useless = true;
		gpu_flush(s);
		return;
	}
	s->noting = false;
	steps->now.count = 0;
	steps->now.used = 0;
	g->last_used = ++steps->steps;
	gpu_check(s, cudaGraphLaunch(g->exec, s->stream), "start a step");
}

void
gpu_end_step(nn_device *d)
{
	gpu_state *s = gpu_of(d);

	if (s->noting)
		start_step(s);
	gpu_forget_factors(s);
	keep_up(s);
}

size_t
gpu_room_for(gpu_state *s, const void *kernel)
{
	gpu_room *r = s->room;
	int blocks = 0;

	while (r->kernel != NULL && r->kernel != kernel &&
		   r < s->room + GPU_ROOMS - 1)
		r++;
	if (r->kernel == kernel)
		return r->blocks;
	gpu_check(s,
			  cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel,
															BLOCK_THREADS, 0),
			  "look at a kernel");
	r->kernel = kernel;
	r->blocks = (size_t) blocks * (size_t) s->processors;
	return r->blocks;
}

void
gpu_steps_release(gpu_state *s)
{
	if (s->steps == NULL)
		return;
	for (int i = 0; i < MAX_GRAPHS; i++)
		free_graph(s->steps->graphs[i]);
	forget(&s->steps->now);
	free(s->steps);
	s->steps = NULL;
}
