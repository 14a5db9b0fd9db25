/*
 * costs.cu
 *	  What work takes on this device, for whoever decides where to do it.
 *
 * It is measured when the process makes its first context, in some
 * milliseconds.  Before that, and where measuring fails, it is what a GPU of
 * a server usually takes.  The clock says nothing of an emulated device, which
 * has fixed costs instead, so that tests know what to expect.
 */
#include "gpu.h"

#define LAUNCHES 64
#define COPIED	 ((size_t) 4 << 20)

/* A product for all processors, but too small to open cuBLASLt for. */
#define PRODUCT_ROWS 8192
#define PRODUCT_SIDE 64
#define MEMORY		 (3 * sizeof(float) * PRODUCT_ROWS * PRODUCT_SIDE)

static nn_device_costs known = {false, 0.4, 10e-6, 2e-6, 1.0 / 6e9, 1.0 / 2e12};

#ifdef __CUDACC__
static double begun;

/* Seconds until the device has done what is under way. */
static double
until_done(gpu_state *s, double from)
{
	if (cudaStreamSynchronize(s->stream) != cudaSuccess)
		return 0;
	return gpu_now() - from;
}

/* That of a kernel among others, which are started one by one or as a step. */
static double
measure_kernel(nn_device *d, bool step)
{
	double from = 0, seconds = 0;

	/* the first time the kernel is loaded, and the graph made */
	for (int round = 0; round < 2; round++)
	{
		from = gpu_now();
		if (step)
			gpu_begin_step(d);
		for (int i = 0; i < LAUNCHES; i++)
			gpu_each(d, 1, [] __device__(size_t) {});
		if (step)
			gpu_end_step(d);
		seconds = until_done(gpu_of(d), from);
	}
	return seconds / LAUNCHES;
}

static double
measure_byte(gpu_state *s, void *device, void *host)
{
	double from = gpu_now();

	cudaMemcpyAsync(device, host, COPIED, cudaMemcpyHostToDevice, s->stream);
	cudaMemcpyAsync(host, device, COPIED, cudaMemcpyDeviceToHost, s->stream);
	return until_done(s, from) / (2 * COPIED);
}

static double
measure_product(nn_device *d, float *memory)
{
	const int m = PRODUCT_ROWS, side = PRODUCT_SIDE;
	float *b = memory + m * side, *c = b + m * side;
	double from = 0, seconds = 0;

	for (int round = 0; round < 2; round++)
	{
		from = gpu_now();
		gpu_gemm(d, false, false, m, side, side, memory, b, 0, c);
		seconds = until_done(gpu_of(d), from);
	}
	return seconds / ((double) m * side * side);
}

void
gpu_costs_begin(void)
{
	begun = gpu_now();
}

void
gpu_costs_measure(nn_device *d)
{
	gpu_state *s = gpu_of(d);
	nn_device_costs found = {true, gpu_now() - begun, 0, 0, 0, 0};
	void *device = NULL, *host = NULL;

	if (known.measured)
		return;
	if (cudaMalloc(&device, MEMORY) == cudaSuccess &&
		cudaMallocHost(&host, COPIED) == cudaSuccess)
	{
		memset(host, 0, COPIED);
		found.launch = measure_kernel(d, false);
		found.node = measure_kernel(d, true);
		measure_byte(s, device, host);
		found.byte = measure_byte(s, device, host);
		found.product = measure_product(d, (float *) device);
	}
	cudaFree(device);
	cudaFreeHost(host);
	cudaGetLastError();
	if (s->failure == cudaSuccess && found.launch > 0 && found.node > 0 &&
		found.byte > 0 && found.product > 0)
		known = found;
}

void
gpu_costs(nn_device_costs *costs)
{
	*costs = known;
}
#else
void
gpu_costs_begin(void)
{
}

void
gpu_costs_measure(nn_device *)
{
	known.measured = true;
}

void
gpu_costs(nn_device_costs *costs)
{
	*costs = EMULATED_DEVICE.costs;
	costs->measured = known.measured;
}
#endif
