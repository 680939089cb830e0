/* SPDX-License-Identifier: Apache-2.0 */
/* The table of families. Defaults are those of the configuration classes of Hugging Face
 * transformers (models/<family>/configuration_<family>.py), GGUF's those of its writer and reader
 * in llama.cpp.
 *
 * OLMo 2 is not here: its q and k norms span the whole projection, which the backend's per-head
 * norm cannot say. */
#include "model/family.h"

#include <string.h>

const struct tensor_name family_common_names[] = {
    {ROLE_EMBEDDING, "model.embed_tokens.weight", PART_WHOLE},
    {ROLE_FINAL_NORM, "model.norm.weight", PART_WHOLE},
    {ROLE_HEAD, "lm_head.weight", PART_WHOLE},
    {ROLE_HEAD, "language_model.lm_head.weight", PART_WHOLE},
    {ROLE_ATTENTION_NORM, "model.layers.{layer}.input_layernorm.weight", PART_WHOLE},
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
    {ROLE_GATE, "model.layers.{layer}.mlp.gate_proj.weight", PART_WHOLE},
    {ROLE_UP, "model.layers.{layer}.mlp.up_proj.weight", PART_WHOLE},
    {ROLE_DOWN, "model.layers.{layer}.mlp.down_proj.weight", PART_WHOLE},
    {ROLE_GATE_BIAS, "model.layers.{layer}.mlp.gate_proj.bias", PART_WHOLE},
    {ROLE_UP_BIAS, "model.layers.{layer}.mlp.up_proj.bias", PART_WHOLE},
    {ROLE_DOWN_BIAS, "model.layers.{layer}.mlp.down_proj.bias", PART_WHOLE},
    {ROLE_ROUTER, "model.layers.{layer}.mlp.gate.weight", PART_WHOLE},
    {ROLE_EXPERT_GATE, "model.layers.{layer}.mlp.experts.{expert}.gate_proj.weight", PART_WHOLE},
    {ROLE_EXPERT_UP, "model.layers.{layer}.mlp.experts.{expert}.up_proj.weight", PART_WHOLE},
    {ROLE_EXPERT_DOWN, "model.layers.{layer}.mlp.experts.{expert}.down_proj.weight", PART_WHOLE},
    {ROLE_EXPERT_GATE, "model.layers.{layer}.mlp.experts.gate_up_proj", PART_GATE_OF_PAIR},
    {ROLE_EXPERT_UP, "model.layers.{layer}.mlp.experts.gate_up_proj", PART_UP_OF_PAIR},
    {ROLE_EXPERT_DOWN, "model.layers.{layer}.mlp.experts.down_proj", PART_WHOLE},
    {0, NULL, 0},
};

static const struct tensor_name mixtral_names[] = {
    {ROLE_ROUTER, "model.layers.{layer}.block_sparse_moe.gate.weight", PART_WHOLE},
    {ROLE_ROUTER, "model.layers.{layer}.mlp.gate.weight", PART_WHOLE},
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

/* Norms before and after both halves: the name that others give the MLP's norm is attention's
 * output norm here. */
static const struct tensor_name gemma2_names[] = {
    {ROLE_ATTENTION_POST_NORM, "model.layers.{layer}.post_attention_layernorm.weight", PART_WHOLE},
    {ROLE_MLP_NORM, "model.layers.{layer}.pre_feedforward_layernorm.weight", PART_WHOLE},
    {ROLE_MLP_POST_NORM, "model.layers.{layer}.post_feedforward_layernorm.weight", PART_WHOLE},
    {0, NULL, 0},
};

static const struct tensor_name phi3_names[] = {
    {ROLE_Q, "model.layers.{layer}.self_attn.qkv_proj.weight", PART_Q_OF_QKV},
    {ROLE_K, "model.layers.{layer}.self_attn.qkv_proj.weight", PART_K_OF_QKV},
    {ROLE_V, "model.layers.{layer}.self_attn.qkv_proj.weight", PART_V_OF_QKV},
    {ROLE_GATE, "model.layers.{layer}.mlp.gate_up_proj.weight", PART_GATE_OF_PAIR},
    {ROLE_UP, "model.layers.{layer}.mlp.gate_up_proj.weight", PART_UP_OF_PAIR},
    {0, NULL, 0},
};

/* A norm after each half of a layer is the one before the next half: what a layer ends with belongs
 * to the layer behind it, and what the last layer ends with is the final norm. */
static const struct tensor_name bert_names[] = {
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

static const struct tensor_name phi3_gguf_names[] = {
    {ROLE_Q, "blk.{layer}.attn_qkv.weight", PART_Q_OF_QKV},
    {ROLE_K, "blk.{layer}.attn_qkv.weight", PART_K_OF_QKV},
    {ROLE_V, "blk.{layer}.attn_qkv.weight", PART_V_OF_QKV},
    {ROLE_GATE, "blk.{layer}.ffn_up.weight", PART_GATE_OF_PAIR},
    {ROLE_UP, "blk.{layer}.ffn_up.weight", PART_UP_OF_PAIR},
    {0, NULL, 0},
};

static const struct family families[] = {
    {
        .name = "llama",
        .examples = "Llama 2 to 3.3, SmolLM2, TinyLlama, Yi",
        .architectures = {"LlamaForCausalLM"},
        .model_types = {"llama"},
        .gguf = "llama",
        .qkv_bias = BIAS_BY_KEY,
        .attention_output_bias = BIAS_BY_KEY,
        .mlp_bias = BIAS_BY_KEY,
        .activation_key = "hidden_act",
        .permuted_in_gguf = true,
        .defaults = {.max_positions = 2048, .bos = 1, .end = 2, .epsilon = 1e-6, .theta = 1e4},
    },
    {
        .name = "mistral",
        .examples = "Mistral 7B, Mistral NeMo (their GGUF files say `llama`)",
        .architectures = {"MistralForCausalLM"},
        .model_types = {"mistral"},
        .activation_key = "hidden_act",
        .layer_rule = LAYERS_ALL,
        .other_layers = {MIXER_ATTENTION, ATTENTION_WINDOWED},
        .defaults = {.kv_heads = 8,
                     .max_positions = 131072,
                     .window = 4096,
                     .bos = 1,
                     .end = 2,
                     .epsilon = 1e-6,
                     .theta = 1e4},
    },
    {
        .name = "mixtral",
        .examples = "Mixtral 8x7B, 8x22B",
        .architectures = {"MixtralForCausalLM"},
        .model_types = {"mixtral"},
        .gguf = "llama",
        .names = mixtral_names,
        .activation_key = "hidden_act",
        .mixture = true,
        .experts_keep_width = true,
        .always_normalize_experts = true,
        .permuted_in_gguf = true,
        .layer_rule = LAYERS_ALL,
        .other_layers = {MIXER_ATTENTION, ATTENTION_WINDOWED},
        .defaults = {.kv_heads = 8,
                     .max_positions = 131072,
                     .experts = 8,
                     .experts_used = 2,
                     .bos = 1,
                     .end = 2,
                     .epsilon = 1e-5,
                     .theta = 1e6},
    },
    {
        .name = "gemma",
        .examples = "Gemma 1",
        .architectures = {"GemmaForCausalLM"},
        .model_types = {"gemma"},
        .gguf = "gemma",
        .norm_weight_offset = 1,
        .qkv_bias = BIAS_BY_KEY,
        .attention_output_bias = BIAS_BY_KEY,
        /* hidden_act says "gelu" in old files and never meant it */
        .activation_key = "hidden_activation",
        .activation = ACTIVATION_GELU_TANH,
        .scaled_embedding = true,
        .defaults = {.kv_heads = 16,
                     .head_dim = 256,
                     .max_positions = 8192,
                     .bos = 2,
                     .end = 1,
                     .epsilon = 1e-6,
                     .theta = 1e4,
                     .tied_embeddings = true},
    },
    {
        .name = "gemma2",
        .examples = "Gemma 2",
        .architectures = {"Gemma2ForCausalLM"},
        .model_types = {"gemma2"},
        .gguf = "gemma2",
        .names = gemma2_names,
        .norm_weight_offset = 1,
        .post_norm = true,
        .qkv_bias = BIAS_BY_KEY,
        .attention_output_bias = BIAS_BY_KEY,
        .activation_key = "hidden_activation",
        .activation = ACTIVATION_GELU_TANH,
        .scaled_embedding = true,
        .query_scalar = true,
        .layer_rule = LAYERS_PATTERN,
        .other_layers = {MIXER_ATTENTION, ATTENTION_WINDOWED},
        .defaults = {.kv_heads = 4,
                     .head_dim = 256,
                     .max_positions = 8192,
                     .window = 4096,
                     .window_pattern = 2,
                     .bos = 2,
                     .end = 1,
                     .epsilon = 1e-6,
                     .theta = 1e4,
                     .attention_soft_cap = 50,
                     .logit_soft_cap = 30,
                     .query_scalar = 256,
                     .tied_embeddings = true},
    },
    {
        .name = "gemma3",
        .examples = "Gemma 3 (its text model)",
        .architectures = {"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"},
        .model_types = {"gemma3_text", "gemma3"},
        .text_config = "text_config",
        .gguf = "gemma3",
        .names = gemma2_names,
        .norm_weight_offset = 1,
        .post_norm = true,
        .qk_norm = true,
        .qkv_bias = BIAS_BY_KEY,
        .attention_output_bias = BIAS_BY_KEY,
        .activation_key = "hidden_activation",
        .activation = ACTIVATION_GELU_TANH,
        .scaled_embedding = true,
        .query_scalar = true,
        .local_rope = true,
        .layer_rule = LAYERS_PATTERN,
        .other_layers = {MIXER_ATTENTION, ATTENTION_WINDOWED},
        .defaults = {.heads = 8,
                     .kv_heads = 4,
                     .head_dim = 256,
                     .vocabulary = 262208,
                     .max_positions = 131072,
                     .window = 4096,
                     .window_pattern = 6,
                     .bos = 2,
                     .end = 1,
                     .epsilon = 1e-6,
                     .theta = 1e6,
                     .local_theta = 1e4,
                     .query_scalar = 256,
                     .tied_embeddings = true},
    },
    {
        .name = "qwen2",
        .examples = "Qwen 2, Qwen 2.5, the Qwen distillates of DeepSeek-R1",
        .architectures = {"Qwen2ForCausalLM"},
        .model_types = {"qwen2"},
        .gguf = "qwen2",
        .qkv_bias = BIAS_ALWAYS,
        .activation_key = "hidden_act",
        .layer_rule = LAYERS_UPPER,
        .other_layers = {MIXER_ATTENTION, ATTENTION_WINDOWED},
        .defaults = {.kv_heads = 32,
                     .max_positions = 32768,
                     .window = 4096,
                     .first_window_layer = 28,
                     .bos = -1,
                     .end = -1,
                     .epsilon = 1e-6,
                     .theta = 1e4},
    },
    {
        .name = "qwen3",
        .examples = "Qwen 3 up to 32B",
        .architectures = {"Qwen3ForCausalLM"},
        .model_types = {"qwen3"},
        .gguf = "qwen3",
        .qk_norm = true,
        .qkv_bias = BIAS_BY_KEY,
        .attention_output_bias = BIAS_BY_KEY,
        .activation_key = "hidden_act",
        .layer_rule = LAYERS_UPPER,
        .other_layers = {MIXER_ATTENTION, ATTENTION_WINDOWED},
        .defaults = {.kv_heads = 32,
                     .head_dim = 128,
                     .max_positions = 32768,
                     .window = 4096,
                     .first_window_layer = 28,
                     .bos = -1,
                     .end = -1,
                     .epsilon = 1e-6,
                     .theta = 1e4},
    },
    {
        .name = "qwen3_moe",
        .examples = "Qwen 3 30B-A3B, 235B-A22B",
        .architectures = {"Qwen3MoeForCausalLM"},
        .model_types = {"qwen3_moe"},
        .gguf = "qwen3moe",
        .qk_norm = true,
        .qkv_bias = BIAS_BY_KEY,
        .attention_output_bias = BIAS_BY_KEY,
        .activation_key = "hidden_act",
        .mixture = true,
        .layer_rule = LAYERS_BY_SWITCH,
        .other_layers = {MIXER_ATTENTION, ATTENTION_WINDOWED},
        .defaults = {.kv_heads = 4,
                     .max_positions = 32768,
                     .window = 4096,
                     .experts = 128,
                     .experts_used = 8,
                     .expert_intermediate = 768,
                     .bos = -1,
                     .end = -1,
                     .epsilon = 1e-6,
                     .theta = 1e4},
    },
    {
        .name = "phi3",
        .examples = "Phi-3 and Phi-3.5 mini, Phi-4",
        .architectures = {"Phi3ForCausalLM"},
        .model_types = {"phi3"},
        .gguf = "phi3",
        .names = phi3_names,
        .gguf_names = phi3_gguf_names,
        .activation_key = "hidden_act",
        .su_is_longrope = true,
        .layer_rule = LAYERS_ALL,
        .other_layers = {MIXER_ATTENTION, ATTENTION_WINDOWED},
        .defaults = {.max_positions = 4096,
                     .original_max_positions = 4096,
                     .bos = 1,
                     .end = 32000,
                     .epsilon = 1e-5,
                     .theta = 1e4},
    },
    {
        .name = "granite",
        .examples = "Granite 3",
        .architectures = {"GraniteForCausalLM"},
        .model_types = {"granite"},
        .gguf = "granite",
        .qkv_bias = BIAS_BY_KEY,
        .attention_output_bias = BIAS_BY_KEY,
        .mlp_bias = BIAS_BY_KEY,
        .activation_key = "hidden_act",
        .multipliers = true,
        .permuted_in_gguf = true,
        .defaults = {.max_positions = 2048, .bos = 1, .end = 2, .epsilon = 1e-6, .theta = 1e4},
    },
    {
        .name = "bert",
        .examples = "BERT, MiniLM, BGE, E5",
        .architectures = {"BertModel", "BertForMaskedLM", "BertForPreTraining",
                          "BertForSequenceClassification"},
        .model_types = {"bert"},
        .names = bert_names,
        .encoder = true,
        .qkv_bias = BIAS_ALWAYS,
        .attention_output_bias = BIAS_ALWAYS,
        .mlp_bias = BIAS_ALWAYS,
        .activation_key = "hidden_act",
        .activation = ACTIVATION_GELU,
        .defaults = {.heads = 12,
                     .vocabulary = 30522,
                     .max_positions = 512,
                     .bos = -1,
                     .end = -1,
                     .epsilon = 1e-12},
    },
    {
        .name = "roberta",
        .examples = "RoBERTa, XLM-RoBERTa, multilingual E5, BGE-M3, CamemBERT",
        .architectures = {"RobertaModel", "RobertaForMaskedLM", "XLMRobertaModel",
                          "XLMRobertaForMaskedLM", "CamembertModel", "CamembertForMaskedLM"},
        .model_types = {"roberta", "xlm-roberta", "camembert"},
        .names = bert_names,
        .encoder = true,
        .positions_after_padding = true,
        .qkv_bias = BIAS_ALWAYS,
        .attention_output_bias = BIAS_ALWAYS,
        .mlp_bias = BIAS_ALWAYS,
        .activation_key = "hidden_act",
        .activation = ACTIVATION_GELU,
        .defaults = {.heads = 12,
                     .vocabulary = 50265,
                     .max_positions = 512,
                     .bos = -1,
                     .end = -1,
                     .epsilon = 1e-12},
    },
};

static bool is_among(const char *const names[FAMILY_MAX_NAMES], const char *wanted)
{
    for (int i = 0; i < FAMILY_MAX_NAMES; i++) {
        if (names[i] != NULL && strcmp(names[i], wanted) == 0) {
            return true;
        }
    }
    return false;
}

const struct family *family_find(const char *architecture, const char *model_type)
{
    for (size_t i = 0; i < COUNT_OF(families); i++) {
        const struct family *family = &families[i];
        if (architecture != NULL
                ? is_among(family->architectures, architecture)
                : model_type != NULL && is_among(family->model_types, model_type)) {
            return family;
        }
    }
    return NULL;
}

const struct family *family_find_gguf(const char *architecture, bool mixture)
{
    for (size_t i = 0; i < COUNT_OF(families); i++) {
        const struct family *family = &families[i];
        if (family->gguf != NULL && strcmp(family->gguf, architecture) == 0 &&
            family->mixture == mixture) {
            return family;
        }
    }
    return NULL;
}

const struct family *family_at(size_t index)
{
    return index < COUNT_OF(families) ? &families[index] : NULL;
}

const struct family *family_by_name(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(families); i++) {
        if (strcmp(families[i].name, name) == 0) {
            return &families[i];
        }
    }
    return NULL;
}

status family_list(bool gguf, struct buffer *out)
{
    const char *separator = "";
    for (size_t i = 0; i < COUNT_OF(families); i++) {
        const char *const *names = gguf ? &families[i].gguf : families[i].architectures;
        int count = gguf ? 1 : FAMILY_MAX_NAMES;
        for (int j = 0; j < count && names[j] != NULL; j++) {
            if (gguf && families[i].mixture && strcmp(names[j], "llama") == 0) {
                continue; /* the dense family has said it */
            }
            TRY(buffer_format(out, "%s%s", separator, names[j]));
            separator = ", ";
        }
    }
    return STATUS_OK;
}
