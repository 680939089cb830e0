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
static char log_prefix[64];

void log_configure(enum log_level level, const char *prefix)
{
    log_level_shown = level;
    snprintf(log_prefix, sizeof log_prefix, "%s", prefix != NULL ? prefix : "");
}

void log_write(enum log_level level, const char *format, ...)
{
    static const char *const words[] = {"error", "warning", "info", "debug"};
    if (level > log_level_shown) {
        return;
    }
    /* One write a line, so that lines of several ranks do not mix. */
    char line[2048];
    int length = snprintf(line, sizeof line, "sluice: %s: %s%s", words[level], log_prefix,
                          log_prefix[0] != '\0' ? ": " : "");
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line + length, sizeof line - (size_t)length - 1, format, arguments);
    va_end(arguments);
    strcat(line, "\n");
    fputs(line, stderr);
}
