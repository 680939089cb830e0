/* SPDX-License-Identifier: Apache-2.0 */
/* The layout of an output file, shared by its writer and its reader: names, types, the tables of
 * columns. docs/output-format.md describes it. */
#ifndef SLUICE_DATA_OUTPUT_LAYOUT_H
#define SLUICE_DATA_OUTPUT_LAYOUT_H

#include "data/hdf5/support.h"
#include "sluice/data.h"

/* A file whose texts are packed cannot be read by programs that know version 1 alone. */
enum { OUTPUT_VERSION_VARIABLE = 1, OUTPUT_VERSION_PACKED = 2 };

/* Datasets with one number a result. */
enum output_number {
    NUMBER_ROW,
    NUMBER_SAMPLE,
    NUMBER_FINISH_REASON,
    NUMBER_PROMPT_TOKENS,
    NUMBER_COMPLETION_TOKENS,
    NUMBER_SECONDS,
    NUMBER_RANK,
    NUMBER_ENDPOINT, /* from here on not in every file: earlier versions wrote none of them */
    NUMBER_STATUS_CODE,
    NUMBER_ID_IS_NUMBER, /* where some id is */
    NUMBER_FILE,         /* where there are several input files */
    NUMBER_LOGPROB_SUM,  /* the last two only where texts were scored */
    NUMBER_LOGPROB_MEAN,
    NUMBER_COUNT,
};

/* Datasets with one text a result. */
enum output_text {
    TEXT_ID,
    TEXT_PROMPT,
    TEXT_TEXT,
    TEXT_ERROR,
    TEXT_PASSTHROUGH,
    TEXT_ARITHMETIC,
    TEXT_COUNT
};

extern const char *const output_number_paths[NUMBER_COUNT];
bool output_number_is_optional(enum output_number column);
extern const char *const output_text_paths[TEXT_COUNT];
bool output_text_is_optional(enum output_text column);

/* Flat over the tokens of all results. */
#define OUTPUT_OFFSETS_PATH    "/results/token_offsets"
#define OUTPUT_TOKENS_PATH     "/results/token_ids"
#define OUTPUT_LOGPROBS_PATH   "/results/logprobs"
#define OUTPUT_TOP_IDS_PATH    "/results/top_logprob_ids"
#define OUTPUT_TOP_VALUES_PATH "/results/top_logprob_values"

#define OUTPUT_EMBEDDING_PATH "/results/embedding"

/* The tokens that occur in the flat columns: a group of packed bytes, and its ids. */
#define OUTPUT_VOCABULARY_PATH     "/vocabulary"
#define OUTPUT_VOCABULARY_IDS_PATH "/vocabulary/token_ids"

#define OUTPUT_RANKS_PATH    "/metrics/ranks"
#define OUTPUT_TIMELINE_PATH "/metrics/timeline"

/* For messages; borrowed. */
const char *output_reader_path(const struct output_reader *reader);

/* The tokens whose bytes the file has; empty where it has none. */
struct vocabulary;
status output_reader_vocabulary(const struct output_reader *reader, struct arena *arena,
                                struct vocabulary *out) MUST_CHECK;

/* The type of a number in memory (native); a predefined identifier, not to be closed. For an
 * enumeration an int8. */
hid_t output_number_type(enum output_number column);

/* Types that the caller closes; negative on failure. */
hid_t output_enum_type(enum output_number column); /* HDF5 enum over int8; 0: no enumeration */
hid_t output_rank_type(void);     /* compound of struct rank_metrics as it lies in memory */
hid_t output_timeline_type(void); /* compound of struct timeline_point, without its rank */

#endif
