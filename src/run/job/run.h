/* SPDX-License-Identifier: Apache-2.0 */
/* What one rank knows of a job that it runs, and the two ends of it: how it opens and how its
 * output is written. run_job.c has what is in between. */
#ifndef SLUICE_RUN_JOB_RUN_H
#define SLUICE_RUN_JOB_RUN_H

#include <mpi.h>

#include "data/input/input_hash.h"
#include "run/coordinator.h"
#include "run/output/run_part.h"
#include "run/predict/job_prediction.h"
#include "run/provenance.h"
#include "run/ranks/world.h"
#include "run/replica.h"
#include "run/steps/stage.h"
#include "run/writing/early_output.h"
#include "sluice/run.h"

struct run {
    const struct job *job; /* `resolved`, once the model is open */
    struct job resolved;   /* borrows what the job owns */
    const struct run_options *options;
    const struct world *world;
    double start;
    struct model *model;
    struct plan plan;
    struct stage stage;
    MPI_Comm control, replica; /* MPI_COMM_NULL until they exist */
    struct replica_report report;
    /* On rank 0 alone: */
    struct input_files files; /* of the data set */
    int64_t *file_rows;       /* [files.count] of each, at the end */
    int64_t rows;             /* of the data set, where that is known at the start; or -1 */
    struct input_hash *hash;  /* of the data set, while it is being taken beside the rows */
    struct provenance provenance;
    struct run_part part;
    struct journal *journal;
    int64_t template_time; /* Unix seconds */
    struct attempts *attempts;
    struct early_output *early; /* NULL: the output is written at the end */
    struct coordinator *coordinator;
    struct job_prediction *prediction; /* NULL: nothing is known */
};

/* ---- open_job.c: rank 0 alone ---- */

/* The data set's files, of which some can run with this model. */
status run_find_data(struct run *run) MUST_CHECK;
/* The output's place, the journal, the coordinator. Where nothing is to be done, the summary says
 * so and nothing is open. */
status run_open(struct run *run, struct run_summary *summary) MUST_CHECK;
/* Rows that this start is about; -1 where only reading tells. */
int64_t run_limited_rows(const struct run *run);
/* The output's columns, as far as the rows have come (`context` is the run). */
struct output_columns run_choose_columns(const void *context);
/* What of the job is done already, and which part of it this start is about. */
void run_say_kept(const struct run *run);
void run_say_part(const struct run *run);

/* ---- hash_data.c: rank 0 alone ---- */

/* Hashes the data set: at once, or on a thread where it is large and no output is to be compared
 * with it. */
status run_hash_data(struct run *run) MUST_CHECK;
/* Waits for the hashes and appends the job's identity with them. */
status run_take_hashes(struct run *run, struct buffer *identity) MUST_CHECK;
/* Once the hashes are there, or at the end, which waits for them, gives the journal its name, or
 * compares them with those of one that was there. */
status run_name_journal(struct run *run, bool at_end) MUST_CHECK;

/* ---- finish_job.c: all ranks ---- */

/* Everybody's numbers at rank 0, and the file. Collective. */
status run_finish(struct run *run, struct run_summary *summary) MUST_CHECK;
/* What every rank's exit status depends on. Collective. */
status run_share_outcome(const struct run *run, struct run_summary *summary) MUST_CHECK;

#endif
