/*
 * format.c
 *	  Models as bytes: the primitives.
 *
 * Numbers are put together from bytes, so the host's byte order never shows.
 * Blocks of floats are copied whole where it is the stored one.
 */
#include "format.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#define FIRST_SIZE	   1024
#define SECTION_HEADER 16 /* tag, checksum, length */

bool
nn_writer_reserve(nn_writer *w, size_t n, nn_error *err)
{
	size_t size = w->size < FIRST_SIZE ? FIRST_SIZE : w->size;
	unsigned char *bytes;

	if (n <= w->size - w->used)
		return true;
	if (n > SIZE_MAX / 4 || w->used > SIZE_MAX / 4)
		return nn_fail(err, NN_LIMIT, "model is too large");
	while (size < w->used + n)
		size *= 2;
	/* a large demand is met exactly: doubling is for many small ones */
	if (n > w->used)
		size = w->used + n < FIRST_SIZE ? FIRST_SIZE : w->used + n;
	bytes = nn_alloc(w->arena, size, err);
	if (bytes == NULL)
		return false;
	if (w->used > 0)
		memcpy(bytes, w->bytes, w->used);
	w->bytes = bytes;
	w->size = size;
	return true;
}

bool
nn_write(nn_writer *w, const void *bytes, size_t n, nn_error *err)
{
	if (n > w->size - w->used && !nn_writer_reserve(w, n, err))
		return false;
	if (n > 0)
		memcpy(w->bytes + w->used, bytes, n);
	w->used += n;
	return true;
}

static void
put_number(unsigned char *at, uint64_t v, int bytes)
{
	for (int i = 0; i < bytes; i++)
		at[i] = (unsigned char) (v >> (8 * i));
}

static uint64_t
get_number(const unsigned char *at, int bytes)
{
	uint64_t v = 0;

	for (int i = 0; i < bytes; i++)
		v |= (uint64_t) at[i] << (8 * i);
	return v;
}

bool
nn_write_u8(nn_writer *w, uint8_t v, nn_error *err)
{
	return nn_write(w, &v, 1, err);
}

bool
nn_write_u32(nn_writer *w, uint32_t v, nn_error *err)
{
	unsigned char bytes[4];

	put_number(bytes, v, 4);
	return nn_write(w, bytes, 4, err);
}

bool
nn_write_u64(nn_writer *w, uint64_t v, nn_error *err)
{
	unsigned char bytes[8];

	put_number(bytes, v, 8);
	return nn_write(w, bytes, 8, err);
}

bool
nn_write_f64(nn_writer *w, double v, nn_error *err)
{
	uint64_t bits;

	memcpy(&bits, &v, 8);
	return nn_write_u64(w, bits, err);
}

/*
 * Whether a text is UTF-8 without zero bytes: what PostgreSQL takes as text.
 * Overlong forms, surrogates and numbers past U+10FFFF are not (RFC 3629).
 */
static bool
valid_text(const unsigned char *s, size_t len)
{
	size_t i = 0;

	while (i < len)
	{
		unsigned char c = s[i];
		unsigned char lo = 0x80, hi = 0xBF; /* of the second byte */
		size_t more;

		if (c == 0)
			return false;
		if (c < 0x80)
		{
			i++;
			continue;
		}
		if (c >= 0xC2 && c <= 0xDF)
			more = 1;
		else if (c >= 0xE0 && c <= 0xEF)
			more = 2;
		else if (c >= 0xF0 && c <= 0xF4)
			more = 3;
		else
			return false;
		if (len - i <= more)
			return false;
		if (c == 0xE0)
			lo = 0xA0;
		else if (c == 0xED)
			hi = 0x9F;
		else if (c == 0xF0)
			lo = 0x90;
		else if (c == 0xF4)
			hi = 0x8F;
		if (s[i + 1] < lo || s[i + 1] > hi)
			return false;
		for (size_t j = 2; j <= more; j++)
			if ((s[i + j] & 0xC0) != 0x80)
				return false;
		i += more + 1;
	}
	return true;
}

/* What could not be read again is refused when it is written. */
bool
nn_write_text(nn_writer *w, const char *s, size_t len, nn_error *err)
{
	if (len > INT_MAX)
		return nn_fail(err, NN_LIMIT, "text is too long to be stored");
	if (!valid_text((const unsigned char *) s, len))
		return nn_fail(err, NN_DATA, "text is not valid UTF-8");
	return nn_write_u32(w, (uint32_t) len, err) && nn_write(w, s, len, err);
}

bool
nn_write_floats(nn_writer *w, const float *v, size_t n, nn_error *err)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return nn_write(w, v, n * sizeof(float), err);
#else
	for (size_t i = 0; i < n; i++)
	{
		uint32_t bits;

		memcpy(&bits, &v[i], 4);
		if (!nn_write_u32(w, bits, err))
			return false;
	}
	return true;
#endif
}

bool
nn_write_reals(nn_writer *w, const nn_real *v, size_t n, nn_error *err)
{
#ifdef NN_REAL_IS_DOUBLE
	for (size_t i = 0; i < n; i++)
	{
		float narrow = (float) v[i];

		if (!nn_write_floats(w, &narrow, 1, err))
			return false;
	}
	return true;
#else
	return nn_write_floats(w, v, n, err);
#endif
}

bool
nn_section_begin(nn_writer *w, const char tag[4], size_t *mark, nn_error *err)
{
	static const unsigned char blank[SECTION_HEADER - 4];

	*mark = w->used;
	return nn_write(w, tag, 4, err) && nn_write(w, blank, sizeof(blank), err);
}

bool
nn_section_end(nn_writer *w, size_t mark, nn_error *err)
{
	unsigned char *header = w->bytes + mark;
	size_t length = w->used - mark - SECTION_HEADER;

	(void) err;
	put_number(header + 4, w->crc32c(header + SECTION_HEADER, length), 4);
	put_number(header + 8, length, 8);
	return true;
}

static bool
truncated(const nn_reader *r, nn_error *err)
{
	return nn_fail(err, NN_CORRUPT, "model is damaged: %s ends too early",
				   r->what);
}

bool
nn_read(nn_reader *r, void *bytes, size_t n, nn_error *err)
{
	if (n > r->left)
		return truncated(r, err);
	if (n > 0)
		memcpy(bytes, r->bytes, n);
	r->bytes += n;
	r->left -= n;
	return true;
}

bool
nn_read_u8(nn_reader *r, uint8_t *v, nn_error *err)
{
	return nn_read(r, v, 1, err);
}

bool
nn_read_u32(nn_reader *r, uint32_t *v, nn_error *err)
{
	unsigned char bytes[4];

	if (!nn_read(r, bytes, 4, err))
		return false;
	*v = (uint32_t) get_number(bytes, 4);
	return true;
}

bool
nn_read_u64(nn_reader *r, uint64_t *v, nn_error *err)
{
	unsigned char bytes[8];

	if (!nn_read(r, bytes, 8, err))
		return false;
	*v = get_number(bytes, 8);
	return true;
}

bool
nn_read_f64(nn_reader *r, double *v, nn_error *err)
{
	uint64_t bits;

	if (!nn_read_u64(r, &bits, err))
		return false;
	memcpy(v, &bits, 8);
	return true;
}

bool
nn_read_text_in_place(nn_reader *r, const char **s, int *len, nn_error *err)
{
	uint32_t n;

	if (!nn_read_count(r, INT_MAX, 1, &n, err))
		return false;
	if (!valid_text(r->bytes, n))
		return nn_fail(err, NN_CORRUPT,
					   "model is damaged: text in %s is not valid UTF-8",
					   r->what);
	*s = (const char *) r->bytes;
	*len = (int) n;
	r->bytes += n;
	r->left -= n;
	return true;
}

bool
nn_read_text(nn_reader *r, nn_arena *arena, const char **s, int *len,
			 nn_error *err)
{
	const char *text = NULL;
	int n = 0;

	if (!nn_read_text_in_place(r, &text, &n, err))
		return false;
	*s = nn_strndup(arena, text, n, err);
	if (len != NULL)
		*len = n;
	return *s != NULL;
}

bool
nn_read_count(nn_reader *r, uint32_t limit, size_t item, uint32_t *v,
			  nn_error *err)
{
	if (!nn_read_u32(r, v, err))
		return false;
	if (*v > limit)
		return nn_fail(err, NN_CORRUPT,
					   "model is damaged: count %u in %s is more than %u", *v,
					   r->what, limit);
	if (item > 0 && *v > r->left / item)
		return truncated(r, err);
	return true;
}

static bool
not_finite(const nn_reader *r, nn_error *err)
{
	return nn_fail(err, NN_CORRUPT,
				   "model is damaged: number in %s is not finite", r->what);
}

bool
nn_read_floats(nn_reader *r, float *v, size_t n, nn_error *err)
{
	uint32_t bad = 0;

	if (n > r->left / sizeof(float))
		return truncated(r, err);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	if (!nn_read(r, v, n * sizeof(float), err))
		return false;
#else
	for (size_t i = 0; i < n; i++)
	{
		uint32_t bits;

		if (!nn_read_u32(r, &bits, err))
			return false;
		memcpy(&v[i], &bits, 4);
	}
#endif
	for (size_t i = 0; i < n; i++)
	{
		uint32_t bits;

		memcpy(&bits, &v[i], 4);
		bad |= (bits & 0x7f800000) == 0x7f800000;
	}
	return bad == 0 || not_finite(r, err);
}

bool
nn_read_reals(nn_reader *r, nn_real *v, size_t n, nn_error *err)
{
#ifdef NN_REAL_IS_DOUBLE
	for (size_t i = 0; i < n; i++)
	{
		float narrow;

		if (!nn_read_floats(r, &narrow, 1, err))
			return false;
		v[i] = narrow;
	}
	return true;
#else
	return nn_read_floats(r, v, n, err);
#endif
}

bool
nn_read_section(nn_reader *r, char tag[4], nn_reader *content, nn_error *err)
{
	uint32_t stored;
	uint64_t length;

	err->code = NN_OK;
	if (r->left == 0)
		return false;
	if (!nn_read(r, tag, 4, err) || !nn_read_u32(r, &stored, err) ||
		!nn_read_u64(r, &length, err))
		return false;
	if (length > r->left)
		return truncated(r, err);
	*content = *r;
	content->left = (size_t) length;
	r->bytes += length;
	r->left -= (size_t) length;
	if (r->crc32c != NULL && r->crc32c(content->bytes, content->left) != stored)
		return nn_fail(err, NN_CORRUPT,
					   "model is damaged: checksum of a section is wrong");
	return true;
}
