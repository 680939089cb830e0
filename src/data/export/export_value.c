/* SPDX-License-Identifier: Apache-2.0 */
/* Values of results as JSON, in whatever form they are exported. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/export/export.h"
#include "data/journal/little_endian.h"

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

static status write_floats(const float *values, size_t count, struct buffer *out)
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

status export_vector(const float *values, size_t width, bool base64, struct buffer *out)
{
    if (!base64) {
        return write_floats(values, width, out);
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

/* ---- A column's value ---- */

static status write_list(const struct result_column *column, const char *values, size_t count,
                         struct buffer *out)
{
    const void *items = values;
    return column->kind == COLUMN_TOKEN_IDS ? write_ids(out, items, count)
                                            : write_floats(items, count, out);
}

size_t export_count_used(const struct result_column *column, const struct stored_result *result,
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
                       export_count_used(column, result, item), out));
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
    if (column->json == JSON_TRUTH) {
        return buffer_append_text(out, column->value_name(value));
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
        return column->json == JSON_ID      ? export_id(&result->result, out)
               : column->json == JSON_VALUE ? buffer_append(out, column_pointer(column, result),
                                                            column_text_length(column, result))
                                            : export_text(column_pointer(column, result),
                                                          column_text_length(column, result), out);
    case COLUMN_TOKEN_IDS:
    case COLUMN_FLOATS:
        break;
    }
    return write_array(column, result, base64, out);
}

/* ---- Which there are ---- */

bool export_has_value(const struct output_reader *reader, const struct result_column *column,
                      const struct stored_result *result)
{
    switch (column->json) {
    case JSON_NOT:
    case JSON_THERE:
    case JSON_VALUE:
    case JSON_TRUTH:
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
