/* SPDX-License-Identifier: Apache-2.0 */
/* A replica at work on a job: its ranks run the step loop (run/steps/step_loop.h), its leader gets
 * rows from the coordinator and sends it what they came to. */
#ifndef SLUICE_RUN_REPLICA_H
#define SLUICE_RUN_REPLICA_H

#include <mpi.h>

#include "run/coordinator.h"
#include "run/predict/step_cost.h"
#include "run/report/notes.h"
#include "run/steps/stage.h"
#include "sluice/engine.h"

struct replica_options {
    const struct job *job;
    struct stage *stage;
    MPI_Comm control;                /* all ranks: leaders talk to the coordinator at rank 0 */
    MPI_Comm replica;                /* this replica's ranks: stage · tp + tensor rank */
    struct coordinator *coordinator; /* on world rank 0: gets its turn between steps; else NULL */
    int64_t now;
    const char *arithmetic; /* to stand in each result of a job that keeps kinds apart; or NULL */
    double start;           /* clock_seconds() at the job's start, for the timeline */
};

enum { TIMELINE_MAX_POINTS = 1024 };

/* What a rank did. Timeline and notes are the caller's to free; only leaders have them. */
struct replica_report {
    struct rank_metrics metrics;
    struct notes notes;
    char bound[STEP_BOUND_BYTES]; /* of the first replica's leader: what took the time of its steps;
                                     empty where that cannot be told */
    struct timeline_point *timeline;
    size_t timeline_count;
};

/* Works until the data set is done or the job is asked to stop. Collective over all ranks of all
 * replicas in the sense that every one must be in it. */
status replica_run(const struct replica_options *options, struct replica_report *report) MUST_CHECK;

#endif
