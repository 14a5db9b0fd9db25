/*
 * device_rows.c
 *	  Encoded rows in the memory of a device that has its own.
 *
 * Rows that fit there are copied once, and batches are gathered by the device.
 * Others, and those of a file, stay with the host, which hands over those of
 * each batch (nn_batch.host).  The device is opened when it is chosen
 * (training_device.c), and all is given back when the training ends.
 */
#include "gpu.h"
#include "training.h"

/* Room for count numbers from host memory, and a copy of them; false: none. */
static bool
place(NeuralTraining *t, const nn_real *from, Size count, const nn_real **to)
{
	const nn_device_ops *ops = t->device;
	Size bytes = count * sizeof(nn_real);
	void *p;

	if (from == NULL)
		return true;
	p = ops->alloc(&t->rows_device, bytes);
	if (p == NULL)
		return false;
	t->device_rows[t->ndevice_rows++] = p;
	t->device_bytes += bytes;
	neural_gpu_count(bytes);
	ops->upload(&t->rows_device, p, from, bytes);
	*to = p;
	return true;
}

static void
forget_rows(NeuralTraining *t)
{
	while (t->ndevice_rows > 0)
		t->device->free(&t->rows_device, t->device_rows[--t->ndevice_rows]);
	neural_gpu_uncount(t->device_bytes);
	t->device_bytes = 0;
}

bool
neural_device_rows(NeuralTraining *t, const NeuralDataset *d, const nn_real **x,
				   const nn_real **y, const nn_real **weight)
{
	Size rows = d->rows;
	nn_error err;

	if (t->rows_device.ops == NULL || !t->rows_on_device || d->file != NULL)
		return false;
	if (place(t, d->x, rows * d->width, x) &&
		place(t, d->y, rows * d->target_width, y) &&
		place(t, d->weight, rows, weight))
	{
		neural_check(t->device->sync(&t->rows_device, &err), &err);
		return true;
	}
	/* somebody else has taken what was free when this was planned */
	forget_rows(t);
	return false;
}

void
neural_device_rows_release(NeuralTraining *t)
{
	if (t->rows_device.ops == NULL)
		return;
	forget_rows(t);
	t->device->close(&t->rows_device);
	t->rows_device.ops = NULL;
}
