/* SPDX-License-Identifier: Apache-2.0 */
/* Results as lines of cells: CSV (RFC 4180, with \n at a line's end) with a line of names, and
 * plain texts, of which each result takes one line. */
#include <string.h>

#include "data/export/export.h"

struct cell_writer {
    const struct export_job *job;
    struct export_columns columns;
    struct buffer line, cell;
    status (*append)(struct buffer *line, const char *text, size_t length);
    char separator;
};

/* ---- Cells ---- */

static status append_csv(struct buffer *line, const char *text, size_t length)
{
    bool plain = length == 0 || (text[0] != ' ' && text[length - 1] != ' ');
    for (size_t i = 0; plain && i < length; i++) {
        plain = text[i] != ',' && text[i] != '"' && text[i] != '\n' && text[i] != '\r';
    }
    if (plain) {
        return buffer_append(line, text, length);
    }
    TRY(buffer_append_byte(line, '"'));
    for (size_t i = 0; i < length; i++) {
        TRY(text[i] == '"' ? buffer_append_text(line, "\"\"") : buffer_append_byte(line, text[i]));
    }
    return buffer_append_byte(line, '"');
}

/* What would end a line or a cell is written as in C, and so is the backslash. */
static status append_plain(struct buffer *line, const char *text, size_t length)
{
    static const char special[] = "\\\n\r\t", letters[] = "\\nrt";
    for (size_t i = 0; i < length; i++) {
        const char *found = text[i] != '\0' ? strchr(special, text[i]) : NULL;
        TRY(found != NULL ? buffer_format(line, "\\%c", letters[found - special])
                          : buffer_append_byte(line, text[i]));
    }
    return STATUS_OK;
}

/* A text as it is, anything else as JSON; what a result does not have is empty. */
static status write_cell(struct cell_writer *self, const struct export_column *column,
                         const struct stored_result *stored, const struct json *fields)
{
    struct buffer *cell = &self->cell;
    buffer_clear(cell);
    if (column->column == NULL) {
        const struct json *value = export_column_field(column, fields);
        if (value != NULL && value->type == JSON_STRING) {
            return self->append(&self->line, value->text, value->length);
        }
        TRY(value != NULL && value->type != JSON_NULL ? json_write(value, cell) : STATUS_OK);
    } else if (!export_has_value(self->job->reader, column->column, stored)) {
        return STATUS_OK;
    } else if (column->column->kind == COLUMN_TEXT) {
        const char *text = column_pointer(column->column, stored);
        return text == NULL
                   ? STATUS_OK
                   : self->append(&self->line, text, column_text_length(column->column, stored));
    } else if (column->column->kind == COLUMN_NAME &&
               column->column->member_bytes != sizeof(bool)) {
        const char *name = column->column->value_name(column_name_value(column->column, stored));
        return self->append(&self->line, name, strlen(name));
    } else {
        TRY(export_value(column->column, stored, export_asks_base64(fields), cell));
    }
    return cell->length > 0 ? self->append(&self->line, cell->data, cell->length) : STATUS_OK;
}

/* ---- Lines ---- */

static status write_line(void *context, const struct stored_result *stored,
                         const struct json *fields)
{
    struct cell_writer *self = context;
    buffer_clear(&self->line);
    for (size_t i = 0; i < self->columns.count; i++) {
        TRY(i > 0 ? buffer_append_byte(&self->line, self->separator) : STATUS_OK);
        TRY(write_cell(self, &self->columns.items[i], stored, fields));
    }
    TRY(buffer_append_byte(&self->line, '\n'));
    return self->job->write(self->job->context, self->line.data, self->line.length);
}

static status write_names(struct cell_writer *self)
{
    for (size_t i = 0; i < self->columns.count; i++) {
        const char *name = self->columns.items[i].name;
        TRY(i > 0 ? buffer_append_byte(&self->line, self->separator) : STATUS_OK);
        TRY(self->append(&self->line, name, strlen(name)));
    }
    TRY(buffer_append_byte(&self->line, '\n'));
    return self->job->write(self->job->context, self->line.data, self->line.length);
}

static void destroy(struct cell_writer *self)
{
    export_columns_destroy(&self->columns);
    buffer_destroy(&self->line);
    buffer_destroy(&self->cell);
}

status export_csv(const struct export_job *job)
{
    struct cell_writer self = {.job = job, .append = append_csv, .separator = ','};
    status s = export_columns_find(job, &self.columns);
    if (s == STATUS_OK) {
        s = write_names(&self);
    }
    if (s == STATUS_OK) {
        s = export_visit(job, self.columns.wanted, write_line, &self);
    }
    destroy(&self);
    return s;
}

/* The answers, unless other columns are chosen. */
status export_plain(const struct export_job *job)
{
    static const char *const answers[] = {"text"};
    struct export_options options = *job->options;
    struct export_job chosen = *job;
    if (options.column_count == 0) {
        options.columns = answers;
        options.column_count = COUNT_OF(answers);
    }
    chosen.options = &options;
    struct cell_writer self = {.job = &chosen, .append = append_plain, .separator = '\t'};
    status s = export_columns_find(&chosen, &self.columns);
    if (s == STATUS_OK) {
        s = export_visit(&chosen, self.columns.wanted, write_line, &self);
    }
    destroy(&self);
    return s;
}
