/* SPDX-License-Identifier: Apache-2.0 */
/* Which rows are under way, and what earlier starts of the job died of.
 *
 * A start that ends without saying so leaves its rows under way in the file: the next start blames
 * them a little, and a row that is blamed enough runs alone, where the blame is certain. A process
 * killed from outside looks the same as one that a row has killed, so it takes several such ends to
 * set a row aside; a rank that dies of a signal of its own says so in a note, and then two are
 * enough. docs/journal-format.md has the bytes. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/journal/durable.h"
#include "data/journal/file.h"
#include "sluice/data.h"

enum {
    UNEXPLAINED_ENDS = 2, /* that a row is under way at before it runs alone */
    ALONE_ENDS = 3,       /* unexplained ones that it is alone at before it is set aside */
    CRASHES = 2,          /* of ranks that said so, the last one with the row alone */
    FILE_BYTES = 64 << 20 /* at most */
};

static const char magic[8] = "SLUICEA\n";
enum { VERSION = 1, STATE_ORDERLY = 0, STATE_RUNNING = 1 };
/* The file's head, the suspects after it, and then the rows under way. */
enum { AT_MAGIC = 0, AT_VERSION = 8, AT_SUSPECTS = 12, AT_CHECKSUM = 16, AT_STATE = 24 };
enum { AT_ALONE = 28, HEAD_BYTES = 36 };
enum { SUSPECT_ROW = 0, SUSPECT_COUNTS = 8, SUSPECT_BYTES = 24 };
/* A row under way is stored plus one: zero is none. */
enum { SLOT_ROW = 0, SLOT_REPLICA = 8, SLOT_BYTES = 12 };

/* How often ranks died with a row under way. */
enum blame { UNEXPLAINED, UNEXPLAINED_ALONE, CRASHED, CRASHED_ALONE, BLAME_KINDS };

struct suspect {
    int64_t row;
    uint32_t counts[BLAME_KINDS];
};

struct row_slot {
    int64_t row; /* -1: free */
    int32_t replica;
};

struct attempts {
    struct buffer directory, path;
    int fd;
    struct suspect *suspects; /* by row */
    size_t suspect_count, suspect_capacity;
    struct row_slot *slots;
    size_t slot_count, slot_capacity;
};

/* What the last start left. */
struct last_start {
    bool running; /* it did not say how it ended */
    int64_t alone;
    struct suspect *suspects;
    size_t suspect_count;
    struct row_slot *slots;
    size_t slot_count;
    int32_t *replicas; /* of ranks that died of their own accord */
    size_t replica_count, replica_capacity;
};

/* ---- Suspects ---- */

static int compare_rows(const void *a, const void *b)
{
    int64_t first = ((const struct suspect *)a)->row, second = ((const struct suspect *)b)->row;
    return (first > second) - (first < second);
}

static const struct suspect *find_suspect(const struct attempts *attempts, int64_t row)
{
    const struct suspect key = {.row = row};
    return attempts->suspect_count > 0 ? bsearch(&key, attempts->suspects, attempts->suspect_count,
                                                 sizeof key, compare_rows)
                                       : NULL;
}

static status add_suspect(struct attempts *attempts, const struct suspect *suspect)
{
    void *items = attempts->suspects;
    status s = array_grow(&items, &attempts->suspect_capacity, attempts->suspect_count + 1,
                          sizeof *suspect);
    attempts->suspects = items;
    TRY(s);
    attempts->suspects[attempts->suspect_count++] = *suspect;
    return STATUS_OK;
}

static status blame(struct attempts *attempts, const struct journal *journal, int64_t row,
                    enum blame kind)
{
    if (row < 0 || row >= JOURNAL_MAX_ROW || journal_has_row(journal, row)) {
        return STATUS_OK;
    }
    for (size_t i = 0; i < attempts->suspect_count; i++) {
        if (attempts->suspects[i].row == row) {
            attempts->suspects[i].counts[kind]++;
            return STATUS_OK;
        }
    }
    struct suspect suspect = {.row = row};
    suspect.counts[kind] = 1;
    return add_suspect(attempts, &suspect);
}

static bool replica_crashed(const struct last_start *last, int32_t replica)
{
    for (size_t i = 0; i < last->replica_count; i++) {
        if (last->replicas[i] == replica) {
            return true;
        }
    }
    return false;
}

/* Where a rank has said that it crashed, only its replica's rows can have done it. */
static status judge(struct attempts *attempts, const struct journal *journal,
                    const struct last_start *last)
{
    for (size_t i = 0; i < last->suspect_count; i++) {
        if (!journal_has_row(journal, last->suspects[i].row)) {
            TRY(add_suspect(attempts, &last->suspects[i]));
        }
    }
    bool explained = last->replica_count > 0;
    if (last->running && last->alone >= 0) {
        TRY(blame(attempts, journal, last->alone, explained ? CRASHED_ALONE : UNEXPLAINED_ALONE));
    } else if (last->running) {
        for (size_t i = 0; i < last->slot_count; i++) {
            if (!explained || replica_crashed(last, last->slots[i].replica)) {
                TRY(blame(attempts, journal, last->slots[i].row,
                          explained ? CRASHED : UNEXPLAINED));
            }
        }
    }
    if (attempts->suspect_count > 0) {
        qsort(attempts->suspects, attempts->suspect_count, sizeof *attempts->suspects,
              compare_rows);
    }
    return STATUS_OK;
}

enum attempt_verdict attempts_verdict(const struct attempts *attempts, int64_t row)
{
    const struct suspect *suspect = find_suspect(attempts, row);
    if (suspect == NULL) {
        return ATTEMPT_FREE;
    }
    const uint32_t *counts = suspect->counts;
    bool crashed = counts[CRASHED_ALONE] > 0 &&
                   counts[CRASHED] + counts[CRASHED_ALONE] + counts[UNEXPLAINED_ALONE] >= CRASHES;
    if (crashed || counts[UNEXPLAINED_ALONE] >= ALONE_ENDS) {
        return ATTEMPT_SET_ASIDE;
    }
    return counts[CRASHED] + counts[CRASHED_ALONE] + counts[UNEXPLAINED_ALONE] > 0 ||
                   counts[UNEXPLAINED] >= UNEXPLAINED_ENDS
               ? ATTEMPT_ALONE
               : ATTEMPT_FREE;
}

void attempts_describe(const struct attempts *attempts, int64_t row, char text[160])
{
    const struct suspect *suspect = find_suspect(attempts, row);
    const uint32_t none[BLAME_KINDS] = {0};
    const uint32_t *counts = suspect != NULL ? suspect->counts : none;
    uint32_t alone = counts[UNEXPLAINED_ALONE] + counts[CRASHED_ALONE];
    snprintf(text, 160,
             "set aside: ranks died %u times with this row under way, %u of them with no other",
             counts[UNEXPLAINED] + counts[CRASHED] + alone, alone);
}

/* ---- The file ---- */

static uint64_t suspects_checksum(const char *suspects, size_t count)
{
    return hash_bytes(suspects, count * SUSPECT_BYTES, VERSION);
}

static status read_suspects(struct last_start *last, const char *bytes, size_t count)
{
    last->suspects = calloc(count + 1, sizeof *last->suspects);
    if (last->suspects == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for %zu suspects", count);
    }
    last->suspect_count = count;
    for (size_t i = 0; i < count; i++) {
        const char *at = bytes + i * SUSPECT_BYTES;
        last->suspects[i].row = little_endian_get_int64(at + SUSPECT_ROW);
        for (int kind = 0; kind < BLAME_KINDS; kind++) {
            last->suspects[i].counts[kind] =
                (uint32_t)little_endian_get(at + SUSPECT_COUNTS + 4 * kind, 4);
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
    last->slot_count = count;
    for (size_t i = 0; i < count; i++) {
        const char *at = bytes + i * SLOT_BYTES;
        last->slots[i].row = little_endian_get_int64(at + SLOT_ROW) - 1;
        last->slots[i].replica = little_endian_get_int32(at + SLOT_REPLICA);
    }
    return STATUS_OK;
}

static status read_last_start(const struct attempts *attempts, struct last_start *last)
{
    struct buffer bytes = {0};
    status s = file_read(attempts->path.data, FILE_BYTES, &bytes);
    if (s == STATUS_NOT_FOUND) {
        return STATUS_OK;
    }
    if (s == STATUS_OK) {
        size_t room = bytes.length >= HEAD_BYTES ? bytes.length - HEAD_BYTES : 0;
        size_t count = room > 0 || bytes.length == HEAD_BYTES
                           ? (size_t)little_endian_get(bytes.data + AT_SUSPECTS, 4)
                           : SIZE_MAX;
        if (count > room / SUSPECT_BYTES || memcmp(bytes.data, magic, sizeof magic) != 0 ||
            little_endian_get(bytes.data + AT_VERSION, 4) != VERSION ||
            little_endian_get(bytes.data + AT_CHECKSUM, 8) !=
                suspects_checksum(bytes.data + HEAD_BYTES, count)) {
            log_write(LOG_WARNING, "%s: damaged, and taken for empty", attempts->path.data);
        } else {
            const char *slots = bytes.data + HEAD_BYTES + count * SUSPECT_BYTES;
            last->running = little_endian_get(bytes.data + AT_STATE, 4) == STATE_RUNNING;
            last->alone = little_endian_get_int64(bytes.data + AT_ALONE) - 1;
            s = read_suspects(last, bytes.data + HEAD_BYTES, count);
            if (s == STATUS_OK) {
                s = read_slots(last, slots, (room - count * SUSPECT_BYTES) / SLOT_BYTES);
            }
        }
    }
    buffer_destroy(&bytes);
    return s;
}

/* Writes the file anew: what is known now, and that a start is running with nothing under way. */
static status write_file(struct attempts *attempts)
{
    struct buffer bytes = {0}, path = {0};
    size_t count = attempts->suspect_count;
    status s = buffer_reserve(&bytes, HEAD_BYTES + count * SUSPECT_BYTES);
    if (s == STATUS_OK) {
        s = buffer_format(&path, "%s.new", attempts->path.data);
    }
    if (s == STATUS_OK) {
        bytes.length = HEAD_BYTES + count * SUSPECT_BYTES;
        memset(bytes.data, 0, bytes.length);
        char *at = bytes.data + HEAD_BYTES;
        for (size_t i = 0; i < count; i++, at += SUSPECT_BYTES) {
            little_endian_put(at + SUSPECT_ROW, (uint64_t)attempts->suspects[i].row, 8);
            for (int kind = 0; kind < BLAME_KINDS; kind++) {
                little_endian_put(at + SUSPECT_COUNTS + 4 * kind,
                                  attempts->suspects[i].counts[kind], 4);
            }
        }
        memcpy(bytes.data + AT_MAGIC, magic, sizeof magic);
        little_endian_put(bytes.data + AT_VERSION, VERSION, 4);
        little_endian_put(bytes.data + AT_SUSPECTS, count, 4);
        little_endian_put(bytes.data + AT_CHECKSUM,
                          suspects_checksum(bytes.data + HEAD_BYTES, count), 8);
        little_endian_put(bytes.data + AT_STATE, STATE_RUNNING, 4);
        attempts->fd = open(path.data, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        if (attempts->fd < 0) {
            s = status_fail_errno(STATUS_IO, "%s", path.data);
        }
    }
    if (s == STATUS_OK) {
        s = status_context(journal_write_at(attempts->fd, 0, bytes.data, bytes.length), "%s",
                           path.data);
    }
    if (s == STATUS_OK &&
        (fsync(attempts->fd) != 0 || rename(path.data, attempts->path.data) != 0)) {
        s = status_fail_errno(STATUS_IO, "%s", path.data);
    }
    if (s == STATUS_OK) {
        s = durable_sync_folder(attempts->directory.data);
    }
    buffer_destroy(&bytes);
    buffer_destroy(&path);
    return s;
}

static status write_head(struct attempts *attempts, size_t offset, uint64_t value, size_t size)
{
    char bytes[8];
    little_endian_put(bytes, value, size);
    return status_context(journal_write_at(attempts->fd, (int64_t)offset, bytes, size), "%s",
                          attempts->path.data);
}

/* ---- Notes of ranks that died ---- */

static const char note_prefix[] = "crash.";

status attempts_note(const char *directory, int rank, int replica, struct buffer *path,
                     struct buffer *text)
{
    char name[32];
    snprintf(name, sizeof name, "%s%d", note_prefix, rank);
    TRY(path_join(directory, name, path));
    return buffer_format(text, "rank %d replica %d signal ", rank, replica);
}

/* Goes through the notes: takes them into `last`, or removes them where that is NULL. */
static status visit_notes(const struct attempts *attempts, struct last_start *last)
{
    DIR *folder = opendir(attempts->directory.data);
    if (folder == NULL) {
        return status_fail_errno(STATUS_IO, "%s", attempts->directory.data);
    }
    status s = STATUS_OK;
    struct dirent *item;
    while (s == STATUS_OK && (item = readdir(folder)) != NULL) {
        if (strncmp(item->d_name, note_prefix, sizeof note_prefix - 1) != 0) {
            continue;
        }
        if (last == NULL) {
            unlinkat(dirfd(folder), item->d_name, 0);
            continue;
        }
        struct buffer path = {0}, text = {0};
        int rank, replica, number;
        s = path_join(attempts->directory.data, item->d_name, &path);
        if (s == STATUS_OK) {
            s = file_read(path.data, 4096, &text);
        }
        if (s == STATUS_OK &&
            sscanf(text.data, "rank %d replica %d signal %d", &rank, &replica, &number) == 3) {
            log_write(LOG_WARNING, "rank %d died of signal %d (%s) in the last start", rank, number,
                      strsignal(number));
            void *replicas = last->replicas;
            s = array_grow(&replicas, &last->replica_capacity, last->replica_count + 1,
                           sizeof *last->replicas);
            last->replicas = replicas;
            if (s == STATUS_OK) {
                last->replicas[last->replica_count++] = replica;
            }
        }
        buffer_destroy(&path);
        buffer_destroy(&text);
    }
    closedir(folder);
    return s;
}

/* ---- Opening and closing ---- */

static status open_all(struct attempts *attempts, const char *directory,
                       const struct journal *journal, bool fresh)
{
    TRY(buffer_append_text(&attempts->directory, directory));
    TRY(path_join(directory, "attempts", &attempts->path));
    if (!fresh) {
        struct last_start last = {.alone = -1};
        status s = read_last_start(attempts, &last);
        if (s == STATUS_OK) {
            s = visit_notes(attempts, &last);
        }
        if (s == STATUS_OK) {
            s = judge(attempts, journal, &last);
        }
        free(last.suspects);
        free(last.slots);
        free(last.replicas);
        TRY(s);
    }
    TRY(write_file(attempts));
    return visit_notes(attempts, NULL);
}

status attempts_open(const char *directory, const struct journal *journal, bool fresh,
                     struct attempts **out)
{
    *out = NULL;
    struct attempts *attempts = calloc(1, sizeof *attempts);
    if (attempts == NULL) {
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory", directory);
    }
    attempts->fd = -1;
    status s = open_all(attempts, directory, journal, fresh);
    if (s != STATUS_OK) {
        attempts_close(attempts, ATTEMPTS_ORDERLY);
        return s;
    }
    *out = attempts;
    return STATUS_OK;
}

void attempts_close(struct attempts *attempts, enum attempts_end end)
{
    if (attempts == NULL) {
        return;
    }
    if (attempts->fd >= 0) {
        if (end == ATTEMPTS_ORDERLY) {
            /* What cannot be written counts as an end that nobody explains: a little blame. */
            status s = write_head(attempts, AT_STATE, STATE_ORDERLY, 4);
            (void)s;
        }
        close(attempts->fd);
    }
    buffer_destroy(&attempts->directory);
    buffer_destroy(&attempts->path);
    free(attempts->suspects);
    free(attempts->slots);
    free(attempts);
}

/* ---- Rows under way ---- */

status attempts_begin(struct attempts *attempts, int64_t row, int32_t replica)
{
    size_t slot = 0;
    while (slot < attempts->slot_count && attempts->slots[slot].row >= 0) {
        slot++;
    }
    if (slot == attempts->slot_count) {
        void *slots = attempts->slots;
        status s = array_grow(&slots, &attempts->slot_capacity, slot + 1, sizeof *attempts->slots);
        attempts->slots = slots;
        TRY(s);
        attempts->slot_count++;
    }
    attempts->slots[slot] = (struct row_slot){.row = row, .replica = replica};
    char bytes[SLOT_BYTES];
    little_endian_put(bytes + SLOT_ROW, (uint64_t)row + 1, 8);
    little_endian_put(bytes + SLOT_REPLICA, (uint32_t)replica, 4);
    size_t offset = HEAD_BYTES + attempts->suspect_count * SUSPECT_BYTES + slot * SLOT_BYTES;
    return status_context(journal_write_at(attempts->fd, (int64_t)offset, bytes, sizeof bytes),
                          "%s", attempts->path.data);
}

void attempts_end(struct attempts *attempts, int64_t row)
{
    /* The slot in the file is left: its row is in the journal by the time that it is read. */
    for (size_t i = 0; i < attempts->slot_count; i++) {
        if (attempts->slots[i].row == row) {
            attempts->slots[i].row = -1;
            return;
        }
    }
}

static status set_alone(struct attempts *attempts, int64_t row)
{
    return write_head(attempts, AT_ALONE, (uint64_t)row + 1, 8);
}

status attempts_begin_alone(struct attempts *attempts, int64_t row)
{
    TRY(set_alone(attempts, row));
    return fdatasync(attempts->fd) == 0 ? STATUS_OK
                                        : status_fail_errno(STATUS_IO, "%s", attempts->path.data);
}

status attempts_end_alone(struct attempts *attempts)
{
    return set_alone(attempts, -1);
}
