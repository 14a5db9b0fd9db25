/*
 * record.c
 *	  Rows of raw values: writing their slots.
 */
#include <math.h>
#include <string.h>

#include "encode_scale.h"

void
nn_set_null(const nn_column *c, char *record)
{
	char *slot = record + c->offset;

	switch (c->slot)
	{
		case NN_SLOT_REAL64:
			*(double *) slot = NAN;
			break;
		case NN_SLOT_TEXT:
			*(int32_t *) slot = NN_TEXT_NULL;
			break;
		case NN_SLOT_REAL32:
		case NN_SLOT_VECTOR:
			/* also where nothing will look, so that records are defined */
			for (int i = 0; i < c->length; i++)
				((float *) slot)[i] = NAN;
			break;
	}
}

bool
nn_set_text(const nn_column *c, char *record, const char *text, int len,
			bool learn, nn_error *err)
{
	int32_t number = learn ? nn_dictionary_add(c->dictionary, text, len, err)
						   : nn_dictionary_find(c->dictionary, text, len);

	if (number < NN_TEXT_UNKNOWN)
		return false;
	*(int32_t *) (record + c->offset) = number;
	return true;
}

bool
nn_set_vector(const nn_column *c, char *record, const float *values, int n,
			  nn_error *err)
{
	if (n != c->length)
		return nn_fail(err, NN_DATA,
					   "column \"%s\" has an array of %d numbers, but %d are "
					   "expected",
					   c->name, n, c->length);
	memcpy(record + c->offset, values, n * sizeof(float));
	return true;
}

void
nn_features_derive(const nn_features *f, char *record)
{
	for (int i = f->nread; i < f->ncolumns; i++)
	{
		const nn_column *c = &f->columns[i];
		const nn_column *from = &f->columns[c->minus_from];
		const nn_column *what = &f->columns[c->minus_what];

		/* NULL is NaN, and so is what is computed from it */
		nn_set_number(c, record,
					  nn_slot_number(record + from->offset, from->slot) -
						  nn_slot_number(record + what->offset, what->slot));
	}
}
