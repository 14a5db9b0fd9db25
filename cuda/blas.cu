/*
 * blas.cu
 *	  Large matrix products by cuBLASLt, where that library is installed.
 *
 * It is not linked: half a gigabyte is opened when the first product comes
 * that is worth it.  Its calls are declared here by what CUDA 12 and 13 have
 * in common.  Whatever goes wrong, products stay with our own kernel.
 *
 * In bf16 the factors are rounded into memory of our own first: told to round
 * them by itself, cuBLASLt reads twice the bytes in every step of a product.
 * By the figures of an H100, the six bytes a number are a fifth of the product's
 * time, of 65,536 rows of 4,096 numbers with as many columns; not measured.
 * Where there is no memory for them, it does round by itself.  A factor of
 * more than one product of a step is rounded once, if the layer says that it
 * does not change (settle).
 *
 * cuBLASLt takes matrices by columns.  A matrix by rows is its own transpose
 * by columns, so b is given first and a second, and c comes out by rows.
 *
 * It takes all matrices to be aligned to 256 bytes unless it is told otherwise.
 * Parameters lie side by side, so they may be aligned to the size of a number
 * only, and the alignment is part of what a plan is for.
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
#define REAL_16BF			14
#define DESC_TRANSA			3
#define DESC_TRANSB			4
#define DESC_EPILOGUE		7
#define DESC_BIAS_POINTER	8
#define EPILOGUE_DEFAULT	1
#define EPILOGUE_BIAS		4
#define EPILOGUE_RELU_BIAS	6
#define PREFERENCE_MAX_ROOM 1
#define PREFERENCE_ALIGNED	5 /* the first of four: a, b, c, d */
/* No instruction that an algorithm reads memory by asks for more. */
#define MOST_ALIGNED 16

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
	bool stored; /* rounded factors are given */
	int epilogue;
	bool ta, tb;
	int m, n, k;
	uint32_t aligned[3]; /* bytes that the places of a, b, c are multiples of */
	const float *bias;	 /* of the first of them */
	bool usable;
	bool proven; /* has made one */
	void *desc, *a, *b, *c;
	choice how;
} plan;

struct gpu_blas
{
	void *library, *handle, *preference, *room;
	plan *plans;
	gpu_factor others; /* that are not settled, of the product at hand */
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

	if (!open_library(s))
		return false;
	gpu_keep_context();
	if (s->create(&s->handle) != 0)
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
	cudaFree(s->others.rounded);
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
describe(struct gpu_blas *s, void **layout, int type, int rows, int columns)
{
	return s->layout_create(layout, type, (uint64_t) columns, (uint64_t) rows,
							columns) == 0;
}

/* What a place is a multiple of. */
static uint32_t
alignment(const void *place)
{
	uintptr_t bytes = MOST_ALIGNED;

	while ((uintptr_t) place % bytes != 0)
		bytes /= 2;
	return (uint32_t) bytes;
}

/* b is given first, and c is what is added to as well as the result. */
static bool
prefer_aligned(struct gpu_blas *s, const plan *p)
{
	const uint32_t given[4] = {p->aligned[1], p->aligned[0], p->aligned[2],
							   p->aligned[2]};

	for (int i = 0; i < 4; i++)
		if (s->preference_set(s->preference, PREFERENCE_ALIGNED + i, &given[i],
							  sizeof(given[i])) != 0)
			return false;
	return true;
}

static bool
make_plan(struct gpu_blas *s, plan *p)
{
	const int transa = p->tb, transb = p->ta; /* CUBLAS_OP_N 0, CUBLAS_OP_T 1 */
	const int type = p->stored ? REAL_16BF : REAL_32F;
	const int compute = p->stored				  ? COMPUTE_32F
						: p->precision == NN_BF16 ? COMPUTE_32F_BF16
						: p->precision == NN_TF32 ? COMPUTE_32F_TF32
												  : COMPUTE_32F;
	/* which is looked at for its alignment, and of the next only this is known */
	const void *bias = (const void *) MOST_ALIGNED;
	int count = 0;

	return s->desc_create(&p->desc, compute, REAL_32F) == 0 &&
		   s->desc_set(p->desc, DESC_TRANSA, &transa, sizeof(transa)) == 0 &&
		   s->desc_set(p->desc, DESC_TRANSB, &transb, sizeof(transb)) == 0 &&
		   s->desc_set(p->desc, DESC_EPILOGUE, &p->epilogue,
					   sizeof(p->epilogue)) == 0 &&
		   (p->bias == NULL || s->desc_set(p->desc, DESC_BIAS_POINTER, &bias,
										   sizeof(bias)) == 0) &&
		   describe(s, &p->a, type, p->ta ? p->k : p->m, p->ta ? p->m : p->k) &&
		   describe(s, &p->b, type, p->tb ? p->n : p->k, p->tb ? p->k : p->n) &&
		   describe(s, &p->c, REAL_32F, p->m, p->n) && prefer_aligned(s, p) &&
		   s->choose(s->handle, p->desc, p->b, p->a, p->c, p->c, s->preference,
					 1, &p->how, &count) == 0 &&
		   count == 1 && p->how.state == 0 && p->how.room <= ROOM;
}

static bool
same_product(const plan *a, const plan *b)
{
	return a->precision == b->precision && a->stored == b->stored &&
		   a->epilogue == b->epilogue && a->ta == b->ta && a->tb == b->tb &&
		   a->m == b->m && a->n == b->n && a->k == b->k &&
		   memcmp(a->aligned, b->aligned, sizeof(a->aligned)) == 0;
}

/* The plan for products such as this one. */
static plan *
find_plan(struct gpu_blas *s, const plan *like)
{
	plan *p = s->plans;

	while (p != NULL && !same_product(p, like))
		p = p->next;
	if (p != NULL)
		return p;
	p = (plan *) malloc(sizeof(plan));
	if (p == NULL)
		return NULL;
	*p = *like;
	p->usable = make_plan(s, p);
	p->next = s->plans;
	s->plans = p;
	return p;
}

/* Memory for so many rounded numbers, kept for the next products; false: there
 * is none. */
static bool
room_for_factor(gpu_state *s, gpu_factor *f, size_t count)
{
	if (count <= f->room)
		return true;
	if (f->too_many > 0 && count >= f->too_many)
		return false;
	/* nothing that is under way may use the old one any more */
	if (f->rounded != NULL)
		gpu_finish(s);
	cudaFree(f->rounded);
	f->rounded = NULL;
	f->room = 0;
	if (cudaMalloc((void **) &f->rounded, count * sizeof(uint16_t)) !=
		cudaSuccess)
	{
		/* no failure of the device: there is another way */
		cudaGetLastError();
		f->rounded = NULL;
		f->too_many = count;
		return false;
	}
	f->room = count;
	return true;
}

static void
round_factors(nn_device *d, size_t n, const float *x, uint16_t *to)
{
	gpu_each(d, n, [=] __device__(size_t i) { to[i] = gpu_bf16(x[i]); });
}

void
gpu_settle(nn_device *d, const float *x, size_t n)
{
	gpu_state *s = gpu_of(d);
	gpu_factor *f = s->factors;

	if (d->precision != NN_BF16)
		return;
	while (f != NULL && f->x != x)
		f = f->next;
	if (f == NULL)
	{
		f = (gpu_factor *) calloc(1, sizeof(gpu_factor));
		if (f == NULL)
			return;
		f->x = x;
		f->next = s->factors;
		s->factors = f;
	}
	f->made = f->made && f->n == n;
	f->settled = true;
	f->n = n;
}

void
gpu_forget_factors(gpu_state *s)
{
	for (gpu_factor *f = s->factors; f != NULL; f = f->next)
		f->settled = f->made = false;
}

void
gpu_factors_release(gpu_state *s)
{
	gpu_factor *next;

	for (gpu_factor *f = s->factors; f != NULL; f = next)
	{
		next = f->next;
		cudaFree(f->rounded);
		free(f);
	}
	s->factors = NULL;
}

/* A factor which is settled, or NULL. */
static gpu_factor *
find_settled(gpu_state *s, const float *x, size_t n)
{
	gpu_factor *f = s->factors;

	while (f != NULL && (f->x != x || f->n != n || !f->settled))
		f = f->next;
	return f;
}

uint16_t *
gpu_round_ahead(nn_device *d, const float *x, size_t n)
{
	gpu_factor *f = find_settled(gpu_of(d), x, n);

	if (f == NULL || f->made || n > f->room)
		return NULL;
	f->made = true;
	return f->rounded;
}

/* Numbers of a factor; the next one's place is aligned as cuBLASLt likes it. */
static size_t
factor_size(size_t n)
{
	return gpu_round_up(n, 128);
}

bool
gpu_blas_multiply(gpu_state *s, const gpu_product *p)
{
	const struct gpu_blas *blas = s->blas;
	const plan *plan = p->plan;
	const float one = 1, beta = (float) p->beta;

	if (p->bias != NULL && blas->desc_set(plan->desc, DESC_BIAS_POINTER,
										  &p->bias, sizeof(p->bias)) != 0)
		return false;
	return blas->multiply(blas->handle, plan->desc, &one, p->b, plan->b, p->a,
						  plan->a, &beta, p->c, plan->c, p->c, plan->c,
						  plan->how.algorithm, blas->room, ROOM,
						  s->stream) == 0;
}

/* The plan for a product of these factors. */
static plan *
plan_product(struct gpu_blas *s, plan like, bool stored, const gpu_product *p)
{
	like.stored = stored;
	like.aligned[0] = alignment(p->a);
	like.aligned[1] = alignment(p->b);
	like.aligned[2] = alignment(p->c);
	like.bias = p->bias;
	return find_plan(s, &like);
}

/* Plan it with rounded factors, which are then made; NULL: that cannot be. */
static plan *
plan_rounded(nn_device *d, const plan *like, gpu_product *product)
{
	gpu_state *s = gpu_of(d);
	const size_t n[2] = {(size_t) like->m * like->k,
						 (size_t) like->k * like->n};
	const float *x[2] = {(const float *) product->a,
						 (const float *) product->b};
	gpu_factor *kept[2];
	uint16_t *rounded[2], *others;
	size_t room = 0;
	plan *p;

	for (int i = 0; i < 2; i++)
	{
		kept[i] = find_settled(s, x[i], n[i]);
		if (kept[i] != NULL && !room_for_factor(s, kept[i], n[i]))
			kept[i] = NULL;
		room += kept[i] == NULL ? factor_size(n[i]) : 0;
	}
	if (!room_for_factor(s, &s->blas->others, room))
		return NULL;
	others = s->blas->others.rounded;
	for (int i = 0; i < 2; i++)
	{
		rounded[i] = kept[i] != NULL ? kept[i]->rounded : others;
		others += kept[i] == NULL ? factor_size(n[i]) : 0;
	}
	product->a = rounded[0];
	product->b = rounded[1];
	p = plan_product(s->blas, *like, true, product);
	if (p == NULL || !p->usable)
	{
		product->a = x[0];
		product->b = x[1];
		return NULL;
	}
	for (int i = 0; i < 2; i++)
	{
		if (kept[i] == NULL || !kept[i]->made)
			round_factors(d, n[i], x[i], rounded[i]);
		if (kept[i] != NULL)
			kept[i]->made = true;
	}
	return p;
}

/* Make a product that is worth it, in a way that has been planned. */
static bool
multiply(nn_device *d, plan like, const float *a, const float *b,
		 const float *bias, float beta, float *c)
{
	gpu_state *s = gpu_of(d);
	gpu_product product = {NULL, a, b, bias, c, beta};
	plan *p = NULL;

	like.precision = d->precision;
	if (s->failure != cudaSuccess ||
		(double) like.m * like.n * like.k <
			(d->precision == NN_FP32 ? MIN_PRODUCT : MIN_ROUND_PRODUCT) ||
		find_blas(s) == NULL)
		return false;
	if (d->precision == NN_BF16)
		p = plan_rounded(d, &like, &product);
	if (p == NULL)
		p = plan_product(s->blas, like, false, &product);
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

bool
gpu_blas_gemm(nn_device *d, bool ta, bool tb, int m, int n, int k,
			  const float *a, const float *b, float beta, float *c)
{
	plan like = {};

	like.epilogue = EPILOGUE_DEFAULT;
	like.ta = ta;
	like.tb = tb;
	like.m = m;
	like.n = n;
	like.k = k;
	return multiply(d, like, a, b, NULL, beta, c);
}

bool
gpu_blas_dense(nn_device *d, int m, int n, int k, const float *x,
			   const float *w, const float *b, nn_function f, float *y)
{
	plan like = {};

	/* it reads a bias by 16 bytes */
	if (b == NULL || alignment(b) < MOST_ALIGNED ||
		(f != NN_LINEAR && f != NN_RELU))
		return false;
	like.epilogue = f == NN_RELU ? EPILOGUE_RELU_BIAS : EPILOGUE_BIAS;
	like.m = m;
	like.n = n;
	like.k = k;
	return multiply(d, like, x, w, b, 0, y);
}
