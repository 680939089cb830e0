/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors of a model as they lie in its files: names, types, shapes and places; and reading them.
 *
 * safetensors.c and gguf.c fill the table, load.c reads through it. Files stay open for the table's
 * life and are read with pread, so that several threads may read at once. */
#ifndef SLUICE_MODEL_TENSORS_H
#define SLUICE_MODEL_TENSORS_H

#include "sluice/backend.h"
#include "sluice/base.h"

/* How a tensor's values lie in the file. Blocks hold `elements` consecutive values of one row. */
enum tensor_format {
    FORMAT_FLOAT32,
    FORMAT_FLOAT16,
    FORMAT_BFLOAT16,
    FORMAT_FLOAT8_E4M3,
    FORMAT_Q4_0, /* the GGUF block formats: gguf_quants.c */
    FORMAT_Q4_1,
    FORMAT_Q5_0,
    FORMAT_Q5_1,
    FORMAT_Q8_0,
    FORMAT_Q2_K,
    FORMAT_Q3_K,
    FORMAT_Q4_K,
    FORMAT_Q5_K,
    FORMAT_Q6_K,
    FORMAT_OTHER, /* known size, but no weights: integers and the like */
};

struct tensor_format_facts {
    const char *name; /* as messages have it */
    int elements;     /* values a block */
    int bytes;        /* of a block */
    enum dtype dtype; /* what its values are handed on as */
    /* Expands whole blocks to float32; NULL where the bytes are handed on as they are. */
    void (*expand)(const uint8_t *blocks, size_t block_count, float *out);
};
const struct tensor_format_facts *tensor_format_facts(enum tensor_format format);

enum { TENSOR_MAX_RANK = 8 };

struct tensor {
    const char *name;
    enum tensor_format format;
    const char *type_name; /* as the file has it */
    int rank;
    int64_t shape[TENSOR_MAX_RANK]; /* outermost first; values of the last dimension are adjacent */
    int file;                       /* index into the table's files */
    uint64_t offset;                /* of the first byte in the file */
    uint64_t bytes;
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
};

/* Opens a regular file and adds it; *out is its index. One that shows by its first bytes that it is
 * no file of weights is refused by what it is. */
status tensor_table_open_file(struct tensor_table *table, const char *path, int *out) MUST_CHECK;
/* Appends a copy of *tensor; its name must live as long as the table (its arena). */
status tensor_table_add(struct tensor_table *table, const struct tensor *tensor) MUST_CHECK;
/* Sorts by name. A name that is there twice, or bytes that two tensors share, is STATUS_INVALID. */
status tensor_table_finish(struct tensor_table *table) MUST_CHECK;
const struct tensor *tensor_table_find(const struct tensor_table *table, const char *name);
void tensor_table_destroy(struct tensor_table *table);

/* Multiplies a shape out; false on overflow or a negative dimension. */
bool tensor_count_elements(const int64_t *shape, int rank, uint64_t *out);

/* The file that a tensor is in, for messages. */
const char *tensor_path(const struct tensor_table *table, const struct tensor *tensor);

/* Exactly `bytes` bytes at `offset` of a file; STATUS_INVALID where it ends before. */
status tensor_file_read(const struct tensor_file *file, uint64_t offset, void *to,
                        size_t bytes) MUST_CHECK;

/* Working memory for reads: grows on demand, reused. Zero-initialise before first use. */
struct tensor_scratch {
    uint8_t *raw;
    size_t raw_capacity;
    float *expanded;
    size_t expanded_capacity;
    float *scales;
    size_t scales_capacity;
    bool keep_float8; /* set by the caller: FP8 whose scales are one a row, or one for all, is
                         handed on as it is, with its scales beside it */
};
void tensor_scratch_destroy(struct tensor_scratch *scratch);

/* Rows in memory: `columns` values of `dtype` a row, rows `stride` values apart. */
struct tensor_rows {
    const void *data;
    enum dtype dtype;
    size_t stride;
    const float *scales; /* FP8: one a row; NULL elsewhere */
};

/* Reads a rectangle of a tensor, seen as rows of its last dimension. Only what is needed is read:
 * whole rows, or the column range where that is far less. FP8 with a scale beside it ("X.weight"
 * and "X.weight_scale" or "X.weight_scale_inv") is expanded and scaled. *out lives until the next
 * read with the same scratch. */
status tensor_read_rows(const struct tensor_table *table, const struct tensor *tensor,
                        int64_t first_row, int row_count, int first_column, int column_count,
                        struct tensor_scratch *scratch, struct tensor_rows *out) MUST_CHECK;

/* How many rows fit into a read of about `bytes` bytes of staging, at least 1. */
int tensor_rows_within(const struct tensor *tensor, size_t bytes);

/* `count` values from `first` of a tensor seen as one row, as float32. */
status tensor_read_values(const struct tensor_table *table, const struct tensor *tensor,
                          int64_t first, int count, struct tensor_scratch *scratch,
                          float *out) MUST_CHECK;

#endif
