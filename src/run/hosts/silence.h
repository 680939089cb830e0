/* SPDX-License-Identifier: Apache-2.0 */
/* When silence of another host means something: the rule, apart from threads, sockets and clocks.
 */
#ifndef SLUICE_RUN_SILENCE_H
#define SLUICE_RUN_SILENCE_H

#include <stdbool.h>

/* Seconds of silence until a warning, and until the job ends; limit 0: never. */
struct silence_limits {
    double warn, limit;
};

enum silence_event {
    SILENCE_NOTHING,
    SILENCE_MISSING, /* not one sign of life has come since the start: it cannot be missed later */
    SILENCE_WARN,
    SILENCE_BACK, /* after a warning */
    SILENCE_END,
};

/* Of one host. Zero-initialise. */
struct silence {
    bool was_heard, is_warned, is_over;
    double seconds; /* since it was heard, of those that this process was awake for */
    double before;  /* at SILENCE_BACK: how long it was silent */
};

/* What it means that `step` seconds passed, with a sign of life among them or none. A process that
 * was suspended passes at most the interval of its looks, so that a job that is suspended as a
 * whole takes nobody for lost. MISSING and END come once each, WARN once a silence. */
enum silence_event silence_judge(struct silence *silence, bool heard, double step,
                                 const struct silence_limits *limits);

#endif
