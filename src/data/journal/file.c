/* SPDX-License-Identifier: Apache-2.0 */
/* Header, entries and marks of a journal as bytes, and whole reads and writes of them. */
#include "data/journal/file.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "sluice/data.h"

static const char file_magic[8] = "SLUICEJ\n";
static const uint32_t entry_magic = 0x57524C53; /* "SLRW" */
static const uint32_t mark_magic = 0x4B4D4C53;  /* "SLMK" */

/* Offsets in the file's header. */
enum { AT_FILE_MAGIC = 0, AT_VERSION = 8, AT_IDENTITY_LENGTH = 12, AT_HEADER_CHECKSUM = 16 };

/* Offsets in an entry's head. The checksum comes first, so that what it covers is in one piece. */
enum { AT_CHECKSUM = 0, AT_MAGIC = 8, AT_SAMPLES = 12, AT_ROW = 16, AT_LENGTH = 24 };

static uint64_t header_checksum(const char *head, const char *identity, size_t length)
{
    return hash_bytes(identity, length, hash_bytes(head, AT_HEADER_CHECKSUM, 0));
}

status journal_put_header(const char *identity, struct buffer *out)
{
    char head[JOURNAL_HEAD_BYTES];
    size_t length = strlen(identity);
    if (length > UINT32_MAX) {
        return status_fail(STATUS_LIMIT, "a job identity of %zu bytes", length);
    }
    memcpy(head + AT_FILE_MAGIC, file_magic, sizeof file_magic);
    little_endian_put(head + AT_VERSION, JOURNAL_VERSION, 4);
    little_endian_put(head + AT_IDENTITY_LENGTH, length, 4);
    little_endian_put(head + AT_HEADER_CHECKSUM, header_checksum(head, identity, length), 8);
    TRY(buffer_append(out, head, sizeof head));
    return buffer_append(out, identity, length);
}

status journal_check_header(const char *bytes, size_t length, size_t *size, const char **identity,
                            size_t *identity_length)
{
    if (length < JOURNAL_HEAD_BYTES ||
        memcmp(bytes + AT_FILE_MAGIC, file_magic, sizeof file_magic) != 0) {
        return status_fail(STATUS_INVALID, "offset 0: not a journal; start afresh with --fresh");
    }
    uint64_t version = little_endian_get(bytes + AT_VERSION, 4);
    if (version != JOURNAL_VERSION) {
        return status_fail(STATUS_UNSUPPORTED,
                           "a journal of version %llu; this program reads %d: finish the job with "
                           "the program that began it, or start afresh with --fresh",
                           (unsigned long long)version, JOURNAL_VERSION);
    }
    *identity_length = (size_t)little_endian_get(bytes + AT_IDENTITY_LENGTH, 4);
    *identity = bytes + JOURNAL_HEAD_BYTES;
    if (*identity_length > length - JOURNAL_HEAD_BYTES ||
        little_endian_get(bytes + AT_HEADER_CHECKSUM, 8) !=
            header_checksum(bytes, *identity, *identity_length)) {
        return status_fail(STATUS_INVALID,
                           "offset 0: the journal's header is damaged; start afresh with --fresh");
    }
    *size = JOURNAL_HEAD_BYTES + *identity_length;
    return STATUS_OK;
}

size_t journal_header_bytes(const char head[JOURNAL_HEAD_BYTES])
{
    return JOURNAL_HEAD_BYTES + (size_t)little_endian_get(head + AT_IDENTITY_LENGTH, 4);
}

static uint64_t entry_checksum(const char *bytes, size_t length, int64_t offset)
{
    return hash_bytes(bytes + AT_MAGIC, length - AT_MAGIC, (uint64_t)offset);
}

void journal_put_entry(char *bytes, const struct journal_entry *entry, int64_t offset)
{
    little_endian_put(bytes + AT_MAGIC, entry->mark ? mark_magic : entry_magic, 4);
    little_endian_put(bytes + AT_SAMPLES, entry->samples, 4);
    little_endian_put(bytes + AT_ROW, (uint64_t)entry->row, 8);
    little_endian_put(bytes + AT_LENGTH, entry->length, 8);
    little_endian_put(bytes + AT_CHECKSUM,
                      entry_checksum(bytes, JOURNAL_ENTRY_BYTES + (size_t)entry->length, offset),
                      8);
}

bool journal_get_entry(const char *head, struct journal_entry *entry)
{
    uint64_t magic = little_endian_get(head + AT_MAGIC, 4);
    *entry = (struct journal_entry){
        .mark = magic == mark_magic,
        .row = little_endian_get_int64(head + AT_ROW),
        .samples = (uint32_t)little_endian_get(head + AT_SAMPLES, 4),
        .length = little_endian_get(head + AT_LENGTH, 8),
    };
    if (entry->mark) {
        return entry->length == 0 && entry->samples == 0 && entry->row == 0;
    }
    return magic == entry_magic && entry->row >= 0 && entry->row < JOURNAL_MAX_ROW &&
           entry->length > 0 && entry->length <= JOURNAL_MAX_ENTRY && entry->samples > 0;
}

bool journal_entry_valid(const char *bytes, size_t length, int64_t offset)
{
    return length >= JOURNAL_ENTRY_BYTES &&
           little_endian_get(bytes + AT_CHECKSUM, 8) == entry_checksum(bytes, length, offset);
}

size_t journal_find_mark(const char *bytes, size_t length, int64_t offset)
{
    char magic[4];
    little_endian_put(magic, mark_magic, sizeof magic);
    for (size_t at = 0; length >= JOURNAL_ENTRY_BYTES && at <= length - JOURNAL_ENTRY_BYTES; at++) {
        const char *found = memmem(bytes + at + AT_MAGIC, length - at - AT_MAGIC, magic, 4);
        if (found == NULL) {
            break;
        }
        at = (size_t)(found - bytes) - AT_MAGIC;
        struct journal_entry entry;
        if (length - at >= JOURNAL_ENTRY_BYTES && journal_get_entry(bytes + at, &entry) &&
            journal_entry_valid(bytes + at, JOURNAL_ENTRY_BYTES, offset + (int64_t)at)) {
            return at;
        }
    }
    return SIZE_MAX;
}

status journal_read_at(int fd, int64_t offset, void *bytes, size_t length)
{
    char *next = bytes;
    while (length > 0) {
        ssize_t got = pread(fd, next, length, (off_t)offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return status_fail_errno(STATUS_IO, "offset %lld", (long long)offset);
        }
        if (got == 0) {
            return status_fail(STATUS_INVALID, "offset %lld: the file ends", (long long)offset);
        }
        next += got;
        offset += got;
        length -= (size_t)got;
    }
    return STATUS_OK;
}

status journal_write_at(int fd, int64_t offset, const void *bytes, size_t length)
{
    const char *next = bytes;
    while (length > 0) {
        ssize_t put = pwrite(fd, next, length, (off_t)offset);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return status_fail_errno(STATUS_IO, "offset %lld", (long long)offset);
        }
        next += put;
        offset += put;
        length -= (size_t)put;
    }
    return STATUS_OK;
}
