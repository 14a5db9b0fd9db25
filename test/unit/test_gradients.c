/* builds: double */
/*
 * test_gradients.c
 *	  Every layer's gradients against finite differences.
 *
 * The loss is the sum of the outputs with random weights.  Its derivative by
 * every parameter is compared with central differences, where the whole batch
 * is one member's, and where it is shared by a team of two.
 */
#include "examples.h"
#include "team.h"

#define ROWS   5
#define SAMPLE 40
#define STEP   1e-5
#define LIMIT  1e-7
#define TEAM   2

typedef struct run
{
	nn_arena *arena;
	nn_device device;
	nn_graph *g;
	nn_real *params, *grads, *before;
	nn_real x[SAMPLE * WIDTH];
	nn_real *weights; /* of the outputs */
	nn_exec *exec[TEAM];
	nn_team *team;
	int members;
} run;

/* The rows of a member of a team of a size. */
static int
first_row(const run *r, int member)
{
	return (member * ROWS + r->members - 1) / r->members;
}

static nn_pass
make_pass(const run *r, int member)
{
	return (nn_pass){.device = (nn_device *) &r->device,
					 .rows = first_row(r, member + 1) - first_row(r, member),
					 .first_row = first_row(r, member),
					 .batch_rows = ROWS,
					 .training = true,
					 .seed = 7,
					 .step = 3,
					 .team = r->members > 1 ? r->team : NULL,
					 .member = member};
}

static void
forward(int member, void *arg)
{
	run *r = arg;
	nn_pass p = make_pass(r, member);

	memcpy(r->exec[member]->x, r->x + p.first_row * WIDTH,
		   sizeof(nn_real) * (size_t) (p.rows * WIDTH));
	nn_exec_forward(r->exec[member], &p);
}

static void
backward(int member, void *arg)
{
	run *r = arg;
	nn_pass p = make_pass(r, member);
	nn_exec *e = r->exec[member];

	forward(member, arg);
	if (e->dy != NULL)
		memcpy(e->dy, r->weights + p.first_row * r->g->outputs,
			   sizeof(nn_real) * (size_t) (p.rows * r->g->outputs));
	nn_exec_backward(e, &p);
}

static double
loss(run *r)
{
	double sum = 0;

	forward(0, r);
	for (int i = 0; i < ROWS * r->g->outputs; i++)
		sum += r->weights[i] * r->exec[0]->y[i];
	return sum;
}

/* The sum of all members' gradients. */
static void
gradients(run *r, int members)
{
	r->members = members;
	nn_team_run(members > 1 ? r->team : NULL, backward, r);
	memset(r->grads, 0, sizeof(nn_real) * r->g->nparams);
	for (int m = 0; m < members; m++)
		for (size_t i = 0; i < r->g->nparams; i++)
			r->grads[i] += r->exec[m]->grads[i];
	r->members = 1;
}

static double
numeric(run *r, size_t i)
{
	nn_real value = r->params[i];
	double up, down;

	r->params[i] = value + STEP;
	up = loss(r);
	r->params[i] = value - STEP;
	down = loss(r);
	r->params[i] = value;
	return (up - down) / (2 * STEP);
}

/* The greatest difference of a layer's gradients, relative to the greatest. */
static double
layer_difference(run *r, const nn_layer *l, bool *nonzero)
{
	double greatest = 1, difference = 0;

	for (int j = 0; j < l->nparam; j++)
	{
		const nn_param *p = &l->param[j];

		for (size_t i = p->offset; i < p->offset + nn_count(&p->shape); i++)
		{
			double d = p->trainable ? numeric(r, i) : 0;

			if (d != 0)
				*nonzero = true;
			greatest = fmax(greatest, fabs(d));
			difference = fmax(difference, fabs(d - r->grads[i]));
			if (isnan(r->grads[i]))
				return NAN;
		}
	}
	return difference / greatest;
}

static bool
setup(run *r, const char *example, nn_error *err)
{
	const char *text = example_network(r->arena, example, err);
	size_t noutputs;

	r->g = text ? nn_graph_build(r->arena, text, &example_layout, err) : NULL;
	if (r->g == NULL)
		return false;
	noutputs = (size_t) (ROWS * r->g->outputs);
	r->params = nn_alloc_array(r->arena, r->g->nparams, sizeof(nn_real), err);
	r->before = nn_alloc_array(r->arena, r->g->nparams, sizeof(nn_real), err);
	r->grads = nn_alloc_array(r->arena, r->g->nparams, sizeof(nn_real), err);
	r->weights = nn_alloc_array(r->arena, noutputs, sizeof(nn_real), err);
	for (size_t i = 0; i < noutputs; i++)
		r->weights[i] = check_normal(i);
	example_rows(SAMPLE, 1, r->x);
	if (!nn_graph_initialize(r->g, 11, SAMPLE, r->x, r->params, err))
		return false;
	/* zeros and ones are special, and hide errors */
	for (int i = 0; i < r->g->nlayers; i++)
		for (int j = 0; j < r->g->layers[i].nparam; j++)
		{
			const nn_param *p = &r->g->layers[i].param[j];

			for (size_t k = 0; k < nn_count(&p->shape) && p->trainable; k++)
				r->params[p->offset + k] +=
					0.3 * check_normal(1000 + p->offset + k);
		}
	memcpy(r->before, r->params, sizeof(nn_real) * r->g->nparams);
	for (int m = 0; m < TEAM; m++)
	{
		r->exec[m] = nn_exec_create(r->arena, r->g, &r->device, r->params, ROWS,
									true, err);
		if (r->exec[m] == NULL)
			return false;
	}
	return true;
}

static void
check_example(const char *name, const char *example, nn_team *team)
{
	run r = {.device = {&nn_cpu_plain, NULL}, .team = team, .members = 1};
	nn_error err;

	r.arena = nn_arena_create(&check_heap, &err);
	if (!r.device.ops->open(&r.device, 0, &err) || !setup(&r, example, &err))
	{
		check(false, "%s: %s: %s", name, example, err.message);
		nn_arena_destroy(r.arena);
		return;
	}
	for (int members = 1; members <= TEAM; members++)
	{
		double worst = 0;
		bool nonzero = false;

		gradients(&r, members);
		for (int i = 0; i < r.g->nlayers; i++)
		{
			double d = layer_difference(&r, &r.g->layers[i], &nonzero);

			worst = isnan(d) ? INFINITY : fmax(worst, d);
		}
		check(worst <= LIMIT && nonzero, "%s: %s: %d members differ by %.2g",
			  name, example, members, worst);
	}
	check(memcmp(r.before, r.params, sizeof(nn_real) * r.g->nparams) == 0,
		  "%s: %s: a pass leaves parameters alone", name, example);
	for (int m = 0; m < TEAM; m++)
		nn_exec_release(r.exec[m]);
	r.device.ops->close(&r.device);
	nn_arena_destroy(r.arena);
}

int
main(void)
{
	nn_error err;
	nn_arena *arena = nn_arena_create(&check_heap, &err);
	nn_team *team = nn_team_create(arena, TEAM, &err);

	for (int i = 0; nn_layers[i] != NULL; i++)
	{
		const nn_named *named = &nn_layers[i]->named;

		check(named->examples != NULL && named->examples[0] != NULL,
			  "%s has examples", named->name);
		for (int j = 0; named->examples != NULL && named->examples[j]; j++)
			check_example(named->name, named->examples[j], team);
	}
	nn_team_destroy(team);
	nn_arena_destroy(arena);
	return check_failed;
}
