/* SPDX-License-Identifier: Apache-2.0 */
/* The list of free places for states. */
#include "engine/state_places.h"

#include <assert.h>
#include <stdlib.h>

status state_places_create(int count, struct state_places *out)
{
    *out = (struct state_places){.count = count, .free_count = count};
    out->free = malloc(((size_t)count + 1) * sizeof *out->free);
    if (out->free == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for places of states");
    }
    for (int i = 0; i < count; i++) {
        out->free[i] = count - 1 - i;
    }
    return STATUS_OK;
}

void state_places_destroy(struct state_places *self)
{
    free(self->free);
    *self = (struct state_places){0};
}

int32_t state_places_take(struct state_places *self)
{
    assert(self->free_count > 0);
    return self->free[--self->free_count];
}

void state_places_release(struct state_places *self, int32_t place)
{
    assert(self->free_count < self->count && place >= 0 && place < self->count);
    self->free[self->free_count++] = place;
}
