/* SPDX-License-Identifier: Apache-2.0 */
/* Reads of files through memory that the processes of a host share: each block comes from the file
 * system once and is copied by whoever needs it.
 *
 * On a file system that many hosts share, N ranks of a host that load the same model would ask it
 * for the same bytes N times. Nobody leads and nothing is agreed: who needs a block first reads it,
 * and the others wait for that or find it there. A reader that is far behind may find that a block
 * has been given up, and reads it again. */
#ifndef SLUICE_SHARED_READS_H
#define SLUICE_SHARED_READS_H

#include "model/read/model_tensors.h"

enum { SHARED_READERS = 256 };

/* Bytes of memory that all readers together make use of, and the fewest that do. */
size_t shared_reads_bytes(void);
size_t shared_reads_least_bytes(void);
/* Prepares the memory, zero-filled and aligned to 64 bytes, for readers 0 to `readers` - 1 of as
 * many processes, which all open the same files in the same order. By one of them, before any
 * attaches. STATUS_LIMIT: more than SHARED_READERS, or too few bytes. */
status shared_reads_prepare(void *memory, size_t bytes, int readers) MUST_CHECK;

/* One process's side; its threads share it. */
struct shared_reads {
    struct shared_memory *memory;
    int reader;
    uint64_t bytes_read; /* from files by this process; under the memory's lock */
};
void shared_reads_attach(struct shared_reads *self, void *memory, int reader);
/* Nobody waits for this reader any more. */
void shared_reads_detach(struct shared_reads *self);

/* As tensor_file_read of file number `index`. */
status shared_reads_read(struct shared_reads *self, const struct tensor_file *file, int index,
                         uint64_t offset, void *to, size_t bytes) MUST_CHECK;

/* As tensor_file_read, or from memory where another rank has put it. */
status tensor_table_read(const struct tensor_table *table, int file, uint64_t offset, void *to,
                         size_t bytes) MUST_CHECK;

#endif
