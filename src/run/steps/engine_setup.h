/* SPDX-License-Identifier: Apache-2.0 */
/* What an engine is made for: the one place that says it, for jobs, for `sluice bench`, and for
 * `check`, which so refuses the rows that the engine refuses. */
#ifndef SLUICE_RUN_STEPS_ENGINE_SETUP_H
#define SLUICE_RUN_STEPS_ENGINE_SETUP_H

#include "sluice/engine.h"
#include "sluice/job.h"

/* The options of every replica's engine. They borrow from the model. */
struct engine_options engine_setup(const struct job *job, const struct model *model,
                                   const struct plan *plan);

#endif
