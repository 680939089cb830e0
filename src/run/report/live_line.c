/* SPDX-License-Identifier: Apache-2.0 */
/* Composing the line, and redrawing it. */
#include "run/report/live_line.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ---- Composing ---- */

enum { PART_BYTES = 48, BAR_LEAST = 8, BAR_STEP = 4, BAR_MOST = 40 };

enum part { PART_ROWS, PART_SHARE, PART_RATE, PART_LEFT, PART_SEQUENCES, PART_CACHE, PART_ERRORS };

enum { PARTS = PART_ERRORS + 1 };

/* Colours as terminals have them since ECMA-48. */
static const char green[] = "\033[32m", red[] = "\033[31m", yellow[] = "\033[33m",
                  plain[] = "\033[0m";

/* "12345", "123.4k", "12.3M": six characters at most. */
static const char *short_count(double count, char text[16])
{
    static const struct {
        double from, unit;
        const char *name;
    } units[] = {{1e12, 1e12, "T"}, {1e9, 1e9, "G"}, {9.9995e5, 1e6, "M"}, {99999.5, 1e3, "k"}};
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        if (count >= units[i].from) {
            double value = count / units[i].unit;
            snprintf(text, 16, "%.*f%s", value < 99.95 ? 2 : 1, value, units[i].name);
            return text;
        }
    }
    snprintf(text, 16, "%.0f", count);
    return text;
}

/* "42 s", "26 min", "3h20", "2d04": how long it will be is not known to the second. */
static void short_time(double seconds, char text[16])
{
    if (seconds >= 1e8) {
        snprintf(text, 16, "years");
        return;
    }
    int whole = (int)(seconds + 0.5);
    if (whole < 100) {
        snprintf(text, 16, "%d s", whole);
    } else if (whole < 100 * 60) {
        snprintf(text, 16, "%d min", (whole + 30) / 60);
    } else if (whole < 48 * 3600) {
        snprintf(text, 16, "%dh%02d", whole / 3600, whole / 60 % 60);
    } else {
        snprintf(text, 16, "%dd%02d", whole / 86400, whole / 3600 % 24);
    }
}

static void compose_rows(const struct job_progress *p, char parts[PARTS][PART_BYTES])
{
    char done[16], all[16];
    short_count((double)p->rows_done, done);
    if (p->rows < 0) {
        snprintf(parts[PART_ROWS], PART_BYTES, "%s rows", done);
        return;
    }
    snprintf(parts[PART_ROWS], PART_BYTES, "%s/%s", done, short_count((double)p->rows, all));
    if (p->rows > 0) {
        snprintf(parts[PART_SHARE], PART_BYTES, "%.1f%%",
                 100 * (double)p->rows_done / (double)p->rows);
    }
}

static void compose_rate(const struct job_progress *p, char part[PART_BYTES])
{
    char now[16], mean[16];
    double tokens = (double)(p->output_tokens - p->tokens_kept);
    snprintf(part, PART_BYTES, "%s tok/s (%s)", short_count(p->tokens_now, now),
             short_count(p->seconds > 0 ? tokens / p->seconds : 0, mean));
}

static void compose(const struct job_progress *p, char parts[PARTS][PART_BYTES])
{
    char text[16];
    compose_rows(p, parts);
    compose_rate(p, parts[PART_RATE]);
    if (p->rows > p->rows_done && p->rows_per_second > 0) {
        short_time((double)(p->rows - p->rows_done) / p->rows_per_second, text);
        snprintf(parts[PART_LEFT], PART_BYTES, "ETA %s", text);
    }
    snprintf(parts[PART_SEQUENCES], PART_BYTES, "%lld run+%lld", (long long)p->running,
             (long long)p->waiting);
    snprintf(parts[PART_CACHE], PART_BYTES, "KV %.0f%%", 100 * p->kv_use);
    if (p->error_rows > 0) {
        snprintf(parts[PART_ERRORS], PART_BYTES, "%s err",
                 short_count((double)p->error_rows, text));
    }
}

/* Columns of the parts that are there, each with a space before it. */
static int width_of(char parts[PARTS][PART_BYTES])
{
    int width = 0;
    for (int i = 0; i < PARTS; i++) {
        width += parts[i][0] != '\0' ? 1 + (int)strlen(parts[i]) : 0;
    }
    return width;
}

/* What matters least goes first. */
static void leave_out(char parts[PARTS][PART_BYTES], int columns)
{
    static const enum part least[] = {PART_CACHE, PART_SEQUENCES, PART_RATE, PART_SHARE,
                                      PART_LEFT,  PART_ERRORS,    PART_ROWS};
    for (size_t i = 0; i < COUNT_OF(least) && width_of(parts) > columns; i++) {
        parts[least[i]][0] = '\0';
    }
}

static void append(char text[LIVE_LINE_BYTES], const char *colour, const char *part)
{
    size_t used = strlen(text);
    snprintf(text + used, LIVE_LINE_BYTES - used, "%s%s%s", colour, part,
             colour[0] != '\0' ? plain : "");
}

static void append_bar(const struct job_progress *p, int width, bool colour,
                       char text[LIVE_LINE_BYTES])
{
    char full[BAR_MOST + 1] = "", rest[BAR_MOST + 3] = "";
    int inside = width - 2;
    double share = p->rows > 0 ? (double)p->rows_done / (double)p->rows : 0;
    int filled = (int)(share * inside);
    filled = filled > inside ? inside : filled;
    memset(full, '#', (size_t)filled);
    snprintf(rest, sizeof rest, "%*s]", inside - filled, "");
    append(text, "", "[");
    append(text, colour && filled > 0 ? green : "", full);
    append(text, "", rest);
}

void live_line_compose(const struct job_progress *progress, int columns, bool colour,
                       char text[LIVE_LINE_BYTES])
{
    char parts[PARTS][PART_BYTES] = {{0}};
    columns = columns < LIVE_LINE_MOST ? columns : LIVE_LINE_MOST;
    compose(progress, parts);
    leave_out(parts, columns - (progress->rows > 0 ? BAR_LEAST : 0));
    text[0] = '\0';
    int bar = columns - width_of(parts);
    bar -= bar % BAR_STEP; /* the parts' widths change, and the bar should not with each */
    if (progress->rows > 0 && bar >= BAR_LEAST) {
        append_bar(progress, bar < BAR_MOST ? bar : BAR_MOST, colour, text);
    }
    for (int i = 0; i < PARTS; i++) {
        if (parts[i][0] != '\0') {
            const char *shade = !colour                                       ? ""
                                : i == PART_ERRORS                            ? red
                                : i == PART_RATE && progress->slow[0] != '\0' ? yellow
                                                                              : "";
            append(text, "", text[0] != '\0' ? " " : "");
            append(text, shade, parts[i]);
        }
    }
}

/* ---- The terminal ---- */

/* Of the process, as the terminal is. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool drawn;

bool live_line_possible(void)
{
    const char *terminal = getenv("TERM");
    return isatty(STDERR_FILENO) && terminal != NULL && terminal[0] != '\0' &&
           strcmp(terminal, "dumb") != 0;
}

bool live_line_colour(void)
{
    const char *none = getenv("NO_COLOR"); /* no-color.org: not empty, whatever it is */
    return none == NULL || none[0] == '\0';
}

/* One less than there are: a full line would put the cursor on the next. */
static int columns_there(void)
{
    enum { USUAL = 80, LEAST = 20 };
    struct winsize size;
    bool told = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    int columns = told ? size.ws_col : USUAL;
    return (columns > LEAST ? columns : LEAST) - 1;
}

void live_line_draw(const struct job_progress *progress)
{
    char text[LIVE_LINE_BYTES];
    live_line_compose(progress, columns_there(), live_line_colour(), text);
    pthread_mutex_lock(&lock);
    fprintf(stderr, "\r%s\033[K", text);
    drawn = true;
    pthread_mutex_unlock(&lock);
}

void live_line_clear(void)
{
    pthread_mutex_lock(&lock);
    if (drawn) {
        fputs("\r\033[K", stderr);
        drawn = false;
    }
    pthread_mutex_unlock(&lock);
}
