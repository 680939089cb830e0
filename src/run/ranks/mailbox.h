/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between ranks that keep neither side waiting: an outbox, and a look at what has come.
 * What stands in them is wire.h's. */
#ifndef SLUICE_RUN_MAILBOX_H
#define SLUICE_RUN_MAILBOX_H

#include <mpi.h>

#include "sluice/base.h"

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

#endif
