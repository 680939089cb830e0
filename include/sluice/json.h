/* SPDX-License-Identifier: Apache-2.0 */
/* JSON: a tree in an arena, numbers with their original text, and a writer that escapes.
 *
 * Parsing is YAJL's; the tree is ours because fields travel through this program unchanged, so a
 * number keeps the digits that it was written with, and because depth and size are bounded. */
#ifndef SLUICE_JSON_H
#define SLUICE_JSON_H

#include "sluice/base.h"

enum json_type {
    JSON_NULL,
    JSON_BOOLEAN,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
    /* NaN, Infinity and -Infinity, which are no JSON, but Python's json.dumps writes them. A type
     * of their own: no typed read takes them, and the writer makes texts of them. */
    JSON_NOT_FINITE,
};

struct json;

struct json_member {
    const char
        *key; /* NUL-terminated; may hold NULs inside: compare with key_length where that matters */
    size_t key_length;
    struct json *value;
};

struct json {
    enum json_type type;
    bool boolean;        /* JSON_BOOLEAN */
    size_t length;       /* string: bytes; number: bytes of text; array: items; object: members */
    const char *text;    /* JSON_STRING: UTF-8, NUL after it; JSON_NUMBER: as written;
                            JSON_NOT_FINITE: "NaN", "Infinity" or "-Infinity" */
    struct json **items; /* JSON_ARRAY: [length] */
    struct json_member *members; /* JSON_OBJECT: [length], in the order written */
};

/* Limits that hold for every parse. */
enum { JSON_MAX_DEPTH = 128 };

/* Parses exactly one value with nothing but white space after it. The tree lives in `arena` and
 * does not point into `text`. NaN, Infinity and -Infinity are taken where a number may stand;
 * nothing else of Python's is. STATUS_INVALID with "byte N: why" for malformed text, invalid UTF-8,
 * a repeated key or too deep a nesting. */
status json_parse(const char *text, size_t length, struct arena *arena,
                  struct json **out) MUST_CHECK;

/* The same for what a model has written: of a repeated key the last value counts, in the place of
 * the first, as in Python. */
status json_parse_last_counts(const char *text, size_t length, struct arena *arena,
                              struct json **out) MUST_CHECK;

/* Member of an object by key, NULL where there is none or `object` is NULL or not an object.
 * Objects of more than a few members are searched linearly: do not call it in a loop over a
 * vocabulary. */
const struct json *json_get(const struct json *object, const char *key);

/* Typed reads. They return false, leaving *out alone, where the value is NULL, of another type or
 * out of range. */
bool json_int64(const struct json *value,
                int64_t *out); /* an integer, or a real without fraction such as 1e3 */
bool json_double(const struct json *value, double *out);
bool json_bool(const struct json *value, bool *out);
bool json_is_string(const struct json *value, const char *text); /* is exactly this string */
const char *json_string(const struct json *value);               /* NULL where it is not a string */

/* A word for messages: "string", "an object"… */
const char *json_type_name(enum json_type type);
/* The same of a value, where NaN and infinities are named as they stand. */
const char *json_kind(const struct json *value);

/* Appends the value as compact JSON: numbers as they were written, strings as UTF-8 with only what
 * must be escaped, NaN and infinities as strings. */
status json_write(const struct json *value, struct buffer *out) MUST_CHECK;

/* Appends text as a JSON string with its quotes. Invalid UTF-8 becomes U+FFFD. */
status json_write_string(const char *text, size_t length, struct buffer *out) MUST_CHECK;

/* Appends a decimal that reads back as the same double: integers below 1e15 with all their digits,
 * of other numbers the shortest ("null" for NaN and infinities). */
status json_write_double(double value, struct buffer *out) MUST_CHECK;

#endif
