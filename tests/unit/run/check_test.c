/* SPDX-License-Identifier: Apache-2.0 */
/* What a check finds without a step: what rows come to, which are bad, what will not fit, and each
 * problem once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "scratch_folder.h"
#include "sluice/check.h"

#define TEXT_MODEL SLUICE_SOURCE_DIR "/data/small-model"
#define ID_MODEL   SLUICE_SOURCE_DIR "/tests/data/models/llama"
#define ENCODER    SLUICE_SOURCE_DIR "/tests/data/encoders/bert"

static char data_path[300], output_path[300];

static int enter(void **state)
{
    if (scratch_create(state) != 0) {
        return -1;
    }
    snprintf(data_path, sizeof data_path, "%s", scratch_path(state, "data.jsonl"));
    snprintf(output_path, sizeof output_path, "%s", scratch_path(state, "out.h5"));
    return 0;
}

static void write_rows(const char *text)
{
    FILE *file = fopen(data_path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

/* A check of these rows, with more of the job file; "{" sections "}" as in a job. */
static struct check_report check_with(const char *model, const char *rows, const char *more,
                                      struct check_options options)
{
    char text[2000];
    struct job job;
    struct check_report report;
    if (rows != NULL) {
        write_rows(rows);
    }
    snprintf(text, sizeof text,
             "model: {path: \"%s\"}\ndata: {input: \"%s\"}\noutput: {path: \"%s\"}\n"
             "engine: {max_sequences: 4, kv_memory: 16MiB}\n",
             model, data_path, output_path);
    const char *overrides[8];
    size_t count = 0;
    char copy[1000];
    snprintf(copy, sizeof copy, "%s", more);
    for (char *at = strtok(copy, ";"); at != NULL; at = strtok(NULL, ";")) {
        overrides[count++] = at;
    }
    if (job_read("job.yaml", text, strlen(text), overrides, count, &job) != STATUS_OK ||
        check_job(&job, &options, &report) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    job_destroy(&job);
    return report;
}

static const struct check_options alone = {.ranks = 1, .ranks_per_host = 1};

static void expect_text(const struct buffer *text, const char *wanted)
{
    assert_string_equal(text->length > 0 ? text->data : "", wanted);
}

#define P "{\"prompt_token_ids\": [4, 5, 6]"

/* Bytes of a row in journal and output: 150, the line, and for each token 5 of text and what it
 * asks for. */
static int64_t bytes_of(int samples, int64_t line, int64_t a_token, int64_t tokens)
{
    return 2 * samples * (150 + line + a_token * tokens);
}

enum { LEAST_FILE = 24000, MOST_FILE = 64000 };

#define SHORT   P "}"
#define SAMPLED P ", \"n\": 3, \"max_tokens\": 7}"
#define SINGLE  "{\"prompt_token_ids\": [4]}"
#define TEXT    "{\"prompt\": \"reverse: abc\"}"
#define CHAT    "{\"messages\": [{\"role\": \"user\", \"content\": \"reverse: dog\"}]}"

static int64_t length_of(const char *line)
{
    return (int64_t)strlen(line);
}

static void rows_come_to(void **state)
{
    (void)state;
    static const char rows[] = SHORT "\n" SAMPLED "\n" SINGLE "\n";
    struct check_report report = check_with(ID_MODEL, rows, "generate.max_new_tokens=5", alone);
    expect_text(&report.problems, "");
    assert_int_equal(report.problem_count, 0);
    assert_false(report.complete || report.has_journal || report.has_template);
    assert_int_equal(report.rows, 3);
    assert_int_equal(report.bad_row_count, 0);
    assert_int_equal(report.samples, 5);
    assert_int_equal(report.texts, 0);
    assert_int_equal(report.cut_answers, 0);
    assert_int_equal(report.prompt_tokens, 7);
    assert_int_equal(report.longest_prompt, 3);
    assert_int_equal(report.output_tokens, 5 + 3 * 7 + 5);
    /* Without a tokenizer answers are kept as ids. */
    assert_int_equal(report.output_bytes, MOST_FILE + bytes_of(1, length_of(SHORT), 9, 5) +
                                              bytes_of(3, length_of(SAMPLED), 9, 7) +
                                              bytes_of(1, length_of(SINGLE), 9, 5));
    assert_int_equal(report.least_bytes, LEAST_FILE + 2 * 5 * 64);
    struct statvfs space;
    assert_int_equal(statvfs(".", &space), 0);
    const int64_t there = (int64_t)(space.f_bavail * space.f_frsize);
    assert_true(llabs(report.free_bytes - there) < there / 10 + (64 << 20));
    assert_true(report.plan.length > 0);
    check_report_destroy(&report);
    report = check_with(ID_MODEL, rows, "generate.max_new_tokens=5;generate.logprobs=2", alone);
    assert_int_equal(report.output_bytes, MOST_FILE + bytes_of(1, length_of(SHORT), 9 + 20, 5) +
                                              bytes_of(3, length_of(SAMPLED), 9 + 20, 7) +
                                              bytes_of(1, length_of(SINGLE), 9 + 20, 5));
    check_report_destroy(&report);
    report = check_with(ID_MODEL, rows, "generate.max_new_tokens=4000", alone);
    assert_int_equal(report.cut_answers, 2);
    assert_int_equal(report.prompt_tokens, 7);
    check_report_destroy(&report);
}

static void texts_come_to(void **state)
{
    (void)state;
    static const char rows[] = TEXT "\n" CHAT "\n";
    struct check_report report = check_with(TEXT_MODEL, rows, "generate.max_new_tokens=5", alone);
    expect_text(&report.problems, "");
    assert_true(report.has_template);
    assert_int_equal(report.texts, 1);
    assert_int_equal(report.prompt_tokens, 7 + 13);
    assert_int_equal(report.longest_prompt, 13);
    assert_int_equal(report.output_bytes, MOST_FILE + bytes_of(1, length_of(TEXT), 5, 5) +
                                              bytes_of(1, length_of(CHAT), 5, 5));
    check_report_destroy(&report);
    report = check_with(TEXT_MODEL, rows, "generate.max_new_tokens=5;output.include_token_ids=true",
                        alone);
    assert_int_equal(report.output_bytes, MOST_FILE + bytes_of(1, length_of(TEXT), 9, 5) +
                                              bytes_of(1, length_of(CHAT), 9, 5));
    check_report_destroy(&report);
    /* Scored: each token but the first has a number, and there is nothing else. */
    report =
        check_with(TEXT_MODEL, "{\"prompt\": \"reverse: abc\"}\n", "generate.mode=score", alone);
    assert_int_equal(report.prompt_tokens, 1);
    assert_int_equal(report.output_tokens, 6);
    assert_int_equal(report.output_bytes, MOST_FILE + bytes_of(1, length_of(TEXT), 5 + 4 + 4, 6));
    assert_int_equal(report.least_bytes, LEAST_FILE + 2 * (64 + 8 * 6));
    assert_int_equal(report.cut_answers, 0);
    check_report_destroy(&report);
}

static void vectors_come_to(void **state)
{
    (void)state;
    struct check_report report =
        check_with(ENCODER, "{\"text\": \"a\"}\n{\"text\": \"b\"}\n", "", alone);
    expect_text(&report.problems, "");
    assert_int_equal(report.output_tokens, 0);
    assert_int_equal(report.samples, 2);
    const int64_t vector = (report.output_bytes - MOST_FILE) / 2 / 2 - 150 - 13;
    assert_true(vector > 0 && vector % 4 == 0);
    assert_int_equal(report.output_bytes, MOST_FILE + 2 * 2 * (150 + 13 + vector));
    assert_int_equal(report.least_bytes, LEAST_FILE + 2 * 2 * (64 + vector));
    check_report_destroy(&report);
}

static void bad_rows_are_told(void **state)
{
    (void)state;
    char rows[1000] = P "}\n";
    for (int i = 0; i < 12; i++) {
        strcat(rows, i == 3 ? "no JSON\n" : "{\"prompt_token_ids\": []}\n");
    }
    struct check_report report = check_with(ID_MODEL, rows, "", alone);
    expect_text(&report.problems, "");
    assert_int_equal(report.rows, 13);
    assert_int_equal(report.bad_row_count, 12);
    assert_int_equal(report.samples, 1);
    int lines = 0;
    for (size_t i = 0; i < report.bad_rows.length; i++) {
        lines += report.bad_rows.data[i] == '\n';
    }
    assert_int_equal(lines, CHECK_MAX_BAD_ROWS);
    assert_memory_equal(report.bad_rows.data, "line 2: ", 8);
    assert_memory_equal(report.errors.data, "11 rows: ", 9);
    check_report_destroy(&report);
    report = check_with(ID_MODEL, rows, "data.skip_bad_rows=false", alone);
    assert_int_equal(report.problem_count, 1);
    assert_non_null(strstr(report.problems.data,
                           "data.jsonl: 12 bad rows, and data.skip_bad_rows is false: 11 rows: "));
    check_report_destroy(&report);
    report = check_with(ID_MODEL, "{}\n[]\n", "", alone);
    assert_int_equal(report.problem_count, 1);
    assert_non_null(strstr(report.problems.data, "data.jsonl: no row would have an answer: "));
    check_report_destroy(&report);
}

static void a_sample_stands_for_all(void **state)
{
    (void)state;
    char rows[2000] = "";
    for (int i = 0; i < 39; i++) {
        strcat(rows, P "}\n");
    }
    strcat(rows, "{\"bad\": 1}\n");
    const struct check_options options = {.ranks = 1, .ranks_per_host = 1, .sample = 10};
    setenv("XDG_CACHE_HOME", "/nowhere/that/is", 1);
    struct check_report report = check_with(ID_MODEL, rows, "generate.max_new_tokens=5", options);
    expect_text(&report.problems, "");
    assert_int_equal(report.rows, 40);
    assert_int_equal(report.bad_row_count, 0); /* not looked at */
    assert_int_equal(report.samples, 40);
    assert_int_equal(report.prompt_tokens, 120);
    assert_int_equal(report.output_tokens, 200);
    assert_int_equal(report.longest_prompt, 3);
    expect_text(&report.prediction, "not known: this model has not run on such a device yet; some "
                                    "hundred rows of it (data.limit) are enough\n");
    check_report_destroy(&report);
    const struct check_options all = {.ranks = 1, .ranks_per_host = 1, .sample = 1000};
    report = check_with(ID_MODEL, rows, "generate.max_new_tokens=5", all);
    assert_int_equal(report.samples, 39); /* no more than there are */
    assert_int_equal(report.bad_row_count, 1);
    check_report_destroy(&report);
}

static void problems_are_told_once(void **state)
{
    (void)state;
    struct check_report report = check_with("/nowhere", P "}\n", "", alone);
    assert_int_equal(report.problem_count, 1);
    assert_non_null(strstr(report.problems.data, "/nowhere"));
    assert_int_equal(report.rows, 1); /* the rows are looked at all the same */
    assert_int_equal(report.bad_row_count, 0);
    assert_false(report.is_refused);
    check_report_destroy(&report);
    assert_int_equal(unlink(data_path), 0);
    report = check_with("/nowhere", NULL, "output.path=/proc/version/x.h5", alone);
    assert_int_equal(report.problem_count, 3);
    assert_non_null(strstr(report.problems.data, "data.jsonl: No such file or directory\n"));
    assert_non_null(strstr(report.problems.data, "output.path: /proc/version is not a folder\n"));
    check_report_destroy(&report);
}

static void places_of_outputs(void **state)
{
    char more[400];
    struct check_report report;
    snprintf(more, sizeof more, "output.path=%s", scratch_path(state, "a/b/c/out.h5"));
    report = check_with(ID_MODEL, P "}\n", more, alone);
    expect_text(&report.problems, "");
    assert_true(report.free_bytes >= 0);
    check_report_destroy(&report);
    assert_int_equal(access(scratch_path(state, "a"), F_OK), -1); /* nothing is made */
    snprintf(more, sizeof more, "output.path=%s/out.h5", data_path);
    report = check_with(ID_MODEL, P "}\n", more, alone);
    assert_int_equal(report.problem_count, 1);
    assert_non_null(strstr(report.problems.data, "data.jsonl"));
    check_report_destroy(&report);
    report = check_with(ID_MODEL, P "}\n", "output.path=/proc/out.h5", alone);
    assert_int_equal(report.problem_count, 1);
    expect_text(&report.problems,
                "output.path: cannot write in /proc: No such file or directory\n");
    assert_int_equal(report.free_bytes, -1);
    check_report_destroy(&report);
    report = check_with(ID_MODEL, P "}\n", "output.path=bare.h5", alone);
    expect_text(&report.problems, "");
    check_report_destroy(&report);
    assert_int_equal(mkdir(output_path, 0777), 0);
    report = check_with(ID_MODEL, P "}\n", "", alone);
    assert_non_null(strstr(report.problems.data, "out.h5 is a folder\n"));
    check_report_destroy(&report);
}

/* Whether the answers' most fits is a warning: nobody knows how long they come to be. */
static void room_may_not_be_enough(void **state)
{
    (void)state;
    struct check_report report =
        check_with(ID_MODEL, P ", \"n\": 1024}\n", "generate.max_new_tokens=1000000", alone);
    const int64_t a_row = report.output_bytes - MOST_FILE;
    const int64_t rows = report.free_bytes / a_row + 2;
    expect_text(&report.warnings, "1 row: columns taken for parameters: n; where they are data, "
                                  "set data.row_parameters=false\n");
    check_report_destroy(&report);
    if (rows > 200000) {
        skip();
    }
    FILE *file = fopen(data_path, "w");
    for (int64_t i = 0; i < rows; i++) {
        fputs(P ", \"n\": 1024}\n", file);
    }
    assert_int_equal(fclose(file), 0);
    report = check_with(ID_MODEL, NULL, "generate.max_new_tokens=1000000", alone);
    expect_text(&report.problems, "");
    assert_non_null(strstr(report.warnings.data, "out.h5: up to "));
    assert_non_null(strstr(report.warnings.data,
                           " are free; whether that is enough depends on how long the answers "
                           "are\n"));
    check_report_destroy(&report);
}

static void rows_that_draw_the_same(void **state)
{
    (void)state;
    static const char rows[] = "{\"id\": \"a\", \"prompt_token_ids\": [4]}\n"
                               "{\"id\": \"a\", \"prompt_token_ids\": [4]}\n"
                               "{\"id\": \"a\", \"prompt_token_ids\": [5]}\n"
                               "{\"prompt_token_ids\": [4]}\n{\"prompt_token_ids\": [4]}\n";
    struct check_report report = check_with(ID_MODEL, rows, "generate.temperature=1", alone);
    expect_text(&report.warnings,
                "rows that have the id and the prompt of another row, and so its random numbers "
                "and answers: 1; give rows ids of their own, or seeds\n");
    check_report_destroy(&report);
    report = check_with(ID_MODEL, rows, "generate.temperature=0", alone);
    expect_text(&report.warnings, "");
    check_report_destroy(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_come_to, enter, scratch_destroy),
        cmocka_unit_test_setup_teardown(texts_come_to, enter, scratch_destroy),
        cmocka_unit_test_setup_teardown(vectors_come_to, enter, scratch_destroy),
        cmocka_unit_test_setup_teardown(bad_rows_are_told, enter, scratch_destroy),
        cmocka_unit_test_setup_teardown(a_sample_stands_for_all, enter, scratch_destroy),
        cmocka_unit_test_setup_teardown(problems_are_told_once, enter, scratch_destroy),
        cmocka_unit_test_setup_teardown(places_of_outputs, enter, scratch_destroy),
        cmocka_unit_test_setup_teardown(room_may_not_be_enough, enter, scratch_destroy),
        cmocka_unit_test_setup_teardown(rows_that_draw_the_same, enter, scratch_destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
