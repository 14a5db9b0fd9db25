/*
 * fuzz_model.c
 *	  Damaged models, read without looking at checksums: nothing but an error
 *	  or a model that predicts may come of them.
 *
 *	  fuzz_model [mutations [seed]]
 *
 * Mutations know the format: besides bits and bytes they change what can be a
 * length, a count or a tag, and move, repeat and drop whole sections, with
 * lengths made to fit.  What is still readable is written, read and written
 * again, which must change nothing, and predicts a row.
 */
#include "../unit/models.h"

#define MOST_BYTES (1 << 16)
#define MAX_MEMORY (64 << 20)

static uint64_t draws;
static nn_key key;

static uint32_t
draw(uint32_t below)
{
	return nn_random_below(key, draws++, below);
}

typedef struct bytes
{
	unsigned char at[MOST_BYTES];
	size_t n;
} bytes;

static bytes seeds[EXAMPLES], work;

static void
put(bytes *b, size_t at, uint64_t v, int n)
{
	for (int i = 0; i < n && at + i < b->n; i++)
		b->at[at + i] = (unsigned char) (v >> (8 * i));
}

static uint64_t
get(const bytes *b, size_t at, int n)
{
	uint64_t v = 0;

	for (int i = 0; i < n && at + i < b->n; i++)
		v |= (uint64_t) b->at[at + i] << (8 * i);
	return v;
}

/* The length in the header, so that the reader goes on. */
static void
fit_length(bytes *b)
{
	put(b, 16, b->n, 8);
}

/* Where the sections are; their number. */
static int
find_sections(const bytes *b, size_t start[64], size_t size[64])
{
	size_t at = NN_MODEL_HEADER;
	int n = 0;

	while (n < 64 && at + 16 <= b->n)
	{
		uint64_t length = get(b, at + 8, 8);

		if (length > b->n - at - 16)
			break;
		start[n] = at;
		size[n] = 16 + (size_t) length;
		at += size[n++];
	}
	return n;
}

/* Replace so many bytes at a place by others, possibly of other length. */
static void
splice(bytes *b, size_t at, size_t drop, const unsigned char *with, size_t n)
{
	if (at > b->n || drop > b->n - at || b->n - drop + n > MOST_BYTES)
		return;
	memmove(b->at + at + n, b->at + at + drop, b->n - at - drop);
	memcpy(b->at + at, with, n);
	b->n = b->n - drop + n;
}

/* Numbers at which readers go wrong. */
static uint64_t
odd_number(uint64_t was)
{
	static const uint64_t odd[] = {0,
								   1,
								   2,
								   3,
								   7,
								   63,
								   64,
								   65,
								   127,
								   128,
								   255,
								   256,
								   1023,
								   1024,
								   1025,
								   16384,
								   65535,
								   65536,
								   1 << 20,
								   (1 << 20) + 1,
								   0x7FFFFFFF,
								   0x80000000,
								   0xFFFFFFFF,
								   0x100000000,
								   0x7FFFFFFFFFFFFFFF,
								   0xFFFFFFFFFFFFFFFF,
								   0x7FF0000000000000,
								   0x7FF8000000000000,
								   0x7F800000,
								   0x7FC00000,
								   0x0010000000000000,
								   0x8000000000000000};

	switch (draw(4))
	{
		case 0:
			return was + 1;
		case 1:
			return was - 1;
		default:
			return odd[draw(sizeof(odd) / sizeof(*odd))];
	}
}

/* Change inside of a section, and its length where bytes come or go. */
static void
change_content(bytes *b, size_t start, size_t size)
{
	static const char *const words[] = {"dense(1)",
										"input",
										"input(entity)",
										"one_hot",
										"(",
										")",
										",",
										"embedding(1000000)",
										"dense(1048576)",
										"1e308",
										"scale = robust",
										"a: ",
										"dropout(0.9)",
										"concatenate(n)",
										"flatten",
										"category",
										"vector",
										"\xC3",
										"poisson"};
	unsigned char random[8];
	const char *word = words[draw(sizeof(words) / sizeof(*words))];
	size_t at = start + 16 + (size > 16 ? draw((uint32_t) (size - 16)) : 0);
	size_t before = b->n;
	size_t drop = draw(8);

	switch (draw(6))
	{
		case 0:
			b->at[at] ^= 1 << draw(8);
			return;
		case 1:
			put(b, at, odd_number(get(b, at, 1)), 1);
			return;
		case 2:
			put(b, at, odd_number(get(b, at, 4)), 4);
			return;
		case 3:
			put(b, at, odd_number(get(b, at, 8)), 8);
			return;
		case 4:
			for (int i = 0; i < 8; i++)
				random[i] = (unsigned char) draw(256);
			splice(b, at, drop, random, draw(9));
			break;
		default:
			splice(b, at, drop, (const unsigned char *) word, strlen(word));
			break;
	}
	put(b, start + 8, size - 16 + b->n - before, 8);
}

static void
change_sections(bytes *b, const size_t *start, const size_t *size, int n)
{
	static unsigned char copy[MOST_BYTES];
	int from = (int) draw(n), to = (int) draw(n);
	size_t length = size[from];

	switch (draw(5))
	{
		case 0: /* drop */
			splice(b, start[from], length, copy, 0);
			break;
		case 1: /* repeat */
			memcpy(copy, b->at + start[from], length);
			splice(b, start[to], 0, copy, length);
			break;
		case 2: /* take from another model */
		{
			const bytes *other = &seeds[draw(EXAMPLES)];
			size_t at[64], sizes[64];
			int which = (int) draw(find_sections(other, at, sizes));

			splice(b, start[from], length, other->at + at[which], sizes[which]);
			break;
		}
		case 3: /* length */
			put(b, start[from] + 8, odd_number(length - 16), 8);
			break;
		default: /* tag */
			b->at[start[from] + draw(4)] ^= draw(2) ? 0x20 : 1 + draw(255);
			break;
	}
}

static void
mutate(bytes *b)
{
	size_t start[64], size[64];

	for (int times = 1 + (int) draw(3); times > 0; times--)
	{
		int n = find_sections(b, start, size);
		uint32_t kind = draw(20);

		if (kind == 0)
			b->at[draw(NN_MODEL_HEADER)] ^= 1 << draw(8);
		else if (kind == 1 && b->n > 0)
			b->n = draw((uint32_t) b->n);
		else if (n > 0 && kind < 6)
			change_sections(b, start, size, n);
		else if (n > 0)
		{
			int which = (int) draw(n);

			change_content(b, start[which], size[which]);
		}
		if (draw(16) != 0)
			fit_length(b);
	}
}

/* Predict a row of nothing but NULLs, and one of unseen texts. */
static void
predict(nn_arena *arena, const nn_model *m, nn_error *err)
{
	const nn_features *f = m->features;
	nn_predictor *p = nn_predictor_create(arena, m, nn_cpu_ops(0), 1, err);
	char *record = nn_alloc(arena, f->record_size + 1, err);
	double *out = nn_alloc_array(arena, m->outputs, sizeof(double), err);

	for (int pass = 0; p != NULL && pass < 2; pass++)
	{
		for (int i = 0; i < f->ncolumns; i++)
		{
			const nn_column *c = &f->columns[i];

			nn_set_null(c, record);
			if (pass == 0)
				continue;
			if (c->slot == NN_SLOT_TEXT)
				nn_set_text(c, record, "unseen", 6, false, err);
			else if (c->slot == NN_SLOT_VECTOR)
				memset(record + c->offset, 0x7f, c->length * sizeof(float));
			else
				nn_set_number(c, record, pass == 1 ? INFINITY : 1e300);
		}
		nn_predict(p, record, 1, out, err);
	}
	nn_predictor_release(p);
}

static bool
try_bytes(const bytes *b, nn_error *err)
{
	nn_arena *arena = nn_arena_create(&check_heap, err);
	/* a copy of exactly that size, so that ASan sees a step outside */
	unsigned char *copy = malloc(b->n + 1), *first, *second;
	size_t n_first = 0, n_second = 0;
	nn_model *m;

	memcpy(copy, b->at, b->n);
	memset(err, 0, sizeof(*err));
	m = nn_model_read(arena, copy, b->n, NULL, MAX_MEMORY, err);
	free(copy);
	if (m == NULL)
	{
		if (err->code == NN_OK || err->message[0] == '\0')
			check(false, "refused without a reason");
		nn_arena_destroy(arena);
		return false;
	}
	first = example_bytes(arena, m, &n_first, err);
	if (first == NULL)
		check(false, "read but not written: %s", err->message);
	else
	{
		m = nn_model_read(arena, first, n_first, crc32c, 0, err);
		second = m ? example_bytes(arena, m, &n_second, err) : NULL;
		if (second == NULL || n_first != n_second ||
			memcmp(first, second, n_first) != 0)
			check(false, "not the same when written again: %s", err->message);
		else
			predict(arena, m, err);
	}
	nn_arena_destroy(arena);
	return true;
}

int
main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 20000, readable = 0;
	nn_error err;

	key = nn_random_key(argc > 2 ? strtoull(argv[2], NULL, 10) : 1,
						NN_STREAM_SAMPLE, 0);
	for (int i = 0; i < EXAMPLES; i++)
	{
		nn_arena *arena = nn_arena_create(&check_heap, &err);
		nn_model *m = example_model(arena, &examples[i], &err);
		size_t size = 0;
		unsigned char *at = example_bytes(arena, m, &size, &err);

		memcpy(seeds[i].at, at, size);
		seeds[i].n = size;
		nn_arena_destroy(arena);
		check(try_bytes(&seeds[i], &err), "model %d as it is", i);
	}
	for (int i = 0; i < n; i++)
	{
		work = seeds[draw(EXAMPLES)];
		mutate(&work);
		readable += try_bytes(&work, &err);
	}
	check(readable > n / 100 && readable < n / 2,
		  "%d damaged models, %d still readable", n, readable);
	return check_failed;
}
