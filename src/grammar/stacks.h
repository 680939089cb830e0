/* SPDX-License-Identifier: Apache-2.0 */
/* Where a text stands in a grammar: a set of (state, stack), and how a byte changes it.
 *
 * Stacks are lists of the states to come back to, hash-consed: equal stacks are one number. What
 * was pushed last can be taken back, which is how masks are computed: each token's bytes are gone
 * through and taken back again. */
#ifndef SLUICE_GRAMMAR_STACKS_H
#define SLUICE_GRAMMAR_STACKS_H

#include "grammar/tables.h"

enum {
    STACK_BOTTOM,  /* nothing to come back to: the whole text ends here */
    STACK_UNKNOWN, /* a mask is computed for whatever may be below */
    STACK_FIRST,
};

/* Places at once at most. Those of an ambiguous grammar that come after them are not followed: what
 * only they allow is refused. */
enum { PLACES_MOST = 256 };

struct stacks {
    struct stack {
        uint32_t back;   /* the state */
        uint32_t parent; /* stack below */
        uint32_t length; /* how many bytes it takes at least to come to its bottom, saturating */
    } * items;
    uint32_t count;
    size_t capacity;
    uint32_t *table; /* stacks by content, 0 free, else the number */
    size_t table_size;
};

struct grammar_place {
    uint32_t state, stack;
};

struct places {
    struct grammar_place *items;
    size_t count, capacity;
};

status stacks_create(struct stacks *self) MUST_CHECK;
void stacks_destroy(struct stacks *self);
/* Forgets all stacks from number `count` on. */
void stacks_cut(struct stacks *self, uint32_t count);
status stacks_push(struct stacks *self, const struct grammar *grammar, uint32_t back,
                   uint32_t parent, uint32_t *out) MUST_CHECK;

/* What a step came to. */
struct step_outcome {
    bool at_end;     /* a text of the whole ends here */
    bool at_unknown; /* what goes on depends on what is below */
    bool too_many;   /* more than PLACES_MOST: the rest of them is left out */
};

/* Adds a place and, where its rule may end there, those that it comes back to, to places[start..].
 */
status places_add(struct places *self, size_t start, struct stacks *stacks,
                  const struct grammar *grammar, struct grammar_place place,
                  struct step_outcome *outcome) MUST_CHECK;

/* Appends to *self what its places[start .. start + count) become by a byte of a class. */
status places_step(struct places *self, size_t start, size_t count, struct stacks *stacks,
                   const struct grammar *grammar, uint8_t class,
                   struct step_outcome *outcome) MUST_CHECK;

/* How many bytes at least from a place to the end of the whole. */
static inline uint64_t place_distance(const struct stacks *stacks, const struct grammar *grammar,
                                      struct grammar_place place)
{
    return (uint64_t)grammar->distance[place.state] + stacks->items[place.stack].length;
}

#endif
