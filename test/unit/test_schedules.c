/* builds: float asan */
/*
 * test_schedules.c
 *	  Schedules against PyTorch's (reference/schedules.py), and how losses,
 *	  optimizers and schedules are named.
 */
#include "reference.h"
#include "train.h"

static nn_arena *arena;

static void
compare_line(char *line)
{
	bool observe = strncmp(line, "observe ", 8) == 0;
	int count, skip;
	long long steps, epoch;
	double rate;
	char *text, *rates;
	nn_error err = {0};
	nn_schedule *s;

	line += observe ? 8 : 0;
	line[strcspn(line, "\n")] = '\0';
	if (sscanf(line, "%lld %lld %lf %d %n", &steps, &epoch, &rate, &count,
			   &skip) != 4)
	{
		check(false, "unreadable line: %s", line);
		return;
	}
	rates = text = line + skip;
	for (int i = 0; i < count; i++)
		strtod(text, &text);
	text++;
	s = nn_schedule_parse(arena, text, &err);
	if (s == NULL)
	{
		check(false, "%s: %s", text, err.message);
		return;
	}
	for (int i = 0; i < count; i++)
	{
		double wanted = strtod(rates, &rates), found;

		if (observe)
			nn_schedule_observe(s, 0.5 + 0.4 * phase(1, i) / (1 + i));
		found = nn_schedule_rate(s, rate, i, steps, epoch);
		check(fabs(found - wanted) <= 1e-12 * wanted + 1e-16,
			  "%s, step %d: %.17g, not %.17g", text, i, found, wanted);
	}
}

/* Every registered thing parses its own examples and prints what it parsed. */
static void
check_examples(const char *what, const nn_named *named,
			   const char *(*canonical)(const char *text, nn_error *err))
{
	nn_error err = {0};

	for (int i = -1; i < 0 || named->examples[i] != NULL; i++)
	{
		const char *text = i < 0 ? named->name : named->examples[i], *once,
				   *twice = NULL;

		/* a bare name does where nothing is required */
		if (i < 0 && strcmp(named->name, "piecewise") == 0)
			continue;
		once = canonical(text, &err);
		if (once != NULL)
			twice = canonical(once, &err);
		check(twice != NULL && strcmp(once, twice) == 0, "%s %s: %s", what,
			  text, once == NULL ? err.message : once);
	}
	for (int i = 0; named->aliases != NULL && named->aliases[i] != NULL; i++)
	{
		const char *text = nn_printf(
			arena, &err, "%s%s", named->aliases[i],
			strcmp(named->name, "piecewise") == 0 ? "([1], [1, 2])" : "");
		const char *found = canonical(text, &err);

		check(found != NULL &&
				  strncmp(found, named->name, strlen(named->name)) == 0,
			  "%s %s is %s", what, text,
			  found == NULL ? err.message : named->name);
	}
}

static const char *
loss_text(const char *text, nn_error *err)
{
	nn_loss *loss = nn_loss_parse(arena, text, err);

	return loss == NULL ? NULL : loss->text;
}

static const char *
optimizer_text(const char *text, nn_error *err)
{
	nn_optimizer *o = nn_optimizer_parse(arena, text, err);

	return o == NULL ? NULL : o->text;
}

static const char *
schedule_text(const char *text, nn_error *err)
{
	nn_schedule *s = nn_schedule_parse(arena, text, err);

	return s == NULL ? NULL : s->text;
}

static void
names(void)
{
	nn_error err = {0};
	nn_optimizer *o;

	for (int i = 0; nn_losses[i] != NULL; i++)
		check_examples("loss", &nn_losses[i]->named, loss_text);
	for (int i = 0; nn_optimizers[i] != NULL; i++)
	{
		check_examples("optimizer", &nn_optimizers[i]->named, optimizer_text);
		o = nn_optimizer_parse(arena, nn_optimizers[i]->named.name, &err);
		check(o->learning_rate == nn_optimizers[i]->learning_rate,
			  "%s: default learning rate", o->text);
	}
	for (int i = 0; nn_schedules[i] != NULL; i++)
		check_examples("schedule", &nn_schedules[i]->named, schedule_text);
	o = nn_optimizer_parse(arena, "AdamW(lr = 0.02, eps = 1e-8, clipnorm = 1)",
						   &err);
	check(o != NULL && o->learning_rate == 0.02 && o->weight_decay == 0.004 &&
			  o->clipnorm == 1,
		  "arguments of optimizers");
}

/* A text, the code it is refused with, and a part of message or hint. */
static void
refuse(const char *(*canonical)(const char *text, nn_error *err),
	   const char *text, nn_code code, const char *part)
{
	nn_error err = {0};
	const char *found = canonical(text, &err);

	check(found == NULL && err.code == code &&
			  (strstr(err.message, part) != NULL ||
			   strstr(err.hint, part) != NULL),
		  "\"%s\" is refused: code %d, %s; %s", text, err.code, err.message,
		  err.hint);
}

static void
refusals(void)
{
	refuse(loss_text, "hinge", NN_UNSUPPORTED, "Use binary_crossentropy.");
	refuse(loss_text, "KLDivLoss", NN_UNSUPPORTED, "is not supported");
	refuse(loss_text, "CTC_Loss", NN_UNSUPPORTED, "is not supported");
	refuse(loss_text, "hubber", NN_UNDEFINED, "huber");
	refuse(loss_text, "huber(delta = 0)", NN_INVALID, "delta");
	refuse(loss_text, "quantile(1)", NN_INVALID, "quantile");
	refuse(loss_text, "mse(1)", NN_INVALID, "m");
	refuse(loss_text, "mse(", NN_SYNTAX, "");
	refuse(optimizer_text, "Lion", NN_UNSUPPORTED, "Use adamw.");
	refuse(optimizer_text, "adan", NN_UNDEFINED, "adam");
	refuse(optimizer_text, "adam(beta_1 = 1)", NN_INVALID, "beta_1");
	refuse(optimizer_text, "adam(learning_rate = 0)", NN_INVALID,
		   "learning_rate");
	refuse(optimizer_text, "sgd(clipnorm = 1, clipvalue = 1)", NN_INVALID,
		   "only one of");
	refuse(optimizer_text, "sgd(beta_1 = 0.5)", NN_INVALID, "beta_1");
	refuse(schedule_text, "StepLR", NN_UNSUPPORTED, "staircase");
	refuse(schedule_text, "cosin", NN_UNDEFINED, "cosine");
	refuse(schedule_text, "piecewise([1, 2], [1, 2])", NN_INVALID,
		   "2 boundaries need 3 values, not 2");
	refuse(schedule_text, "piecewise([2, 1], [1, 2, 3])", NN_INVALID,
		   "ascending");
	refuse(schedule_text, "piecewise", NN_INVALID, "boundaries");
}

/* A schedule stays finite and not negative wherever it is asked. */
static void
edges(void)
{
	static const char *const texts[] = {"exponential",
										"cosine(warmup_steps = 100)",
										"cosine(warmup_steps = 5)",
										"one_cycle",
										"one_cycle(pct_start = 0)",
										"one_cycle(pct_start = 1)",
										"piecewise([1], [1, 2])",
										"plateau(patience = 0)",
										"coslog(30)",
										"flat_cosine(1)",
										"flat_cosine(0)"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
	{
		nn_error err = {0};
		nn_schedule *s = nn_schedule_parse(arena, texts[i], &err);
		bool ok = s != NULL;

		for (int64_t steps = 0; ok && steps < 12; steps++)
		{
			nn_schedule_observe(s, steps % 3 ? NAN : INFINITY);
			for (int64_t step = 0; step <= steps + 1; step++)
			{
				double r = nn_schedule_rate(s, 1, step, steps, steps / 2);

				ok = ok && isfinite(r) && r >= 0 && r <= 2;
			}
		}
		check(ok, "%s at the edges", texts[i]);
	}
	check(nn_schedule_rate(NULL, 0.5, 1, 2, 1) == 0.5, "no schedule");
}

static void
out_of_memory(void)
{
	bool ok = false;
	int n = 0;

	for (; !ok && n < 100; n++)
	{
		nn_error err = {0};
		nn_arena *a;

		failing_after = n;
		a = nn_arena_create(&check_failing, &err);
		ok = a != NULL && nn_loss_parse(a, "huber", &err) != NULL &&
			 nn_optimizer_parse(a, "adam", &err) != NULL &&
			 nn_schedule_parse(a, "plateau", &err) != NULL;
		if (!ok)
			check(err.code == NN_NOMEM, "without memory at %d: code %d", n,
				  err.code);
		if (a != NULL)
			nn_arena_destroy(a);
	}
	check(ok && n > 1 && failing_live == 0, "%d allocations are checked", n);
}

int
main(int argc, char **argv)
{
	nn_error err = {0};
	FILE *f = reference_open(argc, argv, "schedules.txt");
	char *line = NULL;
	size_t size = 0;

	if (f == NULL)
		return 1;
	arena = nn_arena_create(&check_heap, &err);
	while (getline(&line, &size, f) > 0)
		compare_line(line);
	free(line);
	fclose(f);
	names();
	refusals();
	edges();
	nn_arena_destroy(arena);
	out_of_memory();
	return check_failed;
}
