/* SPDX-License-Identifier: Apache-2.0 */
/* From expressions to automata that are not deterministic yet. */
#ifndef SLUICE_GRAMMAR_BUILD_H
#define SLUICE_GRAMMAR_BUILD_H

#include "grammar/nodes.h"

#define BUILD_INLINE UINT32_MAX

/* Zero-initialise, then set expressions, nfa and outlined. */
struct nfa_builder {
    const struct grammar_expressions *expressions;
    struct nfa *nfa;
    const uint32_t *outlined; /* [nodes] the rule that a node is called as, or BUILD_INLINE; NULL:
                                 every node is built in its place */
    const bool *is_inlined;   /* [rules] whether a reference is built as what it refers to; NULL:
                                 none is */
    struct nfa_built {
        uint32_t node, next, state; /* node UINT32_MAX: free */
    } * memo;
    size_t memo_count, memo_size;
};
void builder_destroy(struct nfa_builder *self);

/* *start becomes a state from which the texts of `node` lead to `next`. A node is built once for a
 * `next`, so what is shared in the arena is shared here. */
status builder_add(struct nfa_builder *self, grammar_node node, uint32_t next,
                   uint32_t *start) MUST_CHECK;

/* The same of a node that is an outlined one itself: what its rule is made of. */
status builder_add_body(struct nfa_builder *self, grammar_node node, uint32_t next,
                        uint32_t *start) MUST_CHECK;

#endif
