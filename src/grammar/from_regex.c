/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions as nodes: the tokenizers' parser, and its tree turned into expressions.
 *
 * Where a pattern may match anywhere within a text, `^` and `$` are no texts but places. Two bytes
 * that no UTF-8 has stand for them: a text is taken as START text END, the pattern's `^` is START
 * and its `$` is END, and they are cut off again in the end. */
#include <stdlib.h>

#include "grammar/build.h"
#include "grammar/regex_front.h"
#include "text/regex/regex_internal.h"

enum { MARK_START = 0xFE, MARK_END = 0xFF };

struct conversion {
    struct grammar_expressions *arena;
    const struct regex *regex;
    bool is_search, has_marks;
    grammar_node start, end;           /* the marks */
    grammar_node any_text, any_marked; /* any text, and any with marks in it */
    grammar_node any;                  /* the one that holds for the alternative at hand */
};

static status convert(struct conversion *self, const struct regex_node *node, bool is_last,
                      grammar_node *out);

static status unsupported(const char *what)
{
    return status_fail(STATUS_UNSUPPORTED, "regular expression: %s", what);
}

/* ---- Parts ---- */

static status convert_set(const struct conversion *self, const struct regex_node *node,
                          grammar_node *out)
{
    const struct unicode_set *set = &self->regex->sets[node->set];
    const size_t count = set->count / 2;
    struct code_point_range *ranges = malloc((count + 1) * sizeof *ranges);
    if (ranges == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a regular expression");
    }
    for (size_t i = 0; i < count; i++) {
        ranges[i] = (struct code_point_range){set->ranges[2 * i], set->ranges[2 * i + 1]};
    }
    status s = grammar_code_points(self->arena, ranges, count, out);
    free(ranges);
    return s;
}

/* What follows a look-ahead, `rest`, is to begin (or not) with it. It sees as far as the text does,
 * so nothing may come behind `rest`. */
static status look_ahead(struct conversion *self, const struct regex_node *node, bool is_last,
                         grammar_node rest, grammar_node *out)
{
    if (!is_last) {
        return unsupported("a look-ahead within a group");
    }
    grammar_node parts[2], ahead;
    TRY(convert(self, node->child, false, &parts[0]));
    parts[1] = self->any;
    TRY(grammar_sequence(self->arena, parts, 2, &ahead));
    return node->negated ? grammar_without(self->arena, rest, ahead, out)
                         : grammar_both(self->arena, rest, ahead, out);
}

/* What stands behind the whole pattern. */
static status convert_end(const struct conversion *self, grammar_node *out)
{
    if (self->is_search) {
        *out = self->any;
        return STATUS_OK;
    }
    return self->has_marks ? grammar_repeat(self->arena, self->end, 0, 1, out)
                           : grammar_literal(self->arena, "", 0, out);
}

/* The parts from their end to their beginning, for what looks ahead: it acts on all that follows,
 * which is in nodes[at .. count) by then. */
static status convert_parts(struct conversion *self, const struct regex_node *const *children,
                            bool is_last, grammar_node *nodes, size_t child_count,
                            grammar_node *out)
{
    const size_t count = child_count + is_last;
    size_t at = child_count; /* nodes are placed with room for those before them */
    if (is_last) {
        TRY(convert_end(self, &nodes[at]));
    }
    for (size_t i = child_count; i-- > 0;) {
        if (children[i]->kind == REGEX_NODE_LOOKAHEAD) {
            grammar_node rest;
            TRY(grammar_sequence(self->arena, nodes + at, count - at, &rest));
            at = count - 1; /* one node now, also where there was none: is_last has one */
            TRY(look_ahead(self, children[i], is_last, rest, &nodes[at]));
        } else {
            TRY(convert(self, children[i], false, &nodes[--at]));
        }
    }
    return grammar_sequence(self->arena, nodes + at, count - at, out);
}

/* `is_last`: nothing follows but the end of the pattern. */
static status convert_sequence(struct conversion *self, const struct regex_node *first,
                               bool is_last, grammar_node *out)
{
    size_t count = 0, at = 0;
    for (const struct regex_node *child = first; child != NULL; child = child->next) {
        count++;
    }
    grammar_node *nodes = malloc((count + 1) * sizeof *nodes);
    const struct regex_node **children = malloc((count + 1) * sizeof *children);
    status s = nodes != NULL && children != NULL
                   ? STATUS_OK
                   : status_fail(STATUS_NO_MEMORY, "out of memory for a regular expression");
    for (const struct regex_node *child = first; child != NULL && s == STATUS_OK;
         child = child->next) {
        children[at++] = child;
    }
    if (s == STATUS_OK) {
        s = convert_parts(self, children, is_last, nodes, count, out);
    }
    free(nodes);
    free(children);
    return s;
}

static status convert_choice(struct conversion *self, const struct regex_node *node, bool is_last,
                             grammar_node *out)
{
    size_t count = 0, at = 0;
    for (const struct regex_node *child = node->child; child != NULL; child = child->next) {
        count++;
    }
    grammar_node *nodes = malloc((count + 1) * sizeof *nodes);
    status s = nodes != NULL
                   ? STATUS_OK
                   : status_fail(STATUS_NO_MEMORY, "out of memory for a regular expression");
    for (const struct regex_node *child = node->child; child != NULL && s == STATUS_OK;
         child = child->next) {
        s = convert(self, child, is_last, &nodes[at++]);
    }
    if (s == STATUS_OK) {
        s = grammar_choice(self->arena, nodes, count, out);
    }
    free(nodes);
    return s;
}

static status convert_assertion(struct conversion *self, const struct regex_node *node,
                                grammar_node *out)
{
    switch (node->which) {
    case REGEX_LINE_START:
    case REGEX_TEXT_START:
        *out = self->start;
        return STATUS_OK;
    case REGEX_LINE_END:
    case REGEX_TEXT_END:
    case REGEX_TEXT_END_OR_NEWLINE:
        *out = self->end;
        return STATUS_OK;
    case REGEX_WORD_BOUNDARY:
    case REGEX_NOT_WORD_BOUNDARY:
        break;
    }
    return unsupported("boundaries of words");
}

static status convert(struct conversion *self, const struct regex_node *node, bool is_last,
                      grammar_node *out)
{
    switch (node->kind) {
    case REGEX_NODE_EMPTY:
        return grammar_literal(self->arena, "", 0, out);
    case REGEX_NODE_SET:
        return convert_set(self, node, out);
    case REGEX_NODE_SEQUENCE:
        return convert_sequence(self, node->child, is_last, out);
    case REGEX_NODE_ALTERNATIVE:
        return convert_choice(self, node, is_last, out);
    case REGEX_NODE_REPEAT:
        if (node->mode == REGEX_POSSESSIVE) {
            return unsupported("possessive repetition");
        }
        TRY(convert(self, node->child, false, out));
        return grammar_repeat(self->arena, *out, node->low,
                              node->high == REGEX_UNBOUNDED ? GRAMMAR_UNBOUNDED : node->high, out);
    case REGEX_NODE_LOOKAHEAD: /* alone in its place: a sequence has what follows */
        return unsupported("a look-ahead within a group");
    case REGEX_NODE_ATOMIC:
        return unsupported("atomic groups");
    case REGEX_NODE_LOOKBEHIND:
        return unsupported("look-behind");
    case REGEX_NODE_ASSERT:
        break;
    }
    return convert_assertion(self, node, out);
}

/* ---- Marks ---- */

static status make_marks(struct conversion *self)
{
    const char start = (char)MARK_START, end = (char)MARK_END;
    grammar_node parts[3], one;
    TRY(grammar_literal(self->arena, &start, 1, &self->start));
    TRY(grammar_literal(self->arena, &end, 1, &self->end));
    TRY(grammar_code_points(self->arena, &(struct code_point_range){0, 0x10FFFF}, 1, &parts[0]));
    TRY(grammar_repeat(self->arena, parts[0], 0, GRAMMAR_UNBOUNDED, &self->any_text));
    parts[1] = self->start;
    parts[2] = self->end;
    TRY(grammar_choice(self->arena, parts, COUNT_OF(parts), &one));
    return grammar_repeat(self->arena, one, 0, GRAMMAR_UNBOUNDED, &self->any_marked);
}

/* START text END, for any text. */
static status marked_text(const struct conversion *self, grammar_node *out)
{
    const grammar_node parts[3] = {self->start, self->any_text, self->end};
    return grammar_sequence(self->arena, parts, COUNT_OF(parts), out);
}

/* The automaton of the texts of START text END. */
static status cut_marks(struct grammar_expressions *arena, const struct automaton *marked,
                        struct automaton **out)
{
    struct nfa nfa = {.most_states = 4 * arena->limits.states, .work_left = &arena->work_left};
    uint32_t base;
    status s = nfa_add_automaton(&nfa, marked, &base);
    uint32_t start = automaton_step(marked, 0, MARK_START);
    if (s == STATUS_OK && start == AUTOMATON_DEAD) { /* no text at all */
        s = nfa_add_state(&nfa, false, &start);
    }
    for (uint32_t i = 0; i < marked->state_count && s == STATUS_OK; i++) {
        const uint32_t end = automaton_step(marked, i, MARK_END);
        nfa.states[i].accepting = end != AUTOMATON_DEAD && marked->accepting[end];
    }
    if (s == STATUS_OK) {
        s = nfa_determinize(&nfa, start, out); /* what is behind END no longer accepts, and goes */
    }
    nfa_destroy(&nfa);
    return s;
}

static status without_marks(struct conversion *self, grammar_node node, grammar_node *out)
{
    grammar_node text;
    struct automaton *marked, *automaton;
    TRY(marked_text(self, &text));
    TRY(grammar_both(self->arena, node, text, &node));
    TRY(grammar_node_automaton(self->arena, node, &marked));
    status s = cut_marks(self->arena, marked, &automaton);
    automaton_destroy(marked);
    TRY(s);
    return grammar_automaton_node(self->arena, automaton, out);
}

/* ---- The whole ---- */

static bool is_assertion(const struct regex_node *node, bool at_start)
{
    return node != NULL && node->kind == REGEX_NODE_ASSERT &&
           (at_start ? node->which == REGEX_LINE_START || node->which == REGEX_TEXT_START
                     : node->which == REGEX_LINE_END || node->which == REGEX_TEXT_END);
}

static size_t count_assertions(const struct regex_node *node)
{
    size_t count = node->kind == REGEX_NODE_ASSERT;
    for (const struct regex_node *child = node->child; child != NULL; child = child->next) {
        count += count_assertions(child);
    }
    return count;
}

/* Takes `^` from the beginning and `$` from the end of an alternative, which is how most patterns
 * have them, so that no marks are needed. False where others are left: then none is taken. */
static bool take_anchors(struct regex_node *sequence, bool *at_start, bool *at_end)
{
    struct regex_node **last = &sequence->child;
    while (*last != NULL && (*last)->next != NULL) {
        last = &(*last)->next;
    }
    *at_start = is_assertion(sequence->child, true);
    *at_end = is_assertion(*last, false);
    if (count_assertions(sequence) != (size_t)*at_start + *at_end) {
        return false;
    }
    if (*at_end) {
        *last = NULL;
    }
    if (*at_start) {
        sequence->child = sequence->child->next;
    }
    return true;
}

/* One alternative of the whole pattern as a set of whole texts. */
static status convert_alternative(struct conversion *self, struct regex_node *sequence,
                                  grammar_node *out)
{
    const bool is_search = self->is_search;
    bool at_start, at_end;
    grammar_node parts[2];
    self->has_marks = !take_anchors(sequence, &at_start, &at_end);
    self->any = self->has_marks ? self->any_marked : self->any_text;
    self->is_search = is_search && (self->has_marks || !at_end);
    status s = convert_sequence(self, sequence->child, true, &parts[1]);
    self->is_search = is_search;
    TRY(s);
    if (self->has_marks && !is_search) { /* the pattern has the mark or not */
        TRY(grammar_repeat(self->arena, self->start, 0, 1, &parts[0]));
    } else if (is_search && (self->has_marks || !at_start)) {
        parts[0] = self->any;
    } else {
        TRY(grammar_literal(self->arena, "", 0, &parts[0]));
    }
    TRY(grammar_sequence(self->arena, parts, 2, out));
    return self->has_marks ? without_marks(self, *out, out) : STATUS_OK;
}

static status convert_all(struct conversion *self, struct regex_node *root, grammar_node *out)
{
    grammar_node nothing;
    TRY(make_marks(self));
    TRY(grammar_choice(self->arena, NULL, 0, &nothing));
    *out = nothing;
    for (struct regex_node *child = root->child; child != NULL; child = child->next) {
        grammar_node parts[2] = {*out, 0};
        TRY(convert_alternative(self, child, &parts[1]));
        TRY(grammar_choice(self->arena, parts, 2, out));
    }
    return STATUS_OK;
}

status grammar_regex(struct grammar_expressions *self, const char *pattern, size_t length,
                     struct grammar_regex_options options, grammar_node *out)
{
    struct arena arena = {0};
    struct regex_node *root;
    struct regex *regex = NULL;
    const enum regex_dialect dialect =
        options.dialect == GRAMMAR_REGEX_ECMA ? REGEX_ECMA : REGEX_PYTHON;
    status s = regex_read(pattern, length, dialect, &arena, &regex, &root);
    if (s == STATUS_OK) {
        struct conversion conversion = {
            .arena = self, .regex = regex, .is_search = options.is_search};
        s = convert_all(&conversion, root, out);
    }
    arena_destroy(&arena);
    regex_destroy(regex);
    return s;
}
