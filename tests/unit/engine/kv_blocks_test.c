/* SPDX-License-Identifier: Apache-2.0 */
/* KV blocks: nothing leaks, nothing is given away while held, what is found is what was published.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/kv_blocks.h"

static struct kv_blocks *create(int count, int block_tokens, bool prefix_cache)
{
    struct kv_blocks *blocks;
    assert_int_equal(kv_blocks_create(count, block_tokens, prefix_cache, &blocks), STATUS_OK);
    return blocks;
}

static void takes_all_and_no_more(void **state)
{
    (void)state;
    struct kv_blocks *blocks = create(5, 4, false);
    int seen = 0;
    for (int i = 0; i < 5; i++) {
        int32_t block = kv_blocks_take(blocks);
        assert_in_range(block, 0, 4);
        seen |= 1 << block;
    }
    assert_int_equal(seen, 31);
    assert_int_equal(kv_blocks_take(blocks), KV_BLOCK_NONE);
    assert_int_equal(kv_blocks_available(blocks), 0);
    kv_blocks_release(blocks, 3);
    assert_int_equal(kv_blocks_take(blocks), 3);
    for (int i = 0; i < 5; i++) {
        kv_blocks_release(blocks, i);
    }
    assert_int_equal(kv_blocks_used(blocks), 0);
    assert_int_equal(kv_blocks_peak_used(blocks), 5);
    assert_true(kv_blocks_consistent(blocks));
    kv_blocks_destroy(blocks);
}

static void finds_by_whole_prefix(void **state)
{
    (void)state;
    struct kv_blocks *blocks = create(8, 2, true);
    const int32_t first[] = {1, 2}, second[] = {3, 4};
    int32_t a = kv_blocks_publish(blocks, kv_blocks_take(blocks), KV_PREFIX_EMPTY, first);
    uint64_t after_a = kv_blocks_prefix(blocks, a);
    int32_t b = kv_blocks_publish(blocks, kv_blocks_take(blocks), after_a, second);
    assert_int_equal(kv_blocks_find(blocks, KV_PREFIX_EMPTY, first), a);
    assert_int_equal(kv_blocks_find(blocks, after_a, second), b);
    /* The same tokens after something else, and with other frequencies. */
    assert_int_equal(kv_blocks_find(blocks, KV_PREFIX_EMPTY, second), KV_BLOCK_NONE);
    assert_int_equal(kv_blocks_find(blocks, KV_PREFIX_EMPTY_LONG_ROPE, first), KV_BLOCK_NONE);
    assert_int_equal(kv_blocks_find(blocks, kv_blocks_prefix(blocks, b), second), KV_BLOCK_NONE);

    /* A second block of equal content gives way to the first. */
    int32_t twin = kv_blocks_take(blocks);
    assert_int_equal(kv_blocks_publish(blocks, twin, KV_PREFIX_EMPTY, first), a);
    assert_int_equal(kv_blocks_used(blocks), 2);
    kv_blocks_release(blocks, a);
    assert_int_equal(kv_blocks_used(blocks), 2); /* held twice */

    kv_blocks_release(blocks, b);
    kv_blocks_release(blocks, a);
    assert_int_equal(kv_blocks_used(blocks), 0);
    assert_int_equal(kv_blocks_available(blocks), 8);
    assert_true(kv_blocks_consistent(blocks));

    /* Six free ones first, then the cached: the one that continues the other before it. */
    for (int i = 0; i < 6; i++) {
        int32_t block = kv_blocks_take(blocks);
        assert_true(block != a && block != b);
    }
    kv_blocks_hold(blocks, a);
    assert_int_equal(kv_blocks_take(blocks), b);
    assert_int_equal(kv_blocks_find(blocks, after_a, second), KV_BLOCK_NONE);
    assert_int_equal(kv_blocks_find(blocks, KV_PREFIX_EMPTY, first), a);
    assert_int_equal(kv_blocks_take(blocks), KV_BLOCK_NONE);
    assert_true(kv_blocks_consistent(blocks));
    kv_blocks_destroy(blocks);
}

static void least_recently_held_goes_first(void **state)
{
    (void)state;
    struct kv_blocks *blocks = create(3, 1, true);
    int32_t of[3];
    for (int32_t token = 0; token < 3; token++) {
        of[token] = kv_blocks_publish(blocks, kv_blocks_take(blocks), KV_PREFIX_EMPTY, &token);
    }
    kv_blocks_release(blocks, of[0]);
    kv_blocks_release(blocks, of[1]);
    kv_blocks_release(blocks, of[2]);
    kv_blocks_hold(blocks, of[0]); /* used again: now the newest */
    kv_blocks_release(blocks, of[0]);
    assert_int_equal(kv_blocks_take(blocks), of[1]);
    assert_int_equal(kv_blocks_take(blocks), of[2]);
    assert_int_equal(kv_blocks_take(blocks), of[0]);
    assert_true(kv_blocks_consistent(blocks));
    kv_blocks_destroy(blocks);
}

/* Numbers of prefixes are never those of the two empty ones: what begins a prompt cannot be found
 * behind other tokens, nor among the frequencies of long contexts. */
static void prefixes_are_not_the_empty_ones(void **state)
{
    (void)state;
    struct kv_blocks *blocks = create(3, 1, true);
    uint64_t prefix = KV_PREFIX_EMPTY;
    for (int32_t token = 0; token < 3; token++) {
        const int32_t block = kv_blocks_publish(blocks, kv_blocks_take(blocks), prefix, &token);
        prefix = kv_blocks_prefix(blocks, block);
        assert_int_not_equal(prefix, KV_PREFIX_EMPTY);
        assert_int_not_equal(prefix, KV_PREFIX_EMPTY_LONG_ROPE);
        assert_int_equal(kv_blocks_find(blocks, KV_PREFIX_EMPTY_LONG_ROPE, &token), KV_BLOCK_NONE);
    }
    kv_blocks_destroy(blocks);
}

/* Random work against a model that is obviously right: a list of holds. */
static void random_work(void **state)
{
    (void)state;
    enum { BLOCKS = 40, STEPS = 20000 };
    struct kv_blocks *blocks = create(BLOCKS, 1, true);
    int32_t held[BLOCKS * 4];
    int holds[BLOCKS] = {0};
    int count = 0;
    uint64_t random = 1;
    for (int step = 0; step < STEPS; step++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        int32_t token = (int32_t)(random >> 33) % 60;
        if (random >> 63 && count < BLOCKS * 4) {
            int32_t block = kv_blocks_find(blocks, KV_PREFIX_EMPTY, &token);
            if (block != KV_BLOCK_NONE) {
                kv_blocks_hold(blocks, block);
            } else if ((block = kv_blocks_take(blocks)) != KV_BLOCK_NONE) {
                assert_int_equal(holds[block], 0);
                if (token % 2 == 0) {
                    block = kv_blocks_publish(blocks, block, KV_PREFIX_EMPTY, &token);
                }
            } else {
                continue;
            }
            holds[block]++;
            held[count++] = block;
        } else if (count > 0) {
            int which = (int)((random >> 20) % (uint64_t)count);
            kv_blocks_release(blocks, held[which]);
            holds[held[which]]--;
            held[which] = held[--count];
        }
        int used = 0;
        for (int block = 0; block < BLOCKS; block++) {
            used += holds[block] > 0;
        }
        assert_int_equal(kv_blocks_used(blocks), used);
        assert_int_equal(kv_blocks_available(blocks), BLOCKS - used);
        assert_true(step % 16 != 0 || kv_blocks_consistent(blocks));
    }
    kv_blocks_destroy(blocks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_all_and_no_more),
        cmocka_unit_test(finds_by_whole_prefix),
        cmocka_unit_test(least_recently_held_goes_first),
        cmocka_unit_test(prefixes_are_not_the_empty_ones),
        cmocka_unit_test(random_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
