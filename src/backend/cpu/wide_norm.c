/* SPDX-License-Identifier: Apache-2.0 */
/* What is done to a token's heads together: norms over all of them, a scale of queries by position.
 *
 * Squares are added in float64, head by head, and rounded once a slice; so a sum does not depend on
 * instruction sets, and slices are added as everywhere: as a pairwise tree. */
#include <math.h>

#include "backend/cpu/cpu.h"

static double squares(const float *values, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++) {
        sum += (double)values[i] * (double)values[i];
    }
    return sum;
}

/* ((0 + 1) + (2 + 3)) + …, in place. */
static float tree_sum(float *values, int count)
{
    for (int step = 1; step < count; step *= 2) {
        for (int i = 0; i + step < count; i += 2 * step) {
            values[i] += values[i + step];
        }
    }
    return values[0];
}

static void sum_row(const struct head_layout *heads, const struct head_slices *slices,
                    const float *row, float *sums)
{
    const int dim = heads->head_dim;
    float q[MAX_SLICES], k[MAX_SLICES];
    for (int slice = 0; slice < slices->count; slice++) {
        const int first = slices->start[slice] / dim, end = slices->start[slice + 1] / dim;
        double q_sum = 0, k_sum = 0;
        for (int h = first; h < end; h++) {
            q_sum += squares(row + (size_t)h * (size_t)dim, dim);
            if (slices->is_first[h]) {
                const int kv = heads->query_heads + heads->kv_head[h];
                k_sum += squares(row + (size_t)kv * (size_t)dim, dim);
            }
        }
        q[slice] = (float)q_sum;
        k[slice] = (float)k_sum;
    }
    sums[0] = tree_sum(q, slices->count);
    sums[1] = tree_sum(k, slices->count);
}

static int row_width(const struct head_layout *heads)
{
    return (heads->query_heads + 2 * heads->kv_heads) * heads->head_dim;
}

status cpu_head_squares(struct backend *backend, const struct head_layout *heads,
                        const struct head_slices *slices, struct device_buffer *qkv,
                        struct device_buffer *sums)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const int tokens = cpu->batch->tokens, width = row_width(heads);
    const float *rows = cpu_floats(qkv, tokens, width);
    float *out = cpu_floats(sums, tokens, 2);
    if (rows == NULL || out == NULL) {
        return STATUS_INTERNAL;
    }
    if (slices->count < 1 || slices->count > MAX_SLICES ||
        slices->start[slices->count] != heads->query_heads * heads->head_dim) {
        return status_fail(STATUS_INTERNAL, "head squares: slices of other heads");
    }
    const int threads = cpu_threads_for(cpu, 2.0 * tokens * width);
#pragma omp parallel for num_threads(threads)
    for (int token = 0; token < tokens; token++) {
        sum_row(heads, slices, rows + (size_t)token * (size_t)width, out + 2 * (size_t)token);
    }
    return STATUS_OK;
}

/* values · factor · (weight + offset). */
static void scale_part(const struct norm_facts *norm, const struct vector *weight, float factor,
                       float *values)
{
    const float *weights = weight->region.data;
    for (int i = 0; i < weight->length; i++) {
        values[i] = values[i] * factor * (weights[i] + norm->weight_offset);
    }
}

status cpu_head_normalize(struct backend *backend, const struct head_layout *heads,
                          const struct norm_facts *norm, const struct vector *q_norm,
                          const struct vector *k_norm, int q_width, int k_width,
                          struct device_buffer *sums, struct device_buffer *qkv)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const int tokens = cpu->batch->tokens, width = row_width(heads);
    const int own_q = heads->query_heads * heads->head_dim;
    const float *totals = cpu_floats(sums, tokens, 2);
    float *rows = cpu_floats(qkv, tokens, width);
    if (rows == NULL || totals == NULL) {
        return STATUS_INTERNAL;
    }
    if (q_norm->length != own_q || k_norm->length != heads->kv_heads * heads->head_dim ||
        q_width < 1 || k_width < 1) {
        return status_fail(STATUS_INTERNAL, "head norm: weights of other heads");
    }
    const int threads = cpu_threads_for(cpu, 4.0 * tokens * width);
#pragma omp parallel for num_threads(threads)
    for (int token = 0; token < tokens; token++) {
        float *row = rows + (size_t)token * (size_t)width;
        const float *total = totals + 2 * (size_t)token;
        scale_part(norm, q_norm, 1.0f / sqrtf(total[0] / (float)q_width + norm->epsilon), row);
        scale_part(norm, k_norm, 1.0f / sqrtf(total[1] / (float)k_width + norm->epsilon),
                   row + own_q);
        cpu_round(cpu, NULL, row, (size_t)width);
    }
    return STATUS_OK;
}

status cpu_scale_queries(struct backend *backend, const struct head_layout *heads, float beta,
                         int length, struct device_buffer *qkv)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const int tokens = cpu->batch->tokens, width = row_width(heads);
    const int own_q = heads->query_heads * heads->head_dim;
    float *rows = cpu_floats(qkv, tokens, width);
    if (rows == NULL) {
        return STATUS_INTERNAL;
    }
    const int threads = cpu_threads_for(cpu, 1.0 * tokens * own_q);
#pragma omp parallel for num_threads(threads)
    for (int token = 0; token < tokens; token++) {
        float *row = rows + (size_t)token * (size_t)width;
        const int times = cpu->batch->positions[token] / length;
        const float scale = 1.0f + beta * (float)log((double)(1 + times));
        for (int i = 0; i < own_q; i++) {
            row[i] *= scale;
        }
        cpu_round(cpu, NULL, row, (size_t)own_q);
    }
    return STATUS_OK;
}
