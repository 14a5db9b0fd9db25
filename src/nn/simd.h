/*
 * simd.h
 *	  The matrix product, in terms of a level's vectors; see simd_avx2.c.
 *
 * The product is computed in tiles of c: up to MAX_ROWS rows by one to four
 * vectors of columns, all of whose sums stay in registers (Goto and van de
 * Geijn, "Anatomy of high-performance matrix multiplication", 2008).  Around
 * that there are two ways:
 *
 *	- few rows: b is read in place, once;
 *	- many rows: blocks of b are packed into panels of two vectors' width,
 *	  which the tiles of all rows then read.  A transposed a is packed too.
 *
 * Every element of c is one chain of fused multiplications and additions, in
 * order of k, that begins with the bias (or c, or zero).  A block of k that is
 * not the first continues the chain from c.  So an element has the same bits
 * whichever way, tile and block it was computed in, which makes a row
 * independent of the others.  The exception is a product with a single column:
 * there a row is a sum of partial sums, in an order that depends on k only.
 *
 * Packed blocks lie on the stack: 150 kB.
 */

#define BLOCK_K	  256
#define PANEL	  (2 * LANES)
#define BLOCK_N	  (128 / PANEL * PANEL)
#define WIDE_ROWS (MAX_ROWS == 14 ? 4 : 3) /* most rows of a wide tile */

#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* What the tiles of one product have in common. */
typedef struct product
{
	const nn_device *device;
	int m, n, k;
	const nn_real *a;
	size_t arow, acol; /* a[i][p] is a[i * arow + p * acol] */
	const nn_real *b;
	size_t brow, bcol;	  /* b[p][j] is b[p * brow + j * bcol] */
	const nn_real *start; /* where the chains begin, or NULL for zero */
	size_t startrow;
	nn_real *c;
	bool column;   /* n is 1 and rows of a are contiguous */
	bool relu;	   /* of dense(): limit what is stored */
	nn_function f; /* of dense(): then apply f, from c to y */
	nn_real fa;
	nn_real *y;
} product;

typedef struct tile
{
	int k;
	const nn_real *a;
	size_t arow, acol;
	const nn_real *b;
	size_t brow; /* columns are contiguous */
	const nn_real *start;
	size_t startrow;
	nn_real *c;
	size_t crow;
	bool relu;
	int last; /* lanes of the last vector, where it is not whole */
} tile;

/*
 * rows, vectors and edge (whether the last vector is not whole) are constants
 * where this is expanded.  Addressing rows in threes from few pointers is what
 * keeps them all in registers.
 */
static inline __attribute__((always_inline)) void
compute(const int rows, const int vectors, const bool edge, const tile *t)
{
	VECTOR sum[MAX_ROWS][4];
	MASK some = FIRST_LANES(edge ? t->last : LANES);
	const nn_real *a[(MAX_ROWS + 2) / 3];
	const nn_real *b = t->b;
	const size_t arow = t->arow, acol = t->acol, brow = t->brow;

	UNROLL
	for (int r = 0; r < rows; r++)
	{
		UNROLL
		for (int v = 0; v < vectors; v++)
		{
			const nn_real *from = t->start + r * t->startrow + v * LANES;

			if (t->start == NULL)
				sum[r][v] = ZERO();
			else if (edge && v == vectors - 1)
				sum[r][v] = LOAD_SOME(from, some);
			else
				sum[r][v] = LOAD(from);
		}
		if (r % 3 == 0)
			a[r / 3] = t->a + r * arow;
	}
	for (int p = t->k; p > 0; p--)
	{
		VECTOR bv[4];

		UNROLL
		for (int v = 0; v < vectors; v++)
			bv[v] = edge && v == vectors - 1 ? LOAD_SOME(b + v * LANES, some)
											 : LOAD(b + v * LANES);
		b += brow;
		UNROLL
		for (int r = 0; r < rows; r++)
		{
			VECTOR x = SPREAD(a[r / 3] + r % 3 * arow);

			UNROLL
			for (int v = 0; v < vectors; v++)
				sum[r][v] = FMA(x, bv[v], sum[r][v]);
			if (r % 3 == 2 || r == rows - 1)
				a[r / 3] += acol;
		}
	}
	UNROLL
	for (int r = 0; r < rows; r++)
	{
		UNROLL
		for (int v = 0; v < vectors; v++)
		{
			nn_real *to = t->c + r * t->crow + v * LANES;
			VECTOR s = t->relu ? MAX(ZERO(), sum[r][v]) : sum[r][v];

			if (edge && v == vectors - 1)
				STORE_SOME(to, some, s);
			else
				STORE(to, s);
		}
	}
}

/* clang-format off */
#define TILE(R, V)															\
	static void tile_##R##_##V(const tile *t)								\
	{																		\
		compute(R, V, false, t);											\
	}																		\
	static void edge_##R##_##V(const tile *t)								\
	{																		\
		compute(R, V, true, t);												\
	}
#define BOTH(R, V) {tile_##R##_##V, edge_##R##_##V}
#define TILES(R) TILE(R, 1) TILE(R, 2)
#define WIDE_TILES(R) TILES(R) TILE(R, 3) TILE(R, 4)
#define NAMES(R) {BOTH(R, 1), BOTH(R, 2)},
#define WIDE_NAMES(R) {BOTH(R, 1), BOTH(R, 2), BOTH(R, 3), BOTH(R, 4)},

#if MAX_ROWS == 6
#define EACH_ROWS(wide, narrow)												\
	wide(1) wide(2) wide(3) narrow(4) narrow(5) narrow(6)
#else
#define EACH_ROWS(wide, narrow)												\
	wide(1) wide(2) wide(3) wide(4) narrow(5) narrow(6) narrow(7)			\
	narrow(8) narrow(9) narrow(10) narrow(11) narrow(12) narrow(13)			\
	narrow(14)
#endif

EACH_ROWS(WIDE_TILES, TILES)

/* by rows - 1, vectors - 1, and whether there is an edge */
static void (*const tiles[MAX_ROWS][4][2])(const tile *) = {
	EACH_ROWS(WIDE_NAMES, NAMES)
};
/* clang-format on */

static inline void
run_tile(tile *t, int rows, int columns)
{
	int vectors = (columns + LANES - 1) / LANES;

	t->last = columns - (vectors - 1) * LANES;
	tiles[rows - 1][vectors - 1][t->last != LANES](t);
}

/* The function of dense(), for columns first .. first + count of some rows. */
static void
finish_rows(const product *g, int row, int rows, int first, int count)
{
	size_t at = (size_t) row * g->n + first;

	if (g->f == NN_LINEAR && g->c == g->y)
		return;
	if (count == g->n)
	{
		apply_function(g->f, g->fa, (size_t) rows * count, g->c + at,
					   g->y + at);
		return;
	}
	for (int i = 0; i < rows; i++, at += g->n)
		apply_function(g->f, g->fa, count, g->c + at, g->y + at);
}

/*
 * Few rows: one row of tiles, b in place.  Inlined, so that the description of
 * the product stays in registers: for one row its way through memory counts.
 */
static inline __attribute__((always_inline)) void
product_in_place(const product *g)
{
	int width = (g->m <= WIDE_ROWS ? 4 : 2) * LANES;
	tile t = {.k = g->k,
			  .a = g->a,
			  .arow = g->arow,
			  .acol = g->acol,
			  .brow = g->brow,
			  .startrow = g->startrow,
			  .crow = g->n,
			  .relu = g->relu};

	for (int j = 0; j < g->n; j += width)
	{
		t.b = g->b + j;
		t.start = g->start ? g->start + j : NULL;
		t.c = g->c + j;
		run_tile(&t, g->m, g->n - j < width ? g->n - j : width);
	}
	finish_rows(g, 0, g->m, 0, g->n);
}

/* Rows p .. p + k, columns j .. j + n of b as panels, filled up with zeros. */
static void
pack_b(const product *g, int p, int k, int j, int n, nn_real *out)
{
	for (int first = 0; first < n; first += PANEL, out += (size_t) k * PANEL)
	{
		int count = n - first < PANEL ? n - first : PANEL;
		const nn_real *from = g->b + p * g->brow + (j + first) * g->bcol;

		if (g->bcol == 1)
		{
			int low = count < LANES ? count : LANES;
			MASK m0 = FIRST_LANES(low), m1 = FIRST_LANES(count - low);

			for (int q = 0; q < k; q++, from += g->brow)
			{
				STORE(out + q * PANEL, LOAD_SOME(from, m0));
				STORE(out + q * PANEL + LANES, LOAD_SOME(from + LANES, m1));
			}
			continue;
		}
		if (count < PANEL)
			memset(out, 0, (size_t) k * PANEL * sizeof(nn_real));
		for (int c = 0; c < count; c++, from += g->bcol)
		{
			for (int q = 0; q < k; q++)
				out[q * PANEL + c] = from[q * g->brow];
		}
	}
}

/* Rows i .. i + rows, columns p .. p + k of a transposed a, one by one. */
static void
pack_a(const product *g, int i, int rows, int p, int k, nn_real *out)
{
	const nn_real *from = g->a + i + p * g->acol;
	MASK some = FIRST_LANES(rows);

	for (int q = 0; q < k; q++, from += g->acol, out += MAX_ROWS)
		STORE(out, LOAD_SOME(from, some));
}

/* All rows times one packed block of b. */
static void
product_block(const product *g, int p, int k, int j, int n,
			  const nn_real *packed)
{
	nn_real panel[BLOCK_K * MAX_ROWS + LANES] __attribute__((aligned(64)));
	int parts = (g->m + MAX_ROWS - 1) / MAX_ROWS;
	int row = 0;

	bool pack = g->acol != 1;
	tile t = {.k = k, .brow = PANEL, .crow = g->n};

	for (int part = 0; part < parts; part++)
	{
		int rows = (g->m - row) / (parts - part);

		t.a = g->a + row * g->arow + p * g->acol;
		t.arow = g->arow;
		t.acol = g->acol;
		if (pack)
		{
			pack_a(g, row, rows, p, k, panel);
			t.a = panel;
			t.arow = 1;
			t.acol = MAX_ROWS;
		}
		t.relu = g->relu && p + k == g->k;
		for (int first = 0; first < n; first += PANEL)
		{
			size_t at = (size_t) row * g->n + j + first;

			t.b = packed + (size_t) first * k;
			t.c = g->c + at;
			t.start = t.c;
			t.startrow = g->n;
			if (p == 0)
			{
				t.startrow = g->startrow;
				t.start =
					g->start ? g->start + row * g->startrow + j + first : NULL;
			}
			run_tile(&t, rows, n - first < PANEL ? n - first : PANEL);
		}
		if (p + k == g->k)
			finish_rows(g, row, rows, j, n);
		row += rows;
	}
}

static void
product_packed(const product *g)
{
	nn_real packed[BLOCK_K * BLOCK_N] __attribute__((aligned(64)));

	for (int j = 0; j < g->n; j += BLOCK_N)
	{
		int n = g->n - j < BLOCK_N ? g->n - j : BLOCK_N;

		for (int p = 0; p < g->k; p += BLOCK_K)
		{
			int k = g->k - p < BLOCK_K ? g->k - p : BLOCK_K;

			if (nn_device_stops(g->device))
				return;
			pack_b(g, p, k, j, n, packed);
			product_block(g, p, k, j, n, packed);
		}
	}
}

/* One row of a times the one column of b. */
static inline nn_real
dot(int k, const nn_real *a, const nn_real *b)
{
	VECTOR s[4] = {ZERO(), ZERO(), ZERO(), ZERO()};
	int p = 0;

	for (; p + 4 * LANES <= k; p += 4 * LANES)
	{
		UNROLL
		for (int v = 0; v < 4; v++)
			s[v] = FMA(LOAD(a + p + v * LANES), LOAD(b + p + v * LANES), s[v]);
	}
	for (; p + LANES <= k; p += LANES)
		s[0] = FMA(LOAD(a + p), LOAD(b + p), s[0]);
	if (p < k)
	{
		MASK some = FIRST_LANES(k - p);

		s[1] = FMA(LOAD_SOME(a + p, some), LOAD_SOME(b + p, some), s[1]);
	}
	return SUM(ADD(ADD(s[0], s[1]), ADD(s[2], s[3])));
}

static void
product_column(const product *g)
{
	for (int i = 0; i < g->m; i++)
	{
		nn_real sum = dot(g->k, g->a + i * g->arow, g->b);

		if (g->start)
			sum += g->start[i * g->startrow];
		g->c[i] = g->relu ? nn_at_least(sum, 0) : sum;
	}
	finish_rows(g, 0, g->m, 0, 1);
}

static inline __attribute__((always_inline)) void
run_product(product *g)
{
	if (g->m == 0 || g->n == 0)
		return;
	if (g->column)
		product_column(g);
	else if (g->m <= MAX_ROWS && g->bcol == 1)
		product_in_place(g);
	else
		product_packed(g);
}

static void
k_gemm(nn_device *d, bool ta, bool tb, int m, int n, int k, const nn_real *a,
	   const nn_real *b, nn_real beta, nn_real *c)
{
	product g = {.device = d,
				 .m = m,
				 .n = n,
				 .k = k,
				 .a = a,
				 .arow = ta ? 1 : k,
				 .acol = ta ? m : 1,
				 .b = b,
				 .brow = tb ? 1 : n,
				 .bcol = tb ? k : 1,
				 .start = beta == 0 ? NULL : c,
				 .startrow = n,
				 .c = c,
				 .y = c};

	if (beta != 0 && beta != 1)
		k_axpby(d, (size_t) m * n, beta, c, 0, c);

	/* a vector is its own transpose */
	if (k == 1)
		g.arow = 1, g.acol = 1;
	if (k == 1 || n == 1)
		g.brow = n, g.bcol = 1;

	/* one column by transposition: compute the row b' a instead */
	g.column = n == 1 && g.acol == 1;
	if (n == 1 && ta && k > 1)
	{
		g.column = false;
		g.m = 1, g.n = m;
		g.a = b, g.arow = k, g.acol = 1;
		g.b = a, g.brow = m, g.bcol = 1;
	}
	run_product(&g);
}

static void
k_dense(nn_device *d, int m, int n, int k, const nn_real *x, const nn_real *w,
		const nn_real *b, nn_function f, double a, nn_real *z, nn_real *y)
{
	bool relu = f == NN_RELU && z == NULL;
	product g = {.device = d,
				 .m = m,
				 .n = n,
				 .k = k,
				 .a = x,
				 .arow = k,
				 .acol = 1,
				 .b = w,
				 .brow = n,
				 .bcol = 1,
				 .start = b,
				 .startrow = 0,
				 .column = n == 1,
				 .c = z ? z : y,
				 .relu = relu,
				 .f = relu ? NN_LINEAR : f,
				 .fa = (nn_real) a,
				 .y = y};

	run_product(&g);
}
