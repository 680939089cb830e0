/* SPDX-License-Identifier: Apache-2.0 */
/* Inverse frequencies of the rotary embedding.
 *
 * Formulas: Su et al., RoFormer (2021), §3.4.2; linear: Chen et al., Position Interpolation (2023);
 * dynamic NTK and YaRN: Peng et al., YaRN (2023), §3; longrope: Ding et al., LongRoPE (2024);
 * llama3: the Llama 3.1 release. What is rounded to float32, and when, follows transformers'
 * modeling_rope_utils.py, since positions of 10^5 make a frequency's last bit visible in logits:
 * powers and quotients of frequencies in float32, scalars that are Python's in float64. */
#include <math.h>

#include "model/read/config.h"

static const double pi = 3.14159265358979323846;

/* base^(2i / dimensions), in float32. */
static float wavelength_base(double base, int i, int dimensions)
{
    return powf((float)base, (float)(2 * i) / (float)dimensions);
}

static void fill_default(double base, int dimensions, float divisor, float *out)
{
    for (int i = 0; i < dimensions / 2; i++) {
        out[i] = 1.0f / wavelength_base(base, i, dimensions) / divisor;
    }
}

static void fill_llama3(const struct rope_config *rope, int dimensions, float *out)
{
    float factor = (float)rope->factor, length = (float)rope->original_max_positions;
    float low = (float)rope->low_frequency_factor;
    float longest = (float)(rope->original_max_positions / rope->low_frequency_factor);
    float shortest = (float)(rope->original_max_positions / rope->high_frequency_factor);
    float span = (float)(rope->high_frequency_factor - rope->low_frequency_factor);
    for (int i = 0; i < dimensions / 2; i++) {
        float inverse = 1.0f / wavelength_base(rope->theta, i, dimensions);
        float wavelength = (float)(2 * pi) / inverse;
        if (wavelength > longest) {
            out[i] = inverse / factor;
        } else if (wavelength < shortest) {
            out[i] = inverse;
        } else {
            float smooth = (length / wavelength - low) / span;
            out[i] = (1 - smooth) * inverse / factor + smooth * inverse;
        }
    }
}

/* The dimension at which a wave turns `rotations` times within the original context. */
static double yarn_dimension(double rotations, const struct rope_config *rope, int dimensions)
{
    return dimensions * log(rope->original_max_positions / (rotations * 2 * pi)) /
           (2 * log(rope->theta));
}

static void fill_yarn(const struct rope_config *rope, int dimensions, float *out)
{
    double low = yarn_dimension(rope->beta_fast, rope, dimensions);
    double high = yarn_dimension(rope->beta_slow, rope, dimensions);
    if (rope->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, dimensions - 1);
    if (low == high) {
        high += 0.001; /* no division by zero, as the reference has it */
    }
    for (int i = 0; i < dimensions / 2; i++) {
        float base = wavelength_base(rope->theta, i, dimensions);
        float ramp = ((float)i - (float)low) / (float)(high - low);
        ramp = fminf(fmaxf(ramp, 0), 1);
        float kept = 1 - ramp; /* how much of the frequency stays as it is */
        float interpolated = 1.0f / ((float)rope->factor * base);
        out[i] = interpolated * (1 - kept) + 1.0f / base * kept;
    }
}

static void fill_longrope(const struct rope_config *rope, const double *factors, int dimensions,
                          float *out)
{
    for (int i = 0; i < dimensions / 2; i++) {
        out[i] = 1.0f / ((float)factors[i] * wavelength_base(rope->theta, i, dimensions));
    }
}

/* The base that dynamic NTK takes for sequences of `length`. */
static double dynamic_base(const struct rope_config *rope, int dimensions, int max_positions,
                           int length)
{
    double longest = length > max_positions ? length : max_positions;
    double stretch = rope->factor * longest / max_positions - (rope->factor - 1);
    return rope->theta * pow(stretch, dimensions / (dimensions - 2.0));
}

double rope_yarn_scale(double factor, double mscale)
{
    return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1;
}

static double magnitude(const struct rope_config *rope)
{
    if (rope->kind != ROPE_YARN && rope->kind != ROPE_LONGROPE) {
        return 1;
    }
    if (rope->attention_factor != 0) {
        return rope->attention_factor;
    }
    if (rope->kind == ROPE_YARN) {
        return rope->mscale != 0 && rope->mscale_all_dim != 0
                   ? rope_yarn_scale(rope->factor, rope->mscale) /
                         rope_yarn_scale(rope->factor, rope->mscale_all_dim)
                   : rope_yarn_scale(rope->factor, 1);
    }
    return rope->factor <= 1 || rope->original_max_positions < 2
               ? 1
               : sqrt(1 + log(rope->factor) / log(rope->original_max_positions));
}

status rope_facts_create(const struct model_config *config, bool local, int max_model_len,
                         struct arena *arena, struct rope_facts *out)
{
    const struct rope_config *rope = local ? &config->rope_local : &config->rope;
    *out = (struct rope_facts){.magnitude = 1, .long_magnitude = 1};
    if (rope->kind == ROPE_NONE) {
        return STATUS_OK;
    }
    int dimensions = config_rotary_dimensions(config);
    float *inverse = arena_allocate_array(arena, (size_t)dimensions / 2, sizeof *inverse);
    float *long_inverse = arena_allocate_array(arena, (size_t)dimensions / 2, sizeof *inverse);
    if (inverse == NULL || long_inverse == NULL) {
        return status_fail(STATUS_NO_MEMORY, "rope: out of memory");
    }
    switch (rope->kind) {
    case ROPE_NONE:
    case ROPE_DEFAULT:
        fill_default(rope->theta, dimensions, 1, inverse);
        break;
    case ROPE_LINEAR:
        fill_default(rope->theta, dimensions, (float)rope->factor, inverse);
        break;
    case ROPE_DYNAMIC:
        if (dimensions < 4) {
            return status_fail(STATUS_INVALID, "rope: dynamic scaling of %d dimensions",
                               dimensions);
        }
        fill_default(dynamic_base(rope, dimensions, config->max_positions, max_model_len),
                     dimensions, 1, inverse);
        break;
    case ROPE_LLAMA3:
        fill_llama3(rope, dimensions, inverse);
        break;
    case ROPE_YARN:
        fill_yarn(rope, dimensions, inverse);
        break;
    case ROPE_LONGROPE:
        fill_longrope(rope, rope->short_factor, dimensions, inverse);
        fill_longrope(rope, rope->long_factor, dimensions, long_inverse);
        out->long_inverse_frequency = long_inverse;
        break;
    }
    out->dimensions = dimensions;
    out->inverse_frequency = inverse;
    out->magnitude = (float)magnitude(rope);
    out->long_magnitude = out->magnitude;
    return STATUS_OK;
}
