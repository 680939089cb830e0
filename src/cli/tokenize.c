/* SPDX-License-Identifier: Apache-2.0 */
/* sluice tokenize: text to token ids and back. */
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/json_lines.h"
#include "sluice/model.h"

enum { OPTION_MODEL = 256, OPTION_SPECIAL, OPTION_DECODE };

struct tokenize_arguments {
    const char *model;
    bool special, decode;
};

static const struct argp_option options[] = {
    {"model", OPTION_MODEL, "PATH", 0,
     "model directory or .gguf file; a directory with only a tokenizer is enough", 0},
    {"special", OPTION_SPECIAL, NULL, 0,
     "add the special tokens that the model's prompts start or end with; with --decode: keep "
     "special tokens in the text",
     0},
    {"decode", OPTION_DECODE, NULL, 0, "token ids to text", 0},
    {0}};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct tokenize_arguments *arguments = state->input;
    switch (key) {
    case OPTION_MODEL:
        arguments->model = argument;
        return 0;
    case OPTION_SPECIAL:
        arguments->special = true;
        return 0;
    case OPTION_DECODE:
        arguments->decode = true;
        return 0;
    case ARGP_KEY_END:
        return cli_require("--model", arguments->model);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse_option,
    .doc = "Reads JSON lines {\"text\": …} and writes {\"ids\": […]} for each; with --decode the "
           "other "
           "way round.\vA bad line gives {\"error\": …} and exit status 1 at the end."};

struct tokenize {
    const struct tokenize_arguments *arguments;
    const struct tokenizer *tokenizer;
    struct tokenizer_scratch *scratch;
    struct token_list tokens;
    struct buffer text;
};

static status encode(void *context, const struct json *value, struct arena *arena,
                     struct buffer *out)
{
    (void)arena;
    struct tokenize *self = context;
    const struct json *text = json_get(value, "text");
    if (json_string(text) == NULL) {
        return status_fail(STATUS_INVALID, "expected {\"text\": \"…\"}");
    }
    self->tokens.count = 0;
    TRY(tokenizer_encode(self->tokenizer, self->scratch, text->text, text->length,
                         self->arguments->special, &self->tokens));
    TRY(buffer_append_text(out, "{\"ids\":["));
    for (size_t i = 0; i < self->tokens.count; i++) {
        TRY(buffer_format(out, "%s%d", i > 0 ? "," : "", self->tokens.ids[i]));
    }
    return buffer_append_text(out, "]}");
}

static status decode(void *context, const struct json *value, struct arena *arena,
                     struct buffer *out)
{
    struct tokenize *self = context;
    const struct json *list = json_get(value, "ids");
    if (list == NULL || list->type != JSON_ARRAY) {
        return status_fail(STATUS_INVALID, "expected {\"ids\": […]}");
    }
    int32_t *ids = arena_allocate_array(arena, list->length + 1, sizeof *ids);
    if (ids == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for token ids");
    }
    for (size_t i = 0; i < list->length; i++) {
        int64_t id;
        if (!json_int64(list->items[i], &id) || id < 0 || id > INT32_MAX) {
            return status_fail(STATUS_INVALID, "ids[%zu]: expected a token id", i);
        }
        ids[i] = (int32_t)id;
    }
    buffer_clear(&self->text);
    TRY(tokenizer_decode(self->tokenizer, ids, list->length, !self->arguments->special,
                         &self->text));
    TRY(buffer_append_text(out, "{\"text\":"));
    TRY(json_write_string(self->text.data != NULL ? self->text.data : "", self->text.length, out));
    return buffer_append_byte(out, '}');
}

static status tokenize_start(struct tokenize *self, const struct model *model)
{
    self->tokenizer = model_tokenizer(model);
    if (self->tokenizer == NULL) {
        return model_need_tokenizer(model);
    }
    self->scratch = tokenizer_scratch_create(self->tokenizer);
    return self->scratch != NULL ? STATUS_OK
                                 : status_fail(STATUS_NO_MEMORY, "out of memory for the tokenizer");
}

int command_tokenize(int argc, char **argv)
{
    struct tokenize_arguments arguments = {0};
    int exit_status;
    if (!cli_parse(&argp, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    struct tokenize self = {.arguments = &arguments};
    struct model *model = NULL;
    status s = model_open(arguments.model, &model);
    if (s == STATUS_OK) {
        s = tokenize_start(&self, model);
    }
    exit_status = s == STATUS_OK ? json_lines_run(arguments.decode ? decode : encode, &self)
                                 : cli_fail(EXIT_FAILED);
    tokenizer_scratch_destroy(self.scratch);
    token_list_destroy(&self.tokens);
    buffer_destroy(&self.text);
    model_close(model);
    return exit_status;
}
