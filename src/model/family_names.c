/* SPDX-License-Identifier: Apache-2.0 */
/* What tensors are called in files: of most families, and where a family has names of its own. */
#include "model/family.h"

const struct tensor_name family_common_names[] = {
    {ROLE_EMBEDDING, "model.embed_tokens.weight", PART_WHOLE},
    {ROLE_FINAL_NORM, "model.norm.weight", PART_WHOLE},
    {ROLE_HEAD, "lm_head.weight", PART_WHOLE},
    {ROLE_HEAD, "language_model.lm_head.weight", PART_WHOLE},
    {ROLE_FINAL_NORM_BIAS, "model.norm.bias", PART_WHOLE},
    {ROLE_ATTENTION_NORM, "model.layers.{layer}.input_layernorm.weight", PART_WHOLE},
    {ROLE_ATTENTION_NORM_BIAS, "model.layers.{layer}.input_layernorm.bias", PART_WHOLE},
    {ROLE_Q, "model.layers.{layer}.self_attn.q_proj.weight", PART_WHOLE},
    {ROLE_K, "model.layers.{layer}.self_attn.k_proj.weight", PART_WHOLE},
    {ROLE_V, "model.layers.{layer}.self_attn.v_proj.weight", PART_WHOLE},
    {ROLE_Q_BIAS, "model.layers.{layer}.self_attn.q_proj.bias", PART_WHOLE},
    {ROLE_K_BIAS, "model.layers.{layer}.self_attn.k_proj.bias", PART_WHOLE},
    {ROLE_V_BIAS, "model.layers.{layer}.self_attn.v_proj.bias", PART_WHOLE},
    {ROLE_Q_NORM, "model.layers.{layer}.self_attn.q_norm.weight", PART_WHOLE},
    {ROLE_K_NORM, "model.layers.{layer}.self_attn.k_norm.weight", PART_WHOLE},
    {ROLE_ATTENTION_OUTPUT, "model.layers.{layer}.self_attn.o_proj.weight", PART_WHOLE},
    {ROLE_ATTENTION_OUTPUT_BIAS, "model.layers.{layer}.self_attn.o_proj.bias", PART_WHOLE},
    {ROLE_MLP_NORM, "model.layers.{layer}.post_attention_layernorm.weight", PART_WHOLE},
    {ROLE_MLP_NORM_BIAS, "model.layers.{layer}.post_attention_layernorm.bias", PART_WHOLE},
    {ROLE_GATE, "model.layers.{layer}.mlp.gate_proj.weight", PART_WHOLE},
    {ROLE_UP, "model.layers.{layer}.mlp.up_proj.weight", PART_WHOLE},
    {ROLE_DOWN, "model.layers.{layer}.mlp.down_proj.weight", PART_WHOLE},
    {ROLE_GATE_BIAS, "model.layers.{layer}.mlp.gate_proj.bias", PART_WHOLE},
    {ROLE_UP_BIAS, "model.layers.{layer}.mlp.up_proj.bias", PART_WHOLE},
    {ROLE_DOWN_BIAS, "model.layers.{layer}.mlp.down_proj.bias", PART_WHOLE},
    {ROLE_ROUTER, "model.layers.{layer}.mlp.gate.weight", PART_WHOLE},
    {ROLE_ROUTER_CORRECTION, "model.layers.{layer}.mlp.gate.e_score_correction_bias", PART_WHOLE},
    {ROLE_ROUTER_CORRECTION, "model.layers.{layer}.mlp.moe_statics.e_score_correction_bias",
     PART_WHOLE},
    {ROLE_SHARED_GATE_ROW, "model.layers.{layer}.mlp.shared_expert_gate.weight", PART_WHOLE},
    {ROLE_SHARED_GATE, "model.layers.{layer}.mlp.shared_experts.gate_proj.weight", PART_WHOLE},
    {ROLE_SHARED_UP, "model.layers.{layer}.mlp.shared_experts.up_proj.weight", PART_WHOLE},
    {ROLE_SHARED_DOWN, "model.layers.{layer}.mlp.shared_experts.down_proj.weight", PART_WHOLE},
    {ROLE_SHARED_GATE, "model.layers.{layer}.mlp.shared_expert.gate_proj.weight", PART_WHOLE},
    {ROLE_SHARED_UP, "model.layers.{layer}.mlp.shared_expert.up_proj.weight", PART_WHOLE},
    {ROLE_SHARED_DOWN, "model.layers.{layer}.mlp.shared_expert.down_proj.weight", PART_WHOLE},
    {ROLE_EXPERT_GATE, "model.layers.{layer}.mlp.experts.{expert}.gate_proj.weight", PART_WHOLE},
    {ROLE_EXPERT_UP, "model.layers.{layer}.mlp.experts.{expert}.up_proj.weight", PART_WHOLE},
    {ROLE_EXPERT_DOWN, "model.layers.{layer}.mlp.experts.{expert}.down_proj.weight", PART_WHOLE},
    {ROLE_EXPERT_GATE, "model.layers.{layer}.mlp.experts.gate_up_proj", PART_GATE_OF_PAIR},
    {ROLE_EXPERT_UP, "model.layers.{layer}.mlp.experts.gate_up_proj", PART_UP_OF_PAIR},
    {ROLE_EXPERT_DOWN, "model.layers.{layer}.mlp.experts.down_proj", PART_WHOLE},
    {0, NULL, 0},
};

const struct tensor_name family_mixtral_names[] = {
    {ROLE_ROUTER, "model.layers.{layer}.block_sparse_moe.gate.weight", PART_WHOLE},
    {ROLE_ROUTER, "model.layers.{layer}.mlp.gate.weight", PART_WHOLE},
    {ROLE_ROUTER_CORRECTION, "model.layers.{layer}.block_sparse_moe.e_score_correction_bias",
     PART_WHOLE},
    {ROLE_ROUTER_CORRECTION, "model.layers.{layer}.mlp.e_score_correction_bias", PART_WHOLE},
    {ROLE_EXPERT_GATE, "model.layers.{layer}.block_sparse_moe.experts.{expert}.w1.weight",
     PART_WHOLE},
    {ROLE_EXPERT_UP, "model.layers.{layer}.block_sparse_moe.experts.{expert}.w3.weight",
     PART_WHOLE},
    {ROLE_EXPERT_DOWN, "model.layers.{layer}.block_sparse_moe.experts.{expert}.w2.weight",
     PART_WHOLE},
    {ROLE_EXPERT_GATE, "model.layers.{layer}.mlp.experts.gate_up_proj", PART_GATE_OF_PAIR},
    {ROLE_EXPERT_UP, "model.layers.{layer}.mlp.experts.gate_up_proj", PART_UP_OF_PAIR},
    {ROLE_EXPERT_DOWN, "model.layers.{layer}.mlp.experts.down_proj", PART_WHOLE},
    {0, NULL, 0},
};

const struct tensor_name family_falcon_h1_names[] = {
    {ROLE_FINAL_NORM, "model.final_layernorm.weight", PART_WHOLE},
    {ROLE_MIXER_INPUT, "model.layers.{layer}.mamba.in_proj.weight", PART_WHOLE},
    {ROLE_CONVOLUTION, "model.layers.{layer}.mamba.conv1d.weight", PART_WHOLE},
    {ROLE_CONVOLUTION_BIAS, "model.layers.{layer}.mamba.conv1d.bias", PART_WHOLE},
    {ROLE_DECAY, "model.layers.{layer}.mamba.A_log", PART_WHOLE},
    {ROLE_STEP_BIAS, "model.layers.{layer}.mamba.dt_bias", PART_WHOLE},
    {ROLE_SKIP, "model.layers.{layer}.mamba.D", PART_WHOLE},
    {ROLE_MIXER_NORM, "model.layers.{layer}.mamba.norm.weight", PART_WHOLE},
    {ROLE_MIXER_OUTPUT, "model.layers.{layer}.mamba.out_proj.weight", PART_WHOLE},
    {ROLE_MLP_NORM, "model.layers.{layer}.pre_ff_layernorm.weight", PART_WHOLE},
    {ROLE_GATE, "model.layers.{layer}.feed_forward.gate_proj.weight", PART_WHOLE},
    {ROLE_UP, "model.layers.{layer}.feed_forward.up_proj.weight", PART_WHOLE},
    {ROLE_DOWN, "model.layers.{layer}.feed_forward.down_proj.weight", PART_WHOLE},
    {0, NULL, 0},
};

/* A layer has one norm, whatever it is. */
const struct tensor_name family_nemotron_h_names[] = {
    {ROLE_EMBEDDING, "model.embeddings.weight", PART_WHOLE},
    {ROLE_FINAL_NORM, "model.norm_f.weight", PART_WHOLE},
    {ROLE_ATTENTION_NORM, "model.layers.{layer}.norm.weight", PART_WHOLE},
    {ROLE_MIXER_INPUT, "model.layers.{layer}.mixer.in_proj.weight", PART_WHOLE},
    {ROLE_MIXER_INPUT_BIAS, "model.layers.{layer}.mixer.in_proj.bias", PART_WHOLE},
    {ROLE_CONVOLUTION, "model.layers.{layer}.mixer.conv1d.weight", PART_WHOLE},
    {ROLE_CONVOLUTION_BIAS, "model.layers.{layer}.mixer.conv1d.bias", PART_WHOLE},
    {ROLE_DECAY, "model.layers.{layer}.mixer.A_log", PART_WHOLE},
    {ROLE_STEP_BIAS, "model.layers.{layer}.mixer.dt_bias", PART_WHOLE},
    {ROLE_SKIP, "model.layers.{layer}.mixer.D", PART_WHOLE},
    {ROLE_MIXER_NORM, "model.layers.{layer}.mixer.norm.weight", PART_WHOLE},
    {ROLE_MIXER_OUTPUT, "model.layers.{layer}.mixer.out_proj.weight", PART_WHOLE},
    {ROLE_MIXER_OUTPUT_BIAS, "model.layers.{layer}.mixer.out_proj.bias", PART_WHOLE},
    {ROLE_Q, "model.layers.{layer}.mixer.q_proj.weight", PART_WHOLE},
    {ROLE_K, "model.layers.{layer}.mixer.k_proj.weight", PART_WHOLE},
    {ROLE_V, "model.layers.{layer}.mixer.v_proj.weight", PART_WHOLE},
    {ROLE_Q_BIAS, "model.layers.{layer}.mixer.q_proj.bias", PART_WHOLE},
    {ROLE_K_BIAS, "model.layers.{layer}.mixer.k_proj.bias", PART_WHOLE},
    {ROLE_V_BIAS, "model.layers.{layer}.mixer.v_proj.bias", PART_WHOLE},
    {ROLE_ATTENTION_OUTPUT, "model.layers.{layer}.mixer.o_proj.weight", PART_WHOLE},
    {ROLE_ATTENTION_OUTPUT_BIAS, "model.layers.{layer}.mixer.o_proj.bias", PART_WHOLE},
    {ROLE_UP, "model.layers.{layer}.mixer.up_proj.weight", PART_WHOLE},
    {ROLE_UP_BIAS, "model.layers.{layer}.mixer.up_proj.bias", PART_WHOLE},
    {ROLE_DOWN, "model.layers.{layer}.mixer.down_proj.weight", PART_WHOLE},
    {ROLE_DOWN_BIAS, "model.layers.{layer}.mixer.down_proj.bias", PART_WHOLE},
    {ROLE_ROUTER, "model.layers.{layer}.mixer.gate.weight", PART_WHOLE},
    {ROLE_ROUTER_CORRECTION, "model.layers.{layer}.mixer.gate.e_score_correction_bias", PART_WHOLE},
    {ROLE_EXPERT_UP, "model.layers.{layer}.mixer.experts.{expert}.up_proj.weight", PART_WHOLE},
    {ROLE_EXPERT_DOWN, "model.layers.{layer}.mixer.experts.{expert}.down_proj.weight", PART_WHOLE},
    {ROLE_SHARED_UP, "model.layers.{layer}.mixer.shared_experts.up_proj.weight", PART_WHOLE},
    {ROLE_SHARED_DOWN, "model.layers.{layer}.mixer.shared_experts.down_proj.weight", PART_WHOLE},
    {0, NULL, 0},
};

const struct tensor_name family_deepseek_names[] = {
    {ROLE_QUERY_DOWN, "model.layers.{layer}.self_attn.q_a_proj.weight", PART_WHOLE},
    {ROLE_QUERY_UP, "model.layers.{layer}.self_attn.q_b_proj.weight", PART_WHOLE},
    {ROLE_Q_NORM, "model.layers.{layer}.self_attn.q_a_layernorm.weight", PART_WHOLE},
    {ROLE_LATENT_DOWN, "model.layers.{layer}.self_attn.kv_a_proj_with_mqa.weight", PART_WHOLE},
    {ROLE_LATENT_NORM, "model.layers.{layer}.self_attn.kv_a_layernorm.weight", PART_WHOLE},
    {ROLE_KEY_UP, "model.layers.{layer}.self_attn.kv_b_proj.weight", PART_WHOLE},
    {ROLE_VALUE_UP, "model.layers.{layer}.self_attn.kv_b_proj.weight", PART_WHOLE},
    {0, NULL, 0},
};

const struct tensor_name family_granitemoe_names[] = {
    {ROLE_ROUTER, "model.layers.{layer}.block_sparse_moe.router.layer.weight", PART_WHOLE},
    {ROLE_EXPERT_GATE, "model.layers.{layer}.block_sparse_moe.input_linear.weight",
     PART_GATE_OF_PAIR},
    {ROLE_EXPERT_UP, "model.layers.{layer}.block_sparse_moe.input_linear.weight", PART_UP_OF_PAIR},
    {ROLE_EXPERT_DOWN, "model.layers.{layer}.block_sparse_moe.output_linear.weight", PART_WHOLE},
    {ROLE_SHARED_GATE, "model.layers.{layer}.shared_mlp.input_linear.weight", PART_GATE_OF_PAIR},
    {ROLE_SHARED_UP, "model.layers.{layer}.shared_mlp.input_linear.weight", PART_UP_OF_PAIR},
    {ROLE_SHARED_DOWN, "model.layers.{layer}.shared_mlp.output_linear.weight", PART_WHOLE},
    {0, NULL, 0},
};

/* In MXFP4 an expert's matrix has a row for each output, as blocks and scales; unquantised it has
 * one for each input. */
const struct tensor_name family_gpt_oss_names[] = {
    {ROLE_SINKS, "model.layers.{layer}.self_attn.sinks", PART_WHOLE},
    {ROLE_ROUTER, "model.layers.{layer}.mlp.router.weight", PART_WHOLE},
    {ROLE_ROUTER_BIAS, "model.layers.{layer}.mlp.router.bias", PART_WHOLE},
    {ROLE_EXPERT_GATE, "model.layers.{layer}.mlp.experts.gate_up_proj", PART_EVEN_TURNED},
    {ROLE_EXPERT_UP, "model.layers.{layer}.mlp.experts.gate_up_proj", PART_ODD_TURNED},
    {ROLE_EXPERT_DOWN, "model.layers.{layer}.mlp.experts.down_proj", PART_TURNED},
    {ROLE_EXPERT_GATE_BIAS, "model.layers.{layer}.mlp.experts.gate_up_proj_bias", PART_EVEN},
    {ROLE_EXPERT_UP_BIAS, "model.layers.{layer}.mlp.experts.gate_up_proj_bias", PART_ODD},
    {ROLE_EXPERT_DOWN_BIAS, "model.layers.{layer}.mlp.experts.down_proj_bias", PART_WHOLE},
    {0, NULL, 0},
};

/* Norms before and after both halves: the name that others give the MLP's norm is attention's
 * output norm here. */
const struct tensor_name family_gemma2_names[] = {
    {ROLE_ATTENTION_POST_NORM, "model.layers.{layer}.post_attention_layernorm.weight", PART_WHOLE},
    {ROLE_MLP_NORM, "model.layers.{layer}.pre_feedforward_layernorm.weight", PART_WHOLE},
    {ROLE_MLP_POST_NORM, "model.layers.{layer}.post_feedforward_layernorm.weight", PART_WHOLE},
    {0, NULL, 0},
};

const struct tensor_name family_phi3_names[] = {
    {ROLE_Q, "model.layers.{layer}.self_attn.qkv_proj.weight", PART_Q_OF_QKV},
    {ROLE_K, "model.layers.{layer}.self_attn.qkv_proj.weight", PART_K_OF_QKV},
    {ROLE_V, "model.layers.{layer}.self_attn.qkv_proj.weight", PART_V_OF_QKV},
    {ROLE_GATE, "model.layers.{layer}.mlp.gate_up_proj.weight", PART_GATE_OF_PAIR},
    {ROLE_UP, "model.layers.{layer}.mlp.gate_up_proj.weight", PART_UP_OF_PAIR},
    {0, NULL, 0},
};

/* Norms after both halves alone. */
const struct tensor_name family_olmo2_names[] = {
    {ROLE_ATTENTION_POST_NORM, "model.layers.{layer}.post_attention_layernorm.weight", PART_WHOLE},
    {ROLE_MLP_POST_NORM, "model.layers.{layer}.post_feedforward_layernorm.weight", PART_WHOLE},
    {0, NULL, 0},
};

const struct tensor_name family_glm4_names[] = {
    {ROLE_GATE, "model.layers.{layer}.mlp.gate_up_proj.weight", PART_GATE_OF_PAIR},
    {ROLE_UP, "model.layers.{layer}.mlp.gate_up_proj.weight", PART_UP_OF_PAIR},
    {ROLE_ATTENTION_POST_NORM, "model.layers.{layer}.post_self_attn_layernorm.weight", PART_WHOLE},
    {ROLE_MLP_POST_NORM, "model.layers.{layer}.post_mlp_layernorm.weight", PART_WHOLE},
    {0, NULL, 0},
};

const struct tensor_name family_starcoder2_names[] = {
    {ROLE_UP, "model.layers.{layer}.mlp.c_fc.weight", PART_WHOLE},
    {ROLE_UP_BIAS, "model.layers.{layer}.mlp.c_fc.bias", PART_WHOLE},
    {ROLE_DOWN, "model.layers.{layer}.mlp.c_proj.weight", PART_WHOLE},
    {ROLE_DOWN_BIAS, "model.layers.{layer}.mlp.c_proj.bias", PART_WHOLE},
    {0, NULL, 0},
};

const struct tensor_name family_lfm2_names[] = {
    {ROLE_FINAL_NORM, "model.embedding_norm.weight", PART_WHOLE},
    {ROLE_ATTENTION_NORM, "model.layers.{layer}.operator_norm.weight", PART_WHOLE},
    {ROLE_MIXER_INPUT, "model.layers.{layer}.conv.in_proj.weight", PART_WHOLE},
    {ROLE_MIXER_INPUT_BIAS, "model.layers.{layer}.conv.in_proj.bias", PART_WHOLE},
    {ROLE_CONVOLUTION, "model.layers.{layer}.conv.conv.weight", PART_WHOLE},
    {ROLE_CONVOLUTION_BIAS, "model.layers.{layer}.conv.conv.bias", PART_WHOLE},
    {ROLE_MIXER_OUTPUT, "model.layers.{layer}.conv.out_proj.weight", PART_WHOLE},
    {ROLE_MIXER_OUTPUT_BIAS, "model.layers.{layer}.conv.out_proj.bias", PART_WHOLE},
    {ROLE_Q_NORM, "model.layers.{layer}.self_attn.q_layernorm.weight", PART_WHOLE},
    {ROLE_K_NORM, "model.layers.{layer}.self_attn.k_layernorm.weight", PART_WHOLE},
    {ROLE_ATTENTION_OUTPUT, "model.layers.{layer}.self_attn.out_proj.weight", PART_WHOLE},
    {ROLE_MLP_NORM, "model.layers.{layer}.ffn_norm.weight", PART_WHOLE},
    {ROLE_GATE, "model.layers.{layer}.feed_forward.w1.weight", PART_WHOLE},
    {ROLE_UP, "model.layers.{layer}.feed_forward.w3.weight", PART_WHOLE},
    {ROLE_DOWN, "model.layers.{layer}.feed_forward.w2.weight", PART_WHOLE},
    {0, NULL, 0},
};

const struct tensor_name family_qwen3_5_names[] = {
    {ROLE_MIXER_INPUT, "model.layers.{layer}.linear_attn.in_proj_qkv.weight", PART_WHOLE},
    {ROLE_DELTA_Z, "model.layers.{layer}.linear_attn.in_proj_z.weight", PART_WHOLE},
    {ROLE_DELTA_B, "model.layers.{layer}.linear_attn.in_proj_b.weight", PART_WHOLE},
    {ROLE_DELTA_A, "model.layers.{layer}.linear_attn.in_proj_a.weight", PART_WHOLE},
    {ROLE_CONVOLUTION, "model.layers.{layer}.linear_attn.conv1d.weight", PART_WHOLE},
    {ROLE_DECAY, "model.layers.{layer}.linear_attn.A_log", PART_WHOLE},
    {ROLE_STEP_BIAS, "model.layers.{layer}.linear_attn.dt_bias", PART_WHOLE},
    {ROLE_MIXER_NORM, "model.layers.{layer}.linear_attn.norm.weight", PART_WHOLE},
    {ROLE_MIXER_OUTPUT, "model.layers.{layer}.linear_attn.out_proj.weight", PART_WHOLE},
    {0, NULL, 0},
};

const struct tensor_name family_qwen3_next_names[] = {
    {ROLE_MIXER_INPUT, "model.layers.{layer}.linear_attn.in_proj_qkvz.weight", PART_WHOLE},
    {ROLE_DELTA_B, "model.layers.{layer}.linear_attn.in_proj_ba.weight", PART_WHOLE},
    {ROLE_CONVOLUTION, "model.layers.{layer}.linear_attn.conv1d.weight", PART_WHOLE},
    {ROLE_DECAY, "model.layers.{layer}.linear_attn.A_log", PART_WHOLE},
    {ROLE_STEP_BIAS, "model.layers.{layer}.linear_attn.dt_bias", PART_WHOLE},
    {ROLE_MIXER_NORM, "model.layers.{layer}.linear_attn.norm.weight", PART_WHOLE},
    {ROLE_MIXER_OUTPUT, "model.layers.{layer}.linear_attn.out_proj.weight", PART_WHOLE},
    {0, NULL, 0},
};

const struct tensor_name family_granite_hybrid_names[] = {
    {ROLE_MIXER_INPUT, "model.layers.{layer}.mamba.in_proj.weight", PART_WHOLE},
    {ROLE_MIXER_INPUT_BIAS, "model.layers.{layer}.mamba.in_proj.bias", PART_WHOLE},
    {ROLE_CONVOLUTION, "model.layers.{layer}.mamba.conv1d.weight", PART_WHOLE},
    {ROLE_CONVOLUTION_BIAS, "model.layers.{layer}.mamba.conv1d.bias", PART_WHOLE},
    {ROLE_DECAY, "model.layers.{layer}.mamba.A_log", PART_WHOLE},
    {ROLE_STEP_BIAS, "model.layers.{layer}.mamba.dt_bias", PART_WHOLE},
    {ROLE_SKIP, "model.layers.{layer}.mamba.D", PART_WHOLE},
    {ROLE_MIXER_NORM, "model.layers.{layer}.mamba.norm.weight", PART_WHOLE},
    {ROLE_MIXER_OUTPUT, "model.layers.{layer}.mamba.out_proj.weight", PART_WHOLE},
    {ROLE_MIXER_OUTPUT_BIAS, "model.layers.{layer}.mamba.out_proj.bias", PART_WHOLE},
    {ROLE_ROUTER, "model.layers.{layer}.block_sparse_moe.router.layer.weight", PART_WHOLE},
    {ROLE_EXPERT_GATE, "model.layers.{layer}.block_sparse_moe.input_linear.weight",
     PART_GATE_OF_PAIR},
    {ROLE_EXPERT_UP, "model.layers.{layer}.block_sparse_moe.input_linear.weight", PART_UP_OF_PAIR},
    {ROLE_EXPERT_DOWN, "model.layers.{layer}.block_sparse_moe.output_linear.weight", PART_WHOLE},
    {ROLE_SHARED_GATE, "model.layers.{layer}.shared_mlp.input_linear.weight", PART_GATE_OF_PAIR},
    {ROLE_SHARED_UP, "model.layers.{layer}.shared_mlp.input_linear.weight", PART_UP_OF_PAIR},
    {ROLE_SHARED_DOWN, "model.layers.{layer}.shared_mlp.output_linear.weight", PART_WHOLE},
    {ROLE_GATE, "model.layers.{layer}.shared_mlp.input_linear.weight", PART_GATE_OF_PAIR},
    {ROLE_UP, "model.layers.{layer}.shared_mlp.input_linear.weight", PART_UP_OF_PAIR},
    {ROLE_DOWN, "model.layers.{layer}.shared_mlp.output_linear.weight", PART_WHOLE},
    {0, NULL, 0},
};

/* A norm after each half of a layer is the one before the next half: what a layer ends with belongs
 * to the layer behind it, and what the last layer ends with is the final norm. */
const struct tensor_name family_bert_names[] = {
    {ROLE_EMBEDDING, "model.embeddings.word_embeddings.weight", PART_WHOLE},
    {ROLE_POSITIONS, "model.embeddings.position_embeddings.weight", PART_WHOLE},
    {ROLE_TOKEN_TYPES, "model.embeddings.token_type_embeddings.weight", PART_WHOLE},
    {ROLE_ATTENTION_NORM, "model.encoder.layer.{before}.output.LayerNorm.weight", PART_WHOLE},
    {ROLE_ATTENTION_NORM, "model.encoder.layer.{before}.output.LayerNorm.gamma", PART_WHOLE},
    {ROLE_ATTENTION_NORM, "model.embeddings.{first}LayerNorm.weight", PART_WHOLE},
    {ROLE_ATTENTION_NORM, "model.embeddings.{first}LayerNorm.gamma", PART_WHOLE},
    {ROLE_ATTENTION_NORM_BIAS, "model.encoder.layer.{before}.output.LayerNorm.bias", PART_WHOLE},
    {ROLE_ATTENTION_NORM_BIAS, "model.encoder.layer.{before}.output.LayerNorm.beta", PART_WHOLE},
    {ROLE_ATTENTION_NORM_BIAS, "model.embeddings.{first}LayerNorm.bias", PART_WHOLE},
    {ROLE_ATTENTION_NORM_BIAS, "model.embeddings.{first}LayerNorm.beta", PART_WHOLE},
    {ROLE_FINAL_NORM, "model.encoder.layer.{last}.output.LayerNorm.weight", PART_WHOLE},
    {ROLE_FINAL_NORM, "model.encoder.layer.{last}.output.LayerNorm.gamma", PART_WHOLE},
    {ROLE_FINAL_NORM_BIAS, "model.encoder.layer.{last}.output.LayerNorm.bias", PART_WHOLE},
    {ROLE_FINAL_NORM_BIAS, "model.encoder.layer.{last}.output.LayerNorm.beta", PART_WHOLE},
    {ROLE_Q, "model.encoder.layer.{layer}.attention.self.query.weight", PART_WHOLE},
    {ROLE_K, "model.encoder.layer.{layer}.attention.self.key.weight", PART_WHOLE},
    {ROLE_V, "model.encoder.layer.{layer}.attention.self.value.weight", PART_WHOLE},
    {ROLE_Q_BIAS, "model.encoder.layer.{layer}.attention.self.query.bias", PART_WHOLE},
    {ROLE_K_BIAS, "model.encoder.layer.{layer}.attention.self.key.bias", PART_WHOLE},
    {ROLE_V_BIAS, "model.encoder.layer.{layer}.attention.self.value.bias", PART_WHOLE},
    {ROLE_ATTENTION_OUTPUT, "model.encoder.layer.{layer}.attention.output.dense.weight",
     PART_WHOLE},
    {ROLE_ATTENTION_OUTPUT_BIAS, "model.encoder.layer.{layer}.attention.output.dense.bias",
     PART_WHOLE},
    {ROLE_MLP_NORM, "model.encoder.layer.{layer}.attention.output.LayerNorm.weight", PART_WHOLE},
    {ROLE_MLP_NORM, "model.encoder.layer.{layer}.attention.output.LayerNorm.gamma", PART_WHOLE},
    {ROLE_MLP_NORM_BIAS, "model.encoder.layer.{layer}.attention.output.LayerNorm.bias", PART_WHOLE},
    {ROLE_MLP_NORM_BIAS, "model.encoder.layer.{layer}.attention.output.LayerNorm.beta", PART_WHOLE},
    {ROLE_UP, "model.encoder.layer.{layer}.intermediate.dense.weight", PART_WHOLE},
    {ROLE_UP_BIAS, "model.encoder.layer.{layer}.intermediate.dense.bias", PART_WHOLE},
    {ROLE_DOWN, "model.encoder.layer.{layer}.output.dense.weight", PART_WHOLE},
    {ROLE_DOWN_BIAS, "model.encoder.layer.{layer}.output.dense.bias", PART_WHOLE},
    {0, NULL, 0},
};

const struct tensor_name family_gguf_names[] = {
    {ROLE_EMBEDDING, "token_embd.weight", PART_WHOLE},
    {ROLE_FINAL_NORM, "output_norm.weight", PART_WHOLE},
    {ROLE_HEAD, "output.weight", PART_WHOLE},
    {ROLE_ATTENTION_NORM, "blk.{layer}.attn_norm.weight", PART_WHOLE},
    {ROLE_Q, "blk.{layer}.attn_q.weight", PART_WHOLE},
    {ROLE_K, "blk.{layer}.attn_k.weight", PART_WHOLE},
    {ROLE_V, "blk.{layer}.attn_v.weight", PART_WHOLE},
    {ROLE_Q_BIAS, "blk.{layer}.attn_q.bias", PART_WHOLE},
    {ROLE_K_BIAS, "blk.{layer}.attn_k.bias", PART_WHOLE},
    {ROLE_V_BIAS, "blk.{layer}.attn_v.bias", PART_WHOLE},
    {ROLE_Q_NORM, "blk.{layer}.attn_q_norm.weight", PART_WHOLE},
    {ROLE_K_NORM, "blk.{layer}.attn_k_norm.weight", PART_WHOLE},
    {ROLE_ATTENTION_OUTPUT, "blk.{layer}.attn_output.weight", PART_WHOLE},
    {ROLE_ATTENTION_OUTPUT_BIAS, "blk.{layer}.attn_output.bias", PART_WHOLE},
    {ROLE_ATTENTION_POST_NORM, "blk.{layer}.post_attention_norm.weight", PART_WHOLE},
    {ROLE_MLP_NORM, "blk.{layer}.ffn_norm.weight", PART_WHOLE},
    {ROLE_GATE, "blk.{layer}.ffn_gate.weight", PART_WHOLE},
    {ROLE_UP, "blk.{layer}.ffn_up.weight", PART_WHOLE},
    {ROLE_DOWN, "blk.{layer}.ffn_down.weight", PART_WHOLE},
    {ROLE_GATE_BIAS, "blk.{layer}.ffn_gate.bias", PART_WHOLE},
    {ROLE_UP_BIAS, "blk.{layer}.ffn_up.bias", PART_WHOLE},
    {ROLE_DOWN_BIAS, "blk.{layer}.ffn_down.bias", PART_WHOLE},
    {ROLE_MLP_POST_NORM, "blk.{layer}.post_ffw_norm.weight", PART_WHOLE},
    {ROLE_ROUTER, "blk.{layer}.ffn_gate_inp.weight", PART_WHOLE},
    {ROLE_EXPERT_GATE, "blk.{layer}.ffn_gate_exps.weight", PART_WHOLE},
    {ROLE_EXPERT_UP, "blk.{layer}.ffn_up_exps.weight", PART_WHOLE},
    {ROLE_EXPERT_DOWN, "blk.{layer}.ffn_down_exps.weight", PART_WHOLE},
    {ROLE_EXPERT_GATE, "blk.{layer}.ffn_gate.{expert}.weight", PART_WHOLE},
    {ROLE_EXPERT_UP, "blk.{layer}.ffn_up.{expert}.weight", PART_WHOLE},
    {ROLE_EXPERT_DOWN, "blk.{layer}.ffn_down.{expert}.weight", PART_WHOLE},
    {0, NULL, 0},
};

const struct tensor_name family_phi3_gguf_names[] = {
    {ROLE_Q, "blk.{layer}.attn_qkv.weight", PART_Q_OF_QKV},
    {ROLE_K, "blk.{layer}.attn_qkv.weight", PART_K_OF_QKV},
    {ROLE_V, "blk.{layer}.attn_qkv.weight", PART_V_OF_QKV},
    {ROLE_GATE, "blk.{layer}.ffn_up.weight", PART_GATE_OF_PAIR},
    {ROLE_UP, "blk.{layer}.ffn_up.weight", PART_UP_OF_PAIR},
    {0, NULL, 0},
};

/* ---- Heads ---- */

const struct head_shape family_score_head = {{{.weight = "score.weight"}}};

const struct head_shape family_bert_head = {
    {{.weight = "model.pooler.dense.weight",
      .bias = "model.pooler.dense.bias",
      .activation = HEAD_TANH},
     {.weight = "classifier.weight", .bias = "classifier.bias"}}};

const struct head_shape family_roberta_head = {
    {{.weight = "classifier.dense.weight",
      .bias = "classifier.dense.bias",
      .activation = HEAD_TANH},
     {.weight = "classifier.out_proj.weight", .bias = "classifier.out_proj.bias"}}};
