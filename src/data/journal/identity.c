/* SPDX-License-Identifier: Apache-2.0 */
/* Identities of jobs: their lines, and how two of them differ. */
#include "sluice/identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct line {
    const char *text;
    size_t length;
};

/* Keys (with what follows them) of the lines that hang on the arithmetic. */
static const char *const arithmetic_keys[] = {"arithmetic: ", "model default ", "end tokens: "};

/* Takes the next line from *rest; false at the end. */
static bool next_line(struct line *rest, struct line *line)
{
    if (rest->length == 0) {
        return false;
    }
    const char *newline = memchr(rest->text, '\n', rest->length);
    size_t length = newline != NULL ? (size_t)(newline - rest->text) : rest->length;
    size_t taken = newline != NULL ? length + 1 : length;
    *line = (struct line){rest->text, length};
    *rest = (struct line){rest->text + taken, rest->length - taken};
    return true;
}

static bool same_line(struct line a, struct line b)
{
    return a.length == b.length && memcmp(a.text, b.text, a.length) == 0;
}

static bool begins_with(struct line line, const char *text)
{
    size_t length = strlen(text);
    return line.length >= length && memcmp(line.text, text, length) == 0;
}

static bool is_of_arithmetic(struct line line)
{
    for (size_t i = 0; i < COUNT_OF(arithmetic_keys); i++) {
        if (begins_with(line, arithmetic_keys[i])) {
            return true;
        }
    }
    return false;
}

/* Up to and with the colon. */
static size_t key_length(struct line line)
{
    const char *colon = memchr(line.text, ':', line.length);
    return colon != NULL ? (size_t)(colon - line.text) + 1 : line.length;
}

/* Whether `text` holds the line. `near`: where to look first, moved behind what is found, so that
 * texts of one order take one pass. */
static bool holds(struct line text, struct line *near, struct line wanted)
{
    struct line line, rest = *near;
    if (next_line(&rest, &line) && same_line(line, wanted)) {
        *near = rest;
        return true;
    }
    for (rest = text; next_line(&rest, &line);) {
        if (same_line(line, wanted)) {
            *near = rest;
            return true;
        }
    }
    return false;
}

/* The line of the same key, empty where there is none. */
static struct line counterpart(struct line text, struct line of)
{
    struct line line;
    while (next_line(&text, &line)) {
        if (key_length(line) == key_length(of) && memcmp(line.text, of.text, key_length(of)) == 0) {
            return line;
        }
    }
    return (struct line){"", 0};
}

/* The first line of `a`, of the arithmetic or not, that `b` lacks. */
static bool first_missing(struct line a, struct line b, bool of_arithmetic, struct line *out)
{
    struct line near = b;
    while (next_line(&a, out)) {
        if (is_of_arithmetic(*out) == of_arithmetic && !holds(b, &near, *out)) {
            return true;
        }
    }
    return false;
}

/* A line in quotation marks; none is what keys have that are left out of identities. */
static void quote_one(struct line line, char text[224])
{
    enum { MOST = 200 };
    snprintf(text, 224, line.length > 0 ? "\"%.*s\"" : "the default%.*s",
             line.length < MOST ? (int)line.length : MOST, line.text);
}

static void quote(struct line there, struct line now, char *why, size_t why_size)
{
    char there_text[224], now_text[224];
    quote_one(there, there_text);
    quote_one(now, now_text);
    snprintf(why, why_size, "%s there, %s now", there_text, now_text);
}

static bool differ(struct line there, struct line now, bool of_arithmetic, char *why,
                   size_t why_size)
{
    struct line line;
    if (first_missing(there, now, of_arithmetic, &line)) {
        quote(line, counterpart(now, line), why, why_size);
        return true;
    }
    if (first_missing(now, there, of_arithmetic, &line)) {
        quote(counterpart(there, line), line, why, why_size);
        return true;
    }
    return false;
}

enum identity_verdict identity_compare(const char *there, size_t there_length, const char *now,
                                       char *why, size_t why_size)
{
    struct line a = {there, there_length}, b = {now, strlen(now)};
    if (same_line(a, b)) {
        return IDENTITY_SAME;
    }
    if (differ(a, b, false, why, why_size)) {
        return IDENTITY_OTHER_JOB;
    }
    return differ(a, b, true, why, why_size) ? IDENTITY_OTHER_ARITHMETIC : IDENTITY_SAME;
}

static bool is_of_hashes(struct line line)
{
    return begins_with(line, "data sha256: ") || begins_with(line, "data file ");
}

status identity_take_hashes(const char *there, size_t there_length, const char *now,
                            struct buffer *out)
{
    struct line other = {there, there_length}, rest = {now, strlen(now)}, line;
    while (next_line(&rest, &line)) {
        const struct line taken = is_of_hashes(line) ? counterpart(other, line) : line;
        TRY(buffer_append(out, taken.text, taken.length));
        TRY(buffer_append_byte(out, '\n'));
    }
    return STATUS_OK;
}

static struct line find_arithmetic(const char *identity, size_t length)
{
    struct line rest = {identity, length}, line;
    size_t key = strlen(arithmetic_keys[0]);
    while (next_line(&rest, &line)) {
        if (begins_with(line, arithmetic_keys[0])) {
            return (struct line){line.text + key, line.length - key};
        }
    }
    return (struct line){"", 0};
}

int identity_generation(const char *identity, size_t length)
{
    struct line line = find_arithmetic(identity, length);
    int generation = 0;
    for (size_t i = 0; i < line.length && i < 6 && line.text[i] >= '0' && line.text[i] <= '9';
         i++) {
        generation = 10 * generation + (line.text[i] - '0');
    }
    return generation > 0 ? generation : 1;
}

status identity_without_arithmetic(const char *identity, size_t length, struct buffer *out)
{
    struct line rest = {identity, length}, line;
    while (next_line(&rest, &line)) {
        if (!is_of_arithmetic(line)) {
            TRY(buffer_append(out, line.text, line.length));
            TRY(buffer_append_byte(out, '\n'));
        }
    }
    return STATUS_OK;
}

status identity_arithmetic(const char *identity, size_t length, struct buffer *out)
{
    struct line line = find_arithmetic(identity, length);
    return buffer_append(out, line.text, line.length);
}
