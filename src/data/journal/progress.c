/* SPDX-License-Identifier: Apache-2.0 */
/* The progress file: one JSON object in the journal's folder, written and read by one table. */
#include "sluice/progress.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "data/journal/file.h"
#include "data/journal/lock.h"
#include "sluice/data.h"
#include "sluice/json.h"

enum { FILE_MAX_BYTES = 64 * 1024 };

/* A process elsewhere whose progress is older than this is said to be silent: a commit may take ten
 * seconds, a file server's cache a minute. */
static const double SILENT_SECONDS = 90;

enum member_type { MEMBER_INTEGER, MEMBER_REAL, MEMBER_TEXT };

#define MEMBER(type, name)                                                                         \
    {                                                                                              \
#name, type, offsetof(struct job_progress, name),                                          \
            sizeof(((struct job_progress *)NULL)->name)                                            \
    }

static const struct member {
    const char *name;
    enum member_type type;
    size_t offset, size;
} members[] = {
    MEMBER(MEMBER_INTEGER, rows),         MEMBER(MEMBER_INTEGER, rows_done),
    MEMBER(MEMBER_INTEGER, rows_kept),    MEMBER(MEMBER_INTEGER, rows_handed),
    MEMBER(MEMBER_INTEGER, error_rows),   MEMBER(MEMBER_INTEGER, output_tokens),
    MEMBER(MEMBER_INTEGER, tokens_kept),  MEMBER(MEMBER_REAL, seconds),
    MEMBER(MEMBER_REAL, rows_per_second), MEMBER(MEMBER_REAL, tokens_per_second),
    MEMBER(MEMBER_INTEGER, started),      MEMBER(MEMBER_INTEGER, updated),
    MEMBER(MEMBER_INTEGER, ranks),        MEMBER(MEMBER_INTEGER, dp),
    MEMBER(MEMBER_INTEGER, tp),           MEMBER(MEMBER_INTEGER, pp),
    MEMBER(MEMBER_INTEGER, process),      MEMBER(MEMBER_TEXT, host),
    MEMBER(MEMBER_TEXT, last_error),      MEMBER(MEMBER_INTEGER, running),
    MEMBER(MEMBER_INTEGER, waiting),      MEMBER(MEMBER_REAL, kv_use),
    MEMBER(MEMBER_REAL, tokens_now),      MEMBER(MEMBER_TEXT, slow),
};

/* ---- Writing ---- */

static status append_member(const struct member *member, const struct job_progress *progress,
                            struct buffer *out)
{
    const char *at = (const char *)progress + member->offset;
    TRY(buffer_format(out, "%s\"%s\":", member == members ? "" : ",", member->name));
    switch (member->type) {
    case MEMBER_REAL:
        return json_write_double(*(const double *)(const void *)at, out);
    case MEMBER_TEXT:
        return json_write_string(at, strlen(at), out);
    default: {
        int64_t value = *(const int64_t *)(const void *)at;
        bool unknown = member->offset == offsetof(struct job_progress, rows) && value < 0;
        return unknown ? buffer_append_text(out, "null")
                       : buffer_format(out, "%lld", (long long)value);
    }
    }
}

status job_progress_append_json(const struct job_progress *progress, struct buffer *out)
{
    for (size_t i = 0; i < COUNT_OF(members); i++) {
        TRY(append_member(&members[i], progress, out));
    }
    return STATUS_OK;
}

static status write_file(const char *path, const struct buffer *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        return status_fail_errno(STATUS_IO, "%s", path);
    }
    status s = status_context(journal_write_at(fd, 0, text->data, text->length), "%s", path);
    if (close(fd) != 0 && s == STATUS_OK) {
        s = status_fail_errno(STATUS_IO, "%s", path);
    }
    return s;
}

status job_progress_write(const char *directory, const struct job_progress *progress)
{
    struct buffer text = {0}, path = {0}, next = {0};
    status s = buffer_append_byte(&text, '{');
    if (s == STATUS_OK) {
        s = job_progress_append_json(progress, &text);
    }
    if (s == STATUS_OK) {
        s = buffer_append_text(&text, "}\n");
    }
    if (s == STATUS_OK) {
        s = buffer_format(&path, "%s/progress", directory);
    }
    if (s == STATUS_OK) {
        s = buffer_format(&next, "%s/progress.next", directory);
    }
    if (s == STATUS_OK) {
        s = write_file(next.data, &text);
    }
    if (s == STATUS_OK && rename(next.data, path.data) != 0) {
        s = status_fail_errno(STATUS_IO, "%s", path.data);
    }
    buffer_destroy(&text);
    buffer_destroy(&path);
    buffer_destroy(&next);
    return s;
}

/* ---- Reading ---- */

/* A member that is not there, or of another type, stays as it is. */
static void take_member(const struct member *member, const struct json *value,
                        struct job_progress *out)
{
    char *at = (char *)out + member->offset;
    if (member->type == MEMBER_TEXT) {
        const char *text = json_string(value);
        snprintf(at, member->size, "%s", text != NULL ? text : "");
    } else if (member->type == MEMBER_REAL) {
        json_double(value, (double *)(void *)at);
    } else {
        json_int64(value, (int64_t *)(void *)at);
    }
}

status job_progress_read(const char *directory, struct job_progress *out, bool *found)
{
    struct buffer path = {0}, text = {0};
    struct arena arena = {0};
    struct json *object = NULL;
    *out = (struct job_progress){.rows = -1};
    *found = false;
    status s = buffer_format(&path, "%s/progress", directory);
    if (s == STATUS_OK) {
        s = file_read(path.data, FILE_MAX_BYTES, &text);
    }
    if (s == STATUS_OK) {
        s = json_parse(text.data, text.length, &arena, &object);
    }
    if (s == STATUS_OK && object->type == JSON_OBJECT) {
        for (size_t i = 0; i < COUNT_OF(members); i++) {
            take_member(&members[i], json_get(object, members[i].name), out);
        }
        *found = true;
    }
    arena_destroy(&arena);
    buffer_destroy(&text);
    buffer_destroy(&path);
    return s == STATUS_NO_MEMORY ? s : STATUS_OK;
}

/* ---- Standing ---- */

const char *job_state_name(enum job_state state)
{
    static const char *const names[] = {"complete", "running", "silent", "stopped", "unknown"};
    return names[state];
}

static double number_of(struct output_reader *reader, const char *name, struct arena *arena)
{
    const char *text = output_attribute_text(reader, name, arena);
    return text != NULL ? strtod(text, NULL) : 0;
}

static status read_complete(const char *output, struct job_standing *out)
{
    struct output_reader *reader;
    TRY(output_open(output, &reader));
    struct arena arena = {0};
    struct job_progress *progress = &out->progress;
    progress->rows = progress->rows_done = (int64_t)number_of(reader, "rows", &arena);
    progress->rows_kept = (int64_t)number_of(reader, "resumed_rows", &arena);
    progress->rows_handed = progress->rows;
    progress->error_rows = (int64_t)number_of(reader, "error_rows", &arena);
    progress->output_tokens = (int64_t)number_of(reader, "output_tokens", &arena);
    progress->seconds = number_of(reader, "wall_seconds", &arena);
    double tokens = number_of(reader, "wall_output_tokens", &arena);
    progress->tokens_kept = progress->output_tokens - (int64_t)tokens;
    if (progress->seconds > 0) {
        progress->rows_per_second =
            (double)(progress->rows - progress->rows_kept) / progress->seconds;
        progress->tokens_per_second = tokens / progress->seconds;
    }
    const char *errors = output_attribute_text(reader, "errors", &arena);
    snprintf(progress->last_error, sizeof progress->last_error, "%s", errors != NULL ? errors : "");
    out->state = JOB_COMPLETE;
    out->has_progress = true;
    arena_destroy(&arena);
    output_reader_close(reader);
    return STATUS_OK;
}

static status read_journal(const char *directory, struct job_standing *out)
{
    struct buffer lock = {0};
    bool unsure = false;
    TRY(job_progress_read(directory, &out->progress, &out->has_progress));
    status s = buffer_format(&lock, "%s/lock", directory);
    if (s == STATUS_OK) {
        s = journal_lock_look(lock.data, &unsure);
    }
    buffer_destroy(&lock);
    if (s != STATUS_OK && s != STATUS_EXISTS) {
        return s;
    }
    double age = (double)time(NULL) - (double)out->progress.updated;
    out->state = s == STATUS_EXISTS      ? JOB_RUNNING
                 : !unsure               ? JOB_STOPPED
                 : age <= SILENT_SECONDS ? JOB_RUNNING
                                         : JOB_SILENT;
    return STATUS_OK;
}

status job_standing_read(const char *output, struct job_standing *out)
{
    struct stat info;
    struct buffer directory = {0};
    *out = (struct job_standing){.state = JOB_UNKNOWN, .progress.rows = -1};
    TRY(buffer_format(&directory, "%s.sluice", output));
    status s = STATUS_OK;
    if (stat(directory.data, &info) == 0 && S_ISDIR(info.st_mode)) {
        s = read_journal(directory.data, out);
    }
    buffer_destroy(&directory);
    /* A job that replaces an earlier output is the one that is asked about. */
    bool at_work = out->state == JOB_RUNNING || out->state == JOB_SILENT;
    return s == STATUS_OK && !at_work && stat(output, &info) == 0 ? read_complete(output, out) : s;
}

static status tell_of_job(const char *path, const struct job_standing *standing)
{
    const struct job_progress *p = &standing->progress;
    char rows[64] = "";
    if (standing->has_progress && p->rows >= 0) {
        snprintf(rows, sizeof rows, ", %lld of %lld rows are done", (long long)p->rows_done,
                 (long long)p->rows);
    }
    return standing->state == JOB_STOPPED
               ? status_fail(STATUS_NOT_FOUND,
                             "%s: is not there yet: its job was stopped%s; the command that "
                             "started it continues it",
                             path, rows)
               : status_fail(STATUS_NOT_FOUND,
                             "%s: is not there yet: its job is running%s; sluice status says more",
                             path, rows);
}

status job_output_open(const char *path, struct output_reader **out)
{
    struct job_standing standing;
    status s = output_open(path, out);
    if (s != STATUS_NOT_FOUND) {
        return s;
    }
    TRY(job_standing_read(path, &standing));
    return standing.state == JOB_UNKNOWN
               ? status_fail(STATUS_NOT_FOUND, "%s: No such file or directory", path)
               : tell_of_job(path, &standing);
}
