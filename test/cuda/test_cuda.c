/*
 * test_cuda.c
 *	  The CUDA provider: every kernel against plain C, memory, and failures.
 *
 * The environment variable NEURAL_CUDA names the library to test.  For one
 * that emulates its device there is more: kernels run in many orders of their
 * threads, and once without each of their barriers, which must be noticed.
 * NEURAL_CUDA_LIBRARY names one for real devices that is opened in any case.
 * With NEURAL_CUDA_BRIEF kernels are run in fewer shapes, and nothing else is.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "kernel_cases.h"
#include "library.h"

/* the second: tiles and warps that are not full, or just so, and many rows */
static const struct
{
	int m, n, k;
} shapes[] = {{1, 1, 1},	{1, 7, 3},	  {3, 5, 28},	  {33, 31, 16},
			  {7, 17, 64},	{64, 64, 1},  {65, 128, 9},	  {129, 65, 130},
			  {5, 300, 33}, {515, 3, 65}, {70, 33, 1025}, {6, 64, 1024}};
#define SHAPES ((int) (sizeof(shapes) / sizeof(shapes[0])))

#define RANDOM_SHAPES 6
#define NEARLY		  3e-6 /* of sums in another order */

/* Counters of an emulated device; of a real one there are none. */
static int
launches_so_far(void)
{
	return emulated != NULL ? emulated->launches : 0;
}

static int
products_so_far(void)
{
	return emulated != NULL ? emulated->blas_products : 0;
}

static void
have_blas(bool there)
{
	if (emulated != NULL)
		emulated->blas = there;
}

static void
find_shape(int number, int *m, int *n, int *k)
{
	nn_key key = nn_random_key(5, NN_STREAM_SAMPLE, (uint64_t) number);

	if (number < SHAPES)
	{
		*m = shapes[number].m;
		*n = shapes[number].n;
		*k = shapes[number].k;
		return;
	}
	*m = 1 + (int) nn_random_below(key, 0, 200);
	*n = 1 + (int) nn_random_below(key, 1, 90);
	*k = 1 + (int) nn_random_below(key, 2, 150);
}

/* Run a case on the device; false when it failed. */
static bool
run_on_device(context *t, nn_device *d, int kernel, int shape, float beta)
{
	int m, n, k;

	find_shape(shape, &m, &n, &k);
	if (emulated != NULL)
		emulated->test = kernel;
	return run_case(t, d, true, kernel, m, n, k, beta);
}

/* The greatest difference, relative to a number or, where that is greater, to
 * the root mean square of its matrix: a sum may cancel. */
static double
relative(const context *x, const context *y)
{
	double worst = 0;

	for (int b = 0; b < x->nbuffers; b++)
	{
		double squares = 0;

		for (size_t i = 0; x->out[b] && i < x->count[b]; i++)
			squares += (double) x->buffer[b][i] * x->buffer[b][i];
		for (size_t i = 0; x->out[b] && i < x->count[b]; i++)
		{
			double p = x->buffer[b][i], off = fabs(p - y->buffer[b][i]);

			if (off > 0)
				worst = fmax(
					worst,
					off / fmax(fabs(p), sqrt(squares / (double) x->count[b])));
		}
	}
	return worst;
}

static double furthest[KERNELS]; /* of all comparisons */

/* The difference from plain C, as a multiple of what is allowed. */
static double
compare(nn_device *d, int kernel, int shape, float beta)
{
	nn_device host = {&nn_cpu_plain, NULL};
	double worst = INFINITY;
	context plain, other;
	int m, n, k;

	find_shape(shape, &m, &n, &k);
	run_case(&plain, &host, false, kernel, m, n, k, beta);
	if (run_on_device(&other, d, kernel, shape, beta))
		worst = difference(&plain, &other, kernels[kernel].apart);
	if (worst > 1 && emulated == NULL && kernels[kernel].precision != NN_FP32)
	{
		release(&plain);
		run_case_in(&plain, &host, false, kernel, NN_FP32, m, n, k, beta);
		worst = difference(&plain, &other, NEARLY);
	}
	furthest[kernel] = fmax(furthest[kernel], relative(&plain, &other));
	release(&plain);
	release(&other);
	return worst;
}

/* Every kernel of perceptrons, of m rows: with plain C in its own precision, or
 * where others than those of fp32 are to do without tensor cores, in fp32. */
static void
compare_perceptrons(nn_device *d, int m, bool own_precision)
{
	nn_device host = {&nn_cpu_plain, NULL};

	for (int kernel = 0; kernel < KERNELS; kernel++)
	{
		context plain, other;
		double worst = INFINITY;
		nn_precision p = kernels[kernel].precision;

		if (strncmp(kernels[kernel].name, "mlp", 3) != 0 ||
			(!own_precision && p == NN_FP32))
			continue;
		run_case_in(&plain, &host, false, kernel, own_precision ? p : NN_FP32,
					m, 3, 28, 0.5f);
		if (run_case_in(&other, d, true, kernel, p, m, 3, 28, 0.5f))
			worst = difference(&plain, &other,
							   own_precision ? kernels[kernel].apart : 3e-6);
		check(worst <= 1, "%s, of %d rows: %.3g", kernels[kernel].name, m,
			  worst);
		release(&plain);
		release(&other);
	}
}

/* So many rows that each block of the largest device has several tiles. */
#define MANY_ROWS 35000

/* A driver makes kernels of PTX for an older device: without tensor cores, but
 * not without results. */
static void
check_older_kernels(void)
{
	nn_device d = {&cuda, NULL};

	emulated->compiled = 75;
	check(cuda.open(&d, 0, &err), "open: %s", err.message);
	compare_perceptrons(&d, 70, false);
	cuda.close(&d);
	emulated->compiled = 90;
}

static void
compare_kernels(nn_device *d, int count)
{
	for (int kernel = 0; kernel < KERNELS; kernel++)
	{
		for (int s = 0; s < count; s++)
		{
			float beta = 0.5f * (float) (s % 3);
			double worst = compare(d, kernel, s, beta);

			check(worst <= 1, "%s, shape %d, beta %g: %.3g",
				  kernels[kernel].name, s, beta, worst);
		}
		check(furthest[kernel] <= 1e-5 || kernels[kernel].precision != NN_FP32,
			  "%s: at most %.3g from plain C", kernels[kernel].name,
			  furthest[kernel]);
	}
}

/* Products that are worth cuBLASLt, in every way they can be asked for; then
 * again of matrices that are aligned to their numbers and no more. */
static void
compare_blas(void)
{
	const int m = 300, n = 450, k = 500;
	nn_device host = {&nn_cpu_plain, NULL}, d = {&cuda, NULL};
	const int before = products_so_far();

	have_blas(true);
	if (!cuda.open(&d, 0, &err))
	{
		check(false, "open: %s", err.message);
		return;
	}
	for (int number = 0; number < 16; number++)
	{
		const int c = number % 8, shift = number / 8, added = c % 2 * shift;
		const nn_function f = c == 4 ? NN_TANH : c == 5 ? NN_LINEAR : NN_RELU;
		context both[2];
		int launches = 0;

		for (int i = 0; i < 2; i++)
		{
			context *t = &both[i];
			float *a, *b;

			launches = launches_so_far();
			*t = (context){.d = i ? &d : &host,
						   .remote = i == 1,
						   .k = k,
						   .beta = c % 2 ? 0.5f : 0};
			a = in(t, (size_t) m * k + shift) + shift;
			b = in(t, (size_t) k * n + shift) + shift;
			if (c < 4)
				t->d->ops->gemm(t->d, c & 1, c & 2, m, n, k, a, b, t->beta,
								out(t, (size_t) m * n + added) + added);
			else
				t->d->ops->dense(t->d, m, n, k, a, b,
								 c == 7	  ? NULL
								 : c == 6 ? in(t, n + shift) + shift
										  : in(t, n),
								 f, 0, c == 4 ? fresh(t, (size_t) m * n) : NULL,
								 fresh(t, (size_t) m * n));
			check(collect(t), "product %d", number);
			launches = launches_so_far() - launches;
		}
		/* cuBLASLt adds a bias that is aligned, and knows the ramp */
		check(emulated == NULL || (launches == 0) == (c < 4 || c == 5 ||
													  (c == 6 && shift == 0)),
			  "product %d: %d further kernels", number, launches);
		check(difference(&both[0], &both[1], NEARLY) <= 1,
			  "product %d by cuBLASLt: %.3g", number,
			  difference(&both[0], &both[1], NEARLY));
		release(&both[0]);
		release(&both[1]);
	}
	check(emulated == NULL || products_so_far() == before + 16,
		  "cuBLASLt made %d products", products_so_far() - before);
	cuda.close(&d);
	have_blas(false);
}

/* Whether a product is that of rounded factors; a real device need not round. */
static double
difference_of_bits(const context *rounded, const context *exact,
				   const context *there)
{
	double off = difference(rounded, there, NEARLY);

	if (off > 1 && emulated == NULL)
		off = difference(exact, there, NEARLY);
	return off;
}

/* Factors of fewer bits, where that is allowed and the product is large. */
static void
compare_precisions(void)
{
	const int m = 170, n = 130, k = 200, bits[] = {24, 11, 8};
	/* the first is a product of our own */
	const int kernels[] = {1, 0, 2, 0};
	const int before = products_so_far();
	int launches;
	const size_t memory = emulated != NULL ? emulated->memory : 0;
	nn_device host = {&nn_cpu_plain, NULL};

	have_blas(true);
	/* the last without memory for factors that are rounded beforehand */
	for (int i = 0; i < (emulated != NULL ? 4 : 3); i++)
	{
		const nn_precision p = i < 3 ? (nn_precision) i : NN_BF16;
		nn_device d = {&cuda, NULL, p};
		context there = {.d = &d, .remote = true};
		context here = {.d = &host}, exact = {.d = &host};
		float *a, *b, *c;

		if (!cuda.open(&d, 0, &err))
		{
			check(false, "open: %s", err.message);
			return;
		}
		a = in(&there, (size_t) m * k);
		b = in(&there, (size_t) k * n);
		c = fresh(&there, (size_t) m * n);
		if (i == 3)
		{
			/* a smaller one, for which cuBLASLt takes its own memory */
			cuda.gemm(&d, false, false, m, n, k - 8, a, b, 0, c);
			cuda.sync(&d, &err);
			emulated->memory = emulated->allocated;
		}
		launches = launches_so_far();
		cuda.gemm(&d, false, false, m, n, k, a, b, 0, c);
		if (emulated != NULL)
			emulated->memory = memory;
		launches = launches_so_far() - launches;
		check(emulated == NULL || launches == kernels[i],
			  "factors of %d bits are rounded by %d kernels", bits[p],
			  launches);
		a = in(&exact, (size_t) m * k);
		b = in(&exact, (size_t) k * n);
		c = fresh(&exact, (size_t) m * n);
		nn_cpu_plain.gemm(&host, false, false, m, n, k, a, b, 0, c);
		a = in(&here, (size_t) m * k);
		b = in(&here, (size_t) k * n);
		c = fresh(&here, (size_t) m * n);
		for (int i = 0; i < m * k; i++)
			a[i] = rounded(a[i], bits[p]);
		for (int i = 0; i < k * n; i++)
			b[i] = rounded(b[i], bits[p]);
		nn_cpu_plain.gemm(&host, false, false, m, n, k, a, b, 0, c);
		check(collect(&there) && difference_of_bits(&here, &exact, &there) <= 1,
			  "factors of %d bits: %.3g", bits[p],
			  difference_of_bits(&here, &exact, &there));
		release(&there);
		release(&here);
		release(&exact);
		cuda.close(&d);
	}
	check(emulated == NULL || products_so_far() == before + 4,
		  "small products by cuBLASLt are those of fewer bits: %d",
		  products_so_far() - before);
	have_blas(false);
}

/* A second run, in another order of threads, gives the same bits. */
static void
compare_runs(nn_device *d)
{
	for (int kernel = 0; kernel < KERNELS; kernel++)
	{
		bool same = true;

		for (int s = 5; s < SHAPES; s += 3)
		{
			context one, two;

			same = run_on_device(&one, d, kernel, s, 1) && same;
			same = run_on_device(&two, d, kernel, s, 1) && same;
			same = difference(&one, &two, 0) == 0 && same;
			release(&one);
			release(&two);
		}
		check(same, "%s: runs have the same bits", kernels[kernel].name);
	}
}

/* Whether all cases that pass a barrier are right without it.  This process
 * is expected to crash. */
static bool
is_right_without(nn_device *d, int barrier)
{
	emulated->without = barrier;
	for (int kernel = 0; kernel < KERNELS; kernel++)
	{
		for (int s = SHAPES - 1; s >= 0; s--)
		{
			if (emulated->barriers[barrier].tests[kernel] &&
				!(compare(d, kernel, s, 0.5f) <= 1))
				return false;
		}
	}
	return true;
}

static void
remove_barriers(nn_device *d)
{
	const char *expected = getenv("NEURAL_CUDA_BARRIERS");

	check(expected != NULL && atoi(expected) == emulated->nbarriers,
		  "%d barriers are in the sources, kernels came by %d",
		  expected ? atoi(expected) : -1, emulated->nbarriers);
	for (int b = 0; b < emulated->nbarriers; b++)
	{
		pid_t child;
		int status = 0;

		fflush(NULL);
		child = fork();
		if (child == 0)
		{
			if (freopen("/dev/null", "w", stderr) == NULL)
				_exit(0);
			_exit(is_right_without(d, b) ? 0 : 1);
		}
		check(child > 0 && waitpid(child, &status, 0) == child && status != 0,
			  "%s:%d: without this barrier something is wrong",
			  emulated->barriers[b].file, emulated->barriers[b].line);
	}
}

/* Children that misuse the device must not live to report. */
static bool
dies(nn_device *d, void (*misuse)(nn_device *d))
{
	pid_t child;
	int status = 0;

	fflush(NULL);
	child = fork();
	if (child == 0)
	{
		if (freopen("/dev/null", "w", stderr) == NULL)
			_exit(0);
		misuse(d);
		_exit(0);
	}
	return child > 0 && waitpid(child, &status, 0) == child &&
		   WIFSIGNALED(status);
}

static void
touch_from_host(nn_device *d)
{
	volatile float *p = d->ops->alloc(d, 64);

	*p = 1;
}

static void
go_beyond(nn_device *d)
{
	float *p = d->ops->alloc(d, 64);

	d->ops->axpby(d, 17, 1, p, 0, p);
	d->ops->sync(d, &err);
}

static void
use_after_free(nn_device *d)
{
	float *p = d->ops->alloc(d, 64);

	d->ops->free(d, p);
	d->ops->axpby(d, 1, 1, p, 0, p);
	d->ops->sync(d, &err);
}

/* The emulation notices what it is there to notice. */
static void
check_emulation(nn_device *d)
{
	float x[4] = {0}, *p = d->ops->alloc(d, sizeof(x));

	check(dies(d, touch_from_host), "the host cannot touch device memory");
	check(dies(d, go_beyond), "a kernel cannot go beyond a piece of memory");
	check(dies(d, use_after_free), "freed memory cannot be used");
	d->ops->download(d, x, p, sizeof(x));
	check(x[3] == 0, "work waits for the host");
	check(d->ops->sync(d, &err) && isnan(x[3]), "new memory is poisoned");
	d->ops->free(d, p);
}

static void
check_memory(void)
{
	nn_device d = {&cuda, NULL};
	nn_device_info info;
	float x[100], y[100] = {0}, *p;

	check(!cuda.open(&d, 1000, &err) && err.code == NN_UNAVAILABLE &&
			  d.state == NULL,
		  "a device that is not there: %s", err.message);
	check(!cuda.open(&d, -1, &err), "device -1: %s", err.message);
	check(cuda.open(&d, 0, &err), "open");
	check(cuda.alloc(&d, (size_t) 1 << 50) == NULL, "too much memory");
	check(cuda.alloc(&d, (size_t) 1 << 50) == NULL, "too much memory");
	check(cuda.sync(&d, &err), "being out of memory is no failure");
	for (int i = 0; i < 100; i++)
		x[i] = (float) i;
	check(!cuda.describe(1000, &info) && cuda.describe(0, &info) &&
			  info.name[0] != '\0' && info.driver[0] != '\0' &&
			  info.memory_free > 0 && info.memory_free <= info.memory,
		  "device %s, %s, %zu of %zu bytes are free", info.name, info.driver,
		  info.memory_free, info.memory);
	p = cuda.alloc(&d, 2 * sizeof(x));
	check(cuda.describe(0, &info), "a device in use can be described");
	cuda.upload(&d, p, x, sizeof(x));
	cuda.copy(&d, p + 100, p, sizeof(x));
	cuda.zero(&d, p + 110, 10 * sizeof(float));
	cuda.download(&d, y, p + 100, sizeof(y));
	check(cuda.sync(&d, &err), "sync");
	check(y[9] == 9 && y[10] == 0 && y[19] == 0 && y[20] == 20 && y[99] == 99,
		  "memory goes up, around, and down");
	cuda.upload(&d, p, x, 0);
	cuda.copy(&d, p, p, 0);
	cuda.zero(&d, p, 0);
	cuda.axpby(&d, 0, 1, p, 0, p);
	check(cuda.sync(&d, &err), "nothing to do");
	cuda.free(&d, p);
	cuda.free(&d, NULL);
	p = cuda.alloc(&d, 0);
	check(p != NULL, "no bytes");
	cuda.free(&d, p);
	cuda.close(&d);
}

/* Failures that a device survives. */
static void
check_failures(void)
{
	const int no_driver = 35;
	nn_device d = {&cuda, NULL};
	size_t all = emulated->memory, before = emulated->allocated;
	float x[2] = {1, 2}, *p;

	emulated->failure = no_driver;
	check(!cuda.open(&d, 0, &err) && err.code == NN_UNAVAILABLE,
		  "no driver: %s (%s)", err.message, err.detail);
	emulated->failure = 0;

	/* memory for the sums of a kernel is not there */
	check(cuda.open(&d, 0, &err), "open");
	p = cuda.alloc(&d, sizeof(x));
	emulated->memory = emulated->allocated + 16;
	check(cuda.alloc(&d, 32) == NULL, "out of memory");
	cuda.sum_rows(&d, 1, 2, p, 0, p);
	check(!cuda.sync(&d, &err) && err.code == NN_DEVICE_NOMEM &&
			  strstr(err.detail, "Failed on request of size ") != NULL,
		  "out of memory in a kernel: %s (%s)", err.message, err.detail);
	emulated->memory = all;
	cuda.free(&d, p);
	cuda.close(&d);
	check(emulated->allocated == before, "all memory is given back");
}

/* A device that breaks is of no use to the process any more, and says so. */
static void
check_broken(void)
{
	const int illegal_address = 700;
	nn_device d = {&cuda, NULL}, other = {&cuda, NULL};
	size_t before = emulated->allocated;
	nn_device_info info;
	float x[2] = {1, 2}, *p;

	check(cuda.open(&d, 0, &err), "open");
	p = cuda.alloc(&d, sizeof(x));
	cuda.upload(&d, p, x, sizeof(x));
	check(cuda.sync(&d, &err), "sync");
	emulated->failure = illegal_address;
	cuda.axpby(&d, 2, 2, p, 0, p);
	emulated->failure = 0;
	cuda.axpby(&d, 2, 2, p, 0, p);
	check(!cuda.sync(&d, &err) && err.code == NN_DEVICE,
		  "the first failure is kept: %s (%s)", err.message, err.detail);
	check(!cuda.sync(&d, &err) && cuda.alloc(&d, 8) == NULL,
		  "and nothing works after it");
	cuda.free(&d, p);
	cuda.close(&d);
	check(emulated->allocated == before, "all memory is given back");
	check(!cuda.open(&other, 0, &err) && other.state == NULL &&
			  err.code == NN_UNAVAILABLE && err.hint[0] != '\0',
		  "this process has lost the device: %s (%s)", err.message, err.detail);
	check(cuda.describe(0, &info) && strstr(info.reason, "illegal") != NULL &&
			  info.memory_free == 0,
		  "and says so of the device: %s", info.reason);
}

/* A library for real devices opens everywhere, and says where it is no use. */
static void
check_library(const char *path)
{
	nn_device_ops ops;

	if (nn_provider_load(path, &ops, &err))
		check(strcmp(ops.name, "cuda") == 0, "%s is used", path);
	else
		check(err.code == NN_UNAVAILABLE && ops.gemm == nn_cpu_ops(-1)->gemm &&
				  strncmp(err.detail, "CUDA says: ", 11) == 0,
			  "%s steps back: %s (%s)", path, err.message, err.detail);
}

int
main(void)
{
	const char *library = getenv("NEURAL_CUDA_LIBRARY");
	bool brief = getenv("NEURAL_CUDA_BRIEF") != NULL;
	nn_device d = {&cuda, NULL};

	if (!open_library())
		return check_failed;
	if (library != NULL)
		check_library(library);
	check_memory();
	if (emulated != NULL)
	{
		check_failures();
		check_older_kernels();
	}
	if (!cuda.open(&d, 0, &err))
	{
		check(false, "open: %s", err.message);
		return 1;
	}
	compare_kernels(&d, brief ? 8 : SHAPES + RANDOM_SHAPES);
	if (emulated == NULL && !brief)
		compare_perceptrons(&d, MANY_ROWS, true);
	if (!brief)
	{
		compare_runs(&d);
		compare_blas();
		compare_precisions();
	}
	if (emulated != NULL)
	{
		check_emulation(&d);
		remove_barriers(&d);
	}
	cuda.close(&d);
	if (emulated != NULL)
		check_broken();
	return check_failed;
}
