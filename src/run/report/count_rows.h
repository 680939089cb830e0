/* SPDX-License-Identifier: Apache-2.0 */
/* The number of a data set's rows, counted ahead by a thread of its own where only reading tells
 * it: compressed files, CSV. */
#ifndef SLUICE_RUN_COUNT_ROWS_H
#define SLUICE_RUN_COUNT_ROWS_H

#include "sluice/data.h"

struct row_count;

/* Starts to read the data set, at the lowest priority. The options, and what they point to, stay as
 * they are until row_count_end. *out is NULL where no thread can be had: then the number is not
 * known. */
void row_count_start(const struct record_reader_options *options, struct row_count **out);
/* The rows once all are counted; -1 before, where the data set cannot be read, and of NULL. */
int64_t row_count_get(const struct row_count *count);
/* Stops counting and frees it; takes at most a record's time. */
void row_count_end(struct row_count *count);

#endif
