/* SPDX-License-Identifier: Apache-2.0 */
/* What Python says of characters: classes, case, lines. Classes come from utf8proc's categories. */
#include <utf8proc.h>

#include "text/template/internal.h"

bool template_is_space(int32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

bool template_is_alphabetic(int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return true;
    default:
        return false;
    }
}

bool template_is_decimal(int32_t c)
{
    return utf8proc_category(c) == UTF8PROC_CATEGORY_ND;
}

/* Decimals, superscripts, subscripts, and the circled and parenthesised single digits. */
bool template_is_digit(int32_t c)
{
    return template_is_decimal(c) || c == 0xB2 || c == 0xB3 || c == 0xB9 || c == 0x2070 ||
           (c >= 0x2074 && c <= 0x2079) || (c >= 0x2080 && c <= 0x2089) ||
           (c >= 0x2460 && c <= 0x2468) || (c >= 0x2474 && c <= 0x247C) ||
           (c >= 0x2488 && c <= 0x2490) || (c >= 0x2776 && c <= 0x277E);
}

bool template_is_numeric(int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
           category == UTF8PROC_CATEGORY_NO;
}

bool template_is_upper(int32_t c)
{
    return utf8proc_category(c) == UTF8PROC_CATEGORY_LU || (c >= 0x2160 && c <= 0x216F) ||
           (c >= 0x24B6 && c <= 0x24CF);
}

bool template_is_lower(int32_t c)
{
    return utf8proc_category(c) == UTF8PROC_CATEGORY_LL || c == 0xAA || c == 0xBA ||
           (c >= 0x2170 && c <= 0x217F) || (c >= 0x24D0 && c <= 0x24E9);
}

bool template_is_title(int32_t c)
{
    return utf8proc_category(c) == UTF8PROC_CATEGORY_LT;
}

bool template_is_printable(int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return false;
    case UTF8PROC_CATEGORY_ZS:
        return c == ' ';
    default:
        return true;
    }
}

/* Case mappings to more than one character that occur in running text (Unicode's SpecialCasing,
 * the unconditional ones outside of polytonic Greek). */
static const struct {
    int32_t from, upper[3], title[3];
} special_cases[] = {
    {0x00DF, {'S', 'S'}, {'S', 's'}},
    {0x0149, {0x2BC, 'N'}, {0x2BC, 'N'}},
    {0x01F0, {'J', 0x30C}, {'J', 0x30C}},
    {0x0390, {0x399, 0x308, 0x301}, {0x399, 0x308, 0x301}},
    {0x03B0, {0x3A5, 0x308, 0x301}, {0x3A5, 0x308, 0x301}},
    {0x0587, {0x535, 0x552}, {0x535, 0x582}},
    {0x1E96, {'H', 0x331}, {'H', 0x331}},
    {0x1E97, {'T', 0x308}, {'T', 0x308}},
    {0x1E98, {'W', 0x30A}, {'W', 0x30A}},
    {0x1E99, {'Y', 0x30A}, {'Y', 0x30A}},
    {0x1E9A, {'A', 0x2BE}, {'A', 0x2BE}},
    {0xFB00, {'F', 'F'}, {'F', 'f'}},
    {0xFB01, {'F', 'I'}, {'F', 'i'}},
    {0xFB02, {'F', 'L'}, {'F', 'l'}},
    {0xFB03, {'F', 'F', 'I'}, {'F', 'f', 'i'}},
    {0xFB04, {'F', 'F', 'L'}, {'F', 'f', 'l'}},
    {0xFB05, {'S', 'T'}, {'S', 't'}},
    {0xFB06, {'S', 'T'}, {'S', 't'}},
};

static status write_cased_character(struct render *r, int32_t c, enum letter_case wanted)
{
    if (wanted == CASE_LOWER) {
        TRY(template_write_character(r, c == 0x130 ? 'i' : utf8proc_tolower(c)));
        return c == 0x130 ? template_write_character(r, 0x307) : STATUS_OK;
    }
    for (size_t i = 0; i < COUNT_OF(special_cases); i++) {
        if (special_cases[i].from == c) {
            const int32_t *to =
                wanted == CASE_UPPER ? special_cases[i].upper : special_cases[i].title;
            for (size_t j = 0; j < 3 && to[j] != 0; j++) {
                TRY(template_write_character(r, to[j]));
            }
            return STATUS_OK;
        }
    }
    return template_write_character(r, wanted == CASE_UPPER ? utf8proc_toupper(c)
                                                            : utf8proc_totitle(c));
}

/* Whether the capital sigma at `offset` ends a word, so that its small form is the final one. */
static bool is_final_sigma(const char *text, size_t length, size_t offset)
{
    size_t before = offset, size;
    bool after_letter = false;
    while (before > 0) {
        before = template_previous_character(text, before);
        int32_t c = utf8_decode(text + before, length - before, &size);
        after_letter = template_is_upper(c) || template_is_lower(c) || template_is_title(c);
        if (after_letter || utf8proc_category(c) != UTF8PROC_CATEGORY_MN) {
            break;
        }
    }
    for (size_t after = offset + 2; after_letter && after < length; after += size) {
        int32_t c = utf8_decode(text + after, length - after, &size);
        if (template_is_upper(c) || template_is_lower(c) || template_is_title(c)) {
            return false;
        }
        if (utf8proc_category(c) != UTF8PROC_CATEGORY_MN) {
            break;
        }
    }
    return after_letter;
}

status template_write_cased_at(struct render *r, const struct string *string, size_t offset,
                               enum letter_case wanted, size_t *size)
{
    int32_t c = utf8_decode(string->text + offset, string->length - offset, size);
    if (c < 0x80) {
        bool changes = wanted == CASE_LOWER ? c >= 'A' && c <= 'Z' : c >= 'a' && c <= 'z';
        char byte = (char)(changes ? c ^ 0x20 : c);
        return template_write(r, &byte, 1);
    }
    if (c == 0x3A3 && wanted == CASE_LOWER) {
        bool is_final = is_final_sigma(string->text, string->length, offset);
        return template_write_character(r, is_final ? 0x3C2 : 0x3C3);
    }
    return write_cased_character(r, c, wanted);
}

status template_write_cased(struct render *r, const struct string *string, enum letter_case first,
                            enum letter_case rest)
{
    size_t size;
    for (size_t offset = 0; offset < string->length; offset += size) {
        TRY(template_write_cased_at(r, string, offset, offset == 0 ? first : rest, &size));
    }
    return STATUS_OK;
}

size_t template_space_prefix(const char *text, size_t length)
{
    size_t offset = 0, size;
    while (offset < length &&
           template_is_space(utf8_decode(text + offset, length - offset, &size))) {
        offset += size;
    }
    return offset;
}

size_t template_space_suffix(const char *text, size_t length)
{
    size_t end = length;
    while (end > 0) {
        size_t size, start = template_previous_character(text, end);
        if (!template_is_space(utf8_decode(text + start, end - start, &size))) {
            break;
        }
        end = start;
    }
    return length - end;
}

size_t template_character_offset(const struct string *string, size_t index)
{
    if (string->characters == string->length) {
        return index < string->length ? index : string->length;
    }
    size_t offset = 0;
    for (; offset < string->length; offset++) {
        if (((unsigned char)string->text[offset] & 0xC0) != 0x80 && index-- == 0) {
            break;
        }
    }
    return offset;
}

enum { LONG_NEEDLE_BYTES = 64 };

/* The last place of a long needle: both texts reversed and searched forwards, since comparing it
 * with every place would take the product of both lengths. */
static status find_long_last(struct render *r, const char *text, size_t start, size_t end,
                             const struct string *needle, size_t *out)
{
    size_t length = end - start;
    char *reversed, *wanted;
    TRY(template_allocate(r, length, 1, &reversed));
    TRY(template_allocate(r, needle->length, 1, &wanted));
    for (size_t i = 0; i < length; i++) {
        reversed[i] = text[end - 1 - i];
    }
    for (size_t i = 0; i < needle->length; i++) {
        wanted[i] = needle->text[needle->length - 1 - i];
    }
    const char *found = memmem(reversed, length, wanted, needle->length);
    *out = found == NULL ? SIZE_MAX : end - (size_t)(found - reversed) - needle->length;
    return STATUS_OK;
}

status template_find_bytes(struct render *r, const char *text, size_t start, size_t end,
                           const struct string *needle, bool last, size_t *out)
{
    *out = SIZE_MAX;
    if (needle->length > end - start) {
        return STATUS_OK;
    }
    if (!last) {
        const char *found = needle->length == 0
                                ? text + start
                                : memmem(text + start, end - start, needle->text, needle->length);
        *out = found == NULL ? SIZE_MAX : (size_t)(found - text);
        return template_charge(r, ((*out == SIZE_MAX ? end : *out) - start) / 64);
    }
    if (needle->length > LONG_NEEDLE_BYTES) {
        TRY(template_charge(r, (end - start) / 16));
        return find_long_last(r, text, start, end, needle, out);
    }
    size_t at = end - needle->length;
    while (at > start && memcmp(text + at, needle->text, needle->length) != 0) {
        at--;
    }
    if (memcmp(text + at, needle->text, needle->length) == 0) {
        *out = at;
    }
    return template_charge(r, (end - at) / 8);
}

size_t template_previous_character(const char *text, size_t end)
{
    do {
        end--;
    } while (end > 0 && ((unsigned char)text[end] & 0xC0) == 0x80);
    return end;
}

size_t template_line_length(const char *text, size_t length, size_t *end_size)
{
    size_t size;
    for (size_t offset = 0; offset < length; offset += size) {
        int32_t c = utf8_decode(text + offset, length - offset, &size);
        if ((c >= 10 && c <= 13) || (c >= 28 && c <= 30) || c == 0x85 || c == 0x2028 ||
            c == 0x2029) {
            bool pair = c == '\r' && offset + 1 < length && text[offset + 1] == '\n';
            *end_size = size + pair;
            return offset;
        }
    }
    *end_size = 0;
    return length;
}
