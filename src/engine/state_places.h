/* SPDX-License-Identifier: Apache-2.0 */
/* Places for the states of running sequences: as many as may run at once, each held by one. */
#ifndef SLUICE_STATE_PLACES_H
#define SLUICE_STATE_PLACES_H

#include "sluice/base.h"

struct state_places {
    int32_t *free; /* [count] the first free_count of them are free, the last one goes first */
    int count, free_count;
};

/* `count` places, from 0; 0 for models that keep no states. Ends with state_places_destroy. */
status state_places_create(int count, struct state_places *out) MUST_CHECK;
void state_places_destroy(struct state_places *self);

/* A free place. There is one: no more sequences run than there are places. */
int32_t state_places_take(struct state_places *self);
void state_places_release(struct state_places *self, int32_t place);

#endif
