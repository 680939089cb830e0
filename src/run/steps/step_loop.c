/* SPDX-License-Identifier: Apache-2.0 */
/* The leader's rounds, the other ranks' rounds, and a step in the middle of both. */
#include "run/steps/step_loop.h"

#include <math.h>
#include <sched.h>
#include <stdlib.h>

#include "run/ranks/mailbox.h"
#include "run/ranks/stop_request.h"
#include "run/ranks/wire.h"
#include "run/ranks/world.h"
#include "run/steps/step_queue.h"

/* A step that the device has: the one that it is at, and one behind that. */
enum { MOST_LAUNCHED = 2 };
struct launched {
    struct device_buffer *logits;
    double waited; /* forward_communication_seconds before it */
    struct step_seconds seconds;
};

struct step_loop {
    struct stage *stage;
    MPI_Comm replica;
    struct engine *engine;
    struct step_hooks hooks;
    struct step_queue steps;                 /* the leader's */
    struct launched launched[MOST_LAUNCHED]; /* of these the first */
    int launched_count;
    int64_t steps_done;
    int idle_rounds;
    double planning; /* seconds of it since the step before */
    double last_end; /* of a step */
    bool ended, stopping;
    struct sample_result *results; /* [max_sequences] */
    float *hidden;                 /* of a step that is pooled, [max_batch_tokens, hidden] */
};

static status take_turn(const struct step_loop *self, bool *idle)
{
    *idle = true;
    return self->hooks.turn != NULL ? self->hooks.turn(self->hooks.context, idle) : STATUS_OK;
}

static status note(const struct step_loop *self, const struct step_seconds *seconds)
{
    return self->hooks.note != NULL ? self->hooks.note(self->hooks.context, seconds) : STATUS_OK;
}

static void pause_if_idle(struct step_loop *self, bool idle)
{
    self->idle_rounds = idle ? self->idle_rounds + 1 : 0;
    if (idle) {
        world_pause(self->idle_rounds);
    }
}

/* ---- A step ---- */

/* While the device works the rank has its turns, and messages on their way are pushed on: a large
 * one needs that of its sender, and the receiver's step needs the message. */
static status wait_for_device(struct step_loop *self, bool (*is_done)(struct backend *backend))
{
    while (!is_done(self->stage->backend)) {
        bool idle;
        TRY(take_turn(self, &idle));
        TRY(step_queue_poll(&self->steps));
        sched_yield();
    }
    return STATUS_OK;
}

static status launch(struct step_loop *self, const struct batch *batch, struct launched *out)
{
    struct step_seconds *seconds = &out->seconds;
    seconds->tokens = batch->tokens;
    for (int i = 0; i < batch->sequences; i++) {
        seconds->positions += batch->context_length[i];
    }
    out->waited = forward_communication_seconds(self->stage->forward);
    seconds->launched_at = clock_seconds();
    TRY(forward_step(self->stage->forward, batch, &out->logits));
    seconds->launch = clock_seconds() - seconds->launched_at;
    return STATUS_OK;
}

/* The step has been waited for, since `start`. Fails where a peer was lost in it. */
static status end_wait(struct step_loop *self, double start, struct launched *launched)
{
    struct stage *stage = self->stage;
    struct step_seconds *seconds = &launched->seconds;
    TRY(forward_check(stage->forward));
    seconds->communication = forward_communication_seconds(stage->forward) - launched->waited;
    seconds->awaited_at = start;
    seconds->answered_at = clock_seconds();
    seconds->wait += seconds->answered_at - start;
    stage_note_steps(stage, ++self->steps_done);
    return STATUS_OK;
}

/* The step's vectors in float32, [rows, width] in self->hidden. */
static status fetch_hidden(struct step_loop *self, int width, int *rows)
{
    struct stage *stage = self->stage;
    const struct hidden_rows hidden = forward_hidden(stage->forward);
    const size_t count = (size_t)hidden.rows * (size_t)width;
    *rows = hidden.rows;
    if (hidden.dtype == DTYPE_FLOAT32) {
        return stage->backend->operations->download(stage->backend, hidden.values, 0, self->hidden,
                                                    count * sizeof *self->hidden);
    }
    /* Into the upper half, from which they are widened upwards. */
    uint16_t *narrow = (uint16_t *)(void *)(self->hidden + count) - count;
    TRY(stage->backend->operations->download(stage->backend, hidden.values, 0, narrow,
                                             count * sizeof *narrow));
    dtype_widen(hidden.dtype, narrow, count, self->hidden);
    return STATUS_OK;
}

/* The vectors of a row become its answer. Of a step with outputs there are those rows alone, or all
 * where the backend has kept them. */
static status pool_step(struct step_loop *self, struct step_plan *step)
{
    struct stage *stage = self->stage;
    const struct batch *batch = &step->batch;
    const struct model_config *config = model_config(stage->model);
    const size_t width = (size_t)config->hidden, answer = (size_t)config->answer_width;
    int rows, output = 0;
    if (!config->whole_rows && batch->outputs == 0) {
        return stage->backend->operations->synchronize(stage->backend);
    }
    TRY(fetch_hidden(self, config->hidden, &rows));
    for (int s = 0; s < batch->sequences; s++) {
        int first = batch->query_start[s], count = batch->query_start[s + 1] - first;
        if (!config->whole_rows) {
            if (output == batch->outputs ||
                batch->output_rows[output] >= batch->query_start[s + 1]) {
                continue;
            }
            first = rows == batch->outputs ? output : batch->output_rows[output];
            count = 1;
            output++;
        }
        pooler_run(stage->pooler, self->hidden + (size_t)first * width, count,
                   step->embeddings + (size_t)s * answer);
    }
    return STATUS_OK;
}

/* ---- The other ranks ---- */

/* Waits for the device: the batch lies in the message, whose memory the next one takes. */
static status follow_step(struct step_loop *self, const struct buffer *message)
{
    struct backend *backend = self->stage->backend;
    struct batch batch;
    struct launched step = {0};
    TRY(step_unpack(message->data, message->length, &batch, &step.seconds.prefill_tokens));
    TRY(launch(self, &batch, &step));
    const double start = clock_seconds();
    TRY(wait_for_device(self, backend->operations->is_idle));
    TRY(backend->operations->synchronize(backend));
    TRY(end_wait(self, start, &step));
    return note(self, &step.seconds);
}

static status follow_round(struct step_loop *self, struct buffer *message, bool *last)
{
    const int leader = (self->stage->plan->pp - 1) * self->stage->plan->tp;
    bool idle, got;
    MPI_Status info;
    stop_requested(); /* the leader decides; this rank passes on what it was asked */
    TRY(take_turn(self, &idle));
    TRY(message_poll(self->replica, leader, TAG_STEP, message, &info, &got));
    *last = got && message->length == 0;
    if (got && !*last) {
        TRY(follow_step(self, message));
    }
    pause_if_idle(self, idle && !got);
    return STATUS_OK;
}

static status follow(struct step_loop *self)
{
    struct buffer message = {0};
    status s = STATUS_OK;
    for (bool last = false; s == STATUS_OK && !last;) {
        s = follow_round(self, &message, &last);
    }
    buffer_destroy(&message);
    return s;
}

/* ---- The leader ---- */

static status supply(struct step_loop *self, bool *got)
{
    enum supply supply = SUPPLY_NOTHING;
    if (!self->ended && !self->stopping) {
        TRY(self->hooks.supply(self->hooks.context, &supply));
    }
    if (supply == SUPPLY_END) {
        self->ended = true;
        engine_end_supply(self->engine);
    }
    self->stopping = self->stopping || supply == SUPPLY_STOP;
    *got = supply != SUPPLY_NOTHING;
    return STATUS_OK;
}

/* The next step onto the queue, where one can be planned now. */
static status plan_step(struct step_loop *self, bool *planned)
{
    struct step_plan *step;
    const double start = clock_seconds();
    TRY(engine_plan_step(self->engine, &step));
    *planned = step != NULL;
    if (step == NULL) {
        return STATUS_OK;
    }
    TRY(step_queue_add(&self->steps, step));
    self->planning += clock_seconds() - start;
    return STATUS_OK;
}

static status plan_steps(struct step_loop *self)
{
    bool planned = true;
    while (planned && self->steps.count < self->steps.most && !self->stopping) {
        TRY(plan_step(self, &planned));
    }
    return STATUS_OK;
}

/* The oldest step that the device does not have yet. */
static status launch_next(struct step_loop *self)
{
    struct step_plan *step = self->steps.steps[self->launched_count];
    struct launched *launched = &self->launched[self->launched_count];
    *launched = (struct launched){
        .seconds = {.prefill_tokens = step->prefill_tokens, .plan = self->planning}};
    self->planning = 0;
    TRY(step_queue_deliver(&self->steps));
    TRY(launch(self, &step->batch, launched));
    self->launched_count++;
    return STATUS_OK;
}

/* Behind the oldest step on the device goes what answers it. The one before has been completed, so
 * that it is known what is to be asked. */
static status ask(struct step_loop *self)
{
    struct backend *backend = self->stage->backend;
    struct step_plan *step = self->steps.steps[0];
    const double start = clock_seconds();
    if (step->embeddings != NULL) {
        return STATUS_OK;
    }
    TRY(engine_await_requests(self->engine, step));
    TRY(backend->operations->sample_begin(backend, self->launched[0].logits, step->batch.outputs,
                                          model_config(self->stage->model)->vocabulary,
                                          step->requests));
    self->launched[0].seconds.wait += clock_seconds() - start;
    return STATUS_OK;
}

/* Waits for the oldest step's answer. */
static status await_answer(struct step_loop *self)
{
    struct stage *stage = self->stage;
    const struct backend_operations *operations = stage->backend->operations;
    struct step_plan *step = self->steps.steps[0];
    const double start = clock_seconds();
    if (step->embeddings != NULL) {
        TRY(wait_for_device(self, operations->is_idle));
        TRY(pool_step(self, step));
    } else {
        TRY(wait_for_device(self, operations->sample_is_done));
        TRY(operations->sample_end(stage->backend, self->results, &self->launched[0].seconds.gap));
    }
    return end_wait(self, start, &self->launched[0]);
}

/* The step behind the oldest one, which the device is at: it has it before that is done. */
static status launch_ahead(struct step_loop *self)
{
    bool planned = false;
    if (self->steps.plans_ahead && !self->stopping) {
        TRY(plan_step(self, &planned));
    }
    return planned ? launch_next(self) : STATUS_OK;
}

/* The oldest step's results go into the engine. Then the next one is the oldest: where the device
 * is at it already, what answers it comes before all else. */
static status complete_oldest(struct step_loop *self, struct step_seconds *seconds)
{
    if (self->hooks.answer != NULL) {
        self->hooks.answer(self->hooks.context, self->steps.steps[0], self->results);
    }
    TRY(engine_complete_step(self->engine, self->steps.steps[0], self->results));
    *seconds = self->launched[0].seconds;
    seconds->complete = clock_seconds() - seconds->answered_at;
    step_queue_remove(&self->steps);
    self->launched[0] = self->launched[1];
    TRY(--self->launched_count > 0 ? ask(self) : STATUS_OK);
    const double start = clock_seconds();
    TRY(self->hooks.collect(self->hooks.context));
    seconds->complete += clock_seconds() - start;
    return STATUS_OK;
}

static status run_oldest_step(struct step_loop *self)
{
    const double begin = clock_seconds();
    if (self->launched_count == 0) {
        TRY(launch_next(self));
        TRY(ask(self));
    }
    TRY(launch_ahead(self));
    TRY(await_answer(self));
    struct step_seconds seconds;
    TRY(complete_oldest(self, &seconds));
    const double end = clock_seconds();
    seconds.whole = end - fmax(self->last_end, fmin(begin, seconds.launched_at - seconds.plan));
    self->last_end = end;
    return note(self, &seconds);
}

static status lead_round(struct step_loop *self)
{
    bool idle, got;
    TRY(take_turn(self, &idle));
    TRY(supply(self, &got));
    TRY(plan_steps(self));
    bool ran = self->steps.count > 0;
    if (ran) {
        TRY(run_oldest_step(self));
    }
    if (self->hooks.publish != NULL) {
        TRY(self->hooks.publish(self->hooks.context, ran));
    }
    pause_if_idle(self, idle && !got && !ran);
    /* A stop must be noticed also while there is work enough not to ask for more. */
    self->stopping = self->stopping || stop_requested();
    return STATUS_OK;
}

static bool is_finished(const struct step_loop *self)
{
    bool empty = self->ended && engine_unfinished(self->engine) == 0;
    return self->steps.count == 0 && (self->stopping || empty);
}

/* The others may still be at their last step, and this rank be needed for its turns. */
static status end_steps(struct step_loop *self)
{
    TRY(step_queue_end(&self->steps));
    while (step_queue_is_sending(&self->steps)) {
        bool idle;
        TRY(take_turn(self, &idle));
        TRY(step_queue_poll(&self->steps));
        sched_yield();
    }
    return STATUS_OK;
}

static status lead(struct step_loop *self)
{
    const struct plan *plan = self->stage->plan;
    const struct model_config *config = model_config(self->stage->model);
    self->steps =
        (struct step_queue){.replica = self->replica,
                            .most = plan->pp < MAX_STEPS_IN_FLIGHT ? plan->pp : MAX_STEPS_IN_FLIGHT,
                            .plans_ahead = plan->plans_ahead,
                            .kv_block_tokens = plan->kv_block_tokens};
    self->results = calloc((size_t)plan->max_sequences, sizeof *self->results);
    const bool pools = config->pools;
    if (pools) {
        self->hidden =
            calloc((size_t)plan->max_batch_tokens * (size_t)config->hidden, sizeof *self->hidden);
    }
    if (self->results == NULL || (self->hidden == NULL && pools)) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a replica's leader");
    }
    while (!is_finished(self)) {
        TRY(lead_round(self));
    }
    return end_steps(self);
}

status step_loop_run(const struct step_loop_options *options)
{
    struct step_loop self = {.stage = options->stage,
                             .replica = options->replica,
                             .engine = options->engine,
                             .hooks = options->hooks};
    status s = stage_is_leader(options->stage) ? lead(&self) : follow(&self);
    step_queue_destroy(&self.steps);
    free(self.results);
    free(self.hidden);
    return s;
}
