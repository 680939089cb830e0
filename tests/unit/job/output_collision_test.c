/* SPDX-License-Identifier: Apache-2.0 */
/* An output never takes the place of what the job reads, whatever the two are called. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scratch_folder.h"
#include "sluice/job.h"

static char before[PATH_MAX];

/* A job with all that it reads, and the test within its folder. */
static int enter(void **state)
{
    static const char *const folders[] = {"model", "model/sub", "model/sub/deep", "elsewhere",
                                          "parts"};
    static const char *const files[] = {"data.jsonl",
                                        "second.jsonl",
                                        "job.yaml",
                                        "chat.jinja",
                                        "model/config.json",
                                        "model/a.safetensors",
                                        "model/sub/b.txt",
                                        "model/sub/deep/c.txt",
                                        "elsewhere/blob",
                                        "other.h5",
                                        "parts/x-00001-of-00002.gguf",
                                        "parts/x-00002-of-00002.gguf",
                                        "parts/x.gguf",
                                        "parts/y-00001-of-0000.gguf"};
    if (scratch_create(state) != 0 || getcwd(before, sizeof before) == NULL ||
        chdir(((struct scratch_folder *)*state)->path) != 0) {
        return -1;
    }
    for (size_t i = 0; i < COUNT_OF(folders); i++) {
        assert_int_equal(mkdir(folders[i], 0777), 0);
    }
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        FILE *file = fopen(files[i], "w");
        assert_non_null(file);
        fputs("{}\n", file);
        fclose(file);
    }
    return symlink("../elsewhere/blob", "model/linked.safetensors");
}

static int leave(void **state)
{
    return chdir(before) == 0 ? scratch_destroy(state) : -1;
}

static status check(const char *model, const char *output, const char *metrics)
{
    struct job job;
    char text[1024];
    static const char *const overrides[] = {"run.silence_warn=15"};
    snprintf(text, sizeof text,
             "model: {path: \"%s\"}\ndata: {input: [data.jsonl, second.jsonl], chat_template: "
             "chat.jinja}\noutput: {path: \"%s\"%s%s%s}\n",
             model, output, metrics != NULL ? ", metrics: \"" : "", metrics != NULL ? metrics : "",
             metrics != NULL ? "\"" : "");
    if (job_read("job.yaml", text, strlen(text), overrides, 1, &job) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    status s = job_check_files(&job, "job.yaml");
    job_destroy(&job);
    return s;
}

static void expect_refused(const char *model, const char *output, const char *metrics,
                           const char *message)
{
    assert_int_equal(check(model, output, metrics), STATUS_INVALID);
    assert_string_equal(status_message(), message);
}

static void expect_taken(const char *model, const char *output, const char *metrics)
{
    if (check(model, output, metrics) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
}

static void files_by_any_name(void **state)
{
    (void)state;
    expect_taken("model", "out.h5", NULL);
    expect_taken("model", "other.h5", NULL);
    expect_refused("model", "data.jsonl", NULL,
                   "output.path: data.jsonl would replace the data set, data.jsonl (data.input); "
                   "choose another output");
    expect_refused("model", "./model/../second.jsonl", NULL,
                   "output.path: ./model/../second.jsonl would replace the data set, second.jsonl "
                   "(data.input); choose another output");
    expect_refused("model", "job.yaml", NULL,
                   "output.path: job.yaml would replace the job file, job.yaml (the job itself); "
                   "choose another output");
    expect_refused("model", "chat.jinja", NULL,
                   "output.path: chat.jinja would replace the chat template, chat.jinja "
                   "(data.chat_template); choose another output");
    assert_int_equal(symlink("data.jsonl", "soft.h5"), 0);
    assert_int_equal(link("second.jsonl", "hard.h5"), 0);
    expect_refused("model", "soft.h5", NULL,
                   "output.path: soft.h5 would replace the data set, data.jsonl (data.input); "
                   "choose another output");
    expect_refused("model", "hard.h5", NULL,
                   "output.path: hard.h5 would replace the data set, second.jsonl (data.input); "
                   "choose another output");
}

static void files_beside_the_output(void **state)
{
    (void)state;
    assert_int_equal(symlink("data.jsonl", "a.h5.partial"), 0);
    expect_refused("model", "a.h5", NULL,
                   "output.path: a.h5.partial would replace the data set, data.jsonl (data.input); "
                   "choose another output");
    assert_int_equal(mkdir("b.h5.sluice", 0777), 0);
    expect_taken("model", "b.h5", NULL);
    assert_int_equal(unlink("second.jsonl"), 0);
    assert_int_equal(rename("data.jsonl", "b.h5.sluice/data.jsonl"), 0);
    assert_int_equal(symlink("b.h5.sluice/data.jsonl", "data.jsonl"), 0);
    assert_int_equal(symlink("elsewhere/blob", "second.jsonl"), 0);
    expect_refused("model", "b.h5", NULL,
                   "output.path: b.h5.sluice would replace the data set, data.jsonl (data.input); "
                   "choose another output");
    expect_taken("model", "c.h5", NULL);
    assert_int_equal(rename("model", "c.h5.sluice"), 0);
    expect_refused("c.h5.sluice", "c.h5", NULL,
                   "output.path: c.h5.sluice would replace the model, c.h5.sluice (model.path); "
                   "choose another output");
}

static void files_of_the_model(void **state)
{
    (void)state;
    expect_taken("model", "model/new.h5", NULL);
    expect_refused("model", "model/a.safetensors", NULL,
                   "output.path: model/a.safetensors would replace a file in the model's "
                   "directory, model (model.path); choose another output");
    expect_refused("model", "model/sub/deep/c.txt", NULL,
                   "output.path: model/sub/deep/c.txt would replace a file in the model's "
                   "directory, model (model.path); choose another output");
    expect_refused("model", "elsewhere/blob", NULL,
                   "output.path: elsewhere/blob would replace a file of the model, "
                   "model/linked.safetensors (model.path); choose another output");
    assert_int_equal(unlink("model/linked.safetensors"), 0);
    expect_taken("model", "elsewhere/blob", NULL);
    assert_int_equal(symlink("../../elsewhere/blob", "model/sub/linked"), 0);
    expect_refused("model", "elsewhere/blob", NULL,
                   "output.path: elsewhere/blob would replace a file of the model, "
                   "model/sub/linked (model.path); choose another output");
    assert_int_equal(rename("model/sub/linked", "model/sub/deep/linked"), 0);
    expect_taken("model", "elsewhere/blob", NULL); /* no model has files so deep */
    expect_taken("nowhere", "data2.h5", NULL);
    /* An output of an earlier start is no part of the model. */
    struct output_writer *writer;
    assert_int_equal(output_create("model/out.h5", false, &(struct output_columns){0}, &writer),
                     STATUS_OK);
    assert_int_equal(output_finish(writer), STATUS_OK);
    expect_taken("model", "model/out.h5", NULL);
}

static void parts_of_a_model(void **state)
{
    (void)state;
    static const char first[] = "parts/x-00001-of-00002.gguf";
    expect_taken(first, "parts/x-00003-of-00002.gguf", NULL);
    expect_taken(first, "parts/x.gguf", NULL);
    expect_refused(first, first, NULL,
                   "output.path: parts/x-00001-of-00002.gguf would replace the model, "
                   "parts/x-00001-of-00002.gguf (model.path); choose another output");
    expect_refused(first, "parts/x-00002-of-00002.gguf", NULL,
                   "output.path: parts/x-00002-of-00002.gguf would replace a part of the model, "
                   "parts/x-00002-of-00002.gguf (model.path); choose another output");
    expect_taken("parts/x.gguf", "parts/x-00002-of-00002.gguf", NULL);
    expect_taken("parts/y-00001-of-0000.gguf", "parts/x.gguf", NULL);
}

static void files_of_metrics(void **state)
{
    (void)state;
    expect_taken("model", "out.h5", "job.prom");
    expect_refused("model", "out.prom", "out.prom",
                   "output.metrics: out.prom would replace the output, out.prom (output.path); "
                   "choose another output");
    assert_int_equal(symlink("other.h5", "a.prom"), 0);
    expect_refused("model", "other.h5", "a.prom",
                   "output.metrics: a.prom would replace the output, other.h5 (output.path); "
                   "choose another output");
    assert_int_equal(symlink("data.jsonl", "b.prom"), 0);
    expect_refused("model", "out.h5", "b.prom",
                   "output.metrics: b.prom would replace the data set, data.jsonl (data.input); "
                   "choose another output");
    assert_int_equal(symlink("data.jsonl", "c.prom.next"), 0);
    expect_refused("model", "out.h5", "c.prom",
                   "output.metrics: c.prom.next would replace the data set, data.jsonl "
                   "(data.input); choose another output");
    assert_int_equal(symlink("data.jsonl", "d.prom.partial"), 0);
    expect_taken("model", "out.h5", "d.prom");
}

static void outputs_of_commands(void **state)
{
    (void)state;
    assert_int_equal(job_check_output("-o", "x.h5", "model", "data.jsonl"), STATUS_OK);
    assert_int_equal(job_check_output("-o", "x.h5", "model", NULL), STATUS_OK);
    assert_int_equal(job_check_output("-o", "data.jsonl", "model", NULL), STATUS_OK);
    assert_int_equal(job_check_output("-o", "data.jsonl", "model", "data.jsonl"), STATUS_INVALID);
    assert_string_equal(status_message(), "-o: data.jsonl would replace the input, data.jsonl (the "
                                          "command line); choose another output");
    assert_int_equal(job_check_output("-o", "model/config.json", "model", NULL), STATUS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_by_any_name, enter, leave),
        cmocka_unit_test_setup_teardown(files_beside_the_output, enter, leave),
        cmocka_unit_test_setup_teardown(files_of_the_model, enter, leave),
        cmocka_unit_test_setup_teardown(parts_of_a_model, enter, leave),
        cmocka_unit_test_setup_teardown(files_of_metrics, enter, leave),
        cmocka_unit_test_setup_teardown(outputs_of_commands, enter, leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
