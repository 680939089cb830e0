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

/* Calls `visit` with all results in order; what the file does not have is 0, a double NaN. Ends
 * with its first failure. */
typedef status (*stored_visitor)(void *context, struct stored_result *result);
status columns_reader_visit(const struct columns_reader *self, stored_visitor visit,
                            void *context) MUST_CHECK;

#endif
