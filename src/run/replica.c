/* SPDX-License-Identifier: Apache-2.0 */
/* A job's ends of the step loop: rows from the coordinator, results to it, and what a rank did. */
#include "run/replica.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "run/open_rows.h"
#include "run/ranks/mailbox.h"
#include "run/ranks/wire.h"
#include "run/ranks/world.h"
#include "run/steps/engine_setup.h"
#include "run/steps/step_loop.h"

/* Finished rows go out when they are this many bytes or this old. */
enum { ROWS_MESSAGE_BYTES = 256 << 10 };
static const double ROWS_MESSAGE_SECONDS = 0.2;
/* How it stands a leader says this often. */
static const double STATE_SECONDS = 1.0;

/* A rank; the second half is the leader's. */
struct worker {
    const struct replica_options *options;
    struct replica_report *report;
    double began;
    struct step_fit fit;

    struct engine *engine;
    struct open_rows *rows;
    struct outbox outbox;
    struct buffer incoming;
    struct record record;
    struct wire_reader shard; /* in `incoming`: rows that are not tokenized yet, while has_shard */
    bool has_shard, is_last_shard;
    bool requested, end_of_data, stopping;
    double last_sent, last_state;
    int64_t tokens;      /* that its steps computed */
    double busy_seconds; /* in them */
    double timeline_interval, timeline_next;
};

/* ---- Every rank ---- */

static status take_row(struct worker *self);

/* Rank 0 answers leaders; a leader's messages are pushed on, and a row of its shard is tokenized:
 * so most are while the device is at a step. */
static status take_turn(void *context, bool *idle)
{
    struct worker *self = context;
    struct coordinator *coordinator = self->options->coordinator;
    *idle = true;
    TRY(coordinator != NULL ? coordinator_poll(coordinator, idle) : STATUS_OK);
    if (self->has_shard && engine_unfinished(self->engine) > 0 &&
        !open_rows_have_forms(self->rows)) {
        TRY(take_row(self));
        *idle = false;
    }
    return outbox_poll(&self->outbox);
}

/* A step's time goes to prefill and decoding by their shares of its tokens. */
static status note_step(void *context, const struct step_seconds *step)
{
    struct worker *self = context;
    struct rank_metrics *metrics = &self->report->metrics;
    double seconds = step->launch + step->wait - step->communication;
    double prefill = (double)step->prefill_tokens / (double)step->tokens;
    metrics->seconds_prefill += seconds * prefill;
    metrics->seconds_decode += seconds * (1.0 - prefill) + step->complete;
    metrics->seconds_communication += step->communication;
    metrics->steps++;
    self->tokens += step->tokens;
    self->busy_seconds += step->whole;
    step_fit_note(&self->fit, step->tokens, step->positions, step->whole);
    struct step_cost cost;
    if (self->engine != NULL && step_fit_renew(&self->fit, &cost)) {
        engine_set_row_costs(self->engine, &cost.rows);
    }
    return STATUS_OK;
}

/* Memory: a device's own in use now, which is the most that was since nothing is given back on the
 * way; of the process elsewhere. Energy: since begin_metrics of run_job.c. */
static void note_device(struct stage *stage, struct rank_metrics *metrics)
{
    const struct plan *plan = stage->plan;
    struct rusage usage;
    int64_t total, available;
    if (plan->kind->has_own_memory) {
        if (stage->backend->operations->memory(stage->backend, &total, &available) == STATUS_OK) {
            metrics->peak_memory_bytes = total - available;
        }
    } else if (getrusage(RUSAGE_SELF, &usage) == 0) {
        metrics->peak_memory_bytes = (int64_t)usage.ru_maxrss * 1024;
    }
    metrics->energy_joules =
        backend_device_energy(plan->kind->name, plan->device_index) - metrics->energy_joules;
}

static void worker_finish(struct worker *self)
{
    struct rank_metrics *metrics = &self->report->metrics;
    metrics->seconds_total = clock_seconds() - self->began;
    metrics->seconds_idle = metrics->seconds_total - metrics->seconds_prefill -
                            metrics->seconds_decode - metrics->seconds_communication;
    note_device(self->options->stage, metrics);
}

/* ---- A leader's rows ---- */

/* Rows are fetched a few at a time, a request a step, for as long as few are waiting: so replicas
 * fill up evenly also when the data set is small, and none sits on rows that another could run when
 * it ends. A waiting eighth of a batch outlasts the step or two that an answer takes. */
static status request_rows(struct worker *self)
{
    int shard = self->options->stage->plan->max_sequences / 8 + 1;
    if (self->requested || self->has_shard || self->end_of_data ||
        engine_waiting(self->engine) >= shard) {
        return STATUS_OK;
    }
    int32_t wanted = shard;
    self->requested = true;
    return outbox_send(&self->outbox, self->options->control, 0, TAG_REQUEST, &wanted,
                       sizeof wanted);
}

/* The shard's next row into the engine. */
static status take_row(struct worker *self)
{
    TRY(shard_next(&self->shard, &self->record, &self->has_shard));
    if (!self->has_shard) {
        self->end_of_data = self->is_last_shard;
        return STATUS_OK;
    }
    return open_rows_add(self->rows, &self->record);
}

static status take_shard(struct worker *self, bool *got)
{
    MPI_Status info;
    TRY(message_poll(self->options->control, 0, TAG_SHARD, &self->incoming, &info, got));
    if (!*got) {
        return STATUS_OK;
    }
    self->requested = false;
    const char flag = self->incoming.data[0];
    self->is_last_shard = flag == SHARD_LAST;
    self->stopping = flag == SHARD_STOP;
    self->shard = (struct wire_reader){self->incoming.data, self->incoming.length, 1};
    self->has_shard = !self->stopping;
    return STATUS_OK;
}

/* As many as fill a step, so that it need not wait for the whole shard: the others are tokenized
 * while the device is at it. */
static status take_rows(struct worker *self)
{
    const int64_t enough =
        open_rows_tokens(self->rows) + self->options->stage->plan->max_batch_tokens;
    while (self->has_shard && open_rows_tokens(self->rows) < enough) {
        TRY(take_row(self));
    }
    return STATUS_OK;
}

static status supply_rows(void *context, enum supply *supply)
{
    struct worker *self = context;
    bool got = self->has_shard;
    TRY(request_rows(self));
    TRY(got ? STATUS_OK : take_shard(self, &got));
    TRY(self->stopping ? STATUS_OK : take_rows(self));
    *supply = self->stopping      ? SUPPLY_STOP
              : self->end_of_data ? SUPPLY_END
              : got               ? SUPPLY_SOME
                                  : SUPPLY_NOTHING;
    return STATUS_OK;
}

static status collect_rows(void *context)
{
    struct worker *self = context;
    return open_rows_collect(self->rows);
}

static status send_rows(struct worker *self, bool all)
{
    const struct buffer *message = open_rows_message(self->rows);
    double now = clock_seconds();
    bool due = message->length >= ROWS_MESSAGE_BYTES ||
               now - self->last_sent >= ROWS_MESSAGE_SECONDS || all;
    if (message->length == 0 || !due) {
        return STATUS_OK;
    }
    TRY(outbox_send(&self->outbox, self->options->control, 0, TAG_ROWS, message->data,
                    message->length));
    open_rows_clear(self->rows);
    self->last_sent = now;
    return STATUS_OK;
}

static void add_point(struct worker *self, double now)
{
    struct replica_report *report = self->report;
    struct engine_counters counters = engine_counters(self->engine);
    report->timeline[report->timeline_count++] = (struct timeline_point){
        .seconds = now,
        .rank = report->metrics.rank,
        .running = counters.running,
        .waiting = counters.waiting,
        .kv_blocks_used = counters.blocks_used,
        .output_tokens = counters.output_tokens,
        .prompt_tokens = counters.prompt_tokens,
        .rows = open_rows_taken(self->rows) - open_rows_unfinished(self->rows),
    };
}

/* One point an interval; when the room is used up, every second point goes and the interval
 * doubles. The room for one more is the last point's. */
static void note_timeline(struct worker *self)
{
    struct replica_report *report = self->report;
    double now = clock_seconds() - self->options->start;
    if (now < self->timeline_next) {
        return;
    }
    if (report->timeline_count == TIMELINE_MAX_POINTS - 1) {
        report->timeline_count /= 2;
        for (size_t i = 0; i < report->timeline_count; i++) {
            report->timeline[i] = report->timeline[2 * i + 1];
        }
        self->timeline_interval *= 2;
    }
    add_point(self, now);
    self->timeline_next = now + self->timeline_interval;
}

/* Also where it has nothing to do: silence means that something is wrong. */
static status send_state(struct worker *self)
{
    double now = clock_seconds();
    if (now - self->last_state < STATE_SECONDS) {
        return STATUS_OK;
    }
    self->last_state = now;
    struct engine_counters counters = engine_counters(self->engine);
    struct replica_state state = {.tokens = self->tokens,
                                  .output_tokens = counters.output_tokens,
                                  .busy_seconds = self->busy_seconds,
                                  .running = counters.running,
                                  .waiting = counters.waiting,
                                  .kv_blocks_used = counters.blocks_used,
                                  .kv_blocks = self->options->stage->plan->kv_blocks};
    snprintf(state.host, sizeof state.host, "%s", world_get()->host);
    return outbox_send(&self->outbox, self->options->control, 0, TAG_STATE, &state, sizeof state);
}

static status publish_rows(void *context, bool ran)
{
    struct worker *self = context;
    TRY(send_rows(self, !ran));
    TRY(send_state(self));
    note_timeline(self);
    return STATUS_OK;
}

/* ---- From start to end ---- */

static status prepare_leader(struct worker *self)
{
    const struct replica_options *options = self->options;
    const struct plan *plan = options->stage->plan;
    const struct model *model = options->stage->model;
    struct engine_options engine = engine_setup(options->job, model, plan);
    TRY(engine_create(&engine, &self->engine));
    struct step_cost cost;
    if (step_cost_load(plan, model_config(model), &cost)) {
        engine_set_row_costs(self->engine, &cost.rows);
    }
    struct open_rows_options rows = {.job = options->job,
                                     .model = model,
                                     .engine = self->engine,
                                     .max_model_len = plan->max_model_len,
                                     .rank = self->report->metrics.rank,
                                     .now = options->now,
                                     .arithmetic = options->arithmetic};
    TRY(open_rows_create(&rows, &self->rows));
    self->report->timeline = calloc(TIMELINE_MAX_POINTS, sizeof(struct timeline_point));
    self->timeline_interval = 0.5;
    return self->report->timeline != NULL
               ? STATUS_OK
               : status_fail(STATUS_NO_MEMORY, "out of memory for a replica's leader");
}

static void leader_report(struct worker *self)
{
    add_point(self, clock_seconds() - self->options->start);
    struct rank_metrics *metrics = &self->report->metrics;
    const struct plan *plan = self->options->stage->plan;
    struct engine_counters counters = engine_counters(self->engine);
    metrics->rows = open_rows_taken(self->rows) - open_rows_unfinished(self->rows);
    metrics->prompt_tokens = counters.prompt_tokens;
    metrics->output_tokens = counters.output_tokens;
    metrics->preemptions = counters.preemptions;
    metrics->kv_peak_use = (double)counters.peak_blocks_used / (double)plan->kv_blocks;
    struct notes *notes = open_rows_notes(self->rows);
    self->report->notes = *notes;
    *notes = (struct notes){0};
}

/* Of one replica, for the next prediction. */
static void keep_step_cost(const struct worker *self)
{
    struct step_cost cost;
    const struct stage *stage = self->options->stage;
    if (self->report->metrics.dp == 0 && step_fit_solve(&self->fit, &cost)) {
        const struct step_bound bound = step_fit_bound(&self->fit, &cost);
        step_bound_describe(&bound, self->report->bound);
        step_cost_save(stage->plan, model_config(stage->model), &cost);
    }
}

static status send_last_rows(struct worker *self)
{
    TRY(send_rows(self, true));
    return outbox_send(&self->outbox, self->options->control, 0, TAG_LEADER_DONE, "", 0);
}

static status work(struct worker *self)
{
    const bool leads = stage_is_leader(self->options->stage);
    TRY(leads ? prepare_leader(self) : STATUS_OK);
    const struct step_loop_options loop = {.stage = self->options->stage,
                                           .replica = self->options->replica,
                                           .engine = self->engine,
                                           .hooks = {.context = self,
                                                     .turn = take_turn,
                                                     .supply = supply_rows,
                                                     .collect = collect_rows,
                                                     .note = note_step,
                                                     .publish = publish_rows}};
    TRY(step_loop_run(&loop));
    if (leads) {
        TRY(send_last_rows(self));
        leader_report(self);
        keep_step_cost(self);
    }
    worker_finish(self);
    return STATUS_OK;
}

/* The last messages leave while the coordinator, which may be this rank, gets its turns; rank 0
 * stays until every leader has handed in its rows. */
static status wait_for_others(struct worker *self)
{
    const struct coordinator *coordinator = self->options->coordinator;
    int idle_rounds = 0;
    while (self->outbox.count > 0 || (coordinator != NULL && !coordinator_done(coordinator))) {
        bool idle;
        TRY(take_turn(self, &idle));
        idle_rounds = idle ? idle_rounds + 1 : 0;
        if (idle) {
            world_pause(idle_rounds);
        }
    }
    return STATUS_OK;
}

status replica_run(const struct replica_options *options, struct replica_report *report)
{
    struct worker worker = {.options = options, .report = report, .began = clock_seconds()};
    status s = work(&worker);
    if (s == STATUS_OK) {
        s = wait_for_others(&worker);
    }
    outbox_destroy(&worker.outbox);
    if (worker.engine != NULL) {
        engine_destroy(worker.engine);
    }
    open_rows_destroy(worker.rows); /* whose grammars the engine's rows borrowed */
    buffer_destroy(&worker.incoming);
    buffer_destroy(&worker.record.bytes);
    return s;
}
