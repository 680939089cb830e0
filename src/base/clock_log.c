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

static const char timestamp_format[] = "%Y-%m-%dT%H:%M:%SZ";

void clock_write_timestamp(int64_t seconds, char text[21])
{
    static const int64_t last = 253402300799; /* of the year 9999 */
    time_t time = (time_t)(seconds < 0 ? 0 : seconds > last ? last : seconds);
    struct tm utc;
    gmtime_r(&time, &utc);
    strftime(text, 21, timestamp_format, &utc);
}

bool clock_read_timestamp(const char *text, int64_t *seconds)
{
    struct tm utc = {0};
    char again[21];
    const char *end = strptime(text, timestamp_format, &utc);
    if (end == NULL || *end != '\0') {
        return false;
    }
    *seconds = (int64_t)timegm(&utc);
    clock_write_timestamp(*seconds, again); /* 31 February, a year before 1970, "1:2:3" */
    return strcmp(again, text) == 0;
}

void clock_timestamp(char text[21])
{
    clock_write_timestamp((int64_t)time(NULL), text);
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
    utf8_blank_controls(line, strlen(line)); /* it may quote names and rows */
    strcat(line, "\n");
    fputs(line, stderr);
}
