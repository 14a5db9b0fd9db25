/*
 * module.c
 *	  Makes the n-th allocation or write of a statement fail: the half that is
 *	  loaded by CREATE FUNCTION.
 *
 * What palloc hands out from a block that is there already never reaches
 * malloc, so the methods of the server's allocation sets are replaced as well.
 * Only what the statement itself does is watched, in a subtransaction: an error
 * in a commit's critical section would be PostgreSQL's business, and a panic.
 */
#include "postgres.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "nodes/memnodes.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "faults.h"

PG_MODULE_MAGIC;

/* ---------- palloc ---------- */

#if PG_VERSION_NUM < 170000
static MemoryContextMethods original;

static void *
watched_alloc(MemoryContext context, Size size)
{
	return fault_fails(FAULT_PALLOC) ? NULL : original.alloc(context, size);
}

static void *
#if PG_VERSION_NUM < 160000
watched_realloc(MemoryContext context, void *p, Size size)
{
	return fault_fails(FAULT_PALLOC) ? NULL
									 : original.realloc(context, p, size);
}
#else
watched_realloc(void *p, Size size)
{
	return fault_fails(FAULT_PALLOC) ? NULL : original.realloc(p, size);
}
#endif

/* The table is constant data of the server's: make its page writable. */
static void
watch_sets(void)
{
	MemoryContextMethods *methods =
		(MemoryContextMethods *) TopMemoryContext->methods;
	uintptr_t page = sysconf(_SC_PAGESIZE);
	uintptr_t from = (uintptr_t) methods & ~(page - 1);
	uintptr_t to = (uintptr_t) (methods + 1);

	if (original.alloc != NULL)
		return;
	if (mprotect((void *) from, to - from, PROT_READ | PROT_WRITE) != 0)
		ereport(
			ERROR,
			(errmsg("could not make the allocator's methods writable: %m")));
	original = *methods;
	methods->alloc = watched_alloc;
	methods->realloc = watched_realloc;
}
#else
static void
watch_sets(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("allocation sets of this server cannot be watched")));
}
#endif

/* ---------- SQL ---------- */

static fault_kind
kind_of(const char *name)
{
	static const char *const names[] = {"nothing",	 "malloc",	 "palloc",
										"temporary", "relation", "cancel"};

	for (int i = 0; i < (int) lengthof(names); i++)
		if (strcmp(name, names[i]) == 0)
			return (fault_kind) i;
	ereport(ERROR, (errmsg("no such kind of fault: %s", name)));
}

/*
 * fault(statement, kind, n): run the statement and undo it, with the n-th thing
 * of a kind failing.  Returns what came of it ("ok" or an SQLSTATE), the error,
 * whether the fault happened, and how many there were.
 */
PG_FUNCTION_INFO_V1(fault);
Datum
fault(PG_FUNCTION_ARGS)
{
	char *statement = text_to_cstring(PG_GETARG_TEXT_PP(0));
	fault_kind kind = kind_of(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	char state[6] = "ok";
	char *message = NULL;
	TupleDesc desc;
	Datum values[4];
	bool nulls[4] = {false};
	int errors = dup(2), quiet = open("/dev/null", O_WRONLY);

	/* the server writes pages about each failure */
	if (errors < 0 || quiet < 0)
		ereport(ERROR, (errmsg("could not silence the error output: %m")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		ereport(ERROR, (errmsg("the function returns a row")));
	if (kind == FAULT_PALLOC)
		watch_sets();
	(void) dup2(quiet, 2);
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		int rc;

		SPI_connect();
		fault_watch_begin(kind, PG_GETARG_INT64(2));
		rc = SPI_execute(statement, false, 0);
		fault_watched.kind = FAULT_NOTHING;
		if (rc < 0)
			ereport(ERROR, (errmsg("could not run \"%s\"", statement)));
		SPI_finish();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData *error;

		fault_watched.kind = FAULT_NOTHING;
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		strlcpy(state, unpack_sql_state(error->sqlerrcode), sizeof(state));
		message = error->message;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	(void) dup2(errors, 2);
	close(errors);
	close(quiet);

	values[0] = CStringGetTextDatum(state);
	nulls[1] = message == NULL;
	if (message != NULL)
		values[1] = CStringGetTextDatum(message);
	values[2] = BoolGetDatum(fault_watched.fired);
	values[3] = Int64GetDatum(fault_watched.seen);
	PG_RETURN_DATUM(HeapTupleGetDatum(
		heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* watch(kind): the first of the statements that follow fails. */
PG_FUNCTION_INFO_V1(watch);
Datum
watch(PG_FUNCTION_ARGS)
{
	fault_watch_begin(kind_of(text_to_cstring(PG_GETARG_TEXT_PP(0))), 1);
	PG_RETURN_VOID();
}

/* Bytes that malloc has handed out to this process and not got back. */
PG_FUNCTION_INFO_V1(heap_bytes);
Datum
heap_bytes(PG_FUNCTION_ARGS)
{
	struct mallinfo2 info = mallinfo2();

	PG_RETURN_INT64(info.uordblks + info.hblkhd);
}
