/* SPDX-License-Identifier: Apache-2.0 */
/* The coordinator: reads the data set, hands out shards on demand, journals finished rows. Lives on
 * rank 0 beside that rank's work, and gets its turn through coordinator_poll: never waits. */
#ifndef SLUICE_RUN_COORDINATOR_H
#define SLUICE_RUN_COORDINATOR_H

#include <mpi.h>

#include "run/report/progress.h"
#include "run/row_choice.h"
#include "run/writing/early_output.h"
#include "sluice/data.h"
#include "sluice/job.h"

struct coordinator;

struct coordinator_options {
    const struct job *job;
    const struct input_files *files; /* of the data set */
    struct journal *journal;         /* borrowed, like the next */
    struct attempts *attempts;       /* rows that ranks died of run alone, or not at all */
    struct early_output *early;      /* NULL: the output is written at the end */
    MPI_Comm comm;                   /* all ranks; leaders write here */
    int replicas;
    int replica_ranks;               /* of each */
    const struct row_choice *choice; /* rows that the start is about, NULL: all; borrowed */
    int64_t rows;                    /* of these; -1: not known yet */
    struct progress_options progress;
    /* What else rank 0 does once a turn; NULL: nothing. */
    status (*turn)(void *context);
    void *context;
};
status coordinator_create(const struct coordinator_options *options,
                          struct coordinator **out) MUST_CHECK;
void coordinator_destroy(struct coordinator *coordinator);

/* Answers what has arrived; *idle (may be NULL) is whether nothing had. A failure is one of the
 * data set, the journal or the messages, and no row's. */
status coordinator_poll(struct coordinator *coordinator, bool *idle) MUST_CHECK;

/* Every leader has said that it is done, and everything it sent is committed. */
bool coordinator_done(const struct coordinator *coordinator);

/* Whether coordinator_poll has failed. */
bool coordinator_failed(const struct coordinator *coordinator);

struct coordinator_totals {
    int64_t rows_read;      /* of the data set, the resumed ones included, those not chosen not */
    int64_t rows_resumed;   /* found in the journal */
    double journal_seconds; /* spent in the journal and in notes of rows under way */
    bool complete;          /* the whole data set was read and every row of it is in the journal */
};
struct coordinator_totals coordinator_totals(const struct coordinator *coordinator);

/* The rows are over, whether or not all are done: nothing more is shown of them. What was slow of
 * the ranks comes into slow[size], cut; empty where nothing was. */
void coordinator_rows_end(struct coordinator *coordinator, char *slow, size_t size);

/* After the end of the data set: its size and SHA-256 as read. */
status coordinator_digest(struct coordinator *coordinator, int64_t *bytes,
                          char sha256_hex[65]) MUST_CHECK;
/* How many rows each file of the data set has: [files->count]. */
void coordinator_file_rows(const struct coordinator *coordinator, int64_t *rows);

#endif
