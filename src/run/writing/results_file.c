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

static status count_all(struct results_file *self, const struct result *result)
{
    TRY(count_result(self, result));
    return result->sample == 0 && result->stream != 0 ? repeats_add(&self->twins, result->stream)
                                                      : STATUS_OK;
}

static struct result name_arithmetic(const struct results_file *self, const struct result *result)
{
    struct result named = *result;
    if (named.arithmetic == NULL) {
        named.arithmetic = self->arithmetic;
        named.arithmetic_length = strlen(self->arithmetic);
    }
    return named;
}

status results_file_append(struct results_file *self, const struct result *result)
{
    if (self->turn < result->row) {
        TRY(results_file_append_ahead(self, result->row));
        self->turn = result->row;
    }
    TRY(count_all(self, result));
    double start = clock_seconds();
    const struct result named = name_arithmetic(self, result);
    status s = output_append(self->writer, &named);
    self->seconds += clock_seconds() - start;
    return s;
}

/* ---- Rows before their turn ---- */

enum { SAMPLES_AHEAD = 16 }; /* of a row at most */

status results_file_put_ahead(struct results_file *self, const struct result *results, size_t count,
                              bool *taken)
{
    struct result named[SAMPLES_AHEAD];
    *taken = false;
    if (count > SAMPLES_AHEAD) {
        return STATUS_OK;
    }
    for (size_t i = 0; i < count; i++) {
        if (results[i].finish_reason == FINISH_ERROR) {
            return STATUS_OK;
        }
        named[i] = name_arithmetic(self, &results[i]);
    }
    TRY(output_put_ahead(self->writer, named, count, taken));
    for (size_t i = 0; *taken && i < count; i++) {
        TRY(count_all(self, &results[i]));
    }
    return STATUS_OK;
}

bool results_file_has_ahead(const void *context, int64_t row)
{
    const struct results_file *self = context;
    return output_has_ahead(self->writer, row);
}

status results_file_append_ahead(struct results_file *self, int64_t end)
{
    const int64_t last = output_ahead_end(self->writer);
    const double start = clock_seconds();
    status s = STATUS_OK;
    for (; s == STATUS_OK && self->turn < end && self->turn < last; self->turn++) {
        if (output_has_ahead(self->writer, self->turn)) {
            s = output_append_ahead(self->writer, self->turn);
        }
    }
    self->seconds += clock_seconds() - start;
    return s;
}

static status append_interruptible(void *context, const struct result *result)
{
    TRY(interrupt_check());
    return results_file_append(context, result);
}

status results_file_append_rest(struct results_file *self, struct journal *journal, int64_t row)
{
    enum { STEP = 4096 };
    TRY(journal_visit_rest(journal, row, results_file_has_ahead, append_interruptible, self));
    while (self->turn < output_ahead_end(self->writer)) {
        TRY(interrupt_check());
        TRY(results_file_append_ahead(self, self->turn + STEP));
    }
    return STATUS_OK;
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
