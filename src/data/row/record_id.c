/* SPDX-License-Identifier: Apache-2.0 */
/* A record's id without parsing the record: for rows that are not to run, and of which nobody knows
 * which part of the program they are too much for.
 *
 * One pass over the bytes counts braces, steps over strings, and looks at names of the outermost
 * object alone. Of malformed JSON it finds an id or none; it never fails for it. */
#include <string.h>

#include "sluice/data.h"

enum { LONGEST_ID = 4096 };

/* The texts of members' values, as they stand; NULL: no such member. */
struct found {
    const char *id, *custom_id, *named; /* named: of the field that the job says */
    size_t id_length, custom_id_length, named_length;
    bool has_body;
};

/* Behind the string whose quote stands at `at`. */
static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++) {
        at += *at == '\\' && at + 1 < end;
    }
    return at < end ? at + 1 : end;
}

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && strchr(" \t\r\n", *at) != NULL && *at != '\0') {
        at++;
    }
    return at;
}

/* Behind a string, or behind what could be a number. */
static const char *skip_scalar(const char *at, const char *end)
{
    if (at < end && *at == '"') {
        return skip_string(at, end);
    }
    while (at < end && *at != '\0' && strchr("+-.0123456789Ee", *at) != NULL) {
        at++;
    }
    return at;
}

static bool is_key(const char *key, size_t length, const char *name)
{
    return name != NULL && strlen(name) + 2 == length && memcmp(key + 1, name, length - 2) == 0;
}

/* Notes what stands at `value` under a key, which comes with its quotes. */
static void note_member(const char *key, size_t length, const char *value, const char *end,
                        const char *field, struct found *found)
{
    const size_t bytes = (size_t)(skip_scalar(value, end) - value);
    found->has_body |= is_key(key, length, "body") && value < end && *value == '{';
    if (is_key(key, length, field)) {
        found->named = value;
        found->named_length = bytes;
    }
    if (is_key(key, length, "custom_id")) {
        found->custom_id = value;
        found->custom_id_length = bytes;
    }
    if (is_key(key, length, "id")) {
        found->id = value;
        found->id_length = bytes;
    }
}

static void look(const char *at, const char *end, const char *field, struct found *found)
{
    for (size_t depth = 0; at < end; at = skip_space(at, end)) {
        if (*at != '"') {
            depth += *at == '{' || *at == '[';
            depth -= (*at == '}' || *at == ']') && depth > 0;
            at++;
            continue;
        }
        const char *key = at;
        at = skip_string(at, end);
        const size_t length = (size_t)(at - key);
        const char *colon = skip_space(at, end);
        if (depth == 1 && length >= 2 && colon < end && *colon == ':') {
            at = skip_space(colon + 1, end);
            note_member(key, length, at, end, field, found);
            at = skip_scalar(at, end);
        }
    }
}

/* An id is short and by itself: that much is parsed. */
static bool take(const char *text, size_t length, struct arena *arena, struct record_id *out)
{
    struct json *value;
    if (text == NULL || length == 0 || length > LONGEST_ID ||
        json_parse(text, length, arena, &value) != STATUS_OK ||
        (value->type != JSON_STRING && value->type != JSON_NUMBER)) {
        return false;
    }
    *out = (struct record_id){
        .text = value->text, .length = value->length, .is_number = value->type == JSON_NUMBER};
    return true;
}

bool record_find_id(const struct record *record, const char *field, struct arena *arena,
                    struct record_id *out)
{
    struct found found = {0};
    if (record->kind != RECORD_JSON || record->bytes.length == 0) {
        return false;
    }
    look(record->bytes.data, record->bytes.data + record->bytes.length, field, &found);
    if (field != NULL) {
        return take(found.named, found.named_length, arena, out);
    }
    const bool custom_first = found.id == NULL || (found.has_body && found.custom_id != NULL);
    return custom_first ? take(found.custom_id, found.custom_id_length, arena, out)
                        : take(found.id, found.id_length, arena, out);
}
