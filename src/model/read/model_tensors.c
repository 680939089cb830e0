/* SPDX-License-Identifier: Apache-2.0 */
/* The table of a model's tensors: built by safetensors.c and gguf.c, read by
 * tensor_source.c. */
#include "model/read/model_tensors.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/read/model_files.h"

status tensor_table_open_file(struct tensor_table *table, const char *path, int *out)
{
    void *files = table->files;
    TRY(array_grow(&files, &table->file_capacity, table->file_count + 1, sizeof *table->files));
    table->files = files;
    struct tensor_file file = {.path = arena_copy(&table->arena, path, strlen(path))};
    if (file.path == NULL) {
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory", path);
    }
    TRY(file_open(path, &file.fd, &file.size));
    *out = (int)table->file_count;
    table->files[table->file_count++] = file;
    char head[128];
    size_t length = file.size < sizeof head ? (size_t)file.size : sizeof head;
    TRY(tensor_file_read(&file, 0, head, length));
    return model_file_check(path, head, length);
}

status tensor_table_add(struct tensor_table *table, const struct tensor *tensor)
{
    void *items = table->items;
    TRY(array_grow(&items, &table->capacity, table->count + 1, sizeof *table->items));
    table->items = items;
    table->items[table->count++] = *tensor;
    return STATUS_OK;
}

static int compare_places(const void *left, const void *right)
{
    const struct tensor *a = left, *b = right;
    if (a->file != b->file) {
        return a->file < b->file ? -1 : 1;
    }
    if (a->offset != b->offset) {
        return a->offset < b->offset ? -1 : 1;
    }
    return (a->bytes > b->bytes) - (a->bytes < b->bytes); /* empty ones first */
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(((const struct tensor *)left)->name, ((const struct tensor *)right)->name);
}

const char *tensor_path(const struct tensor_table *table, const struct tensor *tensor)
{
    return table->files[tensor->file].path;
}

status tensor_table_finish(struct tensor_table *table)
{
    if (table->count == 0) {
        return STATUS_OK;
    }
    qsort(table->items, table->count, sizeof *table->items, compare_places);
    for (size_t i = 1; i < table->count; i++) {
        const struct tensor *before = &table->items[i - 1], *here = &table->items[i];
        if (here->file == before->file && here->offset < before->offset + before->bytes) {
            return status_fail(STATUS_INVALID, "%s: tensors %s and %s share bytes of the file",
                               tensor_path(table, here), before->name, here->name);
        }
    }
    return tensor_table_sort(table);
}

status tensor_table_sort(struct tensor_table *table)
{
    if (table->count > 1) {
        qsort(table->items, table->count, sizeof *table->items, compare_names);
    }
    for (size_t i = 1; i < table->count; i++) {
        if (strcmp(table->items[i - 1].name, table->items[i].name) == 0) {
            return status_fail(STATUS_INVALID, "%s: tensor %s is there twice",
                               tensor_path(table, &table->items[i]), table->items[i].name);
        }
    }
    return STATUS_OK;
}

const struct tensor *tensor_table_find(const struct tensor_table *table, const char *name)
{
    if (table->count == 0) {
        return NULL;
    }
    struct tensor key = {.name = name};
    return bsearch(&key, table->items, table->count, sizeof *table->items, compare_names);
}

void tensor_table_destroy(struct tensor_table *table)
{
    for (size_t i = 0; i < table->file_count; i++) {
        close(table->files[i].fd);
    }
    free(table->files);
    free(table->items);
    arena_destroy(&table->arena);
    memset(table, 0, sizeof *table);
}

bool tensor_count_elements(const int64_t *shape, int rank, uint64_t *out)
{
    uint64_t count = 1;
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0 || __builtin_mul_overflow(count, (uint64_t)shape[i], &count)) {
            return false;
        }
    }
    *out = count;
    return true;
}

status tensor_file_read(const struct tensor_file *file, uint64_t offset, void *to, size_t bytes)
{
    uint8_t *at = to;
    while (bytes > 0) {
        ssize_t got = pread(file->fd, at, bytes, (off_t)offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return status_fail_errno(STATUS_IO, "%s", file->path);
        }
        if (got == 0) {
            return status_fail(STATUS_INVALID,
                               "%s: ends at byte %llu, %zu bytes too early; the file is truncated",
                               file->path, (unsigned long long)offset, bytes);
        }
        at += got;
        offset += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return STATUS_OK;
}
