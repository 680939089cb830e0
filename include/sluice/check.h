/* SPDX-License-Identifier: Apache-2.0 */
/* Validating a job without running it: everything that can be known before the first step. */
#ifndef SLUICE_CHECK_H
#define SLUICE_CHECK_H

#include "sluice/job.h"

enum { CHECK_MAX_BAD_ROWS = 10 };

struct check_options {
    int ranks, ranks_per_host; /* to plan for */
    int64_t sample;  /* rows that are looked at, from the first; the others are counted, and the
                        job's  time is predicted; 0: all are, and nothing is predicted */
    bool fresh;      /* as `run --fresh` would go about it */
    bool keep_mixed; /* likewise */
};

struct check_report {
    struct buffer plan; /* as plan_describe has it; empty where there is no plan */
    struct buffer
        defaults; /* sampling values that are the model's own; empty where there are none */
    struct buffer bad_rows;   /* the first CHECK_MAX_BAD_ROWS, a line each: "line 7: why" */
    struct buffer problems;   /* what would keep the job from running, a line each */
    struct buffer warnings;   /* what cannot be known without running, a line each */
    struct buffer errors;     /* the commonest of the bad rows, with counts; one line without end */
    struct buffer prediction; /* how long the job takes and what bounds it, a line each; empty where
                                 none is asked for */
    int64_t problem_count;
    bool is_refused;   /* one of them is that the job file names what does not go together */
    bool complete;     /* the output is there and whole: there is nothing to run */
    bool has_journal;  /* an earlier start was interrupted, and this job continues it */
    int64_t kept_rows; /* that it has left */
    int64_t rows, bad_row_count; /* bad rows are a problem where data.skip_bad_rows is false */
    int64_t samples;             /* of the good rows */
    int64_t texts;               /* of the good rows, those whose prompt is a text */
    int64_t cut_answers;         /* good rows that have less room than their max_new_tokens */
    bool has_template;           /* the model has a chat template */
    int64_t prompt_tokens,
        longest_prompt;    /* of the good rows; 0 where nothing could be tokenized */
    int64_t output_tokens; /* at most: every sample runs to its length limit */
    int64_t output_bytes;  /* of journal and output file together at most, roughly */
    int64_t least_bytes;   /* the same where every answer is empty */
    int64_t free_bytes;    /* where the output goes; -1: unknown */
};

/* Reads the whole data set. Fails only where checking itself does (memory); what is wrong with the
 * job is in the report. End with check_report_destroy, also after a failure. Not collective. */
status check_job(const struct job *job, const struct check_options *options,
                 struct check_report *report) MUST_CHECK;
void check_report_destroy(struct check_report *report);

#endif
