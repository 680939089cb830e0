/* SPDX-License-Identifier: Apache-2.0 */
/* One writer a journal: a lock file that names its holder. */
#ifndef SLUICE_DATA_JOURNAL_LOCK_H
#define SLUICE_DATA_JOURNAL_LOCK_H

#include "sluice/base.h"

struct journal_lock;

/* A holder changes its file every so often; one that another machine sees unchanged for the lease
 * is taken for dead. Tests shorten both. */
struct journal_lock_times {
    double beat_seconds, lease_seconds;
};
extern struct journal_lock_times journal_lock_times;

/* Takes the lock file at `path`. STATUS_EXISTS names the holder. A lock is taken over when its
 * holder is known to be dead: a process of this machine that is gone, an earlier start of this same
 * Slurm job, or one that shows no sign of life for as long as the lease, which this call waits for.
 * The caller releases *out. */
status journal_lock_take(const char *path, struct journal_lock **out) MUST_CHECK;
/* Whether another process holds it, without taking it or waiting: STATUS_EXISTS names the holder,
 * as journal_lock_take would. *unsure is true where the holder is on another machine, so that only
 * waiting for a sign of life could tell. */
status journal_lock_look(const char *path, bool *unsure) MUST_CHECK;
/* Before a write: STATUS_EXISTS where the lock was taken over, as after a long suspension. */
status journal_lock_check(struct journal_lock *lock) MUST_CHECK;
/* Removes the file, if it is still this holder's. NULL is ignored. */
void journal_lock_release(struct journal_lock *lock);

#endif
