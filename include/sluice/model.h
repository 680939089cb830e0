/* SPDX-License-Identifier: Apache-2.0 */
/* A model directory or GGUF file: its facts, its tokenizer and template, its weights on a rank, and
 * the forward pass.
 *
 * A *family* (Llama, Gemma…) is a row of facts in a table (src/model/family.c); the forward pass is
 * one. */
#ifndef SLUICE_MODEL_H
#define SLUICE_MODEL_H

#include "sluice/backend_kind.h"
#include "sluice/base.h"
#include "sluice/chat.h"
#include "sluice/chat_template.h"
#include "sluice/generate.h"
#include "sluice/task.h"
#include "sluice/tokenizer.h"

/* ---- Facts: src/model/read/config.c and family.c ---- */

enum rope_kind {
    ROPE_NONE,
    ROPE_DEFAULT,
    ROPE_LINEAR,
    ROPE_DYNAMIC,
    ROPE_LLAMA3,
    ROPE_YARN,
    ROPE_LONGROPE
};

struct rope_config {
    enum rope_kind kind;
    double theta;
    double factor;
    double low_frequency_factor, high_frequency_factor; /* llama3 */
    double beta_fast, beta_slow, attention_factor, mscale,
        mscale_all_dim;                       /* yarn, longrope; 0 where absent */
    bool truncate;                            /* yarn: round the correction range (default true) */
    int original_max_positions;               /* 0 where absent */
    int factor_count;                         /* longrope */
    const double *short_factor, *long_factor; /* [factor_count] */
};

/* What a layer's tokens do with those before them, in the half of a layer that comes before its
 * MLP: a *mixer*. src/model/mixers has one file for each, docs/adding.md says what another takes.
 */
enum mixer_kind {
    MIXER_ATTENTION,
    MIXER_SHORT_CONVOLUTION,
    MIXER_GATED_DELTA,
    MIXER_STATE_SPACE,
    MIXER_LATENT,              /* attention over a latent that all heads share */
    MIXER_ATTENTION_AND_SPACE, /* attention and a state space of one norm, side by side */
    MIXER_NONE                 /* the layer is an MLP or experts alone */
};
enum { MIXER_KINDS = MIXER_NONE + 1 };

enum attention_kind {
    ATTENTION_FULL,     /* a token sees all before it, and has the rope of `rope` */
    ATTENTION_WINDOWED, /* it sees the latest `window`, and has the rope of `rope_local` */
};

enum { ATTENTION_KINDS = ATTENTION_WINDOWED + 1 };

struct layer_kind {
    enum mixer_kind mixer;
    enum attention_kind attention; /* of MIXER_ATTENTION */
};

/* How a quantised checkpoint packs its weights into tensors of another shape. */
enum weight_packing_method {
    PACKING_NONE,
    PACKING_GPTQ,    /* zeros are stored less one */
    PACKING_GPTQ_V2, /* zeros are stored as they are */
    PACKING_AWQ,     /* AutoAWQ's GEMM order */
    PACKING_COMPRESSED_TENSORS,
    PACKING_MODELOPT_FP4,
    PACKING_MXFP4,
    PACKING_BITSANDBYTES,
};

enum { GROUP_OF_ALL = -1 };

struct weight_packing {
    enum weight_packing_method method;
    int group; /* columns of a group, or GROUP_OF_ALL; 0: what shapes say */
};

/* What follows the layers. */
enum model_head {
    HEAD_VOCABULARY, /* logits of tokens */
    HEAD_NONE,       /* nothing: vectors, of which one is made for a row */
    HEAD_LABELS,     /* scores of labels (…ForSequenceClassification) */
};

/* What becomes of a head's logits. */
enum score_function { SCORES_AS_THEY_ARE, SCORES_LOGISTIC, SCORES_SOFTMAX };

/* How the vectors of a row's tokens become one. */
enum pooling {
    POOLING_MEAN,
    POOLING_CLS, /* the first token's vector */
    POOLING_MAX,
    POOLING_MEAN_SQRT, /* the sum over the square root of the number of tokens */
    POOLING_LAST,      /* the last token's vector */
};

/* What config.json (or GGUF metadata) says, in one form for both config dialects. Arrays live in
 * the model. */
struct model_config {
    const char *family;       /* "llama", "gemma2"…: the row of the family table */
    const char *architecture; /* "LlamaForCausalLM" as written, or GGUF's "llama" */
    int layers, hidden, heads, kv_heads, head_dim, intermediate, vocabulary;
    int max_positions;
    enum dtype dtype;             /* of the checkpoint's weights as stored or declared */
    enum weight_format published; /* what a quantised checkpoint says its weights are: dtype is that
                                     of the rest; WEIGHT_FLOAT32 where it says nothing */
    struct weight_packing packing;
    bool encoder; /* attention in both directions, a norm after each half of a layer and no
                     vocabulary projection: what comes out is a vector a token, pooled into one
                     (BERT) */

    /* Learned positions (encoders); 0 rows: none. Position p is row p + position_offset. */
    int position_rows, position_offset;
    int token_types;      /* rows of the table of token types; 0: none */
    bool norm_embeddings; /* the residual begins as the norm of the embeddings (ModernBERT) */
    int relative_buckets; /* of a bias by distance that all layers share (MPNet); 0: none */

    struct norm_facts norm;
    enum activation activation;
    bool norm_bias;    /* layer norms have one */
    bool gated;        /* gate and up projections; false: one up projection */
    bool parallel;     /* attention and MLP read the same norm: there is none between them */
    bool post_norm;    /* norm of attention's and MLP's output before the residual add */
    bool pre_norm;     /* norms before attention and MLP; false: they read the bare residual */
    bool qk_norm;      /* norm of each head's q and k */
    bool wide_qk_norm; /* qk_norm is over all heads together, with a weight for each value */
    bool qkv_bias, attention_output_bias, mlp_bias;
    bool tied_embeddings;                   /* the vocabulary projection is the embedding table */
    float embedding_scale;                  /* on embeddings: sqrt(hidden) for Gemma */
    float residual_multiplier, logit_scale; /* Granite; 1 elsewhere */
    /* Falcon-H1; 1 elsewhere: on what a mixer, a state space beside attention or an MLP adds to the
     * residual, and on what goes into an MLP's activation. */
    float mixer_multiplier, space_multiplier, mlp_multiplier, gate_multiplier;
    float attention_scale; /* on q·k: 1/sqrt(head_dim) unless the family says otherwise */
    float attention_soft_cap, logit_soft_cap; /* 0 is off */
    int window;                               /* of windowed layers; 0 is none */
    float query_scale_beta; /* queries grow with the logarithm of how many times their position has
                               passed query_scale_length; 0: they do not */
    int query_scale_length;
    const struct layer_kind *layer_kinds; /* [layers]; NULL: full attention in all of them */
    const uint8_t *layer_lacks_rope;      /* [layers]; NULL: none does */
    const uint8_t *layer_lacks_mlp;       /* [layers] a layer is its mixer alone; NULL: none is */
    bool rope_pairs;        /* files have q and k in the order in which values 2i and 2i + 1 rotate
                               against each other; loading turns them into halves */
    double rotary_fraction; /* of head_dim: partial_rotary_factor */
    struct rope_config rope, rope_local; /* of full and of windowed layers */

    bool gated_attention; /* attention's output times the sigmoid of gates, which files keep behind
                             each head's q */

    /* Of latent attention, struct latent_facts': head_dim is then that of values, and kv_heads
     * is 1. query_latent_dim is that of the latent that queries are made of; 0: they are made of
     * the hidden state. latent_dim 0: no layer has it. */
    int latent_dim, latent_rope_dim, latent_key_dim, query_latent_dim;

    /* Of the gated delta rule: heads of q and k, heads of v, and their sizes. */
    int delta_key_heads, delta_value_heads, delta_key_dim, delta_value_dim;
    bool delta_fused; /* files keep q, k, v and z in one matrix, key head by key head, and b and a
                         in another */

    /* Of state spaces (Mamba-2): heads, groups of B and C, and their sizes. */
    int scan_heads, scan_head_dim, scan_groups, scan_state_dim;
    float scan_least_step, scan_most_step;
    float scan_scales[5];                   /* on z, x, B, C and dt; 0 of z: there are none */
    int scan_norm_groups;                   /* of the norm behind it; 0: there is none */
    bool scan_norm_first;                   /* it comes before the gates */
    bool scan_input_bias, scan_output_bias; /* of the products into and out of it */

    int convolution_taps;  /* of short convolutions: positions that one reaches, its own included */
    bool convolution_bias; /* these and their products have biases */

    int experts, expert_intermediate; /* 0 experts: dense */
    struct router_facts router;
    bool router_bias, router_correction; /* what struct expert_weights has */
    float expert_limit;                  /* struct expert_facts' */
    bool expert_bias;                    /* on both of an expert's products */
    int shared_width; /* of an MLP beside the experts that is every token's; 0: there is none */
    bool shared_gate; /* which is weighted by a sigmoid of a product of its own */
    bool sinks;       /* struct attention_facts */
    const uint8_t
        *layer_is_dense; /* [layers] of a mixture model: 1 has a plain MLP; NULL: none has */

    unsigned abilities; /* of enum model_ability (sluice/task.h): what can be asked of the model */
    enum model_head head;
    int labels;                                    /* of HEAD_LABELS, below too */
    const char *const *label_names;                /* [labels] */
    enum score_function class_scores, rank_scores; /* where they classify, and where they rank */
    enum pooling head_pooling;                     /* which vector the head reads */
    /* What a job makes of the model: model_prepare. */
    bool pools;       /* a row is answered with a vector: there is no vocabulary projection */
    bool whole_rows;  /* ... made of all its tokens, which run in one step; else of the last */
    int answer_width; /* values of such an answer; 0: none */

    int32_t bos; /* -1 where there is none */
    int end_count;
    int32_t ends[16]; /* end tokens: generation_config.json's eos_token_id (or config.json's), one
                         or many */
};

/* Experts that make up the shared MLP: it is cut into ones of expert_intermediate columns, of which
 * the last may be filled up with zeros. */
static inline int model_shared_experts(const struct model_config *config)
{
    return config->shared_width == 0 ? 0
                                     : (config->shared_width - 1) / config->expert_intermediate + 1;
}

/* What layer `layer` of the model, from 0, is. src/model/layer_kind.c. */
struct layer_kind model_layer_kind(const struct model_config *config, int layer);
/* The latest positions that a token of this layer sees; 0: all. */
int model_layer_window(const struct model_config *config, int layer);
/* Whether a layer has a second half. */
bool model_has_mlp(const struct model_config *config, int layer);
/* The mixers that one of a kind is made of, one behind the other; returns how many: 0 to 2. */
enum { MIXER_MOST_PARTS = 2 };
int mixer_parts(enum mixer_kind kind, enum mixer_kind parts[MIXER_MOST_PARTS]);
bool mixer_has_part(enum mixer_kind kind, enum mixer_kind part);
/* Whether any layer keeps states of sequences, beside or in place of entries for positions. */
bool model_keeps_states(const struct model_config *config);

/* ---- Opening: src/model/model.c ---- */

struct model;

/* Appends where the model that model.path names lies: `path` itself; the GGUF file, or the first of
 * its parts, of a directory that has no config.json; the directory of a name such as "org/name" in
 * the local cache of the Hugging Face Hub (HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, the home).
 * STATUS_NOT_FOUND says how to get it. src/model/read/model_locate.c. */
status model_locate(const char *path, struct buffer *out) MUST_CHECK;

/* Opens what model_locate finds: a model directory (config.json, *.safetensors with or without
 * index, tokenizer files), a .gguf file, or a config.json alone (facts without weights): reads and
 * checks all headers and facts, no weights. A directory with only a tokenizer has model_config(…)
 * == NULL; one without has a NULL tokenizer. Every message names the file and the key or tensor.
 * The caller closes *out. Not collective: every rank opens for itself. */
status model_open(const char *path, struct model **out) MUST_CHECK;
void model_close(struct model *model);
/* The sampling values that a model brings, by place in their table: name, and the number (NULL
 * where the model does not say; an empty value of another type where it is none). False past the
 * end. The model owns them. */
bool model_sampling_default(const struct model *model, size_t index, const char **name,
                            const struct json **value);
const struct model_config *model_config(const struct model *model); /* NULL: no config.json */
const struct tokenizer *model_tokenizer(const struct model *model); /* NULL: none */
/* Fails where there is none, and says which file is there and what is needed. */
status model_need_tokenizer(const struct model *model) MUST_CHECK;
/* The one called default; NULL: none, or none that can be used. chat.h has the others. */
const struct chat_template *model_chat_template(const struct model *model);
/* Strings for chat_variables, NULL where the model does not name them. */
const char *model_bos_text(const struct model *model);
const char *model_eos_text(const struct model *model);
const char *model_pad_text(const struct model *model);
const char *model_unk_text(const struct model *model);
/* SHA-256 over config.json (or GGUF metadata) and over the tensor index (names, types, shapes,
 * offsets, file sizes) with samples of every tensor's bytes: what the journal's identity and the
 * output's provenance name. */
status model_digest(struct model *model, char config_sha256[65],
                    char weights_sha256[65]) MUST_CHECK;
/* The same over what makes prompts of texts and ends answers: the files of tokenizer, chat template
 * and special tokens, and the end tokens. */
status model_text_digest(const struct model *model, char sha256_hex[65]) MUST_CHECK;
/* ---- What is made of a row's vectors: src/model/embedding.c, src/model/head ---- */

const char *pooling_name(enum pooling pooling); /* "mean" */

/* How vectors become a row's embedding, as sentence-transformers' files beside the model say
 * (modules.json, sentence_bert_config.json); without them the mean of an encoder's, the last of a
 * decoder's, not normalised. */
struct embedding_facts {
    enum pooling pooling;
    bool normalize;     /* to length 1 */
    bool lower_case;    /* texts are turned to lower case before they are tokenized */
    const char *prompt; /* goes before every text (default_prompt_name), NULL: nothing */
    bool is_described;  /* there is a modules.json: the model is made to embed */
};
/* NULL where rows are not pooled. How many tokens are taken stands in
 * model_config()->max_positions. */
const struct embedding_facts *model_embedding(const struct model *model);
/* hidden [tokens, width] to out [width], tokens at least 1. */
void embedding_pool(enum pooling pooling, const float *hidden, int tokens, int width, float *out);
/* values [width] to length 1. */
void embedding_normalize(float *values, int width);

/* Sets what the task makes of the model, before anything is planned or loaded: `pools` and what
 * follows it in the configuration. STATUS_UNSUPPORTED where the task cannot be done by it, in the
 * task's words. */
status model_prepare(struct model *model, enum task task) MUST_CHECK;

/* The prompt by which a model with logits ranks, with {query} and {document} in it: the answer is
 * the share of one of two words as the next token. NULL: pairs are given as the tokenizer has them.
 */
const char *model_rank_prompt(const struct model *model);

/* A pooled row's answer: pooling, then the layers of the head or of Dense modules, whose weights
 * lie in host memory in float32. The same on every device. */
struct pooler;
/* For a model that model_prepare has set to pool; reads the weights. The caller destroys *out,
 * which borrows from the model. */
status pooler_create(struct model *model, struct pooler **out) MUST_CHECK;
void pooler_destroy(struct pooler *pooler);
/* hidden: [tokens, H] of the row's tokens, or of the last alone where rows are not whole; out
 * [answer_width]. */
void pooler_run(struct pooler *pooler, const float *hidden, int tokens, float *out);

/* ---- This rank's part: src/model/load/partition.c ---- */

/* A rank's consecutive slices of something: the first, how many, and where each slice starts among
 * the columns of the output product, local. */
struct model_cut {
    int first, count;
    int32_t slice_start[MAX_SLICES + 1];
};

/* How a model is cut. Heads, intermediate columns and vocabulary rows are cut into `slices` fixed
 * parts, whatever tp is; a rank owns slices/tp consecutive ones. Part i of n things is [n·i/slices,
 * n·(i+1)/slices): parts may differ by one and may be empty. Layers are cut into pp stages alike.
 */
struct partition {
    int tp, tp_rank, pp, pp_rank;
    int slices;       /* power of two, tp divides it */
    int local_slices; /* slices / tp */
    int first_layer, layer_count;
    bool has_embedding, has_head;     /* first stage; last stage */
    int first_head, head_count;       /* query heads */
    int first_kv_head, kv_head_count; /* key/value heads that they need, whole heads, replicated
                                         where shared between ranks */
    int32_t *kv_head_of;              /* [head_count] local index: struct head_layout */
    int32_t head_slice_start[MAX_SLICES + 1]; /* of the attention output's input columns, local */
    struct model_cut channels;                /* of the hidden size: short convolutions */
    struct model_cut delta_keys; /* key heads of the gated delta rule, with their value heads */
    struct model_cut scan_heads; /* heads of state spaces */
    int first_scan_group, scan_group_count;     /* groups that they read, shared between ranks */
    int first_column, column_count;             /* MLP intermediate */
    int32_t column_slice_start[MAX_SLICES + 1]; /* local */
    int first_expert_column, expert_column_count;
    int32_t expert_slice_start[MAX_SLICES + 1];
    int first_vocabulary_row, vocabulary_row_count; /* cut over tp ranks of embedding and head */
    struct cache_store *stores; /* [layer_count] what each of the layers keeps on this rank */
};
/* STATUS_INVALID where tp, pp or slices do not fit the model ("pp 4: the model has 3 layers").
 * Fills *out; end with partition_destroy. */
status partition_create(const struct model_config *config, int tp, int tp_rank, int pp, int pp_rank,
                        int slices, struct partition *out) MUST_CHECK;
void partition_destroy(struct partition *partition);
/* The cache of this rank. Borrows the partition's stores. */
struct cache_layout partition_cache(const struct partition *partition, int block_tokens,
                                    enum dtype dtype, int places);

/* ---- Weights: src/model/load/load.c ---- */

struct layer_weights {
    struct vector *attention_norm, *attention_norm_bias; /* [H], NULL where the family has none */
    struct matrix *qkv; /* [(heads + 2·kv heads)·head_dim, H]: q rows, then k, then v */
    struct vector *qkv_bias;
    struct matrix *mixer_input; /* of what is no attention: what its mixer says; then qkv is NULL */
    struct vector *mixer_input_bias;
    struct matrix *query_down; /* [query latent, H], which qkv then reads: in latent attention it is
                                  [heads·(key_dim + rope_dim), …], and mixer_input [latent +
                                  rope_dim, H], and q_norm and mixer_norm are of the latents */
    struct matrix *key_up, *value_up;        /* stacks [heads]: latent_queries, latent_attention */
    struct matrix *attention_gate;           /* [heads·head_dim, H] */
    struct vector *decay, *step_bias, *skip; /* [heads] A_log, dt_bias, D */
    struct vector *mixer_norm;               /* of what a mixer leaves */
    struct vector *convolution;              /* [taps, channels] the tap of the token itself last */
    struct vector *convolution_bias;
    struct vector *q_norm, *k_norm;  /* [head_dim] */
    struct vector *sinks;            /* [heads] */
    struct matrix *attention_output; /* sliced [H, heads·head_dim] */
    struct vector *attention_output_bias;
    struct matrix *space_output; /* of a state space beside attention: sliced [H, its width] */
    struct vector *attention_post_norm;
    struct vector *mlp_norm, *mlp_norm_bias;
    struct matrix *gate_up; /* [2·columns, H]: gate rows, then up rows (not gated: [columns, H]);
                               experts: a stack */
    struct vector *gate_up_bias;
    struct matrix *down;      /* sliced [H, columns]; experts: a stack */
    struct vector *down_bias; /* experts: on the first rank alone */
    struct vector *mlp_post_norm;
    struct matrix *router; /* [experts, H], and a row more for shared_gate; NULL in a dense layer */
    struct vector *router_bias, *router_correction;
    float key_scale, value_scale; /* static scales of cached keys and values, 1 where the checkpoint
                                     has none */
};

struct model_weights {
    struct matrix *embedding; /* [vocabulary rows of this rank, H]; NULL on other stages */
    struct matrix *positions; /* [token_types · position_rows, H]: of each type the positions with
                                 it added, or the types alone; NULL on other stages */
    float *relative_bias;     /* [relative_buckets, heads] in host memory, or NULL */
    struct layer_weights *layers; /* [layer_count] */
    struct vector *final_norm, *final_norm_bias;
    struct matrix *head; /* [vocabulary rows of this rank, H]; the same pointer as embedding where
                            tied and both are here; NULL for an encoder */
};

/* Whether every tensor that a model of these facts has is in the files, with the shape that the
 * facts say; no data are read. STATUS_INVALID names the first that is not, STATUS_NOT_FOUND a model
 * without weights. src/model/load/check.c. */
status model_check_weights(struct model *model) MUST_CHECK;

/* Reads this rank's slices straight from the files into the backend: staging memory stays under 256
 * MiB. A tensor that is missing, has another shape or an unknown type is STATUS_INVALID naming file
 * and tensor. `stored`: format that matrices are kept in (WEIGHT_FLOAT32 keeps a bfloat16
 * checkpoint in bfloat16 where the backend widens losslessly). */
status model_load(struct model *model, const struct partition *partition, struct backend *backend,
                  enum weight_format stored, struct model_weights **out) MUST_CHECK;
/* Ranks of a host that load at the same time can read each byte from the file system once: through
 * memory that they share, of model_share_bytes or fewer, zero-filled, which one of them has
 * prepared for so many before any begins as one of them (0 to readers - 1). STATUS_LIMIT: too many
 * readers, or fewer than model_share_least_bytes. model_share_end returns the bytes that this rank
 * has read from files. src/model/load/share.c, like the next. */
size_t model_share_bytes(void);
size_t model_share_least_bytes(void);
status model_share_prepare(void *memory, size_t bytes, int readers) MUST_CHECK;
status model_share_begin(struct model *model, void *memory, int reader) MUST_CHECK;
uint64_t model_share_end(struct model *model);
/* Whether the weights lie on a file system that hosts share, as far as the system says. */
bool model_is_remote(const struct model *model);
/* The same shapes filled with deterministic random values (normal, standard deviation 0.02; norm
 * weights around 1) and no file read. A value does not depend on the partition. */
status model_load_random(const struct model_config *config, const struct partition *partition,
                         struct backend *backend, enum weight_format stored, uint64_t seed,
                         struct model_weights **out) MUST_CHECK;
void model_weights_destroy(struct model_weights *weights, const struct partition *partition,
                           struct backend *backend);
/* Device bytes of a rank's weights, without loading; -1 where a tensor is missing or has another
 * shape (status_message says which). */
int64_t model_weight_bytes(const struct model *model, const struct partition *partition,
                           struct backend *backend, enum weight_format stored);

/* Fills rope facts for a layer kind; inverse frequencies live in `arena`. `max_model_len` decides
 * dynamic scaling. Formulas: the sources named in src/model/rope.c. */
status rope_facts_create(const struct model_config *config, bool local, int max_model_len,
                         struct arena *arena, struct rope_facts *out) MUST_CHECK;

/* ---- Forward pass: src/model/forward.c ---- */

struct communicator; /* sluice/comm.h */
struct forward;

/* Everything that one rank needs for steps: borrows config, partition, weights, backend, cache and
 * communicators for its life. `tensor` has tp ranks, `pipeline` pp ranks (either may be NULL where
 * its size is 1). Scratch is sized for max_tokens × max_outputs here, once. */
struct forward_options {
    const struct model_config *config;
    const struct partition *partition;
    const struct model_weights *weights;
    struct backend *backend;
    struct kv_cache *cache;
    struct communicator *tensor, *pipeline;
    int max_tokens, max_outputs, max_model_len;
};
status forward_create(const struct forward_options *options, struct forward **out) MUST_CHECK;
void forward_destroy(struct forward *forward);

/* Runs one step on this rank. Collective over the replica: every rank of tp × pp calls it with the
 * same batch. Stages receive the residual from the stage before and send it on. On the first tensor
 * rank of the last stage *logits is the device buffer with whole rows [O, vocabulary], owned by
 * forward and valid until the next call; on other ranks it is NULL. */
status forward_step(struct forward *forward, const struct batch *batch,
                    struct device_buffer **logits) MUST_CHECK;
/* On ranks of the last stage of a model that pools: the vectors that the latest step's layers left,
 * of all its tokens or of those with outputs. Owned by forward and valid until the next step. */
struct hidden_rows {
    struct device_buffer *values; /* [rows, H] */
    enum dtype dtype;
    int rows; /* T, or O */
};
struct hidden_rows forward_hidden(const struct forward *forward);
/* Once the device has been waited for, before the step's results count: fails where communication
 * has failed meanwhile, as check in sluice/comm.h. */
status forward_check(struct forward *forward) MUST_CHECK;
/* Seconds spent waiting for or moving data to other ranks, in total, as of the latest check. */
double forward_communication_seconds(const struct forward *forward);
/* Bytes that this rank has sent to other ranks, in total. */
uint64_t forward_communication_bytes(const struct forward *forward);

/* ---- What it needs: src/model/forward_memory.c ---- */

struct step_limits {
    enum dtype compute;        /* activations */
    enum weight_format stored; /* the layers' weights */
    int tokens, outputs;       /* max_tokens and max_outputs of struct forward_options */
};
/* What steps within the limits ask of a rank's backend at most. */
struct step_shape forward_step_shape(const struct model_config *config,
                                     const struct partition *partition,
                                     const struct step_limits *limits);
/* Adds the bytes of the buffers that forward_create makes for steps of that shape on a backend of
 * that kind. STATUS_LIMIT where a buffer is larger than can be. */
status forward_add_scratch(const struct model_config *config, const struct partition *partition,
                           const struct backend_kind *kind, const struct step_shape *shape,
                           struct scratch_bytes *total) MUST_CHECK;

/* ---- What can be read: src/model/describe.c ---- */

/* Appends the table of families, or of formats of weights, as Markdown. */
status model_describe_families(struct buffer *out) MUST_CHECK;
status model_describe_formats(struct buffer *out) MUST_CHECK;

#endif
