/* SPDX-License-Identifier: Apache-2.0 */
/* Places for states: the list of free ones, and the table of those kept. It is a short one: a look
 * through all of it costs less than a step of one token. */
#include "engine/state_places.h"

#include <assert.h>
#include <stdlib.h>

status state_places_create(int running, int kept, struct state_places *out)
{
    const int count = running + kept;
    *out = (struct state_places){.count = count, .free_count = count, .kept_count = kept};
    out->free = malloc(((size_t)count + 1) * sizeof *out->free);
    out->kept = calloc((size_t)kept + 1, sizeof *out->kept);
    if (out->free == NULL || out->kept == NULL) {
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
    free(self->kept);
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

/* ---- Kept ones ---- */

int32_t state_places_find(const struct state_places *self, uint64_t prefix)
{
    for (int32_t i = 0; i < self->kept_count; i++) {
        if (self->kept[i].prefix == prefix) {
            return i;
        }
    }
    return STATE_NONE;
}

/* One that is empty, or the least recently used that nobody is to begin with. */
static int32_t find_oldest(const struct state_places *self)
{
    int32_t oldest = STATE_NONE;
    for (int32_t i = 0; i < self->kept_count; i++) {
        const struct kept_state *entry = &self->kept[i];
        if (entry->prefix == 0) {
            return i;
        }
        if (entry->readers == 0 &&
            (oldest == STATE_NONE || entry->used < self->kept[oldest].used)) {
            oldest = i;
        }
    }
    return oldest;
}

int32_t state_places_keep(struct state_places *self, uint64_t prefix, int32_t place)
{
    const int32_t there = state_places_find(self, prefix);
    if (there != STATE_NONE) {
        self->kept[there].used = ++self->uses;
        return STATE_NONE;
    }
    const int32_t at = find_oldest(self);
    if (at != STATE_NONE) {
        struct kept_state *entry = &self->kept[at];
        if (entry->prefix != 0) {
            state_places_release(self, entry->place);
        }
        *entry = (struct kept_state){.prefix = prefix, .place = place, .used = ++self->uses};
    }
    return at;
}

int32_t state_places_hold(struct state_places *self, int32_t entry)
{
    self->kept[entry].used = ++self->uses;
    self->kept[entry].readers++;
    return self->kept[entry].place;
}

void state_places_let_go(struct state_places *self, int32_t entry)
{
    assert(self->kept[entry].readers > 0);
    self->kept[entry].readers--;
}
