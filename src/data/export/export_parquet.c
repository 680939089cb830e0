/* SPDX-License-Identifier: Apache-2.0 */
/* Results as a Parquet table: the columns of ours with their types, the input's fields with those
 * that their values have in common. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/export/export.h"
#include "data/export/parquet.h"

struct parquet_exporter {
    const struct export_job *job;
    struct export_columns columns;
    struct parquet_column *types; /* [columns.count] */
    struct parquet *file;
    struct buffer cell;
    size_t *sizes; /* of the lists in a list */
    size_t size_capacity;
};

/* ---- Types ---- */

static enum parquet_type column_type(const struct result_column *column)
{
    switch (column->kind) {
    case COLUMN_INT32:
    case COLUMN_TOKEN_IDS:
        return PARQUET_INT32;
    case COLUMN_INT64:
        return PARQUET_INT64;
    case COLUMN_DOUBLE:
        return PARQUET_DOUBLE;
    case COLUMN_FLOATS:
        return PARQUET_FLOAT;
    case COLUMN_NAME:
        return column->member_bytes == sizeof(bool) ? PARQUET_BOOLEAN : PARQUET_TEXT;
    case COLUMN_TEXT:
        break;
    }
    return PARQUET_TEXT;
}

static enum parquet_type field_column_type(enum export_values type)
{
    return type == VALUES_BOOLEAN   ? PARQUET_BOOLEAN
           : type == VALUES_INTEGER ? PARQUET_INT64
           : type == VALUES_NUMBER  ? PARQUET_DOUBLE
                                    : PARQUET_TEXT;
}

static int count_lists(const struct result_column *column)
{
    return !column_is_array(column) ? 0 : column->shape != PER_RESULT && column->width != 0 ? 2 : 1;
}

static status choose_types(struct parquet_exporter *self)
{
    self->types =
        arena_allocate_array(&self->columns.arena, self->columns.count + 1, sizeof *self->types);
    if (self->types == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the columns of a Parquet file");
    }
    for (size_t i = 0; i < self->columns.count; i++) {
        const struct export_column *column = &self->columns.items[i];
        self->types[i] = (struct parquet_column){.name = column->name};
        if (column->column != NULL) {
            self->types[i].type = column_type(column->column);
            self->types[i].lists = count_lists(column->column);
        } else {
            self->types[i].type = field_column_type(column->type);
        }
    }
    return STATUS_OK;
}

/* ---- Values ---- */

static status put_field(struct parquet_exporter *self, size_t i, const struct json *value)
{
    const enum export_values type = self->columns.items[i].type;
    int64_t integer;
    double number;
    if (value == NULL || value->type == JSON_NULL) {
        return parquet_put_nothing(self->file, i);
    }
    if (type == VALUES_BOOLEAN) {
        return parquet_put_value(self->file, i, &value->boolean, sizeof value->boolean);
    }
    if (type == VALUES_INTEGER && json_int64(value, &integer)) {
        return parquet_put_value(self->file, i, &integer, sizeof integer);
    }
    if (type == VALUES_NUMBER && json_double(value, &number)) {
        return parquet_put_value(self->file, i, &number, sizeof number);
    }
    if (type == VALUES_TEXT) {
        return parquet_put_value(self->file, i, value->text, value->length);
    }
    if (type != VALUES_JSON) { /* a number beyond a double's range */
        return parquet_put_nothing(self->file, i);
    }
    buffer_clear(&self->cell);
    TRY(json_write(value, &self->cell));
    return parquet_put_value(self->file, i, self->cell.data, self->cell.length);
}

static status put_lists(struct parquet_exporter *self, size_t i, const struct result_column *column,
                        const struct stored_result *stored)
{
    const size_t items = column_items(column, stored);
    void *sizes = self->sizes;
    status s = array_grow(&sizes, &self->size_capacity, items + 1, sizeof *self->sizes);
    self->sizes = sizes;
    TRY(s);
    for (size_t item = 0; item < items; item++) {
        self->sizes[item] = export_count_used(column, stored, item);
    }
    return parquet_put_lists(self->file, i, column_pointer(column, stored),
                             (size_t)column_width(column, stored), self->sizes, items);
}

static status put_array(struct parquet_exporter *self, size_t i, const struct result_column *column,
                        const struct stored_result *stored)
{
    if (self->types[i].lists == 2) {
        return put_lists(self, i, column, stored);
    }
    const size_t count = column->shape == PER_RESULT ? (size_t)column_width(column, stored)
                                                     : column_items(column, stored);
    return parquet_put_list(self->file, i, column_pointer(column, stored), count);
}

static status put_text(struct parquet_exporter *self, size_t i, const struct result_column *column,
                       const struct stored_result *stored)
{
    const char *text = column_pointer(column, stored);
    return text != NULL ? parquet_put_value(self->file, i, text, column_text_length(column, stored))
                        : parquet_put_nothing(self->file, i);
}

static status put_column(struct parquet_exporter *self, size_t i,
                         const struct result_column *column, const struct stored_result *stored)
{
    if (!export_has_value(self->job->reader, column, stored)) {
        return parquet_put_nothing(self->file, i);
    }
    if (column_is_array(column)) {
        return put_array(self, i, column, stored);
    }
    if (column->kind == COLUMN_TEXT) {
        return put_text(self, i, column, stored);
    }
    if (column->kind == COLUMN_NAME && self->types[i].type == PARQUET_TEXT) {
        const char *name = column->value_name(column_name_value(column, stored));
        return parquet_put_value(self->file, i, name, strlen(name));
    }
    return parquet_put_value(self->file, i, column_member(column, stored), column->member_bytes);
}

static status put_row(void *context, const struct stored_result *stored, const struct json *fields)
{
    struct parquet_exporter *self = context;
    for (size_t i = 0; i < self->columns.count; i++) {
        const struct export_column *column = &self->columns.items[i];
        TRY(column->column != NULL ? put_column(self, i, column->column, stored)
                                   : put_field(self, i, export_column_field(column, fields)));
    }
    return parquet_end_row(self->file);
}

/* ---- The file ---- */

/* Where the table comes from, for those who have nothing else. */
static status finish(struct parquet_exporter *self)
{
    static const char *const names[] = {"created",   "model_path",  "model_weights_sha256",
                                        "data_path", "data_sha256", "job"};
    struct parquet_note notes[COUNT_OF(names)];
    char keys[COUNT_OF(names)][40];
    size_t count = 0;
    struct arena arena = {0};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const char *text = output_attribute_text(self->job->reader, names[i], &arena);
        if (text != NULL) {
            snprintf(keys[count], sizeof keys[count], "sluice.%s", names[i]);
            notes[count] = (struct parquet_note){keys[count], text};
            count++;
        }
    }
    status s = parquet_finish(self->file, notes, count);
    arena_destroy(&arena);
    return s;
}

static status write_file(struct parquet_exporter *self)
{
    const struct export_job *job = self->job;
    TRY(export_columns_find(job, &self->columns));
    TRY(choose_types(self));
    TRY(parquet_create(self->types, self->columns.count, job->write, job->context, &self->file));
    TRY(export_visit(job, self->columns.wanted, put_row, self));
    return finish(self);
}

status export_parquet(const struct export_job *job)
{
    struct parquet_exporter self = {.job = job};
    status s = write_file(&self);
    parquet_destroy(self.file);
    export_columns_destroy(&self.columns);
    buffer_destroy(&self.cell);
    free(self.sizes);
    return s;
}
