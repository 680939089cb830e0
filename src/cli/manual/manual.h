/* SPDX-License-Identifier: Apache-2.0 */
/* Manual pages and shells' completions, made from the commands' own tables of options. */
#ifndef SLUICE_CLI_MANUAL_H
#define SLUICE_CLI_MANUAL_H

#include <argp.h>

#include "sluice/base.h"

/* A command, and what it says of itself. */
struct manual_command {
    const char *name, *summary;
    const struct argp *argp; /* NULL: it has no options */
};

/* Appends sluice(1), or the page of one command, sluice-NAME(1), in the language of man(7). */
status manual_write_program(const struct manual_command *commands, size_t count,
                            struct buffer *out) MUST_CHECK;
status manual_write_command(const struct manual_command *command, struct buffer *out) MUST_CHECK;

/* Appends the completion for "bash", "zsh" or "fish". `topics` are what may stand behind `help`,
 * with spaces between them. STATUS_INVALID where the shell is none of these. */
status completion_write(const char *name, const struct manual_command *commands, size_t count,
                        const char *topics, struct buffer *out) MUST_CHECK;

#endif
