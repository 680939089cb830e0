/* SPDX-License-Identifier: Apache-2.0 */
/* The coordinator: data set in, shards out, finished rows into the journal.
 *
 * Its turns come between the steps of rank 0's own replica, so that each is bounded: what has come
 * after POLL_SECONDS, and what is asked for after as long again, waits for the next one. */
#include "run/coordinator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run/data_set.h"
#include "run/order/row_order.h"
#include "run/ranks/mailbox.h"
#include "run/ranks/stop_request.h"
#include "run/ranks/wire.h"
#include "run/report/count_rows.h"
#include "run/suspects.h"

/* Finished rows are durable at the latest this much after they arrived: what a crash can cost. On a
 * disk where syncing takes long it is done less often, so that it takes a hundredth of the time. */
static const double COMMIT_SECONDS = 1.0, COMMIT_SECONDS_MOST = 10.0, COMMIT_SHARE = 0.01;
enum { SHARD_MAX_BYTES = 4 << 20 };
/* After this long a turn ends with the message, or the record, that it is at. */
static const double POLL_SECONDS = 0.0005;
/* Rows that are there go on to the output's thread this often. */
static const double FOLLOW_SECONDS = 0.05;

/* A leader that is owed an answer. */
struct shard_request {
    int leader;
    int32_t wanted;
};

struct coordinator {
    struct coordinator_options options;
    struct record_reader *reader;
    struct row_order *order;
    struct record record;
    bool end_of_data, stopped, failed;
    int leaders_done;
    int64_t rows_read, rows_resumed;
    int64_t under_way; /* rows handed out and not back yet */
    bool uncommitted;
    double commit_interval, journal_seconds;
    struct suspects suspects; /* run when all others are done */
    bool suspects_begun;
    bool is_alone;                  /* the group that runs is one row */
    int64_t alone;                  /* the one that does; -1: none */
    struct shard_request *requests; /* [replicas] without an answer yet: a ring */
    int first_request, request_count;
    double turn_ends;
    double last_commit, last_follow;
    struct progress progress;
    struct row_count *row_count; /* where the number of rows is not known from the start */
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
    if (s == STATUS_OK) {
        const struct row_order_options order = {
            .reader = self->reader,
            .directory = self->progress.directory.data,
            .prompt_field = options->job->data.prompt_field,
            .max_new_tokens = options->job->generate.max_new_tokens,
            /* The first bad row is named, where one ends the job. */
            .as_read = options->job->data.order == ORDER_FILE || !options->job->data.skip_bad_rows,
        };
        s = row_order_create(&order, &self->order);
    }
    self->requests = calloc((size_t)options->replicas, sizeof *self->requests);
    if (s == STATUS_OK && self->requests == NULL) {
        s = status_fail(STATUS_NO_MEMORY, "out of memory for the coordinator");
    }
    if (s == STATUS_OK && options->rows < 0) {
        row_count_start(&reader, &self->row_count);
    }
    if (s == STATUS_OK && output_may_write_beside(options->files)) {
        row_order_begin(self->order);
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
    row_count_end(self->row_count);
    row_order_destroy(self->order);
    if (self->reader != NULL) {
        record_reader_close(self->reader);
    }
    suspects_destroy(&self->suspects);
    free(self->requests);
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

static bool turn_is_over(const struct coordinator *self)
{
    return clock_seconds() >= self->turn_ends;
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

/* ---- Rows to leaders ---- */

/* Puts the record into the outgoing shard, which is for `leader`. */
static status hand_out(struct coordinator *self, int leader, int *taken)
{
    self->under_way++;
    ++*taken;
    TRY(shard_append(&self->outgoing, &self->record));
    return self->is_alone ? STATUS_OK
                          : attempts_begin(self->options.attempts, self->record.row,
                                           leader / self->options.replica_ranks);
}

/* Takes the next record and does with it what is to be done. */
static status take_record(struct coordinator *self, int leader, int *taken)
{
    struct attempts *attempts = self->options.attempts;
    bool more;
    TRY(row_order_next(self->order, &self->record, &more));
    if (!more) {
        self->end_of_data = true;
        return STATUS_OK;
    }
    int64_t row = self->record.row;
    if (!row_choice_has(self->options.choice, row)) {
        return STATUS_OK;
    }
    self->rows_read++;
    if (journal_has_row(self->options.journal, row)) {
        self->rows_resumed++;
        return STATUS_OK;
    }
    switch (attempts_verdict(attempts, row)) {
    case ATTEMPT_SET_ASIDE:
        return set_aside(self);
    case ATTEMPT_SUSPECT:
        return suspects_keep(&self->suspects, self->progress.directory.data, &self->record,
                             attempts_group(attempts, row));
    case ATTEMPT_FREE:
        break;
    }
    return hand_out(self, leader, taken);
}

/* The next group of suspects, or one alone. The others' rows are not to be lost with them. */
static status begin_group(struct coordinator *self)
{
    TRY(commit_if_due(self, !self->suspects_begun));
    self->suspects_begun = true;
    self->is_alone = suspects_begin_group(&self->suspects) == 1;
    return STATUS_OK;
}

static status take_suspect(struct coordinator *self, int leader, int *taken, bool *more)
{
    if (self->under_way == 0 && *taken == 0) {
        TRY(begin_group(self));
    }
    TRY(suspects_next(&self->suspects, &self->record, more));
    if (!*more) {
        return STATUS_OK;
    }
    if (self->is_alone) {
        self->alone = self->record.row;
        TRY(attempts_begin_alone(self->options.attempts, self->alone));
    }
    return hand_out(self, leader, taken);
}

/* Rows of a shard at most: at the end of the data less and less, so that the last rows are spread
 * over all replicas, and none sits on some that another could run. */
static int64_t most_rows(const struct coordinator *self, int32_t wanted)
{
    const int64_t left = row_order_left(self->order);
    const int64_t share = left / (2 * (int64_t)self->options.replicas) + 1;
    return left >= 0 && !self->end_of_data && share < wanted ? share : wanted;
}

/* Fills the outgoing shard with up to as many records as are wanted, of those that are there now;
 * *taken is how many they are. */
static status fill_shard(struct coordinator *self, const struct shard_request *request, int *taken)
{
    const int64_t most = most_rows(self, request->wanted);
    bool more = true;
    TRY(shard_begin(&self->outgoing));
    *taken = 0;
    while (more && *taken < most && self->outgoing.length < SHARD_MAX_BYTES &&
           !turn_is_over(self)) {
        TRY(self->end_of_data ? take_suspect(self, request->leader, taken, &more)
                              : take_record(self, request->leader, taken));
    }
    double start = clock_seconds();
    return book_journal(self, start, attempts_write(self->options.attempts));
}

/* Suspects that are under way may be the last rows, and may not: the next group is not begun. */
static bool no_more_rows(const struct coordinator *self)
{
    bool group_runs = self->suspects_begun && self->under_way > 0;
    return self->end_of_data && !suspects_left(&self->suspects) && !group_runs;
}

static status send_shard(struct coordinator *self, int leader)
{
    self->outgoing.data[0] = self->stopped        ? SHARD_STOP
                             : no_more_rows(self) ? SHARD_LAST
                                                  : SHARD_MORE;
    return outbox_send(&self->outbox, self->options.comm, leader, TAG_SHARD, self->outgoing.data,
                       self->outgoing.length);
}

static status take_request(struct coordinator *self, int leader)
{
    struct shard_request request = {.leader = leader};
    if (self->incoming.length != sizeof request.wanted ||
        self->request_count == self->options.replicas) {
        return status_fail(STATUS_INTERNAL, "request %d of %zu bytes", self->request_count,
                           self->incoming.length);
    }
    memcpy(&request.wanted, self->incoming.data, sizeof request.wanted);
    self->requests[(self->first_request + self->request_count) % self->options.replicas] = request;
    self->request_count++;
    return STATUS_OK;
}

/* Answers leaders, first come, first served, as far as there are rows now; a request that gets none
 * waits: for the next turn, or until all other rows are done and suspects run. */
static status serve_requests(struct coordinator *self)
{
    while (self->request_count > 0) {
        const struct shard_request *request = &self->requests[self->first_request];
        int taken = 0;
        self->stopped = self->stopped || stop_requested();
        TRY(self->stopped ? shard_begin(&self->outgoing) : fill_shard(self, request, &taken));
        if (taken == 0 && !self->stopped && !no_more_rows(self)) {
            return STATUS_OK;
        }
        TRY(send_shard(self, request->leader));
        self->first_request = (self->first_request + 1) % self->options.replicas;
        self->request_count--;
    }
    return STATUS_OK;
}

/* ---- Rows from leaders ---- */

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

/* Where the message's rows have their places is known before the first of them is taken. */
static status prepare_rows(struct coordinator *self)
{
    struct wire_reader reader = {self->incoming.data, self->incoming.length, 0};
    for (bool more = true; more;) {
        int64_t row;
        const void *results;
        size_t length;
        TRY(rows_next(&reader, &row, &results, &length, &more));
        if (more) {
            journal_prepare_append(self->options.journal, row);
            attempts_prepare_end(self->options.attempts, row);
        }
    }
    return STATUS_OK;
}

static status take_rows(struct coordinator *self)
{
    TRY(prepare_rows(self));
    struct wire_reader reader = {self->incoming.data, self->incoming.length, 0};
    for (bool more = true;;) {
        int64_t row;
        const void *results;
        size_t length;
        TRY(rows_next(&reader, &row, &results, &length, &more));
        if (!more) {
            return STATUS_OK;
        }
        TRY(journal_append(self->options.journal, row, results, length));
        TRY(finish_row(self, row));
    }
}

static status take_state(struct coordinator *self, int leader)
{
    struct replica_state state;
    if (self->incoming.length != sizeof state) {
        return status_fail(STATUS_INTERNAL, "a replica's state of %zu bytes",
                           self->incoming.length);
    }
    memcpy(&state, self->incoming.data, sizeof state);
    progress_take_state(&self->progress, leader / self->options.replica_ranks, &state);
    return STATUS_OK;
}

/* As far as the whole data set is counted. */
static int64_t count_chosen(const struct coordinator *self)
{
    const struct row_choice *choice = self->options.choice;
    const int64_t rows = row_count_get(self->row_count), before = choice != NULL ? choice->from : 0;
    return rows < before ? -1 : rows - before;
}

static struct progress_news progress_news(struct coordinator *self, bool committed)
{
    return (struct progress_news){.totals = journal_totals(self->options.journal),
                                  .rows = self->end_of_data         ? self->rows_read
                                          : self->options.rows >= 0 ? self->options.rows
                                                                    : count_chosen(self),
                                  .handed = self->rows_read,
                                  .rows_left = !self->end_of_data,
                                  .committed = committed,
                                  .snapshot = snapshot_requested()};
}

static status take_rows_message(struct coordinator *self)
{
    double start = clock_seconds();
    return book_journal(self, start, take_rows(self));
}

/* Messages of one kind may overtake another's, and the turn may end in between. */
static status take_last_rows(struct coordinator *self, int leader)
{
    for (bool got = true; got;) {
        MPI_Status info;
        TRY(message_poll(self->options.comm, leader, TAG_ROWS, &self->incoming, &info, &got));
        TRY(got ? take_rows_message(self) : STATUS_OK);
    }
    self->leaders_done++;
    progress_leader_done(&self->progress, leader / self->options.replica_ranks);
    return STATUS_OK;
}

static status take_message(struct coordinator *self, int tag, int from)
{
    switch (tag) {
    case TAG_ROWS:
        return take_rows_message(self);
    case TAG_REQUEST:
        return take_request(self, from);
    case TAG_STATE:
        return take_state(self, from);
    default:
        return take_last_rows(self, from);
    }
}

/* ---- Turns ---- */

static status take_messages(struct coordinator *self, bool *nothing)
{
    /* TAG_SHARD messages on this communicator go to leaders, which may be this rank: leave them
     * alone. */
    static const int tags[] = {TAG_ROWS, TAG_REQUEST, TAG_LEADER_DONE, TAG_STATE};
    *nothing = true;
    for (bool any = true; any && !turn_is_over(self);) {
        any = false;
        for (size_t i = 0; i < COUNT_OF(tags); i++) {
            MPI_Status info;
            bool got;
            TRY(message_poll(self->options.comm, MPI_ANY_SOURCE, tags[i], &self->incoming, &info,
                             &got));
            if (got) {
                TRY(take_message(self, tags[i], info.MPI_SOURCE));
                any = true;
                *nothing = false;
            }
        }
    }
    return STATUS_OK;
}

/* Rows are read ahead while those that were handed out run. */
static status read_ahead(struct coordinator *self, bool *nothing)
{
    bool more = !self->stopped;
    self->turn_ends = clock_seconds() + POLL_SECONDS;
    while (more && !turn_is_over(self)) {
        TRY(row_order_read(self->order, &more));
        *nothing = *nothing && !more;
    }
    return STATUS_OK;
}

static void feed_output(struct coordinator *self)
{
    double now = clock_seconds();
    if (self->options.early != NULL && now - self->last_follow >= FOLLOW_SECONDS) {
        early_output_follow(self->options.early, self->rows_read);
        self->last_follow = now;
    }
}

/* Rows that came back make room for others, so messages are taken before requests are served. */
static status poll(struct coordinator *self, bool *idle)
{
    bool nothing;
    stop_requested(); /* whoever is asked tells this rank, which tells the others */
    self->turn_ends = clock_seconds() + POLL_SECONDS;
    TRY(take_messages(self, &nothing));
    int owed = self->request_count;
    int64_t read = self->rows_read;
    self->turn_ends = clock_seconds() + POLL_SECONDS; /* however long the messages took */
    TRY(serve_requests(self));
    nothing = nothing && owed == self->request_count && read == self->rows_read;
    TRY(read_ahead(self, &nothing));
    TRY(outbox_poll(&self->outbox));
    TRY(self->options.turn != NULL ? self->options.turn(self->options.context) : STATUS_OK);
    double committed = self->last_commit;
    TRY(commit_if_due(self, self->leaders_done == self->options.replicas));
    feed_output(self);
    const struct progress_news news = progress_news(self, self->last_commit > committed);
    progress_report(&self->progress, &news);
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

void coordinator_rows_end(struct coordinator *self, char *slow, size_t size)
{
    const struct progress_news news = progress_news(self, false);
    progress_rows_end(&self->progress, &news, slow, size);
}

status coordinator_digest(struct coordinator *self, int64_t *bytes, char sha256_hex[65])
{
    return record_reader_digest(self->reader, bytes, sha256_hex);
}

void coordinator_file_rows(const struct coordinator *self, int64_t *rows)
{
    record_reader_file_rows(self->reader, rows);
}
