/* SPDX-License-Identifier: Apache-2.0 */
/* When silence is a warning and when it is the end; what a beat's bytes must be to count; ranks in
 * words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "run/hosts/beat.h"
#include "run/hosts/host_table.h"
#include "run/hosts/silence.h"

static const struct silence_limits limits = {.warn = 15, .limit = 90};

/* Passes so many seconds without a sign; how often each event came. */
struct events {
    int counts[SILENCE_END + 1];
};

static struct events pass(struct silence *silence, int seconds, const struct silence_limits *given)
{
    struct events events = {{0}};
    for (int i = 0; i < seconds; i++) {
        events.counts[silence_judge(silence, false, 1, given)]++;
    }
    return events;
}

static void a_silence_warns_and_ends(void **state)
{
    (void)state;
    struct silence silence = {0};
    assert_int_equal(silence_judge(&silence, true, 1, &limits), SILENCE_NOTHING);
    struct events events = pass(&silence, 14, &limits);
    assert_int_equal(events.counts[SILENCE_NOTHING], 14);
    assert_int_equal(silence_judge(&silence, false, 1, &limits), SILENCE_WARN);
    events = pass(&silence, 74, &limits);
    assert_int_equal(events.counts[SILENCE_NOTHING], 74);
    assert_int_equal(silence_judge(&silence, false, 1, &limits), SILENCE_END);
    events = pass(&silence, 100, &limits);
    assert_int_equal(events.counts[SILENCE_NOTHING], 100);
}

static void a_host_that_comes_back_starts_anew(void **state)
{
    (void)state;
    struct silence silence = {0};
    assert_int_equal(silence_judge(&silence, true, 1, &limits), SILENCE_NOTHING);
    pass(&silence, 89, &limits);
    assert_int_equal(silence_judge(&silence, true, 1, &limits), SILENCE_BACK);
    assert_true(silence.before == 89);
    assert_int_equal(silence_judge(&silence, true, 1, &limits), SILENCE_NOTHING);
    struct events events = pass(&silence, 89, &limits);
    assert_int_equal(events.counts[SILENCE_WARN], 1);
    assert_int_equal(events.counts[SILENCE_END], 0);
}

static void a_host_that_was_never_heard_ends_nothing(void **state)
{
    (void)state;
    struct silence silence = {0};
    struct events events = pass(&silence, 500, &limits);
    assert_int_equal(events.counts[SILENCE_MISSING], 1);
    assert_int_equal(events.counts[SILENCE_NOTHING], 499);
    /* That it is heard late is not its return. */
    assert_int_equal(silence_judge(&silence, true, 1, &limits), SILENCE_NOTHING);
}

static void without_a_limit_the_job_waits(void **state)
{
    (void)state;
    static const struct silence_limits off = {.warn = 15, .limit = -1};
    struct silence silence = {0};
    assert_int_equal(silence_judge(&silence, true, 1, &off), SILENCE_NOTHING);
    struct events events = pass(&silence, 5000, &off);
    assert_int_equal(events.counts[SILENCE_WARN], 1);
    assert_int_equal(events.counts[SILENCE_END], 0);
}

static void a_limit_below_the_warning_ends_without_one(void **state)
{
    (void)state;
    static const struct silence_limits early = {.warn = 15, .limit = 5};
    struct silence silence = {0};
    assert_int_equal(silence_judge(&silence, true, 1, &early), SILENCE_NOTHING);
    struct events events = pass(&silence, 20, &early);
    assert_int_equal(events.counts[SILENCE_END], 1);
    assert_int_equal(events.counts[SILENCE_WARN], 0);
}

/* ---- Beats ---- */

static const uint8_t token[BEAT_TOKEN_BYTES] = {1, 2, 3, 250};

static void a_beat_survives_its_bytes(void **state)
{
    (void)state;
    const struct beat beat = {.rank = 511, .number = UINT64_C(0x123456789abcdef0), .lost = -1};
    struct beat back = {0};
    uint8_t bytes[BEAT_BYTES];
    assert_true(beat_pack(&beat, token, bytes));
    assert_true(beat_unpack(bytes, sizeof bytes, token, &back));
    assert_int_equal(back.rank, 511);
    assert_true(back.number == beat.number);
    assert_int_equal(back.lost, -1);
}

static void no_other_bytes_are_a_beat(void **state)
{
    (void)state;
    const struct beat beat = {.rank = 3, .number = 77, .lost = 1};
    struct beat back;
    uint8_t bytes[BEAT_BYTES + 1] = {0}, other[BEAT_TOKEN_BYTES];
    assert_true(beat_pack(&beat, token, bytes));
    for (size_t length = 0; length <= BEAT_BYTES + 1; length++) {
        assert_int_equal(beat_unpack(bytes, length, token, &back), length == BEAT_BYTES);
    }
    for (size_t bit = 0; bit < (size_t)8 * BEAT_BYTES; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(beat_unpack(bytes, BEAT_BYTES, token, &back));
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    memcpy(other, token, sizeof other);
    other[31] ^= 1;
    assert_false(beat_unpack(bytes, BEAT_BYTES, other, &back));
    assert_true(beat_unpack(bytes, BEAT_BYTES, token, &back));
}

/* RFC 4231, test case 2. */
static void the_code_is_hmac_sha256(void **state)
{
    (void)state;
    static const uint8_t expected[32] = {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e,
                                         0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7,
                                         0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83,
                                         0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43};
    static const char text[] = "what do ya want for nothing?";
    uint8_t code[32];
    assert_true(hmac_sha256("Jefe", 4, text, sizeof text - 1, code));
    assert_memory_equal(code, expected, sizeof code);
}

/* ---- Ranks in words ---- */

static void expect_ranks(int *ranks, int count, const char *expected)
{
    char text[64];
    const struct host host = {.ranks = ranks, .count = count};
    assert_string_equal(host_describe_ranks(&host, text, sizeof text), expected);
}

static void ranks_are_listed_as_ranges(void **state)
{
    (void)state;
    expect_ranks((int[]){3}, 1, "rank 3");
    expect_ranks((int[]){2, 3}, 2, "ranks 2-3");
    expect_ranks((int[]){0, 2, 4}, 3, "ranks 0, 2, 4");
    expect_ranks((int[]){0, 1, 2, 7, 9, 10}, 6, "ranks 0-2, 7, 9-10");
    int many[200];
    for (int i = 0; i < 200; i++) {
        many[i] = 2 * i;
    }
    char text[16];
    const struct host host = {.ranks = many, .count = 200};
    assert_string_equal(host_describe_ranks(&host, text, sizeof text), "ranks 0, 2, 4, ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_silence_warns_and_ends),
        cmocka_unit_test(a_host_that_comes_back_starts_anew),
        cmocka_unit_test(a_host_that_was_never_heard_ends_nothing),
        cmocka_unit_test(without_a_limit_the_job_waits),
        cmocka_unit_test(a_limit_below_the_warning_ends_without_one),
        cmocka_unit_test(a_beat_survives_its_bytes),
        cmocka_unit_test(no_other_bytes_are_a_beat),
        cmocka_unit_test(the_code_is_hmac_sha256),
        cmocka_unit_test(ranks_are_listed_as_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
