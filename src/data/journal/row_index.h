/* SPDX-License-Identifier: Apache-2.0 */
/* Where a journal has which row: 12 bytes a row, by pages of neighbours. */
#ifndef SLUICE_DATA_JOURNAL_ROW_INDEX_H
#define SLUICE_DATA_JOURNAL_ROW_INDEX_H

#include "data/journal/read_back.h"

/* Zero-initialise. */
struct row_index {
    struct index_page **pages; /* [page_count], NULL where there is no row */
    size_t page_count, page_capacity;
    int64_t rows;
};

/* Has the processor fetch what row_index_add writes to. */
void row_index_prefetch(const struct row_index *index, int64_t row);
bool row_index_has(const struct row_index *index, int64_t row);
/* STATUS_INVALID for a row that is there already. */
status row_index_add(struct row_index *index, const struct journal_place *place) MUST_CHECK;
/* The places of the rows from *row on and before `end` that are there, in order; as many as are
 * read back together. *row is the one to go on with. Returns how many they are, 0: there are no
 * more. `places` has room for read_back_limits.rows, or for all rows of
 * the index. */
size_t row_index_collect(const struct row_index *index, int64_t *row, int64_t end,
                         struct journal_place *places);
/* The places of at most `most` rows from *row on without a gap, whose entries end at `end` of the
 * file at the latest; *row is the first one behind them. */
size_t row_index_follow(const struct row_index *index, int64_t *row, int64_t end,
                        struct journal_place *places, size_t most);
void row_index_destroy(struct row_index *index);

#endif
