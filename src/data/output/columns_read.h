/* SPDX-License-Identifier: Apache-2.0 */
/* The columns of results in an output file, read back in bounded memory. The file may come from
 * anywhere: every type, shape and value is checked before it is used. */
#ifndef SLUICE_DATA_OUTPUT_COLUMNS_READ_H
#define SLUICE_DATA_OUTPUT_COLUMNS_READ_H

#include "data/output/columns.h"
#include "data/output/text.h"

struct column_source {
    int32_t width; /* 0: not in this file */
    struct hdf5_column numbers;
    struct text_source texts;
};

/* Zero-initialise; close in any case. */
struct columns_reader {
    int64_t rows;
    struct column_source sources[RESULT_COLUMNS_MOST];
    struct hdf5_column offsets[COLUMN_SHAPES]; /* where a flat shape's results begin */
    int64_t totals[COLUMN_SHAPES];             /* items of a flat shape; -1: the file has none */
};

status columns_reader_open(struct columns_reader *self, hid_t file) MUST_CHECK;
void columns_reader_close(struct columns_reader *self);

/* A place in the results, of which a batch is in memory at a time. The caller closes *out; the
 * reader outlives it. */
struct columns_cursor;
status columns_cursor_open(const struct columns_reader *reader,
                           struct columns_cursor **out) MUST_CHECK;
/* Of texts and lists only those are read whose place in result_columns is set; NULL: all. */
void columns_cursor_only(struct columns_cursor *self, const bool *wanted);
/* The next result is the one with this index, from 0 to the number of results. */
void columns_cursor_seek(struct columns_cursor *self, int64_t index);
/* The next result, valid until the next call; what the file does not have is 0, a double NaN.
 * *more is false behind the last one. */
status columns_cursor_next(struct columns_cursor *self, struct stored_result *out,
                           bool *more) MUST_CHECK;
void columns_cursor_close(struct columns_cursor *self);

#endif
