/* SPDX-License-Identifier: Apache-2.0 */
/* What an output file has beside its columns: names that its writer and its reader share.
 * docs/output-format.md describes it all. */
#ifndef SLUICE_DATA_OUTPUT_LAYOUT_H
#define SLUICE_DATA_OUTPUT_LAYOUT_H

#include "data/output/columns.h"

/* A file whose texts are packed cannot be read by programs that know version 1 alone. */
enum { OUTPUT_VERSION_VARIABLE = 1, OUTPUT_VERSION_PACKED = 2 };

/* The tokens that occur in the flat columns: a group of packed bytes, and its ids. */
#define OUTPUT_VOCABULARY_PATH     "/vocabulary"
#define OUTPUT_VOCABULARY_IDS_PATH "/vocabulary/token_ids"

#define OUTPUT_RANKS_PATH    "/metrics/ranks"
#define OUTPUT_TIMELINE_PATH "/metrics/timeline"

/* For messages; borrowed. */
const char *output_reader_path(const struct output_reader *reader);
/* Whether the file has this column. */
bool output_reader_has(const struct output_reader *reader, const struct result_column *column);

/* The tokens whose bytes the file has; empty where it has none. */
struct vocabulary;
status output_reader_vocabulary(const struct output_reader *reader, struct arena *arena,
                                struct vocabulary *out) MUST_CHECK;

#endif
