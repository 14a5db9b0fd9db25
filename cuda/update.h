/*
 * update.h
 *	  The change of a parameter, as device.h defines it: by a kernel of its own
 *	  (train.cu), or by that which has found the gradient (perceptron.h).
 */
#ifndef CUDA_UPDATE_H
#define CUDA_UPDATE_H

#include "gpu.h"

/* What an update needs of its arguments, computed once. */
typedef struct update
{
	nn_optimizer_kind kind;
	bool nesterov, centered, amsgrad, moving;
	float rate, keep, limit;
	double most;
	const double *squares;
	float momentum, rho, new_momentum, new_rho; /* new_x is 1 - x */
	float step, unbias, epsilon;				/* step, unbias: adam */
	const float *grad;
	float *slot[3], *param;
} update;

/* The change of a parameter, divided by the rate. */
static __device__ float
change_adam(const update &u, size_t i, float g)
{
	float m = u.momentum * u.slot[0][i] + u.new_momentum * g;
	float v = u.rho * u.slot[1][i] + u.new_rho * (g * g);

	u.slot[0][i] = m;
	u.slot[1][i] = v;
	if (u.amsgrad)
	{
		v = nn_at_least(v, u.slot[2][i]);
		u.slot[2][i] = v;
	}
	return u.step * m / (nn_sqrt(v) * u.unbias + u.epsilon);
}

static __device__ float
change_rmsprop(const update &u, size_t i, float g)
{
	float var = u.rho * u.slot[0][i] + u.new_rho * (g * g);

	u.slot[0][i] = var;
	if (u.centered)
	{
		float average = u.rho * u.slot[2][i] + u.new_rho * g;

		u.slot[2][i] = average;
		var = nn_at_least(var - average * average, 0);
	}
	g = g / (nn_sqrt(var) + u.epsilon);
	if (u.moving)
	{
		g = u.momentum * u.slot[1][i] + g;
		u.slot[1][i] = g;
	}
	return u.rate * g;
}

static __device__ float
change(const update &u, size_t i, float g)
{
	float v;

	switch (u.kind)
	{
		case NN_OPTIMIZER_SGD:
			if (!u.moving)
				return u.rate * g;
			v = u.momentum * u.slot[0][i] + g;
			u.slot[0][i] = v;
			return u.rate * (u.nesterov ? g + u.momentum * v : v);
		case NN_OPTIMIZER_ADAM:
			return change_adam(u, i, g);
		case NN_OPTIMIZER_RMSPROP:
			return change_rmsprop(u, i, g);
		case NN_OPTIMIZER_ADAGRAD:
			v = u.slot[0][i] + g * g;
			u.slot[0][i] = v;
			return u.rate * g / (nn_sqrt(v) + u.epsilon);
		case NN_OPTIMIZER_KINDS:
			break;
	}
	return 0;
}

/* Update a parameter's number i, whose gradient is g. */
static __device__ __forceinline__ void
make_update(const update &u, size_t i, float g)
{
	if (u.squares)
		g *= (float) nn_clip_scale(*u.squares, u.most);
	g = nn_at_most(nn_at_least(g, -u.limit), u.limit);
	u.param[i] = u.param[i] * u.keep - change(u, i, g);
}

static inline update
plan_update(const nn_optimizer_args *a)
{
	update u = {};

	u.kind = a->kind;
	u.nesterov = a->nesterov;
	u.centered = a->centered;
	u.amsgrad = a->amsgrad;
	u.moving = a->momentum != 0;
	u.rate = (float) a->rate;
	u.keep = (float) (1 - a->rate * a->decay);
	u.squares = a->squares;
	u.most = a->most;
	u.limit = a->clip_value > 0 ? (float) a->clip_value : INFINITY;
	u.momentum = (float) a->momentum;
	u.rho = (float) a->rho;
	u.new_momentum = (float) (1 - a->momentum);
	u.new_rho = (float) (1 - a->rho);
	u.step = (float) (a->rate / (1 - pow(a->momentum, (double) a->t)));
	u.unbias = (float) (1 / sqrt(1 - pow(a->rho, (double) a->t)));
	u.epsilon = (float) a->epsilon;
	u.grad = a->grad;
	for (int i = 0; i < 3; i++)
		u.slot[i] = a->slot[i];
	u.param = a->param;
	return u;
}

#endif /* CUDA_UPDATE_H */
