/*
 * model_value.h
 *	  The type neural.model, and loaded models.
 *
 * A value is the engine's bytes (docs/model-format.md) behind a varlena
 * header.  Every way in (input, receive, import) checks it wholly and
 * recomputes the digest, so a value cannot carry a forged one, and the digest
 * may serve as the key of caches.
 */
#ifndef NEURAL_MODEL_VALUE_H
#define NEURAL_MODEL_VALUE_H

#include "storage/block.h"

#include "neural.h"

#include "../nn/model.h"

/* A new value from a model, with its digest, in the current context. */
extern Datum neural_model_datum(const nn_model *m);

/* The same from bytes that came from outside: everything is checked. */
extern Datum neural_model_import(const void *bytes, Size n);

/* ERRCODE_DATA_CORRUPTED unless these are the bytes that were written. */
extern void neural_model_check(const void *bytes, Size n);

/*
 * What loading n bytes may take: every number of the file has a place in
 * memory, and a layer of a few bytes of text is a struct of some kilobytes.
 */
#define NEURAL_LOAD_LIMIT(n) (4 * (Size) (n) + 16 * 1024 * 1024)

/*
 * A loaded model, ready to predict.  Lives in the backend's cache, keyed by
 * digest, until pushed out by others; pinned while in use by a context, so
 * that a query's models never vanish under it.
 */
typedef struct NeuralLoadedModel
{
	uint8 digest[NN_MODEL_DIGEST_SIZE];
	MemoryContext context;
	nn_model *model;
	nn_predictor *predictor;
	int max_rows; /* of one call of nn_predict without splitting inside */
	Size size;
	int pins;
	struct NeuralRowShape *shapes; /* rows it has read (predict_state.c) */
	struct NeuralDeviceModel *device; /* predict_device.c */
} NeuralLoadedModel;

/*
 * Which row a value comes from, and where it is stored outside of the row.  As
 * long as all of this is the same, so is the value: a place is used again for a
 * row of another transaction only, and one transaction's values are told apart
 * by where they are stored.  toast_value 0: stored in the row; says nothing.
 */
typedef struct NeuralModelPlace
{
	Oid relid;
	TransactionId xmin;
	BlockNumber block;
	uint32 offset;
	Oid toast_relid, toast_value;
} NeuralModelPlace;

/*
 * The digest that a value carries; false when it is too short for one.  Of a
 * place (NULL: it has none) that was met before nothing is read.
 */
extern bool neural_model_digest(Datum value, const NeuralModelPlace *place,
								uint8 *digest);

/* Load (or find) the model of a value; pinned until pin_context is reset. */
extern NeuralLoadedModel *neural_model_load(Datum value,
											MemoryContext pin_context);

/* The same of a value whose place is known. */
extern NeuralLoadedModel *neural_model_load_at(Datum value,
											   const NeuralModelPlace *place,
											   MemoryContext pin_context);

/* Pin it for one more user. */
extern void neural_model_pin(NeuralLoadedModel *model,
							 MemoryContext pin_context);

/*
 * Keep a model's name and columns as they are to the end of the transaction.
 * Only those who may read something of it may lock it.
 */
extern void neural_model_lock(Oid relid);

/*
 * In REPEATABLE READ and above, fail (40001) when another transaction has
 * changed versions since the snapshot was taken: its number, or its being the
 * active one, would collide with what this one writes.  Called when the table is
 * locked against other publishers.
 */
extern void neural_model_check_snapshot(Oid relid);

/*
 * The value of a version of a model table (version 0: the active one), read
 * with the caller's rights: SELECT on the table or on its column "version" is
 * needed, row security applies.  Errors: not a model table, no such version,
 * no active version (each with a HINT).
 */
extern Datum neural_model_fetch(Oid relid, int version, int *found_version);

/* The same, and where it is stored. */
extern Datum neural_model_find(Oid relid, int version, int *found_version,
							   NeuralModelPlace *place);

/* The same with SELECT on the column "model", for those who want its bytes. */
extern Datum neural_model_select(Oid relid, int version);

/* Both in one, by version of the table. */
extern NeuralLoadedModel *neural_model_open(Oid relid, int version,
											MemoryContext pin_context);

/*
 * The argument of an SQL function that says which version: 0, the active one,
 * when it is NULL or arg is negative.
 */
extern int neural_version_arg(FunctionCallInfo fcinfo, int arg);

/* Whether it is a table OF neural.model_table, and ERRCODE_WRONG_OBJECT_TYPE
 * unless it is one. */
extern bool neural_is_model_table(Oid relid);
extern void neural_check_model_table(Oid relid);

#endif /* NEURAL_MODEL_VALUE_H */
