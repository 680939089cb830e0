/* SPDX-License-Identifier: Apache-2.0 */
/* A leader's steps under way. */
#include "run/steps/step_queue.h"

#include <string.h>

#include "run/ranks/wire.h"

static status send_to_others(struct step_queue *queue, int at, const void *bytes, size_t length)
{
    int rank, size;
    MPI_Comm_rank(queue->replica, &rank);
    MPI_Comm_size(queue->replica, &size);
    for (int to = 0; to < size; to++) {
        if (to != rank) {
            TRY(outbox_send(&queue->sent[at], queue->replica, to, TAG_STEP, bytes, length));
        }
    }
    return STATUS_OK;
}

status step_queue_add(struct step_queue *queue, struct step_plan *step)
{
    int size;
    MPI_Comm_size(queue->replica, &size);
    const int at = queue->count++;
    queue->steps[at] = step;
    if (size == 1) {
        return STATUS_OK;
    }
    TRY(step_pack(&step->batch, queue->kv_block_tokens, step->prefill_tokens, &queue->message));
    return send_to_others(queue, at, queue->message.data, queue->message.length);
}

status step_queue_deliver(struct step_queue *queue)
{
    return outbox_flush(&queue->sent[0]);
}

status step_queue_poll(struct step_queue *queue)
{
    for (int i = 0; i < queue->count; i++) {
        TRY(outbox_poll(&queue->sent[i]));
    }
    return STATUS_OK;
}

bool step_queue_is_sending(const struct step_queue *queue)
{
    bool sending = false;
    for (int i = 0; i < queue->count; i++) {
        sending = sending || queue->sent[i].count > 0;
    }
    return sending;
}

void step_queue_remove(struct step_queue *queue)
{
    const struct outbox delivered = queue->sent[0]; /* empty; its memory serves a later step */
    const size_t left = (size_t)--queue->count;
    memmove(queue->steps, queue->steps + 1, left * sizeof *queue->steps);
    memmove(queue->sent, queue->sent + 1, left * sizeof *queue->sent);
    queue->sent[left] = delivered;
}

status step_queue_end(struct step_queue *queue)
{
    const int at = queue->count++;
    queue->steps[at] = NULL;
    return send_to_others(queue, at, "", 0);
}

void step_queue_destroy(struct step_queue *queue)
{
    for (int i = 0; i < MAX_STEPS_IN_FLIGHT; i++) {
        outbox_destroy(&queue->sent[i]);
    }
    buffer_destroy(&queue->message);
}
