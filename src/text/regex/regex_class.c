/* SPDX-License-Identifier: Apache-2.0 */
/* Parser of regular expressions: what stands in brackets and behind backslashes. */
#include <string.h>

#include "text/regex/regex_internal.h"

status regex_parser_fail(const struct regex_parser *parser, status code, const char *why)
{
    return status_fail(code, "regular expression, byte %zu: %s", parser->position, why);
}

bool regex_parser_at_end(const struct regex_parser *parser)
{
    return parser->position >= parser->length;
}

bool regex_parser_looking_at(const struct regex_parser *parser, const char *text)
{
    size_t length = strlen(text);
    return parser->length - parser->position >= length &&
           memcmp(parser->pattern + parser->position, text, length) == 0;
}

bool regex_parser_take(struct regex_parser *parser, const char *text)
{
    bool taken = regex_parser_looking_at(parser, text);
    if (taken) {
        parser->position += strlen(text);
    }
    return taken;
}

/* A set that is complete but for case and negation. */
status regex_parser_finish_set(struct regex_parser *parser, struct unicode_set *set, bool negate)
{
    unicode_set_finish(set);
    if (parser->ignore_case) {
        TRY(unicode_set_close_case(set));
    }
    return negate ? unicode_set_negate(set) : STATUS_OK;
}

uint32_t regex_parser_digits(struct regex_parser *parser, int base, int most)
{
    uint32_t value = 0;
    for (int i = 0; i < most && !regex_parser_at_end(parser); i++) {
        int digit = unicode_hexadecimal(parser->pattern[parser->position]);
        if (digit < 0 || digit >= base) {
            break;
        }
        value = value * (uint32_t)base + (uint32_t)digit;
        parser->position++;
    }
    return value;
}

/* What stands behind a backslash, where it is a class: adds it to `set`. `bare`: not in brackets.
 */
status regex_parser_escaped_class(struct regex_parser *parser, struct unicode_set *set, bool bare,
                                  bool *was_class)
{
    const bool is_own = parser->dialect == REGEX_ONIGURUMA;
    const char *letters = is_own ? "dDwWsShHpPNO" : "dDwWsSpP";
    *was_class = false;
    if (regex_parser_at_end(parser) || strchr(letters, parser->pattern[parser->position]) == NULL) {
        return STATUS_OK;
    }
    char letter = parser->pattern[parser->position];
    if ((letter == 'p' || letter == 'P') &&
        (parser->position + 1 >= parser->length || parser->pattern[parser->position + 1] != '{')) {
        return STATUS_OK; /* a plain p */
    }
    *was_class = true;
    parser->position++;
    struct unicode_set own = {0};
    bool negate = strchr("DWSHPN", letter) != NULL;
    status s = STATUS_OK;
    switch (is_own || strchr("pP", letter) != NULL ? letter : '\0') {
    case '\0':
        s = regex_set_add_letter(&own, parser->dialect, (char)(letter | 0x20));
        break;
    case 'd':
    case 'D':
        s = unicode_set_add_categories(&own, UINT32_C(1) << UNICODE_ND);
        break;
    case 'w':
    case 'W':
        s = regex_set_add_word(&own, bare);
        break;
    case 's':
    case 'S':
        s = regex_set_add_space(&own);
        break;
    case 'h':
    case 'H':
        s = regex_set_add_property(&own, "XDigit", strlen("XDigit"), false);
        break;
    case 'N':
        s = unicode_set_add(&own, '\n', '\n');
        break;
    case 'O':
        s = unicode_set_add(&own, 0, 0x10FFFF);
        break;
    default: {
        parser->position++; /* { */
        if (regex_parser_take(parser, "^")) {
            negate = !negate;
        }
        const char *name = parser->pattern + parser->position;
        const char *end = memchr(name, '}', parser->length - parser->position);
        if (end == NULL) {
            return regex_parser_fail(parser, STATUS_INVALID, "\\p{ without }");
        }
        s = regex_set_add_property(&own, name, (size_t)(end - name), false);
        parser->position += (size_t)(end - name) + 1;
    }
    }
    unicode_set_finish(&own);
    if (s == STATUS_OK && negate) {
        s = unicode_set_negate(&own);
    }
    if (s == STATUS_OK) {
        s = unicode_set_add_set(set, &own);
    }
    unicode_set_destroy(&own);
    return s;
}

/* A number of exactly so many hexadecimal digits, or, where braces are allowed, of any in them. */
static status parse_code_point(struct regex_parser *parser, int digits, bool may_have_braces,
                               uint32_t *out)
{
    const bool braces = may_have_braces && regex_parser_take(parser, "{");
    const size_t start = parser->position;
    *out = regex_parser_digits(parser, 16, braces ? 8 : digits);
    const size_t count = parser->position - start;
    if (count == 0 || *out > 0x10FFFF || (braces && !regex_parser_take(parser, "}")) ||
        (!braces && count != (size_t)digits)) {
        return regex_parser_fail(parser, STATUS_INVALID, "not a code point");
    }
    return STATUS_OK;
}

/* \u of ECMA-262: two that are a pair of surrogates are one character. */
static status parse_ecma_unit(struct regex_parser *parser, uint32_t *out)
{
    TRY(parse_code_point(parser, 4, true, out));
    if (*out < 0xD800 || *out > 0xDBFF || !regex_parser_looking_at(parser, "\\u")) {
        return STATUS_OK;
    }
    const size_t before = parser->position;
    uint32_t low;
    parser->position += 2;
    TRY(parse_code_point(parser, 4, false, &low));
    if (low < 0xDC00 || low > 0xDFFF) {
        parser->position = before;
        return STATUS_OK;
    }
    *out = 0x10000 + ((*out - 0xD800) << 10) + (low - 0xDC00);
    return STATUS_OK;
}

/* The same for the dialects of grammars: letters that mean nothing are errors there. */
static status escaped_character_of_dialect(struct regex_parser *parser, uint32_t *out)
{
    const bool is_ecma = parser->dialect == REGEX_ECMA;
    const char *names = is_ecma ? "tnrfv" : "tnrfvab";
    static const char values[] = "\t\n\r\f\v\a\b";
    const char letter = parser->pattern[parser->position];
    const char *named = letter != '\0' ? strchr(names, letter) : NULL;
    if (named != NULL) {
        parser->position++;
        *out = (uint32_t)values[named - names];
        return STATUS_OK;
    }
    if (letter == 'x' || letter == 'u' || (letter == 'U' && !is_ecma)) {
        parser->position++;
        return letter == 'u' && is_ecma ? parse_ecma_unit(parser, out)
                                        : parse_code_point(parser,
                                                           letter == 'x'   ? 2
                                                           : letter == 'u' ? 4
                                                                           : 8,
                                                           false, out);
    }
    if (letter == '0') {
        *out = regex_parser_digits(parser, 8, is_ecma ? 1 : 3);
        return STATUS_OK;
    }
    if (letter == 'c' && is_ecma && parser->position + 1 < parser->length) {
        *out = (uint32_t)parser->pattern[parser->position + 1] & 0x1F;
        parser->position += 2;
        return STATUS_OK;
    }
    if (letter >= '1' && letter <= '9') {
        return regex_parser_fail(parser, STATUS_UNSUPPORTED, "back references");
    }
    if ((letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z')) {
        return regex_parser_fail(parser, STATUS_INVALID, "an unknown escape");
    }
    *out = (uint32_t)unicode_next(parser->pattern, &parser->position);
    return STATUS_OK;
}

/* What stands behind a backslash, where it is one character. */
status regex_parser_escaped_character(struct regex_parser *parser, uint32_t *out)
{
    if (regex_parser_at_end(parser)) {
        return regex_parser_fail(parser, STATUS_INVALID, "ends with a backslash");
    }
    if (parser->dialect != REGEX_ONIGURUMA) {
        return escaped_character_of_dialect(parser, out);
    }
    static const char names[] = "tnrfvae", values[] = "\t\n\r\f\v\a\x1b";
    char letter = parser->pattern[parser->position];
    const char *named = strchr(names, letter);
    if (letter != '\0' && named != NULL) {
        parser->position++;
        *out = (uint32_t)values[named - names];
        return STATUS_OK;
    }
    if (letter == 'x' || letter == 'u') {
        parser->position++;
        size_t start = parser->position;
        bool braces = letter == 'x' && regex_parser_take(parser, "{");
        *out = regex_parser_digits(parser, 16, braces ? 8 : letter == 'u' ? 4 : 2);
        if (braces && !regex_parser_take(parser, "}")) {
            return regex_parser_fail(parser, STATUS_INVALID, "\\x{ without }");
        }
        if (parser->position == start || *out > 0x10FFFF ||
            (letter == 'u' && parser->position != start + 4)) {
            return regex_parser_fail(parser, STATUS_INVALID, "not a code point");
        }
        return letter == 'x' && !braces && *out >= 0x80
                   ? regex_parser_fail(parser, STATUS_UNSUPPORTED, "bytes of UTF-8 by their value")
                   : STATUS_OK;
    }
    if (letter == '0') {
        *out = regex_parser_digits(parser, 8, 3);
        return STATUS_OK;
    }
    if (letter == 'c') {
        parser->position++;
        if (regex_parser_at_end(parser)) {
            return regex_parser_fail(parser, STATUS_INVALID, "ends with \\c");
        }
        *out = (uint32_t)parser->pattern[parser->position++] & 0x1F;
        return STATUS_OK;
    }
    if (strchr("123456789XGKkgyYCM", letter) != NULL) {
        return regex_parser_fail(parser, STATUS_UNSUPPORTED, "back references, \\X, \\G and \\K");
    }
    *out = (uint32_t)unicode_next(parser->pattern, &parser->position);
    return STATUS_OK;
}

/* [:name:] or [:^name:] at the position; *found false where it is something else. */
static status parse_bracket_name(struct regex_parser *parser, struct unicode_set *set, bool *found)
{
    *found = false;
    if (!regex_parser_looking_at(parser, "[:")) {
        return STATUS_OK;
    }
    size_t start = parser->position + 2;
    bool negate = start < parser->length && parser->pattern[start] == '^';
    start += negate;
    size_t end = start;
    while (end < parser->length && ((parser->pattern[end] >= 'a' && parser->pattern[end] <= 'z') ||
                                    (parser->pattern[end] >= 'A' && parser->pattern[end] <= 'Z'))) {
        end++;
    }
    if (end + 1 >= parser->length || memcmp(parser->pattern + end, ":]", 2) != 0) {
        return STATUS_OK;
    }
    struct unicode_set own = {0};
    status s = regex_set_add_property(&own, parser->pattern + start, end - start, true);
    unicode_set_finish(&own);
    if (s == STATUS_OK && negate) {
        s = unicode_set_negate(&own);
    }
    if (s == STATUS_OK) {
        s = unicode_set_add_set(set, &own);
    }
    unicode_set_destroy(&own);
    parser->position = end + 2;
    *found = true;
    return s;
}

/* One item of a class; *character is its code point, or UINT32_MAX where it was itself a class
 * that has been added. */
static status parse_class_item(struct regex_parser *parser, struct unicode_set *set,
                               uint32_t *character)
{
    *character = UINT32_MAX;
    bool was_class;
    if (parser->dialect == REGEX_ONIGURUMA && regex_parser_looking_at(parser, "[")) {
        TRY(parse_bracket_name(parser, set, &was_class));
        if (was_class) {
            return STATUS_OK;
        }
        struct unicode_set nested = {0};
        parser->position++;
        status s = regex_parser_class(parser, &nested);
        if (s == STATUS_OK) {
            s = unicode_set_add_set(set, &nested);
        }
        unicode_set_destroy(&nested);
        return s;
    }
    if (regex_parser_take(parser, "\\")) {
        TRY(regex_parser_escaped_class(parser, set, false, &was_class));
        if (was_class) {
            return STATUS_OK;
        }
        if (regex_parser_take(parser, "b")) {
            *character = '\b';
            return STATUS_OK;
        }
        return regex_parser_escaped_character(parser, character);
    }
    *character = (uint32_t)unicode_next(parser->pattern, &parser->position);
    return STATUS_OK;
}

/* The union up to "&&" or "]", which is not consumed. */
static status parse_class_union(struct regex_parser *parser, struct unicode_set *set, bool first)
{
    const bool is_own = parser->dialect == REGEX_ONIGURUMA;
    first = first && parser->dialect != REGEX_ECMA; /* where [] is a class of nothing */
    for (;; first = false) {
        if (regex_parser_at_end(parser)) {
            return regex_parser_fail(parser, STATUS_INVALID, "a [ without ]");
        }
        if ((is_own && regex_parser_looking_at(parser, "&&")) ||
            (!first && regex_parser_looking_at(parser, "]"))) {
            return STATUS_OK;
        }
        uint32_t low;
        TRY(parse_class_item(parser, set, &low));
        if (low == UINT32_MAX) {
            continue;
        }
        uint32_t high = low;
        if (regex_parser_looking_at(parser, "-") && !regex_parser_looking_at(parser, "-]") &&
            !(is_own &&
              (regex_parser_looking_at(parser, "-[") || regex_parser_looking_at(parser, "-&&")))) {
            parser->position++;
            if (regex_parser_at_end(parser)) {
                return regex_parser_fail(parser, STATUS_INVALID, "a [ without ]");
            }
            TRY(parse_class_item(parser, set, &high));
            if (high == UINT32_MAX || high < low) {
                return regex_parser_fail(parser, STATUS_INVALID,
                                         "a range in [ ] that ends before it begins");
            }
        }
        TRY(unicode_set_add(set, low, high));
    }
}

/* Behind "[": the whole class with its "]", into the empty set `out`. */
status regex_parser_class(struct regex_parser *parser, struct unicode_set *out)
{
    if (++parser->depth > REGEX_MAX_DEPTH) {
        return regex_parser_fail(parser, STATUS_INVALID, "nested too deeply");
    }
    bool negate = regex_parser_take(parser, "^");
    TRY(parse_class_union(parser, out, true));
    unicode_set_finish(out);
    while (parser->dialect == REGEX_ONIGURUMA && regex_parser_take(parser, "&&")) {
        struct unicode_set other = {0};
        status s = parse_class_union(parser, &other, false);
        if (s == STATUS_OK) {
            unicode_set_finish(&other);
            s = unicode_set_intersect(out, &other);
        }
        unicode_set_destroy(&other);
        if (s != STATUS_OK) {
            return s;
        }
    }
    parser->position++; /* ] */
    parser->depth--;
    return regex_parser_finish_set(parser, out, negate);
}
