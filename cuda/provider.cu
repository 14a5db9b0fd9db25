/*
 * provider.cu
 *	  The CUDA provider: memory, order of work, failures, and the table.
 *
 * The library is opened by a process that is about to compute.  Asking it for
 * its table looks for a device; a context is created by open() only, and is
 * the process's primary one, so several openings share it.  A process with a
 * context must not fork.
 */
#include <pthread.h>
#include <signal.h>

#include "gpu.h"

#define MIN_MAJOR 7 /* compute capability 7.5 */
#define MIN_MINOR 5

/*
 * Openings of this process, whose context must live, and the device they are
 * of: the host program opens one device at a time.
 */
static int open_devices;
static int open_ordinal;

/* The failure that this process's context did not survive. */
static struct
{
	cudaError_t failure;
	const char *doing;
} broken;

/*
 * Most failures are those of a call.  After some, such as a kernel's access to
 * memory that is not there, every call of the process fails, and only a new
 * process can use the device again.
 */
static void
find_broken(cudaError_t result, const char *doing)
{
	cudaGetLastError();
	if (broken.failure != cudaSuccess || cudaFree(NULL) == cudaSuccess)
		return;
	broken.failure = result;
	broken.doing = doing;
}

bool
gpu_check(gpu_state *s, cudaError_t result, const char *doing)
{
	if (s->failure == cudaSuccess && result != cudaSuccess)
	{
		s->failure = result;
		s->doing = doing;
		if (result != cudaErrorMemoryAllocation)
			find_broken(result, doing);
	}
	return s->failure == cudaSuccess;
}

/*
 * A context takes some hundred megabytes, so none is kept for nothing; but
 * nobody says that cuBLASLt, which cannot be unloaded, survives the end of a
 * context that it has used.
 */
static uint64_t kept; /* a bit for each device */

static uint64_t
bit_of(int ordinal)
{
	return (uint64_t) 1 << (ordinal < 63 ? ordinal : 63);
}

void
gpu_keep_context(void)
{
	kept |= bit_of(open_ordinal);
}

static bool
gpu_occupied(void)
{
	/* one that is broken is of no use to this process, whatever it takes */
	return kept != 0 && broken.failure == cudaSuccess;
}

/* Of the current device. */
static void
end_context(int ordinal)
{
	if (!(kept & bit_of(ordinal)))
		cudaDeviceReset();
}

static void
gpu_close(nn_device *d)
{
	gpu_state *s = gpu_of(d);

	if (s == NULL)
		return;
	gpu_finish(s);
	gpu_steps_release(s);
	gpu_staging_release(s);
	gpu_factors_release(s);
	gpu_blas_close(s->blas);
	if (s->stream != NULL)
		cudaStreamDestroy(s->stream);
	/* an error of this must not be taken for one of another device's work */
	cudaGetLastError();
	free(s);
	d->state = NULL;
	if (--open_devices == 0 && broken.failure == cudaSuccess)
		end_context(open_ordinal);
}

/* The devices there are, or 0 and why. */
static int
count_devices(const char **why)
{
	int count = 0;
	cudaError_t result = cudaGetDeviceCount(&count);

	*why =
		cudaGetErrorString(result != cudaSuccess ? result : cudaErrorNoDevice);
	return result == cudaSuccess ? count : 0;
}

static bool
is_new_enough(int ordinal, int *major, int *minor)
{
	if (cudaDeviceGetAttribute(major, cudaDevAttrComputeCapabilityMajor,
							   ordinal) != cudaSuccess ||
		cudaDeviceGetAttribute(minor, cudaDevAttrComputeCapabilityMinor,
							   ordinal) != cudaSuccess)
		*major = *minor = 0;
	return *major > MIN_MAJOR || (*major == MIN_MAJOR && *minor >= MIN_MINOR);
}

static bool
make_context(gpu_state *s, int ordinal)
{
	gpu_check(s, cudaSetDevice(ordinal), "create a context");
	gpu_check(s,
			  cudaDeviceGetAttribute(&s->processors,
									 cudaDevAttrMultiProcessorCount, ordinal),
			  "create a context");
	gpu_check(s,
			  cudaDeviceGetAttribute(
				  &s->major, cudaDevAttrComputeCapabilityMajor, ordinal),
			  "create a context");
	gpu_check(s,
			  cudaDeviceGetAttribute(&s->cooperates,
									 cudaDevAttrCooperativeLaunch, ordinal),
			  "create a context");
	gpu_check(s, cudaStreamCreateWithFlags(&s->stream, cudaStreamNonBlocking),
			  "create a stream");
	for (int i = 0; i < GPU_ROW_SLOTS + GPU_GROUPS; i++)
		gpu_check(s,
				  cudaEventCreateWithFlags(
					  i < GPU_ROW_SLOTS ? &s->rows[i].copied
										: &s->group[i - GPU_ROW_SLOTS].done,
					  cudaEventDisableTiming),
				  "create an event");
	return s->failure == cudaSuccess;
}

/* Report what the state remembers. */
static bool
report(const gpu_state *s, nn_error *err)
{
	bool memory = s->failure == cudaErrorMemoryAllocation;

	nn_fail(err, memory ? NN_DEVICE_NOMEM : NN_DEVICE,
			"could not %s on the CUDA device", s->doing);
	if (memory && s->asked > 0)
		return nn_detail(err, "CUDA says: %s. Failed on request of size %zu.",
						 cudaGetErrorString(s->failure), s->asked);
	return nn_detail(err, "CUDA says: %s.", cudaGetErrorString(s->failure));
}

static bool
gpu_open(nn_device *d, int ordinal, nn_error *err)
{
	const char *why;
	int count = count_devices(&why), major, minor;
	gpu_state *s;
	sigset_t all, before;
	bool ok;

	d->state = NULL;
	if (broken.failure != cudaSuccess)
	{
		nn_fail(err, NN_UNAVAILABLE,
				"this process can no longer use the CUDA device");
		nn_detail(err, "It could not %s. CUDA says: %s.", broken.doing,
				  cudaGetErrorString(broken.failure));
		return nn_hint(err, "Start a new session.");
	}
	if (count == 0)
	{
		nn_fail(err, NN_UNAVAILABLE, "there is no CUDA device");
		return nn_detail(err, "CUDA says: %s.", why);
	}
	if (ordinal < 0 || ordinal >= count)
	{
		nn_fail(err, NN_UNAVAILABLE, "there is no CUDA device %d", ordinal);
		return nn_detail(err, "There are %d, numbered from 0.", count);
	}
	if (!is_new_enough(ordinal, &major, &minor))
	{
		nn_fail(err, NN_UNAVAILABLE, "CUDA device %d is too old", ordinal);
		return nn_detail(err,
						 "Its compute capability is %d.%d, and %d.%d is "
						 "needed.",
						 major, minor, MIN_MAJOR, MIN_MINOR);
	}
	s = (gpu_state *) calloc(1, sizeof(gpu_state));
	if (s == NULL)
		return nn_fail(err, NN_NOMEM, "out of memory");
	d->state = s;
	open_devices++;
	/* CUDA's threads must never run the host program's handlers */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	gpu_costs_begin();
	open_ordinal = ordinal;
	if (make_context(s, ordinal))
		gpu_costs_measure(d);
	/* either may have failed, as where there are no kernels for this device */
	ok = s->failure == cudaSuccess;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!ok)
	{
		report(s, err);
		gpu_close(d);
	}
	return ok;
}

/*
 * How much memory is free is known to a context only.  One that is made to ask
 * is given up again: it takes some hundred megabytes.  What is under way needs
 * its own device to be the current one afterwards.
 */
static bool
gpu_describe(int ordinal, nn_device_info *info)
{
	const char *why;
	cudaDeviceProp properties;
	sigset_t all, before;
	size_t total;
	int version = 0;
	bool in_use = open_devices > 0 && ordinal == open_ordinal;

	memset(info, 0, sizeof(*info));
	if (ordinal < 0 || ordinal >= count_devices(&why) ||
		cudaGetDeviceProperties(&properties, ordinal) != cudaSuccess)
		return false;
	snprintf(info->name, sizeof(info->name), "%s", properties.name);
	info->memory = properties.totalGlobalMem;
	if (cudaDriverGetVersion(&version) == cudaSuccess)
		snprintf(info->driver, sizeof(info->driver), "CUDA %d.%d",
				 version / 1000, version % 1000 / 10);
	if (broken.failure != cudaSuccess)
	{
		snprintf(info->reason, sizeof(info->reason),
				 "This session can no longer use it: it could not %s. CUDA "
				 "says: %s.",
				 broken.doing, cudaGetErrorString(broken.failure));
		return true;
	}
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (cudaSetDevice(ordinal) == cudaSuccess)
	{
		if (cudaMemGetInfo(&info->memory_free, &total) != cudaSuccess)
			info->memory_free = 0;
		if (!in_use)
			end_context(ordinal);
	}
	if (open_devices > 0)
		cudaSetDevice(open_ordinal);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	cudaGetLastError();
	return true;
}

/* Being out of memory is no failure of the device. */
static void *
gpu_alloc(nn_device *d, size_t bytes)
{
	gpu_state *s = gpu_of(d);
	void *p = NULL;
	cudaError_t result;

	if (s->failure != cudaSuccess)
		return NULL;
	result = cudaMalloc(&p, bytes > 0 ? bytes : 1);
	if (result == cudaErrorMemoryAllocation)
		cudaGetLastError();
	else
		gpu_check(s, result, "allocate memory");
	return result == cudaSuccess ? p : NULL;
}

/* Page-locked memory.  Not to get any is no failure of the device. */
static void *
gpu_alloc_host(nn_device *d, size_t bytes)
{
	gpu_state *s = gpu_of(d);
	void *p = NULL;

	if (s->failure != cudaSuccess ||
		cudaMallocHost(&p, bytes > 0 ? bytes : 1) != cudaSuccess)
	{
		cudaGetLastError();
		return NULL;
	}
	return p;
}

static void
gpu_free_host(nn_device *d, void *p)
{
	if (p == NULL)
		return;
	gpu_finish(gpu_of(d));
	gpu_check(gpu_of(d), cudaFreeHost(p), "free memory for copies");
}

static void
gpu_free(nn_device *d, void *p)
{
	if (p == NULL)
		return;
	gpu_finish(gpu_of(d));
	gpu_check(gpu_of(d), cudaFree(p), "free memory");
}

static void
transfer(nn_device *d, void *dst, const void *src, size_t bytes,
		 cudaMemcpyKind kind)
{
	gpu_state *s = gpu_of(d);

	if (bytes == 0 || s->failure != cudaSuccess)
		return;
	gpu_flush(s);
	gpu_check(s, cudaMemcpyAsync(dst, src, bytes, kind, s->stream),
			  "copy memory");
}

static void
gpu_upload(nn_device *d, void *dst, const void *src, size_t bytes)
{
	transfer(d, dst, src, bytes, cudaMemcpyHostToDevice);
}

static void
gpu_download(nn_device *d, void *dst, const void *src, size_t bytes)
{
	transfer(d, dst, src, bytes, cudaMemcpyDeviceToHost);
}

static void
gpu_copy(nn_device *d, void *dst, const void *src, size_t bytes)
{
	const uint32_t *from = (const uint32_t *) src;
	uint32_t *to = (uint32_t *) dst;

	/* what is copied within a step are numbers */
	if (gpu_of(d)->noting && bytes % sizeof(uint32_t) == 0)
		gpu_each(d, bytes / sizeof(uint32_t),
				 [=] __device__(size_t i) { to[i] = from[i]; });
	else
		transfer(d, dst, src, bytes, cudaMemcpyDeviceToDevice);
}

static void
gpu_zero(nn_device *d, void *dst, size_t bytes)
{
	gpu_state *s = gpu_of(d);
	uint32_t *to = (uint32_t *) dst;

	if (s->noting && bytes % sizeof(uint32_t) == 0)
		gpu_each(d, bytes / sizeof(uint32_t),
				 [=] __device__(size_t i) { to[i] = 0; });
	else if (bytes > 0 && s->failure == cudaSuccess)
	{
		gpu_flush(s);
		gpu_check(s, cudaMemsetAsync(dst, 0, bytes, s->stream), "clear memory");
	}
}

static bool
gpu_sync(nn_device *d, nn_error *err)
{
	gpu_state *s = gpu_of(d);

	gpu_finish(s);
	gpu_caught_up(s);
	return s->failure == cudaSuccess || report(s, err);
}

static void
fill_memory(nn_device_ops *ops)
{
	ops->describe = gpu_describe;
	ops->open = gpu_open;
	ops->close = gpu_close;
	ops->occupied = gpu_occupied;
	ops->alloc = gpu_alloc;
	ops->free = gpu_free;
	ops->upload = gpu_upload;
	ops->download = gpu_download;
	ops->copy = gpu_copy;
	ops->zero = gpu_zero;
	ops->sync = gpu_sync;
	ops->begin_step = gpu_begin_step;
	ops->end_step = gpu_end_step;
	ops->settle = gpu_settle;
	ops->costs = gpu_costs;
	ops->alloc_host = gpu_alloc_host;
	ops->free_host = gpu_free_host;
}

static void
fill_kernels(nn_device_ops *ops)
{
	ops->places = gpu_places;
	ops->gather = gpu_gather;
	ops->upload_rows = gpu_upload_rows;
	ops->gemm = gpu_gemm;
	ops->dense = gpu_dense;
	ops->dense_slope = gpu_dense_slope;
	ops->map = gpu_map;
	ops->map_slope = gpu_map_slope;
	ops->axpby = gpu_axpby;
	ops->multiply = gpu_multiply;
	ops->dropout = gpu_dropout;
	ops->sum_rows = gpu_sum_rows;
	ops->dot_rows = gpu_dot_rows;
	ops->scale_rows = gpu_scale_rows;
	ops->copy_columns = gpu_copy_columns;
	ops->sum_squares_rows = gpu_sum_squares_rows;
	ops->batch_norm = gpu_batch_norm;
	ops->batch_norm_slope = gpu_batch_norm_slope;
	ops->layer_norm = gpu_layer_norm;
	ops->layer_norm_slope = gpu_layer_norm_slope;
	ops->softmax = gpu_softmax;
	ops->softmax_slope = gpu_softmax_slope;
	ops->lookup = gpu_lookup;
	ops->lookup_slope = gpu_lookup_slope;
	ops->one_hot = gpu_one_hot;
	ops->piecewise = gpu_piecewise;
	ops->piecewise_slope = gpu_piecewise_slope;
	ops->loss = gpu_loss;
	ops->optimizer = gpu_optimizer;
	ops->optimizers = gpu_optimizers;
	ops->mlp = gpu_mlp;
	ops->sum_squares = gpu_sum_squares;
	ops->regularize = gpu_regularize;
}

extern "C" bool NN_PROVIDER(nn_device_ops *ops, char *why, size_t why_size)
	__attribute__((visibility("default")));

bool
NN_PROVIDER(nn_device_ops *ops, char *why, size_t why_size)
{
	const char *reason;

	if (count_devices(&reason) == 0)
	{
		snprintf(why, why_size, "CUDA says: %s.", reason);
		return false;
	}
	ops->name = "cuda";
	ops->row_independent = false;
	ops->own_memory = true;
	fill_memory(ops);
	fill_kernels(ops);
	return true;
}
