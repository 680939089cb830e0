/* SPDX-License-Identifier: Apache-2.0 */
/* sluice check JOB.yaml: all of a job's validation, and the plan. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "sluice/check.h"

enum {
    OPTION_SET = 256,
    OPTION_RANKS,
    OPTION_RANKS_PER_HOST,
    OPTION_FRESH,
    OPTION_KEEP_MIXED,
    OPTION_SAMPLE
};

struct check_arguments {
    const char *job;
    struct cli_settings settings;
    int64_t sample;                /* 0: all rows */
    int64_t ranks, ranks_per_host; /* 0: as many as ranks */
    bool fresh, keep_mixed;
};

static const struct argp_option options[] = {
    {"set", OPTION_SET, "KEY=VALUE", 0, "replace a key of the job file, e.g. layout.tp=2", 0},
    {"ranks", OPTION_RANKS, "N", 0, "plan for N ranks (default 1)", 0},
    {"ranks-per-host", OPTION_RANKS_PER_HOST, "N", 0,
     "of which N share a host like this one (default: all)", 0},
    {"sample", OPTION_SAMPLE, "N", 0,
     "look at the first N rows, count the others, and predict how long the job takes from what "
     "steps of this model have cost on this device",
     0},
    {"fresh", OPTION_FRESH, NULL, 0, "as `run --fresh` would go about it", 0},
    {"keep-mixed", OPTION_KEEP_MIXED, NULL, 0, "as `run --keep-mixed` would", 0},
    {0}};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct check_arguments *arguments = state->input;
    switch (key) {
    case OPTION_SET:
        return cli_settings_add(&arguments->settings, argument);
    case OPTION_RANKS:
        return cli_integer("ranks", argument, 1, 1 << 20, &arguments->ranks);
    case OPTION_RANKS_PER_HOST:
        return cli_integer("ranks-per-host", argument, 1, 1 << 20, &arguments->ranks_per_host);
    case OPTION_SAMPLE:
        return cli_integer("sample", argument, 1, 1 << 20, &arguments->sample);
    case OPTION_FRESH:
        arguments->fresh = true;
        return 0;
    case OPTION_KEEP_MIXED:
        arguments->keep_mixed = true;
        return 0;
    case ARGP_KEY_ARG:
        return cli_positional(argument, &arguments->job);
    case ARGP_KEY_END:
        return cli_require("the job file", arguments->job);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse_option,
    .args_doc = "JOB.yaml",
    .doc = "Validates a job without running it: job file, model, layout against memory, every row "
           "of the data set, the place of the output and its disk. Prints the plan and an "
           "estimate.\vThe exit status is the one that run would end with: 0 where rows would have "
           "answers, or have them already; 1 where the job cannot run or no row would have one; 2 "
           "where the job file is wrong. What cannot be known without running is said."};

/* A line of the table, wrapped at the width of a terminal. */
static void print_entry(const char *name, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void print_entry(const char *name, const char *format, ...)
{
    enum { INDENT = 11 };
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    printf("%-*s", INDENT, name);
    cli_print_wrapped(text, INDENT, INDENT);
}

static void print_disk(const struct job *job, const struct check_report *report)
{
    char most[24], least[24], there[24];
    print_entry("disk", "%s to %s, %s free at %s", format_bytes(report->least_bytes, least),
                format_bytes(report->output_bytes, most),
                report->free_bytes >= 0 ? format_bytes(report->free_bytes, there) : "unknown",
                job->output.path);
}

static void print_bad_rows(struct check_report *report)
{
    bool all = report->bad_row_count <= CHECK_MAX_BAD_ROWS;
    print_entry("errors", "%s", report->errors.data);
    printf("\nbad rows%s:\n", all ? "" : ", the first of them");
    char *rest = report->bad_rows.data;
    for (char *line = strsep(&rest, "\n"); line != NULL && *line != '\0';
         line = strsep(&rest, "\n")) {
        cli_print_wrapped(line, 0, 4);
    }
}

static void print_prediction(const struct check_report *report)
{
    const char *name = "time", *line = report->prediction.length > 0 ? report->prediction.data : "";
    for (const char *end; (end = strchr(line, '\n')) != NULL; line = end + 1, name = "") {
        print_entry(name, "%.*s", (int)(end - line), line);
    }
}

static void print_report(const struct job *job, struct check_report *report)
{
    if (report->plan.length > 0) {
        printf("%s\n", report->plan.data);
    }
    if (report->defaults.length > 0) {
        print_entry("sampling", "%s: the model's own (generate.defaults)", report->defaults.data);
    }
    if (report->complete) {
        print_entry("output",
                    "%s is complete: this very job has written it; nothing is left to run",
                    job->output.path);
        return;
    }
    print_entry("data", "%s: %lld rows, %lld bad", job->data.input.text, (long long)report->rows,
                (long long)report->bad_row_count);
    if (report->prompt_tokens > 0) {
        print_entry("prompts", "%lld tokens, the longest %lld", (long long)report->prompt_tokens,
                    (long long)report->longest_prompt);
    }
    if (report->texts > 0 && report->has_template && job->data.chat == CHAT_AUTO) {
        print_entry("chat",
                    "%lld rows are texts and go in as they are; the model has a chat "
                    "template, data.chat=always uses it",
                    (long long)report->texts);
    }
    print_entry("answers", "%lld, at most %lld tokens", (long long)report->samples,
                (long long)report->output_tokens);
    if (report->cut_answers > 0) {
        print_entry("", "%lld rows have less room than their max_new_tokens",
                    (long long)report->cut_answers);
    }
    print_prediction(report);
    print_disk(job, report);
    if (report->has_journal && report->kept_rows > 0) {
        print_entry("journal",
                    "%lld rows kept from an earlier start; run continues with the others",
                    (long long)report->kept_rows);
    }
    if (report->bad_row_count > 0) {
        print_bad_rows(report);
    }
}

static void print_warnings(struct check_report *report)
{
    char *rest = report->warnings.data;
    for (char *line = strsep(&rest, "\n"); line != NULL && *line != '\0';
         line = strsep(&rest, "\n")) {
        log_write(LOG_WARNING, "%s", line);
    }
}

/* Each problem is an error line of its own. */
static int print_problems(struct check_report *report)
{
    char *rest = report->problems.data;
    for (char *line = strsep(&rest, "\n"); line != NULL && *line != '\0';
         line = strsep(&rest, "\n")) {
        status s = status_fail(STATUS_INVALID, "%s", line);
        (void)s;
        cli_fail(EXIT_FAILED);
    }
    return report->problem_count == 0 ? EXIT_DONE
           : report->is_refused       ? EXIT_BAD_USAGE
                                      : EXIT_FAILED;
}

static int check(const struct check_arguments *arguments)
{
    struct job job;
    int exit_status;
    status s = job_load(arguments->job, arguments->settings.items, arguments->settings.count, &job);
    if (s == STATUS_OK) {
        s = job_check_files(&job, arguments->job);
    }
    if (s != STATUS_OK) {
        exit_status = cli_fail(EXIT_BAD_USAGE);
        job_destroy(&job);
        return exit_status;
    }
    bool all_here = arguments->ranks_per_host == 0 || arguments->ranks_per_host > arguments->ranks;
    struct check_options check_options = {
        .ranks = (int)arguments->ranks,
        .ranks_per_host = (int)(all_here ? arguments->ranks : arguments->ranks_per_host),
        .sample = arguments->sample,
        .fresh = arguments->fresh,
        .keep_mixed = arguments->keep_mixed};
    struct check_report report;
    if (check_job(&job, &check_options, &report) != STATUS_OK) {
        exit_status = cli_fail(EXIT_FAILED);
    } else {
        print_report(&job, &report);
        exit_status = cli_finish_output(EXIT_DONE);
        print_warnings(&report);
        int problems = print_problems(&report);
        exit_status = exit_status == EXIT_DONE ? problems : exit_status;
    }
    check_report_destroy(&report);
    job_destroy(&job);
    return exit_status;
}

int command_check(int argc, char **argv)
{
    struct check_arguments arguments = {.ranks = 1};
    int exit_status;
    if (cli_parse(&argp, argc, argv, &arguments, &exit_status)) {
        exit_status = check(&arguments);
    }
    cli_settings_destroy(&arguments.settings);
    return exit_status;
}
