/* SPDX-License-Identifier: Apache-2.0 */
/* A measurement's inside: the steps of a replica without a coordinator, and the profile. */
#ifndef SLUICE_MEASURE_BENCH_STEPS_H
#define SLUICE_MEASURE_BENCH_STEPS_H

#include <mpi.h>

#include "measure/timeline.h"
#include "run/steps/stage.h"
#include "sluice/bench.h"

/* Requests of one replica: prompts of random ids that follow from the row, greedy, whose answers
 * end at their lengths and nowhere else. */
struct bench_load {
    int64_t first_row;
    enum bench_lengths lengths;
    int requests, prompt_tokens, new_tokens;
    struct timeline *timeline; /* gets what the replica does, a leader's steps; NULL: not kept */
};

/* Tokens of a row's prompt. */
int bench_prompt_length(const struct bench_load *load, int64_t row);

/* What the steps of one run came to; leaders have the times, every rank `seconds` and
 * `communication`. */
struct bench_times {
    struct step_times prefill, decode;
    double plan, launch, wait, complete, gap;
    int64_t steps, prompt_tokens, output_tokens, preemptions, kv_peak_blocks;
    double seconds, communication;
    uint64_t communication_bytes; /* sent to other ranks */
};
void bench_times_destroy(struct bench_times *times);

/* Generates on one replica, by the step loop and with an engine as a job has them (the job's data
 * and output are not looked at). A step's seconds are those between two steps' ends. STATUS_STOPPED
 * where the process was asked to stop. Collective over the replica. */
status bench_generate(const struct job *job, struct stage *stage, MPI_Comm replica,
                      const struct bench_load *load, struct bench_times *times) MUST_CHECK;

/* Steps made by hand, in the shape of a run's: prompts that fill a step, and decode steps with a
 * token for each of as many sequences as run at once, halfway through their outputs. Run once, so
 * that what has to be chosen or loaded at first use is there. Collective over the replica. */
status bench_warm_up(struct stage *stage, const struct bench_load *load) MUST_CHECK;

/* The same steps with every operation timed, on the load's timeline as well. Ends the stage's
 * forward pass: only stage_destroy may follow. Collective over the replica. */
status bench_profile(struct stage *stage, const struct bench_load *load,
                     struct bench_profile *prefill, struct bench_profile *decode) MUST_CHECK;

#endif
