/* SPDX-License-Identifier: Apache-2.0 */
/* The part of a grammar's text that both notations have. */
#include "grammar/ebnf/parser.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grammar/ebnf_front.h"

/* ---- The text ---- */

static int line_at(const struct ebnf_parser *parser, size_t position)
{
    int line = 1;
    for (size_t i = 0; i < position && i < parser->length; i++) {
        line += parser->text[i] == '\n';
    }
    return line;
}

status ebnf_fail(const struct ebnf_parser *parser, status code, const char *format, ...)
{
    char why[300];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    return status_fail(code, "%s, line %d: %s", parser->notation->name,
                       line_at(parser, parser->position), why);
}

bool ebnf_at_end(const struct ebnf_parser *parser)
{
    return parser->position >= parser->length;
}

bool ebnf_looking_at(const struct ebnf_parser *parser, const char *text)
{
    const size_t length = strlen(text);
    return parser->length - parser->position >= length &&
           memcmp(parser->text + parser->position, text, length) == 0;
}

bool ebnf_take(struct ebnf_parser *parser, const char *text)
{
    const bool taken = ebnf_looking_at(parser, text);
    parser->position += taken ? strlen(text) : 0;
    return taken;
}

void ebnf_skip_blanks(struct ebnf_parser *parser)
{
    while (!ebnf_at_end(parser) &&
           (parser->text[parser->position] == ' ' || parser->text[parser->position] == '\t')) {
        parser->position++;
    }
}

static bool at_comment(const struct ebnf_parser *parser)
{
    for (int i = 0; i < 2; i++) {
        const char *begin = parser->notation->comments[i];
        if (begin != NULL && ebnf_looking_at(parser, begin)) {
            return true;
        }
    }
    return false;
}

void ebnf_skip(struct ebnf_parser *parser)
{
    while (!ebnf_at_end(parser)) {
        const char c = parser->text[parser->position];
        if (c == ' ' || (c >= '\t' && c <= '\r')) {
            parser->position++;
        } else if (at_comment(parser)) {
            const char *rest = parser->text + parser->position;
            const char *end = memchr(rest, '\n', parser->length - parser->position);
            parser->position = end != NULL ? (size_t)(end - parser->text) : parser->length;
        } else {
            return;
        }
    }
}

size_t ebnf_name_length(const struct ebnf_parser *parser, size_t at, bool dashes)
{
    size_t length = 0;
    for (; at + length < parser->length; length++) {
        const char c = parser->text[at + length];
        const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!is_letter && !(c >= '0' && c <= '9') && !(dashes && c == '-')) {
            break;
        }
    }
    return length;
}

status ebnf_number(struct ebnf_parser *parser, uint32_t *out)
{
    const size_t start = parser->position;
    uint64_t value = 0;
    while (!ebnf_at_end(parser) && parser->text[parser->position] >= '0' &&
           parser->text[parser->position] <= '9' && value < 1000000) {
        value = value * 10 + (uint64_t)(parser->text[parser->position++] - '0');
    }
    *out = (uint32_t)value;
    return parser->position > start && value < 1000000
               ? STATUS_OK
               : ebnf_fail(parser, STATUS_INVALID, "a number of repetitions was expected");
}

/* ---- Names ---- */

static status grow_table(struct ebnf_parser *parser)
{
    const size_t size = parser->table_size > 0 ? parser->table_size * 2 : 64;
    uint32_t *table = calloc(size, sizeof *table);
    if (table == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a grammar's names");
    }
    for (size_t i = 0; i < parser->name_count; i++) {
        size_t at = hash_bytes(parser->names[i].text, parser->names[i].length, 0) & (size - 1);
        while (table[at] != 0) {
            at = (at + 1) & (size - 1);
        }
        table[at] = (uint32_t)i + 1;
    }
    free(parser->table);
    parser->table = table;
    parser->table_size = size;
    return STATUS_OK;
}

static status add_name(struct ebnf_parser *parser, const char *text, size_t length)
{
    void *names = parser->names;
    status s =
        array_grow(&names, &parser->name_capacity, parser->name_count + 1, sizeof *parser->names);
    parser->names = names;
    TRY(s);
    char name[64];
    (void)snprintf(name, sizeof name, "%.*s", (int)(length < 60 ? length : 60), text);
    struct ebnf_name *made = &parser->names[parser->name_count];
    *made = (struct ebnf_name){
        .text = text, .length = length, .line = line_at(parser, parser->position)};
    TRY(grammar_rule_declare(parser->arena, name, &made->rule));
    parser->name_count++;
    return STATUS_OK;
}

status ebnf_find_name(struct ebnf_parser *parser, const char *text, size_t length,
                      struct ebnf_name **out)
{
    if ((parser->name_count + 1) * 2 > parser->table_size) {
        TRY(grow_table(parser));
    }
    size_t at = hash_bytes(text, length, 0) & (parser->table_size - 1);
    for (; parser->table[at] != 0; at = (at + 1) & (parser->table_size - 1)) {
        *out = &parser->names[parser->table[at] - 1];
        if ((*out)->length == length && memcmp((*out)->text, text, length) == 0) {
            return STATUS_OK;
        }
    }
    TRY(add_name(parser, text, length));
    parser->table[at] = (uint32_t)parser->name_count;
    *out = &parser->names[parser->name_count - 1];
    return STATUS_OK;
}

status ebnf_define(struct ebnf_parser *parser, const char *text, size_t length, grammar_node node)
{
    struct ebnf_name *name;
    TRY(ebnf_find_name(parser, text, length, &name));
    if (name->is_defined) {
        return ebnf_fail(parser, STATUS_INVALID, "\"%.*s\" is defined twice", (int)length, text);
    }
    name->is_defined = true;
    return grammar_rule_define(parser->arena, name->rule, node);
}

/* ---- Expressions ---- */

struct ebnf_nodes {
    grammar_node *items;
    size_t count, capacity;
};

static status add_node(struct ebnf_nodes *self, grammar_node node)
{
    void *items = self->items;
    status s = array_grow(&items, &self->capacity, self->count + 1, sizeof *self->items);
    self->items = items;
    if (s == STATUS_OK) {
        self->items[self->count++] = node;
    }
    return s;
}

/* Atoms with what repeats them, until there is no further one. */
static status parse_items(struct ebnf_parser *parser, struct ebnf_nodes *nodes)
{
    for (;;) {
        ebnf_skip(parser);
        grammar_node node;
        bool found = false;
        if (!ebnf_at_end(parser) && !parser->notation->at_definition(parser)) {
            TRY(parser->notation->atom(parser, &node, &found));
        }
        if (!found) {
            return STATUS_OK;
        }
        for (bool repeated = true; repeated;) {
            TRY(parser->notation->postfix(parser, &node, &repeated));
        }
        TRY(add_node(nodes, node));
    }
}

static status parse_sequence(struct ebnf_parser *parser, grammar_node *out)
{
    struct ebnf_nodes nodes = {0};
    status s = parse_items(parser, &nodes);
    if (s == STATUS_OK) {
        s = grammar_sequence(parser->arena, nodes.items, nodes.count, out);
    }
    free(nodes.items);
    return s;
}

static status parse_choice(struct ebnf_parser *parser, struct ebnf_nodes *nodes)
{
    do {
        grammar_node node;
        TRY(parse_sequence(parser, &node));
        TRY(add_node(nodes, node));
        ebnf_skip(parser);
    } while (ebnf_take(parser, "|"));
    return STATUS_OK;
}

status ebnf_alternatives(struct ebnf_parser *parser, grammar_node *out)
{
    if (++parser->depth > EBNF_MAX_DEPTH) {
        return ebnf_fail(parser, STATUS_LIMIT, "nested more than %d deep", EBNF_MAX_DEPTH);
    }
    struct ebnf_nodes nodes = {0};
    status s = parse_choice(parser, &nodes);
    if (s == STATUS_OK) {
        s = grammar_choice(parser->arena, nodes.items, nodes.count, out);
    }
    free(nodes.items);
    parser->depth--;
    return s;
}

/* ---- The whole ---- */

static status check_names(const struct ebnf_parser *parser)
{
    for (size_t i = 0; i < parser->name_count; i++) {
        const struct ebnf_name *name = &parser->names[i];
        if (!name->is_defined) {
            return status_fail(STATUS_INVALID, "%s, line %d: \"%.*s\" is not defined",
                               parser->notation->name, name->line,
                               (int)(name->length < 60 ? name->length : 60), name->text);
        }
    }
    return STATUS_OK;
}

static status begin_ignored(struct ebnf_parser *parser)
{
    TRY(grammar_choice(parser->arena, NULL, 0, &parser->ignorable));
    TRY(grammar_rule_declare(parser->arena, "ignored", &parser->ignored_rule));
    return grammar_reference(parser->arena, parser->ignored_rule, &parser->ignored);
}

static status end_ignored(struct ebnf_parser *parser, grammar_node *start)
{
    grammar_node any;
    TRY(grammar_repeat(parser->arena, parser->ignorable, 0, GRAMMAR_UNBOUNDED, &any));
    TRY(grammar_rule_define(parser->arena, parser->ignored_rule, any));
    const grammar_node parts[] = {any, *start}; /* behind terminals it is there already */
    return grammar_sequence(parser->arena, parts, COUNT_OF(parts), start);
}

static status parse_all(struct ebnf_parser *parser, grammar_node *out)
{
    if (parser->has_ignored) {
        TRY(begin_ignored(parser));
    }
    for (ebnf_skip(parser); !ebnf_at_end(parser); ebnf_skip(parser)) {
        TRY(parser->notation->definition(parser));
    }
    struct ebnf_name *start;
    const char *name = parser->notation->start;
    TRY(ebnf_find_name(parser, name, strlen(name), &start));
    const grammar_rule rule = start->rule;
    TRY(check_names(parser));
    TRY(grammar_reference(parser->arena, rule, out));
    return parser->has_ignored ? end_ignored(parser, out) : STATUS_OK;
}

status ebnf_parse(struct grammar_expressions *arena, const struct ebnf_notation *notation,
                  const char *text, size_t length, bool may_ignore, grammar_node *out)
{
    struct ebnf_parser parser = {.arena = arena,
                                 .notation = notation,
                                 .text = text,
                                 .length = length,
                                 .has_ignored = may_ignore};
    size_t bad;
    if (!utf8_valid(text, length, &bad)) {
        parser.position = bad;
        return ebnf_fail(&parser, STATUS_INVALID, "not valid UTF-8");
    }
    status s = parse_all(&parser, out);
    free(parser.names);
    free(parser.table);
    return s;
}

status grammar_ebnf(struct grammar_expressions *self, const char *text, size_t length,
                    grammar_node *out)
{
    return memmem(text, length, "::=", 3) != NULL ? grammar_gbnf(self, text, length, out)
                                                  : grammar_lark(self, text, length, out);
}
