/* SPDX-License-Identifier: Apache-2.0 */
/* Records that were read ahead: kept in any number, put in order once, taken out one by one.
 *
 * The first bytes lie in memory, the rest in a file without a name; what is kept of each record in
 * memory is about 150 bytes. */
#ifndef SLUICE_RUN_ROW_BATCH_H
#define SLUICE_RUN_ROW_BATCH_H

#include "run/order/row_key.h"

/* Of one batch: rows, bytes in memory, bytes in all. */
enum { ROW_BATCH_ROWS = 1 << 15, ROW_BATCH_MEMORY = 16 << 20, ROW_BATCH_BYTES = 1 << 30 };

struct row_batch;

/* `directory`: where the file stands while it has a name. */
status row_batch_create(const char *directory, struct row_batch **out) MUST_CHECK;
void row_batch_destroy(struct row_batch *self);

/* Whether it takes no more. */
bool row_batch_is_full(const struct row_batch *self);
/* Adds a copy of a record. */
status row_batch_add(struct row_batch *self, const struct record *record,
                     const struct row_key *key) MUST_CHECK;
/* Puts the records in order: rows that will run much longer than most first, the longest of them
 * in front; then groups of rows that begin alike, by their first rows, and within a group those
 * that are alike for longer. What has nothing in common with others stays in order. */
void row_batch_sort(struct row_batch *self);
/* Takes the next one; it is there. */
status row_batch_take(struct row_batch *self, struct record *record) MUST_CHECK;
int64_t row_batch_left(const struct row_batch *self);
/* Empties it, for new records. */
void row_batch_clear(struct row_batch *self);

#endif
