/*
 * request.h
 *	  Trainings that were asked for, as jsonb: kept with a version to be
 *	  repeated, or with a job to be done later.
 *
 * Arguments and options are objects with the keys of NeuralTrainOptions.
 */
#ifndef NEURAL_REQUEST_H
#define NEURAL_REQUEST_H

#include "neural.h"

#include "train_options.h"
#include "utils/jsonb.h"

/* Members of an object; NULL where there is none of that kind. */
extern Jsonb *neural_member_object(const Jsonb *object, const char *name);
extern char *neural_member_text(const Jsonb *object, const char *name);

/* One object out of two, of which b wins; either may be NULL. */
extern Jsonb *neural_json_concat(Jsonb *a, Jsonb *b);

/* The object without a key. */
extern Jsonb *neural_json_without(Jsonb *object, const char *name);

/*
 * Options read from arguments, options, and what is to hold for this time
 * only, which wins.  As what was asked for they keep the first two.
 */
extern NeuralTrainOptions *
neural_request_options(Jsonb *arguments, Jsonb *options, Jsonb *this_time);

/* An object as text. */
extern char *neural_json_text_of(Jsonb *object);

#endif /* NEURAL_REQUEST_H */
