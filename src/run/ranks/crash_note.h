/* SPDX-License-Identifier: Apache-2.0 */
/* A rank that dies of a signal of its own says so, in a file that the next start reads; and one
 * that is ended by others, so that its rows are not blamed. */
#ifndef SLUICE_RUN_CRASH_NOTE_H
#define SLUICE_RUN_CRASH_NOTE_H

#include "sluice/base.h"

/* From here on a signal that means a fault of this process (SIGSEGV, SIGABRT, …) leaves a note in
 * the journal's folder, where this rank can reach it; then it takes its usual way. */
status crash_note_start(const char *journal_directory, int rank, int ranks, int replica) MUST_CHECK;
/* This rank was asked to end (by a batch system, by a person), and may be killed before it has. No
 * row is to blame where all ranks were asked: one that a row has killed before cannot say so. May
 * be called by a signal handler; does nothing before crash_note_start. */
void crash_note_asked(void);
/* The job ends since a host is gone: no row is to blame, whatever other ranks can still say. */
void crash_note_host_lost(void);
void crash_note_end(void);

#endif
