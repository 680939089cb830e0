/* SPDX-License-Identifier: Apache-2.0 */
/* The tensor operations that a forward pass is made of: one interface, cpu/ and cuda/ behind it.
 *
 * Bits. An operation's result for a token depends on that token's inputs alone: not on how many
 * tokens share the call, where in the call it stands, how many threads run, or on which rank a
 * slice is computed.
 *
 * A *device buffer* is memory of the backend (host memory on the CPU), opaque to the caller.
 * Activations between operations are in the backend's activation type, the residual stream is
 * float32, logits are float32. Shapes are row-major. T: tokens of the step, S: sequences, O: output
 * rows, H: hidden size.
 *
 * Operations are asynchronous where the device is; `download` and `synchronize` wait. None is
 * collective. */
#ifndef SLUICE_BACKEND_H
#define SLUICE_BACKEND_H

#include "sluice/base.h"
#include "sluice/dtype.h"
#include "sluice/experts.h"
#include "sluice/sampling.h"
#include "sluice/weight_format.h"

struct backend;
struct device_buffer; /* raw memory */
struct matrix;   /* weights of a linear layer, or a stack of them (experts), in the backend's own
                    layout */
struct vector;   /* norm weights, biases */
struct kv_cache; /* what this rank's layers keep from step to step */

/* ---- The step ---- */

/* What runs together in one forward pass. Host memory, borrowed until the step is done. Tokens of a
 * sequence are consecutive and in order; sequence s has tokens [query_start[s], query_start[s +
 * 1]). */
struct batch {
    int tokens;                    /* T */
    int sequences;                 /* S */
    int outputs;                   /* O: rows that go through the vocabulary projection */
    const int32_t *token_ids;      /* [T]; batch_drawn(o): what the step before drew as output o */
    const int32_t *positions;      /* [T] position in the sequence, from 0 */
    const uint8_t *token_types;    /* [T] 1: of the second text of a pair; NULL: all are 0 */
    const int32_t *query_start;    /* [S + 1] */
    const int32_t *context_length; /* [S] tokens in the cache once this step's are appended */
    const int32_t *block_table;    /* [S, block_table_stride] blocks of each sequence in order */
    int block_table_stride;
    const uint8_t *long_rope;   /* [S] 1: the sequence uses the long frequencies; NULL: none does */
    const int32_t *state_place; /* [S] where each sequence's states are kept, each place once; NULL
                                   where no layer keeps any */
    const int32_t *state_from; /* [S] where they are to begin with: another place, whose states stay
                                  as they are, or the same; NULL: the same for all */
    const int32_t *output_rows; /* [O] ascending indices into the step's tokens */

    /* How the step may be cut. A row's bits are the same whether a backend heeds this or not. */
    int decodes;    /* the first so many sequences compute one token each; then come chunks */
    int first_half; /* sequences before this one and from it on may run out of step with each other,
                       one half's products beside the other's attention; 0: not to be cut */
};

/* In place of a token that the host does not know yet. It is taken where the step before left it on
 * the device, where one backend alone runs both (tp = pp = 1); the same the other way round. */
static inline int32_t batch_drawn(int32_t output)
{
    return -1 - output;
}

/* How to sample one output row; history as of this step. */
struct sample_request {
    const struct sampling *params;
    bool is_scored; /* nothing is drawn: the result's token is `scored`, with its log-probability */
    int32_t scored;
    int32_t sample;   /* with params->seed and stream, and position, it keys the random numbers */
    int32_t position; /* number of tokens generated before this one */
    const int32_t
        *history; /* [history_count] prompt and output so far; NULL where no penalty needs it */
    int32_t history_count;
    int32_t prompt_count; /* of history: the prompt's part */

    /* What is done to the logits before penalties: what the mask leaves out is never drawn, then
     * biases are added. Both are of this row and this position alone. */
    const uint32_t *allowed; /* [sampling_mask_words(vocabulary)]; NULL: all tokens are */
    uint64_t allowed_serial; /* sampling_mask_serial of this mask alone, whose words stay as they
                                are, so that a device may keep them; 0: they may be others in the
                                next call */
    const struct logit_bias *biases; /* [bias_count] ids ascending, each once */
    int32_t bias_count;
};

struct sample_result {
    int32_t token;
    float logprob; /* of the token under the model's distribution (log-softmax of the raw logits,
                      before mask, biases, penalties and temperature, as vLLM reports it by
                      default); NaN where not asked for. A scored token always has it */
    int32_t top_count; /* of the two below */
    int32_t top_ids[SAMPLING_MAX_LOGPROBS];
    float top_logprobs[SAMPLING_MAX_LOGPROBS];
    bool not_finite; /* a NaN or infinity was among the logits, or nothing but -infinity is left
                        to draw: token is meaningless */
};

/* ---- Facts that operations take ---- */

struct norm_facts {
    float epsilon;
    float weight_offset; /* added to the weight: 1 for Gemma, else 0 */
    bool layer_norm;     /* subtract the mean and add a bias (BERT); false: RMS norm */
    bool in_place; /* norm and add_norm: the residual takes the norm's value as well (models whose
                      norms come after each half: BERT) */
};

/* Rotary embedding of the first `dimensions` values of a head, halves rotated against each other
 * (the Hugging Face order). */
struct rope_facts {
    int dimensions;                      /* even, at most head_dim */
    const float *inverse_frequency;      /* [dimensions / 2] for short contexts */
    const float *long_inverse_frequency; /* longrope: for sequences whose batch.long_rope is set;
                                            else NULL */
    float magnitude;                     /* multiplies cos and sin (yarn, longrope), 1 otherwise */
    float long_magnitude;
};

/* This rank's heads. Query head h reads key/value head kv_head[h] of this rank. */
struct head_layout {
    int query_heads, kv_heads, head_dim;
    const int32_t *kv_head; /* [query_heads] */
};

/* The slices of a rank's query heads. */
struct head_slices {
    int count;            /* a power of two */
    const int32_t *start; /* [count + 1] values of q before each slice: heads · head_dim */
    const uint8_t
        *is_first; /* [query_heads] of all ranks' heads the first that reads its kv head */
};

struct attention_facts {
    float scale;        /* on q·k */
    float soft_cap;     /* cap · tanh(x / cap); 0 is off */
    int window;         /* a token sees the `window` latest positions, itself included; 0 is all */
    bool bidirectional; /* a token sees the whole context, also what follows it, or of that the
                           `window` nearest on each side, itself included: the step has all of each
                           sequence */
    /* Host memory, NULL: none. Added to the scaled score of a query at i and a key at j: that of
     * head h is at [h · (2 · bias_reach + 16) + bias_reach + j - i]; no distance is bias_reach. */
    const float *bias;
    int bias_reach;
    const struct vector *sinks; /* [query_heads] the score of something that every token sees and
                                   that has no value; NULL: there is none (gpt-oss) */
};

/* Latent attention on this rank (DeepSeek-V2, arXiv 2405.04434): its query heads read one row that
 * a position keeps for all heads, the latent [latent_dim] and behind it a rotary key [rope_dim]. */
struct latent_facts {
    struct head_layout heads; /* one key/value head, of latent_dim + rope_dim */
    int latent_dim, rope_dim;
    int key_dim, value_dim; /* of a head: of q and k without the rotary part, and of v */
    float scale;            /* on q·k */
    float epsilon;          /* of the latent's norm */
};

/* Heads of the gated delta rule on this rank. Value head h has key head h / (value_heads /
 * key_heads). */
struct delta_facts {
    int key_heads, value_heads; /* 0 of both on a rank that has none */
    int key_dim, value_dim;
    int taps;      /* of the convolution before it */
    float epsilon; /* of the norm behind it */
};

struct delta_weights {
    const struct vector *convolution; /* [taps, channels]: of q, k and v, one behind the other */
    const struct vector *decay;       /* [value_heads] A_log */
    const struct vector *step_bias;   /* [value_heads] dt_bias */
    const struct vector *norm;        /* [value_dim] */
};

/* Heads of a state space (Mamba-2) on this rank, and the groups of B and C that they read: head h
 * has group (first_head + h) / heads_per_group - first_head / heads_per_group. */
struct scan_facts {
    int heads, head_dim;
    int groups, state_dim;
    int first_head, heads_per_group; /* of all ranks' heads */
    int taps;                        /* of the convolution before it */
    float least_step, most_step;     /* steps are held within these */
    bool gates;                      /* what comes out is gated; false: that is left to the norm */
};

struct scan_weights {
    const struct vector *convolution; /* [taps, channels]: of x, B and C, one behind the other */
    const struct vector *convolution_bias; /* [channels] or NULL */
    const struct vector *decay;            /* [heads] A_log */
    const struct vector *step_bias;        /* [heads] dt_bias */
    const struct vector *skip;             /* [heads] D */
};

/* A norm over groups of a row's values, of which this rank has `width` from `first` on. */
struct group_norm_facts {
    int groups, group_width;
    int first, width;
    int slices;                 /* a power of two */
    const int32_t *slice_start; /* [slices + 1] of the rank's values */
    float epsilon;
    int gate_stride; /* values of a row whose first `width` gate the norm's value (SiLU); 0: none */
};

enum { MAX_SLICES = 8 };

/* Rows of weights in host memory, and what belongs to them. */
struct weight_rows {
    const void *data;
    enum weight_format format; /* plain numbers, or one that the backend takes as it is */
    size_t stride;             /* values from one row to the next */
    const float *scales; /* one a row, where they lie beside the numbers (SCALES_BESIDE): a value is
                            scale · number; NULL for other formats */
};

/* ---- The cache ---- */

/* What a layer keeps from step to step: its *store*.
 *
 * Of positions it has an entry for every position of every sequence, in blocks of block_tokens
 * positions; a block of the engine's (src/engine/kv_blocks.h) is the block of that number in every
 * such store of every layer on every rank. An entry depends on the tokens up to its position alone
 * and never changes once its step has run. That is all that the engine counts on: sequences share
 * full blocks by holding the same number, nothing is ever copied, and a preempted sequence's
 * entries are simply computed again.
 *
 * Of a sequence it has a *state* of a fixed size, which each of its tokens changes. States lie in
 * places; a running sequence has one (batch.state_place), the same in every layer on every rank. A
 * sequence's first position begins with a state of zeros, whatever the place held before. */
enum store_kind {
    STORE_KEYS_VALUES, /* of positions: a key and a value of head_dim for each of kv_heads */
    STORE_NO_POSITIONS,
    STORE_LATENT, /* of positions: one row of head_dim, key and value in one; kv_heads is 1 */
};

struct cache_store {
    enum store_kind kind;
    int kv_heads, head_dim;
    int64_t state_values; /* of a sequence's state, in float32; 0: the layer keeps none */
};

/* The cache of a rank: one store a layer, each of a shape of its own. */
struct cache_layout {
    int layers;
    const struct cache_store *stores; /* [layers] */
    int block_tokens;                 /* positions a block */
    enum dtype dtype;                 /* of keys and values */
    int places;                       /* of states */
};

/* ---- The interface ---- */

struct backend_operations {
    /* Whether attention takes a bias by distance, and windows to both sides. */
    bool attends_near;

    void (*destroy)(struct backend *backend);

    /* Name ("NVIDIA H100 80GB HBM3", "AMD EPYC …, 2 threads"), borrowed; bytes of device memory
     * that may be used in total and now. */
    const char *(*device_name)(struct backend *backend);
    status (*memory)(struct backend *backend, int64_t *total_bytes, int64_t *free_bytes);

    /* -- Memory -- */
    status (*buffer_create)(struct backend *backend, size_t bytes, struct device_buffer **out);
    void (*buffer_destroy)(struct backend *backend, struct device_buffer *buffer);
    status (*upload)(struct backend *backend, struct device_buffer *to, size_t offset,
                     const void *from, size_t bytes);
    status (*download)(struct backend *backend, const struct device_buffer *from, size_t offset,
                       void *to, size_t bytes);
    /* The first `bytes` bytes of one buffer to the start of another. */
    status (*copy)(struct backend *backend, const struct device_buffer *from,
                   struct device_buffer *to, size_t bytes);
    /* The host address of a buffer on a CPU backend; NULL where device memory is not the host's. */
    void *(*host_address)(struct backend *backend, struct device_buffer *buffer);
    status (*synchronize)(struct backend *backend);
    /* Whether all operations so far are done (or have failed), without waiting. */
    bool (*is_idle)(struct backend *backend);
    enum dtype (*activation_dtype)(struct backend *backend);

    /* -- Weights --
     * A matrix is [count] stacked products of `rows` outputs and `columns` inputs. With `slices` >
     * 0 its columns are cut at slice_start[0..slices] (ascending, first 0, last `columns`; an empty
     * slice is legal) and only product_sliced may use it. Rows arrive in pieces in any order:
     * `row_count` rows from `first_row` of product `index`, each of `columns` values, borrowed for
     * the call. Plain numbers are rounded to `stored`, which may be a quantised format: then each
     * row (of each slice) gets a scale of its own. matrix_finish is called once all are there. */
    status (*matrix_create)(struct backend *backend, int count, int rows, int columns,
                            const int32_t *slice_start, int slices, enum weight_format stored,
                            struct matrix **out);
    /* Whether matrices can be kept in a format and take rows of it as they are, with their scales.
     * Quantised rows for anything else are expanded by the caller. */
    bool (*matrix_takes)(struct backend *backend, enum weight_format format);
    status (*matrix_write)(struct backend *backend, struct matrix *matrix, int index, int first_row,
                           int row_count, const struct weight_rows *rows);
    status (*matrix_finish)(struct backend *backend, struct matrix *matrix);
    /* Static scale of product `index`'s input, of matrices whose products round it, as checkpoints
     * store it (input_scale): the input is rounded as in / scale. Elsewhere inputs keep their
     * precision and this does nothing. */
    status (*matrix_input_scale)(struct backend *backend, struct matrix *matrix, int index,
                                 float scale);
    void (*matrix_destroy)(struct backend *backend, struct matrix *matrix);
    /* Bytes of device memory that such a matrix would take, for plans made before anything is
     * loaded. */
    int64_t (*matrix_bytes)(struct backend *backend, int count, int rows, int columns, int slices,
                            enum weight_format stored);
    status (*vector_create)(struct backend *backend, int length, const float *values,
                            struct vector **out);
    void (*vector_destroy)(struct backend *backend, struct vector *vector);

    /* -- The cache: `blocks` blocks in each of the layout's stores. The layout is not kept. -- */
    status (*kv_create)(struct backend *backend, const struct cache_layout *layout, int blocks,
                        struct kv_cache **out);
    void (*kv_destroy)(struct backend *backend, struct kv_cache *cache);
    /* Device bytes of one block in all stores together; INT64_MAX where no memory is so large. */
    int64_t (*kv_block_bytes)(struct backend *backend, const struct cache_layout *layout);
    /* The same of one place of states. NULL where a backend keeps none: kv_create then fails for a
     * layout that has some. */
    int64_t (*state_bytes)(struct backend *backend, const struct cache_layout *layout);

    /* Static scales of a layer's keys and values: an fp8 cache holds them divided by these (1 until
     * they are set). NULL where the backend has no fp8 caches. */
    status (*kv_scale)(struct backend *backend, struct kv_cache *cache, int layer, float key_scale,
                       float value_scale);

    /* -- A step. step_begin takes the batch to the device; the operations until the next step_begin
     * use it. -- */
    status (*step_begin)(struct backend *backend, const struct batch *batch);

    /* residual[T, H] = scale · table[token - first_row] for ids in [first_row, first_row + rows of
     * table), 0 elsewhere. */
    status (*embed)(struct backend *backend, const struct matrix *table, int first_row, float scale,
                    struct device_buffer *residual);

    /* residual[T, H] += table[position + first_row]; every such row is there. */
    status (*embed_positions)(struct backend *backend, const struct matrix *table, int first_row,
                              struct device_buffer *residual);

    /* residual[T, H] += table[first_row + position · position_step + type · type_step]; every such
     * row is there. NULL where a backend has no such operation. */
    status (*embed_types)(struct backend *backend, const struct matrix *table, int first_row,
                          int position_step, int type_step, struct device_buffer *residual);

    /* `reader`, here and below: the matrix of the product that reads the result, so that the
     * backend can leave it as that product wants it (rounded to fp8 with a scale a row, say); NULL
     * where several read it or none. Only that product may then read it. */

    /* normed[T, H] = norm(residual) · weight (+ bias), in the activation type; a copy of the
     * residual where `weight` is NULL. */
    status (*norm)(struct backend *backend, const struct norm_facts *facts,
                   const struct vector *weight, const struct vector *bias,
                   struct device_buffer *residual, int hidden, const struct matrix *reader,
                   struct device_buffer *normed);

    /* residual += multiplier · f(sum of partials + bias), then normed = norm(residual) · weight as
     * above (skipped where `normed` is NULL; a copy of the residual in the activation type where
     * `weight` is NULL). partials: what `parts` ranks' product_sliced or experts left, one after
     * the other in rank order (1: this rank's, or the sum over ranks); the sum is the pairwise tree
     * in float32. f is norm · post_weight where post_weight is not NULL (Gemma 2 and 3, OLMo 2),
     * else the identity. */
    status (*add_norm)(struct backend *backend, const struct norm_facts *facts,
                       struct device_buffer *partials, int parts, const struct vector *bias,
                       float multiplier, const struct vector *post_weight,
                       struct device_buffer *residual, int hidden, const struct vector *weight,
                       const struct vector *norm_bias, const struct matrix *reader,
                       struct device_buffer *normed);

    /* out[T, rows] = in[T, columns] · matrixᵀ + bias (bias may be NULL), in the activation type. */
    status (*product)(struct backend *backend, const struct matrix *matrix,
                      const struct vector *bias, struct device_buffer *in,
                      struct device_buffer *out);

    /* How product_sliced and experts leave this rank's partial sums for ranks to add up. 0: as the
     * pairwise tree over the rank's slices, [T, rows] float32, which the communicator's sum goes on
     * adding. Otherwise bytes of an opaque block of them (for `tokens` = T), which the communicator
     * gathers and add_norm reads. Asked once for buffers (with the most tokens) and every step. */
    size_t (*partial_bytes)(struct backend *backend, const struct matrix *matrix, int tokens);

    /* The row-parallel product. The matrix holds this rank's slices (a power of two); out gets
     * their partial sums as partial_bytes says: the rank's subtree of the whole tree. */
    status (*product_sliced)(struct backend *backend, const struct matrix *matrix,
                             struct device_buffer *in, struct device_buffer *out);

    /* qkv[T, (query_heads + 2 · kv_heads) · head_dim], in place: per-head norm of q and k where the
     * weights are not NULL, then rope on q and k (facts NULL: none), then k and v are appended to
     * the cache of `layer`. */
    status (*rope_append)(struct backend *backend, const struct head_layout *heads,
                          const struct rope_facts *rope, const struct norm_facts *norm,
                          const struct vector *q_norm, const struct vector *k_norm,
                          struct device_buffer *qkv, struct kv_cache *cache, int layer);

    /* Norms over all heads together, in two steps with a sum over ranks between them (OLMo 2).
     * sums[T, 2] float32: of the squares of q and of k, this rank's subtree of the pairwise tree
     * over the slices of query heads; a key/value head counts in the slice of the first query head
     * that reads it. NULL, here and in the next two, where a backend has no such operation. */
    status (*head_squares)(struct backend *backend, const struct head_layout *heads,
                           const struct head_slices *slices, struct device_buffer *qkv,
                           struct device_buffer *sums);
    /* q and k of qkv, in place: divided by the root of their mean square, of q_width and k_width
     * values on all ranks, and times the weights of this rank's heads. */
    status (*head_normalize)(struct backend *backend, const struct head_layout *heads,
                             const struct norm_facts *norm, const struct vector *q_norm,
                             const struct vector *k_norm, int q_width, int k_width,
                             struct device_buffer *sums, struct device_buffer *qkv);

    /* q of qkv, in place: times 1 + beta · log(1 + floor(position / length)) (Llama 4, Ministral
     * 3). */
    status (*scale_queries)(struct backend *backend, const struct head_layout *heads, float beta,
                            int length, struct device_buffer *qkv);

    /* out[T, query_heads · head_dim]: attention of the step's queries over the cache, causal unless
     * the facts say otherwise. STATUS_UNSUPPORTED where a backend cannot do what they say. */
    status (*attention)(struct backend *backend, const struct head_layout *heads,
                        const struct attention_facts *facts, struct device_buffer *qkv,
                        struct kv_cache *cache, int layer, const struct matrix *reader,
                        struct device_buffer *out);

    /* Latent attention, in the form in which every position is computed, prompt or not: the
     * products that would make a position's keys and values of its latent are applied to queries
     * and to what is attended instead.
     *
     * latent [T, latent_dim + rope_dim], in place: norm of the latent, rope of the key; then both
     * are appended to the cache of `layer`. NULL, here and in the next two, where a backend has no
     * such operation. */
    status (*latent_append)(struct backend *backend, const struct latent_facts *facts,
                            const struct rope_facts *rope, const struct vector *norm,
                            struct device_buffer *latent, struct kv_cache *cache, int layer);
    /* q [T, heads · (key_dim + rope_dim)], whose rotary parts are rotated in place; queries [T,
     * heads · (latent_dim + rope_dim)]: of head h key_up[h] · q without its rotary part, then that.
     * key_up: a stack [heads] of [latent_dim, key_dim]. */
    status (*latent_queries)(struct backend *backend, const struct latent_facts *facts,
                             const struct rope_facts *rope, const struct matrix *key_up,
                             struct device_buffer *q, struct device_buffer *queries);
    /* attended [T, heads · latent_dim]: attention of the queries over the rows of the cache, whose
     * values are their latents; out [T, heads · value_dim]: of head h value_up[h] · attended.
     * value_up: a stack [heads] of [value_dim, latent_dim]. */
    status (*latent_attention)(struct backend *backend, const struct latent_facts *facts,
                               const struct matrix *value_up, struct device_buffer *queries,
                               struct kv_cache *cache, int layer, struct device_buffer *attended,
                               const struct matrix *reader, struct device_buffer *out);

    /* A gated short convolution (LFM2). in[T, 3 · width] holds B, C and x of the rank's channels;
     * out[T, width] = C ∘ (conv(B ∘ x) + bias), where channel c of the convolution is the sum over
     * j of weights[j · width + c] · (what stood in it taps - 1 - j positions ago, 0 before the
     * first). The state of `layer` is the latest taps - 1 values of B ∘ x of each channel. NULL
     * where a backend has no such operation. */
    status (*short_convolution)(struct backend *backend, int width, int taps,
                                const struct vector *weights, const struct vector *bias,
                                struct device_buffer *in, struct kv_cache *cache, int layer,
                                const struct matrix *reader, struct device_buffer *out);

    /* The gated delta rule (Yang et al., arXiv 2412.06464; as Qwen3-Next has it). in[T, …] holds
     * q and k of every key head, v and z of every value head, and b and a, a value a value head,
     * one behind the other. q, k and v pass a causal convolution with SiLU; q and k of a head are
     * divided by their length, q by the root of key_dim as well. Then for each value head, with
     * decay = exp(-exp(A_log) · softplus(a + dt_bias)) and beta = sigmoid(b):
     *     S = decay · S;  S += k ⊗ (beta · (v - kᵀS));  o = qᵀS
     * out[T, value_heads · value_dim] = norm(o) · weight · SiLU(z). The state is the convolution's
     * latest taps - 1 rows of channels and S [value_heads, key_dim, value_dim]. All positions are
     * computed in this form. work: [T, channels] float32. NULL where a backend has no such
     * operation. */
    status (*gated_delta)(struct backend *backend, const struct delta_facts *facts,
                          const struct delta_weights *weights, struct device_buffer *in,
                          struct device_buffer *work, struct kv_cache *cache, int layer,
                          const struct matrix *reader, struct device_buffer *out);

    /* A state space of the second Mamba (Dao and Gu, arXiv 2405.21060). in[T, …] holds z and x of
     * every head, B and C of every group, and dt of every head, one behind the other. x, B and C
     * pass a causal convolution with SiLU. For each head, with step = softplus(dt + dt_bias) and
     * decay = exp(-exp(A_log) · step):
     *     S = decay · S + B ⊗ (step · x);  y = CᵀS + D · x
     * out[T, heads · head_dim] = y, times SiLU(z) where the facts say so. The state is the
     * convolution's latest taps - 1 rows of channels and S [heads, state_dim, head_dim]. All
     * positions are computed in this form. work: [T, channels] float32. NULL, here and in the next
     * two, where a backend has no such operation. */
    status (*scan)(struct backend *backend, const struct scan_facts *facts,
                   const struct scan_weights *weights, struct device_buffer *in,
                   struct device_buffer *work, struct kv_cache *cache, int layer,
                   const struct matrix *reader, struct device_buffer *out);
    /* A norm over groups, which ranks share, in two steps with a sum over ranks between them.
     * sums[T, groups] float32: of the squares, this rank's subtree of the pairwise tree. */
    status (*group_squares)(struct backend *backend, const struct group_norm_facts *facts,
                            struct device_buffer *values, struct device_buffer *sums);
    /* values[T, width], in place: divided by the root of their group's mean square, times the
     * weights [width], times SiLU(gates) where the facts say so. */
    status (*group_normalize)(struct backend *backend, const struct group_norm_facts *facts,
                              const struct vector *weight, struct device_buffer *sums,
                              struct device_buffer *gates, const struct matrix *reader,
                              struct device_buffer *values);

    /* values[T, width], in place: columns [first, first + count) times `factor`. NULL where a
     * backend has no such operation. */
    status (*scale)(struct backend *backend, int width, int first, int count, float factor,
                    struct device_buffer *values);

    /* values[T, width] *= sigmoid(gates[T, width]). NULL where a backend has no such operation. */
    status (*gate)(struct backend *backend, int width, struct device_buffer *gates,
                   const struct matrix *reader, struct device_buffer *values);

    /* Only the rows that have outputs go on: residual [T, hidden] and attended [T, width], plain in
     * the activation type, become [O, ...], and T is O until the step ends. After the last layer's
     * attention, where no later layer reads the other rows. O is at least 1. */
    status (*keep_outputs)(struct backend *backend, struct device_buffer *residual, int hidden,
                           struct device_buffer *attended, int width);

    /* out[T, width] = activation(in[:, :width]) · in[:, width:2·width]; not gated: activation(in[T,
     * width]). */
    status (*activate)(struct backend *backend, enum activation activation, bool gated, int width,
                       struct device_buffer *in, const struct matrix *reader,
                       struct device_buffer *out);

    /* Mixture of experts. The router is whole on every rank, and each rank has its part of every
     * expert's width. out: the rank's partial sums [T, H] as partial_bytes(down) says, where a
     * slice's value is the weighted sum over the token's experts in ascending expert order, shared
     * ones last. */
    status (*experts)(struct backend *backend, const struct expert_facts *facts,
                      const struct expert_weights *weights, struct device_buffer *in,
                      struct device_buffer *out);

    /* logits[O, rows] = scale · in[output_rows] · matrixᵀ in float32, soft-capped where soft_cap >
     * 0. `in` is a normed [T, H]. */
    status (*logits)(struct backend *backend, const struct matrix *matrix, float scale,
                     float soft_cap, struct device_buffer *in, struct device_buffer *logits);

    /* Samples `count` rows of logits [count, vocabulary] (whole rows). May change the logits. */
    status (*sample)(struct backend *backend, struct device_buffer *logits, int count,
                     int vocabulary, const struct sample_request *requests,
                     struct sample_result *results);
    /* The same without waiting, and of 0 rows, too: the next step, whose tokens may be these, can
     * be begun before they are fetched. They are fetched before the next rows are sampled. So a
     * step's operations up to its logits are under way while its requests are still being made:
     *
     *     step k: step_begin, ..., logits, sample_begin
     *     step k + 1: step_begin, ..., logits     its tokens may be batch_drawn
     *     step k: sample_end                      the device is at step k + 1
     *     step k + 1: sample_begin                its masks are told by the tokens of step k
     *
     * A backend keeps what step k drew where the operations of step k + 1 find it, until they have
     * run; and it has read all that `requests` point to when sample_begin returns. */
    status (*sample_begin)(struct backend *backend, struct device_buffer *logits, int count,
                           int vocabulary, const struct sample_request *requests);
    /* Whether sample_end would not wait (or would fail). */
    bool (*sample_is_done)(struct backend *backend);
    /* results[count] of sample_begin. *gap: seconds for which the device stood still between the
     * step before and the one that was sampled; 0 where that is not known. */
    status (*sample_end)(struct backend *backend, struct sample_result *results, double *gap);
};

struct backend {
    const struct backend_operations
        *operations; /* implementations put their own fields behind it */
};

struct backend_options {
    enum dtype compute; /* activations: float32, bfloat16 or float16; the CPU computes in float32 in
                           any case and only rounds what a GPU would keep in 16 bits */
    int max_tokens;     /* T at most */
    int max_sequences;  /* S and O at most */
    int device;         /* GPU index on this host */
    int threads;        /* CPU: OpenMP threads, 0 for the default */
    bool is_alone;      /* no other rank reads what product_sliced leaves (tp 1): not all that
                           add_norm needs has to stand in its block */
    bool wide_sums;     /* GPU, for checks, with float32 activations: fp8 products add up in float32
                           as on the CPU, where tensor cores keep about 14 bits of a sum */
};

/* Whether this build has a backend of that name ("cpu", "cuda") and whether a device for it is
 * present on this host. */
bool backend_is_built(const char *name);
int backend_device_count(const char *name);

/* What can be known of a device before a backend is opened on it. */
struct device_facts {
    char name[64];
    char address[32]; /* on the bus: tells the GPUs of a host apart; "" for the host's processors */
    char arithmetic[128]; /* what decides the bits of its results, beside the program: two devices
                             that say the same give the same bits */
    int capability;       /* of a GPU: its compute capability times ten, which the table of weight
                             formats goes by; 0 elsewhere */
    int64_t total_bytes, free_bytes; /* of the device's own memory; 0 for the host's processors */
};
/* Device `device` of the backend's kind. On a GPU this makes the process's context there, so that
 * free_bytes is what remains beside it. STATUS_UNSUPPORTED and STATUS_NOT_FOUND as below. */
status backend_device_facts(const char *name, int device, struct device_facts *out) MUST_CHECK;
/* Energy that the device has used since some moment before the program began, in joules; NaN where
 * it does not tell. */
double backend_device_energy(const char *name, int device);

/* STATUS_UNSUPPORTED where it is not built in, STATUS_NOT_FOUND where no such device is there. The
 * caller ends it with operations->destroy. */
status backend_create(const char *name, const struct backend_options *options,
                      struct backend **out) MUST_CHECK;

#endif
