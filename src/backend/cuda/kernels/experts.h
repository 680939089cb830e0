/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels of the mixture of experts: experts_route.cu, experts_product.cu. Types are enum dtype's
 * values of sluice/backend.h.
 *
 * Of `experts` experts the last `shared` are every token's; a router chooses from the others.
 *
 * A pair is a token and one of its experts; pair t · used + i is token t's i-th expert in ascending
 * order; `used` counts the shared ones. A row is a pair's place in the rows sorted by expert, then
 * token; P = tokens · used. */
#ifndef SLUICE_CUDA_EXPERTS_H
#define SLUICE_CUDA_EXPERTS_H

#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    EXPERTS_MOST = 1024,
    EXPERTS_MOST_USED = 32, /* of a token, shared ones included */
    EXPERTS_MOST_GROUPS = 256,
    EXPERTS_MAX_SLICES = 8,
};

/* Rows by expert, and the tiles of at most `tile_rows` rows of one expert that products work on. */
struct experts_plan {
    int experts, rows, tile_rows; /* shared experts included */
    int most_tiles;               /* at least as many as there can be */
    int32_t *start;               /* [experts + 1] first row of each expert */
    int32_t *first_tile;          /* [experts + 1] */
    int32_t *tile_expert;         /* [most_tiles] */
    int32_t *row_token;           /* [P] */
    int32_t *row_expert;          /* [P] */
    float *row_weight;            /* [P] the router's */
    int32_t *pair_row;            /* [P] */
};

/* Router: logits = in · routerᵀ + bias in float32, scores by the rules of struct router_facts, the
 * best (of equal ones the lower number), their weights, and the plan of the products. */
struct experts_route {
    int tokens, hidden, used, normalize;
    int shared;                      /* of used; their weight is 1, or with a row more of the router
                                        than it chooses from, the sigmoid of that row's logit */
    int sigmoid;                     /* scores; 0: soft-max over all that are chosen from */
    int groups, top_groups, by_best; /* groups 0: none */
    float least_sum, scale;
    const void *in; /* [tokens][hidden] of dtype */
    int dtype;
    const void *router; /* [experts][router_stride] of router_dtype */
    int router_dtype, router_stride;
    int router_rows;           /* experts that it chooses from, and perhaps one more */
    const float *router_scale; /* [router_rows], fp8 */
    const float *router_bias;  /* [router_rows] or NULL */
    const float *correction;   /* [experts to choose from] on scores in the choice; NULL: none */
    float *logits;             /* [tokens][router_rows] scratch */
    int32_t *chosen;           /* [P] experts by pair */
    float *weight;             /* [P] by pair */
    struct experts_plan plan;
};
cudaError_t experts_route_launch(cudaStream_t stream, const struct experts_route *call);

/* scale[row] = of_expert[the row's expert]. */
struct experts_scales {
    int rows;
    const int32_t *row_expert;
    float *scale;                  /* [P] */
    float of_expert[EXPERTS_MOST]; /* host */
};
cudaError_t experts_scales_launch(cudaStream_t stream, const struct experts_scales *call);

/* Grouped product, for each slice s and row r of expert e:
 *     out[s][r][j] = Σ_k in[s][source(r)][k] · weights[e][s][first_row + j][k],  j < columns
 * Gated: of j and of j + gate_distance, then activation(the first) · the second, or what `limit`
 * says. fp8 operands have scales; a bias joins the sums of slice 0. Finally times row_weight. */
struct experts_product {
    struct experts_plan plan;
    int dtype; /* of both operands */
    int slices;

    const char *weights;
    size_t expert_bytes, weight_row_bytes;
    size_t weight_slice[EXPERTS_MAX_SLICES]; /* bytes to a slice's first value in an expert */
    int matrix_rows, first_row, columns;

    const char *in;
    size_t in_row_bytes;
    size_t in_slice[EXPERTS_MAX_SLICES]; /* bytes to a slice's first value */
    const int32_t *source;               /* [P] or NULL: the row itself */
    int slice_bytes[EXPERTS_MAX_SLICES]; /* of k */
    int aligned;                         /* all addresses and strides above to 16 bytes */

    const float *weight_scale; /* fp8: [experts][slices][matrix_rows] */
    const float *in_scale;     /* fp8: [slices][in_scale_stride] by source(r) */
    int in_scale_stride;

    const float *bias;             /* [experts][matrix_rows] or NULL */
    int activation, gate_distance; /* enum activation, -1: none; 0: not gated */
    float limit;                   /* of struct expert_facts; 0: none */
    const float *row_weight;       /* [P] or NULL */
    void *out;                     /* [slices][P][columns] of out_dtype */
    int out_dtype;
};
/* What plan.tile_rows must be one of, chosen for `rows` = P. */
int experts_tile_rows(int rows, int experts);
cudaError_t experts_product_launch(cudaStream_t stream, const struct experts_product *call);

/* out[s][t][first_column + j] = Σ over token t's pairs, in order, of in[s][row of the pair][j] */
struct experts_combine {
    int tokens, used, slices, columns, first_column;
    const int32_t *pair_row;
    const void *in; /* [slices][P][columns] */
    void *out;      /* [slices][out_tokens][hidden] */
    int out_tokens, hidden;
    int dtype;
};
cudaError_t experts_combine_launch(cudaStream_t stream, const struct experts_combine *call);

#ifdef __cplusplus
}
#endif

#endif
