/* SPDX-License-Identifier: Apache-2.0 */
/* A model's named templates: which files they come from, which of two by one name counts, which is
 * chosen, and what the digest covers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "model/text/chat_templates.h"
#include "scratch_folder.h"
#include "sluice/base.h"

static const char *root_of(void **state)
{
    return ((struct scratch_folder *)*state)->path;
}

static void put(void **state, const char *name, const char *text)
{
    assert_non_null(scratch_write(state, name, text, strlen(text)));
}

/* `config`: tokenizer_config.json's text. */
static status open_set(void **state, const char *config, struct template_set *set)
{
    struct arena arena = {0};
    struct json *json = NULL;
    *set = (struct template_set){0};
    if (config != NULL) {
        assert_int_equal(json_parse(config, strlen(config), &arena, &json), STATUS_OK);
    }
    const status s = template_set_open_directory(set, root_of(state), json);
    arena_destroy(&arena);
    return s;
}

static void expect_names(void **state, const char *config, const char *names)
{
    struct template_set set;
    assert_int_equal(open_set(state, config, &set), STATUS_OK);
    assert_string_equal(set.names, names);
    template_set_destroy(&set);
    assert_int_equal(set.count, 0);
}

static void sources_in_their_order(void **state)
{
    expect_names(state, NULL, "");
    expect_names(state, "{\"chat_template\": \"a\"}", "default");
    expect_names(
        state,
        "{\"chat_template\": [{\"name\": \"x\", \"template\": \"a\"}, {\"name\": 3, "
        "\"template\": \"b\"}, {\"name\": \"y\"}, {\"name\": \"z\", \"template\": \"c\"}]}",
        "x, z");
    expect_names(state, "{\"chat_template\": {\"p\": \"a\", \"q\": 4, \"r\": \"b\"}}", "p, r");
    expect_names(state, "{\"chat_template\": 5}", "");
    put(state, "chat_template.json", "{\"chat_template\": {\"of_processor\": \"a\"}}");
    expect_names(state, NULL, "of_processor");
    expect_names(state, "{\"chat_template\": \"a\"}", "default"); /* which counts first */
    assert_int_equal(mkdir(scratch_path(state, "additional_chat_templates"), 0700), 0);
    put(state, "additional_chat_templates/tool_use.jinja", "a");
    put(state, "additional_chat_templates/rag.jinja", "b");
    put(state, "additional_chat_templates/.hidden.jinja", "c");
    put(state, "additional_chat_templates/.jinja", "c");
    put(state, "additional_chat_templates/note.txt", "c");
    put(state, "additional_chat_templates/bad\xff.jinja", "c");
    expect_names(state, "{\"chat_template\": \"a\"}", "rag, tool_use, default");
    put(state, "chat_template.jinja", "the file");
    expect_names(state, "{\"chat_template\": {\"p\": \"a\"}}", "default, rag, tool_use");
    put(state, "chat_template.json", "{");
    assert_int_equal(remove(scratch_path(state, "chat_template.jinja")), 0);
    struct template_set set;
    assert_int_not_equal(open_set(state, NULL, &set), STATUS_OK);
    assert_non_null(strstr(status_message(), "/chat_template.json"));
    template_set_destroy(&set);
}

static void of_two_by_one_name_the_first_stays(void **state)
{
    struct template_set set;
    assert_int_equal(mkdir(scratch_path(state, "additional_chat_templates"), 0700), 0);
    put(state, "chat_template.jinja", "first");
    put(state, "additional_chat_templates/default.jinja", "{% nonsense %}");
    assert_int_equal(open_set(state, NULL, &set), STATUS_OK);
    assert_int_equal(set.count, 1);
    assert_non_null(set.items[0].template_);
    template_set_destroy(&set);
}

static void what_cannot_be_parsed_is_kept_as_a_reason(void **state)
{
    struct template_set set;
    static const char config[] =
        "{\"chat_template\": {\"good\": \"a\", \"bad\": \"{% nonsense %}\"}}";
    assert_int_equal(open_set(state, config, &set), STATUS_OK);
    const struct named_template *bad = template_set_find(&set, "bad", 3);
    assert_non_null(bad);
    assert_null(bad->template_);
    assert_int_not_equal(bad->status, STATUS_OK);
    assert_non_null(strstr(bad->problem, "chat_template"));
    assert_null(template_set_find(&set, "ba", 2));
    assert_null(template_set_find(&set, "badx", 4));
    assert_ptr_equal(template_set_find(&set, "goodness", 4), &set.items[0]);

    assert_int_equal(template_set_choose(&set, "good"), STATUS_OK);
    assert_string_equal(set.chosen, "good");
    assert_string_equal(set.chosen_sha256, "");
    const status why = bad->status;
    assert_int_equal(template_set_choose(&set, "bad"), why);
    assert_non_null(strstr(status_message(), "chat_template"));
    assert_int_equal(template_set_choose(&set, "no_such"), STATUS_NOT_FOUND);
    assert_string_equal(status_message(), "no_such is neither a file nor the name of one of the "
                                          "model's templates (good, bad)");
    put(state, "own.jinja", "abc");
    const char *path = scratch_path(state, "own.jinja");
    assert_int_equal(template_set_choose(&set, path), STATUS_OK);
    assert_string_equal(set.chosen, path);
    assert_string_equal(set.chosen_sha256,
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_non_null(template_set_find(&set, path, strlen(path)));
    put(state, "wrong.jinja", "{% nonsense %}");
    assert_int_not_equal(template_set_choose(&set, scratch_path(state, "wrong.jinja")), STATUS_OK);
    assert_non_null(strstr(status_message(), "wrong.jinja"));
    template_set_destroy(&set);
    assert_int_equal(open_set(state, NULL, &set), STATUS_OK);
    assert_int_equal(template_set_choose(&set, "no_such"), STATUS_NOT_FOUND);
    assert_non_null(strstr(status_message(), "(it has none)"));
    template_set_destroy(&set);
}

static void digest_of(void **state, char out[65])
{
    struct sha256 *hash = sha256_create();
    assert_non_null(hash);
    assert_int_equal(template_set_digest(root_of(state), hash), STATUS_OK);
    sha256_finish(hash, out);
}

/* "NAME LENGTH\n" and the file, for each of them. */
static void digests_cover_every_file(void **state)
{
    char none[65], expected[65], found[65];
    digest_of(state, none);
    put(state, "chat_template.json", "{}");
    assert_int_equal(mkdir(scratch_path(state, "additional_chat_templates"), 0700), 0);
    put(state, "additional_chat_templates/b.jinja", "second");
    put(state, "additional_chat_templates/a.jinja", "first");
    put(state, "additional_chat_templates/c.txt", "no template");
    static const char all[] = "chat_template.json 2\n{}additional_chat_templates/a.jinja 5\nfirst"
                              "additional_chat_templates/b.jinja 6\nsecond";
    struct sha256 *hash = sha256_create();
    assert_non_null(hash);
    sha256_update(hash, all, strlen(all));
    sha256_finish(hash, expected);
    digest_of(state, found);
    assert_string_equal(found, expected);
    assert_string_not_equal(found, none);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, scratch_create, scratch_destroy)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(sources_in_their_order),
        WITH_FOLDER(of_two_by_one_name_the_first_stays),
        WITH_FOLDER(what_cannot_be_parsed_is_kept_as_a_reason),
        WITH_FOLDER(digests_cover_every_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
