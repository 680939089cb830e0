/* SPDX-License-Identifier: Apache-2.0 */
/* A token's experts and their weights, from its router's logits (struct router_facts). What is
 * chosen for a token depends on its own logits alone. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "backend/cpu/cpu.h"

/* What can never be chosen: already taken, or in a group that is not among the best. */
static const float not_there = -INFINITY;

/* What is no number comes last, but before what cannot be chosen. */
static float in_order(float score)
{
    return score >= -FLT_MAX ? score : -FLT_MAX;
}

static int find_largest(const float *values, int count)
{
    int best = 0;
    for (int i = 1; i < count; i++) {
        best = values[i] > values[best] ? i : best;
    }
    return best;
}

/* Of the scores of a group's experts. */
static float group_score(const struct router_facts *facts, const float *scores, int count)
{
    float first = not_there, second = not_there;
    for (int i = 0; i < count; i++) {
        if (scores[i] > first) {
            second = first;
            first = scores[i];
        } else if (scores[i] > second) {
            second = scores[i];
        }
    }
    return in_order(facts->group_by_best || count == 1 ? first : first + second);
}

/* Only the experts of the best groups are left to be chosen. */
static void keep_groups(const struct router_facts *facts, int experts, float *scores)
{
    const int each = experts / facts->groups;
    float group[CPU_MOST_GROUPS];
    for (int g = 0; g < facts->groups; g++) {
        group[g] = group_score(facts, scores + g * each, each);
    }
    bool is_kept[CPU_MOST_GROUPS] = {false};
    for (int i = 0; i < facts->top_groups; i++) {
        const int best = find_largest(group, facts->groups);
        is_kept[best] = true;
        group[best] = not_there;
    }
    for (int e = 0; e < experts; e++) {
        scores[e] = is_kept[e / each] ? scores[e] : not_there;
    }
}

void cpu_choose_experts(const struct cpu_kernels *kernels, const struct expert_facts *facts,
                        const struct router_rows *router, float *logits, float *scores,
                        int32_t *chosen, float *weight)
{
    const struct router_facts *rule = &facts->router;
    if (rule->score == ROUTER_SIGMOID) {
        kernels->sigmoid(logits, router->experts);
    } else {
        kernels->soft_max(logits, router->experts);
    }
    for (int e = 0; e < router->experts; e++) {
        scores[e] =
            in_order(router->correction != NULL ? logits[e] + router->correction[e] : logits[e]);
    }
    if (rule->groups > 0) {
        keep_groups(rule, router->experts, scores);
    }
    float total = 0.0f;
    for (int i = 0; i < rule->used; i++) {
        chosen[i] = find_largest(scores, router->experts);
        scores[chosen[i]] = not_there;
        weight[i] = logits[chosen[i]];
        total += weight[i];
    }
    total = total < rule->least_sum ? rule->least_sum : total;
    for (int i = 0; i < rule->used; i++) {
        weight[i] = (rule->normalize ? weight[i] / total : weight[i]) * rule->scale;
    }
    if (router->has_shared_gate) {
        kernels->sigmoid(logits + router->experts, 1);
    }
    for (int i = 0; i < facts->shared; i++) {
        chosen[rule->used + i] = router->experts + i;
        weight[rule->used + i] = router->has_shared_gate ? logits[router->experts] : 1.0f;
    }
}
