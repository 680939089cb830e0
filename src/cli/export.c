/* SPDX-License-Identifier: Apache-2.0 */
/* sluice export OUT.h5: rows out again, in a form of one's choice, on standard output or into a
 * file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "run/data_set.h"
#include "run/output/output_job.h"
#include "sluice/export.h"
#include "sluice/progress.h"

enum { OPTION_FORMAT = 256, OPTION_COLUMNS, OPTION_WHERE, OPTION_REJOIN, OPTION_OVERWRITE };

static const double PROGRESS_AFTER_SECONDS = 2, PROGRESS_SECONDS = 10;

struct export_arguments {
    const char *path, *output, *rejoin;
    bool has_format, overwrite, quiet;
    struct export_options options;
    char *names;          /* what the columns point into */
    const char **columns; /* as in options */
};

static const struct argp_option options[] = {
    {"format", OPTION_FORMAT, "jsonl|openai|csv|parquet|text", 0,
     "the form; without this as FILE's name says, else jsonl", 0},
    {"output", 'o', "FILE", 0,
     "write FILE, which appears when it is complete; .gz and .zst are packed", 0},
    {"columns", OPTION_COLUMNS, "A,B", 0,
     "only these columns and fields of the input, in this order", 0},
    {"where", OPTION_WHERE, "error|ok|finish=stop|finish=length|finish=error", 0,
     "only results that are an error, are none, or ended so", 0},
    {"rejoin", OPTION_REJOIN, "INPUT", 0,
     "with all fields of the data set that the output was made from", 0},
    {"overwrite", OPTION_OVERWRITE, 0, 0, "replace a FILE that is there", 0},
    {"quiet", 'q', 0, 0, "no progress lines", 0},
    {0}};

static error_t bad_value(status s)
{
    return s != STATUS_OK ? EDOM : 0;
}

static error_t parse_format(const char *text, struct export_arguments *arguments)
{
    arguments->has_format = true;
    return export_format_by_name(text, &arguments->options.format)
               ? 0
               : bad_value(status_fail(STATUS_INVALID,
                                       "--format: expected jsonl, openai, csv, parquet or text, "
                                       "not \"%.40s\"",
                                       text));
}

/* Names between commas, in memory of their own. */
static error_t parse_columns(const char *text, struct export_arguments *arguments)
{
    size_t count = 1;
    for (const char *at = text; *at != '\0'; at++) {
        count += *at == ',';
    }
    free(arguments->names);
    free(arguments->columns);
    arguments->names = strdup(text);
    arguments->columns = calloc(count, sizeof *arguments->columns);
    if (arguments->names == NULL || arguments->columns == NULL) {
        return bad_value(status_fail(STATUS_NO_MEMORY, "out of memory for --columns"));
    }
    char *rest = arguments->names;
    for (size_t i = 0; i < count; i++) {
        arguments->columns[i] = strsep(&rest, ",");
        if (arguments->columns[i][0] == '\0') {
            return bad_value(status_fail(STATUS_INVALID, "--columns: an empty name"));
        }
    }
    arguments->options.columns = arguments->columns;
    arguments->options.column_count = count;
    return 0;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct export_arguments *arguments = state->input;
    switch (key) {
    case OPTION_FORMAT:
        return parse_format(argument, arguments);
    case 'o':
        arguments->output = argument;
        return 0;
    case OPTION_COLUMNS:
        return parse_columns(argument, arguments);
    case OPTION_WHERE:
        return bad_value(
            status_context(export_where_parse(argument, &arguments->options.where), "--where"));
    case OPTION_REJOIN:
        arguments->rejoin = argument;
        return 0;
    case OPTION_OVERWRITE:
        arguments->overwrite = true;
        return 0;
    case 'q':
        arguments->quiet = true;
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
    .doc = "Writes the rows of an output file in order: on standard output, or into a file."};

/* ---- Progress ---- */

struct export_progress {
    const struct export_file *file;
    int64_t results; /* of the output */
    double start, next;
};

static void show_progress(void *context, int64_t done)
{
    struct export_progress *self = context;
    const double now = clock_seconds();
    char written[24], left[24];
    if (now < self->next || done == 0) {
        return;
    }
    self->next = now + PROGRESS_SECONDS;
    const double seconds = now - self->start;
    const int64_t bytes = export_file_bytes(self->file);
    fprintf(stderr, "sluice: %lld of %lld results, %s, %.0f MB/s, about %s left\n", (long long)done,
            (long long)self->results, format_bytes(bytes, written), (double)bytes / seconds / 1e6,
            format_seconds(seconds * (double)(self->results - done) / (double)done, left));
}

/* ---- The command ---- */

static status write_to_stdout(void *context, const char *bytes, size_t length)
{
    (void)context;
    return fwrite(bytes, 1, length, stdout) == length
               ? STATUS_OK
               : status_fail_errno(STATUS_IO, "standard output");
}

/* What would replace the file that is being read. */
static status check_place(const struct export_arguments *arguments)
{
    const char *const read[] = {arguments->path, arguments->rejoin};
    struct stat to, from;
    for (size_t i = 0; i < COUNT_OF(read); i++) {
        if (read[i] != NULL && stat(arguments->output, &to) == 0 && stat(read[i], &from) == 0 &&
            to.st_dev == from.st_dev && to.st_ino == from.st_ino) {
            return status_fail(STATUS_INVALID, "-o %s: is what is read", arguments->output);
        }
    }
    return STATUS_OK;
}

static status choose_format(struct export_arguments *arguments)
{
    const char *output = arguments->output;
    if (!arguments->has_format && output != NULL) {
        export_format_by_path(output, &arguments->options.format);
    }
    const struct export_form *form = export_form(arguments->options.format);
    if (form->is_binary && output == NULL && isatty(STDOUT_FILENO)) {
        return status_fail(STATUS_INVALID, "%s is not for a terminal; name a file with -o",
                           form->name);
    }
    const size_t length = output != NULL ? strlen(output) : 0;
    if (form->is_binary && length > 4 &&
        (strcmp(output + length - 3, ".gz") == 0 || strcmp(output + length - 4, ".zst") == 0)) {
        return status_fail(STATUS_INVALID, "-o %s: %s is packed already; leave out the last suffix",
                           output, form->name);
    }
    return STATUS_OK;
}

static status export_to_file(struct output_reader *reader, struct export_arguments *arguments)
{
    struct export_file *file;
    TRY(check_place(arguments));
    TRY(export_file_create(arguments->output, arguments->overwrite, &file));
    struct export_progress progress = {.file = file,
                                       .results = output_result_count(reader),
                                       .start = clock_seconds(),
                                       .next = clock_seconds() + PROGRESS_AFTER_SECONDS};
    if (!arguments->quiet) {
        arguments->options.progress = show_progress;
        arguments->options.progress_context = &progress;
    }
    status s = output_export_as(reader, &arguments->options, export_file_write, file);
    if (s != STATUS_OK) {
        export_file_abandon(file);
        return s;
    }
    return export_file_finish(file);
}

static status export_reader(struct output_reader *reader, struct export_arguments *arguments)
{
    struct output_job of = {0};
    struct record_reader_options input;
    status s = STATUS_OK;
    if (arguments->rejoin != NULL) {
        s = output_job_read(reader, arguments->rejoin, &of);
        s = s == STATUS_OK ? output_job_check_data(reader, &of) : s;
        s = status_context(s, "--rejoin");
    }
    if (s == STATUS_OK && arguments->rejoin != NULL) {
        input = data_set_options(&of.job, &of.files);
        arguments->options.input = &input;
        arguments->options.id_field = of.job.data.id_field;
    }
    if (s == STATUS_OK) {
        s = arguments->output != NULL
                ? export_to_file(reader, arguments)
                : output_export_as(reader, &arguments->options, write_to_stdout, NULL);
    }
    output_job_destroy(&of);
    return s;
}

int command_export(int argc, char **argv)
{
    struct export_arguments arguments = {0};
    int exit_status;
    if (!cli_parse(&argp, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    struct output_reader *reader = NULL;
    status s = choose_format(&arguments);
    exit_status = s == STATUS_OK ? EXIT_FAILED : EXIT_BAD_USAGE;
    if (s == STATUS_OK) {
        s = job_output_open(arguments.path, &reader);
    }
    if (s == STATUS_OK) {
        s = export_reader(reader, &arguments);
    }
    output_reader_close(reader);
    free(arguments.names);
    free(arguments.columns);
    return s == STATUS_OK ? cli_finish_output(EXIT_DONE) : cli_fail(exit_status);
}
