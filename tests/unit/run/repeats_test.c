/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that come again: exact while they are few, a fair share of very many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "run/report/repeats.h"

/* A permutation of 64 bits (splitmix64's finish): distinct keys for distinct numbers. */
static uint64_t key_of(uint64_t number)
{
    uint64_t key = number + 0x9E3779B97F4A7C15U;
    key = (key ^ (key >> 30)) * 0xBF58476D1CE4E5B9U;
    key = (key ^ (key >> 27)) * 0x94D049BB133111EBU;
    return key ^ (key >> 31);
}

static void few_keys_are_counted_exactly(void **state)
{
    (void)state;
    struct repeats repeats = {0};
    for (uint64_t i = 0; i < 100000; i++) {
        assert_int_equal(repeats_add(&repeats, key_of(i)), STATUS_OK);
    }
    assert_int_equal(repeats_count(&repeats), 0);
    for (uint64_t i = 0; i < 100000; i += 1000) {
        assert_int_equal(repeats_add(&repeats, key_of(i)), STATUS_OK);
    }
    assert_int_equal(repeats_count(&repeats), 100);
    repeats_destroy(&repeats);
}

/* Each key of four million twice: memory stays that of the largest table, the count is near. */
static void many_keys_are_counted_by_a_share(void **state)
{
    (void)state;
    enum { KEYS = 4000000 };
    struct repeats repeats = {0};
    for (uint64_t i = 0; i < 2 * (uint64_t)KEYS; i++) {
        assert_int_equal(repeats_add(&repeats, key_of(i / 2)), STATUS_OK);
    }
    assert_true(repeats.shift > 0);
    assert_true(repeats.capacity <= (size_t)1 << 21);
    assert_in_range(repeats_count(&repeats), KEYS - KEYS / 100, KEYS + KEYS / 100);
    repeats_destroy(&repeats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_keys_are_counted_exactly),
        cmocka_unit_test(many_keys_are_counted_by_a_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
