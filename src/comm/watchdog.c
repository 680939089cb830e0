/* SPDX-License-Identifier: Apache-2.0 */
/* The watchdog's rule and its thread. */
#include "comm/watchdog.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

static const double LONGEST_LOOK_SECONDS = 1;

enum watch_action watch_judge(struct watch *watch, const struct watch_sight *sight, double now)
{
    const double gap = now - watch->last;
    const double step = gap < watch->longest ? gap : watch->longest;
    const bool progress = sight->state == WATCH_BUSY && sight->ended != watch->ended;
    watch->last = now;
    watch->waited += step;
    if (sight->state == WATCH_IDLE || progress) {
        watch->waited = 0;
        watch->ended = sight->ended;
    }
    if (watch->stopped) {
        watch->since_stop += step;
        const bool over = sight->state != WATCH_IDLE && watch->since_stop >= watch->grace;
        const bool give_up = over && !watch->given_up;
        watch->given_up = watch->given_up || over;
        return give_up ? WATCH_GIVE_UP : WATCH_WAIT;
    }
    watch->stopped = sight->state == WATCH_BROKEN ||
                     (sight->state != WATCH_IDLE && watch->waited >= sight->patience);
    return watch->stopped ? WATCH_STOP : WATCH_WAIT;
}

struct watchdog {
    struct watchdog_options options;
    pthread_t looker, stopper;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* Guarded by lock: */
    bool closing;  /* no stop is begun any more */
    bool stopping; /* the stopper was started */
    bool ending;
    double waited; /* when it was */
};

/* A thread with all signals blocked: they are the main thread's. */
static int start_thread(pthread_t *thread, void *(*function)(void *), void *argument)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int code = pthread_create(thread, NULL, function, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

static void *run_stop(void *argument)
{
    struct watchdog *watchdog = argument;
    watchdog->options.stop(watchdog->options.context, watchdog->waited);
    return NULL;
}

/* Where no thread can be started, give_up will have to do. */
static void begin_stop(struct watchdog *watchdog, double waited)
{
    pthread_mutex_lock(&watchdog->lock);
    if (!watchdog->closing && !watchdog->stopping) {
        watchdog->waited = waited;
        watchdog->stopping = start_thread(&watchdog->stopper, run_stop, watchdog) == 0;
    }
    pthread_mutex_unlock(&watchdog->lock);
}

static void look_once(struct watchdog *watchdog, struct watch *watch)
{
    const struct watchdog_options *options = &watchdog->options;
    const struct watch_sight sight = options->look(options->context);
    switch (watch_judge(watch, &sight, clock_seconds())) {
    case WATCH_STOP:
        begin_stop(watchdog, watch->waited);
        break;
    case WATCH_GIVE_UP:
        options->give_up(options->context, watch->waited);
        break;
    case WATCH_WAIT:
        break;
    }
}

static void *run_looks(void *argument)
{
    struct watchdog *watchdog = argument;
    struct watch watch = {
        .grace = watchdog->options.grace, .longest = LONGEST_LOOK_SECONDS, .last = clock_seconds()};
    pthread_mutex_lock(&watchdog->lock);
    while (!watchdog->ending) {
        const double next = clock_seconds() + watchdog->options.interval;
        struct timespec until = {.tv_sec = (time_t)next};
        until.tv_nsec = (long)((next - (double)until.tv_sec) * 1e9);
        pthread_cond_timedwait(&watchdog->wake, &watchdog->lock, &until);
        if (!watchdog->ending) {
            pthread_mutex_unlock(&watchdog->lock);
            look_once(watchdog, &watch);
            pthread_mutex_lock(&watchdog->lock);
        }
    }
    pthread_mutex_unlock(&watchdog->lock);
    return NULL;
}

status watchdog_create(const struct watchdog_options *options, struct watchdog **out)
{
    *out = NULL;
    struct watchdog *watchdog = calloc(1, sizeof *watchdog);
    if (watchdog == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a watchdog");
    }
    watchdog->options = *options;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC); /* clock_seconds' */
    pthread_mutex_init(&watchdog->lock, NULL);
    pthread_cond_init(&watchdog->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (start_thread(&watchdog->looker, run_looks, watchdog) != 0) {
        pthread_cond_destroy(&watchdog->wake);
        pthread_mutex_destroy(&watchdog->lock);
        free(watchdog);
        return status_fail(STATUS_IO, "cannot start a thread for a watchdog");
    }
    *out = watchdog;
    return STATUS_OK;
}

void watchdog_destroy(struct watchdog *watchdog)
{
    if (watchdog == NULL) {
        return;
    }
    pthread_mutex_lock(&watchdog->lock);
    watchdog->closing = true;
    const bool stopping = watchdog->stopping;
    pthread_mutex_unlock(&watchdog->lock);
    if (stopping) {
        pthread_join(watchdog->stopper, NULL);
    }
    pthread_mutex_lock(&watchdog->lock);
    watchdog->ending = true;
    pthread_cond_signal(&watchdog->wake);
    pthread_mutex_unlock(&watchdog->lock);
    pthread_join(watchdog->looker, NULL);
    pthread_cond_destroy(&watchdog->wake);
    pthread_mutex_destroy(&watchdog->lock);
    free(watchdog);
}
