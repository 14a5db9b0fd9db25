/*
 * catalog.h
 *	  Models as rows and as text, for those who look at them.
 */
#ifndef NEURAL_CATALOG_H
#define NEURAL_CATALOG_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "model_value.h"

/* May the caller read this column of a model table? */
extern bool neural_may_read(Oid relid, const char *column);

/* "regression", "binary", ... */
extern const char *neural_task_name(nn_task task);

/* What the model itself says of its training; {} when it says nothing. */
extern Jsonb *neural_model_training(const nn_model *m);

/* "number(scale = robust)" */
extern char *neural_encoder_text(nn_arena *scratch, const nn_column *c);

/* "dense(64, activation = relu)" */
extern char *neural_layer_text(nn_arena *scratch, const nn_layer *l);

/* Numbers in a layer's parameters. */
extern int64 neural_layer_parameters(const nn_layer *l);

#endif /* NEURAL_CATALOG_H */
