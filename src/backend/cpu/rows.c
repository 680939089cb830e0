/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on each token's row alone: norms, residual, activation. */
#include <string.h>

#include "backend/cpu/cpu.h"

static const float *values_or_null(const struct vector *vector)
{
    return vector != NULL ? vector->region.data : NULL;
}

static bool has_length(const struct vector *vector, int length)
{
    return vector == NULL || vector->length == length;
}

/* normed = norm(row) · weight + bias; without a weight the row itself. */
static void norm_row(const struct cpu_backend *cpu, const struct norm_facts *facts,
                     const struct vector *weight, const struct vector *bias, const float *row,
                     int hidden, float *normed)
{
    if (weight == NULL) {
        memcpy(normed, row, (size_t)hidden * sizeof *row);
    } else {
        cpu->kernels->norm(facts, row, weight->region.data, values_or_null(bias), hidden, normed);
    }
}

status cpu_norm(struct backend *backend, const struct norm_facts *facts,
                const struct vector *weight, const struct vector *bias,
                struct device_buffer *residual, int hidden, const struct matrix *reader,
                struct device_buffer *normed)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const int tokens = cpu->rows;
    const float *in = cpu_floats(residual, tokens, hidden);
    float *out = cpu_floats(normed, tokens, hidden);
    float *replaced = facts->in_place ? cpu_floats(residual, tokens, hidden) : NULL;
    if (in == NULL || out == NULL) {
        return STATUS_INTERNAL;
    }
    if (!has_length(weight, hidden) || !has_length(bias, hidden)) {
        return status_fail(STATUS_INTERNAL, "norm: weights of another length than %d", hidden);
    }
    const int threads = cpu_threads_for(cpu, 4.0 * tokens * hidden);
#pragma omp parallel for num_threads(threads)
    for (int token = 0; token < tokens; token++) {
        const size_t at = (size_t)token * (size_t)hidden;
        norm_row(cpu, facts, weight, bias, in + at, hidden, out + at);
        if (replaced != NULL) {
            memcpy(replaced + at, out + at, (size_t)hidden * sizeof *out);
        }
    }
    cpu_round(cpu, reader, out, (size_t)tokens * (size_t)hidden);
    return STATUS_OK;
}

status cpu_add_norm(struct backend *backend, const struct norm_facts *facts,
                    struct device_buffer *partials, int parts, const struct vector *bias,
                    float multiplier, const struct vector *post_weight,
                    struct device_buffer *residual, int hidden, const struct vector *weight,
                    const struct vector *norm_bias, const struct matrix *reader,
                    struct device_buffer *normed)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const struct cpu_kernels *kernels = cpu->kernels;
    const int tokens = cpu->rows;
    float *from = cpu_floats(partials, parts * tokens, hidden);
    float *sum = cpu_floats(residual, tokens, hidden);
    float *out = normed != NULL ? cpu_floats(normed, tokens, hidden) : NULL;
    if (from == NULL || sum == NULL || (normed != NULL && out == NULL)) {
        return STATUS_INTERNAL;
    }
    if (!has_length(bias, hidden) || !has_length(post_weight, hidden) ||
        !has_length(weight, hidden) || !has_length(norm_bias, hidden)) {
        return status_fail(STATUS_INTERNAL, "norm: weights of another length than %d", hidden);
    }
    const size_t part_stride = (size_t)tokens * (size_t)hidden;
    const int threads = cpu_threads_for(cpu, (double)(8 + parts) * tokens * hidden);
#pragma omp parallel for num_threads(threads)
    for (int token = 0; token < tokens; token++) {
        const size_t at = (size_t)token * (size_t)hidden;
        float *branch = from + at; /* the first part's row: the others' sum takes its place */
        if (parts > 1 || bias != NULL) {
            kernels->add_parts(branch, parts, part_stride, values_or_null(bias), hidden, branch);
        }
        if (post_weight != NULL) {
            kernels->norm(facts, branch, post_weight->region.data, NULL, hidden, branch);
        }
        kernels->add_scaled(sum + at, branch, multiplier, hidden);
        if (out != NULL) {
            norm_row(cpu, facts, weight, norm_bias, sum + at, hidden, out + at);
            if (facts->in_place) {
                memcpy(sum + at, out + at, (size_t)hidden * sizeof *out);
            }
        }
    }
    if (out != NULL) {
        cpu_round(cpu, reader, out, (size_t)tokens * (size_t)hidden);
    }
    return STATUS_OK;
}

status cpu_keep_outputs(struct backend *backend, struct device_buffer *residual, int hidden,
                        struct device_buffer *attended, int width)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const struct batch *batch = cpu->batch;
    float *rows[] = {cpu_floats(residual, cpu->rows, hidden),
                     cpu_floats(attended, cpu->rows, width)};
    const size_t widths[] = {(size_t)hidden, (size_t)width};
    for (size_t b = 0; b < COUNT_OF(rows); b++) {
        if (rows[b] == NULL) {
            return STATUS_INTERNAL;
        }
        for (int i = 0; i < batch->outputs; i++) { /* ascending: none is overwritten before */
            memmove(rows[b] + (size_t)i * widths[b],
                    rows[b] + (size_t)batch->output_rows[i] * widths[b], widths[b] * sizeof(float));
        }
    }
    cpu->rows = batch->outputs;
    return STATUS_OK;
}

status cpu_activate(struct backend *backend, enum activation activation, bool gated, int width,
                    struct device_buffer *in, const struct matrix *reader,
                    struct device_buffer *out)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const int tokens = cpu->rows;
    const int in_width = gated ? 2 * width : width;
    const float *from = cpu_floats(in, tokens, in_width);
    float *to = cpu_floats(out, tokens, width);
    if (from == NULL || to == NULL) {
        return STATUS_INTERNAL;
    }
    const int threads = cpu_threads_for(cpu, 16.0 * tokens * width);
#pragma omp parallel for num_threads(threads)
    for (int token = 0; token < tokens; token++) {
        const float *gate = from + (size_t)token * (size_t)in_width;
        cpu->kernels->activate(activation, gate, gated ? gate + width : NULL, width,
                               to + (size_t)token * (size_t)width);
    }
    cpu_round(cpu, reader, to, (size_t)tokens * (size_t)width);
    return STATUS_OK;
}
