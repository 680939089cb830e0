/* SPDX-License-Identifier: Apache-2.0 */
/* Messages on their way, over MPI's calls that do not wait. */
#include "run/ranks/mailbox.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "sluice/mpi_check.h"

struct outgoing {
    MPI_Request request;
    char *bytes;
};

status outbox_send(struct outbox *outbox, MPI_Comm comm, int to, int tag, const void *bytes,
                   size_t length)
{
    if (length > INT_MAX) {
        return status_fail(STATUS_LIMIT, "a message of %zu bytes between ranks", length);
    }
    TRY(outbox_poll(outbox));
    void *messages = outbox->messages;
    status s =
        array_grow(&messages, &outbox->capacity, outbox->count + 1, sizeof *outbox->messages);
    outbox->messages = messages;
    TRY(s);
    char *copy = malloc(length + 1);
    if (copy == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a message of %zu bytes", length);
    }
    memcpy(copy, bytes, length);
    struct outgoing *message = &outbox->messages[outbox->count];
    message->bytes = copy;
    s = mpi_check(MPI_Isend(copy, (int)length, MPI_BYTE, to, tag, comm, &message->request), "send");
    if (s != STATUS_OK) {
        free(copy);
        return s;
    }
    outbox->count++;
    return STATUS_OK;
}

status outbox_poll(struct outbox *outbox)
{
    for (size_t i = 0; i < outbox->count;) {
        int done;
        TRY(mpi_check(MPI_Test(&outbox->messages[i].request, &done, MPI_STATUS_IGNORE), "send"));
        if (done) {
            free(outbox->messages[i].bytes);
            outbox->messages[i] = outbox->messages[--outbox->count];
        } else {
            i++;
        }
    }
    return STATUS_OK;
}

status outbox_flush(struct outbox *outbox)
{
    for (size_t i = 0; i < outbox->count; i++) {
        TRY(mpi_check(MPI_Wait(&outbox->messages[i].request, MPI_STATUS_IGNORE), "send"));
        free(outbox->messages[i].bytes);
        outbox->messages[i].bytes = NULL;
    }
    outbox->count = 0;
    return STATUS_OK;
}

void outbox_destroy(struct outbox *outbox)
{
    for (size_t i = 0; i < outbox->count; i++) {
        free(outbox->messages[i].bytes);
    }
    free(outbox->messages);
    *outbox = (struct outbox){0};
}

status message_poll(MPI_Comm comm, int from, int tag, struct buffer *into, MPI_Status *info,
                    bool *got)
{
    int there = 0;
    MPI_Message message;
    TRY(mpi_check(MPI_Improbe(from, tag, comm, &there, &message, info), "look for a message"));
    *got = there != 0;
    if (!there) {
        return STATUS_OK;
    }
    int length = 0;
    MPI_Get_count(info, MPI_BYTE, &length);
    buffer_clear(into);
    TRY(buffer_reserve(into, (size_t)length));
    TRY(mpi_check(MPI_Mrecv(into->data, length, MPI_BYTE, &message, MPI_STATUS_IGNORE),
                  "receive a message"));
    into->length = (size_t)length;
    into->data[length] = '\0';
    return STATUS_OK;
}
