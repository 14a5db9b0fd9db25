/* builds: float asan */
/*
 * test_recipe.c
 *	  The default network builds on every mix of sections, and the plan keeps
 *	  to the time it is given.
 */
#include "check.h"
#include "recipe.h"

static const int levels[] = {3, 5};

/* A layout of the sections whose bits are set. */
static nn_layout
layout_of(unsigned kinds, int numbers)
{
	nn_layout l = {0};

	for (int kind = 0; kind < NN_SECTION_KINDS; kind++)
	{
		nn_section *s = &l.section[l.nsections];

		if ((kinds & 1u << kind) == 0)
			continue;
		s->name = nn_section_names[kind];
		s->offset = l.width;
		s->count = kind == NN_SECTION_NUMBER ? numbers : 2;
		s->levels = kind >= NN_SECTION_CATEGORY ? levels : NULL;
		l.width += s->count;
		l.nsections++;
	}
	return l;
}

static bool
builds(nn_arena *arena, const nn_layout *layout, const char *text, int outputs,
	   nn_error *err)
{
	nn_graph *g =
		text != NULL ? nn_graph_build(arena, text, layout, err) : NULL;

	return g != NULL && g->outputs == outputs;
}

static void
networks(void)
{
	for (unsigned kinds = 1; kinds < 1u << NN_SECTION_KINDS; kinds++)
		for (int numbers = 3; numbers <= 300; numbers += 297)
		{
			nn_error err = {0};
			nn_arena *arena = nn_arena_create(&check_heap, &err);
			nn_layout layout = layout_of(kinds, numbers);
			const char *text;

			text = nn_recipe_network(arena, &layout, NN_MULTICLASS, 4, &err);
			check(builds(arena, &layout, text, 4, &err),
				  "default network, sections %x, %d numbers: %s", kinds,
				  numbers, err.message);
			text = nn_recipe_complete(arena, &layout, "dense(7) relu", 2, &err);
			check(builds(arena, &layout, text, 2, &err),
				  "a network of one's own, sections %x, %d numbers: %s", kinds,
				  numbers, err.message);
			nn_arena_destroy(arena);
		}
}

static void
parts(void)
{
	nn_error err = {0};
	nn_arena *arena = nn_arena_create(&check_heap, &err);
	nn_layout all = layout_of(0xf, 3), numbers = layout_of(1, 3);

	check(strcmp(nn_recipe_complete(arena, &numbers, "relu", 1, &err),
				 "relu dense(1)") == 0,
		  "numbers alone need no prelude");
	check(
		strcmp(nn_recipe_complete(arena, &all, "input(flag) dense(2)", 1, &err),
			   "input(flag) dense(2) dense(1)") == 0,
		"a text with an input of its own gets no prelude");
	check(nn_recipe_complete(arena, &all, "dense(", 1, &err) == NULL &&
			  err.code == NN_SYNTAX,
		  "a syntax error is reported");
	for (int task = NN_REGRESSION; task <= NN_MULTILABEL; task++)
	{
		const nn_recipe *r = nn_recipe_training(task);
		nn_loss *loss = nn_loss_parse(arena, r->loss, &err);

		check(loss != NULL && (loss->ops->tasks & 1u << task) != 0,
			  "loss of task %d", task);
		check(nn_optimizer_parse(arena, r->optimizer, &err) != NULL &&
				  nn_schedule_parse(arena, r->schedule, &err) != NULL,
			  "optimizer and schedule of task %d", task);
	}
	nn_arena_destroy(arena);
}

static double
planned_seconds(const nn_plan *plan, double work, int threads)
{
	return 6 * work * (double) plan->epoch_rows * plan->epochs /
		   (threads * NN_RECIPE_RATE);
}

static void
plans(void)
{
	static const int64_t rows[] = {10,	   255,	   1000,	99999,
								   100000, 300000, 5000000, 2000000000};
	static const double work[] = {1, 2e5, 1e7};

	for (int i = 0; i < (int) (sizeof(rows) / sizeof(rows[0])); i++)
		for (int j = 0; j < (int) (sizeof(work) / sizeof(work[0])); j++)
		{
			nn_plan p = {.batch_rows = nn_plan_batch(rows[i])};

			nn_plan_epochs(&p, work[j], rows[i], 2, 30, 256);
			check(p.epochs >= 16 && p.epochs <= 256 &&
					  p.epoch_rows <= rows[i] && p.epoch_rows >= p.batch_rows,
				  "%lld rows of %g: %d epochs of %lld", (long long) rows[i],
				  work[j], p.epochs, (long long) p.epoch_rows);
			check(planned_seconds(&p, work[j], 2) <= 30 * 1.01,
				  "%lld rows of %g take %.1f s", (long long) rows[i], work[j],
				  planned_seconds(&p, work[j], 2));
		}
	check(nn_plan_batch(100) == 100 && nn_plan_batch(1000) == 256 &&
			  nn_plan_batch(100000) == 512 && nn_plan_batch(300000) == 1024,
		  "batches grow with the rows");
}

int
main(void)
{
	networks();
	parts();
	plans();
	return check_failed;
}
