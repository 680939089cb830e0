/* SPDX-License-Identifier: Apache-2.0 */
/* The program: a table of commands. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/manual/manual.h"
#include "cli/manual/terminal.h"
#include "grammar/schema/schema.h"
#include "job/suggest.h"
#include "sluice/answer.h"
#include "sluice/job.h"
#include "sluice/model.h"

static int command_help(int argc, char **argv);

static const struct command {
    const char *name;
    int (*function)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"run", command_run, "run a job; alone as one rank, under mpirun or srun as many"},
    {"init", command_init, "write a job file for the model and the data set that are there"},
    {"rerun", command_rerun, "run some rows of an output again, such as those with errors"},
    {"append", command_append, "run rows that have come to the end of an output's data set"},
    {"check", command_check, "validate a job without running it; print the plan"},
    {"status", command_status, "say how a job stands: rows done, rate, time left, errors"},
    {"inspect", command_inspect, "say what an output file holds"},
    {"report", command_report, "write a page about an output file, for a browser"},
    {"compare", command_compare, "say which results of two output files differ"},
    {"export", command_export, "write an output file's rows as JSON lines, CSV, Parquet, text"},
    {"bench", command_bench, "measure throughput on synthetic prompts"},
    {"tokenize", command_tokenize, "text to token ids and back, JSON lines in and out"},
    {"render", command_render, "messages to prompt text, JSON lines in and out"},
    {"logits", command_logits, "token ids to logits, into an HDF5 file"},
    {"help", command_help, "explain a command, or print a table of what there is"},
};

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

/* `sluice help NAME`: tables that the program reads itself, as Markdown. */
static const struct topic {
    const char *name;
    status (*describe)(struct buffer *out);
} topics[] = {
    {"job", job_describe_keys},          {"fields", request_fields_describe},
    {"models", model_describe_families}, {"formats", model_describe_formats},
    {"answers", answer_forms_describe},  {"schema", schema_describe},
};

static void print_commands(FILE *stream)
{
    fputs("Usage: sluice COMMAND [ARGUMENT...]\n\n"
          "Runs a language model over a data set of prompts.\n\n",
          stream);
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        fprintf(stream, "  %-10s %s\n", commands[i].name, commands[i].summary);
    }
    fputs("\nTables that `sluice help` prints:", stream);
    for (size_t i = 0; i < COUNT_OF(topics); i++) {
        fprintf(stream, "%s %s", i > 0 ? "," : "", topics[i].name);
    }
    fputs("\n`sluice COMMAND --help` says more. Exit status: 0 done, 1 failed, 2 bad usage or\n"
          "bad job, 75 stopped early and resumable.\n",
          stream);
}

static const struct topic *find_topic(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(topics); i++) {
        if (strcmp(topics[i].name, name) == 0) {
            return &topics[i];
        }
    }
    return NULL;
}

/* What stands in a command's place and is none. */
static int unknown_command(const char *name)
{
    static const char *const others[] = {"--help", "--version"};
    struct suggestion suggestion = {.unknown = name};
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        suggestion_offer(&suggestion, commands[i].name);
    }
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        suggestion_offer(&suggestion, others[i]);
        if (strcmp(name, others[i] + 2) == 0) {
            suggestion.best = others[i];
        }
    }
    const char *what = name[0] == '-' ? "option" : "command";
    status s =
        suggestion.best != NULL
            ? status_fail(STATUS_INVALID, "%.60s: unknown %s; did you mean %s?", name, what,
                          suggestion.best)
            : status_fail(STATUS_INVALID, "%.60s: unknown %s; `sluice --help` lists the commands",
                          name, what);
    (void)s;
    return cli_fail(EXIT_BAD_USAGE);
}

/* Whether an argument in a command's place is this option, in any of the forms people try. */
static bool asks_for(const char *argument, const char *const *forms)
{
    for (; *forms != NULL; forms++) {
        if (strcmp(argument, *forms) == 0) {
            return true;
        }
    }
    return false;
}

static int unknown_topic(const char *name)
{
    struct suggestion suggestion = {.unknown = name};
    for (size_t i = 0; i < COUNT_OF(topics); i++) {
        suggestion_offer(&suggestion, topics[i].name);
    }
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        suggestion_offer(&suggestion, commands[i].name);
    }
    const bool known = suggestion.best != NULL;
    const status s = status_fail(STATUS_INVALID, "%.60s: unknown command or topic; %s%s%s", name,
                                 known ? "did you mean " : "`sluice help` lists them",
                                 known ? suggestion.best : "", known ? "?" : "");
    (void)s;
    return cli_fail(EXIT_BAD_USAGE);
}

static int help_topic(const struct topic *topic)
{
    struct buffer table = {0};
    struct buffer text = {0};
    bool for_people = isatty(STDOUT_FILENO);
    status s = topic->describe(&table);
    if (s == STATUS_OK && for_people) {
        s = terminal_write(table.data, 80, &text);
    }
    if (s == STATUS_OK) {
        fputs(for_people ? text.data : table.data, stdout);
    }
    buffer_destroy(&table);
    buffer_destroy(&text);
    return s == STATUS_OK ? cli_finish_output(EXIT_DONE) : cli_fail(EXIT_FAILED);
}

/* ---- What is made of the tables when the program is installed ---- */

/* `sluice help` takes its arguments apart itself; pages and completions have them from here. */
enum { OPTION_LIST = 256, OPTION_MAN, OPTION_COMPLETION };
static const struct argp_option help_options[] = {
    {"list", OPTION_LIST, NULL, 0, "the names of the commands, one a line", 0},
    {"man", OPTION_MAN, "COMMAND", OPTION_ARG_OPTIONAL,
     "the manual page of sluice, or of a command", 0},
    {"completion", OPTION_COMPLETION, "bash|zsh|fish", 0, "what a shell completes by", 0},
    {0}};
static const struct argp help_argp = {
    .options = help_options,
    .args_doc = "[COMMAND|TABLE]",
    .doc = "Explains a command as its --help does, or prints a table of what this build takes: "
           "job, the keys of job files; fields, of requests; models, the families that are read; "
           "formats, of their weights; answers, how models think and call tools; schema, the "
           "keywords of JSON schemas. On a terminal a table comes as lines of 80 columns, else as "
           "Markdown."};

static const struct argp *told;

static void take_table(const struct argp *argp)
{
    told = argp;
}

/* The commands with the tables that they parse by. */
static void describe_commands(struct manual_command out[COUNT_OF(commands)])
{
    cli_tell_tables(take_table);
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        char *arguments[] = {(char *)commands[i].name, NULL};
        told = &help_argp;
        if (commands[i].function != command_help) {
            commands[i].function(1, arguments);
        }
        out[i] = (struct manual_command){commands[i].name, commands[i].summary, told};
    }
    cli_tell_tables(NULL);
}

static status write_list(const struct manual_command *all, size_t count, struct buffer *out)
{
    for (size_t i = 0; i < count; i++) {
        TRY(buffer_format(out, "%s\n", all[i].name));
    }
    return STATUS_OK;
}

static status write_manual(const char *name, const struct manual_command *all, size_t count,
                           struct buffer *out)
{
    if (name == NULL) {
        return manual_write_program(all, count, out);
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(all[i].name, name) == 0) {
            return manual_write_command(&all[i], out);
        }
    }
    return status_fail(STATUS_INVALID, "--man: %.60s is no command", name);
}

/* What `sluice help` takes: its topics and the commands. */
static status write_completion(const char *shell, const struct manual_command *all, size_t count,
                               struct buffer *out)
{
    struct buffer words = {0};
    status s = STATUS_OK;
    for (size_t i = 0; s == STATUS_OK && i < COUNT_OF(topics); i++) {
        s = buffer_format(&words, "%s ", topics[i].name);
    }
    for (size_t i = 0; s == STATUS_OK && i < count; i++) {
        s = buffer_format(&words, "%s%s", i > 0 ? " " : "", all[i].name);
    }
    if (s == STATUS_OK) {
        s = completion_write(shell, all, count, words.data, out);
    }
    buffer_destroy(&words);
    return s;
}

/* Whether an argument is this option, alone or with "=" and a value, which *value then is. */
static bool is_option(const char *argument, const char *option, const char **value)
{
    const size_t length = strlen(option);
    if (strncmp(argument, option, length) != 0 ||
        (argument[length] != '\0' && argument[length] != '=')) {
        return false;
    }
    *value = argument[length] == '=' ? argument + length + 1 : *value;
    return true;
}

/* `sluice help --list`, `--man [COMMAND]`, `--completion SHELL`: for packages. False: none of
 * these.
 */
static bool help_install(const char *what, const char *name, int *exit_status)
{
    struct manual_command all[COUNT_OF(commands)];
    struct buffer out = {0};
    status s = STATUS_OK;
    describe_commands(all);
    if (is_option(what, "--list", &name)) {
        s = write_list(all, COUNT_OF(all), &out);
    } else if (is_option(what, "--man", &name)) {
        s = write_manual(name, all, COUNT_OF(all), &out);
    } else if (is_option(what, "--completion", &name)) {
        s = write_completion(name != NULL ? name : "", all, COUNT_OF(all), &out);
    } else {
        return false;
    }
    if (s == STATUS_OK) {
        fputs(out.data, stdout);
    }
    buffer_destroy(&out);
    *exit_status = s == STATUS_OK ? cli_finish_output(EXIT_DONE) : cli_fail(EXIT_BAD_USAGE);
    return true;
}

static int command_help(int argc, char **argv)
{
    int exit_status;
    if (argc > 1 && help_install(argv[1], argv[2], &exit_status)) {
        return exit_status;
    }
    if (argc == 1 || strcmp(argv[1], "--help") == 0) {
        print_commands(stdout);
        return cli_finish_output(EXIT_DONE);
    }
    const struct topic *topic = find_topic(argv[1]);
    if (topic != NULL) {
        return help_topic(topic);
    }
    const struct command *command = find_command(argv[1]);
    if (command == NULL) {
        return unknown_topic(argv[1]);
    }
    char help[] = "--help";
    char *arguments[] = {argv[1], help, NULL};
    return command->function(2, arguments);
}

/* SLUICE_LOG: up to which level messages are printed. */
static bool take_log_level(void)
{
    const char *name = getenv("SLUICE_LOG");
    if (name == NULL || name[0] == '\0' || log_fix_level(name)) {
        return true;
    }
    const status s = status_fail(
        STATUS_INVALID, "SLUICE_LOG: %.60s is none of error, warning, info and debug", name);
    (void)s;
    return false;
}

int main(int argc, char **argv)
{
    /* A file that may not grow further (ulimit -f) is a failed write, which has its message. */
    signal(SIGXFSZ, SIG_IGN);
    /* `sluice export | head` ends quietly, whoever started it. Jobs ignore it later. */
    signal(SIGPIPE, SIG_DFL);
    if (!take_log_level()) {
        return cli_fail(EXIT_BAD_USAGE);
    }
    if (argc < 2) {
        status s = status_fail(STATUS_INVALID, "no command given; `sluice --help` lists them");
        (void)s;
        return cli_fail(EXIT_BAD_USAGE);
    }
    static const char *const help_forms[] = {"--help", "-h", "-help", "-?", "--usage", NULL};
    static const char *const version_forms[] = {"--version", "-V", "-version", "-v", NULL};
    if (asks_for(argv[1], help_forms)) {
        print_commands(stdout);
        return cli_finish_output(EXIT_DONE);
    }
    if (asks_for(argv[1], version_forms)) {
        return cli_print_version();
    }
    const struct command *command = find_command(argv[1]);
    return command != NULL ? command->function(argc - 1, argv + 1) : unknown_command(argv[1]);
}
