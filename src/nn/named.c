/*
 * named.c
 *	  From text such as "adam(beta_1 = 0.9)" to a thing and its configuration.
 */
#include "train.h"

const void *
nn_named_parse(nn_arena *arena, const char *what, const void *const *list,
			   const nn_absent *absent, const char *text, void **conf,
			   const char **canonical, nn_error *err)
{
	nn_item *item = nn_text_parse_item(arena, text, err);
	const nn_named *named;

	if (item == NULL)
		return NULL;
	for (; absent->name != NULL; absent++)
	{
		if (nn_name_equal(absent->name, item->name))
		{
			nn_fail(err, NN_UNSUPPORTED, "%s \"%s\" is not supported", what,
					item->name);
			if (absent->hint != NULL)
				nn_hint(err, "%s", absent->hint);
			return NULL;
		}
	}
	named = nn_named_find(what, list, item->name, err);
	if (named == NULL)
		return NULL;
	*conf = nn_alloc_small(arena, named->conf_size, err);
	if (*conf == NULL ||
		!nn_options_parse(arena, item, named->options, *conf, NULL, err))
		return NULL;
	*canonical =
		nn_options_print(arena, named->name, named->options, *conf, NULL, err);
	return *canonical == NULL ? NULL : named;
}
