/*
 * neural.h
 *	  What every file of the glue shares: settings, and the bridge to the
 *	  engine.
 *
 * The glue calls the engine; the engine calls nobody.  Engine functions return
 * false with an nn_error; neural_check() raises it after they have returned,
 * so no engine, BLAS or CUDA frame is ever jumped over.
 */
#ifndef NEURAL_H
#define NEURAL_H

#include "postgres.h"

#include "compat.h"
#include "fmgr.h"

#include "../nn/arena.h"
#include "../nn/device.h"

#define NEURAL_VERSION "0.1"

/* Settings (neural.c). */
extern int neural_max_memory;		 /* kilobytes; of one training */
extern int neural_max_model_size;	 /* kilobytes */
extern int neural_model_cache_size;	 /* kilobytes, per backend */
extern int neural_max_threads;		 /* 0: as many as processors */
extern int neural_max_workers;		 /* background jobs at a time */
extern int neural_progress_interval; /* milliseconds between NOTICEs, 0: none */
extern int neural_train_seconds;	 /* what layers => 'auto' plans for */
extern int neural_blas;				 /* NEURAL_BLAS_... */
extern char *neural_cuda_library;
extern int neural_cuda_ordinal;

typedef enum NeuralBlas
{
	NEURAL_BLAS_AUTO, /* OpenBLAS where it is there and knows the processor */
	NEURAL_BLAS_ON,
	NEURAL_BLAS_OFF
} NeuralBlas;

/* An arena whose memory goes away with a memory context (bridge.c). */
extern nn_arena *neural_arena(MemoryContext context);

/* ereport(ERROR) with the engine's message, detail, hint and SQLSTATE. */
extern void neural_ereport(const nn_error *err) pg_attribute_noreturn();

/* Throw unless an engine call succeeded. */
#define neural_check(ok, err)                                                  \
	do                                                                         \
	{                                                                          \
		if (unlikely(!(ok)))                                                   \
			neural_ereport(err);                                               \
	} while (0)

/*
 * What the engine asks whether it should stop: whether CHECK_FOR_INTERRUPTS
 * would throw.  Its threads ask as well, so this only looks.
 */
extern bool neural_interrupted(void);

/* The kernels to train with: OpenBLAS by the setting, else our own. */
extern const nn_device_ops *neural_training_device(void);

/* The kernels of the CUDA provider; where it is of no use, NULL or an error. */
extern const nn_device_ops *neural_cuda_find(nn_error *err);
extern const nn_device_ops *neural_cuda_device(void);

/* The processors that this process may use, where that can be known. */
extern int neural_processors(void);

/* Threads to train with, by the setting and the machine. */
extern int neural_threads(void);

/* CRC-32C, for the engine's readers and writers. */
extern uint32_t neural_crc32c(const void *bytes, size_t n);

/* The OID of a type of the extension's schema: "model", "model_table". */
extern Oid neural_type_oid(const char *name);

/* A type's name as models keep it: the same under every search_path. */
extern char *neural_type_name(Oid type);

/* "1.5 MB" in the given buffer, for messages. */
extern const char *neural_size_text(size_t bytes, char *buf, size_t size);

#endif /* NEURAL_H */
