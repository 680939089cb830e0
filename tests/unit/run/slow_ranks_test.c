/* SPDX-License-Identifier: Apache-2.0 */
/* Which ranks are slow, and the reasons that are given. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "run/output/slow_ranks.h"

/* A replica of one rank: 100 s, of which 80 s compute 8000 tokens of prompts and answers. */
static struct rank_metrics replica(int32_t rank)
{
    return (struct rank_metrics){.rank = rank,
                                 .dp = rank,
                                 .host = "node",
                                 .device = "cpu",
                                 .rows = 40,
                                 .prompt_tokens = 4000,
                                 .output_tokens = 4000,
                                 .seconds_total = 100,
                                 .seconds_prefill = 40,
                                 .seconds_decode = 40,
                                 .seconds_idle = 20};
}

static void find(const struct rank_metrics *ranks, size_t count, struct rank_verdict *verdicts)
{
    assert_int_equal(slow_ranks_find(ranks, count, verdicts), STATUS_OK);
}

static void equal_ranks_are_not_slow(void **state)
{
    (void)state;
    struct rank_metrics ranks[] = {replica(0), replica(1), replica(2)};
    struct rank_verdict verdicts[3];
    ranks[1].output_tokens = 3300; /* 82% */
    find(ranks, 3, verdicts);
    for (size_t i = 0; i < 3; i++) {
        assert_false(verdicts[i].is_slow);
        assert_string_equal(verdicts[i].reason, "");
    }
    assert_true(verdicts[1].rate == 33 && verdicts[1].peers == 40);
    find(ranks, 1, verdicts); /* alone there is nobody to be slower than */
    assert_false(verdicts[0].is_slow);
    assert_true(verdicts[0].peers != verdicts[0].peers);
}

static void slow_computing_is_told(void **state)
{
    (void)state;
    struct rank_metrics ranks[] = {replica(0), replica(1), replica(2), replica(3)};
    struct rank_verdict verdicts[4];
    ranks[2].prompt_tokens = ranks[2].output_tokens = 1600;
    strcpy(ranks[2].host, "node-b");
    find(ranks, 4, verdicts);
    assert_true(verdicts[2].is_slow);
    assert_false(verdicts[0].is_slow || verdicts[1].is_slow || verdicts[3].is_slow);
    assert_string_equal(verdicts[2].reason,
                        "computing a token takes it 2.5 times as long; it is alone on node-b");
    strcpy(ranks[2].device, "an older one");
    find(ranks, 4, verdicts);
    assert_string_equal(verdicts[2].reason,
                        "computing a token takes it 2.5 times as long; no other replica runs on a "
                        "device like its an older one");
}

/* Each reason for itself. */
static void reasons_are_told_where_they_hold(void **state)
{
    (void)state;
    struct rank_metrics ranks[] = {replica(0), replica(1), replica(2)};
    struct rank_verdict verdicts[3];
    ranks[1].prompt_tokens = ranks[1].output_tokens = 1000;
    ranks[1].seconds_prefill = ranks[1].seconds_decode = 10;
    ranks[1].seconds_idle = 60;
    find(ranks, 3, verdicts);
    assert_string_equal(verdicts[1].reason, "it had no rows for 60% of its time");
    ranks[1].seconds_idle = 29; /* about as long as the others */
    find(ranks, 3, verdicts);
    assert_string_equal(verdicts[1].reason,
                        "its steps are as fast as the others', with fewer rows in them");
    ranks[1].seconds_communication = 9;
    ranks[0].preemptions = ranks[2].preemptions = 3;
    ranks[1].preemptions = 6;
    ranks[1].seconds_prefill = 12.5; /* 12.5% dearer */
    find(ranks, 3, verdicts);
    assert_string_equal(verdicts[1].reason,
                        "its steps are as fast as the others', with fewer rows in them");
    ranks[1].preemptions = 7;
    find(ranks, 3, verdicts);
    assert_string_equal(verdicts[1].reason, "7 sequences gave up their place in the KV cache");
}

/* Who had no rows was not slow; who had them and waited was. */
static void idle_ranks_are_not_slow(void **state)
{
    (void)state;
    struct rank_metrics ranks[] = {replica(0), replica(1), replica(2)};
    struct rank_verdict verdicts[3];
    ranks[1].output_tokens = ranks[1].prompt_tokens = 1000;
    ranks[1].seconds_prefill = ranks[1].seconds_decode = 10;
    ranks[1].seconds_idle = 80;
    find(ranks, 3, verdicts);
    assert_false(verdicts[1].is_slow);
    ranks[1].seconds_idle = 10;
    ranks[1].seconds_communication = 70;
    find(ranks, 3, verdicts);
    assert_true(verdicts[1].is_slow);
    assert_string_equal(verdicts[1].reason,
                        "it spends 70% of its time waiting for other ranks of its replica");
    ranks[1].preemptions = 12;
    find(ranks, 3, verdicts);
    assert_string_equal(verdicts[1].reason,
                        "it spends 70% of its time waiting for other ranks of its replica; 12 "
                        "sequences gave up their place in the KV cache");
}

/* In a replica of several ranks the one that does not wait is the one that is waited for. */
static void the_rank_that_others_wait_for_is_slow(void **state)
{
    (void)state;
    struct rank_metrics ranks[4];
    struct rank_verdict verdicts[4];
    for (int32_t i = 0; i < 4; i++) {
        ranks[i] = replica(i);
        ranks[i].dp = 0;
        ranks[i].tp = i;
        ranks[i].output_tokens = i == 0 ? 4000 : 0;
        ranks[i].seconds_communication = 50;
        ranks[i].seconds_prefill = 10;
    }
    find(ranks, 4, verdicts);
    for (size_t i = 0; i < 4; i++) {
        assert_false(verdicts[i].is_slow);
        assert_int_equal(verdicts[i].leads, i == 0);
    }
    ranks[3].seconds_communication = 5;
    find(ranks, 4, verdicts);
    assert_true(verdicts[3].is_slow);
    assert_false(verdicts[0].is_slow || verdicts[1].is_slow || verdicts[2].is_slow);
    assert_string_equal(verdicts[3].reason,
                        "the other ranks of its replica wait for it: they spend "
                        "50% of their time so, it 5%");
    ranks[3].seconds_communication = 31; /* less of a difference than counts */
    find(ranks, 4, verdicts);
    assert_false(verdicts[3].is_slow);
}

static void jobs_without_answers_have_rates_of_prompts(void **state)
{
    (void)state;
    struct rank_metrics ranks[] = {replica(0), replica(1)};
    struct rank_verdict verdicts[2];
    ranks[0].output_tokens = ranks[1].output_tokens = 0;
    assert_false(slow_ranks_of_answers(ranks, 2));
    ranks[1].prompt_tokens = 1000;
    find(ranks, 2, verdicts);
    assert_true(verdicts[1].is_slow && verdicts[1].rate == 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_ranks_are_not_slow),
        cmocka_unit_test(slow_computing_is_told),
        cmocka_unit_test(reasons_are_told_where_they_hold),
        cmocka_unit_test(idle_ranks_are_not_slow),
        cmocka_unit_test(the_rank_that_others_wait_for_is_slow),
        cmocka_unit_test(jobs_without_answers_have_rates_of_prompts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
