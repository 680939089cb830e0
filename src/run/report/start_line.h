/* SPDX-License-Identifier: Apache-2.0 */
/* One line at a job's start: what runs, on what, over what. */
#ifndef SLUICE_RUN_START_LINE_H
#define SLUICE_RUN_START_LINE_H

#include "sluice/job.h"

/* `rows` of the data set, -1 where that is not known before it is read. Collective over all ranks;
 * rank 0 logs. */
status start_line_log(const struct job *job, const struct model *model, const struct plan *plan,
                      int64_t rows) MUST_CHECK;

#endif
