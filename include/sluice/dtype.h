/* SPDX-License-Identifier: Apache-2.0 */
/* Types of plain numbers: what activations, caches and the residual are made of. How weights are
 * kept is another matter: sluice/weight_format.h. src/weights/dtype.c. */
#ifndef SLUICE_DTYPE_H
#define SLUICE_DTYPE_H

#include <stddef.h>

enum dtype {
    DTYPE_FLOAT32,
    DTYPE_BFLOAT16,
    DTYPE_FLOAT16,
    DTYPE_FLOAT8_E4M3, /* of caches, and of a product's operands: never of activations */
};
enum { DTYPE_COUNT = DTYPE_FLOAT8_E4M3 + 1 };
size_t dtype_bytes(enum dtype dtype);
const char *dtype_name(enum dtype dtype); /* "float32", as in a job file */

/* `count` numbers of 16 bits at `from` as float32. They may lie in the upper half of `to`. */
void dtype_widen(enum dtype dtype, const void *from, size_t count, float *to);

#endif
