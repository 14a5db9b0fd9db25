/*
 * emulation_mma.h
 *	  As much of CUDA's mma.h as the provider uses, for the emulated device.
 *
 * The threads of a warp hold eight numbers each of a matrix of 16 by 16, and
 * four of one of 16 by 8 or 8 by 16, and multiply by looking at each other's.
 * All of a warp must come to each of these functions together, as on a device;
 * what they read and write must be aligned as one wants it.  Factors must have
 * been rounded: tensor cores look at no more bits than a number's type has,
 * and here it aborts when there are more.
 */
#ifndef CUDA_EMULATION_MMA_H
#define CUDA_EMULATION_MMA_H

#include "emulation.h"

struct __nv_bfloat16
{
	uint16_t bits;
};

namespace nvcuda
{
namespace wmma
{

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;

namespace precision
{
struct tf32;
}

enum layout_t
{
	mem_row_major,
	mem_col_major
};

/* What a number is in memory, and as a factor. */
template <class T> struct number;

template <> struct number<__nv_bfloat16>
{
	typedef __nv_bfloat16 type;

	static float value(type x)
	{
		uint32_t bits = (uint32_t) x.bits << 16;
		float y;

		memcpy(&y, &bits, sizeof(y));
		return y;
	}
};

template <> struct number<precision::tf32>
{
	typedef float type;

	static float value(type x)
	{
		uint32_t bits;

		memcpy(&bits, &x, sizeof(bits));
		if (x == x && (bits & 0x1fff) != 0)
			emulation::die("a factor that was not rounded");
		return x;
	}
};

template <> struct number<float>
{
	typedef float type;
};

template <class Use, int M, int N, int K> struct extent;

template <int M, int N, int K> struct extent<matrix_a, M, N, K>
{
	static const int rows = M, columns = K;
};

template <int M, int N, int K> struct extent<matrix_b, M, N, K>
{
	static const int rows = K, columns = N;
};

template <int M, int N, int K> struct extent<accumulator, M, N, K>
{
	static const int rows = M, columns = N;
};

/* x[i] of a lane is the number lane * num_elements + i, by rows. */
template <class Use, int M, int N, int K, class T, class Layout = void>
struct fragment
{
	typedef extent<Use, M, N, K> size;
	typedef typename number<T>::type type;
	static const int num_elements =
		size::rows * size::columns / (int) emulation::WARP;
	type x[num_elements];
};

inline bool
is_by_columns(const col_major *, layout_t)
{
	return true;
}

inline bool
is_by_columns(const row_major *, layout_t)
{
	return false;
}

inline bool
is_by_columns(const void *, layout_t layout)
{
	return layout == mem_col_major;
}

/* The place in memory of a lane's number. */
template <class F, class Layout>
size_t
place(int i, unsigned ld, layout_t layout)
{
	int at = (int) emulation::lane() * F::num_elements + i;
	size_t row = (size_t) (at / F::size::columns),
		   column = (size_t) (at % F::size::columns);

	return is_by_columns((const Layout *) NULL, layout) ? column * ld + row
														: row * ld + column;
}

template <class T>
void
check_memory(const T *memory, unsigned ld)
{
	if ((uintptr_t) memory % 32 != 0)
		emulation::die("a matrix that is not aligned to 32 bytes");
	if (ld * sizeof(T) % 16 != 0)
		emulation::die("rows that are not aligned to 16 bytes");
}

template <class Use, int M, int N, int K, class T, class Layout, class E>
void
load_matrix_sync(fragment<Use, M, N, K, T, Layout> &f, const E *memory,
				 unsigned ld, layout_t layout = mem_row_major,
				 const char *file = __builtin_FILE(),
				 int line = __builtin_LINE())
{
	typedef fragment<Use, M, N, K, T, Layout> F;

	check_memory(memory, ld);
	emulation::show((uint32_t) 0, 0xffffffff, file, line);
	for (int i = 0; i < F::num_elements; i++)
		f.x[i] = memory[place<F, Layout>(i, ld, layout)];
}

template <int M, int N, int K, class E>
void
store_matrix_sync(E *memory, const fragment<accumulator, M, N, K, float> &f,
				  unsigned ld, layout_t layout,
				  const char *file = __builtin_FILE(),
				  int line = __builtin_LINE())
{
	typedef fragment<accumulator, M, N, K, float> F;

	check_memory(memory, ld);
	emulation::show((uint32_t) 0, 0xffffffff, file, line);
	for (int i = 0; i < F::num_elements; i++)
		memory[place<F, void>(i, ld, layout)] = f.x[i];
}

template <class F>
void
fill_fragment(F &f, float value)
{
	for (int i = 0; i < F::num_elements; i++)
		f.x[i] = value;
}

/* A number of a matrix, whose fragments the lanes have. */
template <class F>
const typename F::type &
element(const F *const *fragments, int row, int column)
{
	int at = row * F::size::columns + column;

	return fragments[at / F::num_elements]->x[at % F::num_elements];
}

template <int M, int N, int K, class T, class LA, class LB>
void
mma_sync(fragment<accumulator, M, N, K, float> &d,
		 const fragment<matrix_a, M, N, K, T, LA> &a,
		 const fragment<matrix_b, M, N, K, T, LB> &b,
		 const fragment<accumulator, M, N, K, float> &c,
		 const char *file = __builtin_FILE(), int line = __builtin_LINE())
{
	typedef fragment<matrix_a, M, N, K, T, LA> A;
	typedef fragment<matrix_b, M, N, K, T, LB> B;
	typedef fragment<accumulator, M, N, K, float> C;
	struct factors
	{
		const A *a;
		const B *b;
	} own = {&a, &b};
	unsigned slot = emulation::show((uint64_t) (uintptr_t) &own, 0xffffffff,
									file, line);
	const A *all_a[emulation::WARP];
	const B *all_b[emulation::WARP];
	float sums[C::num_elements];

	for (unsigned i = 0; i < emulation::WARP; i++)
	{
		const factors *of = (const factors *) (uintptr_t)
			emulation::seen<uint64_t>(slot, i);

		all_a[i] = of->a;
		all_b[i] = of->b;
	}
	for (int i = 0; i < C::num_elements; i++)
	{
		int at = (int) emulation::lane() * C::num_elements + i;
		float sum = 0;

		for (int k = 0; k < K; k++)
			sum += number<T>::value(element<A>(all_a, at / N, k)) *
				   number<T>::value(element<B>(all_b, k, at % N));
		sums[i] = c.x[i] + sum;
	}
	/* others may still look at the factors */
	emulation::show((uint32_t) 0, 0xffffffff, file, line);
	for (int i = 0; i < C::num_elements; i++)
		d.x[i] = sums[i];
}

} /* namespace wmma */
} /* namespace nvcuda */

#endif /* CUDA_EMULATION_MMA_H */
