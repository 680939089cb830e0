/* SPDX-License-Identifier: Apache-2.0 */
/* sluice init: a job file with comments, for the model and the data set that are there. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "job/yaml.h"
#include "sluice/inputs.h"
#include "sluice/json.h"

enum { OPTION_FORCE = 256 };

struct init_arguments {
    const char *model, *data, *output;
    bool force;
};

static const struct argp_option options[] = {
    {"output", 'o', "JOB.yaml", 0, "write this file; without it, to standard output", 0},
    {"force", OPTION_FORCE, NULL, 0, "replace a JOB.yaml that is there", 0},
    {0}};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct init_arguments *arguments = state->input;
    switch (key) {
    case 'o':
        arguments->output = argument;
        return 0;
    case OPTION_FORCE:
        arguments->force = true;
        return 0;
    case ARGP_KEY_ARG:
        return cli_positional(argument,
                              arguments->model == NULL ? &arguments->model : &arguments->data);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse_option,
    .args_doc = "[MODEL] [DATA]",
    .doc = "Writes a job file with comments. What is not named is looked for: a model in this "
           "folder and in models/, a data set in this folder and in data/.\vThe model's headers "
           "and the first row are read, so that the file says what fits them."};

/* ---- What is there ---- */

/* What patterns of `list` find, in the list's order; end with globfree. */
static void find_all(const char *const *list, size_t count, glob_t *found)
{
    *found = (glob_t){0};
    for (size_t i = 0; i < count; i++) {
        (void)glob(list[i], i > 0 ? GLOB_APPEND : 0, NULL, found);
    }
}

/* The first of what was found, and a comment with the others. Of a model's folder the pattern has
 * found its config.json. */
static status choose(const char *what, const glob_t *found, bool folders, struct buffer *path,
                     struct buffer *others)
{
    for (size_t i = 0; i < found->gl_pathc; i++) {
        const char *name = found->gl_pathv[i];
        const char *end = folders ? strstr(name, "/config.json") : NULL;
        int length = (int)(end != NULL ? (size_t)(end - name) : strlen(name));
        TRY(i == 0 ? buffer_format(path, "%.*s", length, name)
                   : buffer_format(others, "%s%.*s", i > 1 ? ", " : "", length, name));
    }
    return found->gl_pathc > 0
               ? STATUS_OK
               : status_fail(STATUS_NOT_FOUND,
                             "no %s here; name it: sluice init MODEL DATA -o JOB.yaml", what);
}

/* `found` of a person's words, or of what is there. */
static status locate(const char *named, const char *what, const char *const *patterns, size_t count,
                     bool folders, struct buffer *path, struct buffer *others)
{
    if (named != NULL) {
        return buffer_append_text(path, named);
    }
    glob_t found;
    find_all(patterns, count, &found);
    status s = choose(what, &found, folders, path, others);
    globfree(&found);
    return s;
}

/* What the first row looks like. */
struct first_row {
    enum row_shape {
        ROW_UNKNOWN,
        ROW_TEXT,
        ROW_MESSAGES,
        ROW_TOKENS,
        ROW_REQUEST,
        ROW_COLUMNS
    } shape;
    struct buffer columns; /* their names, ", " between them */
    const char *column;    /* the first that is a text, else the first; the arena's */
    bool column_is_text;
    bool is_bad; /* it cannot be read */
    char why[400];
};

static status take_columns(const struct json *row, struct arena *arena, struct first_row *out)
{
    for (size_t i = 0; i < row->length; i++) {
        const struct json_member *member = &row->members[i];
        TRY(buffer_format(&out->columns, "%s%s", i > 0 ? ", " : "", member->key));
        const bool is_text = member->value->type == JSON_STRING;
        if (i == 0 || (is_text && !out->column_is_text)) {
            out->column = arena_copy(arena, member->key, member->key_length);
            out->column_is_text = is_text;
        }
    }
    return STATUS_OK;
}

static enum row_shape shape_of(const struct json *row)
{
    static const struct {
        const char *field;
        enum row_shape shape;
    } fields[] = {{"body", ROW_REQUEST},
                  {"prompt", ROW_TEXT},
                  {"text", ROW_TEXT},
                  {"messages", ROW_MESSAGES},
                  {"prompt_token_ids", ROW_TOKENS}};
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        if (json_get(row, fields[i].field) != NULL) {
            return fields[i].shape;
        }
    }
    return ROW_COLUMNS;
}

static status take_record(const struct record *record, struct arena *arena, struct first_row *out)
{
    struct json *row;
    if (record->kind != RECORD_JSON) {
        out->shape = record->kind == RECORD_TEXT     ? ROW_TEXT
                     : record->kind == RECORD_TOKENS ? ROW_TOKENS
                                                     : ROW_UNKNOWN;
        return STATUS_OK;
    }
    TRY(json_parse(record->bytes.data, record->bytes.length, arena, &row));
    if (row->type != JSON_OBJECT) {
        return STATUS_OK;
    }
    out->shape = shape_of(row);
    return take_columns(row, arena, out);
}

static status read_first(const struct record_reader_options *reading, struct arena *arena,
                         struct first_row *out)
{
    struct record_reader *reader;
    struct record record = {0};
    bool more = false;
    TRY(record_reader_open(reading, &reader));
    status s = record_reader_next(reader, &record, &more);
    if (s == STATUS_OK && more) {
        s = take_record(&record, arena, out);
    }
    record_reader_close(reader);
    buffer_destroy(&record.bytes);
    return s;
}

/* A data set that cannot be read is said in the job file; `check` says it again. A table whose
 * columns have other names can be read where a prompt is made of none of them. */
static status look_at_row(const char *path, struct arena *arena, struct first_row *out)
{
    struct record_reader_options reading = {.path = path, .limit = -1, .quiet = true};
    status s = read_first(&reading, arena, out);
    snprintf(out->why, sizeof out->why, "%s", s != STATUS_OK ? status_message() : "");
    if (s == STATUS_INVALID) {
        reading.prompt_template = "-";
        const status again = read_first(&reading, arena, out);
        s = again == STATUS_OK && out->shape == ROW_COLUMNS ? STATUS_OK : s;
    }
    out->is_bad = s != STATUS_OK;
    return s == STATUS_NO_MEMORY ? s : STATUS_OK;
}

/* ---- The file ---- */

/* A comment of its own lines. */
static status append_note(struct buffer *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static status append_note(struct buffer *out, const char *format, ...)
{
    enum { INDENT = 4 };
    struct buffer lines = {0};
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    utf8_blank_controls(text, strlen(text)); /* a comment never ends before its end */
    status s = cli_append_wrapped(text, INDENT, INDENT, &lines);
    const char *line = lines.data;
    for (const char *end; s == STATUS_OK && (end = strchr(line, '\n')) != NULL; line = end + 1) {
        const int skip = line == lines.data ? 0 : INDENT;
        s = buffer_format(out, "  # %.*s\n", (int)(end - line) - skip, line + skip);
    }
    buffer_destroy(&lines);
    return s;
}

/* `  key: value` with a comment where the others stand, before it where that would be too wide;
 * or with a # before it. */
static status append_key(struct buffer *out, bool off, const char *key, const char *value,
                         const char *comment)
{
    enum { COMMENT_COLUMN = 36 };
    const size_t place = strlen(key) + strlen(value) + 4;
    const size_t column = place < COMMENT_COLUMN ? COMMENT_COLUMN : place;
    if (!off && comment[0] != '\0' && column + 3 + strlen(comment) > CLI_COLUMNS) {
        TRY(append_note(out, "%s", comment));
        comment = "";
    }
    size_t start = out->length;
    TRY(buffer_format(out, "%s%s: %s", off ? "  # " : "  ", key, value));
    if (comment[0] == '\0') {
        return buffer_append_byte(out, '\n');
    }
    int used = (int)(out->length - start);
    return buffer_format(out, "%*s # %s\n", used < COMMENT_COLUMN ? COMMENT_COLUMN - used : 0, "",
                         comment);
}

static status append_string(struct buffer *out, const char *key, const char *text,
                            const char *comment)
{
    struct buffer value = {0};
    status s = yaml_write_string(text, strlen(text), &value);
    if (s == STATUS_OK) {
        s = append_key(out, false, key, value.data, comment);
    }
    buffer_destroy(&value);
    return s;
}

static status append_others(struct buffer *out, const struct buffer *others)
{
    if (others->length == 0) {
        return STATUS_OK;
    }
    return append_note(out, "also here: %s", others->data);
}

static status append_model(struct buffer *out, const char *path, const struct model *model,
                           const struct buffer *others)
{
    const struct model_config *config = model_config(model);
    char comment[160];
    snprintf(comment, sizeof comment, "%s, %d layers, contexts of %d tokens%s", config->family,
             config->layers, config->max_positions,
             config->head == HEAD_LABELS          ? "; labels: the rows are classified"
             : config->encoder                    ? "; an encoder: the rows are embedded"
             : config->pools                      ? "; vectors: the rows are embedded"
             : model_chat_template(model) != NULL ? "; has a chat template"
                                                  : "");
    TRY(buffer_append_text(out, "model:\n"));
    TRY(append_string(out, "path", path, comment));
    char shorter[16];
    snprintf(shorter, sizeof shorter, "%d",
             config->max_positions > 4096 ? 4096 : config->max_positions / 2);
    TRY(append_key(out, true, "max_model_len", shorter, "less takes less memory"));
    return append_others(out, others);
}

/* How texts become prompts, as far as the first row tells. */
static status append_prompts(struct buffer *out, const struct first_row *row, bool has_template)
{
    if (row->is_bad) {
        return append_note(out, "cannot be read: %s", row->why);
    }
    if (row->shape == ROW_COLUMNS) {
        struct buffer text = {0};
        status s = buffer_format(&text, "{%s}", row->column != NULL ? row->column : "column");
        if (s == STATUS_OK) {
            s = append_string(out, "prompt_template", text.data,
                              "no column is a prompt by its name: say how one is made");
        }
        buffer_destroy(&text);
        TRY(s);
    }
    bool texts = row->shape == ROW_TEXT || row->shape == ROW_COLUMNS;
    if (texts && has_template) {
        TRY(append_key(out, false, "chat", "always", "a text is a user's message (or: never)"));
    }
    return STATUS_OK;
}

static status append_data(struct buffer *out, const char *path, struct first_row *row,
                          bool has_template, const struct buffer *others)
{
    static const char *const shapes[] = {"",
                                         "rows have texts",
                                         "rows are conversations",
                                         "rows are token ids",
                                         "rows are OpenAI requests",
                                         "rows have columns of other names"};
    TRY(buffer_append_text(out, "\ndata:\n"));
    TRY(append_string(out, "input", path, shapes[row->shape]));
    TRY(append_prompts(out, row, has_template));
    if (row->columns.length > 0) {
        TRY(append_note(out, "columns: %s", row->columns.data));
    }
    TRY(append_key(out, true, "limit", "100", "rows to run, to try it out"));
    return append_others(out, others);
}

static status append_generate(struct buffer *out, const struct job *job, const struct model *model)
{
    struct job resolved = *job;
    struct buffer taken = {0};
    status s = job_take_model_defaults(&resolved, model, &taken);
    TRY(buffer_append_text(out, "\ngenerate:\n"));
    if (s == STATUS_OK) {
        s = append_key(out, false, "max_new_tokens", "512", "an answer's tokens at most");
    }
    if (s == STATUS_OK && taken.length > 0) {
        s = append_note(out, "the model's own, used where nothing else is said: %s", taken.data);
    }
    if (s == STATUS_OK) {
        s = append_key(out, true, "temperature", "0", "0: always the likeliest token");
    }
    if (s == STATUS_OK) {
        s = append_key(out, true, "seed", "1", "another one draws other answers");
    }
    buffer_destroy(&taken);
    return s;
}

/* "out/prompts.h5" of "data/prompts.jsonl.gz". */
static status append_output(struct buffer *out, const char *data)
{
    const char *name = path_name(data);
    struct buffer path = {0};
    size_t length = strcspn(name, ".*?[");
    status s = buffer_format(&path, "out/%.*s.h5", length > 0 ? (int)length : 3,
                             length > 0 ? name : "job");
    TRY(buffer_append_text(out, "\noutput:\n"));
    if (s == STATUS_OK) {
        s = append_string(out, "path", path.data, "appears when the job is complete");
    }
    buffer_destroy(&path);
    TRY(s);
    TRY(append_key(out, true, "include_prompt", "true", "keep the prompts as the model saw them"));
    return buffer_append_text(
        out, "\n# `sluice help job` lists all keys. What is left out is decided from the model,\n"
             "# the ranks and their memory: `sluice check` says how.\n");
}

static status compose(const struct init_arguments *arguments, struct arena *arena,
                      struct first_row *row, struct buffer paths[4], struct buffer *out)
{
    static const char *const models[] = {"*.gguf", "*/config.json", "models/*.gguf",
                                         "models/*/config.json"};
    static const char *const sets[] = {"*.jsonl",    "*.jsonl.*",    "*.csv",
                                       "*.tsv",      "data/*.jsonl", "data/*.jsonl.*",
                                       "data/*.csv", "data/*.tsv"};
    struct buffer *model_path = &paths[0], *data = &paths[1];
    struct job job = {0};
    struct model *model = NULL;
    TRY(locate(arguments->model, "model", models, COUNT_OF(models), true, model_path, &paths[2]));
    TRY(locate(arguments->data, "data set", sets, COUNT_OF(sets), false, data, &paths[3]));
    TRY(model_open(model_path->data, &model));
    status s = model_config(model) != NULL ? job_initialize(&job) : model_check_weights(model);
    const bool pools = s == STATUS_OK && model_config(model)->pools;
    if (s == STATUS_OK) {
        s = append_model(out, model_path->data, model, &paths[2]);
    }
    if (s == STATUS_OK) {
        s = look_at_row(data->data, arena, row);
    }
    if (s == STATUS_OK) {
        s = append_data(out, data->data, row, !pools && model_chat_template(model) != NULL,
                        &paths[3]);
    }
    if (s == STATUS_OK && !pools) {
        s = append_generate(out, &job, model);
    }
    if (s == STATUS_OK) {
        s = append_output(out, data->data);
    }
    job_destroy(&job);
    model_close(model);
    return s;
}

static status write_file(const struct init_arguments *arguments, const struct buffer *text)
{
    const char *path = arguments->output;
    if (path == NULL) {
        fputs(text->data, stdout);
        return STATUS_OK;
    }
    int fd =
        open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (arguments->force ? O_TRUNC : O_EXCL), 0666);
    if (fd < 0) {
        return errno == EEXIST ? status_fail(STATUS_EXISTS, "%s exists; --force replaces it", path)
                               : status_fail_errno(STATUS_IO, "%s", path);
    }
    ssize_t written = write(fd, text->data, text->length);
    status s =
        written == (ssize_t)text->length ? STATUS_OK : status_fail_errno(STATUS_IO, "%s", path);
    if (close(fd) != 0 && s == STATUS_OK) {
        s = status_fail_errno(STATUS_IO, "%s", path);
    }
    return s;
}

int command_init(int argc, char **argv)
{
    struct init_arguments arguments = {0};
    int exit_status;
    if (!cli_parse(&argp, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    struct arena arena = {0};
    struct first_row row = {0};
    struct buffer paths[4] = {{0}}, text = {0};
    status s = compose(&arguments, &arena, &row, paths, &text);
    if (s == STATUS_OK) {
        s = write_file(&arguments, &text);
    }
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        buffer_destroy(&paths[i]);
    }
    buffer_destroy(&row.columns);
    buffer_destroy(&text);
    arena_destroy(&arena);
    if (s == STATUS_OK && row.is_bad) {
        log_write(LOG_WARNING, "%s", row.why);
    }
    if (s == STATUS_OK && arguments.output != NULL) {
        printf("%s is written; now: sluice check %s\n", arguments.output, arguments.output);
    }
    return s == STATUS_OK ? cli_finish_output(EXIT_DONE) : cli_fail(EXIT_FAILED);
}
