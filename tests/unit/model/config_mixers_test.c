/* SPDX-License-Identifier: Apache-2.0 */
/* Which layers are no attention, in both dialects of config.json, and their facts. */
#include <math.h>
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

/* An object with these members and the sizes of a small model of 4 layers. */
static status parse(const char *architecture, const char *members, struct model_config *out)
{
    char text[4096];
    struct json *root;
    snprintf(text, sizeof text,
             "{\"architectures\":[\"%s\"],\"num_hidden_layers\":4,\"hidden_size\":64,"
             "\"num_attention_heads\":8,\"vocab_size\":100%s%s}",
             architecture, *members == '\0' ? "" : ",", members);
    assert_int_equal(json_parse(text, strlen(text), &arena, &root), STATUS_OK);
    return config_from_json(root, NULL, &arena, out);
}

static struct model_config facts(const char *architecture, const char *members)
{
    struct model_config config;
    if (parse(architecture, members, &config) != STATUS_OK) {
        fail_msg("%s {%s}: %s", architecture, members, status_message());
    }
    return config;
}

static void expect_refusal(const char *architecture, const char *members, const char *message)
{
    struct model_config config;
    assert_int_equal(parse(architecture, members, &config), STATUS_INVALID);
    assert_string_equal(status_message(), message);
}

/* `letters`: one for each layer; A is attention. */
static void assert_mixers(const struct model_config *config, const char *letters)
{
    static const char letter[MIXER_KINDS] = {
        [MIXER_ATTENTION] = 'A',   [MIXER_SHORT_CONVOLUTION] = 'C',
        [MIXER_GATED_DELTA] = 'D', [MIXER_STATE_SPACE] = 'S',
        [MIXER_LATENT] = 'L',      [MIXER_ATTENTION_AND_SPACE] = 'B',
        [MIXER_NONE] = '-'};
    for (int i = 0; i < config->layers; i++) {
        assert_int_equal(letter[model_layer_kind(config, i).mixer], letters[i]);
    }
}

static void short_convolutions_are_told(void **state)
{
    (void)state;
    struct model_config config =
        facts("Lfm2ForCausalLM", "\"intermediate_size\":96,\"block_auto_adjust_ff_dim\":false,"
                                 "\"layer_types\":[\"conv\",\"conv\",\"full_attention\","
                                 "\"conv\"],\"conv_L_cache\":4,\"conv_bias\":true,"
                                 "\"norm_eps\":0.5");
    assert_mixers(&config, "CCAC");
    assert_true(model_keeps_states(&config) && config.qk_norm && config.tied_embeddings);
    assert_int_equal(config.convolution_taps, 4);
    assert_true(config.convolution_bias && config.norm.epsilon == 0.5f);
    assert_int_equal(config.intermediate, 96);
    assert_int_equal(config.kv_heads, 8);

    /* The older form: layers of attention are listed, and the width is two thirds of what stands
     * there, up to a multiple. */
    config = facts("Lfm2ForCausalLM", "\"block_ff_dim\":1000,\"full_attn_idxs\":[1,3],"
                                      "\"block_ffn_dim_multiplier\":1.5,"
                                      "\"block_multiple_of\":100,\"tie_embedding\":false");
    assert_mixers(&config, "CACA");
    assert_int_equal(config.intermediate, 1000); /* 666 · 1.5 = 999 */
    assert_int_equal(config.convolution_taps, 3);
    assert_true(!config.convolution_bias && !config.tied_embeddings);
    config = facts("Lfm2ForCausalLM", "\"intermediate_size\":300");
    assert_mixers(&config, "AAAA");
    assert_int_equal(config.intermediate, 256);
    assert_false(model_keeps_states(&config));
}

static void wrong_short_convolutions_are_refused(void **state)
{
    (void)state;
    static const char family[] = "Lfm2ForCausalLM";
    expect_refusal(family, "\"intermediate_size\":9,\"full_attn_idxs\":[4]",
                   "full_attn_idxs: expected layers of the model, not 4");
    expect_refusal(family, "\"intermediate_size\":9,\"full_attn_idxs\":3",
                   "full_attn_idxs: expected an array of layers, not 3");
    expect_refusal(family, "\"intermediate_size\":9,\"conv_L_cache\":9",
                   "conv_L_cache: 9 is more than the 8 that is plausible");
    expect_refusal(family,
                   "\"intermediate_size\":9,\"layer_types\":[\"conv\",\"conv\","
                   "\"sliding_attention\",\"conv\"]",
                   "layer_types: expected full_attention or conv, not \"sliding_attention\"");
    expect_refusal(family, "\"intermediate_size\":1,\"block_ffn_dim_multiplier\":0.5",
                   "intermediate_size: adjusted to 0, which is not plausible");
    expect_refusal("LlamaForCausalLM",
                   "\"intermediate_size\":9,\"conv_L_cache\":9,\"num_key_value_heads\":3",
                   "num_key_value_heads: 3 does not divide the 8 attention heads");
}

static void gated_delta_rules_are_told(void **state)
{
    (void)state;
    static const char sizes[] = "\"intermediate_size\":96,\"linear_num_key_heads\":2,"
                                "\"linear_num_value_heads\":6,\"linear_key_head_dim\":12,"
                                "\"linear_value_head_dim\":20,\"linear_conv_kernel_dim\":3,"
                                "\"head_dim\":16,\"partial_rotary_factor\":0.5";
    char members[1024];
    struct model_config config = facts("Qwen3_5ForCausalLM", sizes);
    assert_mixers(&config, "DDDA");
    assert_true(config.delta_key_heads == 2 && config.delta_value_heads == 6);
    assert_true(config.delta_key_dim == 12 && config.delta_value_dim == 20);
    assert_true(config.convolution_taps == 3 && config.gated_attention && !config.delta_fused);
    assert_true(config.norm.weight_offset == 1 && config.rotary_fraction == 0.5);
    snprintf(members, sizeof members, "%s,\"full_attention_interval\":2", sizes);
    config = facts("Qwen3_5ForCausalLM", members);
    assert_mixers(&config, "DADA");
    snprintf(members, sizeof members,
             "%s,\"layer_types\":[\"full_attention\",\"linear_attention\","
             "\"linear_attention\",\"full_attention\"]",
             sizes);
    config = facts("Qwen3_5ForCausalLM", members);
    assert_mixers(&config, "ADDA");
    /* Where nothing is said, as the class has it. */
    config = facts("Qwen3_5ForCausalLM", "\"intermediate_size\":96,\"rope_parameters\":"
                                         "{\"rope_type\":\"mrope\",\"rope_theta\":5}");
    assert_true(config.delta_key_heads == 16 && config.delta_value_heads == 32);
    assert_true(config.delta_key_dim == 128 && config.delta_value_dim == 128);
    assert_true(config.head_dim == 256 && config.rotary_fraction == 0.25);
    assert_int_equal(config.convolution_taps, 4);
}

static void mixtures_have_gated_delta_rules(void **state)
{
    (void)state;
    struct model_config config =
        facts("Qwen3NextForCausalLM", "\"intermediate_size\":96,\"full_attention_interval\":2");
    assert_mixers(&config, "DADA");
    assert_true(config.delta_fused && config.gated_attention && config.shared_gate);
    assert_true(config.experts == 512 && config.router.used == 10 && config.router.normalize);
    assert_true(config.expert_intermediate == 512 && config.shared_width == 512);
    config = facts("Qwen3_5MoeForCausalLM",
                   "\"moe_intermediate_size\":24,\"shared_expert_intermediate_size\":40,"
                   "\"num_experts\":6,\"num_experts_per_tok\":3");
    assert_mixers(&config, "DDDA");
    assert_true(!config.delta_fused && config.shared_gate && config.router.normalize);
    assert_true(config.experts == 6 && config.expert_intermediate == 24);
    assert_int_equal(config.shared_width, 40);
}

static void wrong_gated_delta_rules_are_refused(void **state)
{
    (void)state;
    static const char family[] = "Qwen3_5ForCausalLM";
    expect_refusal(family, "\"intermediate_size\":9,\"linear_num_key_heads\":5",
                   "linear_num_key_heads: 5 does not divide the 32 value heads "
                   "(linear_num_value_heads)");
    expect_refusal(family, "\"intermediate_size\":9,\"linear_conv_kernel_dim\":0",
                   "linear_conv_kernel_dim: expected a positive integer, not 0");
    struct model_config config;
    assert_int_equal(parse(family, "\"intermediate_size\":9,\"attention_bias\":true", &config),
                     STATUS_UNSUPPORTED);
    assert_string_equal(status_message(),
                        "attention_bias: attention with gates is only supported without biases");
}

static void state_spaces_are_told(void **state)
{
    (void)state;
    static const char sizes[] =
        "\"shared_intermediate_size\":96,\"intermediate_size\":7,\"num_local_experts\":0,"
        "\"mamba_n_heads\":6,\"mamba_n_groups\":2,\"mamba_d_state\":5,\"mamba_d_head\":32,"
        "\"mamba_expand\":3,\"mamba_d_conv\":3";
    char members[1024];
    struct model_config config = facts("GraniteMoeHybridForCausalLM", sizes);
    assert_mixers(&config, "SSSS");
    assert_true(config.scan_heads == 6 && config.scan_groups == 2 && config.scan_state_dim == 5);
    assert_true(config.scan_head_dim == 32 && config.convolution_taps == 3);
    assert_true(config.convolution_bias && !config.scan_input_bias && !config.scan_output_bias);
    assert_true(config.scan_least_step == 0 && isinf(config.scan_most_step));
    assert_true(config.intermediate == 96 && config.experts == 0 && config.shared_width == 0);
    assert_int_equal(config.layer_lacks_rope[0], 1);
    snprintf(members, sizeof members,
             "%s,\"position_embedding_type\":\"rope\",\"mamba_proj_bias\":true,"
             "\"time_step_limit\":[0.5,Infinity],\"layer_types\":[\"mamba\",\"attention\","
             "\"linear_attention\",\"full_attention\"]",
             sizes);
    config = facts("GraniteMoeHybridForCausalLM", members);
    assert_mixers(&config, "SASA");
    assert_true(config.layer_lacks_rope == NULL && config.scan_input_bias);
    assert_true(config.scan_least_step == 0.5f && isinf(config.scan_most_step));
    snprintf(members, sizeof members, "%s,\"time_step_limit\":[0.0,{\"__float__\":\"Infinity\"}]",
             sizes);
    assert_true(isinf(facts("GraniteMoeHybridForCausalLM", members).scan_most_step));
    /* Experts beside the shared MLP. */
    config = facts("GraniteMoeHybridForCausalLM",
                   "\"intermediate_size\":24,\"shared_intermediate_size\":40,"
                   "\"num_local_experts\":6,\"num_experts_per_tok\":3,\"mamba_n_heads\":8");
    assert_true(config.experts == 6 && config.router.used == 3 && config.router.normalize);
    assert_true(config.expert_intermediate == 24 && config.shared_width == 40);
}

static void wrong_state_spaces_are_refused(void **state)
{
    (void)state;
#define SPACES                                                                                     \
    "\"intermediate_size\":7,\"shared_intermediate_size\":96,\"num_local_experts\":0,\"mamba_n_"   \
    "heads\":4,"
    static const char family[] = "GraniteMoeHybridForCausalLM";
    expect_refusal(family, SPACES "\"mamba_n_groups\":3",
                   "mamba_n_groups: 3 does not divide the 4 heads");
    expect_refusal(family, SPACES "\"mamba_d_head\":5",
                   "mamba_d_head: 4 heads of 5 values are not mamba_expand 2 times the hidden size "
                   "of 64");
    expect_refusal(family, SPACES "\"time_step_limit\":[2,1]",
                   "time_step_limit: expected two ascending numbers, not 1");
    expect_refusal(family, SPACES "\"time_step_limit\":3",
                   "time_step_limit: expected two numbers, not 3");
}

#define LATENT                                                                                     \
    "\"intermediate_size\":96,\"n_routed_experts\":8,\"num_experts_per_tok\":2,"                   \
    "\"moe_intermediate_size\":12,\"n_shared_experts\":2,\"kv_lora_rank\":20,"                     \
    "\"qk_nope_head_dim\":10,\"qk_rope_head_dim\":6,\"v_head_dim\":12,\"head_dim\":6"

static void latent_attention_is_told(void **state)
{
    (void)state;
    struct model_config config =
        facts("DeepseekV3ForCausalLM", LATENT ",\"q_lora_rank\":18,\"first_k_dense_replace\":1,"
                                              "\"n_group\":4,\"topk_group\":2,"
                                              "\"routed_scaling_factor\":2.5");
    assert_mixers(&config, "LLLL");
    assert_false(model_keeps_states(&config));
    assert_true(config.latent_dim == 20 && config.latent_rope_dim == 6);
    assert_true(config.latent_key_dim == 10 && config.query_latent_dim == 18);
    assert_true(config.head_dim == 12 && config.kv_heads == 1 && config.rope_pairs);
    assert_true(config.attention_scale == 0.25f); /* of 10 + 6 values */
    assert_true(config.layer_is_dense[0] == 1 && config.layer_is_dense[1] == 0);
    assert_true(config.router.score == ROUTER_SIGMOID && config.router_correction);
    assert_true(config.router.groups == 4 && config.router.top_groups == 2);
    assert_true(config.router.normalize && config.router.scale == 2.5f);
    assert_int_equal(config.shared_width, 24);

    config = facts("DeepseekV3ForCausalLM", LATENT ",\"rope_interleave\":false,"
                                                   "\"moe_layer_freq\":2,"
                                                   "\"first_k_dense_replace\":0");
    assert_true(!config.rope_pairs && config.query_latent_dim == 0);
    for (int i = 0; i < config.layers; i++) {
        assert_int_equal(config.layer_is_dense[i], i % 2);
    }

    /* YaRN scales q·k; a greedy router knows no groups, the other takes a group's best. */
    config = facts("DeepseekV2ForCausalLM",
                   LATENT ",\"topk_method\":\"greedy\",\"n_group\":4,\"topk_group\":2,"
                          "\"scoring_func\":\"softmax\",\"norm_topk_prob\":false,"
                          "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":40,\"mscale\":1,"
                          "\"mscale_all_dim\":1,\"original_max_position_embeddings\":64}");
    const double scale = 0.1 * log(40) + 1;
    assert_true(fabs(config.attention_scale - 0.25 * scale * scale) < 1e-6);
    assert_true(config.router.groups == 0 && !config.router.normalize);
    config = facts("DeepseekV2ForCausalLM", LATENT ",\"topk_method\":\"group_limited_greedy\","
                                                   "\"n_group\":4,\"topk_group\":2");
    assert_true(config.router.groups == 4 && config.router.group_by_best);
    assert_true(config.attention_scale == 0.25f);
}

static void wrong_latent_attention_is_refused(void **state)
{
    (void)state;
    static const char family[] = "DeepseekV3ForCausalLM";
    expect_refusal(family, LATENT ",\"topk_method\":\"best\"",
                   "topk_method: expected noaux_tc or greedy, not \"best\"");
    expect_refusal(family, LATENT ",\"q_lora_rank\":-1",
                   "q_lora_rank: expected an integer from 0, not -1");
    expect_refusal(family, LATENT ",\"moe_layer_freq\":0",
                   "moe_layer_freq: expected a positive integer, not 0");
    struct model_config config;
    assert_int_equal(parse(family, LATENT ",\"attention_bias\":true", &config), STATUS_UNSUPPORTED);
    assert_string_equal(status_message(),
                        "attention_bias: latent attention is only supported without biases");
    assert_int_equal(parse(family, LATENT ",\"scoring_func\":\"softmax\"", &config),
                     STATUS_UNSUPPORTED);
}

#define FALCON                                                                                     \
    "\"intermediate_size\":96,\"mamba_n_heads\":6,\"mamba_d_head\":5,\"mamba_d_state\":9,"         \
    "\"mamba_n_groups\":2,\"num_key_value_heads\":2"

static void spaces_beside_attention_are_told(void **state)
{
    (void)state;
    struct model_config config =
        facts("FalconH1ForCausalLM",
              FALCON ",\"mamba_d_ssm\":30,\"mamba_rms_norm\":true,\"attention_in_multiplier\":2,"
                     "\"attention_out_multiplier\":3,\"key_multiplier\":0.5,"
                     "\"ssm_in_multiplier\":2,\"ssm_out_multiplier\":5,"
                     "\"ssm_multipliers\":[1,2,3,4,5],\"mlp_multipliers\":[6,7],"
                     "\"embedding_multiplier\":8,\"lm_head_multiplier\":9");
    assert_mixers(&config, "BBBB");
    assert_true(model_keeps_states(&config) && model_has_mlp(&config, 0));
    assert_true(config.scan_heads == 6 && config.scan_head_dim == 5 && config.scan_groups == 2);
    assert_true(config.scan_norm_groups == 2 && config.scan_norm_first);
    assert_true(config.mixer_multiplier == 6 && config.space_multiplier == 5);
    assert_true(config.gate_multiplier == 6 && config.mlp_multiplier == 7);
    assert_true(config.embedding_scale == 8 && config.logit_scale == 9);
    assert_true(config.scan_scales[0] == 2 && config.scan_scales[4] == 10);
    assert_true(fabs(config.attention_scale - 2 * 2 * 0.5 / sqrt(8)) < 1e-6);
    config = facts("FalconH1ForCausalLM", FALCON ",\"mamba_d_ssm\":30");
    assert_true(config.scan_norm_groups == 0 && !config.scan_norm_first);
    assert_true(config.scan_scales[3] == 1 && config.mixer_multiplier == 1);
    expect_refusal("FalconH1ForCausalLM", FALCON ",\"mamba_d_ssm\":31",
                   "mamba_d_ssm: 31 is not 6 heads of 5 values");
    expect_refusal("FalconH1ForCausalLM", FALCON ",\"mamba_d_ssm\":30,\"mlp_multipliers\":[1]",
                   "mlp_multipliers: expected an array of 2 numbers");
    expect_refusal("FalconH1ForCausalLM",
                   FALCON ",\"mamba_d_ssm\":30,\"ssm_multipliers\":[1,2,0,1,1]",
                   "ssm_multipliers: expected positive numbers, not 0");
    struct model_config other;
    assert_int_equal(
        parse("FalconH1ForCausalLM", FALCON ",\"mamba_d_ssm\":30,\"projectors_bias\":true", &other),
        STATUS_UNSUPPORTED);
}

#define NEMOTRON                                                                                   \
    "\"intermediate_size\":96,\"mamba_num_heads\":6,\"mamba_head_dim\":5,\"ssm_state_size\":9,"    \
    "\"n_groups\":3,\"n_routed_experts\":4,\"num_experts_per_tok\":2,"                             \
    "\"moe_intermediate_size\":8,\"moe_shared_expert_intermediate_size\":12"

static void layers_of_one_block_are_told(void **state)
{
    (void)state;
    static const char *const forms[] = {
        NEMOTRON ",\"hybrid_override_pattern\":\"ME*-\"",
        NEMOTRON ",\"layers_block_type\":[\"mamba\",\"moe\",\"attention\",\"mlp\"]",
        NEMOTRON ",\"layers_block_type\":[\"linear_attention\",\"moe\",\"full_attention\","
                 "\"mlp\"]"};
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        const struct model_config config = facts("NemotronHForCausalLM", forms[i]);
        assert_mixers(&config, "S-A-");
        assert_true(!model_has_mlp(&config, 0) && model_has_mlp(&config, 1));
        assert_true(!model_has_mlp(&config, 2) && model_has_mlp(&config, 3));
        assert_true(config.layer_is_dense[3] == 1 && config.layer_is_dense[1] == 0);
        assert_true(config.layer_lacks_rope[2] == 1 && !config.gated);
        assert_int_equal(config.activation, ACTIVATION_RELU_SQUARED);
        assert_true(config.scan_norm_groups == 3 && !config.scan_norm_first);
        assert_int_equal(config.head_dim, 128);
    }
    expect_refusal("NemotronHForCausalLM", NEMOTRON ",\"hybrid_override_pattern\":\"M*-\"",
                   "hybrid_override_pattern: expected 4 layers");
    expect_refusal("NemotronHForCausalLM", NEMOTRON ",\"hybrid_override_pattern\":\"MX*-\"",
                   "hybrid_override_pattern: layer 1 is none of mamba (M), attention (*), mlp (-) "
                   "and moe (E)");
    expect_refusal("NemotronHForCausalLM", NEMOTRON, "hybrid_override_pattern: expected 4 layers");
    struct model_config other;
    assert_int_equal(parse("NemotronHForCausalLM",
                           NEMOTRON ",\"hybrid_override_pattern\":\"ME*-\","
                                    "\"moe_latent_size\":16",
                           &other),
                     STATUS_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(short_convolutions_are_told, reset),
        cmocka_unit_test_teardown(wrong_short_convolutions_are_refused, reset),
        cmocka_unit_test_teardown(gated_delta_rules_are_told, reset),
        cmocka_unit_test_teardown(mixtures_have_gated_delta_rules, reset),
        cmocka_unit_test_teardown(wrong_gated_delta_rules_are_refused, reset),
        cmocka_unit_test_teardown(state_spaces_are_told, reset),
        cmocka_unit_test_teardown(wrong_state_spaces_are_refused, reset),
        cmocka_unit_test_teardown(spaces_beside_attention_are_told, reset),
        cmocka_unit_test_teardown(layers_of_one_block_are_told, reset),
        cmocka_unit_test_teardown(latent_attention_is_told, reset),
        cmocka_unit_test_teardown(wrong_latent_attention_is_refused, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
