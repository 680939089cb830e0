/* SPDX-License-Identifier: Apache-2.0 */
/* The notation of Lark (the Python library): `rule: TERMINAL "text" /regex/ | (a b)* -> alias`.
 *
 * A text is taken character by character, without a lexer in between: where Lark's lexer would cut
 * it into terminals in one way only, all ways count. What %ignore names may stand behind every
 * terminal of a rule, and before the first. */
#include <stdlib.h>
#include <string.h>

#include "grammar/ebnf/parser.h"
#include "grammar/ebnf_front.h"
#include "grammar/regex_front.h"
#include "text/unicode/unicode.h"

/* Terminals of lark's common.lark, as regular expressions of Python. */
static const struct {
    const char *name, *pattern;
} common[] = {
    {"DIGIT", "[0-9]"},
    {"HEXDIGIT", "[a-fA-F0-9]"},
    {"INT", "[0-9]+"},
    {"SIGNED_INT", "[+-]?[0-9]+"},
    {"DECIMAL", "[0-9]+\\.[0-9]*|\\.[0-9]+"},
    {"FLOAT", "[0-9]+[eE][+-]?[0-9]+|([0-9]+\\.[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?"},
    {"SIGNED_FLOAT", "[+-]?([0-9]+[eE][+-]?[0-9]+|([0-9]+\\.[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?)"},
    {"NUMBER", "[0-9]+|[0-9]+[eE][+-]?[0-9]+|([0-9]+\\.[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?"},
    {"SIGNED_NUMBER",
     "[+-]?([0-9]+|[0-9]+[eE][+-]?[0-9]+|([0-9]+\\.[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?)"},
    {"ESCAPED_STRING", "\"([^\"\\\\\\n]|\\\\[^\\n])*\""},
    {"LCASE_LETTER", "[a-z]"},
    {"UCASE_LETTER", "[A-Z]"},
    {"LETTER", "[a-zA-Z]"},
    {"WORD", "[a-zA-Z]+"},
    {"CNAME", "[_a-zA-Z][_a-zA-Z0-9]*"},
    {"WS_INLINE", "[ \\t]+"},
    {"WS", "[ \\t\\f\\r\\n]+"},
    {"CR", "\\r"},
    {"LF", "\\n"},
    {"NEWLINE", "(\\r?\\n)+"},
};

static status from_pattern(struct ebnf_parser *parser, const char *pattern, size_t length,
                           grammar_node *out)
{
    const struct grammar_regex_options whole = {GRAMMAR_REGEX_PYTHON, false};
    const status s = grammar_regex(parser->arena, pattern, length, whole, out);
    if (s == STATUS_OK || s == STATUS_NO_MEMORY) {
        return s;
    }
    char why[200];
    (void)strncpy(why, status_message(), sizeof why - 1);
    why[sizeof why - 1] = '\0';
    return ebnf_fail(parser, s, "%s", why);
}

/* ---- Names ---- */

/* Terminals are in capital letters, behind underscores. */
static bool is_terminal(const char *name, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (name[i] != '_') {
            return name[i] >= 'A' && name[i] <= 'Z';
        }
    }
    return false;
}

/* A terminal of a rule, and what may be ignored behind it. */
static status add_ignored(struct ebnf_parser *parser, grammar_node *node)
{
    if (parser->in_terminal || !parser->has_ignored) {
        return STATUS_OK;
    }
    const grammar_node parts[] = {*node, parser->ignored};
    return grammar_sequence(parser->arena, parts, COUNT_OF(parts), node);
}

/* ---- Literals ---- */

/* Up to the closing mark, with backslashes before it as they stand. */
static status find_end(struct ebnf_parser *parser, char mark, const char **start, size_t *length)
{
    *start = parser->text + parser->position;
    while (!ebnf_at_end(parser) && parser->text[parser->position] != mark) {
        if (parser->text[parser->position] == '\n') {
            break;
        }
        parser->position += parser->text[parser->position] == '\\' ? 2 : 1;
    }
    if (ebnf_at_end(parser) || parser->text[parser->position] != mark) {
        parser->position = parser->position < parser->length ? parser->position : parser->length;
        return ebnf_fail(parser, STATUS_INVALID, "the line ends within a literal");
    }
    *length = (size_t)(parser->text + parser->position - *start);
    parser->position++;
    return STATUS_OK;
}

/* A string's characters as a regular expression, in which its escapes mean the same. */
static status quote(const char *text, size_t length, struct buffer *out)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\\' && i + 1 < length) {
            TRY(buffer_append(out, text + i, 2));
            i++;
        } else {
            if (strchr("^$.|?*+()[]{}", text[i]) != NULL && text[i] != '\0') {
                TRY(buffer_append_byte(out, '\\'));
            }
            TRY(buffer_append_byte(out, text[i]));
        }
    }
    return STATUS_OK;
}

/* "text" with i behind it or not. */
static status parse_string(struct ebnf_parser *parser, grammar_node *out)
{
    const char *text;
    size_t length;
    TRY(find_end(parser, '"', &text, &length));
    struct buffer pattern = {0};
    status s = buffer_append_text(&pattern, ebnf_take(parser, "i") ? "(?i)" : "");
    if (s == STATUS_OK) {
        s = quote(text, length, &pattern);
    }
    if (s == STATUS_OK) {
        s = from_pattern(parser, pattern.data, pattern.length, out);
    }
    buffer_destroy(&pattern);
    return s;
}

/* "a".."z", where a second string follows. */
static status parse_range(struct ebnf_parser *parser, const char *first, size_t first_length,
                          grammar_node *out)
{
    const char *last;
    size_t last_length;
    if (!ebnf_take(parser, "\"")) {
        return ebnf_fail(parser, STATUS_INVALID, "a range goes from one string to another");
    }
    TRY(find_end(parser, '"', &last, &last_length));
    size_t first_end = 0, last_end = 0;
    const uint32_t from = first_length > 0 ? (uint32_t)unicode_next(first, &first_end) : 0;
    const uint32_t to = last_length > 0 ? (uint32_t)unicode_next(last, &last_end) : 0;
    if (first_end != first_length || last_end != last_length || first_length == 0 || from > to ||
        from == '\\' || to == '\\') {
        return ebnf_fail(parser, STATUS_INVALID, "a range is of two single characters");
    }
    return grammar_code_points(parser->arena, &(struct code_point_range){from, to}, 1, out);
}

static status parse_string_or_range(struct ebnf_parser *parser, grammar_node *out)
{
    struct ebnf_parser ahead = *parser;
    const char *text;
    size_t length;
    TRY(find_end(&ahead, '"', &text, &length));
    if (!ebnf_looking_at(&ahead, "..")) {
        return parse_string(parser, out);
    }
    parser->position = ahead.position + 2;
    return parse_range(parser, text, length, out);
}

/* /pattern/flags, behind the first slash. */
static status parse_regex(struct ebnf_parser *parser, grammar_node *out)
{
    const char *text;
    size_t length;
    TRY(find_end(parser, '/', &text, &length));
    struct buffer pattern = {0};
    status s = STATUS_OK;
    while (!ebnf_at_end(parser) && strchr("imsxu", parser->text[parser->position]) != NULL &&
           s == STATUS_OK) {
        const char flag[] = {'(', '?', parser->text[parser->position++], ')'};
        s = buffer_append(&pattern, flag, sizeof flag);
    }
    if (s == STATUS_OK) {
        s = buffer_append(&pattern, text, length);
    }
    if (s == STATUS_OK) {
        s = from_pattern(parser, pattern.data, pattern.length, out);
    }
    buffer_destroy(&pattern);
    return s;
}

/* ---- Parts ---- */

static status parse_name(struct ebnf_parser *parser, grammar_node *out)
{
    const char *text = parser->text + parser->position;
    const size_t length = ebnf_name_length(parser, parser->position, false);
    struct ebnf_name *name;
    TRY(ebnf_find_name(parser, text, length, &name));
    const grammar_rule rule = name->rule;
    parser->position += length;
    if (ebnf_looking_at(parser, "{")) {
        return ebnf_fail(parser, STATUS_UNSUPPORTED, "templates are not understood");
    }
    TRY(grammar_reference(parser->arena, rule, out));
    return is_terminal(text, length) ? add_ignored(parser, out) : STATUS_OK;
}

static status parse_bracketed(struct ebnf_parser *parser, const char *close, grammar_node *out)
{
    TRY(ebnf_alternatives(parser, out));
    if (!ebnf_take(parser, close)) {
        return ebnf_fail(parser, STATUS_INVALID, "a %s is missing", close);
    }
    return close[0] == ']' ? grammar_repeat(parser->arena, *out, 0, 1, out) : STATUS_OK;
}

/* `-> name` at the end of an alternative says nothing of texts. */
static status skip_alias(struct ebnf_parser *parser)
{
    ebnf_skip(parser);
    const size_t length = ebnf_name_length(parser, parser->position, false);
    parser->position += length;
    return length > 0 ? STATUS_OK
                      : ebnf_fail(parser, STATUS_INVALID, "a name was expected behind ->");
}

static status parse_atom(struct ebnf_parser *parser, grammar_node *out, bool *found)
{
    *found = true;
    if (ebnf_take(parser, "(")) {
        return parse_bracketed(parser, ")", out);
    }
    if (ebnf_take(parser, "[")) {
        return parse_bracketed(parser, "]", out);
    }
    if (ebnf_take(parser, "->")) {
        *found = false;
        return skip_alias(parser);
    }
    if (ebnf_take(parser, "\"")) {
        TRY(parse_string_or_range(parser, out));
        return add_ignored(parser, out);
    }
    if (ebnf_take(parser, "/")) {
        TRY(parse_regex(parser, out));
        return add_ignored(parser, out);
    }
    *found = ebnf_name_length(parser, parser->position, false) > 0;
    return *found ? parse_name(parser, out) : STATUS_OK;
}

/* `~ n` or `~ n..m`, behind its "~". */
static status parse_count(struct ebnf_parser *parser, uint32_t *least, uint32_t *most)
{
    ebnf_skip_blanks(parser);
    TRY(ebnf_number(parser, least));
    *most = *least;
    ebnf_skip_blanks(parser);
    if (ebnf_take(parser, "..")) {
        ebnf_skip_blanks(parser);
        TRY(ebnf_number(parser, most));
    }
    return *least <= *most ? STATUS_OK
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
    } else if (ebnf_take(parser, "~")) {
        TRY(parse_count(parser, &least, &most));
    } else if (!ebnf_take(parser, "*")) {
        *found = false;
        return STATUS_OK;
    }
    return grammar_repeat(parser->arena, *node, least, most, node);
}

/* ---- Definitions ---- */

/* What begins a definition: `?name.2:`; the name's place and length. */
static bool read_head(struct ebnf_parser *parser, const char **name, size_t *length)
{
    while (ebnf_take(parser, "?") || ebnf_take(parser, "!")) {
    }
    *name = parser->text + parser->position;
    *length = ebnf_name_length(parser, parser->position, false);
    parser->position += *length;
    if (*length > 0 && ebnf_take(parser, ".")) {
        parser->position += ebnf_name_length(parser, parser->position, true); /* a priority */
    }
    ebnf_skip_blanks(parser);
    return *length > 0 && ebnf_take(parser, ":");
}

static bool at_definition(const struct ebnf_parser *parser)
{
    struct ebnf_parser ahead = *parser;
    const char *name;
    size_t length;
    return ebnf_looking_at(parser, "%") || read_head(&ahead, &name, &length);
}

static status define_common(struct ebnf_parser *parser, const char *name, size_t length,
                            const char *as, size_t as_length)
{
    for (size_t i = 0; i < COUNT_OF(common); i++) {
        if (strlen(common[i].name) == length && memcmp(common[i].name, name, length) == 0) {
            grammar_node node;
            TRY(from_pattern(parser, common[i].pattern, strlen(common[i].pattern), &node));
            return ebnf_define(parser, as, as_length, node);
        }
    }
    return ebnf_fail(parser, STATUS_UNSUPPORTED, "common.%.*s is not known", (int)length, name);
}

/* `%import common.NAME`, `%import common.NAME -> OTHER`, `%import common (NAME, NAME)`. */
static status parse_import(struct ebnf_parser *parser)
{
    ebnf_skip_blanks(parser);
    if (!ebnf_take(parser, "common")) {
        return ebnf_fail(parser, STATUS_UNSUPPORTED, "only `common` can be imported from");
    }
    const bool is_list = !ebnf_take(parser, ".");
    ebnf_skip_blanks(parser);
    if (is_list && !ebnf_take(parser, "(")) {
        return ebnf_fail(parser, STATUS_INVALID, "%%import common.NAME was expected");
    }
    do {
        ebnf_skip_blanks(parser);
        const char *name = parser->text + parser->position, *as = name;
        const size_t length = ebnf_name_length(parser, parser->position, false);
        size_t as_length = length;
        parser->position += length;
        ebnf_skip_blanks(parser);
        if (!is_list && ebnf_take(parser, "->")) {
            ebnf_skip_blanks(parser);
            as = parser->text + parser->position;
            as_length = ebnf_name_length(parser, parser->position, false);
            parser->position += as_length;
        }
        TRY(define_common(parser, name, length, as, as_length));
    } while (is_list && ebnf_take(parser, ","));
    return !is_list || ebnf_take(parser, ")") ? STATUS_OK
                                              : ebnf_fail(parser, STATUS_INVALID, "a ) is missing");
}

static status parse_directive(struct ebnf_parser *parser)
{
    if (ebnf_take(parser, "import")) {
        return parse_import(parser);
    }
    if (ebnf_take(parser, "ignore")) {
        grammar_node parts[2] = {parser->ignorable};
        parser->in_terminal = true;
        TRY(ebnf_alternatives(parser, &parts[1]));
        parser->in_terminal = false;
        return grammar_choice(parser->arena, parts, COUNT_OF(parts), &parser->ignorable);
    }
    return ebnf_fail(parser, STATUS_UNSUPPORTED, "only %%import and %%ignore are understood");
}

static status parse_definition(struct ebnf_parser *parser)
{
    if (ebnf_take(parser, "%")) {
        return parse_directive(parser);
    }
    const char *name;
    size_t length;
    const size_t start = parser->position;
    if (!read_head(parser, &name, &length)) {
        parser->position = start;
        return ebnf_fail(parser, STATUS_INVALID, "a definition, name: …, was expected");
    }
    grammar_node node;
    parser->in_terminal = is_terminal(name, length);
    TRY(ebnf_alternatives(parser, &node));
    parser->in_terminal = false;
    return ebnf_define(parser, name, length, node);
}

status grammar_lark(struct grammar_expressions *self, const char *text, size_t length,
                    grammar_node *out)
{
    static const struct ebnf_notation notation = {
        .name = "Lark",
        .atom = parse_atom,
        .postfix = parse_postfix,
        .at_definition = at_definition,
        .definition = parse_definition,
        .comments = {"//", "#"},
        .start = "start",
    };
    const bool may_ignore = memmem(text, length, "%ignore", strlen("%ignore")) != NULL;
    return ebnf_parse(self, &notation, text, length, may_ignore, out);
}
