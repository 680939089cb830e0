/* SPDX-License-Identifier: Apache-2.0 */
/* Parser of regular expressions: text to tree, but for classes. */
#include <string.h>

#include "text/regex/regex_internal.h"

enum { MAX_REPEAT = 100000 };

static status new_node(struct regex_parser *parser, enum regex_node_kind kind,
                       struct regex_node **out)
{
    *out = arena_allocate(parser->arena, sizeof **out);
    if (*out == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a regular expression");
    }
    (*out)->kind = kind;
    return STATUS_OK;
}

static struct unicode_set *set_of(struct regex_parser *parser, const struct regex_node *node)
{
    return &parser->regex->sets[node->set];
}

static status new_set(struct regex_parser *parser, struct regex_node **out)
{
    TRY(new_node(parser, REGEX_NODE_SET, out));
    return regex_set_new(parser->regex, &(*out)->set);
}

static status parse_alternatives(struct regex_parser *parser, struct regex_node **out);

/* Letters of (?imx-imx; *closed tells whether ")" (true) or ":" ended them. */
static status parse_options(struct regex_parser *parser, bool *closed)
{
    /* What Oniguruma calls m is s elsewhere; m of the others is about ^ and $ at every line. */
    const char dot_all = parser->dialect == REGEX_ONIGURUMA ? 'm' : 's';
    const char *known = parser->dialect == REGEX_ECMA     ? ":"
                        : parser->dialect == REGEX_PYTHON ? "isxu-):"
                                                          : "imx-):";
    for (bool value = true; !regex_parser_at_end(parser);) {
        char c = parser->pattern[parser->position++];
        if (c == '\0' || strchr(known, c) == NULL) {
            c = '\0';
        } else if (c == dot_all) {
            parser->dot_all = value;
            continue;
        }
        switch (c) {
        case 'i':
            parser->ignore_case = value;
            break;
        case 'u': /* as it is */
            break;
        case 'x':
            parser->extended = value;
            break;
        case '-':
            value = false;
            break;
        case ')':
        case ':':
            *closed = c == ')';
            return STATUS_OK;
        default:
            parser->position--;
            return regex_parser_fail(parser, STATUS_UNSUPPORTED, "an unknown kind of group");
        }
    }
    return regex_parser_fail(parser, STATUS_INVALID, "a ( without )");
}

/* Behind "(". *out NULL: a comment. */
static status parse_group(struct regex_parser *parser, struct regex_node **out)
{
    struct regex_parser outer = *parser;
    struct regex_node *node = NULL;
    *out = NULL;
    bool closed = false;
    const bool is_python = parser->dialect == REGEX_PYTHON;
    if (parser->dialect != REGEX_ECMA && regex_parser_take(parser, "?#")) {
        const char *start = parser->pattern + parser->position;
        const char *end = memchr(start, ')', parser->length - parser->position);
        if (end == NULL) {
            return regex_parser_fail(parser, STATUS_INVALID, "a ( without )");
        }
        parser->position += (size_t)(end - start) + 1;
        return STATUS_OK;
    }
    static const struct {
        const char *opening;
        enum regex_node_kind kind;
        bool negated;
    } kinds[] = {
        {"?=", REGEX_NODE_LOOKAHEAD, false},   {"?!", REGEX_NODE_LOOKAHEAD, true},
        {"?<=", REGEX_NODE_LOOKBEHIND, false}, {"?<!", REGEX_NODE_LOOKBEHIND, true},
        {"?>", REGEX_NODE_ATOMIC, false},
    };
    for (size_t i = 0; i < COUNT_OF(kinds) && node == NULL; i++) {
        if (regex_parser_take(parser, kinds[i].opening)) {
            TRY(new_node(parser, kinds[i].kind, &node));
            node->negated = kinds[i].negated;
        }
    }
    if (node == NULL && is_python && regex_parser_looking_at(parser, "?P<")) {
        parser->position++; /* the name is as elsewhere; its first letter does no harm */
    }
    if (node == NULL &&
        (regex_parser_looking_at(parser, "?<") || regex_parser_looking_at(parser, "?'") ||
         (is_python && regex_parser_looking_at(parser, "P<")))) {
        char close = regex_parser_looking_at(parser, "?'") ? '\'' : '>';
        const char *start = parser->pattern + parser->position + 2;
        const char *end = memchr(start, close, parser->length - parser->position - 2);
        if (end == NULL) {
            return regex_parser_fail(parser, STATUS_INVALID, "a group's name without its end");
        }
        parser->position += (size_t)(end - start) + 3;
    } else if (node == NULL && regex_parser_take(parser, "?")) {
        TRY(parse_options(parser, &closed));
    }
    struct regex_node *inner;
    TRY(parse_alternatives(parser, &inner));
    if (!closed &&
        !regex_parser_take(parser, ")")) { /* (?i) lasts to the end of the group around it */
        return regex_parser_fail(parser, STATUS_INVALID, "a ( without )");
    }
    parser->ignore_case = outer.ignore_case;
    parser->dot_all = outer.dot_all;
    parser->extended = outer.extended;
    if (node != NULL) {
        node->child = inner;
    }
    *out = node != NULL ? node : inner;
    return STATUS_OK;
}

static status new_assertion(struct regex_parser *parser, enum regex_assertion which,
                            struct regex_node **out)
{
    TRY(new_node(parser, REGEX_NODE_ASSERT, out));
    (*out)->which = which;
    return STATUS_OK;
}

/* \R: a line break, \r\n taken as one. */
static status new_line_break(struct regex_parser *parser, struct regex_node **out)
{
    static const uint32_t breaks[] = {0xA, 0xD, 0x85, 0x85, 0x2028, 0x2029};
    struct regex_node *carriage_return, *newline, *pair, *single, *either;
    TRY(new_set(parser, &carriage_return));
    TRY(unicode_set_add(set_of(parser, carriage_return), '\r', '\r'));
    unicode_set_finish(set_of(parser, carriage_return));
    TRY(new_set(parser, &newline));
    TRY(unicode_set_add(set_of(parser, newline), '\n', '\n'));
    unicode_set_finish(set_of(parser, newline));
    TRY(new_set(parser, &single));
    TRY(unicode_set_add_ranges(set_of(parser, single), breaks, COUNT_OF(breaks)));
    unicode_set_finish(set_of(parser, single));
    TRY(new_node(parser, REGEX_NODE_SEQUENCE, &pair));
    pair->child = carriage_return;
    carriage_return->next = newline;
    TRY(new_node(parser, REGEX_NODE_ALTERNATIVE, &either));
    either->child = pair;
    pair->next = single;
    TRY(new_node(parser, REGEX_NODE_ATOMIC, out));
    (*out)->child = either;
    return STATUS_OK;
}

/* *out NULL: a comment. */
static status parse_atom(struct regex_parser *parser, struct regex_node **out)
{
    if (regex_parser_take(parser, "(")) {
        return parse_group(parser, out);
    }
    if (regex_parser_take(parser, "^")) {
        return new_assertion(parser, REGEX_LINE_START, out);
    }
    if (regex_parser_take(parser, "$")) {
        return new_assertion(parser, REGEX_LINE_END, out);
    }
    static const struct {
        const char *escape;
        enum regex_assertion which;
        unsigned dialects; /* a bit each */
    } assertions[] = {
        {"\\A", REGEX_TEXT_START, 1 << REGEX_ONIGURUMA | 1 << REGEX_PYTHON},
        {"\\z", REGEX_TEXT_END, 1 << REGEX_ONIGURUMA},
        {"\\Z", REGEX_TEXT_END_OR_NEWLINE, 1 << REGEX_ONIGURUMA},
        {"\\Z", REGEX_TEXT_END, 1 << REGEX_PYTHON},
        {"\\b", REGEX_WORD_BOUNDARY, ~0U},
        {"\\B", REGEX_NOT_WORD_BOUNDARY, ~0U},
    };
    for (size_t i = 0; i < COUNT_OF(assertions); i++) {
        if ((assertions[i].dialects >> parser->dialect & 1) != 0 &&
            regex_parser_take(parser, assertions[i].escape)) {
            if (assertions[i].which >= REGEX_WORD_BOUNDARY &&
                parser->regex->word_set == UINT32_MAX) {
                TRY(regex_set_new(parser->regex, &parser->regex->word_set));
                struct unicode_set *word = &parser->regex->sets[parser->regex->word_set];
                TRY(regex_set_add_word(word, true));
                unicode_set_finish(word);
            }
            return new_assertion(parser, assertions[i].which, out);
        }
    }
    if (parser->dialect == REGEX_ONIGURUMA && regex_parser_take(parser, "\\R")) {
        return new_line_break(parser, out);
    }
    if (regex_parser_looking_at(parser, "*") || regex_parser_looking_at(parser, "+") ||
        regex_parser_looking_at(parser, "?")) {
        return regex_parser_fail(parser, STATUS_INVALID, "nothing to repeat");
    }
    TRY(new_set(parser, out));
    struct unicode_set set = {0}; /* aside, since classes within may add sets */
    status s = STATUS_OK;
    uint32_t character = UINT32_MAX;
    bool was_class = true;
    if (regex_parser_take(parser, "[")) {
        s = regex_parser_class(parser, &set);
    } else if (regex_parser_take(parser, ".")) {
        if (!parser->dot_all) {
            s = unicode_set_add(&set, '\n', '\n');
        }
        if (s == STATUS_OK && parser->dialect == REGEX_ECMA) {
            static const uint32_t breaks[] = {'\r', '\r', 0x2028, 0x2029};
            s = unicode_set_add_ranges(&set, breaks, COUNT_OF(breaks));
        }
        unicode_set_finish(&set);
        if (s == STATUS_OK) {
            s = unicode_set_negate(&set);
        }
    } else if (regex_parser_take(parser, "\\")) {
        s = regex_parser_escaped_class(parser, &set, true, &was_class);
        if (s == STATUS_OK && !was_class) {
            s = regex_parser_escaped_character(parser, &character);
        }
        unicode_set_finish(&set);
    } else {
        character = (uint32_t)unicode_next(parser->pattern, &parser->position);
    }
    if (s == STATUS_OK && character != UINT32_MAX) {
        s = unicode_set_add(&set, character, character);
        if (s == STATUS_OK) {
            s = regex_parser_finish_set(parser, &set, false);
        }
    }
    *set_of(parser, *out) = set; /* owned by the regex from here, also on failure */
    return s;
}

/* {n}, {n,}, {,m}, {n,m} at the position; *found false where the brace is a plain one. */
static bool parse_interval(struct regex_parser *parser, uint32_t *low, uint32_t *high)
{
    size_t start = parser->position;
    parser->position++;
    size_t digits = parser->position;
    *low = regex_parser_digits(parser, 10, 7);
    bool has_low = parser->position > digits;
    *high = *low;
    bool has_high = has_low;
    if ((has_low || parser->dialect != REGEX_ECMA) && regex_parser_take(parser, ",")) {
        digits = parser->position;
        *high = regex_parser_digits(parser, 10, 7);
        has_high = parser->position > digits;
        if (!has_high) {
            *high = REGEX_UNBOUNDED;
        }
    }
    if ((!has_low && !has_high) || !regex_parser_take(parser, "}")) {
        parser->position = start;
        return false;
    }
    return true;
}

static status repeat(struct regex_parser *parser, uint32_t low, uint32_t high, enum regex_mode mode,
                     struct regex_node **node)
{
    struct regex_node *repeated;
    TRY(new_node(parser, REGEX_NODE_REPEAT, &repeated));
    repeated->low = low;
    repeated->high = high;
    repeated->mode = mode;
    repeated->child = *node;
    *node = repeated;
    return STATUS_OK;
}

/* The quantifiers behind an atom; several in a row repeat what the ones before repeat. */
static status parse_quantifiers(struct regex_parser *parser, struct regex_node **node)
{
    for (int count = 0; !regex_parser_at_end(parser); count++) {
        if (count == REGEX_MAX_DEPTH) {
            return regex_parser_fail(parser, STATUS_INVALID, "nested too deeply");
        }
        uint32_t low, high;
        bool interval = false;
        if (regex_parser_take(parser, "?")) {
            low = 0, high = 1;
        } else if (regex_parser_take(parser, "*")) {
            low = 0, high = REGEX_UNBOUNDED;
        } else if (regex_parser_take(parser, "+")) {
            low = 1, high = REGEX_UNBOUNDED;
        } else if (regex_parser_looking_at(parser, "{") && parse_interval(parser, &low, &high)) {
            interval = true;
        } else {
            return STATUS_OK;
        }
        if (low > high || low > MAX_REPEAT || (high > MAX_REPEAT && high != REGEX_UNBOUNDED)) {
            return regex_parser_fail(parser, STATUS_INVALID, "a bad number of repetitions");
        }
        const bool is_own = parser->dialect == REGEX_ONIGURUMA;
        if (count > 0 && !is_own) {
            return regex_parser_fail(parser, STATUS_INVALID, "nothing to repeat");
        }
        enum regex_mode mode = REGEX_GREEDY;
        if (is_own && interval && low == high && regex_parser_take(parser, "?")) {
            /* a{2}? is an optional a{2}, not a reluctant one. */
            TRY(repeat(parser, low, high, mode, node));
            low = 0, high = 1;
        } else if (regex_parser_take(parser, "?")) {
            mode = REGEX_LAZY;
        } else if ((!interval || !is_own) && regex_parser_take(parser, "+")) {
            mode = REGEX_POSSESSIVE;
        }
        TRY(repeat(parser, low, high, mode, node));
    }
    return STATUS_OK;
}

static void skip_extended(struct regex_parser *parser)
{
    while (parser->extended && !regex_parser_at_end(parser)) {
        char c = parser->pattern[parser->position];
        if (c == '#') {
            while (!regex_parser_at_end(parser) && parser->pattern[parser->position] != '\n') {
                parser->position++;
            }
        } else if (c == ' ' || (c >= '\t' && c <= '\r')) {
            parser->position++;
        } else {
            return;
        }
    }
}

static status parse_sequence(struct regex_parser *parser, struct regex_node **out)
{
    TRY(new_node(parser, REGEX_NODE_SEQUENCE, out));
    struct regex_node **tail = &(*out)->child;
    for (;;) {
        skip_extended(parser);
        if (regex_parser_at_end(parser) || regex_parser_looking_at(parser, "|") ||
            regex_parser_looking_at(parser, ")")) {
            return STATUS_OK;
        }
        struct regex_node *node;
        TRY(parse_atom(parser, &node));
        if (node == NULL) {
            continue;
        }
        skip_extended(parser);
        TRY(parse_quantifiers(parser, &node));
        *tail = node;
        tail = &node->next;
    }
}

static status parse_alternatives(struct regex_parser *parser, struct regex_node **out)
{
    if (++parser->depth > REGEX_MAX_DEPTH) {
        return regex_parser_fail(parser, STATUS_INVALID, "nested too deeply");
    }
    TRY(new_node(parser, REGEX_NODE_ALTERNATIVE, out));
    struct regex_node **tail = &(*out)->child;
    do {
        TRY(parse_sequence(parser, tail));
        tail = &(*tail)->next;
    } while (regex_parser_take(parser, "|"));
    parser->depth--;
    return STATUS_OK;
}

status regex_parse(const char *pattern, size_t length, enum regex_dialect dialect,
                   struct regex *regex, struct arena *arena, struct regex_node **out)
{
    struct regex_parser parser = {
        .pattern = pattern, .length = length, .dialect = dialect, .regex = regex, .arena = arena};
    TRY(parse_alternatives(&parser, out));
    return regex_parser_at_end(&parser)
               ? STATUS_OK
               : regex_parser_fail(&parser, STATUS_INVALID, "a ) without (");
}
