/* SPDX-License-Identifier: Apache-2.0 */
/* A piecewise linear cost of rows, and where a chord of it is least steep. */
#include "engine/admission/gathering.h"

#include <math.h>

/* Prompts wait for so many steps at most. */
enum { LONGEST_WAIT = 12 };
/* What is gained has to be more than this share, or measured times are nothing to go by. */
static const double WORTH = 0.05;
/* Steps over which the rate of prompts is averaged. */
static const double AVERAGED = 32;
/* Sequences that wait leave their places empty: at most one in so many of those that run. */
static const double MOST_EMPTY = 1.0 / 64;

/* Seconds of `rows` rows, between points on a straight line and beyond them as between the two
 * next; there are two points at least. */
static double cost_at(const struct row_costs *costs, int rows)
{
    int i = 1;
    while (i + 1 < costs->count && costs->points[i].rows < rows) {
        i++;
    }
    const struct row_cost *a = &costs->points[i - 1], *b = &costs->points[i];
    return a->seconds + (b->seconds - a->seconds) * (rows - a->rows) / (b->rows - a->rows);
}

static double cost_of_prompts(const struct row_costs *costs, int decodes, int prompts)
{
    return (cost_at(costs, decodes + prompts) - cost_at(costs, decodes)) / prompts;
}

int gathering_best(const struct row_costs *costs, int decodes, int least, int most)
{
    if (costs->count < 2 || least < 1 || least >= most) {
        return 0;
    }
    double lowest = (1 - WORTH) * cost_of_prompts(costs, decodes, least);
    int best = 0;
    for (int i = 0; i < costs->count; i++) {
        const int prompts = costs->points[i].rows - decodes;
        if (prompts > least && prompts <= most &&
            cost_of_prompts(costs, decodes, prompts) < lowest) {
            lowest = cost_of_prompts(costs, decodes, prompts);
            best = prompts;
        }
    }
    return best;
}

bool gathering_waits(const struct gathering *self, int decodes, int prompts, int most)
{
    const int rate = (int)self->prompt_rate;
    const double empty = self->start_rate * (self->waited + 1) / 2; /* on average of the wait */
    if (decodes == 0 || prompts > 0 || self->waited + 1 >= LONGEST_WAIT ||
        empty > MOST_EMPTY * decodes) {
        return false;
    }
    const int best = gathering_best(&self->costs, decodes, rate, most);
    return best > 0 && rate * (self->waited + 1) < best;
}

void gathering_note_step(struct gathering *self, int prompts, int started)
{
    self->prompt_rate += (prompts - self->prompt_rate) / AVERAGED;
    self->start_rate += (started - self->start_rate) / AVERAGED;
    self->waited = started > 0 ? 0 : self->waited + 1;
}
