/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that compute the masks of a step's requests while the device is at the step. What comes
 * out does not depend on them: each mask is of one sample alone. */
#ifndef SLUICE_MASK_POOL_H
#define SLUICE_MASK_POOL_H

#include "engine/constraint.h"

struct mask_pool; /* one an engine; its threads start with the first work */

status mask_pool_create(struct mask_pool **out) MUST_CHECK;
void mask_pool_destroy(struct mask_pool *self);

/* Some samples' masks, under way at once with those of other batches. Zero-initialise before first
 * use. */
struct mask_batch {
    struct constraint **items;
    size_t count, capacity;
    size_t next, done; /* the pool's, under its lock */
    struct mask_batch *following;
};
void mask_batch_destroy(struct mask_batch *self);
status mask_batch_add(struct mask_batch *self, struct constraint *constraint) MUST_CHECK;

/* Starts on a batch, which stays where it is until it has been awaited. */
void mask_pool_start(struct mask_pool *self, struct mask_batch *batch);
/* Returns when the batch is done; the caller's thread lends a hand. STATUS_NO_MEMORY. */
status mask_pool_await(struct mask_pool *self, struct mask_batch *batch) MUST_CHECK;

#endif
