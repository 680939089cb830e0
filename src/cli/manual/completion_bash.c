/* SPDX-License-Identifier: Apache-2.0 */
/* Completion for bash. It takes words apart at "=": --format=csv, key=value and finish=stop are put
 * together again first, and of what is offered goes what stands before the last "=". */
#include "cli/manual/completion.h"

static const char head[] =
    "# bash completion for sluice, made by `sluice help --completion bash`\n"
    "_sluice() {\n"
    "    local at=$COMP_CWORD word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]-}\n"
    "    local option= options= words= lead=\n"
    "    COMPREPLY=()\n"
    "    # An argument with \"=\" comes in parts.\n"
    "    while ((at > 1)) && [[ $word == =* || ${COMP_WORDS[at - 1]} == *= ]]; do\n"
    "        at=$((at - 1))\n"
    "        word=${COMP_WORDS[at]}$word\n"
    "    done\n"
    "    option=${COMP_WORDS[at - 1]}\n"
    "    if [[ $word == --*=* ]]; then option=${word%%=*} lead=${word%%=*}= word=${word#*=}; fi\n"
    "    case $command in\n";

static const char tail[] = "    esac\n"
                           "    if ((at == 1)); then words=$commands; fi\n"
                           "    if [[ -z $words && $word == -* ]]; then words=$options; fi\n"
                           "    if [[ -z $words ]]; then\n"
                           "        compopt -o filenames\n"
                           "        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
                           "    else\n"
                           "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
                           "        if [[ ${COMPREPLY[0]-} == *= ]]; then compopt -o nospace; fi\n"
                           "    fi\n"
                           "    if [[ $COMP_WORDBREAKS == *=* ]]; then\n"
                           "        COMPREPLY=(\"${COMPREPLY[@]#\"${word%\"${word##*=}\"}\"}\")\n"
                           "    else\n"
                           "        COMPREPLY=(\"${COMPREPLY[@]/#/$lead}\")\n"
                           "    fi\n"
                           "}\n"
                           "complete -F _sluice sluice\n";

static status write_name(const struct manual_command *command, const struct argp_option *option,
                         struct buffer *out)
{
    (void)command;
    return buffer_format(out, " --%s%s", option->name, option->arg != NULL ? "=" : "");
}

/* A branch for what may stand behind an option; files need none. */
static status write_values(const struct manual_command *command, const struct argp_option *option,
                           struct buffer *out)
{
    const enum completion_kind kind = completion_kind(option);
    if (kind == COMPLETE_FLAG || kind == COMPLETE_FILE) {
        return STATUS_OK;
    }
    TRY(buffer_format(out, "    '%s --%s') ", command->name, option->name));
    if (kind == COMPLETE_WORD) {
        TRY(buffer_append_text(out, "words='"));
        TRY(completion_append_words(option, out));
        return buffer_append_text(out, "' ;;\n");
    }
    return buffer_append_text(out,
                              kind == COMPLETE_SETTING ? "_sluice_settings ;;\n" : "return ;;\n");
}

/* Keys, or behind "key=" what it may be: words or files. */
static status write_settings(const struct completion *from, struct buffer *out)
{
    TRY(buffer_append_text(out, "_sluice_settings() {\n    case $word in\n"));
    for (size_t i = 0; i < from->setting_count; i++) {
        const struct completion_setting *setting = &from->settings[i];
        if (setting->words[0] != '\0') {
            TRY(buffer_format(out, "    %s=*) words='%s' ;;\n", setting->name, setting->words));
        }
    }
    TRY(buffer_append_text(out, "    *=*) ;;\n    *)\n        words='"));
    for (size_t i = 0; i < from->setting_count; i++) {
        TRY(buffer_format(out, "%s%s=", i > 0 ? " " : "", from->settings[i].name));
    }
    return buffer_append_text(out, "'\n        return\n        ;;\n    esac\n"
                                   "    lead+=${word%%=*}= word=${word#*=}\n}\n");
}

status completion_write_bash(const struct completion *from, struct buffer *out)
{
    TRY(buffer_append_text(out, head));
    for (size_t i = 0; i < from->command_count; i++) {
        TRY(buffer_format(out, "    %s) options='", from->commands[i].name));
        TRY(completion_each_option(&from->commands[i], write_name, out));
        TRY(buffer_append_text(out, "' ;;\n"));
    }
    TRY(buffer_append_text(out, "    esac\n    local commands='"));
    for (size_t i = 0; i < from->command_count; i++) {
        TRY(buffer_format(out, "%s ", from->commands[i].name));
    }
    TRY(buffer_format(out,
                      "--help --version'\n"
                      "    case \"$command $option\" in\n"
                      "    'help '*) words='%s' ;;\n",
                      from->topics));
    for (size_t i = 0; i < from->command_count; i++) {
        TRY(completion_each_option(&from->commands[i], write_values, out));
    }
    TRY(buffer_append_text(out, tail));
    return write_settings(from, out);
}
