/* SPDX-License-Identifier: Apache-2.0 */
/* One thread, and files of its own that it fills in. */
#include "data/input/input_hash.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/input/byte_source.h"

struct input_hash {
    struct input_file *files; /* [count]; paths are borrowed */
    size_t count;
    pthread_t thread;
    bool has_thread;
    atomic_bool is_ready, is_cancelled;
    status outcome;
    char message[1024];
};

static void *run_thread(void *context)
{
    struct input_hash *self = context;
    for (size_t i = 0; i < self->count && self->outcome == STATUS_OK; i++) {
        struct input_file *file = &self->files[i];
        self->outcome = byte_source_hash_file(file->path, &self->is_cancelled, &file->bytes,
                                              file->sha256, &file->lines);
    }
    if (self->outcome != STATUS_OK) {
        snprintf(self->message, sizeof self->message, "%s", status_message());
    }
    atomic_store(&self->is_ready, true);
    return NULL;
}

static status note_size(struct input_file *file)
{
    struct stat info;
    if (stat(file->path, &info) != 0) {
        return status_fail_errno(STATUS_IO, "%s", file->path);
    }
    file->bytes = info.st_size;
    file->lines = -1;
    memset(file->sha256, '0', sizeof file->sha256 - 1);
    file->sha256[sizeof file->sha256 - 1] = '\0';
    return STATUS_OK;
}

/* Signals are the main thread's. */
static status start_thread(struct input_hash *self)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&self->thread, NULL, run_thread, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    self->has_thread = failure == 0;
    return self->has_thread
               ? STATUS_OK
               : status_fail(STATUS_IO, "a thread to hash the data set: %s", strerror(failure));
}

static status start(struct input_hash *self, struct input_files *files)
{
    self->files = calloc(files->count, sizeof *self->files);
    if (self->files == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for hashes of %zu files", files->count);
    }
    for (size_t i = 0; i < files->count; i++) {
        TRY(note_size(&files->items[i]));
        self->files[i] = files->items[i];
    }
    self->count = files->count;
    return start_thread(self);
}

status input_hash_start(struct input_files *files, struct input_hash **out)
{
    struct input_hash *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for hashes");
    }
    status s = start(self, files);
    if (s != STATUS_OK) {
        input_hash_end(self);
        return s;
    }
    *out = self;
    return STATUS_OK;
}

bool input_hash_is_ready(const struct input_hash *self)
{
    return atomic_load(&self->is_ready);
}

static void join(struct input_hash *self)
{
    if (self->has_thread) {
        pthread_join(self->thread, NULL);
        self->has_thread = false;
    }
}

status input_hash_take(struct input_hash *self, struct input_files *files)
{
    join(self);
    if (self->outcome != STATUS_OK) {
        return status_fail(self->outcome, "%s", self->message);
    }
    for (size_t i = 0; i < self->count; i++) {
        struct input_file *file = &files->items[i];
        const struct input_file *hashed = &self->files[i];
        if (file->bytes != hashed->bytes) {
            return status_fail(STATUS_INVALID, "%s: changed while the job ran; start again",
                               file->path);
        }
        file->lines = hashed->lines;
        memcpy(file->sha256, hashed->sha256, sizeof file->sha256);
    }
    return STATUS_OK;
}

void input_hash_end(struct input_hash *self)
{
    if (self != NULL) {
        atomic_store(&self->is_cancelled, true);
        join(self);
        free(self->files);
        free(self);
    }
}
