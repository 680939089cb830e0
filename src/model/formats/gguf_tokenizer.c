/* SPDX-License-Identifier: Apache-2.0 */
/* The tokenizer that a GGUF file carries (tokenizer.ggml.*). */
#include "model/formats/gguf.h"

static int32_t token_id(const struct gguf *gguf, const char *key, size_t count)
{
    int64_t id;
    return gguf_integer(gguf, key, &id) && id >= 0 && (uint64_t)id < count ? (int32_t)id : -1;
}

static int flag(const struct gguf *gguf, const char *key)
{
    const struct gguf_value *value = gguf_find(gguf, key);
    return value == NULL || value->type != GGUF_BOOL ? -1 : value->integer != 0;
}

/* An array of `count` items of that type; NULL where the key is absent. */
static status read_array(const struct gguf *gguf, const char *key, enum gguf_type type,
                         enum gguf_type other, size_t count, const struct gguf_value **out)
{
    *out = gguf_find(gguf, key);
    if (*out == NULL) {
        return STATUS_OK;
    }
    if ((*out)->type != GGUF_ARRAY || ((*out)->item_type != type && (*out)->item_type != other) ||
        (*out)->count != count) {
        return status_fail(STATUS_INVALID, "%s: expected an array of %zu %s", key, count,
                           type == GGUF_FLOAT32 ? "float32" : "int32");
    }
    return STATUS_OK;
}

status gguf_create_tokenizer(const struct gguf *gguf, struct tokenizer **out)
{
    *out = NULL;
    const struct gguf_value *tokens = gguf_find(gguf, "tokenizer.ggml.tokens");
    if (tokens == NULL) {
        return STATUS_OK;
    }
    if (tokens->type != GGUF_ARRAY || tokens->texts == NULL || tokens->count > 1 << 24) {
        return status_fail(STATUS_INVALID, "tokenizer.ggml.tokens: expected an array of strings");
    }
    const struct gguf_value *scores, *types;
    TRY(read_array(gguf, "tokenizer.ggml.scores", GGUF_FLOAT32, GGUF_FLOAT32, tokens->count,
                   &scores));
    TRY(read_array(gguf, "tokenizer.ggml.token_type", GGUF_INT32, GGUF_UINT32, tokens->count,
                   &types));
    const struct gguf_value *merges = gguf_find(gguf, "tokenizer.ggml.merges");
    if (merges != NULL && (merges->type != GGUF_ARRAY || merges->texts == NULL)) {
        return status_fail(STATUS_INVALID, "tokenizer.ggml.merges: expected an array of strings");
    }
    struct gguf_vocabulary vocabulary = {
        .model = gguf_text(gguf, "tokenizer.ggml.model"),
        .pre = gguf_text(gguf, "tokenizer.ggml.pre"),
        .token_count = tokens->count,
        .tokens = tokens->texts,
        /* The arena aligns to 16 bytes, and the hosts that this runs on are little-endian. */
        .scores = scores == NULL ? NULL : scores->items,
        .types = types == NULL ? NULL : types->items,
        .merge_count = merges == NULL ? 0 : merges->count,
        .merges = merges == NULL ? NULL : merges->texts,
        .bos = token_id(gguf, "tokenizer.ggml.bos_token_id", tokens->count),
        .eos = token_id(gguf, "tokenizer.ggml.eos_token_id", tokens->count),
        .unknown = token_id(gguf, "tokenizer.ggml.unknown_token_id", tokens->count),
        .add_bos = flag(gguf, "tokenizer.ggml.add_bos_token"),
        .add_eos = flag(gguf, "tokenizer.ggml.add_eos_token"),
        .add_space_prefix = flag(gguf, "tokenizer.ggml.add_space_prefix"),
    };
    if (vocabulary.model == NULL) {
        return status_fail(STATUS_INVALID, "tokenizer.ggml.model: missing");
    }
    return tokenizer_create_from_gguf(&vocabulary, out);
}
