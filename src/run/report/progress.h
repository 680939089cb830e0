/* SPDX-License-Identifier: Apache-2.0 */
/* What rank 0 says of the job while it runs: a line in the log every few seconds, and the file that
 * `sluice status` reads. */
#ifndef SLUICE_RUN_PROGRESS_H
#define SLUICE_RUN_PROGRESS_H

#include "sluice/data.h"
#include "sluice/job.h"
#include "sluice/progress.h"

struct progress_options {
    const char *directory;   /* of the journal */
    const struct plan *plan; /* the layout */
    bool quiet;              /* no lines */
};

enum { PROGRESS_SAMPLES = 5 };

/* Written by progress_begin and progress_report alone. */
struct progress {
    struct buffer directory;
    struct job_progress now;
    bool quiet, failed; /* failed: the file could not be written, which was said */
    double start, last_line, last_write;
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
/* To be called often: does something when a line or the file is due. `rows` of the data set are -1
 * where they are not known. `committed`: what `totals` says has just become durable. */
void progress_report(struct progress *progress, struct journal_totals totals, int64_t rows,
                     int64_t handed, bool committed);
void progress_end(struct progress *progress);

#endif
