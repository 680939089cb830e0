/* SPDX-License-Identifier: Apache-2.0 */
/* Results of an output file whose turn has not come.
 *
 * Rows stand in the file in their order and end in another one. What is large of them, the texts,
 * may stand anywhere in an HDF5 file: it is written when a row has ended. Here is what is kept of
 * it until the rows before have ended, too: numbers, and where the texts are. Texts of neighbours
 * are written together, so that whoever reads the rows in order finds them close to each other. */
#ifndef SLUICE_DATA_OUTPUT_AHEAD_H
#define SLUICE_DATA_OUTPUT_AHEAD_H

#include "data/output/columns_write.h"

/* Bytes of memory at most: of records, and of texts that are not written yet. Tests make both
 * small. */
struct results_ahead_limits {
    size_t records, texts;
};
extern struct results_ahead_limits results_ahead_limits;

/* Zero-initialise; destroy in any case. */
struct results_ahead {
    struct ahead_page **pages; /* [page_count], NULL where there is no such row */
    size_t page_count, page_capacity;
    size_t record_bytes;                        /* of the file's results */
    size_t heaps, text_at[RESULT_COLUMNS_MOST]; /* where in a record their texts are referred to */
    size_t records, texts;                      /* bytes in memory */
    int64_t end;                                /* one more than the last row */
};

/* Takes the results of a row, where there is room and the file's results are such. */
status results_ahead_put(struct results_ahead *self, struct columns_writer *writer, hid_t file,
                         int fd, const struct result *results, size_t count,
                         bool *taken) MUST_CHECK;
bool results_ahead_has(const struct results_ahead *self, int64_t row);
/* Appends a row that is there to the columns, and forgets it. */
status results_ahead_append(struct results_ahead *self, struct columns_writer *writer, hid_t file,
                            int fd, int64_t row) MUST_CHECK;
void results_ahead_destroy(struct results_ahead *self);

#endif
