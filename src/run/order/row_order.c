/* SPDX-License-Identifier: Apache-2.0 */
/* Two batches: one is handed out while the other is read. */
#include "run/order/row_order.h"

#include <stdio.h>
#include <stdlib.h>

#include "run/order/row_batch.h"

struct row_order {
    struct row_order_options options;
    struct row_batch *going_out, *coming_in; /* NULL where nothing is read ahead */
    struct record record;
    bool has_ended; /* the reader has */
    /* What went wrong in reading ahead, to be said when the rows before it have been handed out. */
    status failure;
    char message[1024];
};

status row_order_create(const struct row_order_options *options, struct row_order **out)
{
    struct row_order *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the order of rows");
    }
    self->options = *options;
    status s = STATUS_OK;
    if (!options->as_read) {
        s = row_batch_create(options->directory, &self->going_out);
        s = s == STATUS_OK ? row_batch_create(options->directory, &self->coming_in) : s;
    }
    if (s != STATUS_OK) {
        row_order_destroy(self);
        return s;
    }
    *out = self;
    return STATUS_OK;
}

void row_order_destroy(struct row_order *self)
{
    if (self != NULL) {
        row_batch_destroy(self->going_out);
        row_batch_destroy(self->coming_in);
        buffer_destroy(&self->record.bytes);
        free(self);
    }
}

status row_order_read(struct row_order *self, bool *more)
{
    *more = self->coming_in != NULL && !self->has_ended && !row_batch_is_full(self->coming_in);
    if (!*more) {
        return STATUS_OK;
    }
    self->failure = record_reader_next(self->options.reader, &self->record, more);
    if (self->failure != STATUS_OK) {
        snprintf(self->message, sizeof self->message, "%s", status_message());
    }
    self->has_ended = self->failure != STATUS_OK || !*more;
    if (self->has_ended) {
        *more = false;
        return STATUS_OK;
    }
    struct row_key key;
    row_key_find(&self->record, self->options.prompt_field, self->options.max_new_tokens, &key);
    return row_batch_add(self->coming_in, &self->record, &key);
}

static void swap_batches(struct row_order *self)
{
    struct row_batch *batch = self->going_out;
    self->going_out = self->coming_in;
    self->coming_in = batch;
    row_batch_clear(batch);
    row_batch_sort(self->going_out);
}

status row_order_next(struct row_order *self, struct record *record, bool *more)
{
    *more = true;
    if (self->going_out != NULL && row_batch_left(self->going_out) == 0 &&
        row_batch_left(self->coming_in) > 0) {
        swap_batches(self);
    }
    if (self->going_out != NULL && row_batch_left(self->going_out) > 0) {
        return row_batch_take(self->going_out, record);
    }
    if (self->has_ended) {
        *more = false;
        return self->failure == STATUS_OK ? STATUS_OK
                                          : status_fail(self->failure, "%s", self->message);
    }
    TRY(record_reader_next(self->options.reader, record, more));
    self->has_ended = !*more;
    return STATUS_OK;
}

int64_t row_order_left(const struct row_order *self)
{
    if (!self->has_ended) {
        return -1;
    }
    return self->going_out == NULL
               ? 0
               : row_batch_left(self->going_out) + row_batch_left(self->coming_in);
}
