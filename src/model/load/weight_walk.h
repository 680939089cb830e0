/* SPDX-License-Identifier: Apache-2.0 */
/* What a rank's weights are made of: one list for loading, random filling and counting bytes. */
#ifndef SLUICE_LOAD_WEIGHT_WALK_H
#define SLUICE_LOAD_WEIGHT_WALK_H

#include "model/family.h"
#include "sluice/model.h"

/* A rectangle of a logical tensor and where its rows go. */
struct weight_part {
    enum tensor_role role;
    int rows, columns; /* of the whole logical tensor; a vector has 1 row of `columns` */
    int first_row, row_count;
    int first_column, column_count;
    int at_row;                    /* in the matrix; of a vector: at which value */
    bool is_head_rows;             /* rows are whole heads of q or k: rope's order matters */
    int head_size, before_rotated; /* of these, where not 0: rows of a head, and those of them that
                                      come before the rotated ones */
    int head_stride, first_head;   /* of a stack of heads: product i's rows begin head_stride ·
                                      (first_head + i) rows into the tensor */
    bool is_turned;                /* of such a stack: the product is the transpose of these rows */
    int token_types; /* not 0: rows of the table of token types. The part is then the tensor's rows
                        with the first type added, behind them those with the second, … */
    int piece, stride; /* piece not 0: rows come in pieces of so many, from the first row on, each
                          `stride` rows of the tensor after the one before */
    int taps;          /* of a vector: 0, or the tensor is [columns / taps, 1, taps] */
};

enum { WEIGHT_MAX_PARTS = 6 };

/* One matrix or vector, or stack of them. A stack has the same parts in every product. */
struct weight_item {
    int layer; /* of the whole model; -1 outside of layers */
    bool is_vector, is_norm;
    int count; /* of stacked products */
    int rows, columns;
    const int32_t *slice_start; /* NULL: not sliced */
    int slices;
    bool is_exact; /* embedding, head, router: never quantised, as in published checkpoints */
    int part_count;
    struct weight_part parts[WEIGHT_MAX_PARTS];
    int taps; /* of a vector: 0, or its parts are [channels, taps] and it is kept turned,
                 as [taps, channels]: weight_finish_vector */
    struct matrix **matrix; /* where it is stored */
    struct vector **vector; /* a stack's are one behind the other */
};

typedef status weight_visitor(void *context, const struct weight_item *item);

/* Allocates the empty structure that a walk points into. */
status model_weights_create(const struct partition *partition,
                            struct model_weights **out) MUST_CHECK;

/* Calls `visit` for every matrix and vector of a rank, in the order of the model, until one fails.
 * What has no rows or columns on this rank is visited too. A head that is the embedding table of
 * the same rank is not visited: its pointer is the embedding's. */
status weights_visit(const struct model_config *config, const struct partition *partition,
                     struct model_weights *weights, weight_visitor *visit,
                     void *context) MUST_CHECK;

/* Where row `row` of a part stands in the logical tensor. */
static inline int weight_part_row(const struct weight_part *part, int row)
{
    return part->first_row +
           (part->piece > 0 ? row / part->piece * part->stride + row % part->piece : row);
}

/* What has been read or made for a vector, in the order in which it is kept. */
status weight_finish_vector(const struct weight_item *item, float *values) MUST_CHECK;

/* The format that an item's matrix is kept in: `stored`, but the backend's activation type for what
 * is exact, and for a bfloat16 source bfloat16 where the backend computes in float32, since it
 * widens without loss. */
enum weight_format weight_kept_format(struct backend *backend, const struct weight_item *item,
                                      enum weight_format stored, enum dtype source);

#endif
