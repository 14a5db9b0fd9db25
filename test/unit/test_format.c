/* builds: float asan */
/*
 * test_format.c
 *	  The primitives of stored models: what is written is read back, and
 *	  nothing else is.
 */
#include "crc32c.h"

#include "check.h"
#include "format.h"

static nn_error err;
static nn_arena *arena;

/* A stream with one of everything, in two sections. */
static bool
write_all(nn_writer *w, nn_error *e)
{
	static const float floats[3] = {1.5f, -0.0f, 1e-40f};
	static const nn_real reals[2] = {3, -1};
	size_t mark;

	return nn_section_begin(w, "ABCD", &mark, e) && nn_write_u8(w, 200, e) &&
		   nn_write_u32(w, 0x01020304, e) &&
		   nn_write_u64(w, 0x0102030405060708, e) && nn_write_f64(w, -0.1, e) &&
		   nn_write_text(w, "gr\xC3\xBC\xC3\x9F", 6, e) &&
		   nn_section_end(w, mark, e) &&
		   nn_section_begin(w, "info", &mark, e) &&
		   nn_write_text(w, "", 0, e) && nn_write_floats(w, floats, 3, e) &&
		   nn_write_reals(w, reals, 2, e) && nn_section_end(w, mark, e);
}

/* Read it back; whether all was as written. */
static bool
read_all(nn_reader *r, nn_error *e)
{
	nn_reader c;
	char tag[4];
	uint8_t u8;
	uint32_t u32;
	uint64_t u64;
	double f64;
	const char *text, *empty;
	int len, none;
	float floats[3];
	nn_real reals[2];

	if (!nn_read_section(r, tag, &c, e) || memcmp(tag, "ABCD", 4) != 0 ||
		!nn_read_u8(&c, &u8, e) || !nn_read_u32(&c, &u32, e) ||
		!nn_read_u64(&c, &u64, e) || !nn_read_f64(&c, &f64, e) ||
		!nn_read_text(&c, arena, &text, &len, e) || c.left != 0)
		return false;
	if (!nn_read_section(r, tag, &c, e) || memcmp(tag, "info", 4) != 0 ||
		!nn_read_text(&c, arena, &empty, &none, e) ||
		!nn_read_floats(&c, floats, 3, e) || !nn_read_reals(&c, reals, 2, e) ||
		c.left != 0 || nn_read_section(r, tag, &c, e) || e->code != NN_OK)
		return false;
	return u8 == 200 && u32 == 0x01020304 && u64 == 0x0102030405060708 &&
		   f64 == -0.1 && len == 6 && strcmp(text, "gr\xC3\xBC\xC3\x9F") == 0 &&
		   none == 0 && empty[0] == '\0' && floats[0] == 1.5f &&
		   floats[1] == 0 && signbit(floats[1]) && floats[2] == 1e-40f &&
		   reals[0] == 3 && reals[1] == -1;
}

/* Copies are exactly as long as what is read, so that ASan sees a step out. */
static bool
read_copy(const unsigned char *bytes, size_t n, nn_crc32c crc, nn_error *e)
{
	unsigned char *copy = malloc(n + (n == 0));
	nn_reader r = {.bytes = copy, .left = n, .crc32c = crc, .what = "a test"};
	bool ok;

	memcpy(copy, bytes, n);
	memset(e, 0, sizeof(*e));
	ok = read_all(&r, e);
	free(copy);
	return ok;
}

static void
test_round_trip(void)
{
	/* the first section by hand: tag, checksum, length, 31 bytes */
	static const unsigned char start[] = {
		'A', 'B', 'C', 'D', 0, 0, 0, 0, 31, 0, 0, 0, 0, 0, 0,
		0,	 200, 4,   3,	2, 1, 8, 7, 6,	5, 4, 3, 2, 1};
	nn_writer w = {.arena = arena, .crc32c = crc32c};
	unsigned char copy[sizeof(start)];
	int bad = 0, cut = 0;

	check(crc32c("123456789", 9) == 0xE3069283, "the checksum is CRC-32C");
	check(write_all(&w, &err), "writing");
	memcpy(copy, w.bytes, sizeof(copy));
	memset(copy + 4, 0, 4);
	check(memcmp(copy, start, sizeof(start)) == 0,
		  "bytes are little-endian and where they should be");
	check(read_copy(w.bytes, w.used, crc32c, &err), "reading: %s", err.message);
	for (size_t n = 0; n < w.used; n++)
		for (int with = 0; with < 2; with++)
			if (read_copy(w.bytes, n, with ? crc32c : NULL, &err))
				cut++;
	check(cut == 0, "cut off anywhere it is refused");
	for (size_t i = 0; i < w.used; i++)
		for (int bit = 0; bit < 8; bit++)
		{
			w.bytes[i] ^= 1 << bit;
			bad += read_copy(w.bytes, w.used, crc32c, &err);
			read_copy(w.bytes, w.used, NULL, &err);
			w.bytes[i] ^= 1 << bit;
		}
	/* a tag is not in its checksum, but no other tag is taken for it */
	check(bad == 0, "any changed bit is noticed: %d are not", bad);
}

static void
test_text(void)
{
	static const char *const good[] = {"",
									   "a",
									   "\x7F",
									   "\xC2\x80",
									   "\xDF\xBF",
									   "\xE0\xA0\x80",
									   "\xED\x9F\xBF",
									   "\xEE\x80\x80",
									   "\xEF\xBF\xBF",
									   "\xF0\x90\x80\x80",
									   "\xF4\x8F\xBF\xBF"};
	static const char *const bad[] = {"\x80",
									  "\xBF",
									  "\xC0\x80",
									  "\xC1\xBF",
									  "\xC2",
									  "\xC2z",
									  "\xE0\x9F\xBF",
									  "\xE0\xA0",
									  "\xED\xA0\x80",
									  "\xED\xBF\xBF",
									  "\xF0\x8F\xBF\xBF",
									  "\xF0\x90\x80",
									  "\xF4\x90\x80\x80",
									  "\xF5\x80\x80\x80",
									  "\xFF",
									  "a\xE2\x82z"};
	nn_writer w = {.arena = arena, .crc32c = crc32c};
	int wrong = 0;

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		wrong += !nn_write_text(&w, good[i], strlen(good[i]), &err);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
	{
		nn_reader r = {.what = "a test"};
		const char *text;
		int len;

		wrong += nn_write_text(&w, bad[i], strlen(bad[i]), &err);
		wrong += err.code != NN_DATA;
		/* the same from outside */
		w.used = 0;
		nn_write_u32(&w, (uint32_t) strlen(bad[i]), &err);
		nn_write(&w, bad[i], strlen(bad[i]), &err);
		r.bytes = w.bytes;
		r.left = w.used;
		wrong += nn_read_text(&r, arena, &text, &len, &err);
		wrong += err.code != NN_CORRUPT;
	}
	check(wrong == 0, "UTF-8 and nothing else is text: %d wrong", wrong);
	check(!nn_write_text(&w, "a\0b", 3, &err), "a zero byte is no text");
}

static void
test_limits(void)
{
	static const float inf[2] = {1, INFINITY}, nan[2] = {NAN, 1};
	nn_writer w = {.arena = arena, .crc32c = crc32c};
	nn_reader r = {.what = "a test"};
	uint32_t n;
	float back[2];

	nn_write_u32(&w, 5, &err);
	nn_write(&w, "12345678", 8, &err);
	r.bytes = w.bytes;
	r.left = w.used;
	check(!nn_read_count(&r, 4, 1, &n, &err) && err.code == NN_CORRUPT,
		  "count over its limit: %s", err.message);
	r.bytes = w.bytes;
	r.left = w.used;
	check(!nn_read_count(&r, 100, 2, &n, &err) && err.code == NN_CORRUPT,
		  "count of what is not there: %s", err.message);
	r.bytes = w.bytes;
	r.left = w.used;
	check(nn_read_count(&r, 5, 1, &n, &err) && n == 5, "count that fits");
	for (int i = 0; i < 2; i++)
	{
		w.used = 0;
		nn_write_floats(&w, i == 0 ? inf : nan, 2, &err);
		r.bytes = w.bytes;
		r.left = w.used;
		check(!nn_read_floats(&r, back, 2, &err) && err.code == NN_CORRUPT,
			  "not finite: %s", err.message);
	}
	r.bytes = w.bytes;
	r.left = w.used;
	check(!nn_read_floats(&r, back, SIZE_MAX / 2, &err),
		  "a length whose product overflows: %s", err.message);
	check(!nn_writer_reserve(&w, SIZE_MAX - 4, &err) && err.code == NN_LIMIT,
		  "a model larger than memory: %s", err.message);
}

static void
test_memory(void)
{
	int n = 0, bad = 0;

	for (;; n++)
	{
		nn_arena *a;
		nn_writer w = {.crc32c = crc32c};
		static char block[100000];
		bool ok;

		failing_after = n;
		failing_live = 0;
		memset(&err, 0, sizeof(err));
		a = nn_arena_create(&check_failing, &err);
		w.arena = a;
		ok = a != NULL && write_all(&w, &err) &&
			 nn_write(&w, block, sizeof(block), &err) && write_all(&w, &err);
		nn_arena_destroy(a);
		bad += failing_live != 0 || (!ok && err.code != NN_NOMEM);
		if (ok)
			break;
	}
	check(bad == 0 && n >= 3, "%d allocations may each fail", n);
}

int
main(void)
{
	arena = nn_arena_create(&check_heap, &err);
	test_round_trip();
	test_text();
	test_limits();
	test_memory();
	nn_arena_destroy(arena);
	return check_failed;
}
