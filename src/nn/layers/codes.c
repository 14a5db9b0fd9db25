/*
 * codes.c
 *	  What the layers that read codes of categories share.
 */
#include "codes.h"

bool
nn_codes_infer(nn_codes *codes, const nn_layer *l, int input_dim,
			   nn_arena *arena, nn_error *err)
{
	const nn_tensor *in = l->in[0];
	int count = (int) nn_count(&in->shape), total = 0;
	int *levels, *first;

	if (!nn_layer_needs_data(l, err))
		return false;
	if (input_dim == 0 && in->levels == NULL)
	{
		nn_layer_fail(l, err, "its input is not categories");
		return nn_hint(err, "Place it after \"input(category)\".");
	}
	levels = nn_alloc_array(arena, (size_t) count, sizeof(int), err);
	first = nn_alloc_array(arena, (size_t) count, sizeof(int), err);
	if (levels == NULL || first == NULL)
		return false;
	for (int i = 0; i < count; i++)
	{
		levels[i] = input_dim > 0 ? input_dim : in->levels[i];
		first[i] = total;
		if (levels[i] < 0 || levels[i] > NN_MAX_UNITS ||
			__builtin_add_overflow(total, levels[i], &total))
		{
			nn_layer_fail(l, err, "its input has too many categories");
			err->code = NN_LIMIT;
			return false;
		}
	}
	*codes = (nn_codes){count, levels, first, total};
	return true;
}
