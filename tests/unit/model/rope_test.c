/* SPDX-License-Identifier: Apache-2.0 */
/* Inverse frequencies against what transformers' modeling_rope_utils.py computes in float32 for a
 * head of 16 (numpy, the same order of operations). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sluice/model.h"

static const double short_factor[] = {1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7};
static const double long_factor[] = {2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5};

static const struct {
    const char *name;
    struct rope_config rope;
    int max_positions, max_model_len;
    float expected[8], expected_long[8], magnitude;
} cases[] = {
    {"default",
     {.kind = ROPE_DEFAULT, .theta = 1e4},
     128,
     512,
     {1, 0.316227764f, 0.100000001f, 0.0316227786f, 0.00999999978f, 0.00316227786f, 0.00100000005f,
      0.000316227786f},
     {0},
     1},
    {"linear",
     {.kind = ROPE_LINEAR, .theta = 1e4, .factor = 8},
     128,
     512,
     {0.125f, 0.0395284705f, 0.0125000002f, 0.00395284733f, 0.00124999997f, 0.000395284733f,
      0.000125000006f, 3.95284733e-05f},
     {0},
     1},
    {"dynamic",
     {.kind = ROPE_DYNAMIC, .theta = 1e4, .factor = 2},
     128,
     512,
     {1, 0.239481375f, 0.057351321f, 0.0137345716f, 0.00328917429f, 0.00078769587f, 0.000188638471f,
      4.51753949e-05f},
     {0},
     1},
    {"dynamic within the trained length",
     {.kind = ROPE_DYNAMIC, .theta = 1e4, .factor = 2},
     128,
     100,
     {1, 0.316227764f, 0.100000001f, 0.0316227786f, 0.00999999978f, 0.00316227786f, 0.00100000005f,
      0.000316227786f},
     {0},
     1},
    {"llama3",
     {.kind = ROPE_LLAMA3,
      .theta = 5e5,
      .factor = 8,
      .low_frequency_factor = 1,
      .high_frequency_factor = 4,
      .original_max_positions = 64},
     1024,
     512,
     {1, 0.079403013f, 0.00470075384f, 0.000911583134f, 0.000176776681f, 3.42810235e-05f,
      6.64787058e-06f, 1.28917316e-06f},
     {0},
     1},
    {"yarn",
     {.kind = ROPE_YARN,
      .theta = 1e6,
      .factor = 4,
      .beta_fast = 32,
      .beta_slow = 1,
      .truncate = true,
      .original_max_positions = 2048},
     8192,
     512,
     {1, 0.177827939f, 0.023717083f, 0.00281170662f, 0.000250000012f, 4.44569851e-05f,
      7.90569356e-06f, 1.40585337e-06f},
     {0},
     1.13862944f},
    {"yarn, not truncated, with both scales",
     {.kind = ROPE_YARN,
      .theta = 1e6,
      .factor = 4,
      .beta_fast = 32,
      .beta_slow = 1,
      .mscale = 0.7,
      .mscale_all_dim = 0.5,
      .original_max_positions = 2048},
     8192,
     512,
     {1, 0.177827939f, 0.0238701943f, 0.00214322237f, 0.000250000012f, 4.44569851e-05f,
      7.90569356e-06f, 1.40585337e-06f},
     {0},
     1.02592865f},
    {"longrope",
     {.kind = ROPE_LONGROPE,
      .theta = 1e4,
      .factor = 8,
      .original_max_positions = 512,
      .factor_count = 8,
      .short_factor = short_factor,
      .long_factor = long_factor},
     4096,
     512,
     {1, 0.287479758f, 0.0833333358f, 0.0243252143f, 0.00714285718f, 0.00210818532f,
      0.000624999986f, 0.000186016332f},
     {0.5f, 0.126491114f, 0.0333333351f, 0.00903507881f, 0.00249999994f, 0.000702728401f,
      0.000199999995f, 5.74959558e-05f},
     1.15470054f},
};

/* Within two units in the last place: the powers of two libraries differ by one. */
static void assert_close(const char *name, int i, float value, float expected)
{
    float difference = value > expected ? value - expected : expected - value;
    if (!(difference <= 2.4e-7f * expected)) {
        fail_msg("%s: %d: %.9g where %.9g is right", name, i, (double)value, (double)expected);
    }
}

static void frequencies_are_the_references(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct arena arena = {0};
        struct rope_facts facts;
        struct model_config config = {.head_dim = 16,
                                      .rotary_fraction = 1,
                                      .max_positions = cases[i].max_positions,
                                      .rope_local = cases[i].rope};
        assert_int_equal(rope_facts_create(&config, true, cases[i].max_model_len, &arena, &facts),
                         STATUS_OK);
        assert_int_equal(facts.dimensions, 16);
        for (int j = 0; j < 8; j++) {
            assert_close(cases[i].name, j, facts.inverse_frequency[j], cases[i].expected[j]);
        }
        assert_int_equal(facts.long_inverse_frequency != NULL, cases[i].rope.kind == ROPE_LONGROPE);
        for (int j = 0; facts.long_inverse_frequency != NULL && j < 8; j++) {
            assert_close(cases[i].name, j, facts.long_inverse_frequency[j],
                         cases[i].expected_long[j]);
        }
        assert_close(cases[i].name, -1, facts.magnitude, cases[i].magnitude);
        assert_close(cases[i].name, -1, facts.long_magnitude, cases[i].magnitude);
        arena_destroy(&arena);
    }
}

static void a_part_of_the_head_may_be_rotated(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct rope_facts facts;
    struct model_config config = {
        .head_dim = 32, .rotary_fraction = 0.5, .rope = {.kind = ROPE_DEFAULT, .theta = 1e4}};
    assert_int_equal(rope_facts_create(&config, false, 64, &arena, &facts), STATUS_OK);
    assert_int_equal(facts.dimensions, 16);
    assert_close("half", 1, facts.inverse_frequency[1], 0.316227764f);
    config.rope.kind = ROPE_NONE;
    assert_int_equal(rope_facts_create(&config, false, 64, &arena, &facts), STATUS_OK);
    assert_int_equal(facts.dimensions, 0);
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frequencies_are_the_references),
        cmocka_unit_test(a_part_of_the_head_may_be_rotated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
