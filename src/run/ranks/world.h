/* SPDX-License-Identifier: Apache-2.0 */
/* The ranks: MPI's start and end, groups, and messages that do not block the sender. */
#ifndef SLUICE_RUN_WORLD_H
#define SLUICE_RUN_WORLD_H

#include <mpi.h>

#include "sluice/base.h"

struct world {
    int rank, size;
    int host_rank, host_size; /* among the ranks of this host */
    char host[64];
};
/* The world as run_start left it. */
const struct world *world_get(void);

/* Messages under way, with copies of their bytes. Zero-initialise. */
struct outbox {
    struct outgoing *messages;
    size_t count, capacity;
};
/* Sends a copy of the bytes; returns at once. */
status outbox_send(struct outbox *outbox, MPI_Comm comm, int to, int tag, const void *bytes,
                   size_t length) MUST_CHECK;
/* Forgets what has arrived. */
status outbox_poll(struct outbox *outbox) MUST_CHECK;
/* Waits for all of it. */
status outbox_flush(struct outbox *outbox) MUST_CHECK;
void outbox_destroy(struct outbox *outbox);

/* Takes the next message of this tag (MPI_ANY_TAG, MPI_ANY_SOURCE allowed) if one is there: bytes
 * into `into` (cleared first). */
status message_poll(MPI_Comm comm, int from, int tag, struct buffer *into, MPI_Status *info,
                    bool *got) MUST_CHECK;

/* A pause for a rank that found nothing to do: grows from nothing to 1 ms with `idle_rounds`. */
void world_pause(int idle_rounds);

#endif
