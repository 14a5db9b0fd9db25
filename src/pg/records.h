/*
 * records.h
 *	  A store of rows of one size, in memory or in a temporary file.
 *
 * Rows are added at the end and read by block.  Blocks lie in memory until
 * there are more bytes than the limit; then all of them move to a temporary
 * file, which counts toward temp_file_limit and goes away with the
 * transaction, or, of a store that is kept, with its memory context.
 */
#ifndef NEURAL_RECORDS_H
#define NEURAL_RECORDS_H

#include "neural.h"

typedef struct NeuralRecords NeuralRecords;

/*
 * In the current context.  block_rows 0: as many as make about 1 MB.  keep: it
 * may outlive the transaction.
 */
extern NeuralRecords *neural_records_create(Size record_size, int block_rows,
											Size memory_limit, bool keep);

/* Room for one more record, zeroed; valid until the next call. */
extern char *neural_records_add(NeuralRecords *r);

/* Take back the record added last. */
extern void neural_records_take_back(NeuralRecords *r);

/* Of one that is kept: no more rows are added; its transaction may end. */
extern void neural_records_suspend(NeuralRecords *r);

extern int64 neural_records_count(const NeuralRecords *r);
extern Size neural_records_memory(const NeuralRecords *r);

/*
 * Reading.  A block of a file is read into a buffer of the store's, so it is
 * valid until the next call, and writing into it changes it only until then.
 */
extern int neural_records_blocks(const NeuralRecords *r);
extern int neural_records_block_rows(const NeuralRecords *r, int block);
extern char *neural_records_block(NeuralRecords *r, int block, int *rows);

/* Frees memory and file before their context or transaction ends. */
extern void neural_records_free(NeuralRecords *r);

#endif /* NEURAL_RECORDS_H */
