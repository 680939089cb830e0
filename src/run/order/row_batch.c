/* SPDX-License-Identifier: Apache-2.0 */
/* Records in memory and in a file, and the order of a batch. */
#include "run/order/row_batch.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/journal/file.h"

/* A row goes first where it costs so many times what rows cost on average. */
static const double LONG = 4;
enum { SLOTS = 4 * ROW_BATCH_ROWS };

struct entry {
    struct record record; /* without its bytes */
    int64_t offset;       /* in memory, and on from there in the file */
    size_t length;
    double cost;
    bool is_long;
    uint32_t first[ROW_KEY_LEVELS]; /* the first entry that begins like this one; itself */
};

/* Open addressing; an entry of the table stands for a beginning. */
struct beginning {
    uint64_t prefix; /* 0: free */
    uint32_t first;
};

struct row_batch {
    char *directory;
    int fd; /* -1: not needed yet */
    struct entry *entries;
    size_t count, capacity, next;
    struct beginning *beginnings; /* [SLOTS] */
    struct buffer memory;
    int64_t bytes;
    double cost; /* sum */
    bool has_groups;
};

status row_batch_create(const char *directory, struct row_batch **out)
{
    struct row_batch *self = calloc(1, sizeof *self);
    if (self != NULL) {
        self->fd = -1;
        self->directory = strdup(directory);
        self->beginnings = calloc(SLOTS, sizeof *self->beginnings);
    }
    if (self == NULL || self->directory == NULL || self->beginnings == NULL) {
        row_batch_destroy(self);
        return status_fail(STATUS_NO_MEMORY, "out of memory for rows read ahead");
    }
    *out = self;
    return STATUS_OK;
}

void row_batch_destroy(struct row_batch *self)
{
    if (self == NULL) {
        return;
    }
    if (self->fd >= 0) {
        close(self->fd);
    }
    free(self->directory);
    free(self->entries);
    free(self->beginnings);
    buffer_destroy(&self->memory);
    free(self);
}

bool row_batch_is_full(const struct row_batch *self)
{
    return self->count >= ROW_BATCH_ROWS || self->bytes >= ROW_BATCH_BYTES;
}

/* A file without a name goes with the process. */
static status open_file(struct row_batch *self)
{
    struct buffer path = {0};
    TRY(path_join(self->directory, "attempts.ahead", &path));
    self->fd = open(path.data, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    status s = self->fd >= 0 ? STATUS_OK : status_fail_errno(STATUS_IO, "%s", path.data);
    if (s == STATUS_OK) {
        unlink(path.data);
    }
    buffer_destroy(&path);
    return s;
}

/* A record lies whole in memory or whole in the file. */
static status keep_bytes(struct row_batch *self, const struct record *record, int64_t *offset)
{
    const int64_t length = (int64_t)record->bytes.length;
    *offset = self->bytes;
    if (length == 0) {
        return STATUS_OK;
    }
    if (self->fd < 0 && self->bytes + length <= ROW_BATCH_MEMORY) {
        TRY(buffer_append(&self->memory, record->bytes.data, record->bytes.length));
    } else {
        TRY(self->fd < 0 ? open_file(self) : STATUS_OK);
        TRY(status_context(journal_write_at(self->fd, *offset - (int64_t)self->memory.length,
                                            record->bytes.data, record->bytes.length),
                           "%s: rows read ahead", self->directory));
    }
    self->bytes += length;
    return STATUS_OK;
}

/* The first entry with this beginning, from now on this one where there was none. */
static uint32_t find_first(struct row_batch *self, uint64_t prefix, uint32_t entry)
{
    size_t slot = (size_t)(prefix >> 1) % SLOTS;
    while (self->beginnings[slot].prefix != 0 && self->beginnings[slot].prefix != prefix) {
        slot = (slot + 1) % SLOTS;
    }
    if (self->beginnings[slot].prefix == 0) {
        self->beginnings[slot] = (struct beginning){prefix, entry};
    }
    return self->beginnings[slot].first;
}

status row_batch_add(struct row_batch *self, const struct record *record, const struct row_key *key)
{
    void *entries = self->entries;
    status s = array_grow(&entries, &self->capacity, self->count + 1, sizeof *self->entries);
    self->entries = entries;
    TRY(s);
    struct entry *entry = &self->entries[self->count];
    *entry = (struct entry){.record = *record, .length = record->bytes.length, .cost = key->cost};
    entry->record.bytes = (struct buffer){0};
    TRY(keep_bytes(self, record, &entry->offset));
    for (int i = 0; i < ROW_KEY_LEVELS; i++) {
        entry->first[i] = (uint32_t)self->count;
        if (key->prefix[i] != 0) {
            entry->first[i] = find_first(self, key->prefix[i], (uint32_t)self->count);
            self->has_groups |= entry->first[i] != self->count;
        }
    }
    self->cost += key->cost;
    self->count++;
    return STATUS_OK;
}

static int compare(const void *a, const void *b)
{
    const struct entry *first = a, *second = b;
    if (first->is_long != second->is_long) {
        return first->is_long ? -1 : 1;
    }
    if (first->is_long && first->cost != second->cost) {
        return first->cost > second->cost ? -1 : 1;
    }
    for (int i = 0; i < ROW_KEY_LEVELS; i++) {
        if (first->first[i] != second->first[i]) {
            return first->first[i] < second->first[i] ? -1 : 1;
        }
    }
    return (first->record.row > second->record.row) - (first->record.row < second->record.row);
}

void row_batch_sort(struct row_batch *self)
{
    const double mean = self->count > 0 ? self->cost / (double)self->count : 0;
    bool has_long = false;
    for (size_t i = 0; i < self->count; i++) {
        self->entries[i].is_long = self->entries[i].cost > LONG * mean;
        has_long |= self->entries[i].is_long;
    }
    if (has_long || self->has_groups) {
        qsort(self->entries, self->count, sizeof *self->entries, compare);
    }
}

status row_batch_take(struct row_batch *self, struct record *record)
{
    const struct entry *entry = &self->entries[self->next++];
    const int64_t in_memory = (int64_t)self->memory.length;
    struct buffer bytes = record->bytes;
    *record = entry->record;
    record->bytes = bytes;
    buffer_clear(&record->bytes);
    if (entry->length == 0) {
        return buffer_append_text(&record->bytes, "");
    }
    if (entry->offset + (int64_t)entry->length <= in_memory) {
        return buffer_append(&record->bytes, self->memory.data + entry->offset, entry->length);
    }
    TRY(buffer_reserve(&record->bytes, entry->length));
    TRY(status_context(
        journal_read_at(self->fd, entry->offset - in_memory, record->bytes.data, entry->length),
        "%s: rows read ahead", self->directory));
    record->bytes.length = entry->length;
    record->bytes.data[entry->length] = '\0';
    return STATUS_OK;
}

int64_t row_batch_left(const struct row_batch *self)
{
    return (int64_t)(self->count - self->next);
}

void row_batch_clear(struct row_batch *self)
{
    memset(self->beginnings, 0, SLOTS * sizeof *self->beginnings);
    if (self->fd >= 0) {
        close(self->fd);
        self->fd = -1;
    }
    buffer_clear(&self->memory);
    self->count = self->next = 0;
    self->bytes = 0;
    self->cost = 0;
    self->has_groups = false;
}
