/* SPDX-License-Identifier: Apache-2.0 */
/* A few threads and a queue of batches. */
#include "engine/team.h"

#include <pthread.h>
#include <stdlib.h>

enum { MOST_AT_ONCE = 16 }; /* items that a thread takes */

struct team {
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    struct team_batch *first, *last; /* batches with items that nobody has begun */
    pthread_t threads[TEAM_THREADS];
    int thread_count;
    bool started, ending;
};

status team_create(struct team **out)
{
    struct team *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for threads");
    }
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->work, NULL);
    pthread_cond_init(&self->done, NULL);
    *out = self;
    return STATUS_OK;
}

void team_destroy(struct team *self)
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

void team_batch_destroy(struct team_batch *self)
{
    free(self->items);
}

status team_batch_add(struct team_batch *self, void *item)
{
    void *items = self->items;
    status s = array_grow(&items, &self->capacity, self->count + 1, sizeof(void *));
    self->items = items;
    if (s == STATUS_OK) {
        self->items[self->count++] = item;
    }
    return s;
}

/* Takes a batch off the queue, wherever it stands in it. */
static void take_off(struct team *self, const struct team_batch *batch)
{
    struct team_batch **link = &self->first, *before = NULL;
    while (*link != NULL && *link != batch) {
        before = *link;
        link = &(*link)->following;
    }
    if (*link != NULL) {
        *link = batch->following;
        self->last = self->last == batch ? before : self->last;
    }
}

/* Works on the next items of a batch whose lock is held; it is given up meanwhile. Fewer at a time
 * towards the end, so that nobody waits long for another. */
static void do_next(struct team *self, struct team_batch *batch)
{
    const size_t first = batch->next, left = batch->count - first;
    const size_t fair = left / (2 * (TEAM_THREADS + 1)) + 1;
    const size_t taken = fair < MOST_AT_ONCE ? fair : MOST_AT_ONCE;
    batch->next += taken;
    if (batch->next == batch->count) {
        take_off(self, batch);
    }
    pthread_mutex_unlock(&self->lock);
    for (size_t i = first; i < first + taken; i++) {
        batch->work(batch->items[i]);
    }
    pthread_mutex_lock(&self->lock);
    batch->done += taken;
    if (batch->done == batch->count) {
        pthread_cond_broadcast(&self->done);
    }
}

static void *work(void *context)
{
    struct team *self = context;
    pthread_mutex_lock(&self->lock);
    while (!self->ending) {
        if (self->first != NULL) {
            do_next(self, self->first);
        } else {
            pthread_cond_wait(&self->work, &self->lock);
        }
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

/* Without threads the one that awaits does it all. */
static void start_threads(struct team *self)
{
    self->started = true;
    for (int i = 0; i < TEAM_THREADS; i++) {
        if (pthread_create(&self->threads[self->thread_count], NULL, work, self) == 0) {
            self->thread_count++;
        }
    }
}

void team_start(struct team *self, struct team_batch *batch)
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

void team_await(struct team *self, struct team_batch *batch)
{
    if (batch->count == 0) {
        return;
    }
    pthread_mutex_lock(&self->lock);
    while (batch->next < batch->count) {
        do_next(self, batch);
    }
    while (batch->done < batch->count) {
        pthread_cond_wait(&self->done, &self->lock);
    }
    pthread_mutex_unlock(&self->lock);
}
