/* SPDX-License-Identifier: Apache-2.0 */
/* How many rows share a key with an earlier row, in bounded memory: exact up to a million keys,
 * from then on of a share of all keys, counted up. */
#ifndef SLUICE_RUN_REPEATS_H
#define SLUICE_RUN_REPEATS_H

#include "sluice/base.h"

/* Zero-initialise; end with repeats_destroy. */
struct repeats {
    uint64_t *slots; /* [capacity], open addressing; 0: free */
    size_t count, capacity;
    int shift;       /* only keys with so many low bits of 0 are kept */
    int64_t repeats; /* of these */
};

/* `key` is a hash, and not 0. */
status repeats_add(struct repeats *repeats, uint64_t key) MUST_CHECK;
/* Keys that were there before. */
int64_t repeats_count(const struct repeats *repeats);
void repeats_destroy(struct repeats *repeats);

/* For random_stream's keys. */
#define REPEATS_WARNING                                                                            \
    "rows that have the id and the prompt of another row, and so its random numbers and answers: " \
    "%lld; give rows ids of their own, or seeds"

#endif
