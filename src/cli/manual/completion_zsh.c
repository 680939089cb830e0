/* SPDX-License-Identifier: Apache-2.0 */
/* Completion for zsh: an _arguments for each command. */
#include <string.h>

#include "cli/manual/completion.h"

/* What _arguments calls behind an option. */
static status write_values(const struct argp_option *option, struct buffer *out)
{
    switch (completion_kind(option)) {
    case COMPLETE_FLAG:
        return STATUS_OK;
    case COMPLETE_WORD:
        TRY(buffer_format(out, ":%s:(", option->name));
        TRY(completion_append_words(option, out));
        return buffer_append_byte(out, ')');
    case COMPLETE_SETTING:
        return buffer_append_text(out, ":key=value:_sluice_settings");
    case COMPLETE_FREE:
    case COMPLETE_FILE:
        break;
    }
    TRY(buffer_append_byte(out, ':'));
    TRY(completion_append_quoted(option->arg, "[]:\\", out));
    return buffer_append_text(out, completion_kind(option) == COMPLETE_FILE ? ":_files" : ": ");
}

static status write_spec(const char *before, const char *name, const char *behind,
                         const struct argp_option *option, struct buffer *out)
{
    TRY(buffer_format(out, " \\\n            '%s%s%s[", before, name,
                      option->arg != NULL ? behind : ""));
    TRY(completion_append_quoted(option->doc != NULL ? option->doc : "", "[]:\\", out));
    TRY(buffer_append_byte(out, ']'));
    TRY(write_values(option, out));
    return buffer_append_byte(out, '\'');
}

static status write_option(const struct manual_command *command, const struct argp_option *option,
                           struct buffer *out)
{
    (void)command;
    char name[48], brief[] = {'-', (char)option->key, '\0'}, exclusive[64] = "";
    snprintf(name, sizeof name, "--%s", option->name);
    const bool has_brief = option->key > ' ' && option->key < 0x7F;
    if (completion_kind(option) == COMPLETE_SETTING) {
        snprintf(exclusive, sizeof exclusive, "*");
    } else if (has_brief) {
        snprintf(exclusive, sizeof exclusive, "(%s %s)", brief, name);
    }
    TRY(write_spec(exclusive, name, "=", option, out));
    return has_brief ? write_spec(exclusive, brief, "+", option, out) : STATUS_OK;
}

static status write_settings(const struct completion *from, struct buffer *out)
{
    TRY(buffer_append_text(out, "_sluice_settings() {\n"
                                "    local -a keys\n"
                                "    if compset -P '*='; then\n"
                                "        case ${${IPREFIX%=}##*=} in\n"));
    for (size_t i = 0; i < from->setting_count; i++) {
        const struct completion_setting *setting = &from->settings[i];
        if (setting->words[0] != '\0') {
            TRY(buffer_format(out, "        %s) compadd -- %s ;;\n", setting->name,
                              setting->words));
        }
    }
    TRY(buffer_append_text(
        out, "        *) _files ;;\n        esac\n        return\n    fi\n    keys=(\n"));
    for (size_t i = 0; i < from->setting_count; i++) {
        TRY(buffer_format(out, "        '%s:", from->settings[i].name));
        TRY(completion_append_quoted(from->settings[i].meaning, ":\\", out));
        TRY(buffer_append_text(out, "'\n"));
    }
    return buffer_append_text(out, "    )\n    _describe -t keys 'key of a job file' keys -S =\n"
                                   "}\n");
}

static status write_commands(const struct completion *from, struct buffer *out)
{
    TRY(buffer_append_text(out, "_sluice() {\n    local -a commands\n    commands=(\n"));
    for (size_t i = 0; i < from->command_count; i++) {
        TRY(buffer_format(out, "        '%s:", from->commands[i].name));
        TRY(completion_append_quoted(from->commands[i].summary, ":\\", out));
        TRY(buffer_append_text(out, "'\n"));
    }
    return buffer_append_text(out,
                              "    )\n    if (( CURRENT == 2 )); then\n"
                              "        _describe command commands\n        return\n    fi\n"
                              "    local command=$words[2]\n    shift words\n    (( CURRENT-- ))\n"
                              "    case $command in\n");
}

status completion_write_zsh(const struct completion *from, struct buffer *out)
{
    TRY(buffer_append_text(out, "#compdef sluice\n"
                                "# zsh completion, made by `sluice help --completion zsh`\n"));
    TRY(write_settings(from, out));
    TRY(write_commands(from, out));
    for (size_t i = 0; i < from->command_count; i++) {
        const bool is_help = strcmp(from->commands[i].name, "help") == 0;
        TRY(buffer_format(out, "    %s)\n        _arguments", from->commands[i].name));
        TRY(completion_each_option(&from->commands[i], write_option, out));
        TRY(is_help
                ? buffer_format(out, " \\\n            ':topic:(%s)'\n        ;;\n", from->topics)
                : buffer_append_text(out, " \\\n            '*:file:_files'\n        ;;\n"));
    }
    return buffer_append_text(out, "    esac\n}\n_sluice \"$@\"\n");
}
