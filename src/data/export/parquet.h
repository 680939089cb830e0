/* SPDX-License-Identifier: Apache-2.0 */
/* Writes Parquet files: the plain subset of the format, in bounded memory, from front to end.
 *
 * https://github.com/apache/parquet-format: data pages of version 1, values in PLAIN encoding,
 * levels in RLE runs, each page packed with zstd, the footer in Thrift's compact protocol. No
 * dictionaries, statistics or indexes: a reader needs none of them. Every column may be missing in
 * any row, and may be a list, or a list of lists, whose items are all there. */
#ifndef SLUICE_DATA_EXPORT_PARQUET_H
#define SLUICE_DATA_EXPORT_PARQUET_H

#include "sluice/export.h"

enum parquet_type {
    PARQUET_BOOLEAN = 0,
    PARQUET_INT32 = 1,
    PARQUET_INT64 = 2,
    PARQUET_FLOAT = 4,
    PARQUET_DOUBLE = 5,
    PARQUET_TEXT = 6, /* BYTE_ARRAY of UTF-8 */
};

struct parquet_column {
    const char *name; /* UTF-8; borrowed */
    enum parquet_type type;
    int lists; /* 0: a value a row; 1: a list of values; 2: a list of lists */
};

struct parquet;
/* Writes the beginning. The columns are borrowed; the caller destroys *out. */
status parquet_create(const struct parquet_column *columns, size_t count, export_writer write,
                      void *context, struct parquet **out) MUST_CHECK;

/* A row is one value, list or nothing in each column, in any order of columns. `bytes` is the value
 * in this machine's form: a bool, int32_t, int64_t, float, double, or the text of `length` bytes,
 * which is valid UTF-8 or is mended. */
status parquet_put_nothing(struct parquet *self, size_t column) MUST_CHECK;
status parquet_put_value(struct parquet *self, size_t column, const void *bytes,
                         size_t length) MUST_CHECK;
/* A list of `count` values of 4 bytes each, end to end. */
status parquet_put_list(struct parquet *self, size_t column, const void *values,
                        size_t count) MUST_CHECK;
/* A list of `count` lists: the i-th has sizes[i] values, which begin at values + i · stride · 4. */
status parquet_put_lists(struct parquet *self, size_t column, const void *values, size_t stride,
                         const size_t *sizes, size_t count) MUST_CHECK;
/* After all columns of a row. */
status parquet_end_row(struct parquet *self) MUST_CHECK;

/* Writes what is left and the footer, with these pairs of key and value in it. */
struct parquet_note {
    const char *key, *value;
};
status parquet_finish(struct parquet *self, const struct parquet_note *notes,
                      size_t count) MUST_CHECK;
void parquet_destroy(struct parquet *self);

#endif
