/* SPDX-License-Identifier: Apache-2.0 */
/* config.json in both dialects, its defaults and its refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "model/read/config.h"

static struct arena arena;

static int reset(void **state)
{
    (void)state;
    arena_destroy(&arena);
    return 0;
}

static status parse(const char *text, const char *generation, struct model_config *out)
{
    struct json *root, *second = NULL;
    assert_int_equal(json_parse(text, strlen(text), &arena, &root), STATUS_OK);
    if (generation != NULL) {
        assert_int_equal(json_parse(generation, strlen(generation), &arena, &second), STATUS_OK);
    }
    return config_from_json(root, second, &arena, out);
}

/* Facts of an object with these members and the sizes of a small model. */
static struct model_config facts(const char *architecture, const char *members)
{
    char text[4096];
    snprintf(text, sizeof text,
             "{\"architectures\":[\"%s\"],\"num_hidden_layers\":8,\"hidden_size\":64,"
             "\"intermediate_size\":96,\"num_attention_heads\":8,\"vocab_size\":100%s%s}",
             architecture, *members == '\0' ? "" : ",", members);
    struct model_config config;
    if (parse(text, NULL, &config) != STATUS_OK) {
        fail_msg("%s {%s}: %s", architecture, members, status_message());
    }
    return config;
}

static void assert_locals(const struct model_config *config, const char *pattern)
{
    for (int i = 0; i < config->layers; i++) {
        assert_int_equal(model_layer_kind(config, i).mixer, MIXER_ATTENTION);
        assert_int_equal(model_layer_kind(config, i).attention,
                         pattern[i] == 'L' ? ATTENTION_WINDOWED : ATTENTION_FULL);
    }
}

static void absent_keys_have_the_classes_defaults(void **state)
{
    (void)state;
    struct model_config config = facts("LlamaForCausalLM", "");
    assert_string_equal(config.family, "llama");
    assert_int_equal(config.kv_heads, 8);
    assert_int_equal(config.head_dim, 8);
    assert_int_equal(config.max_positions, 2048);
    assert_true(config.norm.epsilon == 1e-6f);
    assert_true(config.norm.weight_offset == 0);
    assert_true(config.rope.theta == 1e4);
    assert_int_equal(config.activation, ACTIVATION_SILU);
    assert_false(config.tied_embeddings);
    assert_int_equal(config.bos, 1);
    assert_int_equal(config.end_count, 1);
    assert_int_equal(config.ends[0], 2);
    assert_int_equal(config.window, 0);
    assert_true(config.logit_scale == 1 && config.residual_multiplier == 1);

    config = facts("MistralForCausalLM", "");
    assert_int_equal(config.kv_heads, 8);
    assert_int_equal(config.window, 4096);
    assert_locals(&config, "LLLLLLLL");
    config = facts("MistralForCausalLM", "\"sliding_window\":null");
    assert_int_equal(config.window, 0);
    assert_locals(&config, "........");

    config = facts("GemmaForCausalLM", "\"num_key_value_heads\":1,\"hidden_act\":\"gelu\"");
    assert_int_equal(config.head_dim, 256);
    assert_true(config.tied_embeddings);
    assert_true(config.embedding_scale == 8);
    assert_true(config.norm.weight_offset == 1);
    assert_int_equal(config.activation, ACTIVATION_GELU_TANH);

    config = facts("Qwen2ForCausalLM", "\"num_key_value_heads\":2,\"sliding_window\":16");
    assert_int_equal(config.window, 0);
    assert_locals(&config, "........");
    assert_true(config.qkv_bias);
    assert_false(config.attention_output_bias);
    assert_int_equal(config.bos, -1);
    assert_int_equal(config.end_count, 0);
    config = facts("Qwen2ForCausalLM", "\"num_key_value_heads\":2,\"sliding_window\":16,"
                                       "\"use_sliding_window\":true,\"max_window_layers\":5");
    assert_int_equal(config.window, 16);
    assert_locals(&config, ".....LLL");

    config = facts("Qwen3ForCausalLM", "\"num_key_value_heads\":2");
    assert_int_equal(config.head_dim, 128);
    assert_true(config.qk_norm);
    config = facts("Qwen3ForCausalLM", "\"num_key_value_heads\":null,\"head_dim\":null");
    assert_int_equal(config.kv_heads, 8);
    assert_int_equal(config.head_dim, 8);
}

static void gemma_windows_and_ropes(void **state)
{
    (void)state;
    struct model_config config = facts("Gemma2ForCausalLM", "\"query_pre_attn_scalar\":64");
    assert_locals(&config, "L.L.L.L.");
    assert_int_equal(config.window, 4096);
    assert_true(config.attention_soft_cap == 50 && config.logit_soft_cap == 30);
    assert_true(config.attention_scale == 0.125f);
    assert_true(config.post_norm && !config.qk_norm);
    config = facts("Gemma2ForCausalLM", "\"attn_logit_softcapping\":null");
    assert_true(config.attention_soft_cap == 0 && config.attention_scale == 0.0625f);

    config = facts("Gemma3ForCausalLM", "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8}");
    assert_locals(&config, "LLLLL.LL");
    assert_int_equal(config.rope.kind, ROPE_LINEAR);
    assert_true(config.rope.theta == 1e6 && config.rope.factor == 8);
    assert_int_equal(config.rope_local.kind, ROPE_DEFAULT);
    assert_true(config.rope_local.theta == 1e4);
    config = facts("Gemma3ForCausalLM", "\"sliding_window_pattern\":3,\"rope_theta\":5000,"
                                        "\"rope_local_base_freq\":700");
    assert_locals(&config, "LL.LL.LL");
    assert_true(config.rope.theta == 5000 && config.rope_local.theta == 700);
    config = facts("Gemma3ForCausalLM",
                   "\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"linear\",\"factor\":2,"
                   "\"rope_theta\":3000},\"sliding_attention\":{\"rope_theta\":40}}");
    assert_true(config.rope.theta == 3000 && config.rope.factor == 2);
    assert_true(config.rope_local.theta == 40 && config.rope_local.kind == ROPE_DEFAULT);
    config = facts("Gemma3ForCausalLM",
                   "\"layer_types\":[\"full_attention\",\"sliding_attention\",\"full_attention\","
                   "\"full_attention\",\"full_attention\",\"full_attention\",\"full_attention\","
                   "\"sliding_attention\"]");
    assert_locals(&config, ".L.....L");
}

/* The text part of a model with images, as the Hub has it: most keys are absent. */
static void text_configs_are_found(void **state)
{
    (void)state;
    struct model_config config;
    status s = parse("{\"architectures\":[\"Gemma3ForConditionalGeneration\"],"
                     "\"eos_token_id\":[1,106],\"torch_dtype\":\"bfloat16\","
                     "\"text_config\":{\"hidden_size\":2560,\"intermediate_size\":10240,"
                     "\"model_type\":\"gemma3_text\",\"num_hidden_layers\":34,"
                     "\"rope_scaling\":{\"factor\":8.0,\"rope_type\":\"linear\"},"
                     "\"sliding_window\":1024},\"vision_config\":{\"hidden_size\":1152}}",
                     NULL, &config);
    if (s != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    assert_int_equal(config.heads, 8);
    assert_int_equal(config.kv_heads, 4);
    assert_int_equal(config.head_dim, 256);
    assert_int_equal(config.vocabulary, 262208);
    assert_int_equal(config.window, 1024);
    assert_int_equal(config.dtype, DTYPE_BFLOAT16);
    assert_true(config.tied_embeddings);
    assert_int_equal(config.end_count, 2);
    assert_int_equal(config.ends[1], 106);
}

static void both_dialects_mean_the_same(void **state)
{
    (void)state;
    struct model_config old = facts(
        "LlamaForCausalLM",
        "\"torch_dtype\":\"bfloat16\",\"rope_theta\":500000.0,\"max_position_embeddings\":1024,"
        "\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,"
        "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":64}");
    struct model_config new = facts(
        "LlamaForCausalLM",
        "\"dtype\":\"bfloat16\",\"max_position_embeddings\":1024,"
        "\"rope_parameters\":{\"rope_type\":\"llama3\",\"rope_theta\":500000.0,\"factor\":8.0,"
        "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
        "\"original_max_position_embeddings\":64}");
    assert_int_equal(old.dtype, DTYPE_BFLOAT16);
    assert_int_equal(new.dtype, DTYPE_BFLOAT16);
    assert_int_equal(old.rope.kind, ROPE_LLAMA3);
    assert_int_equal(old.rope.original_max_positions, 64);
    assert_memory_equal(&old.rope, &new.rope, sizeof old.rope);
}

static void scaled_ropes_are_read(void **state)
{
    (void)state;
    struct model_config config =
        facts("Qwen2ForCausalLM",
              "\"num_key_value_heads\":2,\"max_position_embeddings\":32768,\"rope_scaling\":"
              "{\"type\":\"yarn\",\"factor\":4.0,\"original_max_position_embeddings\":32768}");
    assert_int_equal(config.rope.kind, ROPE_YARN);
    assert_true(config.rope.factor == 4 && config.rope.beta_fast == 32 &&
                config.rope.beta_slow == 1);
    assert_true(config.rope.truncate);
    assert_int_equal(config.max_positions, 131072);

    config = facts("Phi3ForCausalLM",
                   "\"max_position_embeddings\":4096,\"original_max_position_embeddings\":512,"
                   "\"partial_rotary_factor\":0.5,\"rope_scaling\":{\"type\":\"su\","
                   "\"short_factor\":[1.0,1.5],\"long_factor\":[2,3]}");
    assert_int_equal(config.rope.kind, ROPE_LONGROPE);
    assert_int_equal(config.rope.factor_count, 2);
    assert_true(config.rope.short_factor[1] == 1.5 && config.rope.long_factor[1] == 3);
    assert_true(config.rope.factor == 8);
    assert_int_equal(config.rope.original_max_positions, 512);
    assert_int_equal(config_rotary_dimensions(&config), 4);
}

static void mixtures_and_multipliers(void **state)
{
    (void)state;
    struct model_config config = facts("MixtralForCausalLM", "");
    assert_int_equal(config.experts, 8);
    assert_int_equal(config.router.used, 2);
    assert_int_equal(config.expert_intermediate, 96);
    assert_true(config.router.normalize);
    assert_null(config.layer_is_dense);
    config = facts("Qwen3MoeForCausalLM",
                   "\"num_experts\":16,\"moe_intermediate_size\":24,\"num_key_value_heads\":2,"
                   "\"mlp_only_layers\":[0,99],\"decoder_sparse_step\":4");
    assert_int_equal(config.experts, 16);
    assert_int_equal(config.router.used, 8);
    assert_int_equal(config.expert_intermediate, 24);
    assert_false(config.router.normalize);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(config.layer_is_dense[i], i != 3 && i != 7);
    }
    config = facts("GraniteForCausalLM",
                   "\"embedding_multiplier\":12.0,\"logits_scaling\":8,"
                   "\"residual_multiplier\":0.25,\"attention_multiplier\":0.015625");
    assert_true(config.embedding_scale == 12 && config.logit_scale == 0.125f);
    assert_true(config.residual_multiplier == 0.25f && config.attention_scale == 0.015625f);
}

static void layers_without_rope_are_told(void **state)
{
    (void)state;
    static const uint8_t listed[] = {1, 0, 0, 1, 0, 0, 0, 1},
                         every_third[] = {0, 0, 1, 0, 0, 1, 0, 0},
                         every_fourth[] = {0, 0, 0, 1, 0, 0, 0, 1};
    struct model_config config = facts(
        "SmolLM3ForCausalLM", "\"num_key_value_heads\":2,\"no_rope_layers\":[0,1,1,0,1,1,1,0]");
    assert_memory_equal(config.layer_lacks_rope, listed, sizeof listed);
    config = facts("SmolLM3ForCausalLM", "\"num_key_value_heads\":2,\"no_rope_layer_interval\":3");
    assert_memory_equal(config.layer_lacks_rope, every_third, sizeof every_third);
    config = facts("Cohere2ForCausalLM", "\"sliding_window\":16");
    assert_memory_equal(config.layer_lacks_rope, every_fourth, sizeof every_fourth);
    assert_true(config.parallel && config.rope_pairs && !config.norm_bias &&
                config.norm.layer_norm);
    assert_null(facts("LlamaForCausalLM", "\"no_rope_layers\":[0]").layer_lacks_rope);
}

static void biases_have_keys_of_their_own(void **state)
{
    (void)state;
    struct model_config config = facts("SeedOssForCausalLM", "\"num_key_value_heads\":2");
    assert_true(config.qkv_bias && !config.attention_output_bias && !config.mlp_bias);
    config = facts("SeedOssForCausalLM", "\"num_key_value_heads\":2,\"attention_bias\":false,"
                                         "\"attention_out_bias\":true");
    assert_true(!config.qkv_bias && config.attention_output_bias);
    config = facts("Starcoder2ForCausalLM", "\"norm_epsilon\":0.5");
    assert_true(config.qkv_bias && config.attention_output_bias && config.mlp_bias);
    assert_true(config.norm_bias && !config.gated && config.norm.epsilon == 0.5f);
    config = facts("Starcoder2ForCausalLM", "\"use_bias\":false");
    assert_true(!config.qkv_bias && !config.attention_output_bias && !config.mlp_bias);
}

/* The text model of a wrapper: its family by text_config, and three positions that are one. */
static void wrappers_hold_a_text_model(void **state)
{
    (void)state;
#define SIZES                                                                                      \
    "\"num_hidden_layers\":2,\"hidden_size\":64,\"intermediate_size\":96,"                         \
    "\"num_attention_heads\":8,\"num_key_value_heads\":2,\"vocab_size\":100"
    static const struct {
        const char *text, *family;
    } cases[] = {
        {"{\"architectures\":[\"Mistral3ForConditionalGeneration\"],\"text_config\":{\"model_"
         "type\":"
         "\"mistral\"," SIZES "},\"tie_word_embeddings\":true}",
         "mistral"},
        {"{\"architectures\":[\"Mistral3ForConditionalGeneration\"],\"text_config\":{\"model_"
         "type\":"
         "\"llama\"," SIZES "},\"tie_word_embeddings\":true}",
         "llama"},
        {"{\"architectures\":[\"Qwen2_5_VLForConditionalGeneration\"],\"text_config\":{" SIZES ","
         "\"rope_parameters\":{\"rope_type\":\"mrope\",\"mrope_section\":[1,1,2]}},"
         "\"tie_word_embeddings\":true}",
         "qwen2_5_vl"},
        {"{\"architectures\":[\"Qwen2_5_VLForConditionalGeneration\"]," SIZES ",\"rope_scaling\":{"
         "\"type\":"
         "\"mrope\",\"mrope_section\":[1,1,2]},\"tie_word_embeddings\":true}",
         "qwen2_5_vl"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct model_config config;
        if (parse(cases[i].text, NULL, &config) != STATUS_OK) {
            fail_msg("%s: %s", cases[i].text, status_message());
        }
        assert_string_equal(config.family, cases[i].family);
        assert_int_equal(config.rope.kind, ROPE_DEFAULT);
        assert_true(config.tied_embeddings && config.layers == 2);
    }
    struct model_config config;
    assert_int_equal(parse("{\"architectures\":[\"Mistral3ForConditionalGeneration\"],"
                           "\"text_config\":{\"model_type\":\"other\"}}",
                           NULL, &config),
                     STATUS_UNSUPPORTED);
}

static void end_tokens_come_from_the_first_that_says(void **state)
{
    (void)state;
    static const char text[] =
        "{\"model_type\":\"llama\",\"num_hidden_layers\":1,\"hidden_size\":64,"
        "\"intermediate_size\":96,\"num_attention_heads\":8,\"vocab_size\":100,"
        "\"eos_token_id\":7}";
    struct model_config config;
    assert_int_equal(parse(text, "{\"eos_token_id\":[9,7,9,100]}", &config), STATUS_OK);
    assert_int_equal(config.end_count, 2);
    assert_int_equal(config.ends[0], 9);
    assert_int_equal(config.ends[1], 7);
    assert_int_equal(parse(text, "{\"eos_token_id\":null}", &config), STATUS_OK);
    assert_int_equal(config.end_count, 1);
    assert_int_equal(config.ends[0], 7);
    assert_int_equal(parse(text, "{\"eos_token_id\":3}", &config), STATUS_OK);
    assert_int_equal(config.end_count, 1);
    assert_int_equal(config.ends[0], 3);
    assert_int_equal(parse(text, "{}", &config), STATUS_OK);
    assert_int_equal(config.ends[0], 7);
}

static void encoders_are_read(void **state)
{
    (void)state;
    struct model_config config = facts("BertModel", "\"max_position_embeddings\":40");
    assert_string_equal(config.family, "bert");
    assert_true(config.encoder && config.norm.layer_norm && config.norm.in_place);
    assert_true(config.qkv_bias && config.attention_output_bias && config.mlp_bias);
    assert_true(!config.gated && config.activation == ACTIVATION_GELU);
    assert_true(config.norm.epsilon == 1e-12f && config.rope.kind == ROPE_NONE);
    assert_int_equal(config.max_positions, 40);
    assert_int_equal(config.position_rows, 40);
    assert_int_equal(config.position_offset, 0);
    assert_int_equal(config.token_types, 2);
    config = facts("XLMRobertaModel", "\"max_position_embeddings\":514,\"pad_token_id\":1,"
                                      "\"layer_norm_eps\":1e-5,\"type_vocab_size\":1");
    assert_string_equal(config.family, "roberta");
    assert_int_equal(config.max_positions, 512);
    assert_int_equal(config.position_rows, 514);
    assert_int_equal(config.position_offset, 2);
    assert_int_equal(config.token_types, 1);
    assert_true(config.norm.epsilon == 1e-5f);
    assert_false(facts("LlamaForCausalLM", "").encoder);

    static const struct {
        const char *members, *message;
    } refused[] = {
        {"\"position_embedding_type\":\"relative_key\"",
         "position_embedding_type: \"relative_key\" is not supported; only absolute is"},
        {"\"is_decoder\":true", "is_decoder: an encoder is expected of this family"},
        {"\"pad_token_id\":600",
         "max_position_embeddings: 512, of which the first 601 are not used"},
    };
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        char text[512];
        snprintf(text, sizeof text,
                 "{\"architectures\":[\"RobertaModel\"],\"num_hidden_layers\":2,\"hidden_size\":64,"
                 "\"intermediate_size\":96,\"num_attention_heads\":8,\"vocab_size\":100,%s}",
                 refused[i].members);
        assert_true(parse(text, NULL, &config) != STATUS_OK);
        assert_string_equal(status_message(), refused[i].message);
    }
}

static void quantised_checkpoints_are_known(void **state)
{
    (void)state;
    static const struct {
        const char *member;
        enum weight_format published;
        struct weight_packing packing;
    } cases[] = {
        {"\"quantization_config\":{\"quant_method\":\"fp8\",\"weight_block_size\":[128,128]}",
         WEIGHT_FP8,
         {0}},
        {"\"quantization_config\":{\"quant_method\":\"fbgemm_fp8\"}", WEIGHT_FP8, {0}},
        {"\"quantization_config\":{\"quant_method\":\"compressed-tensors\","
         "\"format\":\"float-quantized\",\"sparsity_config\":{}}",
         WEIGHT_FP8,
         {PACKING_COMPRESSED_TENSORS, 0}},
        {"\"quantization_config\":{\"quant_method\":\"compressed-tensors\","
         "\"format\":\"int-quantized\",\"sparsity_config\":{}}",
         WEIGHT_INT8,
         {PACKING_COMPRESSED_TENSORS, 0}},
        {"\"compression_config\":{\"quant_method\":\"compressed-tensors\","
         "\"format\":\"naive-quantized\",\"sparsity_config\":{\"format\":\"dense\"}}",
         WEIGHT_FP8,
         {PACKING_COMPRESSED_TENSORS, 0}},
        {"\"quantization_config\":{\"quant_method\":\"modelopt\",\"quant_algo\":\"FP8\"}",
         WEIGHT_FP8,
         {0}},
        {"\"quantization_config\":{\"quant_algo\":\"FP8\"}", WEIGHT_FP8, {0}},
        {"\"quantization_config\":{\"quant_method\":\"modelopt\",\"quant_algo\":null,"
         "\"kv_cache_quant_algo\":\"FP8\"}",
         WEIGHT_FLOAT32,
         {0}},
        {"\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":128}",
         WEIGHT_PACKED_INTEGERS,
         {PACKING_GPTQ, 128}},
        {"\"quantization_config\":{\"quant_method\":\"gptq\",\"checkpoint_format\":\"gptq_v2\","
         "\"group_size\":-1}",
         WEIGHT_PACKED_INTEGERS,
         {PACKING_GPTQ_V2, GROUP_OF_ALL}},
        {"\"quantization_config\":{\"quant_method\":\"gptq\",\"group_size\":128,"
         "\"dynamic\":{\"+:.*down\":{\"group_size\":32}}}",
         WEIGHT_PACKED_INTEGERS,
         {PACKING_GPTQ, 0}},
        {"\"quantization_config\":{\"quant_method\":\"awq\",\"version\":\"GEMM\",\"group_size\":"
         "64}",
         WEIGHT_PACKED_INTEGERS,
         {PACKING_AWQ, 64}},
        {"\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"format\":"
         "\"pack-quantized\",\"config_groups\":{\"a\":{\"format\":\"pack-quantized\"}}}",
         WEIGHT_PACKED_INTEGERS,
         {PACKING_COMPRESSED_TENSORS, 0}},
        {"\"quantization_config\":{\"quant_method\":\"bitsandbytes\",\"load_in_4bit\":true}",
         WEIGHT_PACKED_CODES,
         {PACKING_BITSANDBYTES, 0}},
        {"\"quantization_config\":{\"quant_method\":\"mxfp4\"}",
         WEIGHT_PACKED_FP4,
         {PACKING_MXFP4, 0}},
        {"\"quantization_config\":{\"quant_method\":\"modelopt\",\"quant_algo\":\"NVFP4\"}",
         WEIGHT_PACKED_FP4,
         {PACKING_MODELOPT_FP4, 0}},
        {"\"quantization_config\":null", WEIGHT_FLOAT32, {0}},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buffer text = {0};
        assert_int_equal(
            buffer_format(&text,
                          "{\"architectures\":[\"LlamaForCausalLM\"],\"num_hidden_layers\":8,"
                          "\"hidden_size\":64,\"intermediate_size\":96,\"vocab_size\":100,"
                          "\"num_attention_heads\":8,%s}",
                          cases[i].member),
            STATUS_OK);
        struct model_config config;
        if (parse(text.data, NULL, &config) != STATUS_OK) {
            fail_msg("%s: %s", cases[i].member, status_message());
        }
        if (config.published != cases[i].published ||
            config.packing.method != cases[i].packing.method ||
            config.packing.group != cases[i].packing.group) {
            fail_msg("%s", cases[i].member);
        }
        buffer_destroy(&text);
    }
}

static void refusals_name_the_key(void **state)
{
    (void)state;
    static const struct {
        const char *members, *message;
    } cases[] = {
        {"\"num_attention_heads\":\"x\"",
         "num_attention_heads: expected a positive integer, not \"x\""},
        {"\"num_attention_heads\":0", "num_attention_heads: expected a positive integer, not 0"},
        {"\"num_attention_heads\":8.5",
         "num_attention_heads: expected a positive integer, not 8.5"},
        {"\"num_hidden_layers\":1000000", "num_hidden_layers: 1000000 is more than"},
        {"\"hidden_size\":null", "hidden_size: missing"},
        {"\"hidden_size\":63", "hidden_size: 63 is not a multiple"},
        {"\"num_key_value_heads\":3", "num_key_value_heads: 3 does not divide the 8"},
        {"\"architectures\":[\"SmolLM3ForCausalLM\"],\"num_key_value_heads\":2,\"no_rope_layers\":["
         "1]",
         "no_rope_layers: expected an array of 8 numbers"},
        {"\"architectures\":[\"SmolLM3ForCausalLM\"],\"num_key_value_heads\":2,\"no_rope_layers\":"
         "[1,1,1,1,1,1,1,2]",
         "no_rope_layers: expected 0 or 1 for each layer, not 2"},
        {"\"head_dim\":7", "head_dim: 7 of 7 values are rotated"},
        {"\"hidden_act\":\"mish\"", "hidden_act: expected one of silu"},
        {"\"attention_bias\":1", "attention_bias: expected true or false, not 1"},
        {"\"rms_norm_eps\":-1", "rms_norm_eps: expected a positive number, not -1"},
        {"\"dtype\":\"int8\"", "dtype: expected float32, bfloat16 or float16, not \"int8\""},
        {"\"rope_scaling\":[]", "rope_scaling: expected an object"},
        {"\"rope_scaling\":{\"type\":\"mrope\"}", "rope_scaling: type: expected one of"},
        {"\"rope_scaling\":{\"type\":\"linear\"}", "rope_scaling: factor: missing"},
        {"\"rope_parameters\":{\"rope_type\":\"longrope\",\"short_factor\":[1],\"long_factor\":[1]"
         "}",
         "rope_parameters: short_factor: expected an array of 4 numbers"},
        {"\"eos_token_id\":\"</s>\"", "eos_token_id: expected an integer"},
        {"\"compression_config\":{\"quant_method\":\"compressed-tensors\","
         "\"format\":\"marlin-24\"}",
         "compression_config: weights quantised by \"compressed-tensors marlin-24\""},
        {"\"quantization_config\":{\"quant_method\":\"compressed-tensors\","
         "\"format\":\"float-quantized\",\"sparsity_config\":{\"format\":"
         "\"sparse-24-bitmask\"}}",
         "\"compressed-tensors sparse-24-bitmask\" are not supported"},
        {"\"quantization_config\":{\"quant_algo\":\"W4A8_AWQ\"}",
         "\"modelopt W4A8_AWQ\" are not supported; use the model's checkpoint in 16 bits, as GGUF, "
         "or "
         "quantised in a way that `sluice help formats` names"},
        {"\"quantization_config\":{\"quant_method\":\"gptq\",\"checkpoint_format\":\"marlin\"}",
         "\"gptq marlin\" are not supported"},
        {"\"quantization_config\":{\"quant_method\":\"gptq\",\"format\":\"bitblas\"}",
         "\"gptq bitblas\" are not supported"},
        {"\"quantization_config\":{\"quant_method\":\"gptq\",\"group_size\":0}",
         "group_size: expected columns of a group, or -1, not 0"},
        {"\"quantization_config\":{\"quant_method\":\"awq\",\"version\":\"gemv\"}",
         "\"awq gemv\" are not supported"},
        {"\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"format\":"
         "\"mixed-precision\",\"config_groups\":{\"a\":{\"format\":\"marlin-24\"}}}",
         "\"compressed-tensors marlin-24\" are not supported"},
        {"\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"format\":"
         "\"pack-quantized\",\"transform_config\":{\"config_groups\":{\"R4\":{}}}}",
         "\"compressed-tensors with transform_config\" are not supported"},
        {"\"quantization_config\":{\"quant_method\":\"quark\"}", "\"quark\" are not supported"},
        {"\"quantization_config\":{\"quant_method\":\"fp8\",\"weight_block_size\":[128,192]}",
         "quantization_config: weight_block_size: only powers of two"},
        {"\"quantization_config\":{}", "quantised by \"\" are not supported"},
        {"\"quantization_config\":7", "quantised by \"\" are not supported"},
        {"\"architectures\":[\"OPTForCausalLM\"]",
         "architectures: \"OPTForCausalLM\" is not supported (supported: LlamaForCausalLM, "},
        {"\"architectures\":7", "architectures: expected an array of names, not 7"},
    };
    static const char *const base[][2] = {
        {"architectures", "[\"LlamaForCausalLM\"]"},
        {"num_hidden_layers", "8"},
        {"hidden_size", "64"},
        {"intermediate_size", "96"},
        {"num_attention_heads", "8"},
        {"vocab_size", "100"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buffer text = {0};
        assert_int_equal(buffer_format(&text, "{%s", cases[i].members), STATUS_OK);
        for (size_t j = 0; j < COUNT_OF(base); j++) {
            char key[64];
            snprintf(key, sizeof key, "\"%s\":", base[j][0]);
            if (strstr(cases[i].members, key) == NULL) {
                assert_int_equal(buffer_format(&text, ",%s%s", key, base[j][1]), STATUS_OK);
            }
        }
        assert_int_equal(buffer_append_text(&text, "}"), STATUS_OK);
        struct model_config config;
        status s = parse(text.data, NULL, &config);
        if (s == STATUS_OK || strstr(status_message(), cases[i].message) == NULL) {
            fail_msg("%s: %s, \"%s\"", cases[i].members, status_name(s), status_message());
        }
        buffer_destroy(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(absent_keys_have_the_classes_defaults, reset),
        cmocka_unit_test_teardown(gemma_windows_and_ropes, reset),
        cmocka_unit_test_teardown(text_configs_are_found, reset),
        cmocka_unit_test_teardown(both_dialects_mean_the_same, reset),
        cmocka_unit_test_teardown(scaled_ropes_are_read, reset),
        cmocka_unit_test_teardown(mixtures_and_multipliers, reset),
        cmocka_unit_test_teardown(end_tokens_come_from_the_first_that_says, reset),
        cmocka_unit_test_teardown(encoders_are_read, reset),
        cmocka_unit_test_teardown(quantised_checkpoints_are_known, reset),
        cmocka_unit_test_teardown(refusals_name_the_key, reset),
        cmocka_unit_test_teardown(layers_without_rope_are_told, reset),
        cmocka_unit_test_teardown(biases_have_keys_of_their_own, reset),
        cmocka_unit_test_teardown(wrappers_hold_a_text_model, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
