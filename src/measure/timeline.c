/* SPDX-License-Identifier: Apache-2.0 */
/* Events of a measurement, kept as they come and written at its end. */
#include "measure/timeline.h"

#include <stdlib.h>
#include <string.h>

#include "sluice/json.h"

static const char *const lane_names[TIMELINE_LANES] = {
    [TIMELINE_STEPS] = "steps",
    [TIMELINE_HOST] = "host",
    [TIMELINE_OPERATIONS] = "operations, one by one",
};

void timeline_destroy(struct timeline *timeline)
{
    free(timeline->events);
    *timeline = (struct timeline){0};
}

void timeline_restart(struct timeline *timeline)
{
    timeline->count = 0;
    timeline->is_cut = false;
    timeline->start = clock_seconds();
}

static void add(struct timeline *timeline, const struct timeline_event *event)
{
    if (!(event->seconds > 0) || timeline->is_cut) {
        return;
    }
    void *grown = timeline->events;
    status s = array_grow(&grown, &timeline->capacity, timeline->count + 1, sizeof *event);
    timeline->events = grown;
    if (s != STATUS_OK) {
        timeline->is_cut = true;
        return;
    }
    timeline->events[timeline->count] = *event;
    timeline->events[timeline->count++].start -= timeline->start;
}

void timeline_add(struct timeline *timeline, enum timeline_lane lane, const char *name,
                  double start, double end)
{
    add(timeline, &(struct timeline_event){
                      .name = name, .lane = lane, .start = start, .seconds = end - start});
}

void timeline_add_step(struct timeline *timeline, const char *name, double start, double end,
                       int tokens, int prefill_tokens)
{
    add(timeline, &(struct timeline_event){.name = name,
                                           .lane = TIMELINE_STEPS,
                                           .start = start,
                                           .seconds = end - start,
                                           .tokens = tokens,
                                           .prefill_tokens = prefill_tokens});
}

/* ---- As JSON ---- */

static status write_names(int rank, const char *label, struct buffer *out)
{
    TRY(buffer_format(
        out, "{\"ph\":\"M\",\"pid\":%d,\"name\":\"process_name\",\"args\":{\"name\":", rank));
    TRY(json_write_string(label, strlen(label), out));
    TRY(buffer_append_text(out, "}},\n"));
    for (int lane = 0; lane < TIMELINE_LANES; lane++) {
        TRY(buffer_format(out,
                          "{\"ph\":\"M\",\"pid\":%d,\"tid\":%d,\"name\":\"thread_name\",\"args\":"
                          "{\"name\":\"%s\"}},\n",
                          rank, lane, lane_names[lane]));
    }
    return STATUS_OK;
}

status timeline_write(const struct timeline *timeline, int rank, const char *label,
                      struct buffer *out)
{
    if (timeline->is_cut) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a profile of %zu events",
                           timeline->count);
    }
    TRY(write_names(rank, label, out));
    for (size_t i = 0; i < timeline->count; i++) {
        const struct timeline_event *event = &timeline->events[i];
        TRY(buffer_format(out,
                          "{\"ph\":\"X\",\"pid\":%d,\"tid\":%d,\"name\":\"%s\",\"ts\":%.3f,"
                          "\"dur\":%.3f",
                          rank, (int)event->lane, event->name, 1e6 * event->start,
                          1e6 * event->seconds));
        if (event->tokens > 0) {
            TRY(buffer_format(out, ",\"args\":{\"tokens\":%d,\"prefill tokens\":%d}", event->tokens,
                              event->prefill_tokens));
        }
        TRY(buffer_append_text(out, "},\n"));
    }
    return STATUS_OK;
}
