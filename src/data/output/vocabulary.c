/* SPDX-License-Identifier: Apache-2.0 */
/* The table of an output file's tokens. */
#include "data/output/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include "data/output/layout.h"

enum {
    MOST_TOKENS = 1 << 22,      /* of a vocabulary: more than any has */
    MOST_TEXT_BYTES = 64 << 20, /* of a table that is read */
};

/* ---- Writing ---- */

static status reserve(struct token_set *set, size_t bytes)
{
    if (bytes <= set->bytes) {
        return STATUS_OK;
    }
    bytes += bytes / 2;
    uint8_t *bits = realloc(set->bits, bytes);
    if (bits == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the table of tokens");
    }
    memset(bits + set->bytes, 0, bytes - set->bytes);
    set->bits = bits;
    set->bytes = bytes;
    return STATUS_OK;
}

status token_set_add(struct token_set *set, const int32_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= MOST_TOKENS) {
            continue;
        }
        size_t at = (size_t)ids[i] / 8;
        TRY(reserve(set, at + 1));
        set->bits[at] |= (uint8_t)(1 << ids[i] % 8);
    }
    return STATUS_OK;
}

void token_set_destroy(struct token_set *set)
{
    free(set->bits);
    *set = (struct token_set){0};
}

struct table {
    struct number_column ids;
    struct packed_column texts;
    struct buffer text; /* of one token */
};

static status create_table(hid_t file, struct table *table)
{
    TRY(packed_column_create(file, OUTPUT_VOCABULARY_PATH, &table->texts));
    return output_number_create(file, OUTPUT_VOCABULARY_IDS_PATH, H5T_NATIVE_INT32,
                                H5T_NATIVE_INT32, OUTPUT_BATCH_ROWS, 0, &table->ids);
}

static status fill_table(struct table *table, const struct token_set *set,
                         status (*get)(const void *context, int32_t id, struct buffer *out),
                         const void *context)
{
    for (size_t at = 0; at < set->bytes * 8; at++) {
        int32_t id = (int32_t)at;
        if ((set->bits[at / 8] >> at % 8 & 1) == 0) {
            continue;
        }
        buffer_clear(&table->text);
        TRY(get(context, id, &table->text));
        TRY(buffer_append(&table->ids.batch, &id, sizeof id));
        TRY(packed_column_append(&table->texts, table->text.data, table->text.length));
    }
    TRY(output_number_flush(&table->ids));
    return packed_column_flush(&table->texts);
}

status vocabulary_write(hid_t file, const struct token_set *set,
                        status (*get)(const void *context, int32_t id, struct buffer *out),
                        const void *context)
{
    struct table table = {0};
    status s = create_table(file, &table);
    if (s == STATUS_OK) {
        s = fill_table(&table, set, get, context);
    }
    buffer_destroy(&table.ids.batch);
    buffer_destroy(&table.text);
    packed_column_destroy(&table.texts);
    return s;
}

/* ---- Reading ---- */

static status read_ids(const struct hdf5_column *column, struct arena *arena,
                       struct vocabulary *out)
{
    if (column->length > MOST_TOKENS) {
        return status_fail(STATUS_INVALID, "%s: %lld tokens; a vocabulary has %d at most",
                           column->name, (long long)column->length, MOST_TOKENS);
    }
    size_t count = (size_t)column->length;
    int32_t *ids = arena_allocate_array(arena, count, sizeof *ids);
    out->texts = arena_allocate_array(arena, count, sizeof *out->texts);
    out->lengths = arena_allocate_array(arena, count, sizeof *out->lengths);
    if (ids == NULL || out->texts == NULL || out->lengths == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the table of tokens");
    }
    TRY(hdf5_column_read(column, H5T_NATIVE_INT32, 0, column->length, ids));
    for (size_t i = 1; i < count; i++) {
        if (ids[i] <= ids[i - 1]) {
            return status_fail(STATUS_INVALID, "%s: %d after %d; the ids ascend", column->name,
                               ids[i], ids[i - 1]);
        }
    }
    out->ids = ids;
    out->count = count;
    return STATUS_OK;
}

static status read_table(hid_t file, struct hdf5_column *ids, struct packed_source *texts,
                         struct arena *arena, struct vocabulary *out)
{
    TRY(hdf5_column_open(file, OUTPUT_VOCABULARY_IDS_PATH, H5T_INTEGER, 1, ids));
    TRY(packed_source_open(file, OUTPUT_VOCABULARY_PATH, ids->length, texts));
    TRY(read_ids(ids, arena, out));
    return packed_source_read(texts, 0, ids->length, arena->used_bytes + MOST_TEXT_BYTES, arena,
                              out->texts, out->lengths);
}

status vocabulary_read(hid_t file, struct arena *arena, struct vocabulary *out)
{
    *out = (struct vocabulary){0};
    if (!hdf5_path_exists(file, OUTPUT_VOCABULARY_IDS_PATH)) {
        return STATUS_OK;
    }
    struct hdf5_column ids = {0};
    struct packed_source texts = {0};
    status s = read_table(file, &ids, &texts, arena, out);
    hdf5_column_close(&ids);
    packed_source_close(&texts);
    /* What is missing in a file, or too much of it, is a fault of the file. */
    return s == STATUS_NOT_FOUND || s == STATUS_LIMIT ? STATUS_INVALID : s;
}

static int compare_ids(const void *a, const void *b)
{
    int32_t left = *(const int32_t *)a, right = *(const int32_t *)b;
    return left < right ? -1 : left > right;
}

const char *vocabulary_find(const struct vocabulary *vocabulary, int32_t id, size_t *length)
{
    const int32_t *found = vocabulary->count > 0 ? bsearch(&id, vocabulary->ids, vocabulary->count,
                                                           sizeof id, compare_ids)
                                                 : NULL;
    *length = found != NULL ? vocabulary->lengths[found - vocabulary->ids] : 0;
    return found != NULL ? vocabulary->texts[found - vocabulary->ids] : NULL;
}
