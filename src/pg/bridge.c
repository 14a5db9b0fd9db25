/*
 * bridge.c
 *	  Where the engine meets PostgreSQL: memory, errors, devices.
 */
#include "neural.h"

#include <sched.h>
#include <unistd.h>

#include "../nn/team.h"
#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "gpu.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

static void *
context_alloc(void *self, size_t size)
{
	if (!AllocHugeSizeIsValid(size))
		return NULL;
	return MemoryContextAllocExtended((MemoryContext) self, size,
									  MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
}

static void
context_free(void *self, void *block)
{
	pfree(block);
}

nn_arena *
neural_arena(MemoryContext context)
{
	nn_allocator *from = MemoryContextAlloc(context, sizeof(*from));
	nn_arena *arena;
	nn_error err;

	from->alloc = context_alloc;
	from->free = context_free;
	from->self = context;
	arena = nn_arena_create(from, &err);
	neural_check(arena, &err);
	return arena;
}

static int
sqlstate(nn_code code)
{
	switch (code)
	{
		case NN_INVALID:
		case NN_DATA:
			return ERRCODE_INVALID_PARAMETER_VALUE;
		case NN_SYNTAX:
			return ERRCODE_SYNTAX_ERROR;
		case NN_UNDEFINED:
			return ERRCODE_UNDEFINED_OBJECT;
		case NN_SHAPE:
			return ERRCODE_DATATYPE_MISMATCH;
		case NN_LIMIT:
			return ERRCODE_PROGRAM_LIMIT_EXCEEDED;
		case NN_UNSUPPORTED:
		case NN_VERSION:
			return ERRCODE_FEATURE_NOT_SUPPORTED;
		case NN_CORRUPT:
			return ERRCODE_DATA_CORRUPTED;
		case NN_NOMEM:
		case NN_DEVICE_NOMEM:
			return ERRCODE_OUT_OF_MEMORY;
		case NN_DEVICE:
			return ERRCODE_SYSTEM_ERROR;
		case NN_UNAVAILABLE:
			return ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
		case NN_NUMERIC:
			return ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE;
		case NN_INTERRUPTED:
			return ERRCODE_QUERY_CANCELED;
		case NN_OK:
			break;
	}
	return ERRCODE_INTERNAL_ERROR;
}

/* The engine's texts are UTF-8, and may be cut off anywhere. */
static const char *
server_text(const char *s)
{
	int len = strlen(s);

	len = pg_encoding_mbcliplen(PG_UTF8, s, len, len);
	return pg_any_to_server(pnstrdup(s, len), len, PG_UTF8);
}

void
neural_ereport(const nn_error *err)
{
	const char *message = server_text(err->message);
	const char *detail = server_text(err->detail);
	const char *hint = server_text(err->hint);

	/* an interrupt knows better than the engine what it is about */
	CHECK_FOR_INTERRUPTS();
	/* ereport() spelled out, to report where in the engine it happened */
	if (errstart(ERROR, TEXTDOMAIN))
	{
		errcode(sqlstate(err->code));
		errmsg_internal("%s", message);
		if (detail[0] != '\0')
			errdetail_internal("%s", detail);
		if (hint[0] != '\0')
			errhint("%s", hint);
		errfinish(err->file, err->line, err->func);
	}
	pg_unreachable();
}

bool
neural_interrupted(void)
{
	return QueryCancelPending || ProcDiePending;
}

/*
 * OpenBLAS is opened once in a backend, whether it succeeds or not: a library
 * that has started threads cannot be unloaded.
 */
const nn_device_ops *
neural_training_device(void)
{
	static bool tried = false, loaded = false;
	static nn_device_ops blas;
	static nn_error err;

	if (neural_blas == NEURAL_BLAS_OFF)
		return nn_cpu_ops(-1);
	if (!tried)
	{
		char path[MAXPGPATH];

		snprintf(path, sizeof(path), "%s/neural_blas%s", pkglib_path, DLSUFFIX);
		loaded = nn_provider_load(path, &blas, &err);
		tried = true;
	}
	if (loaded)
		return &blas;
	if (neural_blas == NEURAL_BLAS_ON)
		neural_ereport(&err);
	return nn_cpu_ops(-1);
}

/*
 * The library is opened by the process that computes, never before a fork.
 * It stays open; a failure is not remembered, as it can be mended.
 */
const nn_device_ops *
neural_cuda_find(nn_error *err)
{
	static bool loaded = false;
	static nn_device_ops cuda;
	char path[MAXPGPATH];

	/* all that this process has on a device is on one */
	if (!neural_gpu_is_used())
		cuda.ordinal = neural_cuda_ordinal;
	if (loaded)
		return &cuda;
	if (is_absolute_path(neural_cuda_library))
		strlcpy(path, neural_cuda_library, sizeof(path));
	else
		snprintf(path, sizeof(path), "%s/%s%s", pkglib_path,
				 neural_cuda_library, DLSUFFIX);
	loaded = nn_provider_load(path, &cuda, err);
	cuda.ordinal = neural_cuda_ordinal;
	return loaded ? &cuda : NULL;
}

const nn_device_ops *
neural_cuda_device(void)
{
	nn_error err;
	const nn_device_ops *cuda = neural_cuda_find(&err);

	if (cuda == NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("device \"cuda\" is not available"),
						errdetail_internal("%s%s%s", err.message,
										   err.detail[0] != '\0' ? ": " : "",
										   err.detail),
						errhint("Train with device => 'cpu', and predict with "
								"neural.predict_device = cpu.")));
	return cuda;
}

int
neural_processors(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

#ifdef CPU_COUNT
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		n = CPU_COUNT(&set);
#endif
	return (int) Max(n, 1);
}

int
neural_threads(void)
{
	int n = neural_max_threads > 0 ? neural_max_threads : neural_processors();

	return Min(n, NN_MAX_THREADS);
}

uint32_t
neural_crc32c(const void *bytes, size_t n)
{
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, bytes, n);
	FIN_CRC32C(crc);
	return crc;
}

Oid
neural_type_oid(const char *name)
{
	Oid schema = get_namespace_oid("neural", false);
	Oid type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
							   CStringGetDatum(name), ObjectIdGetDatum(schema));

	if (!OidIsValid(type))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("type \"neural.%s\" does not exist", name),
						errhint("Run CREATE EXTENSION neural in this "
								"database.")));
	return type;
}

char *
neural_type_name(Oid type)
{
	static const char ours[] = "pg_catalog.";
	char *name = format_type_extended(type, -1, FORMAT_TYPE_FORCE_QUALIFY);

	/* short for the server's own types, visible or not */
	return strncmp(name, ours, strlen(ours)) == 0 ? name + strlen(ours) : name;
}

const char *
neural_size_text(size_t bytes, char *buf, size_t size)
{
	static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
	double n = bytes;
	int unit = 0;

	while (n >= 1024 && unit < (int) lengthof(units) - 1)
	{
		n /= 1024;
		unit++;
	}
	if (unit == 0)
		snprintf(buf, size, "%zu bytes", bytes);
	else
		snprintf(buf, size, "%.1f %s", n, units[unit]);
	return buf;
}
