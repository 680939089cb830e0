/* SPDX-License-Identifier: Apache-2.0 */
/* GBNF, the notation of llama.cpp (grammars/README.md there): `name ::= "text" [a-z]+ (a | b)?`.
 * A definition ends where the next one begins, so alternatives may stand on lines of their own. */
#include <stdlib.h>
#include <string.h>

#include "grammar/ebnf/parser.h"
#include "grammar/ebnf_front.h"
#include "text/unicode/unicode.h"

/* ---- Characters ---- */

static status parse_hexadecimal(struct ebnf_parser *parser, int digits, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < digits; i++) {
        const int digit =
            ebnf_at_end(parser) ? -1 : unicode_hexadecimal(parser->text[parser->position]);
        if (digit < 0) {
            return ebnf_fail(parser, STATUS_INVALID, "an escape of %d hexadecimal digits", digits);
        }
        *out = *out * 16 + (uint32_t)digit;
        parser->position++;
    }
    return *out <= 0x10FFFF ? STATUS_OK : ebnf_fail(parser, STATUS_INVALID, "not a code point");
}

/* The next character of a literal or a class. */
static status parse_character(struct ebnf_parser *parser, uint32_t *out)
{
    if (ebnf_at_end(parser)) {
        return ebnf_fail(parser, STATUS_INVALID, "the text ends within a literal");
    }
    if (!ebnf_take(parser, "\\")) {
        *out = (uint32_t)unicode_next(parser->text, &parser->position);
        return STATUS_OK;
    }
    static const char names[] = "nrt\\\"[]-^/", values[] = "\n\r\t\\\"[]-^/";
    const char letter = ebnf_at_end(parser) ? '\0' : parser->text[parser->position++];
    const char *named = letter != '\0' ? strchr(names, letter) : NULL;
    if (named != NULL) {
        *out = (uint32_t)values[named - names];
        return STATUS_OK;
    }
    switch (letter) {
    case 'x':
        return parse_hexadecimal(parser, 2, out);
    case 'u':
        return parse_hexadecimal(parser, 4, out);
    case 'U':
        return parse_hexadecimal(parser, 8, out);
    default:
        return ebnf_fail(parser, STATUS_INVALID, "an unknown escape");
    }
}

static status parse_literal(struct ebnf_parser *parser, grammar_node *out)
{
    struct buffer bytes = {0};
    status s = STATUS_OK;
    while (s == STATUS_OK && !ebnf_take(parser, "\"")) {
        uint32_t point;
        s = parse_character(parser, &point);
        if (s == STATUS_OK) {
            s = unicode_append(&bytes, (int32_t)point);
        }
    }
    if (s == STATUS_OK) {
        s = grammar_literal(parser->arena, bytes.data, bytes.length, out);
    }
    buffer_destroy(&bytes);
    return s;
}

static status parse_set(struct ebnf_parser *parser, struct unicode_set *set)
{
    const bool negate = ebnf_take(parser, "^");
    while (!ebnf_take(parser, "]")) {
        uint32_t first, last;
        TRY(parse_character(parser, &first));
        last = first;
        if (ebnf_looking_at(parser, "-") && !ebnf_looking_at(parser, "-]")) {
            parser->position++;
            TRY(parse_character(parser, &last));
        }
        if (last < first) {
            return ebnf_fail(parser, STATUS_INVALID, "a range that ends before it begins");
        }
        TRY(unicode_set_add(set, first, last));
    }
    unicode_set_finish(set);
    return negate ? unicode_set_negate(set) : STATUS_OK;
}

static status set_node(struct ebnf_parser *parser, const struct unicode_set *set, grammar_node *out)
{
    struct code_point_range *ranges = malloc((set->count / 2 + 1) * sizeof *ranges);
    if (ranges == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a grammar");
    }
    for (size_t i = 0; i < set->count / 2; i++) {
        ranges[i] = (struct code_point_range){set->ranges[2 * i], set->ranges[2 * i + 1]};
    }
    status s = grammar_code_points(parser->arena, ranges, set->count / 2, out);
    free(ranges);
    return s;
}

static status parse_class(struct ebnf_parser *parser, grammar_node *out)
{
    struct unicode_set set = {0};
    status s = parse_set(parser, &set);
    if (s == STATUS_OK) {
        s = set_node(parser, &set, out);
    }
    unicode_set_destroy(&set);
    return s;
}

/* ---- Parts ---- */

static status parse_group(struct ebnf_parser *parser, grammar_node *out)
{
    TRY(ebnf_alternatives(parser, out));
    return ebnf_take(parser, ")") ? STATUS_OK : ebnf_fail(parser, STATUS_INVALID, "a ( without )");
}

static status parse_atom(struct ebnf_parser *parser, grammar_node *out, bool *found)
{
    *found = true;
    if (ebnf_take(parser, "\"")) {
        return parse_literal(parser, out);
    }
    if (ebnf_take(parser, "[")) {
        return parse_class(parser, out);
    }
    if (ebnf_take(parser, "(")) {
        return parse_group(parser, out);
    }
    if (ebnf_take(parser, ".")) {
        return grammar_code_points(parser->arena, &(struct code_point_range){0, 0x10FFFF}, 1, out);
    }
    const size_t length = ebnf_name_length(parser, parser->position, true);
    *found = length > 0;
    if (!*found) {
        return STATUS_OK;
    }
    struct ebnf_name *name;
    TRY(ebnf_find_name(parser, parser->text + parser->position, length, &name));
    parser->position += length;
    return grammar_reference(parser->arena, name->rule, out);
}

/* {n}, {n,} or {n,m}, behind its "{". */
static status parse_interval(struct ebnf_parser *parser, uint32_t *least, uint32_t *most)
{
    ebnf_skip_blanks(parser);
    TRY(ebnf_number(parser, least));
    ebnf_skip_blanks(parser);
    *most = *least;
    if (ebnf_take(parser, ",")) {
        ebnf_skip_blanks(parser);
        *most = GRAMMAR_UNBOUNDED;
        if (!ebnf_looking_at(parser, "}")) {
            TRY(ebnf_number(parser, most));
            ebnf_skip_blanks(parser);
        }
    }
    return ebnf_take(parser, "}") && *least <= *most
               ? STATUS_OK
               : ebnf_fail(parser, STATUS_INVALID, "a bad number of repetitions");
}

static status parse_postfix(struct ebnf_parser *parser, grammar_node *node, bool *found)
{
    uint32_t least = 0, most = GRAMMAR_UNBOUNDED;
    *found = true;
    ebnf_skip_blanks(parser);
    if (ebnf_take(parser, "?")) {
        most = 1;
    } else if (ebnf_take(parser, "+")) {
        least = 1;
    } else if (ebnf_take(parser, "{")) {
        TRY(parse_interval(parser, &least, &most));
    } else if (!ebnf_take(parser, "*")) {
        *found = false;
        return STATUS_OK;
    }
    return grammar_repeat(parser->arena, *node, least, most, node);
}

/* ---- Definitions ---- */

static bool at_definition(const struct ebnf_parser *parser)
{
    const size_t length = ebnf_name_length(parser, parser->position, true);
    struct ebnf_parser ahead = *parser;
    ahead.position += length;
    ebnf_skip_blanks(&ahead);
    return length > 0 && ebnf_looking_at(&ahead, "::=");
}

static status parse_definition(struct ebnf_parser *parser)
{
    const char *name = parser->text + parser->position;
    const size_t length = ebnf_name_length(parser, parser->position, true);
    if (!at_definition(parser)) {
        return ebnf_fail(parser, STATUS_INVALID, "a definition, name ::= …, was expected");
    }
    parser->position += length;
    ebnf_skip_blanks(parser);
    (void)ebnf_take(parser, "::=");
    grammar_node node;
    TRY(ebnf_alternatives(parser, &node));
    return ebnf_define(parser, name, length, node);
}

status grammar_gbnf(struct grammar_expressions *self, const char *text, size_t length,
                    grammar_node *out)
{
    static const struct ebnf_notation notation = {
        .name = "GBNF",
        .atom = parse_atom,
        .postfix = parse_postfix,
        .at_definition = at_definition,
        .definition = parse_definition,
        .comments = {"#", NULL},
        .start = "root",
    };
    return ebnf_parse(self, &notation, text, length, false, out);
}
