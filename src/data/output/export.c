/* SPDX-License-Identifier: Apache-2.0 */
/* Results of an output file as lines of JSON: our own form, and what it shares with others. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/journal/little_endian.h"
#include "data/output/export.h"

struct exporter {
    const char *path; /* for messages */
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

/* RFC 4648. */
static status write_base64(const unsigned char *bytes, size_t length, struct buffer *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < length; i += 3) {
        size_t left = length - i;
        uint32_t three = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                         (left > 2 ? (uint32_t)bytes[i + 2] : 0);
        const char four[4] = {digits[three >> 18], digits[three >> 12 & 63],
                              left > 1 ? digits[three >> 6 & 63] : '=',
                              left > 2 ? digits[three & 63] : '='};
        TRY(buffer_append(out, four, sizeof four));
    }
    return STATUS_OK;
}

bool export_asks_base64(const struct json *fields)
{
    const struct json *body = json_get(fields, "body");
    return json_is_string(json_get(body, "encoding_format"), "base64");
}

status export_embedding(const struct result *result, bool base64, struct buffer *out)
{
    size_t width = (size_t)result->embedding_width;
    if (!base64) {
        return export_floats(result->embedding, width, out);
    }
    /* float32, little-endian, whatever this machine has. */
    struct buffer bytes = {0};
    status s = buffer_reserve(&bytes, 4 * width);
    for (size_t i = 0; s == STATUS_OK && i < width; i++) {
        uint32_t bits;
        memcpy(&bits, &result->embedding[i], sizeof bits);
        wire_put(bytes.data + 4 * i, bits, 4);
    }
    if (s == STATUS_OK) {
        s = buffer_append_byte(out, '"');
    }
    if (s == STATUS_OK) {
        s = write_base64((const unsigned char *)bytes.data, 4 * width, out);
    }
    buffer_destroy(&bytes);
    return s == STATUS_OK ? buffer_append_byte(out, '"') : s;
}

/* `,"name":` and the opening of a value. */
static status begin_field(struct buffer *out, const char *name)
{
    return buffer_format(out, ",\"%s\":", name);
}

static status write_text_field(struct buffer *out, const char *name, const char *text,
                               size_t length)
{
    TRY(begin_field(out, name));
    return export_text(text, length, out);
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

size_t export_top_count(const struct result *result, int32_t token)
{
    const int32_t *ids = result->top_ids + (size_t)token * (size_t)result->top_logprobs;
    size_t count = 0;
    while (count < (size_t)result->top_logprobs && ids[count] >= 0) {
        count++;
    }
    return count;
}

/* ---- JSON lines ---------------------------------------------------------------------------------
 */

static const char *const own_names[] = {"id",
                                        "row",
                                        "sample",
                                        "prompt",
                                        "text",
                                        "error",
                                        "token_ids",
                                        "logprobs",
                                        "top_logprob_ids",
                                        "top_logprob_values",
                                        "embedding",
                                        "logprob_sum",
                                        "logprob_mean",
                                        "finish_reason",
                                        "prompt_tokens",
                                        "completion_tokens"};

static bool is_own_name(const char *name, size_t length)
{
    for (size_t i = 0; i < COUNT_OF(own_names); i++) {
        if (strlen(own_names[i]) == length && memcmp(own_names[i], name, length) == 0) {
            return true;
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
static status choose_name(const struct result *result, const struct json *fields,
                          const struct json_member *member, struct buffer *name)
{
    static const char prefix[] = "input_";
    TRY(buffer_append(name, member->key, member->key_length));
    bool is_ours = is_own_name(name->data, name->length) ||
                   (result->file != NULL && strcmp(name->data, "file") == 0) ||
                   (result->arithmetic != NULL && strcmp(name->data, "arithmetic") == 0);
    if (!is_ours) {
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

static status write_passthrough(struct exporter *exporter, const struct result *result,
                                const struct json *fields)
{
    for (size_t i = 0; fields != NULL && i < fields->length; i++) {
        struct buffer *name = &exporter->name;
        buffer_clear(name);
        TRY(choose_name(result, fields, &fields->members[i], name));
        TRY(buffer_append_byte(&exporter->line, ','));
        TRY(json_write_string(name->data, name->length, &exporter->line));
        TRY(buffer_append_byte(&exporter->line, ':'));
        TRY(json_write(fields->members[i].value, &exporter->line));
    }
    return STATUS_OK;
}

static status write_token_fields(struct buffer *line, const struct result *result,
                                 const struct json *fields)
{
    size_t tokens = (size_t)result->completion_tokens;
    if (result->embedding != NULL) {
        TRY(begin_field(line, "embedding"));
        TRY(export_embedding(result, export_asks_base64(fields), line));
    }
    if (result->has_scores) {
        TRY(buffer_format(line, ",\"logprob_sum\":%.17g,\"logprob_mean\":%.17g",
                          result->logprob_sum, result->logprob_mean));
    }
    if (result->token_ids != NULL) {
        TRY(begin_field(line, "token_ids"));
        TRY(write_ids(line, result->token_ids, tokens));
    }
    if (result->logprobs != NULL) {
        TRY(begin_field(line, "logprobs"));
        TRY(export_floats(result->logprobs, tokens, line));
    }
    if (result->top_ids == NULL || result->top_values == NULL) {
        return STATUS_OK;
    }
    for (int values = 0; values < 2; values++) {
        TRY(begin_field(line, values == 0 ? "top_logprob_ids" : "top_logprob_values"));
        TRY(buffer_append_byte(line, '['));
        for (int32_t i = 0; i < result->completion_tokens; i++) {
            size_t at = (size_t)i * (size_t)result->top_logprobs;
            size_t count = export_top_count(result, i);
            if (i > 0) {
                TRY(buffer_append_byte(line, ','));
            }
            TRY(values == 0 ? write_ids(line, result->top_ids + at, count)
                            : export_floats(result->top_values + at, count, line));
        }
        TRY(buffer_append_byte(line, ']'));
    }
    return STATUS_OK;
}

static status export_line(void *context, const struct result *result)
{
    struct exporter *exporter = context;
    struct buffer *line = &exporter->line;
    buffer_clear(line);
    TRY(buffer_append_text(line, "{\"id\":"));
    TRY(export_id(result, line));
    TRY(buffer_format(line, ",\"row\":%lld,\"sample\":%d", (long long)result->row, result->sample));
    if (result->file != NULL) {
        TRY(write_text_field(line, "file", result->file, strlen(result->file)));
    }
    if (result->arithmetic != NULL) {
        TRY(write_text_field(line, "arithmetic", result->arithmetic, result->arithmetic_length));
    }
    if (result->prompt != NULL) {
        TRY(write_text_field(line, "prompt", result->prompt, result->prompt_length));
    }
    TRY(write_text_field(line, "text", result->text, result->text_length));
    TRY(buffer_format(line,
                      ",\"finish_reason\":\"%s\",\"prompt_tokens\":%d,\"completion_tokens\":%d",
                      finish_reason_name(result->finish_reason), result->prompt_tokens,
                      result->completion_tokens));
    if (result->error_length > 0) {
        TRY(write_text_field(line, "error", result->error, result->error_length));
    }
    const struct json *fields;
    TRY(export_passthrough(exporter->path, result, &exporter->arena, &fields));
    TRY(write_token_fields(line, result, fields));
    TRY(write_passthrough(exporter, result, fields));
    TRY(buffer_append_text(line, "}\n"));
    return exporter->write(exporter->context, line->data, line->length);
}

status output_export(struct output_reader *reader, enum export_format format, line_writer write,
                     void *context)
{
    if (format == EXPORT_OPENAI) {
        return output_export_openai(reader, write, context);
    }
    struct exporter exporter = {
        .path = output_reader_path(reader), .write = write, .context = context};
    status s = output_visit(reader, export_line, &exporter);
    buffer_destroy(&exporter.line);
    buffer_destroy(&exporter.name);
    arena_destroy(&exporter.arena);
    return s;
}
