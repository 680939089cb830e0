/* SPDX-License-Identifier: Apache-2.0 */
/* Kept masks, hashed by their words. */
#include "grammar/masks/pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "sluice/sampling.h"

enum { CHAINS = 4096 };

struct mask_pool {
    size_t words;
    pthread_mutex_t lock; /* over the chains and the numbers of users */
    struct kept_mask *chains[CHAINS];
};

status mask_pool_create(size_t words, struct mask_pool **out)
{
    struct mask_pool *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for masks");
    }
    self->words = words;
    pthread_mutex_init(&self->lock, NULL);
    *out = self;
    return STATUS_OK;
}

void mask_pool_destroy(struct mask_pool *self)
{
    if (self != NULL) {
        pthread_mutex_destroy(&self->lock);
        free(self);
    }
}

struct kept_mask *mask_pool_make(const struct mask_pool *self)
{
    struct kept_mask *mask = calloc(1, sizeof *mask + self->words * sizeof *mask->words);
    if (mask != NULL) {
        mask->serial = sampling_mask_serial();
    }
    return mask;
}

struct kept_mask *mask_pool_copy(const struct mask_pool *self, const struct kept_mask *mask)
{
    struct kept_mask *copy = mask_pool_make(self);
    if (copy != NULL) {
        memcpy(copy->words, mask->words, self->words * sizeof *copy->words);
    }
    return copy;
}

static struct kept_mask **chain_of(struct mask_pool *self, uint64_t hash)
{
    return &self->chains[hash % CHAINS];
}

struct kept_mask *mask_pool_put(struct mask_pool *self, struct kept_mask *made, bool *is_new)
{
    const size_t bytes = self->words * sizeof *made->words;
    made->hash = hash_bytes(made->words, bytes, 0);
    pthread_mutex_lock(&self->lock);
    struct kept_mask **chain = chain_of(self, made->hash), *mask = *chain;
    while (mask != NULL &&
           (mask->hash != made->hash || memcmp(mask->words, made->words, bytes) != 0)) {
        mask = mask->next;
    }
    *is_new = mask == NULL;
    if (*is_new) {
        mask = made;
        mask->next = *chain;
        *chain = mask;
    }
    mask->users++;
    pthread_mutex_unlock(&self->lock);
    if (!*is_new) {
        free(made);
    }
    return mask;
}

void mask_pool_release(struct mask_pool *self, struct kept_mask *mask)
{
    if (mask == NULL) {
        return;
    }
    pthread_mutex_lock(&self->lock);
    const bool is_last = mask->users <= 1;
    if (mask->users > 0 && --mask->users == 0) {
        struct kept_mask **at = chain_of(self, mask->hash);
        while (*at != mask) {
            at = &(*at)->next;
        }
        *at = mask->next;
    }
    pthread_mutex_unlock(&self->lock);
    if (is_last) {
        free(mask);
    }
}
