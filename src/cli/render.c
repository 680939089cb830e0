/* SPDX-License-Identifier: Apache-2.0 */
/* sluice render: messages to prompt text. */
#include <stdlib.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/json_lines.h"
#include "sluice/data.h"
#include "sluice/model.h"

enum {
    OPTION_MODEL = 256,
    OPTION_NO_GENERATION_PROMPT,
    OPTION_CHAT_TEMPLATE,
    OPTION_TEMPLATE_TIME
};

struct render_arguments {
    const char *model, *chat_template;
    int64_t template_time;
    bool no_generation_prompt;
};

static const struct argp_option options[] = {
    {"model", OPTION_MODEL, "PATH", 0,
     "model directory or .gguf file; a directory with only a tokenizer is enough", 0},
    {"no-generation-prompt", OPTION_NO_GENERATION_PROMPT, NULL, 0,
     "leave out what invites the model's answer", 0},
    {"chat-template", OPTION_CHAT_TEMPLATE, "NAME|FILE", 0,
     "as the job's key data.chat_template: one of the model's templates, or a file", 0},
    {"template-time", OPTION_TEMPLATE_TIME, "TIME", 0,
     "as data.template_time: what templates take for now, 2026-01-31T12:00:00Z", 0},
    {0}};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct render_arguments *arguments = state->input;
    switch (key) {
    case OPTION_MODEL:
        arguments->model = argument;
        return 0;
    case OPTION_NO_GENERATION_PROMPT:
        arguments->no_generation_prompt = true;
        return 0;
    case OPTION_CHAT_TEMPLATE:
        arguments->chat_template = argument;
        return 0;
    case OPTION_TEMPLATE_TIME:
        return cli_time("template-time", argument, &arguments->template_time);
    case ARGP_KEY_END:
        return cli_require("--model", arguments->model);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {.options = options,
                                 .parser = parse_option,
                                 .doc = "Reads JSON lines {\"messages\": […]}, also with tools, "
                                        "documents and chat_template_kwargs, "
                                        "and writes {\"text\": …} for each.\vA bad line gives "
                                        "{\"error\": …} and exit status 1 at the "
                                        "end."};

struct renderer {
    const struct render_arguments *arguments;
    const struct model *model;
    struct chat_cache *templates;
    int64_t now;
    struct buffer text;
};

static status render_line(void *context, const struct json *value, struct arena *arena,
                          struct buffer *out)
{
    static const struct row_format format = {.chat = CHAT_AUTO};
    static const struct json no_prompt = {.type = JSON_BOOLEAN};
    struct renderer *self = context;
    struct generate_params defaults;
    struct row row;
    generate_params_defaults(&defaults);
    TRY(row_parse_json(value, &format, &defaults, arena, &row));
    if (row.kind != PROMPT_MESSAGES) {
        return status_fail(STATUS_INVALID, "expected {\"messages\": […]}");
    }
    if (self->arguments->no_generation_prompt && row.add_generation_prompt == NULL) {
        row.add_generation_prompt = &no_prompt;
    }
    buffer_clear(&self->text);
    TRY(model_render_row(self->model, self->templates, &row, self->now, &self->text));
    TRY(buffer_append_text(out, "{\"text\":"));
    TRY(json_write_string(self->text.data != NULL ? self->text.data : "", self->text.length, out));
    return buffer_append_byte(out, '}');
}

int command_render(int argc, char **argv)
{
    struct render_arguments arguments = {.template_time = (int64_t)time(NULL)};
    int exit_status;
    if (!cli_parse(&argp, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    struct model *model = NULL;
    status s = model_open(arguments.model, &model);
    s = s != STATUS_OK ? s : model_use_template(model, arguments.chat_template);
    struct renderer self = {.arguments = &arguments,
                            .model = model,
                            .templates = chat_cache_create(),
                            .now = arguments.template_time};
    if (s == STATUS_OK && self.templates == NULL) {
        s = status_fail(STATUS_NO_MEMORY, "out of memory for chat templates");
    }
    exit_status = s == STATUS_OK ? json_lines_run(render_line, &self) : cli_fail(EXIT_FAILED);
    buffer_destroy(&self.text);
    chat_cache_destroy(self.templates);
    model_close(model);
    return exit_status;
}
