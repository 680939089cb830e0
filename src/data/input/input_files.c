/* SPDX-License-Identifier: Apache-2.0 */
/* Names and patterns to files. */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "data/input/byte_source.h"
#include "data/input/record_hdf5.h"
#include "sluice/inputs.h"

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for the data set's files");
}

const char *path_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL && slash[1] != '\0' ? slash + 1 : path;
}

/* ---- Kinds ---- */

static bool ends_in(const char *path, size_t length, const char *end)
{
    return length > strlen(end) && strncasecmp(path + length - strlen(end), end, strlen(end)) == 0;
}

enum data_kind data_kind_of(const char *path)
{
    static const char *const packed[] = {".gz", ".zst", ".zstd"};
    static const char *const hdf5[] = {".h5", ".hdf5", ".hdf", ".he5"};
    size_t length = strlen(path);
    struct stat info;
    for (size_t i = 0; i < COUNT_OF(hdf5); i++) { /* a damaged one, too */
        if (ends_in(path, length, hdf5[i])) {
            return DATA_HDF5;
        }
    }
    /* HDF5 would wait for somebody to write into a pipe. */
    if (stat(path, &info) == 0 && S_ISREG(info.st_mode) && record_hdf5_detect(path)) {
        return DATA_HDF5;
    }
    for (size_t i = 0; i < COUNT_OF(packed); i++) {
        if (ends_in(path, length, packed[i])) {
            length -= strlen(packed[i]);
            break;
        }
    }
    return ends_in(path, length, ".csv")                                    ? DATA_CSV
           : ends_in(path, length, ".tsv") || ends_in(path, length, ".tab") ? DATA_TSV
                                                                            : DATA_JSON_LINES;
}

static const char *kind_name(enum data_kind kind)
{
    static const char *const names[] = {"JSON lines", "CSV", "TSV", "HDF5"};
    return names[kind];
}

static status check_kinds(struct input_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        files->items[i].kind = data_kind_of(files->items[i].path);
        if (files->items[i].kind != files->items[0].kind) {
            return status_fail(STATUS_INVALID,
                               "data.input: %s is %s and %s is %s; files of a job are of one kind",
                               files->items[0].path, kind_name(files->items[0].kind),
                               files->items[i].path, kind_name(files->items[i].kind));
        }
    }
    return STATUS_OK;
}

/* ---- Patterns ---- */

static bool is_pattern(const char *name)
{
    struct stat info;
    return strpbrk(name, "*?[") != NULL && stat(name, &info) != 0;
}

static status add_file(struct input_files *files, const char *path, bool matched)
{
    void *items = files->items;
    if (files->count == INPUT_FILES_MOST) {
        return status_fail(STATUS_LIMIT, "data.input: more than %d files", INPUT_FILES_MOST);
    }
    status s = array_grow(&items, &files->capacity, files->count + 1, sizeof *files->items);
    files->items = items;
    TRY(s);
    struct input_file *file = &files->items[files->count];
    *file = (struct input_file){.path = strdup(path), .matched = matched};
    if (file->path == NULL) {
        return no_memory();
    }
    files->count++;
    return STATUS_OK;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The folder that could not be read, for the message: glob itself says only that there was one. */
static char unread_folder[512];
static int unread_error;

static int note_unread(const char *path, int error)
{
    if (error == ENOENT || error == ENOTDIR) {
        return 0;
    }
    snprintf(unread_folder, sizeof unread_folder, "%s", path);
    unread_error = error;
    return 1;
}

static status add_matches(struct input_files *files, const char *pattern)
{
    glob_t found = {0};
    if (strstr(pattern, "**") != NULL) {
        return status_fail(STATUS_INVALID,
                           "data.input: %s: ** is not known; a pattern names each level of folders",
                           pattern);
    }
    int code = glob(pattern, GLOB_NOSORT, note_unread, &found);
    status s = STATUS_OK;
    if (code == GLOB_NOMATCH || (code == 0 && found.gl_pathc == 0)) {
        s = status_fail(STATUS_INVALID, "data.input: %s: no file matches", pattern);
    } else if (code == GLOB_ABORTED) {
        errno = unread_error;
        s = status_fail_errno(STATUS_INVALID, "data.input: %s: %s", pattern, unread_folder);
    } else if (code != 0) {
        s = no_memory();
    } else {
        qsort(found.gl_pathv, found.gl_pathc, sizeof *found.gl_pathv, compare_paths);
    }
    for (size_t i = 0; s == STATUS_OK && i < found.gl_pathc; i++) {
        s = add_file(files, found.gl_pathv[i], true);
    }
    globfree(&found);
    return s;
}

/* ---- The same file twice ---- */

struct identity {
    dev_t device;
    ino_t inode;
    size_t index;
};

static int compare_identities(const void *a, const void *b)
{
    const struct identity *left = a, *right = b;
    if (left->device != right->device) {
        return left->device < right->device ? -1 : 1;
    }
    if (left->inode != right->inode) {
        return left->inode < right->inode ? -1 : 1;
    }
    return left->index < right->index ? -1 : left->index > right->index;
}

static status check_twice(const struct input_files *files)
{
    struct identity *all = malloc((files->count + 1) * sizeof *all);
    size_t count = 0;
    status s = all != NULL ? STATUS_OK : no_memory();
    for (size_t i = 0; s == STATUS_OK && i < files->count; i++) {
        struct stat info;
        if (stat(files->items[i].path, &info) == 0) {
            all[count++] = (struct identity){info.st_dev, info.st_ino, i};
        }
    }
    if (s == STATUS_OK) {
        qsort(all, count, sizeof *all, compare_identities);
    }
    for (size_t i = 1; s == STATUS_OK && i < count; i++) {
        if (all[i].device == all[i - 1].device && all[i].inode == all[i - 1].inode) {
            const char *first = files->items[all[i - 1].index].path;
            const char *second = files->items[all[i].index].path;
            s = strcmp(first, second) == 0
                    ? status_fail(STATUS_INVALID, "data.input: %s is there twice", first)
                    : status_fail(STATUS_INVALID, "data.input: %s and %s are the same file", first,
                                  second);
        }
    }
    free(all);
    return s;
}

static status resolve(const char *const *names, size_t count, struct input_files *out)
{
    for (size_t i = 0; i < count; i++) {
        bool pattern = is_pattern(names[i]);
        out->has_patterns |= pattern;
        TRY(pattern ? add_matches(out, names[i]) : add_file(out, names[i], false));
    }
    TRY(check_twice(out));
    return check_kinds(out);
}

status input_files_resolve(const char *const *names, size_t count, struct input_files *out)
{
    *out = (struct input_files){0};
    status s = resolve(names, count, out);
    if (s != STATUS_OK) {
        input_files_destroy(out);
    }
    return s;
}

void input_files_destroy(struct input_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        free(files->items[i].path);
    }
    free(files->items);
    *files = (struct input_files){0};
}

/* ---- Hashes ---- */

status input_files_hash(struct input_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        struct input_file *file = &files->items[i];
        TRY(byte_source_hash_file(file->path, NULL, &file->bytes, file->sha256, &file->lines));
    }
    return STATUS_OK;
}

int64_t input_files_rows(const struct input_files *files)
{
    int64_t rows = 0;
    for (size_t i = 0; i < files->count; i++) {
        if (files->items[i].kind != DATA_JSON_LINES || files->items[i].lines < 0) {
            return -1;
        }
        rows += files->items[i].lines;
    }
    return rows;
}

status input_files_digest(const struct input_files *files, int64_t *bytes, char sha256[65])
{
    *bytes = 0;
    for (size_t i = 0; i < files->count; i++) {
        *bytes += files->items[i].bytes;
    }
    if (files->count == 1) {
        memcpy(sha256, files->items[0].sha256, sizeof files->items[0].sha256);
        return STATUS_OK;
    }
    struct sha256 *hash = sha256_create();
    if (hash == NULL) {
        return no_memory();
    }
    for (size_t i = 0; i < files->count; i++) {
        const char *name = path_name(files->items[i].path);
        sha256_update(hash, files->items[i].sha256, strlen(files->items[i].sha256));
        sha256_update(hash, "  ", 2);
        sha256_update(hash, name, strlen(name));
        sha256_update(hash, "\n", 1);
    }
    sha256_finish(hash, sha256);
    return STATUS_OK;
}
