/* SPDX-License-Identifier: Apache-2.0 */
/* Mixtures of experts: what a router's logits mean, and the weights of one layer's mixture. */
#ifndef SLUICE_EXPERTS_H
#define SLUICE_EXPERTS_H

#include <stdbool.h>

struct matrix;
struct vector;

enum activation {
    ACTIVATION_SILU,
    ACTIVATION_GELU_TANH,
    ACTIVATION_GELU,
    ACTIVATION_RELU,
    ACTIVATION_RELU_SQUARED
};

enum router_score {
    ROUTER_SOFT_MAX, /* over all experts */
    ROUTER_SIGMOID,  /* of each expert's logit (DeepSeek-V3, arXiv 2412.19437) */
};

/* How logits become a token's experts and their weights. The `used` experts of the highest scores
 * are taken, the lower number where two are equal; scores count with a correction in the choice
 * alone, never in a weight. A soft-max over the chosen logits alone is one over all with
 * `normalize`. */
struct router_facts {
    enum router_score score;
    int used;
    int groups, top_groups; /* experts stand in so many groups of equal size, and a token's are of
                               its top_groups best ones; groups 0: of all */
    bool group_by_best;     /* a group is as good as its best expert; false: as the sum of two */
    bool normalize;         /* weights are divided by their sum */
    float least_sum;        /* or by this where the sum is less */
    float scale;            /* on weights, then */
};

struct expert_facts {
    struct router_facts router;
    int shared; /* the last so many of a stack's experts are every token's, with a weight of 1 or,
                   where the router has a row more than experts, the sigmoid of its logit */
    enum activation activation;
    float limit; /* not 0: of a gate g of at most `limit` and an up u within ±limit comes g ·
                    sigmoid(1.702 · g) · (u + 1), whatever `activation` says (gpt-oss) */
};

/* One layer's. N experts are chosen from, M = N + shared stand in the stacks; H: hidden size. */
struct expert_weights {
    const struct matrix *router;       /* [N, H], and a row more: see `shared` */
    const struct vector *router_bias;  /* [rows of router] on logits; NULL: none */
    const struct vector *correction;   /* [N] on scores; NULL: none */
    const struct matrix *gate_up;      /* [M] of [2·width, H], not gated [width, H] */
    const struct vector *gate_up_bias; /* [M · rows of gate_up]; NULL: none */
    const struct matrix *down;         /* [M] sliced of [H, width] */
    const struct vector *down_bias;    /* [M · H], where this rank adds it: in its first slice */
};

#endif
