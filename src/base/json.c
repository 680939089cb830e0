/* SPDX-License-Identifier: Apache-2.0 */
/* JSON tree over YAJL's event parser, and the writer. */
#include "sluice/json.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

/* While a container is open its children are collected in one shared stack and copied to the arena
 * when it closes. */
struct open_container {
    struct json *value;
    size_t first_child; /* index into builder.children */
};

struct builder {
    struct arena *arena;
    struct json *root;
    struct open_container stack[JSON_MAX_DEPTH];
    size_t depth;
    struct json_member *children; /* malloc'ed; arrays leave the key NULL */
    size_t child_count, child_capacity;
    const char *key; /* the key read last, waiting for its value */
    size_t key_length;
    yajl_handle parser;
    size_t end;       /* of the root; 0 until it is there */
    bool last_counts; /* of members with the same key; else they are an error */
    status failure;
};

static int builder_fail(struct builder *builder, status s)
{
    builder->failure = s;
    return 0;
}

static int builder_no_memory(struct builder *builder)
{
    return builder_fail(builder, status_fail(STATUS_NO_MEMORY, "out of memory for JSON"));
}

/* YAJL takes the beginning of a string behind the root for nothing. */
static void builder_note_end(struct builder *builder)
{
    if (builder->depth == 0) {
        builder->end = yajl_get_bytes_consumed(builder->parser);
    }
}

static struct json *builder_add(struct builder *builder, enum json_type type)
{
    struct json *value = arena_allocate(builder->arena, sizeof *value);
    if (value == NULL) {
        builder_no_memory(builder);
        return NULL;
    }
    value->type = type;
    if (builder->depth == 0) {
        builder->root = value;
        builder_note_end(builder);
        return value;
    }
    void *children = builder->children;
    status s = array_grow(&children, &builder->child_capacity, builder->child_count + 1,
                          sizeof *builder->children);
    builder->children = children;
    if (s != STATUS_OK) {
        builder_fail(builder, s);
        return NULL;
    }
    builder->children[builder->child_count++] =
        (struct json_member){builder->key, builder->key_length, value};
    builder->key = NULL;
    return value;
}

static int on_null(void *context)
{
    return builder_add(context, JSON_NULL) != NULL;
}

static int on_boolean(void *context, int boolean)
{
    struct json *value = builder_add(context, JSON_BOOLEAN);
    if (value != NULL) {
        value->boolean = boolean != 0;
    }
    return value != NULL;
}

static int on_text(struct builder *builder, enum json_type type, const char *text, size_t length)
{
    struct json *value = builder_add(builder, type);
    if (value == NULL) {
        return 0;
    }
    value->length = length;
    value->text = arena_copy(builder->arena, text, length);
    return value->text != NULL ? 1 : builder_no_memory(builder);
}

static int on_number(void *context, const char *text, size_t length)
{
    return on_text(context, JSON_NUMBER, text, length);
}

/* ---- NaN and infinities ---- */

/* YAJL knows none of them. Before it reads the text they become strings of the same length that no
 * valid UTF-8 can hold, so that offsets in messages stay true. */

enum { NOT_FINITE_MARK = 0xff };

static const char *const not_finite_names[] = {"NaN", "Infinity", "-Infinity"};

/* The name that stands at text[at], or NULL. */
static const char *not_finite_at(const char *text, size_t length, size_t at)
{
    for (size_t i = 0; i < COUNT_OF(not_finite_names); i++) {
        size_t bytes = strlen(not_finite_names[i]);
        if (length - at >= bytes && memcmp(text + at, not_finite_names[i], bytes) == 0) {
            return not_finite_names[i];
        }
    }
    return NULL;
}

static void mark_not_finite(char *text, size_t length)
{
    bool quoted = false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '"') {
            quoted = !quoted;
        } else if (quoted) {
            i += text[i] == '\\';
        } else if (text[i] == 'N' || text[i] == 'I' || text[i] == '-') {
            const char *name = not_finite_at(text, length, i);
            if (name != NULL) {
                size_t bytes = strlen(name);
                memset(text + i, NOT_FINITE_MARK, bytes);
                text[i] = text[i + bytes - 1] = '"';
                i += bytes - 1;
            }
        }
    }
}

/* Whether the text may hold one of them: most hold none, and are not looked through. */
static bool may_be_not_finite(const char *text, size_t length)
{
    return memmem(text, length, "NaN", 3) != NULL || memmem(text, length, "Infinity", 8) != NULL;
}

/* The name that a marked string of so many bytes, without its quotes, stands for. */
static const char *marked_name(size_t length)
{
    const char *found = "";
    for (size_t i = 0; i < COUNT_OF(not_finite_names); i++) {
        if (strlen(not_finite_names[i]) == length + 2) {
            found = not_finite_names[i];
        }
    }
    return found;
}

static bool is_marked(const unsigned char *text, size_t length)
{
    return length > 0 && text[0] == NOT_FINITE_MARK;
}

static int on_string(void *context, const unsigned char *text, size_t length)
{
    if (is_marked(text, length)) {
        const char *name = marked_name(length);
        return on_text(context, JSON_NOT_FINITE, name, strlen(name));
    }
    return on_text(context, JSON_STRING, (const char *)text, length);
}

static int on_open(struct builder *builder, enum json_type type)
{
    if (builder->depth == JSON_MAX_DEPTH) {
        return builder_fail(
            builder, status_fail(STATUS_INVALID, "nested deeper than %d levels", JSON_MAX_DEPTH));
    }
    struct json *value = builder_add(builder, type);
    if (value == NULL) {
        return 0;
    }
    builder->stack[builder->depth++] = (struct open_container){value, builder->child_count};
    return 1;
}

static int on_open_object(void *context)
{
    return on_open(context, JSON_OBJECT);
}

static int on_open_array(void *context)
{
    return on_open(context, JSON_ARRAY);
}

static int on_key(void *context, const unsigned char *key, size_t length)
{
    struct builder *builder = context;
    if (is_marked(key, length)) {
        return builder_fail(
            builder, status_fail(STATUS_INVALID, "not JSON: %s for a key", marked_name(length)));
    }
    builder->key = arena_copy(builder->arena, (const char *)key, length);
    builder->key_length = length;
    return builder->key != NULL ? 1 : builder_no_memory(builder);
}

static int compare_keys(const struct json_member *left, const struct json_member *right)
{
    size_t common = left->key_length < right->key_length ? left->key_length : right->key_length;
    int order = memcmp(left->key, right->key, common);
    return order != 0
               ? order
               : (left->key_length > right->key_length) - (left->key_length < right->key_length);
}

static int compare_members(const void *a, const void *b)
{
    const struct json_member *left = *(const struct json_member *const *)a;
    const struct json_member *right = *(const struct json_member *const *)b;
    const int order = compare_keys(left, right);
    return order != 0 ? order : (left > right) - (left < right); /* as written */
}

/* As Python reads them: the last value, in the place of the first. The others lose their values. */
static void keep_last(struct json_member **sorted, size_t count)
{
    for (size_t i = 0; i < count;) {
        size_t end = i + 1;
        while (end < count && compare_keys(sorted[i], sorted[end]) == 0) {
            end++;
        }
        struct json *last = sorted[end - 1]->value;
        for (size_t k = i; k < end; k++) {
            sorted[k]->value = k == i ? last : NULL;
        }
        i = end;
    }
}

static int check_unique(struct builder *builder, struct json_member *const *sorted, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        if (compare_keys(sorted[i - 1], sorted[i]) == 0) {
            return builder_fail(
                builder,
                status_fail(STATUS_INVALID, "key \"%.60s\" twice in one object", sorted[i]->key));
        }
    }
    return 1;
}

/* A repeated key would let two readers of one file see two different values, so it is an error
 * where nothing else is asked for. */
static int settle_repeated(struct builder *builder, struct json_member *members, size_t count)
{
    if (count < 2) {
        return 1;
    }
    struct json_member **sorted = malloc(count * sizeof *sorted);
    if (sorted == NULL) {
        return builder_no_memory(builder);
    }
    for (size_t i = 0; i < count; i++) {
        sorted[i] = &members[i];
    }
    qsort(sorted, count, sizeof *sorted, compare_members);
    int fine = 1;
    if (builder->last_counts) {
        keep_last(sorted, count);
    } else {
        fine = check_unique(builder, sorted, count);
    }
    free(sorted);
    return fine;
}

static int on_close(void *context)
{
    struct builder *builder = context;
    struct open_container *container = &builder->stack[--builder->depth];
    struct json *value = container->value;
    /* Before the first child of the whole document there is no array to point into. */
    struct json_member *children =
        builder->children != NULL ? builder->children + container->first_child : NULL;
    size_t count = builder->child_count - container->first_child;
    value->length = count;
    if (value->type == JSON_OBJECT) {
        if (!settle_repeated(builder, children, count)) {
            return 0;
        }
        value->members = arena_allocate_array(builder->arena, count, sizeof *value->members);
        if (value->members == NULL) {
            return builder_no_memory(builder);
        }
        value->length = 0;
        for (size_t i = 0; i < count; i++) {
            if (children[i].value != NULL) {
                value->members[value->length++] = children[i];
            }
        }
    } else {
        value->items = arena_allocate_array(builder->arena, count, sizeof *value->items);
        if (value->items == NULL) {
            return builder_no_memory(builder);
        }
        for (size_t i = 0; i < count; i++) {
            value->items[i] = children[i].value;
        }
    }
    builder->child_count = container->first_child;
    builder_note_end(builder);
    return 1;
}

/* ---- Surrogates ---- */

/* Characters beyond U+FFFF are written as two escapes, a high and a low surrogate. One of them
 * alone is no character: YAJL makes "?" of a high one and bytes that are not UTF-8 of a low one. */

/* The four hexadecimal digits after "\u" at text[at], or -1. */
static int unicode_escape(const char *text, size_t length, size_t at)
{
    if (length < 6 || at > length - 6 || text[at] != '\\' || text[at + 1] != 'u') {
        return -1;
    }
    char digits[5] = {0};
    memcpy(digits, text + at + 2, 4);
    return (int)strtol(digits, NULL, 16);
}

/* Of valid JSON, where backslashes stand in strings alone. */
static status check_surrogates(const char *text, size_t length)
{
    const char *at = memchr(text, '\\', length);
    while (at != NULL) {
        size_t offset = (size_t)(at - text), used = 2;
        const int code = unicode_escape(text, length, offset);
        if (code >= 0xd800 && code < 0xe000) {
            const int next = unicode_escape(text, length, offset + 6);
            if (code >= 0xdc00 || next < 0xdc00 || next >= 0xe000) {
                return status_fail(STATUS_INVALID,
                                   "byte %zu: \\u%04x is half of a character, the other half is "
                                   "not there",
                                   offset, (unsigned)code);
            }
            used = 12;
        }
        offset += used;
        at = offset < length ? memchr(text + offset, '\\', length - offset) : NULL;
    }
    return STATUS_OK;
}

static bool is_blank(const char *text, size_t length)
{
    size_t at = 0;
    while (at < length && memchr(" \t\r\n", text[at], 4) != NULL) {
        at++;
    }
    return at == length;
}

/* Of valid UTF-8, in which NaN and infinities may be marked. */
static status parse_marked(const char *text, size_t length, bool last_counts, struct arena *arena,
                           struct json **out)
{
    static const yajl_callbacks callbacks = {
        .yajl_null = on_null,
        .yajl_boolean = on_boolean,
        .yajl_number = on_number,
        .yajl_string = on_string,
        .yajl_start_map = on_open_object,
        .yajl_map_key = on_key,
        .yajl_end_map = on_close,
        .yajl_start_array = on_open_array,
        .yajl_end_array = on_close,
    };
    struct builder builder = {.arena = arena, .last_counts = last_counts};
    yajl_handle parser = yajl_alloc(&callbacks, NULL, &builder);
    if (parser == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for JSON");
    }
    builder.parser = parser;
    yajl_config(parser, yajl_dont_validate_strings, 1); /* done above, with a better message */
    yajl_status parsed = yajl_parse(parser, (const unsigned char *)text, length);
    size_t consumed = yajl_get_bytes_consumed(parser);
    size_t end = builder.end > 0 ? builder.end : length; /* a number ends with the text */
    if (parsed == yajl_status_ok) {
        parsed = yajl_complete_parse(parser);
    }
    status s = STATUS_OK;
    if (parsed == yajl_status_client_canceled) {
        s = builder.failure;
        if (s == STATUS_INVALID) {
            s = status_context(s, "byte %zu", consumed);
        }
    } else if (parsed != yajl_status_ok) {
        unsigned char *why = yajl_get_error(parser, 0, (const unsigned char *)text, length);
        const char *reason = why != NULL ? (const char *)why : "malformed";
        static const char prefixes[][16] = {"parse error: ", "lexical error: "};
        for (size_t i = 0; i < COUNT_OF(prefixes); i++) {
            if (strncmp(reason, prefixes[i], strlen(prefixes[i])) == 0) {
                reason += strlen(prefixes[i]);
            }
        }
        s = status_fail(STATUS_INVALID, "byte %zu: not JSON: %.*s", consumed,
                        (int)strcspn(reason, "\n"), reason);
        yajl_free_error(parser, why);
    } else if (builder.root == NULL) {
        s = status_fail(STATUS_INVALID, "byte 0: not JSON: empty");
    } else if (!is_blank(text + end, length - end)) {
        s = status_fail(STATUS_INVALID, "byte %zu: not JSON: trailing garbage", end);
    } else {
        s = check_surrogates(text, length);
    }
    yajl_free(parser);
    free(builder.children);
    *out = s == STATUS_OK ? builder.root : NULL;
    return s;
}

static status parse(const char *text, size_t length, bool last_counts, struct arena *arena,
                    struct json **out)
{
    size_t bad_offset;
    *out = NULL;
    if (is_blank(text, length)) {
        return status_fail(STATUS_INVALID, "byte 0: not JSON: empty");
    }
    if (!utf8_valid(text, length, &bad_offset)) {
        return status_fail(STATUS_INVALID, "byte %zu: not valid UTF-8", bad_offset);
    }
    if (!may_be_not_finite(text, length)) {
        return parse_marked(text, length, last_counts, arena, out);
    }
    char *marked = malloc(length);
    if (marked == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for JSON");
    }
    memcpy(marked, text, length);
    mark_not_finite(marked, length);
    status s = parse_marked(marked, length, last_counts, arena, out);
    free(marked);
    return s;
}

status json_parse(const char *text, size_t length, struct arena *arena, struct json **out)
{
    return parse(text, length, false, arena, out);
}

status json_parse_last_counts(const char *text, size_t length, struct arena *arena,
                              struct json **out)
{
    return parse(text, length, true, arena, out);
}

const struct json *json_get(const struct json *object, const char *key)
{
    if (object == NULL || object->type != JSON_OBJECT) {
        return NULL;
    }
    for (size_t i = 0; i < object->length; i++) {
        if (strcmp(object->members[i].key, key) == 0) {
            return object->members[i].value;
        }
    }
    return NULL;
}

bool json_double(const struct json *value, double *out)
{
    if (value == NULL || value->type != JSON_NUMBER) {
        return false;
    }
    *out = strtod(value->text, NULL);
    return isfinite(*out);
}

bool json_int64(const struct json *value, int64_t *out)
{
    if (value == NULL || value->type != JSON_NUMBER) {
        return false;
    }
    char *end;
    errno = 0;
    long long integer = strtoll(value->text, &end, 10);
    if (*end == '\0') {
        if (errno != 0) {
            return false;
        }
        *out = integer;
        return true;
    }
    double real;
    if (!json_double(value, &real) || real != floor(real) || fabs(real) > 9007199254740992.0) {
        return false;
    }
    *out = (int64_t)real;
    return true;
}

bool json_bool(const struct json *value, bool *out)
{
    if (value == NULL || value->type != JSON_BOOLEAN) {
        return false;
    }
    *out = value->boolean;
    return true;
}

const char *json_string(const struct json *value)
{
    return value != NULL && value->type == JSON_STRING ? value->text : NULL;
}

bool json_is_string(const struct json *value, const char *text)
{
    const char *string = json_string(value);
    return string != NULL && value->length == strlen(text) && strcmp(string, text) == 0;
}

const char *json_type_name(enum json_type type)
{
    static const char *const names[] = {"null",     "a boolean", "a number",       "a string",
                                        "an array", "an object", "NaN or Infinity"};
    return names[type];
}

const char *json_kind(const struct json *value)
{
    return value->type == JSON_NOT_FINITE ? value->text : json_type_name(value->type);
}

status json_write_string(const char *text, size_t length, struct buffer *out)
{
    TRY(buffer_append_byte(out, '"'));
    size_t start = 0;
    for (size_t i = 0; i <= length;) {
        size_t size = 1;
        int32_t c = i < length ? utf8_decode(text + i, length - i, &size) : 0;
        bool plain = i < length && c >= 0x20 && c != '"' && c != '\\';
        if (plain) {
            i += size;
            continue;
        }
        TRY(buffer_append(out, text + start, i - start));
        if (i == length) {
            break;
        }
        const char *named = c == '"'    ? "\\\""
                            : c == '\\' ? "\\\\"
                            : c == '\n' ? "\\n"
                            : c == '\r' ? "\\r"
                            : c == '\t' ? "\\t"
                            : c == '\b' ? "\\b"
                            : c == '\f' ? "\\f"
                            : c < 0     ? "\xEF\xBF\xBD"
                                        : NULL;
        if (named != NULL) {
            TRY(buffer_append_text(out, named));
        } else {
            TRY(buffer_format(out, "\\u%04x", (unsigned)c));
        }
        i += size;
        start = i;
    }
    return buffer_append_byte(out, '"');
}

status json_write_double(double value, struct buffer *out)
{
    if (!isfinite(value)) {
        return buffer_append_text(out, "null");
    }
    char text[40];
    if (value == floor(value) && fabs(value) < 1e15) { /* 40, not 4e+01 */
        snprintf(text, sizeof text, "%.0f", value);
        return buffer_append_text(out, text);
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    return buffer_append_text(out, text);
}

/* Recursion is bounded by JSON_MAX_DEPTH, which holds for every tree that json_parse made. */
status json_write(const struct json *value, struct buffer *out)
{
    switch (value->type) {
    case JSON_NULL:
        return buffer_append_text(out, "null");
    case JSON_BOOLEAN:
        return buffer_append_text(out, value->boolean ? "true" : "false");
    case JSON_NUMBER:
        return buffer_append(out, value->text, value->length);
    case JSON_STRING:
    case JSON_NOT_FINITE:
        return json_write_string(value->text, value->length, out);
    case JSON_ARRAY:
        TRY(buffer_append_byte(out, '['));
        for (size_t i = 0; i < value->length; i++) {
            if (i > 0) {
                TRY(buffer_append_byte(out, ','));
            }
            TRY(json_write(value->items[i], out));
        }
        return buffer_append_byte(out, ']');
    case JSON_OBJECT:
        TRY(buffer_append_byte(out, '{'));
        for (size_t i = 0; i < value->length; i++) {
            if (i > 0) {
                TRY(buffer_append_byte(out, ','));
            }
            TRY(json_write_string(value->members[i].key, value->members[i].key_length, out));
            TRY(buffer_append_byte(out, ':'));
            TRY(json_write(value->members[i].value, out));
        }
        return buffer_append_byte(out, '}');
    }
    return status_fail(STATUS_INTERNAL, "a JSON value of no known type");
}
