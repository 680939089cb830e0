/* SPDX-License-Identifier: Apache-2.0 */
/* Results into the writer, counted on the way. */
#include "run/writing/results_file.h"

#include <stdlib.h>
#include <string.h>

status results_file_create(const char *path, bool overwrite, const struct output_columns *columns,
                           const char *arithmetic, struct results_file **out)
{
    struct results_file *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory for writing", path);
    }
    self->columns = *columns;
    self->arithmetic = arithmetic;
    self->last_row = self->last_error_row = -1;
    status s = output_create(path, overwrite, columns, &self->writer);
    if (s != STATUS_OK) {
        results_file_destroy(self);
        return s;
    }
    *out = self;
    return STATUS_OK;
}

static status count_result(struct results_file *self, const struct result *result)
{
    struct results_totals *totals = &self->totals;
    if (result->row != self->last_row) {
        self->last_row = result->row;
        totals->rows++;
        totals->prompt_tokens += result->prompt_tokens;
    }
    totals->output_tokens += result->completion_tokens;
    if (result->finish_reason != FINISH_ERROR) {
        totals->answers++;
        return STATUS_OK;
    }
    totals->error_rows += result->row != self->last_error_row;
    self->last_error_row = result->row;
    return error_tally_add(&self->errors, result->row, result->error, result->error_length);
}

status results_file_append(struct results_file *self, const struct result *result)
{
    TRY(count_result(self, result));
    if (result->sample == 0 && result->stream != 0) {
        TRY(repeats_add(&self->twins, result->stream));
    }
    double start = clock_seconds();
    struct result named = *result;
    if (named.arithmetic == NULL) {
        named.arithmetic = self->arithmetic;
        named.arithmetic_length = strlen(self->arithmetic);
    }
    status s = output_append(self->writer, &named);
    self->seconds += clock_seconds() - start;
    return s;
}

void results_file_destroy(struct results_file *self)
{
    if (self == NULL) {
        return;
    }
    output_abandon(self->writer);
    error_tally_destroy(&self->errors);
    repeats_destroy(&self->twins);
    free(self);
}
