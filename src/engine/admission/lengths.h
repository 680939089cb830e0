/* SPDX-License-Identifier: Apache-2.0 */
/* How long answers get: what the rows that have ended say of those that run.
 *
 * The first rows to end are the short ones. So an estimate that counted ended rows alone would be
 * too low for as long as the job is young; Kaplan and Meier's product limit (J. Am. Stat. Assoc.
 * 53, 1958) also counts the rows that have come this far and have not ended. Bins are exact for
 * short answers and an eighth of their length wide at most; older rows count less and less, so the
 * estimate follows a data set that changes. Memory is constant. Deterministic. */
#ifndef SLUICE_LENGTHS_H
#define SLUICE_LENGTHS_H

#include <stdbool.h>
#include <stdint.h>

enum { LENGTH_BINS = 256 };

/* Zero-initialise. */
struct lengths {
    double ended[LENGTH_BINS];    /* answers that ended by themselves */
    double cut[LENGTH_BINS];      /* answers that max_new_tokens or the context cut */
    double running[LENGTH_BINS];  /* by what they have so far; of lengths_settle's round */
    double survival[LENGTH_BINS]; /* share of answers longer than all of the bins before */
    double total;                 /* of ended and cut */
    int longest;                  /* that any answer of unknown length was allowed */
};

/* An answer of unknown length is queued, of `most` tokens at most. */
void lengths_note_limit(struct lengths *self, int most);
/* One has ended with `length` tokens; `is_cut`: it was not over. */
void lengths_note_end(struct lengths *self, int length, bool is_cut);

/* A round of estimates: begin, note every running answer, settle; then ask. */
void lengths_begin(struct lengths *self);
void lengths_note_running(struct lengths *self, int length);
void lengths_settle(struct lengths *self);

/* The length in tokens, above `length` and at most `most`, that an answer which has `length` will
 * come to if a share of `luck` (0 to 1) of such answers gets no longer. */
int lengths_predict(const struct lengths *self, double luck, int length, int most);
/* Mean length of answers of at most `most` tokens. */
double lengths_mean(const struct lengths *self, int most);

#endif
