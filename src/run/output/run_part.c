/* SPDX-License-Identifier: Apache-2.0 */
/* Which rows an output lacks, and whether it is an output of this data set and job. */
#include "run/output/run_part.h"
#include "sluice/progress.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static double read_number(const struct run_part *self, const char *name)
{
    struct arena arena = {0};
    const char *text = output_attribute_text(self->reader, name, &arena);
    double number = text != NULL ? strtod(text, NULL) : -1;
    arena_destroy(&arena);
    return number;
}

/* ---- Rows that are run again ---- */

struct chooser {
    const struct export_where *where;
    struct row_choice *rows;
    size_t capacity; /* bytes of bits */
};

static status choose_row(void *context, const struct result *result)
{
    struct chooser *self = context;
    struct row_choice *rows = self->rows;
    if (!export_where_takes(self->where, result)) {
        return STATUS_OK;
    }
    if (result->row < 0 || result->row >= INT64_MAX / 16) {
        return status_fail(STATUS_INVALID, "row %lld", (long long)result->row);
    }
    const size_t needed = (size_t)result->row / 8 + 1, before = self->capacity;
    void *bits = rows->bits;
    status s = array_grow(&bits, &self->capacity, needed, 1);
    rows->bits = bits;
    TRY(s);
    memset(rows->bits + before, 0, self->capacity - before);
    uint8_t *byte = &rows->bits[result->row / 8];
    const uint8_t bit = (uint8_t)(1U << (result->row % 8));
    rows->count += (*byte & bit) == 0;
    *byte |= bit;
    rows->rows = result->row + 1 > rows->rows ? result->row + 1 : rows->rows;
    return STATUS_OK;
}

static status refuse_data(const struct job *job, const char *of)
{
    return status_fail(STATUS_INVALID, "%s: another data set than the one that %s was made from",
                       job->data.input.text, of);
}

static bool data_is_same(const struct run_part *self, const struct provenance *provenance)
{
    struct arena arena = {0};
    const char *sha256 = output_attribute_text(self->reader, "data_sha256", &arena);
    bool same = sha256 != NULL && strcmp(sha256, provenance->data_sha256) == 0;
    arena_destroy(&arena);
    return same;
}

static status choose_again(struct run_part *self, const struct run_options *options,
                           const struct job *job, struct provenance *provenance)
{
    if (!data_is_same(self, provenance)) {
        return refuse_data(job, options->of);
    }
    struct chooser chooser = {.where = &options->where, .rows = &self->rows};
    TRY(output_visit(self->reader, choose_row, &chooser));
    self->nothing = self->rows.count == 0;
    const uint64_t hash = hash_bytes(self->rows.bits, (size_t)(self->rows.rows + 7) / 8, 0);
    snprintf(provenance->part, sizeof provenance->part, "rows run again: %lld, hash %016llx\n",
             (long long)self->rows.count, (unsigned long long)hash);
    return STATUS_OK;
}

/* ---- Rows that are appended ---- */

static const char appended_line[] = "rows appended from: ";

/* The first `bytes` of a file that is plain lines: whether they end with a line, and their hash. */
static status hash_beginning(const char *path, int64_t bytes, bool *ends_line, char sha256[65])
{
    int fd;
    uint64_t size;
    unsigned char block[65536];
    TRY(file_open(path, &fd, &size));
    struct sha256 *hash = sha256_create();
    status s = hash != NULL ? STATUS_OK : status_fail(STATUS_NO_MEMORY, "%s: out of memory", path);
    int64_t left = bytes;
    while (s == STATUS_OK && left > 0) {
        const size_t wanted = left < (int64_t)sizeof block ? (size_t)left : sizeof block;
        const ssize_t got = read(fd, block, wanted);
        if (got <= 0) {
            s = got < 0 ? status_fail_errno(STATUS_IO, "%s", path)
                        : status_fail(STATUS_INVALID, "%s: is shorter than it was", path);
            break;
        }
        sha256_update(hash, block, (size_t)got);
        left -= got;
        *ends_line = block[got - 1] == '\n';
    }
    if (s == STATUS_OK && read(fd, block, 1) == 1) {
        *ends_line |= block[0] == '\n';
    }
    close(fd);
    if (hash != NULL) {
        sha256_finish(hash, sha256);
    }
    return s;
}

/* gzip, zstd, bzip2 and xz: what is behind their end is not told from what was before. */
static bool is_packed(const struct input_file *file)
{
    return file->lines < 0;
}

static status check_grown_file(const struct run_part *self, const struct input_file *file,
                               const char *wanted)
{
    char sha256[65] = "";
    bool ends_line = false;
    const int64_t bytes = (int64_t)read_number(self, "data_bytes");
    if (file->kind == DATA_HDF5 || is_packed(file)) {
        return status_fail(STATUS_UNSUPPORTED,
                           "%s: only of plain lines can it be verified that their beginning is "
                           "what it was; unpack it, or give new rows in a file of their own",
                           file->path);
    }
    TRY(hash_beginning(file->path, bytes, &ends_line, sha256));
    if (strcmp(sha256, wanted) != 0) {
        return status_fail(STATUS_INVALID,
                           "%s: its first %lld bytes are not what the output was made from",
                           file->path, (long long)bytes);
    }
    return ends_line
               ? STATUS_OK
               : status_fail(STATUS_INVALID,
                             "%s: what was its last line did not end, and goes on now", file->path);
}

/* The files that the output was made from are the first ones now, or the only one has grown. */
static status check_old_part(const struct run_part *self, const struct run_options *options,
                             const struct job *job, const struct provenance *provenance)
{
    const struct input_files *files = provenance->files;
    struct arena arena = {0};
    const char *const *paths;
    size_t count;
    char sha256[65];
    int64_t bytes;
    output_input_paths(self->reader, &paths, &count);
    const char *wanted = output_attribute_text(self->reader, "data_sha256", &arena);
    struct input_files before = *files;
    before.count = count > 0 ? count : 1;
    status s =
        wanted != NULL && before.count <= files->count ? STATUS_OK : refuse_data(job, options->of);
    if (s == STATUS_OK && before.count == files->count) {
        s = before.count == 1 ? check_grown_file(self, &files->items[0], wanted)
                              : refuse_data(job, options->of);
    } else if (s == STATUS_OK) {
        s = input_files_digest(&before, &bytes, sha256);
        if (s == STATUS_OK && strcmp(sha256, wanted) != 0) {
            s = refuse_data(job, options->of);
        }
    }
    arena_destroy(&arena);
    return s;
}

/* A whole output has every row from 0 on. */
static status check_whole(const struct run_part *self, const char *of, int64_t rows)
{
    const int64_t results = output_result_count(self->reader);
    const struct result *last = NULL;
    struct output_cursor *cursor;
    TRY(output_cursor_open(self->reader, &cursor));
    output_cursor_seek(cursor, results > 0 ? results - 1 : 0);
    status s = output_cursor_next(cursor, &last);
    if (s == STATUS_OK && (last == NULL ? 0 : last->row + 1) != rows) {
        s = status_fail(STATUS_INVALID, "%s: holds a part of its data set's rows", of);
    }
    output_cursor_close(cursor);
    return s;
}

static status choose_new(struct run_part *self, const struct run_options *options,
                         const struct job *job, int64_t data_rows, struct provenance *provenance)
{
    const int64_t rows = (int64_t)read_number(self, "rows");
    if (job->data.limit >= 0) {
        return status_fail(STATUS_INVALID,
                           "data.limit: %s was made from the first %lld rows; what is behind them "
                           "is not new",
                           options->of, (long long)job->data.limit);
    }
    TRY(check_whole(self, options->of, rows));
    self->rows = (struct row_choice){.from = rows, .count = -1};
    self->nothing = data_is_same(self, provenance);
    if (self->nothing) {
        return STATUS_OK;
    }
    TRY(check_old_part(self, options, job, provenance));
    if (data_rows >= rows) {
        self->rows.count = data_rows - rows;
    }
    snprintf(provenance->part, sizeof provenance->part, "%s%lld\n", appended_line, (long long)rows);
    return STATUS_OK;
}

/* Without the lines that name the data set, and the one above: those of keys are called "data.". */
static status without_data(const char *identity, struct buffer *out)
{
    while (*identity != '\0') {
        const size_t length = strcspn(identity, "\n");
        if (strncmp(identity, "data ", 5) != 0 &&
            strncmp(identity, appended_line, strlen(appended_line)) != 0) {
            TRY(buffer_append(out, identity, length));
            TRY(buffer_append_byte(out, '\n'));
        }
        identity += length + (identity[length] == '\n');
    }
    return buffer_append(out, "", 0);
}

static status compare_jobs(const char *there, const char *now, bool keep_mixed)
{
    char why[IDENTITY_WHY_BYTES] = "";
    struct buffer before = {0}, after = {0};
    status s = without_data(there, &before);
    if (s == STATUS_OK) {
        s = without_data(now, &after);
    }
    if (s == STATUS_OK) {
        const enum identity_verdict verdict =
            identity_compare(before.data, before.length, after.data, why, sizeof why);
        const bool same =
            verdict == IDENTITY_SAME || (verdict == IDENTITY_OTHER_ARITHMETIC && keep_mixed);
        s = same ? STATUS_OK : status_fail(STATUS_EXISTS, "the output was made otherwise: %s", why);
    }
    buffer_destroy(&before);
    buffer_destroy(&after);
    return s;
}

status run_part_check_job(const struct run_part *self, const char *identity, bool keep_mixed)
{
    struct arena arena = {0};
    const char *there = output_attribute_text(self->reader, "identity", &arena);
    status s = there != NULL ? compare_jobs(there, identity, keep_mixed)
                             : status_fail(STATUS_INVALID, "the output does not say its job");
    arena_destroy(&arena);
    return s;
}

/* ---- Both ---- */

static void read_template_time(struct run_part *self)
{
    struct arena arena = {0};
    const char *text = output_attribute_text(self->reader, "template_time", &arena);
    if (text == NULL || !clock_read_timestamp(text, &self->template_time)) {
        self->template_time = -1;
    }
    arena_destroy(&arena);
}

status run_part_open(const struct run_options *options, const struct job *job, int64_t data_rows,
                     struct provenance *provenance, struct run_part *out)
{
    out->kind = options->part;
    out->template_time = -1;
    if (out->kind == RUN_WHOLE) {
        return STATUS_OK;
    }
    TRY(job_output_open(options->of, &out->reader));
    read_template_time(out);
    return out->kind == RUN_AGAIN ? choose_again(out, options, job, provenance)
                                  : choose_new(out, options, job, data_rows, provenance);
}

void run_part_close(struct run_part *self)
{
    output_reader_close(self->reader);
    free(self->rows.bits);
    *self = (struct run_part){0};
}
