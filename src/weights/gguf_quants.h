/* SPDX-License-Identifier: Apache-2.0 */
/* Block formats of GGUF, expanded to float32: gguf_quants.c. */
#ifndef SLUICE_GGUF_QUANTS_H
#define SLUICE_GGUF_QUANTS_H

#include <stddef.h>
#include <stdint.h>

void gguf_expand_q4_0(const uint8_t *blocks, size_t count, float *out);
void gguf_expand_q4_1(const uint8_t *blocks, size_t count, float *out);
void gguf_expand_q5_0(const uint8_t *blocks, size_t count, float *out);
void gguf_expand_q5_1(const uint8_t *blocks, size_t count, float *out);
void gguf_expand_q8_0(const uint8_t *blocks, size_t count, float *out);
void gguf_expand_q2_k(const uint8_t *blocks, size_t count, float *out);
void gguf_expand_q3_k(const uint8_t *blocks, size_t count, float *out);
void gguf_expand_q4_k(const uint8_t *blocks, size_t count, float *out);
void gguf_expand_q5_k(const uint8_t *blocks, size_t count, float *out);
void gguf_expand_q6_k(const uint8_t *blocks, size_t count, float *out);
void gguf_expand_iq4_nl(const uint8_t *blocks, size_t count, float *out);
void gguf_expand_iq4_xs(const uint8_t *blocks, size_t count, float *out);
void gguf_expand_mxfp4(const uint8_t *blocks, size_t count, float *out);

/* IEEE half precision to single, exactly. */
float gguf_half_to_float(uint16_t half);

#endif
