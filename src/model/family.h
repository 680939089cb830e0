/* SPDX-License-Identifier: Apache-2.0 */
/* Families of models as facts: which configuration means which architecture, what the defaults are,
 * what the tensors are called. config.c, gguf_config.c and load.c read the table; there is no other
 * place that knows a family. */
#ifndef SLUICE_FAMILY_H
#define SLUICE_FAMILY_H

#include "sluice/base.h"
#include "sluice/model.h"

/* ---- Names of tensors ---- */

enum tensor_role {
    ROLE_EMBEDDING,
    ROLE_POSITIONS,
    ROLE_TOKEN_TYPES,
    ROLE_RELATIVE_BIAS,
    ROLE_FINAL_NORM,
    ROLE_FINAL_NORM_BIAS,
    ROLE_HEAD,
    ROLE_ATTENTION_NORM,
    ROLE_ATTENTION_NORM_BIAS,
    ROLE_Q,
    ROLE_K,
    ROLE_V,
    ROLE_Q_BIAS,
    ROLE_K_BIAS,
    ROLE_V_BIAS,
    ROLE_Q_NORM,
    ROLE_K_NORM,
    ROLE_MIXER_INPUT, /* of what is no attention, like those up to ROLE_MIXER_OUTPUT_BIAS */
    ROLE_DELTA_Z,
    ROLE_DELTA_B,
    ROLE_DELTA_A,
    ROLE_DECAY,
    ROLE_STEP_BIAS,
    ROLE_SKIP,
    ROLE_MIXER_NORM,
    ROLE_MIXER_INPUT_BIAS,
    ROLE_CONVOLUTION,
    ROLE_CONVOLUTION_BIAS,
    ROLE_MIXER_OUTPUT,
    ROLE_MIXER_OUTPUT_BIAS,
    ROLE_ATTENTION_OUTPUT,
    ROLE_ATTENTION_OUTPUT_BIAS,
    ROLE_ATTENTION_POST_NORM,
    ROLE_MLP_NORM,
    ROLE_MLP_NORM_BIAS,
    ROLE_GATE,
    ROLE_UP,
    ROLE_DOWN,
    ROLE_GATE_BIAS,
    ROLE_UP_BIAS,
    ROLE_DOWN_BIAS,
    ROLE_MLP_POST_NORM,
    ROLE_ROUTER,
    ROLE_EXPERT_GATE,
    ROLE_EXPERT_UP,
    ROLE_EXPERT_DOWN,
    ROLE_EXPERT_GATE_BIAS,
    ROLE_EXPERT_UP_BIAS,
    ROLE_EXPERT_DOWN_BIAS,
    ROLE_SHARED_GATE,
    ROLE_SHARED_UP,
    ROLE_SHARED_DOWN,
    ROLE_SHARED_GATE_ROW, /* of the gate on all of the shared MLP */
    ROLE_ROUTER_BIAS,
    ROLE_ROUTER_CORRECTION,
    ROLE_SINKS,
    /* Of latent attention. The last two are heads of one tensor, [heads · (key_dim + value_dim),
     * latent]. */
    ROLE_QUERY_DOWN,
    ROLE_QUERY_UP,
    ROLE_LATENT_DOWN,
    ROLE_LATENT_NORM,
    ROLE_KEY_UP,
    ROLE_VALUE_UP,
};

/* Which rows of the named tensor are the wanted ones. */
enum tensor_part {
    PART_WHOLE,
    PART_Q_OF_QKV, /* q rows, then k, then v in one tensor */
    PART_K_OF_QKV,
    PART_V_OF_QKV,
    PART_GATE_OF_PAIR, /* gate rows, then up rows in one tensor */
    PART_UP_OF_PAIR,
    PART_EVEN, /* gate and up rows in turn in one tensor */
    PART_ODD,
    PART_TURNED, /* the transpose of the tensor unless it is packed, here and below */
    PART_EVEN_TURNED,
    PART_ODD_TURNED,
};

/* One place where a tensor may be. A pattern holds {layer}, {before} (the layer before: there is
 * none of layer 0), {last} (the model's last layer) and {expert} for numbers, and {first} for
 * nothing, but in layer 0 alone; a leading "model." stands for the prefix that the files use. A
 * role may have several: the first that is there counts. Expert roles without {expert} are stacks
 * [experts, rows, columns]. */
struct tensor_name {
    enum tensor_role role;
    const char *pattern;
    enum tensor_part part;
};

/* Names end with a NULL pattern. A role that the family's own list has is looked up there alone,
 * any other in the common list. */
extern const struct tensor_name family_common_names[];
extern const struct tensor_name family_gguf_names[];
extern const struct tensor_name family_mixtral_names[];
extern const struct tensor_name family_gemma2_names[];
extern const struct tensor_name family_phi3_names[];
extern const struct tensor_name family_olmo2_names[];
extern const struct tensor_name family_glm4_names[];
extern const struct tensor_name family_starcoder2_names[];
extern const struct tensor_name family_lfm2_names[];
extern const struct tensor_name family_granite_hybrid_names[];
extern const struct tensor_name family_qwen3_5_names[];
extern const struct tensor_name family_qwen3_next_names[];
extern const struct tensor_name family_deepseek_names[];
extern const struct tensor_name family_falcon_h1_names[];
extern const struct tensor_name family_nemotron_h_names[];
extern const struct tensor_name family_granitemoe_names[];
extern const struct tensor_name family_gpt_oss_names[];
extern const struct tensor_name family_bert_names[];
extern const struct tensor_name family_distilbert_names[];
extern const struct tensor_name family_mpnet_names[];
extern const struct tensor_name family_nomic_bert_names[];
extern const struct tensor_name family_modernbert_names[];
extern const struct tensor_name family_phi3_gguf_names[];

/* ---- Heads ---- */

/* One layer of a classifier's head: linear, then what is not NULL or off of the rest. Biases count
 * where the file has them. */
struct head_layer {
    const char *weight, *bias;
    enum { HEAD_LINEAR, HEAD_TANH, HEAD_RELU, HEAD_GELU } activation;
    const char *norm, *norm_bias; /* a layer norm behind it */
};

enum { HEAD_MAX_LAYERS = 3 };

struct head_shape {
    struct head_layer layers[HEAD_MAX_LAYERS]; /* up to one without a weight */
};

extern const struct head_shape family_score_head; /* decoders */
extern const struct head_shape family_bert_head;
extern const struct head_shape family_roberta_head;
extern const struct head_shape family_distilbert_head;
extern const struct head_shape family_modernbert_head;

/* ---- Families ---- */

enum bias_rule {
    BIAS_NEVER,
    BIAS_ALWAYS,
    BIAS_BY_KEY,     /* where the key says so */
    BIAS_UNLESS_KEY, /* where the key does not say otherwise */
};

/* Which layers are of the family's `other_layers` kind; the rest have full attention. */
enum layer_rule {
    LAYERS_ALIKE,              /* none is */
    LAYERS_ALL,                /* all, where sliding_window is a number */
    LAYERS_BY_SWITCH,          /* all, where use_sliding_window is true */
    LAYERS_UPPER,              /* as before, from layer max_window_layers on, or by layer_types */
    LAYERS_PATTERN,            /* all but every pattern-th, by pattern_key, or by layer_types */
    LAYERS_PATTERN_FROM_FIRST, /* the same, where the first layer is one of those that are not */
    LAYERS_NAMED,              /* all, or by layer_types */
    LAYERS_LISTED,             /* those that full_attn_idxs leaves out, or by layer_types */
    LAYERS_BLOCKS, /* each is one block, mixer or MLP: layers_block_type or the letters of
                      hybrid_override_pattern say which */
    LAYERS_LOWER,  /* as LAYERS_UPPER, but every second one below max_window_layers */
};

/* Which layers of a mixture have a plain MLP. */
enum dense_rule {
    DENSE_NONE,
    DENSE_BY_STEP,  /* all but every decoder_sparse_step-th, and those of mlp_only_layers */
    DENSE_FIRST,    /* the first first_k_dense_replace */
    DENSE_BY_RANGE, /* all but every moe_layer_interval-th from moe_layer_start_index to
                       moe_layer_end_index */
};

enum { FAMILY_MAX_NAMES = 6 };

struct family {
    const char *name;
    const char *examples;                        /* models that people know it by */
    const char *architectures[FAMILY_MAX_NAMES]; /* of config.json's "architectures" */
    const char *model_types[FAMILY_MAX_NAMES];   /* of config.json's "model_type" */
    const char *text_config; /* key of the object that holds the text model's facts, or NULL */
    const char *gguf;        /* general.architecture, or NULL */
    const struct tensor_name *names;      /* own names, before the common ones; or NULL */
    const struct tensor_name *gguf_names; /* likewise in GGUF files */

    const struct head_shape *head; /* of its classifiers; NULL: of a decoder, `score` alone */
    bool head_pooling_by_key;      /* classifier_pooling says which vector the head reads */
    bool encoder;                  /* learned positions, layer norms, biases everywhere */
    bool gated_encoder, pre_norm_encoder, norm_bias_by_key, norm_embeddings;
    bool encoder_rope;   /* in place of learned positions */
    bool no_token_types; /* of an encoder */
    bool relative_bias;  /* by distance, of relative_attention_num_buckets */
    bool half_window;    /* local_attention is that of both sides together */
    const char *layers_key, *hidden_key, *heads_key; /* where they are others */
    const char *theta_key, *local_theta_key;
    bool positions_after_padding; /* rows of positions start behind the padding token's id */
    float norm_weight_offset;
    bool post_norm, qk_norm;
    bool no_pre_norm;    /* attention and MLP read the bare residual (OLMo 2) */
    bool wide_qk_norm;   /* norms of q and k are over all heads together */
    bool scaled_queries; /* by llama_4_scaling_beta of rope_parameters */
    bool layer_norm;     /* of a decoder: the mean is subtracted */
    bool norm_bias;      /* layer norms have one */
    bool ungated;        /* one up projection, no gate */
    bool parallel;       /* attention and MLP read one norm, and both are added (Cohere 2) */
    enum bias_rule qkv_bias, attention_output_bias, mlp_bias;
    /* Keys of these, where they are not attention_bias, attention_bias and mlp_bias. */
    const char *qkv_bias_key, *output_bias_key, *mlp_bias_key;
    const char *epsilon_key; /* where it is not rms_norm_eps */
    /* Older names of tie_word_embeddings and intermediate_size, which win over these. */
    const char *tied_key, *intermediate_key;
    const char *pattern_key; /* where it is not sliding_window_pattern */
    bool rope_pairs;         /* values 2i and 2i + 1 rotate against each other */
    bool full_without_rope;  /* layers of full attention have no rope */
    bool rope_by_layer;      /* no_rope_layers says which layers have it */
    bool scaled_in_full;     /* a scaled rope is that of full layers, others have it plain */
    bool logit_scale;        /* logits are multiplied by logit_scale */
    bool plain_mrope;        /* rope in sections of three positions, which a text has all alike */
    const char *activation_key;
    enum activation activation; /* where the key is absent */
    bool scaled_embedding;      /* by sqrt(hidden) */
    bool query_scalar;          /* attention scale is query_pre_attn_scalar^-1/2 */
    bool multipliers;           /* Granite's four */
    bool su_is_longrope;        /* rope types "su" and "yarn" mean longrope (Phi-3) */
    bool local_rope;            /* local layers have a rope of their own (Gemma 3) */
    bool short_convolutions;    /* facts of them are in the configuration (LFM2) */
    bool gated_delta;           /* likewise (Qwen3-Next) */
    bool state_spaces;          /* likewise (Granite 4, Falcon-H1, Nemotron-H) */
    bool falcon_multipliers;    /* and what Falcon-H1 multiplies */
    bool latent_attention;      /* likewise (DeepSeek V2 and V3) */
    bool rope_by_type;          /* layers have a rope where position_embedding_type says so */
    bool delta_fused;           /* see struct model_config, like the next */
    bool gated_attention;
    bool mixture;            /* of experts */
    bool experts_keep_width; /* experts have intermediate_size (Mixtral) */
    bool always_normalize_experts;
    bool experts_may_lack; /* where their number is 0 the shared MLP alone is there (Granite 4) */
    enum dense_rule dense_rule;
    struct router_facts router; /* what the configuration does not say */
    bool router_bias, router_correction, router_groups;
    const char *least_sum_key;                       /* of weights */
    const char *shared_width_key, *shared_count_key; /* of shared experts: their width, or how many
                                                        experts' width */
    bool shared_gate;
    bool bias_refused;     /* use_bias: biases on experts and on the head (ERNIE 4.5) */
    bool clamped_experts;  /* with biases: swiglu_limit (gpt-oss) */
    bool sinks;            /* of attention */
    bool qk_norm_by_key;   /* there are norms of q and k where use_qk_norm says so */
    bool permuted_in_gguf; /* q and k rows are stored in the interleaved rope order */
    enum layer_rule layer_rule;
    struct layer_kind other_layers;

    /* What holds where a key is absent, as in the reference's configuration classes; 0: the key is
     * required, or for kv_heads and head_dim: derived. */
    struct {
        int heads, kv_heads, head_dim, vocabulary, max_positions;
        int window, window_pattern, first_window_layer, first_dense_layers;
        int experts, experts_used, expert_intermediate;
        int shared; /* width or count */
        bool normalize_experts;
        int original_max_positions; /* of rope */
        int bos, end;               /* -1: none */
        double epsilon, theta, local_theta;
        double attention_soft_cap, logit_soft_cap, query_scalar, rotary_fraction, logit_scale;
        bool tied_embeddings;
    } defaults;
};

/* The rows of family_mixtures.c; family_at goes through all. */
extern const struct family family_mixtures[];
extern const size_t family_mixture_count;

/* By "architectures" or, where that is NULL, by "model_type". NULL where unknown. */
const struct family *family_find(const char *architecture, const char *model_type);
/* By general.architecture; `mixture`: whether the file says that it has experts. */
const struct family *family_find_gguf(const char *architecture, bool mixture);
const struct family *family_at(size_t index);
const struct family *family_by_name(const char *name);

/* Appends the supported names, "LlamaForCausalLM, …", or GGUF's. */
status family_list(bool gguf, struct buffer *out) MUST_CHECK;

#endif
