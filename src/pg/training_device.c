/*
 * training_device.c
 *	  What a training computes on.
 *
 * A GPU that was asked for is looked for before any row is read.  "auto" is
 * decided when the network and the number of steps are known, by what they are
 * taken to cost: of the CPU what the recipe plans with (recipe.h), of the GPU
 * what was measured.  The GPU must be twice as fast, so that the decision does
 * not hang on the third digit of a measurement.
 *
 * Where the GPU's memory is too small, the first thing to go are models that
 * no query uses, then the rows (they stay with the host), then half of the
 * batch where its size was ours to choose, and in the end, with "auto", the
 * GPU.  With "auto" a GPU that fails later on is left, too (training_loop.c).
 */
#include "gpu.h"
#include "predict_device.h"
#include "training.h"

#include <math.h>

#define LEAST_BATCH 32
/* Of the memory that is free, others may take some meanwhile. */
#define USABLE_SHARE 0.95

static const char *const precisions[] = {"fp32", "tf32", "bf16", NULL};

static void
check_precision(NeuralTraining *t)
{
	const char *precision = t->options->precision;
	int i = 0;

	if (precision == NULL)
		return;
	while (precisions[i] != NULL &&
		   pg_strcasecmp(precisions[i], precision) != 0)
		i++;
	if (precisions[i] == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unrecognized precision \"%s\"", precision),
						errhint("It can be fp32, tf32 or bf16.")));
	if (i != NN_FP32 && t->device_wish == NEURAL_DEVICE_CPU)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the CPU has no precision %s", precisions[i]),
						errhint("Use device => 'cuda' or 'auto'.")));
	t->conf.precision = (nn_precision) i;
}

const char *
neural_training_precision(const NeuralTraining *t)
{
	if (!t->device->own_memory || t->conf.precision == NN_FP32)
		return NULL;
	return precisions[t->conf.precision];
}

void
neural_device_check(NeuralTraining *t)
{
	const char *device = t->options->device;
	const char *why;

	t->threads = t->options->threads > 0
					 ? Min(t->options->threads, neural_threads())
					 : neural_threads();
	t->device = neural_training_device();
	if (device == NULL || pg_strcasecmp(device, "auto") == 0)
		t->device_wish = NEURAL_DEVICE_AUTO;
	else if (pg_strcasecmp(device, "cpu") == 0)
		t->device_wish = NEURAL_DEVICE_CPU;
	else if (pg_strcasecmp(device, "cuda") == 0 ||
			 pg_strcasecmp(device, "gpu") == 0)
	{
		t->device_wish = NEURAL_DEVICE_CUDA;
		t->device = neural_gpu_use(true, &why);
		t->gpu_used = true;
	}
	else
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unrecognized device \"%s\"", device),
						errhint("It can be auto, cpu or cuda.")));
	check_precision(t);
}

static double
trained_rows(const NeuralTraining *t)
{
	return (double) t->plan.epochs * (double) t->plan.epoch_rows;
}

/* Bytes of the training rows as the device keeps them. */
static Size
rows_bytes(const NeuralTraining *t)
{
	return (Size) t->training_rows *
		   (t->features->layout.width + neural_target_width(t) + 1) *
		   sizeof(nn_real);
}

static double
cpu_seconds(const NeuralTraining *t)
{
	return 6 * t->graph->work * trained_rows(t) / (t->threads * NN_RECIPE_RATE);
}

static double
gpu_seconds(const NeuralTraining *t, const nn_device_ops *cuda)
{
	double steps =
		t->plan.epochs * ceil((double) t->plan.epoch_rows / t->plan.batch_rows);
	double kernels = 6;
	nn_device_costs costs;

	cuda->costs(&costs);
	for (int i = 0; i < t->graph->nlayers; i++)
		kernels += 3 + t->graph->layers[i].nparam;
	return (neural_gpu_is_used() ? 0 : costs.start) +
		   (double) rows_bytes(t) * costs.byte +
		   steps * (costs.launch + kernels * costs.node) +
		   3 * t->graph->work * trained_rows(t) * costs.product;
}

static void
use_cpu(NeuralTraining *t)
{
	neural_device_rows_release(t);
	if (t->gpu_used)
		neural_gpu_leave();
	t->gpu_used = false;
	t->device = neural_training_device();
	t->conf.threads = t->threads;
	neural_gpu_uncount(t->trainer_bytes);
	t->trainer_bytes = 0;
}

/* What the device's memory has room for, by the limit and by others. */
static Size
room(const NeuralTraining *t, Size need)
{
	nn_device_info info;
	Size left;

	neural_device_models_trim(need);
	left = neural_gpu_memory_left();
	if (t->device->describe(t->device->ordinal, &info) && info.memory_free > 0)
		left = Min(left, (Size) (info.memory_free * USABLE_SHARE));
	return left;
}

static Size
trainer_need(const NeuralTraining *t)
{
	nn_error err;
	Size need = nn_trainer_size(t->graph, t->device, &t->conf, &err);

	neural_check(need > 0, &err);
	return need;
}

/* Half the batch, where nobody has asked for its size. */
static bool
shrink_batch(NeuralTraining *t)
{
	if (t->options->batch_size > 0 || t->plan.batch_rows < 2 * LEAST_BATCH)
		return false;
	t->plan.batch_rows /= 2;
	t->conf.batch_rows = t->plan.batch_rows;
	return true;
}

/* The GPU has too little memory for the training. */
static void
give_up(NeuralTraining *t)
{
	Size need = trainer_need(t), left = room(t, need);
	char a[32], b[32], message[128];

	snprintf(message, sizeof(message),
			 "training with batches of %d rows needs %s of device memory, but "
			 "%s are there",
			 t->plan.batch_rows, neural_size_text(need, a, sizeof(a)),
			 neural_size_text(left, b, sizeof(b)));
	if (t->device_wish == NEURAL_DEVICE_CUDA)
		ereport(
			ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY), errmsg_internal("%s", message),
			 errdetail("neural.gpu_memory_limit is %s.",
					   neural_size_text((Size) neural_gpu_memory_limit * 1024,
										a, sizeof(a))),
			 errhint("Use a smaller batch_size or network, or device => "
					 "'cpu'.")));
	use_cpu(t);
	ereport(WARNING, (errmsg("training on the CPU, as the GPU has too little "
							 "memory"),
					  errdetail_internal("%s.", message)));
}

/* For its rows, and to see how much memory is free. */
static bool
open_device(NeuralTraining *t)
{
	nn_error err;

	t->rows_device.ops = t->device;
	if (t->device->open(&t->rows_device, t->device->ordinal, &err))
		return true;
	t->rows_device.ops = NULL;
	if (t->device_wish == NEURAL_DEVICE_CUDA)
		neural_ereport(&err);
	use_cpu(t);
	ereport(WARNING, (errmsg("training on the CPU, as the GPU cannot be used"),
					  errdetail_internal("%s.", neural_gpu_reason(&err))));
	return false;
}

/* Make the network fit, and say whether the rows do, too. */
static void
plan_memory(NeuralTraining *t)
{
	int planned = t->plan.batch_rows;
	Size need, left;

	if (!open_device(t))
		return;
	t->conf.threads = 1; /* drives a device that computes by itself */
	do
	{
		need = trainer_need(t);
		left = room(t, need);
	} while (need > left && shrink_batch(t));
	if (need > left)
	{
		t->plan.batch_rows = t->conf.batch_rows = planned;
		give_up(t);
		return;
	}
	if (t->plan.batch_rows < planned)
		ereport(t->elevel,
				(errmsg("batches have %d rows instead of %d, as the GPU has "
						"too little memory",
						t->plan.batch_rows, planned)));
	t->rows_on_device = need + rows_bytes(t) <= room(t, need + rows_bytes(t));
	neural_gpu_count(need);
	t->trainer_bytes = need;
}

void
neural_device_choose(NeuralTraining *t)
{
	const nn_device_ops *cuda;
	const char *why;
	double here, there;
	nn_error err;

	if (t->device_wish == NEURAL_DEVICE_CUDA)
		plan_memory(t);
	if (t->device_wish != NEURAL_DEVICE_AUTO)
		return;
	cuda = neural_cuda_find(&err);
	if (cuda == NULL)
	{
		/* the CPU is no news to who has not asked */
		ereport(t->options->device != NULL ? t->elevel : DEBUG1,
				(errmsg("training on the CPU: %s", neural_gpu_reason(&err))));
		return;
	}
	here = cpu_seconds(t);
	there = gpu_seconds(t, cuda);
	if (2 * there < here)
	{
		cuda = neural_gpu_use(false, &why);
		if (cuda == NULL)
		{
			ereport(t->elevel, (errmsg("training on the CPU: %s", why)));
			return;
		}
		t->gpu_used = true;
		t->device = cuda;
		plan_memory(t);
		if (!t->gpu_used)
			return;
	}
	ereport(t->gpu_used || t->options->device != NULL ? t->elevel : DEBUG1,
			(errmsg("training on the %s: about %.3g s on the CPU, about %.3g "
					"s on the GPU",
					t->gpu_used ? "GPU" : "CPU", here, there)));
}

/* The CPU, which was not asked for its memory before. */
static void
check_host(NeuralTraining *t)
{
	Size need = trainer_need(t);
	char a[32], b[32];

	if (need > (Size) neural_max_memory * 1024)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("training needs %s of memory for its network, but "
						"neural.max_memory is %s",
						neural_size_text(need, a, sizeof(a)),
						neural_size_text((Size) neural_max_memory * 1024, b,
										 sizeof(b)))));
}

bool
neural_device_next(NeuralTraining *t, const nn_error *err)
{
	if (err->code != NN_DEVICE_NOMEM || !t->device->own_memory)
		return false;
	neural_device_models_forget();
	if (shrink_batch(t))
	{
		ereport(t->elevel,
				(errmsg("batches have %d rows, as the GPU has too little "
						"memory",
						t->plan.batch_rows)));
		return true;
	}
	give_up(t);
	check_host(t);
	return true;
}

bool
neural_device_lost(NeuralTraining *t, const nn_error *err)
{
	if (!t->gpu_used || t->device_wish != NEURAL_DEVICE_AUTO ||
		(err->code != NN_DEVICE && err->code != NN_DEVICE_NOMEM))
		return false;
	nn_trainer_release(t->trainer);
	t->trainer = NULL;
	use_cpu(t);
	strlcpy(t->progress.device, t->device->name, sizeof(t->progress.device));
	ereport(WARNING,
			(errmsg("the GPU failed after epoch %d; training goes on with the CPU",
					t->nhistory),
			 errdetail_internal("%s.", neural_gpu_reason(err))));
	check_host(t);
	return true;
}

void
neural_device_release(NeuralTraining *t)
{
	neural_gpu_uncount(t->trainer_bytes);
	t->trainer_bytes = 0;
	if (t->gpu_used)
		neural_gpu_leave();
	t->gpu_used = false;
}
