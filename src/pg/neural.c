/*
 * neural.c
 *	  The library's entry: its settings.
 *
 * Loading starts no thread and opens no other library, so that it may be
 * preloaded into the postmaster.
 */
#include "neural.h"

#include <limits.h>

#include "utils/guc.h"

#include "batch.h"
#include "gpu.h"
#include "predict_device.h"
#include "progress.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

int neural_max_memory;
int neural_max_model_size;
int neural_model_cache_size;
int neural_max_threads;
int neural_max_workers;
int neural_progress_interval;
int neural_train_seconds;
int neural_blas;
char *neural_cuda_library;
int neural_cuda_ordinal;

static const struct config_enum_entry blas_choices[] = {
	{"auto", NEURAL_BLAS_AUTO, false}, {"on", NEURAL_BLAS_ON, false},
	{"off", NEURAL_BLAS_OFF, false},   {"true", NEURAL_BLAS_ON, true},
	{"false", NEURAL_BLAS_OFF, true},  {NULL, 0, false}};

void
_PG_init(void)
{
	DefineCustomIntVariable(
		"neural.max_memory", "Memory that one training may take.",
		"Rows that do not fit go to temporary files.", &neural_max_memory,
		1024 * 1024, 8 * 1024, MAX_KILOBYTES, PGC_SUSET, GUC_UNIT_KB, NULL,
		NULL, NULL);
	DefineCustomIntVariable("neural.max_model_size",
							"Greatest size of a model.", NULL,
							&neural_max_model_size, 256 * 1024, 64, 700 * 1024,
							PGC_SUSET, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"neural.model_cache_size",
		"Memory of a session for models that are ready to predict.", NULL,
		&neural_model_cache_size, 64 * 1024, 0, MAX_KILOBYTES, PGC_USERSET,
		GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("neural.max_threads", "Threads of one training.",
							"0 is as many as there are processors.",
							&neural_max_threads, 0, 0, 64, PGC_SUSET, 0, NULL,
							NULL, NULL);
	DefineCustomIntVariable(
		"neural.max_workers", "Background jobs that may run at a time.",
		"They are among the server's max_worker_processes.",
		&neural_max_workers, 2, 0, 64, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("neural.progress_interval",
							"Time between messages about a running training.",
							"0 is never.", &neural_progress_interval, 5000, 0,
							INT_MAX, PGC_USERSET, GUC_UNIT_MS, NULL, NULL,
							NULL);
	DefineCustomIntVariable(
		"neural.train_seconds",
		"Time that a training with the default network is planned to take.",
		"The plan follows from the numbers of rows, columns and threads, not "
		"from the clock.",
		&neural_train_seconds, 30, 1, 86400, PGC_USERSET, GUC_UNIT_S, NULL,
		NULL, NULL);
	DefineCustomEnumVariable(
		"neural.blas", "Whether OpenBLAS multiplies matrices in training.",
		"auto is where it is installed and knows the processor.", &neural_blas,
		NEURAL_BLAS_AUTO, blas_choices, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"neural.cuda_device", "Number of the GPU to use, of neural.devices.",
		"A session changes over when it has nothing on the other one any more.",
		&neural_cuda_ordinal, 0, 0, 1023, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable(
		"neural.cuda_library", "Library that computes on NVIDIA GPUs.",
		"A name in the server's library folder, or a path.  A session keeps "
		"the library that it has opened.",
		&neural_cuda_library, "neural_cuda", PGC_SUSET, 0, NULL, NULL, NULL);
	neural_batch_init();
	neural_progress_init();
	neural_predict_device_init();
	neural_gpu_init();
	MarkGUCPrefixReserved("neural");
}
