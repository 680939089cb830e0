/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of the KV cache that the running sequences will hold, step after step: whether one more
 * fits until it ends.
 *
 * A sequence grows by a token a step and gives all back at its end, so what counts is the peak over
 * time of the sum, which is less than the sum of peaks where ends are spread. Time is cut into
 * spans of a whole number of blocks' worth of steps. Within a span every sequence counts with the
 * most that it holds there, so for known lengths the forecast is never below the truth. */
#ifndef SLUICE_FORECAST_H
#define SLUICE_FORECAST_H

#include "sluice/base.h"

enum { FORECAST_SPANS = 256 };

/* What a sequence will do. */
struct forecast_need {
    int tokens;    /* that need blocks at its next step */
    int steps;     /* that it takes from now on, at least 1; a token more at each */
    bool is_read;  /* it does not grow */
    bool is_guess; /* the steps are: in its last span it counts by the share that it runs there */
};

struct forecast {
    int block_tokens, blocks;
    int span;                                                      /* steps of one */
    int64_t base[FORECAST_SPANS + 1], growing[FORECAST_SPANS + 1]; /* differences, until settled */
    int64_t ending[FORECAST_SPANS + 1];
    int64_t held[FORECAST_SPANS]; /* most blocks in each span */
    /* [blocks] of a block that several sequences hold: the last span that one of them needs it in,
     * as of the round. */
    uint32_t *seen;
    uint16_t *needed_until;
    uint32_t round;
};

status forecast_create(int blocks, int block_tokens, struct forecast *out) MUST_CHECK;
void forecast_destroy(struct forecast *self);

/* A new round, for sequences of at most `most_steps` steps: begin, add every running one, settle;
 * then ask. */
void forecast_begin(struct forecast *self, int most_steps);
/* The last span in which a sequence runs. */
int forecast_last_span(const struct forecast *self, const struct forecast_need *need);
/* `shared` [shared_count]: those of its blocks that others may hold, too. Sequences with shared
 * blocks are to be added in falling order of their last span: who needs a block longest has it. */
void forecast_add(struct forecast *self, const struct forecast_need *need, const int32_t *shared,
                  int shared_count);
void forecast_settle(struct forecast *self);

/* Whether a further sequence keeps the sum within `limit` blocks in every span until it ends.
 * `shared` [shared_count]: blocks that it has from others or from the prefix cache. */
bool forecast_fits(const struct forecast *self, const struct forecast_need *need,
                   const int32_t *shared, int shared_count, int64_t limit);
/* Counts it from now on. */
void forecast_include(struct forecast *self, const struct forecast_need *need,
                      const int32_t *shared, int shared_count);

#endif
