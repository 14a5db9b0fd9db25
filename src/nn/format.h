/*
 * format.h
 *	  Models as bytes: the primitives.
 *
 * A model is a header and a sequence of sections, each with a tag of four
 * letters, a length and a CRC-32C of its content; numbers are little-endian.
 * A reader that meets a tag it does not know skips it when its first letter is
 * lower case, and refuses the model when it is upper case.  The whole is in
 * docs/model-format.md.
 *
 * Bytes being read are untrusted: every length is compared with what is left
 * before it is used ("need <= left"), counts have limits, and nothing is
 * allocated that is larger than a small multiple of the bytes that ask for it.
 *
 * The checksum function is the caller's (the server has PostgreSQL's; tests
 * bring a plain one), so that the engine needs no second implementation.
 */
#ifndef NN_FORMAT_H
#define NN_FORMAT_H

#include "arena.h"

#define NN_FORMAT_VERSION 1

typedef uint32_t (*nn_crc32c)(const void *bytes, size_t n);

/* Grows in its arena; old buffers are left there. */
typedef struct nn_writer
{
	nn_arena *arena;
	nn_crc32c crc32c;
	unsigned char *bytes;
	size_t used, size;
} nn_writer;

typedef struct nn_reader
{
	const unsigned char *bytes;
	size_t left;
	nn_crc32c crc32c; /* NULL: checksums are not looked at (fuzzing) */
	const char *what; /* names the section, for messages */
} nn_reader;

extern bool nn_write(nn_writer *w, const void *bytes, size_t n, nn_error *err);
extern bool nn_write_u8(nn_writer *w, uint8_t v, nn_error *err);
extern bool nn_write_u32(nn_writer *w, uint32_t v, nn_error *err);
extern bool nn_write_u64(nn_writer *w, uint64_t v, nn_error *err);
extern bool nn_write_f64(nn_writer *w, double v, nn_error *err);
extern bool nn_write_text(nn_writer *w, const char *s, size_t len,
						  nn_error *err);
/* n reals as 32-bit floats */
extern bool nn_write_reals(nn_writer *w, const nn_real *v, size_t n,
						   nn_error *err);
extern bool nn_write_floats(nn_writer *w, const float *v, size_t n,
							nn_error *err);
/* make room for n more bytes at once, where their number is known */
extern bool nn_writer_reserve(nn_writer *w, size_t n, nn_error *err);
extern bool nn_section_begin(nn_writer *w, const char tag[4], size_t *mark,
							 nn_error *err);
extern bool nn_section_end(nn_writer *w, size_t mark, nn_error *err);

extern bool nn_read(nn_reader *r, void *bytes, size_t n, nn_error *err);
extern bool nn_read_u8(nn_reader *r, uint8_t *v, nn_error *err);
extern bool nn_read_u32(nn_reader *r, uint32_t *v, nn_error *err);
extern bool nn_read_u64(nn_reader *r, uint64_t *v, nn_error *err);
extern bool nn_read_f64(nn_reader *r, double *v, nn_error *err);
/* zero-terminated copy; refuses zero bytes and invalid UTF-8 inside */
extern bool nn_read_text(nn_reader *r, nn_arena *arena, const char **s,
						 int *len, nn_error *err);
/* the same without a copy, and without a zero at its end */
extern bool nn_read_text_in_place(nn_reader *r, const char **s, int *len,
								  nn_error *err);
/* a count that must be at most limit, and whose items of at least item bytes
 * must fit in what is left */
extern bool nn_read_count(nn_reader *r, uint32_t limit, size_t item,
						  uint32_t *v, nn_error *err);
/* refuse numbers that are not finite */
extern bool nn_read_reals(nn_reader *r, nn_real *v, size_t n, nn_error *err);
extern bool nn_read_floats(nn_reader *r, float *v, size_t n, nn_error *err);
/* the next section: its tag and a reader over its content; false with
 * err->code NN_OK at the end */
extern bool nn_read_section(nn_reader *r, char tag[4], nn_reader *content,
							nn_error *err);

#endif /* NN_FORMAT_H */
