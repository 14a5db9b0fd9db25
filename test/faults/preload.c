/*
 * preload.c
 *	  Makes the n-th allocation or write of a statement fail: the half that
 *	  stands between the server and libc.
 *
 * Preloaded (LD_PRELOAD) into a throw-away server, whose module.c says what is
 * to fail.  A fault happens once, and in the main thread only: the threads of a
 * training allocate nothing.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "faults.h"

/* How many frames above an allocation its reason is looked for. */
#define FRAMES 8

fault_watch fault_watched;

/* The first call takes memory for itself. */
__attribute__((constructor)) static void
prepare(void)
{
	void *frame;

	(void) backtrace(&frame, 1);
}

/* From where to where a piece of code lies. */
typedef struct Range
{
	uintptr_t from, to;
} Range;

static Range extension, locks;

static int
find_extension(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void) size;
	(void) arg;
	if (strstr(info->dlpi_name, "/neural.so") == NULL)
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_LOAD &&
			(info->dlpi_phdr[i].p_flags & PF_X) != 0)
		{
			extension.from = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
			extension.to = extension.from + info->dlpi_phdr[i].p_memsz;
		}
	return 1;
}

void
fault_watch_begin(fault_kind kind, int64_t n)
{
	Dl_info info;
	ElfW(Sym) *symbol = NULL;
	void *lock = dlsym(RTLD_DEFAULT, "LockAcquireExtended");

	dl_iterate_phdr(find_extension, NULL);
	if (lock != NULL &&
		dladdr1(lock, &info, (void **) &symbol, RTLD_DL_SYMENT) != 0 &&
		symbol != NULL)
	{
		locks.from = (uintptr_t) lock;
		locks.to = locks.from + symbol->st_size;
	}
	fault_watched.seen = 0;
	fault_watched.wanted = n;
	fault_watched.fired = false;
	fault_watched.kind = kind;
}

static bool
lies_in(void *address, const Range *range)
{
	return (uintptr_t) address >= range->from &&
		   (uintptr_t) address < range->to;
}

/*
 * Is it worth failing?  PostgreSQL itself has places that do not bear it:
 * LockAcquireExtended() leaves an entry behind that crashes the next user of
 * the lock.  Of palloc, whose failures are not seldom there, only what the
 * extension asks for is of interest.
 */
static bool
counts(fault_kind kind)
{
	void *frames[FRAMES];
	int n;
	bool ours = false;

	if (kind != FAULT_MALLOC && kind != FAULT_PALLOC)
		return true;
	n = backtrace(frames, FRAMES);
	for (int i = 0; i < n; i++)
	{
		if (lies_in(frames[i], &locks))
			return false;
		ours |= lies_in(frames[i], &extension);
	}
	return ours || kind != FAULT_PALLOC;
}

bool
fault_fails(fault_kind kind)
{
	if (fault_watched.kind != kind || getpid() != (pid_t) syscall(SYS_gettid))
		return false;
	if (!counts(kind))
		return false;
	if (++fault_watched.seen != fault_watched.wanted)
		return false;
	fault_watched.fired = true;
	return true;
}

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static void *
none(void)
{
	errno = ENOMEM;
	return NULL;
}

void *
malloc(size_t size)
{
	return fault_fails(FAULT_MALLOC) ? none() : __libc_malloc(size);
}

void *
calloc(size_t n, size_t size)
{
	return fault_fails(FAULT_MALLOC) ? none() : __libc_calloc(n, size);
}

void *
realloc(void *p, size_t size)
{
	return fault_fails(FAULT_MALLOC) ? none() : __libc_realloc(p, size);
}

int
posix_memalign(void **p, size_t alignment, size_t size)
{
	void *new =
		fault_fails(FAULT_MALLOC) ? NULL : __libc_memalign(alignment, size);

	if (new == NULL)
		return ENOMEM;
	*p = new;
	return 0;
}

int
pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
			   void *(*run)(void *), void *arg)
{
	static int (*real)(pthread_t *, const pthread_attr_t *, void *(*) (void *),
					   void *);

	if (fault_fails(FAULT_MALLOC))
		return EAGAIN;
	if (real == NULL)
		*(void **) &real = dlsym(RTLD_NEXT, "pthread_create");
	return real(thread, attributes, run, arg);
}

/* What a descriptor writes to.  Never the write-ahead log: that is a panic. */
static bool
full(int fd)
{
	char link[64], path[PATH_MAX];
	ssize_t n;

	if (fault_watched.kind != FAULT_TEMPORARY &&
		fault_watched.kind != FAULT_RELATION)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0)
		return false;
	path[n] = '\0';
	if (strstr(path, "/pgsql_tmp") != NULL)
		return fault_fails(FAULT_TEMPORARY);
	return strstr(path, "/base/") != NULL && fault_fails(FAULT_RELATION);
}

static ssize_t
no_space(void)
{
	errno = ENOSPC;
	return -1;
}

ssize_t
pwrite(int fd, const void *p, size_t n, off_t at)
{
	return full(fd) ? no_space() : syscall(SYS_pwrite64, fd, p, n, at);
}

ssize_t
pwrite64(int fd, const void *p, size_t n, off_t at)
{
	return pwrite(fd, p, n, at);
}

ssize_t
pwritev(int fd, const struct iovec *v, int n, off_t at)
{
	return full(fd) ? no_space() : syscall(SYS_pwritev, fd, v, n, at, 0L);
}

ssize_t
pwritev64(int fd, const struct iovec *v, int n, off_t at)
{
	return pwritev(fd, v, n, at);
}

int
posix_fallocate(int fd, off_t at, off_t n)
{
	if (full(fd))
		return ENOSPC;
	return syscall(SYS_fallocate, fd, 0, at, n) == 0 ? 0 : errno;
}

/* The directory of a kept file is read in order to remove what is in it. */
DIR *
opendir(const char *path)
{
	static DIR *(*real)(const char *);

	if (real == NULL)
		*(void **) &real = dlsym(RTLD_NEXT, "opendir");
	if (strstr(path, "fileset") != NULL && fault_fails(FAULT_CANCEL))
		raise(SIGINT);
	return real(path);
}
