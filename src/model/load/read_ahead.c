/* SPDX-License-Identifier: Apache-2.0 */
/* Reads of tensors ahead of their use.
 *
 * Copying out of the page cache is bound by one processor, so several threads read: each takes the
 * next read of the list as soon as its slot in a ring is free, and the caller takes them in order.
 * Where the files have to come from a disk, the same threads keep several requests under way. */
#include "model/load/read_ahead.h"

#include <omp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_THREADS = 8, LEAST_THREADS = 2, SPARE_SLOTS = 2 };

struct read_slot {
    struct tensor_scratch scratch;
    struct weight_rows rows;
    bool is_read;
    status outcome;
    char message[512]; /* of a failure: messages belong to threads */
};

struct read_ahead {
    const struct tensor_table *table;
    const struct tensor_read *reads;
    size_t count;
    pthread_mutex_t mutex;
    pthread_cond_t was_read, was_freed;
    /* Under the mutex: */
    size_t started;    /* reads that a thread has taken */
    size_t handed_out; /* reads that the caller was given */
    bool stopping;
    struct read_slot slots[MOST_THREADS + SPARE_SLOTS]; /* read i is in slot i % slot_count */
    size_t slot_count;
    pthread_t threads[MOST_THREADS];
    int thread_count;
};

/* The slot of the read that the caller has is not free. */
static bool may_start(const struct read_ahead *self)
{
    size_t kept = self->handed_out > 0 ? self->handed_out - 1 : 0;
    return self->started < self->count && self->started < kept + self->slot_count;
}

static void run_read(const struct read_ahead *self, const struct tensor_read *read,
                     struct read_slot *slot)
{
    slot->outcome = tensor_read_rows(self->table, read, &slot->scratch, &slot->rows);
    if (slot->outcome != STATUS_OK) {
        snprintf(slot->message, sizeof slot->message, "%s", status_message());
    }
}

static void *read_in_turn(void *context)
{
    struct read_ahead *self = context;
    pthread_mutex_lock(&self->mutex);
    while (!self->stopping && self->started < self->count) {
        if (!may_start(self)) {
            pthread_cond_wait(&self->was_freed, &self->mutex);
            continue;
        }
        size_t index = self->started++;
        struct read_slot *slot = &self->slots[index % self->slot_count];
        pthread_mutex_unlock(&self->mutex);
        run_read(self, &self->reads[index], slot);
        pthread_mutex_lock(&self->mutex);
        slot->is_read = true;
        pthread_cond_signal(&self->was_read);
    }
    pthread_mutex_unlock(&self->mutex);
    return NULL;
}

/* Fewer threads than wanted are enough; none is a failure. */
static status start_threads(struct read_ahead *self)
{
    int wanted = omp_get_max_threads();
    wanted = wanted < LEAST_THREADS ? LEAST_THREADS : wanted;
    wanted = wanted > MOST_THREADS ? MOST_THREADS : wanted;
    self->slot_count = (size_t)wanted + SPARE_SLOTS;
    int error = 0;
    while (error == 0 && self->thread_count < wanted) {
        error = pthread_create(&self->threads[self->thread_count], NULL, read_in_turn, self);
        self->thread_count += error == 0;
    }
    return self->thread_count > 0
               ? STATUS_OK
               : status_fail(STATUS_NO_MEMORY, "weights: no thread for reading: %s",
                             strerror(error));
}

status read_ahead_create(const struct tensor_table *table, const struct tensor_read *reads,
                         size_t count, struct read_ahead **out)
{
    *out = NULL;
    struct read_ahead *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "weights: out of memory");
    }
    self->table = table;
    self->reads = reads;
    self->count = count;
    pthread_mutex_init(&self->mutex, NULL);
    pthread_cond_init(&self->was_read, NULL);
    pthread_cond_init(&self->was_freed, NULL);
    status s = start_threads(self);
    if (s != STATUS_OK) {
        read_ahead_destroy(self);
        return s;
    }
    *out = self;
    return STATUS_OK;
}

status read_ahead_next(struct read_ahead *self, struct weight_rows *rows)
{
    pthread_mutex_lock(&self->mutex);
    if (self->handed_out == self->count) {
        pthread_mutex_unlock(&self->mutex);
        return status_fail(STATUS_INTERNAL, "weights: a read that was not planned");
    }
    struct read_slot *slot = &self->slots[self->handed_out % self->slot_count];
    if (self->handed_out > 0) {
        self->slots[(self->handed_out - 1) % self->slot_count].is_read = false;
    }
    self->handed_out++;
    pthread_cond_broadcast(&self->was_freed);
    while (!slot->is_read) {
        pthread_cond_wait(&self->was_read, &self->mutex);
    }
    pthread_mutex_unlock(&self->mutex);
    *rows = slot->rows;
    return slot->outcome == STATUS_OK ? STATUS_OK : status_fail(slot->outcome, "%s", slot->message);
}

void read_ahead_destroy(struct read_ahead *self)
{
    if (self == NULL) {
        return;
    }
    pthread_mutex_lock(&self->mutex);
    self->stopping = true;
    pthread_cond_broadcast(&self->was_freed);
    pthread_mutex_unlock(&self->mutex);
    for (int i = 0; i < self->thread_count; i++) {
        pthread_join(self->threads[i], NULL);
    }
    for (size_t i = 0; i < self->slot_count; i++) {
        tensor_scratch_destroy(&self->slots[i].scratch);
    }
    pthread_cond_destroy(&self->was_freed);
    pthread_cond_destroy(&self->was_read);
    pthread_mutex_destroy(&self->mutex);
    free(self);
}
