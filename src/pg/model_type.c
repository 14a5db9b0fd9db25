/*
 * model_type.c
 *	  The type neural.model: its text and binary forms.
 *
 * Text is "nn1:" and base64; binary is the engine's bytes as they are.  Both
 * ways in go through neural_model_import, which believes nothing: the digest
 * is recomputed and the whole model is built once, under a memory limit, and
 * thrown away.  So whatever is stored is known to load.
 */
#include "postgres.h"

#include "common/base64.h"
#include "common/cryptohash.h"
#include "libpq/pqformat.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "model_value.h"

#define PREFIX	   "nn1:"
#define PREFIX_LEN 4

/* The digest of a model's bytes, by PostgreSQL's own SHA-256. */
static void
compute_digest(const uint8 *bytes, Size n, uint8 *digest)
{
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(PG_SHA256);

	if (ctx == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	if (pg_cryptohash_init(ctx) < 0 ||
		pg_cryptohash_update(ctx, bytes + NN_MODEL_DIGEST_FROM,
							 n - NN_MODEL_DIGEST_FROM) < 0 ||
		pg_cryptohash_final(ctx, digest, NN_MODEL_DIGEST_SIZE) < 0)
	{
		const char *why = pstrdup(pg_cryptohash_error(ctx));

		/* OpenSSL does not say that it was memory, but what else can it be? */
		pg_cryptohash_free(ctx);
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not compute SHA-256 of a model: %s", why)));
	}
	pg_cryptohash_free(ctx);
}

static void
check_size(Size n)
{
	char have[32], limit[32];

	if (n <= (Size) neural_max_model_size * 1024)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("model is too large"),
			 errdetail("It has %s; neural.max_model_size is %s.",
					   neural_size_text(n, have, sizeof(have)),
					   neural_size_text((Size) neural_max_model_size * 1024,
										limit, sizeof(limit)))));
}

static Datum
value_from_bytes(const void *bytes, Size n)
{
	struct varlena *value = palloc(VARHDRSZ + n);

	SET_VARSIZE(value, VARHDRSZ + n);
	memcpy(VARDATA(value), bytes, n);
	return PointerGetDatum(value);
}

Datum
neural_model_datum(const nn_model *m)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "neural model writer", ALLOCSET_DEFAULT_SIZES);
	nn_writer w = {0};
	nn_error err;
	Datum value;

	w.arena = neural_arena(context);
	w.crc32c = neural_crc32c;
	neural_check(nn_model_write(m, &w, &err), &err);
	check_size(w.used);
	compute_digest(w.bytes, w.used, w.bytes + NN_MODEL_DIGEST_AT);
	value = value_from_bytes(w.bytes, w.used);
	MemoryContextDelete(context);
	return value;
}

/*
 * The checksums of sections do not cover what lies between them, where one bit
 * makes a section that must be known into one that may be skipped.
 */
void
neural_model_check(const void *bytes, Size n)
{
	uint8 digest[NN_MODEL_DIGEST_SIZE];
	nn_error err;

	neural_check(nn_model_check_header(bytes, n, &err), &err);
	compute_digest(bytes, n, digest);
	if (memcmp(digest, (const uint8 *) bytes + NN_MODEL_DIGEST_AT,
			   NN_MODEL_DIGEST_SIZE) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED), errmsg("model is damaged"),
				 errdetail("Its SHA-256 is not the one it was written with.")));
}

Datum
neural_model_import(const void *bytes, Size n)
{
	MemoryContext context;
	nn_error err;

	check_size(n);
	neural_model_check(bytes, n);

	context = AllocSetContextCreate(CurrentMemoryContext, "neural model check",
									ALLOCSET_DEFAULT_SIZES);
	neural_check(nn_model_read(neural_arena(context), bytes, n, neural_crc32c,
							   NEURAL_LOAD_LIMIT(n), &err) != NULL,
				 &err);
	MemoryContextDelete(context);
	return value_from_bytes(bytes, n);
}

PG_FUNCTION_INFO_V1(neural_model_in);
Datum
neural_model_in(PG_FUNCTION_ARGS)
{
	const char *text = PG_GETARG_CSTRING(0);
	Size len, room;
	char *bytes;
	int n;
	Datum value;

	if (strncmp(text, PREFIX, PREFIX_LEN) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type %s", "neural.model"),
				 errdetail("The text of a model begins with \"%s\".", PREFIX)));
	text += PREFIX_LEN;
	len = strlen(text);
	check_size(len / 4 * 3);
	room = len / 4 * 3 + 3;
	bytes = palloc(room);
	n = pg_b64_decode(text, len, (void *) bytes, room);
	if (n < 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid input syntax for type %s", "neural.model"),
			 errdetail("What follows \"%s\" is not valid base64.", PREFIX)));
	value = neural_model_import(bytes, n);
	pfree(bytes);
	return value;
}

PG_FUNCTION_INFO_V1(neural_model_out);
Datum
neural_model_out(PG_FUNCTION_ARGS)
{
	struct varlena *value = PG_GETARG_VARLENA_PP(0);
	int room = pg_b64_enc_len(VARSIZE_ANY_EXHDR(value));
	char *text = palloc(PREFIX_LEN + room + 1);
	int n;

	memcpy(text, PREFIX, PREFIX_LEN);
	n = pg_b64_encode((void *) VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value),
					  text + PREFIX_LEN, room);
	if (n < 0)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("could not encode model as base64")));
	text[PREFIX_LEN + n] = '\0';
	PG_RETURN_CSTRING(text);
}

PG_FUNCTION_INFO_V1(neural_model_recv);
Datum
neural_model_recv(PG_FUNCTION_ARGS)
{
	StringInfo buf = (StringInfo) PG_GETARG_POINTER(0);
	int n = buf->len - buf->cursor;

	PG_RETURN_DATUM(neural_model_import(pq_getmsgbytes(buf, n), n));
}

PG_FUNCTION_INFO_V1(neural_model_send);
Datum
neural_model_send(PG_FUNCTION_ARGS)
{
	struct varlena *value = PG_GETARG_VARLENA_PP(0);
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendbytes(&buf, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}
