/* SPDX-License-Identifier: Apache-2.0 */
/* How a job stands, for whoever asks from outside: without MPI, from another shell or host. */
#ifndef SLUICE_PROGRESS_H
#define SLUICE_PROGRESS_H

#include "sluice/base.h"

/* What rank 0 writes beside the journal with each commit. Counts are of rows in the journal. */
struct job_progress {
    int64_t rows;                              /* of the data set; -1: not known yet */
    int64_t rows_done;                         /* with a result, of all starts */
    int64_t rows_kept;                         /* of these, what earlier starts did */
    int64_t rows_handed;                       /* read and given to ranks, or done before */
    int64_t error_rows;                        /* of rows_done, those with an error */
    int64_t output_tokens;                     /* of rows_done, all samples together */
    int64_t tokens_kept;                       /* of these, from earlier starts */
    double seconds;                            /* since this start could hand out rows */
    double rows_per_second, tokens_per_second; /* of about the last minute */
    int64_t running, waiting;                  /* sequences, of all replicas */
    double kv_use;                             /* share of the cache's blocks in use */
    double tokens_now; /* sampled a second, over the last ten, of rows that are not done as well */
    int64_t started, updated; /* Unix seconds */
    int64_t ranks, dp, tp, pp, process;
    char host[64];        /* of rank 0 and its process */
    char last_error[200]; /* of a row; cut at a character */
    char slow[240];       /* ranks that are slow or silent, by name; cut; empty where none is */
};

/* Replaces the file in the journal's folder as a whole: a reader sees the one before or this one.
 * It is not synced: after a power failure it may be an older one. */
status job_progress_write(const char *directory, const struct job_progress *progress) MUST_CHECK;
/* *found is false where there is none, or what is there is no such file. */
status job_progress_read(const char *directory, struct job_progress *out, bool *found) MUST_CHECK;
/* Its members as JSON, without braces: `"rows":10,…`, an unknown number of rows as null. */
status job_progress_append_json(const struct job_progress *progress, struct buffer *out) MUST_CHECK;

enum job_state {
    JOB_COMPLETE, /* the output stands */
    JOB_RUNNING,  /* a process has the journal */
    JOB_SILENT,   /* one on another host has it, and has not been heard of for a while */
    JOB_STOPPED,  /* rows are kept, and nobody is at it */
    JOB_UNKNOWN,  /* neither output nor journal is there */
};
/* "complete", "running"… */
const char *job_state_name(enum job_state state);

struct job_standing {
    enum job_state state;
    bool has_progress;
    struct job_progress progress; /* of a complete job: rows, rows_done, rows_kept, error_rows,
                                     output_tokens, seconds and the rates of its last start */
};

/* What can be told of the job with this output. Reads the finished output's attributes, or the lock
 * and the progress file; never the rows. */
status job_standing_read(const char *output, struct job_standing *out) MUST_CHECK;

struct output_reader;
/* output_open; where there is no output yet but a job's journal for it, the message of
 * STATUS_NOT_FOUND says how that job stands. */
status job_output_open(const char *path, struct output_reader **out) MUST_CHECK;

#endif
