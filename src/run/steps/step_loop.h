/* SPDX-License-Identifier: Apache-2.0 */
/* The one step loop: a replica's ranks at work, for jobs and for `sluice bench`, which therefore
 * measures what a job does.
 *
 * A *step* is one pass of a batch through the model: chunks of prompts and the next tokens of
 * running sequences, planned by the engine, run by every rank of the replica, and answered on its
 * leader: sampled, or pooled where the model is an encoder. The leader (see stage_is_leader) goes
 * round and round:
 *
 *   turn      the rank's other business
 *   supply    sequences go into the engine
 *   plan      until as many steps are under way as there are stages; each goes to the other ranks
 *   run       the oldest of them: launch, with what answers it behind it
 *   ahead     on one device: plan the next step and launch it, too, while that one runs
 *   complete  wait for the oldest step's answer and hand it to the engine
 *   collect   finished samples come out of the engine
 *   note      what the step took
 *   publish   what was collected goes on its way
 *
 * The other ranks take steps in the order planned: turn, run, note.
 *
 * What may overlap: steps under way at once are over disjoint sequences, so that a pipeline's
 * stages work side by side. On one device the next step is planned and launched while it is at
 * this one, as if no sequence ended (plans_ahead of sluice/engine.h): it finds the tokens on the
 * device. So the device goes from one step to the next without the host, which completes the one
 * during the other. Where the next step cannot be foreseen, and with several ranks, it is launched
 * once this one is complete. Otherwise a host takes turns and pushes messages on while its device
 * works. */
#ifndef SLUICE_RUN_STEPS_STEP_LOOP_H
#define SLUICE_RUN_STEPS_STEP_LOOP_H

#include <mpi.h>

#include "run/steps/stage.h"
#include "sluice/engine.h"

/* What a supply of sequences has come to. */
enum supply {
    SUPPLY_NOTHING, /* nothing now, later perhaps */
    SUPPLY_SOME,    /* sequences were added, or news came; more later perhaps */
    SUPPLY_END,     /* none after those that are in the engine */
    SUPPLY_STOP,    /* none, and those in the engine are let go of */
};

/* What one step took, in seconds on this rank. */
struct step_seconds {
    int tokens, prefill_tokens;
    int64_t positions;    /* of the cache that its sequences have in all */
    double plan;          /* leader: planning and sending since the step before */
    double launch;        /* until the step's operations were started */
    double wait;          /* until it was answered: device, other ranks, sampling. Not what the host
                             did meanwhile for the next step */
    double communication; /* of launch and wait: ranks waiting for each other */
    double complete;      /* leader: results into the engine, finished samples out of it */
    double whole; /* leader: from its planning to its end, but not before the end of the step
                     before. Less than the sum of those above where the next step's planning
                     and launch are hidden behind this one */
    double gap;   /* leader: that the device stood still before it, by the device's clock; 0
                     where that is not known */
    double launched_at, awaited_at, answered_at; /* clock_seconds() when it began to be launched,
                                                    when nothing was left but to wait, and when the
                                                    answer was there */
};

/* What those for whom the loop runs do in it. A failure of any of them ends the loop with it.
 * `turn`, `answer`, `note` and `publish` may be NULL; `supply`, `answer` and `collect` are only
 * called on the leader. */
struct step_hooks {
    void *context;
    /* Between steps, and again and again while the device works: never waits. *idle: whether there
     * was nothing to do. */
    status (*turn)(void *context, bool *idle);
    /* Once a round, before steps are planned, until it has said SUPPLY_END or SUPPLY_STOP or the
     * process is asked to stop. */
    status (*supply)(void *context, enum supply *supply);
    /* After every step, before the engine has its results, which it may change: [batch.outputs]. A
     * step that the device has already goes on by what was drawn. */
    void (*answer)(void *context, const struct step_plan *step, struct sample_result *results);
    /* After every step; takes all that engine_next_finished has. */
    status (*collect)(void *context);
    /* After every step that has ended. */
    status (*note)(void *context, const struct step_seconds *seconds);
    /* The leader's, at the end of every round; `ran`: whether it had a step. */
    status (*publish)(void *context, bool ran);
};

struct step_loop_options {
    struct stage *stage;
    MPI_Comm replica;      /* its ranks: stage · tp + tensor rank; steps travel here */
    struct engine *engine; /* the leader's, of engine_setup's options; else NULL */
    struct step_hooks hooks;
};

/* Runs steps until the supply has ended and all its samples were collected, or until it is told to
 * stop, by the supply or by a signal to any rank: then no more steps are planned, those under way
 * end, and what is unfinished stays in the engine. Collective over the replica; a rank that fails
 * leaves the others in the middle of a step. */
status step_loop_run(const struct step_loop_options *options) MUST_CHECK;

#endif
