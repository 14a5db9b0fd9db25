/*
 * device_rows.c
 *	  Encoded rows in the memory of a device that has its own.
 *
 * Such a device is opened once for all of a training's rows; they are given
 * back when the training ends (training.c).  Being copied, rows are waited
 * for, so the host's may change afterwards: this happens once for rows that
 * lie in memory, and once a block for those of a file.
 */
#include "training.h"

static void
open_device(NeuralTraining *t)
{
	nn_error err;

	if (t->rows_device.ops != NULL)
		return;
	t->rows_device.ops = t->device;
	if (!t->device->open(&t->rows_device, 0, &err))
	{
		t->rows_device.ops = NULL;
		neural_ereport(&err);
	}
}

static nn_real *
take(NeuralTraining *t, Size numbers)
{
	Size bytes = numbers * sizeof(nn_real);
	char text[32];
	void *p;

	if (t->ndevice_blocks == lengthof(t->device_blocks))
		elog(ERROR, "unexpected number of copies of rows");
	p = t->device->alloc(&t->rows_device, bytes);
	if (p == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("device \"%s\" has no room for %s of encoded rows",
						t->device->name,
						neural_size_text(bytes, text, sizeof(text))),
				 errhint("Use fewer rows or columns, or device => 'cpu'.")));
	t->device_blocks[t->ndevice_blocks++] = p;
	return p;
}

const nn_real *
neural_device_rows(NeuralTraining *t, nn_real **at, Size room,
				   const nn_real *from, Size count)
{
	nn_error err;

	if (!t->device->own_memory || from == NULL)
		return from;
	open_device(t);
	if (*at == NULL)
		*at = take(t, room);
	Assert(count <= room);
	t->device->upload(&t->rows_device, *at, from, count * sizeof(nn_real));
	neural_check(t->device->sync(&t->rows_device, &err), &err);
	return *at;
}

void
neural_device_rows_release(NeuralTraining *t)
{
	if (t->rows_device.ops == NULL)
		return;
	for (int i = 0; i < t->ndevice_blocks; i++)
		t->device->free(&t->rows_device, t->device_blocks[i]);
	t->ndevice_blocks = 0;
	t->device->close(&t->rows_device);
	t->rows_device.ops = NULL;
}
