/* SPDX-License-Identifier: Apache-2.0 */
/* GGUF metadata as facts of a model: numbers of every type, each key's place and border, what the
 * format leaves to the reader. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "gguf_writer.h"
#include "model/read/config.h"
#include "model/read/tensor_source.h"
#include "scratch_folder.h"
#include "sluice/model.h"

static struct gguf_writer writer;

static int begin(void **state)
{
    memset(&writer, 0, sizeof writer);
    return scratch_create(state);
}

static int end(void **state)
{
    gguf_writer_end(&writer);
    return scratch_destroy(state);
}

/* ---- Values ---- */

static struct gguf parsed(void)
{
    const struct buffer *whole = gguf_whole(&writer);
    struct gguf gguf;
    bool needs_more;
    const status s =
        gguf_parse((const uint8_t *)whole->data, whole->length, whole->length, &gguf, &needs_more);
    if (s != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    assert_false(needs_more);
    return gguf;
}

static void numbers_of_every_type(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        enum gguf_type type;
        size_t bytes;
        uint64_t word;
        int64_t value;
    } numbers[] = {
        {"uint8", GGUF_UINT8, 1, 200, 200},
        {"int8", GGUF_INT8, 1, 200, -56},
        {"uint16", GGUF_UINT16, 2, 40000, 40000},
        {"int16", GGUF_INT16, 2, 40000, -25536},
        {"uint32", GGUF_UINT32, 4, 3000000000, 3000000000},
        {"int32", GGUF_INT32, 4, 3000000000, -1294967296},
        {"uint64", GGUF_UINT64, 8, INT64_MAX, INT64_MAX},
        {"int64", GGUF_INT64, 8, UINT64_MAX, -1},
        {"bool", GGUF_BOOL, 1, 1, 1},
    };
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        gguf_put_number(&writer, numbers[i].key, numbers[i].type, &numbers[i].word,
                        numbers[i].bytes);
    }
    const double half = 0.5;
    gguf_put_number(&writer, "float64", GGUF_FLOAT64, &half, sizeof half);
    gguf_put_float32(&writer, "float32", -0.25f);
    gguf_put_text(&writer, "text", "7");
    struct gguf gguf = parsed();
    int64_t integer;
    double real;
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        assert_true(gguf_integer(&gguf, numbers[i].key, &integer));
        assert_int_equal(integer, numbers[i].value);
        const bool is_number = numbers[i].type != GGUF_BOOL;
        assert_int_equal(gguf_real(&gguf, numbers[i].key, &real), is_number);
        assert_true(!is_number || real == (double)numbers[i].value);
        assert_null(gguf_text(&gguf, numbers[i].key));
    }
    assert_true(gguf_real(&gguf, "float64", &real) && real == 0.5);
    assert_true(gguf_real(&gguf, "float32", &real) && real == -0.25);
    static const char *const none[] = {"float32", "float64", "text", "absent"};
    for (size_t i = 0; i < COUNT_OF(none); i++) {
        assert_false(gguf_integer(&gguf, none[i], &integer));
    }
    assert_false(gguf_real(&gguf, "text", &real));
    assert_false(gguf_real(&gguf, "absent", &real));
    gguf_destroy(&gguf);
}

static void arrays_of_equal_integers_count_as_one(void **state)
{
    (void)state;
    static const int32_t equal[] = {-3, -3, -3}, last[] = {4, 4, 5};
    static const int16_t narrow[] = {9, 9};
    static const float reals[] = {1, 1};
    static const uint64_t large[] = {UINT64_MAX, UINT64_MAX};
    static const char *const texts[] = {"1", "1"};
    gguf_put_array(&writer, "equal", GGUF_INT32, equal, 3, 4);
    gguf_put_array(&writer, "narrow", GGUF_INT16, narrow, 2, 2);
    gguf_put_array(&writer, "last", GGUF_INT32, last, 3, 4);
    gguf_put_array(&writer, "none", GGUF_INT32, equal, 0, 4);
    gguf_put_array(&writer, "reals", GGUF_FLOAT32, reals, 2, 4);
    gguf_put_array(&writer, "large", GGUF_UINT64, large, 2, 8);
    gguf_put_texts(&writer, "texts", texts, 2);
    struct gguf gguf = parsed();
    int64_t integer;
    double real;
    assert_true(gguf_integer(&gguf, "equal", &integer));
    assert_int_equal(integer, -3);
    assert_true(gguf_integer(&gguf, "narrow", &integer));
    assert_int_equal(integer, 9);
    assert_true(gguf_real(&gguf, "equal", &real) && real == -3);
    static const char *const no[] = {"last", "none", "reals", "large", "texts"};
    for (size_t i = 0; i < COUNT_OF(no); i++) {
        if (gguf_integer(&gguf, no[i], &integer) || gguf_real(&gguf, no[i], &real)) {
            fail_msg("%s is a number", no[i]);
        }
    }
    const struct gguf_value *value = gguf_find(&gguf, "last");
    assert_int_equal(value->count, 3);
    assert_memory_equal(value->items, last, sizeof last);
    assert_string_equal(gguf_find(&gguf, "texts")->texts[1], "1");
    gguf_destroy(&gguf);
}

static void what_int64_cannot_hold_is_refused(void **state)
{
    (void)state;
    const uint64_t word = (uint64_t)INT64_MAX + 1;
    gguf_put_number(&writer, "large", GGUF_UINT64, &word, sizeof word);
    const struct buffer *whole = gguf_whole(&writer);
    struct gguf gguf;
    bool needs_more;
    assert_int_equal(
        gguf_parse((const uint8_t *)whole->data, whole->length, whole->length, &gguf, &needs_more),
        STATUS_INVALID);
    assert_string_equal(status_message(), "large: 9223372036854775808 is out of range");
    gguf_destroy(&gguf);
}

static void a_file_without_metadata_has_no_values(void **state)
{
    (void)state;
    struct gguf gguf = {0};
    int64_t integer;
    assert_null(gguf_find(&gguf, "a"));
    assert_false(gguf_integer(&gguf, "a", &integer));
    gguf = parsed(); /* no key, no tensor */
    assert_null(gguf_find(&gguf, "a"));
    gguf_destroy(&gguf);
}

/* ---- Facts ---- */

enum { LAYERS = 6, HIDDEN = 64, HEADS = 4, VOCABULARY = 20 };

static const char *architecture;

static const char *key_of(const char *key)
{
    static char full[128];
    snprintf(full, sizeof full, "%s.%s", architecture, key);
    return full;
}

static void put(const char *key, uint32_t value)
{
    gguf_put_uint32(&writer, key_of(key), value);
}

static void put_real(const char *key, float value)
{
    gguf_put_float32(&writer, key_of(key), value);
}

/* A model of that architecture with what every model has. */
static void put_sizes(const char *name, uint32_t layers)
{
    gguf_writer_end(&writer);
    architecture = name;
    gguf_put_text(&writer, "general.architecture", name);
    put("block_count", layers);
    put("embedding_length", HIDDEN);
    put("attention.head_count", HEADS);
    put("feed_forward_length", 96);
    gguf_put_tensor(&writer, "token_embd.weight", HIDDEN, VOCABULARY, NULL);
}

struct facts_read {
    struct tensor_table table;
    struct gguf gguf;
    struct arena arena;
    struct model_config config;
};

static status read_facts(void *const *state, struct facts_read *out)
{
    memset(out, 0, sizeof *out);
    const struct buffer *whole = gguf_whole(&writer);
    const char *path = scratch_write(state, "m.gguf", whole->data, whole->length);
    assert_non_null(path);
    status s = gguf_open(&out->table, path, &out->gguf);
    if (s == STATUS_OK) {
        s = tensor_table_finish(&out->table);
    }
    return s == STATUS_OK ? gguf_read_config(&out->gguf, &out->table, &out->arena, &out->config)
                          : s;
}

static void facts_end(struct facts_read *facts)
{
    arena_destroy(&facts->arena);
    gguf_destroy(&facts->gguf);
    tensor_table_destroy(&facts->table);
}

static struct model_config *expect_facts(void *const *state, struct facts_read *facts)
{
    if (read_facts(state, facts) != STATUS_OK) {
        fail_msg("%s: %s", architecture, status_message());
    }
    return &facts->config;
}

static void expect_refused(void *const *state, status expected, const char *message)
{
    struct facts_read facts;
    const status s = read_facts(state, &facts);
    if (s != expected || strstr(status_message(), message) == NULL) {
        fail_msg("expected \"%s\", got %s: %s", message, status_name(s), status_message());
    }
    facts_end(&facts);
}

static void assert_close(double is, double should)
{
    if (fabs(is - should) > 1e-6 * fabs(should)) {
        fail_msg("%.9g, expected %.9g", is, should);
    }
}

static void defaults_of_the_family(void **state)
{
    struct facts_read facts;
    put_sizes("llama", LAYERS);
    const struct model_config *config = expect_facts(state, &facts);
    assert_string_equal(config->family, "llama");
    assert_string_equal(config->architecture, "llama");
    assert_int_equal(config->layers, LAYERS);
    assert_int_equal(config->hidden, HIDDEN);
    assert_int_equal(config->heads, HEADS);
    assert_int_equal(config->kv_heads, HEADS);
    assert_int_equal(config->head_dim, HIDDEN / HEADS);
    assert_int_equal(config->intermediate, 96);
    assert_int_equal(config->vocabulary, VOCABULARY);
    assert_int_equal(config->max_positions, 2048);
    assert_close(config->norm.epsilon, 1e-6);
    assert_close(config->rope.theta, 1e4);
    assert_close(config->rotary_fraction, 1);
    assert_int_equal(config->rope.kind, ROPE_DEFAULT);
    assert_close(config->attention_scale, 0.25);
    assert_true(config->embedding_scale == 1 && config->residual_multiplier == 1 &&
                config->logit_scale == 1);
    assert_true(config->tied_embeddings);
    assert_false(config->qkv_bias || config->attention_output_bias || config->mlp_bias);
    assert_int_equal(config->experts, 0);
    assert_int_equal(config->window, 0);
    facts_end(&facts);
}

static void keys_and_tensors_say_otherwise(void **state)
{
    struct facts_read facts;
    put_sizes("llama", LAYERS);
    put("attention.head_count_kv", 2);
    put("context_length", 512);
    put("attention.key_length", 24);
    put("attention.value_length", 24);
    put("expert_count", 0);
    put_real("attention.layer_norm_rms_epsilon", 1e-3f);
    put_real("rope.freq_base", 5e5f);
    gguf_put_uint32(&writer, "tokenizer.ggml.bos_token_id", 0);
    gguf_put_uint32(&writer, "tokenizer.ggml.eos_token_id", 3);
    gguf_put_uint32(&writer, "tokenizer.ggml.eot_token_id", VOCABULARY - 1);
    gguf_put_uint32(&writer, "tokenizer.ggml.eom_token_id", 5);
    gguf_put_tensor(&writer, "blk.0.attn_q.bias", 4, 0, NULL);
    gguf_put_tensor(&writer, "blk.0.attn_output.bias", 4, 0, NULL);
    gguf_put_tensor(&writer, "blk.0.ffn_down.bias", 4, 0, NULL);
    gguf_put_tensor(&writer, "output.weight", 4, 4, NULL);
    const struct model_config *config = expect_facts(state, &facts);
    assert_int_equal(config->kv_heads, 2);
    assert_int_equal(config->max_positions, 512);
    assert_int_equal(config->head_dim, 24);
    assert_close(config->norm.epsilon, 1e-3);
    assert_close(config->rope.theta, 5e5);
    assert_int_equal(config->bos, 0);
    assert_int_equal(config->end_count, 3);
    assert_int_equal(config->ends[0], 3);
    assert_int_equal(config->ends[1], VOCABULARY - 1);
    assert_int_equal(config->ends[2], 5);
    assert_true(config->qkv_bias && config->attention_output_bias && config->mlp_bias);
    assert_false(config->tied_embeddings);
    facts_end(&facts);
}

static void borders_of_sizes(void **state)
{
    static const char *const required[] = {"block_count", "embedding_length",
                                           "attention.head_count", "feed_forward_length"};
    for (size_t i = 0; i < COUNT_OF(required); i++) {
        char message[80];
        snprintf(message, sizeof message, "llama.%s: missing", required[i]);
        gguf_writer_end(&writer);
        architecture = "llama";
        gguf_put_text(&writer, "general.architecture", "llama");
        for (size_t j = 0; j < i; j++) {
            put(required[j], 4);
        }
        gguf_put_tensor(&writer, "token_embd.weight", 4, 4, NULL);
        expect_refused(state, STATUS_INVALID, message);
    }
    put_sizes("llama", LAYERS);
    put("context_length", 0);
    expect_refused(state, STATUS_INVALID, "llama.context_length: expected an integer from 1 to ");
    put_sizes("llama", LAYERS);
    put("context_length", CONFIG_MAX_POSITIONS + 1);
    expect_refused(state, STATUS_INVALID, "llama.context_length: expected an integer from 1 to ");
    put_sizes("llama", LAYERS);
    gguf_put_text(&writer, "llama.context_length", "9");
    expect_refused(state, STATUS_INVALID, "llama.context_length: expected an integer from 1 to ");
    put_sizes("llama", LAYERS);
    put("attention.key_length", 16);
    put("attention.value_length", 8);
    expect_refused(state, STATUS_UNSUPPORTED, "value_length: 8 differs from the key length 16");
    put_sizes("llama", LAYERS);
    put_real("attention.layer_norm_rms_epsilon", 0);
    expect_refused(state, STATUS_INVALID, "epsilon: expected a positive number");
    put_sizes("llama", LAYERS);
    put_real("rope.freq_base", 2e15f);
    expect_refused(state, STATUS_INVALID, "rope.freq_base: expected a positive number");
    put_sizes("llama", LAYERS);
    put_real("rope.freq_base", NAN);
    expect_refused(state, STATUS_INVALID, "rope.freq_base: expected a positive number");

    struct facts_read facts;
    put_sizes("llama", 1);
    put("context_length", CONFIG_MAX_POSITIONS);
    assert_int_equal(expect_facts(state, &facts)->max_positions, CONFIG_MAX_POSITIONS);
    facts_end(&facts);
}

static void a_model_needs_a_name_and_a_table_of_tokens(void **state)
{
    gguf_put_tensor(&writer, "token_embd.weight", 4, 4, NULL);
    expect_refused(state, STATUS_INVALID, "general.architecture: missing");
    put_sizes("nonesuch", LAYERS);
    expect_refused(state, STATUS_UNSUPPORTED, "\"nonesuch\" is not supported (supported: llama");

    static const struct {
        const char *name;
        uint64_t columns, rows;
    } tables[] = {{"token_embd", 4, 4}, {"token_embd.weight", 4, 0}};
    for (size_t i = 0; i < COUNT_OF(tables); i++) {
        gguf_writer_end(&writer);
        gguf_put_text(&writer, "general.architecture", "llama");
        gguf_put_tensor(&writer, tables[i].name, tables[i].columns, tables[i].rows, NULL);
        expect_refused(state, STATUS_INVALID, "token_embd.weight: expected a table of tokens");
    }
    /* A table of one token is one. */
    gguf_writer_end(&writer);
    gguf_put_text(&writer, "general.architecture", "llama");
    gguf_put_tensor(&writer, "token_embd.weight", 4, 1, NULL);
    expect_refused(state, STATUS_INVALID, "llama.block_count: missing");
}

static void tokens_outside_of_the_vocabulary_are_none(void **state)
{
    struct facts_read facts;
    put_sizes("qwen2", LAYERS);
    gguf_put_uint32(&writer, "tokenizer.ggml.bos_token_id", VOCABULARY);
    const struct model_config *config = expect_facts(state, &facts);
    assert_int_equal(config->bos, -1);
    assert_int_equal(config->end_count, 0);
    facts_end(&facts);
    put_sizes("qwen2", LAYERS);
    gguf_put_uint32(&writer, "tokenizer.ggml.bos_token_id", VOCABULARY - 1);
    assert_int_equal(expect_facts(state, &facts)->bos, VOCABULARY - 1);
    facts_end(&facts);
}

static void mixtures(void **state)
{
    struct facts_read facts;
    put_sizes("qwen3moe", LAYERS);
    put("expert_count", 8);
    const struct model_config *config = expect_facts(state, &facts);
    assert_string_equal(config->family, "qwen3_moe");
    assert_int_equal(config->experts, 8);
    assert_int_equal(config->router.used, 8);
    assert_int_equal(config->expert_intermediate, 96);
    assert_true(config->router.normalize);
    facts_end(&facts);
    put_sizes("llama", LAYERS);
    put("expert_count", 8);
    put("expert_used_count", 3);
    put("expert_feed_forward_length", 48);
    config = expect_facts(state, &facts);
    assert_string_equal(config->family, "mixtral");
    assert_int_equal(config->router.used, 3);
    assert_int_equal(config->expert_intermediate, 48);
    facts_end(&facts);
    put_sizes("llama", LAYERS);
    put("expert_count", 8);
    put("expert_used_count", 9);
    expect_refused(state, STATUS_INVALID, "expert_used_count: expected an integer from 1 to 8");
}

/* ---- Scales that the format does not say ---- */

static void scales_of_gemma(void **state)
{
    static const struct {
        const char *architecture;
        uint32_t layers;
        double scalar; /* of queries */
        double attention_cap, logit_cap;
    } models[] = {{"gemma2", 26, 32, 50, 30}, {"gemma2", 46, (double)HIDDEN / HEADS, 50, 30},
                  {"gemma2", 62, 32, 50, 30}, {"gemma3", 26, 32, 0, 0},
                  {"gemma3", 46, 32, 0, 0},   {"gemma3", 62, (double)HIDDEN / HEADS, 0, 0}};
    struct facts_read facts;
    for (size_t i = 0; i < COUNT_OF(models); i++) {
        put_sizes(models[i].architecture, models[i].layers);
        put("attention.key_length", 32);
        const struct model_config *config = expect_facts(state, &facts);
        assert_close(config->attention_scale, 1 / sqrt(models[i].scalar));
        assert_close(config->embedding_scale, 8);
        assert_true(config->attention_soft_cap == (float)models[i].attention_cap);
        assert_true(config->logit_soft_cap == (float)models[i].logit_cap);
        assert_true(config->norm.weight_offset == 0); /* the writer has added it */
        facts_end(&facts);
    }
    put_sizes("gemma2", 26);
    put_real("attn_logit_softcapping", 20);
    put_real("final_logit_softcapping", 10);
    const struct model_config *config = expect_facts(state, &facts);
    assert_true(config->attention_soft_cap == 20);
    assert_true(config->logit_soft_cap == 10);
    facts_end(&facts);
    put_sizes("gemma2", 26);
    put_real("attn_logit_softcapping", -1);
    expect_refused(state, STATUS_INVALID, "gemma2.attn_logit_softcapping: expected a positive");
    put_sizes("gemma2", 26);
    put_real("final_logit_softcapping", -1);
    expect_refused(state, STATUS_INVALID, "gemma2.final_logit_softcapping: expected a positive");
}

static void multipliers_of_granite(void **state)
{
    struct facts_read facts;
    put_sizes("granite", LAYERS);
    const struct model_config *config = expect_facts(state, &facts);
    assert_true(config->embedding_scale == 1 && config->residual_multiplier == 1 &&
                config->logit_scale == 1);
    assert_close(config->attention_scale, 0.25);
    facts_end(&facts);
    put_sizes("granite", LAYERS);
    put_real("embedding_scale", 12);
    put_real("residual_scale", 0.5f);
    put_real("logit_scale", 8);
    put_real("attention.scale", 0.125f);
    config = expect_facts(state, &facts);
    assert_true(config->embedding_scale == 12);
    assert_true(config->residual_multiplier == 0.5f);
    assert_true(config->logit_scale == 0.125f);
    assert_true(config->attention_scale == 0.125f);
    facts_end(&facts);
    static const char *const keys[] = {"embedding_scale", "residual_scale", "logit_scale",
                                       "attention.scale"};
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        put_sizes("granite", LAYERS);
        put_real(keys[i], 0);
        expect_refused(state, STATUS_INVALID, keys[i]);
    }
}

/* ---- Windows ---- */

static void windows(void **state)
{
    struct facts_read facts;
    put_sizes("gemma2", LAYERS);
    const struct model_config *config = expect_facts(state, &facts);
    assert_int_equal(config->window, 4096);
    for (int layer = 0; layer < LAYERS; layer++) {
        assert_int_equal(model_layer_window(config, layer), layer % 2 == 0 ? 4096 : 0);
    }
    facts_end(&facts);
    put_sizes("gemma3", 12);
    put("attention.sliding_window", 512);
    config = expect_facts(state, &facts);
    for (int layer = 0; layer < 12; layer++) {
        assert_int_equal(model_layer_window(config, layer), layer % 6 == 5 ? 0 : 512);
    }
    facts_end(&facts);
    put_sizes("phi3", LAYERS);
    put("attention.sliding_window", 256);
    config = expect_facts(state, &facts);
    assert_int_equal(model_layer_window(config, 0), 256);
    assert_int_equal(model_layer_window(config, LAYERS - 1), 256);
    facts_end(&facts);
    put_sizes("llama", LAYERS); /* a family without windows */
    put("attention.sliding_window", 256);
    config = expect_facts(state, &facts);
    assert_int_equal(model_layer_window(config, 0), 0);
    facts_end(&facts);
}

/* ---- Rope ---- */

static void rope_of_part_of_a_head(void **state)
{
    struct facts_read facts;
    put_sizes("phi3", LAYERS);
    put("rope.dimension_count", 12);
    assert_close(expect_facts(state, &facts)->rotary_fraction, 0.75);
    facts_end(&facts);
    put_sizes("phi3", LAYERS);
    put("rope.dimension_count", 7);
    expect_refused(state, STATUS_INVALID, "rope.dimension_count: 7; expected an even number");
    put_sizes("phi3", LAYERS);
    put("rope.dimension_count", 1);
    expect_refused(state, STATUS_INVALID, "rope.dimension_count: 1; expected an even number");
    put_sizes("phi3", LAYERS);
    put("rope.dimension_count", 2);
    assert_close(expect_facts(state, &facts)->rotary_fraction, 0.125);
    facts_end(&facts);
    put_sizes("llama", LAYERS);
    put("rope.dimension_count", 12);
    expect_refused(state, STATUS_UNSUPPORTED, "12 of 16; only whole heads are supported");
}

static void scaled_ropes(void **state)
{
    struct facts_read facts;
    put_sizes("qwen2", LAYERS);
    gguf_put_text(&writer, key_of("rope.scaling.type"), "linear");
    put_real("rope.scaling.factor", 4);
    const struct model_config *config = expect_facts(state, &facts);
    assert_int_equal(config->rope.kind, ROPE_LINEAR);
    assert_true(config->rope.factor == 4);
    facts_end(&facts);
    put_sizes("qwen2", LAYERS);
    put_real("rope.scale_linear", 3); /* its old name */
    config = expect_facts(state, &facts);
    assert_int_equal(config->rope.kind, ROPE_LINEAR);
    assert_true(config->rope.factor == 3);
    facts_end(&facts);
    put_sizes("qwen2", LAYERS);
    put_real("rope.scale_linear", -3);
    expect_refused(state, STATUS_INVALID, "qwen2.rope.scale_linear: expected a positive number");
    put_sizes("qwen2", LAYERS);
    gguf_put_text(&writer, key_of("rope.scaling.type"), "yarn");
    put_real("rope.scaling.factor", 2);
    put("rope.scaling.original_context_length", 1000);
    config = expect_facts(state, &facts);
    assert_int_equal(config->rope.kind, ROPE_YARN);
    assert_true(config->rope.beta_fast == 32 && config->rope.beta_slow == 1);
    assert_true(config->rope.truncate);
    assert_int_equal(config->rope.original_max_positions, 1000);
    assert_true(config->rope_local.kind == ROPE_YARN); /* no rope of its own */
    facts_end(&facts);
    put_sizes("qwen2", LAYERS);
    gguf_put_text(&writer, key_of("rope.scaling.type"), "yarn");
    assert_int_equal(expect_facts(state, &facts)->rope.original_max_positions, 32768);
    facts_end(&facts);
    put_sizes("qwen2", LAYERS);
    gguf_put_text(&writer, key_of("rope.scaling.type"), "none");
    put_real("rope.scaling.factor", -1); /* not read */
    assert_int_equal(expect_facts(state, &facts)->rope.kind, ROPE_DEFAULT);
    facts_end(&facts);
    put_sizes("qwen2", LAYERS);
    gguf_put_text(&writer, key_of("rope.scaling.type"), "other");
    expect_refused(state, STATUS_UNSUPPORTED,
                   "qwen2.rope.scaling.type: \"other\" is not supported");
}

static void a_rope_for_windows(void **state)
{
    struct facts_read facts;
    put_sizes("gemma3", LAYERS);
    gguf_put_text(&writer, key_of("rope.scaling.type"), "linear");
    put_real("rope.scaling.factor", 8);
    const struct model_config *config = expect_facts(state, &facts);
    assert_close(config->rope.theta, 1e6);
    assert_close(config->rope_local.theta, 1e4);
    assert_int_equal(config->rope_local.kind, ROPE_DEFAULT); /* only full layers are scaled */
    facts_end(&facts);
    put_sizes("gemma3", LAYERS);
    put_real("rope.freq_base_swa", 2e4f);
    assert_close(expect_facts(state, &facts)->rope_local.theta, 2e4);
    facts_end(&facts);
}

static void factors_of_frequencies(void **state)
{
    static const float low[] = {1, 2, 3, 4, 5, 6, 7, 8}, high[] = {8, 7, 6, 5, 4, 3, 2, 1};
    struct facts_read facts;
    put_sizes("phi3", LAYERS);
    put("context_length", 4096);
    put("rope.scaling.original_context_length", 1024);
    put_real("rope.scaling.attn_factor", 1.5f);
    gguf_put_tensor(&writer, "rope_factors_short.weight", 8, 0, low);
    gguf_put_tensor(&writer, "rope_factors_long.weight", 8, 0, high);
    const struct model_config *config = expect_facts(state, &facts);
    assert_int_equal(config->rope.kind, ROPE_LONGROPE);
    assert_int_equal(config->rope.factor_count, 8);
    for (int i = 0; i < 8; i++) {
        assert_true(config->rope.short_factor[i] == low[i]);
        assert_true(config->rope.long_factor[i] == high[i]);
    }
    assert_true(config->rope.factor == 4);
    assert_true(config->rope.attention_factor == 1.5);
    assert_int_equal(config->rope.original_max_positions, 1024);
    facts_end(&facts);

    put_sizes("llama", LAYERS); /* one set for all lengths */
    gguf_put_tensor(&writer, "rope_freqs.weight", 8, 0, low);
    config = expect_facts(state, &facts);
    assert_int_equal(config->rope.kind, ROPE_LONGROPE);
    assert_true(config->rope.short_factor[7] == 8 && config->rope.long_factor[7] == 8);
    assert_true(config->rope.attention_factor == 1 && config->rope.factor == 1);
    assert_int_equal(config->rope.original_max_positions, 2048);
    facts_end(&facts);

    put_sizes("phi3", LAYERS); /* one of two is as good as none */
    gguf_put_tensor(&writer, "rope_factors_long.weight", 8, 0, high);
    assert_int_equal(expect_facts(state, &facts)->rope.kind, ROPE_DEFAULT);
    facts_end(&facts);
    put_sizes("phi3", LAYERS);
    gguf_put_text(&writer, key_of("rope.scaling.type"), "longrope");
    expect_refused(state, STATUS_INVALID, "rope_factors_long.weight: missing");
}

static void hostile_factors(void **state)
{
    static const char *const names[] = {"rope_freqs.weight", "rope_factors_short.weight",
                                        "rope_factors_long.weight"};
    static const float bad[] = {0, -1, INFINITY, NAN};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char message[80];
        snprintf(message, sizeof message, "tensor %s: expected 8 values", names[i]);
        for (uint64_t columns = 7; columns <= 9; columns += 2) {
            put_sizes("phi3", LAYERS);
            gguf_put_tensor(&writer, names[i], columns, 0, NULL);
            expect_refused(state, STATUS_INVALID, message);
        }
        put_sizes("phi3", LAYERS);
        gguf_put_tensor(&writer, names[i], 4, 8, NULL);
        expect_refused(state, STATUS_INVALID, message);
        snprintf(message, sizeof message, "tensor %s: expected positive numbers", names[i]);
        for (size_t j = 0; j < COUNT_OF(bad); j++) {
            const float values[] = {1, 1, 1, 1, 1, 1, 1, bad[j]};
            put_sizes("phi3", LAYERS);
            gguf_put_tensor(&writer, names[i], 8, 0, values);
            expect_refused(state, STATUS_INVALID, message);
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(numbers_of_every_type),
        TEST(arrays_of_equal_integers_count_as_one),
        TEST(what_int64_cannot_hold_is_refused),
        TEST(a_file_without_metadata_has_no_values),
        TEST(defaults_of_the_family),
        TEST(keys_and_tensors_say_otherwise),
        TEST(borders_of_sizes),
        TEST(a_model_needs_a_name_and_a_table_of_tokens),
        TEST(tokens_outside_of_the_vocabulary_are_none),
        TEST(mixtures),
        TEST(scales_of_gemma),
        TEST(multipliers_of_granite),
        TEST(windows),
        TEST(rope_of_part_of_a_head),
        TEST(scaled_ropes),
        TEST(a_rope_for_windows),
        TEST(factors_of_frequencies),
        TEST(hostile_factors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
