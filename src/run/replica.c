/* SPDX-License-Identifier: Apache-2.0 */
/* The leader's loop, the followers' loop, and what they measure. */
#include "run/replica.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "run/engine_setup.h"
#include "run/open_rows.h"
#include "run/ranks/mailbox.h"
#include "run/ranks/stop_request.h"
#include "run/ranks/wire.h"
#include "run/ranks/world.h"
#include "run/step_queue.h"

/* Finished rows go out when they are this many bytes or this old. */
enum { ROWS_MESSAGE_BYTES = 256 << 10 };
static const double ROWS_MESSAGE_SECONDS = 0.2;

struct worker {
    const struct replica_options *options;
    struct replica_report *report;
    double began;
    int idle_rounds;
};

/* When a step began: by the clock, and by the seconds that ranks had waited for each other. */
struct step_start {
    double clock, waited;
};

static struct step_start worker_begin_step(const struct worker *self)
{
    return (struct step_start){clock_seconds(),
                               forward_communication_seconds(self->options->stage->forward)};
}

/* Books the time of a step that the device has done, unless a peer was lost in it. */
static status worker_end_step(struct worker *self, const struct step_start *start, int tokens,
                              int prefill_tokens)
{
    struct stage *stage = self->options->stage;
    struct rank_metrics *metrics = &self->report->metrics;
    TRY(forward_check(stage->forward));
    double waited = forward_communication_seconds(stage->forward) - start->waited;
    double seconds = clock_seconds() - start->clock - waited;
    double prefill = (double)prefill_tokens / (double)tokens;
    metrics->seconds_prefill += seconds * prefill;
    metrics->seconds_decode += seconds * (1.0 - prefill);
    metrics->seconds_communication += waited;
    stage_note_steps(stage, ++metrics->steps);
    self->idle_rounds = 0;
    return STATUS_OK;
}

/* Memory: a GPU's in use now, which is the most that was since nothing is given back on the way;
 * of the process elsewhere. Energy: since begin_metrics of run_job.c. */
static void note_device(struct stage *stage, struct rank_metrics *metrics)
{
    const struct plan *plan = stage->plan;
    struct rusage usage;
    int64_t total, available;
    if (strcmp(plan->device, "cuda") == 0) {
        if (stage->backend->operations->memory(stage->backend, &total, &available) == STATUS_OK) {
            metrics->peak_memory_bytes = total - available;
        }
    } else if (getrusage(RUSAGE_SELF, &usage) == 0) {
        metrics->peak_memory_bytes = (int64_t)usage.ru_maxrss * 1024;
    }
    metrics->energy_joules =
        backend_device_energy(plan->device, plan->device_index) - metrics->energy_joules;
}

static void worker_finish(struct worker *self)
{
    struct rank_metrics *metrics = &self->report->metrics;
    metrics->seconds_total = clock_seconds() - self->began;
    metrics->seconds_idle = metrics->seconds_total - metrics->seconds_prefill -
                            metrics->seconds_decode - metrics->seconds_communication;
    note_device(self->options->stage, metrics);
}

static status serve_coordinator(struct worker *self, bool *idle)
{
    *idle = true;
    return self->options->coordinator != NULL ? coordinator_poll(self->options->coordinator, idle)
                                              : STATUS_OK;
}

static void pause_if_idle(struct worker *self, bool idle)
{
    self->idle_rounds = idle ? self->idle_rounds + 1 : 0;
    if (idle) {
        world_pause(self->idle_rounds);
    }
}

/* While the device works, messages on their way are pushed on (a large one needs that of its
 * sender, and the receiver's step needs the message) and rank 0 answers. `steps`: a leader's. */
static status wait_for_device(struct worker *self, struct outbox *outbox, struct step_queue *steps)
{
    struct backend *backend = self->options->stage->backend;
    while (!backend->operations->is_idle(backend)) {
        bool idle;
        TRY(serve_coordinator(self, &idle));
        TRY(outbox_poll(outbox));
        if (steps != NULL) {
            TRY(step_queue_poll(steps));
        }
        sched_yield();
    }
    return STATUS_OK;
}

/* ---- Followers ---- */

/* Waits for the device: the batch lies in the message, whose memory the next one takes. */
static status follow_step(struct worker *self, const struct batch *batch, int prefill_tokens)
{
    struct stage *stage = self->options->stage;
    struct step_start start = worker_begin_step(self);
    struct outbox nothing = {0};
    struct device_buffer *logits;
    TRY(forward_step(stage->forward, batch, &logits));
    TRY(wait_for_device(self, &nothing, NULL));
    TRY(stage->backend->operations->synchronize(stage->backend));
    return worker_end_step(self, &start, batch->tokens, prefill_tokens);
}

static status follow(struct worker *self, int leader)
{
    struct buffer message = {0};
    status s = STATUS_OK;
    bool last = false;
    while (s == STATUS_OK && !last) {
        bool idle, got = false;
        MPI_Status info;
        stop_requested(); /* the leader decides; this rank passes on what it was asked */
        s = serve_coordinator(self, &idle);
        if (s == STATUS_OK) {
            s = message_poll(self->options->replica, leader, TAG_STEP, &message, &info, &got);
        }
        if (s == STATUS_OK && got && message.length == 0) {
            last = true;
        } else if (s == STATUS_OK && got) {
            struct batch batch;
            int prefill_tokens;
            s = step_unpack(message.data, message.length, &batch, &prefill_tokens);
            if (s == STATUS_OK) {
                s = follow_step(self, &batch, prefill_tokens);
            }
        }
        pause_if_idle(self, idle && !got);
    }
    buffer_destroy(&message);
    return s;
}

/* ---- The leader ---- */

struct leader {
    struct worker worker;
    struct engine *engine;
    struct open_rows *rows;
    struct outbox outbox;
    struct buffer incoming;
    struct record record;
    struct step_queue steps;
    bool requested, end_of_data, stopping;
    double last_sent;
    struct sample_result *results;
    float *hidden; /* of an encoder's step, [max_batch_tokens, hidden] */
    double timeline_interval, timeline_next;
};

/* Rows are fetched a few at a time, a request a step, for as long as few are waiting: so replicas
 * fill up evenly also when the data set is small, and none sits on rows that another could run when
 * it ends. A waiting eighth of a batch outlasts the step or two that an answer takes. */
static status request_rows(struct leader *self)
{
    int shard = self->worker.options->stage->plan->max_sequences / 8 + 1;
    if (self->requested || self->end_of_data || self->stopping ||
        engine_waiting(self->engine) >= shard) {
        return STATUS_OK;
    }
    int32_t wanted = shard;
    self->requested = true;
    return outbox_send(&self->outbox, self->worker.options->control, 0, TAG_REQUEST, &wanted,
                       sizeof wanted);
}

static status take_shard(struct leader *self, bool *got)
{
    MPI_Status info;
    TRY(message_poll(self->worker.options->control, 0, TAG_SHARD, &self->incoming, &info, got));
    if (!*got) {
        return STATUS_OK;
    }
    self->requested = false;
    char flag = self->incoming.data[0];
    self->end_of_data = flag == SHARD_LAST;
    self->stopping = flag == SHARD_STOP;
    struct wire_reader reader = {self->incoming.data, self->incoming.length, 1};
    for (;;) {
        bool more;
        TRY(shard_next(&reader, &self->record, &more));
        if (!more) {
            return STATUS_OK;
        }
        TRY(open_rows_add(self->rows, &self->record));
    }
}

static status send_rows(struct leader *self, bool all)
{
    const struct buffer *message = open_rows_message(self->rows);
    double now = clock_seconds();
    bool due = message->length >= ROWS_MESSAGE_BYTES ||
               now - self->last_sent >= ROWS_MESSAGE_SECONDS || all;
    if (message->length == 0 || !due) {
        return STATUS_OK;
    }
    TRY(outbox_send(&self->outbox, self->worker.options->control, 0, TAG_ROWS, message->data,
                    message->length));
    open_rows_clear(self->rows);
    self->last_sent = now;
    return STATUS_OK;
}

static status plan_steps(struct leader *self)
{
    while (self->steps.count < self->steps.most && !self->stopping) {
        struct step_plan *step;
        TRY(engine_plan_step(self->engine, &step));
        if (step == NULL) {
            break;
        }
        TRY(step_queue_add(&self->steps, step));
    }
    return STATUS_OK;
}

/* Every sequence's vectors become its embedding. */
static status pool_step(struct leader *self, struct step_plan *step)
{
    struct stage *stage = self->worker.options->stage;
    const struct batch *batch = &step->batch;
    int width = model_config(stage->model)->hidden;
    TRY(stage->backend->operations->download(
        stage->backend, forward_hidden(stage->forward), 0, self->hidden,
        (size_t)batch->tokens * (size_t)width * sizeof *self->hidden));
    for (int s = 0; s < batch->sequences; s++) {
        int first = batch->query_start[s];
        embedding_pool(model_embedding(stage->model), self->hidden + (size_t)first * (size_t)width,
                       batch->query_start[s + 1] - first, width,
                       step->embeddings + (size_t)s * (size_t)width);
    }
    return STATUS_OK;
}

/* Sampling waits for the device once more, shortly. */
static status run_oldest_step(struct leader *self)
{
    struct stage *stage = self->worker.options->stage;
    struct step_plan *step = self->steps.steps[0];
    const struct backend_operations *operations = stage->backend->operations;
    TRY(step_queue_deliver(&self->steps));
    struct step_start start = worker_begin_step(&self->worker);
    struct device_buffer *logits;
    TRY(forward_step(stage->forward, &step->batch, &logits));
    TRY(wait_for_device(&self->worker, &self->outbox, &self->steps));
    if (step->batch.outputs > 0) {
        TRY(operations->sample(stage->backend, logits, step->batch.outputs,
                               model_config(stage->model)->vocabulary, step->requests,
                               self->results));
    } else if (step->embeddings != NULL) {
        TRY(pool_step(self, step));
    } else {
        TRY(operations->synchronize(stage->backend));
    }
    TRY(worker_end_step(&self->worker, &start, step->batch.tokens, step->prefill_tokens));
    double sampled = clock_seconds();
    TRY(engine_complete_step(self->engine, step, self->results));
    step_queue_remove(&self->steps);
    TRY(open_rows_collect(self->rows));
    self->worker.report->metrics.seconds_decode += clock_seconds() - sampled;
    return STATUS_OK;
}

/* One point an interval; when the room is used up, every second point goes and the interval
 * doubles. */
static void note_timeline(struct leader *self)
{
    struct replica_report *report = self->worker.report;
    double now = clock_seconds() - self->worker.options->start;
    if (now < self->timeline_next) {
        return;
    }
    if (report->timeline_count == TIMELINE_MAX_POINTS) {
        report->timeline_count /= 2;
        for (size_t i = 0; i < report->timeline_count; i++) {
            report->timeline[i] = report->timeline[2 * i + 1];
        }
        self->timeline_interval *= 2;
    }
    struct engine_counters counters = engine_counters(self->engine);
    report->timeline[report->timeline_count++] = (struct timeline_point){
        .seconds = now,
        .rank = report->metrics.rank,
        .running = counters.running,
        .waiting = counters.waiting,
        .kv_blocks_used = counters.blocks_used,
        .output_tokens = counters.output_tokens,
    };
    self->timeline_next = now + self->timeline_interval;
}

static bool leader_finished(const struct leader *self)
{
    bool empty = open_rows_unfinished(self->rows) == 0 && self->end_of_data;
    return self->steps.count == 0 && (self->stopping || empty);
}

static status lead(struct leader *self)
{
    while (!leader_finished(self)) {
        bool idle, got;
        TRY(serve_coordinator(&self->worker, &idle));
        TRY(request_rows(self));
        TRY(take_shard(self, &got));
        TRY(plan_steps(self));
        bool ran = self->steps.count > 0;
        if (ran) {
            TRY(run_oldest_step(self));
        }
        TRY(send_rows(self, !ran));
        TRY(outbox_poll(&self->outbox));
        note_timeline(self);
        pause_if_idle(&self->worker, idle && !got && !ran);
        /* A stop must be noticed also while there is work enough not to ask for more. */
        self->stopping = self->stopping || stop_requested();
    }
    TRY(send_rows(self, true));
    TRY(step_queue_end(&self->steps, &self->outbox));
    return outbox_send(&self->outbox, self->worker.options->control, 0, TAG_LEADER_DONE, "", 0);
}

static status leader_create_engine(struct leader *self)
{
    const struct replica_options *options = self->worker.options;
    const struct plan *plan = options->stage->plan;
    const struct model *model = options->stage->model;
    const struct model_config *config = model_config(model);
    struct engine_options engine = engine_setup(options->job, model, plan);
    self->steps =
        (struct step_queue){.replica = options->replica,
                            .most = plan->pp < MAX_STEPS_IN_FLIGHT ? plan->pp : MAX_STEPS_IN_FLIGHT,
                            .kv_block_tokens = plan->kv_block_tokens};
    TRY(engine_create(&engine, &self->engine));
    struct open_rows_options rows = {.job = options->job,
                                     .model = model,
                                     .engine = self->engine,
                                     .max_model_len = plan->max_model_len,
                                     .rank = self->worker.report->metrics.rank,
                                     .now = options->now,
                                     .arithmetic = options->arithmetic};
    TRY(open_rows_create(&rows, &self->rows));
    self->results = calloc((size_t)plan->max_sequences, sizeof *self->results);
    if (config->encoder) {
        self->hidden =
            calloc((size_t)plan->max_batch_tokens * (size_t)config->hidden, sizeof *self->hidden);
    }
    self->worker.report->timeline = calloc(TIMELINE_MAX_POINTS, sizeof(struct timeline_point));
    self->timeline_interval = 0.5;
    return self->results != NULL && self->worker.report->timeline != NULL &&
                   (self->hidden != NULL || !config->encoder)
               ? STATUS_OK
               : status_fail(STATUS_NO_MEMORY, "out of memory for a replica's leader");
}

static void leader_report(struct leader *self)
{
    struct rank_metrics *metrics = &self->worker.report->metrics;
    const struct plan *plan = self->worker.options->stage->plan;
    struct engine_counters counters = engine_counters(self->engine);
    metrics->rows = open_rows_taken(self->rows) - open_rows_unfinished(self->rows);
    metrics->prompt_tokens = counters.prompt_tokens;
    metrics->output_tokens = counters.output_tokens;
    metrics->preemptions = counters.preemptions;
    metrics->kv_peak_use = (double)counters.peak_blocks_used / (double)plan->kv_blocks;
    struct notes *notes = open_rows_notes(self->rows);
    self->worker.report->notes = *notes;
    *notes = (struct notes){0};
}

status replica_run(const struct replica_options *options, struct replica_report *report)
{
    int rank, size;
    MPI_Comm_rank(options->replica, &rank);
    MPI_Comm_size(options->replica, &size);
    int leader_rank = size - options->stage->plan->tp;
    struct worker worker = {.options = options, .report = report, .began = clock_seconds()};
    status s;
    if (rank != leader_rank) {
        s = follow(&worker, leader_rank);
        worker_finish(&worker);
    } else {
        struct leader leader = {.worker = worker};
        s = leader_create_engine(&leader);
        if (s == STATUS_OK) {
            s = lead(&leader);
        }
        if (s == STATUS_OK) {
            leader_report(&leader);
            worker_finish(&leader.worker);
        }
        /* The last messages leave while the coordinator, which may be this rank, gets its turns. */
        bool idle;
        while (s == STATUS_OK && leader.outbox.count > 0) {
            s = serve_coordinator(&leader.worker, &idle);
            if (s == STATUS_OK) {
                s = outbox_poll(&leader.outbox);
            }
        }
        outbox_destroy(&leader.outbox);
        open_rows_destroy(leader.rows);
        if (leader.engine != NULL) {
            engine_destroy(leader.engine);
        }
        buffer_destroy(&leader.incoming);
        step_queue_destroy(&leader.steps);
        buffer_destroy(&leader.record.bytes);
        free(leader.results);
        free(leader.hidden);
    }
    /* Rank 0 stays until every leader has handed in its rows. */
    while (s == STATUS_OK && options->coordinator != NULL &&
           !coordinator_done(options->coordinator)) {
        bool idle;
        s = coordinator_poll(options->coordinator, &idle);
        pause_if_idle(&worker, idle);
    }
    return s;
}
