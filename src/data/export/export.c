/* SPDX-License-Identifier: Apache-2.0 */
/* Results of an output file as lines of JSON: our own form, and what it shares with others. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/export/export.h"
#include "data/journal/little_endian.h"

struct exporter {
    const struct output_reader *reader;
    line_writer write;
    void *context;
    struct buffer line, name; /* name: of a field of the input */
    struct arena arena;       /* of a line's passthrough */
};

status export_float(float value, struct buffer *out)
{
    char text[32];
    if (!isfinite(value)) {
        return buffer_append_text(out, "null");
    }
    if (value == floorf(value) && fabsf(value) < 1e15f) { /* 40, not 4e+01 */
        snprintf(text, sizeof text, "%.0f", (double)value);
        return buffer_append_text(out, text);
    }
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) {
            break;
        }
    }
    return buffer_append_text(out, text);
}

status export_text(const char *text, size_t length, struct buffer *out)
{
    return json_write_string(text != NULL ? text : "", text != NULL ? length : 0, out);
}

static size_t count_digits(const char *text)
{
    return strspn(text, "0123456789");
}

/* Whether the NUL-terminated text is one number of JSON, which a line may have as it is. */
static bool is_number(const char *text, size_t length)
{
    const char *at = text + (text[0] == '-');
    size_t digits = count_digits(at);
    bool valid = digits > 0 && (at[0] != '0' || digits == 1);
    at += digits;
    if (at[0] == '.') {
        digits = count_digits(at + 1);
        valid = valid && digits > 0;
        at += 1 + digits;
    }
    if (at[0] == 'e' || at[0] == 'E') {
        at += 1 + (at[1] == '+' || at[1] == '-');
        digits = count_digits(at);
        valid = valid && digits > 0;
        at += digits;
    }
    return valid && at == text + length;
}

status export_id(const struct result *result, struct buffer *out)
{
    return result->id_is_number && result->id != NULL && is_number(result->id, result->id_length)
               ? buffer_append(out, result->id, result->id_length)
               : export_text(result->id, result->id_length, out);
}

bool export_asks_base64(const struct json *fields)
{
    const struct json *body = json_get(fields, "body");
    return json_is_string(json_get(body, "encoding_format"), "base64");
}

status export_vector(const float *values, size_t width, bool base64, struct buffer *out)
{
    if (!base64) {
        return export_floats(values, width, out);
    }
    /* float32, little-endian, whatever this machine has. */
    struct buffer bytes = {0};
    status s = buffer_reserve(&bytes, 4 * width);
    for (size_t i = 0; s == STATUS_OK && i < width; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        little_endian_put(bytes.data + 4 * i, bits, 4);
    }
    if (s == STATUS_OK) {
        s = buffer_append_byte(out, '"');
    }
    if (s == STATUS_OK) {
        s = base64_encode(bytes.data, 4 * width, out);
    }
    buffer_destroy(&bytes);
    return s == STATUS_OK ? buffer_append_byte(out, '"') : s;
}

static status write_ids(struct buffer *out, const int32_t *ids, size_t count)
{
    TRY(buffer_append_byte(out, '['));
    for (size_t i = 0; i < count; i++) {
        TRY(buffer_format(out, "%s%d", i > 0 ? "," : "", ids[i]));
    }
    return buffer_append_byte(out, ']');
}

status export_floats(const float *values, size_t count, struct buffer *out)
{
    TRY(buffer_append_byte(out, '['));
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            TRY(buffer_append_byte(out, ','));
        }
        TRY(export_float(values[i], out));
    }
    return buffer_append_byte(out, ']');
}

/* ---- A column's value ---- */

static status write_list(const struct result_column *column, const char *values, size_t count,
                         struct buffer *out)
{
    const void *items = values;
    return column->kind == COLUMN_TOKEN_IDS ? write_ids(out, items, count)
                                            : export_floats(items, count, out);
}

/* How many values of an item's list are used, which are those of the first column with its bit. */
static size_t count_used(const struct result_column *column, const struct stored_result *result,
                         size_t item)
{
    const struct result_column *leader = column_leader(column);
    size_t width = (size_t)column_width(leader, result), count = 0;
    const char *values =
        (const char *)column_pointer(leader, result) + item * width * sizeof(int32_t);
    while (count < width && !column_is_fill(leader, values + count * sizeof(int32_t))) {
        count++;
    }
    return count;
}

static status write_lists(const struct result_column *column, const struct stored_result *result,
                          struct buffer *out)
{
    size_t width = (size_t)column_width(column, result);
    const char *values = column_pointer(column, result);
    TRY(buffer_append_byte(out, '['));
    for (size_t item = 0; item < column_items(column, result); item++) {
        if (item > 0) {
            TRY(buffer_append_byte(out, ','));
        }
        TRY(write_list(column, values + item * width * sizeof(int32_t),
                       count_used(column, result, item), out));
    }
    return buffer_append_byte(out, ']');
}

static status write_array(const struct result_column *column, const struct stored_result *result,
                          bool base64, struct buffer *out)
{
    const void *values = column_pointer(column, result);
    if (column->shape == PER_RESULT) {
        size_t width = (size_t)column_width(column, result);
        return column->kind == COLUMN_FLOATS ? export_vector(values, width, base64, out)
                                             : write_ids(out, values, width);
    }
    return column->width != 0 ? write_lists(column, result, out)
                              : write_list(column, values, column_items(column, result), out);
}

static status write_name(const struct result_column *column, const struct stored_result *result,
                         struct buffer *out)
{
    int value = column_name_value(column, result);
    if (column->member_bytes == sizeof(bool)) {
        return buffer_append_text(out, value != 0 ? "true" : "false");
    }
    return buffer_format(out, "\"%s\"", column->value_name(value));
}

status export_value(const struct result_column *column, const struct stored_result *result,
                    bool base64, struct buffer *out)
{
    const void *member = column_member(column, result);
    switch (column->kind) {
    case COLUMN_INT32:
        return buffer_format(out, "%d", *(const int32_t *)member);
    case COLUMN_INT64:
        return buffer_format(out, "%lld", (long long)*(const int64_t *)member);
    case COLUMN_DOUBLE:
        return buffer_format(out, "%.17g", *(const double *)member);
    case COLUMN_NAME:
        return write_name(column, result, out);
    case COLUMN_TEXT:
        return column->json == JSON_ID ? export_id(&result->result, out)
                                       : export_text(column_pointer(column, result),
                                                     column_text_length(column, result), out);
    case COLUMN_TOKEN_IDS:
    case COLUMN_FLOATS:
        break;
    }
    return write_array(column, result, base64, out);
}

/* ---- JSON lines ---- */

/* Whether a line may have a member of ours with this name: one that it could always have had, or
 * that it has. */
static bool is_own_name(const struct stored_result *stored, const struct buffer *name)
{
    for (size_t i = 0; i < result_column_count; i++) {
        const struct result_column *column = &result_columns[i];
        if (column->json != JSON_NOT && strlen(column->name) == name->length &&
            memcmp(column->name, name->data, name->length) == 0) {
            return column->has_name || column_is_there(column, stored);
        }
    }
    return false;
}

static bool is_member(const struct json *fields, const char *name, size_t length)
{
    for (size_t i = 0; i < fields->length; i++) {
        if (fields->members[i].key_length == length &&
            memcmp(fields->members[i].key, name, length) == 0) {
            return true;
        }
    }
    return false;
}

/* The name under which a field of the input is exported: its own, or with "input_" before it, as
 * often as it takes, where a field of ours has that name. */
static status choose_name(const struct stored_result *stored, const struct json *fields,
                          const struct json_member *member, struct buffer *name)
{
    static const char prefix[] = "input_";
    TRY(buffer_append(name, member->key, member->key_length));
    if (!is_own_name(stored, name)) {
        return STATUS_OK;
    }
    do {
        TRY(buffer_reserve(name, strlen(prefix)));
        memmove(name->data + strlen(prefix), name->data, name->length + 1);
        memcpy(name->data, prefix, strlen(prefix));
        name->length += strlen(prefix);
    } while (is_member(fields, name->data, name->length));
    return STATUS_OK;
}

status export_passthrough(const char *path, const struct result *result, struct arena *arena,
                          const struct json **out)
{
    *out = NULL;
    arena_reset(arena);
    if (result->passthrough == NULL || result->passthrough_length == 0) {
        return STATUS_OK;
    }
    struct json *fields;
    TRY(status_context(json_parse(result->passthrough, result->passthrough_length, arena, &fields),
                       "%s: row %lld: passthrough", path, (long long)result->row));
    if (fields->type != JSON_OBJECT) {
        return status_fail(STATUS_INVALID, "%s: row %lld: passthrough: expected an object, not %s",
                           path, (long long)result->row, json_type_name(fields->type));
    }
    *out = fields;
    return STATUS_OK;
}

static status write_passthrough(struct exporter *exporter, const struct stored_result *stored,
                                const struct json *fields)
{
    for (size_t i = 0; fields != NULL && i < fields->length; i++) {
        struct buffer *name = &exporter->name;
        buffer_clear(name);
        TRY(choose_name(stored, fields, &fields->members[i], name));
        TRY(buffer_append_byte(&exporter->line, ','));
        TRY(json_write_string(name->data, name->length, &exporter->line));
        TRY(buffer_append_byte(&exporter->line, ':'));
        TRY(json_write(fields->members[i].value, &exporter->line));
    }
    return STATUS_OK;
}

static bool is_written(const struct output_reader *reader, const struct result_column *column,
                       const struct stored_result *result)
{
    switch (column->json) {
    case JSON_NOT:
        return false;
    case JSON_THERE:
        return (column->path == NULL || output_reader_has(reader, column)) &&
               column_is_there(column, result);
    case JSON_FILLED:
        return column_text_length(column, result) > 0;
    case JSON_ALWAYS:
    case JSON_ID:
        break;
    }
    return true;
}

static status export_line(void *context, const struct result *result)
{
    struct exporter *exporter = context;
    struct buffer *line = &exporter->line;
    const struct stored_result stored = {.result = *result};
    const struct json *fields;
    const char *separator = "{";
    TRY(export_passthrough(output_reader_path(exporter->reader), result, &exporter->arena,
                           &fields));
    buffer_clear(line);
    for (size_t i = 0; i < result_column_count; i++) {
        const struct result_column *column = &result_columns[i];
        if (is_written(exporter->reader, column, &stored)) {
            TRY(buffer_format(line, "%s\"%s\":", separator, column->name));
            TRY(export_value(column, &stored, export_asks_base64(fields), line));
            separator = ",";
        }
    }
    TRY(write_passthrough(exporter, &stored, fields));
    TRY(buffer_append_text(line, "}\n"));
    return exporter->write(exporter->context, line->data, line->length);
}

status output_export(struct output_reader *reader, enum export_format format, line_writer write,
                     void *context)
{
    if (format == EXPORT_OPENAI) {
        return output_export_openai(reader, write, context);
    }
    struct exporter exporter = {.reader = reader, .write = write, .context = context};
    status s = output_visit(reader, export_line, &exporter);
    buffer_destroy(&exporter.line);
    buffer_destroy(&exporter.name);
    arena_destroy(&exporter.arena);
    return s;
}
