/*
 * fuzz_options.c
 *	  Random changes to the texts of losses, optimizers, schedules and encoders.
 *
 * Every text must either be refused with a message, or parse; then its
 * canonical text must parse too, and be its own canonical text.
 *
 *		fuzz_options [iterations [seed]]
 */
#include "../unit/check.h"
#include "encode.h"
#include "mutate.h"
#include "train.h"

/* The canonical text of what a text means, or NULL and *err. */
typedef const char *(*canonical)(nn_arena *arena, const char *text,
								 nn_error *err);

static const char *
loss_text(nn_arena *arena, const char *text, nn_error *err)
{
	nn_loss *loss = nn_loss_parse(arena, text, err);

	return loss == NULL ? NULL : loss->text;
}

static const char *
optimizer_text(nn_arena *arena, const char *text, nn_error *err)
{
	nn_optimizer *optimizer = nn_optimizer_parse(arena, text, err);

	return optimizer == NULL ? NULL : optimizer->text;
}

static const char *
schedule_text(nn_arena *arena, const char *text, nn_error *err)
{
	nn_schedule *schedule = nn_schedule_parse(arena, text, err);

	return schedule == NULL ? NULL : schedule->text;
}

static const char *
encoder_text(nn_arena *arena, const char *text, nn_error *err)
{
	nn_features *f = nn_features_create(arena, 1, err);
	nn_item *item = nn_text_parse_item(arena, text, err);
	const nn_encoder_ops *ops;
	nn_column *c = NULL;

	if (f == NULL || item == NULL)
		return NULL;
	ops = nn_named_find("encoder", (const void *const *) nn_encoders,
						item->name, err);
	if (ops == NULL)
		return NULL;
	/* as a column of the first class that it takes */
	for (int class = 0; class < NN_CLASSES && c == NULL; class ++)
	{
		if ((ops->classes & 1u << class) == 0)
			continue;
		c = nn_features_add(f, "x", (nn_column_class) class, "x",
							class == NN_CLASS_TEXT	   ? NN_SLOT_TEXT
							: class == NN_CLASS_VECTOR ? NN_SLOT_VECTOR
													   : NN_SLOT_REAL64,
							class == NN_CLASS_VECTOR ? 3 : 1, text, err);
		if (c == NULL)
			return NULL;
	}
	return nn_options_print(arena, ops->named.name, ops->named.options, c->conf,
							NULL, err);
}

static const canonical kinds[] = {loss_text, optimizer_text, schedule_text,
								  encoder_text};

#define NKINDS ((int) (sizeof(kinds) / sizeof(kinds[0])))

static void
collect_seeds(void)
{
	static const char *const composed[] = {
		"adamw(learning_rate = 0.01, weight_decay = 0.1, clipnorm = 1)",
		"piecewise(boundaries = [100, 200], values = [1, 0.5, 0.1])",
		"SGD(lr=1e-3, momentum=.9, nesterov=true, clipvalue=0.5)",
		"adam(beta_1 = nan, beta_2 = inf, epsilon = -1e-400)",
		"kl_divergence",
		NULL};

	add_seeds(composed);
	for (int i = 0; nn_losses[i] != NULL; i++)
		add_seeds(nn_losses[i]->named.examples);
	for (int i = 0; nn_optimizers[i] != NULL; i++)
		add_seeds(nn_optimizers[i]->named.examples);
	for (int i = 0; nn_schedules[i] != NULL; i++)
		add_seeds(nn_schedules[i]->named.examples);
	for (int i = 0; nn_encoders[i] != NULL; i++)
		add_seeds(nn_encoders[i]->named.examples);
}

/* What is wrong with what one kind of thing makes of a text, or NULL. */
static const char *
complaint(canonical kind, const char *text, int *parsed)
{
	nn_error err = {NN_OK};
	nn_arena *arena = nn_arena_create(&check_heap, &err);
	const char *first = kind(arena, text, &err), *second;
	const char *bad = NULL;

	if (first == NULL)
	{
		if (err.code == NN_OK || err.message[0] == '\0')
			bad = "refused without a reason";
	}
	else
	{
		(*parsed)++;
		second = kind(arena, first, &err);
		if (second == NULL)
			bad = "canonical text refused";
		else if (strcmp(first, second) != 0)
			bad = "canonical text changes";
	}
	nn_arena_destroy(arena);
	return bad;
}

int
main(int argc, char **argv)
{
	int iterations = argc > 1 ? atoi(argv[1]) : 20000, parsed = 0, bad = 0;
	uint64_t seed = argc > 2 ? (uint64_t) atoll(argv[2]) : 1;
	char text[MAX_TEXT];

	collect_seeds();
	for (int i = 0; i < iterations && bad < 10; i++)
	{
		mutate(nn_random_key(seed, NN_STREAM_SAMPLE, (uint64_t) i), text);
		for (int kind = 0; kind < NKINDS; kind++)
		{
			const char *why = complaint(kinds[kind], text, &parsed);

			if (why != NULL)
			{
				bad++;
				check(false, "%s by kind %d: \"%s\"", why, kind, text);
			}
		}
	}
	check(bad == 0 && parsed > iterations / 50, "%d texts, understood %d times",
		  iterations, parsed);
	return check_failed;
}
