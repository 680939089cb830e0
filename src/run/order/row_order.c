/* SPDX-License-Identifier: Apache-2.0 */
/* Two batches: one is handed out while the other is read. */
#include "run/order/row_order.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
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

    pthread_t thread;
    bool has_thread;
    atomic_bool is_stopping, is_reading;
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

static void end_thread(struct row_order *self)
{
    if (self->has_thread) {
        atomic_store(&self->is_stopping, true);
        pthread_join(self->thread, NULL);
        self->has_thread = false;
    }
}

void row_order_destroy(struct row_order *self)
{
    if (self != NULL) {
        end_thread(self);
        row_batch_destroy(self->going_out);
        row_batch_destroy(self->coming_in);
        buffer_destroy(&self->record.bytes);
        free(self);
    }
}

static status read_one(struct row_order *self, bool *more)
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

status row_order_read(struct row_order *self, bool *more)
{
    end_thread(self);
    return read_one(self, more);
}

/* What is wrong with the batch is wrong when it is handed out, as what is wrong with the data. */
static void *read_batch(void *context)
{
    struct row_order *self = context;
    for (bool more = true; more && !atomic_load(&self->is_stopping);) {
        status s = read_one(self, &more);
        if (s != STATUS_OK) {
            snprintf(self->message, sizeof self->message, "%s", status_message());
            self->failure = s;
            self->has_ended = true;
            break;
        }
    }
    atomic_store(&self->is_reading, false);
    return NULL;
}

bool row_order_is_reading(const struct row_order *self)
{
    return atomic_load(&self->is_reading);
}

void row_order_begin(struct row_order *self)
{
    sigset_t all, before; /* signals are the main thread's */
    if (self->coming_in == NULL || self->has_thread) {
        return;
    }
    atomic_store(&self->is_stopping, false);
    atomic_store(&self->is_reading, true);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    self->has_thread = pthread_create(&self->thread, NULL, read_batch, self) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!self->has_thread) {
        atomic_store(&self->is_reading, false);
    }
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
    end_thread(self);
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

int64_t row_order_left(struct row_order *self)
{
    end_thread(self);
    if (!self->has_ended) {
        return -1;
    }
    return self->going_out == NULL
               ? 0
               : row_batch_left(self->going_out) + row_batch_left(self->coming_in);
}
