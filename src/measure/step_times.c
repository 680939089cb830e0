/* SPDX-License-Identifier: Apache-2.0 */
/* Times of steps, and what they come to. */
#include <stdlib.h>
#include <string.h>

#include "sluice/bench.h"

status step_times_add(struct step_times *times, double seconds, int64_t tokens)
{
    void *grown = times->seconds;
    status s = array_grow(&grown, &times->capacity, times->count + 1, sizeof *times->seconds);
    times->seconds = grown;
    TRY(s);
    times->seconds[times->count++] = seconds;
    times->tokens += tokens;
    return STATUS_OK;
}

void step_times_destroy(struct step_times *times)
{
    free(times->seconds);
    *times = (struct step_times){0};
}

static int compare_seconds(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

void step_times_summarize(struct step_times *times, struct step_summary *out)
{
    *out = (struct step_summary){.steps = (int64_t)times->count, .tokens = times->tokens};
    size_t count = times->count;
    if (count == 0) {
        return;
    }
    qsort(times->seconds, count, sizeof *times->seconds, compare_seconds);
    for (size_t i = 0; i < count; i++) {
        out->seconds += times->seconds[i];
    }
    out->mean = out->seconds / (double)count;
    out->median = (times->seconds[(count - 1) / 2] + times->seconds[count / 2]) / 2;
    out->p99 = times->seconds[(99 * count + 99) / 100 - 1];
}
