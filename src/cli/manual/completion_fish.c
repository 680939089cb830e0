/* SPDX-License-Identifier: Apache-2.0 */
/* Completion for fish: a line for each command and for each option of each. */
#include "cli/manual/completion.h"

static status write_description(const char *text, struct buffer *out)
{
    TRY(buffer_append_text(out, " -d '"));
    TRY(completion_append_quoted(text != NULL ? text : "", "\\", out));
    return buffer_append_text(out, "'\n");
}

static status write_values(const struct argp_option *option, struct buffer *out)
{
    switch (completion_kind(option)) {
    case COMPLETE_FLAG:
        return STATUS_OK;
    case COMPLETE_FREE:
        return buffer_append_text(out, " -x");
    case COMPLETE_FILE:
        return buffer_append_text(out, " -r -F");
    case COMPLETE_SETTING:
        return buffer_append_text(out, " -x -a '(__sluice_settings)'");
    case COMPLETE_WORD:
        break;
    }
    TRY(buffer_append_text(out, " -x -a '"));
    TRY(completion_append_words(option, out));
    return buffer_append_byte(out, '\'');
}

static status write_option(const struct manual_command *command, const struct argp_option *option,
                           struct buffer *out)
{
    TRY(buffer_format(out, "complete -c sluice -n '__sluice_is %s' -l %s", command->name,
                      option->name));
    TRY(option->key > ' ' && option->key < 0x7F ? buffer_format(out, " -s %c", option->key)
                                                : STATUS_OK);
    TRY(write_values(option, out));
    return write_description(option->doc, out);
}

/* Keys, or behind "key=" what it may be: words or files. The word may begin with "--set=". */
static status write_settings(const struct completion *from, struct buffer *out)
{
    TRY(buffer_append_text(out,
                           "function __sluice_settings\n"
                           "    set -l word (commandline -ct | string replace -r -- '^--set=' '')\n"
                           "    set -l at (string split -m 1 = -- $word)\n"
                           "    switch \"$word\"\n"));
    for (size_t i = 0; i < from->setting_count; i++) {
        const struct completion_setting *setting = &from->settings[i];
        if (setting->words[0] != '\0') {
            TRY(buffer_format(out, "        case '%s=*'\n            printf '%s=%%s\\n' %s\n",
                              setting->name, setting->name, setting->words));
        }
    }
    TRY(buffer_append_text(out, "        case '*=*'\n"
                                "            printf \"$at[1]=%s\\n\" (complete -C \"'' $at[2]\")\n"
                                "        case '*'\n            printf '%s=\\t%s\\n'"));
    for (size_t i = 0; i < from->setting_count; i++) {
        TRY(buffer_format(out, " \\\n                %s '", from->settings[i].name));
        TRY(completion_append_quoted(from->settings[i].meaning, "\\", out));
        TRY(buffer_append_byte(out, '\''));
    }
    return buffer_append_text(out, "\n    end\nend\n");
}

status completion_write_fish(const struct completion *from, struct buffer *out)
{
    TRY(buffer_append_text(out, "# fish completion, made by `sluice help --completion fish`\n"
                                "function __sluice_is\n"
                                "    set -l words (commandline -opc)\n"
                                "    test (count $words) -ge 2; and test $words[2] = $argv[1]\n"
                                "end\n"));
    TRY(write_settings(from, out));
    for (size_t i = 0; i < from->command_count; i++) {
        const struct manual_command *command = &from->commands[i];
        TRY(buffer_format(out, "complete -c sluice -n __fish_use_subcommand -f -a %s",
                          command->name));
        TRY(write_description(command->summary, out));
        TRY(completion_each_option(command, write_option, out));
    }
    return buffer_format(out, "complete -c sluice -n '__sluice_is help' -f -a '%s'\n",
                         from->topics);
}
