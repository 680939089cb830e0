/* SPDX-License-Identifier: Apache-2.0 */
/* Where in an output file the result with some id and sample stands, in 48 bytes a result: what
 * `sluice compare --by id` looks up. */
#ifndef SLUICE_CLI_ID_INDEX_H
#define SLUICE_CLI_ID_INDEX_H

#include "sluice/data.h"

/* Zero-initialise; end with id_index_destroy. */
struct id_index {
    struct id_entry *entries; /* [count], by key and place */
    size_t count, rest;
};

status id_index_fill(struct id_index *self, struct output_reader *reader) MUST_CHECK;
/* The place of the first result not taken yet with this one's id and sample, or -1; *same says that
 * the two are equal in all that `difference_find` compares by id. Where an id is there several
 * times, the results of one file meet those of the other in their order. */
int64_t id_index_take(struct id_index *self, const struct result *result, bool *same);
/* Then the places of those that were not taken, in order; -1 at the end. Nothing can be taken any
 * more. */
void id_index_begin_rest(struct id_index *self);
int64_t id_index_next_rest(struct id_index *self);
void id_index_destroy(struct id_index *self);

#endif
