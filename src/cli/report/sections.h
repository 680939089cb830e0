/* SPDX-License-Identifier: Apache-2.0 */
/* The sections of a report, each from what was read of the output. */
#ifndef SLUICE_CLI_REPORT_SECTIONS_H
#define SLUICE_CLI_REPORT_SECTIONS_H

#include "cli/output_summary.h"
#include "run/output/series.h"
#include "run/output/slow_ranks.h"

struct report {
    const char *path;
    struct output_reader *reader;
    struct arena arena;
    const struct rank_metrics *ranks;
    struct rank_verdict *verdicts; /* [rank_count] */
    size_t rank_count;
    bool of_answers; /* rates are of output tokens */
    struct output_summary summary;
    struct series series;
};

/* An attribute's text, "" where there is none; the number that it begins with, NaN for none. */
const char *report_text(struct report *report, const char *name);
double report_number(struct report *report, const char *name);

status report_write_head(struct report *report, struct buffer *out) MUST_CHECK; /* sections.c */
status report_write_time(struct report *report,
                         struct buffer *out) MUST_CHECK; /* sections_time.c */
status report_write_ranks(struct report *report,
                          struct buffer *out) MUST_CHECK; /* sections_ranks.c */
status report_write_prediction(struct report *report,
                               struct buffer *out) MUST_CHECK;                     /* sections.c */
status report_write_results(struct report *report, struct buffer *out) MUST_CHECK; /* sections.c */
status report_write_origin(struct report *report,
                           struct buffer *out) MUST_CHECK; /* sections_origin.c */

#endif
