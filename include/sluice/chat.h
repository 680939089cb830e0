/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations into prompts: which of a model's chat templates, and what it is given. */
#ifndef SLUICE_CHAT_H
#define SLUICE_CHAT_H

#include "sluice/answer.h"
#include "sluice/base.h"
#include "sluice/json.h"

struct chat_cache;
struct model;
struct row;

/* Compiled templates that rows bring along, the latest used first, within a budget of memory. NULL:
 * out of memory. One thread at a time. */
struct chat_cache *chat_cache_create(void);
void chat_cache_destroy(struct chat_cache *cache);

struct chat_request {
    const struct json *messages;
    const struct json *tools;                 /* or NULL; an empty list is none */
    const struct json *documents, *variables; /* or NULL; variables: chat_template_kwargs */
    const struct json *reasoning_effort;      /* a string for the variable of that name, or NULL */
    /* Name of one of the model's templates, or the text of another; NULL: tool_use where there are
     * tools and the model has a template by that name, else default. */
    const char *template_;
    size_t template_length;
    bool add_generation_prompt;
    bool continue_final_message; /* the prompt ends with the last message's own text */
    int64_t now;                 /* for strftime_now, Unix seconds */
};

/* Appends the prompt. STATUS_UNSUPPORTED where the model has no template, STATUS_INVALID for what
 * is wrong with the request; chat_template_render says what else. */
status model_render_chat(const struct model *model, struct chat_cache *cache,
                         const struct chat_request *request, struct buffer *out) MUST_CHECK;

/* The same for a row whose prompt is messages, as its fields ask: what `run` gives the model and
 * `render` shows. */
status model_render_row(const struct model *model, struct chat_cache *cache, const struct row *row,
                        int64_t now, struct buffer *out) MUST_CHECK;

/* What rows that name no template are rendered with from now on: the model's template of that name,
 * or the one in a file; NULL: as if it had not been called. Part of model_text_digest. */
status model_use_template(struct model *model, const char *name_or_file) MUST_CHECK;

/* The names of the model's templates, "default, tool_use"; "" where it has none. */
const char *model_template_names(const struct model *model);
/* The form of tool calls that the template for rows with tools is written for; NULL: none that is
 * known. */
const struct tool_call_form *model_tool_call_form(const struct model *model);
/* Whether it has one by that name. */
bool model_has_template(const struct model *model, const char *name);

#endif
