/* SPDX-License-Identifier: Apache-2.0 */
/* Properties of code points and the normalization forms. */
#include "text/unicode/unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "sluice/tokenizer.h"

status unicode_append(struct buffer *out, int32_t code_point)
{
    char bytes[4];
    return buffer_append(out, bytes, utf8_encode(code_point, bytes));
}

int unicode_hexadecimal(char digit)
{
    return digit >= '0' && digit <= '9'   ? digit - '0'
           : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
           : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                          : -1;
}

bool unicode_in_ranges(int32_t code_point, const uint32_t *ranges, size_t count)
{
    uint32_t c = (uint32_t)code_point;
    size_t low = 0, high = count / 2; /* the first range that ends at or behind c */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (ranges[2 * middle + 1] < c) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count / 2 && ranges[2 * low] <= c;
}

enum unicode_category unicode_category_of(int32_t code_point)
{
    size_t low = 0, high = unicode_category_runs_count; /* the last run that begins at or before */
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (unicode_category_runs[middle] >> 8 <= (uint32_t)code_point) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return (enum unicode_category)(unicode_category_runs[low] & 0xFF);
}

bool unicode_is_space(int32_t c)
{
    if (c < 0x80) {
        return c == ' ' || (c >= 9 && c <= 13);
    }
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool unicode_is_numeric(int32_t c)
{
    if (c < 0x80) {
        return c >= '0' && c <= '9';
    }
    enum unicode_category category = unicode_category_of(c);
    return (category >= UNICODE_ND && category <= UNICODE_NO) ||
           unicode_in_ranges(c, unicode_numeric_extra, unicode_numeric_extra_count);
}

bool unicode_is_word(int32_t c)
{
    if (c < 0x80) {
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
               c == '_';
    }
    return unicode_in_ranges(c, unicode_word, unicode_word_count);
}

bool unicode_is_punctuation(int32_t c)
{
    return unicode_in_ranges(c, unicode_punctuation, unicode_punctuation_count);
}

size_t unicode_lower(int32_t c, int32_t out[2])
{
    if (c == 0x130) { /* the only code point whose lower case is two */
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    out[0] = utf8proc_tolower(c);
    for (size_t i = 0; c >= 0x1000 && i < unicode_lower_extra_count; i += 2) {
        if (unicode_lower_extra[i] == (uint32_t)c) {
            out[0] = (int32_t)unicode_lower_extra[i + 1];
        }
    }
    return 1;
}

int32_t unicode_case_key(int32_t c)
{
    /* The dotted and the dotless i are equal to no other letter without a Turkish locale. */
    return c == 0x130 || c == 0x131 ? c : utf8proc_tolower(utf8proc_toupper(c));
}

void unicode_normalizer_destroy(struct unicode_normalizer *normalizer)
{
    free(normalizer->points);
    *normalizer = (struct unicode_normalizer){0};
}

static int combining_class(int32_t c)
{
    return utf8proc_get_property(c)->combining_class;
}

/* Canonical ordering of points[first..last), all of a class other than 0: a stable counting sort,
 * since a run of marks may be as long as the text. */
static status order_marks(int32_t *points, size_t count)
{
    bool ordered = true;
    for (size_t i = 1; i < count && ordered; i++) {
        ordered = combining_class(points[i - 1]) <= combining_class(points[i]);
    }
    if (ordered) {
        return STATUS_OK;
    }
    int32_t *copy = malloc(count * sizeof *copy);
    if (copy == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for %zu code points", count);
    }
    memcpy(copy, points, count * sizeof *copy);
    size_t starts[257] = {0};
    for (size_t i = 0; i < count; i++) {
        starts[combining_class(copy[i]) + 1]++;
    }
    for (size_t i = 1; i < COUNT_OF(starts); i++) {
        starts[i] += starts[i - 1];
    }
    for (size_t i = 0; i < count; i++) {
        points[starts[combining_class(copy[i])]++] = copy[i];
    }
    free(copy);
    return STATUS_OK;
}

/* Orders and composes what was decomposed so far and appends it. */
static status flush_points(struct unicode_normalizer *normalizer, bool compose, struct buffer *out)
{
    int32_t *points = normalizer->points;
    for (size_t i = 0; i < normalizer->count;) {
        size_t end = i;
        while (end < normalizer->count && combining_class(points[end]) != 0) {
            end++;
        }
        TRY(order_marks(points + i, end - i));
        i = end + 1;
    }
    size_t count = normalizer->count;
    normalizer->count = 0;
    if (compose && count > 0) {
        utf8proc_ssize_t composed = utf8proc_normalize_utf32(points, (utf8proc_ssize_t)count,
                                                             UTF8PROC_COMPOSE | UTF8PROC_STABLE);
        if (composed < 0) {
            return status_fail(STATUS_INTERNAL, "normalization: %s", utf8proc_errmsg(composed));
        }
        count = (size_t)composed;
    }
    for (size_t i = 0; i < count; i++) {
        TRY(unicode_append(out, points[i]));
    }
    return STATUS_OK;
}

status unicode_normalize(struct unicode_normalizer *normalizer, const char *text, size_t length,
                         bool compose, bool compatibility, struct buffer *out)
{
    int options = UTF8PROC_DECOMPOSE | UTF8PROC_STABLE | (compatibility ? UTF8PROC_COMPAT : 0);
    normalizer->count = 0;
    size_t offset = 0;
    while (offset < length) {
        /* ASCII stays as it is; the last letter may be what a following mark composes with. */
        size_t plain = offset;
        while (plain < length && (unsigned char)text[plain] < 0x80) {
            plain++;
        }
        if (plain < length && plain > offset) {
            plain--;
        }
        if (plain > offset) {
            TRY(flush_points(normalizer, compose, out));
            TRY(buffer_append(out, text + offset, plain - offset));
            offset = plain;
            continue;
        }
        int32_t c = unicode_next(text, &offset);
        if (unicode_in_ranges(c, unicode_never_normalized, unicode_never_normalized_count)) {
            /* For the reference this is a starter that takes part in nothing. */
            TRY(flush_points(normalizer, compose, out));
            TRY(unicode_append(out, c));
            continue;
        }
        enum { LONGEST_DECOMPOSITION = 32 };
        void *points = normalizer->points;
        status s = array_grow(&points, &normalizer->capacity,
                              normalizer->count + LONGEST_DECOMPOSITION, sizeof(int32_t));
        normalizer->points = points;
        if (s != STATUS_OK) {
            return s;
        }
        int boundary = 0;
        utf8proc_ssize_t count = utf8proc_decompose_char(c, normalizer->points + normalizer->count,
                                                         LONGEST_DECOMPOSITION, options, &boundary);
        if (count < 0 || count > LONGEST_DECOMPOSITION) {
            return status_fail(STATUS_INTERNAL, "no decomposition of U+%04X", (unsigned)c);
        }
        normalizer->count += (size_t)count;
    }
    return flush_points(normalizer, compose, out);
}

status text_lower_case(const char *text, size_t length, struct buffer *out)
{
    for (size_t at = 0; at < length;) {
        int32_t lower[2];
        size_t count = unicode_lower(unicode_next(text, &at), lower);
        for (size_t i = 0; i < count; i++) {
            TRY(unicode_append(out, lower[i]));
        }
    }
    return STATUS_OK;
}
