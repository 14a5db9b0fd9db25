/*
 * text.h
 *	  The little language in which networks, losses, optimizers, schedules,
 *	  initializers and encoders are named.
 *
 *		network := { item }
 *		item    := [ label ":" ] name [ "(" [ arg { "," arg } ] ")" ]
 *		arg     := [ name "=" ] value
 *		value   := number | "true" | "false" | item | list
 *		list    := ( "[" | "(" ) number { "," number } ( "]" | ")" )
 *
 * A name is letters, digits and underscores, compared without case and
 * underscores ("LayerNormalization" is "layer_normalization"); a label keeps
 * its case.  A name may be in single or double quotes, as in Python.  Items may
 * be separated by blanks, commas, semicolons, new lines or "->".  A value that is a bare word is an item without arguments, so
 * "dense(64, relu)" and "dense(64, kernel_initializer = random_normal(0.05))"
 * need no more grammar.
 *
 * Parsing gives a tree; option.h gives the tree its meaning.
 */
#ifndef NN_TEXT_H
#define NN_TEXT_H

#include "arena.h"

#define NN_MAX_TEXT	 65536 /* bytes of network text */
#define NN_MAX_ARGS	 32
#define NN_MAX_LIST	 64
#define NN_MAX_DEPTH 8

typedef enum nn_value_kind
{
	NN_VALUE_NUMBER,
	NN_VALUE_BOOL,
	NN_VALUE_ITEM,
	NN_VALUE_LIST
} nn_value_kind;

typedef struct nn_item nn_item;

typedef struct nn_value
{
	nn_value_kind kind;
	double number; /* also 0 and 1 for a boolean */
	nn_item *item;
	int nlist;
	double *list;
} nn_value;

typedef struct nn_arg
{
	const char *name; /* or NULL when given by position */
	nn_value value;
} nn_arg;

struct nn_item
{
	const char *label; /* or NULL */
	const char *name;  /* as written */
	int nargs;
	nn_arg *args;
	int position; /* byte in the text, for messages */
};

typedef struct nn_item_list
{
	int count;
	nn_item *items;
} nn_item_list;

/* A whole network.  NULL and *err (NN_SYNTAX) when it does not parse. */
extern nn_item_list *nn_text_parse(nn_arena *arena, const char *text,
								   nn_error *err);

/* Exactly one item, such as an optimizer: "adam(beta_1 = 0.95)". */
extern nn_item *nn_text_parse_item(nn_arena *arena, const char *text,
								   nn_error *err);

/* An item as text, as it was written but for blanks. */
extern const char *nn_item_print(nn_arena *arena, const nn_item *item,
								 nn_error *err);

/* A number as the shortest text that reads back the same. */
#define NN_NUMBER_SIZE 32
extern const char *nn_number_text(double v, char buf[NN_NUMBER_SIZE]);

/* Equality of names as the language sees it. */
extern bool nn_name_equal(const char *a, const char *b);

#endif /* NN_TEXT_H */
