/* SPDX-License-Identifier: Apache-2.0 */
/* Which masks over the vocabulary a device keeps, and where: rows go from state to state of their
 * grammars, whose masks are the same ones again and again. Of slots of one size, each for a mask;
 * the one not used for longest is given away. Knows no device: who takes a slot writes it. */
#ifndef SLUICE_MASK_SLOTS_H
#define SLUICE_MASK_SLOTS_H

#include "sluice/base.h"

struct mask_slots;

status mask_slots_create(int count, struct mask_slots **out) MUST_CHECK;
void mask_slots_destroy(struct mask_slots *self);

/* A call of the sampler begins. */
void mask_slots_begin(struct mask_slots *self);

/* The slot that has a mask's words until the call after this one begins, at least. `serial` as
 * sample_request has it: a mask without one is known by its address, and only in the same call.
 * *is_new: it has others yet. At most `count` different masks are taken in a call. */
int mask_slots_take(struct mask_slots *self, const uint32_t *mask, uint64_t serial, bool *is_new);

#endif
