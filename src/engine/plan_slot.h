/* SPDX-License-Identifier: Apache-2.0 */
/* A plan while it is made and while it is open: which sequences are in the step with how many
 * tokens, and the arrays that say so to whoever runs it. */
#ifndef SLUICE_PLAN_SLOT_H
#define SLUICE_PLAN_SLOT_H

#include "engine/sequence.h"
#include "engine/team.h"

/* What a step brought a sample, and what came of it. */
struct acceptance {
    const struct engine_options *options;
    struct sequence *sequence;
    int tokens_before;
    const struct sample_result *results; /* [count] */
    int count;
    bool ended;
    status failure;
    char *message; /* of the failure, which is the thread's own; NULL: there was no memory for it */
};

/* A step_plan and what belongs to it. */
struct plan_slot {
    struct step_plan step; /* first: engine_complete_step finds the slot by it */
    bool open;
    int most_tokens; /* of this step */
    int count;
    struct sequence **sequences; /* [max_sequences] */
    int32_t *first;              /* [max_sequences] position of its first token in this step */
    int32_t *chunks;             /* [max_sequences] tokens of each in this step */
    int32_t *outputs;            /* [max_sequences] of these: whose logits are wanted */
    uint8_t *draws;              /* [max_sequences] whether the last of these draws a token */
    uint8_t *is_late; /* [max_sequences] its token is drawn by the step before: what to ask for its
                         output is known later */
    uint8_t *is_void; /* [max_sequences] what comes of its output is nobody's: see slot_settle */
    int32_t *token_ids, *positions;                      /* [max_batch_tokens] */
    int32_t *query_start, *context_length, *output_rows; /* [max_sequences + 1] */
    uint8_t *long_rope;                                  /* [max_sequences] */
    uint8_t *token_types;
    int32_t *state_place, *state_from; /* [max_sequences] */
    struct team_batch masks;           /* of sequences with a grammar */
    int32_t *mask_outputs;             /* [max_sequences] which request each is of */
    struct acceptance *acceptances;    /* [max_sequences] */
    struct team_batch accepting;       /* those of sequences that are sampled */
    int32_t *block_table;
    size_t block_table_capacity;
};

status slot_create(struct plan_slot *slot, const struct engine_options *options) MUST_CHECK;
void slot_destroy(struct plan_slot *slot);

/* Takes the next `chunk` tokens of a sequence into the step. */
void slot_add(struct plan_slot *slot, struct sequence *sequence, int chunk);
/* The plan is made: nobody joins it any more. */
void slot_open(struct plan_slot *slot);
/* Fills the step's arrays from the sequences in it, whose blocks are all there. */
status slot_fill(struct plan_slot *slot, const struct engine_options *options) MUST_CHECK;
/* The step before has been completed, and its tokens are there. Of an open step, a sequence's part
 * counts for less than was planned where more followed than the token that was drawn:
 *   it is followed by tokens that are not drawn: its output draws nothing;
 *   another token stands in its place:           it has not been computed;
 *   all its keys are others from now on:         as before, and it is computed again from the
 * start.
 */
void slot_settle(struct plan_slot *slot, const struct engine_options *options);
/* Fills in the requests of sequences whose token was to come. Their masks are all that
 * `slot->masks` holds then. */
status slot_fill_late(struct plan_slot *slot) MUST_CHECK;
/* The step is done: what it computed of its sequences counts. */
void slot_close(struct plan_slot *slot);

#endif
