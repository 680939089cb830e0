/* SPDX-License-Identifier: Apache-2.0 */
/* A job's data set: its files, and how they are read. */
#ifndef SLUICE_RUN_DATA_SET_H
#define SLUICE_RUN_DATA_SET_H

#include "sluice/inputs.h"
#include "sluice/job.h"

/* The files: those that the job began with, unless it starts afresh. End with input_files_destroy.
 */
status data_set_find(const struct job *job, bool fresh, struct input_files *files) MUST_CHECK;

/* STATUS_REFUSED where the job's task, as the model has decided it, cannot do what data.system asks
 * for. */
status data_set_check_system(const struct job *job) MUST_CHECK;

/* Borrows the job and the files. */
struct record_reader_options data_set_options(const struct job *job,
                                              const struct input_files *files);

#endif
