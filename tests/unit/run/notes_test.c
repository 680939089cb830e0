/* SPDX-License-Identifier: Apache-2.0 */
/* Notes of several ranks put together, bounded, and said in words; names of models. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "run/report/model_name.h"
#include "run/report/notes.h"

static void note(struct notes *notes, enum note_kind kind, const char *name, int64_t rows)
{
    for (int64_t i = 0; i < rows; i++) {
        notes_add_row(notes, kind);
    }
    assert_int_equal(notes_add_name(notes, kind, name, strlen(name), rows), STATUS_OK);
}

static void ranks_are_put_together(void **state)
{
    (void)state;
    struct notes first = {0}, second = {0};
    struct buffer packed = {0}, words = {0};
    note(&first, NOTE_ROW_PARAMETERS, "n", 1);
    note(&second, NOTE_ROW_PARAMETERS, "stop", 1);
    note(&second, NOTE_ROW_PARAMETERS, "n", 1);
    note(&second, NOTE_OTHER_MODEL, "a\nb", 1);
    assert_int_equal(notes_pack(&second, &packed), STATUS_OK);
    for (size_t length = 0; length < packed.length; length++) {
        struct notes cut = {0};
        assert_int_equal(notes_merge(&cut, packed.data, length), STATUS_INTERNAL);
        notes_destroy(&cut);
    }
    assert_int_equal(notes_merge(&first, packed.data, packed.length), STATUS_OK);
    assert_int_equal(notes_describe(&first, &words), STATUS_OK);
    assert_string_equal(words.data,
                        "3 rows: columns taken for parameters: n, stop; where they are data, set "
                        "data.row_parameters=false\n"
                        "1 row: requests name another model, and this job's has answered them: a "
                        "b\n");
    notes_destroy(&first);
    notes_destroy(&second);
    buffer_destroy(&packed);
    buffer_destroy(&words);
}

/* Names that data sets make up do not fill memory or the screen. */
static void names_are_bounded(void **state)
{
    (void)state;
    struct notes notes = {0};
    struct buffer words = {0};
    char name[200];
    for (int i = 0; i < 1000; i++) {
        snprintf(
            name, sizeof name, "%03d%.*s", i, 150,
            "éééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé");
        note(&notes, NOTE_OTHER_MODEL, name, 1);
    }
    assert_int_equal(notes.kinds[NOTE_OTHER_MODEL].name_count, NOTE_MAX_NAMES);
    assert_int_equal(notes.kinds[NOTE_OTHER_MODEL].rows, 1000);
    assert_int_equal(notes_describe(&notes, &words), STATUS_OK);
    assert_true(words.length < 1000);
    size_t bad;
    assert_true(utf8_valid(words.data, words.length, &bad));
    assert_non_null(strstr(words.data, " and others"));
    notes_destroy(&notes);
    buffer_destroy(&words);
}

static void models_go_by_several_names(void **state)
{
    (void)state;
    static const struct {
        const char *path, *name;
        bool is_it;
    } cases[] = {
        {"models/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-7B-Instruct", true},
        {"models/Qwen2.5-7B-Instruct/", "qwen2.5-7b-instruct", true},
        {"models/Qwen2.5-7B-Instruct-Q4_K_M.gguf", "Qwen2.5-7B-Instruct", true},
        {"models/Qwen2.5-7B-Instruct.gguf", "Qwen2.5-7B-Instruct.gguf", true},
        {"models/small-model", "small", true},
        {"models/small-model", "models/small-model", true},
        {"/c/models--Qwen--Qwen2.5-7B/snapshots/0af", "Qwen/Qwen2.5-7B", true},
        {"org/name", "org/name", true},
        {"llama3.1-8b", "llama3.1:8b", true},
        {"models/small-model", "gpt-4o", false},
        {"models/gpt-4o", "gpt-4", false},
        {"models/Qwen2.5-7B", "Qwen2.5-7B-Instruct", false},
        {"models/small-model", "", false},
        {"", "x", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        if (model_goes_by(cases[i].path, cases[i].name) != cases[i].is_it) {
            fail_msg("%s, %s", cases[i].path, cases[i].name);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_are_put_together),
        cmocka_unit_test(names_are_bounded),
        cmocka_unit_test(models_go_by_several_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
