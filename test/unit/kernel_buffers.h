/*
 * kernel_buffers.h
 *	  Memory of a case that calls kernels, on a device or in plain C.
 *
 * A case makes its buffers, calls kernels, and says which buffers they write.
 * Where the device has memory of its own, a buffer is copied there when it is
 * first handed to a kernel, and back at the end.  Each buffer is exactly as
 * large as it must be, so that AddressSanitizer, or an emulated device, sees
 * whoever goes beyond it.  Destinations are filled with NaN before beta = 0,
 * so that a kernel that reads one is caught.
 */
#ifndef KERNEL_BUFFERS_H
#define KERNEL_BUFFERS_H

#include "check.h"
#include "device.h"

#define MAX_BUFFERS 256
#define MAX_SUMS	32

typedef struct context
{
	nn_device *d;
	bool remote; /* the device has memory of its own */
	int m, n, k;
	float beta;
	uint64_t seed;
	int nbuffers;
	float *buffer[MAX_BUFFERS];
	void *device[MAX_BUFFERS];
	size_t count[MAX_BUFFERS];
	bool out[MAX_BUFFERS];
	double sum[MAX_SUMS];
	double *device_sum[MAX_SUMS];
	int nsums;
} context;

/* A copy on the device, of memory that nobody else frees. */
static void *
send(context *t, const void *host, size_t bytes)
{
	void *p = t->d->ops->alloc(t->d, bytes);

	if (p == NULL)
		exit(2);
	t->d->ops->upload(t->d, p, host, bytes);
	return p;
}

/* The buffer as kernels must be given it; from then on it is the device's. */
static float *
at(context *t, float *x)
{
	int b = 0;

	if (!t->remote)
		return x;
	while (t->buffer[b] != x)
		b++;
	if (t->device[b] == NULL)
		t->device[b] = send(t, x, t->count[b] * sizeof(float));
	return t->device[b];
}

/* Exact buffers in host memory. */
static float *
host_buffer(context *t, size_t count, bool out, bool filled)
{
	float *x = malloc(count * sizeof(float) + (count == 0));
	int b = t->nbuffers++;

	if (x == NULL || b >= MAX_BUFFERS)
		exit(2);
	for (size_t i = 0; i < count; i++)
		x[i] = filled ? (float) check_normal(t->seed++) : NAN;
	t->buffer[b] = x;
	t->count[b] = count;
	t->out[b] = out;
	return x;
}

static float *
host_in(context *t, size_t count)
{
	return host_buffer(t, count, false, true);
}

/*
 * The same on the device.  in: numbers to read.  out: beta-dependent.  fresh:
 * always overwritten.  inout: numbers, and compared.
 */
static float *
in(context *t, size_t count)
{
	return at(t, host_in(t, count));
}

static float *
out(context *t, size_t count)
{
	return at(t, host_buffer(t, count, true, t->beta != 0));
}

static float *
fresh(context *t, size_t count)
{
	return at(t, host_buffer(t, count, true, false));
}

static float *
inout(context *t, size_t count)
{
	return at(t, host_buffer(t, count, true, true));
}

static float *
positive(context *t, size_t count, bool compared)
{
	float *x = host_buffer(t, count, compared, true);

	for (size_t i = 0; i < count; i++)
		x[i] = fabsf(x[i]) + 0.1f;
	return at(t, x);
}

static double *
sum_from(context *t, double value)
{
	int s = t->nsums++;

	if (s >= MAX_SUMS)
		exit(2);
	t->sum[s] = value;
	if (!t->remote)
		return &t->sum[s];
	t->device_sum[s] = send(t, &t->sum[s], sizeof(double));
	return t->device_sum[s];
}

/* Bring all back to host memory; false when the device failed. */
static bool
collect(context *t)
{
	nn_device *d = t->d;
	nn_error err;

	if (!t->remote)
		return true;
	for (int b = 0; b < t->nbuffers; b++)
	{
		if (t->device[b] != NULL)
			d->ops->download(d, t->buffer[b], t->device[b],
							 t->count[b] * sizeof(float));
	}
	for (int s = 0; s < t->nsums; s++)
		d->ops->download(d, &t->sum[s], t->device_sum[s], sizeof(double));
	return d->ops->sync(d, &err);
}

static void
release(context *t)
{
	for (int b = 0; b < t->nbuffers; b++)
	{
		if (t->device[b] != NULL)
			t->d->ops->free(t->d, t->device[b]);
		free(t->buffer[b]);
	}
	for (int s = 0; s < t->nsums && t->remote; s++)
		t->d->ops->free(t->d, t->device_sum[s]);
}

static size_t
mn(const context *t)
{
	return (size_t) t->m * t->n;
}

#endif /* KERNEL_BUFFERS_H */
