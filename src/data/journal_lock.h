/* One writer a journal: a lock file that names its holder. */
#ifndef SLUICE_DATA_JOURNAL_LOCK_H
#define SLUICE_DATA_JOURNAL_LOCK_H

#include "sluice/base.h"

/* Takes the lock file at `path`; *fd stays open while it is held. STATUS_EXISTS names the holder.
 * A lock is taken over when its holder is known to be dead: a process of this host that is gone, or
 * an earlier start of this same Slurm job. */
status journal_lock_take(const char *path, int *fd) MUST_CHECK;
/* Removes the file and closes it. */
void journal_lock_release(const char *path, int fd);

#endif
