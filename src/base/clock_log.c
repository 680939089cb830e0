/* SPDX-License-Identifier: Apache-2.0 */
/* Clock and log lines. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "sluice/base.h"
#include "sluice/json.h"

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

bool log_shows(enum log_level level)
{
    return level <= log_level_shown;
}

static bool log_json;

void log_use_json(void)
{
    log_json = true;
}

bool log_is_json(void)
{
    return log_json;
}

static void (*log_clear)(void);

void log_before_line(void (*clear)(void))
{
    log_clear = clear;
}

static status append_member(const char *name, const char *text, struct buffer *out)
{
    TRY(buffer_format(out, ",\"%s\":", name));
    return json_write_string(text, strlen(text), out);
}

static status append_json(enum log_level level, const char *members, const char *message,
                          struct buffer *out)
{
    char now[21];
    clock_timestamp(now);
    TRY(buffer_format(out, "{\"time\":\"%s\",\"level\":\"%s\"", now, level_names[level]));
    TRY(log_prefix[0] != '\0' ? append_member("from", log_prefix, out) : STATUS_OK);
    TRY(append_member("message", message, out));
    return buffer_format(out, "%s%s}\n", members != NULL ? "," : "",
                         members != NULL ? members : "");
}

/* What a long message was cut within, or a name that is no UTF-8, would make a line that is no
 * JSON. A line for which there is no memory is lost. */
static void write_json(enum log_level level, const char *members, char *message)
{
    struct buffer line = {0};
    size_t length = strlen(message), bad;
    for (size_t from = 0; !utf8_valid(message + from, length - from, &bad);) {
        from += bad;
        message[from] = '?';
    }
    if (append_json(level, members, message, &line) == STATUS_OK) {
        fputs(line.data, stderr);
    }
    buffer_destroy(&line);
}

/* One write a line, so that lines of several ranks do not mix. */
static void write_line(enum log_level level, const char *members, const char *format,
                       va_list arguments)
{
    char line[2048];
    int length = log_json ? 0
                          : snprintf(line, sizeof line, "sluice: %s: %s%s", level_names[level],
                                     log_prefix, log_prefix[0] != '\0' ? ": " : "");
    vsnprintf(line + length, sizeof line - (size_t)length, format, arguments);
    utf8_blank_controls(line, strlen(line)); /* it may quote names and rows */
    if (log_clear != NULL) {
        log_clear();
    }
    if (log_json) {
        write_json(level, members, line);
        return;
    }
    log_put_line(line);
}

void log_write(enum log_level level, const char *format, ...)
{
    if (log_shows(level)) {
        va_list arguments;
        va_start(arguments, format);
        write_line(level, NULL, format, arguments);
        va_end(arguments);
    }
}

void log_event(enum log_level level, const char *members, const char *format, ...)
{
    if (log_shows(level)) {
        va_list arguments;
        va_start(arguments, format);
        write_line(level, members, format, arguments);
        va_end(arguments);
    }
}
