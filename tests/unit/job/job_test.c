/* SPDX-License-Identifier: Apache-2.0 */
/* Job files: what is read is what is written, and what is wrong says file, line and key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "job/suggest.h"
#include "job/yaml.h"
#include "sluice/job.h"

static const char minimal[] = "model: {path: m}\ndata: {input: d.jsonl}\noutput: {path: o.h5}\n";

static char path[] = "job_test_XXXXXX";

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static status load_bytes(const char *text, size_t length, const char *override, struct job *job)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
    return job_load(path, &override, override != NULL ? 1 : 0, job);
}

static status load(const char *text, const char *override, struct job *job)
{
    return load_bytes(text, strlen(text), override, job);
}

static void assert_message(const char *expected)
{
    if (strstr(status_message(), expected) == NULL) {
        fail_msg("expected \"%s\" in \"%s\"", expected, status_message());
    }
}

static void assert_refused(const char *text, const char *override, const char *expected)
{
    struct job job;
    assert_int_equal(load(text, override, &job), STATUS_INVALID);
    assert_message(expected);
    job_destroy(&job);
}

static void defaults_are_as_documented(void **state)
{
    (void)state;
    struct job job;
    assert_int_equal(load(minimal, NULL, &job), STATUS_OK);
    assert_string_equal(job.model.path, "m");
    assert_string_equal(job.data.input.text, "d.jsonl");
    assert_string_equal(job.output.path, "o.h5");
    assert_int_equal(job.model.dtype, -1);
    assert_int_equal(job.model.max_model_len, -1);
    assert_null(job.data.prompt_field);
    assert_int_equal(job.data.chat, CHAT_AUTO);
    assert_int_equal(job.data.limit, -1);
    assert_true(job.data.skip_bad_rows);
    assert_int_equal(job.layout.tp, -1);
    assert_int_equal(job.layout.tp_slices, -1);
    assert_null(job.engine.device);
    assert_int_equal(job.engine.kv_memory, -1);
    assert_true(job.engine.prefix_cache);
    assert_false(job.output.overwrite);
    struct generate_params defaults;
    generate_params_defaults(&defaults);
    assert_int_equal(job.generate.max_new_tokens, defaults.max_new_tokens);
    job_destroy(&job);
}

/* What the table of weight formats says that jobs may ask for. */
static void weights_are_asked_for_by_their_names(void **state)
{
    (void)state;
    for (int i = 0; i < WEIGHT_NONE; i++) {
        const char *name = weight_format_facts((enum weight_format)i)->asked_as;
        if (name != NULL) {
            char text[160];
            struct job job;
            snprintf(text, sizeof text,
                     "model: {path: m, dtype: %s}\ndata: {input: d.jsonl}\noutput: {path: o.h5}\n",
                     name);
            assert_int_equal(load(text, NULL, &job), STATUS_OK);
            assert_int_equal(job.model.dtype, i);
            job_destroy(&job);
        }
    }
}

static const char full[] =
    "# every section\n"
    "model:\n  path: \"models/a b: c\"\n  dtype: bfloat16\n  kv_dtype: fp8\n"
    "  max_model_len: 1e3\n"
    "data:\n  input: 'it''s.jsonl'\n  prompt_field: \"\\x7f\\u2028\\U0001F600\"\n"
    "  chat: always\n  limit: 0\n  skip_bad_rows: false\n"
    "generate:\n  temperature: .5\n  stop: [\"\\n\", 'a\"b']\n"
    "  stop_token_ids: [1, 2]\n  logprobs: 3\n  seed: +7\n"
    "  logit_bias: {7: -1, \"5\": .5}\n  allowed_token_ids: [5, 7]\n"
    "  structured:\n    close: true\n    json_schema:\n      type: array\n"
    "      items: {enum: [1, b, {c: []}]}\n"
    "layout: {tp: 2, pp: 3, tp_slices: 4}\n"
    "engine: {device: cpu, max_batch_tokens: 99, max_sequences: 9,\n"
    "  kv_block_tokens: 8, kv_memory: 1.5GiB, prefix_cache: false}\n"
    "output: {path: o.h5, include_prompt: true, overwrite: True}\n";

static void written_job_reads_back_the_same(void **state)
{
    (void)state;
    struct job job, again;
    struct buffer first = {0}, second = {0};
    assert_int_equal(load(full, NULL, &job), STATUS_OK);
    assert_int_equal(job.model.dtype, WEIGHT_BFLOAT16);
    assert_int_equal(job.model.max_model_len, 1000);
    assert_string_equal(job.data.input.text, "it's.jsonl");
    assert_string_equal(job.data.prompt_field, "\x7f\xe2\x80\xa8\xf0\x9f\x98\x80");
    assert_true(job.generate.sampling.temperature == 0.5);
    assert_int_equal(job.generate.stop_count, 2);
    assert_string_equal(job.generate.stop[1], "a\"b");
    assert_int_equal(job.generate.sampling.logprobs, 3);
    assert_int_equal(job.generate.sampling.seed, 7);
    assert_int_equal(job.generate.bias_count, 2);
    assert_int_equal(job.generate.biases[0].id, 5);
    assert_true(job.generate.biases[0].bias == 0.5f && job.generate.biases[1].bias == -1);
    assert_int_equal(job.generate.allowed_id_count, 2);
    assert_int_equal(job.layout.tp, 2);
    assert_int_equal(job.engine.kv_memory, (int64_t)3 << 29);
    assert_true(job.output.overwrite);
    assert_int_equal(job_write(&job, &first), STATUS_OK);
    assert_int_equal(load(first.data, NULL, &again), STATUS_OK);
    assert_int_equal(job_write(&again, &second), STATUS_OK);
    assert_string_equal(first.data, second.data);
    assert_int_equal(again.generate.sampling.logprobs, 3);
    assert_int_equal(again.engine.kv_memory, job.engine.kv_memory);
    assert_string_equal(again.generate.stop[0], "\n");
    assert_string_equal(again.data.prompt_field, job.data.prompt_field);
    job_destroy(&job);
    job_destroy(&again);
    buffer_destroy(&first);
    buffer_destroy(&second);
}

static void overrides_replace(void **state)
{
    (void)state;
    struct job job;
    static const char *const overrides[] = {
        "generate.temperature=0.25", "generate.stop=[a, 'b']", "layout.tp=4",      "data.limit=5",
        "data.limit=null",           "generate.logprobs=true", "model.path=a=b.c",
    };
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(full, file);
    fclose(file);
    assert_int_equal(job_load(path, overrides, COUNT_OF(overrides), &job), STATUS_OK);
    assert_true(job.generate.sampling.temperature == 0.25);
    assert_int_equal(job.generate.stop_count, 2);
    assert_string_equal(job.generate.stop[0], "a");
    assert_int_equal(job.layout.tp, 4);
    assert_int_equal(job.data.limit, -1);                /* null is the default */
    assert_int_equal(job.generate.sampling.logprobs, 0); /* nothing is left of the file's 3 */
    assert_string_equal(job.model.path, "a=b.c");
    job_destroy(&job);
}

/* One entry of a map, which the others outlive. */
static void overrides_set_entries_of_maps(void **state)
{
    (void)state;
    struct job job;
    static const char *const overrides[] = {
        "generate.structured={json_schema: {type: string}, close: true}",
        "generate.structured.json_schema={type: integer}",
        "generate.structured.white_space=any",
        "generate.structured.close=null",
        "generate.logit_bias.9=2",
    };
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(full, file);
    fclose(file);
    assert_int_equal(job_load(path, overrides, COUNT_OF(overrides), &job), STATUS_OK);
    assert_string_equal(job.generate.structured.text, "{\"type\":\"integer\"}");
    assert_true(job.generate.structured.any_white_space);
    assert_false(job.generate.structured.close);
    assert_int_equal(job.generate.bias_count, 3);
    assert_int_equal(job.generate.biases[2].id, 9);
    job_destroy(&job);
}

static void wrong_keys_and_values_say_where(void **state)
{
    (void)state;
    static const struct {
        const char *line, *message;
    } cases[] = {
        {"generate: {tempersture: 1}", "line 4: generate.tempersture: unknown key; did you mean "
                                       "temperature?"},
        {"genrate: {temperature: 1}", "line 4: genrate: unknown section; did you mean generate?"},
        {"zzz: {}", "unknown section; there are task, model"},
        {"engine: {zzz: 1}", "engine.zzz: unknown key; `sluice help job` lists"},
        {"engine: {tp: 1}", "engine.tp: unknown key; did you mean layout.tp?"},
        {"layout: {temperature: 1}", "did you mean generate.temperature?"},
        {"generate: {temperature: hot}", "line 4: generate.temperature: expected"},
        {"generate: {top_p: 1.5}", "generate.top_p: 1.5 is not in"},
        {"layout: {tp: 3}", "layout.tp: expected auto, 1, 2, 4 or 8, not 3"},
        {"layout: {pp: 0}", "layout.pp: expected an integer of at least 1 and at most 4096, or "
                            "auto, not 0"},
        {"layout: {pp: 1.5}", "not 1.5"},
        {"layout: {pp: [1]}", "not a list"},
        {"engine: {prefix_cache: yes}", "engine.prefix_cache: expected true or false, not \"yes\""},
        {"engine: {kv_memory: 4 GoB}", "engine.kv_memory: expected a size such as"},
        {"engine: {max_sequences: 010}", "not \"010\""},
        {"engine: {max_sequences: 99999999999999999999}", "engine.max_sequences: expected"},
        {"engine:\n  device: tpu", "engine.device: expected auto, cpu or cuda, not \"tpu\""},
        {"engine:\n  device: cpu\n  device: cpu", "line 6: engine.device: stands twice, first in "
                                                  "line 5"},
        {"model: {dtype: auto}", "line 4: model: stands twice, first in line 1"},
        {"engine: 5", "line 4: engine: expected keys below it"},
        {"engine: [1]", "engine: expected keys below it, not a list"},
        {"engine: {device: {a: b}}", "line 4: expected a value or a list, not a mapping"},
        {"generate: {stop: [[[[[a]]]]]}", "nested deeper"},
        {"engine: &a {device: cpu}", "line 4: anchors, aliases and tags"},
        {"engine: *a", "line 4: anchors, aliases and tags"},
        {"engine: {device: !!str cpu}", "anchors, aliases and tags"},
        {"---\na: b", "second document"},
        {"engine: {device: cpu", "not YAML"},
        {"\tx: y", "line 4: not YAML"},
        {"? [a]\n: b", "expected the name of a section, not a list"},
        {"engine: {? {a: b} : c}", "expected the name of a key, not a mapping"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[512];
        snprintf(text, sizeof text, "%s%s\n", minimal, cases[i].line);
        assert_refused(text, NULL, cases[i].message);
        assert_message(path);
        assert_null(strchr(status_message(), '\n'));
    }
}

static void whole_files_that_are_wrong(void **state)
{
    (void)state;
    assert_refused("", NULL, ": the file is empty");
    assert_refused("# only a comment\n", NULL, ": the file is empty");
    assert_refused("- a\n", NULL, "line 1: expected sections");
    assert_refused("just text\n", NULL, "line 1: expected sections");
    assert_refused("model: {path: m}\ndata:\noutput: {path: o}\n", NULL, ": data.input is missing");
    assert_refused("data: {input: i}\noutput: {path: o}\n", NULL, ": model.path is missing");
    assert_refused("model:\ndata: {input: i}\noutput: {path: o}\n", NULL,
                   ": model.path is missing");
    assert_refused("model: {path: m}\ndata: {input: i}\n", NULL, ": output.path is missing");
    assert_refused("model: {path: 5}\n", NULL,
                   "model.path: expected a string, not 5; put it in "
                   "quotes");
    assert_refused("model: {path: ''}\n", NULL, "model.path: is empty");
    assert_refused("model: {path: \"a\\0b\"}\n", NULL, "model.path: holds a NUL");
    assert_refused("data: {input: [a, \"b\\0c\"]}\n", NULL, "data.input: holds a NUL");
    assert_refused("data: {input: [a, '']}\n", NULL, "data.input: is empty");
    assert_refused("data: {input: [a, 5]}\n", NULL, "data.input: expected");
    assert_refused("data: {input: []}\n", NULL, "data.input: an empty list");
    assert_refused("model: {path: }\n", NULL, "model.path: expected a string, not nothing");
    struct job job;
    assert_int_equal(load_bytes("model: {path: \xff}\n", 17, NULL, &job), STATUS_INVALID);
    assert_message("not YAML");
    job_destroy(&job);
    size_t size = 1 << 20;
    char *large = malloc(size);
    assert_non_null(large);
    memset(large, '[', size);
    assert_int_equal(load_bytes(large, size, NULL, &job), STATUS_LIMIT);
    job_destroy(&job);
    assert_int_equal(load_bytes(large, 200000, NULL, &job), STATUS_INVALID);
    job_destroy(&job);
    free(large);
    assert_int_equal(job_load("no/such.yaml", NULL, 0, &job), STATUS_NOT_FOUND);
    assert_message("no/such.yaml");
    job_destroy(&job);
}

static void wrong_overrides(void **state)
{
    (void)state;
    assert_refused(minimal, "temperature=1",
                   "--set temperature=1: expected section.key=value; did you mean "
                   "generate.temperature=1?");
    assert_refused(minimal, "id_field=1", "did you mean data.id_field=1?");
    assert_refused(minimal, "generate.temperature", "expected section.key=value");
    assert_refused(minimal, ".a=1", "expected section.key=value");
    assert_refused(minimal, "generate.=1", "expected section.key=value");
    assert_refused(minimal, "generate.temprature=1", "did you mean temperature?");
    assert_refused(minimal, "generate.temperature=hot", "generate.temperature: expected");
    assert_refused(minimal, "generate.stop=[a", "not YAML");
    assert_refused(minimal, "generate.stop={a: b}", "expected a value or a list");
    assert_refused(minimal, "generate.structured.json_schema=5",
                   "generate.structured.json_schema: expected a JSON schema, not a number");
    assert_refused(minimal, "generate.structured.json=5",
                   "generate.structured.json: unknown; there are json_schema, json_object, regex");
    assert_refused(minimal, "generate.structured={regex: a, regex: b}", "stands twice in a map");
    assert_refused(minimal, "generate.seed.x=5", "generate.seed.x: unknown key");
    assert_refused(minimal, "generate.structured.regex={a: b}", "expected a string");
    assert_refused("model: {path: m}\ndata: {input: i}\noutput: {path: o}\ngenerate: {structured: "
                   "'{\"regex\": \"b\"}'}\n",
                   "generate.structured.regex=a",
                   "generate.structured: is a text, into which no regex can be set");
    assert_refused(minimal, "model.path=", "model.path: expected a string, not nothing");
}

static void sizes_are_read_with_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t bytes;
    } cases[] = {{"engine.kv_memory=4096", 4096},
                 {"engine.kv_memory=4GiB", (int64_t)4 << 30},
                 {"engine.kv_memory='2 GB'", 2000000000},
                 {"engine.kv_memory=auto", -1}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct job job;
        assert_int_equal(load(minimal, cases[i].text, &job), STATUS_OK);
        assert_int_equal(job.engine.kv_memory, cases[i].bytes);
        job_destroy(&job);
    }
    assert_refused(minimal, "engine.kv_memory=1B", "at least 4KiB");
    assert_refused(minimal, "engine.kv_memory=99999999TiB", "engine.kv_memory: expected");
    assert_refused(minimal, "engine.kv_memory=-4GiB", "engine.kv_memory: expected");
    assert_refused(minimal, "engine.kv_memory=1.2.3GiB", "engine.kv_memory: expected");
}

/* By value: 1536MiB is 1.5GiB. */
static void written_sizes_are_the_same_bytes(void **state)
{
    (void)state;
    static const int64_t sizes[] = {4096,
                                    4097,
                                    1000000,
                                    (int64_t)3 << 29,
                                    ((int64_t)1 << 30) - 1,
                                    (int64_t)1 << 30,
                                    ((int64_t)1 << 30) + 1024,
                                    (int64_t)5 << 40};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct job job, again;
        struct buffer written = {0};
        assert_int_equal(load(minimal, NULL, &job), STATUS_OK);
        job.engine.kv_memory = sizes[i];
        assert_int_equal(job_write(&job, &written), STATUS_OK);
        assert_int_equal(load(written.data, NULL, &again), STATUS_OK);
        assert_int_equal(again.engine.kv_memory, sizes[i]);
        job_destroy(&job);
        job_destroy(&again);
        buffer_destroy(&written);
    }
}

static void suggestions_are_near(void **state)
{
    (void)state;
    struct suggestion suggestion = {.unknown = "tempreature"};
    suggestion_offer(&suggestion, "top_p");
    assert_null(suggestion.best);
    suggestion_offer(&suggestion, "temperature");
    assert_string_equal(suggestion.best, "temperature");
    assert_int_equal(suggestion.distance, 1); /* one transposition */
}

/* The program's own table, word for word, stands in the documentation. */
static void documentation_holds_the_table(void **state)
{
    (void)state;
    struct buffer table = {0}, page = {0};
    assert_int_equal(job_describe_keys(&table), STATUS_OK);
    assert_int_equal(file_read(SLUICE_SOURCE_DIR "/docs/job-file.md", 1 << 20, &page), STATUS_OK);
    if (strstr(page.data, table.data) == NULL) {
        fail_msg("docs/job-file.md does not hold the table that `sluice help job` prints");
    }
    buffer_destroy(&table);
    buffer_destroy(&page);
}

/* Every key stands in the commented example, which is a valid job. */
static void example_holds_every_key(void **state)
{
    (void)state;
    struct job job;
    struct buffer written = {0}, example = {0};
    const char *file = SLUICE_SOURCE_DIR "/jobs/example.yaml";
    assert_int_equal(job_load(file, NULL, 0, &job), STATUS_OK);
    assert_int_equal(job_write(&job, &written), STATUS_OK);
    assert_int_equal(file_read(file, 1 << 20, &example), STATUS_OK);
    struct arena arena = {0};
    const struct yaml_entry *all, *shown;
    size_t all_count, shown_count;
    assert_int_equal(yaml_read_sections(written.data, written.length, &arena, &all, &all_count),
                     STATUS_OK);
    assert_int_equal(yaml_read_sections(example.data, example.length, &arena, &shown, &shown_count),
                     STATUS_OK);
    for (size_t i = 0; i < all_count; i++) {
        bool found = false;
        for (size_t j = 0; j < shown_count && !found; j++) {
            found = all[i].key == NULL ||
                    (shown[j].key != NULL && strcmp(all[i].section, shown[j].section) == 0 &&
                     strcmp(all[i].key, shown[j].key) == 0);
        }
        if (!found) {
            fail_msg("jobs/example.yaml lacks %s.%s", all[i].section, all[i].key);
        }
    }
    arena_destroy(&arena);
    job_destroy(&job);
    buffer_destroy(&written);
    buffer_destroy(&example);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_as_documented),
        cmocka_unit_test(weights_are_asked_for_by_their_names),
        cmocka_unit_test(written_job_reads_back_the_same),
        cmocka_unit_test(overrides_replace),
        cmocka_unit_test(overrides_set_entries_of_maps),
        cmocka_unit_test(wrong_keys_and_values_say_where),
        cmocka_unit_test(whole_files_that_are_wrong),
        cmocka_unit_test(wrong_overrides),
        cmocka_unit_test(sizes_are_read_with_units),
        cmocka_unit_test(written_sizes_are_the_same_bytes),
        cmocka_unit_test(suggestions_are_near),
        cmocka_unit_test(documentation_holds_the_table),
        cmocka_unit_test(example_holds_every_key),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
