/* SPDX-License-Identifier: Apache-2.0 */
/* Results one by one, those that are wanted, each with the fields of its row: those that the output
 * has kept, or all that stand in the input, which is then walked beside it. */
#include <string.h>

#include "data/export/export.h"

enum { PROGRESS_RESULTS = 1024 };

struct source {
    const struct export_job *job;
    struct output_cursor *cursor;
    struct record_reader *input; /* NULL: the fields that the output has */
    struct record record;
    bool at_record; /* `record` is the row of `fields` */
    struct arena arena;
    const struct json *fields;
};

/* ---- Fields that the output has kept ---- */

static status read_passthrough(struct source *self, const struct result *result)
{
    const char *path = output_reader_path(self->job->reader);
    struct json *fields;
    self->fields = NULL;
    arena_reset(&self->arena);
    if (result->passthrough == NULL || result->passthrough_length == 0) {
        return STATUS_OK;
    }
    TRY(status_context(
        json_parse(result->passthrough, result->passthrough_length, &self->arena, &fields),
        "%s: row %lld: passthrough", path, (long long)result->row));
    if (fields->type != JSON_OBJECT) {
        return status_fail(STATUS_INVALID, "%s: row %lld: passthrough: expected an object, not %s",
                           path, (long long)result->row, json_type_name(fields->type));
    }
    self->fields = fields;
    return STATUS_OK;
}

/* ---- Fields of the input ---- */

/* The record as the JSON of a row, where it is not that already. */
static status write_record(const struct record *record, struct buffer *out)
{
    const char *bytes = record->bytes.data;
    if (record->kind == RECORD_TEXT) {
        TRY(buffer_append_text(out, "{\"prompt\":"));
        TRY(json_write_string(bytes, record->bytes.length, out));
        return buffer_append_byte(out, '}');
    }
    TRY(buffer_append_text(out, "{\"prompt_token_ids\":["));
    for (size_t i = 0; i < record->bytes.length / sizeof(int32_t); i++) {
        int32_t id;
        memcpy(&id, bytes + i * sizeof id, sizeof id);
        TRY(buffer_format(out, "%s%d", i > 0 ? "," : "", id));
    }
    return buffer_append_text(out, "]}");
}

/* A line that is no JSON, of which the result says so, has no fields. */
static status parse_record(struct source *self)
{
    const struct record *record = &self->record;
    struct buffer made = {0};
    struct json *value = NULL;
    status s = STATUS_OK;
    if (record->kind == RECORD_TEXT || record->kind == RECORD_TOKENS) {
        s = write_record(record, &made);
    }
    const struct buffer *text = record->kind == RECORD_JSON ? &record->bytes : &made;
    if (s == STATUS_OK && text->length > 0) {
        s = json_parse(text->data, text->length, &self->arena, &value);
        s = s == STATUS_INVALID ? STATUS_OK : s;
    }
    buffer_destroy(&made);
    self->fields = s == STATUS_OK && value != NULL && value->type == JSON_OBJECT ? value : NULL;
    return s;
}

/* Takes the member with the id out of the fields: it is a column. */
static void drop_id(struct source *self, const struct result *result)
{
    const char *named = self->job->options->id_field;
    const char *const names[] = {named != NULL ? named : "id", named != NULL ? named : "custom_id"};
    struct json *fields = (struct json *)(uintptr_t)self->fields; /* of the own arena */
    for (size_t i = 0; fields != NULL && i < fields->length; i++) {
        const struct json_member *member = &fields->members[i];
        const struct json *value = member->value;
        const bool is_named =
            strcmp(member->key, names[0]) == 0 || strcmp(member->key, names[1]) == 0;
        if (is_named && (value->type == JSON_STRING || value->type == JSON_NUMBER) &&
            value->length == result->id_length &&
            memcmp(value->text, result->id, value->length) == 0) {
            memmove(&fields->members[i], &fields->members[i + 1],
                    (fields->length - i - 1) * sizeof *fields->members);
            fields->length--;
            return;
        }
    }
}

static status read_record(struct source *self, const struct result *result)
{
    if (self->at_record && self->record.row == result->row) {
        return STATUS_OK; /* another sample */
    }
    bool more = true;
    do {
        TRY(record_reader_next(self->input, &self->record, &more));
    } while (more && self->record.row < result->row);
    if (!more || self->record.row != result->row) {
        return status_fail(STATUS_INVALID, "the input has no row %lld", (long long)result->row);
    }
    self->at_record = true;
    arena_reset(&self->arena);
    TRY(parse_record(self));
    drop_id(self, result);
    return STATUS_OK;
}

/* ---- The walk ---- */

static status open_source(struct source *self, const bool *wanted)
{
    const struct export_options *options = self->job->options;
    TRY(output_cursor_open(self->job->reader, &self->cursor));
    output_cursor_only(self->cursor, wanted);
    return options->input != NULL ? record_reader_open(options->input, &self->input) : STATUS_OK;
}

static status walk(struct source *self, export_visitor visit, void *context)
{
    const struct export_options *options = self->job->options;
    const struct stored_result *stored;
    for (int64_t done = 1;; done++) {
        TRY(output_cursor_next_stored(self->cursor, &stored));
        if (options->progress != NULL && (stored == NULL || done % PROGRESS_RESULTS == 0)) {
            options->progress(options->progress_context, done - (stored == NULL));
        }
        if (stored == NULL) {
            return STATUS_OK;
        }
        if (export_where_takes(&options->where, &stored->result)) {
            TRY(self->input != NULL ? read_record(self, &stored->result)
                                    : read_passthrough(self, &stored->result));
            TRY(visit(context, stored, self->fields));
        }
    }
}

status export_visit(const struct export_job *job, const bool *wanted, export_visitor visit,
                    void *context)
{
    struct source self = {.job = job};
    status s = open_source(&self, wanted);
    if (s == STATUS_OK) {
        s = walk(&self, visit, context);
    }
    output_cursor_close(self.cursor);
    if (self.input != NULL) {
        record_reader_close(self.input);
    }
    buffer_destroy(&self.record.bytes);
    arena_destroy(&self.arena);
    return s;
}
