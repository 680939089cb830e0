/* SPDX-License-Identifier: Apache-2.0 */
/* What completions are written from, and for which shells. */
#include "cli/manual/completion.h"

#include <ctype.h>
#include <string.h>

#include "sluice/job.h"

/* ---- Options ---- */

static bool is_end(const struct argp_option *option)
{
    return option->name == NULL && option->key == 0 && option->doc == NULL;
}

status completion_each_option(const struct manual_command *command, completion_writer write,
                              struct buffer *out)
{
    static const struct argp_option help = {"help", 'h', NULL, 0, "print this", 0};
    const struct argp_option *option = command->argp != NULL ? command->argp->options : NULL;
    for (; option != NULL && !is_end(option); option++) {
        TRY(option->name != NULL ? write(command, option, out) : STATUS_OK);
    }
    return write(command, &help, out);
}

static bool has_capitals(const char *text)
{
    while (*text != '\0' && !isupper((unsigned char)*text)) {
        text++;
    }
    return *text != '\0';
}

enum completion_kind completion_kind(const struct argp_option *option)
{
    static const char *const files[] = {"FILE", "PATH", "INPUT", "."};
    if (option->arg == NULL) {
        return COMPLETE_FLAG;
    }
    if (strcmp(option->arg, "KEY=VALUE") == 0) {
        return COMPLETE_SETTING;
    }
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        if (strstr(option->arg, files[i]) != NULL) {
            return COMPLETE_FILE;
        }
    }
    return has_capitals(option->arg) ? COMPLETE_FREE : COMPLETE_WORD;
}

status completion_append_words(const struct argp_option *option, struct buffer *out)
{
    for (const char *at = option->arg; *at != '\0'; at++) {
        TRY(buffer_append_byte(out, *at == '|' ? ' ' : *at));
    }
    return STATUS_OK;
}

status completion_append_quoted(const char *text, const char *also, struct buffer *out)
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

/* ---- Keys of job files, from the table that `sluice help job` prints ---- */

/* "a, b or c" becomes "a b c" in place; false where a part of it is no single word. */
static bool join_words(char *text)
{
    char *to = text;
    bool several = false;
    for (const char *from = text; *from != '\0';) {
        const size_t gap = strncmp(from, ", ", 2) == 0 ? 2 : strncmp(from, " or ", 4) == 0 ? 4 : 0;
        if (gap == 0 && !(isalnum((unsigned char)*from) || *from == '_')) {
            return false;
        }
        several = several || gap > 0;
        *to++ = gap > 0 ? ' ' : *from;
        from += gap > 0 ? gap : 1;
    }
    *to = '\0';
    return several;
}

/* What the words of a value's description name: "true or false", "integer of at least 2, or auto".
 * NULL: out of memory. */
static const char *words_of(const char *type, struct arena *arena)
{
    static const char otherwise[] = ", or ";
    const char *last = strstr(type, otherwise);
    char *words = arena_copy(arena, type, strlen(type));
    if (words == NULL || strcmp(type, "boolean") == 0) {
        return words == NULL ? NULL : "true false";
    }
    return join_words(words) ? words : last != NULL ? last + strlen(otherwise) : "";
}

/* The text of a cell up to " |", without Markdown's backquotes; *at moves behind it. NULL: out of
 * memory. */
static char *take_cell(const char **at, const char *end, struct arena *arena)
{
    const char *bar = memmem(*at, (size_t)(end - *at), " |", 2);
    char *cell = arena_copy(arena, *at, (size_t)((bar != NULL ? bar : end) - *at));
    *at = bar != NULL && bar + 3 <= end ? bar + 3 : end;
    if (cell == NULL) {
        return NULL;
    }
    char *to = cell;
    for (const char *from = cell; *from != '\0'; from++) {
        if (*from != '`') {
            *to++ = *from;
        }
    }
    *to = '\0';
    return cell;
}

/* "| `key` | value | default | meaning |": of the meaning what stands before its first ";". */
static status take_row(const char *line, const char *end, struct arena *arena,
                       struct completion_setting *setting)
{
    const char *at = line + 2;
    setting->name = take_cell(&at, end, arena);
    const char *type = take_cell(&at, end, arena);
    const char *standard = take_cell(&at, end, arena);
    char *meaning = take_cell(&at, end, arena);
    setting->words = type != NULL ? words_of(type, arena) : NULL;
    if (setting->name == NULL || setting->words == NULL || standard == NULL || meaning == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the keys of job files");
    }
    meaning[strcspn(meaning, ";")] = '\0';
    setting->meaning = meaning;
    return STATUS_OK;
}

static status take_settings(const char *table, struct arena *arena, struct completion *out)
{
    size_t rows = 0;
    for (const char *at = table; *at != '\0'; at++) {
        rows += *at == '\n';
    }
    out->settings = arena_allocate_array(arena, rows, sizeof *out->settings);
    if (out->settings == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the keys of job files");
    }
    for (const char *line = table, *end; *line != '\0'; line = *end != '\0' ? end + 1 : end) {
        end = line + strcspn(line, "\n");
        if (strncmp(line, "| `", 3) == 0) {
            TRY(take_row(line, end, arena, &out->settings[out->setting_count++]));
        }
    }
    return STATUS_OK;
}

/* ---- Shells ---- */

static const struct shell {
    const char *name;
    status (*write)(const struct completion *from, struct buffer *out);
} shells[] = {{"bash", completion_write_bash},
              {"zsh", completion_write_zsh},
              {"fish", completion_write_fish}};

status completion_write(const char *name, const struct manual_command *commands, size_t count,
                        const char *topics, struct buffer *out)
{
    const struct shell *shell = NULL;
    for (size_t i = 0; i < COUNT_OF(shells); i++) {
        shell = strcmp(shells[i].name, name) == 0 ? &shells[i] : shell;
    }
    if (shell == NULL) {
        return status_fail(STATUS_INVALID,
                           "--completion: expected one of bash, zsh, fish, not \"%.40s\"", name);
    }
    struct completion from = {.commands = commands, .command_count = count, .topics = topics};
    struct buffer table = {0};
    struct arena arena = {0};
    status s = job_describe_keys(&table);
    s = s == STATUS_OK ? take_settings(table.data, &arena, &from) : s;
    s = s == STATUS_OK ? shell->write(&from, out) : s;
    buffer_destroy(&table);
    arena_destroy(&arena);
    return s;
}
