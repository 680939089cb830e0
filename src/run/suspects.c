/* SPDX-License-Identifier: Apache-2.0 */
/* Suspects' records on disk, in groups. */
#include "run/suspects.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "data/journal/file.h"

struct suspect_record {
    struct record record; /* without its bytes */
    int64_t offset, group;
    size_t length;
};

/* A file without a name goes with the process; its prefix is that of a file of the journal's
 * folder, should the process end between two calls. */
static status open_file(struct suspects *self, const char *directory)
{
    struct buffer path = {0};
    status s = path_join(directory, "attempts.suspects", &path);
    if (s == STATUS_OK) {
        self->fd = open(path.data, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        s = self->fd >= 0 ? STATUS_OK : status_fail_errno(STATUS_IO, "%s", path.data);
    }
    if (s == STATUS_OK) {
        unlink(path.data);
    }
    buffer_destroy(&path);
    return s;
}

static status add_item(struct suspects *self, const struct suspect_record *item)
{
    void *items = self->items;
    status s = array_grow(&items, &self->capacity, self->count + 1, sizeof *self->items);
    self->items = items;
    TRY(s);
    self->items[self->count++] = *item;
    return STATUS_OK;
}

status suspects_keep(struct suspects *self, const char *directory, const struct record *record,
                     int64_t group)
{
    struct suspect_record item = {
        .record = *record, .offset = self->bytes, .group = group, .length = record->bytes.length};
    item.record.bytes = (struct buffer){0};
    TRY(self->count == 0 ? open_file(self, directory) : STATUS_OK);
    status s = add_item(self, &item);
    if (s == STATUS_OK) {
        s = journal_write_at(self->fd, item.offset, record->bytes.data, item.length);
    } else if (self->count == 0) {
        close(self->fd);
    }
    self->bytes += (int64_t)item.length;
    return status_context(s, "%s: rows that ranks may have died of", directory);
}

/* Small groups last, in which the guilty are; rows in order within a size. */
static int compare_items(const void *a, const void *b)
{
    const struct suspect_record *first = a, *second = b;
    if (first->group != second->group) {
        return first->group < second->group ? 1 : -1;
    }
    return (first->record.row > second->record.row) - (first->record.row < second->record.row);
}

size_t suspects_begin_group(struct suspects *self)
{
    if (!self->is_sorted && self->count > 0) {
        qsort(self->items, self->count, sizeof *self->items, compare_items);
    }
    self->is_sorted = true;
    /* Sizes fall, so the last of a group says how large it may be. */
    while (self->group < self->count &&
           (int64_t)(self->group - self->next) < self->items[self->group].group) {
        self->group++;
    }
    return self->group - self->next;
}

status suspects_next(struct suspects *self, struct record *record, bool *more)
{
    *more = self->next < self->group;
    if (!*more) {
        return STATUS_OK;
    }
    const struct suspect_record *item = &self->items[self->next++];
    struct buffer bytes = record->bytes;
    *record = item->record;
    record->bytes = bytes;
    buffer_clear(&record->bytes);
    TRY(buffer_reserve(&record->bytes, item->length));
    TRY(status_context(journal_read_at(self->fd, item->offset, record->bytes.data, item->length),
                       "rows that ranks may have died of"));
    record->bytes.length = item->length;
    record->bytes.data[item->length] = '\0';
    return STATUS_OK;
}

bool suspects_left(const struct suspects *self)
{
    return self->next < self->count;
}

void suspects_destroy(struct suspects *self)
{
    if (self->count > 0) {
        close(self->fd);
    }
    free(self->items);
    *self = (struct suspects){0};
}
