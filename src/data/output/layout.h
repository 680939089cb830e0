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

/* Of texts and lists the cursor reads only those whose place in result_columns is set in `wanted`,
 * [result_column_count], which outlives it; others are as if the file had none. NULL: all. To be
 * called before the first result is read. */
void output_cursor_only(struct output_cursor *cursor, const bool *wanted);
/* output_cursor_next with what a file has beside a result. */
status output_cursor_next_stored(struct output_cursor *cursor,
                                 const struct stored_result **stored) MUST_CHECK;

/* The tokens whose bytes the file has; empty where it has none. */
struct vocabulary;
status output_reader_vocabulary(const struct output_reader *reader, struct arena *arena,
                                struct vocabulary *out) MUST_CHECK;

#endif
