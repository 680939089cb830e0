/* SPDX-License-Identifier: Apache-2.0 */
/* The rule of silence. */
#include "run/hosts/silence.h"

static enum silence_event hear(struct silence *silence)
{
    const bool was_warned = silence->is_warned && silence->was_heard;
    silence->before = silence->seconds;
    silence->seconds = 0;
    silence->was_heard = true;
    silence->is_warned = false;
    return was_warned ? SILENCE_BACK : SILENCE_NOTHING;
}

enum silence_event silence_judge(struct silence *silence, bool heard, double step,
                                 const struct silence_limits *limits)
{
    if (heard) {
        return hear(silence);
    }
    silence->seconds += step;
    if (silence->was_heard && limits->limit > 0 && silence->seconds >= limits->limit &&
        !silence->is_over) {
        silence->is_over = silence->is_warned = true;
        return SILENCE_END;
    }
    if (!silence->is_warned && silence->seconds >= limits->warn) {
        silence->is_warned = true;
        return silence->was_heard ? SILENCE_WARN : SILENCE_MISSING;
    }
    return SILENCE_NOTHING;
}
