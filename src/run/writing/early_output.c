/* SPDX-License-Identifier: Apache-2.0 */
/* One thread, and one group of rows at a time that it has in hand. */
#include "run/writing/early_output.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int64_t early_output_rows = 16384;
int64_t early_output_lag = 16 << 20;

enum {
    GROUP_ROWS = 65536,    /* in hand at most: a turn of rank 0 lists them, the thread reads them */
    SCAN_BYTES = 64 << 20, /* of the journal, for rows before their turn, likewise */
    LEAST_SCANS = 8,       /* a scan is worth that part of the lag */
};

/* What the thread has in hand belongs to it while `is_busy`, all else to the caller. */
struct early_output {
    struct early_output_options options;
    struct journal_reader *reader;
    struct results_file *file; /* NULL before the first group, and after a failure */
    struct journal_place *places;
    size_t count;
    int64_t next;                         /* the first row that was not handed over */
    int64_t scanned, scan_stop, scan_end; /* of the journal's bytes, for rows before their turn */
    bool has_given;                       /* up, after a failure */
    struct output_columns columns;        /* of the file */

    pthread_t thread;
    bool runs;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool is_busy, is_ending, is_cancelled; /* under the mutex */
    status outcome;
    char message[512];
};

/* ---- The thread ---- */

static bool is_cancelled(struct early_output *self)
{
    pthread_mutex_lock(&self->mutex);
    bool cancelled = self->is_cancelled;
    pthread_mutex_unlock(&self->mutex);
    return cancelled;
}

static status write_result(void *context, const struct result *result)
{
    struct early_output *self = context;
    if (result->row % 256 == 0 && is_cancelled(self)) {
        return status_fail(STATUS_STOPPED, "stopped");
    }
    return results_file_append(self->file, result);
}

static bool is_ahead_of_turn(const void *context, int64_t row)
{
    const struct early_output *self = context;
    return row >= self->next && !results_file_has_ahead(self->file, row);
}

static status put_ahead(void *context, const struct result *results, size_t count)
{
    struct early_output *self = context;
    bool taken; /* where not, it is read again in its turn */
    return is_cancelled(self) ? status_fail(STATUS_STOPPED, "stopped")
                              : results_file_put_ahead(self->file, results, count, &taken);
}

/* The rows in hand but those that are in the file. */
static status write_turn(struct early_output *self)
{
    size_t kept = 0;
    for (size_t i = 0; i < self->count; i++) {
        if (!results_file_has_ahead(self->file, self->places[i].row)) {
            self->places[kept++] = self->places[i];
        }
    }
    TRY(journal_reader_visit(self->reader, self->places, kept, write_result, self));
    return results_file_append_ahead(self->file, self->next);
}

static status write_group(struct early_output *self)
{
    const struct journal_scan scan = {.stop = self->scan_stop,
                                      .end = self->scan_end,
                                      .wants = is_ahead_of_turn,
                                      .visit = put_ahead,
                                      .context = self};
    if (self->file == NULL) {
        TRY(results_file_create(self->options.path, self->options.overwrite, &self->columns,
                                journal_arithmetic(self->options.journal), &self->file));
    }
    TRY(write_turn(self));
    return journal_reader_scan(self->reader, &self->scanned, &scan);
}

static void *run_thread(void *context)
{
    struct early_output *self = context;
    pthread_mutex_lock(&self->mutex);
    for (;;) {
        while (!self->is_busy && !self->is_ending) {
            pthread_cond_wait(&self->wake, &self->mutex);
        }
        if (!self->is_busy) {
            break;
        }
        pthread_mutex_unlock(&self->mutex);
        status s = write_group(self);
        pthread_mutex_lock(&self->mutex);
        self->outcome = s;
        snprintf(self->message, sizeof self->message, "%s", s != STATUS_OK ? status_message() : "");
        self->is_busy = false;
        pthread_cond_broadcast(&self->wake);
    }
    pthread_mutex_unlock(&self->mutex);
    return NULL;
}

/* Signals are the main thread's. */
static status start_thread(struct early_output *self)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&self->thread, NULL, run_thread, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    self->runs = failure == 0;
    return self->runs
               ? STATUS_OK
               : status_fail(STATUS_IO, "a thread to write the output: %s", strerror(failure));
}

/* ---- The caller ---- */

status early_output_create(const struct early_output_options *options, struct early_output **out)
{
    struct early_output *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for writing the output");
    }
    self->options = *options;
    pthread_mutex_init(&self->mutex, NULL);
    pthread_cond_init(&self->wake, NULL);
    *out = self;
    return STATUS_OK;
}

static bool is_busy(struct early_output *self)
{
    pthread_mutex_lock(&self->mutex);
    bool busy = self->is_busy;
    pthread_mutex_unlock(&self->mutex);
    return busy;
}

static void drop_file(struct early_output *self)
{
    results_file_destroy(self->file);
    self->file = NULL;
    self->next = self->scanned = 0;
}

/* What cannot be written now may be at the end, which then says what is wrong. */
static void give_up(struct early_output *self, const char *message)
{
    log_write(LOG_INFO, "%s; the output is written at the end instead", message);
    drop_file(self);
    self->has_given = true;
}

static status begin(struct early_output *self)
{
    self->places = malloc(GROUP_ROWS * sizeof *self->places);
    if (self->places == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for writing the output");
    }
    TRY(journal_reader_open(journal_path(self->options.journal), &self->reader));
    return start_thread(self);
}

/* Up to where the thread is to look for rows before their turn. Says whether that is worth it. */
static bool choose_scan(struct early_output *self)
{
    self->scan_end = journal_written(self->options.journal);
    const int64_t stop = self->scan_end - early_output_lag, most = self->scanned + SCAN_BYTES;
    const bool is_worth = stop - self->scanned > early_output_lag / LEAST_SCANS;
    self->scan_stop = !is_worth ? 0 : stop < most ? stop : most;
    return is_worth;
}

static void hand_over(struct early_output *self, int64_t rows_read)
{
    int64_t first = self->next, left = rows_read - first;
    size_t most = left > GROUP_ROWS ? GROUP_ROWS : left > 0 ? (size_t)left : 0;
    self->count = journal_follow(self->options.journal, &self->next, self->places, most);
    const bool is_small = first == 0 && (int64_t)self->count < early_output_rows;
    if (!choose_scan(self) && (self->count == 0 || is_small)) {
        self->next = first;
        return;
    }
    pthread_mutex_lock(&self->mutex);
    self->is_busy = true;
    pthread_cond_broadcast(&self->wake);
    pthread_mutex_unlock(&self->mutex);
}

void early_output_follow(struct early_output *self, int64_t rows_read)
{
    bool early = journal_row_count(self->options.journal) < early_output_rows;
    if (self->has_given || early || is_busy(self)) {
        return;
    }
    if (self->outcome != STATUS_OK) {
        give_up(self, self->message);
        return;
    }
    if (!self->runs && begin(self) != STATUS_OK) {
        give_up(self, status_message());
        return;
    }
    struct output_columns columns = self->options.columns(self->options.context);
    if (self->file != NULL && !output_columns_same(&columns, &self->columns)) {
        drop_file(self);
    }
    if (self->file == NULL) {
        self->columns = columns;
    }
    hand_over(self, rows_read);
}

static status wait_for_thread(struct early_output *self)
{
    status s = STATUS_OK;
    pthread_mutex_lock(&self->mutex);
    while (self->is_busy) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 20000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&self->wake, &self->mutex, &until);
        pthread_mutex_unlock(&self->mutex);
        s = s == STATUS_OK ? interrupt_check() : s;
        pthread_mutex_lock(&self->mutex);
        self->is_cancelled = s != STATUS_OK;
    }
    pthread_mutex_unlock(&self->mutex);
    return s;
}

status early_output_take(struct early_output *self, struct results_file **file, int64_t *row)
{
    *file = NULL;
    *row = 0;
    TRY(wait_for_thread(self));
    if (self->outcome != STATUS_OK && !self->has_given) {
        give_up(self, self->message);
    }
    struct output_columns columns = self->options.columns(self->options.context);
    if (self->file != NULL && !output_columns_same(&columns, &self->columns)) {
        drop_file(self);
    }
    *file = self->file;
    *row = self->next;
    self->file = NULL;
    self->has_given = true; /* nothing more is taken */
    return STATUS_OK;
}

void early_output_destroy(struct early_output *self)
{
    if (self == NULL) {
        return;
    }
    if (self->runs) {
        pthread_mutex_lock(&self->mutex);
        self->is_ending = self->is_cancelled = true;
        pthread_cond_broadcast(&self->wake);
        pthread_mutex_unlock(&self->mutex);
        pthread_join(self->thread, NULL);
    }
    results_file_destroy(self->file);
    journal_reader_close(self->reader);
    free(self->places);
    pthread_cond_destroy(&self->wake);
    pthread_mutex_destroy(&self->mutex);
    free(self);
}
