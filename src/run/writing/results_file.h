/* SPDX-License-Identifier: Apache-2.0 */
/* The results of an output file while it is written, and what they come to. */
#ifndef SLUICE_RUN_RESULTS_FILE_H
#define SLUICE_RUN_RESULTS_FILE_H

#include "run/report/error_tally.h"
#include "run/report/repeats.h"
#include "sluice/data.h"

struct results_totals {
    int64_t rows, error_rows, prompt_tokens, output_tokens;
    int64_t answers; /* results that are none of errors */
};

struct results_file {
    struct output_writer *writer; /* taken by whoever finishes the file */
    struct output_columns columns;
    const char *arithmetic; /* of rows that do not say: the journal's; borrowed */
    struct results_totals totals;
    struct error_tally errors;
    struct repeats twins; /* rows that share id and prompt */
    int64_t last_row, last_error_row;
    int64_t turn;   /* of rows taken before it: all before this one are appended */
    double seconds; /* spent in the writer */
};

/* Creates the output under its temporary name (output_create). */
status results_file_create(const char *path, bool overwrite, const struct output_columns *columns,
                           const char *arithmetic, struct results_file **out) MUST_CHECK;
/* Appends a result; they come in order of rows, those of earlier starts among them. Rows before it
 * that were taken before their turn are appended first. */
status results_file_append(struct results_file *self, const struct result *result) MUST_CHECK;
/* The results of a row whose turn is yet to come (output_put_ahead). Rows with errors are not
 * taken. */
status results_file_put_ahead(struct results_file *self, const struct result *results, size_t count,
                              bool *taken) MUST_CHECK;
/* Whether a row was taken before its turn (`context` is the file). */
bool results_file_has_ahead(const void *context, int64_t row);
/* Appends those before row `end` that were. */
status results_file_append_ahead(struct results_file *self, int64_t end) MUST_CHECK;
/* Appends all rows from `row` on: of the journal, and those that were taken. Can be interrupted. */
status results_file_append_rest(struct results_file *self, struct journal *journal,
                                int64_t row) MUST_CHECK;
/* Removes the file where the writer was not taken. NULL is ignored. */
void results_file_destroy(struct results_file *self);

#endif
