/* SPDX-License-Identifier: Apache-2.0 */
/* The time that each operation of a step takes: while a backend is watched, its table of operations
 * is one whose step operations are waited for, and their seconds are kept. For profiles of a few
 * steps; nothing runs ahead, so steps take longer. */
#ifndef SLUICE_OPERATION_TIMES_H
#define SLUICE_OPERATION_TIMES_H

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

struct operation_times;

/* Takes the place of the backend's table of operations until operation_times_end. Whoever keeps the
 * table (a forward pass does) begins after this and ends before. One at a time for a backend. */
status operation_times_begin(struct backend *backend, struct operation_times **out) MUST_CHECK;
/* The backend has its own table again. NULL: nothing happens. */
void operation_times_end(struct operation_times *times);
/* From now on `note` is called at the end of each operation, with clock_seconds() of its start and
 * end; NULL: nobody is. */
typedef void operation_note(void *context, enum timed_operation operation, double start,
                            double end);
void operation_times_note(struct operation_times *times, operation_note *note, void *context);
/* "product", "add norm". */
extern const char *const timed_operation_names[TIMED_OPERATIONS];

/* Seconds of each operation, [TIMED_OPERATIONS], since the last reset. */
const double *operation_times_seconds(const struct operation_times *times);
void operation_times_reset(struct operation_times *times);

#endif
