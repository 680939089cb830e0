/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions without rules: intersection, difference and questions by way of their automata, and
 * JSON's escapes. */
#include <stdlib.h>
#include <string.h>

#include "grammar/build.h"

enum { ESCAPE_WHOLE_WEIGHT = 64 };

/* ---- Automata of nodes ---- */

status grammar_node_automaton(struct grammar_expressions *self, grammar_node node,
                              struct automaton **out)
{
    struct nfa nfa = {.most_states = 4 * self->limits.states, .work_left = &self->work_left};
    struct nfa_builder builder = {.expressions = self, .nfa = &nfa};
    uint32_t end, start;
    status s = nfa_add_state(&nfa, true, &end);
    if (s == STATUS_OK) {
        s = builder_add(&builder, node, end, &start);
    }
    if (s == STATUS_OK) {
        s = nfa_determinize(&nfa, start, out);
    }
    builder_destroy(&builder);
    nfa_destroy(&nfa);
    return s;
}

/* ---- What has been derived before ---- */

bool grammar_find_derived(const struct grammar_expressions *self, enum derivation operation,
                          grammar_node a, grammar_node b, grammar_node *out)
{
    for (size_t i = 0; i < self->derived_count; i++) {
        const struct derived *derived = &self->derived[i];
        if (derived->operation == (uint32_t)operation && derived->a == a && derived->b == b) {
            *out = derived->result;
            return true;
        }
    }
    return false;
}

status grammar_keep_derived(struct grammar_expressions *self, enum derivation operation,
                            grammar_node a, grammar_node b, grammar_node result)
{
    void *derived = self->derived;
    status s = array_grow(&derived, &self->derived_capacity, self->derived_count + 1,
                          sizeof *self->derived);
    self->derived = derived;
    if (s == STATUS_OK) {
        self->derived[self->derived_count++] = (struct derived){(uint32_t)operation, a, b, result};
    }
    return s;
}

/* ---- Two at a time ---- */

static status combine(struct grammar_expressions *self, enum derivation operation, grammar_node a,
                      grammar_node b, grammar_node *out)
{
    const char *what = operation == DERIVED_BOTH ? "an intersection" : "a difference";
    TRY(grammar_require_regular(self, a, what));
    TRY(grammar_require_regular(self, b, what));
    TRY(grammar_work(self, self->derived_count / 4));
    if (grammar_find_derived(self, operation, a, b, out)) {
        return STATUS_OK;
    }
    struct automaton *left = NULL, *right = NULL, *product;
    status s = grammar_node_automaton(self, a, &left);
    if (s == STATUS_OK) {
        s = grammar_node_automaton(self, b, &right);
    }
    if (s == STATUS_OK) {
        s = automaton_product(left, right, operation == DERIVED_WITHOUT, self->limits.states,
                              &self->work_left, &product);
    }
    automaton_destroy(left);
    automaton_destroy(right);
    TRY(s);
    TRY(grammar_automaton_node(self, product, out));
    return grammar_keep_derived(self, operation, a, b, *out);
}

status grammar_both(struct grammar_expressions *self, grammar_node a, grammar_node b,
                    grammar_node *out)
{
    if (a == b && self->nodes[a].is_regular) {
        *out = a;
        return STATUS_OK;
    }
    return combine(self, DERIVED_BOTH, a < b ? a : b, a < b ? b : a, out);
}

status grammar_without(struct grammar_expressions *self, grammar_node a, grammar_node b,
                       grammar_node *out)
{
    return combine(self, DERIVED_WITHOUT, a, b, out);
}

status grammar_is_empty(struct grammar_expressions *self, grammar_node node, bool *out)
{
    TRY(grammar_require_regular(self, node, "a question"));
    *out = self->nodes[node].kind == NODE_NOTHING; /* combinations of nothing are nothing */
    return STATUS_OK;
}

status grammar_overlap(struct grammar_expressions *self, grammar_node a, grammar_node b, bool *out)
{
    grammar_node shared;
    TRY(grammar_both(self, a, b, &shared));
    *out = self->nodes[shared].kind != NODE_NOTHING;
    return STATUS_OK;
}

status grammar_matches(struct grammar_expressions *self, grammar_node node, const char *text,
                       size_t length, bool *out)
{
    TRY(grammar_require_regular(self, node, "a question"));
    struct automaton *automaton;
    TRY(grammar_node_automaton(self, node, &automaton));
    uint32_t state = 0;
    for (size_t i = 0; i < length && state != AUTOMATON_DEAD; i++) {
        state = automaton_step(automaton, state, (uint8_t)text[i]);
    }
    *out = state != AUTOMATON_DEAD && automaton->accepting[state];
    automaton_destroy(automaton);
    return STATUS_OK;
}

/* ---- JSON strings ---- */

/* How a byte of a text stands in a JSON string; `out` has room for 6. */
static size_t escape_byte(uint8_t byte, char out[8])
{
    static const char letters[] = "btn\0fr"; /* from \b = 8 on; \v has none */
    if (byte == '"' || byte == '\\') {
        out[0] = '\\';
        out[1] = (char)byte;
        return 2;
    }
    if (byte >= 8 && byte <= 13 && letters[byte - 8] != '\0') {
        out[0] = '\\';
        out[1] = letters[byte - 8];
        return 2;
    }
    if (byte < 0x20) {
        static const char digits[] = "0123456789abcdef";
        memcpy(out, "\\u00", 4);
        out[4] = digits[byte >> 4];
        out[5] = digits[byte & 15];
        return 6;
    }
    out[0] = (char)byte;
    return 1;
}

/* An edge by one byte as edges by its escape. */
static status add_escaped(struct nfa *nfa, uint32_t from, uint8_t byte, uint32_t to)
{
    char escaped[8];
    const size_t count = escape_byte(byte, escaped);
    for (size_t i = 0; i < count; i++) {
        uint32_t target = to;
        if (i + 1 < count) {
            TRY(nfa_add_state(nfa, false, &target));
        }
        TRY(nfa_add_edge(nfa, from, (uint8_t)escaped[i], (uint8_t)escaped[i], target));
        from = target;
    }
    return STATUS_OK;
}

static status add_escaped_state(struct nfa *nfa, const struct automaton *automaton, uint32_t state)
{
    for (unsigned low = 0; low < 256;) {
        const uint32_t target = automaton_step(automaton, state, (uint8_t)low);
        unsigned high = low;
        const bool is_plain = low > '\\' || (low > '"' && low < '\\');
        while (is_plain && high < 255 && high + 1 != '\\' &&
               automaton_step(automaton, state, (uint8_t)(high + 1)) == target) {
            high++;
        }
        if (target != AUTOMATON_DEAD && is_plain) {
            TRY(nfa_add_edge(nfa, state, (uint8_t)low, (uint8_t)high, target));
        } else if (target != AUTOMATON_DEAD) {
            TRY(add_escaped(nfa, state, (uint8_t)low, target));
        }
        low = high + 1;
    }
    return STATUS_OK;
}

static status escape_automaton(struct grammar_expressions *self, const struct automaton *automaton,
                               struct automaton **out)
{
    struct nfa nfa = {.most_states = 4 * self->limits.states, .work_left = &self->work_left};
    status s = STATUS_OK;
    uint32_t state;
    for (uint32_t i = 0; i < automaton->state_count && s == STATUS_OK; i++) {
        s = nfa_add_state(&nfa, automaton->accepting[i], &state);
    }
    for (uint32_t i = 0; i < automaton->state_count && s == STATUS_OK; i++) {
        s = add_escaped_state(&nfa, automaton, i);
    }
    if (s == STATUS_OK) {
        s = nfa_determinize(&nfa, 0, out);
    }
    nfa_destroy(&nfa);
    return s;
}

static status escape_literal(struct grammar_expressions *self, const char *bytes, size_t count,
                             grammar_node *out)
{
    struct buffer escaped = {0};
    status s = STATUS_OK;
    for (size_t i = 0; i < count && s == STATUS_OK; i++) {
        char piece[8];
        s = buffer_append(&escaped, piece, escape_byte((uint8_t)bytes[i], piece));
    }
    if (s == STATUS_OK) {
        s = grammar_literal(self, escaped.data, escaped.length, out);
    }
    buffer_destroy(&escaped);
    return s;
}

static status escape_node(struct grammar_expressions *self, grammar_node node, grammar_node *out);

/* By way of the node's automaton. */
static status escape_whole(struct grammar_expressions *self, grammar_node node, grammar_node *out)
{
    struct automaton *automaton, *escaped;
    TRY(grammar_node_automaton(self, node, &automaton));
    status s = escape_automaton(self, automaton, &escaped);
    automaton_destroy(automaton);
    return s == STATUS_OK ? grammar_automaton_node(self, escaped, out) : s;
}

/* A text's escapes are those of its parts, one after the other. */
static status escape_children(struct grammar_expressions *self, const struct expression *content,
                              grammar_node *out)
{
    grammar_node *nodes = malloc(((size_t)content->count + 1) * sizeof *nodes);
    status s =
        nodes != NULL ? STATUS_OK : status_fail(STATUS_NO_MEMORY, "out of memory for a grammar");
    for (uint32_t i = 0; i < content->count && s == STATUS_OK; i++) {
        s = escape_node(self, self->children[content->first + i], &nodes[i]);
    }
    if (s == STATUS_OK) {
        s = content->kind == NODE_SEQUENCE ? grammar_sequence(self, nodes, content->count, out)
                                           : grammar_choice(self, nodes, content->count, out);
    }
    free(nodes);
    return s;
}

static status escape_repeat(struct grammar_expressions *self, const struct expression *content,
                            grammar_node *out)
{
    TRY(escape_node(self, content->first, out));
    return grammar_repeat(self, *out, content->least, content->most, out);
}

/* The escapes of a node's texts: of what is small, a character say, as one minimal automaton; of
 * what is large as those of its parts, which are not made an automaton of their own. */
static status escape_node(struct grammar_expressions *self, grammar_node node, grammar_node *out)
{
    const struct expression content = self->nodes[node];
    TRY(grammar_work(self, 1 + self->derived_count / 4));
    if (grammar_find_derived(self, DERIVED_JSON, node, 0, out)) {
        return STATUS_OK;
    }
    if (content.kind == NODE_NOTHING || content.kind == NODE_EMPTY) {
        *out = node;
        return STATUS_OK;
    }
    if (content.kind == NODE_LITERAL) {
        char *copy = malloc(content.count); /* the pool that it lies in may move */
        if (copy == NULL) {
            return status_fail(STATUS_NO_MEMORY, "out of memory for a grammar");
        }
        memcpy(copy, self->bytes + content.first, content.count);
        status s = escape_literal(self, copy, content.count, out);
        free(copy);
        return s;
    }
    const bool is_small = content.weight <= ESCAPE_WHOLE_WEIGHT;
    TRY(content.kind == NODE_REPEAT                  ? escape_repeat(self, &content, out)
        : content.kind == NODE_SEQUENCE && !is_small ? escape_children(self, &content, out)
        : content.kind == NODE_CHOICE && !is_small   ? escape_children(self, &content, out)
                                                     : escape_whole(self, node, out));
    return grammar_keep_derived(self, DERIVED_JSON, node, 0, *out);
}

status grammar_json_string_of(struct grammar_expressions *self, grammar_node node,
                              grammar_node *out)
{
    TRY(grammar_require_regular(self, node, "a JSON string"));
    grammar_node parts[3];
    TRY(grammar_literal(self, "\"", 1, &parts[0]));
    TRY(escape_node(self, node, &parts[1]));
    parts[2] = parts[0];
    return grammar_sequence(self, parts, COUNT_OF(parts), out);
}
