/* SPDX-License-Identifier: Apache-2.0 */
/* Reminders of what takes long. */
#include "run/report/phase.h"

#include <stdio.h>

#include "run/ranks/world.h"

static const double FIRST_REMINDER = 5;

/* Of the process, like the world; the main thread's. */
static struct {
    char what[160]; /* empty: none */
    double start, next;
} phase;

void phase_begin(const char *format, ...)
{
    phase_end();
    if (world_get()->rank != 0) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(phase.what, sizeof phase.what, format, arguments);
    va_end(arguments);
    phase.start = clock_seconds();
    phase.next = FIRST_REMINDER;
}

void phase_remind(void)
{
    if (phase.what[0] == '\0') {
        return;
    }
    double seconds = clock_seconds() - phase.start;
    if (seconds < phase.next) {
        return;
    }
    char text[24];
    phase.next = 2 * seconds;
    log_write(LOG_INFO, "%s, since %s", phase.what, format_seconds(seconds, text));
}

void phase_end(void)
{
    char text[24];
    if (phase.what[0] != '\0' && phase.next > FIRST_REMINDER) {
        log_write(LOG_INFO, "%s: done in %s", phase.what,
                  format_seconds(clock_seconds() - phase.start, text));
    }
    phase_forget();
}

void phase_forget(void)
{
    phase.what[0] = '\0';
}
