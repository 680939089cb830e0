/* SPDX-License-Identifier: Apache-2.0 */
/* A few threads for what each sample of a step needs for itself: its mask while the device is at
 * the step, its text behind it. What comes out does not depend on them: an item knows no other. */
#ifndef SLUICE_TEAM_H
#define SLUICE_TEAM_H

#include "sluice/base.h"

enum { TEAM_THREADS = 4 };

struct team; /* one an engine; its threads start with the first work */

status team_create(struct team **out) MUST_CHECK;
void team_destroy(struct team *self);

/* Some items of one kind of work, under way at once with other batches. Zero-initialise before
 * first use, then set `work`. */
struct team_batch {
    void (*work)(void *item); /* on any thread; a failure is the item's to keep */
    void **items;
    size_t count, capacity;
    size_t next, done; /* the team's, under its lock */
    struct team_batch *following;
};
void team_batch_destroy(struct team_batch *self);
status team_batch_add(struct team_batch *self, void *item) MUST_CHECK;

/* Starts on a batch, which stays where it is until it has been awaited. */
void team_start(struct team *self, struct team_batch *batch);
/* Returns when the batch is done; the caller's thread lends a hand. */
void team_await(struct team *self, struct team_batch *batch);

#endif
