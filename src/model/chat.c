/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations into prompts: the template that a row wants, compiled once, and what it is given.
 */
#include "sluice/chat.h"

#include <stdlib.h>
#include <string.h>

#include "model/model_internal.h"
#include "sluice/data.h"
#include "sluice/task.h"

/* ---- Templates that rows bring along ---- */

enum { CACHE_ENTRIES = 32, CACHE_BYTES = 64 << 20 };

struct cached {
    struct chat_template *template_; /* NULL: a free place */
    char *text;
    size_t length, bytes; /* of the text; of all of it */
    uint64_t used;        /* when, by the cache's count */
};

struct chat_cache {
    struct cached entries[CACHE_ENTRIES];
    size_t bytes;
    uint64_t count;
};

struct chat_cache *chat_cache_create(void)
{
    return calloc(1, sizeof(struct chat_cache));
}

static void forget(struct chat_cache *cache, struct cached *entry)
{
    cache->bytes -= entry->bytes;
    chat_template_destroy(entry->template_);
    free(entry->text);
    *entry = (struct cached){0};
}

void chat_cache_destroy(struct chat_cache *cache)
{
    for (size_t i = 0; cache != NULL && i < CACHE_ENTRIES; i++) {
        forget(cache, &cache->entries[i]);
    }
    free(cache);
}

/* The template that was used the longest ago among those in use, or NULL. */
static struct cached *oldest(struct chat_cache *cache)
{
    struct cached *found = NULL;
    for (size_t i = 0; i < CACHE_ENTRIES; i++) {
        struct cached *entry = &cache->entries[i];
        if (entry->template_ != NULL && (found == NULL || entry->used < found->used)) {
            found = entry;
        }
    }
    return found;
}

static struct cached *free_place(struct chat_cache *cache)
{
    for (size_t i = 0; i < CACHE_ENTRIES; i++) {
        if (cache->entries[i].template_ == NULL) {
            return &cache->entries[i];
        }
    }
    return NULL;
}

/* Lets go of templates until there are a place and room for so many bytes, or nothing is left. */
static struct cached *make_room(struct chat_cache *cache, size_t bytes)
{
    struct cached *place = free_place(cache), *old = oldest(cache);
    while (old != NULL && (place == NULL || cache->bytes + bytes > CACHE_BYTES)) {
        forget(cache, old);
        place = free_place(cache);
        old = oldest(cache);
    }
    return place;
}

static status compile(struct chat_cache *cache, const char *text, size_t length,
                      const struct chat_template **out)
{
    struct chat_template *template_;
    TRY(chat_template_create("chat_template", text, length, &template_));
    size_t bytes = chat_template_bytes(template_) + length;
    struct cached *place = make_room(cache, bytes);
    char *copy = malloc(length + 1);
    if (copy == NULL) {
        chat_template_destroy(template_);
        return status_fail(STATUS_NO_MEMORY, "out of memory for a chat template");
    }
    memcpy(copy, text, length);
    *place = (struct cached){template_, copy, length, bytes, ++cache->count};
    cache->bytes += bytes;
    *out = template_;
    return STATUS_OK;
}

static status find_compiled(struct chat_cache *cache, const char *text, size_t length,
                            const struct chat_template **out)
{
    for (size_t i = 0; i < CACHE_ENTRIES; i++) {
        struct cached *entry = &cache->entries[i];
        if (entry->template_ != NULL && entry->length == length &&
            memcmp(entry->text, text, length) == 0) {
            entry->used = ++cache->count;
            *out = entry->template_;
            return STATUS_OK;
        }
    }
    return compile(cache, text, length, out);
}

/* ---- The model's templates ---- */

const char *model_template_names(const struct model *model)
{
    return model->templates.names != NULL ? model->templates.names : "";
}

bool model_has_template(const struct model *model, const char *name)
{
    return template_set_find(&model->templates, name, strlen(name)) != NULL;
}

const struct chat_template *model_chat_template(const struct model *model)
{
    const struct named_template *found = template_set_find(&model->templates, "default", 7);
    return found != NULL ? found->template_ : NULL;
}

status model_use_template(struct model *model, const char *name_or_file)
{
    return name_or_file == NULL
               ? STATUS_OK
               : status_context(template_set_choose(&model->templates, name_or_file),
                                "data.chat_template");
}

static bool has_tools(const struct chat_request *request)
{
    return request->tools != NULL && request->tools->length > 0;
}

/* A text with anything of Jinja in it. */
static bool looks_like_template(const char *text, size_t length)
{
    for (size_t i = 0; i + 1 < length; i++) {
        if (text[i] == '{' && (text[i + 1] == '{' || text[i + 1] == '%' || text[i + 1] == '#')) {
            return true;
        }
    }
    return false;
}

static status fail_unknown(const struct model *model, const struct chat_request *request)
{
    const char *names = model_template_names(model);
    return status_fail(STATUS_INVALID,
                       "chat_template: \"%.*s\" is neither a template nor the name of one; the "
                       "model has %s",
                       request->template_length < 60 ? (int)request->template_length : 60,
                       request->template_, names[0] != '\0' ? names : "none");
}

static status fail_none(const struct model *model)
{
    const char *names = model_template_names(model);
    return names[0] != '\0'
               ? status_fail(STATUS_UNSUPPORTED,
                             "%s: none of the chat templates is called default; name one of %s as "
                             "chat_template",
                             model->path, names)
               : status_fail(STATUS_UNSUPPORTED,
                             "%s: the model has no chat template; give prompts as text, or add "
                             "chat_template.jinja",
                             model->path);
}

static status use_named(const struct model *model, const struct named_template *named,
                        const struct chat_template **out)
{
    *out = named->template_;
    return named->template_ != NULL
               ? STATUS_OK
               : status_fail(named->status, "%s: %s", model->path, named->problem);
}

static status choose(const struct model *model, struct chat_cache *cache,
                     const struct chat_request *request, const struct chat_template **out)
{
    const struct template_set *set = &model->templates;
    const struct named_template *named = NULL;
    if (request->template_ != NULL) {
        named = template_set_find(set, request->template_, request->template_length);
        if (named == NULL && cache != NULL &&
            looks_like_template(request->template_, request->template_length)) {
            return find_compiled(cache, request->template_, request->template_length, out);
        }
        return named != NULL ? use_named(model, named, out) : fail_unknown(model, request);
    }
    if (set->chosen != NULL) {
        return use_named(model, template_set_find(set, set->chosen, strlen(set->chosen)), out);
    }
    named = has_tools(request) ? template_set_find(set, "tool_use", strlen("tool_use")) : NULL;
    named = named != NULL ? named : template_set_find(set, "default", strlen("default"));
    return named != NULL ? use_named(model, named, out) : fail_none(model);
}

const struct tool_call_form *model_tool_call_form(const struct model *model)
{
    const struct template_set *set = &model->templates;
    const char *const names[] = {set->chosen, "tool_use", "default"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const struct named_template *named =
            names[i] != NULL ? template_set_find(set, names[i], strlen(names[i])) : NULL;
        if (named != NULL) {
            return named->calls;
        }
    }
    return NULL;
}

/* ---- Rendering ---- */

status model_render_chat(const struct model *model, struct chat_cache *cache,
                         const struct chat_request *request, struct buffer *out)
{
    const struct chat_template *template_;
    if (request->continue_final_message && request->add_generation_prompt) {
        return status_fail(STATUS_INVALID,
                           "add_generation_prompt: the prompt cannot both end with the last "
                           "message and begin another; one of it and continue_final_message");
    }
    TRY(choose(model, cache, request, &template_));
    struct chat_variables variables = {
        .messages = request->messages,
        .tools = has_tools(request) ? request->tools : NULL,
        .documents = request->documents,
        .extra = request->variables,
        .reasoning_effort = json_string(request->reasoning_effort),
        .bos_token = model->bos_text,
        .eos_token = model->eos_text,
        .pad_token = model->pad_text,
        .unk_token = model->unk_text,
        .add_generation_prompt = request->add_generation_prompt,
        .continue_final_message = request->continue_final_message,
        .now = request->now,
    };
    return chat_template_render(template_, &variables, out);
}

/* Whether the prompt ends with an invitation to answer. A conversation that is scored whole, or
 * classified, has its last answer already; one that is continued begins it. */
static bool invites_answer(const struct row *row)
{
    const struct generate_params *params = &row->params;
    bool is_whole = task_facts(params->task)->takes_completion && row->completion == NULL &&
                    row->completion_tokens == NULL;
    is_whole = is_whole || task_facts(params->task)->work == WORK_POOL;
    bool invites = !is_whole && !params->continue_final_message;
    (void)json_bool(row->add_generation_prompt, &invites);
    return invites;
}

status model_render_row(const struct model *model, struct chat_cache *cache, const struct row *row,
                        int64_t now, struct buffer *out)
{
    const struct json *own = row->template_;
    const struct chat_request request = {
        .messages = row->messages,
        .tools = row->tools,
        .documents = row->documents,
        .variables = row->template_variables,
        .reasoning_effort = row->reasoning_effort,
        .template_ = json_string(own),
        .template_length = own != NULL ? own->length : 0,
        .add_generation_prompt = invites_answer(row),
        .continue_final_message = row->params.continue_final_message,
        .now = now,
    };
    return model_render_chat(model, cache, &request, out);
}
