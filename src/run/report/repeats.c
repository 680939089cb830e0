/* SPDX-License-Identifier: Apache-2.0 */
/* Counting keys that come again. */
#include "run/report/repeats.h"

#include <stdlib.h>

enum { FIRST_CAPACITY = 1 << 10, MOST_CAPACITY = 1 << 21 };

/* The slot that has the key, or the free one where it belongs. The low bits may all be 0. */
static uint64_t *find_slot(uint64_t *slots, size_t capacity, uint64_t key)
{
    size_t at = (size_t)(key >> 40) & (capacity - 1);
    while (slots[at] != 0 && slots[at] != key) {
        at = (at + 1) & (capacity - 1);
    }
    return &slots[at];
}

static bool is_kept(const struct repeats *self, uint64_t key)
{
    return (key & (((uint64_t)1 << self->shift) - 1)) == 0;
}

/* Moves what is kept into `capacity` slots. */
static status rebuild(struct repeats *self, size_t capacity)
{
    uint64_t *slots = calloc(capacity, sizeof *slots);
    if (slots == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the ids of rows");
    }
    self->count = 0;
    for (size_t i = 0; i < self->capacity; i++) {
        if (self->slots[i] != 0 && is_kept(self, self->slots[i])) {
            *find_slot(slots, capacity, self->slots[i]) = self->slots[i];
            self->count++;
        }
    }
    free(self->slots);
    self->slots = slots;
    self->capacity = capacity;
    return STATUS_OK;
}

/* Half full is full. At the largest size every second key goes, and half of what was counted. */
static status make_room(struct repeats *self)
{
    if (2 * self->count < self->capacity) {
        return STATUS_OK;
    }
    if (self->capacity < MOST_CAPACITY) {
        return rebuild(self, self->capacity == 0 ? FIRST_CAPACITY : 2 * self->capacity);
    }
    self->shift++;
    self->repeats /= 2;
    return rebuild(self, self->capacity);
}

status repeats_add(struct repeats *self, uint64_t key)
{
    if (!is_kept(self, key)) {
        return STATUS_OK;
    }
    TRY(make_room(self));
    uint64_t *slot = find_slot(self->slots, self->capacity, key);
    self->repeats += *slot == key;
    self->count += *slot == 0;
    *slot = key;
    return STATUS_OK;
}

int64_t repeats_count(const struct repeats *self)
{
    return self->repeats << self->shift;
}

void repeats_destroy(struct repeats *self)
{
    free(self->slots);
    *self = (struct repeats){0};
}
