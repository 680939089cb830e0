/* SPDX-License-Identifier: Apache-2.0 */
/* Block formats of GGUF, expanded to float32.
 *
 * The layouts are those of ggml's block structs (ggml-common.h) and the arithmetic is that of its
 * reference expansion, in float32: a block's scale d (and minimum m) times small integers.
 *
 *   Q4_0  32 values: half d, 16 bytes of nibbles; v = d · (q − 8). The low nibbles are values 0–15.
 *   Q4_1  32: half d, half m, nibbles; v = d · q + m
 *   Q5_0  32: half d, 32 fifth bits, nibbles; v = d · (q − 16)
 *   Q5_1  32: half d, half m, 32 fifth bits, nibbles; v = d · q + m
 *   Q8_0  32: half d, 32 int8; v = d · q
 *   Qn_K  256 values in sub-blocks whose scales are small integers themselves.
 *   IQ4   as Q4_0, but nibbles are places in a table of values that lie closer around 0
 *   MXFP4 32: a byte e, 16 bytes of FP4; v = 2^(e − 127) · q */
#include "weights/gguf_quants.h"

#include <math.h>
#include <string.h>

#include "sluice/weight_format.h"

enum { SUPER = 256 };

float gguf_half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 0x1fu;
    uint32_t fraction = half & 0x3ffu;
    uint32_t bits;
    if (exponent == 31) {
        bits = sign | 0x7f800000u | fraction << 13;
    } else if (exponent != 0) {
        bits = sign | (exponent + 112) << 23 | fraction << 13;
    } else {
        float value = (float)fraction * 0x1p-24f; /* subnormal or zero: exact */
        memcpy(&bits, &value, sizeof bits);
        bits |= sign;
    }
    float out;
    memcpy(&out, &bits, sizeof out);
    return out;
}

static float half_at(const uint8_t *bytes)
{
    return gguf_half_to_float((uint16_t)(bytes[0] | bytes[1] << 8));
}

static uint32_t word_at(const uint8_t *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

void gguf_expand_q4_0(const uint8_t *blocks, size_t count, float *out)
{
    for (; count > 0; count--, blocks += 18, out += 32) {
        float d = half_at(blocks);
        for (int i = 0; i < 16; i++) {
            out[i] = d * (float)((blocks[2 + i] & 15) - 8);
            out[i + 16] = d * (float)((blocks[2 + i] >> 4) - 8);
        }
    }
}

void gguf_expand_q4_1(const uint8_t *blocks, size_t count, float *out)
{
    for (; count > 0; count--, blocks += 20, out += 32) {
        float d = half_at(blocks), m = half_at(blocks + 2);
        for (int i = 0; i < 16; i++) {
            out[i] = d * (float)(blocks[4 + i] & 15) + m;
            out[i + 16] = d * (float)(blocks[4 + i] >> 4) + m;
        }
    }
}

void gguf_expand_q5_0(const uint8_t *blocks, size_t count, float *out)
{
    for (; count > 0; count--, blocks += 22, out += 32) {
        float d = half_at(blocks);
        uint32_t high = word_at(blocks + 2);
        for (int i = 0; i < 16; i++) {
            int low_value = (blocks[6 + i] & 15) | (int)(high >> i & 1) << 4;
            int high_value = blocks[6 + i] >> 4 | (int)(high >> (i + 16) & 1) << 4;
            out[i] = d * (float)(low_value - 16);
            out[i + 16] = d * (float)(high_value - 16);
        }
    }
}

void gguf_expand_q5_1(const uint8_t *blocks, size_t count, float *out)
{
    for (; count > 0; count--, blocks += 24, out += 32) {
        float d = half_at(blocks), m = half_at(blocks + 2);
        uint32_t high = word_at(blocks + 4);
        for (int i = 0; i < 16; i++) {
            int low_value = (blocks[8 + i] & 15) | (int)(high >> i & 1) << 4;
            int high_value = blocks[8 + i] >> 4 | (int)(high >> (i + 16) & 1) << 4;
            out[i] = d * (float)low_value + m;
            out[i + 16] = d * (float)high_value + m;
        }
    }
}

void gguf_expand_q8_0(const uint8_t *blocks, size_t count, float *out)
{
    for (; count > 0; count--, blocks += 34, out += 32) {
        float d = half_at(blocks);
        for (int i = 0; i < 32; i++) {
            out[i] = d * (float)(int8_t)blocks[2 + i];
        }
    }
}

/* 16 bytes of (minimum << 4 | scale), 64 bytes of 2-bit values, half d, half dmin. Sub-blocks of
 * 16; each run of 32 bytes holds 4 × 32 values, one bit pair each. */
void gguf_expand_q2_k(const uint8_t *blocks, size_t count, float *out)
{
    for (; count > 0; count--, blocks += 84, out += SUPER) {
        float d = half_at(blocks + 80), dmin = half_at(blocks + 82);
        const uint8_t *values = blocks + 16;
        for (int i = 0; i < SUPER; i++) {
            int run = i / 128, pair = i % 128 / 32, byte = i % 32;
            uint8_t scale = blocks[i / 16];
            int q = values[run * 32 + byte] >> (2 * pair) & 3;
            out[i] = d * (float)(scale & 15) * (float)q - dmin * (float)(scale >> 4);
        }
    }
}

/* 32 bytes of third bits, 64 of low bit pairs, 12 of 6-bit scales (low nibbles of all 16 in 8
 * bytes, then the high pairs in 4), half d. A third bit of 0 takes 4 away. */
void gguf_expand_q3_k(const uint8_t *blocks, size_t count, float *out)
{
    for (; count > 0; count--, blocks += 110, out += SUPER) {
        const uint8_t *high = blocks, *values = blocks + 32, *packed = blocks + 96;
        float d = half_at(blocks + 108);
        float scales[16];
        for (int i = 0; i < 16; i++) {
            int low = i < 8 ? packed[i] & 15 : packed[i - 8] >> 4;
            int top = packed[8 + i % 4] >> (2 * (i / 4)) & 3;
            scales[i] = d * (float)((low | top << 4) - 32);
        }
        for (int i = 0; i < SUPER; i++) {
            int run = i / 128, pair = i % 128 / 32, byte = i % 32;
            int q = values[run * 32 + byte] >> (2 * pair) & 3;
            int third = high[byte] >> (4 * run + pair) & 1;
            out[i] = scales[i / 16] * (float)(third ? q : q - 4);
        }
    }
}

/* The 8 scales and 8 minima of 6 bits each that Q4_K and Q5_K pack into 12 bytes: the first four of
 * each stand in the low 6 bits of bytes 0–3 and 4–7, whose top bits belong to the last four. */
static void unpack_scale(const uint8_t *packed, int index, int *scale, int *minimum)
{
    if (index < 4) {
        *scale = packed[index] & 63;
        *minimum = packed[index + 4] & 63;
    } else {
        *scale = (packed[index + 4] & 15) | (packed[index - 4] >> 6) << 4;
        *minimum = packed[index + 4] >> 4 | (packed[index] >> 6) << 4;
    }
}

/* half d, half dmin, 12 bytes of scales, 128 of nibbles: 32 bytes hold two sub-blocks of 32. */
void gguf_expand_q4_k(const uint8_t *blocks, size_t count, float *out)
{
    for (; count > 0; count--, blocks += 144, out += SUPER) {
        float d = half_at(blocks), dmin = half_at(blocks + 2);
        for (int sub = 0; sub < 8; sub++) {
            int scale, minimum;
            unpack_scale(blocks + 4, sub, &scale, &minimum);
            float factor = d * (float)scale, offset = dmin * (float)minimum;
            const uint8_t *values = blocks + 16 + sub / 2 * 32;
            for (int i = 0; i < 32; i++) {
                int q = sub % 2 == 0 ? values[i] & 15 : values[i] >> 4;
                out[sub * 32 + i] = factor * (float)q - offset;
            }
        }
    }
}

/* As Q4_K with 32 bytes of fifth bits, one bit plane a sub-block, before the nibbles. */
void gguf_expand_q5_k(const uint8_t *blocks, size_t count, float *out)
{
    for (; count > 0; count--, blocks += 176, out += SUPER) {
        float d = half_at(blocks), dmin = half_at(blocks + 2);
        const uint8_t *high = blocks + 16;
        for (int sub = 0; sub < 8; sub++) {
            int scale, minimum;
            unpack_scale(blocks + 4, sub, &scale, &minimum);
            float factor = d * (float)scale, offset = dmin * (float)minimum;
            const uint8_t *values = blocks + 48 + sub / 2 * 32;
            for (int i = 0; i < 32; i++) {
                int q = sub % 2 == 0 ? values[i] & 15 : values[i] >> 4;
                q |= (high[i] >> sub & 1) << 4;
                out[sub * 32 + i] = factor * (float)q - offset;
            }
        }
    }
}

/* 128 bytes of low nibbles, 64 of high bit pairs, 16 int8 scales, half d: v = d · scale · (q − 32).
 * Each half of 128 values takes 64 nibble bytes and 32 pair bytes. */
void gguf_expand_q6_k(const uint8_t *blocks, size_t count, float *out)
{
    for (; count > 0; count--, blocks += 210, out += SUPER) {
        const uint8_t *scales = blocks + 192;
        float d = half_at(blocks + 208);
        for (int i = 0; i < SUPER; i++) {
            int half = i / 128, quarter = i % 128 / 32, byte = i % 32;
            uint8_t nibbles = blocks[half * 64 + quarter % 2 * 32 + byte];
            int low = quarter < 2 ? nibbles & 15 : nibbles >> 4;
            int top = blocks[128 + half * 32 + byte] >> (2 * quarter) & 3;
            out[i] = d * (float)(int8_t)scales[i / 16] * (float)((low | top << 4) - 32);
        }
    }
}

static const int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};

/* 16 bytes of nibbles, the low ones first, as 32 places in the table. */
static void expand_iq4(const uint8_t *nibbles, float scale, float *out)
{
    for (int i = 0; i < 16; i++) {
        out[i] = scale * (float)iq4_values[nibbles[i] & 15];
        out[i + 16] = scale * (float)iq4_values[nibbles[i] >> 4];
    }
}

void gguf_expand_iq4_nl(const uint8_t *blocks, size_t count, float *out)
{
    for (; count > 0; count--, blocks += 18, out += 32) {
        expand_iq4(blocks + 2, half_at(blocks), out);
    }
}

/* half d, 2 bytes of the scales' high bit pairs, 4 of their low nibbles, 128 of nibbles: v = d ·
 * (scale − 32) · value. */
void gguf_expand_iq4_xs(const uint8_t *blocks, size_t count, float *out)
{
    for (; count > 0; count--, blocks += 136, out += SUPER) {
        const float d = half_at(blocks);
        const unsigned high = blocks[2] | (unsigned)blocks[3] << 8;
        for (int sub = 0; sub < 8; sub++) {
            const int low = blocks[4 + sub / 2] >> (4 * (sub % 2)) & 15;
            const int scale = low | (int)(high >> (2 * sub) & 3) << 4;
            expand_iq4(blocks + 8 + sub * 16, d * (float)(scale - 32), out + sub * 32);
        }
    }
}

void gguf_expand_mxfp4(const uint8_t *blocks, size_t count, float *out)
{
    for (; count > 0; count--, blocks += 17, out += 32) {
        const float scale = ldexpf(1, blocks[0] - 127);
        for (int i = 0; i < 16; i++) {
            /* ggml's table has no zero with a sign. */
            out[i] = scale * (weight_fp4_values[blocks[1 + i] & 15] + 0.0f);
            out[i + 16] = scale * (weight_fp4_values[blocks[1 + i] >> 4] + 0.0f);
        }
    }
}
