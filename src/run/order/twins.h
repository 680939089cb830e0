/* SPDX-License-Identifier: Apache-2.0 */
/* Rows under way by what is asked of the model, so that an equal one is noticed before it runs: the
 * same tokens, and the same parameters down to the last. */
#ifndef SLUICE_RUN_TWINS_H
#define SLUICE_RUN_TWINS_H

#include "sluice/data.h"

/* What is asked. Zero-initialise; everything is borrowed while it is in a table. */
struct twin {
    struct twin *next;
    uint64_t hash;
    const int32_t *tokens; /* [count] */
    size_t count;
    const struct row *row;
    void *owner; /* the caller's */
};

enum { TWIN_BUCKETS = 4096 };

/* Zero-initialise. */
struct twins {
    struct twin *buckets[TWIN_BUCKETS];
};

/* Whether a row may have twins at all: its answer follows from what twins_find compares. */
bool twin_is_plain(const struct row *row);
/* Sets what `self` asks. */
void twin_set(struct twin *self, const struct row *row, const int32_t *tokens, size_t count);
/* One in the table that asks the same, or NULL. Where lists of a row are its own (stop strings,
 * biases) it has no twin: pointers are compared, not what they point to. */
struct twin *twins_find(const struct twins *self, const struct twin *twin);
void twins_add(struct twins *self, struct twin *twin);
/* Takes one out; nothing where it is not in. */
void twins_remove(struct twins *self, struct twin *twin);

#endif
