/* SPDX-License-Identifier: Apache-2.0 */
/* Chat templates and token strings, with the tokenizer: from tokenizer_config.json and
 * special_tokens_map.json, or from GGUF metadata. */
#include "model/text/model_text.h"

#include <stdlib.h>
#include <string.h>

#include "model/text/model_tokenizer.h"
#include "sluice/json.h"

enum { CONFIG_LIMIT = 64 << 20 };

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
        s = status_context(template_set_open_directory(&model->templates, model->path, config),
                           "%s", model->path);
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
    TRY(status_context(template_set_open_gguf(&model->templates, gguf), "%s", model->path));
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

/* Of its metadata, and of a template in a file of its own. */
static status digest_gguf(const struct model *model, char sha256_hex[65])
{
    const char *chosen = model->templates.chosen_sha256;
    struct sha256 *hash;
    memcpy(sha256_hex, model->gguf.metadata_sha256, 65);
    if (chosen[0] == '\0') {
        return STATUS_OK;
    }
    if ((hash = sha256_create()) == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory");
    }
    sha256_update(hash, sha256_hex, 64);
    sha256_update(hash, chosen, 64);
    sha256_finish(hash, sha256_hex);
    return STATUS_OK;
}

status model_text_digest(const struct model *model, char sha256_hex[65])
{
    static const char *const names[] = {"tokenizer_config.json", "special_tokens_map.json",
                                        "chat_template.jinja"};
    if (model->is_gguf) {
        return digest_gguf(model, sha256_hex);
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
    /* Of generation_config.json what is used: its sampling values are the job's to name. */
    for (int i = 0; s == STATUS_OK && i < model->config.end_count; i++) {
        buffer_clear(&head);
        s = buffer_format(&head, "end %d\n", model->config.ends[i]);
        sha256_update(hash, head.data, head.length);
    }
    s = s == STATUS_OK ? template_set_digest(model->path, hash) : s;
    if (s == STATUS_OK && model->templates.chosen_sha256[0] != '\0') {
        sha256_update(hash, model->templates.chosen_sha256, 64);
    }
    if (hash != NULL) {
        sha256_finish(hash, sha256_hex);
    }
    buffer_destroy(&text);
    buffer_destroy(&head);
    return s;
}
