/*
 * option.h
 *	  Options declared as data.
 *
 * A layer, loss, optimizer, schedule, initializer or encoder lists its options
 * in a table.  Parsing, range checks, printing, storage (options are stored as
 * their text) and documentation all work from the table, so none of them is
 * written per layer.
 */
#ifndef NN_OPTION_H
#define NN_OPTION_H

#include "text.h"

typedef enum nn_option_type
{
	NN_OPT_INT,	   /* int */
	NN_OPT_REAL,   /* double */
	NN_OPT_BOOL,   /* bool */
	NN_OPT_CHOICE, /* int, an index into choices */
	NN_OPT_ITEM,   /* const nn_item *: a name with arguments of its own, whose
					* meaning the owner checks; choices lists the names */
	NN_OPT_LIST	   /* nn_list */
} nn_option_type;

typedef struct nn_list
{
	int count;
	const double *values;
} nn_list;

typedef struct nn_option
{
	const char *name; /* in SQL and on disk: never renamed */
	nn_option_type type;
	size_t offset;				/* in the configuration struct */
	double initial;				/* default; for a choice its index */
	double min, max;			/* of numbers, and of each number of a list */
	const char *help;			/* one sentence for the manual */
	const char *const *choices; /* NULL-terminated, for NN_OPT_CHOICE */
	const char *initial_item;	/* default text, for NN_OPT_ITEM */
	const char *alias;			/* PyTorch's name for it, or NULL */
	bool lone; /* what one positional argument alone means, not the first */
} nn_option;

/* .initial of an option that must be given */
#define NN_REQUIRED (-1e300)

/*
 * Fill conf from the item's arguments: positional values first, in table
 * order, but for a lone one where the table says what that means.  The table ends with a NULL name.  References (an argument that is a
 * bare word matching no option, for layers such as add(a, b)) are collected
 * into refs when refs is not NULL and refused otherwise.
 */
typedef struct nn_refs
{
	int count;
	const char *label[NN_MAX_INPUTS];
} nn_refs;

extern bool nn_options_parse(nn_arena *arena, const nn_item *item,
							 const nn_option *table, void *conf, nn_refs *refs,
							 nn_error *err);

/*
 * The canonical text of an item: "dense(64, activation = relu)".  Options at
 * their defaults are left out.  Parsing it gives the same conf again.
 *
 * This text is what models store, and they outlive releases.  So a default,
 * once released, is never changed: old models would predict other numbers, or
 * not load.  What should be different from now on becomes a new option, or
 * what the recipe writes out.  test/golden holds models of every release.
 */
extern const char *nn_options_print(nn_arena *arena, const char *name,
									const nn_option *table, const void *conf,
									const nn_refs *refs, nn_error *err);

/*
 * Every registered thing (layer, loss, ...) begins with this, so that looking
 * up by name, aliases and "did you mean" exist once.
 */
typedef struct nn_named
{
	const char *name; /* canonical: in SQL and on disk, never reused */
	const char *const *aliases; /* NULL-terminated, or NULL: PyTorch's names */
	const char *summary;		/* one line for the manual */
	size_t conf_size;
	const nn_option *options;
	/* uses of it, NULL-terminated: manual, gradient test, fuzzer seeds */
	const char *const *examples;
} nn_named;

/*
 * Look a name up in a NULL-terminated list of pointers to structs that begin
 * with an nn_named.  what is "layer", "loss", ... for the message.
 */
extern const void *nn_named_find(const char *what, const void *const *list,
								 const char *name, nn_error *err);

#endif /* NN_OPTION_H */
