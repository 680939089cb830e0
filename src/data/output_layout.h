/* SPDX-License-Identifier: Apache-2.0 */
/* The layout of an output file, shared by its writer and its reader: names, types, the tables of
 * columns. docs/output-format.md describes it. */
#ifndef SLUICE_DATA_OUTPUT_LAYOUT_H
#define SLUICE_DATA_OUTPUT_LAYOUT_H

#include "data/hdf5_support.h"
#include "sluice/data.h"

enum { OUTPUT_FORMAT_VERSION = 1 };

/* Datasets with one number a result. */
enum output_number {
    NUMBER_ROW,
    NUMBER_SAMPLE,
    NUMBER_FINISH_REASON,
    NUMBER_PROMPT_TOKENS,
    NUMBER_COMPLETION_TOKENS,
    NUMBER_SECONDS,
    NUMBER_RANK,
    NUMBER_LOGPROB_SUM, /* the last two only where texts were scored */
    NUMBER_LOGPROB_MEAN,
    NUMBER_COUNT,
};

/* Datasets with one text a result. */
enum output_text { TEXT_ID, TEXT_PROMPT, TEXT_TEXT, TEXT_ERROR, TEXT_PASSTHROUGH, TEXT_COUNT };

extern const char *const output_number_paths[NUMBER_COUNT];
extern const char *const output_text_paths[TEXT_COUNT];

/* Flat over the tokens of all results. */
#define OUTPUT_OFFSETS_PATH    "/results/token_offsets"
#define OUTPUT_TOKENS_PATH     "/results/token_ids"
#define OUTPUT_LOGPROBS_PATH   "/results/logprobs"
#define OUTPUT_TOP_IDS_PATH    "/results/top_logprob_ids"
#define OUTPUT_TOP_VALUES_PATH "/results/top_logprob_values"

#define OUTPUT_EMBEDDING_PATH "/results/embedding"

#define OUTPUT_RANKS_PATH    "/metrics/ranks"
#define OUTPUT_TIMELINE_PATH "/metrics/timeline"

/* For messages; borrowed. */
const char *output_reader_path(const struct output_reader *reader);

/* The type of a number in memory (native); a predefined identifier, not to be closed. For
 * NUMBER_FINISH_REASON an int8. */
hid_t output_number_type(enum output_number column);

/* Types that the caller closes; negative on failure. */
hid_t output_finish_type(void);   /* HDF5 enum over int8, names of finish_reason_name */
hid_t output_rank_type(void);     /* compound of struct rank_metrics as it lies in memory */
hid_t output_timeline_type(void); /* compound of struct timeline_point, without its rank */

#endif
