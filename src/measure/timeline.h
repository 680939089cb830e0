/* SPDX-License-Identifier: Apache-2.0 */
/* When the steps of a measurement ran and what they were made of, as events that chrome://tracing
 * and Perfetto draw. */
#ifndef SLUICE_MEASURE_TIMELINE_H
#define SLUICE_MEASURE_TIMELINE_H

#include "sluice/base.h"

/* Events of a lane lie one behind the other. */
enum timeline_lane {
    TIMELINE_STEPS,      /* from a step's launch to its answer, and the gaps between */
    TIMELINE_HOST,       /* what the host was at */
    TIMELINE_OPERATIONS, /* of steps in which every operation is waited for */
    TIMELINE_LANES
};

struct timeline_event {
    const char *name; /* borrowed, of letters, digits and spaces */
    enum timeline_lane lane;
    double start, seconds;      /* start since the timeline's */
    int tokens, prefill_tokens; /* of a step; tokens 0: not one */
};

/* Zero-initialise; free with timeline_destroy. */
struct timeline {
    struct timeline_event *events;
    size_t count, capacity;
    double start; /* clock_seconds() */
    bool is_cut;  /* there was no memory for an event */
};
void timeline_destroy(struct timeline *timeline);

/* Forgets all events; time counts from here. */
void timeline_restart(struct timeline *timeline);
/* `start` and `end` are clock_seconds(). An event without length is left out. Without memory for it
 * the timeline is cut, which timeline_write reports. */
void timeline_add(struct timeline *timeline, enum timeline_lane lane, const char *name,
                  double start, double end);
/* An event of lane TIMELINE_STEPS with what the step was of. */
void timeline_add_step(struct timeline *timeline, const char *name, double start, double end,
                       int tokens, int prefill_tokens);

/* Appends the events as JSON objects of Trace Event Format (Google, "Trace Event Format", events X
 * and M), each on a line and followed by a comma: rank `rank` is their process, called `label`, and
 * a lane a thread. */
status timeline_write(const struct timeline *timeline, int rank, const char *label,
                      struct buffer *out) MUST_CHECK;

#endif
