/* builds: float */
/*
 * test_blas.c
 *	  The provider on OpenBLAS against plain C, and loading of providers.
 *
 * The library to test is named by the environment variable NEURAL_BLAS, as it
 * is built only where there is a BLAS.
 */
#include <dlfcn.h>
#include <signal.h>

#include "check.h"
#include "device.h"

static float *
numbers(size_t n, uint64_t seed)
{
	float *x = malloc(n * sizeof(float));

	for (size_t i = 0; i < n; i++)
		x[i] = (float) check_normal(seed + i);
	return x;
}

/* A program without signals blocked must have none blocked after loading. */
static bool
load(const char *path, nn_device_ops *ops, nn_error *err)
{
	sigset_t mask;
	bool ok = nn_provider_load(path, ops, err);

	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	check(!sigismember(&mask, SIGINT), "signals are as before");
	check(ok || (ops->gemm == nn_cpu_ops(-1)->gemm &&
				 ops->dense == nn_cpu_ops(-1)->dense),
		  "after a failure the CPU's kernels are in place");
	return ok;
}

static void
check_failures(void)
{
	nn_device_ops ops;
	nn_error err = {0};

	check(!load("/nonexistent/neural_blas.so", &ops, &err) &&
			  err.code == NN_UNAVAILABLE && err.detail[0] != '\0',
		  "no such library: %s (%s)", err.message, err.detail);
	check(!load("libm.so.6", &ops, &err) && err.code == NN_UNAVAILABLE,
		  "not a provider: %s (%s)", err.message, err.detail);
}

/* The greatest difference, relative to the size of the sums. */
static double
difference(const float *x, const float *y, size_t n, int k)
{
	double worst = 0;

	for (size_t i = 0; i < n; i++)
	{
		double off = fabs((double) x[i] - y[i]);

		off /= sqrt(k + 10) * (1 + fabs(y[i]));
		worst = isfinite(off) ? fmax(worst, off) : INFINITY;
	}
	return worst;
}

static void
check_products(const nn_device_ops *ops)
{
	static const int shapes[][3] = {{1, 1, 1},	  {1, 128, 28}, {64, 1, 100},
									{513, 1, 64}, {33, 65, 17}, {1030, 300, 9},
									{7, 5, 300}};
	nn_device plain = {&nn_cpu_plain, NULL}, blas = {ops, NULL};

	for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++)
	{
		int m = shapes[s][0], n = shapes[s][1], k = shapes[s][2];
		size_t mn = (size_t) m * n;
		float *a = numbers((size_t) m * k, 1), *b = numbers((size_t) k * n, 2);
		float *bias = numbers(n, 3), *y[4];

		for (int i = 0; i < 4; i++)
			y[i] = numbers(mn, 4);
		for (int c = 0; c < 12; c++)
		{
			float beta = c / 4 * 0.5f;

			for (size_t i = 0; beta == 0 && i < mn; i++)
				y[0][i] = y[1][i] = NAN;
			plain.ops->gemm(&plain, c & 1, c & 2, m, n, k, a, b, beta, y[0]);
			blas.ops->gemm(&blas, c & 1, c & 2, m, n, k, a, b, beta, y[1]);
			check(difference(y[1], y[0], mn, k) < 3e-6,
				  "gemm %d, m %d n %d k %d", c, m, n, k);
		}
		for (size_t i = 0; i < (size_t) k * n; i++)
			b[i] /= sqrtf((float) k);
		for (int f = 0; f < NN_FUNCTIONS; f++)
		{
			const float *with = f % 3 ? bias : NULL;

			plain.ops->dense(&plain, m, n, k, a, b, with, f, 0.3, y[2], y[0]);
			blas.ops->dense(&blas, m, n, k, a, b, with, f, 0.3,
							f % 2 ? y[3] : NULL, y[1]);
			check(difference(y[1], y[0], mn, k) < 3e-6 &&
					  (f % 2 == 0 || difference(y[3], y[2], mn, k) < 3e-6),
				  "dense, f %d, m %d n %d k %d", f, m, n, k);
		}
		free(a);
		free(b);
		free(bias);
		for (int i = 0; i < 4; i++)
			free(y[i]);
	}
}

static void
check_blas(const char *path)
{
	nn_device_ops ops;
	nn_error err = {0};
	char why[256] = "";
	nn_provider provider;
	void *library;

	/* where the CPU device has SIMD kernels, they are preferred */
	if (load(path, &ops, &err))
		check(nn_cpu_ops(-1) == &nn_cpu_plain && !ops.row_independent,
			  "%s is used", path);
	else
		check(err.code == NN_UNAVAILABLE && err.detail[0] != '\0',
			  "%s steps back: %s (%s)", path, err.message, err.detail);

	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	check(library != NULL, "%s opens", path);
	if (library == NULL)
		return;
	*(void **) &provider = dlsym(library, NN_PROVIDER_NAME);
	ops = nn_cpu_plain;
	if (provider(&ops, why, sizeof(why)))
		check_products(&ops);
	else
		printf("skipped: %s\n", why);
}

int
main(void)
{
	const char *path = getenv("NEURAL_BLAS");

	check_failures();
	if (path != NULL)
		check_blas(path);
	else
		printf("skipped: NEURAL_BLAS does not name a library\n");
	return check_failed;
}
