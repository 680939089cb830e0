/* SPDX-License-Identifier: Apache-2.0 */
/* The notes that dying ranks leave in the journal's folder (attempts_note of sluice/data.h). */
#ifndef SLUICE_DATA_CRASH_NOTES_H
#define SLUICE_DATA_CRASH_NOTES_H

#include "sluice/base.h"

/* Zero-initialise. */
struct crash_notes {
    int32_t *replicas; /* of ranks that died of their own accord */
    size_t count, capacity;
    /* Ranks that say that no row is to blame, and how many have to: 0 where none does. */
    int excuses, excuses_wanted;
};

/* Reads the folder's notes, with a warning for each rank; what is no note counts for nothing. */
status crash_notes_read(const char *directory, struct crash_notes *out) MUST_CHECK;
/* Whether the end that they speak of is no row's doing. */
bool crash_notes_excuse(const struct crash_notes *notes);
bool crash_notes_name(const struct crash_notes *notes, int32_t replica);
void crash_notes_destroy(struct crash_notes *notes);
/* Removes them from the folder. */
status crash_notes_remove(const char *directory) MUST_CHECK;

#endif
