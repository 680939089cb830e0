/* SPDX-License-Identifier: Apache-2.0 */
/* Products of activations with packed weights, register-blocked: up to 14 rows by 32 outputs with
 * AVX-512, 6 by 16 elsewhere.
 *
 * Why not a BLAS: a row's bits would depend on how many rows and columns share the call (edge
 * kernels, small-matrix paths), and the weights would be packed again on each call. Here an output
 * is one chain of multiply-adds over ascending k, so its bits follow from its row and its weights
 * alone. */
#include "backend/cpu/kernels/declare.h"
#include "backend/cpu/kernels/vector.h"

enum {
    PARTS = GROUP_VECTORS, /* a panel is worked off in this many passes of two vectors */
    TREE_LEVELS = 3,       /* of MAX_SLICES = 8 slices */
    AHEAD_BYTES = 1024,    /* how far few rows, which wait for memory, read ahead */
};

/* `rows` rows by `panels` panels by two vectors (part `part` of each panel); rows and panels are
 * constants where this is inlined, so that the sums stay in registers. */
ALWAYS_INLINE void product_block(const struct product_tile *tile, const int rows, const int panels,
                                 const bool bfloat16, int first_panel, int part)
{
    const size_t step = PANEL * (bfloat16 ? 2 : 4); /* bytes of a panel per k */
    const size_t in_stride = tile->in_stride;
    const char *weights = (const char *)tile->panel + (size_t)first_panel * tile->panel_bytes;
    const size_t panel_bytes = tile->panel_bytes;
    vec tree[TREE_LEVELS][MAX_TILE_ROWS][4][2];
    vec sum[MAX_TILE_ROWS][4][2];

    int slice = 0;
    do {
        UNROLL for (int r = 0; r < rows; r++)
        {
            UNROLL for (int p = 0; p < panels; p++)
            {
                sum[r][p][0] = vec_set(0.0f);
                sum[r][p][1] = vec_set(0.0f);
            }
        }
        const int first = tile->slice_start[slice];
        const int count = tile->slice_start[slice + 1] - first;
        const char *at = weights + (size_t)first * step;
        const char *next = tile->next + (size_t)first * tile->next_step;
        const float *in[(MAX_TILE_ROWS + 2) / 3];
        UNROLL for (int r = 0; r < rows; r += 3)
        {
            in[r / 3] = tile->in + (size_t)r * in_stride + first;
        }
        for (int k = 0; k < count; k++) {
            if (rows >= 4) {
                __builtin_prefetch(next, 0, 2);
                if (!bfloat16) {
                    __builtin_prefetch(next + 64, 0, 2);
                }
            }
            UNROLL for (int p = 0; p < panels; p++)
            {
                vec low, high;
                const char *from = at + (size_t)p * panel_bytes;
                if (rows < 4) {
                    __builtin_prefetch(from + AHEAD_BYTES);
                }
                if (bfloat16) {
                    vec_word pair =
                        *(const vec_word_unaligned *)(from + 4 * VECTOR_LANES * (size_t)part);
                    low = (vec)(pair << 16);
                    high = (vec)(pair & 0xffff0000u);
                } else {
                    low = vec_load((const float *)from + VECTOR_LANES * part);
                    high = vec_load((const float *)from + GROUP + VECTOR_LANES * part);
                }
                UNROLL for (int r = 0; r < rows; r++)
                {
                    vec x = vec_set(in[r / 3][(size_t)(r % 3) * in_stride]);
                    sum[r][p][0] = vec_fma(x, low, sum[r][p][0]);
                    sum[r][p][1] = vec_fma(x, high, sum[r][p][1]);
                }
            }
            at += step;
            next += tile->next_step;
            /* One pointer for three rows, which base + stride · {0, 1, 2} reach: hidden from the
             * compiler, which would make a pointer of each row and run out of registers. */
            UNROLL for (int r = 0; r < rows; r += 3)
            {
                in[r / 3]++;
                __asm__("" : "+r"(in[r / 3]));
            }
        }
        /* A binary counter: slice s closes the subtrees that its trailing ones name. */
        int level = 0;
        for (; (slice >> level) & 1; level++) {
            UNROLL for (int r = 0; r < rows; r++)
            {
                UNROLL for (int p = 0; p < panels; p++)
                {
                    sum[r][p][0] = tree[level][r][p][0] + sum[r][p][0];
                    sum[r][p][1] = tree[level][r][p][1] + sum[r][p][1];
                }
            }
        }
        if (slice + 1 < tile->slices) {
            UNROLL for (int r = 0; r < rows; r++)
            {
                UNROLL for (int p = 0; p < panels; p++)
                {
                    tree[level][r][p][0] = sum[r][p][0];
                    tree[level][r][p][1] = sum[r][p][1];
                }
            }
        }
    } while (++slice < tile->slices);

    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int p = 0; p < panels; p++)
        {
            UNROLL for (int half = 0; half < 2; half++)
            {
                const int column = (first_panel + p) * PANEL + half * GROUP + part * VECTOR_LANES;
                const int here = tile->columns - column;
                vec value = sum[r][p][half];
                if (tile->bias != NULL) {
                    value += vec_load(tile->bias + column);
                }
                float *to = tile->out + (size_t)r * tile->out_stride + column;
                if (here >= VECTOR_LANES) {
                    vec_store(to, value);
                } else if (here > 0) {
                    vec_store_part(to, value, here);
                }
            }
        }
    }
}

/* Few rows leave multiply-adds waiting for each other; then several panels run at once. */
ALWAYS_INLINE void product_rows(const struct product_tile *tile, const int rows,
                                const bool bfloat16)
{
    const int at_once = rows == 1 ? 4 : rows == 2 || (rows == 3 && VECTOR_LANES == 16) ? 2 : 1;
    int panel = 0;
    for (; panel + at_once <= tile->panels; panel += at_once) {
        for (int part = 0; part < PARTS; part++) {
            product_block(tile, rows, at_once, bfloat16, panel, part);
        }
    }
    if (at_once > 1) {
        for (; panel < tile->panels; panel++) {
            for (int part = 0; part < PARTS; part++) {
                product_block(tile, rows, 1, bfloat16, panel, part);
            }
        }
    }
}

#define PRODUCT_FOR_ROWS(rows)                                                                     \
    static void product_##rows(const struct product_tile *tile)                                    \
    {                                                                                              \
        if (tile->bfloat16) {                                                                      \
            product_rows(tile, rows, true);                                                        \
        } else {                                                                                   \
            product_rows(tile, rows, false);                                                       \
        }                                                                                          \
    }

PRODUCT_FOR_ROWS(1)
PRODUCT_FOR_ROWS(2)
PRODUCT_FOR_ROWS(3)
PRODUCT_FOR_ROWS(4)
PRODUCT_FOR_ROWS(5)
PRODUCT_FOR_ROWS(6)
#if defined(__AVX512F__)
PRODUCT_FOR_ROWS(7)
PRODUCT_FOR_ROWS(8)
PRODUCT_FOR_ROWS(9)
PRODUCT_FOR_ROWS(10)
PRODUCT_FOR_ROWS(11)
PRODUCT_FOR_ROWS(12)
PRODUCT_FOR_ROWS(13)
PRODUCT_FOR_ROWS(14)
#endif

static void (*const product_for_rows[PRODUCT_ROWS + 1])(const struct product_tile *) = {
    NULL,      product_1, product_2, product_3,  product_4,  product_5,  product_6,
#if defined(__AVX512F__)
    product_7, product_8, product_9, product_10, product_11, product_12, product_13, product_14,
#endif
};

void CPU_KERNEL(cpu_kernel_product)(const struct product_tile *tile)
{
    product_for_rows[tile->rows](tile);
}
