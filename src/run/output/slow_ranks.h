/* SPDX-License-Identifier: Apache-2.0 */
/* Which ranks were slower than their peers, and why, from the table of ranks. */
#ifndef SLUICE_RUN_OUTPUT_SLOW_RANKS_H
#define SLUICE_RUN_OUTPUT_SLOW_RANKS_H

#include "sluice/data.h"

/* Below this share of what its peers do a rank is slow. */
#define SLOW_SHARE 0.8

struct rank_verdict {
    bool leads;   /* a replica: the next two are those of the replica */
    double rate;  /* tokens a second of its time: of answers, or of prompts where a job has none */
    double peers; /* median of the other replicas' rates; NaN where there are none */
    bool is_slow;
    char reason[240]; /* of a slow one: a sentence without its full stop; it may quote a host */
};

/* verdicts: [count], in the order of `ranks`. A replica is slow whose tokens a second are below
 * SLOW_SHARE of the others', of its whole time and of that in which it had rows. Of a slow
 * replica's ranks, and of one replica alone, the slow one is that for which the others wait. */
status slow_ranks_find(const struct rank_metrics *ranks, size_t count,
                       struct rank_verdict *verdicts) MUST_CHECK;
/* Whether the job generated: then rates are of output tokens. */
bool slow_ranks_of_answers(const struct rank_metrics *ranks, size_t count);

#endif
