/*
 * emulation_host.h
 *	  The host's side of the emulated device: memory, order of work, CUDA's
 *	  calls.  Included by emulation.h.
 *
 * - Work runs as late as it may: when the host waits.  Host memory that is
 *	 read too late is then found, and so is a wait that is missing.
 * - Device memory cannot be touched by the host.  Each piece ends at a page
 *	 that nobody can touch, and freed memory stays forbidden.
 *
 * All streams of all devices run in the order of calls.  A stream takes kernels
 * only while its device is the current one, and memory is that device's; each
 * has as much.  Calls are those that the provider makes.
 */
#ifndef CUDA_EMULATION_HOST_H
#define CUDA_EMULATION_HOST_H

#include <dlfcn.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <deque>
#include <map>

#include "emulation.h"

namespace emulation
{

/*
 * --- memory and the order of work ---
 */

const int PROCESSORS = 4;
const unsigned BLOCKS_AT_ONCE = 2 * PROCESSORS;

struct piece
{
	char *pages;
	size_t size; /* of its pages, the forbidden one included */
	size_t bytes;
	int device;
};

inline std::map<char *, piece> pieces; /* by beginning */

/* Bytes that are in use on the current device. */
inline size_t
allocated(void)
{
	size_t bytes = 0;

	for (const auto &p : pieces)
		if (p.second.device == EMULATED_DEVICE.current)
			bytes += p.second.bytes;
	return bytes;
}

/* Work that has been put off, and the number of jobs done before it. */
inline std::deque<std::function<void()>> queue;
inline uint64_t jobs_done;

inline void
enqueue(std::function<void()> job)
{
	queue.push_back(std::move(job));
	EMULATED_DEVICE.waiting = std::max(EMULATED_DEVICE.waiting, queue.size());
}

inline size_t
page(void)
{
	return (size_t) sysconf(_SC_PAGESIZE);
}

inline void
allow(const piece &p, int access)
{
	if (mprotect(p.pages, p.size - page(), access) != 0)
		die("could not change the access to memory");
}

/* Whether a range lies within one piece of device memory. */
inline bool
is_device_memory(const void *at, size_t bytes)
{
	auto after = pieces.upper_bound((char *) at);

	if (after == pieces.begin())
		return false;
	--after;
	return (char *) at + bytes <= after->first + after->second.bytes;
}

/* Do what has been put off, until that many jobs have been done in all. */
inline void
run_jobs(uint64_t until)
{
	if (jobs_done >= until)
		return;
	rng.seed(EMULATED_DEVICE.seed++);
	for (auto &p : pieces)
		allow(p.second, PROT_READ | PROT_WRITE);
	for (; jobs_done < until; jobs_done++)
	{
		/* a broken device does nothing more */
		if (EMULATED_DEVICE.fails_after > 0 &&
			jobs_done >= EMULATED_DEVICE.fails_after)
			EMULATED_DEVICE.failure = 700;
		if (!EMULATED_DEVICE.failure)
			queue.front()();
		queue.pop_front();
	}
	for (auto &p : pieces)
		allow(p.second, PROT_NONE);
}

/* The file of settings, if there is one; see emulated.h. */
inline void
read_settings(void)
{
	emulated_device *e = &EMULATED_DEVICE;
	unsigned long value;
	char path[4096], name[64];
	Dl_info library;
	FILE *file;

	if (dladdr(e, &library) == 0)
		return;
	snprintf(path, sizeof(path), "%s.conf", library.dli_fname);
	file = fopen(path, "r");
	if (file == NULL)
		return;
	while (fscanf(file, "%63s %lu", name, &value) == 2)
	{
		if (strcmp(name, "memory") == 0)
			e->memory = value;
		else if (strcmp(name, "blas") == 0)
			e->blas = value != 0;
		else if (strcmp(name, "failure") == 0)
			e->failure = (int) value;
		else if (strcmp(name, "devices") == 0)
			e->devices = (int) value;
		else if (strcmp(name, "fails_after") == 0)
			e->fails_after = value;
		else
			die("no such setting");
	}
	fclose(file);
}

inline void
drain(void)
{
	EMULATED_DEVICE.syncs++;
	run_jobs(jobs_done + queue.size());
}

} /* namespace emulation */

/*
 * --- what the host uses, with CUDA's own names and numbers ---
 */

typedef enum cudaError
{
	cudaSuccess = 0,
	cudaErrorInvalidValue = 1,
	cudaErrorMemoryAllocation = 2,
	cudaErrorInsufficientDriver = 35,
	cudaErrorNoDevice = 100,
	cudaErrorInvalidDevice = 101,
	cudaErrorInvalidResourceHandle = 400,
	cudaErrorIllegalAddress = 700,
	cudaErrorCooperativeLaunchTooLarge = 720,
	cudaErrorUnknown = 999
} cudaError_t;

typedef enum cudaMemcpyKind
{
	cudaMemcpyHostToDevice = 1,
	cudaMemcpyDeviceToHost = 2,
	cudaMemcpyDeviceToDevice = 3
} cudaMemcpyKind;

typedef enum cudaDeviceAttr
{
	cudaDevAttrMultiProcessorCount = 16,
	cudaDevAttrComputeCapabilityMajor = 75,
	cudaDevAttrComputeCapabilityMinor = 76,
	cudaDevAttrCooperativeLaunch = 95
} cudaDeviceAttr;

typedef struct CUstream_st
{
	int device;
} * cudaStream_t;
typedef struct CUevent_st
{
	uint64_t jobs; /* before it */
} * cudaEvent_t;

namespace emulation
{

/* Host memory that a job reads or writes. */
struct host_use
{
	uint64_t job;
	const char *at;
};

inline std::deque<host_use> host_uses;

inline unsigned blas_devices; /* that cuBLASLt has used: a bit for each */

inline void
note_host_use(const void *at, cudaMemcpyKind kind)
{
	while (!host_uses.empty() && host_uses.front().job < jobs_done)
		host_uses.pop_front();
	if (kind != cudaMemcpyDeviceToDevice)
		host_uses.push_back({jobs_done + queue.size(), (const char *) at});
}

} /* namespace emulation */

#define cudaStreamNonBlocking  1
#define cudaEventDisableTiming 2

inline cudaError_t
emulated_result(cudaError_t otherwise = cudaSuccess)
{
	return EMULATED_DEVICE.failure ? (cudaError_t) EMULATED_DEVICE.failure
								   : otherwise;
}

inline const char *
cudaGetErrorString(cudaError_t e)
{
	switch (e)
	{
		case cudaSuccess:
			return "no error";
		case cudaErrorMemoryAllocation:
			return "out of memory";
		case cudaErrorInsufficientDriver:
			return "CUDA driver version is insufficient for CUDA runtime "
				   "version";
		case cudaErrorNoDevice:
			return "no CUDA-capable device is detected";
		case cudaErrorInvalidDevice:
			return "invalid device ordinal";
		case cudaErrorInvalidResourceHandle:
			return "invalid resource handle";
		case cudaErrorUnknown:
			return "unknown error";
		case cudaErrorIllegalAddress:
			return "an illegal memory access was encountered";
		case cudaErrorCooperativeLaunchTooLarge:
			return "too many blocks in cooperative launch";
		case cudaErrorInvalidValue:
			break;
	}
	return "invalid argument";
}

/* Errors of a call are returned by it; none is kept but a lasting one. */
inline cudaError_t
cudaGetLastError(void)
{
	return emulated_result();
}

inline cudaError_t
cudaGetDeviceCount(int *count)
{
	emulation::read_settings();
	*count = EMULATED_DEVICE.devices;
	return emulated_result();
}

inline cudaError_t
cudaSetDevice(int device)
{
	EMULATED_DEVICE.current = device;
	return emulated_result(device >= 0 && device < EMULATED_DEVICE.devices
							   ? cudaSuccess
							   : cudaErrorInvalidDevice);
}

inline cudaError_t
cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int)
{
	switch (attribute)
	{
		case cudaDevAttrMultiProcessorCount:
			*value = emulation::PROCESSORS;
			break;
		case cudaDevAttrComputeCapabilityMajor:
			*value = 9;
			break;
		case cudaDevAttrComputeCapabilityMinor:
			*value = 0;
			break;
		case cudaDevAttrCooperativeLaunch:
			*value = !EMULATED_DEVICE.no_cooperation;
			break;
	}
	return emulated_result();
}

typedef struct cudaDeviceProp
{
	char name[256];
	size_t totalGlobalMem;
} cudaDeviceProp;

inline cudaError_t
cudaGetDeviceProperties(cudaDeviceProp *properties, int)
{
	strcpy(properties->name, "emulated");
	properties->totalGlobalMem = EMULATED_DEVICE.memory;
	return emulated_result();
}

inline cudaError_t
cudaDriverGetVersion(int *version)
{
	*version = 13000;
	return emulated_result();
}

inline cudaError_t
cudaMemGetInfo(size_t *free, size_t *total)
{
	*free = EMULATED_DEVICE.memory - emulation::allocated();
	*total = EMULATED_DEVICE.memory;
	return emulated_result();
}

/* Only a process that has nothing on the device may do this. */
inline cudaError_t
cudaDeviceReset(void)
{
	if (emulation::allocated() > 0)
		emulation::die("reset of a device in use");
	/* the library stays, and may know the context still */
	if (emulation::blas_devices >> EMULATED_DEVICE.current & 1)
		emulation::die("reset of a device that cuBLASLt has used");
	return emulated_result();
}

inline cudaError_t
cudaMalloc(void **to, size_t bytes)
{
	size_t room = (bytes + 15) / 16 * 16, page = emulation::page(), size;
	emulation::piece p;
	char *start;

	*to = NULL;
	if (bytes == 0)
		return emulated_result();
	if (emulated_result() != cudaSuccess)
		return emulated_result();
	if (bytes > EMULATED_DEVICE.memory - emulation::allocated())
		return cudaErrorMemoryAllocation;
	size = (room + page - 1) / page * page + page;
	p.pages = (char *) mmap(NULL, size, PROT_NONE,
							MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p.pages == MAP_FAILED)
		return cudaErrorMemoryAllocation;
	p.size = size;
	p.bytes = bytes;
	p.device = EMULATED_DEVICE.current;
	start = p.pages + size - page - room;
	emulation::allow(p, PROT_READ | PROT_WRITE);
	memset(p.pages, 0xff, size - page);
	emulation::allow(p, PROT_NONE);
	emulation::pieces[start] = p;
	EMULATED_DEVICE.allocated += bytes;
	*to = start;
	return cudaSuccess;
}

/* The addresses are never used again, so whoever still does is found. */
inline cudaError_t
cudaFree(void *start)
{
	if (start == NULL)
		return emulated_result();
	auto found = emulation::pieces.find((char *) start);

	if (found == emulation::pieces.end())
		emulation::die("free of what is no device memory");
	/* it "may" wait, says its documentation */
	if (!emulation::queue.empty())
		emulation::die("free of device memory while work is under way");
	EMULATED_DEVICE.allocated -= found->second.bytes;
	mmap(found->second.pages, found->second.size, PROT_NONE,
		 MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	emulation::pieces.erase(found);
	return emulated_result();
}

inline cudaError_t
cudaMallocHost(void **to, size_t bytes)
{
	*to = malloc(bytes);
	return emulated_result(*to != NULL ? cudaSuccess
									   : cudaErrorMemoryAllocation);
}

inline cudaError_t
cudaFreeHost(void *start)
{
	/* nothing is said of waiting */
	for (const emulation::host_use &u : emulation::host_uses)
		if (u.job >= emulation::jobs_done && u.at >= (char *) start &&
			u.at < (char *) start + malloc_usable_size(start))
			emulation::die("free of host memory that is being copied");
	free(start);
	return emulated_result();
}

inline cudaError_t
cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
				cudaStream_t)
{
	bool to_device = emulation::is_device_memory(to, bytes);
	bool from_device = emulation::is_device_memory(from, bytes);

	if (to_device != (kind != cudaMemcpyDeviceToHost) ||
		from_device != (kind != cudaMemcpyHostToDevice))
		return emulated_result(cudaErrorInvalidValue);
	emulation::note_host_use(kind == cudaMemcpyDeviceToHost ? to : from, kind);
	emulation::enqueue([=] { memmove(to, from, bytes); });
	return emulated_result();
}

inline cudaError_t
cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t)
{
	if (!emulation::is_device_memory(to, bytes))
		return emulated_result(cudaErrorInvalidValue);
	emulation::enqueue([=] { memset(to, value, bytes); });
	return emulated_result();
}

inline cudaError_t
cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned)
{
	*stream = new CUstream_st{EMULATED_DEVICE.current};
	return emulated_result();
}

inline cudaError_t
cudaStreamDestroy(cudaStream_t stream)
{
	emulation::drain();
	delete stream;
	return emulated_result();
}

inline cudaError_t
cudaStreamSynchronize(cudaStream_t)
{
	emulation::drain();
	return emulated_result();
}

inline cudaError_t
cudaEventCreateWithFlags(cudaEvent_t *event, unsigned)
{
	*event = new CUevent_st();
	return emulated_result();
}

inline cudaError_t
cudaEventDestroy(cudaEvent_t event)
{
	delete event;
	return emulated_result();
}

inline cudaError_t
cudaEventRecord(cudaEvent_t event, cudaStream_t)
{
	event->jobs = emulation::jobs_done + emulation::queue.size();
	return emulated_result();
}

inline cudaError_t
cudaEventSynchronize(cudaEvent_t event)
{
	emulation::run_jobs(event->jobs);
	return emulated_result();
}

#include "emulation_graph.h"

#endif /* CUDA_EMULATION_HOST_H */
