/*
 * staging.cu
 *	  Memory that kernels need beside their arguments: what one leaves to the
 *	  next, and copies of what the host hands them.
 */
#include "gpu.h"

static void *
take(gpu_state *s, size_t bytes)
{
	void *p;

	if (s->failure != cudaSuccess)
		return NULL;
	if (gpu_check(s, cudaMalloc(&p, bytes), "allocate working memory"))
		return p;
	s->asked = bytes;
	return NULL;
}

#define MEMORY_UNIT 256

void *
gpu_scratch(nn_device *d, size_t bytes)
{
	gpu_state *s = gpu_of(d);
	/* whole units of the device, so that an emulated one begins as well aligned
	 * as it ends */
	size_t size = gpu_round_up(bytes + bytes / 2, MEMORY_UNIT);

	if (s->failure != cudaSuccess)
		return NULL;
	if (bytes <= s->scratch_size)
		return s->scratch;
	gpu_finish(s);
	gpu_check(s, cudaFree(s->scratch), "free working memory");
	s->scratch_size = 0;
	s->scratch = take(s, size);
	if (s->scratch != NULL)
		s->scratch_size = size;
	return s->scratch;
}

const void *
gpu_constant(nn_device *d, const void *host, size_t bytes)
{
	gpu_state *s = gpu_of(d);
	gpu_table *t = s->tables;

	while (t != NULL &&
		   (t->bytes != bytes || memcmp(t->host, host, bytes) != 0))
		t = t->next;
	if (t != NULL || s->failure != cudaSuccess)
		return t != NULL ? t->device : NULL;
	t = (gpu_table *) malloc(sizeof(gpu_table) + bytes);
	if (t == NULL)
	{
		gpu_check(s, cudaErrorMemoryAllocation, "copy a table");
		return NULL;
	}
	t->bytes = bytes;
	memcpy(t->host, host, bytes);
	t->device = take(s, bytes);
	t->next = s->tables;
	s->tables = t;
	if (t->device != NULL)
		gpu_check(s,
				  cudaMemcpyAsync(t->device, t->host, bytes,
								  cudaMemcpyHostToDevice, s->stream),
				  "copy a table");
	return t->device;
}

static void
empty_slot(gpu_slot *slot)
{
	cudaFreeHost(slot->host);
	slot->host = NULL;
	slot->size = 0;
	slot->waiting = false;
}

/* Make a slot large enough, and wait until its last copy has been made. */
static bool
prepare_slot(gpu_state *s, gpu_slot *slot, size_t bytes)
{
	if (s->failure != cudaSuccess)
		return false;
	if (slot->waiting)
		gpu_check(s, cudaEventSynchronize(slot->copied), "wait for a copy");
	slot->waiting = false;
	if (bytes <= slot->size)
		return s->failure == cudaSuccess;
	empty_slot(slot);
	if (!gpu_check(s, cudaMallocHost(&slot->host, 2 * bytes),
				   "allocate memory for copies"))
		return false;
	slot->size = 2 * bytes;
	return true;
}

/* Start to copy what a slot holds. */
static void
send_slot(gpu_state *s, gpu_slot *slot, size_t bytes, void *to)
{
	gpu_check(s,
			  cudaMemcpyAsync(to, slot->host, bytes, cudaMemcpyHostToDevice,
							  s->stream),
			  "copy rows");
	gpu_check(s, cudaEventRecord(slot->copied, s->stream), "copy rows");
	slot->waiting = s->failure == cudaSuccess;
}

/*
 * The rows are gathered by the host, into memory that the device reads while
 * the host gathers the next ones.
 */
void
gpu_upload_rows(nn_device *d, int m, int n, const float *x,
				const uint32_t *index, float *y)
{
	gpu_state *s = gpu_of(d);
	gpu_slot *slot = &s->rows[s->last_rows];
	size_t row = (size_t) n * sizeof(float), bytes = (size_t) m * row;

	s->last_rows = (s->last_rows + 1) % GPU_ROW_SLOTS;
	if (bytes == 0 || !prepare_slot(s, slot, bytes))
		return;
	if (index == NULL)
		memcpy(slot->host, x, bytes);
	for (int i = 0; index != NULL && i < m; i++)
		memcpy((char *) slot->host + (size_t) i * row,
			   x + (size_t) index[i] * n, row);
	send_slot(s, slot, bytes, y);
}

void
gpu_staging_release(gpu_state *s)
{
	gpu_table *next;

	for (int i = 0; i < GPU_GROUPS; i++)
		if (s->group[i].done != NULL)
			cudaEventDestroy(s->group[i].done);
	for (int i = 0; i < GPU_ROW_SLOTS; i++)
	{
		gpu_slot *slot = &s->rows[i];

		empty_slot(slot);
		if (slot->copied != NULL)
			cudaEventDestroy(slot->copied);
	}
	for (gpu_table *t = s->tables; t != NULL; t = next)
	{
		next = t->next;
		cudaFree(t->device);
		free(t);
	}
	cudaFree(s->scratch);
}
