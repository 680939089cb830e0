/* SPDX-License-Identifier: Apache-2.0 */
/* Judging and preparing the place of the output. */
#include "run/output_place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool output_place_is_taken(const struct job *job)
{
    struct stat info;
    return !job->output.overwrite && stat(job->output.path, &info) == 0;
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

/* Whether the file is this job's output: then an earlier start has done all there is to do. */
static status examine_file(const char *path, const char *identity, struct output_place *out)
{
    struct output_reader *reader;
    status s = output_open(path, &reader);
    if (s != STATUS_OK) {
        return s == STATUS_NO_MEMORY ? s : refuse_file(path, NULL);
    }
    struct arena arena = {0};
    struct buffer difference = {0};
    const char *there = output_attribute_text(reader, "identity", &arena);
    if (there != NULL) {
        s = identity_difference(there, strlen(there), identity, &difference);
    }
    if (s == STATUS_OK) {
        s = there != NULL && difference.length == 0 ? read_totals(reader, &arena, out)
                                                    : refuse_file(path, difference.data);
    }
    buffer_destroy(&difference);
    arena_destroy(&arena);
    output_reader_close(reader);
    return s;
}

status output_place_examine(const struct job *job, const char *identity, struct output_place *out)
{
    const char *path = job->output.path;
    struct stat info;
    *out = (struct output_place){0};
    if (stat(path, &info) != 0) {
        return STATUS_OK;
    }
    if (S_ISDIR(info.st_mode)) {
        return status_fail(STATUS_INVALID, "output.path: %s is a folder", path);
    }
    if (job->output.overwrite) {
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
