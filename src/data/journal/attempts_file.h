/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of the file `attempts`: a head, suspects, slots of rows under way.
 * docs/journal-format.md describes them. */
#ifndef SLUICE_DATA_ATTEMPTS_FILE_H
#define SLUICE_DATA_ATTEMPTS_FILE_H

#include "data/journal/under_way.h"

/* How often ranks died with a row under way. */
enum blame { UNEXPLAINED, UNEXPLAINED_ALONE, CRASHED, CRASHED_ALONE, BLAME_KINDS };

struct suspect {
    int64_t row;
    uint32_t counts[BLAME_KINDS];
    uint32_t group; /* with how many suspects it may run at most, itself included; 0: any number */
};

/* What a start leaves. */
struct last_start {
    bool running;  /* it did not say how it ended */
    int64_t alone; /* row that ran alone; -1: none */
    struct suspect *suspects;
    size_t suspect_count;
    struct row_slot *slots; /* of rows under way, stale ones included */
    size_t slot_count;
};

/* Reads the file, of whatever size. One that is not there, or that is damaged, which gets a
 * warning, is that of a start that ended in order and left nothing. */
status attempts_file_read(const char *path, struct last_start *out) MUST_CHECK;
void last_start_destroy(struct last_start *last);

/* Writes the file anew, by way of PATH.new, and syncs it and its folder: these suspects, and that a
 * start runs with nothing under way. *fd (-1 before) is open for the calls below, also where this
 * fails. */
status attempts_file_write(const char *path, const char *directory, const struct suspect *suspects,
                           size_t count, int *fd) MUST_CHECK;
status attempts_file_set_orderly(int fd) MUST_CHECK;            /* the start has ended in order */
status attempts_file_set_alone(int fd, int64_t row) MUST_CHECK; /* -1: none */
/* Where the first slot stands. */
int64_t attempts_file_slots(size_t suspect_count);

#endif
