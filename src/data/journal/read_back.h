/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a journal read back in order, wherever in the file they stand. */
#ifndef SLUICE_DATA_JOURNAL_READ_BACK_H
#define SLUICE_DATA_JOURNAL_READ_BACK_H

#include "sluice/data.h"

/* Rows are read together until they are this many bytes, or rows. Tests make both small. */
struct read_back_limits {
    int64_t bytes;
    size_t rows;
};
extern struct read_back_limits read_back_limits;

/* A journal's file as the process that appends to it knows it. */
struct journal_file {
    int fd;
    int64_t end;      /* bytes of whole entries */
    const char *path; /* for messages */
};

/* Zero-initialise; keeps memory from call to call, twice the limit at most and the largest
 * entry. */
struct read_back {
    struct buffer bytes;
    struct read_order *order; /* [capacity] */
    struct read_run *runs;    /* [capacity] */
    size_t *at;               /* [capacity]: where each row's entry stands in `bytes` */
    size_t capacity;
    struct arena arena;
    int threads; /* that read; 0: as many as OpenMP takes */
};

/* Calls `visit` for every result of `count` rows in the order of `places`. The file is read once
 * from front to back: at most twice the bytes of these entries. STATUS_INVALID with the offset for
 * an entry that is not what was written there. */
status read_back_visit(struct read_back *self, const struct journal_file *file,
                       const struct journal_place *places, size_t count, result_visitor visit,
                       void *context) MUST_CHECK;
void read_back_destroy(struct read_back *self);

#endif
