/* SPDX-License-Identifier: Apache-2.0 */
/* Between records and the engine, on a replica's leader: a record becomes a row, a prompt, token
 * ids and engine sequences; finished samples become results, and a row whose samples are all there
 * becomes a message. */
#ifndef SLUICE_RUN_ROW_QUEUE_H
#define SLUICE_RUN_ROW_QUEUE_H

#include "run/report/notes.h"
#include "sluice/data.h"
#include "sluice/engine.h"
#include "sluice/job.h"
#include "sluice/model.h"

struct row_queue;

struct row_queue_options {
    const struct job *job;
    const struct model *model;
    struct engine *engine; /* all borrowed */
    int max_model_len;
    int32_t rank;           /* stands in the results */
    const char *arithmetic; /* likewise, where kinds are kept apart; or NULL */
    int64_t now;            /* for strftime_now in templates: the job's start, Unix seconds */
};
status row_queue_create(const struct row_queue_options *options, struct row_queue **out) MUST_CHECK;
void row_queue_destroy(struct row_queue *queue);

/* Takes a record: queues its samples in the engine, or makes an error result of it at once. A bad
 * row is a failure (STATUS_INVALID) only where the job says data.skip_bad_rows: false. */
status row_queue_add(struct row_queue *queue, const struct record *record) MUST_CHECK;

/* Moves what the engine has finished into the message of finished rows. */
status row_queue_collect(struct row_queue *queue) MUST_CHECK;

/* Finished rows since the last row_queue_clear, packed as TAG_ROWS. Owned by the queue. */
const struct buffer *row_queue_message(const struct row_queue *queue);
void row_queue_clear(struct row_queue *queue);

/* What its rows gave rise to. Owned by the queue. */
struct notes *row_queue_notes(struct row_queue *queue);

/* Rows taken and not yet in a message. */
int64_t row_queue_unfinished(const struct row_queue *queue);
int64_t row_queue_rows(const struct row_queue *queue); /* taken in total */

#endif
