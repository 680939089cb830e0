/* SPDX-License-Identifier: Apache-2.0 */
/* sluice status OUT.h5: how a job stands, asked from any shell or host, without MPI. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "sluice/json.h"
#include "sluice/progress.h"

enum { OPTION_JSON = 256, OPTION_WATCH };

struct status_arguments {
    const char *path;
    bool json, watch;
};

static const struct argp_option options[] = {
    {"json", OPTION_JSON, NULL, 0, "one JSON object instead of text", 0},
    {"watch", OPTION_WATCH, NULL, 0, "show it again every two seconds for as long as it runs", 0},
    {0}};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct status_arguments *arguments = state->input;
    switch (key) {
    case OPTION_JSON:
        arguments->json = true;
        return 0;
    case OPTION_WATCH:
        arguments->watch = true;
        return 0;
    case ARGP_KEY_ARG:
        return cli_positional(argument, &arguments->path);
    case ARGP_KEY_END:
        return cli_require("the output file", arguments->path);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse_option,
    .args_doc = "OUT.h5",
    .doc = "Says how the job that writes OUT.h5 stands: running, stopped or complete, rows done, "
           "rate, time left, the last error. Needs no MPI and disturbs nobody."};

/* ---- Text ---- */

/* "1,234,567" */
static status append_count(struct buffer *out, int64_t count)
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)count);
    for (int i = 0; i < length; i++) {
        bool comma = i > 0 && digits[i - 1] != '-' && (length - i) % 3 == 0;
        TRY(comma ? buffer_append_byte(out, ',') : STATUS_OK);
        TRY(buffer_append_byte(out, digits[i]));
    }
    return STATUS_OK;
}

/* "12,345 of 100,000 (12.3%), 200 kept from earlier starts, 3 with errors" */
static status append_rows(struct buffer *out, const struct job_progress *p)
{
    TRY(append_count(out, p->rows_done));
    if (p->rows > 0 && p->rows_done < p->rows) {
        TRY(buffer_append_text(out, " of "));
        TRY(append_count(out, p->rows));
        TRY(buffer_format(out, " (%.1f%%)", 100.0 * (double)p->rows_done / (double)p->rows));
    } else if (p->rows < 0) {
        TRY(buffer_append_text(out, " of a number not known yet"));
    }
    if (p->rows_kept > 0) {
        TRY(buffer_append_text(out, ", "));
        TRY(append_count(out, p->rows_kept));
        TRY(buffer_append_text(out, " kept from earlier starts"));
    }
    TRY(buffer_append_text(out, ", "));
    TRY(append_count(out, p->error_rows));
    return buffer_append_text(out, " with errors\n");
}

static status append_rate(struct buffer *out, const struct job_progress *p)
{
    return buffer_format(out, "  rate     %.1f rows/s, %.1f tokens/s\n", p->rows_per_second,
                         p->tokens_per_second);
}

/* Error texts quote data: nothing in them may drive a terminal. */
static status append_text(struct buffer *out, const char *name, const char *text)
{
    enum { INDENT = 11 };
    TRY(buffer_format(out, "  %-8s ", name));
    return cli_append_wrapped(text, INDENT, INDENT, out);
}

static status append_times(struct buffer *out, const struct job_standing *standing, double age)
{
    const struct job_progress *p = &standing->progress;
    char since[24], left[24], ago[24];
    const char *which = standing->state == JOB_RUNNING ? "this" : "the last";
    TRY(buffer_format(out, "  time     %s of %s start", format_seconds(p->seconds, since), which));
    if (standing->state == JOB_RUNNING && p->rows > p->rows_done && p->rows_per_second > 0) {
        double seconds = (double)(p->rows - p->rows_done) / p->rows_per_second;
        TRY(buffer_format(out, ", about %s left", format_seconds(seconds, left)));
    }
    return standing->state != JOB_COMPLETE
               ? buffer_format(out, "; as of %s ago\n", format_seconds(age, ago))
               : buffer_append_byte(out, '\n');
}

static status append_details(struct buffer *out, const struct job_standing *standing)
{
    const struct job_progress *p = &standing->progress;
    double age = (double)time(NULL) - (double)p->updated;
    if (standing->state == JOB_RUNNING || standing->state == JOB_SILENT) {
        TRY(buffer_format(
            out, "  where    process %lld on %s; %lld %s (dp %lld x tp %lld x pp %lld)\n",
            (long long)p->process, p->host, (long long)p->ranks, p->ranks == 1 ? "rank" : "ranks",
            (long long)p->dp, (long long)p->tp, (long long)p->pp));
    }
    TRY(buffer_append_text(out, "  rows     "));
    TRY(append_rows(out, p));
    if (p->rows_per_second > 0) {
        TRY(append_rate(out, p));
    }
    TRY(append_times(out, standing, age > 0 ? age : 0));
    bool at_work = standing->state == JOB_RUNNING || standing->state == JOB_SILENT;
    if (at_work && p->running > 0) {
        TRY(buffer_format(out,
                          "  work     %lld sequences running, %lld waiting, KV cache %.1f%% full\n",
                          (long long)p->running, (long long)p->waiting, 100 * p->kv_use));
    }
    TRY(at_work && p->slow[0] != '\0' ? append_text(out, "slow", p->slow) : STATUS_OK);
    return p->last_error[0] != '\0' ? append_text(out, "errors", p->last_error) : STATUS_OK;
}

static status describe(const char *path, const struct job_standing *standing, struct buffer *out)
{
    static const char *const meanings[] = {
        [JOB_COMPLETE] = "complete",
        [JOB_RUNNING] = "running",
        [JOB_SILENT] = "running on another host, which has not been heard of for a while",
        [JOB_STOPPED] = "stopped; the command that started it continues it",
    };
    TRY(buffer_format(out, "%s: %s\n", path, meanings[standing->state]));
    return standing->has_progress ? append_details(out, standing)
                                  : buffer_append_text(out, "  no rows are done yet\n");
}

/* ---- JSON ---- */

static status describe_json(const char *path, const struct job_standing *standing,
                            struct buffer *out)
{
    TRY(buffer_append_text(out, "{\"output\":"));
    TRY(json_write_string(path, strlen(path), out));
    TRY(buffer_format(out, ",\"state\":\"%s\"", job_state_name(standing->state)));
    if (standing->has_progress) {
        TRY(buffer_append_byte(out, ','));
        TRY(job_progress_append_json(&standing->progress, out));
    }
    return buffer_append_text(out, "}\n");
}

/* ---- The command ---- */

static int count_lines(const struct buffer *text)
{
    int lines = 0;
    for (size_t i = 0; i < text->length; i++) {
        lines += text->data[i] == '\n';
    }
    return lines;
}

/* Shows it once; *lines are those on the terminal, which the next one takes the place of. */
static status show(const struct status_arguments *arguments, int *lines, enum job_state *state)
{
    struct job_standing standing;
    struct buffer out = {0};
    TRY(job_standing_read(arguments->path, &standing));
    *state = standing.state;
    if (standing.state == JOB_UNKNOWN) {
        return status_fail(STATUS_NOT_FOUND,
                           "%s: there is neither this output nor a job's journal "
                           "for it, %s.sluice",
                           arguments->path, arguments->path);
    }
    status s = arguments->json ? describe_json(arguments->path, &standing, &out)
                               : describe(arguments->path, &standing, &out);
    if (s == STATUS_OK) {
        if (*lines > 0) {
            printf("\033[%dA\033[J", *lines);
        }
        fputs(out.data, stdout);
        fflush(stdout);
        *lines = isatty(STDOUT_FILENO) && !arguments->json ? count_lines(&out) : 0;
    }
    buffer_destroy(&out);
    return s;
}

int command_status(int argc, char **argv)
{
    struct status_arguments arguments = {0};
    int exit_status, lines = 0;
    enum job_state state;
    if (!cli_parse(&argp, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    status s;
    while ((s = show(&arguments, &lines, &state)) == STATUS_OK && arguments.watch &&
           (state == JOB_RUNNING || state == JOB_SILENT) && !ferror(stdout)) {
        const struct timespec pause = {.tv_sec = 2};
        nanosleep(&pause, NULL);
    }
    return s == STATUS_OK ? cli_finish_output(EXIT_DONE) : cli_fail(EXIT_FAILED);
}
