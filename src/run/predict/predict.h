/* SPDX-License-Identifier: Apache-2.0 */
/* How long a job will take: a sample of its rows through the real scheduler, with steps that cost
 * what they have cost on this device. */
#ifndef SLUICE_RUN_PREDICT_H
#define SLUICE_RUN_PREDICT_H

#include "run/predict/step_cost.h"
#include "sluice/engine.h"

/* Rows of the sample. Zero-initialise. */
struct predict_sample {
    struct predict_row *rows;
    size_t count, capacity;
};
/* Adds a row of `samples` answers of `output` tokens each; the tokens are copied. */
status predict_add(struct predict_sample *self, const int32_t *tokens, size_t count, int output,
                   int samples) MUST_CHECK;
void predict_destroy(struct predict_sample *self);

struct prediction {
    double seconds;             /* of all rows */
    double decodes;             /* sequences a step on average */
    double cache_use;           /* share of its blocks on average */
    double computed;            /* tokens computed of each that the rows have; below 1 where prompts
                                   share beginnings */
    double row, position, rest; /* shares of the time */
};

/* Of `rows` rows that are like the sample's, on `replicas` replicas of such an engine.
 * STATUS_INVALID where the sample is empty, or the engine refuses a row of it. */
status predict_job(const struct predict_sample *sample, const struct engine_options *engine,
                   const struct step_cost *cost, int64_t rows, int replicas,
                   struct prediction *out) MUST_CHECK;

#endif
