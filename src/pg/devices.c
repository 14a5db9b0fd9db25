/*
 * devices.c
 *	  What there is to compute on.
 */
#include "neural.h"

#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#define DEVICE_COLUMNS 7

PG_FUNCTION_INFO_V1(neural_devices);

static void
put_text(const char *text, Datum *value, bool *isnull)
{
	*isnull = text == NULL || text[0] == '\0';
	*value = *isnull ? (Datum) 0 : CStringGetTextDatum(text);
}

static void
put_size(size_t bytes, Datum *value, bool *isnull)
{
	*isnull = bytes == 0;
	*value = Int64GetDatum((int64) bytes);
}

/* A row: of a device, or of a kind of devices that there is none of. */
static void
put_device(ReturnSetInfo *result, const char *kind, int number,
		   const nn_device_info *info, const char *reason)
{
	Datum values[DEVICE_COLUMNS];
	bool nulls[DEVICE_COLUMNS];

	put_text(kind, &values[0], &nulls[0]);
	values[1] = Int32GetDatum(number);
	nulls[1] = info->name[0] == '\0'; /* there is none */
	put_text(info->name, &values[2], &nulls[2]);
	put_size(info->memory, &values[3], &nulls[3]);
	put_size(info->memory_free, &values[4], &nulls[4]);
	put_text(info->driver, &values[5], &nulls[5]);
	put_text(reason, &values[6], &nulls[6]);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

Datum
neural_devices(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	nn_device_info info = {{0}};
	const nn_device_ops *cuda;
	nn_error err;

	InitMaterializedSRF(fcinfo, 0);
	strlcpy(info.name, neural_training_device()->name, sizeof(info.name));
	put_device(result, "cpu", 0, &info, NULL);
	memset(&info, 0, sizeof(info));
	cuda = neural_cuda_find(&err);
	if (cuda == NULL)
		put_device(result, "cuda", 0, &info,
				   err.detail[0] != '\0' ? err.detail : err.message);
	for (int i = 0; cuda != NULL && cuda->describe(i, &info); i++)
		put_device(result, "cuda", i, &info,
				   info.reason[0] != '\0' ? info.reason : NULL);
	return (Datum) 0;
}
