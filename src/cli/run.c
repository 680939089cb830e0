/* SPDX-License-Identifier: Apache-2.0 */
/* sluice run JOB.yaml: the job, on all ranks that MPI started. sluice rerun OUT.h5 and sluice
 * append OUT.h5: the job that an output holds, on a part of its rows. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "run/output/output_job.h"
#include "sluice/run.h"

enum {
    OPTION_SET = 256,
    OPTION_FRESH,
    OPTION_KEEP_MIXED,
    OPTION_QUIET,
    OPTION_LOG_FORMAT,
    OPTION_WHERE,
    OPTION_DATA,
    OPTION_OVERWRITE
};

struct run_arguments {
    const char *job;    /* JOB.yaml, or OUT.h5 */
    const char *output; /* rerun: NEW.h5 */
    const char *data;   /* rerun, append: where the data set is now; NULL: as the job says */
    bool overwrite;     /* rerun */
    struct cli_settings settings;
    struct run_options options;
};

/* clang-format off */
#define COMMON_OPTIONS \
    {"set", OPTION_SET, "KEY=VALUE", 0, "replace a key of the job file, e.g. layout.tp=2", 0}, \
    {"fresh", OPTION_FRESH, NULL, 0, "discard what an earlier, interrupted run has kept", 0}, \
    {"keep-mixed", OPTION_KEEP_MIXED, NULL, 0, \
     "take devices, or an earlier start, whose answers have other bits: a column says each row's", \
     0}, \
    {"quiet", OPTION_QUIET, NULL, 0, "no progress lines and no summary", 0}, \
    {"log-format", OPTION_LOG_FORMAT, "text|json", 0, \
     "text (default), or json: every line of standard error is a JSON object", 0}
#define DATA_OPTION \
    {"data", OPTION_DATA, "INPUT", 0, "the data set, where it is called otherwise now", 0}
/* clang-format on */

static const struct argp_option run_options[] = {COMMON_OPTIONS, {0}};
static const struct argp_option rerun_options[] = {
    {"output", 'o', "NEW.h5", 0, "the output of the rows that are run again (required)", 0},
    {"where", OPTION_WHERE, "error|ok|finish=stop|finish=length|finish=error", 0,
     "rows with a result that is an error (default), is none, or ended so", 0},
    {"overwrite", OPTION_OVERWRITE, NULL, 0, "replace a NEW.h5 that is there", 0},
    DATA_OPTION,
    COMMON_OPTIONS,
    {0}};
static const struct argp_option append_options[] = {DATA_OPTION, COMMON_OPTIONS, {0}};

static error_t take_log_format(const char *name)
{
    if (strcmp(name, "json") == 0) {
        log_use_json();
    } else if (strcmp(name, "text") != 0) {
        status s = status_fail(STATUS_INVALID,
                               "--log-format: expected one of text, json, not \"%.40s\"", name);
        (void)s;
        return EDOM;
    }
    return 0;
}

static error_t check_arguments(const struct run_arguments *arguments)
{
    const bool whole = arguments->options.part == RUN_WHOLE;
    const error_t bad = cli_require(whole ? "the job file" : "the output file", arguments->job);
    return bad == 0 && arguments->options.part == RUN_AGAIN
               ? cli_require("-o with the new output file", arguments->output)
               : bad;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct run_arguments *arguments = state->input;
    switch (key) {
    case OPTION_SET:
        return cli_settings_add(&arguments->settings, argument);
    case OPTION_FRESH:
        arguments->options.fresh = true;
        return 0;
    case OPTION_KEEP_MIXED:
        arguments->options.keep_mixed = true;
        return 0;
    case OPTION_QUIET:
        arguments->options.quiet = true;
        return 0;
    case OPTION_LOG_FORMAT:
        return take_log_format(argument);
    case 'o':
        arguments->output = argument;
        return 0;
    case OPTION_WHERE:
        return status_context(export_where_parse(argument, &arguments->options.where), "--where") ==
                       STATUS_OK
                   ? 0
                   : EDOM;
    case OPTION_OVERWRITE:
        arguments->overwrite = true;
        return 0;
    case OPTION_DATA:
        arguments->data = argument;
        return 0;
    case ARGP_KEY_ARG:
        return cli_positional(argument, &arguments->job);
    case ARGP_KEY_END:
        return check_arguments(arguments);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp run_argp = {
    .options = run_options,
    .parser = parse_option,
    .args_doc = "JOB.yaml",
    .doc =
        "Runs a job: every row of the data set through the model, into one HDF5 file.\v"
        "Started alone it is one rank; `mpirun -n N sluice run JOB.yaml` or srun make it N. "
        "Stopped by SIGTERM, SIGINT, SIGUSR1, SIGHUP or SIGXCPU it exits with status 75, and the "
        "same command continues. SIGUSR2 to rank 0 writes how it stands into the log."};

static const struct argp rerun_argp = {
    .options = rerun_options,
    .parser = parse_option,
    .args_doc = "OUT.h5",
    .doc =
        "Runs rows of an output again, those with errors or others, into an output of their own. "
        "They keep their numbers and ids. The job is the one that OUT.h5 holds, with --set what "
        "is to be otherwise; the data set has to be the same.\v"
        "Runs on several ranks, and is stopped and continued, as `sluice run`."};

static const struct argp append_argp = {
    .options = append_options,
    .parser = parse_option,
    .args_doc = "OUT.h5",
    .doc = "Runs the rows that have come to the end of an output's data set since, and adds them: "
           "OUT.h5 is replaced when all are there. The data set's old part has to be what it was.\v"
           "Runs on several ranks, and is stopped and continued, as `sluice run`."};

/* A line of the final block; `members` are for a log of JSON. */
static void print_line(const char *members, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void print_line(const char *members, const char *format, ...)
{
    char line[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (log_is_json()) {
        log_event(LOG_INFO, members, "%s", line);
    } else {
        utf8_blank_controls(line, strlen(line));
        char whole[sizeof line + sizeof "sluice: "];
        snprintf(whole, sizeof whole, "sluice: %s", line);
        log_put_line(whole);
    }
}

static void print_totals(const struct job *job, const struct run_summary *summary)
{
    char seconds[24], now[64] = "", members[256];
    double rate = summary->seconds > 0 ? (double)summary->tokens_now / summary->seconds : 0;
    if (summary->resumed_rows > 0) { /* the speed is of what this start has done */
        snprintf(now, sizeof now, "; this start: %lld output tokens",
                 (long long)summary->tokens_now);
    }
    snprintf(members, sizeof members,
             "\"rows\":%lld,\"error_rows\":%lld,\"prompt_tokens\":%lld,\"output_tokens\":%lld,"
             "\"seconds\":%.3f,\"output_tokens_per_second\":%.1f",
             (long long)summary->rows, (long long)summary->error_rows,
             (long long)summary->prompt_tokens, (long long)summary->output_tokens, summary->seconds,
             rate);
    print_line(members,
               "%s: %lld rows (%lld with errors), %lld prompt and %lld output tokens%s in %s, "
               "%.0f output tokens/s",
               job->output.path, (long long)summary->rows, (long long)summary->error_rows,
               (long long)summary->prompt_tokens, (long long)summary->output_tokens, now,
               format_seconds(summary->seconds, seconds), rate);
}

/* What the rows took, beside what was expected. */
static void print_prediction(const struct run_summary *summary)
{
    char expected[24], took[24], members[512];
    const double seconds = fmax(summary->rows_seconds, 1e-3);
    const double rate = summary->predicted_tokens / fmax(summary->predicted_seconds, 1e-3);
    snprintf(members, sizeof members,
             "\"rows_seconds\":%.3f,\"bound\":\"%s\",\"predicted_seconds\":%.3f,"
             "\"predicted_output_tokens\":%.0f,\"predicted_bound\":\"%s\"",
             summary->rows_seconds, summary->bound, summary->predicted_seconds,
             summary->predicted_tokens, summary->predicted_bound);
    print_line(members,
               "predicted: %s with every answer at its limit, %.0f output tokens/s (%s); "
               "the rows took %s, %.0f output tokens/s%s%s%s",
               format_seconds(summary->predicted_seconds, expected), rate, summary->predicted_bound,
               format_seconds(summary->rows_seconds, took), (double)summary->tokens_now / seconds,
               summary->bound[0] != '\0' ? " (" : "", summary->bound,
               summary->bound[0] != '\0' ? ")" : "");
}

static void print_summary(const struct job *job, const struct run_summary *summary)
{
    if (summary->nothing[0] != '\0') {
        print_line(NULL, "%s", summary->nothing);
        return;
    }
    if (summary->complete_before) {
        print_line(NULL,
                   "%s is complete: this very job has written it; set output.overwrite=true to run "
                   "it again",
                   job->output.path);
        return;
    }
    print_totals(job, summary);
    if (summary->predicted_seconds > 0) {
        print_prediction(summary);
    }
    if (summary->slow[0] != '\0') {
        print_line(NULL, "slow: %s", summary->slow);
    }
    if (summary->errors[0] != '\0' && !summary->no_answers) {
        print_line(NULL, "errors: %s", summary->errors);
    }
}

/* A job without one answer has failed, though its output is there for the errors in it. */
static int report_no_answers(const struct job *job, const struct run_summary *summary)
{
    status s = status_fail(STATUS_INVALID, "%s: no row has an answer: %s", job->output.path,
                           summary->errors);
    (void)s;
    return cli_fail(EXIT_FAILED);
}

/* The job that an output holds, with what this command says of its places. */
static status load_stored_job(const struct run_arguments *arguments, struct job *job)
{
    const bool again = arguments->options.part == RUN_AGAIN;
    struct cli_settings all = {0};
    struct buffer input = {0}, output = {0};
    error_t bad = cli_settings_add(&all, again && arguments->overwrite ? "output.overwrite=true"
                                                                       : "output.overwrite=false");
    for (size_t i = 0; bad == 0 && i < arguments->settings.count; i++) {
        bad = cli_settings_add(&all, arguments->settings.items[i]);
    }
    status s = buffer_format(&output, "output.path=%s", again ? arguments->output : arguments->job);
    if (s == STATUS_OK && arguments->data != NULL) {
        s = buffer_format(&input, "data.input=%s", arguments->data);
    }
    if (s == STATUS_OK && arguments->data != NULL) {
        bad = bad != 0 ? bad : cli_settings_add(&all, input.data);
    }
    if (s == STATUS_OK) {
        bad = bad != 0 ? bad : cli_settings_add(&all, output.data);
        s = bad != 0 ? status_fail(STATUS_NO_MEMORY, "out of memory for settings")
                     : output_job_load(arguments->job, all.items, all.count, job);
    }
    cli_settings_destroy(&all);
    buffer_destroy(&input);
    buffer_destroy(&output);
    return s;
}

static status load_job(const struct run_arguments *arguments, struct job *job)
{
    *job = (struct job){0};
    return arguments->options.part == RUN_WHOLE
               ? job_load(arguments->job, arguments->settings.items, arguments->settings.count, job)
               : load_stored_job(arguments, job);
}

/* Runs the job on this rank; the message of a failure that all ranks share is rank 0's to print. */
static int run_on_rank(const struct run_arguments *arguments, int rank)
{
    struct job job;
    status s = run_agree(load_job(arguments, &job));
    if (s == STATUS_OK) {
        const bool appends = arguments->options.part == RUN_APPEND; /* what is read is replaced */
        s = run_agree(rank == 0 && !appends ? job_check_files(&job, arguments->job) : STATUS_OK);
    }
    int exit_status = s == STATUS_OK ? EXIT_DONE : EXIT_BAD_USAGE;
    struct run_summary summary = {0};
    if (s == STATUS_OK) {
        log_configure(arguments->options.quiet ? LOG_WARNING : LOG_INFO, NULL);
        s = run_job(&job, &arguments->options, &summary);
        exit_status = s == STATUS_OK        ? EXIT_DONE
                      : s == STATUS_STOPPED ? EXIT_STOPPED
                      : s == STATUS_REFUSED ? EXIT_BAD_USAGE
                                            : EXIT_FAILED;
    }
    if (s == STATUS_OK && rank == 0 && !arguments->options.quiet) {
        print_summary(&job, &summary);
    }
    if (s == STATUS_OK && summary.no_answers) {
        exit_status = rank == 0 ? report_no_answers(&job, &summary) : EXIT_FAILED;
    } else if (s != STATUS_OK && (rank == 0 || summary.failed_alone)) {
        cli_fail(exit_status);
    }
    if (summary.failed_alone) {
        run_abort(exit_status); /* the other ranks wait in the middle of a step */
    }
    job_destroy(&job);
    return exit_status;
}

static int run_command(const struct argp *argp, int argc, char **argv, enum run_part_kind part)
{
    struct run_arguments arguments = {.options = {.part = part, .where = {.kind = WHERE_ERROR}}};
    bool help_printed;
    status s = cli_parse_quietly(argp, argc, argv, &arguments, &help_printed);
    arguments.options.of = arguments.job;
    if (help_printed) {
        return cli_finish_output(EXIT_DONE);
    }
    char usage[256];
    snprintf(usage, sizeof usage, "%s", s != STATUS_OK ? status_message() : "");
    int rank = 0, size;
    status started = run_start(&argc, &argv, &rank, &size);
    if (started != STATUS_OK) {
        cli_settings_destroy(&arguments.settings);
        return cli_fail_start(started, rank);
    }
    int exit_status = EXIT_BAD_USAGE;
    if (s == STATUS_OK) {
        exit_status = run_on_rank(&arguments, rank);
    } else if (rank == 0) {
        s = status_fail(s, "%s", usage);
        cli_fail(exit_status);
    }
    cli_settings_destroy(&arguments.settings);
    run_end();
    return exit_status;
}

int command_run(int argc, char **argv)
{
    return run_command(&run_argp, argc, argv, RUN_WHOLE);
}

int command_rerun(int argc, char **argv)
{
    return run_command(&rerun_argp, argc, argv, RUN_AGAIN);
}

int command_append(int argc, char **argv)
{
    return run_command(&append_argp, argc, argv, RUN_APPEND);
}
