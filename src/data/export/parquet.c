/* SPDX-License-Identifier: Apache-2.0 */
/* Rows to pages, pages to row groups, row groups to a file.
 *
 * In memory are the row group's pages, packed, and one page a column that is not full yet. A page
 * ends where a row does. */
#include "data/export/parquet.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "data/export/thrift.h"
#include "data/journal/little_endian.h"

enum {
    PAGE_BYTES = 1 << 20,   /* of values, before they are packed */
    GROUP_BYTES = 64 << 20, /* of pages, packed */
    GROUP_ROWS = 1 << 20,   /* fewer where pages fill up */
    PAGE_VALUES = 1 << 20,  /* of missing values, say, which have no bytes */
    ZSTD_LEVEL = 3,
    CODEC_ZSTD = 6,
    ENCODING_PLAIN = 0,
    ENCODING_RLE = 3,
};

static const char magic[] = "PAR1";

/* Repetition or definition levels of a page in RLE runs. */
struct levels {
    struct buffer runs;
    int level; /* of the run that is not written yet */
    uint64_t length;
};

struct parquet_chunk {
    /* The page: */
    struct levels repetition, definition;
    struct buffer values;
    int64_t page_values;
    unsigned bits, bit_count; /* of booleans that do not fill a byte yet */
    /* The row group: */
    struct buffer pages;
    int64_t group_values, unpacked_bytes;
};

/* What the footer says of a row group's column. */
struct parquet_place {
    int64_t offset, values, unpacked, packed;
};

struct parquet_group {
    int64_t rows, bytes;
    struct parquet_place *places; /* [count] */
};

struct parquet {
    const struct parquet_column *columns;
    size_t count;
    export_writer write;
    void *context;
    int64_t offset; /* bytes written */
    struct parquet_chunk *chunks;
    int64_t rows, group_rows, group_bytes;
    struct parquet_group *groups;
    size_t group_count, group_capacity;
    ZSTD_CCtx *zstd;
    struct buffer page, packed, mended;
};

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for a Parquet file");
}

static status emit(struct parquet *self, const void *bytes, size_t length)
{
    self->offset += (int64_t)length;
    return self->write(self->context, bytes, length);
}

status parquet_create(const struct parquet_column *columns, size_t count, export_writer write,
                      void *context, struct parquet **out)
{
    struct parquet *self = calloc(1, sizeof *self);
    *out = NULL;
    if (self == NULL) {
        return no_memory();
    }
    *self =
        (struct parquet){.columns = columns, .count = count, .write = write, .context = context};
    self->chunks = calloc(count > 0 ? count : 1, sizeof *self->chunks);
    self->zstd = ZSTD_createCCtx();
    status s = self->chunks != NULL && self->zstd != NULL ? STATUS_OK : no_memory();
    if (s == STATUS_OK) {
        s = emit(self, magic, strlen(magic));
    }
    if (s != STATUS_OK) {
        parquet_destroy(self);
        return s;
    }
    *out = self;
    return STATUS_OK;
}

void parquet_destroy(struct parquet *self)
{
    if (self == NULL) {
        return;
    }
    for (size_t i = 0; self->chunks != NULL && i < self->count; i++) {
        buffer_destroy(&self->chunks[i].repetition.runs);
        buffer_destroy(&self->chunks[i].definition.runs);
        buffer_destroy(&self->chunks[i].values);
        buffer_destroy(&self->chunks[i].pages);
    }
    for (size_t i = 0; i < self->group_count; i++) {
        free(self->groups[i].places);
    }
    free(self->groups);
    free(self->chunks);
    ZSTD_freeCCtx(self->zstd);
    buffer_destroy(&self->page);
    buffer_destroy(&self->packed);
    buffer_destroy(&self->mended);
    free(self);
}

/* ---- Levels ---- */

/* A column's path down: it may be missing (level 1), its list has items (2), the items' lists have
 * some (3). A list in a list is always there. */
static int most_definition(const struct parquet_column *column)
{
    return 1 + column->lists;
}

/* Levels up to 3 take one byte of a run. */
static status end_run(struct levels *self)
{
    if (self->length == 0) {
        return STATUS_OK;
    }
    TRY(thrift_varint(&self->runs, self->length << 1));
    TRY(buffer_append_byte(&self->runs, (char)self->level));
    self->length = 0;
    return STATUS_OK;
}

static status add_level(struct levels *self, int level, uint64_t times)
{
    if (level != self->level) {
        TRY(end_run(self));
        self->level = level;
    }
    self->length += times;
    return STATUS_OK;
}

static status add_levels(struct parquet *self, size_t column, int repetition, int definition,
                         size_t times)
{
    struct parquet_chunk *chunk = &self->chunks[column];
    chunk->page_values += (int64_t)times;
    if (self->columns[column].lists > 0) {
        TRY(add_level(&chunk->repetition, repetition, times));
    }
    return add_level(&chunk->definition, definition, times);
}

/* ---- Values ---- */

static status append_little(struct buffer *out, uint64_t value, size_t size)
{
    char bytes[8];
    little_endian_put(bytes, value, size);
    return buffer_append(out, bytes, size);
}

static status append_bit(struct parquet_chunk *chunk, bool bit)
{
    chunk->bits |= (unsigned)bit << chunk->bit_count;
    if (++chunk->bit_count < 8) {
        return STATUS_OK;
    }
    const char byte = (char)chunk->bits;
    chunk->bits = chunk->bit_count = 0;
    return buffer_append_byte(&chunk->values, byte);
}

/* Readers refuse what is not UTF-8. */
static status append_text(struct parquet *self, struct buffer *out, const char *text, size_t length)
{
    if (!utf8_valid(text, length, NULL)) {
        buffer_clear(&self->mended);
        for (size_t at = 0, size; at < length; at += size) {
            const bool bad = utf8_decode(text + at, length - at, &size) < 0;
            TRY(buffer_append(&self->mended, bad ? "\xEF\xBF\xBD" : text + at, bad ? 3 : size));
        }
        text = self->mended.data;
        length = self->mended.length;
    }
    TRY(append_little(out, length, 4));
    return buffer_append(out, text, length);
}

static status append_value(struct parquet *self, size_t column, const void *bytes, size_t length)
{
    struct parquet_chunk *chunk = &self->chunks[column];
    uint32_t four;
    uint64_t eight;
    switch (self->columns[column].type) {
    case PARQUET_BOOLEAN:
        return append_bit(chunk, *(const bool *)bytes);
    case PARQUET_TEXT:
        return append_text(self, &chunk->values, length > 0 ? bytes : "", length);
    case PARQUET_INT32:
    case PARQUET_FLOAT:
        memcpy(&four, bytes, sizeof four);
        return append_little(&chunk->values, four, sizeof four);
    case PARQUET_INT64:
    case PARQUET_DOUBLE:
        memcpy(&eight, bytes, sizeof eight);
        return append_little(&chunk->values, eight, sizeof eight);
    }
    return STATUS_OK;
}

status parquet_put_nothing(struct parquet *self, size_t column)
{
    return add_levels(self, column, 0, 0, 1);
}

status parquet_put_value(struct parquet *self, size_t column, const void *bytes, size_t length)
{
    TRY(add_levels(self, column, 0, most_definition(&self->columns[column]), 1));
    return append_value(self, column, bytes, length);
}

/* The values of an innermost list, of which the first has this repetition level and the others the
 * column's deepest. */
static status put_items(struct parquet *self, size_t column, int repetition, const char *values,
                        size_t count)
{
    const struct parquet_column *facts = &self->columns[column];
    if (count == 0) {
        return add_levels(self, column, repetition, most_definition(facts) - 1, 1);
    }
    TRY(add_levels(self, column, repetition, most_definition(facts), 1));
    TRY(add_levels(self, column, facts->lists, most_definition(facts), count - 1));
    for (size_t i = 0; i < count; i++) {
        TRY(append_value(self, column, values + i * sizeof(uint32_t), sizeof(uint32_t)));
    }
    return STATUS_OK;
}

status parquet_put_list(struct parquet *self, size_t column, const void *values, size_t count)
{
    return put_items(self, column, 0, values, count);
}

status parquet_put_lists(struct parquet *self, size_t column, const void *values, size_t stride,
                         const size_t *sizes, size_t count)
{
    if (count == 0) {
        return add_levels(self, column, 0, 1, 1);
    }
    for (size_t i = 0; i < count; i++) {
        TRY(put_items(self, column, i > 0, (const char *)values + i * stride * sizeof(uint32_t),
                      sizes[i]));
    }
    return STATUS_OK;
}

/* ---- Pages ---- */

static status append_levels(struct levels *levels, struct buffer *page)
{
    TRY(end_run(levels));
    TRY(append_little(page, levels->runs.length, 4));
    TRY(buffer_append(page, levels->runs.data, levels->runs.length));
    buffer_clear(&levels->runs);
    return STATUS_OK;
}

static status write_page_header(const struct parquet_chunk *chunk, size_t unpacked, size_t packed,
                                struct buffer *out)
{
    struct thrift header = {.out = out}, data = {.out = out};
    TRY(thrift_int(&header, 1, THRIFT_I32, 0)); /* DATA_PAGE */
    TRY(thrift_int(&header, 2, THRIFT_I32, (int64_t)unpacked));
    TRY(thrift_int(&header, 3, THRIFT_I32, (int64_t)packed));
    TRY(thrift_struct(&header, 5));
    TRY(thrift_int(&data, 1, THRIFT_I32, chunk->page_values));
    TRY(thrift_int(&data, 2, THRIFT_I32, ENCODING_PLAIN));
    TRY(thrift_int(&data, 3, THRIFT_I32, ENCODING_RLE));
    TRY(thrift_int(&data, 4, THRIFT_I32, ENCODING_RLE));
    TRY(thrift_end(out));
    return thrift_end(out);
}

static status pack_page(struct parquet *self)
{
    const size_t most = ZSTD_compressBound(self->page.length);
    buffer_clear(&self->packed);
    TRY(buffer_reserve(&self->packed, most));
    const size_t length = ZSTD_compressCCtx(self->zstd, self->packed.data, most, self->page.data,
                                            self->page.length, ZSTD_LEVEL);
    if (ZSTD_isError(length)) {
        return status_fail(STATUS_INTERNAL, "Parquet: %s", ZSTD_getErrorName(length));
    }
    self->packed.length = length;
    return STATUS_OK;
}

static status end_page(struct parquet *self, size_t column)
{
    struct parquet_chunk *chunk = &self->chunks[column];
    const size_t before = chunk->pages.length;
    if (chunk->page_values == 0) {
        return STATUS_OK;
    }
    while (chunk->bit_count > 0) {
        TRY(append_bit(chunk, false));
    }
    buffer_clear(&self->page);
    if (self->columns[column].lists > 0) {
        TRY(append_levels(&chunk->repetition, &self->page));
    }
    TRY(append_levels(&chunk->definition, &self->page));
    TRY(buffer_append(&self->page, chunk->values.data, chunk->values.length));
    if (self->page.length > INT32_MAX) {
        return status_fail(STATUS_LIMIT, "column %s: a row is too large for Parquet",
                           self->columns[column].name);
    }
    TRY(pack_page(self));
    TRY(write_page_header(chunk, self->page.length, self->packed.length, &chunk->pages));
    chunk->unpacked_bytes += (int64_t)(chunk->pages.length - before + self->page.length);
    TRY(buffer_append(&chunk->pages, self->packed.data, self->packed.length));
    chunk->group_values += chunk->page_values;
    chunk->page_values = 0;
    buffer_clear(&chunk->values);
    self->group_bytes += (int64_t)(chunk->pages.length - before);
    return STATUS_OK;
}

/* ---- Row groups ---- */

static status add_group(struct parquet *self, struct parquet_group **out)
{
    void *groups = self->groups;
    status s =
        array_grow(&groups, &self->group_capacity, self->group_count + 1, sizeof *self->groups);
    self->groups = groups;
    TRY(s);
    struct parquet_group *group = &self->groups[self->group_count];
    *group = (struct parquet_group){
        .rows = self->group_rows,
        .places = calloc(self->count > 0 ? self->count : 1, sizeof *group->places)};
    if (group->places == NULL) {
        return no_memory();
    }
    self->group_count++;
    *out = group;
    return STATUS_OK;
}

static status end_group(struct parquet *self)
{
    struct parquet_group *group;
    if (self->group_rows == 0) {
        return STATUS_OK;
    }
    TRY(add_group(self, &group));
    for (size_t i = 0; i < self->count; i++) {
        struct parquet_chunk *chunk = &self->chunks[i];
        TRY(end_page(self, i));
        group->places[i] = (struct parquet_place){.offset = self->offset,
                                                  .values = chunk->group_values,
                                                  .unpacked = chunk->unpacked_bytes,
                                                  .packed = (int64_t)chunk->pages.length};
        group->bytes += chunk->unpacked_bytes;
        TRY(emit(self, chunk->pages.data, chunk->pages.length));
        buffer_clear(&chunk->pages);
        chunk->group_values = chunk->unpacked_bytes = 0;
    }
    self->group_rows = self->group_bytes = 0;
    return STATUS_OK;
}

status parquet_end_row(struct parquet *self)
{
    self->rows++;
    self->group_rows++;
    for (size_t i = 0; i < self->count; i++) {
        if (self->chunks[i].values.length >= PAGE_BYTES ||
            self->chunks[i].page_values >= PAGE_VALUES) {
            TRY(end_page(self, i));
        }
    }
    return self->group_bytes >= GROUP_BYTES || self->group_rows >= GROUP_ROWS ? end_group(self)
                                                                              : STATUS_OK;
}

/* ---- The footer ---- */

enum { REQUIRED = 0, OPTIONAL = 1, REPEATED = 2, CONVERTED_UTF8 = 0, CONVERTED_LIST = 3 };

/* An element of the schema; `children` -1: one that holds values. */
static status write_element(struct buffer *out, const char *name, int repetition, int type,
                            int children)
{
    struct thrift element = {.out = out};
    if (children < 0) {
        TRY(thrift_int(&element, 1, THRIFT_I32, type));
    }
    if (repetition >= 0) {
        TRY(thrift_int(&element, 3, THRIFT_I32, repetition));
    }
    TRY(thrift_text(&element, 4, name));
    if (children >= 0) {
        TRY(thrift_int(&element, 5, THRIFT_I32, children));
    }
    const bool is_text = children < 0 && type == PARQUET_TEXT;
    const bool is_list = children == 1 && repetition != REPEATED && repetition >= 0;
    if (is_text || is_list) {
        struct thrift logical = {.out = out};
        TRY(thrift_int(&element, 6, THRIFT_I32, is_text ? CONVERTED_UTF8 : CONVERTED_LIST));
        TRY(thrift_struct(&element, 10));
        TRY(thrift_struct(&logical, is_text ? 1 : 3)); /* STRING, LIST: empty structs */
        TRY(thrift_end(out));
        TRY(thrift_end(out));
    }
    return thrift_end(out);
}

/* A list is three elements: the list, its repeated group, and what stands in that. */
static status write_column_schema(struct buffer *out, const struct parquet_column *column)
{
    const char *name = column->name;
    int repetition = OPTIONAL;
    for (int i = 0; i < column->lists; i++) {
        TRY(write_element(out, name, repetition, 0, 1));
        TRY(write_element(out, "list", REPEATED, 0, 1));
        name = "element";
        repetition = REQUIRED;
    }
    return write_element(out, name, repetition, column->type, -1);
}

static status write_schema(const struct parquet *self, struct thrift *footer)
{
    size_t elements = 1;
    for (size_t i = 0; i < self->count; i++) {
        elements += 1 + 2 * (size_t)self->columns[i].lists;
    }
    TRY(thrift_list(footer, 2, THRIFT_STRUCT, elements));
    TRY(write_element(footer->out, "schema", -1, 0, (int)self->count));
    for (size_t i = 0; i < self->count; i++) {
        TRY(write_column_schema(footer->out, &self->columns[i]));
    }
    return STATUS_OK;
}

static status write_path(struct thrift *meta, const struct parquet_column *column)
{
    TRY(thrift_list(meta, 3, THRIFT_BINARY, 1 + 2 * (size_t)column->lists));
    TRY(thrift_item_text(meta->out, column->name));
    for (int i = 0; i < column->lists; i++) {
        TRY(thrift_item_text(meta->out, "list"));
        TRY(thrift_item_text(meta->out, "element"));
    }
    return STATUS_OK;
}

static status write_place(struct buffer *out, const struct parquet_column *column,
                          const struct parquet_place *place)
{
    struct thrift chunk = {.out = out}, meta = {.out = out};
    TRY(thrift_int(&chunk, 2, THRIFT_I64, place->offset));
    TRY(thrift_struct(&chunk, 3));
    TRY(thrift_int(&meta, 1, THRIFT_I32, column->type));
    TRY(thrift_list(&meta, 2, THRIFT_I32, 2));
    TRY(thrift_item_int(out, ENCODING_PLAIN));
    TRY(thrift_item_int(out, ENCODING_RLE));
    TRY(write_path(&meta, column));
    TRY(thrift_int(&meta, 4, THRIFT_I32, CODEC_ZSTD));
    TRY(thrift_int(&meta, 5, THRIFT_I64, place->values));
    TRY(thrift_int(&meta, 6, THRIFT_I64, place->unpacked));
    TRY(thrift_int(&meta, 7, THRIFT_I64, place->packed));
    TRY(thrift_int(&meta, 9, THRIFT_I64, place->offset));
    TRY(thrift_end(out));
    return thrift_end(out);
}

static status write_groups(const struct parquet *self, struct thrift *footer)
{
    TRY(thrift_list(footer, 4, THRIFT_STRUCT, self->group_count));
    for (size_t i = 0; i < self->group_count; i++) {
        const struct parquet_group *group = &self->groups[i];
        struct thrift element = {.out = footer->out};
        TRY(thrift_list(&element, 1, THRIFT_STRUCT, self->count));
        for (size_t j = 0; j < self->count; j++) {
            TRY(write_place(footer->out, &self->columns[j], &group->places[j]));
        }
        TRY(thrift_int(&element, 2, THRIFT_I64, group->bytes));
        TRY(thrift_int(&element, 3, THRIFT_I64, group->rows));
        TRY(thrift_end(footer->out));
    }
    return STATUS_OK;
}

static status write_notes(struct thrift *footer, const struct parquet_note *notes, size_t count)
{
    if (count == 0) {
        return STATUS_OK;
    }
    TRY(thrift_list(footer, 5, THRIFT_STRUCT, count));
    for (size_t i = 0; i < count; i++) {
        struct thrift pair = {.out = footer->out};
        TRY(thrift_text(&pair, 1, notes[i].key));
        TRY(thrift_text(&pair, 2, notes[i].value));
        TRY(thrift_end(footer->out));
    }
    return STATUS_OK;
}

static status write_footer(const struct parquet *self, const struct parquet_note *notes,
                           size_t count, struct buffer *out)
{
    struct thrift footer = {.out = out};
    TRY(thrift_int(&footer, 1, THRIFT_I32, 1));
    TRY(write_schema(self, &footer));
    TRY(thrift_int(&footer, 3, THRIFT_I64, self->rows));
    TRY(write_groups(self, &footer));
    TRY(write_notes(&footer, notes, count));
    TRY(thrift_text(&footer, 6, "sluice version " SLUICE_VERSION));
    TRY(thrift_end(out));
    TRY(append_little(out, out->length, 4));
    return buffer_append_text(out, magic);
}

status parquet_finish(struct parquet *self, const struct parquet_note *notes, size_t count)
{
    struct buffer footer = {0};
    TRY(end_group(self));
    status s = write_footer(self, notes, count, &footer);
    if (s == STATUS_OK) {
        s = emit(self, footer.data, footer.length);
    }
    buffer_destroy(&footer);
    return s;
}
