/* SPDX-License-Identifier: Apache-2.0 */
/* Completions: commands, then a command's options, else files. */
#include <string.h>

#include "cli/manual/manual.h"

static bool is_end(const struct argp_option *option)
{
    return option->name == NULL && option->key == 0 && option->doc == NULL;
}

/* Calls `write` for every long option of a command. */
static status each_option(const struct manual_command *command, struct buffer *out,
                          status (*write)(const struct manual_command *command,
                                          const struct argp_option *option, struct buffer *out))
{
    static const struct argp_option help = {"help", 'h', NULL, 0, "print this", 0};
    const struct argp_option *option = command->argp != NULL ? command->argp->options : NULL;
    for (; option != NULL && !is_end(option); option++) {
        TRY(option->name != NULL ? write(command, option, out) : STATUS_OK);
    }
    return write(command, &help, out);
}

/* In single quotes, as all three shells read it: a quote ends them, stands alone and begins again.
 * `also` are letters that get a backslash. */
static status append_quoted(struct buffer *out, const char *text, const char *also)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            TRY(buffer_append_text(out, "'\\''"));
            continue;
        }
        TRY(strchr(also, *text) != NULL ? buffer_append_byte(out, '\\') : STATUS_OK);
        TRY(buffer_append_byte(out, *text));
    }
    return STATUS_OK;
}

/* ---- bash ---- */

static status bash_option(const struct manual_command *command, const struct argp_option *option,
                          struct buffer *out)
{
    (void)command;
    return buffer_format(out, " --%s%s", option->name, option->arg != NULL ? "=" : "");
}

static status write_bash(const struct manual_command *commands, size_t count, struct buffer *out)
{
    TRY(buffer_append_text(out,
                           "# bash completion for sluice, made by `sluice help --completion bash`\n"
                           "_sluice() {\n"
                           "    local word=${COMP_WORDS[COMP_CWORD]} options=\n"
                           "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                           "        COMPREPLY=($(compgen -W '"));
    for (size_t i = 0; i < count; i++) {
        TRY(buffer_format(out, "%s%s", i > 0 ? " " : "", commands[i].name));
    }
    TRY(buffer_append_text(out, " --help --version' -- \"$word\"))\n        return\n    fi\n"
                                "    case ${COMP_WORDS[1]} in\n"));
    for (size_t i = 0; i < count; i++) {
        TRY(buffer_format(out, "    %s) options='", commands[i].name));
        TRY(each_option(&commands[i], out, bash_option));
        TRY(buffer_append_text(out, "' ;;\n"));
    }
    return buffer_append_text(out, "    esac\n"
                                   "    case $word in\n"
                                   "    -*)\n"
                                   "        COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n"
                                   "        [[ ${COMPREPLY[0]-} != *= ]] || compopt -o nospace\n"
                                   "        ;;\n"
                                   "    *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n"
                                   "    esac\n"
                                   "}\n"
                                   "complete -o filenames -F _sluice sluice\n");
}

/* ---- zsh ---- */

static status zsh_option(const struct manual_command *command, const struct argp_option *option,
                         struct buffer *out)
{
    (void)command;
    TRY(buffer_format(out, " \\\n            '--%s%s[", option->name,
                      option->arg != NULL ? "=" : ""));
    TRY(append_quoted(out, option->doc != NULL ? option->doc : "", "[]:\\"));
    TRY(buffer_append_byte(out, ']'));
    if (option->arg != NULL) {
        TRY(buffer_append_byte(out, ':'));
        TRY(append_quoted(out, option->arg, "[]:\\"));
        TRY(buffer_append_text(out, ":_files"));
    }
    return buffer_append_byte(out, '\'');
}

static status write_zsh(const struct manual_command *commands, size_t count, struct buffer *out)
{
    TRY(buffer_append_text(out, "#compdef sluice\n"
                                "# zsh completion, made by `sluice help --completion zsh`\n"
                                "_sluice() {\n    local -a commands\n    commands=(\n"));
    for (size_t i = 0; i < count; i++) {
        TRY(buffer_format(out, "        '%s:", commands[i].name));
        TRY(append_quoted(out, commands[i].summary, ":\\"));
        TRY(buffer_append_text(out, "'\n"));
    }
    TRY(buffer_append_text(out,
                           "    )\n    if (( CURRENT == 2 )); then\n"
                           "        _describe command commands\n        return\n    fi\n"
                           "    local command=$words[2]\n    shift words\n    (( CURRENT-- ))\n"
                           "    case $command in\n"));
    for (size_t i = 0; i < count; i++) {
        TRY(buffer_format(out, "    %s)\n        _arguments", commands[i].name));
        TRY(each_option(&commands[i], out, zsh_option));
        TRY(buffer_append_text(out, " \\\n            '*:file:_files'\n        ;;\n"));
    }
    return buffer_append_text(out, "    esac\n}\n_sluice \"$@\"\n");
}

/* ---- fish ---- */

static status fish_option(const struct manual_command *command, const struct argp_option *option,
                          struct buffer *out)
{
    TRY(buffer_format(out, "complete -c sluice -n '__fish_seen_subcommand_from %s' -l %s%s -d '",
                      command->name, option->name, option->arg != NULL ? " -r" : ""));
    TRY(append_quoted(out, option->doc != NULL ? option->doc : "", "\\"));
    return buffer_append_text(out, "'\n");
}

static status write_fish(const struct manual_command *commands, size_t count, struct buffer *out)
{
    TRY(buffer_append_text(out, "# fish completion, made by `sluice help --completion fish`\n"));
    for (size_t i = 0; i < count; i++) {
        TRY(buffer_format(out, "complete -c sluice -n __fish_use_subcommand -f -a %s -d '",
                          commands[i].name));
        TRY(append_quoted(out, commands[i].summary, "\\"));
        TRY(buffer_append_text(out, "'\n"));
        TRY(each_option(&commands[i], out, fish_option));
    }
    return STATUS_OK;
}

status completion_write(const char *shell, const struct manual_command *commands, size_t count,
                        struct buffer *out)
{
    static const struct {
        const char *shell;
        status (*write)(const struct manual_command *commands, size_t count, struct buffer *out);
    } shells[] = {{"bash", write_bash}, {"zsh", write_zsh}, {"fish", write_fish}};
    for (size_t i = 0; i < COUNT_OF(shells); i++) {
        if (strcmp(shells[i].shell, shell) == 0) {
            return shells[i].write(commands, count, out);
        }
    }
    return status_fail(STATUS_INVALID,
                       "--completion: expected one of bash, zsh, fish, not \"%.40s\"", shell);
}
