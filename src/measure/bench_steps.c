/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of a replica without a coordinator: as a job runs them, with the times kept. */
#include "measure/bench_steps.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "run/ranks/mailbox.h"
#include "run/ranks/stop_request.h"
#include "run/ranks/wire.h"
#include "run/ranks/world.h"
#include "run/step_queue.h"
#include "sluice/engine.h"

bool bench_is_leader(const struct stage *stage)
{
    return stage->partition.tp_rank == 0 && stage->partition.pp_rank + 1 == stage->partition.pp;
}

void bench_times_destroy(struct bench_times *times)
{
    step_times_destroy(&times->prefill);
    step_times_destroy(&times->decode);
    *times = (struct bench_times){0};
}

/* ---- The leader ---- */

struct leader {
    struct stage *stage;
    MPI_Comm replica;
    struct engine *engine;
    struct bench_times *times;
    struct sample_result *results;
    struct step_queue steps;
    struct outbox outbox;
    int64_t steps_done;
    double last_end;
};

static status queue_prompts(struct leader *self, const struct bench_load *load)
{
    int vocabulary = model_config(self->stage->model)->vocabulary;
    struct generate_params params;
    generate_params_defaults(&params);
    params.temperature = 0;
    params.max_new_tokens = load->new_tokens;
    params.ignore_eos = true;
    int32_t *prompt = calloc((size_t)load->prompt_tokens, sizeof *prompt);
    if (prompt == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a prompt");
    }
    status s = STATUS_OK;
    for (int i = 0; s == STATUS_OK && i < load->requests; i++) {
        int64_t row = load->first_row + i;
        for (int j = 0; j < load->prompt_tokens; j++) {
            int64_t key[2] = {row, j};
            prompt[j] = (int32_t)(hash_bytes(key, sizeof key, 0) % (uint64_t)vocabulary);
        }
        params.stream = (uint64_t)row;
        s = engine_add(self->engine, row, prompt, (size_t)load->prompt_tokens, &params, vocabulary,
                       NULL);
    }
    free(prompt);
    return s;
}

static status plan_steps(struct leader *self)
{
    double start = clock_seconds();
    while (self->steps.count < self->steps.most) {
        struct step_plan *step;
        TRY(engine_plan_step(self->engine, &step));
        if (step == NULL) {
            break;
        }
        TRY(step_queue_add(&self->steps, step));
    }
    self->times->plan += clock_seconds() - start;
    return self->steps.count > 0
               ? STATUS_OK
               : status_fail(STATUS_INTERNAL, "the engine has rows and no step for them");
}

static status take_finished(struct leader *self)
{
    struct finished_sample *sample;
    while ((sample = engine_next_finished(self->engine)) != NULL) {
        status s =
            sample->error != NULL ? status_fail(STATUS_INTERNAL, "%s", sample->error) : STATUS_OK;
        self->times->prompt_tokens += sample->prompt_tokens;
        self->times->output_tokens += sample->completion_tokens;
        engine_release(self->engine, sample);
        TRY(s);
    }
    return STATUS_OK;
}

static status run_oldest_step(struct leader *self)
{
    struct backend *backend = self->stage->backend;
    struct step_plan *step = self->steps.steps[0];
    struct step_times *kind =
        step->prefill_tokens > 0 ? &self->times->prefill : &self->times->decode;
    int tokens = step->batch.tokens;
    TRY(step_queue_deliver(&self->steps));
    double start = clock_seconds();
    struct device_buffer *logits;
    TRY(forward_step(self->stage->forward, &step->batch, &logits));
    double launched = clock_seconds();
    while (step_queue_is_sending(&self->steps) && !backend->operations->is_idle(backend)) {
        TRY(step_queue_poll(&self->steps));
        sched_yield();
    }
    if (step->batch.outputs > 0) {
        TRY(backend->operations->sample(backend, logits, step->batch.outputs,
                                        model_config(self->stage->model)->vocabulary,
                                        step->requests, self->results));
    } else {
        TRY(backend->operations->synchronize(backend));
    }
    TRY(forward_check(self->stage->forward));
    stage_note_steps(self->stage, ++self->steps_done);
    double sampled = clock_seconds();
    TRY(engine_complete_step(self->engine, step, self->results));
    step_queue_remove(&self->steps);
    TRY(take_finished(self));
    double end = clock_seconds();
    self->times->launch += launched - start;
    self->times->wait += sampled - launched;
    self->times->complete += end - sampled;
    TRY(step_times_add(kind, end - self->last_end, tokens));
    self->last_end = end;
    return STATUS_OK;
}

static status lead(struct leader *self, const struct bench_load *load)
{
    TRY(queue_prompts(self, load));
    self->last_end = clock_seconds();
    while (engine_unfinished(self->engine) > 0) {
        if (stop_requested()) {
            return status_fail(STATUS_STOPPED, "stopped");
        }
        TRY(plan_steps(self));
        TRY(run_oldest_step(self));
    }
    TRY(step_queue_end(&self->steps, &self->outbox));
    return outbox_flush(&self->outbox);
}

static status leader_run(struct stage *stage, MPI_Comm replica, const struct bench_load *load,
                         struct bench_times *times)
{
    const struct plan *plan = stage->plan;
    const struct model_config *config = model_config(stage->model);
    struct leader leader = {.stage = stage, .replica = replica, .times = times};
    struct engine_options options = {
        .max_sequences = plan->max_sequences,
        .max_batch_tokens = plan->max_batch_tokens,
        .kv_blocks = plan->kv_blocks,
        .kv_block_tokens = plan->kv_block_tokens,
        .max_model_len = plan->max_model_len,
        .steps_in_flight = plan->pp,
        .prefix_cache = false, /* every prompt is computed, also when repeated */
        .long_rope_threshold =
            config->rope.kind == ROPE_LONGROPE ? config->rope.original_max_positions : 0,
    };
    TRY(engine_create(&options, &leader.engine));
    leader.results = calloc((size_t)plan->max_sequences, sizeof *leader.results);
    leader.steps =
        (struct step_queue){.replica = replica,
                            .most = plan->pp < MAX_STEPS_IN_FLIGHT ? plan->pp : MAX_STEPS_IN_FLIGHT,
                            .kv_block_tokens = plan->kv_block_tokens};
    status s = leader.results != NULL ? lead(&leader, load)
                                      : status_fail(STATUS_NO_MEMORY, "out of memory for samples");
    struct engine_counters counters = engine_counters(leader.engine);
    times->preemptions = counters.preemptions;
    times->kv_peak_blocks = counters.peak_blocks_used;
    outbox_destroy(&leader.outbox);
    step_queue_destroy(&leader.steps);
    free(leader.results);
    engine_destroy(leader.engine);
    return s;
}

/* ---- Followers ---- */

/* Waits for the device: the batch lies in the message, whose memory the next one takes. */
static status follow_step(struct stage *stage, const struct buffer *message)
{
    struct batch batch;
    int prefill_tokens;
    struct device_buffer *logits;
    TRY(step_unpack(message->data, message->length, &batch, &prefill_tokens));
    TRY(forward_step(stage->forward, &batch, &logits));
    TRY(stage->backend->operations->synchronize(stage->backend));
    return forward_check(stage->forward);
}

static status follow(struct stage *stage, MPI_Comm replica)
{
    int leader = (stage->plan->pp - 1) * stage->plan->tp, idle_rounds = 0;
    int64_t steps = 0;
    struct buffer message = {0};
    status s = STATUS_OK;
    for (bool last = false; s == STATUS_OK && !last;) {
        bool got = false;
        MPI_Status info;
        s = message_poll(replica, leader, TAG_STEP, &message, &info, &got);
        if (s == STATUS_OK && !got) {
            world_pause(idle_rounds++);
            continue;
        }
        idle_rounds = 0;
        last = message.length == 0;
        if (s == STATUS_OK && !last) {
            s = follow_step(stage, &message);
            stage_note_steps(stage, ++steps);
        }
    }
    buffer_destroy(&message);
    return s;
}

status bench_generate(struct stage *stage, MPI_Comm replica, const struct bench_load *load,
                      struct bench_times *times)
{
    *times = (struct bench_times){0};
    double start = clock_seconds();
    double waited = forward_communication_seconds(stage->forward);
    TRY(bench_is_leader(stage) ? leader_run(stage, replica, load, times) : follow(stage, replica));
    times->seconds = clock_seconds() - start;
    times->communication = forward_communication_seconds(stage->forward) - waited;
    return STATUS_OK;
}
