/* SPDX-License-Identifier: Apache-2.0 */
/* What the completions of all shells are written from: commands, their options, and what may stand
 * behind an option, which the name of its value in the option's help says. */
#ifndef SLUICE_CLI_MANUAL_COMPLETION_H
#define SLUICE_CLI_MANUAL_COMPLETION_H

#include "cli/manual/manual.h"

enum completion_kind {
    COMPLETE_FLAG,    /* the option has no value */
    COMPLETE_FREE,    /* a number or a name, which no shell knows */
    COMPLETE_FILE,    /* FILE, PATH, JOB.yaml… */
    COMPLETE_WORD,    /* words with bars between them: row|id */
    COMPLETE_SETTING, /* KEY=VALUE, of a job file */
};
enum completion_kind completion_kind(const struct argp_option *option);
/* The words of COMPLETE_WORD with spaces between them. */
status completion_append_words(const struct argp_option *option, struct buffer *out) MUST_CHECK;

/* A key of job files. */
struct completion_setting {
    const char *name, *meaning;
    const char *words; /* what it may be, with spaces between; "": something that is no word */
};

struct completion {
    const struct manual_command *commands;
    size_t command_count;
    const char *topics; /* behind `help`: words with spaces between */
    struct completion_setting *settings;
    size_t setting_count;
};

/* Calls `write` for every long option of a command, --help among them. */
typedef status (*completion_writer)(const struct manual_command *command,
                                    const struct argp_option *option, struct buffer *out);
status completion_each_option(const struct manual_command *command, completion_writer write,
                              struct buffer *out) MUST_CHECK;

/* Appends a text for single quotes, as all shells here read them: a quote ends them, stands alone
 * and begins again. `also` are letters that get a backslash. */
status completion_append_quoted(const char *text, const char *also, struct buffer *out) MUST_CHECK;

status completion_write_bash(const struct completion *from, struct buffer *out) MUST_CHECK;
status completion_write_zsh(const struct completion *from, struct buffer *out) MUST_CHECK;
status completion_write_fish(const struct completion *from, struct buffer *out) MUST_CHECK;

#endif
