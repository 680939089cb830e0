/* SPDX-License-Identifier: Apache-2.0 */
/* Where a model lies, and what its files are by their names and first bytes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "model/read/model_files.h"
#include "scratch_folder.h"
#include "sluice/model.h"

static const char *root_of(void **state)
{
    return ((struct scratch_folder *)*state)->path;
}

static void put(void **state, const char *name)
{
    char folder[512];
    const char *path = scratch_path(state, name);
    for (const char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
        assert_true(mkdir(folder, 0700) == 0 || errno == EEXIST);
    }
    assert_non_null(scratch_write(state, name, "x", 1));
}

/* ---- Names ---- */

static void ends_of_names(void **state)
{
    (void)state;
    assert_true(name_ends_with("a.gguf", ".gguf"));
    assert_false(name_ends_with(".gguf", ".gguf")); /* nothing before it */
    assert_false(name_ends_with("gguf", ".gguf"));
    assert_false(name_ends_with("a.ggufx", ".gguf"));
}

static void parts_of_files(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int number, count; /* 0: not a part */
    } cases[] = {
        {"m-00001-of-00003.gguf", 1, 3},
        {"m-00003-of-00003.safetensors", 3, 3},
        {"m-00004-of-00003.gguf", 0, 0},
        {"m-00000-of-00003.gguf", 0, 0},
        {"-00001-of-00003.gguf", 0, 0},
        {"m00001-of-00003.gguf", 0, 0},
        {"m-0001-of-00003.gguf", 0, 0},
        {"m-00001-of-0003.gguf", 0, 0},
        {"m-00001_of-00003.gguf", 0, 0},
        {"m-0000a-of-00003.gguf", 0, 0},
        {"m-00001-of-0000/.gguf", 0, 0},
        {"m-00001-of-00003", 0, 0},
        {"m-12345-of-98765.b.gguf", 0, 0},
        {"m.x-12345-of-98765.gguf", 12345, 98765},
        {"x.gguf", 0, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct part_name part;
        const bool is_part = part_name_parse(cases[i].name, &part);
        assert_int_equal(is_part, cases[i].count > 0);
        if (is_part) {
            struct buffer name = {0};
            assert_int_equal(part.number, cases[i].number);
            assert_int_equal(part.count, cases[i].count);
            assert_int_equal(part_name_write(cases[i].name, &part, part.number, &name), STATUS_OK);
            assert_string_equal(name.data, cases[i].name);
            buffer_clear(&name);
            assert_int_equal(
                part_name_write("m-00001-of-00003.gguf",
                                &(struct part_name){.stem = 1, .count = 30, .end = ".z"}, 2, &name),
                STATUS_OK);
            assert_string_equal(name.data, "m-00002-of-00030.z");
            buffer_destroy(&name);
        }
    }
}

static void names_are_sorted(void **state)
{
    static const char *const files[] = {"b.bin", "c.bin", "a.bin", ".d.bin", "e.pt", ".bin"};
    struct file_names names;
    assert_int_equal(file_names_read(root_of(state), ".bin", &names), STATUS_OK);
    assert_int_equal(names.count, 0);
    file_names_destroy(&names);
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        put(state, files[i]);
    }
    assert_int_equal(file_names_read(root_of(state), ".bin", &names), STATUS_OK);
    assert_int_equal(names.count, 3);
    assert_string_equal(names.items[0], "a.bin");
    assert_string_equal(names.items[1], "b.bin");
    assert_string_equal(names.items[2], "c.bin");
    file_names_destroy(&names);
    assert_int_equal(names.count, 0);
    assert_int_equal(file_names_read("nowhere", ".bin", &names), STATUS_OK);
    assert_int_equal(names.count, 0);
    file_names_destroy(&names);
}

/* ---- First bytes ---- */

static void other_files_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *head, *message;
    } cases[] = {
        {"version https://git-lfs.github.com/spec/v1\n", "a pointer of git-lfs"},
        {"<!doctype HTML>", "a page of HTML"},
        {" \n\t<html>", "a page of HTML"},
        {"<?xml version", "an answer in XML"},
        {"Access to model x is", "ask for access"},
        {"Entry not found", "the Hub's refusal in the file's place: download it again"},
        {"invalid username or password.", "with a token"},
        {"Repository not found", "the Hub's refusal in the file's place: download it again"},
        {"PK\3\4rest", "a ZIP archive"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(model_file_check("f", cases[i].head, strlen(cases[i].head)),
                         STATUS_INVALID);
        assert_int_equal(strncmp(status_message(), "f: ", 3), 0);
        assert_non_null(strstr(status_message(), cases[i].message));
    }
    static const char *const fine[] = {"",    "   ", "<htm", "PK\3", "PK\3\5", "Entry not foun",
                                       "GGUF"};
    for (size_t i = 0; i < COUNT_OF(fine); i++) {
        assert_int_equal(model_file_check("f", fine[i], strlen(fine[i])), STATUS_OK);
    }
}

/* ---- Folders without a model ---- */

static void expect_named(status s, status expected, const char *message)
{
    assert_int_equal(s, expected);
    if (strstr(status_message(), message) == NULL) {
        fail_msg("\"%s\" is not in: %s", message, status_message());
    }
}

static void other_folders_are_named(void **state)
{
    const char *folder = root_of(state);
    expect_named(model_name_other_folder(folder), STATUS_NOT_FOUND,
                 "there is no config.json: not a model");
    static const char *const files[] = {"z.json", "y.h5",  "x.ckpt",       "w.pth",
                                        "v.pt",   "u.bin", "t.safetensors"};
    for (size_t i = 0; i < COUNT_OF(files); i++) { /* what says more comes first */
        char message[64];
        put(state, files[i]);
        snprintf(message, sizeof message, "not a whole model; %s is there", files[i]);
        expect_named(model_name_other_folder(folder), STATUS_NOT_FOUND, message);
    }
    put(state, "adapter_config.json");
    expect_named(model_name_other_folder(folder), STATUS_UNSUPPORTED, "an adapter (LoRA)");
}

static void other_weights_are_named(void **state)
{
    const char *folder = root_of(state);
    expect_named(model_name_other_weights(folder), STATUS_NOT_FOUND,
                 "there are no weights: no *.safetensors is there");
    put(state, "training_args.bin");
    expect_named(model_name_other_weights(folder), STATUS_NOT_FOUND,
                 "there are no weights: no *.safetensors is there");
    static const struct {
        const char *file, *message;
    } cases[] = {
        {"a.safetensors", "an adapter, or another part of a model; sluice reads"},
        {"a.engine", "a compiled engine of TensorRT; sluice reads"},
        {"a.nemo", "an archive of NeMo"},
        {"a.npz", "weights in NumPy's form"},
        {"a.onnx", "a model for ONNX"},
        {"a.msgpack", "weights of Flax"},
        {"a.h5", "weights of TensorFlow"},
        {"a.gguf", "a GGUF file; name it in model.path"},
        {"a.ckpt", "a.ckpt is there, pickled weights of PyTorch"},
        {"a.pth", "a.pth is there, pickled weights of PyTorch"},
        {"a.pt", "a.pt is there, pickled weights of PyTorch"},
        {"z.bin", "z.bin is there, pickled weights of PyTorch"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        put(state, cases[i].file);
        expect_named(model_name_other_weights(folder), STATUS_NOT_FOUND, cases[i].message);
    }
    put(state, "adapter_config.json");
    expect_named(model_name_other_weights(folder), STATUS_UNSUPPORTED, "merge_and_unload");
}

/* ---- Places ---- */

static void expect_place(const char *path, const char *expected)
{
    struct buffer place = {0};
    if (model_locate(path, &place) != STATUS_OK) {
        fail_msg("%s: %s", path, status_message());
    }
    assert_string_equal(place.data, expected);
    buffer_destroy(&place);
}

static void expect_nowhere(const char *path, const char *message)
{
    struct buffer place = {0};
    const status s = model_locate(path, &place);
    assert_true(s == STATUS_NOT_FOUND || s == STATUS_INVALID);
    if (strstr(status_message(), message) == NULL) {
        fail_msg("%s: \"%s\" is not in: %s", path, message, status_message());
    }
    buffer_destroy(&place);
}

static const char *joined(void **state, const char *name)
{
    return scratch_path(state, name);
}

static void folders_and_files(void **state)
{
    put(state, "whole/config.json");
    put(state, "whole/m.gguf");
    expect_place(joined(state, "whole"), joined(state, "whole"));
    put(state, "gguf/mmproj-m.gguf");
    expect_place(joined(state, "gguf"), joined(state, "gguf")); /* nothing else: its own folder */
    put(state, "gguf/m-00002-of-00002.gguf");
    expect_nowhere(
        joined(state, "gguf"),
        "m-00002-of-00002.gguf is there, a part of a split GGUF file, without the first");
    put(state, "gguf/m-00001-of-00002.gguf");
    expect_place(joined(state, "gguf"), joined(state, "gguf/m-00001-of-00002.gguf"));
    put(state, "gguf/other.gguf");
    expect_nowhere(joined(state, "gguf"), "several GGUF files are there, m-00001-of-00002.gguf and "
                                          "other.gguf among them; name one in model.path");
    expect_place(joined(state, "gguf/other.gguf"), joined(state, "gguf/other.gguf"));
    expect_nowhere("./no/where", "./no/where: No such file");
}

static const char *const variables[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME",
                                        "XDG_CACHE_HOME", "HOME"};

static void names_of_the_hub(void **state)
{
    char *before[COUNT_OF(variables)];
    static const char *const caches[] = {"hub", "hub", "home/hub", "xdg/huggingface/hub",
                                         "user/.cache/huggingface/hub"};
    static const char *const values[] = {"hub", "hub", "home", "xdg", "user"};
    for (size_t i = 0; i < COUNT_OF(variables); i++) {
        const char *value = getenv(variables[i]);
        before[i] = value != NULL ? strdup(value) : NULL;
        unsetenv(variables[i]);
    }
    for (size_t i = COUNT_OF(variables); i-- > 0;) { /* the first that is set counts */
        char name[200], place[600];
        snprintf(name, sizeof name, "%s/models--org%zu--a.b_c-1/snapshots/0ab/config.json",
                 caches[i], i);
        put(state, name);
        setenv(variables[i], joined(state, values[i]), 1);
        snprintf(name, sizeof name, "org%zu/a.b_c-1", i);
        snprintf(place, sizeof place, "%s/models--org%zu--a.b_c-1/snapshots/0ab",
                 joined(state, caches[i]), i);
        expect_place(name, place);
        expect_nowhere("org/none", joined(state, caches[i]));
    }
    setenv(variables[0], "", 1); /* as if it were not set */
    expect_place("org1/a.b_c-1", joined(state, "hub/models--org1--a.b_c-1/snapshots/0ab"));

    put(state, "hub/models--gpt9/snapshots/1/config.json");
    expect_place("gpt9", joined(state, "hub/models--gpt9/snapshots/1"));
    put(state, "hub/models--gpt9/snapshots/.hidden/config.json");
    expect_place("gpt9", joined(state, "hub/models--gpt9/snapshots/1"));
    put(state, "hub/models--gpt9/snapshots/2/config.json");
    expect_nowhere("gpt9", "the cache of the Hugging Face Hub has it in part");
    assert_int_equal(mkdir(joined(state, "hub/models--gpt9/refs"), 0700), 0);
    assert_non_null(scratch_write(state, "hub/models--gpt9/refs/main", "2\n", 2));
    expect_place("gpt9", joined(state, "hub/models--gpt9/snapshots/2"));
    assert_non_null(scratch_write(state, "hub/models--gpt9/refs/main", "3", 1));
    expect_nowhere("gpt9", "without the snapshot that its refs/main names");
    assert_non_null(scratch_write(state, "hub/models--gpt9/refs/main", "../..", 5));
    expect_nowhere("gpt9", "has it in part"); /* no plain name: as if it were not there */
    expect_nowhere("org/other", "hf download org/other");

    static const char *const no_names[] = {"a/b/c", "a//b",     "a/",     "/a",    "a/../b",
                                           ".a/b",  "a/b.gguf", "m.json", "a b/c", "x.safetensors"};
    for (size_t i = 0; i < COUNT_OF(no_names); i++) {
        expect_nowhere(no_names[i], "No such file");
    }
    char longest[220];
    memset(longest, 'n', sizeof longest);
    longest[96] = '/';
    longest[193] = '\0'; /* 96 letters each */
    expect_nowhere(longest, "hf download");
    longest[193] = 'n';
    longest[194] = '\0';
    expect_nowhere(longest, "No such file");
    for (size_t i = 0; i < COUNT_OF(variables); i++) {
        if (before[i] != NULL) {
            setenv(variables[i], before[i], 1);
        } else {
            unsetenv(variables[i]);
        }
        free(before[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_of_names),
        cmocka_unit_test(parts_of_files),
        cmocka_unit_test_setup_teardown(names_are_sorted, scratch_create, scratch_destroy),
        cmocka_unit_test(other_files_are_named),
        cmocka_unit_test_setup_teardown(other_folders_are_named, scratch_create, scratch_destroy),
        cmocka_unit_test_setup_teardown(other_weights_are_named, scratch_create, scratch_destroy),
        cmocka_unit_test_setup_teardown(folders_and_files, scratch_create, scratch_destroy),
        cmocka_unit_test_setup_teardown(names_of_the_hub, scratch_create, scratch_destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
