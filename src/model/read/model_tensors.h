/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors of a model as they lie in its files: names, types, shapes and places.
 *
 * safetensors.c and gguf.c fill the table, tensor_source.c reads through it. Files stay open for
 * the table's life and are read with pread, so that several threads may read at once. */
#ifndef SLUICE_MODEL_TENSORS_H
#define SLUICE_MODEL_TENSORS_H

#include "sluice/base.h"
#include "sluice/weight_format.h"

struct packed_weight; /* packed.h */
struct tensor_table;
struct tensor_read; /* tensor_source.h */
struct tensor_scratch;
struct weight_rows;

/* As tensor_read_rows. */
typedef status tensor_rows_reader(const struct tensor_table *table, const struct tensor_read *read,
                                  struct tensor_scratch *scratch, struct weight_rows *out);

enum { TENSOR_MAX_RANK = 8 };

struct tensor {
    const char *name;
    enum weight_format format;
    const char *type_name; /* as the file has it */
    int rank;
    int64_t shape[TENSOR_MAX_RANK]; /* outermost first; values of the last dimension are adjacent */
    int file;                       /* index into the table's files */
    uint64_t offset;                /* of the first byte in the file */
    uint64_t bytes;
    /* Where its numbers lie in several tensors: how, and what reads them; NULL: as `format` says.
     */
    const struct packed_weight *packed;
    tensor_rows_reader *read_rows;
};

struct tensor_file {
    const char *path; /* as opened, for messages */
    int fd;
    uint64_t size;
};

struct tensor_table {
    struct arena arena; /* names */
    struct tensor *items;
    size_t count, capacity; /* sorted by name once tensor_table_finish was called */
    struct tensor_file *files;
    size_t file_count, file_capacity;
    struct shared_reads *shared; /* where weights are read through it; NULL: from the files */
};

/* Opens a regular file and adds it; *out is its index. One that shows by its first bytes that it is
 * no file of weights is refused by what it is. */
status tensor_table_open_file(struct tensor_table *table, const char *path, int *out) MUST_CHECK;
/* Appends a copy of *tensor; its name must live as long as the table (its arena). */
status tensor_table_add(struct tensor_table *table, const struct tensor *tensor) MUST_CHECK;
/* Sorts by name. A name that is there twice, or bytes that two tensors share, is STATUS_INVALID. */
status tensor_table_finish(struct tensor_table *table) MUST_CHECK;
/* After tensors were added to a finished table: sorts again, and a name that is there twice is
 * STATUS_INVALID. */
status tensor_table_sort(struct tensor_table *table) MUST_CHECK;
const struct tensor *tensor_table_find(const struct tensor_table *table, const char *name);
void tensor_table_destroy(struct tensor_table *table);

/* Multiplies a shape out; false on overflow or a negative dimension. */
bool tensor_count_elements(const int64_t *shape, int rank, uint64_t *out);

/* The file that a tensor is in, for messages. */
const char *tensor_path(const struct tensor_table *table, const struct tensor *tensor);

/* Exactly `bytes` bytes at `offset` of a file; STATUS_INVALID where it ends before. */
status tensor_file_read(const struct tensor_file *file, uint64_t offset, void *to,
                        size_t bytes) MUST_CHECK;

#endif
