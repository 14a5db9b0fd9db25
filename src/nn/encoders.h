/*
 * encoders.h
 *	  The encoders, and the helpers that they share.
 */
#ifndef NN_ENCODERS_H
#define NN_ENCODERS_H

#include "encode_scale.h"

extern const nn_encoder_ops nn_encoder_number;
extern const nn_encoder_ops nn_encoder_boolean;
extern const nn_encoder_ops nn_encoder_category;
extern const nn_encoder_ops nn_encoder_timestamp;
extern const nn_encoder_ops nn_encoder_vector;

/* What a column says about its numbers, from their moments. */
extern void nn_column_take_moments(nn_column *c, const nn_moments *m);

/* Scaled and clipped numbers of n slots; NULL becomes fill (before clip). */
extern void nn_encode_numbers(const nn_scale *scale, double fill, double clip,
							  nn_slot_kind slot, const char *base,
							  size_t stride, int n, nn_real *out,
							  size_t out_stride);

/* 1 for NULL, else 0. */
extern void nn_encode_nulls(nn_slot_kind slot, const char *base, size_t stride,
							int n, nn_real *out, size_t out_stride);

/* The number of a column of two values: for false, NULL and true. */
typedef struct nn_flag
{
	nn_real value[3];
} nn_flag;

typedef struct nn_flag_conf
{
	int scale; /* 0 none, 1 robust */
	double clip;
} nn_flag_conf;

extern const nn_option nn_flag_options[];

/* False when there is nothing to tell apart. */
extern bool nn_flag_learn(nn_flag *flag, const nn_flag_conf *conf,
						  int64_t falses, int64_t trues, int64_t nulls);
extern bool nn_flag_save(const nn_flag *flag, nn_writer *w, nn_error *err);
extern bool nn_flag_load(nn_flag *flag, nn_reader *r, nn_error *err);

/* A byte that is 0 or 1. */
extern bool nn_read_bool(nn_reader *r, int *v, nn_error *err);

/* A number that an encoder may give: finite and within its limit. */
extern bool nn_read_encoded(nn_reader *r, double *v, nn_error *err);

/* encode_row.c: make ready for, and encode, one row; plain: only its first
 * columns, those that are floats side by side, and before the clip. */
extern bool nn_features_place_row(nn_features *f, nn_error *err);
extern void nn_features_encode_plain(const nn_features *f, const char *record,
									 nn_real *restrict out);
extern void nn_features_encode_row(const nn_features *f, const char *record,
								   nn_real *out);

#endif /* NN_ENCODERS_H */
