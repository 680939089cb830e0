/* SPDX-License-Identifier: Apache-2.0 */
/* Judging and preparing the place of the output. */
#include "run/output_place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "run/provenance.h"

bool output_place_is_taken(const struct job *job)
{
    struct stat info;
    return !job->output.overwrite && lstat(job->output.path, &info) == 0;
}

static int64_t read_count(struct output_reader *reader, const char *name, struct arena *arena)
{
    const char *text = output_attribute_text(reader, name, arena);
    return text != NULL ? strtoll(text, NULL, 10) : 0;
}

static status note_answer(void *context, const struct result *result)
{
    *(bool *)context |= result->finish_reason != FINISH_ERROR;
    return STATUS_OK;
}

/* Fills *out from a file that this job has written. The results are gone through only where each
 * row has an error, which not all samples of it need to have. */
static status read_totals(struct output_reader *reader, struct arena *arena,
                          struct output_place *out)
{
    out->complete = true;
    out->rows = read_count(reader, "rows", arena);
    out->error_rows = read_count(reader, "error_rows", arena);
    const char *errors = output_attribute_text(reader, "errors", arena);
    snprintf(out->errors, sizeof out->errors, "%s", errors != NULL ? errors : "");
    if (out->rows > out->error_rows || out->rows == 0) {
        return STATUS_OK;
    }
    bool has_answer = false;
    TRY(output_visit(reader, note_answer, &has_answer));
    out->no_answers = !has_answer;
    return STATUS_OK;
}

static status refuse_file(const char *path, const char *difference)
{
    return difference == NULL
               ? status_fail(STATUS_EXISTS,
                             "output.path: %s exists; set output.overwrite=true to replace it",
                             path)
               : status_fail(STATUS_EXISTS,
                             "output.path: %s exists; set output.overwrite=true to replace it: it "
                             "holds rows of another job: %s",
                             path, difference);
}

/* An identity as this generation would write it, without its arithmetic. */
static status reduce(const char *identity, struct buffer *out)
{
    struct buffer lines = {0};
    status s = identity_without_arithmetic(identity, strlen(identity), &lines);
    if (s == STATUS_OK && lines.length > 0) {
        s = provenance_drop_defaults(lines.data, out);
    }
    buffer_destroy(&lines);
    return s;
}

static status note_arithmetic(const char *there, struct output_place *out)
{
    struct buffer text = {0};
    status s = identity_arithmetic(there, strlen(there), &text);
    snprintf(out->arithmetic, sizeof out->arithmetic, "%s", text.length > 0 ? text.data : "1");
    buffer_destroy(&text);
    return s;
}

/* A finished output stays finished: with another arithmetic of this generation, or as an earlier
 * generation wrote it. */
static status compare_finished(const char *there, const char *now, bool *same,
                               char why[IDENTITY_WHY_BYTES], struct output_place *out)
{
    enum identity_verdict verdict =
        identity_compare(there, strlen(there), now, why, IDENTITY_WHY_BYTES);
    int generation = identity_generation(there, strlen(there));
    if (verdict == IDENTITY_OTHER_JOB && generation != identity_generation(now, strlen(now))) {
        struct buffer before = {0}, after = {0};
        status s = reduce(there, &before);
        if (s == STATUS_OK) {
            s = reduce(now, &after);
        }
        if (s == STATUS_OK && before.length > 0 && after.length > 0 &&
            identity_compare(before.data, before.length, after.data, why, IDENTITY_WHY_BYTES) ==
                IDENTITY_SAME) {
            verdict = IDENTITY_OTHER_ARITHMETIC;
        }
        buffer_destroy(&before);
        buffer_destroy(&after);
        TRY(s);
    }
    *same = verdict != IDENTITY_OTHER_JOB;
    return verdict == IDENTITY_OTHER_ARITHMETIC ? note_arithmetic(there, out) : STATUS_OK;
}

/* Whether the file is this job's output: then an earlier start has done all there is to do. */
static status examine_file(const char *path, const char *identity, struct output_place *out)
{
    struct output_reader *reader;
    status s = output_open(path, &reader);
    if (s != STATUS_OK) {
        return s == STATUS_NO_MEMORY ? s : refuse_file(path, NULL);
    }
    struct arena arena = {0};
    char why[IDENTITY_WHY_BYTES] = "";
    bool same = false;
    const char *there = output_attribute_text(reader, "identity", &arena);
    if (there != NULL) {
        s = compare_finished(there, identity, &same, why, out);
    }
    if (s == STATUS_OK) {
        s = same ? read_totals(reader, &arena, out)
                 : refuse_file(path, why[0] != '\0' ? why : NULL);
    }
    arena_destroy(&arena);
    output_reader_close(reader);
    return s;
}

/* What is there and is no file: a folder, a device, a link that leads nowhere. A link to a file is
 * read through, and replaced itself. */
static status refuse_other_than_file(const struct job *job, mode_t mode, bool leads_nowhere)
{
    const char *path = job->output.path;
    if (leads_nowhere) {
        return job->output.overwrite
                   ? STATUS_OK
                   : status_fail(STATUS_EXISTS,
                                 "output.path: %s is a link to what is not there; remove it, or "
                                 "set output.overwrite=true to replace it",
                                 path);
    }
    if (S_ISDIR(mode)) {
        return status_fail(STATUS_INVALID, "output.path: %s is a folder", path);
    }
    return S_ISREG(mode)
               ? STATUS_OK
               : status_fail(STATUS_INVALID,
                             "output.path: %s is no file but a device, pipe or socket", path);
}

status output_place_examine(const struct job *job, const char *identity, struct output_place *out)
{
    const char *path = job->output.path;
    struct stat info;
    *out = (struct output_place){0};
    if (lstat(path, &info) != 0) {
        return STATUS_OK;
    }
    bool leads_nowhere = S_ISLNK(info.st_mode) && stat(path, &info) != 0;
    TRY(refuse_other_than_file(job, info.st_mode, leads_nowhere));
    if (leads_nowhere || job->output.overwrite) {
        return STATUS_OK;
    }
    return identity != NULL ? examine_file(path, identity, out) : refuse_file(path, NULL);
}

status output_place_journal(const struct job *job, struct buffer *path)
{
    TRY(buffer_append_text(path, job->output.path));
    return buffer_append_text(path, ".sluice");
}

static status make_folder(const char *path)
{
    struct stat info;
    if (mkdir(path, 0777) == 0) {
        return STATUS_OK;
    }
    int error = errno; /* on some file systems what is there cannot be made for another reason */
    if (stat(path, &info) != 0) {
        errno = error;
        return status_fail_errno(STATUS_IO, "output.path: %s", path);
    }
    return S_ISDIR(info.st_mode)
               ? STATUS_OK
               : status_fail(STATUS_INVALID, "output.path: %s is not a folder", path);
}

status output_place_make_folders(const char *output)
{
    struct buffer folder = {0};
    status s = buffer_append_text(&folder, output);
    for (size_t i = 1; s == STATUS_OK && i < folder.length; i++) {
        if (folder.data[i] == '/') {
            folder.data[i] = '\0';
            s = make_folder(folder.data);
            folder.data[i] = '/';
        }
    }
    buffer_destroy(&folder);
    return s;
}
