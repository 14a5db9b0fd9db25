/*
 * progress.c
 *	  How far the trainings of all sessions are.
 *
 * pg_stat_progress_... cannot be extended, so there are slots of our own.  A
 * slot is written twice a second and read rarely; one lock serves all of them.
 * When all slots are taken a training is not shown, which is all that happens.
 */
#include "progress.h"

#include <math.h>

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

typedef struct Slot
{
	int pid; /* 0: free */
	Oid role, database;
	char model[NAMEDATALEN];
	TimestampTz started;
	NeuralProgress p;
} Slot;

typedef struct Slots
{
	LWLock *lock;
	int count;
	Slot slot[FLEXIBLE_ARRAY_MEMBER];
} Slots;

static Slots *slots; /* NULL: not preloaded */
static Slot *mine;
static const void *mine_owner;

static shmem_request_hook_type previous_request;
static shmem_startup_hook_type previous_startup;

static Size
slots_size(void)
{
	return add_size(offsetof(Slots, slot), mul_size(MaxBackends, sizeof(Slot)));
}

static void
request(void)
{
	if (previous_request)
		previous_request();
	RequestAddinShmemSpace(slots_size());
	RequestNamedLWLockTranche("neural_progress", 1);
}

static void
startup(void)
{
	bool found;

	if (previous_startup)
		previous_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	slots = ShmemInitStruct("neural progress", slots_size(), &found);
	if (!found)
	{
		memset(slots, 0, slots_size());
		slots->lock = &GetNamedLWLockTranche("neural_progress")->lock;
		slots->count = MaxBackends;
	}
	LWLockRelease(AddinShmemInitLock);
}

void
neural_progress_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	previous_request = shmem_request_hook;
	shmem_request_hook = request;
	previous_startup = shmem_startup_hook;
	shmem_startup_hook = startup;
}

/*
 * --- writing ---
 */

static void
free_slot(void)
{
	if (mine == NULL)
		return;
	LWLockAcquire(slots->lock, LW_EXCLUSIVE);
	mine->pid = 0;
	LWLockRelease(slots->lock);
	mine = NULL;
	mine_owner = NULL;
}

/* A session that ends inside of a training ends no memory context. */
static void
at_exit(int code, Datum arg)
{
	LWLockReleaseAll();
	free_slot();
}

void
neural_progress_begin(const void *owner, const char *model)
{
	static bool registered = false;

	if (slots == NULL || mine != NULL)
		return;
	if (!registered)
		before_shmem_exit(at_exit, (Datum) 0);
	registered = true;
	LWLockAcquire(slots->lock, LW_EXCLUSIVE);
	for (int i = 0; i < slots->count && mine == NULL; i++)
		if (slots->slot[i].pid == 0)
			mine = &slots->slot[i];
	if (mine != NULL)
	{
		memset(mine, 0, sizeof(*mine));
		mine->pid = MyProcPid;
		mine->role = GetUserId();
		mine->database = MyDatabaseId;
		strlcpy(mine->model, model, sizeof(mine->model));
		mine->started = GetCurrentTimestamp();
		mine->p.loss = mine->p.validation_loss = mine->p.best =
			mine->p.rows_per_second = NAN;
		mine_owner = owner;
	}
	LWLockRelease(slots->lock);
}

void
neural_progress_set(const void *owner, const NeuralProgress *p)
{
	if (mine == NULL || mine_owner != owner)
		return;
	LWLockAcquire(slots->lock, LW_EXCLUSIVE);
	mine->p = *p;
	LWLockRelease(slots->lock);
}

void
neural_progress_end(const void *owner)
{
	if (mine != NULL && mine_owner == owner)
		free_slot();
}

/*
 * --- reading ---
 */

#define COLUMNS 17

static void
put_text(Datum *values, bool *nulls, int at, const char *text)
{
	nulls[at] = text == NULL || text[0] == '\0';
	if (!nulls[at])
		values[at] = CStringGetTextDatum(text);
}

static void
put_number(Datum *values, bool *nulls, int at, double x)
{
	nulls[at] = !isfinite(x);
	values[at] = Float8GetDatum(x);
}

static void
put_slot(ReturnSetInfo *result, const Slot *s)
{
	const NeuralProgress *p = &s->p;
	Datum values[COLUMNS];
	bool nulls[COLUMNS] = {false};

	values[0] = Int32GetDatum(s->pid);
	put_text(values, nulls, 1, get_database_name(s->database));
	put_text(values, nulls, 2, GetUserNameFromId(s->role, true));
	put_text(values, nulls, 3, s->model);
	put_text(values, nulls, 4, p->phase);
	values[5] = Int32GetDatum(p->epoch);
	nulls[5] = p->epoch == 0;
	values[6] = Int32GetDatum(p->epochs);
	nulls[6] = p->epochs == 0;
	values[7] = Int64GetDatum(p->rows);
	nulls[7] = p->rows == 0;
	put_number(values, nulls, 8, p->loss);
	put_number(values, nulls, 9, p->validation_loss);
	put_number(values, nulls, 10, p->best);
	put_number(values, nulls, 11, p->rows_per_second);
	put_text(values, nulls, 12, p->device);
	values[13] = Int64GetDatum(p->memory);
	nulls[13] = p->memory == 0;
	values[14] = TimestampTzGetDatum(s->started);
	put_number(values, nulls, 15,
			   (double) (GetCurrentTimestamp() - s->started) / USECS_PER_SEC);
	values[16] = TimestampTzGetDatum(p->finish);
	nulls[16] = p->finish == 0;
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(neural_list_progress);
Datum
neural_list_progress(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Slot *copy;
	int n = 0;

	InitMaterializedSRF(fcinfo, 0);
	if (slots == NULL)
		return (Datum) 0;
	copy = palloc(slots->count * sizeof(Slot));
	LWLockAcquire(slots->lock, LW_SHARED);
	for (int i = 0; i < slots->count; i++)
		if (slots->slot[i].pid != 0)
			copy[n++] = slots->slot[i];
	LWLockRelease(slots->lock);
	/* as with pg_stat_activity, one sees what one's roles do */
	for (int i = 0; i < n; i++)
		if (has_privs_of_role(GetUserId(), copy[i].role) ||
			has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS))
			put_slot(result, &copy[i]);
	return (Datum) 0;
}
