/* SPDX-License-Identifier: Apache-2.0 */
/* Which sequences may start, and how much prompt a step takes: by what those that run will still
 * need of the cache until they end. docs/engine.md, "Admission", tells how. */
#ifndef SLUICE_ADMISSION_H
#define SLUICE_ADMISSION_H

#include "engine/admission/forecast.h"
#include "engine/admission/lengths.h"
#include "engine/sequence.h"

/* Running sequences as the scheduler lists them. */
struct sequence_list {
    struct sequence *first, *last;
    int count;
};

struct admission {
    const struct engine_options *options; /* borrowed */
    struct lengths lengths;
    struct forecast forecast;
    struct sequence *ending[FORECAST_SPANS]; /* running ones by their last span, linked */
    double guessed; /* sum of squares of the blocks of sequences whose length is a guess */
    int longest;    /* steps of any sequence that asked in this round */
    int64_t round_step, end_count, round_ends; /* when the forecast was made */
    bool is_last;                              /* as of the step */
    bool is_full;                              /* the next in line did not fit the forecast */
    bool is_saving;                            /* it waits for credit */
    double credit; /* positions of the cache times steps that may yet be promised */
};

status admission_create(const struct engine_options *options, struct admission *out) MUST_CHECK;
void admission_destroy(struct admission *self);

/* A row is queued, or a sequence has ended for good. */
void admission_note_row(struct admission *self, const struct engine_row *row);
void admission_note_end(struct admission *self, const struct sequence *sequence);

/* A step is planned. */
void admission_note_step(struct admission *self);

/* What admission_begin is told of a step. */
struct admission_step {
    int64_t number;
    int prompt_tokens; /* that steps take, about; at least 1 */
    bool is_last;      /* nothing comes after what waits now, and little of it is left */
    bool shares;       /* some block is held more than once */
};
/* Before sequences are admitted to a step. False where the forecast was full and what it depends on
 * has hardly changed: then none is to be tried. */
bool admission_begin(struct admission *self, const struct sequence_list *running,
                     const struct admission_step *step);
/* Whether a sequence fits until it ends, by the forecast; it holds what the prefix cache has of it.
 */
bool admission_fits(struct admission *self, const struct sequence *sequence);
/* Whether the cache keeps the next in line waiting, as far as the last round could tell. */
bool admission_is_scarce(const struct admission *self);
/* It was admitted. */
void admission_include(struct admission *self, const struct sequence *sequence);

#endif
