/* SPDX-License-Identifier: Apache-2.0 */
/* A leader's steps under way: planned, on their way to the replica's other ranks, not yet run. */
#ifndef SLUICE_RUN_STEPS_STEP_QUEUE_H
#define SLUICE_RUN_STEPS_STEP_QUEUE_H

#include <mpi.h>

#include "run/ranks/mailbox.h"
#include "sluice/engine.h"

enum { MAX_STEPS_IN_FLIGHT = 64 };

/* Zero-initialise, set the first three, end with step_queue_destroy. */
struct step_queue {
    MPI_Comm replica;
    int most; /* steps at once, at most MAX_STEPS_IN_FLIGHT */
    int kv_block_tokens;
    bool plans_ahead; /* one more, behind the one that runs */

    int count;
    struct step_plan *steps[MAX_STEPS_IN_FLIGHT]; /* in the order planned; the engine's */
    struct outbox sent[MAX_STEPS_IN_FLIGHT];      /* the same on their way */
    struct buffer message;
};

/* Adds a step and sends it to every other rank of the replica. */
status step_queue_add(struct step_queue *queue, struct step_plan *step) MUST_CHECK;
/* Waits until the others have the oldest step. To be called before this rank runs it: in the middle
 * of a step a rank may have to wait for the others inside of a launch on its device, where nothing
 * pushes messages on, and a large one needs that of its sender. The others take a step once they
 * have ended the one before, for which they wait for nothing that is still to come. */
status step_queue_deliver(struct step_queue *queue) MUST_CHECK;
/* Pushes on what is on its way, without waiting. While this rank waits for its device in one step
 * the others are to get the next, or the stages of a pipeline work one after the other. */
status step_queue_poll(struct step_queue *queue) MUST_CHECK;
/* Whether any step is still on its way. */
bool step_queue_is_sending(const struct step_queue *queue);
/* Takes the oldest step, which has been delivered, off the queue. */
void step_queue_remove(struct step_queue *queue);
/* Tells the others that there are no more steps. To be called when the queue is empty; that message
 * is its last entry. */
status step_queue_end(struct step_queue *queue) MUST_CHECK;
void step_queue_destroy(struct step_queue *queue);

#endif
