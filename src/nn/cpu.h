/*
 * cpu.h
 *	  What the CPU levels share: memory, which is the host's.
 */
#ifndef NN_CPU_H
#define NN_CPU_H

#include "device.h"

extern bool nn_cpu_describe(int ordinal, nn_device_info *info);
extern bool nn_cpu_open(nn_device *d, int ordinal, nn_error *err);
extern void nn_cpu_close(nn_device *d);
extern void *nn_cpu_alloc(nn_device *d, size_t bytes);
extern void nn_cpu_free(nn_device *d, void *p);
extern void nn_cpu_copy(nn_device *d, void *dst, const void *src, size_t bytes);
extern void nn_cpu_zero(nn_device *d, void *dst, size_t bytes);
extern bool nn_cpu_sync(nn_device *d, nn_error *err);
extern void nn_cpu_step(nn_device *d);
extern void nn_cpu_settle(nn_device *d, const nn_real *x, size_t n);
extern void nn_cpu_costs(nn_device_costs *costs);

/* The SIMD levels (x86-64, nn_real float). */
extern const nn_device_ops nn_cpu_avx2;
extern const nn_device_ops nn_cpu_avx512;

#endif /* NN_CPU_H */
