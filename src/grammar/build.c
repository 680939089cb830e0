/* SPDX-License-Identifier: Apache-2.0 */
/* From expressions to automata, back to front: what follows a node is there before it, so a node in
 * one place is built once however many ways lead to it. */
#include "grammar/build.h"

#include <stdlib.h>

void builder_destroy(struct nfa_builder *self)
{
    free(self->memo);
}

/* ---- What is built already ---- */

static size_t memo_place(const struct nfa_builder *self, uint32_t node, uint32_t next)
{
    const uint32_t key[2] = {node, next};
    size_t at = hash_bytes(key, sizeof key, 0) & (self->memo_size - 1);
    while (self->memo[at].node != UINT32_MAX &&
           (self->memo[at].node != node || self->memo[at].next != next)) {
        at = (at + 1) & (self->memo_size - 1);
    }
    return at;
}

static status memo_grow(struct nfa_builder *self)
{
    struct nfa_builder grown = *self;
    grown.memo_size = self->memo_size > 0 ? self->memo_size * 2 : 64;
    grown.memo = malloc(grown.memo_size * sizeof *grown.memo);
    if (grown.memo == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a grammar");
    }
    for (size_t i = 0; i < grown.memo_size; i++) {
        grown.memo[i].node = UINT32_MAX;
    }
    for (size_t i = 0; i < self->memo_size; i++) {
        const struct nfa_built *built = &self->memo[i];
        if (built->node != UINT32_MAX) {
            grown.memo[memo_place(&grown, built->node, built->next)] = *built;
        }
    }
    free(self->memo);
    *self = grown;
    return STATUS_OK;
}

static status memo_add(struct nfa_builder *self, uint32_t node, uint32_t next, uint32_t state)
{
    if ((self->memo_count + 1) * 2 > self->memo_size) {
        TRY(memo_grow(self));
    }
    self->memo[memo_place(self, node, next)] = (struct nfa_built){node, next, state};
    self->memo_count++;
    return STATUS_OK;
}

/* ---- Nodes ---- */

static status add_bytes(struct nfa_builder *self, const struct byte_set *set, uint32_t next,
                        uint32_t *start)
{
    TRY(nfa_add_state(self->nfa, false, start));
    for (unsigned low = 0; low < 256; low++) {
        if (!byte_set_has(set, low)) {
            continue;
        }
        unsigned high = low;
        while (high < 255 && byte_set_has(set, high + 1)) {
            high++;
        }
        TRY(nfa_add_edge(self->nfa, *start, (uint8_t)low, (uint8_t)high, next));
        low = high;
    }
    return STATUS_OK;
}

static status add_literal(struct nfa_builder *self, const struct expression *node, uint32_t next,
                          uint32_t *start)
{
    const char *bytes = self->expressions->bytes + node->first;
    for (uint32_t i = node->count; i-- > 0; next = *start) {
        const uint8_t byte = (uint8_t)bytes[i];
        TRY(nfa_add_state(self->nfa, false, start));
        TRY(nfa_add_edge(self->nfa, *start, byte, byte, next));
    }
    return STATUS_OK;
}

static status add_sequence(struct nfa_builder *self, const struct expression *node, uint32_t next,
                           uint32_t *start)
{
    const uint32_t first = node->first;
    *start = next;
    for (uint32_t i = node->count; i-- > 0;) {
        TRY(builder_add(self, self->expressions->children[first + i], *start, start));
    }
    return STATUS_OK;
}

static status add_choice(struct nfa_builder *self, const struct expression *node, uint32_t next,
                         uint32_t *start)
{
    const uint32_t first = node->first, count = node->count;
    uint32_t state;
    TRY(nfa_add_state(self->nfa, false, &state));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t branch;
        TRY(builder_add(self, self->expressions->children[first + i], next, &branch));
        TRY(nfa_add_empty(self->nfa, state, branch));
    }
    *start = state;
    return STATUS_OK;
}

/* A state that leads to `next`, by way of `body` or for nothing. */
static status add_optional(struct nfa_builder *self, uint32_t body, uint32_t next, uint32_t *start)
{
    TRY(nfa_add_state(self->nfa, false, start));
    TRY(nfa_add_empty(self->nfa, *start, body));
    return nfa_add_empty(self->nfa, *start, next);
}

static status add_repeat(struct nfa_builder *self, const struct expression *node, uint32_t next,
                         uint32_t *start)
{
    const grammar_node child = node->first;
    uint32_t left = node->least, state = next, body;
    if (node->most == GRAMMAR_UNBOUNDED) {
        uint32_t loop;
        TRY(nfa_add_state(self->nfa, false, &loop));
        TRY(builder_add(self, child, loop, &body));
        TRY(nfa_add_empty(self->nfa, loop, body));
        TRY(nfa_add_empty(self->nfa, loop, next));
        state = left > 0 ? body : loop; /* the loop's own body is the first of them */
        left -= left > 0;
    } else {
        for (uint32_t i = node->least; i < node->most; i++) {
            TRY(builder_add(self, child, state, &body));
            TRY(add_optional(self, body, next, &state));
        }
    }
    for (uint32_t i = 0; i < left; i++) {
        TRY(builder_add(self, child, state, &state));
    }
    *start = state;
    return STATUS_OK;
}

static status add_automaton(struct nfa_builder *self, const struct automaton *automaton,
                            uint32_t next, uint32_t *start)
{
    TRY(nfa_add_automaton(self->nfa, automaton, start));
    for (uint32_t i = 0; i < automaton->state_count; i++) {
        if (automaton->accepting[i]) {
            TRY(nfa_add_empty(self->nfa, *start + i, next));
        }
    }
    return STATUS_OK;
}

static status add_call(struct nfa_builder *self, uint32_t rule, uint32_t next, uint32_t *start)
{
    TRY(nfa_add_state(self->nfa, false, start));
    return nfa_add_call(self->nfa, *start, rule, next);
}

status builder_add_body(struct nfa_builder *self, grammar_node node, uint32_t next, uint32_t *start)
{
    const struct expression content = self->expressions->nodes[node];
    switch ((enum expression_kind)content.kind) {
    case NODE_NOTHING:
        return nfa_add_state(self->nfa, false, start);
    case NODE_EMPTY:
        *start = next;
        return STATUS_OK;
    case NODE_BYTES:
        return add_bytes(self, &self->expressions->sets[content.first], next, start);
    case NODE_LITERAL:
        return add_literal(self, &content, next, start);
    case NODE_SEQUENCE:
        return add_sequence(self, &content, next, start);
    case NODE_CHOICE:
        return add_choice(self, &content, next, start);
    case NODE_REPEAT:
        return add_repeat(self, &content, next, start);
    case NODE_REFERENCE:
        return self->is_inlined != NULL && self->is_inlined[content.first]
                   ? builder_add(self, self->expressions->rules[content.first].node, next, start)
                   : add_call(self, content.first, next, start);
    case NODE_AUTOMATON:
        break;
    }
    return add_automaton(self, self->expressions->automata[content.first], next, start);
}

status builder_add(struct nfa_builder *self, grammar_node node, uint32_t next, uint32_t *start)
{
    if (self->memo_size > 0) {
        const struct nfa_built *built = &self->memo[memo_place(self, node, next)];
        if (built->node == node) {
            *start = built->state;
            return STATUS_OK;
        }
    }
    uint32_t state;
    if (self->outlined != NULL && self->outlined[node] != BUILD_INLINE) {
        TRY(add_call(self, self->outlined[node], next, &state));
    } else {
        TRY(builder_add_body(self, node, next, &state));
    }
    TRY(memo_add(self, node, next, state));
    *start = state;
    return STATUS_OK;
}
