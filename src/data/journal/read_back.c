/* SPDX-License-Identifier: Apache-2.0 */
/* Entries are sorted by their places in the file and read in runs, several threads at a time; then
 * they are visited by row. */
#include "data/journal/read_back.h"

#include <fcntl.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data/journal/file.h"
#include "data/journal/window.h"

enum {
    RUN_BYTES = 1 << 20, /* of one read, unless it is one entry */
    GAP_BYTES = 4096,    /* that are read along rather than starting another read */
    ROWS_AHEAD = 4,      /* of the one that is visited, which are fetched into the cache */
};

struct read_back_limits read_back_limits = {.bytes = 256 << 20, .rows = 1 << 20};

/* An entry: where it stands in the file and, once the runs are made, in memory. */
struct read_order {
    int64_t offset;
    size_t index, at;
    uint32_t length;
};

/* Neighbours in the file, read at once. */
struct read_run {
    int64_t offset;
    size_t at, length;
};

static status make_room(struct read_back *self, size_t count)
{
    if (count <= self->capacity) {
        return STATUS_OK;
    }
    free(self->order);
    free(self->runs);
    free(self->at);
    self->capacity = 0;
    self->order = malloc(count * sizeof *self->order);
    self->runs = malloc(count * sizeof *self->runs);
    self->at = malloc(count * sizeof *self->at);
    if (self->order == NULL || self->runs == NULL || self->at == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the places of %zu rows", count);
    }
    self->capacity = count;
    return STATUS_OK;
}

/* ---- Runs ---- */

static int compare_offsets(const void *a, const void *b)
{
    int64_t first = ((const struct read_order *)a)->offset;
    int64_t second = ((const struct read_order *)b)->offset;
    return (first > second) - (first < second);
}

/* Rows that finished in order stand in order. */
static void sort_places(struct read_back *self, const struct journal_place *places, size_t count)
{
    bool is_sorted = true;
    for (size_t i = 0; i < count; i++) {
        self->order[i] =
            (struct read_order){.offset = places[i].offset, .index = i, .length = places[i].length};
        is_sorted = is_sorted && (i == 0 || places[i - 1].offset < places[i].offset);
    }
    if (!is_sorted) {
        qsort(self->order, count, sizeof *self->order, compare_offsets);
    }
}

/* Gaps are taken along as long as a run has no more bytes of them than of entries: so at most twice
 * as much is read as is wanted. Returns the number of runs; *bytes are all of theirs. */
static size_t make_runs(struct read_back *self, size_t count, size_t *bytes)
{
    size_t runs = 0, wanted = 0;
    *bytes = 0;
    for (size_t i = 0; i < count; i++) {
        struct read_order *entry = &self->order[i];
        struct read_run *run = runs > 0 ? &self->runs[runs - 1] : NULL;
        int64_t gap = run != NULL ? entry->offset - run->offset - (int64_t)run->length : 0;
        bool joins = run != NULL && gap >= 0 && gap <= GAP_BYTES &&
                     run->length + (size_t)gap - wanted <= wanted && run->length < RUN_BYTES;
        if (!joins) {
            run = &self->runs[runs++];
            *run = (struct read_run){.offset = entry->offset, .at = *bytes};
            wanted = 0;
            gap = 0;
        }
        entry->at = run->at + run->length + (size_t)gap;
        run->length += (size_t)gap + entry->length;
        wanted += entry->length;
        *bytes = run->at + run->length;
    }
    return runs;
}

static int thread_count(const struct read_back *self)
{
    return self->threads > 0 ? self->threads : omp_get_max_threads();
}

static status read_runs(struct read_back *self, const struct journal_file *file, size_t runs)
{
    char *bytes = self->bytes.data;
    const struct read_run *all = self->runs;
    long failed = -1;
    int threads = runs < 64 ? 1 : thread_count(self);
#pragma omp parallel for schedule(dynamic, 64) num_threads(threads) reduction(max : failed)
    for (long i = 0; i < (long)runs; i++) {
        bool past = all[i].length > (uint64_t)(file->end - all[i].offset);
        if (past || journal_read_at(file->fd, all[i].offset, bytes + all[i].at, all[i].length) !=
                        STATUS_OK) {
            failed = i;
        }
    }
    if (failed < 0) {
        return STATUS_OK;
    }
    /* Once more, for the message: those of other threads are theirs. */
    const struct read_run *run = &all[failed];
    TRY(status_context(journal_read_at(file->fd, run->offset, bytes + run->at, run->length), "%s",
                       file->path));
    return STATUS_OK;
}

/* ---- Entries ---- */

static bool is_entry(const char *bytes, const struct journal_place *place)
{
    struct journal_entry entry;
    return place->length > JOURNAL_ENTRY_BYTES && journal_get_entry(bytes, &entry) && !entry.mark &&
           entry.row == place->row && entry.length == place->length - JOURNAL_ENTRY_BYTES &&
           journal_entry_valid(bytes, place->length, place->offset);
}

/* Notes where each row stands in memory. Returns the first row whose entry is damaged, `count`
 * where none is: several threads see to it, since it is the first look at all these bytes, and from
 * front to back, which their caches are made for. */
static size_t check_entries(struct read_back *self, const struct journal_place *places,
                            size_t count)
{
    const char *bytes = self->bytes.data;
    const struct read_order *order = self->order;
    size_t *at = self->at;
    size_t first = count;
    int threads = count < 1024 ? 1 : thread_count(self);
#pragma omp parallel for schedule(static) num_threads(threads) reduction(min : first)
    for (size_t i = 0; i < count; i++) {
        const size_t row = order[i].index;
        at[row] = order[i].at;
        if (row < first && !is_entry(bytes + order[i].at, &places[row])) {
            first = row;
        }
    }
    return first;
}

/* Rows that follow each other stand anywhere in memory: what is soon read is fetched before. */
static void prefetch_entry(const char *bytes, size_t length)
{
    enum { LINE = 64, MOST = 1024 };
    for (size_t at = 0; at < length && at < MOST; at += LINE) {
        __builtin_prefetch(bytes + at);
    }
}

static status fail_damaged(const char *path, int64_t offset, int64_t row)
{
    return status_fail(STATUS_INVALID,
                       "%s: offset %lld: row %lld was damaged after it was "
                       "written; start again, to see whether the disk reads it now, or "
                       "afresh with --fresh",
                       path, (long long)offset, (long long)row);
}

static status fail_order(const char *path, int64_t offset, int64_t row)
{
    return status_fail(STATUS_INVALID, "%s: offset %lld: row %lld: samples out of order", path,
                       (long long)offset, (long long)row);
}

static status visit_entry(struct arena *arena, const struct journal_file *file, const char *bytes,
                          const struct journal_place *place, bool is_damaged, result_visitor visit,
                          void *context)
{
    long long row = place->row, offset = place->offset;
    struct journal_entry entry;
    if (is_damaged || !journal_get_entry(bytes, &entry)) {
        return fail_damaged(file->path, offset, row);
    }
    const char *next = bytes + JOURNAL_ENTRY_BYTES;
    size_t left = (size_t)entry.length;
    int32_t previous = -1;
    for (uint32_t i = 0; i < entry.samples; i++) {
        struct result result;
        size_t used;
        arena_reset(arena);
        TRY(status_context(result_decode(next, left, arena, &result, &used),
                           "%s: offset %lld: row %lld", file->path, offset, row));
        if (result.row != place->row || result.sample <= previous) {
            return fail_order(file->path, offset, row);
        }
        previous = result.sample;
        next += used;
        left -= used;
        TRY(visit(context, &result));
    }
    return STATUS_OK;
}

/* Rows in any order touch nearly as many pages as there are rows. Where the kernel has none or
 * gives none, pages stay small. */
static void use_large_pages(char *bytes, size_t length)
{
    const uintptr_t page = 4096, start = ((uintptr_t)bytes + page - 1) / page * page;
    const uintptr_t end = ((uintptr_t)bytes + length) / page * page;
    if (length >= (size_t)RUN_BYTES * 4) {
        (void)madvise((void *)start, end - start, MADV_HUGEPAGE);
    }
}

/* The rows that are read together: as many as fit, and one at least. */
static size_t group_size(const struct journal_place *places, size_t count)
{
    size_t rows = 0;
    int64_t bytes = 0;
    while (rows < count && rows < read_back_limits.rows &&
           (rows == 0 || bytes < read_back_limits.bytes)) {
        bytes += places[rows++].length;
    }
    return rows;
}

static status visit_group(struct read_back *self, const struct journal_file *file,
                          const struct journal_place *places, size_t count, result_visitor visit,
                          void *context)
{
    size_t bytes;
    TRY(make_room(self, count));
    sort_places(self, places, count);
    size_t runs = make_runs(self, count, &bytes);
    buffer_clear(&self->bytes);
    TRY(buffer_reserve(&self->bytes, bytes));
    use_large_pages(self->bytes.data, bytes);
    TRY(read_runs(self, file, runs));
    const size_t damaged = check_entries(self, places, count);
    for (size_t i = 0; i < count; i++) {
        if (i + ROWS_AHEAD < count) {
            const size_t next = i + ROWS_AHEAD;
            prefetch_entry(self->bytes.data + self->at[next], places[next].length);
        }
        TRY(visit_entry(&self->arena, file, self->bytes.data + self->at[i], &places[i],
                        i == damaged, visit, context));
    }
    return STATUS_OK;
}

status read_back_visit(struct read_back *self, const struct journal_file *file,
                       const struct journal_place *places, size_t count, result_visitor visit,
                       void *context)
{
    while (count > 0) {
        size_t rows = group_size(places, count);
        TRY(visit_group(self, file, places, rows, visit, context));
        places += rows;
        count -= rows;
    }
    return STATUS_OK;
}

void read_back_destroy(struct read_back *self)
{
    free(self->order);
    free(self->runs);
    free(self->at);
    buffer_destroy(&self->bytes);
    arena_destroy(&self->arena);
    *self = (struct read_back){0};
}

/* ---- Beside the thread that appends ---- */

struct journal_reader {
    int fd;
    char *path;
    struct read_back read;
    struct journal_windows windows; /* of a scan */
};

status journal_reader_open(const char *path, struct journal_reader **out)
{
    struct journal_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL || (reader->path = strdup(path)) == NULL) {
        free(reader);
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory", path);
    }
    reader->read.threads = 1;
    reader->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (reader->fd < 0) {
        status s = status_fail_errno(STATUS_IO, "%s", path);
        journal_reader_close(reader);
        return s;
    }
    *out = reader;
    return STATUS_OK;
}

status journal_reader_visit(struct journal_reader *reader, const struct journal_place *places,
                            size_t count, result_visitor visit, void *context)
{
    /* Whoever knows the places knows that they are written. */
    const struct journal_file file = {reader->fd, INT64_MAX, reader->path};
    return read_back_visit(&reader->read, &file, places, count, visit, context);
}

/* All results of an entry, which are valid until the next one is read. */
static status decode_results(struct arena *arena, const struct journal_entry *entry,
                             const char *bytes, struct result **out)
{
    size_t left = (size_t)entry->length, used;
    arena_reset(arena);
    struct result *results = arena_allocate_array(arena, entry->samples, sizeof *results);
    if (results == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a result");
    }
    for (uint32_t i = 0; i < entry->samples; i++, bytes += used, left -= used) {
        TRY(result_decode(bytes, left, arena, &results[i], &used));
    }
    *out = results;
    return STATUS_OK;
}

static status visit_scanned(struct journal_reader *reader, int64_t offset,
                            const struct journal_entry *entry, const struct journal_scan *scan)
{
    const char *bytes;
    struct result *results;
    const size_t length = JOURNAL_ENTRY_BYTES + (size_t)entry->length;
    const struct journal_place place = {entry->row, offset, (uint32_t)length};
    TRY(journal_windows_get(&reader->windows, reader->fd, scan->end, offset, length, &bytes));
    if (!is_entry(bytes, &place) || entry->samples > entry->length) {
        return fail_damaged(reader->path, offset, entry->row);
    }
    TRY(status_context(
        decode_results(&reader->read.arena, entry, bytes + JOURNAL_ENTRY_BYTES, &results),
        "%s: offset %lld: row %lld", reader->path, (long long)offset, (long long)entry->row));
    for (uint32_t i = 0; i < entry->samples; i++) {
        if (results[i].row != entry->row || (i > 0 && results[i].sample <= results[i - 1].sample)) {
            return fail_order(reader->path, offset, entry->row);
        }
    }
    return scan->visit(scan->context, results, entry->samples);
}

static status scan_entry(struct journal_reader *reader, int64_t *offset,
                         const struct journal_scan *scan)
{
    const char *head;
    struct journal_entry entry;
    TRY(journal_windows_get(&reader->windows, reader->fd, scan->end, *offset, JOURNAL_ENTRY_BYTES,
                            &head));
    if (!journal_get_entry(head, &entry) ||
        entry.length > (uint64_t)(scan->end - *offset - JOURNAL_ENTRY_BYTES)) {
        return fail_damaged(reader->path, *offset, entry.row);
    }
    if (!entry.mark && scan->wants(scan->context, entry.row)) {
        TRY(visit_scanned(reader, *offset, &entry, scan));
    }
    *offset += JOURNAL_ENTRY_BYTES + (int64_t)entry.length;
    return STATUS_OK;
}

static status skip_header(const struct journal_reader *reader, int64_t *offset)
{
    char head[JOURNAL_HEAD_BYTES];
    TRY(journal_read_at(reader->fd, 0, head, sizeof head));
    *offset = (int64_t)journal_header_bytes(head);
    return STATUS_OK;
}

status journal_reader_scan(struct journal_reader *reader, int64_t *offset,
                           const struct journal_scan *scan)
{
    if (*offset == 0) {
        TRY(status_context(skip_header(reader, offset), "%s", reader->path));
    }
    while (*offset < scan->stop) {
        TRY(scan_entry(reader, offset, scan));
    }
    return STATUS_OK;
}

void journal_reader_close(struct journal_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    if (reader->fd >= 0) {
        close(reader->fd);
    }
    read_back_destroy(&reader->read);
    journal_windows_destroy(&reader->windows);
    free(reader->path);
    free(reader);
}
