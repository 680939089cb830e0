/* SPDX-License-Identifier: Apache-2.0 */
/* Slots for masks on a device: who has one keeps it while others are not used for longer, and a
 * plain list says the same of any calls. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/mask_slots.h"

enum { SLOTS = 5, MASKS = 12 };

static uint32_t masks[MASKS];

static struct mask_slots *make(int count)
{
    struct mask_slots *slots;
    assert_int_equal(mask_slots_create(count, &slots), STATUS_OK);
    mask_slots_begin(slots);
    return slots;
}

static void a_mask_stays_where_it_is(void **state)
{
    (void)state;
    bool is_new;
    struct mask_slots *slots = make(SLOTS);
    for (int i = 0; i < SLOTS; i++) { /* side by side, so that one copy writes them */
        assert_int_equal(mask_slots_take(slots, &masks[i], (uint64_t)i + 1, &is_new), i);
        assert_true(is_new);
    }
    mask_slots_begin(slots);
    assert_int_equal(mask_slots_take(slots, &masks[0], 1, &is_new), 0);
    assert_false(is_new);
    assert_int_equal(mask_slots_take(slots, &masks[7], 1, &is_new), 0); /* by number alone */
    assert_false(is_new);
    assert_int_equal(mask_slots_take(slots, &masks[6], 7, &is_new), 1); /* the oldest goes */
    assert_true(is_new);
    mask_slots_begin(slots);
    assert_int_equal(mask_slots_take(slots, &masks[1], 2, &is_new), 2);
    assert_true(is_new);
    mask_slots_destroy(slots);
}

static void a_mask_without_a_number_is_of_its_call(void **state)
{
    (void)state;
    bool is_new;
    struct mask_slots *slots = make(SLOTS);
    const int slot = mask_slots_take(slots, &masks[0], 0, &is_new);
    assert_true(is_new);
    assert_int_equal(mask_slots_take(slots, &masks[0], 0, &is_new), slot);
    assert_false(is_new);
    assert_int_not_equal(mask_slots_take(slots, &masks[1], 0, &is_new), slot);
    assert_true(is_new);
    /* A number that is as large as an address is another mask. */
    const uint64_t number = (uint64_t)(uintptr_t)&masks[0];
    assert_int_not_equal(mask_slots_take(slots, &masks[0], number, &is_new), slot);
    assert_true(is_new);
    mask_slots_begin(slots);
    assert_int_equal(mask_slots_take(slots, &masks[0], 0, &is_new), slot);
    assert_true(is_new);
    mask_slots_destroy(slots);
}

/* A slot a mask at most, and what is in it is what was written there last. */
static void any_calls(void **state)
{
    (void)state;
    uint64_t random = 1;
    for (int count = 1; count <= SLOTS; count++) {
        struct mask_slots *slots = make(count);
        int content[SLOTS], kept = 0; /* 1 + mask of each */
        memset(content, 0, sizeof content);
        for (int call = 0; call < 2000; call++) {
            int of_call[MASKS] = {0}, different = 0; /* 1 + slot of each mask */
            mask_slots_begin(slots);
            for (int i = 0; i < 2 * count; i++) {
                random = random * 6364136223846793005u + 1442695040888963407u;
                const int mask = (int)(random >> 33) % MASKS;
                if (of_call[mask] == 0 && different == count) {
                    continue;
                }
                bool is_new;
                const int slot = mask_slots_take(slots, &masks[mask],
                                                 mask % 3 == 0 ? 0 : (uint64_t)mask, &is_new);
                assert_in_range(slot, 0, count - 1);
                assert_true(of_call[mask] == 0 || of_call[mask] == slot + 1);
                for (int other = 0; other < MASKS; other++) {
                    assert_true(other == mask || of_call[other] != slot + 1);
                }
                assert_true(is_new || content[slot] == mask + 1);
                assert_true(!is_new || of_call[mask] == 0);
                kept += !is_new && of_call[mask] == 0;
                content[slot] = mask + 1;
                different += of_call[mask] == 0;
                of_call[mask] = slot + 1;
            }
        }
        assert_true(kept > 100);
        mask_slots_destroy(slots);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mask_stays_where_it_is),
        cmocka_unit_test(a_mask_without_a_number_is_of_its_call),
        cmocka_unit_test(any_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
