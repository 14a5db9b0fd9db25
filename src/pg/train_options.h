/*
 * train_options.h
 *	  What a training was asked for: the arguments of neural.train and its
 *	  options, in one struct.
 *
 * All of them can be given as keys of one jsonb object as well, which is how
 * neural.fit takes them.
 */
#ifndef NEURAL_TRAIN_OPTIONS_H
#define NEURAL_TRAIN_OPTIONS_H

#include "neural.h"

#include "nodes/pg_list.h"
#include "publish.h"
#include "utils/jsonb.h"

/* "columns": {name: {...}} */
typedef struct NeuralColumnOption
{
	const char *name;
	const char *encode; /* or NULL */
	List *settings;		/* of NeuralSetting *, for the encoder */
	int length;			/* product of the shape, or 0 */
	bool used;
} NeuralColumnOption;

typedef struct NeuralSetting
{
	const char *key;
	const char *value;
} NeuralSetting;

typedef struct NeuralClassWeight
{
	const char *label;
	double weight;
	bool used;
} NeuralClassWeight;

/* A number that was not given is NaN, a switch -1, a count 0, a text NULL. */
typedef struct NeuralTrainOptions
{
	/* arguments */
	List *targets;	/* of char * */
	List *features; /* of char *; NIL: all */
	const char *task;
	const char *layers;
	const char *loss;
	const char *optimizer;
	double learning_rate;
	int epochs;
	int batch_size;
	const char *validation;
	int64 seed;
	bool seed_given;
	const char *device;
	const char *precision; /* of a GPU's products */

	/* options */
	List *columns; /* of NeuralColumnOption * */
	List *exclude, *keep_features;
	const char *schedule;
	double l1, l2;
	double weight_decay, clipnorm, clipvalue, global_clipnorm;
	bool early_stopping;
	int patience;
	double min_delta;
	const char *monitor;
	bool balanced;
	List *class_weights; /* of NeuralClassWeight * */
	const char *sample_weight;
	double label_smoothing;
	const char *activate;
	const char *time_zone;
	int threads;
	double max_seconds;
	const char *metric;
	int restore_best, shuffle, target_scale, clamp, date_differences;
	const char *note;

	/* as they were given, for training again */
	Jsonb *object;
	const char *arguments; /* JSON */
} NeuralTrainOptions;

/* All at their defaults. */
extern void neural_train_options_init(NeuralTrainOptions *o);

/* Read an object of options; arguments given already must not be in it. */
extern void neural_train_options_read(NeuralTrainOptions *o, Jsonb *object);

/* Range checks, of arguments as well. */
extern void neural_train_options_check(const NeuralTrainOptions *o);

extern NeuralActivate neural_train_activate(const NeuralTrainOptions *o);

extern NeuralColumnOption *neural_column_option(const NeuralTrainOptions *o,
												const char *column);

/* Whether a list of char * has the name. */
extern bool neural_list_has(List *names, const char *name);

#endif /* NEURAL_TRAIN_OPTIONS_H */
