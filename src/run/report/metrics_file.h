/* SPDX-License-Identifier: Apache-2.0 */
/* output.metrics: how the job stands, in the text form that Prometheus' node exporter collects from
 * a folder. */
#ifndef SLUICE_RUN_METRICS_FILE_H
#define SLUICE_RUN_METRICS_FILE_H

#include "run/report/pace.h"
#include "sluice/progress.h"

/* Appends the file's text: every metric with HELP and TYPE, labelled with the job's output.
 * `running`: the job is at it. */
status metrics_describe(const struct job_progress *progress, const struct paces *paces,
                        const char *output, bool running, double now,
                        struct buffer *out) MUST_CHECK;

/* Replaces the file as a whole, by a rename from FILE.next: a collector sees the one before or
 * this one. STATUS_IO. */
status metrics_write(const char *path, const struct buffer *text) MUST_CHECK;

#endif
