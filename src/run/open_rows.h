/* SPDX-License-Identifier: Apache-2.0 */
/* Between records and the engine, on a replica's leader: a record becomes a row, a prompt, token
 * ids and engine sequences; finished samples become results, and a row whose samples are all there
 * becomes a message. */
#ifndef SLUICE_RUN_OPEN_ROWS_H
#define SLUICE_RUN_OPEN_ROWS_H

#include "run/report/notes.h"
#include "sluice/data.h"
#include "sluice/engine.h"
#include "sluice/job.h"
#include "sluice/model.h"

struct open_rows;

struct open_rows_options {
    const struct job *job;
    const struct model *model;
    struct engine *engine; /* all borrowed */
    int max_model_len;
    int32_t rank;           /* stands in the results */
    const char *arithmetic; /* likewise, where kinds are kept apart; or NULL */
    int64_t now;            /* for strftime_now in templates: the job's start, Unix seconds */
};
status open_rows_create(const struct open_rows_options *options, struct open_rows **out) MUST_CHECK;
void open_rows_destroy(struct open_rows *rows);

/* Takes a record: queues its samples in the engine, or makes an error result of it at once. A bad
 * row is a failure (STATUS_INVALID) only where the job says data.skip_bad_rows: false. */
status open_rows_add(struct open_rows *rows, const struct record *record) MUST_CHECK;

/* Moves what the engine has finished into the message of finished rows. */
status open_rows_collect(struct open_rows *rows) MUST_CHECK;

/* Finished rows since the last open_rows_clear, packed as TAG_ROWS. Owned by `rows`. */
const struct buffer *open_rows_message(const struct open_rows *rows);
void open_rows_clear(struct open_rows *rows);

/* What its rows gave rise to. Owned by `rows`. */
struct notes *open_rows_notes(struct open_rows *rows);

/* Rows taken and not yet in a message. */
int64_t open_rows_unfinished(const struct open_rows *rows);
int64_t open_rows_taken(const struct open_rows *rows); /* in total */
/* Tokens of prompts that were encoded, in total. */
int64_t open_rows_tokens(const struct open_rows *rows);
/* Whether a row had a form to keep to: its masks are computed by threads during a step, and rows
 * must not be added meanwhile. */
bool open_rows_have_forms(const struct open_rows *rows);

#endif
