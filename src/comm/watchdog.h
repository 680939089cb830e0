/* SPDX-License-Identifier: Apache-2.0 */
/* Notices that work which should end does not: a thread that looks at it at intervals.
 *
 * What is watched says whether something is under way and counts what has ended. Where something is
 * under way and nothing ends for `patience` seconds, the work is stopped; where even that does not
 * help within `grace` seconds, it is given up. */
#ifndef SLUICE_COMM_WATCHDOG_H
#define SLUICE_COMM_WATCHDOG_H

#include "sluice/base.h"

enum watch_state {
    WATCH_IDLE,   /* nothing is under way */
    WATCH_BUSY,   /* something is */
    WATCH_HIDDEN, /* cannot be seen now, which is no progress */
    WATCH_BROKEN, /* something is under way that cannot end any more */
};

struct watch_sight {
    enum watch_state state;
    uint64_t ended;  /* changes when something ends */
    double patience; /* seconds, as of now */
};

/* ---- The rule, apart from threads and clocks ---- */

enum watch_action { WATCH_WAIT, WATCH_STOP, WATCH_GIVE_UP };

struct watch {
    double grace;   /* seconds */
    double longest; /* seconds that one look can stand for: a process that was suspended meanwhile
                       has not waited */
    /* Its own; zero at the start but `last`, the time of the first look. */
    double last;
    double waited; /* since something ended, or nothing was under way */
    double since_stop;
    uint64_t ended;
    bool stopped, given_up;
};
/* What to do at `now`; WATCH_STOP and WATCH_GIVE_UP come once each, in this order. */
enum watch_action watch_judge(struct watch *watch, const struct watch_sight *sight, double now);

/* ---- The thread ---- */

struct watchdog_options {
    double interval, grace; /* seconds */
    void *context;
    /* On the watchdog's thread; neither may wait. */
    struct watch_sight (*look)(void *context);
    void (*give_up)(void *context, double waited); /* ends the process */
    /* On a thread of its own, so that it may be given up too: makes waiting for the work end. */
    void (*stop)(void *context, double waited);
};

struct watchdog;
status watchdog_create(const struct watchdog_options *options, struct watchdog **out) MUST_CHECK;
/* Returns when none of the functions above runs any more; the work is watched until `stop`, where
 * it was called, has returned. NULL is fine. */
void watchdog_destroy(struct watchdog *watchdog);

#endif
