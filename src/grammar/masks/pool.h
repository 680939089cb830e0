/* SPDX-License-Identifier: Apache-2.0 */
/* Masks that are kept, each once, whichever grammar and state they are of: in a text of JSON the
 * same tokens fit nearly everywhere. */
#ifndef SLUICE_GRAMMAR_POOL_H
#define SLUICE_GRAMMAR_POOL_H

#include "sluice/base.h"

struct mask_pool; /* used by several threads at once */

struct kept_mask {
    struct kept_mask *next; /* the pool's */
    uint64_t hash, serial;  /* sampling_mask_serial: this mask's alone */
    size_t users;           /* the pool's; 0: it is in none */
    uint32_t words[];
};

/* For masks of `words` words. */
status mask_pool_create(size_t words, struct mask_pool **out) MUST_CHECK;
void mask_pool_destroy(struct mask_pool *self); /* all masks have been let go */

/* A mask of its own, of zeros; NULL: out of memory. It ends with mask_pool_release. */
struct kept_mask *mask_pool_make(const struct mask_pool *self);
/* Likewise, with another's words. */
struct kept_mask *mask_pool_copy(const struct mask_pool *self, const struct kept_mask *mask);
/* The one mask of the pool that is equal to a made one, which is the pool's from here on. *is_new:
 * there was none. */
struct kept_mask *mask_pool_put(struct mask_pool *self, struct kept_mask *made, bool *is_new);
void mask_pool_release(struct mask_pool *self, struct kept_mask *mask);

#endif
