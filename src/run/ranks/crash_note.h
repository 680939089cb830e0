/* SPDX-License-Identifier: Apache-2.0 */
/* A rank that dies of a signal of its own says so, in a file that the next start reads. */
#ifndef SLUICE_RUN_CRASH_NOTE_H
#define SLUICE_RUN_CRASH_NOTE_H

#include "sluice/base.h"

/* From here on a signal that means a fault of this process (SIGSEGV, SIGABRT, …) leaves a note in
 * the journal's folder, where this rank can reach it; then it takes its usual way. */
status crash_note_start(const char *journal_directory, int rank, int replica) MUST_CHECK;
void crash_note_end(void);

#endif
