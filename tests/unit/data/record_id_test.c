/* SPDX-License-Identifier: Apache-2.0 */
/* Ids of records that are not to be parsed: they are those that parsing finds, or none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/data.h"

static bool find(const char *line, const char *field, struct arena *arena, struct record_id *id)
{
    struct record record = {.kind = RECORD_JSON};
    assert_int_equal(buffer_append_text(&record.bytes, line), STATUS_OK);
    bool found = record_find_id(&record, field, arena, id);
    buffer_destroy(&record.bytes);
    return found;
}

static void ids_are_those_that_parsing_finds(void **state)
{
    (void)state;
    static const struct {
        const char *line, *field;
    } cases[] = {
        {"{\"id\": \"a\", \"prompt\": \"x\"}", NULL},
        {"{\"prompt\": \"x\", \"custom_id\": \"b\"}", NULL},
        {"{\"custom_id\": \"b\", \"id\": \"a\", \"prompt\": \"x\"}", NULL},
        {"{\"id\":\"a\",\"custom_id\":\"b\",\"url\":\"/v1/completions\",\"body\":{\"id\":\"c\","
         "\"prompt\":\"x\"}}",
         NULL},
        {"{\"id\": \"a\", \"method\": \"POST\", \"body\": {\"prompt\": \"x\"}}", NULL},
        {"{ \"name\" : 12.50 , \"prompt\": \"x\", \"id\": \"a\"}", "name"},
        {"{\"prompt\": \"\\\"id\\\": 7, {[\", \"id\": \"a\\n\\u00e9\\\"\"}", NULL},
        {"{\"meta\": {\"id\": \"no\", \"list\": [{\"id\": 1}]}, \"prompt\": \"x\", \"id\": -7}",
         NULL},
        {"{\"tags\": [\"id\", \"custom_id\"], \"prompt\": \"id\", \"id\": \"\"}", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct generate_params defaults;
        generate_params_defaults(&defaults);
        struct arena arena = {0};
        struct record record = {.kind = RECORD_JSON};
        const struct row_format format = {.id_field = cases[i].field};
        struct row row;
        struct record_id id;
        assert_int_equal(buffer_append_text(&record.bytes, cases[i].line), STATUS_OK);
        assert_int_equal(row_parse(&record, &format, &defaults, &arena, &row), STATUS_OK);
        assert_true(row.has_id);
        assert_true(record_find_id(&record, cases[i].field, &arena, &id));
        assert_int_equal(id.length, row.id_length);
        assert_memory_equal(id.text, row.id, id.length);
        assert_int_equal(id.is_number, row.id_is_number);
        buffer_destroy(&record.bytes);
        arena_destroy(&arena);
    }
}

static void what_has_no_id_has_none(void **state)
{
    (void)state;
    static const char *const lines[] = {"",
                                        "{",
                                        "{\"id",
                                        "{\"id\":",
                                        "{\"id\": \"a",
                                        "{\"id\": \"a\\",
                                        "{\"id\": null}",
                                        "{\"id\": {\"id\": 1}}",
                                        "{\"id\": [1]}",
                                        "{\"id\": 1-2}",
                                        "]]}}{\"idd\": 1}",
                                        "\"id\": 1",
                                        "[\"id\", 1]",
                                        "{\"meta\": {\"id\": 1}}"};
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        struct arena arena = {0};
        struct record_id id;
        assert_false(find(lines[i], NULL, &arena, &id));
        arena_destroy(&arena);
    }
    char wide[5000];
    memset(wide, 'x', sizeof wide);
    memcpy(wide, "{\"id\": \"", 8);
    memcpy(wide + sizeof wide - 3, "\"}", 3);
    struct arena arena = {0};
    struct record_id id;
    assert_false(find(wide, NULL, &arena, &id));
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_those_that_parsing_finds),
        cmocka_unit_test(what_has_no_id_has_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
