/* SPDX-License-Identifier: Apache-2.0 */
/* The coordinator: data set in, shards out, finished rows into the journal. */
#include "run/coordinator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run/data_set.h"
#include "run/ranks/mailbox.h"
#include "run/ranks/stop_request.h"
#include "run/ranks/wire.h"

/* Finished rows are durable at the latest this much after they arrived: what a crash can cost. On a
 * disk where syncing takes long it is done less often, so that it takes a hundredth of the time. */
static const double COMMIT_SECONDS = 1.0, COMMIT_SECONDS_MOST = 10.0, COMMIT_SHARE = 0.01;
enum { SHARD_MAX_BYTES = 4 << 20 };

struct coordinator {
    struct coordinator_options options;
    struct record_reader *reader;
    struct record record;
    bool end_of_data, stopped, failed;
    int leaders_done;
    int64_t rows_read, rows_resumed;
    int64_t under_way; /* rows handed out and not back yet */
    bool uncommitted;
    double commit_interval, journal_seconds;
    /* Rows that run alone, when all others are done. */
    struct record *suspects;
    size_t suspect_count, suspect_capacity, next_suspect;
    int64_t alone; /* the one that does; -1: none */
    int *waiting;  /* [replicas] leaders whose request has no answer yet */
    int waiting_count;
    double last_commit;
    struct progress progress;
    struct buffer incoming, outgoing;
    struct outbox outbox;
};

status coordinator_create(const struct coordinator_options *options, struct coordinator **out)
{
    struct coordinator *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the coordinator");
    }
    self->options = *options;
    self->alone = -1;
    self->commit_interval = COMMIT_SECONDS;
    self->last_commit = clock_seconds();
    struct record_reader_options reader = data_set_options(options->job, options->files);
    reader.quiet = true; /* whoever tried the data set before has said it */
    status s = progress_begin(&self->progress, &options->progress, journal_totals(options->journal),
                              options->rows);
    if (s == STATUS_OK) {
        s = record_reader_open(&reader, &self->reader);
    }
    self->waiting = calloc((size_t)options->replicas, sizeof *self->waiting);
    if (s == STATUS_OK && self->waiting == NULL) {
        s = status_fail(STATUS_NO_MEMORY, "out of memory for the coordinator");
    }
    if (s != STATUS_OK) {
        coordinator_destroy(self);
        return s;
    }
    *out = self;
    return STATUS_OK;
}

void coordinator_destroy(struct coordinator *self)
{
    if (self == NULL) {
        return;
    }
    if (self->reader != NULL) {
        record_reader_close(self->reader);
    }
    for (size_t i = 0; i < self->suspect_count; i++) {
        buffer_destroy(&self->suspects[i].bytes);
    }
    free(self->suspects);
    free(self->waiting);
    buffer_destroy(&self->record.bytes);
    buffer_destroy(&self->incoming);
    buffer_destroy(&self->outgoing);
    outbox_destroy(&self->outbox);
    progress_end(&self->progress);
    free(self);
}

/* Books the time since `start` as the journal's, whatever came of it. */
static status book_journal(struct coordinator *self, double start, status s)
{
    self->journal_seconds += clock_seconds() - start;
    return s;
}

/* Keeps a record for the end of the job. */
static status keep_suspect(struct coordinator *self)
{
    void *items = self->suspects;
    status s = array_grow(&items, &self->suspect_capacity, self->suspect_count + 1,
                          sizeof *self->suspects);
    self->suspects = items;
    TRY(s);
    struct record *kept = &self->suspects[self->suspect_count];
    *kept = self->record;
    kept->bytes = (struct buffer){0};
    TRY(buffer_append(&kept->bytes, self->record.bytes.data, self->record.bytes.length));
    self->suspect_count++;
    return STATUS_OK;
}

/* The row's result is that it is not run. Its bytes are not parsed: it is not known which part of
 * the program they are too much for. */
static status set_aside(struct coordinator *self)
{
    const struct record *record = &self->record;
    char reason[160], place[RECORD_PLACE_BYTES], text[512], number[24];
    attempts_describe(self->options.attempts, record->row, reason);
    record_describe_place(record, place);
    snprintf(text, sizeof text, "%s: %s", place, reason);
    if (!self->options.job->data.skip_bad_rows) {
        return status_fail(STATUS_INVALID, "%s: %s", self->options.job->data.input.text, text);
    }
    log_write(LOG_WARNING, "%s", text);
    int digits = snprintf(number, sizeof number, "%lld", (long long)record->row);
    struct record_id id = {.text = number, .length = (size_t)digits};
    struct arena arena = {0};
    record_find_id(record, self->options.job->data.id_field, &arena, &id);
    const struct result result = {.row = record->row,
                                  .finish_reason = FINISH_ERROR,
                                  .is_fault = true,
                                  .id = id.text,
                                  .id_length = id.length,
                                  .id_is_number = id.is_number,
                                  .text = "",
                                  .error = text,
                                  .error_length = strlen(text),
                                  .passthrough = ""};
    struct buffer bytes = {0};
    status s = result_encode(&result, &bytes);
    if (s == STATUS_OK) {
        s = journal_append(self->options.journal, record->row, bytes.data, bytes.length);
    }
    buffer_destroy(&bytes);
    arena_destroy(&arena);
    self->uncommitted = true;
    return s;
}

/* Fills the outgoing shard with up to `wanted` records that are not in the journal yet; *taken is
 * how many they are. */
static status fill_shard(struct coordinator *self, int leader, int wanted, int *taken)
{
    struct attempts *attempts = self->options.attempts;
    TRY(shard_begin(&self->outgoing));
    *taken = 0;
    while (*taken < wanted && !self->end_of_data && self->outgoing.length < SHARD_MAX_BYTES) {
        bool more;
        TRY(record_reader_next(self->reader, &self->record, &more));
        if (!more) {
            self->end_of_data = true;
            break;
        }
        self->rows_read++;
        int64_t row = self->record.row;
        if (journal_has_row(self->options.journal, row)) {
            self->rows_resumed++;
            continue;
        }
        enum attempt_verdict verdict = attempts_verdict(attempts, row);
        if (verdict == ATTEMPT_SET_ASIDE) {
            TRY(set_aside(self));
        } else if (verdict == ATTEMPT_ALONE) {
            TRY(keep_suspect(self));
        } else {
            double start = clock_seconds();
            TRY(book_journal(self, start,
                             attempts_begin(attempts, row, leader / self->options.replica_ranks)));
            TRY(shard_append(&self->outgoing, &self->record));
            self->under_way++;
            ++*taken;
        }
    }
    return STATUS_OK;
}

static bool no_more_rows(const struct coordinator *self)
{
    return self->end_of_data && self->next_suspect == self->suspect_count && self->alone < 0;
}

static status send_shard(struct coordinator *self, int leader)
{
    self->outgoing.data[0] = self->stopped        ? SHARD_STOP
                             : no_more_rows(self) ? SHARD_LAST
                                                  : SHARD_MORE;
    return outbox_send(&self->outbox, self->options.comm, leader, TAG_SHARD, self->outgoing.data,
                       self->outgoing.length);
}

static status answer_request(struct coordinator *self, int leader)
{
    int32_t wanted = 0;
    if (self->incoming.length != sizeof wanted) {
        return status_fail(STATUS_INTERNAL, "a request of %zu bytes", self->incoming.length);
    }
    wanted = *(const int32_t *)(const void *)self->incoming.data;
    self->stopped = self->stopped || stop_requested();
    int taken;
    TRY(fill_shard(self, leader, self->stopped ? 0 : wanted, &taken));
    if (taken == 0 && !self->stopped && !no_more_rows(self)) {
        /* There are rows left, but not for now. */
        self->waiting[self->waiting_count++] = leader;
        return STATUS_OK;
    }
    return send_shard(self, leader);
}

static status commit_if_due(struct coordinator *self, bool now)
{
    double time = clock_seconds();
    if (self->uncommitted && (now || time - self->last_commit >= self->commit_interval)) {
        TRY(book_journal(self, time, journal_commit(self->options.journal)));
        self->uncommitted = false;
        self->last_commit = clock_seconds();
        double wanted = (self->last_commit - time) / COMMIT_SHARE;
        self->commit_interval = wanted < COMMIT_SECONDS        ? COMMIT_SECONDS
                                : wanted > COMMIT_SECONDS_MOST ? COMMIT_SECONDS_MOST
                                                               : wanted;
    }
    return STATUS_OK;
}

/* When all other rows are done, the suspects run one by one. */
static status serve_waiting(struct coordinator *self)
{
    if (self->waiting_count == 0 || self->stopped) {
        return STATUS_OK;
    }
    if (no_more_rows(self)) {
        while (self->waiting_count > 0) {
            TRY(shard_begin(&self->outgoing));
            TRY(send_shard(self, self->waiting[--self->waiting_count]));
        }
    } else if (self->under_way == 0) {
        TRY(commit_if_due(self, self->next_suspect == 0)); /* the others are not to be lost */
        const struct record *record = &self->suspects[self->next_suspect++];
        int leader = self->waiting[--self->waiting_count];
        self->alone = record->row;
        self->under_way = 1;
        TRY(attempts_begin_alone(self->options.attempts, record->row));
        TRY(shard_begin(&self->outgoing));
        TRY(shard_append(&self->outgoing, record));
        TRY(send_shard(self, leader));
    }
    return STATUS_OK;
}

static status finish_row(struct coordinator *self, int64_t row)
{
    self->under_way--;
    self->uncommitted = true;
    if (row != self->alone) {
        attempts_end(self->options.attempts, row);
        return STATUS_OK;
    }
    self->alone = -1; /* if this process dies before the next commit, the row runs alone again */
    return attempts_end_alone(self->options.attempts);
}

static status take_rows(struct coordinator *self)
{
    struct wire_reader reader = {self->incoming.data, self->incoming.length, 0};
    for (;;) {
        int64_t row;
        const void *results;
        size_t length;
        bool more;
        TRY(rows_next(&reader, &row, &results, &length, &more));
        if (!more) {
            return STATUS_OK;
        }
        double start = clock_seconds();
        TRY(book_journal(self, start, journal_append(self->options.journal, row, results, length)));
        TRY(finish_row(self, row));
    }
}

static void show_progress(struct coordinator *self, bool committed)
{
    int64_t rows = self->end_of_data ? self->rows_read : self->options.rows;
    progress_report(&self->progress, journal_totals(self->options.journal), rows, self->rows_read,
                    committed);
}

static status poll(struct coordinator *self, bool *idle)
{
    bool nothing = true;
    stop_requested(); /* whoever is asked tells this rank, which tells the others */
    for (;;) {
        MPI_Status info;
        bool got;
        /* TAG_SHARD messages on this communicator go to leaders, which may be this rank: leave them
         * alone. */
        static const int tags[] = {TAG_ROWS, TAG_REQUEST, TAG_LEADER_DONE};
        bool any = false;
        for (size_t i = 0; i < COUNT_OF(tags); i++) {
            TRY(message_poll(self->options.comm, MPI_ANY_SOURCE, tags[i], &self->incoming, &info,
                             &got));
            if (!got) {
                continue;
            }
            any = true;
            if (tags[i] == TAG_ROWS) {
                TRY(take_rows(self));
            } else if (tags[i] == TAG_REQUEST) {
                TRY(answer_request(self, info.MPI_SOURCE));
            } else {
                self->leaders_done++;
            }
        }
        if (!any) {
            break;
        }
        nothing = false;
    }
    TRY(serve_waiting(self));
    TRY(outbox_poll(&self->outbox));
    double committed = self->last_commit;
    TRY(commit_if_due(self, self->leaders_done == self->options.replicas));
    show_progress(self, self->last_commit > committed);
    if (idle != NULL) {
        *idle = nothing;
    }
    return STATUS_OK;
}

status coordinator_poll(struct coordinator *self, bool *idle)
{
    status s = poll(self, idle);
    self->failed |= s != STATUS_OK;
    return s;
}

bool coordinator_failed(const struct coordinator *self)
{
    return self->failed;
}

bool coordinator_done(const struct coordinator *self)
{
    return self->leaders_done == self->options.replicas && !self->uncommitted &&
           self->outbox.count == 0;
}

struct coordinator_totals coordinator_totals(const struct coordinator *self)
{
    return (struct coordinator_totals){
        .rows_read = self->rows_read,
        .rows_resumed = self->rows_resumed,
        .journal_seconds = self->journal_seconds,
        .complete =
            self->end_of_data && journal_row_count(self->options.journal) == self->rows_read,
    };
}

status coordinator_digest(struct coordinator *self, int64_t *bytes, char sha256_hex[65])
{
    return record_reader_digest(self->reader, bytes, sha256_hex);
}

void coordinator_file_rows(const struct coordinator *self, int64_t *rows)
{
    record_reader_file_rows(self->reader, rows);
}
