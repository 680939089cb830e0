/* SPDX-License-Identifier: Apache-2.0 */
/* Being asked to stop: by a signal to any rank, and known to all of them soon after. */
#ifndef SLUICE_RUN_STOP_REQUEST_H
#define SLUICE_RUN_STOP_REQUEST_H

#include "sluice/base.h"

/* Catches SIGTERM, SIGINT, SIGUSR1, SIGHUP and SIGXCPU and lets long loops notice
 * (interrupt_check); SIGUSR2 stops nothing, see snapshot_requested. After MPI has started and
 * world_get() is filled. Collective. */
status stop_start(void) MUST_CHECK;
/* The job's outcome is decided: the deadline below counts no more. */
void stop_end(void);

/* Whether any rank was asked to stop. Takes and passes on the news: to be called every now and then
 * by every rank, by the thread that makes MPI calls. From then on the process has STOP_SECONDS to
 * end; what is still running then (a system call that hangs, a step of many seconds) is left where
 * it is, with exit status 75: the journal is good at any moment. */
bool stop_requested(void);
enum { STOP_SECONDS = 17 };

/* Whether this process has had a SIGUSR2 since it was asked last: how the job stands is wanted in
 * the log. Rank 0 is the one to ask; on others the signal does nothing. */
bool snapshot_requested(void);

/* The same for what is nearly done, the writing of the output: it may go on for FINISH_SECONDS. */
bool stop_overdue(void);
enum { FINISH_SECONDS = 8 };

#endif
