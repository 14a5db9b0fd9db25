/*
 * classes.h
 *	  The loss of a row of classes, by a warp.
 */
#ifndef CUDA_CLASSES_H
#define CUDA_CLASSES_H

#include "gpu.h"

/* The loss, and what its slope needs. */
struct class_loss
{
	double value;
	float shift, scale, main, rest;
	int label;

	__device__ float slope(float x, int j) const
	{
		return scale * (nn_exp(x - shift) - (j == label ? main : rest));
	}
};

/* Value and factor of the slope of the cross entropy, focal or not. */
static __device__ __forceinline__ double
entropy_of_class(const nn_loss_args &a, double logit, double lse, double sum,
				 double *factor)
{
	double logp = logit - lse, q, power;

	*factor = 1;
	if (a.kind != NN_LOSS_CATEGORICAL_FOCAL)
		return lse - (1 - a.p[0]) * logit - a.p[0] / a.n * sum;
	q = -expm1(logp < 0 ? logp : 0);
	q = q < DBL_MIN ? DBL_MIN : q;
	power = a.p[1] * pow(q, a.p[0]);
	*factor = power - a.p[0] * power / q * exp(logp) * logp;
	return -power * logp;
}

/* Of the warp's row i, whose predictions are x.  A class number that does not
 * exist gives NaN. */
static __device__ __forceinline__ class_loss
loss_of_row(const nn_loss_args &a, size_t i, const float *x)
{
	int lane = threadIdx.x % WARP, n = a.n;
	double smoothing = a.kind == NN_LOSS_CATEGORICAL_FOCAL ? 0 : a.p[0];
	double weight = a.weight ? a.weight[i] : 1, lse, factor;
	double sum = 0, exponentials = 0;
	bool inside = a.y[i] >= 0 && a.y[i] < (float) n;
	float most = -INFINITY, logit;
	class_loss of;

	of.label = inside ? (int) a.y[i] : 0;
	/* read before x may be overwritten: see the end */
	logit = x[of.label];
	of.rest = (float) (smoothing / n);
	of.main = (float) (1 - smoothing + smoothing / n);
	for (int j = lane; j < n; j += WARP)
		most = nn_at_least(x[j], most);
	most = warp_max(most);
	for (int j = lane; j < n; j += WARP)
	{
		sum += x[j];
		exponentials += nn_exp(x[j] - most);
	}
	lse = most + log(warp_sum(exponentials));
	of.value = weight * entropy_of_class(a, logit, lse, warp_sum(sum), &factor);
	if (!inside)
		of.value = NAN;
	of.shift = (float) lse;
	of.scale = (float) (factor * weight * a.scale);
	/* a shuffle orders no memory */
	__syncwarp();
	return of;
}

#endif /* CUDA_CLASSES_H */
