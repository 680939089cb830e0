/* The coordinator: data set in, shards out, finished rows into the journal. */
#include "run/coordinator.h"

#include <stdlib.h>
#include <unistd.h>

#include "comm/comm_mpi.h"
#include "run/wire.h"

/* Finished rows are durable at the latest this much after they arrived: what a crash can cost. */
static const double COMMIT_SECONDS = 1.0;
static const double PROGRESS_SECONDS = 5.0;
enum { SHARD_MAX_BYTES = 4 << 20 };

struct coordinator {
    struct coordinator_options options;
    struct record_reader *reader;
    struct record record;
    bool end_of_data, stopped;
    int leaders_done;
    int64_t rows_read, rows_resumed, rows_finished;
    bool uncommitted;
    double last_commit, last_progress, start;
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
    self->start = self->last_commit = self->last_progress = clock_seconds();
    const struct job *job = options->job;
    struct record_reader_options reader = {
        .path = job->data.input, .prompt_field = job->data.prompt_field, .limit = job->data.limit};
    status s = record_reader_open(&reader, &self->reader);
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
    buffer_destroy(&self->record.bytes);
    buffer_destroy(&self->incoming);
    buffer_destroy(&self->outgoing);
    outbox_destroy(&self->outbox);
    free(self);
}

/* Fills the outgoing shard with up to `wanted` records that are not in the journal yet. */
static status fill_shard(struct coordinator *self, int wanted)
{
    TRY(shard_begin(&self->outgoing));
    int taken = 0;
    while (taken < wanted && !self->end_of_data && self->outgoing.length < SHARD_MAX_BYTES) {
        bool more;
        TRY(record_reader_next(self->reader, &self->record, &more));
        if (!more) {
            self->end_of_data = true;
            break;
        }
        self->rows_read++;
        if (journal_has_row(self->options.journal, self->record.row)) {
            self->rows_resumed++;
            continue;
        }
        TRY(shard_append(&self->outgoing, &self->record));
        taken++;
    }
    self->outgoing.data[0] = self->stopped       ? SHARD_STOP
                             : self->end_of_data ? SHARD_LAST
                                                 : SHARD_MORE;
    return STATUS_OK;
}

static status answer_request(struct coordinator *self, int leader)
{
    int32_t wanted = 0;
    if (self->incoming.length != sizeof wanted) {
        return status_fail(STATUS_INTERNAL, "a request of %zu bytes", self->incoming.length);
    }
    wanted = *(const int32_t *)(const void *)self->incoming.data;
    self->stopped = self->stopped || world_stop_requested();
    TRY(fill_shard(self, self->stopped ? 0 : wanted));
    return outbox_send(&self->outbox, self->options.comm, leader, TAG_SHARD, self->outgoing.data,
                       self->outgoing.length);
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
        TRY(journal_append(self->options.journal, row, results, length));
        self->rows_finished++;
        self->uncommitted = true;
    }
}

static status commit_if_due(struct coordinator *self, bool now)
{
    double time = clock_seconds();
    if (self->uncommitted && (now || time - self->last_commit >= COMMIT_SECONDS)) {
        TRY(journal_commit(self->options.journal));
        self->uncommitted = false;
        self->last_commit = clock_seconds();
    }
    return STATUS_OK;
}

static void show_progress(struct coordinator *self)
{
    double time = clock_seconds();
    if (self->options.quiet || time - self->last_progress < PROGRESS_SECONDS) {
        return;
    }
    self->last_progress = time;
    log_write(LOG_INFO, "%lld rows done%s%lld handed out, %.0f s",
              (long long)(self->rows_finished + self->rows_resumed),
              self->end_of_data ? " of " : ", ", (long long)self->rows_read, time - self->start);
}

status coordinator_poll(struct coordinator *self, bool *idle)
{
    bool nothing = true;
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
    TRY(outbox_poll(&self->outbox));
    TRY(commit_if_due(self, self->leaders_done == self->options.replicas));
    show_progress(self);
    if (idle != NULL) {
        *idle = nothing;
    }
    return STATUS_OK;
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
        .complete =
            self->end_of_data && journal_row_count(self->options.journal) == self->rows_read,
    };
}

status coordinator_digest(struct coordinator *self, int64_t *bytes, char sha256_hex[65])
{
    return record_reader_digest(self->reader, bytes, sha256_hex);
}
