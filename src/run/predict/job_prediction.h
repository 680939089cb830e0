/* SPDX-License-Identifier: Apache-2.0 */
/* A running job's prediction, made beside the loading of weights from its first rows: so that its
 * end can say what was expected. */
#ifndef SLUICE_RUN_JOB_PREDICTION_H
#define SLUICE_RUN_JOB_PREDICTION_H

#include "run/predict/predict.h"
#include "sluice/inputs.h"
#include "sluice/run.h"

struct job_prediction_options {
    const struct job *job; /* resolved; borrowed, as all here, until job_prediction_end */
    const struct input_files *files;
    const struct model *model;
    const struct plan *plan;
    int64_t now;  /* for templates, Unix seconds */
    int64_t rows; /* that this start runs at most; -1: not known */
};

struct job_prediction;

/* Starts a thread where steps of this model on such a device have been measured; *out is NULL where
 * they have not, where the model is an encoder, and where two threads must not read such files. It
 * looks at no more than the first 1,000 rows, of a million tokens together. */
status job_prediction_start(const struct job_prediction_options *options,
                            struct job_prediction **out) MUST_CHECK;
/* Whether job_prediction_take will not wait. */
bool job_prediction_is_ready(const struct job_prediction *self);
/* Waits for the thread; false where it came to nothing. `self` may be NULL. */
bool job_prediction_take(struct job_prediction *self, struct prediction *out);
/* What was expected of so many rows, into the summary, and nothing where that is not known. */
void job_prediction_summarise(struct job_prediction *self, int64_t rows,
                              struct run_summary *summary);
/* Ends the thread, wherever it is. */
void job_prediction_end(struct job_prediction *self);

#endif
