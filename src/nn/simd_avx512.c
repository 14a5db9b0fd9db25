/*
 * simd_avx512.c
 *	  The kernels compiled for AVX-512 F, VL, DQ and BW (Skylake-X and later,
 *	  Zen 4).
 */
#include <immintrin.h>

#include "cpu_kernels.h"

#define VECTOR	 __m512
#define LANES	 16
#define MAX_ROWS 14 /* of a tile: 28 sums, 2 vectors of b and 1 number of a */

/* The first n lanes, n at most LANES. */
#define MASK		   __mmask16
#define FIRST_LANES(n) ((__mmask16) ((1u << (n)) - 1))

#define ZERO()				   _mm512_setzero_ps()
#define SPREAD(p)			   _mm512_set1_ps(*(p))
#define LOAD(p)				   _mm512_loadu_ps(p)
#define LOAD_SOME(p, mask)	   _mm512_maskz_loadu_ps(mask, p)
#define STORE(p, v)			   _mm512_storeu_ps(p, v)
#define STORE_SOME(p, mask, v) _mm512_mask_storeu_ps(p, mask, v)
#define ADD(a, b)			   _mm512_add_ps(a, b)
#define MAX(a, b)			   _mm512_max_ps(a, b)
#define FMA(a, b, c)		   _mm512_fmadd_ps(a, b, c)

#define SUM(v) _mm512_reduce_add_ps(v)

#include "simd.h"

const nn_device_ops nn_cpu_avx512 = CPU_OPS("cpu, AVX-512");
