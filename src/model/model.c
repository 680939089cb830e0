/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a model: a directory or a GGUF file to facts, tensor places, tokenizer and template. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model/embedding.h"
#include "model/formats/safetensors.h"
#include "model/head/head.h"
#include "model/load/names.h"
#include "model/read/config.h"
#include "model/read/model_files.h"
#include "model/read/packed.h"
#include "model/read/sampling_defaults.h"
#include "model/text/model_text.h"

enum { CONFIG_LIMIT = 64 << 20 };

/* ---- config.json ---- */

status model_read_json(const char *path, struct arena *arena, char sha256[65], struct json **out)
{
    struct buffer text = {0};
    *out = NULL;
    status s = file_read(path, CONFIG_LIMIT, &text);
    if (s == STATUS_OK) {
        s = model_file_check(path, text.data, text.length);
    }
    if (s == STATUS_OK) {
        s = status_context(json_parse(text.data, text.length, arena, out), "%s", path);
        struct sha256 *hash = s == STATUS_OK && sha256 != NULL ? sha256_create() : NULL;
        if (hash != NULL) {
            sha256_update(hash, text.data, text.length);
            sha256_finish(hash, sha256);
        } else if (s == STATUS_OK && sha256 != NULL) {
            s = status_fail(STATUS_NO_MEMORY, "%s: out of memory", path);
        }
    } else if (s == STATUS_NOT_FOUND) {
        s = STATUS_OK;
    }
    buffer_destroy(&text);
    return s;
}

/* ModelOpt's first checkpoints say in a file of its own how they are quantised. */
static status read_hf_quant_config(struct model *model, const char *directory, struct arena *arena)
{
    static const char name[] = "hf_quant_config.json";
    struct buffer path = {0};
    struct json *root = NULL;
    status s = path_join(directory, name, &path);
    if (s == STATUS_OK) {
        s = model_read_json(path.data, arena, NULL, &root);
    }
    const struct json *object = root == NULL ? NULL : json_get(root, "quantization");
    if (s == STATUS_OK && object != NULL) {
        s = status_context(config_read_quantization("quantization", object, &model->config), "%s",
                           path.data);
    }
    buffer_destroy(&path);
    return s;
}

/* `directory` is NULL for a config.json that was named itself. */
static status open_config(struct model *model, const char *path, const char *directory)
{
    struct arena arena = {0};
    struct buffer generation_path = {0};
    struct json *root = NULL, *generation = NULL;
    status s = model_read_json(path, &arena, model->config_sha256, &root);
    if (s == STATUS_OK && root != NULL && directory != NULL) {
        s = path_join(directory, "generation_config.json", &generation_path);
        if (s == STATUS_OK) {
            s = model_read_json(generation_path.data, &arena, NULL, &generation);
        }
    }
    if (s == STATUS_OK && root != NULL) {
        s = status_context(config_from_json(root, generation, &model->arena, &model->config), "%s",
                           path);
        if (s == STATUS_OK) {
            s = sampling_defaults_read(model, generation);
        }
        if (s == STATUS_OK && directory != NULL && model->config.published == WEIGHT_FLOAT32) {
            s = read_hf_quant_config(model, directory, &arena);
        }
        model->has_config = s == STATUS_OK;
    }
    buffer_destroy(&generation_path);
    arena_destroy(&arena);
    return s;
}

/* ---- Opening ---- */

/* The type that the checkpoint's matrices are stored in, where they say more than config.json. */
static void set_stored_dtype(struct model *model)
{
    struct weight_part table = {.role = ROLE_Q,
                                .rows = model->config.heads * model->config.head_dim,
                                .columns = model->config.hidden};
    struct tensor_source source;
    if (weight_source_find(model, &table, false, 0, 0, 1, &source) != STATUS_OK) {
        return;
    }
    const enum weight_format format = source.values->format;
    const enum weight_scales scales = weight_format_facts(format)->scales;
    if (scales != SCALES_BESIDE && scales != SCALES_BESIDE_OR_ONE) {
        model->config.dtype = weight_format_expanded(format);
    }
}

/* The tokenizer's eos_token ends an answer as well: models that were tuned to a chat format often
 * keep the generation_config.json of what they were tuned from. */
static status add_tokenizer_end(struct model *model)
{
    if (!model->has_config || model->config.pools || model->tokenizer == NULL ||
        model->eos_text == NULL) {
        return STATUS_OK;
    }
    int32_t id = tokenizer_token_id(model->tokenizer, model->eos_text);
    return id >= 0
               ? status_context(config_add_end(&model->config, id), "%s: eos_token", model->path)
               : STATUS_OK;
}

static status open_directory(struct model *model)
{
    struct buffer path = {0};
    status s = path_join(model->path, "config.json", &path);
    if (s == STATUS_OK) {
        s = open_config(model, path.data, model->path);
    }
    buffer_destroy(&path);
    TRY(s);
    if (model->has_config) {
        bool found;
        TRY(safetensors_open_directory(&model->tensors, model->path, &found));
        TRY(tensor_table_finish(&model->tensors));
        TRY(packed_weights_find(&model->tensors, &model->config.packing));
    }
    TRY(model_text_open_directory(model));
    TRY(add_tokenizer_end(model));
    if (model->has_config) {
        TRY(embedding_open(model));
    }
    if (!model->has_config && model->tokenizer == NULL) {
        return model->tokenizer_file_there
                   ? status_fail(STATUS_INVALID, "%s", model->tokenizer_problem)
                   : status_fail(STATUS_NOT_FOUND,
                                 "%s: neither config.json nor tokenizer.json is there",
                                 model->path);
    }
    return STATUS_OK;
}

static status open_gguf(struct model *model)
{
    model->is_gguf = true;
    TRY(gguf_open(&model->tensors, model->path, &model->gguf));
    TRY(tensor_table_finish(&model->tensors));
    TRY(status_context(
        gguf_read_config(&model->gguf, &model->tensors, &model->arena, &model->config), "%s",
        model->path));
    memcpy(model->config_sha256, model->gguf.metadata_sha256, sizeof model->config_sha256);
    model->has_config = true;
    TRY(sampling_defaults_read_gguf(model));
    TRY(model_text_open_gguf(model));
    return add_tokenizer_end(model);
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

static status open_path(struct model *model)
{
    struct stat info;
    if (stat(model->path, &info) != 0) {
        return status_fail_errno(STATUS_NOT_FOUND, "%s", model->path);
    }
    if (S_ISDIR(info.st_mode)) {
        return open_directory(model);
    }
    return ends_with(model->path, ".json") ? open_config(model, model->path, NULL)
                                           : open_gguf(model);
}

status model_open(const char *path, struct model **out)
{
    *out = NULL;
    struct buffer place = {0};
    status s = model_locate(path, &place);
    struct model *model = s == STATUS_OK ? calloc(1, sizeof *model) : NULL;
    if (s != STATUS_OK || model == NULL) {
        buffer_destroy(&place);
        return s != STATUS_OK ? s : status_fail(STATUS_NO_MEMORY, "%s: out of memory", path);
    }
    model->path = place.data;
    s = open_path(model);
    if (s == STATUS_OK && model->has_config) {
        model->family = family_by_name(model->config.family);
        model->tensor_prefix = tensor_prefix_detect(&model->tensors, model->family);
        set_stored_dtype(model);
        model->config.abilities = head_abilities(model);
    }
    if (s != STATUS_OK) {
        model_close(model);
        return s;
    }
    *out = model;
    return STATUS_OK;
}

void model_close(struct model *model)
{
    if (model == NULL) {
        return;
    }
    if (model->tokenizer != NULL) {
        tokenizer_destroy(model->tokenizer);
    }
    free(model->tokenizer_problem);
    template_set_destroy(&model->templates);
    gguf_destroy(&model->gguf);
    tensor_table_destroy(&model->tensors);
    arena_destroy(&model->arena);
    free(model->path);
    free(model);
}

/* ---- What is known ---- */

const struct model_config *model_config(const struct model *model)
{
    return model->has_config ? &model->config : NULL;
}

const struct tokenizer *model_tokenizer(const struct model *model)
{
    return model->tokenizer;
}

const char *model_bos_text(const struct model *model)
{
    return model->bos_text;
}

const char *model_eos_text(const struct model *model)
{
    return model->eos_text;
}

const char *model_pad_text(const struct model *model)
{
    return model->pad_text;
}

const char *model_unk_text(const struct model *model)
{
    return model->unk_text;
}

/* Adds samples of a tensor's bytes, evenly spaced with its first and its last among them. Training
 * changes a little of everything, so that they tell models of the same shapes apart; reading all of
 * the weights to tell them from each other would take longer than many a job. */
static status sample_weights(const struct tensor_table *table, const struct tensor *tensor,
                             struct sha256 *hash)
{
    enum { SAMPLES = 4, SAMPLE_BYTES = 1024 };
    const bool whole = tensor->bytes <= SAMPLES * SAMPLE_BYTES;
    uint8_t bytes[SAMPLES * SAMPLE_BYTES];
    const size_t length = whole ? (size_t)tensor->bytes : SAMPLE_BYTES;
    TRY(interrupt_check());
    for (uint64_t i = 0; i < (whole ? 1 : SAMPLES); i++) {
        const uint64_t at = (tensor->bytes - length) * i / (SAMPLES - 1);
        TRY(tensor_file_read(&table->files[tensor->file], tensor->offset + at, bytes, length));
        sha256_update(hash, bytes, length);
    }
    return STATUS_OK;
}

/* Of the weights: a line for each file, "index bytes", then one for each tensor, sorted by name:
 * "name type [ shape ] file offset bytes", with samples of what stands there. */
status model_digest(struct model *model, char config_sha256[65], char weights_sha256[65])
{
    if (!model->has_config) {
        return status_fail(STATUS_NOT_FOUND, "%s: there is no config.json", model->path);
    }
    memcpy(config_sha256, model->config_sha256, 65);
    struct sha256 *hash = sha256_create();
    if (hash == NULL) {
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory", model->path);
    }
    const struct tensor_table *table = &model->tensors;
    struct buffer line = {0};
    status s = STATUS_OK;
    for (size_t i = 0; s == STATUS_OK && i < table->file_count; i++) {
        buffer_clear(&line);
        s = buffer_format(&line, "%zu %llu\n", i, (unsigned long long)table->files[i].size);
        sha256_update(hash, line.data, line.length);
    }
    for (size_t i = 0; s == STATUS_OK && i < table->count; i++) {
        const struct tensor *tensor = &table->items[i];
        buffer_clear(&line);
        s = buffer_format(&line, "%s %s [", tensor->name, tensor->type_name);
        for (int j = 0; s == STATUS_OK && j < tensor->rank; j++) {
            s = buffer_format(&line, " %lld", (long long)tensor->shape[j]);
        }
        if (s == STATUS_OK) {
            s = buffer_format(&line, " ] %d %llu %llu\n", tensor->file,
                              (unsigned long long)tensor->offset,
                              (unsigned long long)tensor->bytes);
        }
        sha256_update(hash, line.data, line.length);
        if (s == STATUS_OK) {
            s = sample_weights(table, tensor, hash);
        }
    }
    sha256_finish(hash, weights_sha256);
    buffer_destroy(&line);
    return s;
}
