/* SPDX-License-Identifier: Apache-2.0 */
/* The columns of results in an output file while it is written. */
#ifndef SLUICE_DATA_OUTPUT_COLUMNS_WRITE_H
#define SLUICE_DATA_OUTPUT_COLUMNS_WRITE_H

#include "data/output/columns.h"
#include "data/output/text.h"
#include "data/output/vocabulary.h"

struct stored_column {
    int32_t width; /* 0: not in this file */
    struct number_column numbers;
    hid_t enum_type; /* of a COLUMN_NAME, else 0 */
    struct text_column texts;
    size_t record_bytes; /* that a record has of it */
};

/* Zero-initialise; destroy in any case. */
struct columns_writer {
    struct output_columns columns;
    struct stored_column stored[RESULT_COLUMNS_MOST];
    struct number_column offsets[COLUMN_SHAPES]; /* where a flat shape's results begin */
    int64_t totals[COLUMN_SHAPES];               /* items of a flat shape so far */
    struct token_set tokens;                     /* that the columns name */
    size_t batch_rows;
    size_t input;        /* the file that the row written last came from */
    int64_t input_start; /* the first row of that file */
};

/* Makes the datasets, whose groups are there. The string type is borrowed, and so is `fd`, another
 * descriptor of the file. */
status columns_writer_create(struct columns_writer *self, hid_t file, int fd, hid_t string_type,
                             const struct output_columns *columns) MUST_CHECK;
/* Puts a result into the batch, and writes that when it is full. What the result lacks is filled
 * with -1 and NaN, what it has too much is left out; STATUS_INTERNAL for a list of another width
 * than the file's. */
status columns_writer_append(struct columns_writer *self, const struct result *result) MUST_CHECK;

/* Results before their turn: a *record* is what a result puts into the batch, its texts as
 * references. Bytes of one; 0: this file's are not all of the same size (lists, packed texts). */
size_t columns_writer_record_bytes(const struct columns_writer *self);
/* Appends a result's record, its texts to `heaps`, which has one for each text in the record. */
status columns_writer_record(struct columns_writer *self, const struct result *result,
                             struct string_heap *heaps, struct buffer *records) MUST_CHECK;
/* Where in a record the references to a column's texts stand, from *column on, which is moved
 * behind it; SIZE_MAX: there are no more. */
size_t columns_writer_next_text(const struct columns_writer *self, size_t *column);
/* columns_writer_append for a record whose texts are in the file. */
status columns_writer_append_record(struct columns_writer *self, int64_t row,
                                    const char *record) MUST_CHECK;
status columns_writer_flush(struct columns_writer *self) MUST_CHECK;
/* Whether the file has flat columns, whose tokens belong to its vocabulary. */
bool columns_writer_has_tokens(const struct columns_writer *self);
void columns_writer_destroy(struct columns_writer *self);

#endif
