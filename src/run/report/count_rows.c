/* SPDX-License-Identifier: Apache-2.0 */
/* A pass over the data set that does nothing but count. */
#include "run/report/count_rows.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

struct row_count {
    struct record_reader_options options;
    pthread_t thread;
    atomic_bool stop;
    _Atomic int64_t rows; /* -1: not known */
};

/* What is wrong with the data set the coordinator finds, when it comes there. */
static status count(struct row_count *self, struct record_reader *reader, struct record *record)
{
    int64_t rows = 0;
    for (bool more = true; !atomic_load(&self->stop); rows++) {
        TRY(record_reader_next(reader, record, &more));
        if (!more) {
            atomic_store(&self->rows, rows);
            break;
        }
    }
    return STATUS_OK;
}

static void *work(void *argument)
{
    struct row_count *self = argument;
    struct record_reader *reader;
    struct record record = {0};
    /* It is in nobody's way: of Linux a thread has a priority of its own. */
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 19);
    if (record_reader_open(&self->options, &reader) == STATUS_OK) {
        status s = count(self, reader, &record);
        (void)s;
        record_reader_close(reader);
    }
    buffer_destroy(&record.bytes);
    return NULL;
}

void row_count_start(const struct record_reader_options *options, struct row_count **out)
{
    struct row_count *self = calloc(1, sizeof *self);
    sigset_t all, before;
    *out = NULL;
    if (self == NULL) {
        return;
    }
    self->options = *options;
    self->options.quiet = true;
    atomic_init(&self->rows, -1);
    atomic_init(&self->stop, false);
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&self->thread, NULL, work, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        free(self);
        return;
    }
    *out = self;
}

int64_t row_count_get(const struct row_count *count)
{
    return count != NULL ? atomic_load(&count->rows) : -1;
}

void row_count_end(struct row_count *count)
{
    if (count != NULL) {
        atomic_store(&count->stop, true);
        pthread_join(count->thread, NULL);
        free(count);
    }
}
