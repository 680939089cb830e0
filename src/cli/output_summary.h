/* SPDX-License-Identifier: Apache-2.0 */
/* One screen about an output file, for `sluice inspect`: what its results come to. */
#ifndef SLUICE_CLI_OUTPUT_SUMMARY_H
#define SLUICE_CLI_OUTPUT_SUMMARY_H

#include "run/output/spread.h"
#include "run/report/error_tally.h"
#include "sluice/data.h"

struct output_summary {
    int64_t results, rows, error_rows;
    int64_t finished[FINISH_ERROR + 1];
    struct spread prompt_tokens, answer_tokens, seconds; /* of what has no error; prompts once a row
                                                          */
    struct error_tally errors;
    int64_t last_row, last_prompt, last_error; /* rows counted last */
};

/* Reads all results once, in bounded memory. End with output_summary_destroy, also after a failure.
 */
status output_summary_read(struct output_reader *reader, struct output_summary *out) MUST_CHECK;
void output_summary_destroy(struct output_summary *summary);

/* Prints at most 24 lines of 80 columns on standard output. */
status output_summary_print(const char *path, struct output_reader *reader,
                            struct output_summary *summary, const struct rank_metrics *ranks,
                            size_t rank_count) MUST_CHECK;
/* Prints every kind of error with its count and the place of its first row. */
status output_summary_print_errors(struct output_summary *summary) MUST_CHECK;
/* Appends one JSON object. */
status output_summary_append_json(struct output_summary *summary, struct buffer *out) MUST_CHECK;

#endif
