/* SPDX-License-Identifier: Apache-2.0 */
/* sluice run JOB.yaml: the job, on all ranks that MPI started. */
#include <stdio.h>

#include "cli/cli.h"
#include "sluice/run.h"

enum { OPTION_SET = 256, OPTION_FRESH, OPTION_KEEP_MIXED, OPTION_QUIET };

struct run_arguments {
    const char *job;
    struct cli_settings settings;
    struct run_options options;
};

static const struct argp_option options[] = {
    {"set", OPTION_SET, "KEY=VALUE", 0, "replace a key of the job file, e.g. layout.tp=2", 0},
    {"fresh", OPTION_FRESH, NULL, 0, "discard what an earlier, interrupted run has kept", 0},
    {"keep-mixed", OPTION_KEEP_MIXED, NULL, 0,
     "take devices, or an earlier start, whose answers have other bits: a column says each row's",
     0},
    {"quiet", OPTION_QUIET, NULL, 0, "no progress lines and no summary", 0},
    {0}};

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
    .doc =
        "Runs a job: every row of the data set through the model, into one HDF5 file.\v"
        "Started alone it is one rank; `mpirun -n N sluice run JOB.yaml` or srun make it N. "
        "Stopped by SIGTERM, SIGINT, SIGUSR1, SIGHUP or SIGXCPU it exits with status 75, and the "
        "same command continues."};

static void print_summary(const struct job *job, const struct run_summary *summary)
{
    if (summary->complete_before) {
        fprintf(stderr,
                "sluice: %s is complete: this very job has written it; set output.overwrite=true "
                "to run it again\n",
                job->output.path);
        return;
    }
    char seconds[24], now[64] = "";
    double rate = summary->seconds > 0 ? (double)summary->tokens_now / summary->seconds : 0;
    if (summary->resumed_rows > 0) { /* the speed is of what this start has done */
        snprintf(now, sizeof now, "; this start: %lld output tokens",
                 (long long)summary->tokens_now);
    }
    fprintf(stderr,
            "sluice: %s: %lld rows (%lld with errors), %lld prompt and %lld output tokens%s in %s, "
            "%.0f output tokens/s\n",
            job->output.path, (long long)summary->rows, (long long)summary->error_rows,
            (long long)summary->prompt_tokens, (long long)summary->output_tokens, now,
            format_seconds(summary->seconds, seconds), rate);
    if (summary->errors[0] != '\0' && !summary->no_answers) {
        fprintf(stderr, "sluice: errors: %s\n", summary->errors);
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

/* Runs the job on this rank; the message of a failure that all ranks share is rank 0's to print. */
static int run_on_rank(const struct run_arguments *arguments, int rank)
{
    struct job job;
    status s = run_agree(
        job_load(arguments->job, arguments->settings.items, arguments->settings.count, &job));
    if (s == STATUS_OK) {
        s = run_agree(rank == 0 ? job_check_files(&job, arguments->job) : STATUS_OK);
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

int command_run(int argc, char **argv)
{
    struct run_arguments arguments = {0};
    bool help_printed;
    status s = cli_parse_quietly(&argp, argc, argv, &arguments, &help_printed);
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
