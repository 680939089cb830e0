/* SPDX-License-Identifier: Apache-2.0 */
/* A measurement on standard output: tables for people, or one JSON object. */
#ifndef SLUICE_CLI_BENCH_REPORT_H
#define SLUICE_CLI_BENCH_REPORT_H

#include "sluice/bench.h"

struct bench_title {
    const char *model;   /* as the command line has it */
    const char *lengths; /* as it may have */
    const struct bench_options *options;
};

status bench_report_print(const struct bench_title *title,
                          const struct bench_report *report) MUST_CHECK;
status bench_report_json(const struct bench_title *title,
                         const struct bench_report *report) MUST_CHECK;

#endif
