/* SPDX-License-Identifier: Apache-2.0 */
/* Which errors a job's rows have, and how many rows have each: a newcomer whose every row fails is
 * told why in one line. */
#ifndef SLUICE_RUN_ERROR_TALLY_H
#define SLUICE_RUN_ERROR_TALLY_H

#include "sluice/base.h"

struct error_kind;

/* Zero-initialise; end with error_tally_destroy. */
struct error_tally {
    struct error_kind *kinds;
    size_t count, capacity;
    int64_t uncounted; /* rows whose kind came when there were too many to keep apart */
};

/* Takes in a row's error, which begins with its position ("line 7: …"). Errors that differ in
 * position, numbers or quoted values alone are of one kind. A row counts once in a kind, however
 * many of its samples have it; rows come in order. */
status error_tally_add(struct error_tally *tally, int64_t row, const char *error,
                       size_t length) MUST_CHECK;

/* Bytes of the position that an error begins with, its colon and space among them: where a row
 * stands, which is no part of what is wrong with it. */
size_t error_place_length(const char *error, size_t length);

/* Appends the three commonest, with counts and the first place of each, as one line without its
 * end: "3 rows: no prompt … (first: line 2); 1 row: …; 2 rows: other errors". */
status error_tally_describe(struct error_tally *tally, struct buffer *out) MUST_CHECK;

struct error_group {
    const char *text;  /* the first one's, without its position; the tally's */
    const char *place; /* "line 2", "" where the text names none */
    int64_t rows;
};
/* The index-th commonest kind, to be asked for from 0 on; false behind the last. */
bool error_tally_get(struct error_tally *tally, size_t index, struct error_group *out);

void error_tally_destroy(struct error_tally *tally);

#endif
