/* SPDX-License-Identifier: Apache-2.0 */
/* The order in which rank 0 hands rows out.
 *
 * Nobody reads the order in which rows end: a job's output stands in input order. So rows are
 * handed out in whatever order costs least: what begins alike together, so that a replica computes
 * the beginning once; long ones early, so that none is left when all else is done. A scan runs
 * ahead into a batch of bounded size, and order holds within a batch: first by a thread while the
 * weights are loaded, then while the rows before run. Nobody waits for it. */
#ifndef SLUICE_RUN_ROW_ORDER_H
#define SLUICE_RUN_ROW_ORDER_H

#include "sluice/data.h"

struct row_order;

struct row_order_options {
    struct record_reader *reader; /* borrowed, like the next two */
    const char *directory;        /* for a file of what memory is not to hold */
    const char *prompt_field;     /* the job's, or NULL */
    int max_new_tokens;           /* the job's */
    bool as_read;                 /* nothing is read ahead */
};
status row_order_create(const struct row_order_options *options, struct row_order **out) MUST_CHECK;
void row_order_destroy(struct row_order *self);

/* Reads ahead on a thread until the batch is full, or until the next call of any function here,
 * which ends the thread; till then the reader is the thread's. Where there can be no thread nothing
 * is read. */
void row_order_begin(struct row_order *self);
/* Whether that thread is still reading. */
bool row_order_is_reading(const struct row_order *self);

/* Reads one record ahead; *more is false where there is nothing to read now. Where the data cannot
 * be read on, row_order_next says so, after the rows before. */
status row_order_read(struct row_order *self, bool *more) MUST_CHECK;
/* The next record to hand out, its bytes the caller's; *more is false at the end of the data. */
status row_order_next(struct row_order *self, struct record *record, bool *more) MUST_CHECK;
/* Records not handed out yet, where all have been read; -1: not known yet. */
int64_t row_order_left(struct row_order *self);

#endif
