/* SPDX-License-Identifier: Apache-2.0 */
/* A grammar, a vocabulary and texts made of any bytes, and everything that matchers say of them
 * held against a slow matcher that works on the expressions themselves. The unit test feeds it
 * random bytes, the fuzz target those of its corpus. */
#ifndef SLUICE_TESTS_GRAMMAR_CHECK_H
#define SLUICE_TESTS_GRAMMAR_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grammar/grammar.h"
#include "grammar/matcher.h"
#include "grammar/nodes.h"

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct choices {
    const uint8_t *bytes;
    size_t count, at;
};

static inline uint32_t choose(struct choices *self, uint32_t among)
{
    return self->at < self->count ? self->bytes[self->at++] % among : 0;
}

/* ---- The slow matcher ---- */

enum { ORACLE_TEXT = 24 };

/* ends[node][i]: bit j is set where the node matches text[i..j). Grown until nothing changes, so
 * that rules may refer to themselves in any way. */
struct oracle {
    const struct grammar_expressions *arena;
    const char *text;
    size_t length;
    uint64_t (*ends)[ORACLE_TEXT + 1];
    size_t made; /* nodes there is room for */
};

static inline uint64_t oracle_node(const struct oracle *self, grammar_node node, size_t at);

/* Where a node leads from any of `from`. */
static inline uint64_t oracle_after(const struct oracle *self, grammar_node node, uint64_t from)
{
    uint64_t ends = 0;
    for (size_t i = 0; i <= self->length; i++) {
        ends |= (from >> i & 1) != 0 ? self->ends[node][i] : 0;
    }
    return ends;
}

static inline uint64_t oracle_repeat(const struct oracle *self, const struct expression *node,
                                     size_t at)
{
    uint64_t here = UINT64_C(1) << at, ends = node->least == 0 ? here : 0;
    for (uint32_t times = 1; times <= node->most && here != 0; times++) {
        const uint64_t next = oracle_after(self, node->first, here);
        if (times >= node->least) {
            if ((ends | next) == ends && next == here) {
                break;
            }
            ends |= next;
        }
        if (times > node->least + ORACLE_TEXT) {
            break;
        }
        here = next;
    }
    return ends;
}

static inline uint64_t oracle_automaton(const struct oracle *self,
                                        const struct automaton *automaton, size_t at)
{
    uint64_t ends = 0;
    for (uint32_t state = 0;; at++) {
        ends |= automaton->accepting[state] ? UINT64_C(1) << at : 0;
        if (at == self->length) {
            return ends;
        }
        state = automaton_step(automaton, state, (uint8_t)self->text[at]);
        if (state == AUTOMATON_DEAD) {
            return ends;
        }
    }
}

static inline uint64_t oracle_node(const struct oracle *self, grammar_node number, size_t at)
{
    const struct grammar_expressions *arena = self->arena;
    const struct expression *node = &arena->nodes[number];
    uint64_t ends = 0;
    switch ((enum expression_kind)node->kind) {
    case NODE_NOTHING:
        return 0;
    case NODE_EMPTY:
        return UINT64_C(1) << at;
    case NODE_BYTES:
        return at < self->length && byte_set_has(&arena->sets[node->first], (uint8_t)self->text[at])
                   ? UINT64_C(2) << at
                   : 0;
    case NODE_LITERAL:
        return self->length - at >= node->count &&
                       memcmp(self->text + at, arena->bytes + node->first, node->count) == 0
                   ? UINT64_C(1) << (at + node->count)
                   : 0;
    case NODE_SEQUENCE:
        ends = UINT64_C(1) << at;
        for (uint32_t i = 0; i < node->count; i++) {
            ends = oracle_after(self, arena->children[node->first + i], ends);
        }
        return ends;
    case NODE_CHOICE:
        for (uint32_t i = 0; i < node->count; i++) {
            ends |= self->ends[arena->children[node->first + i]][at];
        }
        return ends;
    case NODE_REPEAT:
        return oracle_repeat(self, node, at);
    case NODE_REFERENCE:
        return self->ends[arena->rules[node->first].node][at];
    case NODE_AUTOMATON:
        break;
    }
    return oracle_automaton(self, arena->automata[node->first], at);
}

static inline bool oracle_matches(struct oracle *self, grammar_node root, const char *text,
                                  size_t length)
{
    CHECK(length <= ORACLE_TEXT);
    if (self->made < self->arena->node_count) {
        free(self->ends);
        self->made = self->arena->node_count;
        self->ends = malloc(self->made * sizeof *self->ends);
        CHECK(self->ends != NULL);
    }
    self->text = text;
    self->length = length;
    memset(self->ends, 0, self->made * sizeof *self->ends);
    for (bool changed = true; changed;) {
        changed = false;
        for (grammar_node node = 0; node < self->arena->node_count; node++) {
            for (size_t at = 0; at <= length; at++) {
                const uint64_t ends = oracle_node(self, node, at);
                changed = changed || ends != self->ends[node][at];
                self->ends[node][at] = ends;
            }
        }
    }
    return (self->ends[root][0] >> length & 1) != 0;
}

/* ---- Grammars of any bytes ---- */

enum { CHECK_RULES = 4, CHECK_NODES = 24, CHECK_TOKENS = 24, CHECK_ALPHABET = 4 };

static const char check_alphabet[] = "ab\"\xC3";

static inline grammar_node make_literal(struct grammar_expressions *arena, struct choices *choices,
                                        uint32_t longest)
{
    char text[8];
    grammar_node node;
    const uint32_t length = choose(choices, longest + 1);
    for (uint32_t i = 0; i < length; i++) {
        text[i] = check_alphabet[choose(choices, CHECK_ALPHABET)];
    }
    CHECK(grammar_literal(arena, text, length, &node) == STATUS_OK);
    return node;
}

/* One more node of those there are. */
static inline status make_node(struct grammar_expressions *arena, struct choices *choices,
                               const grammar_node *nodes, size_t count, grammar_node *out)
{
    grammar_node parts[3];
    const uint32_t kind = choose(choices, 10);
    const uint32_t part_count = 1 + choose(choices, 3);
    for (uint32_t i = 0; i < 3; i++) {
        parts[i] = nodes[choose(choices, (uint32_t)count)];
    }
    const uint64_t set[4] = {UINT64_C(1) << '"', UINT64_C(6) << ('a' - 64), 0,
                             (uint64_t)choose(choices, 2) << (0xC3 - 192)};
    switch (kind) {
    case 0:
        return grammar_byte_set(arena, set, out);
    case 1:
    case 2:
        return grammar_choice(arena, parts, part_count, out);
    case 3: {
        const uint32_t least = choose(choices, 4);
        return grammar_repeat(arena, parts[0], least, least + choose(choices, 3), out);
    }
    case 4:
        return grammar_repeat(arena, parts[0], choose(choices, 3), GRAMMAR_UNBOUNDED, out);
    case 5:
        return grammar_both(arena, parts[0], parts[1], out);
    case 6:
        return grammar_without(arena, parts[0], parts[1], out);
    case 7:
        return grammar_reference(arena, choose(choices, CHECK_RULES), out);
    default:
        return grammar_sequence(arena, parts, part_count, out);
    }
}

static inline grammar_node make_grammar(struct grammar_expressions *arena, struct choices *choices)
{
    grammar_node nodes[CHECK_NODES];
    size_t count = 0;
    grammar_rule rules[CHECK_RULES];
    for (int i = 0; i < CHECK_RULES; i++) {
        CHECK(grammar_rule_declare(arena, "rule", &rules[i]) == STATUS_OK);
    }
    while (count < 3) {
        nodes[count++] = make_literal(arena, choices, 2);
    }
    for (int i = 0; i < 2; i++) {
        CHECK(grammar_reference(arena, rules[i], &nodes[count++]) == STATUS_OK);
    }
    const size_t most = count + 2 + choose(choices, CHECK_NODES - 8);
    while (count < most) {
        if (make_node(arena, choices, nodes, count, &nodes[count]) != STATUS_OK) {
            nodes[count] = make_literal(arena, choices, 3);
        }
        count++;
    }
    for (int i = 0; i < CHECK_RULES; i++) {
        const grammar_node node = nodes[choose(choices, (uint32_t)count)];
        CHECK(grammar_rule_define(arena, rules[i], node) == STATUS_OK);
    }
    return nodes[count - 1];
}

/* ---- The check ---- */

struct check {
    struct grammar_expressions *arena;
    grammar_node root;
    struct oracle oracle;
    char token_bytes[CHECK_TOKENS][8];
    size_t token_lengths[CHECK_TOKENS];
    struct grammar_vocabulary *vocabulary;
    struct grammar *grammar;
    struct grammar_masks *masks;
    struct choices *choices;
};

static inline bool check_matches(struct check *self, const char *text, size_t length)
{
    return oracle_matches(&self->oracle, self->root, text, length);
}

/* Texts are all those of the alphabet up to so many bytes behind `prefix`: is one of them in it? */
static inline bool check_reaches(struct check *self, char *text, size_t length, size_t more)
{
    if (check_matches(self, text, length)) {
        return true;
    }
    for (int i = 0; more > 0 && i < CHECK_ALPHABET; i++) {
        text[length] = check_alphabet[i];
        if (check_reaches(self, text, length + 1, more - 1)) {
            return true;
        }
    }
    return false;
}

/* Everything that a matcher says behind `text`. */
static inline void check_place(struct check *self, struct grammar_matcher *matcher,
                               const char *text, size_t length)
{
    char longer[ORACLE_TEXT + 8];
    memcpy(longer, text, length);
    const bool may_end = grammar_matcher_may_end(matcher);
    CHECK(may_end == check_matches(self, text, length));

    struct buffer bytes = {0};
    CHECK(grammar_matcher_shortest(matcher, &bytes) == STATUS_OK);
    CHECK(bytes.length == grammar_matcher_shortest_length(matcher));
    if (length + bytes.length <= ORACLE_TEXT) {
        memcpy(longer + length, bytes.data != NULL ? bytes.data : "", bytes.length);
        CHECK(check_matches(self, longer, length + bytes.length));
        if (bytes.length > 0) {
            const size_t shorter = bytes.length - 1 < 3 ? bytes.length - 1 : 3;
            CHECK(!check_reaches(self, longer, length, shorter));
        }
    }
    bytes.length = 0;
    bool to_end;
    CHECK(grammar_matcher_forced(matcher, &bytes, &to_end) == STATUS_OK);
    struct grammar_matcher *other;
    bool ok;
    CHECK(grammar_matcher_clone(matcher, &other) == STATUS_OK);
    for (size_t i = 0; i < bytes.length; i++) {
        for (int byte = 0; byte < 256; byte++) {
            const char one = (char)byte;
            if (one != bytes.data[i]) {
                CHECK(grammar_matcher_accept_bytes(other, &one, 1, &ok) == STATUS_OK && !ok);
            }
        }
        CHECK(!grammar_matcher_may_end(other));
        CHECK(grammar_matcher_accept_bytes(other, &bytes.data[i], 1, &ok) == STATUS_OK && ok);
    }
    CHECK(to_end == grammar_matcher_must_end(other));
    grammar_matcher_destroy(other);
    buffer_destroy(&bytes);

    struct grammar_mask mask, known;
    CHECK(grammar_matcher_mask(matcher, &mask) == STATUS_OK);
    /* What is kept is found again without work; what is not has no number. */
    CHECK(grammar_matcher_known_mask(matcher, &known) == (mask.serial != 0));
    CHECK(mask.serial == 0 || (known.words == mask.words && known.serial == mask.serial));
    for (int32_t token = 0; token <= CHECK_TOKENS; token++) {
        CHECK(grammar_matcher_clone(matcher, &other) == STATUS_OK);
        CHECK(grammar_matcher_accept(other, token, &ok) == STATUS_OK);
        CHECK(((mask.words[token / 32] >> (token % 32) & 1) != 0) == ok);
        grammar_matcher_destroy(other);
    }
}

/* A text of tokens, drawn under the masks or, now and then, from all of the alphabet. */
static inline void check_walk(struct check *self)
{
    char text[ORACLE_TEXT];
    size_t length = 0;
    struct grammar_matcher *matcher;
    CHECK(grammar_matcher_create(self->masks, &matcher) == STATUS_OK);
    for (;;) {
        if (matcher->places.count == PLACES_MOST) {
            break; /* so ambiguous that not all of it is followed */
        }
        check_place(self, matcher, text, length);
        int32_t token = -1;
        const uint32_t first = choose(self->choices, CHECK_TOKENS);
        for (uint32_t i = 0; i < CHECK_TOKENS && token == -1; i++) {
            const int32_t candidate = (int32_t)((first + i) % CHECK_TOKENS);
            const size_t token_length = self->token_lengths[candidate];
            bool ok;
            if (token_length == 0 || length + token_length > ORACLE_TEXT - 4) {
                continue;
            }
            CHECK(grammar_matcher_accept(matcher, candidate, &ok) == STATUS_OK);
            memcpy(text + length, self->token_bytes[candidate], token_length);
            if (ok) {
                token = candidate;
            } else {
                CHECK(!check_reaches(self, text, length + token_length, 2));
            }
        }
        if (token == -1) {
            break;
        }
        length += self->token_lengths[token];
    }
    grammar_matcher_destroy(matcher);
}

/* Short texts of the alphabet: in the grammar or not, as the slow matcher says. */
static inline void check_short_texts(struct check *self, char *text, size_t length, size_t most)
{
    struct grammar_matcher *matcher;
    bool ok;
    CHECK(grammar_matcher_create(self->masks, &matcher) == STATUS_OK);
    CHECK(grammar_matcher_accept_bytes(matcher, text, length, &ok) == STATUS_OK);
    CHECK((ok && grammar_matcher_may_end(matcher)) == check_matches(self, text, length));
    grammar_matcher_destroy(matcher);
    for (int i = 0; length < most && i < CHECK_ALPHABET; i++) {
        text[length] = check_alphabet[i];
        check_short_texts(self, text, length + 1, most);
    }
}

static inline void check_vocabulary(struct check *self)
{
    const char *bytes[CHECK_TOKENS + 1];
    size_t lengths[CHECK_TOKENS + 1] = {0};
    for (uint32_t i = 0; i < CHECK_TOKENS; i++) {
        const uint32_t length = i < CHECK_ALPHABET ? 1 : choose(self->choices, 6);
        for (uint32_t j = 0; j < length; j++) {
            self->token_bytes[i][j] =
                check_alphabet[i < CHECK_ALPHABET ? i : choose(self->choices, CHECK_ALPHABET)];
        }
        bytes[i] = self->token_bytes[i];
        lengths[i] = self->token_lengths[i] = length;
    }
    bytes[CHECK_TOKENS] = "";
    const int32_t end = CHECK_TOKENS;
    CHECK(grammar_vocabulary_create(bytes, lengths, CHECK_TOKENS + 1, &end, 1, &self->vocabulary) ==
          STATUS_OK);
}

/* Whether there was a grammar to check: one of no text is none. */
static inline bool check_grammar(const uint8_t *data, size_t count)
{
    struct choices choices = {data, count, 0};
    struct check check = {.choices = &choices};
    const struct grammar_limits limits = {.states = 20000, .seconds = 0.5};
    char text[8];
    CHECK(grammar_expressions_create(&limits, &check.arena) == STATUS_OK);
    check.root = make_grammar(check.arena, &choices);
    check.oracle.arena = check.arena;
    status s = grammar_compile(check.arena, check.root, &limits, &check.grammar);
    CHECK(s == STATUS_OK || s == STATUS_INVALID || s == STATUS_LIMIT);
    if (s == STATUS_OK) {
        check_vocabulary(&check);
        /* With little room masks are computed again and again, with the same outcome. */
        const size_t room = choose(&choices, 2) == 0 ? 0 : 600;
        CHECK(grammar_masks_create(check.grammar, check.vocabulary, room, &check.masks) ==
              STATUS_OK);
        check_short_texts(&check, text, 0, 4);
        for (int i = 0; i < 3; i++) {
            check_walk(&check);
        }
        grammar_masks_destroy(check.masks);
        grammar_vocabulary_destroy(check.vocabulary);
        grammar_destroy(check.grammar);
    } else if (s == STATUS_INVALID) {
        CHECK(!check_reaches(&check, text, 0, 4));
    }
    grammar_expressions_destroy(check.arena);
    free(check.oracle.ends);
    return s == STATUS_OK;
}

#endif
