/* SPDX-License-Identifier: Apache-2.0 */
/* What rank 0 says of the job while it runs: one live line on a terminal or a line a minute in a
 * log, the file that `sluice status` reads, and the one for node exporter. */
#ifndef SLUICE_RUN_PROGRESS_H
#define SLUICE_RUN_PROGRESS_H

#include "run/report/pace.h"
#include "sluice/data.h"
#include "sluice/job.h"
#include "sluice/progress.h"

struct progress_options {
    const char *directory;   /* of the journal; copied */
    const char *output;      /* of the job, borrowed like the next two */
    const char *metrics;     /* NULL: none */
    const struct plan *plan; /* the layout */
    bool quiet;              /* no lines */
};

enum { PROGRESS_SAMPLES = 5 };

/* Written by the functions below alone. */
struct progress {
    struct buffer directory, text;
    const char *output, *metrics;
    struct job_progress now;
    struct paces paces;
    bool lines, live;            /* in the log, on the terminal */
    bool failed, metrics_failed; /* the file could not be written, which was said */
    double start, next_line, last_draw, last_write;
    double draw_interval, write_interval; /* from one to the next, at least */
    double cost;                          /* seconds spent here */
    /* The last minute: the oldest sample first. */
    struct progress_sample {
        double time;
        int64_t rows, tokens;
    } samples[PROGRESS_SAMPLES];
    int sample_count;
};

/* `totals` are what the journal holds already. End with progress_end. */
status progress_begin(struct progress *progress, const struct progress_options *options,
                      struct journal_totals totals, int64_t rows) MUST_CHECK;

/* What a replica's leader has said of itself; and that it has no more to say. */
void progress_take_state(struct progress *progress, int replica, const struct replica_state *state);
void progress_leader_done(struct progress *progress, int replica);

struct progress_news {
    struct journal_totals totals;
    int64_t rows;   /* of the data set; -1: not known */
    int64_t handed; /* given to ranks, or done before */
    bool rows_left; /* leaders can have as many as they want */
    bool committed; /* what `totals` says has just become durable */
    bool snapshot;  /* somebody wants to see it in the log, now */
};
/* To be called often: does something when a line or a file is due. */
void progress_report(struct progress *progress, const struct progress_news *news);

/* The rows are over: the live line goes, and with it what is said from time to time; the files say
 * the last. What was slow comes into slow[size], as paces_summarise has it. */
void progress_rows_end(struct progress *progress, const struct progress_news *news, char *slow,
                       size_t size);
void progress_end(struct progress *progress);

#endif
