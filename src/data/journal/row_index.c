/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of offsets and lengths. */
#include "data/journal/row_index.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE_ROWS = 512 };

/* Offset 0 for rows that are not there. With lengths, so that an entry is read back by one read. */
struct index_page {
    int64_t offsets[PAGE_ROWS];
    uint32_t lengths[PAGE_ROWS];
};

static const struct index_page *find_page(const struct row_index *index, int64_t row)
{
    size_t page = (size_t)(row / PAGE_ROWS);
    return row >= 0 && page < index->page_count ? index->pages[page] : NULL;
}

bool row_index_has(const struct row_index *index, int64_t row)
{
    const struct index_page *page = find_page(index, row);
    return page != NULL && page->offsets[row % PAGE_ROWS] != 0;
}

void row_index_prefetch(const struct row_index *index, int64_t row)
{
    const struct index_page *page = find_page(index, row);
    if (page != NULL) {
        __builtin_prefetch(&page->offsets[row % PAGE_ROWS], 1);
        __builtin_prefetch(&page->lengths[row % PAGE_ROWS], 1);
    }
}

static status make_page(struct row_index *index, size_t page)
{
    if (page >= index->page_count) {
        void *pages = index->pages;
        status s = array_grow(&pages, &index->page_capacity, page + 1, sizeof *index->pages);
        index->pages = pages;
        TRY(s);
        memset(index->pages + index->page_count, 0,
               (page + 1 - index->page_count) * sizeof *index->pages);
        index->page_count = page + 1;
    }
    if (index->pages[page] == NULL &&
        (index->pages[page] = calloc(1, sizeof **index->pages)) == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the journal's index");
    }
    return STATUS_OK;
}

status row_index_add(struct row_index *index, const struct journal_place *place)
{
    size_t page = (size_t)(place->row / PAGE_ROWS), at = (size_t)(place->row % PAGE_ROWS);
    if (row_index_has(index, place->row)) {
        return status_fail(STATUS_INVALID,
                           "offset %lld: row %lld is there twice; start afresh with --fresh",
                           (long long)place->offset, (long long)place->row);
    }
    TRY(make_page(index, page));
    index->pages[page]->offsets[at] = place->offset;
    index->pages[page]->lengths[at] = place->length;
    index->rows++;
    return STATUS_OK;
}

size_t row_index_collect(const struct row_index *index, int64_t *row, int64_t end,
                         struct journal_place *places)
{
    size_t count = 0;
    int64_t bytes = 0, most = (int64_t)index->page_count * PAGE_ROWS;
    end = end < most ? end : most;
    while (*row < end && count < read_back_limits.rows && bytes < read_back_limits.bytes) {
        const struct index_page *page = find_page(index, *row);
        size_t at = (size_t)(*row % PAGE_ROWS);
        if (page == NULL) {
            *row += PAGE_ROWS - (int64_t)at;
            continue;
        }
        if (page->offsets[at] != 0) {
            places[count++] = (struct journal_place){*row, page->offsets[at], page->lengths[at]};
            bytes += page->lengths[at];
        }
        ++*row;
    }
    return count;
}

size_t row_index_follow(const struct row_index *index, int64_t *row, int64_t end,
                        struct journal_place *places, size_t most)
{
    size_t count = 0;
    while (count < most && row_index_has(index, *row)) {
        const struct index_page *page = find_page(index, *row);
        size_t at = (size_t)(*row % PAGE_ROWS);
        struct journal_place place = {*row, page->offsets[at], page->lengths[at]};
        if (place.offset + place.length > end) {
            break;
        }
        places[count++] = place;
        ++*row;
    }
    return count;
}

void row_index_destroy(struct row_index *index)
{
    for (size_t page = 0; page < index->page_count; page++) {
        free(index->pages[page]);
    }
    free(index->pages);
    *index = (struct row_index){0};
}
