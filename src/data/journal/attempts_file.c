/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing of the file `attempts`. */
#include "data/journal/attempts_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/journal/durable.h"
#include "data/journal/file.h"

static const char magic[8] = "SLUICEA\n";
/* Suspects of version 1 have no group. */
enum { VERSION = 2, OLDEST_VERSION = 1, STATE_ORDERLY = 0, STATE_RUNNING = 1 };
/* The file's head, the suspects after it, and then the rows under way. */
enum { AT_MAGIC = 0, AT_VERSION = 8, AT_SUSPECTS = 12, AT_CHECKSUM = 16, AT_STATE = 24 };
enum { AT_ALONE = 28, HEAD_BYTES = 36 };
enum { SUSPECT_ROW = 0, SUSPECT_COUNTS = 8, SUSPECT_GROUP = 24 };
enum { SUSPECT_BYTES = 28, SUSPECT_BYTES_OF_VERSION_1 = 24 };

int64_t attempts_file_slots(size_t suspect_count)
{
    return HEAD_BYTES + (int64_t)suspect_count * SUSPECT_BYTES;
}

/* ---- Reading ---- */

static status read_suspects(struct last_start *last, const char *bytes, size_t count, size_t size)
{
    last->suspects = calloc(count + 1, sizeof *last->suspects);
    if (last->suspects == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for %zu suspects", count);
    }
    last->suspect_count = count;
    for (size_t i = 0; i < count; i++, bytes += size) {
        struct suspect *suspect = &last->suspects[i];
        suspect->row = little_endian_get_int64(bytes + SUSPECT_ROW);
        for (int kind = 0; kind < BLAME_KINDS; kind++) {
            suspect->counts[kind] =
                (uint32_t)little_endian_get(bytes + SUSPECT_COUNTS + 4 * kind, 4);
        }
        if (size > SUSPECT_GROUP) {
            suspect->group = (uint32_t)little_endian_get(bytes + SUSPECT_GROUP, 4);
        }
    }
    return STATUS_OK;
}

static status read_slots(struct last_start *last, const char *bytes, size_t count)
{
    last->slots = calloc(count + 1, sizeof *last->slots);
    if (last->slots == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for %zu rows under way", count);
    }
    for (size_t i = 0; i < count; i++, bytes += SLOT_BYTES) {
        const struct row_slot slot = {.row = little_endian_get_int64(bytes + SLOT_ROW) - 1,
                                      .replica = little_endian_get_int32(bytes + SLOT_REPLICA)};
        if (slot.row >= 0) {
            last->slots[last->slot_count++] = slot;
        }
    }
    return STATUS_OK;
}

/* Bytes of a suspect in the file; 0: it is damaged. */
static size_t suspect_bytes(const struct buffer *bytes, size_t *count)
{
    if (bytes->length < HEAD_BYTES || memcmp(bytes->data + AT_MAGIC, magic, sizeof magic) != 0) {
        return 0;
    }
    uint64_t version = little_endian_get(bytes->data + AT_VERSION, 4);
    if (version < OLDEST_VERSION || version > VERSION) {
        return 0;
    }
    size_t size = version == OLDEST_VERSION ? SUSPECT_BYTES_OF_VERSION_1 : SUSPECT_BYTES;
    *count = (size_t)little_endian_get(bytes->data + AT_SUSPECTS, 4);
    return *count <= (bytes->length - HEAD_BYTES) / size &&
                   little_endian_get(bytes->data + AT_CHECKSUM, 8) ==
                       hash_bytes(bytes->data + HEAD_BYTES, *count * size, version)
               ? size
               : 0;
}

static status parse(const struct buffer *bytes, size_t count, size_t size, struct last_start *out)
{
    const char *slots = bytes->data + HEAD_BYTES + count * size;
    size_t room = bytes->length - HEAD_BYTES - count * size;
    out->running = little_endian_get(bytes->data + AT_STATE, 4) == STATE_RUNNING;
    out->alone = little_endian_get_int64(bytes->data + AT_ALONE) - 1;
    TRY(read_suspects(out, bytes->data + HEAD_BYTES, count, size));
    return read_slots(out, slots, room / SLOT_BYTES);
}

status attempts_file_read(const char *path, struct last_start *out)
{
    struct buffer bytes = {0};
    *out = (struct last_start){.alone = -1};
    status s = file_read(path, SIZE_MAX, &bytes);
    if (s == STATUS_OK) {
        size_t count = 0, size = suspect_bytes(&bytes, &count);
        if (size == 0) {
            log_write(LOG_WARNING, "%s: damaged, and taken for empty", path);
        } else {
            s = parse(&bytes, count, size, out);
        }
    }
    buffer_destroy(&bytes);
    return s == STATUS_NOT_FOUND ? STATUS_OK : s;
}

void last_start_destroy(struct last_start *last)
{
    free(last->suspects);
    free(last->slots);
    *last = (struct last_start){.alone = -1};
}

/* ---- Writing ---- */

static void put_suspect(char *at, const struct suspect *suspect)
{
    little_endian_put(at + SUSPECT_ROW, (uint64_t)suspect->row, 8);
    for (int kind = 0; kind < BLAME_KINDS; kind++) {
        little_endian_put(at + SUSPECT_COUNTS + 4 * kind, suspect->counts[kind], 4);
    }
    little_endian_put(at + SUSPECT_GROUP, suspect->group, 4);
}

static status make_file(const struct suspect *suspects, size_t count, struct buffer *out)
{
    if (count > UINT32_MAX) {
        return status_fail(STATUS_LIMIT, "%zu rows under suspicion", count);
    }
    size_t length = (size_t)attempts_file_slots(count);
    TRY(buffer_reserve(out, length));
    out->length = length;
    memset(out->data, 0, length);
    for (size_t i = 0; i < count; i++) {
        put_suspect(out->data + HEAD_BYTES + i * SUSPECT_BYTES, &suspects[i]);
    }
    memcpy(out->data + AT_MAGIC, magic, sizeof magic);
    little_endian_put(out->data + AT_VERSION, VERSION, 4);
    little_endian_put(out->data + AT_SUSPECTS, count, 4);
    little_endian_put(out->data + AT_CHECKSUM,
                      hash_bytes(out->data + HEAD_BYTES, count * SUSPECT_BYTES, VERSION), 8);
    little_endian_put(out->data + AT_STATE, STATE_RUNNING, 4);
    return STATUS_OK;
}

static status write_new(const char *new_path, const char *path, const struct buffer *bytes, int *fd)
{
    *fd = open(new_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (*fd < 0) {
        return status_fail_errno(STATUS_IO, "%s", new_path);
    }
    TRY(status_context(journal_write_at(*fd, 0, bytes->data, bytes->length), "%s", new_path));
    return fsync(*fd) == 0 && rename(new_path, path) == 0
               ? STATUS_OK
               : status_fail_errno(STATUS_IO, "%s", new_path);
}

status attempts_file_write(const char *path, const char *directory, const struct suspect *suspects,
                           size_t count, int *fd)
{
    struct buffer bytes = {0}, new_path = {0};
    status s = make_file(suspects, count, &bytes);
    if (s == STATUS_OK) {
        s = buffer_format(&new_path, "%s.new", path);
    }
    if (s == STATUS_OK) {
        s = write_new(new_path.data, path, &bytes, fd);
    }
    if (s == STATUS_OK) {
        s = durable_sync_folder(directory);
    }
    buffer_destroy(&bytes);
    buffer_destroy(&new_path);
    return s;
}

static status write_head(int fd, int64_t offset, uint64_t value, size_t size)
{
    char bytes[8];
    little_endian_put(bytes, value, size);
    return journal_write_at(fd, offset, bytes, size);
}

status attempts_file_set_orderly(int fd)
{
    return write_head(fd, AT_STATE, STATE_ORDERLY, 4);
}

status attempts_file_set_alone(int fd, int64_t row)
{
    return write_head(fd, AT_ALONE, (uint64_t)row + 1, 8);
}
