/* SPDX-License-Identifier: Apache-2.0 */
/* Chat template and token strings, with the tokenizer: from tokenizer_config.json,
 * special_tokens_map.json and chat_template.jinja, or from GGUF metadata. */
#include "model/model_text.h"

#include <stdlib.h>
#include <string.h>

#include "model/model_tokenizer.h"
#include "sluice/json.h"

enum { CONFIG_LIMIT = 64 << 20, TEMPLATE_LIMIT = 16 << 20 };

/* As model_read_optional, parsed; *out is NULL where there is no file. */
static status read_json(const struct model *model, const char *name, struct arena *arena,
                        struct buffer *text, struct json **out)
{
    bool found;
    *out = NULL;
    TRY(model_read_optional(model, name, CONFIG_LIMIT, text, &found));
    return found ? status_context(json_parse(text->data, text->length, arena, out), "%s/%s",
                                  model->path, name)
                 : STATUS_OK;
}

/* A template that cannot be parsed is kept as a reason: prompts without it still work. */
static status set_template(struct model *model, const char *name, const char *text, size_t length)
{
    status s = chat_template_create(name, text, length, &model->template_);
    if (s != STATUS_INVALID && s != STATUS_UNSUPPORTED && s != STATUS_LIMIT) {
        return s;
    }
    model->template_ = NULL;
    model->template_status = s;
    model->template_problem = strdup(status_message());
    return model->template_problem == NULL ? status_fail(STATUS_NO_MEMORY, "out of memory")
                                           : STATUS_OK;
}

/* chat_template is a text, or a list of named ones of which "default" is meant. */
static const struct json *template_of(const struct json *config)
{
    const struct json *value = json_get(config, "chat_template");
    if (value == NULL || value->type == JSON_STRING) {
        return value;
    }
    for (size_t i = 0; value->type == JSON_ARRAY && i < value->length; i++) {
        const struct json *text = json_get(value->items[i], "template");
        if (json_is_string(json_get(value->items[i], "name"), "default") && text != NULL &&
            text->type == JSON_STRING) {
            return text;
        }
    }
    return NULL;
}

static status open_template(struct model *model, const struct json *config)
{
    struct buffer text = {0};
    bool found;
    status s = model_read_optional(model, "chat_template.jinja", TEMPLATE_LIMIT, &text, &found);
    if (s == STATUS_OK && found) {
        s = set_template(model, "chat_template.jinja", text.data, text.length);
    } else if (s == STATUS_OK) {
        const struct json *inside = template_of(config);
        if (inside != NULL) {
            s = set_template(model, "chat_template", inside->text, inside->length);
        }
    }
    buffer_destroy(&text);
    return s;
}

/* A token's string: a string, or an object with "content". */
static status read_token(struct model *model, const struct json *config, const struct json *map,
                         const char *key, const char **out)
{
    const struct json *const sources[] = {config, map};
    for (size_t i = 0; i < COUNT_OF(sources) && *out == NULL; i++) {
        const struct json *value = json_get(sources[i], key);
        if (value != NULL && value->type == JSON_OBJECT) {
            value = json_get(value, "content");
        }
        if (json_string(value) != NULL) {
            *out = arena_copy(&model->arena, value->text, value->length);
            if (*out == NULL) {
                return status_fail(STATUS_NO_MEMORY, "out of memory");
            }
        }
    }
    return STATUS_OK;
}

status model_text_open_directory(struct model *model)
{
    struct arena arena = {0};
    struct buffer config_text = {0}, map_text = {0};
    struct json *config, *map = NULL;
    status s = read_json(model, "tokenizer_config.json", &arena, &config_text, &config);
    if (s == STATUS_OK) {
        s = read_json(model, "special_tokens_map.json", &arena, &map_text, &map);
    }
    if (s == STATUS_OK) {
        s = model_tokenizer_open(model, &config_text);
    }
    if (s == STATUS_OK) {
        s = open_template(model, config);
    }
    const struct {
        const char *key, **slot;
    } tokens[] = {
        {"bos_token", &model->bos_text},
        {"eos_token", &model->eos_text},
        {"pad_token", &model->pad_text},
        {"unk_token", &model->unk_text},
    };
    for (size_t i = 0; s == STATUS_OK && i < COUNT_OF(tokens); i++) {
        s = read_token(model, config, map, tokens[i].key, tokens[i].slot);
    }
    model_tokenizer_fill_names(model);
    buffer_destroy(&map_text);
    buffer_destroy(&config_text);
    arena_destroy(&arena);
    return s;
}

status model_text_open_gguf(struct model *model)
{
    const struct gguf *gguf = &model->gguf;
    TRY(status_context(gguf_create_tokenizer(gguf, &model->tokenizer), "%s", model->path));
    const char *text = gguf_text(gguf, "tokenizer.chat_template");
    if (text != NULL) {
        TRY(set_template(model, "tokenizer.chat_template", text, strlen(text)));
    }
    const struct {
        const char *key, **slot;
    } tokens[] = {
        {"tokenizer.ggml.bos_token_id", &model->bos_text},
        {"tokenizer.ggml.eos_token_id", &model->eos_text},
        {"tokenizer.ggml.padding_token_id", &model->pad_text},
        {"tokenizer.ggml.unknown_token_id", &model->unk_text},
    };
    const struct gguf_value *vocabulary = gguf_find(gguf, "tokenizer.ggml.tokens");
    for (size_t i = 0; vocabulary != NULL && vocabulary->texts != NULL && i < COUNT_OF(tokens);
         i++) {
        int64_t id;
        /* A token may be any bytes; a template's variable is text. */
        if (gguf_integer(gguf, tokens[i].key, &id) && id >= 0 && (uint64_t)id < vocabulary->count &&
            utf8_valid(vocabulary->texts[id], strlen(vocabulary->texts[id]), NULL)) {
            *tokens[i].slot = vocabulary->texts[id]; /* the metadata's arena keeps it */
        }
    }
    return STATUS_OK;
}

status model_text_digest(const struct model *model, char sha256_hex[65])
{
    static const char *const names[] = {"tokenizer_config.json", "special_tokens_map.json",
                                        "chat_template.jinja", "generation_config.json"};
    if (model->is_gguf) {
        memcpy(sha256_hex, model->gguf.metadata_sha256, 65);
        return STATUS_OK;
    }
    struct sha256 *hash = sha256_create();
    struct buffer text = {0}, head = {0};
    status s = hash != NULL ? STATUS_OK : status_fail(STATUS_NO_MEMORY, "out of memory");
    if (s == STATUS_OK) {
        s = model_tokenizer_digest(model, hash);
    }
    for (size_t i = 0; s == STATUS_OK && i < COUNT_OF(names); i++) {
        bool found = false;
        buffer_clear(&text);
        buffer_clear(&head);
        s = model_read_optional(model, names[i], CONFIG_LIMIT, &text, &found);
        if (s == STATUS_OK && found) {
            s = buffer_format(&head, "%s %zu\n", names[i], text.length);
            sha256_update(hash, head.data, head.length);
            sha256_update(hash, text.data, text.length);
        }
    }
    if (hash != NULL) {
        sha256_finish(hash, sha256_hex);
    }
    buffer_destroy(&text);
    buffer_destroy(&head);
    return s;
}
