/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the CUDA backend: what its host files (C) share. Kernels are CUDA C in kernels/, called
 * through the plain C functions of kernels/kernels.h.
 *
 * All work goes to one stream, in order. Nothing in a step allocates after the first steps, and
 * nothing waits for the device but download, synchronize and sample. */
#ifndef SLUICE_CUDA_H
#define SLUICE_CUDA_H

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include "backend/cuda/kernels/kernels.h"
#include "sluice/backend.h"
#include "sluice/backend_kind.h"

/* ---- Errors: device_memory.c ---- */

/* CUDA's or cuBLAS's code as a status; `what` names the operation for the message ("attention").
 * cudaErrorMemoryAllocation is STATUS_NO_MEMORY and says how much was free. */
status cuda_check(cudaError_t error, const char *what) MUST_CHECK;
status cuda_check_blas(cublasStatus_t code, const char *what) MUST_CHECK;

/* ---- Objects ---- */

/* A dense product leaves its result raw: a value is
 *     raw · row_scale[token] · column_scale[column] + bias[column],
 * which whoever reads it applies in float32. NULL: 1, or 0 for the bias. Device pointers. */
struct cuda_pending {
    const float *row_scale, *column_scale, *bias;
};

/* Rows rounded to fp8 for a product: e4m3 [slices][T][padded], zeros behind each slice's width, and
 * a scale for each slice and row: value = scale[slice · scale_stride + row] · data. */
struct cuda_packed {
    void *data;
    float *scale;
    size_t bytes;       /* of data */
    int scale_capacity; /* values */
    int slices, padded, scale_stride;
    bool valid; /* holds what the buffer holds; then `data` of the buffer may be stale */
};

struct device_buffer {
    void *data; /* plain: [T][width] in the activation type, or what the operation says */
    size_t bytes;
    struct cuda_pending pending;
    struct cuda_packed packed;
};

struct vector {
    float *data; /* [length] */
    int length;
};

/* [count] products of [rows][columns], row-major, in `dtype`. fp8: [count][parts][rows][padded],
 * parts = max(slices, 1), each part padded with zeros to `padded` columns (a multiple of 16), and
 * scale [count][parts][rows]; a value is scale · data. */
struct matrix {
    void *data;
    size_t bytes;
    int count, rows, columns;
    enum dtype dtype;
    int slices; /* 0: whole products only */
    int32_t slice_start[MAX_SLICES + 1];
    int padded;         /* fp8 */
    float *scale;       /* fp8, device */
    float *input_scale; /* [count] host: static scale of the input, 0: taken from each row; NULL */
};

/* What a layer's keys and values are divided by in the cache. */
struct kv_scales {
    float key, value;
};

/* A layer's keys and values, each [block][kv head][block_tokens][head_dim] in the cache's type. */
struct kv_store {
    int kv_heads, head_dim;
    size_t offset;                     /* bytes into the cache's keys, and into its values */
    size_t state_offset, state_values; /* floats into a place of states, and of them */
    struct kv_scales scales;           /* 1 for other types than fp8 */
};

/* Keys and values of one layer after the other, and places of states. */
struct kv_cache {
    void *keys, *values;
    float *states; /* [places][place_values] */
    size_t place_values;
    int places;
    struct kv_store *stores; /* [layers] host */
    int layers, block_tokens, blocks;
    enum dtype dtype;
};

enum { CUDA_MAX_HEADS = 256, CUDA_ROPE_TABLES = 2 };

/* cos and sin [T][dimensions / 2] of the step's tokens, for one struct rope_facts. */
struct cuda_rope_table {
    const struct rope_facts *facts; /* NULL: not filled in this step */
    float *cosine, *sine;
    size_t capacity; /* values of each */
};

/* How attention cuts the step: lists in device memory, and what the host knows of them. */
struct cuda_attention_plan {
    int items, chunks, joins;
    int longest_short; /* tokens of an item's sequence */
    int chunk_tokens;  /* of all chunks */
    int slots;         /* of partial results: a split of a token */
    bool long_chunks;  /* one has several splits */
    const struct attention_item *item;
    const struct attention_chunk *chunk;
    const struct attention_join *join;
};

/* The batch of the step in device memory, by value to kernels. */
struct cuda_step {
    int tokens; /* rows of the step's buffers: T, or O after keep_outputs */
    int sequences, outputs;
    int block_table_stride;
    int longest_query, longest_context;                    /* over sequences */
    const int32_t *token_ids, *positions, *token_sequence; /* [T] */
    const int32_t *query_start;                            /* [S + 1] */
    const int32_t *context_length;                         /* [S] */
    const int32_t *block_table;                            /* [S, block_table_stride] */
    const uint8_t *long_rope;                              /* [S] or NULL */
    const uint8_t *token_types;                            /* [T] or NULL */
    const int32_t *state_place, *state_from;               /* [S] or NULL */
    const int32_t *output_rows;                            /* [O] */
    struct cuda_attention_plan attention;
};

/* A growable piece of device memory, contents lost when it grows. */
struct cuda_space {
    void *data;
    size_t bytes;
};

/* How the latest product_sliced or experts left its partial sums: [slices][T][H] in the activation
 * type; `scaled`: column scales [slices][H] and row scales [slices][T] at scales_offset, or where
 * the pointers say, a slice's row scales row_scale_stride apart. */
struct cuda_partials {
    int slices;
    bool scaled;
    size_t block_bytes, scales_offset;
    const float *column_scale, *row_scale; /* NULL: in the block */
    int row_scale_stride;
};

struct cuda_products; /* product.c: cuBLASLt, its workspace and the algorithms chosen */
struct cuda_loader;   /* weights.c: pinned staging */

/* A mask that the device does not have, and the slot that it is to be written to. */
struct cuda_fresh_mask {
    int slot;
    const uint32_t *words;
};

/* Masks on the device. */
struct cuda_masks {
    struct mask_slots *slots; /* NULL until a row has one */
    int slot_count, vocabulary;
    struct cuda_space space;       /* [slot_count] of sampling_mask_words(vocabulary) */
    struct cuda_fresh_mask *fresh; /* [fresh_count] of this call */
    int fresh_count;
};

/* What the latest sample_begin drew, or is about to. */
struct cuda_drawn {
    int count;
    const struct sample_row *rows;                     /* [count] host */
    const struct sample_outcome *on_device, *outcomes; /* [count] there, and as they arrive here */
    const struct sample_top *tops;                     /* host */
    cudaEvent_t arrived;
};

/* When steps began and ended on the device: of two in turn, by step's number. */
struct cuda_step_times {
    cudaEvent_t began[2], ended[2];
    int64_t number, sampled, sampled_before; /* of steps: the latest, and those sampled last */
};

struct cuda_backend {
    struct backend backend; /* first: the interface is cast to this */
    cudaStream_t stream;
    int device;
    int major, minor, multiprocessors; /* compute capability */
    enum dtype activation;             /* float32, bfloat16 or float16 */
    int max_tokens, max_sequences;
    bool wide_sums, is_alone; /* as in struct backend_options */
    char name[256];

    const struct batch *batch;      /* of the step, host, borrowed */
    struct cuda_step step;          /* the same on the device */
    const struct kv_cache *checked; /* cache that the step's block table was checked against */
    void *staging[2];               /* pinned host memory of batches, used in turn */
    cudaEvent_t staged[2];
    size_t staging_bytes;
    int next_staging;
    struct cuda_space step_space;

    struct cuda_rope_table rope[CUDA_ROPE_TABLES];
    int next_rope;

    struct cuda_partials partials;
    struct cuda_products *products;
    struct cuda_loader *loader;
    struct cuda_space scratch;    /* free for use within one operation */
    struct cuda_space attention;  /* attention.c */
    struct cuda_space experts;    /* experts.c */
    struct cuda_space sampling;   /* sample.c */
    struct cuda_space widened[2]; /* wide_sums: both operands of a product */
    void *sampling_host;          /* pinned */
    size_t sampling_host_bytes;
    struct cuda_drawn drawn;
    struct cuda_step_times times;
    struct cuda_masks masks; /* sample.c */
};

static inline struct cuda_backend *cuda_of(struct backend *backend)
{
    return (struct cuda_backend *)(void *)backend;
}

/* device_memory.c. At least `bytes` of device memory in *space; waits for the device when it has to
 * grow. */
status cuda_space_grow(struct cuda_backend *cuda, struct cuda_space *space, size_t bytes,
                       const char *what) MUST_CHECK;
void cuda_space_free(struct cuda_space *space);
/* STATUS_INTERNAL where `buffer` is smaller than rows × width values of `value_bytes`. */
status cuda_buffer_check(const struct device_buffer *buffer, int rows, int64_t width,
                         size_t value_bytes) MUST_CHECK;
/* Marks that an operation has written plain values to the buffer. */
static inline void cuda_buffer_is_plain(struct device_buffer *buffer)
{
    buffer->pending = (struct cuda_pending){0};
    buffer->packed.valid = false;
}

/* device.c */
int cuda_device_count(void);
status cuda_device_facts(int device, struct device_facts *out) MUST_CHECK;
double cuda_device_energy(int device);
status cuda_device_address(int device, char out[32]) MUST_CHECK;
enum device_link cuda_device_link(int device, const char *address);
status cuda_backend_create(const struct backend_options *options, struct backend **out) MUST_CHECK;

/* ---- Operations, by file: as in sluice/backend.h ---- */

/* weights.c */
status cuda_matrix_create(struct backend *backend, int count, int rows, int columns,
                          const int32_t *slice_start, int slices, enum weight_format stored,
                          struct matrix **out);
bool cuda_matrix_takes(struct backend *backend, enum weight_format format);
status cuda_matrix_write(struct backend *backend, struct matrix *matrix, int index, int first_row,
                         int row_count, const struct weight_rows *rows);
status cuda_matrix_input_scale(struct backend *backend, struct matrix *matrix, int index,
                               float scale);
status cuda_matrix_finish(struct backend *backend, struct matrix *matrix);
void cuda_matrix_destroy(struct backend *backend, struct matrix *matrix);
int64_t cuda_matrix_bytes(struct backend *backend, int count, int rows, int columns, int slices,
                          enum weight_format stored);
status cuda_vector_create(struct backend *backend, int length, const float *values,
                          struct vector **out);
void cuda_vector_destroy(struct backend *backend, struct vector *vector);
void cuda_loader_destroy(struct cuda_loader *loader);

/* product.c */
status cuda_products_create(struct cuda_backend *cuda, struct cuda_products **out) MUST_CHECK;
void cuda_products_destroy(struct cuda_products *products);
/* out[tokens][rows] = in · product `index`ᵀ as `out_type`, raw: for an fp8 matrix `in` is packed
 * and the scales are the caller's. All device pointers. */
status cuda_product_run(struct cuda_backend *cuda, const struct matrix *matrix, int index,
                        const void *in, int tokens, void *out, enum dtype out_type) MUST_CHECK;
/* *values = the fp8 numbers `from` in float32, for wide_sums; operand 0 or 1, until the next. */
status cuda_widen(struct cuda_backend *cuda, int operand, const void *from, size_t count,
                  const void **values) MUST_CHECK;
/* Facts of what an operation leaves for `matrix` in a step of `tokens`; an operation that leaves
 * partial sums puts them into cuda->partials. */
void cuda_partials_describe(const struct cuda_backend *cuda, const struct matrix *matrix,
                            int tokens, struct cuda_partials *out);
size_t cuda_partial_bytes(struct backend *backend, const struct matrix *matrix, int tokens);
status cuda_product(struct backend *backend, const struct matrix *matrix, const struct vector *bias,
                    struct device_buffer *in, struct device_buffer *out);
status cuda_product_sliced(struct backend *backend, const struct matrix *matrix,
                           struct device_buffer *in, struct device_buffer *out);
status cuda_keep_outputs(struct backend *backend, struct device_buffer *residual, int hidden,
                         struct device_buffer *attended, int width);
status cuda_logits(struct backend *backend, const struct matrix *matrix, float scale,
                   float soft_cap, struct device_buffer *in, struct device_buffer *logits);

/* rows.c */
status cuda_embed(struct backend *backend, const struct matrix *table, int first_row, float scale,
                  struct device_buffer *residual);
status cuda_embed_positions(struct backend *backend, const struct matrix *table, int first_row,
                            struct device_buffer *residual);
status cuda_norm(struct backend *backend, const struct norm_facts *facts,
                 const struct vector *weight, const struct vector *bias,
                 struct device_buffer *residual, int hidden, const struct matrix *reader,
                 struct device_buffer *normed);
status cuda_add_norm(struct backend *backend, const struct norm_facts *facts,
                     struct device_buffer *partials, int parts, const struct vector *bias,
                     float multiplier, const struct vector *post_weight,
                     struct device_buffer *residual, int hidden, const struct vector *weight,
                     const struct vector *norm_bias, const struct matrix *reader,
                     struct device_buffer *normed);
status cuda_activate(struct backend *backend, enum activation activation, bool gated, int width,
                     struct device_buffer *in, const struct matrix *reader,
                     struct device_buffer *out);
status cuda_embed_types(struct backend *backend, const struct matrix *table, int first_row,
                        int position_step, int type_step, struct device_buffer *residual);
/* Fills buffer->packed from its plain rows of reader->columns values for an fp8 product. */
status cuda_pack(struct cuda_backend *cuda, const struct matrix *reader,
                 struct device_buffer *buffer, int tokens) MUST_CHECK;

/* kv_cache.c */
status cuda_kv_create(struct backend *backend, const struct cache_layout *layout, int blocks,
                      struct kv_cache **out);
void cuda_kv_destroy(struct backend *backend, struct kv_cache *cache);
int64_t cuda_kv_block_bytes(struct backend *backend, const struct cache_layout *layout);
status cuda_kv_scale(struct backend *backend, struct kv_cache *cache, int layer, float key_scale,
                     float value_scale);
/* qkv has pending scales and bias: they are applied, and pending is cleared. */
status cuda_rope_append(struct backend *backend, const struct head_layout *heads,
                        const struct rope_facts *rope, const struct norm_facts *norm,
                        const struct vector *q_norm, const struct vector *k_norm,
                        struct device_buffer *qkv, struct kv_cache *cache, int layer);

/* block_tokens is 1 << this. */
int cuda_block_shift(const struct kv_cache *cache);
/* Whether the cache has that layer, and heads of this shape in it. */
bool cuda_store_fits(const struct kv_cache *cache, int layer, const struct head_layout *heads);
/* A layer's part of cache->keys or cache->values. */
void *cuda_layer_of(const struct kv_cache *cache, void *memory, int layer);

/* attention.c: work lists of a step. Counts into *plan, returns the bytes of the lists; then the
 * lists into `staging` (aligned to 16 bytes), which are to be copied to `device`. */
size_t cuda_attention_plan_size(const struct batch *batch, struct cuda_attention_plan *plan);
void cuda_attention_plan_write(const struct batch *batch, struct cuda_attention_plan *plan,
                               void *staging, const void *device);
/* `reader` may be ignored, the product packs what is plain */
status cuda_attention(struct backend *backend, const struct head_layout *heads,
                      const struct attention_facts *facts, struct device_buffer *qkv,
                      struct kv_cache *cache, int layer, const struct matrix *reader,
                      struct device_buffer *out);

/* experts.c: `in` is plain; `out` gets [slices][T][H] in the activation type, as
 * cuda_partials_describe(down) says but never scaled: it sets cuda->partials with scaled = false */
status cuda_experts(struct backend *backend, const struct expert_facts *facts,
                    const struct expert_weights *weights, struct device_buffer *in,
                    struct device_buffer *out);

/* heads.c */
/* Finishes what a product left raw of rows of `width` values: they are plain then. */
status cuda_settle(struct cuda_backend *cuda, struct device_buffer *buffer, int width) MUST_CHECK;
status cuda_head_squares(struct backend *backend, const struct head_layout *heads,
                         const struct head_slices *slices, struct device_buffer *qkv,
                         struct device_buffer *sums);
status cuda_head_normalize(struct backend *backend, const struct head_layout *heads,
                           const struct norm_facts *norm, const struct vector *q_norm,
                           const struct vector *k_norm, int q_width, int k_width,
                           struct device_buffer *sums, struct device_buffer *qkv);
status cuda_scale_queries(struct backend *backend, const struct head_layout *heads, float beta,
                          int length, struct device_buffer *qkv);
status cuda_gate(struct backend *backend, int width, struct device_buffer *gates,
                 const struct matrix *reader, struct device_buffer *values);
status cuda_group_squares(struct backend *backend, const struct group_norm_facts *facts,
                          struct device_buffer *values, struct device_buffer *sums);
status cuda_group_normalize(struct backend *backend, const struct group_norm_facts *facts,
                            const struct vector *weight, struct device_buffer *sums,
                            struct device_buffer *gates, const struct matrix *reader,
                            struct device_buffer *values);

/* states.c: `work` is float32 */
int64_t cuda_state_bytes(struct backend *backend, const struct cache_layout *layout);
/* The cache's places of states; its stores are told where theirs lie. */
status cuda_states_create(struct kv_cache *cache, const struct cache_layout *layout) MUST_CHECK;
status cuda_short_convolution(struct backend *backend, int width, int taps,
                              const struct vector *weights, const struct vector *bias,
                              struct device_buffer *in, struct kv_cache *cache, int layer,
                              const struct matrix *reader, struct device_buffer *out);
status cuda_gated_delta(struct backend *backend, const struct delta_facts *facts,
                        const struct delta_weights *weights, struct device_buffer *in,
                        struct device_buffer *work, struct kv_cache *cache, int layer,
                        const struct matrix *reader, struct device_buffer *out);
status cuda_scan(struct backend *backend, const struct scan_facts *facts,
                 const struct scan_weights *weights, struct device_buffer *in,
                 struct device_buffer *work, struct kv_cache *cache, int layer,
                 const struct matrix *reader, struct device_buffer *out);

/* sample.c */
status cuda_sampling_create(struct cuda_backend *cuda) MUST_CHECK;
void cuda_sampling_destroy(struct cuda_backend *cuda);
status cuda_sample(struct backend *backend, struct device_buffer *logits, int count, int vocabulary,
                   const struct sample_request *requests, struct sample_result *results);
status cuda_sample_begin(struct backend *backend, struct device_buffer *logits, int count,
                         int vocabulary, const struct sample_request *requests);
bool cuda_sample_is_done(struct backend *backend);
status cuda_sample_end(struct backend *backend, struct sample_result *results, double *gap);
/* The step in the making takes its tokens from what was drawn. `token_ids` [tokens] on the device.
 */
status cuda_take_drawn(struct cuda_backend *cuda, const struct batch *batch,
                       int32_t *token_ids) MUST_CHECK;

/* Versions for `sluice --version`, of the libraries as they are loaded: device.c. */
void cuda_runtime_version(char *out, size_t size);
void cuda_cublaslt_version(char *out, size_t size);

#endif
