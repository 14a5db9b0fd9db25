/*
 * blas.cu
 *	  Large matrix products by cuBLASLt, where that library is installed.
 *
 * It is not linked: half a gigabyte is opened when the first product comes
 * that is worth it.  Its calls are declared here by what CUDA 12 and 13 have
 * in common.  Whatever goes wrong, products stay with our own kernel.
 *
 * cuBLASLt takes matrices by columns.  A matrix by rows is its own transpose
 * by columns, so b is given first and a second, and c comes out by rows.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>

#include "gpu.h"

#ifdef __CUDACC__
static const char *const libraries[] = {"libcublasLt.so.13",
										"libcublasLt.so.12"};
#else
#include "emulation_blas.h"

/* the emulated library, which is linked */
static const char *const libraries[] = {""};
#define dlopen(name, how)	 emulation::open_blas()
#define dlsym(library, name) emulation::find_blas(name)
#define dlclose(library)	 emulation::close_blas()
#endif

#define OLDEST 120000 /* version of the library */
/* Least work worth it: of numbers that tensor cores do not take, and others. */
#define MIN_PRODUCT		  (1 << 26)
#define MIN_ROUND_PRODUCT (1 << 22)
#define ROOM			  ((size_t) 32 << 20)

/* cublas_api.h, cublasLt.h, library_types.h */
#define COMPUTE_32F			68
#define COMPUTE_32F_BF16	75
#define COMPUTE_32F_TF32	77
#define REAL_32F			0
#define DESC_TRANSA			3
#define DESC_TRANSB			4
#define PREFERENCE_MAX_ROOM 1

/* what cuBLASLt says about an algorithm */
typedef struct choice
{
	uint64_t algorithm[8];
	size_t room;
	int state;
	float waves;
	int reserved[4];
} choice;

/* How to compute products of one shape. */
typedef struct gpu_plan
{
	struct gpu_plan *next;
	nn_precision precision;
	bool ta, tb;
	int m, n, k;
	bool usable;
	bool proven; /* has made one */
	void *desc, *a, *b, *c;
	choice how;
} plan;

struct gpu_blas
{
	void *library, *handle, *preference, *room;
	plan *plans;
	size_t (*version)(void);
	int (*create)(void **handle);
	int (*destroy)(void *handle);
	int (*desc_create)(void **desc, int compute, int scale);
	int (*desc_set)(void *desc, int attribute, const void *value, size_t size);
	int (*desc_destroy)(void *desc);
	int (*layout_create)(void **layout, int type, uint64_t rows,
						 uint64_t columns, int64_t stride);
	int (*layout_destroy)(void *layout);
	int (*preference_create)(void **preference);
	int (*preference_set)(void *preference, int attribute, const void *value,
						  size_t size);
	int (*preference_destroy)(void *preference);
	int (*choose)(void *handle, void *desc, void *a, void *b, void *c, void *d,
				  void *preference, int most, choice *choices, int *count);
	int (*multiply)(void *handle, void *desc, const void *alpha, const void *a,
					void *a_layout, const void *b, void *b_layout,
					const void *beta, const void *c, void *c_layout, void *d,
					void *d_layout, const void *algorithm, void *room,
					size_t room_size, cudaStream_t stream);
};

#define ENTRY(field, name)                                                     \
	{                                                                          \
		offsetof(struct gpu_blas, field), name                                 \
	}

static const struct
{
	size_t at;
	const char *name;
} entries[] = {
	ENTRY(version, "cublasLtGetVersion"),
	ENTRY(create, "cublasLtCreate"),
	ENTRY(destroy, "cublasLtDestroy"),
	ENTRY(desc_create, "cublasLtMatmulDescCreate"),
	ENTRY(desc_set, "cublasLtMatmulDescSetAttribute"),
	ENTRY(desc_destroy, "cublasLtMatmulDescDestroy"),
	ENTRY(layout_create, "cublasLtMatrixLayoutCreate"),
	ENTRY(layout_destroy, "cublasLtMatrixLayoutDestroy"),
	ENTRY(preference_create, "cublasLtMatmulPreferenceCreate"),
	ENTRY(preference_set, "cublasLtMatmulPreferenceSetAttribute"),
	ENTRY(preference_destroy, "cublasLtMatmulPreferenceDestroy"),
	ENTRY(choose, "cublasLtMatmulAlgoGetHeuristic"),
	ENTRY(multiply, "cublasLtMatmul"),
};

static bool
find_entries(struct gpu_blas *s)
{
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
	{
		void *entry = dlsym(s->library, entries[i].name);

		if (entry == NULL)
			return false;
		memcpy((char *) s + entries[i].at, &entry, sizeof(entry));
	}
	return true;
}

static bool
open_library(struct gpu_blas *s)
{
	for (size_t i = 0; i < sizeof(libraries) / sizeof(libraries[0]); i++)
	{
		s->library = dlopen(libraries[i], RTLD_NOW | RTLD_LOCAL);
		if (s->library == NULL)
			continue;
		if (find_entries(s) && s->version() >= OLDEST)
			return true;
		dlclose(s->library);
		s->library = NULL;
	}
	return false;
}

static bool
prepare(struct gpu_blas *s)
{
	const size_t room = ROOM;

	if (!open_library(s) || s->create(&s->handle) != 0)
		return false;
	if (cudaMalloc(&s->room, ROOM) != cudaSuccess)
	{
		/* no failure of the device: there is another way */
		cudaGetLastError();
		s->room = NULL;
		return false;
	}
	return s->preference_create(&s->preference) == 0 &&
		   s->preference_set(s->preference, PREFERENCE_MAX_ROOM, &room,
							 sizeof(room)) == 0;
}

static void
free_plan(struct gpu_blas *s, plan *p)
{
	if (p->desc != NULL)
		s->desc_destroy(p->desc);
	if (p->a != NULL)
		s->layout_destroy(p->a);
	if (p->b != NULL)
		s->layout_destroy(p->b);
	if (p->c != NULL)
		s->layout_destroy(p->c);
	free(p);
}

void
gpu_blas_close(struct gpu_blas *s)
{
	plan *next;

	if (s == NULL)
		return;
	for (plan *p = s->plans; p != NULL; p = next)
	{
		next = p->next;
		free_plan(s, p);
	}
	if (s->preference != NULL)
		s->preference_destroy(s->preference);
	if (s->handle != NULL)
		s->destroy(s->handle);
	cudaFree(s->room);
	/* the library stays: it may have started threads */
	free(s);
}

/* Open the library once, with its threads' signals blocked. */
static struct gpu_blas *
find_blas(gpu_state *s)
{
	sigset_t all, before;

	if (s->blas_tried)
		return s->blas;
	s->blas_tried = true;
	s->blas = (struct gpu_blas *) calloc(1, sizeof(struct gpu_blas));
	if (s->blas == NULL)
		return NULL;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (!prepare(s->blas))
	{
		gpu_blas_close(s->blas);
		s->blas = NULL;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return s->blas;
}

/* A matrix in memory that is rows by columns, by rows. */
static bool
describe(struct gpu_blas *s, void **layout, int rows, int columns)
{
	return s->layout_create(layout, REAL_32F, (uint64_t) columns,
							(uint64_t) rows, columns) == 0;
}

static bool
make_plan(struct gpu_blas *s, plan *p)
{
	const int transa = p->tb, transb = p->ta; /* CUBLAS_OP_N 0, CUBLAS_OP_T 1 */
	const int compute = p->precision == NN_BF16	  ? COMPUTE_32F_BF16
						: p->precision == NN_TF32 ? COMPUTE_32F_TF32
												  : COMPUTE_32F;
	int count = 0;

	return s->desc_create(&p->desc, compute, REAL_32F) == 0 &&
		   s->desc_set(p->desc, DESC_TRANSA, &transa, sizeof(transa)) == 0 &&
		   s->desc_set(p->desc, DESC_TRANSB, &transb, sizeof(transb)) == 0 &&
		   describe(s, &p->a, p->ta ? p->k : p->m, p->ta ? p->m : p->k) &&
		   describe(s, &p->b, p->tb ? p->n : p->k, p->tb ? p->k : p->n) &&
		   describe(s, &p->c, p->m, p->n) &&
		   s->choose(s->handle, p->desc, p->b, p->a, p->c, p->c, s->preference,
					 1, &p->how, &count) == 0 &&
		   count == 1 && p->how.state == 0 && p->how.room <= ROOM;
}

static plan *
find_plan(struct gpu_blas *s, nn_precision precision, bool ta, bool tb, int m,
		  int n, int k)
{
	plan *p = s->plans;

	while (p != NULL && (p->precision != precision || p->ta != ta ||
						 p->tb != tb || p->m != m || p->n != n || p->k != k))
		p = p->next;
	if (p != NULL)
		return p;
	p = (plan *) calloc(1, sizeof(plan));
	if (p == NULL)
		return NULL;
	p->precision = precision;
	p->ta = ta;
	p->tb = tb;
	p->m = m;
	p->n = n;
	p->k = k;
	p->usable = make_plan(s, p);
	p->next = s->plans;
	s->plans = p;
	return p;
}

bool
gpu_blas_multiply(gpu_state *s, const gpu_product *p)
{
	const struct gpu_blas *blas = s->blas;
	const plan *plan = p->plan;
	const float one = 1;

	return blas->multiply(blas->handle, plan->desc, &one, p->b, plan->b, p->a,
						  plan->a, &p->beta, p->c, plan->c, p->c, plan->c,
						  plan->how.algorithm, blas->room, ROOM,
						  s->stream) == 0;
}

bool
gpu_blas_gemm(nn_device *d, bool ta, bool tb, int m, int n, int k,
			  const float *a, const float *b, float beta, float *c)
{
	gpu_state *s = gpu_of(d);
	struct gpu_blas *blas;
	gpu_product product = {NULL, a, b, beta, c};
	plan *p;

	if (s->failure != cudaSuccess ||
		(double) m * n * k <
			(d->precision == NN_FP32 ? MIN_PRODUCT : MIN_ROUND_PRODUCT))
		return false;
	blas = find_blas(s);
	p = blas != NULL ? find_plan(blas, d->precision, ta, tb, m, n, k) : NULL;
	if (p == NULL || !p->usable)
		return false;
	product.plan = p;
	/* what has worked may be put off */
	if (p->proven && gpu_note_product(s, &product))
		return true;
	gpu_flush(s);
	if (gpu_blas_multiply(s, &product))
		p->proven = true;
	else
		p->usable = false;
	return p->usable;
}
