/* SPDX-License-Identifier: Apache-2.0 */
/* Results of an output file as lines of JSON: our own form. */
#include <string.h>

#include "data/export/export.h"

struct jsonl_exporter {
    const struct export_job *job;
    struct export_columns columns; /* that were chosen */
    struct buffer line, name;      /* name: of a field of the input */
    const char *separator;
};

static status write_column(struct jsonl_exporter *self, const char *name,
                           const struct result_column *column, const struct stored_result *stored,
                           const struct json *fields)
{
    if (!export_has_value(self->job->reader, column, stored)) {
        return STATUS_OK;
    }
    TRY(buffer_format(&self->line, "%s\"%s\":", self->separator, name));
    self->separator = ",";
    return export_value(column, stored, export_asks_base64(fields), &self->line);
}

static status write_field(struct jsonl_exporter *self, const char *name, size_t length,
                          const struct json *value)
{
    TRY(buffer_append_text(&self->line, self->separator));
    self->separator = ",";
    TRY(json_write_string(name, length, &self->line));
    TRY(buffer_append_byte(&self->line, ':'));
    return json_write(value, &self->line);
}

static status write_all(struct jsonl_exporter *self, const struct stored_result *stored,
                        const struct json *fields)
{
    for (size_t i = 0; i < result_column_count; i++) {
        const struct result_column *column = &result_columns[i];
        if (column->json != JSON_NOT) {
            TRY(write_column(self, column->name, column, stored, fields));
        }
    }
    for (size_t i = 0; fields != NULL && i < fields->length; i++) {
        struct buffer *name = &self->name;
        buffer_clear(name);
        TRY(export_field_name(self->job, stored, fields, &fields->members[i], name));
        TRY(write_field(self, name->data, name->length, fields->members[i].value));
    }
    return STATUS_OK;
}

static status write_chosen(struct jsonl_exporter *self, const struct stored_result *stored,
                           const struct json *fields)
{
    for (size_t i = 0; i < self->columns.count; i++) {
        const struct export_column *column = &self->columns.items[i];
        const struct json *value = export_column_field(column, fields);
        if (column->column != NULL) {
            TRY(write_column(self, column->name, column->column, stored, fields));
        } else if (value != NULL) {
            TRY(write_field(self, column->name, strlen(column->name), value));
        }
    }
    return STATUS_OK;
}

static status export_line(void *context, const struct stored_result *stored,
                          const struct json *fields)
{
    struct jsonl_exporter *self = context;
    struct buffer *line = &self->line;
    buffer_clear(line);
    TRY(buffer_append_byte(line, '{'));
    self->separator = "";
    TRY(self->columns.count > 0 ? write_chosen(self, stored, fields)
                                : write_all(self, stored, fields));
    TRY(buffer_append_text(line, "}\n"));
    return self->job->write(self->job->context, line->data, line->length);
}

status export_jsonl(const struct export_job *job)
{
    struct jsonl_exporter self = {.job = job};
    const bool chooses = job->options->column_count > 0;
    status s = chooses ? export_columns_find(job, &self.columns) : STATUS_OK;
    if (s == STATUS_OK) {
        s = export_visit(job, chooses ? self.columns.wanted : NULL, export_line, &self);
    }
    export_columns_destroy(&self.columns);
    buffer_destroy(&self.line);
    buffer_destroy(&self.name);
    return s;
}
