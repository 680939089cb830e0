/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that work on batches: every item once, also where nobody awaits it, and not one late. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "engine/team.h"

enum { ITEMS = 200, BATCHES = 7 };

static atomic_int begun, ended;

struct item {
    atomic_int times;
    int others; /* that must have begun, too, before it ends */
};

static void pause_shortly(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}

/* Until a count is reached; false after a time that no machine needs. */
static bool wait_for(atomic_int *count, int wanted)
{
    const double until = clock_seconds() + 30;
    while (*count < wanted && clock_seconds() < until) {
        pause_shortly();
    }
    return *count >= wanted;
}

static void work(void *context)
{
    struct item *item = context;
    begun++;
    if (item->others > 0) {
        (void)wait_for(&begun, item->others);
        pause_shortly();
    }
    item->times++;
    ended++;
}

static void fill(struct team_batch *batch, struct item *items, int count, int others)
{
    *batch = (struct team_batch){.work = work};
    for (int i = 0; i < count; i++) {
        items[i].times = 0;
        items[i].others = others;
        assert_int_equal(team_batch_add(batch, &items[i]), STATUS_OK);
    }
    begun = ended = 0;
}

static void expect_once(struct item *items, int count)
{
    for (int i = 0; i < count; i++) {
        assert_int_equal(items[i].times, 1);
    }
}

static void threads_work_by_themselves(void **state)
{
    (void)state;
    static struct item items[ITEMS];
    struct team *team;
    struct team_batch batch;
    assert_int_equal(team_create(&team), STATUS_OK);
    for (int round = 0; round < 3; round++) { /* threads that sleep are woken */
        fill(&batch, items, ITEMS, 0);
        team_start(team, &batch);
        assert_true(wait_for(&ended, ITEMS));
        team_await(team, &batch);
        expect_once(items, ITEMS);
        team_batch_destroy(&batch);
    }
    team_destroy(team);
}

/* As many at once as there are threads, and the caller's. */
static void all_threads_and_the_caller(void **state)
{
    (void)state;
    enum { AT_ONCE = TEAM_THREADS + 1 };
    static struct item items[AT_ONCE];
    struct team *team;
    struct team_batch batch;
    assert_int_equal(team_create(&team), STATUS_OK);
    fill(&batch, items, AT_ONCE, AT_ONCE);
    const double start = clock_seconds();
    team_start(team, &batch);
    assert_true(wait_for(&begun, TEAM_THREADS));
    team_await(team, &batch);
    assert_true(clock_seconds() - start < 29);
    assert_int_equal(ended, AT_ONCE);
    expect_once(items, AT_ONCE);
    team_batch_destroy(&batch);
    team_destroy(team);
}

/* What others have begun is waited for. */
static void nothing_is_late(void **state)
{
    (void)state;
    static struct item items[TEAM_THREADS];
    struct team *team;
    struct team_batch batch;
    assert_int_equal(team_create(&team), STATUS_OK);
    for (int round = 0; round < 20; round++) {
        fill(&batch, items, TEAM_THREADS, TEAM_THREADS);
        team_start(team, &batch);
        assert_true(wait_for(&begun, TEAM_THREADS));
        team_await(team, &batch);
        assert_int_equal(ended, TEAM_THREADS);
        team_batch_destroy(&batch);
    }
    team_destroy(team);
}

/* Batches under way at once, awaited in another order than that in which they began. */
static void batches_do_not_mix(void **state)
{
    (void)state;
    static struct item items[BATCHES][ITEMS];
    struct team_batch batches[BATCHES];
    struct team *team;
    assert_int_equal(team_create(&team), STATUS_OK);
    for (int round = 0; round < 10; round++) {
        int counts[BATCHES];
        for (int i = 0; i < BATCHES; i++) {
            counts[i] = (i * 31 + round * 17) % ITEMS;
            fill(&batches[i], items[i], counts[i], 0);
        }
        for (int i = 0; i < BATCHES; i++) {
            team_start(team, &batches[i]);
        }
        for (int i = 0; i < BATCHES; i++) {
            const int which = (i * 3 + round) % BATCHES;
            team_await(team, &batches[which]);
            expect_once(items[which], counts[which]);
        }
        for (int i = 0; i < BATCHES; i++) {
            team_batch_destroy(&batches[i]);
        }
    }
    team_destroy(team);
}

static void nothing_to_do(void **state)
{
    (void)state;
    struct team *team;
    struct team_batch batch = {.work = work};
    assert_int_equal(team_create(&team), STATUS_OK);
    team_start(team, &batch);
    team_await(team, &batch);
    team_batch_destroy(&batch);
    team_destroy(team);
    team_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_work_by_themselves),
        cmocka_unit_test(all_threads_and_the_caller),
        cmocka_unit_test(nothing_is_late),
        cmocka_unit_test(batches_do_not_mix),
        cmocka_unit_test(nothing_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
