/* SPDX-License-Identifier: Apache-2.0 */
/* Sampling from rows of logits: sample_launch.cu. */
#ifndef SLUICE_CUDA_SAMPLE_H
#define SLUICE_CUDA_SAMPLE_H

#include <cuda_runtime_api.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { SAMPLE_MAX_TOPS = 20 };

/* What one row asks for. */
struct sample_row {
    uint64_t random; /* philox_token_bits */
    double top_p;
    int32_t drawing; /* 0: the highest logit */
    int32_t scored;  /* -1, or the token to report: nothing is chosen */
    float inverse;   /* 1 / temperature */
    float cut;       /* the lowest weight that may be drawn, at least 2^-40 */
    float reach;     /* a logit with that weight is nearer to the highest than this; may be +inf */
    int32_t top_k;   /* 0: off */
    int32_t tops;    /* -1: no log-probabilities, else how many beside the token's */
    int32_t top_first; /* place of its first in sample_call.tops */

    /* Penalties; history_count 0: none. */
    float repetition, frequency, presence;
    int32_t history_count, prompt_count;
    int64_t history_first; /* in sample_call.history */
    int64_t table_first;   /* in sample_call.tables: 2^table_bits ≥ 2 · history_count slots */
    int32_t table_bits;

    /* Mask and biases; bias_count 0: none. */
    const uint32_t *mask; /* [sampling_mask_words(vocabulary)]; NULL: all tokens are allowed */
    int64_t bias_first;   /* in sample_call.biases, of ascending ids, each once */
    int32_t bias_count;
};

/* A token with a bias. */
struct sample_bias {
    int32_t id;
    float bias;
    float raw; /* set by the kernel: the logit before anything was done to it */
};

/* A token of the history in a hash table of one row. */
struct sample_slot {
    int32_t key;         /* id + 1; 0: empty */
    int32_t occurrences; /* in the output */
    float raw;           /* the logit before penalties */
};

struct sample_outcome {
    int32_t token;
    int32_t not_finite; /* nothing else is set then */
    float highest, raw; /* logits before mask, biases and penalties: of the row, of the token */
    uint64_t total;     /* sum of the fixed-point weights of the raw logits, where tops ≥ 0 */
    int32_t top_count;
};

struct sample_top {
    int32_t id;
    float logit;
};

/* Device memory throughout. */
struct sample_call {
    int rows, vocabulary;
    float *logits;                  /* [rows][vocabulary]; changed by masks, biases, penalties */
    const struct sample_row *asked; /* [rows] */
    const int32_t *history;         /* ids in [0, vocabulary) */
    struct sample_bias *biases;
    struct sample_slot *tables;
    struct sample_outcome *outcomes; /* [rows] */
    struct sample_top *tops;
};
cudaError_t sample_launch(cudaStream_t stream, const struct sample_call *call);

/* Of token_ids[tokens], what is negative becomes the token of that outcome (batch_drawn of
 * sluice/backend.h); all device memory. */
cudaError_t sample_fill_drawn(cudaStream_t stream, int tokens, int32_t *token_ids,
                              const struct sample_outcome *outcomes);

#ifdef __cplusplus
}
#endif

#endif
