/* SPDX-License-Identifier: Apache-2.0 */
/* Writes and reads /inputs: path, bytes, sha256 and rows of each file that a job has read. */
#include "data/output/inputs.h"

#include <stdlib.h>
#include <string.h>

#include "data/output/dataset.h"

#define PATHS_PATH "/inputs/path"

enum { PATHS_BUDGET = 256 << 20 };

/* A dataset of one value a file. */
static status write_column(hid_t file, const char *path, hid_t type, size_t count,
                           const void *items)
{
    hid_t dataset = H5I_BADID;
    status s = output_dataset_create(file, path, type, OUTPUT_BATCH_ROWS, 0, &dataset);
    if (s == STATUS_OK) {
        s = output_dataset_append(dataset, type, 0, (int64_t)count, 0, items);
    }
    if (dataset >= 0) {
        H5Dclose(dataset);
    }
    return s;
}

status output_inputs_write(hid_t file, hid_t string_type, const struct input_files *files,
                           const int64_t *rows)
{
    size_t count = files->count;
    struct arena arena = {0};
    const char **texts = arena_allocate_array(&arena, 2 * count + 1, sizeof *texts);
    int64_t *bytes = arena_allocate_array(&arena, count + 1, sizeof *bytes);
    status s = STATUS_OK;
    if (texts == NULL || bytes == NULL) {
        s = status_fail(STATUS_NO_MEMORY, "out of memory for the table of input files");
    }
    for (size_t i = 0; s == STATUS_OK && i < count; i++) {
        texts[i] = files->items[i].path;
        texts[count + i] = files->items[i].sha256;
        bytes[i] = files->items[i].bytes;
    }
    hid_t group =
        s == STATUS_OK ? H5Gcreate2(file, "/inputs", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT) : -1;
    if (s == STATUS_OK && group < 0) {
        s = hdf5_fail(STATUS_IO, "/inputs: cannot be created");
    }
    if (s == STATUS_OK) {
        H5Gclose(group);
        s = write_column(file, PATHS_PATH, string_type, count, texts);
    }
    if (s == STATUS_OK) {
        s = write_column(file, "/inputs/sha256", string_type, count, texts + count);
    }
    if (s == STATUS_OK) {
        s = write_column(file, "/inputs/bytes", H5T_NATIVE_INT64, count, bytes);
    }
    if (s == STATUS_OK) {
        s = write_column(file, "/inputs/rows", H5T_NATIVE_INT64, count, rows);
    }
    arena_destroy(&arena);
    return s;
}

static status read_paths(const struct hdf5_column *column, struct arena *arena,
                         const char *const **paths, size_t *count)
{
    if (column->length > INPUT_FILES_MOST) {
        return status_fail(STATUS_INVALID, "%s: %lld files", PATHS_PATH, (long long)column->length);
    }
    size_t length = (size_t)column->length;
    const char **texts = arena_allocate_array(arena, length + 1, sizeof *texts);
    size_t *lengths = arena_allocate_array(arena, length + 1, sizeof *lengths);
    if (texts == NULL || lengths == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the table of input files");
    }
    TRY(hdf5_column_read_strings(column, 0, column->length, PATHS_BUDGET, arena, texts, lengths));
    for (size_t i = 0; i < length; i++) {
        texts[i] = arena_copy(arena, texts[i], lengths[i]); /* those of a fixed size have no NUL */
        if (texts[i] == NULL) {
            return status_fail(STATUS_NO_MEMORY, "out of memory for the table of input files");
        }
    }
    *paths = texts;
    *count = length;
    return STATUS_OK;
}

status output_inputs_read(hid_t file, struct arena *arena, const char *const **paths, size_t *count)
{
    *paths = NULL;
    *count = 0;
    if (!hdf5_path_exists(file, PATHS_PATH)) {
        return STATUS_OK;
    }
    struct hdf5_column column = {0};
    status s = hdf5_column_open(file, PATHS_PATH, H5T_STRING, 1, &column);
    if (s == STATUS_OK) {
        s = read_paths(&column, arena, paths, count);
    }
    hdf5_column_close(&column);
    return s;
}
