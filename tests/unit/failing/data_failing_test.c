/* SPDX-License-Identifier: Apache-2.0 */
/* Outputs written, read and exported in every form, and jobs written and checked, with each of the
 * allocations failing in turn. */
#include "output_examples.h"

#include <unistd.h>

#include "failing/failing.h"
#include "sluice/export.h"
#include "sluice/grade.h"
#include "sluice/job.h"

static char folder[128];

/* Places that go on without what they were denied. */
static const char *const survivors[] = {"output_attribute_text", /* one that is not there */
                                        NULL};

static void walk(const char *name, unsigned kinds, status (*act)(void *), const void *context)
{
    const struct failing_walk how = {.name = name,
                                     .kinds = kinds,
                                     .act = act,
                                     .context = (void *)context,
                                     .once = true,
                                     .survived_by = survivors};
    assert_true(failing_walk(&how) > 0);
}

static const char *path_of(const char *name)
{
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static status collect(void *context, const char *bytes, size_t length)
{
    return buffer_append(context, bytes, length);
}

static status export_once(void *context)
{
    struct output_reader *reader;
    struct buffer out = {0};
    TRY(output_open(path_of("all.h5"), &reader));
    status s = output_export_as(reader, context, collect, &out);
    output_reader_close(reader);
    buffer_destroy(&out);
    return s;
}

static void exports(void **state)
{
    (void)state;
    static const char *const names[] = {"id",      "body",   "top_logprob_values",
                                        "seconds", "prompt", "label"};
    static const struct export_options options[] = {
        {.format = EXPORT_JSONL},
        {.format = EXPORT_JSONL, .columns = names, .column_count = COUNT_OF(names)},
        {.format = EXPORT_OPENAI},
        {.format = EXPORT_CSV},
        {.format = EXPORT_TEXT},
        {.format = EXPORT_PARQUET},
    };
    write_examples(path_of("all.h5"), &all_columns);
    for (size_t i = 0; i < COUNT_OF(options); i++) {
        walk("an export", FAIL_MEMORY, export_once, &options[i]);
    }
}

static status write_packed(void *context)
{
    struct export_file *file;
    TRY(export_file_create(path_of(context), true, &file));
    status s = export_file_write(file, "some bytes", 10);
    if (s != STATUS_OK) {
        export_file_abandon(file);
        return s;
    }
    return export_file_finish(file);
}

static void files_of_exports(void **state)
{
    (void)state;
    static const char *const names[] = {"x.csv", "x.csv.gz", "x.csv.zst"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        walk(names[i], FAIL_MEMORY | FAIL_OPEN | FAIL_WRITE | FAIL_SYNC | FAIL_RENAME, write_packed,
             names[i]);
    }
}

static status grade(void *context)
{
    struct output_reader *reader;
    struct grade_table table = {0};
    (void)context;
    TRY(output_open(path_of("all.h5"), &reader));
    status s = grade_output(reader, "label", "text", &table);
    grade_table_destroy(&table);
    output_reader_close(reader);
    return s;
}

static void grades(void **state)
{
    (void)state;
    walk("grades", FAIL_MEMORY, grade, NULL);
}

static status check_files(void *context)
{
    struct job job;
    struct buffer text = {0}, out = {0};
    (void)context;
    status s = buffer_format(&text,
                             "model: {path: %s}\ndata: {input: [\"%s/*.jsonl\"], chat_template: "
                             "x}\noutput: {path: o.h5, metrics: o.prom}\n"
                             "generate: {stop: [a, b], logit_bias: {3: 1}, structured: {choice: "
                             "[a]}}\n",
                             folder, folder);
    s = s == STATUS_OK ? job_read("job", text.data, text.length, NULL, 0, &job) : s;
    if (s == STATUS_OK) {
        s = job_check_files(&job, path_of("job.yaml"));
        s = s == STATUS_OK ? job_write(&job, &out) : s;
        s = s == STATUS_OK ? job_check_output("-o", "y.h5", folder, path_of("a.jsonl")) : s;
        job_destroy(&job);
    }
    buffer_destroy(&text);
    buffer_destroy(&out);
    return s;
}

static void jobs(void **state)
{
    static const char *const names[] = {"a.jsonl", "b.jsonl", "config.json", "job.yaml"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        assert_non_null(scratch_write(state, names[i], "{}\n", 3));
    }
    walk("a job's files", FAIL_MEMORY, check_files, NULL);
}

static int enter(void **state)
{
    const int failed = scratch_create(state);
    snprintf(folder, sizeof folder, "%s", ((struct scratch_folder *)*state)->path);
    return failed;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(exports),
                                       cmocka_unit_test(files_of_exports), cmocka_unit_test(grades),
                                       cmocka_unit_test(jobs)};
    return cmocka_run_group_tests(tests, enter, scratch_destroy);
}
