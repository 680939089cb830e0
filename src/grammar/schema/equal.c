/* SPDX-License-Identifier: Apache-2.0 */
/* Whether two JSON values are the same: numbers by what they are worth, objects in any order. What
 * it takes counts as work of compiling: a list of n values may be asked about n times. */
#include <string.h>

#include "grammar/nodes.h"
#include "grammar/schema/compiler.h"

/* Of two numbers that are not simply the same, in units of grammar_work. */
enum { NUMBER_WORK = 32 };

static bool same_text(const struct json *a, const struct json *b)
{
    return a->length == b->length && memcmp(a->text, b->text, a->length) == 0;
}

/* Digits alone, and a sign: then equal numbers have equal texts, but for -0. */
static bool is_plain(const struct json *number)
{
    return number->text[strspn(number->text, "-0123456789")] == '\0' &&
           strcmp(number->text, "-0") != 0;
}

static status same_number(struct schema_compiler *self, const struct json *a, const struct json *b,
                          bool *out)
{
    struct arena arena = {0};
    struct decimal left, right;
    *out = same_text(a, b);
    if (*out || (is_plain(a) && is_plain(b))) {
        return STATUS_OK;
    }
    TRY(grammar_work(self->expressions, NUMBER_WORK + a->length + b->length));
    status s = decimal_read(a, &arena, &left);
    if (s == STATUS_OK) {
        s = decimal_read(b, &arena, &right);
    }
    *out = s == STATUS_OK && decimal_compare(&left, &right) == 0;
    arena_destroy(&arena);
    return s;
}

static status same_items(struct schema_compiler *self, const struct json *a, const struct json *b,
                         bool *out)
{
    *out = a->length == b->length;
    for (size_t i = 0; *out && i < a->length; i++) {
        TRY(values_equal(self, a->items[i], b->items[i], out));
    }
    return STATUS_OK;
}

static status same_members(struct schema_compiler *self, const struct json *a, const struct json *b,
                           bool *out)
{
    *out = a->length == b->length;
    for (size_t i = 0; *out && i < a->length; i++) {
        const struct json_member *mate = NULL;
        TRY(grammar_work(self->expressions, 1 + b->length / 4));
        for (size_t j = 0; mate == NULL && j < b->length; j++) {
            if (a->members[i].key_length == b->members[j].key_length &&
                memcmp(a->members[i].key, b->members[j].key, a->members[i].key_length) == 0) {
                mate = &b->members[j];
            }
        }
        *out = mate != NULL;
        TRY(*out ? values_equal(self, a->members[i].value, mate->value, out) : STATUS_OK);
    }
    return STATUS_OK;
}

status values_equal(struct schema_compiler *self, const struct json *a, const struct json *b,
                    bool *out)
{
    TRY(grammar_work(self->expressions, 1));
    *out = a->type == b->type;
    if (!*out) {
        return STATUS_OK;
    }
    switch (a->type) {
    case JSON_NULL:
        return STATUS_OK;
    case JSON_BOOLEAN:
        *out = a->boolean == b->boolean;
        return STATUS_OK;
    case JSON_NUMBER:
        return same_number(self, a, b, out);
    case JSON_ARRAY:
        return same_items(self, a, b, out);
    case JSON_OBJECT:
        return same_members(self, a, b, out);
    case JSON_STRING:
    case JSON_NOT_FINITE:
        break;
    }
    *out = same_text(a, b);
    return STATUS_OK;
}
