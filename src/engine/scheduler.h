/* SPDX-License-Identifier: Apache-2.0 */
/* What runs in the next step: queues, admission, preemption, plans. Knows tokens and blocks, not
 * what tokens mean. docs/engine.md tells how it works. */
#ifndef SLUICE_SCHEDULER_H
#define SLUICE_SCHEDULER_H

#include "engine/admission/admission.h"
#include "engine/admission/gathering.h"
#include "engine/form_draws.h"
#include "engine/plan_slot.h"
#include "engine/sequence.h"
#include "engine/state_places.h"

struct row_list {
    struct engine_row *first, *last;
};

struct scheduler {
    struct engine_options options;
    struct kv_blocks *blocks;
    struct state_places places; /* of running sequences' states */
    struct admission admission;
    struct gathering gathering;
    struct sequence_list running; /* oldest first; hold blocks */
    struct sequence_list
        pending;                 /* oldest first; hold none: preempted ones and the next to start */
    struct sequence_list parked; /* oldest first; hold none: see find_head */
    struct row_list waiting;     /* not begun */
    struct row_list fanning_out; /* begun, with further samples that may start */
    int waiting_rows;            /* rows without an admitted sample */
    int64_t unbegun_samples;
    int64_t next_order;
    bool supply_ended;       /* no more rows are to come */
    struct plan_slot *slots; /* [slot_count] */
    int slot_count, open_plans;
    int leaving; /* running sequences that the plan in the making knows to be over when it runs */
    struct team *team;
    struct form_draws form_draws;
    struct engine_counters counters;
};

/* Fills *self, which is zeroed; scheduler_destroy ends it also where this failed. */
status scheduler_create(struct scheduler *self, const struct engine_options *options) MUST_CHECK;
/* Rows and sequences in its queues end with it. */
void scheduler_destroy(struct scheduler *self);

void scheduler_add_row(struct scheduler *self, struct engine_row *row);

/* As engine_plan_step. */
status scheduler_plan(struct scheduler *self, struct step_plan **out) MUST_CHECK;

/* As engine_await_requests. */
status scheduler_await_requests(struct scheduler *self, struct plan_slot *slot) MUST_CHECK;

/* A slot's step has run: what it computed counts, plan and sequences are free again. */
void scheduler_close(struct scheduler *self, struct plan_slot *slot);
/* Behind that, once its sequences have taken what it drew: open plans are put right. */
void scheduler_settle(struct scheduler *self);
/* A sequence of the closed slot has grown and goes on; it may be in another open step. */
void scheduler_continue(struct scheduler *self, struct sequence *sequence);
/* A sequence that has ended and is in no open step: its blocks are given back, it is the caller's.
 */
void scheduler_remove(struct scheduler *self, struct sequence *sequence);

#endif
