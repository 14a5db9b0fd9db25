/*
 * dictionary.c
 *	  Texts and their numbers.
 *
 * A table of open addressing over an array of entries in order of arrival.
 * Both double when full; the old arrays stay in the arena, which at most
 * doubles the memory.
 *
 * The hash is SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast
 * short-input PRF", 2012) with a fixed key: texts that collide can then only
 * be found by search, so neither table contents nor a hostile model can make
 * the table slow by construction.  It is never stored, so its byte order does
 * not matter.
 */
#include "encode.h"

#include <string.h>

typedef struct entry
{
	const char *text;
	int32_t len;
	uint32_t hash;
} entry;

struct nn_dictionary
{
	nn_arena *arena;
	int32_t count, room;
	entry *entries;
	uint32_t mask;	/* size of the table - 1, a power of two */
	int32_t *table; /* number of an entry + 1, or 0 */
	/* where texts are copied to, so that short ones are not rounded up */
	char *chunk;
	size_t chunk_left;
};

#define FIRST_ROOM 64
#define CHUNK_SIZE 8192

static inline uint64_t
rotate(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static inline void
sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32) + v[3];
	v[2] += v[1];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[2] = rotate(v[2], 32);
}

static uint32_t
hash_text(const char *text, size_t len)
{
	uint64_t v[4] = {0x736f6d6570736575, 0x646f72616e646f6d, 0x6c7967656e657261,
					 0x7465646279746573};
	uint64_t last = (uint64_t) len << 56;
	size_t whole = len & ~(size_t) 7;

	for (size_t i = 0; i < whole; i += 8)
	{
		uint64_t word;

		memcpy(&word, text + i, 8);
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	for (size_t i = whole; i < len; i++)
		last |= (uint64_t) (unsigned char) text[i] << (8 * (i - whole));
	v[3] ^= last;
	sip_round(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return (uint32_t) (v[0] ^ v[1] ^ v[2] ^ v[3]);
}

/* The length of a text once cut to NN_MAX_TEXT_LENGTH before a character. */
static int
cut_length(const char *text, int len)
{
	if (len <= NN_MAX_TEXT_LENGTH)
		return len;
	len = NN_MAX_TEXT_LENGTH;
	while (len > 0 && ((unsigned char) text[len] & 0xC0) == 0x80)
		len--;
	return len;
}

nn_dictionary *
nn_dictionary_create(nn_arena *arena, nn_error *err)
{
	nn_dictionary *d = nn_alloc(arena, sizeof(*d), err);

	if (d == NULL)
		return NULL;
	d->arena = arena;
	d->room = FIRST_ROOM;
	d->mask = 2 * FIRST_ROOM - 1;
	d->entries = nn_alloc_array(arena, FIRST_ROOM, sizeof(entry), err);
	d->table = nn_alloc_array(arena, 2 * FIRST_ROOM, sizeof(int32_t), err);
	if (d->entries == NULL || d->table == NULL)
		return NULL;
	return d;
}

int
nn_dictionary_count(const nn_dictionary *d)
{
	return d->count;
}

/* The place in the table where a text is, or where it belongs. */
static uint32_t
place_of(const nn_dictionary *d, const char *text, int len, uint32_t hash)
{
	uint32_t at = hash & d->mask;

	while (d->table[at] != 0)
	{
		const entry *e = &d->entries[d->table[at] - 1];

		if (e->hash == hash && e->len == len && memcmp(e->text, text, len) == 0)
			break;
		at = (at + 1) & d->mask;
	}
	return at;
}

int32_t
nn_dictionary_find(const nn_dictionary *d, const char *text, int len)
{
	int32_t found;

	len = cut_length(text, len);
	found = d->table[place_of(d, text, len, hash_text(text, len))];
	return found > 0 ? found - 1 : NN_TEXT_UNKNOWN;
}

/* Twice the room.  Nothing changes when memory is out. */
static bool
grow(nn_dictionary *d, nn_error *err)
{
	int32_t room = 2 * d->room;
	uint32_t mask = 2 * (uint32_t) room - 1;
	entry *entries = nn_alloc_array(d->arena, room, sizeof(entry), err);
	int32_t *table;

	if (entries == NULL)
		return false;
	table = nn_alloc_array(d->arena, 2 * (size_t) room, sizeof(int32_t), err);
	if (table == NULL)
		return false;
	memcpy(entries, d->entries, d->count * sizeof(entry));
	for (int32_t i = 0; i < d->count; i++)
	{
		uint32_t at = entries[i].hash & mask;

		while (table[at] != 0)
			at = (at + 1) & mask;
		table[at] = i + 1;
	}
	d->room = room;
	d->mask = mask;
	d->entries = entries;
	d->table = table;
	return true;
}

static const char *
keep_text(nn_dictionary *d, const char *text, size_t len, nn_error *err)
{
	char *copy;

	if (d->chunk == NULL || d->chunk_left < len)
	{
		d->chunk_left = 0;
		d->chunk = nn_alloc(d->arena, CHUNK_SIZE, err);
		if (d->chunk == NULL)
			return NULL;
		d->chunk_left = CHUNK_SIZE;
	}
	copy = d->chunk;
	memcpy(copy, text, len);
	d->chunk += len;
	d->chunk_left -= len;
	return copy;
}

int32_t
nn_dictionary_add(nn_dictionary *d, const char *text, int len, nn_error *err)
{
	uint32_t hash, at;
	const char *copy;

	len = cut_length(text, len);
	hash = hash_text(text, len);
	at = place_of(d, text, len, hash);
	if (d->table[at] != 0)
		return d->table[at] - 1;
	if (d->count >= NN_MAX_CATEGORIES)
		return NN_TEXT_UNKNOWN;
	if (d->count == d->room)
	{
		if (!grow(d, err))
			return NN_TEXT_UNKNOWN - 1;
		at = place_of(d, text, len, hash);
	}
	copy = keep_text(d, text, len, err);
	if (copy == NULL)
		return NN_TEXT_UNKNOWN - 1;
	d->entries[d->count].text = copy;
	d->entries[d->count].len = len;
	d->entries[d->count].hash = hash;
	d->table[at] = ++d->count;
	return d->count - 1;
}

const char *
nn_dictionary_text(const nn_dictionary *d, int32_t number, int *len)
{
	*len = d->entries[number].len;
	return d->entries[number].text;
}
