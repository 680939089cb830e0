/* Parser of regular expressions: text to tree. */
#include <string.h>

#include "text/tokenizer_regex_internal.h"

enum { MAX_DEPTH = 64, MAX_REPEAT = 100000 };

struct parser {
    const char *pattern;
    size_t length, position;
    struct regex *regex;
    struct arena *arena;
    int depth;
    bool ignore_case, dot_all, extended; /* (?i) (?m) (?x) */
};

static status fail(const struct parser *parser, status code, const char *why)
{
    return status_fail(code, "regular expression, byte %zu: %s", parser->position, why);
}

static bool at_end(const struct parser *parser)
{
    return parser->position >= parser->length;
}

static bool looking_at(const struct parser *parser, const char *text)
{
    size_t length = strlen(text);
    return parser->length - parser->position >= length &&
           memcmp(parser->pattern + parser->position, text, length) == 0;
}

static bool take(struct parser *parser, const char *text)
{
    bool taken = looking_at(parser, text);
    if (taken) {
        parser->position += strlen(text);
    }
    return taken;
}

static status new_node(struct parser *parser, enum regex_node_kind kind, struct regex_node **out)
{
    *out = arena_allocate(parser->arena, sizeof **out);
    if (*out == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a regular expression");
    }
    (*out)->kind = kind;
    return STATUS_OK;
}

static struct unicode_set *set_of(struct parser *parser, const struct regex_node *node)
{
    return &parser->regex->sets[node->set];
}

static status new_set(struct parser *parser, struct regex_node **out)
{
    TRY(new_node(parser, REGEX_NODE_SET, out));
    return regex_set_new(parser->regex, &(*out)->set);
}

/* A set that is complete but for case and negation. */
static status finish_set(struct parser *parser, struct unicode_set *set, bool negate)
{
    unicode_set_finish(set);
    if (parser->ignore_case) {
        TRY(unicode_set_close_case(set));
    }
    return negate ? unicode_set_negate(set) : STATUS_OK;
}

static int hexadecimal(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static uint32_t parse_digits(struct parser *parser, int base, int most)
{
    uint32_t value = 0;
    for (int i = 0; i < most && !at_end(parser); i++) {
        int digit = hexadecimal(parser->pattern[parser->position]);
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
static status parse_escaped_class(struct parser *parser, struct unicode_set *set, bool bare,
                                  bool *was_class)
{
    static const char letters[] = "dDwWsShHpPNO";
    *was_class = false;
    if (at_end(parser) || strchr(letters, parser->pattern[parser->position]) == NULL) {
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
    switch (letter) {
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
        if (take(parser, "^")) {
            negate = !negate;
        }
        const char *name = parser->pattern + parser->position;
        const char *end = memchr(name, '}', parser->length - parser->position);
        if (end == NULL) {
            return fail(parser, STATUS_INVALID, "\\p{ without }");
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

/* What stands behind a backslash, where it is one character. */
static status parse_escaped_character(struct parser *parser, uint32_t *out)
{
    if (at_end(parser)) {
        return fail(parser, STATUS_INVALID, "ends with a backslash");
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
        bool braces = letter == 'x' && take(parser, "{");
        *out = parse_digits(parser, 16, braces ? 8 : letter == 'u' ? 4 : 2);
        if (braces && !take(parser, "}")) {
            return fail(parser, STATUS_INVALID, "\\x{ without }");
        }
        if (parser->position == start || *out > 0x10FFFF ||
            (letter == 'u' && parser->position != start + 4)) {
            return fail(parser, STATUS_INVALID, "not a code point");
        }
        return letter == 'x' && !braces && *out >= 0x80
                   ? fail(parser, STATUS_UNSUPPORTED, "bytes of UTF-8 by their value")
                   : STATUS_OK;
    }
    if (letter == '0') {
        *out = parse_digits(parser, 8, 3);
        return STATUS_OK;
    }
    if (letter == 'c') {
        parser->position++;
        if (at_end(parser)) {
            return fail(parser, STATUS_INVALID, "ends with \\c");
        }
        *out = (uint32_t)parser->pattern[parser->position++] & 0x1F;
        return STATUS_OK;
    }
    if (strchr("123456789XGKkgyYCM", letter) != NULL) {
        return fail(parser, STATUS_UNSUPPORTED, "back references, \\X, \\G and \\K");
    }
    *out = (uint32_t)unicode_next(parser->pattern, &parser->position);
    return STATUS_OK;
}

static status parse_class(struct parser *parser, struct unicode_set *out);

/* [:name:] or [:^name:] at the position; *found false where it is something else. */
static status parse_bracket_name(struct parser *parser, struct unicode_set *set, bool *found)
{
    *found = false;
    if (!looking_at(parser, "[:")) {
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
static status parse_class_item(struct parser *parser, struct unicode_set *set, uint32_t *character)
{
    *character = UINT32_MAX;
    bool was_class;
    if (looking_at(parser, "[")) {
        TRY(parse_bracket_name(parser, set, &was_class));
        if (was_class) {
            return STATUS_OK;
        }
        struct unicode_set nested = {0};
        parser->position++;
        status s = parse_class(parser, &nested);
        if (s == STATUS_OK) {
            s = unicode_set_add_set(set, &nested);
        }
        unicode_set_destroy(&nested);
        return s;
    }
    if (take(parser, "\\")) {
        TRY(parse_escaped_class(parser, set, false, &was_class));
        if (was_class) {
            return STATUS_OK;
        }
        if (take(parser, "b")) {
            *character = '\b';
            return STATUS_OK;
        }
        return parse_escaped_character(parser, character);
    }
    *character = (uint32_t)unicode_next(parser->pattern, &parser->position);
    return STATUS_OK;
}

/* The union up to "&&" or "]", which is not consumed. */
static status parse_class_union(struct parser *parser, struct unicode_set *set, bool first)
{
    for (;; first = false) {
        if (at_end(parser)) {
            return fail(parser, STATUS_INVALID, "a [ without ]");
        }
        if (looking_at(parser, "&&") || (!first && looking_at(parser, "]"))) {
            return STATUS_OK;
        }
        uint32_t low;
        TRY(parse_class_item(parser, set, &low));
        if (low == UINT32_MAX) {
            continue;
        }
        uint32_t high = low;
        if (looking_at(parser, "-") && !looking_at(parser, "-]") && !looking_at(parser, "-[") &&
            !looking_at(parser, "-&&")) {
            parser->position++;
            if (at_end(parser)) {
                return fail(parser, STATUS_INVALID, "a [ without ]");
            }
            TRY(parse_class_item(parser, set, &high));
            if (high == UINT32_MAX || high < low) {
                return fail(parser, STATUS_INVALID, "a range in [ ] that ends before it begins");
            }
        }
        TRY(unicode_set_add(set, low, high));
    }
}

/* Behind "[": the whole class with its "]", into the empty set `out`. */
static status parse_class(struct parser *parser, struct unicode_set *out)
{
    if (++parser->depth > MAX_DEPTH) {
        return fail(parser, STATUS_INVALID, "nested too deeply");
    }
    bool negate = take(parser, "^");
    TRY(parse_class_union(parser, out, true));
    unicode_set_finish(out);
    while (take(parser, "&&")) {
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
    return finish_set(parser, out, negate);
}

static status parse_alternatives(struct parser *parser, struct regex_node **out);

/* Letters of (?imx-imx; *closed tells whether ")" (true) or ":" ended them. */
static status parse_options(struct parser *parser, bool *closed)
{
    for (bool value = true; !at_end(parser);) {
        char c = parser->pattern[parser->position++];
        switch (c) {
        case 'i':
            parser->ignore_case = value;
            break;
        case 'm':
            parser->dot_all = value;
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
            return fail(parser, STATUS_UNSUPPORTED, "an unknown kind of group");
        }
    }
    return fail(parser, STATUS_INVALID, "a ( without )");
}

/* Behind "(". *out NULL: a comment. */
static status parse_group(struct parser *parser, struct regex_node **out)
{
    struct parser outer = *parser;
    struct regex_node *node = NULL;
    *out = NULL;
    bool closed = false;
    if (take(parser, "?#")) {
        const char *start = parser->pattern + parser->position;
        const char *end = memchr(start, ')', parser->length - parser->position);
        if (end == NULL) {
            return fail(parser, STATUS_INVALID, "a ( without )");
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
        if (take(parser, kinds[i].opening)) {
            TRY(new_node(parser, kinds[i].kind, &node));
            node->negated = kinds[i].negated;
        }
    }
    if (node == NULL && (looking_at(parser, "?<") || looking_at(parser, "?'"))) {
        char close = looking_at(parser, "?<") ? '>' : '\'';
        const char *start = parser->pattern + parser->position + 2;
        const char *end = memchr(start, close, parser->length - parser->position - 2);
        if (end == NULL) {
            return fail(parser, STATUS_INVALID, "a group's name without its end");
        }
        parser->position += (size_t)(end - start) + 3;
    } else if (node == NULL && take(parser, "?")) {
        TRY(parse_options(parser, &closed));
    }
    struct regex_node *inner;
    TRY(parse_alternatives(parser, &inner));
    if (!closed && !take(parser, ")")) { /* (?i) lasts to the end of the group around it */
        return fail(parser, STATUS_INVALID, "a ( without )");
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

static status new_assertion(struct parser *parser, enum regex_assertion which,
                            struct regex_node **out)
{
    TRY(new_node(parser, REGEX_NODE_ASSERT, out));
    (*out)->which = which;
    return STATUS_OK;
}

/* \R: a line break, \r\n taken as one. */
static status new_line_break(struct parser *parser, struct regex_node **out)
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
static status parse_atom(struct parser *parser, struct regex_node **out)
{
    if (take(parser, "(")) {
        return parse_group(parser, out);
    }
    if (take(parser, "^")) {
        return new_assertion(parser, REGEX_LINE_START, out);
    }
    if (take(parser, "$")) {
        return new_assertion(parser, REGEX_LINE_END, out);
    }
    static const struct {
        const char *escape;
        enum regex_assertion which;
    } assertions[] = {
        {"\\A", REGEX_TEXT_START},        {"\\z", REGEX_TEXT_END},
        {"\\b", REGEX_WORD_BOUNDARY},     {"\\Z", REGEX_TEXT_END_OR_NEWLINE},
        {"\\B", REGEX_NOT_WORD_BOUNDARY},
    };
    for (size_t i = 0; i < COUNT_OF(assertions); i++) {
        if (take(parser, assertions[i].escape)) {
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
    if (take(parser, "\\R")) {
        return new_line_break(parser, out);
    }
    if (looking_at(parser, "*") || looking_at(parser, "+") || looking_at(parser, "?")) {
        return fail(parser, STATUS_INVALID, "nothing to repeat");
    }
    TRY(new_set(parser, out));
    struct unicode_set set = {0}; /* aside, since classes within may add sets */
    status s = STATUS_OK;
    uint32_t character = UINT32_MAX;
    bool was_class = true;
    if (take(parser, "[")) {
        s = parse_class(parser, &set);
    } else if (take(parser, ".")) {
        if (!parser->dot_all) {
            s = unicode_set_add(&set, '\n', '\n');
        }
        unicode_set_finish(&set);
        if (s == STATUS_OK) {
            s = unicode_set_negate(&set);
        }
    } else if (take(parser, "\\")) {
        s = parse_escaped_class(parser, &set, true, &was_class);
        if (s == STATUS_OK && !was_class) {
            s = parse_escaped_character(parser, &character);
        }
        unicode_set_finish(&set);
    } else {
        character = (uint32_t)unicode_next(parser->pattern, &parser->position);
    }
    if (s == STATUS_OK && character != UINT32_MAX) {
        s = unicode_set_add(&set, character, character);
        if (s == STATUS_OK) {
            s = finish_set(parser, &set, false);
        }
    }
    *set_of(parser, *out) = set; /* owned by the regex from here, also on failure */
    return s;
}

/* {n}, {n,}, {,m}, {n,m} at the position; *found false where the brace is a plain one. */
static bool parse_interval(struct parser *parser, uint32_t *low, uint32_t *high)
{
    size_t start = parser->position;
    parser->position++;
    size_t digits = parser->position;
    *low = parse_digits(parser, 10, 7);
    bool has_low = parser->position > digits;
    *high = *low;
    bool has_high = has_low;
    if (take(parser, ",")) {
        digits = parser->position;
        *high = parse_digits(parser, 10, 7);
        has_high = parser->position > digits;
        if (!has_high) {
            *high = REGEX_UNBOUNDED;
        }
    }
    if ((!has_low && !has_high) || !take(parser, "}")) {
        parser->position = start;
        return false;
    }
    return true;
}

static status repeat(struct parser *parser, uint32_t low, uint32_t high, enum regex_mode mode,
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
static status parse_quantifiers(struct parser *parser, struct regex_node **node)
{
    for (int count = 0; !at_end(parser); count++) {
        if (count == MAX_DEPTH) {
            return fail(parser, STATUS_INVALID, "nested too deeply");
        }
        uint32_t low, high;
        bool interval = false;
        if (take(parser, "?")) {
            low = 0, high = 1;
        } else if (take(parser, "*")) {
            low = 0, high = REGEX_UNBOUNDED;
        } else if (take(parser, "+")) {
            low = 1, high = REGEX_UNBOUNDED;
        } else if (looking_at(parser, "{") && parse_interval(parser, &low, &high)) {
            interval = true;
        } else {
            return STATUS_OK;
        }
        if (low > high || low > MAX_REPEAT || (high > MAX_REPEAT && high != REGEX_UNBOUNDED)) {
            return fail(parser, STATUS_INVALID, "a bad number of repetitions");
        }
        enum regex_mode mode = REGEX_GREEDY;
        if (interval && low == high && take(parser, "?")) {
            /* a{2}? is an optional a{2}, not a reluctant one. */
            TRY(repeat(parser, low, high, mode, node));
            low = 0, high = 1;
        } else if (take(parser, "?")) {
            mode = REGEX_LAZY;
        } else if (!interval && take(parser, "+")) {
            mode = REGEX_POSSESSIVE;
        }
        TRY(repeat(parser, low, high, mode, node));
    }
    return STATUS_OK;
}

static void skip_extended(struct parser *parser)
{
    while (parser->extended && !at_end(parser)) {
        char c = parser->pattern[parser->position];
        if (c == '#') {
            while (!at_end(parser) && parser->pattern[parser->position] != '\n') {
                parser->position++;
            }
        } else if (c == ' ' || (c >= '\t' && c <= '\r')) {
            parser->position++;
        } else {
            return;
        }
    }
}

static status parse_sequence(struct parser *parser, struct regex_node **out)
{
    TRY(new_node(parser, REGEX_NODE_SEQUENCE, out));
    struct regex_node **tail = &(*out)->child;
    for (;;) {
        skip_extended(parser);
        if (at_end(parser) || looking_at(parser, "|") || looking_at(parser, ")")) {
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

static status parse_alternatives(struct parser *parser, struct regex_node **out)
{
    if (++parser->depth > MAX_DEPTH) {
        return fail(parser, STATUS_INVALID, "nested too deeply");
    }
    TRY(new_node(parser, REGEX_NODE_ALTERNATIVE, out));
    struct regex_node **tail = &(*out)->child;
    do {
        TRY(parse_sequence(parser, tail));
        tail = &(*tail)->next;
    } while (take(parser, "|"));
    parser->depth--;
    return STATUS_OK;
}

status regex_parse(const char *pattern, size_t length, struct regex *regex, struct arena *arena,
                   struct regex_node **out)
{
    struct parser parser = {.pattern = pattern, .length = length, .regex = regex, .arena = arena};
    TRY(parse_alternatives(&parser, out));
    return at_end(&parser) ? STATUS_OK : fail(&parser, STATUS_INVALID, "a ) without (");
}
