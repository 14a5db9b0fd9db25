/*
 * publish.h
 *	  Writing versions into model tables.
 */
#ifndef NEURAL_PUBLISH_H
#define NEURAL_PUBLISH_H

#include "neural.h"
#include "utils/jsonb.h"

typedef enum NeuralActivate
{
	NEURAL_ACTIVATE_BETTER, /* when its score is not worse than the active's */
	NEURAL_ACTIVATE_ALWAYS,
	NEURAL_ACTIVATE_NEVER
} NeuralActivate;

typedef struct NeuralVersion
{
	Datum model;		/* neural.model */
	Jsonb *training;	/* how: query, target, options, seed, rows, ... */
	Jsonb *metrics;		/* {"metric": "accuracy", "value": 0.9, ...} */
	Jsonb *history;		/* array of one object per epoch, or NULL */
	const char *note;	/* or NULL */
	const char *metric; /* by which it is compared, or NULL */
	double value;		/* its score; NaN: unknown */
	bool maximize;
	int rival; /* 0, or the version that has the score rival_value where the */
	double rival_value; /* new one has value; NaN: it could not be judged */
} NeuralVersion;

/*
 * Resolve the text of a model's name.  *relid is InvalidOid when there is no
 * such relation yet: then the caller may create in that schema, or it is an
 * error, as it is when the name is taken by something that is no model.
 */
extern void neural_model_name(const char *name, Oid *relid, const char **schema,
							  const char **table);

/*
 * Add a version, creating the table as the caller if need be: where *relid,
 * which is then set, is InvalidOid.  Returns the version's number and whether
 * it was made the active one.
 */
extern int neural_publish(const char *schema, const char *table,
						  const NeuralVersion *v, NeuralActivate activate,
						  bool *active, Oid *relid);

#endif /* NEURAL_PUBLISH_H */
