/* SPDX-License-Identifier: Apache-2.0 */
/* sluice export OUT.h5: rows out again as JSON lines. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "sluice/export.h"

enum { OPTION_FORMAT = 256 };

struct export_arguments {
    const char *path;
    enum export_format format;
};

static const struct argp_option options[] = {
    {"format", OPTION_FORMAT, "NAME", 0,
     "jsonl (default): a row's fields, its answer and its numbers; openai: batch output lines", 0},
    {0}};

static error_t parse_format(const char *text, enum export_format *format)
{
    *format = strcmp(text, "openai") == 0 ? EXPORT_OPENAI : EXPORT_JSONL;
    if (*format == EXPORT_OPENAI || strcmp(text, "jsonl") == 0) {
        return 0;
    }
    status s =
        status_fail(STATUS_INVALID, "--format: expected jsonl or openai, not \"%.40s\"", text);
    return s != STATUS_OK ? EDOM : 0;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct export_arguments *arguments = state->input;
    switch (key) {
    case OPTION_FORMAT:
        return parse_format(argument, &arguments->format);
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
    .doc = "Prints the rows of an output file on standard output, one JSON line each, in order."};

static status write_line(void *context, const char *line, size_t length)
{
    (void)context;
    return fwrite(line, 1, length, stdout) == length
               ? STATUS_OK
               : status_fail_errno(STATUS_IO, "standard output");
}

int command_export(int argc, char **argv)
{
    struct export_arguments arguments = {.format = EXPORT_JSONL};
    int exit_status;
    if (!cli_parse(&argp, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    struct output_reader *reader;
    status s = output_open(arguments.path, &reader);
    if (s == STATUS_OK) {
        s = output_export(reader, arguments.format, write_line, NULL);
        output_reader_close(reader);
    }
    return s == STATUS_OK ? cli_finish_output(EXIT_DONE) : cli_fail(EXIT_FAILED);
}
