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
static const char *const survivors[] = {
    "output_attribute_text", /* one that is not there */
    "process_start",         /* who holds the lock is found out otherwise */
    "describe_self",         /* a lock that says less of its holder */
    "journal_folder_empty",  /* it stays */
    "attempts_close",        /* the next start is the more careful */
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

/* A buffer grows at some lengths only: with ids of other lengths another piece of a line is the one
 * that there is no room for. */
enum { MOST_PADDING = 66, PADDING_STEP = 11 };

static void write_padded(size_t length)
{
    char id[MOST_PADDING + 1];
    memset(id, 'i', sizeof id);
    struct result result = examples[0];
    result.id = id;
    result.id_length = length;
    struct output_writer *writer = create(path_of("all.h5"), true, &all_columns);
    assert_int_equal(output_append(writer, &result), STATUS_OK);
    assert_int_equal(output_write_vocabulary(writer, example_token, NULL), STATUS_OK);
    assert_int_equal(output_finish(writer), STATUS_OK);
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
    for (size_t length = 0; length <= MOST_PADDING; length += PADDING_STEP) {
        write_padded(length);
        for (size_t i = 0; i < 4; i += 3) {
            walk("a line of an export", FAIL_MEMORY, export_once, &options[i]);
        }
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
    struct job job = {0};
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
    }
    job_destroy(&job);
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

/* ---- Notes of rows under way ---- */

static status note_rows(void *context)
{
    struct journal *journal;
    struct attempts *attempts;
    (void)context;
    TRY(journal_open(path_of("job.sluice"), "job: a\n", JOURNAL_FRESH, &journal));
    status s = attempts_open(path_of("job.sluice"), journal, true, &attempts);
    if (s == STATUS_OK) {
        s = attempts_begin(attempts, 1, 0);
        s = s == STATUS_OK ? attempts_begin(attempts, 2, 0) : s;
        s = s == STATUS_OK ? attempts_write(attempts) : s;
        s = s == STATUS_OK ? attempts_begin_alone(attempts, 3) : s;
        s = s == STATUS_OK ? attempts_end_alone(attempts) : s;
        attempts_close(attempts, ATTEMPTS_ORDERLY);
    }
    journal_close(journal, true);
    return s;
}

static void rows_under_way(void **state)
{
    (void)state;
    walk("rows under way", FAIL_MEMORY | FAIL_OPEN | FAIL_WRITE | FAIL_SYNC, note_rows, NULL);
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
                                       cmocka_unit_test(jobs), cmocka_unit_test(rows_under_way)};
    return cmocka_run_group_tests(tests, enter, scratch_destroy);
}
