/*
 * features.c
 *	  The columns of a table as encoded rows: what holds encoders together.
 *
 * Observing and encoding walk over blocks of rows and, inside a block, over
 * columns, so that a block stays in the cache while each column's loop is
 * tight.
 */
#include "encode.h"

#include "encoders.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Rows of a block. */
#define BLOCK 128

/* Numbers kept for the quantiles of all columns together. */
#define SAMPLE_NUMBERS (1 << 22)
#define MIN_SAMPLE	   4096

/* Of a stored column: what is there however short its texts are. */
#define MIN_COLUMN_BYTES 87

/* Many times what a table can have. */
#define MAX_COLUMNS 16384

const char *const nn_section_names[] = {"number", "flag", "category", "entity",
										NULL};

const nn_encoder_ops *const nn_encoders[] = {
	&nn_encoder_number,	   &nn_encoder_boolean, &nn_encoder_category,
	&nn_encoder_timestamp, &nn_encoder_vector,	NULL};

/* By class: the encoder taken when none is named. */
static const char *const default_encoder[NN_CLASSES] = {
	"number",	 "boolean",	  "category", "timestamp",
	"timestamp", "timestamp", "vector"};

const char nn_dropped_null[] = "it is NULL in every training row";
const char nn_dropped_constant[] =
	"it has the same value in every training row";
const char nn_dropped_distinct[] = "more than half of its values are different";
const char nn_dropped_derived[] = "it differs from another by a constant";

bool
nn_read_bool(nn_reader *r, int *v, nn_error *err)
{
	uint8_t byte;

	if (!nn_read_u8(r, &byte, err))
		return false;
	if (byte > 1)
		return nn_fail(err, NN_CORRUPT,
					   "model is damaged: %d in %s is neither true nor false",
					   byte, r->what);
	*v = byte;
	return true;
}

bool
nn_read_encoded(nn_reader *r, double *v, nn_error *err)
{
	if (!nn_read_f64(r, v, err))
		return false;
	if (!(fabs(*v) <= NN_ENCODED_LIMIT))
		return nn_fail(err, NN_CORRUPT,
					   "model is damaged: number in %s is out of range",
					   r->what);
	return true;
}

nn_features *
nn_features_create(nn_arena *arena, int max_columns, nn_error *err)
{
	nn_features *f = nn_alloc(arena, sizeof(*f), err);

	if (f == NULL)
		return NULL;
	f->arena = arena;
	f->columns = nn_alloc_array(arena, max_columns, sizeof(nn_column), err);
	return f->columns != NULL ? f : NULL;
}

static bool
slot_fits(nn_column_class class, nn_slot_kind slot, int length)
{
	if (class == NN_CLASS_TEXT)
		return slot == NN_SLOT_TEXT && length == 1;
	if (class == NN_CLASS_VECTOR)
		return slot == NN_SLOT_VECTOR && length >= 1 && length <= NN_MAX_UNITS;
	return (slot == NN_SLOT_REAL32 || slot == NN_SLOT_REAL64) && length == 1;
}

static bool
set_encoder(nn_column *c, nn_arena *arena, const char *text, nn_error *err)
{
	nn_item *item = nn_text_parse_item(arena, text, err);

	if (item == NULL)
		return false;
	c->encoder = nn_named_find("encoder", (const void *const *) nn_encoders,
							   item->name, err);
	if (c->encoder == NULL)
		return false;
	if ((c->encoder->classes & 1u << c->class) == 0)
	{
		nn_fail(err, NN_INVALID, "column \"%s\" cannot be encoded by \"%s\"",
				c->name, c->encoder->named.name);
		return nn_hint(err, "Columns of type %s are encoded by \"%s\".",
					   c->type_name, default_encoder[c->class]);
	}
	c->conf = nn_alloc_small(arena, c->encoder->named.conf_size, err);
	return c->conf != NULL &&
		   nn_options_parse(arena, item, c->encoder->named.options, c->conf,
							NULL, err);
}

nn_column *
nn_features_add(nn_features *f, const char *name, nn_column_class class,
				const char *type_name, nn_slot_kind slot, int length,
				const char *encoder, nn_error *err)
{
	nn_column *c = &f->columns[f->ncolumns];

	memset(c, 0, sizeof(*c));
	c->name = nn_strndup(f->arena, name, strlen(name), err);
	c->type_name = nn_strndup(f->arena, type_name, strlen(type_name), err);
	if (c->name == NULL || c->type_name == NULL)
		return NULL;
	c->class = class;
	c->slot = slot;
	c->length = length;
	c->minus_from = c->minus_what = -1;
	if (!slot_fits(class, slot, length))
	{
		nn_fail(err, NN_LIMIT,
				"column \"%s\" has %d numbers a row, but only "
				"1 to %d can be read",
				name, length, NN_MAX_UNITS);
		return NULL;
	}
	if (class == NN_CLASS_TEXT)
	{
		c->dictionary = nn_dictionary_create(f->arena, err);
		if (c->dictionary == NULL)
			return NULL;
	}
	if (!set_encoder(c, f->arena,
					 encoder != NULL ? encoder : default_encoder[class], err))
		return NULL;
	f->nread = ++f->ncolumns;
	return c;
}

static bool
is_moment(const nn_column *c)
{
	return c->class == NN_CLASS_TIMESTAMP || c->class == NN_CLASS_DATE;
}

nn_column *
nn_features_add_difference(nn_features *f, int from, int what,
						   const char *encoder, nn_error *err)
{
	int nread = f->nread;
	const char *name = nn_printf(f->arena, err, "%s - %s",
								 f->columns[from].name, f->columns[what].name);
	nn_column *c;

	if (name == NULL)
		return NULL;
	c = nn_features_add(f, name, NN_CLASS_NUMBER, "interval", NN_SLOT_REAL64, 1,
						encoder, err);
	f->nread = nread;
	if (c != NULL)
	{
		c->minus_from = from;
		c->minus_what = what;
	}
	return c;
}

static size_t
slot_size(const nn_column *c)
{
	switch (c->slot)
	{
		case NN_SLOT_REAL64:
			return sizeof(double);
		case NN_SLOT_TEXT:
			return sizeof(int32_t);
		default:
			return c->length * sizeof(float);
	}
}

/* Offsets of the slots: those of 8 bytes first, so that all are aligned. */
static bool
place_slots(nn_features *f, size_t extra, size_t *extra_at, nn_error *err)
{
	size_t at = 0;

	for (int pass = 0; pass < 2; pass++)
		for (int i = 0; i < f->ncolumns; i++)
		{
			nn_column *c = &f->columns[i];

			if ((c->slot == NN_SLOT_REAL64) != (pass == 0))
				continue;
			c->offset = at;
			at += slot_size(c);
			if (at > (size_t) NN_MAX_UNITS * sizeof(double))
				return nn_fail(err, NN_LIMIT, "rows have more than %d numbers",
							   NN_MAX_UNITS);
		}
	at = (at + 7) & ~(size_t) 7;
	if (extra_at != NULL)
		*extra_at = at;
	f->record_size = (at + extra + 7) & ~(size_t) 7;
	return true;
}

bool
nn_features_layout(nn_features *f, size_t extra, size_t *extra_at,
				   nn_error *err)
{
	int sample = SAMPLE_NUMBERS / (f->ncolumns > 0 ? f->ncolumns : 1);

	if (sample > NN_MAX_SAMPLE)
		sample = NN_MAX_SAMPLE;
	if (sample < MIN_SAMPLE)
		sample = MIN_SAMPLE;
	if (!place_slots(f, extra, extra_at, err))
		return false;
	for (int i = 0; i < f->ncolumns; i++)
	{
		nn_column *c = &f->columns[i];

		c->sample = sample;
		if (!c->encoder->start(c, f->arena, err))
			return false;
	}
	return true;
}

size_t
nn_features_extend(nn_features *f, size_t extra)
{
	size_t at = f->record_size;

	f->record_size = (at + extra + 7) & ~(size_t) 7;
	return at;
}

/*
 * Observe the first columns, as far as they are floats side by side of which
 * moments are all that is wanted, in loops along the row, which become vector
 * instructions.  Returns how many columns that were: none when there is a
 * value among them that is not finite.
 */
#define MAX_PLAIN 256

NN_ANY_LEVEL static int
observe_plain(nn_features *f, const char *base, int n, const uint8_t *use,
			  int used)
{
	double sum[MAX_PLAIN] = {0}, square[MAX_PLAIN] = {0}, mean[MAX_PLAIN];
	float least[MAX_PLAIN], greatest[MAX_PLAIN];
	nn_moments *moments[MAX_PLAIN];
	int special = 0;
	int k = 0;

	for (; k < f->ncolumns && k < MAX_PLAIN; k++)
	{
		const nn_column *c = &f->columns[k];

		if (c->slot != NN_SLOT_REAL32 || c->offset != k * sizeof(float) ||
			c->encoder->moments == NULL)
			break;
		moments[k] = c->encoder->moments(c);
		if (moments[k]->sample != NULL)
			break;
		least[k] = FLT_MAX;
		greatest[k] = -FLT_MAX;
	}
	if (k == 0 || used == 0)
		return 0;
	for (int i = 0; i < n; i++)
	{
		const float *x = (const float *) (base + i * f->record_size);

		if (use != NULL && use[i] == 0)
			continue;
		for (int j = 0; j < k; j++)
		{
			float v = x[j];

			special |= !(fabsf(v) <= FLT_MAX);
			sum[j] += v;
			least[j] = v < least[j] ? v : least[j];
			greatest[j] = v > greatest[j] ? v : greatest[j];
		}
	}
	if (special)
		return 0;
	for (int j = 0; j < k; j++)
		mean[j] = sum[j] / used;
	for (int i = 0; i < n; i++)
	{
		const float *x = (const float *) (base + i * f->record_size);

		if (use != NULL && use[i] == 0)
			continue;
		for (int j = 0; j < k; j++)
		{
			double d = x[j] - mean[j];

			square[j] += d * d;
		}
	}
	for (int j = 0; j < k; j++)
		nn_moments_merge(moments[j], used, mean[j], square[j], least[j],
						 greatest[j]);
	return k;
}

bool
nn_features_observe(nn_features *f, const char *records, int n,
					const uint8_t *use, nn_error *err)
{
	int part;

	for (int first = 0; first < n; first += part)
	{
		const char *base = records + first * f->record_size;
		const uint8_t *mask = use != NULL ? use + first : NULL;
		int used = 0, plain;

		part = n - first < BLOCK ? n - first : BLOCK;
		for (int i = 0; i < part; i++)
			used += mask == NULL || mask[i] != 0;
		plain = observe_plain(f, base, part, mask, used);
		for (int j = 0; j < f->ncolumns; j++)
		{
			nn_column *c = &f->columns[j];

			c->rows += used;
			if (j < plain)
				continue;
			if (!c->encoder->observe(c, f->arena, base + c->offset,
									 f->record_size, part, mask, err))
				return false;
		}
	}
	return true;
}

/*
 * Where each column's numbers lie, and the sections, of widths that are set.
 * A section that no column has is left out.
 */
static bool
place_columns(nn_features *f, nn_error *err)
{
	nn_layout *layout = &f->layout;

	layout->width = layout->nsections = 0;
	for (int kind = 0; kind < NN_SECTION_KINDS; kind++)
	{
		nn_section *section = &layout->section[layout->nsections];
		int *levels, n = 0;

		section->name = nn_section_names[kind];
		section->offset = layout->width;
		section->levels = NULL;
		for (int i = 0; i < f->ncolumns; i++)
		{
			nn_column *c = &f->columns[i];

			c->at[kind] = layout->width;
			if (c->width[kind] > NN_MAX_UNITS - layout->width)
				return nn_fail(err, NN_LIMIT,
							   "rows have more than %d numbers once encoded",
							   NN_MAX_UNITS);
			layout->width += c->width[kind];
		}
		section->count = layout->width - section->offset;
		if (section->count == 0)
			continue;
		layout->nsections++;
		if (kind != NN_SECTION_CATEGORY && kind != NN_SECTION_ENTITY)
			continue;
		levels = nn_alloc_array(f->arena, section->count, sizeof(int), err);
		if (levels == NULL)
			return false;
		for (int i = 0; i < f->ncolumns; i++)
			for (int j = 0; j < f->columns[i].width[kind]; j++)
				levels[n++] = f->columns[i].levels[j];
		section->levels = levels;
	}
	return nn_features_place_row(f, err);
}

bool
nn_features_finish(nn_features *f, nn_error *err)
{
	for (int i = 0; i < f->ncolumns; i++)
	{
		nn_column *c = &f->columns[i];

		if (!c->encoder->finish(c, f->arena, err))
			return false;
		if (c->minus_from >= 0 && c->dropped == NULL &&
			(f->columns[c->minus_from].dropped != NULL ||
			 f->columns[c->minus_what].dropped != NULL))
		{
			c->dropped = nn_dropped_derived;
			memset(c->width, 0, sizeof(c->width));
		}
	}
	if (!place_columns(f, err))
		return false;
	if (f->layout.width > 0)
		return true;
	nn_fail(err, NN_DATA, "there is no column to learn from");
	if (f->ncolumns > 0)
		nn_detail(err, "Column \"%s\" is not used because %s.",
				  f->columns[0].name, f->columns[0].dropped);
	return false;
}

void
nn_features_encode(const nn_features *f, const char *records, int n,
				   nn_real *out)
{
	/* their clips are part of a loop of one row only */
	int nplain = f->nclips == 0 ? f->nplain : 0, part;

	if (n == 1)
	{
		nn_features_encode_row(f, records, out);
		return;
	}
	for (int first = 0; first < n; first += part)
	{
		part = n - first < BLOCK ? n - first : BLOCK;
		for (int i = 0; i < part && nplain > 0; i++)
			nn_features_encode_plain(f, records + i * f->record_size,
									 out + (size_t) i * f->layout.width);
		for (int j = nplain; j < f->ncolumns; j++)
		{
			const nn_column *c = &f->columns[j];

			if (c->dropped == NULL)
				c->encoder->encode(c, records + c->offset, f->record_size, part,
								   out, f->layout.width);
		}
		records += part * f->record_size;
		out += (size_t) part * f->layout.width;
	}
}

bool
nn_features_forget(nn_features *f, nn_error *err)
{
	int *number = nn_alloc_array(f->arena, f->ncolumns, sizeof(int), err);
	int kept = 0, read = 0;

	if (number == NULL)
		return false;
	for (int i = 0; i < f->ncolumns; i++)
	{
		nn_column *c = &f->columns[i];

		if (c->dropped != NULL)
			continue;
		if (c->minus_from >= 0)
		{
			/* neither is dropped, or the difference would be */
			c->minus_from = number[c->minus_from];
			c->minus_what = number[c->minus_what];
		}
		read += i < f->nread;
		number[i] = kept;
		f->columns[kept++] = *c;
	}
	f->ncolumns = kept;
	f->nread = read;
	return place_columns(f, err);
}

static bool
save_column(const nn_column *c, nn_writer *w, nn_error *err)
{
	const nn_named *named = &c->encoder->named;
	const char *text = nn_options_print(w->arena, named->name, named->options,
										c->conf, NULL, err);
	const char *dropped = c->dropped != NULL ? c->dropped : "";

	return text != NULL && nn_write_text(w, c->name, strlen(c->name), err) &&
		   nn_write_text(w, c->type_name, strlen(c->type_name), err) &&
		   nn_write_u8(w, c->class, err) && nn_write_u8(w, c->slot, err) &&
		   nn_write_u32(w, c->length, err) &&
		   nn_write_u8(w, c->minus_from >= 0, err) &&
		   (c->minus_from < 0 || (nn_write_u32(w, c->minus_from, err) &&
								  nn_write_u32(w, c->minus_what, err))) &&
		   nn_write_u64(w, c->rows, err) && nn_write_u64(w, c->nulls, err) &&
		   nn_write_u64(w, c->infinite, err) &&
		   nn_write_u64(w, c->distinct, err) && nn_write_f64(w, c->mean, err) &&
		   nn_write_f64(w, c->stddev, err) && nn_write_f64(w, c->min, err) &&
		   nn_write_f64(w, c->max, err) &&
		   nn_write_text(w, dropped, strlen(dropped), err) &&
		   nn_write_text(w, text, strlen(text), err) &&
		   c->encoder->save(c, w, err);
}

bool
nn_features_save(const nn_features *f, nn_writer *w, nn_error *err)
{
	if (!nn_write_u32(w, f->ncolumns, err))
		return false;
	for (int i = 0; i < f->ncolumns; i++)
		if (!save_column(&f->columns[i], w, err))
			return false;
	return true;
}

static bool
read_counts(nn_column *c, nn_reader *r, nn_error *err)
{
	int64_t *const to[] = {&c->rows, &c->nulls, &c->infinite, &c->distinct};

	for (int i = 0; i < 4; i++)
	{
		uint64_t v;

		if (!nn_read_u64(r, &v, err))
			return false;
		if (v > INT64_MAX)
			return nn_fail(err, NN_CORRUPT,
						   "model is damaged: count in %s is negative",
						   r->what);
		*to[i] = (int64_t) v;
	}
	return nn_read_f64(r, &c->mean, err) && nn_read_f64(r, &c->stddev, err) &&
		   nn_read_f64(r, &c->min, err) && nn_read_f64(r, &c->max, err);
}

/*
 * Which two columns it is the difference of: both are read, and moments in
 * time.  No column that is read may follow.
 */
static bool
load_difference(const nn_features *f, nn_column *c, nn_reader *r, nn_error *err)
{
	int derived = 0;
	uint32_t from = 0, what = 0;

	c->minus_from = c->minus_what = -1;
	if (!nn_read_bool(r, &derived, err) ||
		(derived &&
		 (!nn_read_u32(r, &from, err) || !nn_read_u32(r, &what, err))))
		return false;
	if (!derived && f->nread == f->ncolumns)
		return true;
	if (!derived || c->class != NN_CLASS_NUMBER || c->slot != NN_SLOT_REAL64 ||
		from >= (uint32_t) f->nread || what >= (uint32_t) f->nread ||
		from == what || !is_moment(&f->columns[from]) ||
		!is_moment(&f->columns[what]))
		return nn_fail(err, NN_CORRUPT,
					   "model is damaged: its derived columns are wrong");
	c->minus_from = (int) from;
	c->minus_what = (int) what;
	return true;
}

/* The kind of a column, and what was known of it before it had an encoder. */
static bool
load_kind(const nn_features *f, nn_column *c, nn_reader *r, nn_error *err)
{
	uint8_t class, slot;
	uint32_t length;
	const char *dropped;

	if (!nn_read_text(r, f->arena, &c->name, NULL, err) ||
		!nn_read_text(r, f->arena, &c->type_name, NULL, err) ||
		!nn_read_u8(r, &class, err) || !nn_read_u8(r, &slot, err) ||
		!nn_read_count(r, NN_MAX_UNITS, 0, &length, err))
		return false;
	if (class >= NN_CLASSES || slot > NN_SLOT_VECTOR ||
		!slot_fits(class, slot, (int) length))
		return nn_fail(err, NN_CORRUPT,
					   "model is damaged: kind of column \"%s\" is wrong",
					   c->name);
	c->class = class;
	c->slot = slot;
	c->length = (int) length;
	if (!load_difference(f, c, r, err) || !read_counts(c, r, err) ||
		!nn_read_text(r, f->arena, &dropped, NULL, err))
		return false;
	c->dropped = dropped[0] != '\0' ? dropped : NULL;
	return true;
}

static bool
load_column(nn_features *f, nn_reader *r, nn_error *err)
{
	nn_arena *arena = f->arena;
	const char *text;
	nn_column *c, stored = {0};
	int used = 0, nread = f->nread;

	if (!load_kind(f, &stored, r, err) ||
		!nn_read_text(r, arena, &text, NULL, err))
		return false;
	c = nn_features_add(f, stored.name, stored.class, stored.type_name,
						stored.slot, stored.length, text, err);
	if (c == NULL)
		return false;
	if (stored.minus_from >= 0)
		f->nread = nread;
	stored.name = c->name;
	stored.type_name = c->type_name;
	stored.dictionary = c->dictionary;
	stored.encoder = c->encoder;
	stored.conf = c->conf;
	*c = stored;
	if (!c->encoder->load(c, arena, r, err))
		return false;
	for (int kind = 0; kind < NN_SECTION_KINDS; kind++)
		used += c->width[kind];
	if ((used == 0) != (c->dropped != NULL))
		return nn_fail(err, NN_CORRUPT,
					   "model is damaged: column \"%s\" is neither used nor "
					   "dropped",
					   c->name);
	return true;
}

nn_features *
nn_features_load(nn_arena *arena, nn_reader *r, nn_error *err)
{
	nn_features *f;
	uint32_t ncolumns;

	if (!nn_read_count(r, MAX_COLUMNS, MIN_COLUMN_BYTES, &ncolumns, err))
		return NULL;
	f = nn_features_create(arena, (int) ncolumns, err);
	if (f == NULL)
		return NULL;
	for (uint32_t i = 0; i < ncolumns; i++)
		if (!load_column(f, r, err))
			return NULL;
	if (!place_slots(f, 0, NULL, err) || !place_columns(f, err))
		return NULL;
	if (f->layout.width == 0)
	{
		nn_fail(err, NN_CORRUPT, "model is damaged: it reads no column");
		return NULL;
	}
	return f;
}
