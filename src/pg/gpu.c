/*
 * gpu.c
 *	  GPUs as a resource that the sessions of a server share.
 *
 * The slots are an array of process numbers in shared memory.  It is small
 * enough for what the server has to spare, so nothing needs to be preloaded.
 * A process gives its slot back when it no longer takes memory of a device,
 * which after some work is not before it exits; one that is killed takes the
 * server's shared memory along.
 *
 * Models stay on the device when their query has ended, which is good for the
 * next query and bad for a session that finds no slot.  Such a session leaves
 * a note, and whoever holds a slot for such models only gives it back at the
 * end of his transaction.
 */
#include "gpu.h"

#include "access/xact.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/guc.h"

#include "predict_device.h"

#define MAX_SLOTS 256

typedef struct GpuSlots
{
	LWLock lock;
	bool wanted; /* by somebody who found none */
	int taken;
	int pid[MAX_SLOTS]; /* of which so many hold one */
} GpuSlots;

int neural_gpu_slots;
int neural_gpu_memory_limit;

static GpuSlots *slots = NULL;
static bool held = false;  /* whether this process has one */
static int uses = 0;	   /* of this process */
static Size allocated = 0; /* by this process */

static GpuSlots *
attach(void)
{
	bool found;

	if (slots != NULL)
		return slots;
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	slots = ShmemInitStruct("neural GPU slots", sizeof(GpuSlots), &found);
	if (!found)
	{
		memset(slots, 0, sizeof(*slots));
		LWLockInitialize(&slots->lock, LWLockNewTrancheId());
	}
	LWLockRelease(AddinShmemInitLock);
	LWLockRegisterTranche(slots->lock.tranche, "neural_gpu_slots");
	return slots;
}

static void
give_back(void)
{
	LWLockAcquire(&slots->lock, LW_EXCLUSIVE);
	for (int i = 0; i < slots->taken; i++)
		if (slots->pid[i] == MyProcPid)
			slots->pid[i--] = slots->pid[--slots->taken];
	slots->wanted = false;
	LWLockRelease(&slots->lock);
	held = false;
}

static void
give_back_at_exit(int code, Datum arg)
{
	if (held)
		give_back();
	uses = 0;
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	/* it need not be seen at once */
	if (uses > 0 && slots->wanted &&
		(event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT))
		neural_device_models_forget();
}

/* What of the slots a message says. */
static char *
describe_slots(void)
{
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfo(&s, "neural.gpu_slots is %d", neural_gpu_slots);
	for (int i = 0; i < slots->taken; i++)
		appendStringInfo(&s, "%s%d",
						 i > 0				 ? ", "
						 : slots->taken == 1 ? "; the slot is held by process "
											 : "; slots are held by processes ",
						 slots->pid[i]);
	return s.data;
}

/* NULL, or why there is no slot. */
static char *
take_slot(void)
{
	static bool registered = false;
	char *why = NULL;

	attach();
	if (!registered)
	{
		before_shmem_exit(give_back_at_exit, 0);
		RegisterXactCallback(at_transaction_end, NULL);
		registered = true;
	}
	LWLockAcquire(&slots->lock, LW_EXCLUSIVE);
	if (slots->taken < neural_gpu_slots)
	{
		slots->pid[slots->taken++] = MyProcPid;
		held = true;
	}
	else
	{
		slots->wanted = true;
		why = describe_slots();
	}
	LWLockRelease(&slots->lock);
	return why;
}

char *
neural_gpu_reason(const nn_error *err)
{
	char *reason = psprintf("%s%s%s", err->message,
							err->detail[0] != '\0' ? ": " : "", err->detail);
	int len = strlen(reason);

	if (len > 0 && reason[len - 1] == '.')
		reason[len - 1] = '\0';
	return reason;
}

const nn_device_ops *
neural_gpu_use(bool required, const char **why)
{
	const nn_device_ops *cuda;
	nn_error err;
	char *no_slot;

	if (required)
		cuda = neural_cuda_device();
	else
		cuda = neural_cuda_find(&err);
	if (cuda == NULL)
	{
		*why = neural_gpu_reason(&err);
		return NULL;
	}
	no_slot = held ? NULL : take_slot();
	if (no_slot == NULL)
	{
		uses++;
		return cuda;
	}
	if (required)
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("no process more may use a GPU"),
						errdetail_internal("%s.", no_slot),
						errhint("Wait until another one has ended, raise "
								"neural.gpu_slots, or use the CPU.")));
	*why = psprintf("no GPU slot is free: %s", no_slot);
	return NULL;
}

void
neural_gpu_leave(void)
{
	nn_error err;
	const nn_device_ops *cuda = neural_cuda_find(&err);

	Assert(uses > 0 && cuda != NULL);
	if (--uses == 0 && !cuda->occupied())
		give_back();
}

bool
neural_gpu_is_used(void)
{
	return uses > 0;
}

void
neural_gpu_count(Size bytes)
{
	allocated += bytes;
}

void
neural_gpu_uncount(Size bytes)
{
	Assert(allocated >= bytes);
	allocated -= bytes;
}

Size
neural_gpu_memory_left(void)
{
	Size limit = (Size) neural_gpu_memory_limit * 1024;

	return limit > allocated ? limit - allocated : 0;
}

Size
neural_gpu_memory_used(void)
{
	return allocated;
}

void
neural_gpu_too_little(const char *what, Size need)
{
	char a[32], b[32], c[32];

	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("%s needs %s of device memory, but %s are left of "
					"neural.gpu_memory_limit",
					what, neural_size_text(need, a, sizeof(a)),
					neural_size_text(neural_gpu_memory_left(), b, sizeof(b))),
			 errdetail("The limit is %s.",
					   neural_size_text((Size) neural_gpu_memory_limit * 1024,
										c, sizeof(c))),
			 errhint("Raise neural.gpu_memory_limit, or use the CPU.")));
}

void
neural_gpu_init(void)
{
	DefineCustomIntVariable(
		"neural.gpu_slots", "Processes that may use a GPU at a time.",
		"Each holds a context, which takes some hundred "
		"megabytes of the GPU's memory.",
		&neural_gpu_slots, 8, 0, MAX_SLOTS, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"neural.gpu_memory_limit",
		"Memory of a GPU that a process may take, beside its context.",
		"A training's rows and network, and models that are ready to predict.",
		&neural_gpu_memory_limit, 4 * 1024 * 1024, 64, MAX_KILOBYTES, PGC_SUSET,
		GUC_UNIT_KB, NULL, NULL, NULL);
}
