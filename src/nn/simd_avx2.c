/*
 * simd_avx2.c
 *	  The kernels compiled for AVX2 and FMA (Haswell and later, Zen).
 */
#include <immintrin.h>

#include "cpu_kernels.h"

#define VECTOR	 __m256
#define LANES	 8
#define MAX_ROWS 6 /* of a tile: 12 sums, 2 vectors of b and 1 number of a */

/* The first n lanes, n at most LANES. */
#define MASK __m256i
#define FIRST_LANES(n)                                                         \
	_mm256_cmpgt_epi32(_mm256_set1_epi32(n),                                   \
					   _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))

#define ZERO()				   _mm256_setzero_ps()
#define SPREAD(p)			   _mm256_broadcast_ss(p)
#define LOAD(p)				   _mm256_loadu_ps(p)
#define LOAD_SOME(p, mask)	   _mm256_maskload_ps(p, mask)
#define STORE(p, v)			   _mm256_storeu_ps(p, v)
#define STORE_SOME(p, mask, v) _mm256_maskstore_ps(p, mask, v)
#define ADD(a, b)			   _mm256_add_ps(a, b)
#define MAX(a, b)			   _mm256_max_ps(a, b)
#define FMA(a, b, c)		   _mm256_fmadd_ps(a, b, c)

static inline float
sum_lanes(__m256 v)
{
	__m128 s =
		_mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

#define SUM(v) sum_lanes(v)

#include "simd.h"

const nn_device_ops nn_cpu_avx2 = CPU_OPS("cpu, AVX2");
