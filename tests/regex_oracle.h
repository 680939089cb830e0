/* SPDX-License-Identifier: Apache-2.0 */
/* A second matcher of regular expressions, slow and plain: expressions are made from bytes as
 * trees, written as patterns for src/text/regex, and matched here by trying every way in order.
 * What the two find must agree. ASCII only. */
#ifndef SLUICE_TESTS_REGEX_ORACLE_H
#define SLUICE_TESTS_REGEX_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "sluice/base.h"

enum { ORACLE_NODES = 64, ORACLE_STEPS = 200000, ORACLE_DEPTH = 2000 };

enum oracle_kind {
    ORACLE_SET,      /* one character of a set, written as `text` */
    ORACLE_ASSERT,   /* nothing, where `text` holds */
    ORACLE_SEQUENCE, /* a, then b */
    ORACLE_CHOICE,   /* a, else b */
    ORACLE_REPEAT,   /* a, least to most times */
    ORACLE_ATOMIC,   /* a, in the first way that it matches alone */
    ORACLE_AHEAD,    /* a follows, or not where negated */
    ORACLE_BEHIND,   /* a, a set, is the character before */
};

enum oracle_manner { ORACLE_GREEDY, ORACLE_LAZY, ORACLE_POSSESSIVE };

struct oracle_node {
    enum oracle_kind kind;
    int a, b, least, most; /* most < 0: any number */
    enum oracle_manner manner;
    bool negated;
    const char *text;
};

struct oracle {
    struct oracle_node nodes[ORACLE_NODES];
    int count, root;
    const uint8_t *bytes; /* that it is made from */
    size_t left;

    const char *subject;
    size_t length;
    int64_t steps, depth;
};

/* ---- Trees from bytes ---- */

static inline unsigned oracle_byte(struct oracle *self)
{
    if (self->left == 0) {
        return 0;
    }
    self->left--;
    return *self->bytes++;
}

static inline int oracle_node(struct oracle *self, struct oracle_node node)
{
    self->nodes[self->count] = node;
    return self->count++;
}

static inline int oracle_set(struct oracle *self)
{
    static const char *const sets[] = {"a",   "b",     "c",      "[ab]",   "[^a]",        ".",
                                       "1",   " ",     "\\d",    "\\s",    "\\w",         "\\n",
                                       "\\W", "[b-d]", "[^\\s]", "[\\d_]", "[a-z&&[^b]]", "a"};
    const char *text = sets[oracle_byte(self) % (sizeof sets / sizeof sets[0])];
    return oracle_node(self, (struct oracle_node){.kind = ORACLE_SET, .text = text});
}

/* Whether it matches no less than a character: what cannot match the empty text may be repeated
 * without rules of its own. */
static inline bool oracle_takes(const struct oracle *self, int node)
{
    const struct oracle_node *n = &self->nodes[node];
    switch (n->kind) {
    case ORACLE_SET:
        return true;
    case ORACLE_SEQUENCE:
        return oracle_takes(self, n->a) || oracle_takes(self, n->b);
    case ORACLE_CHOICE:
        return oracle_takes(self, n->a) && oracle_takes(self, n->b);
    case ORACLE_REPEAT:
        return n->least > 0 && oracle_takes(self, n->a);
    case ORACLE_ATOMIC:
        return oracle_takes(self, n->a);
    case ORACLE_ASSERT:
    case ORACLE_AHEAD:
    case ORACLE_BEHIND:
        break;
    }
    return false;
}

static inline int oracle_expression(struct oracle *self, int depth);

static inline int oracle_repeat(struct oracle *self, int depth)
{
    static const int bounds[][2] = {{0, -1}, {1, -1}, {0, 1}, {2, 2}, {1, 3}, {0, 2}, {2, -1}};
    const unsigned how = oracle_byte(self);
    const int *bound = bounds[how % 7];
    int inner = oracle_expression(self, depth - 1);
    if (!oracle_takes(self, inner)) {
        inner = oracle_set(self);
    }
    /* Of {n} a question mark makes an option, of {n,m} a plus makes a repetition. */
    const bool is_simple = how % 7 < 3, may_be_lazy = is_simple || how % 7 > 3;
    enum oracle_manner manner = (enum oracle_manner)(how / 7 % 3);
    manner = manner == ORACLE_POSSESSIVE && !is_simple ? ORACLE_GREEDY : manner;
    manner = manner == ORACLE_LAZY && !may_be_lazy ? ORACLE_GREEDY : manner;
    return oracle_node(self, (struct oracle_node){.kind = ORACLE_REPEAT,
                                                  .a = inner,
                                                  .least = bound[0],
                                                  .most = bound[1],
                                                  .manner = manner});
}

static inline int oracle_expression(struct oracle *self, int depth)
{
    static const char *const assertions[] = {"^", "$", "\\A", "\\z", "\\b", "\\B"};
    const unsigned what = oracle_byte(self) % 16;
    if (depth <= 0 || self->count > ORACLE_NODES - 16 || what < 4) {
        return oracle_set(self);
    }
    struct oracle_node node = {.negated = oracle_byte(self) % 2 != 0};
    if (what == 4) {
        node.kind = ORACLE_ASSERT;
        node.text = assertions[oracle_byte(self) % 6];
        return oracle_node(self, node);
    }
    if (what < 8) {
        return oracle_repeat(self, depth);
    }
    if (what == 15) {
        node.kind = ORACLE_BEHIND;
        node.a = oracle_set(self);
        return oracle_node(self, node);
    }
    node.kind = what < 11   ? ORACLE_SEQUENCE
                : what < 13 ? ORACLE_CHOICE
                : what < 14 ? ORACLE_ATOMIC
                            : ORACLE_AHEAD;
    node.a = oracle_expression(self, depth - 1);
    if (node.kind == ORACLE_SEQUENCE || node.kind == ORACLE_CHOICE) {
        node.b = oracle_expression(self, depth - 1);
    }
    return oracle_node(self, node);
}

static inline void oracle_make(struct oracle *self, const uint8_t *bytes, size_t length)
{
    *self = (struct oracle){.bytes = bytes, .left = length};
    self->root = oracle_expression(self, 5);
}

/* ---- Patterns ---- */

static inline status oracle_write(const struct oracle *self, int node, struct buffer *out)
{
    const struct oracle_node *n = &self->nodes[node];
    static const char *const manners[] = {"", "?", "+"};
    switch (n->kind) {
    case ORACLE_SET:
    case ORACLE_ASSERT:
        return buffer_append_text(out, n->text);
    case ORACLE_SEQUENCE:
    case ORACLE_CHOICE:
        TRY(buffer_append_text(out, "(?:"));
        TRY(oracle_write(self, n->a, out));
        TRY(buffer_append_text(out, n->kind == ORACLE_CHOICE ? "|" : ""));
        TRY(oracle_write(self, n->b, out));
        return buffer_append_text(out, ")");
    case ORACLE_REPEAT:
        TRY(buffer_append_text(out, "(?:"));
        TRY(oracle_write(self, n->a, out));
        if (n->most == n->least) {
            TRY(buffer_format(out, "){%d}", n->least));
        } else if (n->most == 1 || (n->most < 0 && n->least < 2)) {
            TRY(buffer_append_text(out, n->most == 1 ? ")?" : n->least == 1 ? ")+" : ")*"));
        } else if (n->most < 0) {
            TRY(buffer_format(out, "){%d,}", n->least));
        } else {
            TRY(buffer_format(out, "){%d,%d}", n->least, n->most));
        }
        return buffer_append_text(out, manners[n->manner]);
    case ORACLE_ATOMIC:
    case ORACLE_AHEAD:
    case ORACLE_BEHIND:
        TRY(buffer_append_text(out, n->kind == ORACLE_ATOMIC  ? "(?>"
                                    : n->kind == ORACLE_AHEAD ? (n->negated ? "(?!" : "(?=")
                                    : n->negated              ? "(?<!"
                                                              : "(?<="));
        TRY(oracle_write(self, n->a, out));
        return buffer_append_text(out, ")");
    }
    return STATUS_OK;
}

/* ---- Matching: every way in order, the rest of the pattern as a list ---- */

struct oracle_rest {
    int node; /* < 0: the end, whose place is kept in *end */
    int done; /* times that a repeat has matched */
    const struct oracle_rest *next;
    size_t *end;
};

static inline bool oracle_is_word(const struct oracle *self, size_t at)
{
    const char c = at < self->length ? self->subject[at] : ' ';
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || (c >= 'A' && c <= 'Z');
}

static inline bool oracle_in_set(const struct oracle *self, const char *set, size_t at)
{
    const char c = self->subject[at];
    const bool is_digit = c >= '0' && c <= '9', is_space = c == ' ' || (c >= '\t' && c <= '\r');
    if (strlen(set) == 1) {
        return *set == '.' ? c != '\n' : c == *set;
    }
    static const char *const names[] = {"[ab]", "[^a]",  "\\d",    "\\s",    "\\w",        "\\n",
                                        "\\W",  "[b-d]", "[^\\s]", "[\\d_]", "[a-z&&[^b]]"};
    const bool holds[] = {c == 'a' || c == 'b',
                          c != 'a',
                          is_digit,
                          is_space,
                          oracle_is_word(self, at),
                          c == '\n',
                          !oracle_is_word(self, at),
                          c >= 'b' && c <= 'd',
                          !is_space,
                          is_digit || c == '_',
                          c >= 'a' && c <= 'z' && c != 'b'};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(set, names[i]) == 0) {
            return holds[i];
        }
    }
    return false;
}

static inline bool oracle_holds(const struct oracle *self, const char *assertion, size_t at)
{
    const bool before = at > 0 && oracle_is_word(self, at - 1);
    const bool is_border = before != (at < self->length && oracle_is_word(self, at));
    switch (assertion[0] == '\\' ? assertion[1] : assertion[0]) {
    case '^':
        return at == 0 || (self->subject[at - 1] == '\n' && at < self->length);
    case '$':
        return at == self->length || self->subject[at] == '\n';
    case 'A':
        return at == 0;
    case 'z':
        return at == self->length;
    case 'b':
        return is_border;
    default:
        return !is_border;
    }
}

static inline bool oracle_try(struct oracle *self, int node, int done, size_t at,
                              const struct oracle_rest *rest);

static inline bool oracle_go_on(struct oracle *self, size_t at, const struct oracle_rest *rest)
{
    if (rest->node < 0) {
        *rest->end = at;
        return true;
    }
    return oracle_try(self, rest->node, rest->done, at, rest->next);
}

/* Whether a node matches here on its own, and where it ends. */
static inline bool oracle_alone(struct oracle *self, int node, int done, size_t at, size_t *end)
{
    const struct oracle_rest last = {.node = -1, .end = end};
    return oracle_try(self, node, done, at, &last);
}

static inline bool oracle_try_repeat(struct oracle *self, int node, int done, size_t at,
                                     const struct oracle_rest *rest)
{
    const struct oracle_node *n = &self->nodes[node];
    const struct oracle_rest again = {.node = node, .done = done + 1, .next = rest};
    const bool may_end = done >= n->least, may_go_on = n->most < 0 || done < n->most;
    size_t end;
    if (n->manner == ORACLE_POSSESSIVE && done == 0) {
        self->nodes[node].manner = ORACLE_GREEDY;
        const bool found = oracle_alone(self, node, 0, at, &end);
        self->nodes[node].manner = ORACLE_POSSESSIVE;
        return found && oracle_go_on(self, end, rest);
    }
    if (n->manner == ORACLE_LAZY && may_end && oracle_go_on(self, at, rest)) {
        return true;
    }
    if (may_go_on && oracle_try(self, n->a, 0, at, &again)) {
        return true;
    }
    return n->manner != ORACLE_LAZY && may_end && oracle_go_on(self, at, rest);
}

static inline bool oracle_try(struct oracle *self, int node, int done, size_t at,
                              const struct oracle_rest *rest)
{
    const struct oracle_node *n = &self->nodes[node];
    const struct oracle_rest after = {.node = n->b, .next = rest};
    size_t end;
    bool found = false;
    if (++self->steps > ORACLE_STEPS || self->depth > ORACLE_DEPTH) {
        self->steps = ORACLE_STEPS + 1;
        return false;
    }
    self->depth++;
    switch (n->kind) {
    case ORACLE_SET:
        found = at < self->length && oracle_in_set(self, n->text, at) &&
                oracle_go_on(self, at + 1, rest);
        break;
    case ORACLE_ASSERT:
        found = oracle_holds(self, n->text, at) && oracle_go_on(self, at, rest);
        break;
    case ORACLE_SEQUENCE:
        found = oracle_try(self, n->a, 0, at, &after);
        break;
    case ORACLE_CHOICE:
        found = oracle_try(self, n->a, 0, at, rest) || oracle_try(self, n->b, 0, at, rest);
        break;
    case ORACLE_REPEAT:
        found = oracle_try_repeat(self, node, done, at, rest);
        break;
    case ORACLE_ATOMIC:
        found = oracle_alone(self, n->a, 0, at, &end) && oracle_go_on(self, end, rest);
        break;
    case ORACLE_AHEAD:
        found = oracle_alone(self, n->a, 0, at, &end) != n->negated && oracle_go_on(self, at, rest);
        break;
    case ORACLE_BEHIND:
        found = (at > 0 && oracle_in_set(self, self->nodes[n->a].text, at - 1)) != n->negated &&
                oracle_go_on(self, at, rest);
        break;
    }
    self->depth--;
    return found;
}

/* The next match from *position on; an empty one right behind the match before (which ended at
 * last_end, SIZE_MAX: none) is passed over. *known is false where it took too long to tell. */
static inline bool oracle_next(struct oracle *self, const char *subject, size_t length,
                               size_t position, size_t last_end, size_t *start, size_t *end,
                               bool *known)
{
    self->subject = subject;
    self->length = length;
    self->steps = self->depth = 0;
    *known = true;
    for (*start = position; *start <= length; ++*start) {
        const bool found = oracle_alone(self, self->root, 0, *start, end);
        if (self->steps > ORACLE_STEPS) {
            *known = false;
            return false;
        }
        if (found && !(*end == *start && *start == last_end)) {
            return true;
        }
    }
    return false;
}

#endif
