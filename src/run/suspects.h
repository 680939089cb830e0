/* SPDX-License-Identifier: Apache-2.0 */
/* Rows that ranks may have died of, kept until all others are done: their bytes in a file that
 * nobody else sees, so that there may be any number, and their order in memory. */
#ifndef SLUICE_RUN_SUSPECTS_H
#define SLUICE_RUN_SUSPECTS_H

#include "sluice/data.h"

/* Zero-initialise; `fd` counts where `count` > 0. */
struct suspects {
    struct suspect_record *items;
    size_t count, capacity;
    int fd;
    int64_t bytes;      /* in the file */
    size_t next, group; /* that was not taken yet; the end of the group under way */
    bool is_sorted;
};

/* Keeps a copy of the record, which may run with `group` suspects at most. The file stands in
 * `directory` and has no name. */
status suspects_keep(struct suspects *self, const char *directory, const struct record *record,
                     int64_t group) MUST_CHECK;
/* The next group begins, once the last one is done: the largest ones first. How many they are; 0:
 * there are none left. Nothing may be kept from then on. */
size_t suspects_begin_group(struct suspects *self);
/* Takes the next of the group into `record`, whose bytes the caller owns; *more is false where the
 * group has no more. */
status suspects_next(struct suspects *self, struct record *record, bool *more) MUST_CHECK;
/* Whether any was not taken yet. */
bool suspects_left(const struct suspects *self);
void suspects_destroy(struct suspects *self);

#endif
