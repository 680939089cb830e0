/* SPDX-License-Identifier: Apache-2.0 */
/* Fewer bits than float32: products whose operands are rounded to fp8 and activations rounded to 16
 * bits, where and as the CUDA backend rounds them. Not for speed: it is what that backend is
 * compared with, and what an fp8 model's answers look like where no GPU is.
 *
 * A product of fp8 operands is raw = Σ in · weight over the rounded numbers, rounded to the
 * activation type, then times row scale · column scale (src/backend/cuda/product.c). Experts' sums
 * are not rounded before what follows in the same kernel (src/backend/cuda/experts.c). */
#include <math.h>
#include <string.h>

#include "backend/cpu/cpu.h"

float cpu_fp8(float value)
{
    const float magnitude = fabsf(value);
    if (isnan(value)) {
        return value;
    }
    /* Numbers of an exponent are 2^(exponent - 3) apart; below 2^-6 as far apart as there. */
    int exponent = 0;
    (void)frexpf(magnitude, &exponent);
    const int step = (exponent - 1 < -6 ? -6 : exponent - 1) - 3;
    const float rounded = ldexpf(rintf(ldexpf(magnitude, -step)), step);
    return copysignf(rounded > CPU_FP8_MOST ? CPU_FP8_MOST : rounded, value);
}

static float round_to(enum dtype dtype, float value)
{
    if (dtype == DTYPE_FLOAT32) {
        return value;
    }
    if (dtype == DTYPE_BFLOAT16) {
        const uint32_t bits = (uint32_t)cpu_bfloat16(value) << 16;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    /* float16: 11 bits, 2^-24 apart below 2^-14, infinite from 65520 on. */
    if (!isfinite(value)) {
        return value;
    }
    int exponent = 0;
    (void)frexpf(value, &exponent);
    const int step = (exponent - 1 < -14 ? -14 : exponent - 1) - 10;
    const float rounded = ldexpf(rintf(ldexpf(value, -step)), step);
    return fabsf(rounded) > 65504.0f ? copysignf(INFINITY, value) : rounded;
}

static void round_values(const struct cpu_backend *cpu, float *values, size_t count)
{
    if (cpu->activation == DTYPE_FLOAT32) {
        return;
    }
    const int threads = cpu_threads_for(cpu, 8.0 * (double)count);
#pragma omp parallel for num_threads(threads)
    for (size_t i = 0; i < count; i++) {
        values[i] = round_to(cpu->activation, values[i]);
    }
}

void cpu_round(const struct cpu_backend *cpu, const struct matrix *reader, float *values,
               size_t count)
{
    if (reader == NULL || !reader->fp8 || reader->count != 1) {
        round_values(cpu, values, count);
    }
}

/* ---- Products ---- */

/* The call's columns [range[0], range[1]) of each row as fp8 numbers at the same columns of
 * to[rows][columns], and the rows' scales. */
static void round_input(const struct cpu_backend *cpu, const struct product_call *call,
                        const int32_t *range, float *to, float *scales)
{
    const struct matrix *matrix = call->matrix;
    const size_t columns = (size_t)matrix->columns;
    const float given = matrix->input_scale[call->index];
    const int threads = cpu_threads_for(cpu, 32.0 * call->rows * matrix->columns);
#pragma omp parallel for num_threads(threads)
    for (int row = 0; row < call->rows; row++) {
        const float *from = call->in + (size_t)row * call->in_stride;
        float most = 0.0f;
        for (int k = range[0]; k < range[1]; k++) {
            most = fmaxf(most, fabsf(from[k]));
        }
        scales[row] = given != 0.0f ? given : most > 0.0f ? most / CPU_FP8_MOST : 1.0f;
        const float inverse = 1.0f / scales[row];
        for (int k = range[0]; k < range[1]; k++) {
            to[(size_t)row * columns + (size_t)k] = cpu_fp8(from[k] * inverse);
        }
    }
}

static const int32_t *range_of(const struct matrix *matrix, int slice, int32_t *whole)
{
    whole[0] = 0;
    whole[1] = matrix->columns;
    return matrix->slices > 0 ? matrix->slice_start + slice : whole;
}

status cpu_product_slice(struct cpu_backend *cpu, const struct product_call *call, int slice,
                         float *out)
{
    const struct matrix *matrix = call->matrix;
    const size_t rows = (size_t)call->rows, width = (size_t)matrix->rows;
    int32_t whole[2];
    struct product_call raw = *call;
    raw.range = range_of(matrix, slice, whole);
    raw.bias = NULL;
    raw.out = out;
    float *scales = NULL;
    if (matrix->fp8) {
        size_t bytes;
        TRY(cpu_size(&bytes, "rounded rows", 3, rows, (size_t)matrix->columns + 1, sizeof(float)));
        TRY(cpu_region_grow(&cpu->rounded, bytes, "rounded rows"));
        scales = cpu->rounded.data;
        float *in = scales + rows;
        round_input(cpu, call, raw.range, in, scales);
        raw.in = in;
        raw.in_stride = (size_t)matrix->columns;
    }
    TRY(cpu_product_run(cpu, &raw));
    if (!call->keeps_sums) {
        round_values(cpu, out, rows * width);
    }
    if (matrix->fp8) {
        const size_t parts = matrix->slices > 0 ? (size_t)matrix->slices : 1;
        const float *column_scales =
            matrix->scale + ((size_t)call->index * parts + (size_t)slice) * width;
        for (size_t row = 0; row < rows; row++) {
            for (size_t i = 0; i < width; i++) {
                out[row * width + i] *= scales[row] * column_scales[i];
            }
        }
    }
    return STATUS_OK;
}

status cpu_product_rounded(struct cpu_backend *cpu, const struct product_call *call)
{
    const struct matrix *matrix = call->matrix;
    const int slices = matrix->slices > 0 ? matrix->slices : 1;
    const size_t rows = (size_t)call->rows, width = (size_t)matrix->rows;
    size_t bytes;
    TRY(cpu_size(&bytes, "partial sums", 4, (size_t)slices, rows, width, sizeof(float)));
    TRY(cpu_region_grow(&cpu->partials, bytes, "partial sums"));
    float *partials = cpu->partials.data;
    for (int slice = 0; slice < slices; slice++) {
        TRY(cpu_product_slice(cpu, call, slice, partials + (size_t)slice * rows * width));
    }
    const float *bias = call->bias != NULL ? call->bias->region.data : NULL;
    for (size_t row = 0; row < rows; row++) {
        cpu->kernels->add_parts(partials + row * width, slices, rows * width, bias, matrix->rows,
                                call->out + row * width);
    }
    return STATUS_OK;
}
