/* SPDX-License-Identifier: Apache-2.0 */
/* Slots by number of a mask, and by when they were used. */
#include "backend/mask_slots.h"

#include <assert.h>
#include <stdlib.h>

enum { NONE = -1 };

struct mask_slot {
    uint64_t serial;      /* 0: */
    const uint32_t *mask; /* whose slot it is; both 0: nobody's */
    int64_t call;         /* in which it was used last */
    int following;        /* in its bucket */
    int newer, older;     /* by last use */
};

struct mask_slots {
    struct mask_slot *slots; /* [count] */
    int *buckets;            /* [bucket_count], a power of two: a chain's first */
    size_t bucket_count;
    int newest, oldest;
    int64_t call;
};

status mask_slots_create(int count, struct mask_slots **out)
{
    struct mask_slots *self = calloc(1, sizeof *self);
    size_t buckets = 64;
    while (buckets < 2 * (size_t)count) {
        buckets *= 2;
    }
    if (self != NULL) {
        self->slots = calloc((size_t)count, sizeof *self->slots);
        self->buckets = malloc(buckets * sizeof *self->buckets);
    }
    if (self == NULL || self->slots == NULL || self->buckets == NULL) {
        mask_slots_destroy(self);
        return status_fail(STATUS_NO_MEMORY, "sampling: out of memory for %d masks", count);
    }
    self->bucket_count = buckets;
    for (size_t i = 0; i < buckets; i++) {
        self->buckets[i] = NONE;
    }
    for (int i = 0; i < count; i++) { /* the first is the oldest: slots are taken in order */
        self->slots[i] = (struct mask_slot){
            .following = NONE, .older = i - 1, .newer = i + 1 < count ? i + 1 : NONE};
    }
    self->newest = count - 1;
    *out = self;
    return STATUS_OK;
}

void mask_slots_destroy(struct mask_slots *self)
{
    if (self != NULL) {
        free(self->slots);
        free(self->buckets);
        free(self);
    }
}

void mask_slots_begin(struct mask_slots *self)
{
    self->call++;
}

static int *bucket_of(struct mask_slots *self, const uint32_t *mask, uint64_t serial)
{
    const uint64_t key = serial != 0 ? serial : (uint64_t)(uintptr_t)mask;
    return &self->buckets[hash_bytes(&key, sizeof key, 0) & (self->bucket_count - 1)];
}

static void make_newest(struct mask_slots *self, int at)
{
    struct mask_slot *slot = &self->slots[at];
    if (self->newest == at) {
        return;
    }
    *(slot->older != NONE ? &self->slots[slot->older].newer : &self->oldest) = slot->newer;
    self->slots[slot->newer].older = slot->older;
    slot->older = self->newest;
    slot->newer = NONE;
    self->slots[self->newest].newer = at;
    self->newest = at;
}

/* Takes a slot away from whose it is. */
static void vacate(struct mask_slots *self, int at)
{
    const struct mask_slot *slot = &self->slots[at];
    if (slot->serial == 0 && slot->mask == NULL) {
        return;
    }
    int *link = bucket_of(self, slot->mask, slot->serial);
    while (*link != at) {
        link = &self->slots[*link].following;
    }
    *link = slot->following;
}

int mask_slots_take(struct mask_slots *self, const uint32_t *mask, uint64_t serial, bool *is_new)
{
    const uint32_t *address = serial == 0 ? mask : NULL;
    int *bucket = bucket_of(self, address, serial), at = *bucket;
    while (at != NONE && (self->slots[at].serial != serial || self->slots[at].mask != address)) {
        at = self->slots[at].following;
    }
    *is_new = at == NONE || (serial == 0 && self->slots[at].call != self->call);
    if (at == NONE) {
        at = self->oldest;
        assert(self->slots[at].call < self->call);
        vacate(self, at);
        struct mask_slot *slot = &self->slots[at];
        slot->serial = serial;
        slot->mask = address;
        slot->following = *bucket;
        *bucket = at;
    }
    self->slots[at].call = self->call;
    make_newest(self, at);
    return at;
}
