/* SPDX-License-Identifier: Apache-2.0 */
/* Types of numbers: their sizes and names, and those of 16 bits widened. */
#include "sluice/dtype.h"

#include <stdint.h>
#include <string.h>

#include "weights/gguf_quants.h"

size_t dtype_bytes(enum dtype dtype)
{
    switch (dtype) {
    case DTYPE_FLOAT32:
        return 4;
    case DTYPE_BFLOAT16:
    case DTYPE_FLOAT16:
        return 2;
    case DTYPE_FLOAT8_E4M3:
        break;
    }
    return 1;
}

const char *dtype_name(enum dtype dtype)
{
    switch (dtype) {
    case DTYPE_FLOAT32:
        return "float32";
    case DTYPE_BFLOAT16:
        return "bfloat16";
    case DTYPE_FLOAT16:
        return "float16";
    case DTYPE_FLOAT8_E4M3:
        break;
    }
    return "fp8";
}

void dtype_widen(enum dtype dtype, const void *from, size_t count, float *to)
{
    for (size_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, (const char *)from + i * sizeof half, sizeof half);
        if (dtype == DTYPE_FLOAT16) {
            to[i] = gguf_half_to_float(half);
            continue;
        }
        const uint32_t bits = (uint32_t)half << 16;
        memcpy(&to[i], &bits, sizeof bits);
    }
}
