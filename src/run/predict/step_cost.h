/* SPDX-License-Identifier: Apache-2.0 */
/* What steps cost on a device: fitted to the steps of a run, and kept for the next prediction. */
#ifndef SLUICE_RUN_STEP_COST_H
#define SLUICE_RUN_STEP_COST_H

#include "sluice/engine.h"
#include "sluice/job.h"

enum { STEP_COST_TERMS = 3 };

/* Seconds of a step = fixed + row · its tokens + position · positions of the cache that its
 * sequences have in all. */
struct step_cost {
    double fixed, row, position;
    int64_t steps;         /* that it was fitted to */
    struct row_costs rows; /* fixed + row · tokens, as measured at numbers of tokens that came often
                              enough */
};

/* Shares of the time that steps take: what bounds a job. */
struct step_bound {
    double row, position, rest;
};
enum { STEP_BOUND_BYTES = 96 };
/* "55% by tokens, 40% by reading the cache, 5% by the number of steps"; returns `text`. */
const char *step_bound_describe(const struct step_bound *bound, char text[STEP_BOUND_BYTES]);

/* Sums of a least-squares fit, each step by its share of error and not by its seconds.
 * Zero-initialise. */
struct step_fit {
    double products[STEP_COST_TERMS][STEP_COST_TERMS], values[STEP_COST_TERMS], squares;
    double sums[STEP_COST_TERMS], seconds; /* of all steps */
    struct step_bucket {
        double tokens, positions, seconds;
        int64_t steps;
    } buckets[ROW_COSTS_MOST]; /* of steps with about as many tokens */
    int64_t steps, skipped, next_renewal;
};
void step_fit_note(struct step_fit *self, int64_t tokens, int64_t positions, double seconds);
/* The best fit without a negative term, with the sum of seconds that all steps took: a step that
 * took far longer than others, on a busy machine, moves the sum and not the terms' proportions.
 * False where there are too few steps to tell. */
bool step_fit_solve(const struct step_fit *self, struct step_cost *out);
/* To be called after every step: true after 256, 1,024, 4,096, … steps, with a solution. */
bool step_fit_renew(struct step_fit *self, struct step_cost *out);
/* What bounded the steps that a solution was fitted to. */
struct step_bound step_fit_bound(const struct step_fit *self, const struct step_cost *solution);

/* The last fit for this model, these types, this layout and such a device, of any process of this
 * user: $XDG_CACHE_HOME/sluice/steps, or ~/.cache/sluice/steps. False where there is none. */
bool step_cost_load(const struct plan *plan, const struct model_config *config,
                    struct step_cost *out);
/* Keeps it in place of the last one. That there is no such place is no failure. */
void step_cost_save(const struct plan *plan, const struct model_config *config,
                    const struct step_cost *cost);

#endif
