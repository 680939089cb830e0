/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's bytes: header, entries and marks; docs/journal-format.md describes them. */
#ifndef SLUICE_DATA_JOURNAL_FILE_H
#define SLUICE_DATA_JOURNAL_FILE_H

#include "data/journal/little_endian.h"
#include "sluice/base.h"

enum {
    JOURNAL_VERSION = 1,
    JOURNAL_HEAD_BYTES = 24,    /* of the file's header, before the identity */
    JOURNAL_ENTRY_BYTES = 32,   /* of an entry's head; a commit mark has no more */
    JOURNAL_MAX_ENTRY = 1 << 30 /* payload bytes */
};

/* Rows have an index of 8 bytes, so their number is bounded against damage that passes for one. */
#define JOURNAL_MAX_ROW ((int64_t)1 << 33)

struct journal_entry {
    bool mark; /* a commit mark: all before it is on disk */
    int64_t row;
    uint32_t samples;
    uint64_t length; /* of the payload */
};

/* Appends the file's header for this identity. */
status journal_put_header(const char *identity, struct buffer *out) MUST_CHECK;
/* Checks the header in the file's first bytes; its size and the identity's place in them.
 * STATUS_INVALID where it is damaged or of another version. */
status journal_check_header(const char *bytes, size_t length, size_t *size, const char **identity,
                            size_t *identity_length) MUST_CHECK;

/* Bytes of the header that begins so, its identity included. */
size_t journal_header_bytes(const char head[JOURNAL_HEAD_BYTES]);

/* Writes the head of an entry at `bytes`, where its payload already stands behind the head. The
 * checksum counts for this offset of the file only: bytes of a journal that are part of a payload
 * are no entries. */
void journal_put_entry(char *bytes, const struct journal_entry *entry, int64_t offset);
/* Reads a head of JOURNAL_ENTRY_BYTES; false where it cannot be one. The checksum is not looked at.
 */
bool journal_get_entry(const char *head, struct journal_entry *entry);
/* Whether head and payload, `length` bytes together, have the checksum that the head says. */
bool journal_entry_valid(const char *bytes, size_t length, int64_t offset);
/* Where in these bytes, which stand at `offset` of the file, a valid mark begins; SIZE_MAX: none.
 */
size_t journal_find_mark(const char *bytes, size_t length, int64_t offset);

/* Reads exactly `length` bytes at `offset`; STATUS_INVALID when the file ends before. */
status journal_read_at(int fd, int64_t offset, void *bytes, size_t length) MUST_CHECK;
/* Writes all bytes, however often the system stops half way. */
status journal_write_at(int fd, int64_t offset, const void *bytes, size_t length) MUST_CHECK;

#endif
