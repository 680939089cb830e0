/* SPDX-License-Identifier: Apache-2.0 */
/* The table of a model's tensors: built by safetensors.c and gguf.c, read by load.c. */
#include "model/read/model_tensors.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/formats/gguf_quants.h"
#include "model/read/model_files.h"

/* OCP FP8 E4M3 (the "FN" form): bias 7, no infinities, NaN where all of exponent and fraction is
 * set. */
static void expand_float8(const uint8_t *blocks, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t sign = (uint32_t)(blocks[i] & 0x80u) << 24;
        uint32_t exponent = (blocks[i] >> 3) & 15u, fraction = blocks[i] & 7u;
        uint32_t bits;
        if (exponent == 15 && fraction == 7) {
            bits = sign | 0x7fc00000u;
        } else if (exponent != 0) {
            bits = sign | (exponent + 120) << 23 | fraction << 20;
        } else {
            float value = (float)fraction * 0x1p-9f;
            memcpy(&bits, &value, sizeof bits);
            bits |= sign;
        }
        memcpy(out + i, &bits, sizeof bits);
    }
}

static const struct tensor_format_facts formats[] = {
    [FORMAT_FLOAT32] = {"F32", 1, 4, DTYPE_FLOAT32, NULL},
    [FORMAT_FLOAT16] = {"F16", 1, 2, DTYPE_FLOAT16, NULL},
    [FORMAT_BFLOAT16] = {"BF16", 1, 2, DTYPE_BFLOAT16, NULL},
    [FORMAT_FLOAT8_E4M3] = {"F8_E4M3", 1, 1, DTYPE_FLOAT32, expand_float8},
    [FORMAT_Q4_0] = {"Q4_0", 32, 18, DTYPE_FLOAT32, gguf_expand_q4_0},
    [FORMAT_Q4_1] = {"Q4_1", 32, 20, DTYPE_FLOAT32, gguf_expand_q4_1},
    [FORMAT_Q5_0] = {"Q5_0", 32, 22, DTYPE_FLOAT32, gguf_expand_q5_0},
    [FORMAT_Q5_1] = {"Q5_1", 32, 24, DTYPE_FLOAT32, gguf_expand_q5_1},
    [FORMAT_Q8_0] = {"Q8_0", 32, 34, DTYPE_FLOAT32, gguf_expand_q8_0},
    [FORMAT_Q2_K] = {"Q2_K", 256, 84, DTYPE_FLOAT32, gguf_expand_q2_k},
    [FORMAT_Q3_K] = {"Q3_K", 256, 110, DTYPE_FLOAT32, gguf_expand_q3_k},
    [FORMAT_Q4_K] = {"Q4_K", 256, 144, DTYPE_FLOAT32, gguf_expand_q4_k},
    [FORMAT_Q5_K] = {"Q5_K", 256, 176, DTYPE_FLOAT32, gguf_expand_q5_k},
    [FORMAT_Q6_K] = {"Q6_K", 256, 210, DTYPE_FLOAT32, gguf_expand_q6_k},
    [FORMAT_OTHER] = {"other", 1, 1, DTYPE_FLOAT32, NULL},
};

const struct tensor_format_facts *tensor_format_facts(enum tensor_format format)
{
    return &formats[format];
}

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
    qsort(table->items, table->count, sizeof *table->items, compare_names);
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
