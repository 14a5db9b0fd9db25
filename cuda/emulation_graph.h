/*
 * emulation_graph.h
 *	  Kernels by address, and graphs of them, of the emulated device.  Included
 *	  by emulation_host.h.
 *
 * A kernel that is started, and a node of a graph, has the arguments that were
 * there when it was told, as on a real device.
 */
#ifndef CUDA_EMULATION_GRAPH_H
#define CUDA_EMULATION_GRAPH_H

#include <tuple>
#include <utility>

#include "emulation_host.h"

namespace emulation
{

/* A kernel with its arguments, which are copied. */
typedef std::function<void()> (*binder)(const void *kernel, void **arguments);

inline std::map<const void *, binder> kernels;

/* What a library puts on a stream that is being captured. */
inline bool capturing;
inline std::vector<std::function<void()>> captured;

template <class... P, size_t... I>
std::function<void()>
bind_arguments(void (*kernel)(P...), void **arguments,
			   std::index_sequence<I...>)
{
	std::tuple<P...> kept(*(P *) arguments[I]...);

	(void) arguments;
	return [=] { std::apply(kernel, kept); };
}

template <class... P>
std::function<void()>
bind(const void *kernel, void **arguments)
{
	return bind_arguments((void (*)(P...)) kernel, arguments,
						  std::index_sequence_for<P...>());
}

template <class... P>
void
know_kernel(void (*kernel)(P...))
{
	kernels[(const void *) kernel] = bind<P...>;
}

/* A kernel; or, as another graph within the graph, jobs of a library. */
struct graph_node
{
	dim3 grid, block;
	std::function<void()> kernel;
	std::vector<std::function<void()>> jobs;
	bool cooperative;
};

/* Put a kernel on the stream.  Blocks that meet must all be there at once. */
inline cudaError_t
put_kernel(dim3 grid, dim3 block, bool cooperative,
		   const std::function<void()> &kernel)
{
	if (cooperative && EMULATED_DEVICE.no_cooperation)
		die("a cooperative launch, which the device does not know");
	if (cooperative && (grid.x > BLOCKS_AT_ONCE || grid.y * grid.z > 1))
		return emulated_result(cudaErrorCooperativeLaunchTooLarge);
	enqueue([=] { run_grid(grid, block, cooperative, kernel); });
	return emulated_result();
}

} /* namespace emulation */

typedef enum cudaStreamCaptureMode
{
	cudaStreamCaptureModeThreadLocal
} cudaStreamCaptureMode;

typedef struct cudaKernelNodeParams
{
	void *func;
	dim3 gridDim, blockDim;
	unsigned sharedMemBytes;
	void **kernelParams, **extra;
} cudaKernelNodeParams;

/* Nodes are known by their place; a graph is a chain of them. */
typedef struct CUgraphNode_st
{
	size_t place;
	struct CUgraph_st *graph;
} * cudaGraphNode_t;

typedef struct CUgraph_st
{
	std::deque<emulation::graph_node> nodes;
	std::deque<CUgraphNode_st> names;
} * cudaGraph_t, *cudaGraphExec_t;

inline cudaError_t
emulated_launch(const void *kernel, dim3 grid, dim3 block, void **arguments,
				cudaStream_t stream, bool cooperative)
{
	auto bound = emulation::kernels.at(kernel)(kernel, arguments);

	if (emulation::capturing)
		emulation::die("a kernel in a capture");
	if (stream->device != EMULATED_DEVICE.current)
		return emulated_result(cudaErrorInvalidResourceHandle);
	EMULATED_DEVICE.launches++;
	return emulation::put_kernel(grid, block, cooperative, bound);
}

inline cudaError_t
cudaLaunchKernel(const void *kernel, dim3 grid, dim3 block, void **arguments,
				 size_t, cudaStream_t stream)
{
	return emulated_launch(kernel, grid, block, arguments, stream, false);
}

inline cudaError_t
cudaLaunchCooperativeKernel(const void *kernel, dim3 grid, dim3 block,
							void **arguments, size_t, cudaStream_t stream)
{
	return emulated_launch(kernel, grid, block, arguments, stream, true);
}

inline cudaError_t
cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *count, const void *, int,
											  size_t)
{
	*count = emulation::BLOCKS_AT_ONCE / emulation::PROCESSORS;
	return emulated_result();
}

typedef struct cudaFuncAttributes
{
	int ptxVersion;
} cudaFuncAttributes;

inline cudaError_t
cudaFuncGetAttributes(cudaFuncAttributes *a, const void *)
{
	a->ptxVersion = EMULATED_DEVICE.compiled;
	return emulated_result();
}

inline emulation::graph_node
emulated_node(const cudaKernelNodeParams *p, bool cooperative)
{
	return {p->gridDim,
			p->blockDim,
			emulation::kernels.at(p->func)(p->func, p->kernelParams),
			{},
			cooperative};
}

inline cudaError_t
cudaGraphCreate(cudaGraph_t *graph, unsigned)
{
	*graph = new CUgraph_st();
	return emulated_result();
}

inline cudaError_t
cudaGraphDestroy(cudaGraph_t graph)
{
	delete graph;
	return emulated_result();
}

inline cudaError_t
cudaGraphAddKernelNode(cudaGraphNode_t *node, cudaGraph_t graph,
					   const cudaGraphNode_t *after, size_t count,
					   const cudaKernelNodeParams *p)
{
	if (count != (graph->nodes.empty() ? 0 : 1) ||
		(count == 1 && after[0] != &graph->names.back()))
		emulation::die("a graph that is no chain");
	graph->nodes.push_back(emulated_node(p, false));
	graph->names.push_back({graph->names.size(), graph});
	*node = &graph->names.back();
	return emulated_result();
}

typedef union cudaKernelNodeAttrValue
{
	int cooperative;
} cudaKernelNodeAttrValue;

typedef enum cudaKernelNodeAttrID
{
	cudaKernelNodeAttributeCooperative
} cudaKernelNodeAttrID;

inline cudaError_t
cudaGraphKernelNodeSetAttribute(cudaGraphNode_t node, cudaKernelNodeAttrID,
								const cudaKernelNodeAttrValue *value)
{
	node->graph->nodes[node->place].cooperative = value->cooperative != 0;
	return emulated_result();
}

/* Between the two, jobs of a library go to the graph instead of the stream; no
 * kernel of ours may. */
inline cudaError_t
cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode)
{
	if (emulation::capturing)
		emulation::die("a capture within a capture");
	if (EMULATED_DEVICE.no_captures)
		return cudaErrorInvalidValue;
	emulation::capturing = true;
	emulation::captured.clear();
	return emulated_result();
}

inline cudaError_t
cudaStreamEndCapture(cudaStream_t, cudaGraph_t *graph)
{
	if (!emulation::capturing)
		emulation::die("the end of no capture");
	emulation::capturing = false;
	*graph = new CUgraph_st();
	(*graph)->nodes.push_back({dim3(), dim3(), {}, emulation::captured, false});
	return emulated_result();
}

/* The node has a copy of the graph. */
inline cudaError_t
cudaGraphAddChildGraphNode(cudaGraphNode_t *node, cudaGraph_t graph,
						   const cudaGraphNode_t *after, size_t count,
						   cudaGraph_t child)
{
	if (count != (graph->nodes.empty() ? 0 : 1) ||
		(count == 1 && after[0] != &graph->names.back()))
		emulation::die("a graph that is no chain");
	graph->nodes.push_back(child->nodes.front());
	graph->names.push_back({graph->names.size(), graph});
	*node = &graph->names.back();
	return emulated_result();
}

inline cudaError_t
cudaGraphExecChildGraphNodeSetParams(cudaGraphExec_t exec, cudaGraphNode_t node,
									 cudaGraph_t child)
{
	if (EMULATED_DEVICE.no_changes)
		return cudaErrorInvalidValue;
	EMULATED_DEVICE.changed_nodes++;
	exec->nodes[node->place] = child->nodes.front();
	return emulated_result();
}

inline cudaError_t
cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph,
					 unsigned long long)
{
	if (EMULATED_DEVICE.no_graphs)
		return cudaErrorInvalidValue;
	*exec = new CUgraph_st(*graph);
	return emulated_result();
}

inline cudaError_t
cudaGraphExecDestroy(cudaGraphExec_t exec)
{
	delete exec;
	return emulated_result();
}

/* Sizes of the grid may change, the kernel may not. */
inline cudaError_t
cudaGraphExecKernelNodeSetParams(cudaGraphExec_t exec, cudaGraphNode_t node,
								 const cudaKernelNodeParams *p)
{
	if (EMULATED_DEVICE.no_changes)
		return cudaErrorInvalidValue;
	EMULATED_DEVICE.changed_nodes++;
	exec->nodes[node->place] =
		emulated_node(p, exec->nodes[node->place].cooperative);
	return emulated_result();
}

inline cudaError_t
cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t)
{
	EMULATED_DEVICE.graphs++;
	for (const emulation::graph_node &n : exec->nodes)
	{
		cudaError_t result =
			n.kernel ? emulation::put_kernel(n.grid, n.block, n.cooperative,
											 n.kernel)
					 : emulated_result();

		if (result != cudaSuccess)
			return result;
		for (const std::function<void()> &job : n.jobs)
			emulation::enqueue(job);
	}
	return emulated_result();
}

#endif /* CUDA_EMULATION_GRAPH_H */
