/* SPDX-License-Identifier: Apache-2.0 */
/* A timeline is JSON that says what was added, when it was, and no more. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "measure/timeline.h"
#include "sluice/json.h"

static const struct json *field(const struct json *object, const char *name)
{
    const struct json *value = json_get(object, name);
    assert_non_null(value);
    return value;
}

static double number(const struct json *object, const char *name)
{
    double value;
    assert_true(json_double(field(object, name), &value));
    return value;
}

static void events_are_written(void **state)
{
    (void)state;
    struct timeline timeline = {0};
    timeline_restart(&timeline);
    const double zero = timeline.start;
    timeline_add(&timeline, TIMELINE_HOST, "forgotten", zero, zero + 1);
    timeline_restart(&timeline);
    const double start = timeline.start;
    timeline_add(&timeline, TIMELINE_HOST, "plan", start + 0.001, start + 0.003);
    timeline_add(&timeline, TIMELINE_HOST, "nothing", start + 1, start + 1);
    timeline_add_step(&timeline, "decode", start + 0.003, start + 0.0035, 7, 2);
    struct buffer text = {0};
    assert_int_equal(buffer_append_text(&text, "["), STATUS_OK);
    assert_int_equal(timeline_write(&timeline, 3, "rank \"3\"", &text), STATUS_OK);
    text.length -= strlen(",\n");
    assert_int_equal(buffer_append_text(&text, "]"), STATUS_OK);

    struct arena arena = {0};
    struct json *events;
    assert_int_equal(json_parse(text.data, text.length, &arena, &events), STATUS_OK);
    assert_int_equal(events->length, 1 + TIMELINE_LANES + 2);
    assert_string_equal(field(field(events->items[0], "args"), "name")->text, "rank \"3\"");
    const struct json *plan = events->items[1 + TIMELINE_LANES];
    const struct json *step = events->items[2 + TIMELINE_LANES];
    assert_string_equal(field(plan, "name")->text, "plan");
    assert_true(fabs(number(plan, "ts") - 1000) < 0.01);
    assert_true(fabs(number(plan, "dur") - 2000) < 0.01);
    assert_true(number(plan, "tid") == TIMELINE_HOST);
    assert_null(json_get(plan, "args"));
    assert_true(number(step, "pid") == 3 && number(step, "tid") == TIMELINE_STEPS);
    assert_true(number(field(step, "args"), "tokens") == 7);
    assert_true(number(field(step, "args"), "prefill tokens") == 2);
    arena_destroy(&arena);

    timeline.is_cut = true; /* as where memory ended */
    assert_int_equal(timeline_write(&timeline, 3, "", &text), STATUS_NO_MEMORY);
    buffer_destroy(&text);
    timeline_destroy(&timeline);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(events_are_written)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
