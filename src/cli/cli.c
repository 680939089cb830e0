/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments, errors, exit statuses. */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job/suggest.h"
#include "sluice/json.h"

struct argument_parse {
    const struct argp *command;
    void *input;
    int stopped_at; /* index of the argument behind the one that was wrong */
};

static const struct argp_option *find_option(const struct argp *argp, const char *name,
                                             size_t length)
{
    for (const struct argp_option *option = argp->options;
         option != NULL && (option->name != NULL || option->key != 0 || option->doc != NULL);
         option++) {
        if (option->name != NULL && strlen(option->name) == length &&
            strncmp(option->name, name, length) == 0) {
            return option;
        }
    }
    return NULL;
}

/* getopt goes on to the next argument before it looks at the name of a long option, but stays at
 * one with several short options until it has seen them all. */
static const char *wrong_argument(const struct argument_parse *parse, int argc, char **argv)
{
    int before = parse->stopped_at - 1;
    bool is_option = before >= 1 && before < argc && argv[before][0] == '-';
    if (!is_option && parse->stopped_at < argc && argv[parse->stopped_at][0] == '-') {
        return argv[parse->stopped_at];
    }
    return before >= 1 && before < argc ? argv[before] : "arguments";
}

/* The nearest option, whatever number of dashes it was written with. */
static status describe_unknown_option(const struct argp *argp, const char *argument,
                                      const char *command)
{
    char name[64];
    size_t dashes = strspn(argument, "-");
    snprintf(name, sizeof name, "%.*s", (int)strcspn(argument + dashes, "="), argument + dashes);
    struct suggestion suggestion = {.unknown = name};
    bool is_short = dashes == 1 && name[1] == '\0';
    for (const struct argp_option *option = argp->options;
         !is_short && option != NULL &&
         (option->name != NULL || option->key != 0 || option->doc != NULL);
         option++) {
        if (option->name != NULL) {
            suggestion_offer(&suggestion, option->name);
        }
    }
    if (!is_short) {
        suggestion_offer(&suggestion, "help");
    }
    if (suggestion.best == NULL) {
        return status_fail(STATUS_INVALID, "%.100s: unknown option; see sluice %s --help", argument,
                           command);
    }
    return status_fail(STATUS_INVALID,
                       "%.100s: unknown option; did you mean --%s? See sluice %s --help", argument,
                       suggestion.best, command);
}

/* argp is kept from printing, since it would print two lines and end the program; what it found
 * wrong is told from the argument that it stopped at. */
static status describe_bad_option(const struct argument_parse *parse, int argc, char **argv)
{
    const char *argument = wrong_argument(parse, argc, argv);
    const char *name = strncmp(argument, "--", 2) == 0 ? argument + 2 : NULL;
    const struct argp_option *option =
        name != NULL ? find_option(parse->command, name, strcspn(name, "=")) : NULL;
    if (option == NULL) {
        return describe_unknown_option(parse->command, argument, argv[0]);
    }
    return status_fail(STATUS_INVALID, "%.100s: %s; see sluice %s --help", argument,
                       option->arg != NULL ? "needs a value" : "takes no value", argv[0]);
}

static error_t watch_parse(int key, char *argument, struct argp_state *state)
{
    (void)argument;
    struct argument_parse *parse = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = parse->input;
        return 0;
    case ARGP_KEY_ERROR:
        parse->stopped_at = state->next;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void print_help(const struct argp *argp, const char *command)
{
    static const struct argp_option help_option[] = {{"help", 'h', NULL, 0, "print this", -1}, {0}};
    const struct argp_child children[] = {{argp, 0, NULL, 0}, {0}};
    const struct argp with_help = {.options = help_option, .children = children};
    char name[64];
    snprintf(name, sizeof name, "sluice %s", command);
    argp_help(&with_help, stdout, ARGP_HELP_USAGE | ARGP_HELP_LONG | ARGP_HELP_DOC, name);
}

static void (*take_table)(const struct argp *argp);

void cli_tell_tables(void (*take)(const struct argp *argp))
{
    take_table = take;
}

status cli_parse_quietly(const struct argp *argp, int argc, char **argv, void *input,
                         bool *help_printed)
{
    *help_printed = take_table != NULL;
    if (take_table != NULL) {
        take_table(argp);
        return STATUS_OK;
    }
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0 ||
            strcmp(argv[i], "-?") == 0 || strcmp(argv[i], "--usage") == 0) {
            print_help(argp, argv[0]); /* the rest of the line need not be complete */
            *help_printed = true;
            return STATUS_OK;
        }
    }
    struct argument_parse parse = {.command = argp, .input = input};
    const struct argp_child children[] = {{argp, 0, NULL, 0}, {0}};
    const struct argp watched = {.parser = watch_parse, .children = children};
    error_t error =
        argp_parse(&watched, argc, argv, ARGP_NO_ERRS | ARGP_NO_HELP | ARGP_NO_EXIT, NULL, &parse);
    if (error == ENOMEM) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the arguments");
    }
    if (error == EDOM) {
        return STATUS_INVALID; /* the command's parser left its message */
    }
    return error == 0 ? STATUS_OK : describe_bad_option(&parse, argc, argv);
}

bool cli_parse(const struct argp *argp, int argc, char **argv, void *input, int *exit_status)
{
    bool help_printed;
    status s = cli_parse_quietly(argp, argc, argv, input, &help_printed);
    if (s != STATUS_OK) {
        *exit_status = cli_fail(EXIT_BAD_USAGE);
    } else if (help_printed) {
        *exit_status = cli_finish_output(EXIT_DONE);
    }
    return s == STATUS_OK && !help_printed;
}

/* ---- Values ---- */

static error_t bad_value(status s)
{
    (void)s; /* the message is what counts: cli_parse_quietly returns it */
    return EDOM;
}

enum { OPTION_BYTES = 64 };

/* An option as the user writes it, whether or not the caller's name has its dashes. */
static const char *dashed(const char *option, char name[OPTION_BYTES])
{
    snprintf(name, OPTION_BYTES, "%s%s", option[0] == '-' ? "" : "--", option);
    return name;
}

error_t cli_integer(const char *option, const char *text, int64_t least, int64_t most, int64_t *out)
{
    char *end, name[OPTION_BYTES];
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < least || value > most) {
        return bad_value(
            status_fail(STATUS_INVALID, "%s: expected an integer from %lld to %lld, not \"%.40s\"",
                        dashed(option, name), (long long)least, (long long)most, text));
    }
    *out = value;
    return 0;
}

error_t cli_time(const char *option, const char *text, int64_t *out)
{
    char name[OPTION_BYTES];
    return clock_read_timestamp(text, out)
               ? 0
               : bad_value(status_fail(STATUS_INVALID,
                                       "%s: expected a time such as 2026-01-31T12:00:00Z, not "
                                       "\"%.40s\"",
                                       dashed(option, name), text));
}

/* As cli_integer, for names: the index of `text` among `names`, less 1, so that "auto" is -1. */
static error_t choose_name(const char *option, const char *text, const char *const *names,
                           int count, int *out)
{
    char list[80] = "";
    for (int i = 0; i < count; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = i - 1;
            return 0;
        }
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", names[i]);
    }
    char name[OPTION_BYTES];
    status s = status_fail(STATUS_INVALID, "%s: expected one of %s, not \"%.40s\"",
                           dashed(option, name), list, text);
    (void)s;
    return EDOM;
}

error_t cli_weight_format(const char *option, const char *text, int *out)
{
    const char *names[WEIGHT_NONE + 1] = {"auto"};
    int formats[WEIGHT_NONE + 1] = {-1};
    int count = 1;
    for (int i = 0; i < WEIGHT_NONE; i++) {
        const char *name = weight_format_facts((enum weight_format)i)->asked_as;
        if (name != NULL) {
            formats[count] = i;
            names[count++] = name;
        }
    }
    int index;
    error_t error = choose_name(option, text, names, count, &index);
    if (error == 0) {
        *out = formats[index + 1];
    }
    return error;
}

error_t cli_dtype(const char *option, const char *text, int *out)
{
    const char *names[DTYPE_COUNT + 1] = {"auto"};
    for (int i = 0; i < DTYPE_COUNT; i++) {
        names[i + 1] = dtype_name((enum dtype)i);
    }
    return choose_name(option, text, names, (int)COUNT_OF(names), out);
}

error_t cli_device(const char *option, const char *text, const struct backend_kind **out)
{
    enum { MOST = 8 };
    const char *names[MOST + 1] = {"auto"};
    int count = 1;
    for (size_t i = 0; i < MOST && backend_kind_at(i) != NULL; i++) {
        names[count++] = backend_kind_at(i)->name;
    }
    int index;
    error_t error = choose_name(option, text, names, count, &index);
    if (error == 0) {
        *out = index < 0 ? NULL : backend_kind_at((size_t)index);
    }
    return error;
}

error_t cli_choose(const char *option, const char *text, const char *const *names, int count,
                   int *out)
{
    int index;
    error_t error = choose_name(option, text, names, count, &index);
    if (error == 0) {
        *out = index + 1;
    }
    return error;
}

error_t cli_admission(const char *option, const char *text, int *out)
{
    static const char *const names[] = {[ADMIT_BY_NEED] = "need", [ADMIT_BY_ROOM] = "room"};
    return cli_choose(option, text, names, COUNT_OF(names), out);
}

error_t cli_positional(const char *argument, const char **out)
{
    if (*out != NULL) {
        return bad_value(status_fail(STATUS_INVALID, "%.100s: one argument too many", argument));
    }
    *out = argument;
    return 0;
}

error_t cli_require(const char *name, const char *value)
{
    return value != NULL ? 0 : bad_value(status_fail(STATUS_INVALID, "%s is missing", name));
}

error_t cli_settings_add(struct cli_settings *settings, const char *text)
{
    void *items = settings->items;
    status s =
        array_grow(&items, &settings->capacity, settings->count + 1, sizeof *settings->items);
    settings->items = items;
    if (s != STATUS_OK) {
        return ENOMEM;
    }
    settings->items[settings->count++] = text;
    return 0;
}

void cli_settings_destroy(struct cli_settings *settings)
{
    free(settings->items);
    *settings = (struct cli_settings){0};
}

/* ---- Printing ---- */

int cli_fail(int exit_status)
{
    fflush(stdout);
    if (log_is_json()) {
        log_write(LOG_ERROR, "%s", status_message());
    } else {
        struct buffer line = {0}; /* one, whatever it quotes */
        const status s = buffer_format(&line, "sluice: %s", status_message());
        log_put_line(s == STATUS_OK ? line.data : "sluice: out of memory for a message");
        buffer_destroy(&line);
    }
    return exit_status;
}

int cli_fail_start(status started, int rank)
{
    if (started != STATUS_INVALID) {
        return cli_fail(EXIT_FAILED);
    }
    return rank == 0 ? cli_fail(EXIT_BAD_USAGE) : EXIT_BAD_USAGE;
}

int cli_finish_output(int exit_status)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        status s = status_fail_errno(STATUS_IO, "standard output");
        (void)s;
        return cli_fail(EXIT_FAILED);
    }
    return exit_status;
}

status cli_append_excerpt(const char *text, size_t length, int most, struct buffer *out)
{
    size_t size, from = 0;
    for (; from < length && most > 0; from += size, most--) {
        int32_t point = utf8_decode(text + from, length - from, &size);
        TRY(utf8_is_control(point) ? buffer_append_byte(out, ' ')
            : point < 0            ? buffer_append_text(out, "\xEF\xBF\xBD")
                                   : buffer_append(out, text + from, size));
    }
    return from < length ? buffer_append_text(out, "…") : STATUS_OK;
}

status cli_append_wrapped(const char *text, int column, int indent, struct buffer *out)
{
    struct buffer clean = {0};
    status s = cli_append_excerpt(text, strlen(text), INT32_MAX, &clean);
    if (s == STATUS_OK) {
        s = text_wrap(clean.length > 0 ? clean.data : "", column, indent, CLI_COLUMNS, out);
    }
    buffer_destroy(&clean);
    return s;
}

void cli_print_wrapped(const char *text, int column, int indent)
{
    struct buffer out = {0};
    if (cli_append_wrapped(text, column, indent, &out) == STATUS_OK) {
        fputs(out.data, stdout);
    } else { /* as it is, rather than not at all */
        cli_print_text(text, strlen(text));
        putchar('\n');
    }
    buffer_destroy(&out);
}

void cli_print_text(const char *text, size_t length)
{
    for (size_t from = 0, size; from < length; from += size) {
        int32_t point = utf8_decode(text + from, length - from, &size);
        bool blank = utf8_is_control(point) && point != '\n' && point != '\t';
        if (blank || point < 0) {
            fputs(blank ? " " : "\xEF\xBF\xBD", stdout);
        } else {
            fwrite(text + from, 1, size, stdout);
        }
    }
}

const char *cli_layout_text(const char *text, struct arena *arena)
{
    static const char *const names[] = {"dp", "tp", "pp", "tp_slices"};
    struct json *layout;
    char line[128] = "";
    if (json_parse(text, strlen(text), arena, &layout) != STATUS_OK) {
        return text;
    }
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        int64_t value;
        size_t used = strlen(line);
        if (json_int64(json_get(layout, names[i]), &value)) {
            snprintf(line + used, sizeof line - used, "%s%s %lld", used > 0 ? ", " : "", names[i],
                     (long long)value);
        }
    }
    const char *copy = arena_copy(arena, line, strlen(line));
    return line[0] != '\0' && copy != NULL ? copy : text;
}
