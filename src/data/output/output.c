/* SPDX-License-Identifier: Apache-2.0 */
/* Writes an output file: results in batches, metrics, attributes, and the rename at the end. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/journal/durable.h"
#include "data/output/ahead.h"
#include "data/output/columns_write.h"
#include "data/output/inputs.h"
#include "data/output/layout.h"
#include "data/output/metrics.h"
#include "sluice/inputs.h"

struct output_writer {
    struct buffer path, partial;
    bool overwrite;
    bool failed;
    int fd; /* of the partial file: holds its lock, and syncs it */
    hid_t file, string_type;
    struct columns_writer columns;
    struct results_ahead ahead;
};

/* ---- Creating ---- */

static status create_groups(struct output_writer *writer)
{
    static const char *const groups[] = {"/results", "/passthrough", "/metrics",
                                         OUTPUT_TIMELINE_PATH};
    for (size_t i = 0; i < COUNT_OF(groups); i++) {
        hid_t group = H5Gcreate2(writer->file, groups[i], H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        if (group < 0) {
            return hdf5_fail(STATUS_IO, "%s: cannot be created", groups[i]);
        }
        H5Gclose(group);
    }
    return STATUS_OK;
}

static status check_free(const struct output_writer *writer)
{
    struct stat info;
    if (lstat(writer->path.data, &info) != 0) {
        return errno == ENOENT ? STATUS_OK : status_fail_errno(STATUS_IO, "%s", writer->path.data);
    }
    if (S_ISDIR(info.st_mode)) {
        return status_fail(STATUS_EXISTS, "%s: is a folder", writer->path.data);
    }
    if (!writer->overwrite) {
        return status_fail(STATUS_EXISTS, "%s: exists; set output.overwrite or choose another path",
                           writer->path.data);
    }
    return STATUS_OK;
}

static status open_partial(struct output_writer *writer)
{
    const char *path = writer->partial.data;
    writer->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (writer->fd < 0) {
        return status_fail_errno(STATUS_IO, "%s", path);
    }
    /* A file that a crash left behind is written over; one that is being written, or that its
     * writer has just renamed, is not. */
    struct stat opened = {0}, named = {0};
    bool busy = flock(writer->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    bool seen = fstat(writer->fd, &opened) == 0 && (stat(path, &named) == 0 || errno == ENOENT);
    if (busy || !seen || opened.st_ino != named.st_ino || opened.st_dev != named.st_dev) {
        status s = seen
                       ? status_fail(STATUS_EXISTS, "%s: is being written by another process", path)
                       : status_fail_errno(STATUS_IO, "%s", path);
        close(writer->fd);
        writer->fd = -1;
        return s;
    }
    hid_t access = hdf5_file_access();
    if (access >= 0) {
        writer->file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, access);
        H5Pclose(access);
    }
    return writer->file >= 0 ? STATUS_OK : hdf5_fail(STATUS_IO, "%s: cannot be created", path);
}

static status write_attribute(struct output_writer *writer, const char *name, hid_t type,
                              const void *value)
{
    hid_t space = H5Screate(H5S_SCALAR);
    htri_t there = H5Aexists(writer->file, name);
    hid_t attribute = H5I_BADID;
    if (space >= 0 && there >= 0 && (there == 0 || H5Adelete(writer->file, name) >= 0)) {
        attribute = H5Acreate2(writer->file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    }
    status s = STATUS_OK;
    if (attribute < 0 || H5Awrite(attribute, type, value) < 0) {
        s = hdf5_fail(STATUS_IO, "%s: attribute %s cannot be written", writer->partial.data, name);
    }
    if (attribute >= 0) {
        H5Aclose(attribute);
    }
    if (space >= 0) {
        H5Sclose(space);
    }
    writer->failed |= s != STATUS_OK;
    return s;
}

static status open_all(struct output_writer *writer, const char *path,
                       const struct output_columns *columns)
{
    TRY(buffer_append_text(&writer->path, path));
    TRY(buffer_format(&writer->partial, "%s.partial", path));
    TRY(check_free(writer));
    TRY(open_partial(writer));
    writer->string_type = hdf5_string_type();
    if (writer->string_type < 0) {
        return hdf5_fail(STATUS_NO_MEMORY, "%s: no types", path);
    }
    TRY(create_groups(writer));
    TRY(columns_writer_create(&writer->columns, writer->file, writer->fd, writer->string_type,
                              columns));
    const int version = columns->packed_texts ? OUTPUT_VERSION_PACKED : OUTPUT_VERSION_VARIABLE;
    TRY(write_attribute(writer, "format_version", H5T_NATIVE_INT, &version));
    char created[21];
    clock_timestamp(created);
    const struct output_attribute attributes[] = {{"sluice_version", SLUICE_VERSION, 0},
                                                  {"created", created, 0}};
    return output_write_attributes(writer, attributes, COUNT_OF(attributes));
}

status output_create(const char *path, bool overwrite, const struct output_columns *columns,
                     struct output_writer **out)
{
    *out = NULL;
    hdf5_silence();
    struct output_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) {
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory for writing", path);
    }
    writer->overwrite = overwrite;
    writer->fd = -1;
    writer->file = writer->string_type = -1;
    status s = open_all(writer, path, columns);
    if (s != STATUS_OK) {
        output_abandon(writer);
        return s;
    }
    *out = writer;
    return STATUS_OK;
}

bool output_may_write_beside(const struct input_files *files)
{
    hbool_t is_for_several = 0;
    bool is_read = false;
    for (size_t i = 0; i < files->count; i++) {
        is_read = is_read || files->items[i].kind == DATA_HDF5;
    }
    return !is_read || (H5is_library_threadsafe(&is_for_several) >= 0 && is_for_several);
}

/* ---- Results ---- */

status output_append(struct output_writer *writer, const struct result *result)
{
    if (writer->failed) {
        return status_fail(STATUS_IO, "%s: an earlier write failed", writer->partial.data);
    }
    const struct stored_result stored = {.result = *result};
    if (!result_columns_sane(&stored)) {
        return status_fail(STATUS_INTERNAL, "%s: a result that makes no sense",
                           writer->partial.data);
    }
    status s = columns_writer_append(&writer->columns, result);
    writer->failed = s != STATUS_OK;
    return status_context(s, "%s", writer->partial.data);
}

/* ---- Results before their turn ---- */

status output_put_ahead(struct output_writer *writer, const struct result *results, size_t count,
                        bool *taken)
{
    *taken = false;
    for (size_t i = 0; i < count; i++) {
        const struct stored_result stored = {.result = results[i]};
        if (!result_columns_sane(&stored) || writer->failed) {
            return STATUS_OK; /* output_append says why */
        }
    }
    status s = results_ahead_put(&writer->ahead, &writer->columns, writer->file, writer->fd,
                                 results, count, taken);
    writer->failed |= s != STATUS_OK;
    return status_context(s, "%s", writer->partial.data);
}

bool output_has_ahead(const struct output_writer *writer, int64_t row)
{
    return results_ahead_has(&writer->ahead, row);
}

int64_t output_ahead_end(const struct output_writer *writer)
{
    return writer->ahead.end;
}

status output_append_ahead(struct output_writer *writer, int64_t row)
{
    if (writer->failed) {
        return status_fail(STATUS_IO, "%s: an earlier write failed", writer->partial.data);
    }
    status s =
        results_ahead_append(&writer->ahead, &writer->columns, writer->file, writer->fd, row);
    writer->failed = s != STATUS_OK;
    return status_context(s, "%s", writer->partial.data);
}

/* ---- Metrics and attributes ---- */

/* What became of a part of the file: a failure is the writer's. */
static status note_part(struct output_writer *writer, status s)
{
    writer->failed |= s != STATUS_OK;
    return status_context(s, "%s", writer->partial.data);
}

status output_write_vocabulary(struct output_writer *writer,
                               status (*get)(const void *context, int32_t id, struct buffer *out),
                               const void *context)
{
    if (!columns_writer_has_tokens(&writer->columns)) {
        return STATUS_OK;
    }
    return note_part(writer, vocabulary_write(writer->file, &writer->columns.tokens, get, context));
}

status output_write_ranks(struct output_writer *writer, const struct rank_metrics *ranks,
                          size_t count)
{
    return note_part(writer, metrics_write_ranks(writer->file, ranks, count));
}

status output_write_timeline(struct output_writer *writer, const struct timeline_point *points,
                             size_t count)
{
    return note_part(writer, metrics_write_timeline(writer->file, points, count));
}

status output_write_inputs(struct output_writer *writer)
{
    const struct output_columns *columns = &writer->columns.columns;
    if (columns->files == NULL) {
        return STATUS_OK;
    }
    return note_part(writer, output_inputs_write(writer->file, writer->string_type, columns->files,
                                                 columns->file_rows));
}

status output_write_attributes(struct output_writer *writer,
                               const struct output_attribute *attributes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct output_attribute *attribute = &attributes[i];
        if (strcmp(attribute->name, "format_version") == 0) {
            return status_fail(STATUS_INTERNAL, "format_version is the writer's own attribute");
        }
        TRY(attribute->text != NULL
                ? write_attribute(writer, attribute->name, writer->string_type, &attribute->text)
                : write_attribute(writer, attribute->name, H5T_NATIVE_DOUBLE, &attribute->number));
    }
    return STATUS_OK;
}

/* ---- The end ---- */

/* Closes everything in HDF5; what was not yet on disk is written here, which may fail. */
static herr_t close_file(struct output_writer *writer)
{
    if (writer->string_type >= 0) {
        H5Tclose(writer->string_type);
    }
    /* The strong close degree closes the datasets with the file. */
    herr_t closed = writer->file >= 0 ? H5Fclose(writer->file) : 0;
    writer->file = writer->string_type = -1;
    return closed;
}

static void writer_destroy(struct output_writer *writer)
{
    columns_writer_destroy(&writer->columns);
    results_ahead_destroy(&writer->ahead);
    if (writer->fd >= 0) {
        close(writer->fd);
    }
    buffer_destroy(&writer->path);
    buffer_destroy(&writer->partial);
    free(writer);
}

/* Gives the finished file its name, without taking the place of another one that is not to be
 * overwritten. */
static status take_name(struct output_writer *writer)
{
    const char *from = writer->partial.data;
    const char *to = writer->path.data;
    if (!writer->overwrite) {
        if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) {
            return STATUS_OK;
        }
        if (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP && errno != EEXIST) {
            return status_fail_errno(STATUS_IO, "%s", to);
        }
        TRY(check_free(writer)); /* a file system without the flag: as well as can be */
    }
    return rename(from, to) == 0 ? STATUS_OK : status_fail_errno(STATUS_IO, "%s", to);
}

static status finish(struct output_writer *writer)
{
    const char *partial = writer->partial.data;
    if (writer->failed) {
        return status_fail(STATUS_IO, "%s: an earlier write failed", partial);
    }
    TRY(status_context(columns_writer_flush(&writer->columns), "%s", partial));
    if (H5Fflush(writer->file, H5F_SCOPE_GLOBAL) < 0) {
        return hdf5_fail(STATUS_IO, "%s: cannot be written", partial);
    }
    if (close_file(writer) < 0) {
        return hdf5_fail(STATUS_IO, "%s: cannot be closed", partial);
    }
    if (fsync(writer->fd) != 0) {
        return status_fail_errno(STATUS_IO, "%s", partial);
    }
    TRY(take_name(writer));
    return durable_sync_parent(writer->path.data);
}

status output_finish(struct output_writer *writer)
{
    status s = finish(writer);
    if (s != STATUS_OK) {
        output_abandon(writer);
        return s;
    }
    writer_destroy(writer);
    return STATUS_OK;
}

void output_abandon(struct output_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    close_file(writer); /* the message of what went wrong stays */
    H5Eclear2(H5E_DEFAULT);
    if (writer->fd >= 0) { /* else the partial file is another process's */
        unlink(writer->partial.data);
    }
    writer_destroy(writer);
}
