/*
 * model_file.c
 *	  Models as bytes; docs/model-format.md describes each of them.
 *
 * Sections come in one order, and each but NETW at most once, so there is one
 * way to write a model: what was read is written back with the same bytes.
 */
#include "model.h"

#include <math.h>
#include <string.h>

/* Sections in order of appearance. */
enum
{
	SECTION_FEATURES,
	SECTION_TARGETS,
	SECTION_LOSS,
	SECTION_TIME_ZONE,
	SECTION_NETWORK,
	SECTION_DESCRIPTION,
	SECTIONS
};

static const char section_tags[SECTIONS][5] = {"FEAT", "TARG", "LOSS",
											   "TZON", "NETW", "info"};

/* Bytes of a stored class and of a stored target, at least. */
#define MIN_CLASS_BYTES	 4
#define MIN_TARGET_BYTES 46

static bool
write_targets(const nn_model *m, nn_writer *w, nn_error *err)
{
	if (!nn_write_u8(w, m->task, err) || !nn_write_u32(w, m->ntargets, err))
		return false;
	for (int i = 0; i < m->ntargets; i++)
	{
		const nn_target *t = &m->targets[i];

		if (!nn_write_text(w, t->name, strlen(t->name), err) ||
			!nn_write_text(w, t->type_name, strlen(t->type_name), err) ||
			!nn_write_u8(w, t->label_type, err) ||
			!nn_write_u32(w, t->nclasses, err))
			return false;
		for (int j = 0; j < t->nclasses; j++)
			if (!nn_write_text(w, t->classes[j], strlen(t->classes[j]), err))
				return false;
		if (!nn_write_f64(w, t->mean, err) || !nn_write_f64(w, t->scale, err) ||
			!nn_write_f64(w, t->min, err) || !nn_write_f64(w, t->max, err) ||
			!nn_write_u8(w, t->clamp, err))
			return false;
	}
	return true;
}

static bool
write_network(const nn_network *n, nn_writer *w, nn_error *err)
{
	size_t count = n->graph->nparams;

	for (size_t i = 0; i < count; i++)
		if (!isfinite(n->params[i]))
			return nn_fail(err, NN_NUMERIC,
						   "network has weights that are not finite");
	return nn_write_text(w, n->graph->text, strlen(n->graph->text), err) &&
		   nn_write_u64(w, count, err) &&
		   nn_write_reals(w, n->params, count, err);
}

/* The content of a section; number is that of the network. */
static bool
write_content(const nn_model *m, int section, int number, nn_writer *w,
			  nn_error *err)
{
	const char *text;

	switch (section)
	{
		case SECTION_FEATURES:
			return nn_features_save(m->features, w, err);
		case SECTION_TARGETS:
			return write_targets(m, w, err);
		case SECTION_LOSS:
			text = m->loss->text;
			break;
		case SECTION_TIME_ZONE:
			text = m->time_zone;
			break;
		case SECTION_NETWORK:
			return write_network(&m->networks[number], w, err);
		default:
			text = m->description;
			break;
	}
	return nn_write_text(w, text, strlen(text), err);
}

static int
count_sections(const nn_model *m, int section)
{
	switch (section)
	{
		case SECTION_TIME_ZONE:
			return m->time_zone != NULL;
		case SECTION_NETWORK:
			return m->nnetworks;
		case SECTION_DESCRIPTION:
			return m->description != NULL;
		default:
			return 1;
	}
}

bool
nn_model_write(const nn_model *m, nn_writer *w, nn_error *err)
{
	static const char zeros[NN_MODEL_HEADER];
	size_t start = w->used, expected = NN_MODEL_HEADER;
	nn_writer length;

	for (int i = 0; i < m->nnetworks; i++)
		expected += 4 * m->networks[i].graph->nparams + 1024;
	if (!nn_writer_reserve(w, expected, err) ||
		!nn_write(w, NN_MODEL_MAGIC, 8, err) ||
		!nn_write_u32(w, NN_FORMAT_VERSION, err) ||
		!nn_write_u32(w, NN_FORMAT_VERSION, err) ||
		!nn_write(w, zeros, NN_MODEL_HEADER - 16, err))
		return false;
	for (int section = 0; section < SECTIONS; section++)
		for (int i = 0; i < count_sections(m, section); i++)
		{
			size_t mark;

			if (!nn_section_begin(w, section_tags[section], &mark, err) ||
				!write_content(m, section, i, w, err) ||
				!nn_section_end(w, mark, err))
				return false;
		}
	/* the length is known only now, and its place is there already */
	length = *w;
	length.used = start + 16;
	return nn_write_u64(&length, w->used - start, err);
}

bool
nn_model_check_header(const void *bytes, size_t n, nn_error *err)
{
	nn_reader r = {.bytes = bytes, .left = n, .what = "the header"};
	char magic[8];
	uint32_t version, oldest;
	uint64_t length;

	if (n < NN_MODEL_HEADER)
		return nn_fail(err, NN_CORRUPT,
					   "model is damaged: it has only %zu bytes", n);
	if (!nn_read(&r, magic, 8, err) || !nn_read_u32(&r, &version, err) ||
		!nn_read_u32(&r, &oldest, err) || !nn_read_u64(&r, &length, err))
		return false;
	if (memcmp(magic, NN_MODEL_MAGIC, 8) != 0)
		return nn_fail(err, NN_CORRUPT, "these bytes are not a model");
	if (version == 0 || oldest == 0 || oldest > version)
		return nn_fail(err, NN_CORRUPT,
					   "model is damaged: its version is wrong");
	if (oldest > NN_FORMAT_VERSION)
	{
		nn_fail(err, NN_VERSION,
				"model has format %u, but this version reads formats up to %d",
				oldest, NN_FORMAT_VERSION);
		return nn_hint(err, "Update the extension.");
	}
	if (length != n)
		return nn_fail(err, NN_CORRUPT,
					   "model is damaged: it has %zu bytes instead of %llu", n,
					   (unsigned long long) length);
	for (int i = NN_MODEL_DIGEST_FROM; i < NN_MODEL_HEADER; i++)
		if (((const unsigned char *) bytes)[i] != 0)
			return nn_fail(err, NN_CORRUPT,
						   "model is damaged: its header is wrong");
	return true;
}

static bool
bad_targets(nn_error *err)
{
	return nn_fail(err, NN_CORRUPT, "model is damaged: targets are wrong");
}

static bool
read_target(nn_target *t, nn_arena *arena, nn_reader *r, nn_error *err)
{
	uint8_t label_type, clamp;
	uint32_t nclasses;

	if (!nn_read_text(r, arena, &t->name, NULL, err) ||
		!nn_read_text(r, arena, &t->type_name, NULL, err) ||
		!nn_read_u8(r, &label_type, err) ||
		!nn_read_count(r, NN_MAX_MODEL_CLASSES, MIN_CLASS_BYTES, &nclasses,
					   err))
		return false;
	t->classes = nn_alloc_array(arena, nclasses + 1, sizeof(char *), err);
	if (t->classes == NULL)
		return false;
	for (uint32_t i = 0; i < nclasses; i++)
		if (!nn_read_text(r, arena, &t->classes[i], NULL, err))
			return false;
	if (!nn_read_f64(r, &t->mean, err) || !nn_read_f64(r, &t->scale, err) ||
		!nn_read_f64(r, &t->min, err) || !nn_read_f64(r, &t->max, err) ||
		!nn_read_u8(r, &clamp, err))
		return false;
	if (label_type > NN_LABEL_NUMBER || clamp > 1 || !isfinite(t->mean) ||
		!isfinite(t->scale) || (clamp && !(t->min <= t->max)))
		return bad_targets(err);
	t->label_type = label_type;
	t->nclasses = (int) nclasses;
	t->clamp = clamp;
	return true;
}

/* Whether a task can have such a target. */
static bool
target_fits(nn_task task, const nn_target *t)
{
	switch (task)
	{
		case NN_REGRESSION:
			return t->nclasses == 0 && t->scale != 0;
		case NN_MULTICLASS:
			return t->nclasses >= 2;
		default:
			return t->nclasses == 2;
	}
}

static bool
read_targets(nn_model *m, nn_reader *r, nn_error *err)
{
	uint8_t task;
	uint32_t ntargets;

	if (!nn_read_u8(r, &task, err) ||
		!nn_read_count(r, NN_MAX_TARGETS, MIN_TARGET_BYTES, &ntargets, err))
		return false;
	if (task > NN_MULTILABEL || ntargets == 0 ||
		((task == NN_BINARY || task == NN_MULTICLASS) && ntargets != 1))
		return bad_targets(err);
	m->task = task;
	m->ntargets = (int) ntargets;
	m->targets = nn_alloc_array(m->arena, ntargets, sizeof(nn_target), err);
	if (m->targets == NULL)
		return false;
	for (uint32_t i = 0; i < ntargets; i++)
		if (!read_target(&m->targets[i], m->arena, r, err))
			return false;
	for (int i = 0; i < m->ntargets; i++)
		if (!target_fits(m->task, &m->targets[i]))
			return bad_targets(err);
	m->outputs = nn_model_predicted(m->task, m->ntargets, m->targets);
	return true;
}

static bool
read_loss(nn_model *m, nn_reader *r, nn_error *err)
{
	const char *text;

	if (!nn_read_text(r, m->arena, &text, NULL, err))
		return false;
	m->loss = nn_loss_parse(m->arena, text, err);
	if (m->loss == NULL)
		return false;
	if ((m->loss->ops->tasks & 1u << m->task) == 0 ||
		(m->loss->ops->categorical && m->targets[0].nclasses == 0))
		return nn_fail(err, NN_CORRUPT,
					   "model is damaged: loss \"%s\" does not fit its targets",
					   text);
	return true;
}

static bool
read_network(nn_model *m, nn_reader *r, nn_error *err)
{
	nn_network *network = &m->networks[m->nnetworks];
	const char *text;
	uint64_t count;
	nn_real *params;

	if (m->nnetworks == NN_MAX_NETWORKS)
		return nn_fail(err, NN_CORRUPT,
					   "model is damaged: it has more than %d networks",
					   NN_MAX_NETWORKS);
	if (!nn_read_text(r, m->arena, &text, NULL, err) ||
		!nn_read_u64(r, &count, err))
		return false;
	network->graph = nn_graph_build(m->arena, text, &m->features->layout, err);
	if (network->graph == NULL)
		return false;
	if (count != network->graph->nparams || r->left / 4 < count)
		return nn_fail(err, NN_CORRUPT,
					   "model is damaged: a network of %zu weights has %llu",
					   network->graph->nparams, (unsigned long long) count);
	if (network->graph->outputs !=
		nn_model_outputs(m->task, m->loss, m->ntargets, m->targets))
		return nn_fail(err, NN_CORRUPT,
					   "model is damaged: a network has %d outputs",
					   network->graph->outputs);
	params = nn_alloc_array(m->arena, count + 1, sizeof(nn_real), err);
	if (params == NULL || !nn_read_reals(r, params, count, err))
		return false;
	network->params = params;
	m->nnetworks++;
	return true;
}

static bool
read_content(nn_model *m, int section, nn_reader *r, nn_error *err)
{
	switch (section)
	{
		case SECTION_FEATURES:
			m->features = nn_features_load(m->arena, r, err);
			return m->features != NULL;
		case SECTION_TARGETS:
			return read_targets(m, r, err);
		case SECTION_LOSS:
			return read_loss(m, r, err);
		case SECTION_TIME_ZONE:
			return nn_read_text(r, m->arena, &m->time_zone, NULL, err);
		case SECTION_NETWORK:
			return read_network(m, r, err);
		default:
			return nn_read_text(r, m->arena, &m->description, NULL, err);
	}
}

/* The section of a tag; SECTIONS for one to skip, -1 for one unheard of. */
static int
find_section(const char tag[4])
{
	for (int i = 0; i < SECTIONS; i++)
		if (memcmp(tag, section_tags[i], 4) == 0)
			return i;
	return tag[0] >= 'a' && tag[0] <= 'z' ? SECTIONS : -1;
}

/*
 * One section.  next is the first section that may come: all before it must
 * have been, or be optional.
 */
static bool
read_section(nn_model *m, const char tag[4], nn_reader *r, int *next,
			 nn_error *err)
{
	int section = find_section(tag);

	if (section == SECTIONS)
		return true;
	if (section < 0)
	{
		nn_fail(err, NN_VERSION,
				"model has a part that this version does not know");
		return nn_hint(err, "Update the extension.");
	}
	for (int i = *next; i < section; i++)
		if (i != SECTION_TIME_ZONE &&
			!(i == SECTION_NETWORK && m->nnetworks > 0))
			return nn_fail(err, NN_CORRUPT,
						   "model is damaged: section %s is missing",
						   section_tags[i]);
	if (section < *next)
		return nn_fail(err, NN_CORRUPT,
					   "model is damaged: section %s is out of place",
					   section_tags[section]);
	r->what = section_tags[section];
	if (!read_content(m, section, r, err))
		return false;
	if (r->left > 0)
		return nn_fail(err, NN_CORRUPT,
					   "model is damaged: section %s is too long",
					   section_tags[section]);
	*next = section == SECTION_NETWORK ? section : section + 1;
	return true;
}

/*
 * Text inside that does not parse is damage, whatever its parser calls it; a
 * name it does not know may be of a later version.
 */
static void
classify_failure(nn_error *err)
{
	switch (err->code)
	{
		case NN_SYNTAX:
		case NN_SHAPE:
		case NN_INVALID:
			err->code = NN_CORRUPT;
			nn_detail(err, "The model is damaged.");
			break;
		case NN_UNDEFINED:
		case NN_UNSUPPORTED:
			err->code = NN_VERSION;
			nn_detail(err, "The model was made by a newer version, or is "
						   "damaged.");
			break;
		default:
			break;
	}
}

/* All sections into a new model. */
static nn_model *
read_model(nn_arena *arena, nn_reader *all, nn_error *err)
{
	nn_model *m = nn_alloc(arena, sizeof(*m), err);
	nn_reader content;
	char tag[4];
	int next = SECTION_FEATURES;

	if (m == NULL)
		return NULL;
	m->arena = arena;
	m->networks =
		nn_alloc_array(arena, NN_MAX_NETWORKS, sizeof(nn_network), err);
	if (m->networks == NULL)
		return NULL;
	while (nn_read_section(all, tag, &content, err))
		if (!read_section(m, tag, &content, &next, err))
		{
			classify_failure(err);
			return NULL;
		}
	if (err->code != NN_OK)
		return NULL;
	if (m->nnetworks == 0)
	{
		nn_fail(err, NN_CORRUPT, "model is damaged: it has no network");
		return NULL;
	}
	return m;
}

nn_model *
nn_model_read(nn_arena *arena, const void *bytes, size_t n, nn_crc32c crc32c,
			  size_t max_memory, nn_error *err)
{
	nn_reader all = {.crc32c = crc32c, .what = "the model"};
	size_t before = nn_arena_size(arena);
	nn_model *m;

	if (!nn_model_check_header(bytes, n, err))
		return NULL;
	all.bytes = (const unsigned char *) bytes + NN_MODEL_HEADER;
	all.left = n - NN_MODEL_HEADER;
	if (max_memory > 0 && max_memory < SIZE_MAX - before)
		nn_arena_limit(arena, before + max_memory);
	m = read_model(arena, &all, err);
	nn_arena_limit(arena, SIZE_MAX);
	return m;
}
