/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands share: arguments, errors, exit statuses. A command is a function of its own
 * arguments (argv[0] is its name) that returns the program's exit status. */
#ifndef SLUICE_CLI_CLI_H
#define SLUICE_CLI_CLI_H

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

#include "sluice/base.h"
#include "sluice/job.h"

enum exit_status {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_DIFFERENT = 1, /* of `compare` */
    EXIT_BAD_USAGE = 2,
    EXIT_STOPPED = 75
};

int command_run(int argc, char **argv);
int command_init(int argc, char **argv);
int command_rerun(int argc, char **argv);
int command_append(int argc, char **argv);
int command_check(int argc, char **argv);
int command_status(int argc, char **argv);
int command_inspect(int argc, char **argv);
int command_report(int argc, char **argv);
int command_compare(int argc, char **argv);
int command_export(int argc, char **argv);
int command_bench(int argc, char **argv);
int command_tokenize(int argc, char **argv);
int command_render(int argc, char **argv);
int command_logits(int argc, char **argv);

/* Parses a command's arguments into `input` with glibc's argp; --help and --usage are added here.
 * Returns false when the command must end at once with *exit_status: help was printed, or the usage
 * is wrong, which the message says. Parsers return EDOM after status_fail for a bad value. */
bool cli_parse(const struct argp *argp, int argc, char **argv, void *input, int *exit_status);

/* From now on parsing is telling: whoever parses arguments hands over the table that it would parse
 * by, and ends as after --help. NULL: as before. */
void cli_tell_tables(void (*take)(const struct argp *argp));

/* As cli_parse, for a program of many ranks: a wrong usage is left to the caller to print. */
status cli_parse_quietly(const struct argp *argp, int argc, char **argv, void *input,
                         bool *help_printed) MUST_CHECK;

/* For parsers: an integer option, stored in *out. Returns 0, or EDOM with a message. */
error_t cli_integer(const char *option, const char *text, int64_t least, int64_t most,
                    int64_t *out);
/* For parsers: a time in UTC. Returns 0, or EDOM with a message. */
error_t cli_time(const char *option, const char *text, int64_t *out);
/* For parsers: "auto" (-1) or what weights may be kept in, an enum weight_format. Returns 0, or
 * EDOM with a message. */
error_t cli_weight_format(const char *option, const char *text, int *out);
/* For parsers: "auto" (-1) or the name of a type, an enum dtype. Returns 0, or EDOM with a message.
 */
error_t cli_dtype(const char *option, const char *text, int *out);
/* For parsers: auto, which is NULL, or the name of a kind of backend. Returns 0, or EDOM with a
 * message. */
error_t cli_device(const char *option, const char *text, const struct backend_kind **out);
/* For parsers: a positional argument given once. Returns 0, or EDOM with a message. */
/* An enum engine_admission by its name. */
/* The index of `text` among `names`. */
error_t cli_choose(const char *option, const char *text, const char *const *names, int count,
                   int *out);
error_t cli_admission(const char *option, const char *text, int *out);
error_t cli_positional(const char *argument, const char **out);
/* For parsers at ARGP_KEY_END: EDOM with a message where `value` is NULL. */
error_t cli_require(const char *name, const char *value);

/* After run_start has failed: the message of processes that are separate worlds comes out once.
 * Returns the exit status. */
int cli_fail_start(status started, int rank);

/* Prints this thread's status message, one line, and returns `exit_status`. */
int cli_fail(int exit_status);

/* Flushes standard output; a failed write is an error like any other. Returns the exit status. */
int cli_print_version(void);
int cli_finish_output(int exit_status);

/* Appends at most `most` characters of a text, and "…" where it goes on. Texts quote data: control
 * characters become spaces, so that nothing in them drives a terminal. */
status cli_append_excerpt(const char *text, size_t length, int most, struct buffer *out) MUST_CHECK;
enum { CLI_COLUMNS = 80 }; /* what every terminal has */
/* Appends the words of a text from `column` on, in further lines from `indent` on where they would
 * pass the 80th column, and a newline. A word that is longer, such as a path, stays whole; control
 * characters become spaces. */
status cli_append_wrapped(const char *text, int column, int indent, struct buffer *out) MUST_CHECK;
/* Prints it. */
void cli_print_wrapped(const char *text, int column, int indent);
/* Prints a text of several lines that is an input's or a model's: control characters but newlines
 * and tabs become spaces. */
void cli_print_text(const char *text, size_t length);
/* An output's attribute `layout`, {"dp":2,"tp":4,…}, as "dp 2, tp 4, pp 1, tp_slices 8"; what is no
 * such thing as it is. The text's, or the arena's. */
const char *cli_layout_text(const char *text, struct arena *arena);

/* --set arguments in their order. Zero-initialise; free with cli_settings_destroy. */
struct cli_settings {
    const char **items;
    size_t count, capacity;
};
error_t cli_settings_add(struct cli_settings *settings, const char *text);
void cli_settings_destroy(struct cli_settings *settings);

#endif
