/* SPDX-License-Identifier: Apache-2.0 */
/* The watchdog: its rule step by step on made-up clocks, and its thread on work that hangs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "comm/watchdog.h"

static enum watch_action judge(struct watch *watch, enum watch_state state, uint64_t ended,
                               double now)
{
    const struct watch_sight sight = {.state = state, .ended = ended, .patience = 10};
    return watch_judge(watch, &sight, now);
}

static struct watch begin(void)
{
    return (struct watch){.grace = 5, .longest = 100};
}

static void idleness_is_no_waiting(void **state)
{
    (void)state;
    struct watch watch = begin();
    assert_int_equal(judge(&watch, WATCH_IDLE, 0, 100), WATCH_WAIT);
    assert_int_equal(judge(&watch, WATCH_BUSY, 0, 101), WATCH_WAIT);
    assert_int_equal(judge(&watch, WATCH_BUSY, 0, 109), WATCH_WAIT);
    assert_int_equal(judge(&watch, WATCH_IDLE, 1, 111), WATCH_WAIT);
    assert_int_equal(judge(&watch, WATCH_BUSY, 1, 120), WATCH_WAIT);
    assert_int_equal(judge(&watch, WATCH_BUSY, 1, 121), WATCH_STOP);
}

static void progress_is_no_waiting(void **state)
{
    (void)state;
    struct watch watch = begin();
    for (int i = 0; i < 20; i++) {
        assert_int_equal(judge(&watch, WATCH_BUSY, (uint64_t)i + 1, 9.0 * i), WATCH_WAIT);
    }
    /* The latest was at 171. */
    assert_int_equal(judge(&watch, WATCH_BUSY, 20, 180.5), WATCH_WAIT);
    assert_int_equal(judge(&watch, WATCH_BUSY, 20, 181), WATCH_STOP);
}

static void what_cannot_be_seen_counts_as_waiting(void **state)
{
    (void)state;
    struct watch watch = begin();
    assert_int_equal(judge(&watch, WATCH_HIDDEN, 7, 9.5), WATCH_WAIT);
    assert_int_equal(judge(&watch, WATCH_HIDDEN, 8, 10), WATCH_STOP);
}

static void a_suspended_process_has_not_waited(void **state)
{
    (void)state;
    struct watch watch = {.grace = 5, .longest = 1};
    assert_int_equal(judge(&watch, WATCH_BUSY, 0, 0.5), WATCH_WAIT);
    assert_int_equal(judge(&watch, WATCH_BUSY, 0, 3600), WATCH_WAIT);
    for (int i = 1; i <= 8; i++) {
        assert_int_equal(judge(&watch, WATCH_BUSY, 0, 3600 + i), WATCH_WAIT);
    }
    assert_int_equal(judge(&watch, WATCH_BUSY, 0, 3609), WATCH_STOP);
}

static void stop_and_give_up_come_once(void **state)
{
    (void)state;
    struct watch watch = begin();
    assert_int_equal(judge(&watch, WATCH_BUSY, 0, 10), WATCH_STOP);
    assert_int_equal(judge(&watch, WATCH_BUSY, 0, 14.5), WATCH_WAIT);
    assert_int_equal(judge(&watch, WATCH_BUSY, 0, 15), WATCH_GIVE_UP);
    assert_int_equal(judge(&watch, WATCH_BUSY, 0, 100), WATCH_WAIT);
}

static void stopped_work_that_ends_is_not_given_up(void **state)
{
    (void)state;
    struct watch watch = begin();
    assert_int_equal(judge(&watch, WATCH_BUSY, 0, 10), WATCH_STOP);
    assert_int_equal(judge(&watch, WATCH_IDLE, 1, 11), WATCH_WAIT);
    assert_int_equal(judge(&watch, WATCH_IDLE, 1, 100), WATCH_WAIT);
}

static void broken_work_is_stopped_at_once(void **state)
{
    (void)state;
    struct watch watch = begin();
    assert_int_equal(judge(&watch, WATCH_BROKEN, 0, 0.5), WATCH_STOP);
    assert_int_equal(judge(&watch, WATCH_BROKEN, 0, 5), WATCH_WAIT);
    assert_int_equal(judge(&watch, WATCH_BROKEN, 0, 5.5), WATCH_GIVE_UP);
}

/* Work that begins, and ends only when it is stopped; or not even then. */
struct work {
    atomic_int stops, give_ups;
    atomic_bool under_way, obeys, hangs; /* hangs: stopping it does not return by itself */
};

static struct watch_sight look(void *context)
{
    struct work *work = context;
    const bool ended = !work->under_way || (work->stops > 0 && work->obeys);
    return (struct watch_sight){.state = ended ? WATCH_IDLE : WATCH_BUSY, .patience = 0.05};
}

static void wait_for(atomic_int *count)
{
    const double until = clock_seconds() + 10;
    while (*count == 0 && clock_seconds() < until) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

static void stop(void *context, double waited)
{
    struct work *work = context;
    work->stops += waited >= 0.05 ? 1 : 100;
    if (work->hangs) {
        wait_for(&work->give_ups);
    }
}

static void give_up(void *context, double waited)
{
    struct work *work = context;
    work->give_ups += waited >= 0.1 ? 1 : 100; /* stop's patience and the grace */
}

static void run_thread(struct work *work, struct watchdog **out)
{
    const struct watchdog_options options = {.interval = 0.005,
                                             .grace = 0.05,
                                             .context = work,
                                             .look = look,
                                             .stop = stop,
                                             .give_up = give_up};
    assert_int_equal(watchdog_create(&options, out), STATUS_OK);
}

static void the_thread_stops_and_gives_up(void **state)
{
    (void)state;
    struct work work = {.under_way = true};
    struct watchdog *watchdog;
    run_thread(&work, &watchdog);
    wait_for(&work.give_ups);
    watchdog_destroy(watchdog);
    assert_int_equal(work.stops, 1);
    assert_int_equal(work.give_ups, 1);
}

static void the_thread_is_content_when_work_ends(void **state)
{
    (void)state;
    struct work work = {.under_way = true, .obeys = true};
    struct watchdog *watchdog;
    run_thread(&work, &watchdog);
    wait_for(&work.stops);
    nanosleep(&(struct timespec){.tv_nsec = 150000000}, NULL);
    watchdog_destroy(watchdog);
    assert_int_equal(work.stops, 1);
    assert_int_equal(work.give_ups, 0);
}

static void a_stop_that_hangs_is_given_up(void **state)
{
    (void)state;
    struct work work = {.under_way = true, .hangs = true};
    struct watchdog *watchdog;
    run_thread(&work, &watchdog);
    wait_for(&work.stops);
    watchdog_destroy(watchdog); /* while `stop` waits: the watchdog goes on looking */
    assert_int_equal(work.stops, 1);
    assert_int_equal(work.give_ups, 1);
}

static void an_idle_thread_ends_at_once(void **state)
{
    (void)state;
    struct work work = {0};
    struct watchdog *watchdog;
    run_thread(&work, &watchdog);
    watchdog_destroy(watchdog);
    watchdog_destroy(NULL);
    assert_int_equal(work.stops, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idleness_is_no_waiting),
        cmocka_unit_test(progress_is_no_waiting),
        cmocka_unit_test(what_cannot_be_seen_counts_as_waiting),
        cmocka_unit_test(a_suspended_process_has_not_waited),
        cmocka_unit_test(stop_and_give_up_come_once),
        cmocka_unit_test(stopped_work_that_ends_is_not_given_up),
        cmocka_unit_test(broken_work_is_stopped_at_once),
        cmocka_unit_test(the_thread_stops_and_gives_up),
        cmocka_unit_test(the_thread_is_content_when_work_ends),
        cmocka_unit_test(a_stop_that_hangs_is_given_up),
        cmocka_unit_test(an_idle_thread_ends_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
