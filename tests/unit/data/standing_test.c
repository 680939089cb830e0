/* SPDX-License-Identifier: Apache-2.0 */
/* How a job stands from outside, by its progress file, lock and output; the templates' time; and
 * what a finished output is held against: expected answers, a table of its inputs, logits in a
 * file. */
#include "output_examples.h"

#include <dirent.h>
#include <hdf5.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sluice/grade.h"
#include "sluice/matrix_file.h"
#include "sluice/progress.h"

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static const char *make_folder(void *const *state, const char *name)
{
    const char *path = scratch_path(state, name);
    assert_int_equal(mkdir(path, 0777), 0);
    return path;
}

/* ---- Progress ---- */

static const struct job_progress example = {.rows = 100,
                                            .rows_done = 40,
                                            .rows_kept = 10,
                                            .rows_handed = 50,
                                            .error_rows = 3,
                                            .output_tokens = 4000,
                                            .tokens_kept = 900,
                                            .seconds = 12.5,
                                            .rows_per_second = 2.5,
                                            .tokens_per_second = 250,
                                            .running = 8,
                                            .waiting = 2,
                                            .kv_use = 0.75,
                                            .tokens_now = 300,
                                            .started = 1000,
                                            .updated = 1012,
                                            .ranks = 4,
                                            .dp = 2,
                                            .tp = 1,
                                            .pp = 2,
                                            .process = 77,
                                            .host = "node\"1",
                                            .last_error = "line 3: no\n",
                                            .slow = "rank 1"};

static const char example_text[] =
    "{\"rows\":100,\"rows_done\":40,\"rows_kept\":10,\"rows_handed\":50,\"error_rows\":3,"
    "\"output_tokens\":4000,\"tokens_kept\":900,\"seconds\":12.5,\"rows_per_second\":2.5,"
    "\"tokens_per_second\":250,\"started\":1000,\"updated\":1012,\"ranks\":4,\"dp\":2,\"tp\":1,"
    "\"pp\":2,\"process\":77,\"host\":\"node\\\"1\",\"last_error\":\"line 3: no\\n\",\"running\":8,"
    "\"waiting\":2,\"kv_use\":0.75,\"tokens_now\":300,\"slow\":\"rank 1\"}\n";

static void progress_is_read_as_written(void **state)
{
    struct job_progress read;
    bool found;
    struct buffer text = {0};
    const char *folder = make_folder(state, "a.sluice");
    assert_int_equal(job_progress_read(folder, &read, &found), STATUS_OK);
    assert_false(found);
    assert_int_equal(read.rows, -1);
    assert_int_equal(job_progress_write(folder, &example), STATUS_OK);
    assert_int_equal(file_read(scratch_path(state, "a.sluice/progress"), 4096, &text), STATUS_OK);
    assert_string_equal(text.data, example_text);
    assert_int_equal(access(scratch_path(state, "a.sluice/progress.next"), F_OK), -1);
    assert_int_equal(job_progress_read(folder, &read, &found), STATUS_OK);
    assert_true(found);
    assert_int_equal(read.rows, 100);
    assert_int_equal(read.rows_done, 40);
    assert_int_equal(read.pp, 2);
    assert_true(read.kv_use == 0.75 && read.seconds == 12.5);
    assert_string_equal(read.host, "node\"1");
    assert_string_equal(read.slow, "rank 1");
    struct job_progress unknown = example;
    unknown.rows = -1;
    unknown.rows_kept = -1; /* no other member is unknown */
    buffer_clear(&text);
    assert_int_equal(job_progress_append_json(&unknown, &text), STATUS_OK);
    assert_memory_equal(text.data, "\"rows\":null,\"rows_done\":40,\"rows_kept\":-1,", 42);
    buffer_destroy(&text);
    static const char *const others[] = {"", "{", "[1]", "nonsense"};
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        write_text(scratch_path(state, "a.sluice/progress"), others[i]);
        assert_int_equal(job_progress_read(folder, &read, &found), STATUS_OK);
        assert_false(found);
    }
    write_text(scratch_path(state, "a.sluice/progress"), "{\"rows\":\"x\",\"dp\":3,\"host\":5}");
    assert_int_equal(job_progress_read(folder, &read, &found), STATUS_OK);
    assert_true(found);
    assert_int_equal(read.rows, -1);
    assert_int_equal(read.dp, 3);
    assert_string_equal(read.host, "");
    assert_int_equal(job_progress_write("no/such/folder", &example), STATUS_IO);
}

/* ---- Standing ---- */

static void expect_state(const char *output, enum job_state wanted, struct job_standing *standing)
{
    if (job_standing_read(output, standing) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    assert_string_equal(job_state_name(standing->state), job_state_name(wanted));
}

static void expect_not_there(const char *output, const char *message)
{
    struct output_reader *reader;
    char wanted[600];
    snprintf(wanted, sizeof wanted, "%s: %s", output, message);
    assert_int_equal(job_output_open(output, &reader), STATUS_NOT_FOUND);
    assert_string_equal(status_message(), wanted);
}

static void jobs_stand(void **state)
{
    struct job_standing standing;
    struct journal *journal;
    const char *output = scratch_path(state, "job.h5");
    char folder[300];
    snprintf(folder, sizeof folder, "%s.sluice", output);
    expect_state(output, JOB_UNKNOWN, &standing);
    assert_int_equal(standing.progress.rows, -1);
    expect_not_there(output, "No such file or directory");
    write_text(folder, "a file is no journal");
    expect_state(output, JOB_UNKNOWN, &standing);
    assert_int_equal(unlink(folder), 0);

    assert_int_equal(journal_open(folder, "job: a\n", 0, &journal), STATUS_OK);
    expect_state(output, JOB_RUNNING, &standing);
    assert_false(standing.has_progress);
    expect_not_there(output, "is not there yet: its job is running; sluice status says more");
    assert_int_equal(job_progress_write(folder, &example), STATUS_OK);
    expect_not_there(output, "is not there yet: its job is running, 40 of 100 rows are done; "
                             "sluice status says more");
    write_examples(output, &all_columns); /* which the job is about to replace */
    expect_state(output, JOB_RUNNING, &standing);
    assert_int_equal(standing.progress.rows_done, 40);
    assert_int_equal(unlink(output), 0);
    journal_close(journal, false);
    expect_state(output, JOB_STOPPED, &standing);
    assert_true(standing.has_progress);
    expect_not_there(output, "is not there yet: its job was stopped, 40 of 100 rows are done; the "
                             "command that started it continues it");
    struct job_progress unknown = example;
    unknown.rows = -1;
    assert_int_equal(job_progress_write(folder, &unknown), STATUS_OK);
    expect_not_there(output, "is not there yet: its job was stopped; the command that started it "
                             "continues it");
}

static void finished_jobs_stand(void **state)
{
    static const struct output_attribute attributes[] = {{"rows", NULL, 20},
                                                         {"resumed_rows", NULL, 4},
                                                         {"error_rows", NULL, 3},
                                                         {"output_tokens", NULL, 100},
                                                         {"wall_seconds", NULL, 8},
                                                         {"wall_output_tokens", NULL, 80},
                                                         {"errors", "3 rows: no prompt", 0}};
    struct job_standing standing;
    const char *output = scratch_path(state, "done.h5");
    for (size_t count = 0; count <= COUNT_OF(attributes); count += COUNT_OF(attributes)) {
        struct output_writer *writer = create(output, true, &(struct output_columns){0});
        if (count > 0) {
            assert_int_equal(output_write_attributes(writer, attributes, count), STATUS_OK);
        }
        assert_int_equal(output_finish(writer), STATUS_OK);
        expect_state(output, JOB_COMPLETE, &standing);
        assert_true(standing.has_progress);
        const struct job_progress *p = &standing.progress;
        assert_int_equal(p->rows, count > 0 ? 20 : 0);
        assert_int_equal(p->rows_done, p->rows);
        assert_int_equal(p->rows_handed, p->rows);
        assert_int_equal(p->rows_kept, count > 0 ? 4 : 0);
        assert_int_equal(p->error_rows, count > 0 ? 3 : 0);
        assert_int_equal(p->output_tokens, count > 0 ? 100 : 0);
        assert_int_equal(p->tokens_kept, count > 0 ? 20 : 0);
        assert_true(p->seconds == (count > 0 ? 8 : 0));
        assert_true(p->rows_per_second == (count > 0 ? 2 : 0));
        assert_true(p->tokens_per_second == (count > 0 ? 10 : 0));
        assert_string_equal(p->last_error, count > 0 ? "3 rows: no prompt" : "");
    }
    struct output_reader *reader;
    assert_int_equal(job_output_open(output, &reader), STATUS_OK);
    output_reader_close(reader);
    write_text(output, "no HDF5");
    assert_int_not_equal(job_output_open(output, &reader), STATUS_OK);
    assert_int_not_equal(job_standing_read(output, &standing), STATUS_OK);
}

/* ---- The templates' time ---- */

static void times_of_templates_stay(void **state)
{
    const char *folder = make_folder(state, "time.sluice");
    const char *path = scratch_path(state, "time.sluice/template_time");
    struct buffer text = {0};
    int64_t first, again;
    const int64_t before = (int64_t)time(NULL);
    assert_int_equal(template_time_open(folder, false, &first), STATUS_OK);
    assert_in_range(first, before, (int64_t)time(NULL));
    assert_int_equal(file_read(path, 100, &text), STATUS_OK);
    assert_int_equal(text.length, strlen("2026-01-02T03:04:05Z\n"));
    buffer_destroy(&text);
    write_text(path, "2026-01-02T03:04:05Z\n");
    assert_int_equal(template_time_open(folder, false, &again), STATUS_OK);
    assert_int_equal(again, 1767323045);
    assert_int_equal(access(scratch_path(state, "time.sluice/template_time.new"), F_OK), -1);
    static const char *const damaged[] = {"", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z\n\n",
                                          "2026-13-02T03:04:05Z\n", "2026-01-02T03:04:05Z "};
    for (size_t i = 0; i < COUNT_OF(damaged); i++) {
        char wanted[400];
        write_text(path, damaged[i]);
        assert_int_equal(template_time_open(folder, false, &again), STATUS_INVALID);
        snprintf(wanted, sizeof wanted,
                 "%s: not a time; set data.template_time, or start afresh with --fresh", path);
        assert_string_equal(status_message(), wanted);
    }
    assert_int_equal(template_time_open(folder, true, &again), STATUS_OK);
    assert_true(again >= first);
    assert_int_equal(template_time_open(folder, false, &first), STATUS_OK);
    assert_int_equal(first, again);
    assert_int_equal(template_time_open("no/such/folder", false, &first), STATUS_IO);
}

/* ---- Grades ---- */

static const struct {
    const char *text, *fields;
    bool failed;
} graded[] = {
    {" 12\n", "{\"want\":\"12\",\"task\":\"b\"}", false},
    {"12", "{\"want\":12,\"task\":\"b\"}", false},
    {"1 2", "{\"want\":\"12\",\"task\":\"a\"}", false},
    {"12", "{\"want\":\"12\",\"task\":\"a\"}", true}, /* an error is no answer */
    {"[1,2]", "{\"want\":[1, 2],\"task\":3}", false},
    {"", "{\"want\":\"\"}", false},
    {"x", "{\"task\":\"a\"}", false},
    {"y", "", false},
    {" \t\v\f\r\n", "{\"want\":\"\",\"task\":\"bb\"}", false},
};

static struct output_reader *graded_output(void *const *state)
{
    const char *path = scratch_path(state, "graded.h5");
    struct output_writer *writer = create(path, true, &(struct output_columns){0});
    for (size_t i = 0; i < COUNT_OF(graded); i++) {
        const struct result result = {.row = (int64_t)i,
                                      .id = "",
                                      .error = "",
                                      .finish_reason =
                                          graded[i].failed ? FINISH_ERROR : FINISH_STOP,
                                      .text = graded[i].text,
                                      .text_length = strlen(graded[i].text),
                                      .passthrough = graded[i].fields,
                                      .passthrough_length = strlen(graded[i].fields)};
        assert_int_equal(output_append(writer, &result), STATUS_OK);
    }
    assert_int_equal(output_finish(writer), STATUS_OK);
    return open_reader(path);
}

static void answers_are_graded(void **state)
{
    static const struct grade_group groups[] = {
        {"(none)", 1, 1}, {"3", 1, 1}, {"a", 2, 0}, {"b", 2, 2}, {"bb", 1, 1}};
    struct output_reader *reader = graded_output(state);
    struct grade_table table;
    assert_int_equal(grade_output(reader, "want", "task", &table), STATUS_OK);
    assert_string_equal(table.total.name, "total");
    assert_int_equal(table.total.results, 7);
    assert_int_equal(table.total.right, 5);
    assert_int_equal(table.ungraded, 2);
    assert_int_equal(table.group_count, COUNT_OF(groups));
    for (size_t i = 0; i < COUNT_OF(groups); i++) {
        assert_string_equal(table.groups[i].name, groups[i].name);
        assert_int_equal(table.groups[i].results, groups[i].results);
        assert_int_equal(table.groups[i].right, groups[i].right);
    }
    grade_table_destroy(&table);
    assert_int_equal(grade_output(reader, "want", NULL, &table), STATUS_OK);
    assert_int_equal(table.total.right, 5);
    assert_int_equal(table.group_count, 0);
    grade_table_destroy(&table);
    assert_int_equal(grade_output(reader, "nothing", NULL, &table), STATUS_NOT_FOUND);
    assert_string_equal(status_message(), "no row has a field \"nothing\" to score by");
    grade_table_destroy(&table);
    output_reader_close(reader);
}

static void groups_are_bounded(void **state)
{
    const char *path = scratch_path(state, "many.h5");
    struct output_writer *writer = create(path, true, &(struct output_columns){0});
    for (int64_t i = 0; i < 1001; i++) {
        char fields[64];
        snprintf(fields, sizeof fields, "{\"want\":\"\",\"by\":%lld}", (long long)i);
        const struct result result = {.row = i,
                                      .id = "",
                                      .error = "",
                                      .text = "",
                                      .passthrough = fields,
                                      .passthrough_length = strlen(fields)};
        assert_int_equal(output_append(writer, &result), STATUS_OK);
    }
    assert_int_equal(output_finish(writer), STATUS_OK);
    struct output_reader *reader = open_reader(path);
    struct grade_table table;
    assert_int_equal(grade_output(reader, "want", "by", &table), STATUS_LIMIT);
    assert_string_equal(status_message(), "more than 1000 groups by by");
    grade_table_destroy(&table);
    output_reader_close(reader);
}

/* ---- A matrix ---- */

static void matrices_are_written_by_rows(void **state)
{
    const char *path = scratch_path(state, "logits.h5");
    char partial[300];
    static const float values[3][2] = {{1, 2}, {3, 4}, {5, -6.5f}};
    float read[3][2];
    struct matrix_file *file;
    snprintf(partial, sizeof partial, "%s.partial", path);
    write_text(path, "before");
    assert_int_equal(matrix_file_create(path, "logits", 3, 2, &file), STATUS_OK);
    assert_int_equal(access(partial, F_OK), 0);
    assert_int_equal(matrix_file_write(file, 2, 1, values[2]), STATUS_OK);
    assert_int_equal(matrix_file_write(file, 0, 2, values[0]), STATUS_OK);
    assert_int_equal(matrix_file_write(file, 2, 2, values[0]), STATUS_IO); /* past its end */
    assert_int_equal(matrix_file_finish(file), STATUS_OK);
    assert_int_equal(access(partial, F_OK), -1);
    hid_t stored = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t dataset = H5Dopen2(stored, "logits", H5P_DEFAULT);
    assert_true(H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, read) >= 0);
    assert_memory_equal(read, values, sizeof values);
    H5Dclose(dataset);
    H5Fclose(stored);
    assert_int_equal(matrix_file_create(path, "logits", 1, 1, &file), STATUS_OK);
    matrix_file_abandon(file);
    assert_int_equal(access(partial, F_OK), -1);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(matrix_file_create("no/such/logits.h5", "logits", 1, 1, &file), STATUS_IO);
    assert_non_null(strstr(status_message(), "no/such/logits.h5.partial: cannot be created"));
    const char *folder = make_folder(state, "folder.h5");
    assert_int_equal(matrix_file_create(folder, "logits", 1, 1, &file), STATUS_OK);
    assert_int_equal(matrix_file_finish(file), STATUS_IO);
    snprintf(partial, sizeof partial, "%s.partial", folder);
    assert_int_equal(access(partial, F_OK), -1);
}

/* ---- The columns of an output that is added to ---- */

static void columns_are_joined(void **state)
{
    const char *path = scratch_path(state, "joined.h5");
    write_examples(path, &all_columns);
    struct output_reader *reader = open_reader(path);
    struct output_columns columns = {.top_logprobs = 5};
    output_columns_join(reader, &columns);
    assert_true(columns.prompt && columns.token_ids && columns.logprobs && columns.id_is_number);
    assert_int_equal(columns.top_logprobs, 5); /* the wider one */
    assert_int_equal(columns.embedding_width, 0);
    assert_false(columns.copied_from || columns.scores);
    columns.top_logprobs = 1;
    output_columns_join(reader, &columns);
    assert_int_equal(columns.top_logprobs, 2);
    output_reader_close(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(progress_is_read_as_written),  cmocka_unit_test(jobs_stand),
        cmocka_unit_test(finished_jobs_stand),          cmocka_unit_test(times_of_templates_stay),
        cmocka_unit_test(answers_are_graded),           cmocka_unit_test(groups_are_bounded),
        cmocka_unit_test(matrices_are_written_by_rows), cmocka_unit_test(columns_are_joined),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
