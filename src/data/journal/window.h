/* SPDX-License-Identifier: Apache-2.0 */
/* Reads of a journal that is nearly in order: a few windows on the file, the oldest used again. */
#ifndef SLUICE_DATA_JOURNAL_WINDOW_H
#define SLUICE_DATA_JOURNAL_WINDOW_H

#include "sluice/base.h"

/* Several replicas finish rows at once, so that going by row number jumps between as many places.
 */
enum { JOURNAL_WINDOWS = 64, JOURNAL_WINDOW_BYTES = 64 * 1024 };

struct journal_window {
    int64_t offset;
    struct buffer bytes;
    uint64_t used; /* tick of the latest use */
};

/* Zero-initialise; holds at most 4 MiB and the largest entry. */
struct journal_windows {
    struct journal_window windows[JOURNAL_WINDOWS];
    struct buffer large; /* of a read larger than a window */
    uint64_t tick;
};

/* The bytes [offset, offset + length) of the file, which ends at `end`; valid until the next call.
 */
status journal_windows_get(struct journal_windows *windows, int fd, int64_t end, int64_t offset,
                           size_t length, const char **out) MUST_CHECK;
void journal_windows_destroy(struct journal_windows *windows);

#endif
