/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the CPU backend: what its files share. */
#ifndef SLUICE_CPU_H
#define SLUICE_CPU_H

#include "backend/cpu/kernels.h"
#include "sluice/backend_kind.h"

/* ---- Host: host.c ---- */

/* Zeroed memory aligned to 64 bytes; large regions are asked for in huge pages. */
struct cpu_region {
    void *data;
    size_t bytes;
};
/* STATUS_NO_MEMORY names `what`; also when a large region exceeds what the host has free. */
status cpu_region_create(struct cpu_region *region, size_t bytes, const char *what) MUST_CHECK;
void cpu_region_destroy(struct cpu_region *region);
/* At least `bytes`; what it held is lost when it grows. */
status cpu_region_grow(struct cpu_region *region, size_t bytes, const char *what) MUST_CHECK;
/* The product of `count` sizes in *bytes; STATUS_LIMIT naming `what` when it does not fit. */
status cpu_size(size_t *bytes, const char *what, int count, ...) MUST_CHECK;

/* Bytes of memory that this process may use in all and still has: the host's, or less where a
 * control group says so. */
status cpu_host_memory(int64_t *total_bytes, int64_t *free_bytes) MUST_CHECK;
/* OMP_NUM_THREADS where set; else the processors that this process may run on, shared with the
 * ranks that a launcher started beside it without binding them. */
int cpu_host_threads(void);
void cpu_host_name(char *name, size_t size);

/* The same of a host whose files lie below `root`. */
status cpu_host_memory_below(const char *root, int64_t *total_bytes,
                             int64_t *free_bytes) MUST_CHECK;
void cpu_host_name_below(const char *root, char *name, size_t size);
/* Of the processors that this process may run on, those for it: what its control group grants, and
 * unless a launcher has bound it, without the other ranks of the host. At least 1. */
int cpu_host_share(const char *root, int processors, bool bound);

/* ---- The backend's objects ---- */

struct device_buffer {
    struct cpu_region region;
};

struct vector {
    struct cpu_region region; /* padded with 0 to whole panels: [ceil(length / 32) · 32] */
    int length;
};

/* [count][panels][columns][32], places within 32 as panel_place says; rows padded with 0. fp8: the
 * rounded numbers in float32, and what they are multiplied by, scale [count][max(slices, 1)][rows].
 */
struct matrix {
    struct cpu_region region;
    int count, rows, columns, panels;
    bool bfloat16, fp8;
    size_t panel_bytes; /* columns · 32 values */
    int slices;         /* 0: only whole products */
    int32_t slice_start[MAX_SLICES + 1];
    float *scale;       /* fp8 */
    float *input_scale; /* fp8: [count] static scale of the input, 0: taken from each row */
};

/* A layer's keys [block][kv head][group][head_dim][16] and values [block][kv head][position]
 * [padded_dim]. */
struct kv_store {
    int kv_heads, head_dim, padded_dim;
    size_t key_offset, value_offset;         /* bytes into the cache's keys and values */
    size_t head_key_bytes, head_value_bytes; /* one block of one key/value head */
    float key_scale, value_scale;            /* what they are divided by; 1 without fp8 */
    bool is_latent;                          /* rows of values that are keys too, and no keys */
    size_t state_offset, state_values; /* of a sequence: floats, from the start of its place */
};

/* Keys and values of one layer after the other. Numbers of fp8 are kept in bfloat16, which has them
 * all. */
struct kv_cache {
    struct cpu_region keys, values;
    struct kv_store *stores; /* [layers] */
    int layers, block_tokens, blocks;
    bool bfloat16, fp8;
    struct cpu_region states; /* [places][place_values] the stores' states one behind the other */
    size_t place_values;
    int places;
};

/* cos and sin of a step's tokens, [T][dimensions / 2] each, for one struct rope_facts. */
struct rope_table {
    const struct rope_facts *facts; /* NULL: not filled in this step */
    struct cpu_region region;
    const float *cosine, *sine;
};

enum { ROPE_TABLES = 2 }; /* global and local layers */

struct cpu_backend {
    struct backend backend; /* first: the interface is cast to this */
    const struct cpu_kernels *kernels;
    enum dtype activation; /* what activations are rounded to (they are kept in float32) */
    int threads, max_tokens, max_sequences;
    char name[160];

    const struct batch *batch;      /* of the step, borrowed */
    int rows;                       /* T, or O after keep_outputs */
    int32_t *token_sequence;        /* [max_tokens]; behind them: */
    int32_t *token_ids;             /* [max_tokens] of the batch, those that were drawn filled in */
    struct sample_result *drawn;    /* [max_sequences] by the latest sample_begin, */
    int drawn_count;                /* so many */
    const struct kv_cache *checked; /* cache that the step's block table was checked against */
    struct rope_table rope[ROPE_TABLES];
    int next_rope;

    /* Grown when first needed, reused afterwards. */
    struct cpu_region gathered;  /* rows of a product's input, copied */
    struct cpu_region rounded;   /* the same, rounded to fp8, behind their scales */
    struct cpu_region partials;  /* products of slices */
    struct cpu_region attention; /* a tile's scratch for each thread, and work lists */
    struct cpu_region experts;
};

static inline struct cpu_backend *cpu_of(struct backend *backend)
{
    return (struct cpu_backend *)backend;
}

/* The best kernels that this processor runs. */
const struct cpu_kernels *cpu_kernels_best(void);
/* As backend_create("cpu", …); with given kernels for tests. */
status cpu_backend_create(const struct backend_options *options, struct backend **out) MUST_CHECK;
/* device_facts.arithmetic of the host's processors: AVX2 and AVX-512 agree to the bit, what has
 * neither adds after it has rounded. */
const char *cpu_arithmetic(void);
status cpu_backend_create_with(const struct cpu_kernels *kernels,
                               const struct backend_options *options,
                               struct backend **out) MUST_CHECK;

/* The buffer's memory as `rows` rows of `width` float32; NULL with a message (an invariant does not
 * hold) where it is smaller. */
float *cpu_floats(const struct device_buffer *buffer, int rows, int width);
/* Threads worth using for `work` multiply-adds or so. */
int cpu_threads_for(const struct cpu_backend *cpu, double work);

/* ---- Scratch, by file ---- */

/* What a step of that shape takes at most, asked by who plans and by who allocates. */

/* memory.c: the sum of those below; struct backend_kind, which says what CPU_ROW_MARGIN is */
enum { CPU_ROW_MARGIN = 8 };
void cpu_add_scratch(const struct step_shape *shape, struct scratch_bytes *total);
/* product.c: floats of a copy of a product's input rows */
size_t cpu_copied_floats(int rows, size_t in_stride);
/* product.c: floats of the rows of `columns` values whose logits are wanted */
size_t cpu_output_floats(int outputs, int columns);
/* kv_cache.c: floats of the rotations of one kind of layer */
size_t cpu_rope_floats(int tokens, int dimensions);
/* kv_cache.c: values of a cached row of values */
int cpu_padded_dimension(int head_dim);
/* attention.c: floats of all threads' tiles and of the work lists */
size_t cpu_attention_floats(int threads, int head_dim, int query_heads, int sequences);
/* experts.c: floats of the chunk of tokens that is worked on at once */
size_t cpu_experts_floats(const struct step_shape *shape, int threads);

/* ---- Operations, by file ---- */

/* weights.c */
status cpu_matrix_create(struct backend *backend, int count, int rows, int columns,
                         const int32_t *slice_start, int slices, enum weight_format stored,
                         struct matrix **out);
bool cpu_matrix_takes(struct backend *backend, enum weight_format format);
status cpu_matrix_write(struct backend *backend, struct matrix *matrix, int index, int first_row,
                        int row_count, const struct weight_rows *rows);
status cpu_matrix_finish(struct backend *backend, struct matrix *matrix);
void cpu_matrix_destroy(struct backend *backend, struct matrix *matrix);
int64_t cpu_matrix_bytes(struct backend *backend, int count, int rows, int columns, int slices,
                         enum weight_format stored);
status cpu_vector_create(struct backend *backend, int length, const float *values,
                         struct vector **out);
void cpu_vector_destroy(struct backend *backend, struct vector *vector);
status cpu_matrix_input_scale(struct backend *backend, struct matrix *matrix, int index,
                              float scale);
uint16_t cpu_bfloat16(float value); /* rounded to nearest even */
/* Number `index` of those that `data` is, widened. */
float cpu_element(const void *data, enum dtype type, size_t index);

/* product.c */
struct product_call {
    const struct matrix *matrix;
    int index;       /* of a stack */
    const float *in; /* [rows][in_stride] */
    size_t in_stride;
    int rows;
    const struct vector *bias; /* or NULL */
    float *out;                /* [rows][matrix->rows] */
    size_t out_stride;         /* from a row of `out` to the next; 0: matrix->rows */
    const int32_t *range;      /* [2] only these columns; NULL: all, as the matrix's slices say */
    bool keeps_sums;           /* cpu_product_slice: sums stay float32 */
};
status cpu_product_run(struct cpu_backend *cpu, const struct product_call *call) MUST_CHECK;
/* All outputs of rows [first_row, last_row), on the calling thread. */
void cpu_product_rows(const struct cpu_kernels *kernels, const struct product_call *call,
                      int first_row, int last_row);
status cpu_embed(struct backend *backend, const struct matrix *table, int first_row, float scale,
                 struct device_buffer *residual);
status cpu_embed_types(struct backend *backend, const struct matrix *table, int first_row,
                       int position_step, int type_step, struct device_buffer *residual) MUST_CHECK;
status cpu_embed_positions(struct backend *backend, const struct matrix *table, int first_row,
                           struct device_buffer *residual);
status cpu_product(struct backend *backend, const struct matrix *matrix, const struct vector *bias,
                   struct device_buffer *in, struct device_buffer *out);
status cpu_product_sliced(struct backend *backend, const struct matrix *matrix,
                          struct device_buffer *in, struct device_buffer *out);
status cpu_logits(struct backend *backend, const struct matrix *matrix, float scale, float soft_cap,
                  struct device_buffer *in, struct device_buffer *logits);

/* rounding.c: fewer bits than float32, as the CUDA backend has them */
#define CPU_FP8_MOST 448.0f
float cpu_fp8(float value); /* nearest E4M3 number, ties to even, at most ±448 */
/* Rounds activations that `reader` reads (NULL: any) in place; nothing where they stay float32, or
 * where the reader rounds them itself. */
void cpu_round(const struct cpu_backend *cpu, const struct matrix *reader, float *values,
               size_t count);
/* Whether a product with this matrix differs from cpu_product_run's. */
static inline bool cpu_is_rounded(const struct cpu_backend *cpu, const struct matrix *matrix)
{
    return matrix->fp8 || cpu->activation != DTYPE_FLOAT32;
}
/* cpu_product_run with the roundings of a reduced type, slices added up as a tree. */
status cpu_product_rounded(struct cpu_backend *cpu, const struct product_call *call) MUST_CHECK;
/* One slice alone: rounded (if the call does not keep its sums), times its scales. */
status cpu_product_slice(struct cpu_backend *cpu, const struct product_call *call, int slice,
                         float *out) MUST_CHECK;

/* routing.c */
enum { CPU_MOST_GROUPS = 256 };
struct router_rows {
    int experts;             /* that are chosen from */
    bool has_shared_gate;    /* a logit behind theirs */
    const float *correction; /* [experts] or NULL */
};
/* logits [experts, and one more] become what experts are weighted by; scores [experts] is scratch;
 * chosen and weight [used + shared]. */
void cpu_choose_experts(const struct cpu_kernels *kernels, const struct expert_facts *facts,
                        const struct router_rows *router, float *logits, float *scores,
                        int32_t *chosen, float *weight);

/* experts.c */
status cpu_experts(struct backend *backend, const struct expert_facts *facts,
                   const struct expert_weights *weights, struct device_buffer *in,
                   struct device_buffer *out);

/* rows.c */
status cpu_norm(struct backend *backend, const struct norm_facts *facts,
                const struct vector *weight, const struct vector *bias,
                struct device_buffer *residual, int hidden, const struct matrix *reader,
                struct device_buffer *normed);
status cpu_add_norm(struct backend *backend, const struct norm_facts *facts,
                    struct device_buffer *partials, int parts, const struct vector *bias,
                    float multiplier, const struct vector *post_weight,
                    struct device_buffer *residual, int hidden, const struct vector *weight,
                    const struct vector *norm_bias, const struct matrix *reader,
                    struct device_buffer *normed);
status cpu_activate(struct backend *backend, enum activation activation, bool gated, int width,
                    struct device_buffer *in, const struct matrix *reader,
                    struct device_buffer *out);

/* kv_cache.c */
status cpu_kv_create(struct backend *backend, const struct cache_layout *layout, int blocks,
                     struct kv_cache **out);
void cpu_kv_destroy(struct backend *backend, struct kv_cache *cache);
int64_t cpu_kv_block_bytes(struct backend *backend, const struct cache_layout *layout);
status cpu_kv_scale(struct backend *backend, struct kv_cache *cache, int layer, float key_scale,
                    float value_scale);
/* Whether the cache has that layer, and heads of this shape in it. */
bool cpu_store_fits(const struct kv_cache *cache, int layer, const struct head_layout *heads);
status cpu_rope_append(struct backend *backend, const struct head_layout *heads,
                       const struct rope_facts *rope, const struct norm_facts *norm,
                       const struct vector *q_norm, const struct vector *k_norm,
                       struct device_buffer *qkv, struct kv_cache *cache, int layer);
/* Where a token's entry goes: the block, and the position within it. */
struct cache_place {
    int block, within;
};
struct cache_place cpu_place_of(const struct cpu_backend *cpu, const struct kv_cache *cache,
                                int token);
/* A value's row of `store` at such a place becomes `values` [head_dim]. */
void cpu_write_row(const struct kv_cache *cache, const struct kv_store *store, int head,
                   struct cache_place place, const float *values);
/* cos and sin of the step's tokens, made once a step for each struct rope_facts. */
status cpu_rope_table(struct cpu_backend *cpu, const struct rope_facts *facts,
                      const struct rope_table **out) MUST_CHECK;
/* Every block that the step reads or writes lies in the cache. */
status cpu_check_blocks(struct cpu_backend *cpu, const struct kv_cache *cache) MUST_CHECK;

/* states.c */
int64_t cpu_state_bytes(struct backend *backend, const struct cache_layout *layout);
/* Plans the stores' states and makes their memory. */
status cpu_states_create(struct kv_cache *cache, const struct cache_layout *layout) MUST_CHECK;
/* Where `layer` keeps the states of the step's sequences, zeros where one begins with this step;
 * STATUS_INTERNAL where it keeps none of
 * `values` floats or a sequence's place is not one of the cache's. */
struct state_view {
    float *first;  /* of place 0 */
    size_t stride; /* floats from one place to the next */
};
status cpu_states_of(const struct cpu_backend *cpu, const struct kv_cache *cache, int layer,
                     size_t values, struct state_view *out) MUST_CHECK;
/* That of the step's sequence `sequence`. */
static inline float *cpu_state_at(const struct cpu_backend *cpu, const struct state_view *view,
                                  int sequence)
{
    return view->first + (size_t)cpu->batch->state_place[sequence] * view->stride;
}

/* convolution.c */
/* Channels of the step's rows, each convolved over its own latest positions. */
struct channel_convolution {
    float *in;        /* [T][in_stride] */
    size_t in_stride; /* floats */
    int channels, taps;
    const float *weights;     /* [taps][channels] */
    const float *bias;        /* [channels] or NULL */
    float *out;               /* [T][channels] */
    struct state_view states; /* which begin with [taps - 1][channels], the oldest row first */
};
void cpu_convolve(const struct cpu_backend *cpu, const struct channel_convolution *call);

/* gated_delta.c */
status cpu_gated_delta(struct backend *backend, const struct delta_facts *facts,
                       const struct delta_weights *weights, struct device_buffer *in,
                       struct device_buffer *work, struct kv_cache *cache, int layer,
                       const struct matrix *reader, struct device_buffer *out);
status cpu_scale(struct backend *backend, int width, int first, int count, float factor,
                 struct device_buffer *values);
status cpu_gate(struct backend *backend, int width, struct device_buffer *gates,
                const struct matrix *reader, struct device_buffer *values);

/* scan.c */
status cpu_scan(struct backend *backend, const struct scan_facts *facts,
                const struct scan_weights *weights, struct device_buffer *in,
                struct device_buffer *work, struct kv_cache *cache, int layer,
                const struct matrix *reader, struct device_buffer *out);
status cpu_group_squares(struct backend *backend, const struct group_norm_facts *facts,
                         struct device_buffer *values, struct device_buffer *sums);
status cpu_group_normalize(struct backend *backend, const struct group_norm_facts *facts,
                           const struct vector *weight, struct device_buffer *sums,
                           struct device_buffer *gates, const struct matrix *reader,
                           struct device_buffer *values);

/* short_convolution.c */
status cpu_short_convolution(struct backend *backend, int width, int taps,
                             const struct vector *weights, const struct vector *bias,
                             struct device_buffer *in, struct kv_cache *cache, int layer,
                             const struct matrix *reader, struct device_buffer *out);

/* wide_norm.c */
status cpu_head_squares(struct backend *backend, const struct head_layout *heads,
                        const struct head_slices *slices, struct device_buffer *qkv,
                        struct device_buffer *sums);
status cpu_head_normalize(struct backend *backend, const struct head_layout *heads,
                          const struct norm_facts *norm, const struct vector *q_norm,
                          const struct vector *k_norm, int q_width, int k_width,
                          struct device_buffer *sums, struct device_buffer *qkv);
status cpu_scale_queries(struct backend *backend, const struct head_layout *heads, float beta,
                         int length, struct device_buffer *qkv);

/* attention.c */
status cpu_keep_outputs(struct backend *backend, struct device_buffer *residual, int hidden,
                        struct device_buffer *attended, int width);
status cpu_attention(struct backend *backend, const struct head_layout *heads,
                     const struct attention_facts *facts, struct device_buffer *qkv,
                     struct kv_cache *cache, int layer, const struct matrix *reader,
                     struct device_buffer *out);
/* Causal or other attention of the step's queries over a layer's store, of either kind. */
struct attention_call {
    const struct head_layout *heads;
    const struct attention_facts *facts;
    const struct kv_cache *cache;
    int layer;
    const float
        *queries; /* [T][query_stride], of which head h has head_dim values at h · head_dim */
    size_t query_stride;
    int value_dim;
    float *out; /* [T, query_heads · value_dim] */
};
status cpu_attend(struct cpu_backend *cpu, const struct attention_call *call) MUST_CHECK;

/* latent.c */
status cpu_latent_append(struct backend *backend, const struct latent_facts *facts,
                         const struct rope_facts *rope, const struct vector *norm,
                         struct device_buffer *latent, struct kv_cache *cache, int layer);
status cpu_latent_queries(struct backend *backend, const struct latent_facts *facts,
                          const struct rope_facts *rope, const struct matrix *key_up,
                          struct device_buffer *q, struct device_buffer *queries);
status cpu_latent_attention(struct backend *backend, const struct latent_facts *facts,
                            const struct matrix *value_up, struct device_buffer *queries,
                            struct kv_cache *cache, int layer, struct device_buffer *attended,
                            const struct matrix *reader, struct device_buffer *out);

#endif
