/* SPDX-License-Identifier: Apache-2.0 */
/* The tokens that occur in an output file, with the bytes that each stands for: what a file of
 * token ids and log-probabilities needs to be read without the model.
 *
 * Only those that occur: a small job's file stays small, and a large one's table is bounded by the
 * vocabulary (about a megabyte, compressed less). */
#ifndef SLUICE_DATA_OUTPUT_VOCABULARY_H
#define SLUICE_DATA_OUTPUT_VOCABULARY_H

#include "data/output/text.h"

/* ---- Writing ---- */

/* A set of token ids, as large as the greatest. Zero-initialise. */
struct token_set {
    uint8_t *bits;
    size_t bytes;
};
/* Ids below 0 and beyond every vocabulary are no tokens and left out. */
status token_set_add(struct token_set *set, const int32_t *ids, size_t count) MUST_CHECK;
void token_set_destroy(struct token_set *set);

/* Writes the table of the set's tokens; `get` appends a token's bytes. */
status vocabulary_write(hid_t file, const struct token_set *set,
                        status (*get)(const void *context, int32_t id, struct buffer *out),
                        const void *context) MUST_CHECK;

/* ---- Reading ---- */

struct vocabulary {
    size_t count;
    const int32_t *ids; /* ascending */
    const char **texts;
    size_t *lengths;
};
/* Reads the table into the arena; an empty one where the file has none. */
status vocabulary_read(hid_t file, struct arena *arena, struct vocabulary *out) MUST_CHECK;
/* A token's bytes, or NULL where the table does not have it. */
const char *vocabulary_find(const struct vocabulary *vocabulary, int32_t id, size_t *length);

#endif
