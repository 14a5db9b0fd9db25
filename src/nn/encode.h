/*
 * encode.h
 *	  From the cells of a table to numbers.
 *
 * Rows pass through three forms:
 *
 *	cells		what the database has
 *	records		fixed-size rows of raw values, one slot a column: float,
 *				double, number of a text in the column's dictionary, or a
 *				vector.  Cheap to write while reading, to keep, and to spill.
 *	encoded		fixed-size rows of nn_real: what the network reads
 *
 * An encoder learns about a column from the records of the training rows (its
 * quantiles, its categories), then turns slots into a fixed number of numbers.
 * What it learned is part of the model, so prediction takes the same raw
 * columns that training took.
 *
 * The numbers of an encoded row lie in sections, because parts of the default
 * network want them apart: all columns of kind NUMBER first, and so on.  The
 * sections are the network's inputs: input(number), input(flag),
 * input(category), input(entity).  The default prelude of a network that names
 * no input is all of them: numbers and flags as they are, categories one-hot,
 * entities (columns of many categories) by learned embedding.
 */
#ifndef NN_ENCODE_H
#define NN_ENCODE_H

#include "format.h"
#include "graph.h"

typedef enum nn_section_kind
{
	NN_SECTION_NUMBER,	 /* scaled numbers */
	NN_SECTION_FLAG,	 /* numbers of few values: was-NULL, booleans, cycles */
	NN_SECTION_CATEGORY, /* codes, to be one-hot */
	NN_SECTION_ENTITY,	 /* codes, to be embedded */
	NN_SECTION_KINDS
} nn_section_kind;

extern const char *const nn_section_names[]; /* "number", "flag", ... */

/* What the database says a column is; decides the default encoder. */
typedef enum nn_column_class
{
	NN_CLASS_NUMBER,	/* int, float, numeric, interval (in seconds) */
	NN_CLASS_BOOLEAN,	/* 0 or 1 */
	NN_CLASS_TEXT,		/* text, enum, uuid: bytes of UTF-8 */
	NN_CLASS_TIMESTAMP, /* seconds since 2000-01-01 00:00 local time */
	NN_CLASS_DATE,		/* the same, at midnight */
	NN_CLASS_TIME,		/* seconds since midnight */
	NN_CLASS_VECTOR,	/* arrays of numbers of one length, pgvector's vector */
	NN_CLASSES
} nn_column_class;

typedef enum nn_slot_kind
{
	NN_SLOT_REAL32, /* float; NaN is NULL */
	NN_SLOT_REAL64, /* double; NaN is NULL */
	NN_SLOT_TEXT,	/* int32_t, number in the dictionary; < 0: see below */
	NN_SLOT_VECTOR	/* float[length]; first NaN: NULL */
} nn_slot_kind;

#define NN_TEXT_NULL	  (-1)
#define NN_TEXT_UNKNOWN	  (-2) /* not in the dictionary */
#define NN_MAX_CATEGORIES (1 << 20)
#define NN_MAX_TEXT_LENGTH                                                     \
	1024 /* longer category names are cut, at a
								 * character's beginning */

/* Texts and their numbers, in order of arrival.  Hashed, arena-owned. */
typedef struct nn_dictionary nn_dictionary;

extern nn_dictionary *nn_dictionary_create(nn_arena *arena, nn_error *err);
extern int nn_dictionary_count(const nn_dictionary *d);
/* Find; NN_TEXT_UNKNOWN when absent. */
extern int32_t nn_dictionary_find(const nn_dictionary *d, const char *text,
								  int len);
/* Find or add; NN_TEXT_UNKNOWN when NN_MAX_CATEGORIES are there already;
 * below that and *err when memory is out. */
extern int32_t nn_dictionary_add(nn_dictionary *d, const char *text, int len,
								 nn_error *err);
extern const char *nn_dictionary_text(const nn_dictionary *d, int32_t number,
									  int *len);

typedef struct nn_column
{
	const char *name;
	nn_column_class class;
	const char *type_name; /* SQL type, for messages and wrappers: not read */
	nn_slot_kind slot;
	int length;	   /* of a vector, else 1 */
	size_t offset; /* of the slot in a record */

	/* a column that no table has: the one less the other (numbers of two
	 * columns); -1 in all others */
	int minus_from, minus_what;

	nn_dictionary *dictionary; /* texts; while reading: every text met; in a
								* model: the categories, in order of code */
	const struct nn_encoder_ops *encoder;
	void *conf;
	void *learned; /* the encoder's own; saved with the model */

	/* how many numbers it gives to each section, and where: offsets in the
	 * encoded row; set by nn_features_finish */
	int width[NN_SECTION_KINDS];
	int at[NN_SECTION_KINDS];
	const int *levels; /* for CATEGORY and ENTITY: codes of each number */
	/* why all widths are zero: a clause such as "it has the same value in
	 * every training row"; else NULL */
	const char *dropped;
	int sample; /* most values to keep for quantiles */

	/* from nn_features_observe, over the training rows */
	int64_t rows, nulls, infinite;
	int64_t distinct; /* texts: met in the training rows; else 0 */
	double mean, stddev, min, max;

	/* text columns while training: dictionary number -> code, made by finish;
	 * NULL in a loaded model, where they are the same */
	const int32_t *code;
} nn_column;

/*
 * How one number is encoded, as data.  Predicting row by row, most of the time
 * of an encoder would go into finding what it learned; here all columns' lie
 * side by side.
 */
typedef struct nn_number_code
{
	bool used;	   /* else the encoder is called */
	bool real32;   /* the slot */
	int at, flag;  /* places in the encoded row; -1: none */
	size_t offset; /* of the slot in a record */
	double center, factor, min, max;
	nn_real fill; /* for NULL, before the clip */
	nn_real clip; /* 1 / the limit of the soft clip; 0: none */
} nn_number_code;

/*
 * An encoder.  observe gets blocks of slots of the training rows: slot i is at
 * base + i * stride; only those with use[i] (use NULL: all).  encode writes
 * its numbers at out[i * out_stride + c->at[section] ..] and cannot fail.
 */
typedef struct nn_encoder_ops
{
	nn_named named;
	unsigned classes; /* bits 1 << nn_column_class it can encode */
	bool (*start)(nn_column *c, nn_arena *arena, nn_error *err);
	bool (*observe)(nn_column *c, nn_arena *arena, const char *base,
					size_t stride, int n, const uint8_t *use, nn_error *err);
	/* what observe does, where it is to add to these moments; or NULL */
	struct nn_moments *(*moments)(const nn_column *c);
	/* set width[], levels and learned; all zero widths: column is dropped */
	bool (*finish)(nn_column *c, nn_arena *arena, nn_error *err);
	void (*encode)(const nn_column *c, const char *base, size_t stride, int n,
				   nn_real *out, size_t out_stride);
	/* the same for one row, as data; NULL where it cannot be said so */
	void (*code)(const nn_column *c, nn_number_code *code);
	bool (*save)(const nn_column *c, nn_writer *w, nn_error *err);
	bool (*load)(nn_column *c, nn_arena *arena, nn_reader *r, nn_error *err);
} nn_encoder_ops;

extern const nn_encoder_ops *const nn_encoders[];

/* The codes of columns side by side, as a loop over all of them wants them. */
typedef struct nn_plain_code
{
	double *center, *factor, *min, *max;
	nn_real *fill;
} nn_plain_code;

typedef struct nn_features
{
	nn_arena *arena;
	int ncolumns;
	int nread; /* the first of them, which are read; the rest is derived */
	nn_column *columns;
	size_t record_size;	   /* bytes, a multiple of 8 */
	nn_layout layout;	   /* set by nn_features_finish */
	nn_number_code *codes; /* one for each column; likewise */
	int nplain;			 /* the first columns, as far as they are floats side */
	nn_plain_code plain; /* by side in record and row, without flags */
	int nclips;			 /* the first numbers of an encoded row, and */
	nn_real *clips;		 /* their clips */
} nn_features;

extern nn_features *nn_features_create(nn_arena *arena, int max_columns,
									   nn_error *err);

/*
 * Add a column.  encoder is text such as "number(scale = robust)", or NULL for
 * the default of its class.  slot REAL32 only where every value is exactly a
 * float.  length is that of a vector.
 */
extern nn_column *nn_features_add(nn_features *f, const char *name,
								  nn_column_class class, const char *type_name,
								  nn_slot_kind slot, int length,
								  const char *encoder, nn_error *err);

/*
 * Add a column that is derived: how much later, in seconds, one timestamp or
 * date is than another.  Derived columns come after all that are read.
 */
extern nn_column *nn_features_add_difference(nn_features *f, int from, int what,
											 const char *encoder,
											 nn_error *err);

/* After the last add: offsets and record_size.  Extra bytes for the caller's
 * own slots (targets, weight) may be asked for; they begin at *extra_at. */
extern bool nn_features_layout(nn_features *f, size_t extra, size_t *extra_at,
							   nn_error *err);

/* The same for loaded features, which are laid out already. */
extern size_t nn_features_extend(nn_features *f, size_t extra);

/* Writing slots. */
static inline void
nn_set_number(const nn_column *c, char *record, double value)
{
	if (c->slot == NN_SLOT_REAL32)
		*(float *) (record + c->offset) = (float) value;
	else
		*(double *) (record + c->offset) = value;
}
extern void nn_set_null(const nn_column *c, char *record);
/* learn: add unseen texts (training); else they become NN_TEXT_UNKNOWN */
extern bool nn_set_text(const nn_column *c, char *record, const char *text,
						int len, bool learn, nn_error *err);
/* n must be c->length: else NN_DATA naming column and both lengths */
extern bool nn_set_vector(const nn_column *c, char *record, const float *values,
						  int n, nn_error *err);

/*
 * Set the slots of derived columns, once all others of the record are set.
 * NULL where either column is.
 */
extern void nn_features_derive(const nn_features *f, char *record);

extern bool nn_features_observe(nn_features *f, const char *records, int n,
								const uint8_t *use, nn_error *err);
extern bool nn_features_finish(nn_features *f, nn_error *err);
/* Why columns are dropped: after "column ... is not used: ". */
extern const char nn_dropped_null[];
extern const char nn_dropped_constant[];
extern const char nn_dropped_distinct[];
extern const char nn_dropped_derived[];

/* Forget the columns that are dropped; records keep their layout. */
extern bool nn_features_forget(nn_features *f, nn_error *err);
/* out: n rows of layout.width */
extern void nn_features_encode(const nn_features *f, const char *records, int n,
							   nn_real *out);

extern bool nn_features_save(const nn_features *f, nn_writer *w, nn_error *err);
extern nn_features *nn_features_load(nn_arena *arena, nn_reader *r,
									 nn_error *err);

#endif /* NN_ENCODE_H */
