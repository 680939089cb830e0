/* SPDX-License-Identifier: Apache-2.0 */
/* Running a job: the coordinator on rank 0, the replicas, and everything between start and the
 * finished file. */
#ifndef SLUICE_RUN_H
#define SLUICE_RUN_H

#include "sluice/export.h"
#include "sluice/job.h"

/* Which rows a start is about, where an output has the others already. */
enum run_part_kind {
    RUN_WHOLE,  /* all of the data set's */
    RUN_AGAIN,  /* those of an output that are of `where`, into an output of their own */
    RUN_APPEND, /* those that have come to the data set's end since, into that output */
};

struct run_options {
    enum run_part_kind part;
    const char *of;            /* RUN_AGAIN, RUN_APPEND: the output that there is */
    struct export_where where; /* RUN_AGAIN: of which a row has a result */
    bool fresh;                /* discard an existing journal */
    bool keep_mixed; /* devices, or an earlier start, whose answers have other bits are taken: the
                        output says of each row what computed it */
    bool quiet;      /* neither the live line on a terminal nor progress in the log */
};

/* What came of it, for the last lines on the terminal; filled on rank 0. */
struct run_summary {
    /* Of the whole job, whatever number of starts it took. */
    int64_t rows, error_rows, prompt_tokens, output_tokens;
    bool no_answers;  /* on every rank: there are rows, and each is an error row */
    char errors[900]; /* the commonest errors with their counts; empty where there are none */
    /* Of this start alone. */
    int64_t tokens_now; /* output tokens */
    char slow[480]; /* ranks that were slower than the others, or silent; empty where none was */
    double seconds;
    double journal_seconds; /* of them: opening, filling and reading back the journal */
    double rows_seconds;    /* of them: from the first row to the last */
    char bound[96]; /* what took these: "55% by tokens, …"; empty where too few steps tell */
    /* What was expected of the same rows before they ran, if every answer ran to its limit; 0 and
     * empty where the model had not run on such a device. */
    double predicted_seconds, predicted_tokens;
    char predicted_bound[96];
    int64_t resumed_rows; /* taken over from an earlier run */
    bool complete_before; /* on every rank: the output is this job's and whole, nothing was to be
                             done; rows, error_rows and no_answers are what it holds */
    char nothing[320];    /* of a start that is about a part: why complete_before; else empty */
    bool failed_alone;    /* on any rank: it failed while the others were in the middle of steps, so
                             that its message is its own to print and run_abort has to end them */
};

/* Starts MPI (or runs alone without it) and ends it; call once around everything. rank and size of
 * the world. STATUS_INVALID: what started this process meant more ranks than MPI knows of; the
 * message is for *rank 0 to print, run_end need not be called. */
status run_start(int *argc, char ***argv, int *rank, int *size) MUST_CHECK;
void run_end(void);
/* Ends every rank with this exit status; does not return when there are other ranks. */
void run_abort(int exit_status);

/* The job. Collective over all ranks. STATUS_STOPPED: asked to stop, the journal holds what is
 * done. */
status run_job(const struct job *job, const struct run_options *options,
               struct run_summary *summary) MUST_CHECK;

/* Makes all ranks agree: returns the first failing rank's code on every rank, with its message.
 * Collective. */
status run_agree(status own) MUST_CHECK;

#endif
