/* SPDX-License-Identifier: Apache-2.0 */
/* Philox4x32-10 against the known answers of Random123 (kat_vectors). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/philox.h"

static void known_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], expected[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t words[4];
        for (int j = 0; j < 4; j++) {
            words[j] = cases[i].counter[j];
        }
        philox_generate(words, cases[i].key[0], cases[i].key[1]);
        for (int j = 0; j < 4; j++) {
            assert_int_equal(words[j], cases[i].expected[j]);
        }
    }
}

/* Seed 0, everything 0 is the first known answer; each argument, and each half of the wide ones,
 * matters. */
static void token_bits_depend_on_everything(void **state)
{
    (void)state;
    uint64_t bits[] = {
        philox_token_bits(0, 0, 0, 0),
        philox_token_bits(1, 0, 0, 0),
        philox_token_bits(UINT64_C(1) << 32, 0, 0, 0),
        philox_token_bits(0, 1, 0, 0),
        philox_token_bits(0, INT64_C(1) << 32, 0, 0),
        philox_token_bits(0, 0, 1, 0),
        philox_token_bits(0, 0, 0, 1),
    };
    assert_true(bits[0] == UINT64_C(0xe169c58d6627e8d5));
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++) {
        for (size_t j = 0; j < i; j++) {
            assert_true(bits[i] != bits[j]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(token_bits_depend_on_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
