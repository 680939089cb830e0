/* SPDX-License-Identifier: Apache-2.0 */
/* Types of numbers: their sizes and names. */
#include "sluice/dtype.h"

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
