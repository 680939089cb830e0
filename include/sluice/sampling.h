/* SPDX-License-Identifier: Apache-2.0 */
/* How a token is drawn from a row of logits, and what is reported of the draw. Names, ranges and
 * defaults stand in generate_field_table (src/data/row/generate.c), as those of generate.h. */
#ifndef SLUICE_SAMPLING_H
#define SLUICE_SAMPLING_H

#include <stdint.h>

enum { SAMPLING_MAX_LOGPROBS = 20 };

/* Added to a token's logit; -INFINITY: the token is never drawn. */
struct logit_bias {
    int32_t id;
    float bias;
};

/* A mask over the vocabulary is a bit a token, 32 a word, the lowest first: 1 may be drawn. Bits
 * past the vocabulary mean nothing. */
static inline int sampling_mask_words(int vocabulary)
{
    return (vocabulary + 31) / 32;
}

/* A number that no other mask of this process has, from 1 on: a mask that never changes takes one,
 * and a device that has seen it need not be sent it again. */
uint64_t sampling_mask_serial(void);

/* Plain data, in the order in which it acts. */
struct sampling {
    double
        repetition_penalty;  /* > 0; 1 is off; over prompt and output, as CTRL (arXiv 1909.05858) */
    double presence_penalty; /* [-2, 2]; 0 is off; over the output, as OpenAI defines it */
    double frequency_penalty; /* [-2, 2]; 0 is off */
    double temperature;       /* 0 is greedy */
    double min_p;             /* [0, 1]; 0 is off */
    int top_k;                /* 0 is off */
    double top_p;             /* (0, 1]; 1 is off */
    uint64_t seed;
    uint64_t stream; /* which of the seed's streams of random numbers: random_stream of data.h */
    int logprobs;    /* -1: none; 0: of the chosen token; k > 0: of the top k as well */
};

#endif
