/* SPDX-License-Identifier: Apache-2.0 */
/* The inner loops of the CPU backend, one table of them per instruction set. They work on one tile
 * or one row, never allocate and know no threads; what they compute for an output depends neither
 * on the tile nor on the instruction set (v3 and v4; the baseline rounds multiply and add apart).
 */
#ifndef SLUICE_CPU_KERNELS_H
#define SLUICE_CPU_KERNELS_H

#include "sluice/backend.h"

enum {
    PANEL = 32,            /* outputs of a weight panel */
    POSITION_GROUP = 16,   /* positions of a key group */
    ATTENTION_CHUNK = 128, /* positions between two rescalings of the online soft-max */
    CHUNK_GROUPS = ATTENTION_CHUNK / POSITION_GROUP,
    MAX_TILE_ROWS = 14,  /* most rows of `in` that any product kernel takes at once */
    ATTENTION_ROWS = 48, /* most query rows (tokens · heads) of an attention tile */
};

/* Where output `column` of a panel stands among the 32 values stored for one k. In float32 in
 * order; in bfloat16 columns 0..15 at even places and 16..31 at odd ones, so that a 32-bit word
 * holds the two that widen into the same lane of two vectors. */
static inline int panel_place(int column, bool bfloat16)
{
    return bfloat16 ? 2 * (column % 16) + column / 16 : column;
}

/* out[rows, columns] (+ bias) from `panels` consecutive panels, each [k][32]. Each output is, per
 * slice, one chain of fused multiply-adds over ascending k from 0; the slices' values are added as
 * a pairwise tree. */
struct product_tile {
    const float *in; /* [rows][in_stride] */
    size_t in_stride;
    int rows; /* 1 to tile_rows */
    const void *panel;
    size_t panel_bytes; /* from one panel to the next */
    int panels;
    bool bfloat16;
    const int32_t *slice_start; /* [slices + 1] of k */
    int slices;                 /* a power of two, at most MAX_SLICES */
    const float *bias;          /* [panels · 32] or NULL */
    float *out;                 /* [rows][out_stride] */
    size_t out_stride;
    int columns;      /* of out: more than (panels - 1) · 32, at most panels · 32 */
    const char *next; /* memory to bring near meanwhile, or NULL */
    size_t next_step; /* bytes of it per k */
};

/* Queries of one sequence that read the same key/value head: `tokens` consecutive tokens by `heads`
 * query heads. Keys: [block][kv head][group][head_dim][16]; values: [block][kv head][position]
 * [padded_dim], head_dim rounded up to 16. Where `keys` is NULL a position's row among the values
 * is its key, and the first value_dim numbers of it are its value (latent attention). */
struct attention_tile {
    const float *queries; /* first token's row */
    size_t query_stride;  /* between tokens */
    float *out;
    size_t out_stride;
    const int32_t *head; /* [heads] query head numbers */
    int heads, tokens;   /* their product at most ATTENTION_ROWS */
    int first_position;
    const char *keys, *values;                 /* of this layer and key/value head, block 0 */
    size_t key_block_bytes, value_block_bytes; /* from one block to the next */
    const int32_t *blocks;                     /* block table of the sequence */
    int block_tokens, head_dim, padded_dim;
    int value_dim; /* of a row of `out`; a value's row is read up to whole vectors */
    bool bfloat16;
    float scale, soft_cap;
    const float *sinks; /* by query head number, or NULL: struct attention_facts */
    int window;
    int context; /* bidirectional: positions that every token sees, from 0, or of them those in
                    its window to both sides; 0: causal */
    const float *bias; /* of head 0, at no distance; NULL: none */
    size_t bias_stride;
    float *scratch; /* attention_scratch_floats(padded_dim) */
};

static inline size_t attention_scratch_floats(int padded_dim)
{
    return (size_t)ATTENTION_ROWS *
           (2 * (size_t)padded_dim + ATTENTION_CHUNK + POSITION_GROUP + 16);
}

struct cpu_kernels {
    const char *name; /* "AVX-512" */
    int tile_rows;    /* of product */
    void (*product)(const struct product_tile *tile);
    void (*attention)(const struct attention_tile *tile);
    /* out = norm(in) · (weight + offset) + bias over n values; in and out may be the same. */
    void (*norm)(const struct norm_facts *facts, const float *in, const float *weight,
                 const float *bias, int n, float *out);
    /* to[i] = the pairwise tree over parts of from[part · stride + i], plus bias (or NULL). */
    void (*add_parts)(const float *from, int parts, size_t stride, const float *bias, int n,
                      float *to);
    /* to += factor · from */
    void (*add_scaled)(float *to, const float *from, float factor, int n);
    /* out = activation(gate) · up; up NULL: activation(gate). */
    void (*activate)(enum activation activation, const float *gate, const float *up, int n,
                     float *out);
    /* out = gate · sigmoid(1.702 · gate) · (up + 1) of clamped ones: `limit` of struct
     * expert_facts. */
    void (*activate_clamped)(float limit, const float *gate, const float *up, int n, float *out);
    /* values = 1 / (1 + exp(-values)) */
    void (*sigmoid)(float *values, int n);
    /* values = cap · tanh(scale · values / cap); cap 0: scale · values. */
    void (*scale_cap)(float *values, float scale, float cap, int n);
    /* Rotates values[i] against values[half + i] by the angle of cosine[i], sine[i]. */
    void (*rotate)(float *values, const float *cosine, const float *sine, int half);
    void (*soft_max)(float *values, int n);
    /* to[i] = a[i] · b[i] */
    void (*multiply)(const float *a, const float *b, int n, float *to);
    /* out[i] = bias[i] + the sum over j of weights[j · stride + i] · window[j][i], one chain of
     * fused multiply-adds over ascending j. */
    void (*convolve)(const float *const *window, const float *weights, size_t stride, int taps,
                     const float *bias, int n, float *out);
    /* values[i] *= sigmoid(gates[i]) */
    void (*gate)(const float *gates, int n, float *values);
    /* One position of the gated delta rule of one head (gated_delta of sluice/backend.h):
     * state [key_dim][value_dim]. Each column is one chain over ascending rows. */
    void (*delta)(float *state, const float *q, const float *k, const float *v, float decay,
                  float beta, int key_dim, int value_dim, float *out);
    /* One position of a state space's head (scan of sluice/backend.h): state [state_dim][head_dim],
     * out = CᵀS + skip · x. Each column is one chain over ascending rows. */
    void (*scan)(float *state, const float *b, const float *c, const float *x, float decay,
                 float step, float skip, int state_dim, int head_dim, float *out);
};

enum { MOST_TAPS = 8 }; /* of a short convolution */

extern const struct cpu_kernels cpu_kernels_baseline;
#ifdef SLUICE_CPU_X86_KERNELS
extern const struct cpu_kernels cpu_kernels_v3, cpu_kernels_v4;
#endif

/* Inside the kernel files: the name of a function in the variant being compiled. */
#define CPU_KERNEL_JOIN_(name, suffix) name##_##suffix
#define CPU_KERNEL_JOIN(name, suffix)  CPU_KERNEL_JOIN_(name, suffix)
#define CPU_KERNEL(name)               CPU_KERNEL_JOIN(name, CPU_KERNEL_SUFFIX)

#endif
