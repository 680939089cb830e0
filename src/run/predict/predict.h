/* SPDX-License-Identifier: Apache-2.0 */
/* How long a job will take: a sample of its rows through the real scheduler, with steps that cost
 * what they have cost on this device. */
#ifndef SLUICE_RUN_PREDICT_H
#define SLUICE_RUN_PREDICT_H

#include <stdatomic.h>

#include "run/predict/step_cost.h"
#include "run/prompt.h"
#include "sluice/engine.h"

/* Rows of the sample. Zero-initialise. */
struct predict_sample {
    struct predict_row *rows;
    size_t count, capacity;
};
/* Adds a row of `samples` answers of `output` tokens each; the tokens are copied. */
status predict_add(struct predict_sample *self, const int32_t *tokens, size_t count, int output,
                   int samples) MUST_CHECK;
/* Adds a row of a job, whose prompt was the last one encoded: its answers run to their limit.
 * Nothing for a row that is pooled. */
status predict_add_row(struct predict_sample *self, const struct row *row,
                       const struct prompt_encoder *encoder, int max_model_len) MUST_CHECK;
void predict_destroy(struct predict_sample *self);

struct prediction {
    double sample_rows;      /* what is here is of so many, of which some may be played again */
    double sample_seconds;   /* that they take */
    double row_seconds;      /* that each further one takes */
    double output_tokens;    /* of a row's answers, at most */
    double decodes;          /* sequences a step on average */
    double cache_use;        /* share of its blocks on average */
    double computed;         /* tokens computed of each that the rows have; below 1 where prompts
                                share beginnings */
    struct step_bound bound; /* what takes the time */
};

/* Of rows that are like the sample's, on an engine with these options, which is to run `rows` of
 * them (-1: not known). Changes the sample's first tokens, where it plays rows more than once.
 * STATUS_INVALID where there is no row, or the engine refuses one; STATUS_STOPPED where *cancelled,
 * which may be NULL, has become true. */
status predict_job(const struct predict_sample *sample, const struct engine_options *engine,
                   const struct step_cost *cost, int64_t rows, const atomic_bool *cancelled,
                   struct prediction *out) MUST_CHECK;
/* Seconds of `rows` such rows on so many replicas of the engine. */
double prediction_seconds(const struct prediction *self, int64_t rows, int replicas);

#endif
