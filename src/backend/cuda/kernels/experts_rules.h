/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic of a router's rules and of gpt-oss's activation, for one value at a time: plain
 * functions that kernels and tests on the host both compile. */
#ifndef SLUICE_CUDA_EXPERTS_RULES_H
#define SLUICE_CUDA_EXPERTS_RULES_H

#include <float.h>
#include <math.h>

#include "backend/cuda/kernels/either_side.h"

/* Scores in the order that experts are chosen in: what is no number comes last, but before what
 * cannot be chosen (-infinity). */
EITHER_SIDE float expert_order(float score)
{
    return score >= -FLT_MAX ? score : -FLT_MAX;
}

/* Whether `score` of number `at` goes before the best so far. */
EITHER_SIDE int expert_goes_before(float score, int at, float best, int best_at)
{
    return score > best || (score == best && at < best_at);
}

/* A group of `count` experts is as good as its best one or its two best ones together. */
EITHER_SIDE float expert_group_order(const float *scores, int count, int by_best)
{
    float first = -INFINITY, second = -INFINITY;
    for (int i = 0; i < count; i++) {
        if (scores[i] > first) {
            second = first;
            first = scores[i];
        } else if (scores[i] > second) {
            second = scores[i];
        }
    }
    return expert_order(by_best || count == 1 ? first : first + second);
}

EITHER_SIDE float expert_sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

/* Of a token's probability of an expert and the sum of those chosen. */
EITHER_SIDE float expert_weight(float probability, float total, float least_sum, int normalize,
                                float scale)
{
    total = total < least_sum ? least_sum : total;
    return (normalize ? probability / total : probability) * scale;
}

/* struct expert_facts' limit; what is no number stays so. */
EITHER_SIDE float expert_clamped(float gate, float up, float limit)
{
    gate = gate > limit ? limit : gate;
    up = up > limit ? limit : up < -limit ? -limit : up;
    return gate / (1.0f + expf(gate * -1.702f)) * (up + 1.0f);
}

#endif
