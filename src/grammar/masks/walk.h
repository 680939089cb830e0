/* SPDX-License-Identifier: Apache-2.0 */
/* The walk over a vocabulary's trie from a state of a grammar: which tokens fit. */
#ifndef SLUICE_GRAMMAR_WALK_H
#define SLUICE_GRAMMAR_WALK_H

#include "grammar/stacks.h"
#include "grammar/vocabulary.h"

/* What a walk needs; grown as it goes. Zero-initialise. */
struct mask_walk {
    struct stacks stacks;
    struct places places;
    struct mask_level *levels; /* [depth of the trie + 1] */
};
void mask_walk_destroy(struct mask_walk *self);

/* What walks have found; the caller frees what it points to. */
struct mask_finding {
    uint32_t *words;     /* the tokens that fit, whatever is below; the caller's, set before */
    uint32_t *suspended; /* [suspended_count] nodes whose bytes lead below what is known */
    uint32_t suspended_count;
    size_t suspended_capacity;
};

/* Adds what is found below node `root` of the trie in a state with the unknown below it. */
status mask_walk_from(struct mask_walk *self, const struct grammar *grammar,
                      const struct grammar_vocabulary *vocabulary, uint32_t root, uint32_t state,
                      struct mask_finding *finding) MUST_CHECK;

#endif
