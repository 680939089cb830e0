/* SPDX-License-Identifier: Apache-2.0 */
/* A tokenizer from the vocabulary of a GGUF file: byte-level BPE ("gpt2") whose pre-tokenizer the
 * file only names, or SentencePiece's BPE by score ("llama"). */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer/internal.h"
#include "text/tokenizer/patterns.h"

enum gguf_token_type { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER_DEFINED };

/* ---- Pre-tokenizers by name ---- */

/* Splits, one behind the other, each isolating what it matches. */
static const struct pre_facts {
    const char *names; /* of tokenizer.ggml.pre, in spaces */
    const char *patterns[4];
    bool ignore_merges, add_bos, compose; /* compose: NFC comes first */
} pre_facts[] = {
    {" gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de jina-v2-code gigachat roberta-bpe mpt "
     "olmo jais trillion ",
     {PATTERN_GPT2},
     false,
     false,
     false},
    {" smollm starcoder refact command-r codeshell exaone minerva-7b ",
     {"\\p{N}", PATTERN_GPT2},
     false,
     false,
     false},
    {" llama-bpe llama3 llama-v3 falcon3 pixtral lfm2 ", {PATTERN_LLAMA3}, true, true, false},
    {" chatglm-bpe glm4 ", {PATTERN_LLAMA3}, false, false, false},
    {" qwen2 deepseek-r1-qwen megrez ", {PATTERN_QWEN2}, false, false, true},
    {" stablelm2 hunyuan ", {PATTERN_QWEN2}, false, false, false},
    {" gpt-4o ", {PATTERN_GPT4O}, false, false, false},
    {" tekken ",
     {"[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER
      "*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES},
     true,
     true,
     false},
    {" deepseek-v3 hunyuan-dense ",
     {"\\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?"
      "[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACES},
     false,
     false,
     false},
    {" deepseek-coder ",
     {"[\\r\\n]|\\s?\\p{L}+", "\\s?\\p{P}+", "[一-龥ࠀ-一가-퟿]+", "\\p{N}"},
     false,
     false,
     false},
    {" falcon ", {"[\\p{P}$+<=>^~|`]+", PATTERN_GPT2, "[0-9][0-9][0-9]"}, false, false, false},
    {" default ",
     {"[\\p{P}$+<=>^~|]+", PATTERN_GPT2, "\\p{N}+", "[0-9][0-9][0-9]"},
     false,
     false,
     false},
};

static status find_facts(const char *name, const struct pre_facts **out)
{
    name = name != NULL ? name : "default";
    size_t length = strlen(name);
    for (size_t i = 0; i < COUNT_OF(pre_facts); i++) {
        const char *names = pre_facts[i].names;
        for (const char *at = strstr(names, name); at != NULL && length > 0;
             at = strstr(at + 1, name)) {
            if (at > names && at[-1] == ' ' && at[length] == ' ') {
                *out = &pre_facts[i];
                return STATUS_OK;
            }
        }
    }
    char list[512] = "";
    for (size_t i = 0, used = 0; i < COUNT_OF(pre_facts); i++) {
        size_t size = strlen(pre_facts[i].names) - 1; /* without the space at the end */
        if (used + size < sizeof list) {
            memcpy(list + used, pre_facts[i].names, size);
            used += size;
            list[used] = '\0';
        }
    }
    return status_fail(STATUS_UNSUPPORTED,
                       "tokenizer.ggml.pre: unknown pre-tokenizer \"%.60s\" (supported:%s)", name,
                       list);
}

/* ---- Parts that both models have ---- */

static status load_tokens(struct tokenizer *tokenizer, const struct gguf_vocabulary *vocabulary)
{
    for (size_t i = 0; i < vocabulary->token_count; i++) {
        const char *text = vocabulary->tokens[i];
        size_t length = strlen(text), bad_offset;
        if (!utf8_valid(text, length, &bad_offset)) {
            return status_fail(STATUS_INVALID, "tokenizer.ggml.tokens[%zu]: not valid UTF-8", i);
        }
        TRY(token_table_add(&tokenizer->vocabulary, text, length, (int64_t)i));
    }
    tokenizer->model_size = tokenizer->vocabulary.id_count;
    return STATUS_OK;
}

static int32_t type_of(const struct gguf_vocabulary *vocabulary, size_t id)
{
    return vocabulary->types != NULL ? vocabulary->types[id] : TYPE_NORMAL;
}

static status load_special_tokens(struct tokenizer *tokenizer,
                                  const struct gguf_vocabulary *vocabulary)
{
    added_vocabulary_begin(tokenizer);
    for (size_t i = 0; i < vocabulary->token_count; i++) {
        int32_t type = type_of(vocabulary, i);
        bool special = type == TYPE_CONTROL || type == TYPE_UNKNOWN;
        if (special || type == TYPE_USER_DEFINED) {
            TRY(added_vocabulary_add(tokenizer,
                                     (struct added_token){.content = vocabulary->tokens[i],
                                                          .length = strlen(vocabulary->tokens[i]),
                                                          .special = special}));
        }
    }
    return STATUS_OK;
}

static status add_template_token(struct tokenizer *tokenizer, struct template_items *items,
                                 int32_t id)
{
    int32_t *ids = arena_allocate(&tokenizer->arena, sizeof *ids);
    if (ids == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a template");
    }
    *ids = id;
    items->items[items->count++] = (struct template_item){.ids = ids, .id_count = 1};
    return STATUS_OK;
}

static status load_template(struct tokenizer *tokenizer, const struct gguf_vocabulary *vocabulary,
                            bool add_bos_unless_said)
{
    bool add_bos = vocabulary->add_bos >= 0 ? vocabulary->add_bos != 0 : add_bos_unless_said;
    bool add_eos = vocabulary->add_eos > 0;
    const struct {
        const char *name;
        bool wanted;
        int32_t id;
    } ends[] = {{"bos", add_bos, vocabulary->bos}, {"eos", add_eos, vocabulary->eos}};
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        if (ends[i].wanted && (ends[i].id < 0 || (size_t)ends[i].id >= vocabulary->token_count)) {
            return status_fail(STATUS_INVALID, "tokenizer.ggml.%s_token_id: not in the vocabulary",
                               ends[i].name);
        }
    }
    struct post_processor *post;
    TRY(tokenizer_add_post_processor(tokenizer, &post));
    post->kind = POST_TEMPLATE;
    post->single.items = arena_allocate_array(&tokenizer->arena, 3, sizeof *post->single.items);
    if (post->single.items == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a template");
    }
    if (add_bos) {
        TRY(add_template_token(tokenizer, &post->single, vocabulary->bos));
    }
    post->single.items[post->single.count++] = (struct template_item){.is_sequence = true};
    return add_eos ? add_template_token(tokenizer, &post->single, vocabulary->eos) : STATUS_OK;
}

/* ---- Byte-level BPE ---- */

static status load_merges(struct tokenizer *tokenizer, const struct gguf_vocabulary *vocabulary)
{
    struct buffer joined = {0};
    status s = STATUS_OK;
    for (size_t i = 0; i < vocabulary->merge_count && s == STATUS_OK; i++) {
        const char *merge = vocabulary->merges[i];
        const char *space = merge[0] != '\0' ? strchr(merge + 1, ' ') : NULL;
        if (space == NULL) {
            s = status_fail(STATUS_INVALID, "expected two tokens");
        } else {
            struct bpe_merge_parts parts = {merge, space + 1, (size_t)(space - merge),
                                            strlen(space + 1)};
            s = bpe_add_merge_of(&tokenizer->bpe, &tokenizer->vocabulary, &parts, (uint32_t)i,
                                 &joined);
        }
        s = status_context(s, "tokenizer.ggml.merges[%zu]", i);
    }
    buffer_destroy(&joined);
    return s;
}

static status load_gpt2(struct tokenizer *tokenizer, const struct gguf_vocabulary *vocabulary)
{
    const struct pre_facts *facts;
    TRY(find_facts(vocabulary->pre, &facts));
    if (vocabulary->merge_count == 0 || vocabulary->merge_count >= UINT32_MAX) {
        return status_fail(STATUS_INVALID, "tokenizer.ggml.merges: none, or too many");
    }
    tokenizer->bpe.ignore_merges = facts->ignore_merges;
    tokenizer->bpe.unknown = NO_TOKEN;
    TRY(load_merges(tokenizer, vocabulary));
    TRY(bpe_finish(&tokenizer->bpe, &tokenizer->vocabulary));
    if (facts->compose) {
        struct normalizer *normalizer;
        TRY(tokenizer_add_normalizer(tokenizer, &normalizer));
        normalizer->kind = NORMALIZER_FORM;
        normalizer->compose = true;
    }
    for (size_t i = 0; i < COUNT_OF(facts->patterns) && facts->patterns[i] != NULL; i++) {
        TRY(tokenizer_add_split(tokenizer, facts->patterns[i]));
    }
    struct pre_tokenizer *byte_level;
    TRY(tokenizer_add_pre_tokenizer(tokenizer, &byte_level));
    TRY(pre_tokenizer_make_byte_level(byte_level, vocabulary->add_space_prefix > 0, false,
                                      &tokenizer->arena));
    struct decoder *decoder;
    TRY(tokenizer_add_decoder_of(tokenizer, DECODER_BYTE_LEVEL, &decoder));
    return load_template(tokenizer, vocabulary, facts->add_bos);
}

/* ---- SentencePiece BPE ---- */

/* Tokens that text can be made of merge, others do not. */
static status make_merges(struct tokenizer *tokenizer, const struct gguf_vocabulary *vocabulary)
{
    struct scored_token *tokens = calloc(vocabulary->token_count + 1, sizeof *tokens);
    if (tokens == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for scores");
    }
    size_t count = 0;
    for (size_t i = 0; i < vocabulary->token_count; i++) {
        const char *text = vocabulary->tokens[i];
        if (text[0] != '\0' && type_of(vocabulary, i) == TYPE_NORMAL &&
            token_table_find(&tokenizer->vocabulary, text, strlen(text)) == (int32_t)i) {
            tokens[count++] = (struct scored_token){(double)vocabulary->scores[i], (int32_t)i};
        }
    }
    status s = bpe_add_scored_merges(&tokenizer->bpe, &tokenizer->vocabulary, tokens, count);
    free(tokens);
    return s;
}

static status load_space_rules(struct tokenizer *tokenizer, bool add_space_prefix)
{
    static const char space[] = "\xE2\x96\x81";
    struct normalizer *normalizer;
    if (add_space_prefix) {
        TRY(tokenizer_add_normalizer(tokenizer, &normalizer));
        normalizer->kind = NORMALIZER_PREPEND;
        normalizer->content = space;
        normalizer->content_length = strlen(space);
    }
    TRY(tokenizer_add_normalizer(tokenizer, &normalizer));
    normalizer->kind = NORMALIZER_REPLACE;
    normalizer->content = space;
    normalizer->content_length = strlen(space);
    TRY(text_pattern_create(&normalizer->pattern, " ", 1, false, &tokenizer->arena));
    return tokenizer_add_space_decoders(tokenizer, add_space_prefix);
}

static status load_llama(struct tokenizer *tokenizer, const struct gguf_vocabulary *vocabulary)
{
    if (vocabulary->scores == NULL) {
        return status_fail(STATUS_INVALID, "tokenizer.ggml.scores: missing");
    }
    struct bpe_model *bpe = &tokenizer->bpe;
    bpe->byte_fallback = bpe->fuse_unknown = true;
    bpe->has_unknown =
        vocabulary->unknown >= 0 && (size_t)vocabulary->unknown < vocabulary->token_count;
    bpe->unknown = bpe->has_unknown ? vocabulary->unknown : NO_TOKEN;
    TRY(make_merges(tokenizer, vocabulary));
    TRY(bpe_finish(bpe, &tokenizer->vocabulary));
    TRY(load_space_rules(tokenizer, vocabulary->add_space_prefix != 0));
    return load_template(tokenizer, vocabulary, vocabulary->bos >= 0);
}

status tokenizer_load_gguf(struct tokenizer *tokenizer, const struct gguf_vocabulary *vocabulary)
{
    tokenizer->model = MODEL_BPE;
    static const struct {
        const char *name;
        status (*load)(struct tokenizer *, const struct gguf_vocabulary *);
    } models[] = {{"gpt2", load_gpt2}, {"llama", load_llama}};
    for (size_t i = 0; i < COUNT_OF(models); i++) {
        if (vocabulary->model != NULL && strcmp(vocabulary->model, models[i].name) == 0) {
            TRY(load_tokens(tokenizer, vocabulary));
            TRY(models[i].load(tokenizer, vocabulary));
            return load_special_tokens(tokenizer, vocabulary);
        }
    }
    return status_fail(STATUS_UNSUPPORTED,
                       "tokenizer.ggml.model: unknown model \"%.60s\" (supported: gpt2, llama)",
                       vocabulary->model != NULL ? vocabulary->model : "");
}
