/* SPDX-License-Identifier: Apache-2.0 */
/* The watchdog's locks: who unlocks one holds it, and each that was made is destroyed, also where
 * no thread can be started. The watchdog is compiled in here, with calls of locks that check. */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "failing/failing.h"

static atomic_int made, wrong;

static void count_wrong(int code)
{
    wrong += code != 0;
}

/* A lock of POSIX's kind that knows its holder. */
static void make_lock(pthread_mutex_t *lock)
{
    pthread_mutexattr_t checks;
    pthread_mutexattr_init(&checks);
    pthread_mutexattr_settype(&checks, PTHREAD_MUTEX_ERRORCHECK);
    count_wrong(pthread_mutex_init(lock, &checks));
    pthread_mutexattr_destroy(&checks);
    made++;
}

static void hold(pthread_mutex_t *lock)
{
    count_wrong(pthread_mutex_lock(lock));
}

static void release(pthread_mutex_t *lock)
{
    count_wrong(pthread_mutex_unlock(lock));
}

static void destroy_lock(pthread_mutex_t *lock)
{
    count_wrong(pthread_mutex_destroy(lock));
    made--;
}

static void make_condition(pthread_cond_t *condition, const pthread_condattr_t *how)
{
    count_wrong(pthread_cond_init(condition, how));
    made++;
}

static void destroy_condition(pthread_cond_t *condition)
{
    count_wrong(pthread_cond_destroy(condition));
    made--;
}

#define pthread_mutex_init(lock, how)     make_lock(lock)
#define pthread_mutex_lock(lock)          hold(lock)
#define pthread_mutex_unlock(lock)        release(lock)
#define pthread_mutex_destroy(lock)       destroy_lock(lock)
#define pthread_cond_init(condition, how) make_condition(condition, how)
#define pthread_cond_destroy(condition)   destroy_condition(condition)
#include "../../../src/comm/watchdog.c"

static sem_t was_stopped;

/* Work that should have ended long ago. */
static struct watch_sight look(void *context)
{
    (void)context;
    return (struct watch_sight){.state = WATCH_BROKEN};
}

static void stop(void *context, double waited)
{
    (void)context;
    (void)waited;
    sem_post(&was_stopped);
}

static void never(void *context, double waited)
{
    (void)context;
    fail_msg("given up after %g s", waited);
}

static const struct watchdog_options options = {
    .interval = 1e-3, .grace = 1e6, .look = look, .give_up = never, .stop = stop};

static void a_stop_is_begun_under_the_lock(void **state)
{
    (void)state;
    struct watchdog *watchdog;
    sem_init(&was_stopped, 0, 0);
    assert_int_equal(watchdog_create(&options, &watchdog), STATUS_OK);
    assert_int_equal(made, 2);
    while (sem_wait(&was_stopped) != 0) {
    }
    watchdog_destroy(watchdog);
    assert_int_equal(made, 0);
    assert_int_equal(wrong, 0);
    sem_destroy(&was_stopped);
}

static status watch(void *context)
{
    (void)context;
    struct watchdog_options waits = options;
    struct watchdog *watchdog;
    waits.interval = 1e6; /* it is not looked, and nothing is stopped */
    const status s = watchdog_create(&waits, &watchdog);
    watchdog_destroy(watchdog);
    assert_int_equal(made, 0);
    assert_int_equal(wrong, 0);
    return s;
}

static void nothing_is_left_without_a_thread(void **state)
{
    (void)state;
    const struct failing_walk how = {
        .name = "watchdog", .kinds = FAIL_MEMORY | FAIL_THREAD, .act = watch};
    assert_int_equal(failing_walk(&how), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stop_is_begun_under_the_lock),
        cmocka_unit_test(nothing_is_left_without_a_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
