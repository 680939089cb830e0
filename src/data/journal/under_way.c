/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of slots, and a hash table from rows to slots. */
#include "data/journal/under_way.h"

#include <stdlib.h>
#include <string.h>

#include "data/journal/file.h"

/* ---- The table ---- */

/* With the row beside it, so that a search stays in the table: with a million rows under way every
 * other place that it looks at is a miss of all caches. */
struct slot_entry {
    int64_t row;
    uint32_t slot; /* plus one; 0: nothing */
};

/* Rows mostly follow each other: a multiplication spreads them (Knuth, The Art of Computer
 * Programming, volume 3, section 6.4). */
static size_t home_of(const struct rows_under_way *self, int64_t row)
{
    return (size_t)((uint64_t)row * UINT64_C(0x9E3779B97F4A7C15) >> 20) & (self->table_size - 1);
}

static void table_put(struct rows_under_way *self, struct slot_entry entry)
{
    size_t at = home_of(self, entry.row);
    while (self->table[at].slot != 0) {
        at = (at + 1) & (self->table_size - 1);
    }
    self->table[at] = entry;
}

/* At most two thirds full. */
static status table_grow(struct rows_under_way *self)
{
    if (self->table_size > 0 && 3 * (self->count + 1) <= 2 * self->table_size) {
        return STATUS_OK;
    }
    size_t old_size = self->table_size, size = old_size > 0 ? 2 * old_size : 1024;
    struct slot_entry *table = calloc(size, sizeof *table), *old = self->table;
    if (table == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for %zu rows under way", self->count);
    }
    self->table = table;
    self->table_size = size;
    for (size_t i = 0; i < old_size; i++) {
        if (old[i].slot != 0) {
            table_put(self, old[i]);
        }
    }
    free(old);
    return STATUS_OK;
}

/* Place of the row in the table, or SIZE_MAX. */
static size_t table_find(const struct rows_under_way *self, int64_t row)
{
    if (self->count == 0) {
        return SIZE_MAX;
    }
    for (size_t at = home_of(self, row); self->table[at].slot != 0;
         at = (at + 1) & (self->table_size - 1)) {
        if (self->table[at].row == row) {
            return at;
        }
    }
    return SIZE_MAX;
}

void under_way_prefetch(const struct rows_under_way *self, int64_t row)
{
    if (self->table_size > 0) {
        __builtin_prefetch(&self->table[home_of(self, row)], 1);
    }
}

/* Fills the gap with the entries behind it that may stand there, so that no search ends early. */
static void table_remove(struct rows_under_way *self, size_t gap)
{
    const size_t mask = self->table_size - 1;
    for (size_t at = (gap + 1) & mask; self->table[at].slot != 0; at = (at + 1) & mask) {
        size_t home = home_of(self, self->table[at].row);
        if (((at - home) & mask) >= ((at - gap) & mask)) {
            self->table[gap] = self->table[at];
            gap = at;
        }
    }
    self->table[gap].slot = 0;
}

/* ---- Pages ---- */

static status push_page(uint32_t **pages, size_t *count, size_t *capacity, size_t page)
{
    void *items = *pages;
    status s = array_grow(&items, capacity, *count + 1, sizeof **pages);
    *pages = items;
    TRY(s);
    (*pages)[(*count)++] = (uint32_t)page;
    return STATUS_OK;
}

static status add_page(struct rows_under_way *self)
{
    const size_t count = self->page_count;
    if ((count + 1) * SLOT_PAGE > UINT32_MAX) {
        return status_fail(STATUS_LIMIT, "more than 4 billion rows under way");
    }
    void *pages = self->pages, *slots = self->slots;
    status s = array_grow(&pages, &self->page_capacity, count + 1, sizeof *self->pages);
    self->pages = pages;
    TRY(s);
    s = array_grow(&slots, &self->slot_capacity, (count + 1) * SLOT_PAGE, sizeof *self->slots);
    self->slots = slots;
    TRY(s);
    self->pages[count] = (struct slot_page){0};
    self->page_count++;
    self->current = count;
    return STATUS_OK;
}

/* Makes a page with a free slot the current one. */
static status find_page(struct rows_under_way *self)
{
    if (self->page_count > 0 && self->pages[self->current].used < SLOT_PAGE) {
        return STATUS_OK;
    }
    if (self->half_free_count == 0) {
        return add_page(self);
    }
    self->current = self->half_free[--self->half_free_count];
    self->pages[self->current].waits = false;
    return STATUS_OK;
}

static int free_slot(const struct slot_page *page)
{
    int word = 0;
    while (page->taken[word] == UINT64_MAX) {
        word++;
    }
    return 64 * word + __builtin_ctzll(~page->taken[word]);
}

static status note_unwritten(struct rows_under_way *self, size_t page, int slot)
{
    struct slot_page *at = &self->pages[page];
    if (at->first == at->last) {
        TRY(push_page(&self->unwritten, &self->unwritten_count, &self->unwritten_capacity, page));
        at->first = slot;
        at->last = slot + 1;
    }
    at->first = slot < at->first ? slot : at->first;
    at->last = slot >= at->last ? slot + 1 : at->last;
    return STATUS_OK;
}

status under_way_add(struct rows_under_way *self, int64_t row, int32_t replica)
{
    TRY(table_grow(self));
    TRY(find_page(self));
    struct slot_page *page = &self->pages[self->current];
    int slot = free_slot(page);
    TRY(note_unwritten(self, self->current, slot));
    page->taken[slot / 64] |= UINT64_C(1) << slot % 64;
    page->used++;
    size_t index = self->current * SLOT_PAGE + (size_t)slot;
    self->slots[index] = (struct row_slot){.row = row, .replica = replica};
    table_put(self, (struct slot_entry){.row = row, .slot = (uint32_t)index + 1});
    self->count++;
    return STATUS_OK;
}

/* A page that cannot be remembered is only not used again. */
static void offer_page(struct rows_under_way *self, size_t page)
{
    struct slot_page *at = &self->pages[page];
    if (page == self->current || at->waits || at->used > SLOT_PAGE / 2) {
        return;
    }
    at->waits = push_page(&self->half_free, &self->half_free_count, &self->half_free_capacity,
                          page) == STATUS_OK;
}

bool under_way_remove(struct rows_under_way *self, int64_t row)
{
    size_t place = table_find(self, row);
    if (place == SIZE_MAX) {
        return false;
    }
    size_t index = self->table[place].slot - 1, page = index / SLOT_PAGE, slot = index % SLOT_PAGE;
    table_remove(self, place);
    self->pages[page].taken[slot / 64] &= ~(UINT64_C(1) << slot % 64);
    self->pages[page].used--;
    self->count--;
    offer_page(self, page);
    return true;
}

/* ---- Writing ---- */

static bool is_taken(const struct slot_page *page, int slot)
{
    return (page->taken[slot / 64] >> slot % 64 & 1) != 0;
}

static status write_page(const struct rows_under_way *self, size_t page, int fd, int64_t offset)
{
    char bytes[SLOT_PAGE * SLOT_BYTES] = {0};
    const struct slot_page *from = &self->pages[page];
    const struct row_slot *slots = self->slots + page * SLOT_PAGE;
    for (int i = from->first; i < from->last; i++) {
        if (is_taken(from, i)) {
            char *at = bytes + (size_t)i * SLOT_BYTES;
            little_endian_put(at + SLOT_ROW, (uint64_t)slots[i].row + 1, 8);
            little_endian_put(at + SLOT_REPLICA, (uint32_t)slots[i].replica, 4);
        }
    }
    size_t skipped = (size_t)from->first * SLOT_BYTES;
    return journal_write_at(fd, offset + (int64_t)(page * SLOT_PAGE * SLOT_BYTES + skipped),
                            bytes + skipped, (size_t)(from->last - from->first) * SLOT_BYTES);
}

status under_way_write(struct rows_under_way *self, int fd, int64_t offset)
{
    while (self->unwritten_count > 0) {
        size_t page = self->unwritten[self->unwritten_count - 1];
        TRY(write_page(self, page, fd, offset));
        self->pages[page].first = self->pages[page].last = 0;
        self->unwritten_count--;
    }
    return STATUS_OK;
}

void under_way_destroy(struct rows_under_way *self)
{
    free(self->slots);
    free(self->pages);
    free(self->half_free);
    free(self->unwritten);
    free(self->table);
    *self = (struct rows_under_way){0};
}
