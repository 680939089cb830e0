/* SPDX-License-Identifier: Apache-2.0 */
/* Which stream of random numbers a row draws from: by its own seed, its id and content, or its
 * number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/data.h"

static const struct row_format plain_format;
static const int32_t tokens[] = {5, 17, 9};

/* The stream of a JSON line at this place of the data set. */
static uint64_t stream_of(int64_t index, const char *line, const int32_t *ids, size_t count)
{
    struct generate_params job;
    struct arena arena = {0};
    struct row row;
    generate_params_defaults(&job);
    job.sampling.seed = 11;
    job.seed_is_own = true; /* as a job that sets its seed has it */
    struct record record = {.row = index, .position = index + 1, .kind = RECORD_JSON};
    assert_int_equal(buffer_append_text(&record.bytes, line), STATUS_OK);
    assert_int_equal(row_parse(&record, &plain_format, &job, &arena, &row), STATUS_OK);
    uint64_t stream = random_stream(&row, ids, count);
    buffer_destroy(&record.bytes);
    arena_destroy(&arena);
    return stream;
}

static uint64_t simple(int64_t index, const char *line)
{
    return stream_of(index, line, tokens, 3);
}

static void numbers_count_without_ids(void **state)
{
    (void)state;
    assert_true(simple(0, "{\"prompt\": \"Hi\"}") == 0);
    assert_true(simple(41, "{\"prompt\": \"Hi\"}") == 41);
    assert_true(simple(41, "{\"prompt\": \"Hi\", \"id\": null, \"seed\": null}") == 41);
    assert_false(random_stream_has_id(41));
}

static void own_seeds_count_alone(void **state)
{
    (void)state;
    uint64_t first = simple(0, "{\"prompt\": \"Hi\", \"seed\": 3}");
    assert_true(first == simple(9, "{\"prompt\": \"Hi\", \"seed\": 4, \"id\": \"a\"}"));
    assert_true(first == stream_of(2, "{\"prompt\": \"Hi\", \"seed\": 3}", tokens, 1));
    assert_true(first != simple(0, "{\"prompt\": \"Hi\"}"));
    assert_false(random_stream_has_id(first));
}

static void ids_count_wherever_the_row_stands(void **state)
{
    (void)state;
    uint64_t first = simple(0, "{\"prompt\": \"Hi\", \"id\": \"a\"}");
    assert_true(random_stream_has_id(first));
    assert_true(first == simple(7, "{\"id\": \"a\", \"prompt\": \"Hi\", \"more\": 1}"));
    assert_true(first != simple(0, "{\"prompt\": \"Hi\", \"id\": \"b\"}"));
    /* Ids as written: 7 and 7.0 are two. */
    uint64_t seven = simple(0, "{\"prompt\": \"Hi\", \"id\": 7}");
    assert_true(seven != 7);
    assert_true(seven != simple(0, "{\"prompt\": \"Hi\", \"id\": 7.0}"));
}

static void an_id_shared_by_mistake_shares_nothing(void **state)
{
    (void)state;
    static const int32_t other[] = {5, 17, 8};
    static const char line[] = "{\"prompt\": \"Hi\", \"id\": \"a\"}";
    uint64_t first = simple(0, line);
    assert_true(first != stream_of(0, line, other, 3));
    assert_true(first != stream_of(0, line, tokens, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_count_without_ids),
        cmocka_unit_test(own_seeds_count_alone),
        cmocka_unit_test(ids_count_wherever_the_row_stands),
        cmocka_unit_test(an_id_shared_by_mistake_shares_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
