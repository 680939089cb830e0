/* SPDX-License-Identifier: Apache-2.0 */
/* How long prompts are gathered before they run together: products of few rows beside those that
 * decode cost more a row than those of many. docs/engine.md, "Gathering", tells how. */
#ifndef SLUICE_GATHERING_H
#define SLUICE_GATHERING_H

#include "sluice/engine.h"

/* Zero-initialise. */
struct gathering {
    struct row_costs costs;
    /* Tokens of prompts and new sequences a step, on average over the last ones. */
    double prompt_rate, start_rate;
    int waited; /* steps without a new sequence, since the last one with any */
};

/* Tokens of prompts that cost least each beside `decodes` rows, of those that steps will take; 0
 * where costs are not known or fewer are as good. At most `most`. */
int gathering_best(const struct row_costs *costs, int decodes, int least, int most);

/* Whether new sequences are better kept for a later step, of one that has `decodes` rows and
 * `prompts` tokens of prompts so far, and room for `most` tokens. */
bool gathering_waits(const struct gathering *self, int decodes, int prompts, int most);
/* A step was planned with so many tokens of prompts and new sequences. */
void gathering_note_step(struct gathering *self, int prompts, int started);

#endif
