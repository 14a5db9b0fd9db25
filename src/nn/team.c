/*
 * team.c
 *	  A team of threads that share each training step.
 *
 * Steps follow each other within microseconds while a network is trained, and
 * the pause before the next may be seconds.  So whoever waits first looks at
 * the clock and the condition for SPIN_NS, then sleeps on a condition
 * variable.  What is waited for changes under the mutex, so no wake-up is
 * lost.
 */
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "team.h"

#define SPIN_NS	   40000
#define STACK_SIZE (2 * 1024 * 1024)

typedef struct member
{
	nn_team *team;
	int number;
} member;

struct nn_team
{
	int size;
	int started; /* threads: members 1 .. started */
	pthread_t thread[NN_MAX_THREADS];
	member member[NN_MAX_THREADS];

	/* run, phase and stop are written under the mutex */
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	unsigned run;	/* counts calls of nn_team_run */
	unsigned phase; /* counts meetings of all members */
	bool stop;

	int arrived; /* members that wait for the others */
	void (*work)(int member, void *arg);
	void *arg;
	nn_real *part[NN_MAX_THREADS]; /* of a sum */
};

static inline void
relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield" ::: "memory");
#endif
}

static int64_t
nanoseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* Wait until *word is not value. */
static void
wait_while(nn_team *team, unsigned *word, unsigned value)
{
	int64_t end = nanoseconds() + SPIN_NS;

	do
	{
		for (int i = 0; i < 32; i++)
		{
			if (__atomic_load_n(word, __ATOMIC_ACQUIRE) != value)
				return;
			relax();
		}
	} while (nanoseconds() < end);

	pthread_mutex_lock(&team->mutex);
	while (*word == value)
		pthread_cond_wait(&team->changed, &team->mutex);
	pthread_mutex_unlock(&team->mutex);
}

/* Change a word others wait for, and wake those that sleep. */
static void
advance(nn_team *team, unsigned *word)
{
	pthread_mutex_lock(&team->mutex);
	__atomic_store_n(word, *word + 1, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&team->changed);
	pthread_mutex_unlock(&team->mutex);
}

/* Every member comes here; the last one lets all go on. */
static void
meet(nn_team *team)
{
	unsigned phase = __atomic_load_n(&team->phase, __ATOMIC_ACQUIRE);

	if (__atomic_add_fetch(&team->arrived, 1, __ATOMIC_ACQ_REL) == team->size)
	{
		__atomic_store_n(&team->arrived, 0, __ATOMIC_RELAXED);
		advance(team, &team->phase);
	}
	else
		wait_while(team, &team->phase, phase);
}

static void *
member_main(void *p)
{
	const member *self = p;
	nn_team *team = self->team;

	for (unsigned run = 0;; run++)
	{
		wait_while(team, &team->run, run);
		if (team->stop)
			return NULL;
		team->work(self->number, team->arg);
		meet(team);
	}
}

/* Start the threads, which inherit the signal mask of this one. */
static int
start_threads(nn_team *team)
{
	sigset_t all, before;
	pthread_attr_t attr;
	int rc;

	rc = pthread_attr_init(&attr);
	if (rc != 0)
		return rc;
	rc = pthread_attr_setstacksize(&attr, STACK_SIZE);
	sigfillset(&all);
	if (rc == 0)
		rc = pthread_sigmask(SIG_SETMASK, &all, &before);
	if (rc == 0)
	{
		for (int i = 1; i < team->size && rc == 0; i++)
		{
			team->member[i].team = team;
			team->member[i].number = i;
			rc = pthread_create(&team->thread[i], &attr, member_main,
								&team->member[i]);
			if (rc == 0)
				team->started = i;
		}
		pthread_sigmask(SIG_SETMASK, &before, NULL);
	}
	pthread_attr_destroy(&attr);
	return rc;
}

nn_team *
nn_team_create(nn_arena *arena, int size, nn_error *err)
{
	nn_team *team;
	int rc;

	if (size < 1 || size > NN_MAX_THREADS)
	{
		nn_fail(err, NN_INVALID, "number of threads must be from 1 to %d",
				NN_MAX_THREADS);
		return NULL;
	}
	team = nn_alloc(arena, sizeof(*team), err);
	if (team == NULL)
		return NULL;
	team->size = size;
	rc = pthread_mutex_init(&team->mutex, NULL);
	if (rc == 0)
	{
		rc = pthread_cond_init(&team->changed, NULL);
		if (rc != 0)
			pthread_mutex_destroy(&team->mutex);
		else
		{
			rc = start_threads(team);
			if (rc == 0)
				return team;
			nn_team_destroy(team);
		}
	}
	/* what a thread lacks is memory, or a slot of the system's */
	nn_fail(err, NN_NOMEM, "could not start thread %d of %d", team->started + 1,
			size - 1);
	nn_detail(err, "The system says: %s.", strerror(rc));
	nn_hint(err, "Try again with fewer threads.");
	return NULL;
}

void
nn_team_destroy(nn_team *team)
{
	if (team == NULL)
		return;
	team->stop = true;
	advance(team, &team->run);
	for (int i = 1; i <= team->started; i++)
		pthread_join(team->thread[i], NULL);
	pthread_cond_destroy(&team->changed);
	pthread_mutex_destroy(&team->mutex);
}

int
nn_team_size(const nn_team *team)
{
	return team == NULL ? 1 : team->size;
}

void
nn_team_start(nn_team *team, void (*work)(int member, void *arg), void *arg)
{
	if (nn_team_size(team) == 1)
		return;
	team->work = work;
	team->arg = arg;
	advance(team, &team->run);
}

void
nn_team_wait(nn_team *team)
{
	nn_team_barrier(team);
}

void
nn_team_run(nn_team *team, void (*work)(int member, void *arg), void *arg)
{
	nn_team_start(team, work, arg);
	work(0, arg);
	nn_team_wait(team);
}

void
nn_team_barrier(nn_team *team)
{
	if (nn_team_size(team) > 1)
		meet(team);
}

/*
 * Every member adds up its share of the numbers, over all members, and stores
 * the sums for all.
 */
void
nn_team_sum(nn_team *team, int member, nn_real *x, size_t n)
{
	size_t size = (size_t) nn_team_size(team);
	size_t share, end;

	if (size == 1)
		return;
	team->part[member] = x;
	meet(team);

	/* whole cache lines */
	share = ((n + size - 1) / size + 15) / 16 * 16;
	end = share * (member + 1) < n ? share * (member + 1) : n;
	for (size_t first = share * member; first < end; first += 256)
	{
		size_t count = end - first < 256 ? end - first : 256;
		nn_real sum[256];

		memcpy(sum, team->part[0] + first, count * sizeof(nn_real));
		for (size_t k = 1; k < size; k++)
		{
			const nn_real *part = team->part[k] + first;

			for (size_t i = 0; i < count; i++)
				sum[i] += part[i];
		}
		for (size_t k = 0; k < size; k++)
			memcpy(team->part[k] + first, sum, count * sizeof(nn_real));
	}
	meet(team);
}
