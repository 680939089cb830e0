/* SPDX-License-Identifier: Apache-2.0 */
/* OpenAI's Python client puts the fields of extra_body into the body; people who write the lines
 * themselves leave it as it is. */
#include "data/row/extra_body.h"

#include <string.h>

static bool has_key(const struct json_member *member, const char *key, size_t length)
{
    return member->key_length == length && memcmp(member->key, key, length) == 0;
}

/* The same text, or numbers that are the same however they are written. */
static status is_same(const struct json *a, const struct json *b, bool *same)
{
    double left_number, right_number;
    if (json_double(a, &left_number) && json_double(b, &right_number) && a->length < 16 &&
        b->length < 16) {
        *same = left_number == right_number;
        return STATUS_OK;
    }
    struct buffer left = {0}, right = {0};
    status s = json_write(a, &left);
    if (s == STATUS_OK) {
        s = json_write(b, &right);
    }
    *same = s == STATUS_OK && a->type == b->type && left.length == right.length &&
            memcmp(left.data, right.data, left.length) == 0;
    buffer_destroy(&left);
    buffer_destroy(&right);
    return s;
}

static const struct json_member *find(const struct json_member *members, size_t count,
                                      const struct json_member *like)
{
    for (size_t i = 0; i < count; i++) {
        if (has_key(&members[i], like->key, like->key_length)) {
            return &members[i];
        }
    }
    return NULL;
}

/* Adds what extra_body has to the `own` members of the body. */
static status add_fields(struct json *merged, const struct json *extra,
                         const struct json_member **clash)
{
    const size_t own = merged->length;
    for (size_t i = 0; i < extra->length; i++) {
        const struct json_member *member = &extra->members[i];
        const struct json_member *there = find(merged->members, own, member);
        bool same = true;
        if (there == NULL) {
            merged->members[merged->length++] = *member;
        } else {
            TRY(is_same(there->value, member->value, &same));
        }
        *clash = same ? *clash : member;
    }
    return STATUS_OK;
}

status extra_body_merge(const struct json *body, struct arena *arena, const struct json **fields,
                        const struct json_member **clash)
{
    static const char name[] = "extra_body";
    const struct json_member wanted = {.key = name, .key_length = sizeof name - 1};
    const struct json_member *extra = find(body->members, body->length, &wanted);
    *fields = body;
    *clash = NULL;
    if (extra == NULL || extra->value->type != JSON_OBJECT) {
        return STATUS_OK;
    }
    struct json *merged = arena_allocate(arena, sizeof *merged);
    const size_t most = body->length + extra->value->length;
    if (merged == NULL ||
        (merged->members = arena_allocate_array(arena, most, sizeof *merged->members)) == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a row");
    }
    merged->type = JSON_OBJECT;
    for (size_t i = 0; i < body->length; i++) {
        if (&body->members[i] != extra) {
            merged->members[merged->length++] = body->members[i];
        }
    }
    *fields = merged;
    return add_fields(merged, extra->value, clash);
}
