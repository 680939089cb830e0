/* SPDX-License-Identifier: Apache-2.0 */
/* A few threads and a queue of batches of masks. */
#include "engine/mask_pool.h"

#include <pthread.h>
#include <stdlib.h>

enum { THREADS = 4 };

struct mask_pool {
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    struct mask_batch *first, *last; /* batches with items that nobody has begun */
    pthread_t threads[THREADS];
    int thread_count;
    bool started, ending;
};

status mask_pool_create(struct mask_pool **out)
{
    struct mask_pool *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for threads");
    }
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->work, NULL);
    pthread_cond_init(&self->done, NULL);
    *out = self;
    return STATUS_OK;
}

void mask_pool_destroy(struct mask_pool *self)
{
    if (self == NULL) {
        return;
    }
    pthread_mutex_lock(&self->lock);
    self->ending = true;
    pthread_cond_broadcast(&self->work);
    pthread_mutex_unlock(&self->lock);
    for (int i = 0; i < self->thread_count; i++) {
        pthread_join(self->threads[i], NULL);
    }
    pthread_cond_destroy(&self->work);
    pthread_cond_destroy(&self->done);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

void mask_batch_destroy(struct mask_batch *self)
{
    free(self->items);
}

status mask_batch_add(struct mask_batch *self, struct constraint *constraint)
{
    void *items = self->items;
    status s = array_grow(&items, &self->capacity, self->count + 1, sizeof(struct constraint *));
    self->items = items;
    if (s == STATUS_OK) {
        self->items[self->count++] = constraint;
    }
    return s;
}

/* Takes a batch off the queue, wherever it stands in it. */
static void take_off(struct mask_pool *self, const struct mask_batch *batch)
{
    struct mask_batch **link = &self->first, *before = NULL;
    while (*link != NULL && *link != batch) {
        before = *link;
        link = &(*link)->following;
    }
    if (*link != NULL) {
        *link = batch->following;
        self->last = self->last == batch ? before : self->last;
    }
}

/* Computes the next mask of a batch whose lock is held; it is given up meanwhile. */
static void compute_next(struct mask_pool *self, struct mask_batch *batch)
{
    struct constraint *constraint = batch->items[batch->next++];
    if (batch->next == batch->count) {
        take_off(self, batch);
    }
    pthread_mutex_unlock(&self->lock);
    constraint_mask(constraint);
    pthread_mutex_lock(&self->lock);
    if (++batch->done == batch->count) {
        pthread_cond_broadcast(&self->done);
    }
}

static void *work(void *context)
{
    struct mask_pool *self = context;
    pthread_mutex_lock(&self->lock);
    while (!self->ending) {
        if (self->first != NULL) {
            compute_next(self, self->first);
        } else {
            pthread_cond_wait(&self->work, &self->lock);
        }
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

/* Without threads the one that awaits does it all. */
static void start_threads(struct mask_pool *self)
{
    self->started = true;
    for (int i = 0; i < THREADS; i++) {
        if (pthread_create(&self->threads[self->thread_count], NULL, work, self) == 0) {
            self->thread_count++;
        }
    }
}

void mask_pool_start(struct mask_pool *self, struct mask_batch *batch)
{
    batch->next = batch->done = 0;
    batch->following = NULL;
    if (batch->count == 0) {
        return;
    }
    if (!self->started) {
        start_threads(self);
    }
    pthread_mutex_lock(&self->lock);
    *(self->last != NULL ? &self->last->following : &self->first) = batch;
    self->last = batch;
    pthread_cond_broadcast(&self->work);
    pthread_mutex_unlock(&self->lock);
}

status mask_pool_await(struct mask_pool *self, struct mask_batch *batch)
{
    if (batch->count == 0) {
        return STATUS_OK;
    }
    pthread_mutex_lock(&self->lock);
    while (batch->next < batch->count) {
        compute_next(self, batch);
    }
    while (batch->done < batch->count) {
        pthread_cond_wait(&self->done, &self->lock);
    }
    pthread_mutex_unlock(&self->lock);
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->items[i]->failure != STATUS_OK) {
            constraint_mask(batch->items[i]); /* once more, for the message: it was another's */
            TRY(batch->items[i]->failure);
        }
    }
    return STATUS_OK;
}
