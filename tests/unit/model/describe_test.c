/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of what can be read are those of docs/models.md, line by line; and the values that a
 * model brings for sampling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "scratch_folder.h"
#include "sluice/json.h"
#include "sluice/model.h"

/* Every line of the text that is not empty stands in the page, in the same order. */
static void expect_in_page(const char *text, const char *page)
{
    const char *at = page;
    int lines = 0;
    for (const char *line = text; *line != '\0'; lines++) {
        const size_t length = strcspn(line, "\n");
        char wanted[4096];
        assert_true(length + 2 < sizeof wanted);
        wanted[0] = '\n';
        memcpy(wanted + 1, line, length);
        wanted[length + 1] = '\n';
        wanted[length + 2] = '\0';
        const char *found = length > 0 ? strstr(at, wanted) : at;
        if (found == NULL) {
            fail_msg("not in docs/models.md, or not in its place: %s", wanted + 1);
        }
        at = length > 0 ? found + length + 1 : at;
        line += length + (line[length] == '\n');
    }
    assert_true(lines > 10);
}

static void tables_are_those_of_the_page(void **state)
{
    (void)state;
    struct buffer page = {0}, families = {0}, formats = {0};
    assert_int_equal(file_read(SLUICE_SOURCE_DIR "/docs/models.md", 1 << 20, &page), STATUS_OK);
    assert_int_equal(model_describe_families(&families), STATUS_OK);
    assert_int_equal(model_describe_formats(&formats), STATUS_OK);
    expect_in_page(families.data, page.data);
    expect_in_page(formats.data, page.data);
    buffer_destroy(&page);
    buffer_destroy(&families);
    buffer_destroy(&formats);
}

/* ---- Sampling ---- */

static const char *const names[] = {"temperature",        "top_k",         "top_p", "min_p",
                                    "repetition_penalty", "max_new_tokens"};

static void expect_sampling(const struct model *model, const char *const texts[COUNT_OF(names)])
{
    const char *name;
    const struct json *value;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        assert_true(model_sampling_default(model, i, &name, &value));
        assert_string_equal(name, names[i]);
        if (texts[i] == NULL) {
            assert_null(value);
        } else if (texts[i][0] == '\0') {
            assert_int_not_equal(value->type, JSON_NUMBER);
        } else {
            assert_int_equal(value->type, JSON_NUMBER);
            assert_int_equal(value->length, strlen(texts[i]));
            assert_memory_equal(value->text, texts[i], value->length);
        }
    }
    assert_false(model_sampling_default(model, COUNT_OF(names), &name, &value));
}

static void put(void **state, const char *name, const char *text)
{
    assert_non_null(scratch_write(state, name, text, strlen(text)));
}

static void a_folder_brings_sampling_values(void **state)
{
    struct buffer config = {0};
    assert_int_equal(file_read(SLUICE_SOURCE_DIR "/data/small-model/config.json", 1 << 20, &config),
                     STATUS_OK);
    put(state, "config.json", config.data);
    buffer_destroy(&config);
    static const struct {
        const char *text, *values[COUNT_OF(names)];
    } cases[] = {
        {"{}", {NULL}},
        {"{\"top_k\": 20, \"temperature\": 0.70, \"do_sample\": true, \"max_new_tokens\": 2048}",
         {"0.70", "20", NULL, NULL, NULL, "2048"}},
        {"{\"top_p\": null, \"min_p\": 1e-2, \"repetition_penalty\": \"some\"}",
         {NULL, NULL, NULL, "1e-2", "", NULL}},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct model *model;
        put(state, "generation_config.json", cases[i].text);
        if (model_open(((struct scratch_folder *)*state)->path, &model) != STATUS_OK) {
            fail_msg("%s", status_message());
        }
        expect_sampling(model, cases[i].values);
        model_close(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_those_of_the_page),
        cmocka_unit_test_setup_teardown(a_folder_brings_sampling_values, scratch_create,
                                        scratch_destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
