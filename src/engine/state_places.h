/* SPDX-License-Identifier: Apache-2.0 */
/* Places for states of sequences. Each running sequence has one; others hold states that are kept
 * for the prefix cache: those behind a full block of a prompt, found by the prefix that ends there
 * (kv_blocks.h). Of these the least recently used one is forgotten where all are taken. */
#ifndef SLUICE_STATE_PLACES_H
#define SLUICE_STATE_PLACES_H

#include "sluice/base.h"

enum { STATE_NONE = -1 };

struct kept_state {
    uint64_t prefix; /* 0: there is none, since no published prefix is 0 */
    int32_t place;
    int readers; /* sequences that are to begin with it: it stays until then */
    uint64_t used;
};

struct state_places {
    int32_t *free; /* [count] the first free_count of them are free, the last one goes first */
    int count, free_count;
    struct kept_state *kept; /* [kept_count] */
    int kept_count;
    uint64_t uses;
};

/* Places for `running` sequences and `kept` states, from 0; both 0 for models that keep no states.
 * Ends with state_places_destroy. */
status state_places_create(int running, int kept, struct state_places *out);
void state_places_destroy(struct state_places *self);

/* A free place. There is one: no more sequences run, and no more states are kept, than there are
 * places for. */
int32_t state_places_take(struct state_places *self);
void state_places_release(struct state_places *self, int32_t place);

/* The kept state of a prefix, or STATE_NONE. */
int32_t state_places_find(const struct state_places *self, uint64_t prefix);
/* Keeps what is in `place`, which is then no more the caller's. STATE_NONE, and it still is, where
 * the prefix has one already, or none can be forgotten. */
int32_t state_places_keep(struct state_places *self, uint64_t prefix, int32_t place);
/* A sequence is to begin with it, until it has. Returns its place. */
int32_t state_places_hold(struct state_places *self, int32_t entry);
void state_places_let_go(struct state_places *self, int32_t entry);

#endif
