/* builds: float asan */
/*
 * test_team.c
 *	  Teams of threads: all members work, meet, add up, sleep, and end.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "team.h"

#define N 1003

static int creations_left = 1000;
static int created, joined;

/* Stand before libpthread, so that the creation of a thread can fail. */
int
pthread_create(pthread_t *thread, const pthread_attr_t *attr,
			   void *(*main)(void *), void *arg)
{
	static int (*real)(pthread_t *, const pthread_attr_t *, void *(*) (void *),
					   void *);

	if (creations_left-- <= 0)
		return EAGAIN;
	if (real == NULL)
		*(void **) &real = dlsym(RTLD_NEXT, "pthread_create");
	created++;
	return real(thread, attr, main, arg);
}

int
pthread_join(pthread_t thread, void **value)
{
	static int (*real)(pthread_t, void **);

	if (real == NULL)
		*(void **) &real = dlsym(RTLD_NEXT, "pthread_join");
	joined++;
	return real(thread, value);
}

typedef struct job
{
	nn_team *team;
	int runs[NN_MAX_THREADS];
	int seen[NN_MAX_THREADS]; /* what others had done at the barrier */
	bool blocked[NN_MAX_THREADS];
	float x[NN_MAX_THREADS][N];
} job;

static void
work(int member, void *arg)
{
	job *j = arg;
	sigset_t mask;
	int size = nn_team_size(j->team);

	j->runs[member]++;
	nn_team_barrier(j->team);
	j->seen[member] = 0;
	for (int i = 0; i < size; i++)
		j->seen[member] += j->runs[i];
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	j->blocked[member] =
		sigismember(&mask, SIGINT) == 1 && sigismember(&mask, SIGTERM) == 1 &&
		sigismember(&mask, SIGUSR1) == 1 && sigismember(&mask, SIGALRM) == 1;
	nn_team_sum(j->team, member, j->x[member], N);
}

static void
check_work(nn_arena *arena, int size)
{
	static job j;
	nn_error err = {0};
	bool right = true, blocked = true, same = true;
	sigset_t mask;

	memset(&j, 0, sizeof(j));
	j.team = nn_team_create(arena, size, &err);
	check(j.team != NULL && nn_team_size(j.team) == size, "team of %d: %s",
		  size, err.message);
	for (int run = 1; run <= 200; run++)
	{
		/* now and then long enough for the members to fall asleep */
		if (run % 50 == 0)
			usleep(2000);
		for (int m = 0; m < size; m++)
		{
			for (int i = 0; i < N; i++)
				j.x[m][i] = (float) check_normal(m * N + i);
		}
		nn_team_run(j.team, work, &j);
		for (int m = 0; m < size; m++)
			right &= j.runs[m] == run && j.seen[m] == run * size;
	}
	for (int i = 0; i < N; i++)
	{
		float sum = (float) check_normal(i);

		for (int m = 1; m < size; m++)
			sum += (float) check_normal(m * N + i);
		for (int m = 0; m < size; m++)
			same &= j.x[m][i] == sum;
	}
	for (int m = 1; m < size; m++)
		blocked &= j.blocked[m];
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	check(right, "%d members: each worked once a run and met the others", size);
	check(same, "%d members: sums are in order of the member", size);
	check(blocked && !sigismember(&mask, SIGINT),
		  "%d members: signals are blocked in threads only", size);
	nn_team_destroy(j.team);
}

static double
cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static void
check_idle(nn_arena *arena)
{
	static job j;
	nn_error err = {0};
	double before;

	j.team = nn_team_create(arena, 4, &err);
	nn_team_run(j.team, work, &j);
	before = cpu_seconds();
	usleep(200000);
	check(cpu_seconds() - before < 0.05, "idle members sleep: %.3f s of 0.2",
		  cpu_seconds() - before);
	nn_team_run(j.team, work, &j);
	check(j.runs[3] == 2, "they wake up again");
	nn_team_destroy(j.team);
}

static void
check_failure(nn_arena *arena)
{
	for (int allowed = 0; allowed < 5; allowed++)
	{
		nn_error err = {0};
		int before = created - joined;

		creations_left = allowed;
		check(nn_team_create(arena, 6, &err) == NULL &&
				  err.code == NN_NOMEM,
			  "thread %d cannot be had: %s (%s)", allowed + 1, err.message,
			  err.detail);
		check(created - joined == before, "none of %d threads is left",
			  allowed);
	}
	creations_left = 1000;
}

int
main(void)
{
	static job j;
	nn_error err = {0};
	nn_arena *arena = nn_arena_create(&check_heap, &err);

	for (int size = 1; size <= 5; size++)
		check_work(arena, size);
	check_work(arena, 13);
	check_idle(arena);
	check_failure(arena);

	check(nn_team_create(arena, 0, &err) == NULL && err.code == NN_INVALID,
		  "no members: %s", err.message);
	check(nn_team_create(arena, NN_MAX_THREADS + 1, &err) == NULL &&
			  err.code == NN_INVALID,
		  "too many members: %s", err.message);
	nn_team_run(NULL, work, &j);
	check(j.runs[0] == 1 && nn_team_size(NULL) == 1, "no team is one member");
	nn_team_destroy(NULL);
	check(created == joined, "all threads have ended: %d", created);
	nn_arena_destroy(arena);
	return check_failed;
}
