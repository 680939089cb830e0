/* SPDX-License-Identifier: Apache-2.0 */
/* The rows under way as slots of a file: which row has which slot, and which slots are to be
 * written. Every call takes the same time, whatever the number of rows. */
#ifndef SLUICE_DATA_JOURNAL_UNDER_WAY_H
#define SLUICE_DATA_JOURNAL_UNDER_WAY_H

#include "sluice/base.h"

/* In the file a row is stored plus one: zero is none. */
enum { SLOT_ROW = 0, SLOT_REPLICA = 8, SLOT_BYTES = 12 };

struct row_slot {
    int64_t row;
    int32_t replica;
};

/* Slots are handed out by pages, so that rows which begin together stand together and are written
 * at once: from one page until it is full, then from one that is at least half free, else from a
 * new one. There are thus never more than twice as many slots as there were rows, and two pages. */
enum { SLOT_PAGE_WORDS = 8, SLOT_PAGE = 64 * SLOT_PAGE_WORDS };

struct slot_page {
    uint64_t taken[SLOT_PAGE_WORDS]; /* a bit for each slot */
    int used;
    bool waits;      /* in `half_free` */
    int first, last; /* slots that are not written, [first, last); in `unwritten` where any */
};

/* Zero-initialise. */
struct rows_under_way {
    struct row_slot *slots; /* [page_count * SLOT_PAGE]; of those that are taken */
    struct slot_page *pages;
    size_t page_count, page_capacity, slot_capacity;
    size_t current;      /* page that slots are taken from, where there are pages */
    uint32_t *half_free; /* pages to take slots from next: a stack */
    uint32_t *unwritten; /* pages with slots that are not written */
    size_t half_free_count, half_free_capacity, unwritten_count, unwritten_capacity;
    struct slot_entry *table; /* [table_size] slots by their rows, open addressing */
    size_t table_size, count;
};

/* A row that is there already gets a second slot. */
status under_way_add(struct rows_under_way *self, int64_t row, int32_t replica) MUST_CHECK;
/* Its slot may be used again; the file keeps what stands there until then. False: no such row. */
bool under_way_remove(struct rows_under_way *self, int64_t row);
/* Has the processor fetch what under_way_remove looks at first. */
void under_way_prefetch(const struct rows_under_way *self, int64_t row);
/* Writes what was added since the last call, the first slot of all at `offset` of the file. */
status under_way_write(struct rows_under_way *self, int fd, int64_t offset) MUST_CHECK;
void under_way_destroy(struct rows_under_way *self);

#endif
