/*
 * json.h
 *	  Writing jsonb, piece by piece, and looking into it.
 */
#ifndef NEURAL_JSON_H
#define NEURAL_JSON_H

#include "postgres.h"

#include "utils/jsonb.h"

typedef JsonbParseState *NeuralJson;

extern void neural_json_begin(NeuralJson *j, bool array);
extern Jsonb *neural_json_end(NeuralJson *j, bool array);

/* Texts are in the encoding of the database. */
extern void neural_json_key(NeuralJson *j, const char *key);
extern void neural_json_text(NeuralJson *j, const char *value); /* or NULL */
extern void neural_json_number(NeuralJson *j, double value);	/* not finite:
															  * null */
extern void neural_json_int(NeuralJson *j, int64 value);
extern void neural_json_bool(NeuralJson *j, bool value);
extern void neural_json_jsonb(NeuralJson *j, Jsonb *value);

/* A value of an object; NULL where there is none. */
extern JsonbValue *neural_json_member(const Jsonb *object, const char *key);

#endif /* NEURAL_JSON_H */
