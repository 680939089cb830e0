/* SPDX-License-Identifier: Apache-2.0 */
/* Clock and log lines. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "sluice/base.h"

double clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void clock_timestamp(char text[21])
{
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(text, 21, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

static enum log_level log_level_shown = LOG_WARNING;
static bool log_level_fixed;
static char log_prefix[64];
static const char *const level_names[] = {"error", "warning", "info", "debug"};

bool log_fix_level(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(level_names); i++) {
        if (strcmp(name, level_names[i]) == 0) {
            log_level_shown = (enum log_level)i;
            log_level_fixed = true;
            return true;
        }
    }
    return false;
}

void log_configure(enum log_level level, const char *prefix)
{
    log_level_shown = log_level_fixed ? log_level_shown : level;
    snprintf(log_prefix, sizeof log_prefix, "%s", prefix != NULL ? prefix : "");
}

void log_write(enum log_level level, const char *format, ...)
{
    if (level > log_level_shown) {
        return;
    }
    /* One write a line, so that lines of several ranks do not mix. */
    char line[2048];
    int length = snprintf(line, sizeof line, "sluice: %s: %s%s", level_names[level], log_prefix,
                          log_prefix[0] != '\0' ? ": " : "");
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line + length, sizeof line - (size_t)length - 1, format, arguments);
    va_end(arguments);
    strcat(line, "\n");
    fputs(line, stderr);
}
