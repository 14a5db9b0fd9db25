/*
 * encode_row.c
 *	  One row as numbers.
 *
 * A scalar prediction encodes one row, for which a call by pointer and a loop
 * for each column cost more than the work.  So the commonest encoders say what
 * they do as data, and the commonest columns of all, floats side by side, are
 * one loop.  The numbers have the bits that they get among other rows.
 */
#include <float.h>
#include <math.h>

#include "encode_scale.h"
#include "encoders.h"

/* Whether column i is a float beside the one before it, without a flag. */
static bool
is_plain(const nn_features *f, int i)
{
	const nn_number_code *n = &f->codes[i];

	return n->used && n->real32 && n->at == i && n->flag < 0 &&
		   n->offset == i * sizeof(float);
}

static bool
place_plain(nn_features *f, nn_error *err)
{
	nn_plain_code *c = &f->plain;
	size_t n = (size_t) f->ncolumns + 1;

	c->center = nn_alloc_array(f->arena, n, sizeof(double), err);
	c->factor = nn_alloc_array(f->arena, n, sizeof(double), err);
	c->min = nn_alloc_array(f->arena, n, sizeof(double), err);
	c->max = nn_alloc_array(f->arena, n, sizeof(double), err);
	c->fill = nn_alloc_array(f->arena, n, sizeof(nn_real), err);
	if (c->center == NULL || c->factor == NULL || c->min == NULL ||
		c->max == NULL || c->fill == NULL)
		return false;
	for (f->nplain = 0; f->nplain < f->ncolumns && is_plain(f, f->nplain);
		 f->nplain++)
	{
		const nn_number_code *code = &f->codes[f->nplain];

		c->center[f->nplain] = code->center;
		c->factor[f->nplain] = code->factor;
		c->min[f->nplain] = code->min;
		c->max[f->nplain] = code->max;
		c->fill[f->nplain] = code->fill;
	}
	return true;
}

bool
nn_features_place_row(nn_features *f, nn_error *err)
{
	f->nclips = 0;
	f->codes = nn_alloc_array(f->arena, (size_t) f->ncolumns + 1,
							  sizeof(nn_number_code), err);
	f->clips = nn_alloc_array(f->arena, (size_t) f->layout.width + 1,
							  sizeof(nn_real), err);
	if (f->codes == NULL || f->clips == NULL)
		return false;
	for (int i = 0; i < f->ncolumns; i++)
	{
		const nn_column *c = &f->columns[i];
		nn_number_code *n = &f->codes[i];

		n->used = c->dropped == NULL && c->encoder->code != NULL;
		if (!n->used)
			continue;
		c->encoder->code(c, n);
		if (n->at >= 0 && n->clip > 0)
		{
			f->clips[n->at] = n->clip;
			f->nclips = n->at + 1;
		}
	}
	return place_plain(f, err);
}

/* A loop that becomes vector instructions. */
NN_ANY_LEVEL void
nn_features_encode_plain(const nn_features *f, const char *record,
						 nn_real *restrict out)
{
	const float *x = (const float *) record;
	const double *center = f->plain.center, *factor = f->plain.factor,
				 *min = f->plain.min, *max = f->plain.max;
	const nn_real *fill = f->plain.fill;
	int special = 0;

	for (int i = 0; i < f->nplain; i++)
		special |= !(fabsf(x[i]) <= FLT_MAX);
	if (!special)
	{
		for (int i = 0; i < f->nplain; i++)
			out[i] = nn_scale_finite(x[i], center[i], factor[i]);
		return;
	}
	for (int i = 0; i < f->nplain; i++)
	{
		/* all are loaded, as what depends on a condition is no vector */
		double v = x[i], low = min[i], high = max[i], by = factor[i];
		double bound = v < 0 ? low : high,
			   finite = fabs(v) <= DBL_MAX ? v : bound;
		nn_real null = fill[i], z = nn_scale_finite(finite, center[i], by);

		out[i] = v != v ? null : z;
	}
}

void
nn_features_encode_row(const nn_features *f, const char *record, nn_real *out)
{
	nn_features_encode_plain(f, record, out);
	for (int j = f->nplain; j < f->ncolumns; j++)
	{
		const nn_number_code *n = &f->codes[j];
		const nn_column *c = &f->columns[j];

		if (n->used)
		{
			double v =
				nn_slot_number(record + n->offset,
							   n->real32 ? NN_SLOT_REAL32 : NN_SLOT_REAL64);
			bool null = isnan(v);

			if (!(fabs(v) <= DBL_MAX))
				v = v < 0 ? n->min : n->max;
			if (n->at >= 0)
				out[n->at] =
					null ? n->fill : nn_scale_finite(v, n->center, n->factor);
			if (n->flag >= 0)
				out[n->flag] = null;
		}
		else if (c->dropped == NULL)
			c->encoder->encode(c, record + c->offset, f->record_size, 1, out,
							   f->layout.width);
	}
	/* a loop of its own becomes vector instructions; 0 changes nothing */
	for (int i = 0; i < f->nclips; i++)
		out[i] = nn_soft_clip(out[i], f->clips[i]);
}
