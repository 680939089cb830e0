/* SPDX-License-Identifier: Apache-2.0 */
/* Reads of tensors ahead of their use: a list of rectangles, read by a few threads while the caller
 * works on those before. */
#ifndef SLUICE_MODEL_READ_AHEAD_H
#define SLUICE_MODEL_READ_AHEAD_H

#include "model/read/tensor_source.h"

struct read_ahead;

/* Starts reading reads[0], reads[1]…; table and reads are borrowed. At most a few reads beyond the
 * one that the caller has are in memory. */
status read_ahead_create(const struct tensor_table *table, const struct tensor_read *reads,
                         size_t count, struct read_ahead **out) MUST_CHECK;
/* The next read in the order of the list; waits for it. *rows lives until the next call. A read
 * that failed fails here, with its message. */
status read_ahead_next(struct read_ahead *ahead, struct weight_rows *rows) MUST_CHECK;
/* Also before the end of the list: waits for reads under way, and forgets the rest. */
void read_ahead_destroy(struct read_ahead *ahead);

#endif
