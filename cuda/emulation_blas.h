/*
 * emulation_blas.h
 *	  As much of cuBLASLt as the provider calls, for the emulated device.
 *
 * It takes matrices by columns, as cuBLASLt does, and refuses what does not
 * fit together, or is not aligned as it was told.  It is there when a test says
 * so.
 */
#ifndef CUDA_EMULATION_BLAS_H
#define CUDA_EMULATION_BLAS_H

#include <string>

#include "emulation.h"

namespace emulation
{

struct blas_layout
{
	int64_t rows, columns, stride;
	bool bf16; /* of numbers of 16 bits */
};

struct blas_desc
{
	int trans[2];
	int bits; /* that factors lose */
	int epilogue;
	const float *bias;
};

/* What a place is a multiple of, of a, b, c and d. */
struct blas_aligned
{
	uint32_t bytes[4];
};

/* To the nearest number of fewer bits, of two the even one. */
inline float
blas_round(float x, int bits)
{
	uint32_t u;

	if (bits == 0)
		return x;
	memcpy(&u, &x, sizeof(u));
	u += (1u << (bits - 1)) - 1 + (u >> bits & 1);
	u &= ~((1u << bits) - 1);
	memcpy(&x, &u, sizeof(x));
	return x;
}

inline void *
open_blas(void)
{
	return EMULATED_DEVICE.blas ? &EMULATED_DEVICE : NULL;
}

inline void
close_blas(void)
{
}

inline size_t
blas_version(void)
{
	return 130000;
}

inline int
blas_create(void **handle)
{
	*handle = &EMULATED_DEVICE;
	blas_devices |= 1u << EMULATED_DEVICE.current;
	return 0;
}

inline int
blas_destroy(void *)
{
	return 0;
}

inline int
blas_desc_create(void **desc, int compute, int scale)
{
	*desc = new blas_desc{
		{0, 0}, compute == 75 ? 16 : compute == 77 ? 13 : 0, 1, NULL};
	return (compute == 68 || compute == 75 || compute == 77) && scale == 0 ? 0
																		   : 7;
}

inline int
blas_desc_set(void *desc, int attribute, const void *value, size_t size)
{
	blas_desc *how = (blas_desc *) desc;

	if (size != (attribute == 8 ? sizeof(void *) : sizeof(int)))
		return 7;
	switch (attribute)
	{
		case 3:
		case 4:
			memcpy(&how->trans[attribute - 3], value, size);
			return 0;
		case 7:
			memcpy(&how->epilogue, value, size);
			return how->epilogue == 1 || how->epilogue == 4 ||
						   how->epilogue == 6
					   ? 0
					   : 15;
		case 8:
			memcpy(&how->bias, value, size);
			return 0;
	}
	return 7;
}

inline int
blas_desc_destroy(void *desc)
{
	delete (blas_desc *) desc;
	return 0;
}

inline int
blas_layout_create(void **layout, int type, uint64_t rows, uint64_t columns,
				   int64_t stride)
{
	*layout =
		new blas_layout{(int64_t) rows, (int64_t) columns, stride, type == 14};
	return (type == 0 || type == 14) && stride >= (int64_t) rows ? 0 : 7;
}

inline int
blas_layout_destroy(void *layout)
{
	delete (blas_layout *) layout;
	return 0;
}

inline int
blas_preference_create(void **preference)
{
	*preference = new blas_aligned{{256, 256, 256, 256}};
	return 0;
}

inline int
blas_preference_set(void *preference, int attribute, const void *value,
					size_t size)
{
	if (attribute == 1)
		return size == sizeof(size_t) ? 0 : 7;
	if (attribute < 5 || attribute > 8 || size != sizeof(uint32_t))
		return 7;
	memcpy(&((blas_aligned *) preference)->bytes[attribute - 5], value, size);
	return 0;
}

inline int
blas_preference_destroy(void *preference)
{
	delete (blas_aligned *) preference;
	return 0;
}

inline bool
blas_is_aligned(const void *algorithm, const void *a, const void *b,
				const void *c, const void *d)
{
	const void *given[4] = {a, b, c, d};
	blas_aligned needed;

	memcpy(&needed, algorithm, sizeof(needed));
	for (int i = 0; i < 4; i++)
		if ((uintptr_t) given[i] % needed.bytes[i] != 0)
			return false;
	return true;
}

/* The extents of the product, or false when the parts do not fit. */
inline bool
blas_extents(const blas_desc *desc, const blas_layout *a, const blas_layout *b,
			 const blas_layout *c, int64_t *m, int64_t *n, int64_t *k)
{
	*m = desc->trans[0] ? a->columns : a->rows;
	*k = desc->trans[0] ? a->rows : a->columns;
	*n = desc->trans[1] ? b->rows : b->columns;
	return *k == (desc->trans[1] ? b->columns : b->rows) && *m == c->rows &&
		   *n == c->columns && a->bf16 == b->bf16 && !c->bf16 &&
		   !(a->bf16 && desc->bits > 0);
}

/* A factor's number. */
inline float
blas_number(const void *x, const blas_layout *layout, int64_t at, int bits)
{
	uint32_t u;
	float value;

	if (!layout->bf16)
		return blas_round(((const float *) x)[at], bits);
	u = (uint32_t) ((const uint16_t *) x)[at] << 16;
	memcpy(&value, &u, sizeof(value));
	return value;
}

/*
 * The result is an algorithm of 64 bytes, its working memory, and a state.
 * The algorithm is the one that needs what it may take for granted.
 */
inline int
blas_choose(void *, void *desc, void *a, void *b, void *c, void *,
			void *preference, int, void *choices, int *count)
{
	int64_t m, n, k;

	if (!blas_extents((blas_desc *) desc, (blas_layout *) a, (blas_layout *) b,
					  (blas_layout *) c, &m, &n, &k))
		return 7;
	memset(choices, 0, 64 + sizeof(size_t) + sizeof(int));
	memcpy(choices, preference, sizeof(blas_aligned));
	*count = 1;
	return 0;
}

inline int
blas_multiply(void *, void *desc, const void *alpha, const void *a, void *al,
			  const void *b, void *bl, const void *beta, const void *c,
			  void *cl, void *d, void *, const void *algorithm, void *, size_t,
			  cudaStream_t)
{
	blas_desc how = *(blas_desc *) desc;
	blas_layout first = *(blas_layout *) al, second = *(blas_layout *) bl;
	int64_t m, n, k, lda = ((blas_layout *) al)->stride,
					 ldb = ((blas_layout *) bl)->stride,
					 ldc = ((blas_layout *) cl)->stride;
	float by = *(const float *) alpha, keep = *(const float *) beta;
	float *to = (float *) d;

	if (!blas_extents(&how, (blas_layout *) al, (blas_layout *) bl,
					  (blas_layout *) cl, &m, &n, &k) ||
		(how.epilogue != 1 &&
		 (how.bias == NULL || (uintptr_t) how.bias % 16 != 0)) ||
		!blas_is_aligned(algorithm, a, b, c, d))
		return 7;
	auto product = [=]
		{
			for (int64_t j = 0; j < n; j++)
			{
				for (int64_t i = 0; i < m; i++)
				{
					float sum = 0;

					for (int64_t p = 0; p < k; p++)
						sum +=
							blas_number(a, &first,
										how.trans[0] ? i * lda + p
													 : p * lda + i,
										how.bits) *
							blas_number(b, &second,
										how.trans[1] ? p * ldb + j
													 : j * ldb + p,
										how.bits);
					sum = by * sum + (keep == 0 ? 0 : keep * to[j * ldc + i]);
					if (how.epilogue != 1)
						sum += how.bias[i];
					to[j * ldc + i] =
						how.epilogue == 6 && sum < 0 ? 0 : sum;
				}
			}
		};

	EMULATED_DEVICE.blas_products++;
	if (capturing)
		captured.push_back(product);
	else
		enqueue(product);
	return 0;
}

inline void *
find_blas(const char *name)
{
	static const std::map<std::string, void *> entries = {
		{"cublasLtGetVersion", (void *) blas_version},
		{"cublasLtCreate", (void *) blas_create},
		{"cublasLtDestroy", (void *) blas_destroy},
		{"cublasLtMatmulDescCreate", (void *) blas_desc_create},
		{"cublasLtMatmulDescSetAttribute", (void *) blas_desc_set},
		{"cublasLtMatmulDescDestroy", (void *) blas_desc_destroy},
		{"cublasLtMatrixLayoutCreate", (void *) blas_layout_create},
		{"cublasLtMatrixLayoutDestroy", (void *) blas_layout_destroy},
		{"cublasLtMatmulPreferenceCreate", (void *) blas_preference_create},
		{"cublasLtMatmulPreferenceSetAttribute", (void *) blas_preference_set},
		{"cublasLtMatmulPreferenceDestroy", (void *) blas_preference_destroy},
		{"cublasLtMatmulAlgoGetHeuristic", (void *) blas_choose},
		{"cublasLtMatmul", (void *) blas_multiply},
	};
	auto found = entries.find(name);

	return found != entries.end() ? found->second : NULL;
}

} /* namespace emulation */

#endif /* CUDA_EMULATION_BLAS_H */
