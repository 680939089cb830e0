/* SPDX-License-Identifier: Apache-2.0 */
/* Rectangles of tensors for tests: found with what belongs to them, and read. */
#ifndef SOURCE_ROWS_H
#define SOURCE_ROWS_H

#include "model/read/tensor_source.h"

struct rectangle {
    int first_row, rows, first_column, columns;
};

static inline status source_rows(const struct tensor_table *table, const struct tensor *tensor,
                                 struct rectangle rectangle, bool as_it_is,
                                 struct tensor_scratch *scratch, struct weight_rows *out)
{
    struct tensor_read read = {.first_row = rectangle.first_row,
                               .row_count = rectangle.rows,
                               .first_column = rectangle.first_column,
                               .column_count = rectangle.columns};
    TRY(tensor_source_find(table, tensor, &read.source));
    read.as_it_is = as_it_is && tensor_source_is_by_rows(&read.source);
    return tensor_read_rows(table, &read, scratch, out);
}

#endif
