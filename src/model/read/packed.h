/* SPDX-License-Identifier: Apache-2.0 */
/* Weights that a quantised checkpoint packs into words, in layouts that are no rows of blocks.
 *
 * packed.c finds what belongs to such a weight and enters it into the table of tensors under the
 * name that it would have unquantised, with its own shape. packed_read.c reads rectangles of it:
 * value = (number − zero) · scale, in float32, in the order of the method's reference. */
#ifndef SLUICE_PACKED_H
#define SLUICE_PACKED_H

#include "model/read/tensor_source.h"

/* Numbers of a few bits, one behind the other from the lowest bit up, in words that stand along one
 * dimension of a tensor. */
struct packed_numbers {
    struct tensor tensor; /* [rows, columns] of words; name NULL: there is none */
    int word_bytes;
    int bits;         /* of a number */
    bool by_columns;  /* the tensor's first dimension is the weight's columns (or groups) */
    bool along_first; /* a word's numbers follow each other along the tensor's first dimension */
    /* Number i of a run of `run` stands at place order[i] of it; NULL: at place i. */
    const uint8_t *order;
    int run;
};

/* How a scale is made of what the tensors say. */
enum packed_scale {
    PACKED_SCALE,             /* as it stands */
    PACKED_SCALE_OVER_GLOBAL, /* divided by the tensor's own */
    PACKED_SCALE_BY_GLOBAL,   /* times the tensor's own */
    PACKED_SCALE_EXPONENT,    /* a power of two: byte − 127 */
    PACKED_SCALE_NESTED,      /* codes of a map with scales and an offset of their own */
};

enum { PACKED_MAP = 16, PACKED_NESTED_MAP = 256 };

struct packed_nested {
    float map[PACKED_NESTED_MAP];
    struct tensor scales; /* of `block` codes each */
    int64_t block;
    float offset;
};

struct packed_weight {
    int64_t rows, columns; /* of all matrices of a stack together */
    struct packed_numbers numbers, zeros;
    int zero;         /* added to a stored zero, within its bits; without zeros: the zero */
    const float *map; /* [PACKED_MAP] numbers to values, which then have no zero; or NULL */
    enum packed_scale kind;
    struct tensor scales;
    bool scales_by_columns; /* [groups, rows], not [rows, groups] */
    bool is_flat;           /* groups go through the rows as if they were one */
    float global;
    int64_t group, groups; /* columns of a group; groups of a row */
    struct tensor order;   /* the group of each column; name NULL: they stand in order */
    struct packed_nested *nested;
};

/* Enters the weights of a method's layout into a table that is finished. STATUS_INVALID where parts
 * are missing or do not fit each other, STATUS_UNSUPPORTED where a layout is not known. */
status packed_weights_find(struct tensor_table *table,
                           const struct weight_packing *packing) MUST_CHECK;

/* As tensor_read_rows, of a tensor that is packed. */
status packed_read_rows(const struct tensor_table *table, const struct tensor_read *read,
                        struct tensor_scratch *scratch, struct weight_rows *out) MUST_CHECK;

#endif
