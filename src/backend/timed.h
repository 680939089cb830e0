/* SPDX-License-Identifier: Apache-2.0 */
/* A backend that times another one: every operation of a step is waited for and its seconds are
 * kept by operation. For profiles of a few steps; nothing runs ahead, so steps take longer. */
#ifndef SLUICE_BACKEND_TIMED_H
#define SLUICE_BACKEND_TIMED_H

#include "sluice/backend.h"

enum timed_operation {
    TIMED_STEP_BEGIN,
    TIMED_EMBED,
    TIMED_NORM,
    TIMED_ADD_NORM,
    TIMED_PRODUCT,
    TIMED_PRODUCT_SLICED,
    TIMED_ROPE_APPEND,
    TIMED_ATTENTION,
    TIMED_KEEP_OUTPUTS,
    TIMED_ACTIVATE,
    TIMED_EXPERTS,
    TIMED_LOGITS,
    TIMED_SAMPLE,
    TIMED_OPERATIONS
};

/* Wraps `inner` (borrowed): objects of either are the other's too. What is no operation of a step
 * passes straight through. Ends with its operations->destroy, which leaves `inner` alone. */
status timed_backend_create(struct backend *inner, struct backend **out) MUST_CHECK;
/* Seconds of each operation since the last reset. */
const double *timed_backend_seconds(const struct backend *timed);
void timed_backend_reset(struct backend *timed);

#endif
