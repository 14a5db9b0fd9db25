/*
 * cpu_kernels.h
 *	  All CPU kernels but the matrix product, and the table of them.
 *
 * The kernels are written once, in the kernel_*.h files, as static functions.
 * Each level (plain C, AVX2, AVX-512) is one source file that includes them,
 * is compiled with that level's flags, adds a matrix product, and so defines
 * one nn_device_ops.  Nothing but that table leaves the file: a function
 * compiled for a newer processor must not be shared with an older level.
 */
#ifndef NN_CPU_KERNELS_H
#define NN_CPU_KERNELS_H

#include "cpu.h"
#include "kernel_lookup.h"
#include "kernel_map.h"
#include "kernel_norm.h"
#include "kernel_rows.h"
#include "kernel_train.h"

/* k_gemm and k_dense are the level's own. */
#define CPU_OPS(level_name)                                                    \
	{                                                                          \
		.name = level_name, .row_independent = true,                           \
		.describe = nn_cpu_describe, .open = nn_cpu_open,                      \
		.close = nn_cpu_close, .alloc = nn_cpu_alloc, .free = nn_cpu_free,     \
		.upload = nn_cpu_copy, .download = nn_cpu_copy, .copy = nn_cpu_copy,   \
		.zero = nn_cpu_zero, .sync = nn_cpu_sync, .costs = nn_cpu_costs,       \
		.begin_step = nn_cpu_step, .end_step = nn_cpu_step,                    \
		.settle = nn_cpu_settle, .alloc_host = nn_cpu_alloc,                   \
		.free_host = nn_cpu_free, .places = k_places, .gather = k_gather,      \
		.upload_rows = k_upload_rows, .gemm = k_gemm, .dense = k_dense,        \
		.dense_slope = k_dense_slope, .map = k_map, .map_slope = k_map_slope,  \
		.axpby = k_axpby, .multiply = k_multiply, .dropout = k_dropout,        \
		.sum_rows = k_sum_rows, .dot_rows = k_dot_rows,                        \
		.scale_rows = k_scale_rows, .copy_columns = k_copy_columns,            \
		.sum_squares_rows = k_sum_squares_rows, .batch_norm = k_batch_norm,    \
		.batch_norm_slope = k_batch_norm_slope, .layer_norm = k_layer_norm,    \
		.layer_norm_slope = k_layer_norm_slope, .softmax = k_softmax,          \
		.softmax_slope = k_softmax_slope, .lookup = k_lookup,                  \
		.lookup_slope = k_lookup_slope, .one_hot = k_one_hot,                  \
		.piecewise = k_piecewise, .piecewise_slope = k_piecewise_slope,        \
		.loss = k_loss, .optimizer = k_optimizer, .optimizers = k_optimizers,  \
		.sum_squares = k_sum_squares, .regularize = k_regularize               \
	}

#endif /* NN_CPU_KERNELS_H */
