/* SPDX-License-Identifier: Apache-2.0 */
/* The arena of expressions: hash-consing, and the rewriting that makes equal texts equal nodes as
 * far as it is cheap. */
#include "grammar/expression.h"

#include <stdlib.h>
#include <string.h>

#include "grammar/nodes.h"

enum { DEFAULT_NODES = 1 << 20, DEFAULT_STATES = 1 << 19, DEFAULT_DEPTH = 512 };
static const double default_seconds = 10;
static const size_t default_bytes = (size_t)256 << 20;

enum { NOTHING_NODE, EMPTY_NODE }; /* the first two of every arena */

/* ---- Limits ---- */

struct grammar_limits grammar_limits_or_default(const struct grammar_limits *limits)
{
    struct grammar_limits given = limits != NULL ? *limits : (struct grammar_limits){0};
    return (struct grammar_limits){
        .nodes = given.nodes > 0 ? given.nodes : DEFAULT_NODES,
        .states = given.states > 0 ? given.states : DEFAULT_STATES,
        .depth = given.depth > 0 ? given.depth : DEFAULT_DEPTH,
        .seconds = given.seconds > 0 ? given.seconds : default_seconds,
        .bytes = given.bytes > 0 ? given.bytes : default_bytes,
    };
}

status grammar_work(struct grammar_expressions *self, uint64_t amount)
{
    return automaton_work(&self->work_left, amount);
}

/* ---- Life ---- */

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for a grammar");
}

static uint64_t hash_node(const struct grammar_expressions *self, const struct expression *node)
{
    const uint32_t head[] = {node->kind, node->count, node->least, node->most};
    const uint64_t seed = hash_bytes(head, sizeof head, 0);
    switch ((enum expression_kind)node->kind) {
    case NODE_BYTES:
        return hash_bytes(&self->sets[node->first], sizeof *self->sets, seed);
    case NODE_LITERAL:
        return hash_bytes(self->bytes + node->first, node->count, seed);
    case NODE_SEQUENCE:
    case NODE_CHOICE:
        return hash_bytes(self->children + node->first, node->count * sizeof *self->children, seed);
    default:
        return hash_bytes(&node->first, sizeof node->first, seed);
    }
}

static bool equal_nodes(const struct grammar_expressions *self, const struct expression *a,
                        const struct expression *b)
{
    if (a->kind != b->kind || a->count != b->count || a->least != b->least || a->most != b->most) {
        return false;
    }
    switch ((enum expression_kind)a->kind) {
    case NODE_BYTES:
        return memcmp(&self->sets[a->first], &self->sets[b->first], sizeof *self->sets) == 0;
    case NODE_LITERAL:
        return memcmp(self->bytes + a->first, self->bytes + b->first, a->count) == 0;
    case NODE_SEQUENCE:
    case NODE_CHOICE:
        return memcmp(self->children + a->first, self->children + b->first,
                      a->count * sizeof *self->children) == 0;
    default:
        return a->first == b->first;
    }
}

static status grow_table(struct grammar_expressions *self)
{
    const size_t size = self->table_size > 0 ? self->table_size * 2 : 256;
    uint32_t *table = calloc(size, sizeof *table);
    if (table == NULL) {
        return no_memory();
    }
    for (size_t i = 0; i < self->node_count; i++) {
        size_t at = hash_node(self, &self->nodes[i]) & (size - 1);
        while (table[at] != 0) {
            at = (at + 1) & (size - 1);
        }
        table[at] = (uint32_t)i + 1;
    }
    free(self->table);
    self->table = table;
    self->table_size = size;
    return STATUS_OK;
}

/* The node equal to *node, added where there is none yet. Its content lies at the end of its pool
 * and is taken back where the node exists; `pool_count` is the pool's length without it. */
static status intern(struct grammar_expressions *self, const struct expression *node, size_t *pool,
                     size_t pool_count, grammar_node *out)
{
    TRY(grammar_work(self, 1 + node->count / 8));
    if (node->depth > self->limits.depth) {
        return status_fail(STATUS_LIMIT, "a grammar nested deeper than %zu", self->limits.depth);
    }
    if ((self->node_count + 1) * 2 > self->table_size) {
        TRY(grow_table(self));
    }
    size_t at = hash_node(self, node) & (self->table_size - 1);
    for (; self->table[at] != 0; at = (at + 1) & (self->table_size - 1)) {
        const uint32_t found = self->table[at] - 1;
        if (equal_nodes(self, &self->nodes[found], node)) {
            if (pool != NULL) {
                *pool = pool_count;
            }
            *out = found;
            return STATUS_OK;
        }
    }
    if (self->node_count == self->limits.nodes) {
        return status_fail(STATUS_LIMIT, "a grammar of more than %zu parts", self->limits.nodes);
    }
    void *nodes = self->nodes;
    status s = array_grow(&nodes, &self->node_capacity, self->node_count + 1, sizeof *self->nodes);
    self->nodes = nodes;
    TRY(s);
    self->table[at] = (uint32_t)self->node_count + 1;
    *out = (grammar_node)self->node_count;
    self->nodes[self->node_count++] = *node;
    return STATUS_OK;
}

status grammar_expressions_create(const struct grammar_limits *limits,
                                  struct grammar_expressions **out)
{
    struct grammar_expressions *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return no_memory();
    }
    self->limits = grammar_limits_or_default(limits);
    self->work_left = (uint64_t)(self->limits.seconds * GRAMMAR_WORK_A_SECOND);
    grammar_node nothing, empty;
    const struct expression first = {.kind = NODE_NOTHING, .is_regular = true};
    const struct expression second = {.kind = NODE_EMPTY, .is_regular = true, .is_nullable = true};
    status s = intern(self, &first, NULL, 0, &nothing);
    if (s == STATUS_OK) {
        s = intern(self, &second, NULL, 0, &empty);
    }
    if (s != STATUS_OK) {
        grammar_expressions_destroy(self);
        return s;
    }
    *out = self;
    return STATUS_OK;
}

void grammar_expressions_destroy(struct grammar_expressions *self)
{
    if (self == NULL) {
        return;
    }
    for (size_t i = 0; i < self->rule_count; i++) {
        free(self->rules[i].name);
    }
    for (size_t i = 0; i < self->automaton_count; i++) {
        automaton_destroy(self->automata[i]);
    }
    free(self->automata);
    free(self->rules);
    free(self->nodes);
    free(self->children);
    free(self->bytes);
    free(self->sets);
    free(self->table);
    free(self->derived);
    free(self);
}

static uint64_t add_weights(uint64_t a, uint64_t b)
{
    return a > UINT32_MAX || b > UINT32_MAX ? UINT32_MAX : a + b;
}

/* ---- Bytes ---- */

status grammar_byte_set(struct grammar_expressions *self, const uint64_t set[4], grammar_node *out)
{
    if ((set[0] | set[1] | set[2] | set[3]) == 0) {
        *out = NOTHING_NODE;
        return STATUS_OK;
    }
    void *sets = self->sets;
    status s = array_grow(&sets, &self->set_capacity, self->set_count + 1, sizeof *self->sets);
    self->sets = sets;
    TRY(s);
    memcpy(self->sets[self->set_count].words, set, sizeof self->sets->words);
    const struct expression node = {
        .kind = NODE_BYTES, .is_regular = true, .first = (uint32_t)self->set_count, .weight = 1};
    const size_t before = self->set_count++;
    return intern(self, &node, &self->set_count, before, out);
}

status grammar_literal(struct grammar_expressions *self, const char *bytes, size_t count,
                       grammar_node *out)
{
    if (count == 0) {
        *out = EMPTY_NODE;
        return STATUS_OK;
    }
    if (count == 1) {
        struct byte_set set = {{0}};
        byte_set_add(&set, (unsigned char)bytes[0], (unsigned char)bytes[0]);
        return grammar_byte_set(self, set.words, out);
    }
    if (count > self->limits.states) {
        return status_fail(STATUS_LIMIT, "a text of %zu bytes in a grammar", count);
    }
    void *pool = self->bytes;
    status s = array_grow(&pool, &self->byte_capacity, self->byte_count + count, 1);
    self->bytes = pool;
    TRY(s);
    memcpy(self->bytes + self->byte_count, bytes, count);
    const struct expression node = {.kind = NODE_LITERAL,
                                    .is_regular = true,
                                    .first = (uint32_t)self->byte_count,
                                    .count = (uint32_t)count,
                                    .weight = count};
    const size_t before = self->byte_count;
    self->byte_count += count;
    return intern(self, &node, &self->byte_count, before, out);
}

/* ---- Combinations ---- */

/* Appends a node to the children that are being gathered. A choice gives its own children to a
 * choice around it. A sequence stays one in a sequence: it may stand in other places, too, and is
 * then compiled once. */
static status gather(struct grammar_expressions *self, enum expression_kind kind, grammar_node node)
{
    const struct expression *given = &self->nodes[node];
    const bool is_spread = kind == NODE_CHOICE && given->kind == NODE_CHOICE;
    const size_t count = is_spread ? given->count : 1;
    const uint32_t first = given->first;
    TRY(grammar_work(self, count));
    void *children = self->children;
    status s = array_grow(&children, &self->child_capacity, self->child_count + count,
                          sizeof *self->children);
    self->children = children;
    TRY(s);
    if (is_spread) {
        memmove(self->children + self->child_count, self->children + first,
                count * sizeof *self->children);
    } else {
        self->children[self->child_count] = node;
    }
    self->child_count += count;
    return STATUS_OK;
}

/* The node of the children gathered from `start` on. */
static status intern_children(struct grammar_expressions *self, enum expression_kind kind,
                              size_t start, grammar_node *out)
{
    struct expression node = {.kind = (uint8_t)kind,
                              .is_regular = true,
                              .is_nullable = kind == NODE_SEQUENCE,
                              .first = (uint32_t)start,
                              .count = (uint32_t)(self->child_count - start)};
    if (self->child_count > UINT32_MAX) {
        return status_fail(STATUS_LIMIT, "a grammar of too many parts");
    }
    for (size_t i = start; i < self->child_count; i++) {
        const struct expression *child = &self->nodes[self->children[i]];
        node.is_regular = node.is_regular && child->is_regular;
        node.is_nullable = kind == NODE_SEQUENCE ? node.is_nullable && child->is_nullable
                                                 : node.is_nullable || child->is_nullable;
        node.depth = child->depth + 1 > node.depth ? child->depth + 1 : node.depth;
        node.weight = add_weights(node.weight, child->weight);
    }
    return intern(self, &node, &self->child_count, start, out);
}

status grammar_sequence(struct grammar_expressions *self, const grammar_node *nodes, size_t count,
                        grammar_node *out)
{
    const size_t start = self->child_count;
    status s = STATUS_OK;
    for (size_t i = 0; i < count && s == STATUS_OK; i++) {
        if (nodes[i] == NOTHING_NODE) {
            self->child_count = start;
            *out = NOTHING_NODE;
            return STATUS_OK;
        }
        if (nodes[i] != EMPTY_NODE) {
            s = gather(self, NODE_SEQUENCE, nodes[i]);
        }
    }
    const size_t gathered = self->child_count - start;
    if (s == STATUS_OK && gathered >= 2) {
        return intern_children(self, NODE_SEQUENCE, start, out);
    }
    *out = gathered == 1 ? self->children[start] : EMPTY_NODE;
    self->child_count = start;
    return s;
}

static int compare_nodes(const void *a, const void *b)
{
    const grammar_node left = *(const grammar_node *)a, right = *(const grammar_node *)b;
    return (left > right) - (left < right);
}

/* Sorts the gathered children, drops doubles and NOTHING, joins sets of bytes into one. */
static status simplify_choice(struct grammar_expressions *self, size_t start)
{
    struct byte_set joined = {{0}};
    size_t sets = 0, kept = start;
    for (size_t i = start; i < self->child_count; i++) {
        const struct expression *child = &self->nodes[self->children[i]];
        if (child->kind == NODE_BYTES) {
            for (int word = 0; word < 4; word++) {
                joined.words[word] |= self->sets[child->first].words[word];
            }
            sets++;
        } else if (child->kind != NODE_NOTHING) {
            self->children[kept++] = self->children[i];
        }
    }
    self->child_count = kept;
    if (sets > 0) {
        grammar_node node;
        TRY(grammar_byte_set(self, joined.words, &node));
        TRY(gather(self, NODE_CHOICE, node));
    }
    const size_t count = self->child_count - start;
    if (count > 1) {
        qsort(self->children + start, count, sizeof *self->children, compare_nodes);
    }
    kept = start;
    for (size_t i = start; i < self->child_count; i++) {
        if (kept == start || self->children[kept - 1] != self->children[i]) {
            self->children[kept++] = self->children[i];
        }
    }
    self->child_count = kept;
    return STATUS_OK;
}

status grammar_choice(struct grammar_expressions *self, const grammar_node *nodes, size_t count,
                      grammar_node *out)
{
    const size_t start = self->child_count;
    status s = STATUS_OK;
    for (size_t i = 0; i < count && s == STATUS_OK; i++) {
        s = gather(self, NODE_CHOICE, nodes[i]);
    }
    if (s == STATUS_OK) {
        s = simplify_choice(self, start);
    }
    const size_t gathered = self->child_count - start;
    if (s == STATUS_OK && gathered >= 2) {
        return intern_children(self, NODE_CHOICE, start, out);
    }
    *out = gathered == 1 ? self->children[start] : NOTHING_NODE;
    self->child_count = start;
    return s;
}

status grammar_repeat(struct grammar_expressions *self, grammar_node node, uint32_t least,
                      uint32_t most, grammar_node *out)
{
    if (least > most || least == GRAMMAR_UNBOUNDED || (node == NOTHING_NODE && least > 0)) {
        *out = NOTHING_NODE;
        return STATUS_OK;
    }
    if (most == 0 || node == EMPTY_NODE || node == NOTHING_NODE) {
        *out = EMPTY_NODE;
        return STATUS_OK;
    }
    const struct expression *child = &self->nodes[node];
    if (least == 1 && most == 1) {
        *out = node;
        return STATUS_OK;
    }
    const uint64_t times = most == GRAMMAR_UNBOUNDED ? (uint64_t)least + 1 : most;
    const uint64_t weight = child->weight * times + 1;
    const struct expression repeat = {.kind = NODE_REPEAT,
                                      .is_regular = child->is_regular,
                                      .is_nullable = least == 0 || child->is_nullable,
                                      .first = node,
                                      .least = least,
                                      .most = most,
                                      .depth = child->depth + 1,
                                      .weight = weight > UINT32_MAX ? UINT32_MAX : weight};
    return intern(self, &repeat, NULL, 0, out);
}

/* ---- Rules ---- */

status grammar_rule_declare(struct grammar_expressions *self, const char *name, grammar_rule *out)
{
    if (self->rule_count == self->limits.nodes) {
        return status_fail(STATUS_LIMIT, "a grammar of more than %zu rules", self->limits.nodes);
    }
    void *rules = self->rules;
    status s = array_grow(&rules, &self->rule_capacity, self->rule_count + 1, sizeof *self->rules);
    self->rules = rules;
    TRY(s);
    char *copy = strdup(name != NULL ? name : "");
    if (copy == NULL) {
        return no_memory();
    }
    *out = (grammar_rule)self->rule_count;
    self->rules[self->rule_count++] = (struct rule){.name = copy, .node = NOTHING_NODE};
    return STATUS_OK;
}

status grammar_rule_define(struct grammar_expressions *self, grammar_rule rule, grammar_node node)
{
    if (self->rules[rule].is_defined) {
        return status_fail(STATUS_INVALID, "rule \"%s\" is defined twice", self->rules[rule].name);
    }
    self->rules[rule].node = node;
    self->rules[rule].is_defined = true;
    return STATUS_OK;
}

status grammar_reference(struct grammar_expressions *self, grammar_rule rule, grammar_node *out)
{
    const struct expression node = {.kind = NODE_REFERENCE, .first = rule, .weight = 1};
    return intern(self, &node, NULL, 0, out);
}

/* ---- Automata as nodes ---- */

status grammar_require_regular(const struct grammar_expressions *self, grammar_node node,
                               const char *what)
{
    return self->nodes[node].is_regular
               ? STATUS_OK
               : status_fail(STATUS_UNSUPPORTED, "%s of something that refers to a rule", what);
}

static bool is_nothing(const struct automaton *automaton)
{
    return automaton->state_count == 1 && !automaton->accepting[0];
}

status grammar_automaton_node(struct grammar_expressions *self, struct automaton *automaton,
                              grammar_node *out)
{
    if (is_nothing(automaton)) {
        automaton_destroy(automaton);
        *out = NOTHING_NODE;
        return STATUS_OK;
    }
    void *automata = self->automata;
    status s = array_grow(&automata, &self->automaton_capacity, self->automaton_count + 1,
                          sizeof(struct automaton *));
    self->automata = automata;
    if (s != STATUS_OK) {
        automaton_destroy(automaton);
        return s;
    }
    self->automata[self->automaton_count] = automaton;
    const struct expression node = {.kind = NODE_AUTOMATON,
                                    .is_regular = true,
                                    .is_nullable = automaton->accepting[0] != 0,
                                    .first = (uint32_t)self->automaton_count++,
                                    .weight = automaton->state_count};
    self->states_used += automaton->state_count;
    return self->states_used > self->limits.states
               ? status_fail(STATUS_LIMIT, "a grammar of more than %zu states", self->limits.states)
               : intern(self, &node, NULL, 0, out);
}
