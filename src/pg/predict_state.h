/*
 * predict_state.h
 *	  What a call of the predict family remembers from row to row.
 *
 * Kept in fn_extra: the model, found once for a snapshot; a reader for the
 * rows' type; and what the function makes of the network's output, prepared
 * once for the model.
 */
#ifndef NEURAL_PREDICT_STATE_H
#define NEURAL_PREDICT_STATE_H

#include "access/htup.h"
#include "storage/lock.h"

#include "cells.h"
#include "model_value.h"

/*
 * Two snapshots of one transaction that agree in all of this see the same
 * rows: between them no other transaction has ended, and this one has written
 * nothing.
 */
typedef struct NeuralMoment
{
	LocalTransactionId lxid;
	CommandId command;
	TransactionId xmin, xmax;
	uint32 xcnt;
	int32 subxcnt;
	Oid user; /* another one may not be allowed the same */
} NeuralMoment;

typedef struct NeuralPredictState NeuralPredictState;

/* A model where a GPU can predict with it. */
typedef struct NeuralDeviceModel NeuralDeviceModel;

/*
 * What a function makes of the network's output.  prepare checks that the
 * model suits it, once for each model; finish turns an output row into the
 * result, and is given the state's label and layer.
 */
typedef struct NeuralFinish
{
	const char *name;
	void (*prepare)(NeuralPredictState *s);
	Datum (*finish)(NeuralPredictState *s, const double *out);
	/* of a layer's output instead of the network's; NULL for most */
	Datum (*finish_layer)(NeuralPredictState *s, const nn_real *out);
} NeuralFinish;

struct NeuralPredictState
{
	MemoryContext context; /* lives as long as the state */

	/* the model, and how it was asked for */
	bool found;
	Oid relid;
	int version;				  /* asked for; 0: the active one */
	int found_version;			  /* 0: of a value */
	Oid toast_relid, toast_value; /* of a value, when it is stored outside */
	NeuralMoment moment;
	Oid checked;				 /* another user who may use the model, too */
	MemoryContext model_context; /* pins the model; reset with it */
	NeuralLoadedModel *loaded;
	const nn_model *model;
	char *record;
	double *out;

	/* where it predicts (predict_device.h); NULL: on the CPU */
	struct NeuralPlacement *placement;
	NeuralDeviceModel *device;

	/* reading rows */
	MemoryContext row_context;
	Oid row_type;
	int32 row_typmod;
	uint64 row_identifier;
	bool used; /* a row was read since its arguments may have changed */
	bool row_unchecked; /* since the last moment */
	TupleDesc desc;
	NeuralRowReader *reader;
	Datum *values;
	bool *nulls;

	/* finishing; memory is of model_context */
	const NeuralFinish *finish;
	Datum *class_text;	  /* labels, as text */
	double *class_number; /* labels, as numbers */
	Oid type;			  /* wanted by predict_as */
	bool type_by_number;  /* the label's number is cast, not its text */
	FmgrInfo type_input;
	Oid type_param;
	Datum *class_value; /* labels in that type, */
	bool *class_known;	/* where met already */
	text *label;		/* wanted by predict_proba(.., label) */
	int class;			/* its number */
	text *layer_name;	/* wanted by embed */
	int layer, layer_width;
};

/* The state of this call site, made at the first call. */
extern NeuralPredictState *neural_predict_state(FunctionCallInfo fcinfo,
												const NeuralFinish *finish);

/* Find the model of a model table (version 0: the active one). */
extern void neural_predict_by_table(NeuralPredictState *s, Oid relid,
									int version);

/* Or that of a value. */
extern void neural_predict_by_value(NeuralPredictState *s, Datum value);

/* Turn a composite, or numbers in order, into s->record. */
extern void neural_predict_read_row(NeuralPredictState *s, Datum row);
/* Or a composite's columns, which are arguments from this one on. */
extern void neural_predict_read_fields(NeuralPredictState *s,
									   FunctionCallInfo fcinfo, int first);
extern void neural_predict_read_array(NeuralPredictState *s, Datum array);

/*
 * A state for batches, from that of a call site whose last call has succeeded:
 * so nothing in it can fail.  Reads rows of the same type with the same model,
 * and finishes with the same label, layer and type.
 */
extern NeuralPredictState *neural_predict_clone(const NeuralPredictState *s,
												MemoryContext context);

/* Whether what the state found is still what a call would find. */
extern bool neural_predict_is_current(const NeuralPredictState *s);

/* That the current user may use the model as well; an error otherwise. */
extern void neural_predict_check_user(NeuralPredictState *s);

/* Whether a value's digest is that of the state's model. */
extern bool neural_predict_is_model(const NeuralPredictState *s, Datum value);

/*
 * Read a composite into a record of one's own, without throwing: false when
 * it is of another type, or cannot be read.
 */
extern bool neural_predict_try_row(NeuralPredictState *s, Datum row,
								   char *record);

/* The same of an array of numbers. */
extern bool neural_predict_try_array(NeuralPredictState *s, Datum array,
									 char *record);

/* Text of a model (UTF-8) in the encoding of the database. */
extern char *neural_server_text(const char *utf8);

#endif /* NEURAL_PREDICT_STATE_H */
