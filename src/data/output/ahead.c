/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of neighbouring rows: their records, and heaps of their texts. */
#include "data/output/ahead.h"

#include <stdlib.h>

enum {
    PAGE_ROWS = 1024,         /* whose texts stand together */
    HEAP_BYTES = 64 * 1024,   /* of texts of one page and column that are written at once */
    MOST_RESULTS = UINT16_MAX /* of a row */
};

struct results_ahead_limits results_ahead_limits = {.records = 192 << 20, .texts = 64 << 20};

struct ahead_page {
    struct buffer records;
    uint32_t first[PAGE_ROWS];  /* record of a row */
    uint16_t counts[PAGE_ROWS]; /* 0: the row is not there */
    size_t rows;
    struct string_heap heaps[]; /* of each column of texts */
};

static struct ahead_page *find_page(const struct results_ahead *self, int64_t row)
{
    const size_t page = (size_t)(row / PAGE_ROWS);
    return row >= 0 && page < self->page_count ? self->pages[page] : NULL;
}

bool results_ahead_has(const struct results_ahead *self, int64_t row)
{
    const struct ahead_page *page = find_page(self, row);
    return page != NULL && page->counts[row % PAGE_ROWS] > 0;
}

/* ---- Texts ---- */

static size_t heap_bytes(const struct results_ahead *self, const struct ahead_page *page)
{
    size_t bytes = 0;
    for (size_t i = 0; i < self->heaps; i++) {
        bytes += page->heaps[i].bytes.length;
    }
    return bytes;
}

/* Writes the page's heaps of so many bytes. */
static status write_heaps(struct results_ahead *self, hid_t file, int fd, struct ahead_page *page,
                          size_t least)
{
    for (size_t i = 0; i < self->heaps; i++) {
        struct string_heap *heap = &page->heaps[i];
        const size_t bytes = heap->bytes.length;
        if (bytes < least) {
            continue;
        }
        TRY(string_heap_place(heap, file, fd, page->records.data + self->text_at[i],
                              page->records.length / self->record_bytes, self->record_bytes));
        buffer_destroy(&heap->bytes); /* there are many pages */
        self->texts -= bytes;
    }
    return STATUS_OK;
}

static status write_all_heaps(struct results_ahead *self, hid_t file, int fd)
{
    for (size_t i = 0; i < self->page_count; i++) {
        if (self->pages[i] != NULL) {
            TRY(write_heaps(self, file, fd, self->pages[i], 1));
        }
    }
    return STATUS_OK;
}

/* ---- Pages ---- */

static status make_page(struct results_ahead *self, int64_t row, struct ahead_page **out)
{
    const size_t page = (size_t)(row / PAGE_ROWS);
    if (page >= self->page_count) {
        void *pages = self->pages;
        status s = array_grow(&pages, &self->page_capacity, page + 1, sizeof *self->pages);
        self->pages = pages;
        TRY(s);
        while (self->page_count <= page) {
            self->pages[self->page_count++] = NULL;
        }
    }
    if (self->pages[page] == NULL) {
        self->pages[page] =
            calloc(1, sizeof **self->pages + self->heaps * sizeof self->pages[page]->heaps[0]);
    }
    *out = self->pages[page];
    return *out != NULL ? STATUS_OK
                        : status_fail(STATUS_NO_MEMORY, "out of memory for rows before their turn");
}

static void free_page(struct results_ahead *self, struct ahead_page *page)
{
    for (size_t i = 0; i < self->heaps; i++) {
        buffer_destroy(&page->heaps[i].bytes);
    }
    self->records -= page->records.length;
    buffer_destroy(&page->records);
    free(page);
}

/* ---- Rows ---- */

static void learn_columns(struct results_ahead *self, const struct columns_writer *writer)
{
    size_t column = 0, at;
    self->record_bytes = columns_writer_record_bytes(writer);
    while ((at = columns_writer_next_text(writer, &column)) != SIZE_MAX) {
        self->text_at[self->heaps++] = at;
    }
}

static bool has_room(const struct results_ahead *self, size_t count)
{
    return self->record_bytes > 0 && count > 0 && count <= MOST_RESULTS &&
           self->records + count * self->record_bytes <= results_ahead_limits.records;
}

static status put(struct results_ahead *self, struct columns_writer *writer,
                  struct ahead_page *page, const struct result *results, size_t count)
{
    const size_t before = page->records.length, texts = heap_bytes(self, page);
    const size_t at = (size_t)(results->row % PAGE_ROWS);
    for (size_t i = 0; i < count; i++) {
        TRY(columns_writer_record(writer, &results[i], page->heaps, &page->records));
    }
    page->first[at] = (uint32_t)(before / self->record_bytes);
    page->counts[at] = (uint16_t)count;
    page->rows++;
    self->records += page->records.length - before;
    self->texts += heap_bytes(self, page) - texts;
    self->end = results->row >= self->end ? results->row + 1 : self->end;
    return STATUS_OK;
}

status results_ahead_put(struct results_ahead *self, struct columns_writer *writer, hid_t file,
                         int fd, const struct result *results, size_t count, bool *taken)
{
    struct ahead_page *page;
    *taken = false;
    if (self->heaps == 0) {
        learn_columns(self, writer);
    }
    if (!has_room(self, count) || results_ahead_has(self, results->row)) {
        return STATUS_OK;
    }
    TRY(make_page(self, results->row, &page));
    TRY(put(self, writer, page, results, count));
    *taken = true;
    TRY(write_heaps(self, file, fd, page, HEAP_BYTES));
    return self->texts > results_ahead_limits.texts ? write_all_heaps(self, file, fd) : STATUS_OK;
}

status results_ahead_append(struct results_ahead *self, struct columns_writer *writer, hid_t file,
                            int fd, int64_t row)
{
    struct ahead_page *page = find_page(self, row);
    const size_t at = (size_t)(row % PAGE_ROWS);
    if (page == NULL || page->counts[at] == 0) {
        return status_fail(STATUS_INTERNAL, "row %lld is not there", (long long)row);
    }
    TRY(write_heaps(self, file, fd, page, 1));
    const char *record = page->records.data + page->first[at] * self->record_bytes;
    for (size_t i = 0; i < page->counts[at]; i++, record += self->record_bytes) {
        TRY(columns_writer_append_record(writer, row, record));
    }
    page->counts[at] = 0;
    if (--page->rows == 0) {
        self->pages[row / PAGE_ROWS] = NULL;
        free_page(self, page);
    }
    return STATUS_OK;
}

void results_ahead_destroy(struct results_ahead *self)
{
    for (size_t i = 0; i < self->page_count; i++) {
        if (self->pages[i] != NULL) {
            free_page(self, self->pages[i]);
        }
    }
    free(self->pages);
    *self = (struct results_ahead){0};
}
