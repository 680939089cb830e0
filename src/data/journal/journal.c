/* SPDX-License-Identifier: Apache-2.0 */
/* The journal: finished rows, appended and synced in groups, read back by row.
 *
 * What commit has acknowledged is followed by a mark, written after the sync. Damage before a mark
 * is damage; damage with no mark after it is the end of a write that never completed, and is cut
 * off: its rows are run again, to the same bits. docs/journal-format.md has the bytes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/journal/durable.h"
#include "data/journal/file.h"
#include "data/journal/folder.h"
#include "data/journal/lock.h"
#include "data/journal/row_index.h"
#include "data/journal/window.h"
#include "data/output/result.h"
#include "sluice/data.h"

enum {
    PENDING_BYTES = 1 << 20, /* appended rows are written when there are as many bytes of them */
    IDENTITY_BYTES = 1 << 20 /* at most */
};

struct journal {
    struct buffer directory, path, new_path, lock_path;
    int fd;
    struct journal_lock *lock;
    int64_t end;           /* bytes written; what is pending comes here */
    struct buffer pending; /* whole entries */
    bool unmarked;         /* something was appended since the last mark */
    bool is_looked_at;     /* nothing may be changed */
    bool is_unnamed;       /* it stands under new_path */
    bool is_held;          /* not known yet to be this job's: nothing is written */
    int64_t held_rows;     /* that wait for that in `pending` */
    int64_t header_bytes;  /* of a new one */
    bool keep_mixed;       /* another arithmetic is no reason to refuse it */
    struct buffer begun;   /* the arithmetic that it was begun with */
    bool failed;           /* a write or sync failed: what the file holds past `end` is unknown */
    struct output_columns columns; /* that the rows need, all together */
    int64_t error_rows, output_tokens;
    char last_error[JOURNAL_ERROR_BYTES];
    struct row_index index;
    struct journal_windows windows;
};

bool journal_has_row(const struct journal *journal, int64_t row)
{
    return row_index_has(&journal->index, row);
}

int64_t journal_row_count(const struct journal *journal)
{
    return journal->index.rows;
}

struct journal_totals journal_totals(const struct journal *journal)
{
    return (struct journal_totals){.rows = journal->index.rows,
                                   .error_rows = journal->error_rows,
                                   .output_tokens = journal->output_tokens,
                                   .last_error = journal->last_error};
}

struct output_columns journal_columns(const struct journal *journal)
{
    return journal->columns;
}

const char *journal_arithmetic(const struct journal *journal)
{
    return journal->begun.data != NULL ? journal->begun.data : "";
}

int64_t journal_bytes(const struct journal *journal)
{
    return journal->end + (int64_t)journal->pending.length;
}

/* ---- Opening ---- */

static status compare_identity(const char *there, size_t there_length, const char *here,
                               bool keep_mixed)
{
    static const char remedy[] = "start afresh with --fresh or choose another output";
    char why[IDENTITY_WHY_BYTES];
    int generation = identity_generation(there, there_length);
    int present = identity_generation(here, strlen(here));
    if (generation != present) {
        return status_fail(STATUS_EXISTS,
                           "begun by a sluice of arithmetic generation %d; this one computes "
                           "generation %d, whose answers may have other bits: finish the job with "
                           "the program that began it, %s",
                           generation, present, remedy);
    }
    switch (identity_compare(there, there_length, here, why, sizeof why)) {
    case IDENTITY_SAME:
        return STATUS_OK;
    case IDENTITY_OTHER_ARITHMETIC:
        return keep_mixed ? STATUS_OK
                          : status_fail(STATUS_EXISTS,
                                        "holds rows of the same job with another arithmetic: %s; "
                                        "continue it on such a device, or keep both: --keep-mixed",
                                        why);
    case IDENTITY_OTHER_JOB:
        break;
    }
    return status_fail(STATUS_EXISTS, "holds rows of another job: %s; %s", why, remedy);
}

/* Where hashes are not known yet, those that are there are taken for them. */
static status compare_header(const struct journal *journal, const char *there, size_t there_length,
                             const char *identity)
{
    struct buffer assumed = {0};
    if (!journal->is_held) {
        return compare_identity(there, there_length, identity, journal->keep_mixed);
    }
    status s = identity_take_hashes(there, there_length, identity, &assumed);
    if (s == STATUS_OK) {
        s = compare_identity(there, there_length, assumed.data != NULL ? assumed.data : "",
                             journal->keep_mixed);
    }
    buffer_destroy(&assumed);
    return s;
}

/* *header: its bytes. */
static status read_header(struct journal *journal, int64_t size, const char *identity,
                          size_t *header)
{
    struct buffer bytes = {0};
    size_t most = JOURNAL_HEAD_BYTES + IDENTITY_BYTES;
    size_t length = size < (int64_t)most ? (size_t)size : most;
    const char *there;
    size_t there_length;
    status s = buffer_reserve(&bytes, length);
    if (s == STATUS_OK) {
        s = journal_read_at(journal->fd, 0, bytes.data, length);
    }
    if (s == STATUS_OK) {
        s = journal_check_header(bytes.data, length, header, &there, &there_length);
    }
    if (s == STATUS_OK) {
        s = compare_header(journal, there, there_length, identity);
    }
    if (s == STATUS_OK) {
        buffer_clear(&journal->begun);
        s = identity_arithmetic(there, there_length, &journal->begun);
    }
    buffer_destroy(&bytes);
    return s;
}

/* Whether a commit mark stands in the file at or after `offset`. */
static status find_mark(struct journal *journal, int64_t size, int64_t offset, bool *found)
{
    enum { STEP = JOURNAL_WINDOW_BYTES - JOURNAL_ENTRY_BYTES };
    *found = false;
    for (; !*found && offset < size; offset += STEP) {
        TRY(interrupt_check());
        int64_t left = size - offset;
        size_t length = left < JOURNAL_WINDOW_BYTES ? (size_t)left : JOURNAL_WINDOW_BYTES;
        const char *bytes;
        TRY(journal_windows_get(&journal->windows, journal->fd, size, offset, length, &bytes));
        *found = journal_find_mark(bytes, length, offset) != SIZE_MAX;
    }
    return STATUS_OK;
}

/* Reads the entry at `offset`; *whole is false where no whole, valid entry stands there. */
static status read_entry(struct journal *journal, int64_t size, int64_t offset,
                         struct journal_entry *entry, const char **bytes, bool *whole)
{
    *whole = false;
    if (size - offset < JOURNAL_ENTRY_BYTES) {
        return STATUS_OK;
    }
    TRY(journal_windows_get(&journal->windows, journal->fd, size, offset, JOURNAL_ENTRY_BYTES,
                            bytes));
    if (!journal_get_entry(*bytes, entry) ||
        entry->length > (uint64_t)(size - offset - JOURNAL_ENTRY_BYTES)) {
        return STATUS_OK;
    }
    size_t length = JOURNAL_ENTRY_BYTES + (size_t)entry->length;
    TRY(journal_windows_get(&journal->windows, journal->fd, size, offset, length, bytes));
    *whole = journal_entry_valid(*bytes, length, offset);
    return STATUS_OK;
}

static status note_error(struct journal *journal, const char *bytes, size_t length)
{
    struct arena arena = {0};
    struct result result;
    size_t used;
    status s = result_decode(bytes, length, &arena, &result, &used);
    if (s == STATUS_OK && result.error != NULL) {
        snprintf(journal->last_error, sizeof journal->last_error, "%.*s",
                 (int)(result.error_length < JOURNAL_ERROR_BYTES ? result.error_length
                                                                 : JOURNAL_ERROR_BYTES),
                 result.error);
    }
    arena_destroy(&arena);
    return s == STATUS_NO_MEMORY ? s : STATUS_OK; /* what cannot be read is told by who reads it */
}

/* The results of an entry, of which the checksum was right: what columns they need, and what they
 * come to. */
static status note_results(struct journal *journal, const char *results, size_t length)
{
    bool has_error = false;
    for (size_t size; length > 0; results += size, length -= size) {
        size = result_encoded_size(results, length);
        if (size == 0) {
            return STATUS_OK; /* whoever reads the row says so */
        }
        TRY(result_encoded_columns(results, &journal->columns));
        int64_t tokens;
        if (result_encoded_failed(results, &tokens)) {
            TRY(note_error(journal, results, size));
            journal->error_rows += !has_error;
            has_error = true;
        }
        journal->output_tokens += tokens;
    }
    return STATUS_OK;
}

/* Goes through all entries, fills the index and cuts off a torn end. */
static status read_entries(struct journal *journal, int64_t size)
{
    while (journal->end < size) {
        TRY(interrupt_check());
        struct journal_entry entry;
        const char *bytes;
        bool whole;
        TRY(read_entry(journal, size, journal->end, &entry, &bytes, &whole));
        if (!whole) {
            break;
        }
        if (!entry.mark) {
            const struct journal_place place = {entry.row, journal->end,
                                                JOURNAL_ENTRY_BYTES + (uint32_t)entry.length};
            TRY(row_index_add(&journal->index, &place));
            TRY(note_results(journal, bytes + JOURNAL_ENTRY_BYTES, (size_t)entry.length));
        }
        journal->unmarked = !entry.mark;
        journal->end += JOURNAL_ENTRY_BYTES + (int64_t)entry.length;
    }
    if (journal->end == size) {
        return STATUS_OK;
    }
    bool acknowledged;
    TRY(find_mark(journal, size, journal->end, &acknowledged));
    if (acknowledged) {
        return status_fail(STATUS_INVALID,
                           "offset %lld: a damaged entry among %lld bytes; start afresh with "
                           "--fresh",
                           (long long)journal->end, (long long)size);
    }
    if (journal->is_looked_at) {
        return STATUS_OK;
    }
    char torn[24]; /* never committed, whosever it is */
    log_write(LOG_WARNING, "%s: its end, %s, was never committed and is cut off",
              journal->path.data, format_bytes(size - journal->end, torn));
    if (ftruncate(journal->fd, (off_t)journal->end) != 0 || fsync(journal->fd) != 0) {
        return status_fail_errno(STATUS_IO, "cannot cut off a torn end");
    }
    return STATUS_OK;
}

static status load(struct journal *journal, const char *identity)
{
    struct stat info;
    if (fstat(journal->fd, &info) != 0) {
        return status_fail_errno(STATUS_IO, "cannot be looked at");
    }
    if (!S_ISREG(info.st_mode)) {
        return status_fail(STATUS_INVALID, "not a regular file");
    }
    size_t header = 0;
    TRY(read_header(journal, info.st_size, identity, &header));
    journal->end = (int64_t)header;
    status s = read_entries(journal, info.st_size);
    journal_windows_destroy(&journal->windows); /* they may show what was cut off */
    return s;
}

/* A new journal stands under its name with its header or not at all. */
static status take_name(struct journal *journal, const char *path)
{
    if (fsync(journal->fd) != 0 || rename(path, journal->path.data) != 0) {
        return status_fail_errno(STATUS_IO, "%s: cannot be created", path);
    }
    journal->is_unnamed = false;
    return durable_sync_folder(journal->directory.data);
}

static status create(struct journal *journal, const char *identity)
{
    const char *path = journal->new_path.data;
    struct buffer header = {0};
    if (strlen(identity) > IDENTITY_BYTES) {
        return status_fail(STATUS_LIMIT, "%s: a job identity of %zu bytes", path, strlen(identity));
    }
    journal->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (journal->fd < 0) {
        return status_fail_errno(STATUS_IO, "%s", path);
    }
    status s = journal_put_header(identity, &header);
    if (s == STATUS_OK) {
        s = journal_write_at(journal->fd, 0, header.data, header.length);
        journal->end = journal->header_bytes = (int64_t)header.length;
        s = status_context(s, "%s", path);
    }
    buffer_destroy(&header);
    TRY(s);
    return journal->is_unnamed ? STATUS_OK : take_name(journal, path);
}

bool journal_is_named(const struct journal *journal)
{
    return !journal->is_unnamed && !journal->is_held;
}

int64_t journal_kept_rows(const struct journal *journal)
{
    return journal->is_unnamed ? 0 : journal->index.rows - journal->held_rows;
}

int64_t journal_held_bytes(const struct journal *journal)
{
    return journal->is_held ? (int64_t)journal->pending.length : 0;
}

/* It is this job's, so that what waits may be written; or nothing is written any more. */
static status release(struct journal *journal, const char *identity)
{
    size_t header;
    journal->is_held = false;
    status s = read_header(journal, journal->end, identity, &header);
    journal->failed = s != STATUS_OK;
    journal->held_rows = s == STATUS_OK ? 0 : journal->held_rows;
    return status_context(s, "%s", journal->path.data);
}

status journal_take_name(struct journal *journal, const char *identity)
{
    const char *path = journal->new_path.data;
    struct buffer header = {0};
    if (!journal->is_unnamed) {
        return journal->is_held ? release(journal, identity) : STATUS_OK;
    }
    status s = journal_put_header(identity, &header);
    if (s == STATUS_OK && (int64_t)header.length != journal->header_bytes) {
        s = status_fail(STATUS_INTERNAL, "%s: a header of %zu bytes in the place of %lld", path,
                        header.length, (long long)journal->header_bytes);
    }
    if (s == STATUS_OK) {
        s = journal_lock_check(journal->lock);
    }
    if (s == STATUS_OK) {
        s = status_context(journal_write_at(journal->fd, 0, header.data, header.length), "%s",
                           path);
    }
    buffer_destroy(&header);
    TRY(s);
    return take_name(journal, path);
}

static status set_paths(struct journal *journal, const char *directory)
{
    TRY(buffer_append_text(&journal->directory, directory));
    TRY(path_join(directory, "journal", &journal->path));
    TRY(path_join(directory, "journal.new", &journal->new_path));
    return path_join(directory, "lock", &journal->lock_path);
}

static status open_all(struct journal *journal, const char *directory, const char *identity,
                       unsigned how)
{
    TRY(set_paths(journal, directory));
    TRY(journal_folder_open(directory));
    TRY(journal_lock_take(journal->lock_path.data, &journal->lock));
    if ((how & JOURNAL_FRESH) == 0) {
        journal->fd = open(journal->path.data, O_RDWR | O_CLOEXEC);
        if (journal->fd >= 0) {
            journal->is_held = (how & JOURNAL_UNNAMED) != 0;
            return status_context(load(journal, identity), "%s", journal->path.data);
        }
        if (errno != ENOENT) {
            return status_fail_errno(STATUS_IO, "%s", journal->path.data);
        }
    }
    TRY(identity_arithmetic(identity, strlen(identity), &journal->begun));
    journal->is_unnamed = (how & JOURNAL_UNNAMED) != 0;
    return create(journal, identity);
}

static status look(struct journal *journal, const char *directory, const char *identity,
                   struct journal_state *out)
{
    struct stat info;
    if (stat(directory, &info) != 0) {
        return errno == ENOENT ? STATUS_OK : status_fail_errno(STATUS_IO, "%s", directory);
    }
    TRY(set_paths(journal, directory));
    TRY(journal_folder_require(directory, &info));
    TRY(journal_lock_look(journal->lock_path.data, &out->lock_unsure));
    journal->fd = open(journal->path.data, O_RDONLY | O_CLOEXEC);
    if (journal->fd < 0) {
        return errno == ENOENT ? STATUS_OK : status_fail_errno(STATUS_IO, "%s", journal->path.data);
    }
    out->exists = true;
    return status_context(load(journal, identity), "%s", journal->path.data);
}

status journal_look(const char *directory, const char *identity, bool keep_mixed,
                    struct journal_state *out)
{
    *out = (struct journal_state){0};
    struct journal *journal = calloc(1, sizeof *journal);
    if (journal == NULL) {
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory for the journal", directory);
    }
    journal->fd = -1;
    journal->is_looked_at = journal->failed = true;
    journal->keep_mixed = keep_mixed;
    status s = look(journal, directory, identity, out);
    out->rows = journal->index.rows;
    journal_close(journal, false);
    return s;
}

status journal_open(const char *directory, const char *identity, unsigned how, struct journal **out)
{
    *out = NULL;
    struct journal *journal = calloc(1, sizeof *journal);
    if (journal == NULL) {
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory for the journal", directory);
    }
    journal->fd = -1;
    journal->keep_mixed = (how & JOURNAL_KEEP_MIXED) != 0;
    status s = open_all(journal, directory, identity, how);
    if (s != STATUS_OK) {
        journal->failed = true; /* nothing is to be written any more */
        journal_close(journal, false);
        return s;
    }
    *out = journal;
    return STATUS_OK;
}

/* ---- Appending ---- */

static status refuse_failed(const struct journal *journal)
{
    if (journal->failed) {
        return status_fail(STATUS_IO, "%s: an earlier write failed; what was committed is safe",
                           journal->path.data);
    }
    return STATUS_OK;
}

/* Writes what is pending. After a failure nothing more is written: the next open cuts off what
 * stands there half. */
static status write_pending(struct journal *journal)
{
    TRY(refuse_failed(journal));
    if (journal->pending.length == 0 || journal->is_held) {
        return STATUS_OK;
    }
    status s = journal_lock_check(journal->lock);
    if (s != STATUS_OK) {
        journal->failed = true;
        return s;
    }
    s = journal_write_at(journal->fd, journal->end, journal->pending.data, journal->pending.length);
    if (s != STATUS_OK) {
        journal->failed = true;
        return status_context(s, "%s", journal->path.data);
    }
    journal->end += (int64_t)journal->pending.length;
    if (journal->pending.capacity > 4 * PENDING_BYTES) {
        buffer_destroy(&journal->pending); /* a huge row's; not kept */
    }
    buffer_clear(&journal->pending);
    return STATUS_OK;
}

void journal_prepare_append(const struct journal *journal, int64_t row)
{
    row_index_prefetch(&journal->index, row);
}

status journal_append(struct journal *journal, int64_t row, const void *bytes, size_t length)
{
    TRY(refuse_failed(journal));
    struct journal_entry entry = {.row = row, .length = length};
    if (row < 0 || row >= JOURNAL_MAX_ROW || length == 0 || journal_has_row(journal, row)) {
        return status_fail(STATUS_INTERNAL, "%s: row %lld is there already or is none",
                           journal->path.data, (long long)row);
    }
    if (length > JOURNAL_MAX_ENTRY) {
        char size[24], most[24];
        return status_fail(STATUS_LIMIT, "row %lld: results of %s; a row may have %s",
                           (long long)row, format_bytes((int64_t)length, size),
                           format_bytes(JOURNAL_MAX_ENTRY, most));
    }
    for (size_t at = 0; at < length; entry.samples++) {
        size_t size = result_encoded_size((const char *)bytes + at, length - at);
        if (size == 0) {
            return status_fail(STATUS_INTERNAL, "row %lld: bytes that are no results",
                               (long long)row);
        }
        at += size;
    }
    TRY(note_results(journal, bytes, length));
    size_t start = journal->pending.length;
    int64_t offset = journal->end + (int64_t)start;
    TRY(buffer_reserve(&journal->pending, JOURNAL_ENTRY_BYTES + length));
    const struct journal_place place = {row, offset, JOURNAL_ENTRY_BYTES + (uint32_t)length};
    TRY(row_index_add(&journal->index, &place));
    char *head = journal->pending.data + start;
    memcpy(head + JOURNAL_ENTRY_BYTES, bytes, length);
    journal_put_entry(head, &entry, offset);
    journal->pending.length += JOURNAL_ENTRY_BYTES + length;
    journal->unmarked = true;
    journal->held_rows += journal->is_held;
    return journal->pending.length >= PENDING_BYTES ? write_pending(journal) : STATUS_OK;
}

/* Says that all before it is on disk. Itself it need not be: without it a little more is taken for
 * torn. */
static status write_mark(struct journal *journal)
{
    char bytes[JOURNAL_ENTRY_BYTES];
    const struct journal_entry mark = {.mark = true};
    journal_put_entry(bytes, &mark, journal->end);
    TRY(buffer_append(&journal->pending, bytes, sizeof bytes));
    TRY(write_pending(journal));
    journal->unmarked = false;
    return STATUS_OK;
}

status journal_commit(struct journal *journal)
{
    TRY(refuse_failed(journal));
    if (!journal->unmarked || journal->is_held) {
        return STATUS_OK;
    }
    TRY(write_pending(journal));
    if (fdatasync(journal->fd) != 0) {
        /* The kernel may have dropped what it could not write, so that a second try says nothing.
         */
        journal->failed = true;
        return status_fail_errno(STATUS_IO, "%s", journal->path.data);
    }
    return write_mark(journal);
}

/* ---- Reading ---- */

struct row_filter {
    bool (*left_out)(const void *context, int64_t row); /* NULL: none is */
    const void *context;
};

static size_t leave_out(struct journal_place *places, size_t count, const struct row_filter *filter)
{
    size_t kept = 0;
    if (filter->left_out == NULL) {
        return count;
    }
    for (size_t i = 0; i < count; i++) {
        if (!filter->left_out(filter->context, places[i].row)) {
            places[kept++] = places[i];
        }
    }
    return kept;
}

static status visit_rows(struct journal *journal, int64_t row, struct journal_place *places,
                         const struct row_filter *filter, result_visitor visit, void *context)
{
    const struct journal_file file = {journal->fd, journal->end, journal->path.data};
    struct read_back read = {0};
    status s = STATUS_OK;
    size_t count;
    while (s == STATUS_OK &&
           (count = row_index_collect(&journal->index, &row, INT64_MAX, places)) > 0) {
        s = interrupt_check();
        count = leave_out(places, count, filter);
        if (s == STATUS_OK) {
            s = read_back_visit(&read, &file, places, count, visit, context);
        }
    }
    read_back_destroy(&read);
    return s;
}

status journal_visit_rest(struct journal *journal, int64_t row,
                          bool (*left_out)(const void *context, int64_t row), result_visitor visit,
                          void *context)
{
    const struct row_filter filter = {left_out, context};
    TRY(write_pending(journal));
    size_t rows = (size_t)journal->index.rows;
    rows = rows < read_back_limits.rows ? rows : read_back_limits.rows;
    struct journal_place *places = malloc((rows + 1) * sizeof *places);
    if (places == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the places of %zu rows", rows);
    }
    status s = visit_rows(journal, row, places, &filter, visit, context);
    free(places);
    return s;
}

status journal_visit_from(struct journal *journal, int64_t row, result_visitor visit, void *context)
{
    return journal_visit_rest(journal, row, NULL, visit, context);
}

status journal_visit(struct journal *journal, result_visitor visit, void *context)
{
    return journal_visit_from(journal, 0, visit, context);
}

size_t journal_follow(const struct journal *journal, int64_t *row, struct journal_place *places,
                      size_t most)
{
    return row_index_follow(&journal->index, row, journal->end, places, most);
}

int64_t journal_written(const struct journal *journal)
{
    return journal->end;
}

const char *journal_path(const struct journal *journal)
{
    return journal->is_unnamed ? journal->new_path.data : journal->path.data;
}

void journal_close(struct journal *journal, bool remove)
{
    if (journal == NULL) {
        return;
    }
    if (journal->fd >= 0) {
        if (!remove && !journal->failed) {
            /* Not asked for and so not promised: rows since the last commit. */
            status s = journal_commit(journal);
            (void)s;
        }
        close(journal->fd);
    }
    if (remove && journal->lock != NULL && journal_lock_check(journal->lock) == STATUS_OK) {
        journal_folder_empty(journal->directory.data);
    }
    journal_lock_release(journal->lock);
    if (remove) {
        rmdir(journal->directory.data);
    }
    row_index_destroy(&journal->index);
    journal_windows_destroy(&journal->windows);
    buffer_destroy(&journal->pending);
    buffer_destroy(&journal->directory);
    buffer_destroy(&journal->path);
    buffer_destroy(&journal->new_path);
    buffer_destroy(&journal->lock_path);
    buffer_destroy(&journal->begun);
    free(journal);
}
