/* One rank without MPI: a model, ready to run steps in this process. What `sluice logits` and
 * `sluice bench` stand on. */
#ifndef SLUICE_LOCAL_RUNNER_H
#define SLUICE_LOCAL_RUNNER_H

#include "sluice/job.h"

struct local_runner;

/* Opens the job's model (a directory, a .gguf file or, with random_weights, also a config.json
 * alone), plans for one rank and loads. The job is borrowed for the runner's life; its data and
 * output are not looked at. `random_weights`: no weights are read. The caller destroys *out. */
status local_runner_create(const struct job *job, bool random_weights,
                           struct local_runner **out) MUST_CHECK;
void local_runner_destroy(struct local_runner *runner);
const struct plan *local_runner_plan(const struct local_runner *runner);
const struct model *local_runner_model(const struct local_runner *runner);
const char *local_runner_device(const struct local_runner *runner);
double local_runner_load_seconds(const struct local_runner *runner);

/* Logits of one sequence, in chunks: calls `visit` with rows [first, first + count) of float32
 * logits [count, vocabulary], in order. STATUS_INVALID for no ids, ids outside of the vocabulary or
 * more than max_model_len of them. */
typedef status (*logits_visitor)(void *context, int64_t first, int64_t count, const float *logits);
status local_runner_logits(struct local_runner *runner, const int32_t *ids, size_t count,
                           logits_visitor visit, void *context) MUST_CHECK;

/* What the steps of one kind came to. */
struct step_totals {
    int64_t steps, tokens; /* tokens that went through the model */
    double seconds;
};
struct local_runner_totals {
    struct step_totals prefill; /* steps that had prompt tokens among theirs */
    struct step_totals decode;  /* steps of generated tokens alone */
    double plan_seconds, forward_seconds, sample_seconds, complete_seconds; /* by part of a step */
    int64_t samples, prompt_tokens, output_tokens; /* of finished samples */
    double seconds;                                /* of the whole call */
};

/* Generates from synthetic prompts of fixed length: `requests` prompts of `prompt_tokens` ids that
 * follow from their index, `new_tokens` tokens each, greedily, with nothing that could stop early.
 * All of them are queued at the start. */
status local_runner_generate(struct local_runner *runner, int requests, int prompt_tokens,
                             int new_tokens, struct local_runner_totals *totals) MUST_CHECK;

#endif
