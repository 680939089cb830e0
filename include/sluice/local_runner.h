/* SPDX-License-Identifier: Apache-2.0 */
/* One rank without MPI: a model, ready to run steps in this process. What `sluice logits`
 * stands on. */
#ifndef SLUICE_LOCAL_RUNNER_H
#define SLUICE_LOCAL_RUNNER_H

#include "sluice/job.h"

struct local_runner;

/* Opens the job's model (a directory or a .gguf file), plans for one rank and loads. The job is
 * borrowed for the runner's life; its data and output are not looked at. The caller destroys *out.
 */
status local_runner_create(const struct job *job, struct local_runner **out) MUST_CHECK;
void local_runner_destroy(struct local_runner *runner);
const struct plan *local_runner_plan(const struct local_runner *runner);
const struct model *local_runner_model(const struct local_runner *runner);

/* Logits of one sequence, in chunks: calls `visit` with rows [first, first + count) of float32
 * logits [count, vocabulary], in order. STATUS_INVALID for no ids, ids outside of the vocabulary or
 * more than max_model_len of them. */
typedef status (*logits_visitor)(void *context, int64_t first, int64_t count, const float *logits);
status local_runner_logits(struct local_runner *runner, const int32_t *ids, size_t count,
                           logits_visitor visit, void *context) MUST_CHECK;

#endif
