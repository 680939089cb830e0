/* SPDX-License-Identifier: Apache-2.0 */
/* Rows that are put into the output before their turn: the file is the one that they make in their
 * turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/output/ahead.h"
#include "run/writing/early_output.h"
#include "scratch_folder.h"
#include "sluice/inputs.h"

enum { ROWS = 5000, FIRST_FILE_ROWS = 1700, LONGEST = 90000 };

static struct output_columns columns_of(const void *context)
{
    return *(const struct output_columns *)context;
}

/* ---- Rows ---- */

static bool is_error(int64_t row)
{
    return row % 50 == 7;
}

static int samples_of(int64_t row)
{
    return row % 9 == 4 ? 3 : row == 2000 ? 17 : 1;
}

/* Of a character, of some hundred bytes, longer than what is written at once; what is no UTF-8. */
static size_t make_text(int64_t row, int sample, char *text)
{
    const size_t length = row % 997 == 5 ? LONGEST : row % 11 == 0 ? 0 : (size_t)(row * 31 % 700);
    for (size_t i = 0; i < length; i++) {
        text[i] = (char)('a' + ((size_t)row + (size_t)sample + i) % 26);
    }
    if (row % 13 == 1 && length > 2) {
        text[1] = '\0';
        text[2] = (char)0xFF;
    }
    return length;
}

static void add_result(struct journal *journal, int64_t row, struct buffer *bytes)
{
    static char text[LONGEST + 1];
    char id[32];
    snprintf(id, sizeof id, "row %lld", (long long)row);
    for (int sample = 0; sample < samples_of(row); sample++) {
        const bool failed = is_error(row) && sample == 0;
        const struct result result = {.row = row,
                                      .sample = sample,
                                      .id = id,
                                      .id_length = strlen(id),
                                      .text = text,
                                      .text_length = make_text(row, sample, text),
                                      .error = failed ? "too long" : "",
                                      .error_length = failed ? 8 : 0,
                                      .passthrough = row % 3 == 0 ? "{\"a\": 1}" : "",
                                      .passthrough_length = row % 3 == 0 ? 8 : 0,
                                      .finish_reason = failed ? FINISH_ERROR : FINISH_LENGTH,
                                      .endpoint = ENDPOINT_CHAT,
                                      .rank = (int32_t)(row % 5),
                                      .seconds = (double)row / 7,
                                      .stream = (uint64_t)(row / 2 + 1) << 41,
                                      .copied = row % 17 == 0 ? 1 : 0,
                                      .prompt_tokens = (int32_t)row,
                                      .completion_tokens = 2};
        assert_int_equal(result_encode(&result, bytes), STATUS_OK);
    }
    assert_int_equal(journal_append(journal, row, bytes->data, bytes->length), STATUS_OK);
    buffer_clear(bytes);
}

/* All rows in some order, row 0 not among them. */
static void add_rows(struct journal *journal)
{
    struct buffer bytes = {0};
    for (int64_t i = 1; i < ROWS; i++) {
        add_result(journal, 1 + i * 1237 % (ROWS - 1), &bytes);
    }
    buffer_destroy(&bytes);
    assert_int_equal(journal_commit(journal), STATUS_OK);
}

static void add_first_row(struct journal *journal)
{
    struct buffer bytes = {0};
    add_result(journal, 0, &bytes);
    buffer_destroy(&bytes);
    assert_int_equal(journal_commit(journal), STATUS_OK);
}

/* ---- Files ---- */

static status append_text(void *context, const struct result *result)
{
    struct buffer *out = context;
    TRY(buffer_format(out, "%lld %d %.*s %s %d %d %d %.17g %lld [", (long long)result->row,
                      result->sample, (int)result->id_length, result->id,
                      result->file != NULL ? result->file : "-", result->finish_reason,
                      result->prompt_tokens, result->rank, result->seconds,
                      (long long)result->copied));
    TRY(buffer_append(out, result->text, result->text_length));
    return buffer_format(out, "] %s %s\n", result->error, result->passthrough);
}

static void read_file(const char *path, struct buffer *out)
{
    struct output_reader *reader;
    assert_int_equal(output_open(path, &reader), STATUS_OK);
    assert_int_equal(output_visit(reader, append_text, out), STATUS_OK);
    output_reader_close(reader);
}

static void finish(struct results_file *file)
{
    struct output_writer *writer = file->writer;
    assert_int_equal(output_write_inputs(writer), STATUS_OK);
    file->writer = NULL;
    assert_int_equal(output_finish(writer), STATUS_OK);
}

static status append(void *context, const struct result *result)
{
    return results_file_append(context, result);
}

/* Every row in its turn. */
static void write_plainly(struct journal *journal, const char *path,
                          const struct output_columns *columns, struct results_file **file)
{
    assert_int_equal(results_file_create(path, true, columns, "1, x", file), STATUS_OK);
    assert_int_equal(journal_visit(journal, append, *file), STATUS_OK);
    finish(*file);
}

static void check_same(struct results_file *file, const char *path, struct results_file *plain,
                       const char *plain_path)
{
    struct buffer read = {0}, expected = {0};
    read_file(path, &read);
    read_file(plain_path, &expected);
    assert_int_equal(read.length, expected.length);
    assert_memory_equal(read.data, expected.data, read.length);
    assert_memory_equal(&file->totals, &plain->totals, sizeof file->totals);
    assert_int_equal(repeats_count(&file->twins), repeats_count(&plain->twins));
    buffer_destroy(&read);
    buffer_destroy(&expected);
}

/* Rows that were put into the file while row 0 was under way. */
static int count_ahead(const struct results_file *file)
{
    int count = 0;
    for (int64_t row = 0; row < ROWS; row++) {
        count += results_file_has_ahead(file, row);
    }
    return count;
}

/* Rows in any order, the first one last. Returns how many were put into the file before it. */
static int write_ahead(void **state, struct output_columns *columns)
{
    char path[256], plain_path[256];
    struct journal *journal;
    struct early_output *early;
    struct results_file *file, *plain;
    int64_t next;
    snprintf(path, sizeof path, "%s", scratch_path(state, "out.h5"));
    snprintf(plain_path, sizeof plain_path, "%s", scratch_path(state, "plain.h5"));
    early_output_lag = 0;
    assert_int_equal(journal_open(scratch_path(state, "journal"), "arithmetic: 1, x\njob: a\n",
                                  JOURNAL_FRESH, &journal),
                     STATUS_OK);
    const struct early_output_options options = {.path = path,
                                                 .overwrite = true,
                                                 .journal = journal,
                                                 .columns = columns_of,
                                                 .context = columns};
    early_output_rows = 4;
    assert_int_equal(early_output_create(&options, &early), STATUS_OK);
    add_rows(journal);
    early_output_follow(early, ROWS);
    assert_int_equal(early_output_take(early, &file, &next), STATUS_OK);
    assert_non_null(file);
    assert_int_equal(next, 0);
    const int count = count_ahead(file);
    add_first_row(journal);
    assert_int_equal(results_file_append_rest(file, journal, next), STATUS_OK);
    assert_int_equal(count_ahead(file), 0);
    finish(file);
    write_plainly(journal, plain_path, columns, &plain);
    check_same(file, path, plain, plain_path);
    results_file_destroy(file);
    results_file_destroy(plain);
    early_output_destroy(early);
    journal_close(journal, true);
    return count;
}

/* All but those with errors, and those with too many samples. */
static int expected_ahead(void)
{
    int count = 0;
    for (int64_t row = 1; row < ROWS; row++) {
        count += !is_error(row) && samples_of(row) <= 16;
    }
    return count;
}

static void the_file_is_the_same(void **state)
{
    struct output_columns columns = {.copied_from = true};
    assert_int_equal(write_ahead(state, &columns), expected_ahead());
}

/* Which file a row is of is known in its turn. */
static void rows_of_several_files(void **state)
{
    struct input_file items[] = {{.path = "a.jsonl"}, {.path = "b.jsonl"}};
    const int64_t file_rows[] = {FIRST_FILE_ROWS, ROWS - FIRST_FILE_ROWS};
    const struct input_files files = {.items = items, .count = 2};
    struct output_columns columns = {.files = &files, .file_rows = file_rows};
    assert_int_equal(write_ahead(state, &columns), expected_ahead());
}

static void little_memory(void **state)
{
    const struct results_ahead_limits before = results_ahead_limits;
    struct output_columns columns = {0};
    results_ahead_limits.texts = 300000; /* less than pages have of texts that are not written */
    assert_int_equal(write_ahead(state, &columns), expected_ahead());
    results_ahead_limits.records = 100000;
    const int count = write_ahead(state, &columns);
    assert_in_range(count, 500, 1500);
    results_ahead_limits = before;
}

/* Of lists, and in packed texts, places hang on all rows before. */
static void files_whose_rows_wait(void **state)
{
    struct output_columns packed = {.packed_texts = true}, lists = {.token_ids = true};
    assert_int_equal(write_ahead(state, &packed), 0);
    assert_int_equal(write_ahead(state, &lists), 0);
}

int main(void)
{
    log_configure(LOG_ERROR, "");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_file_is_the_same, scratch_create, scratch_destroy),
        cmocka_unit_test_setup_teardown(rows_of_several_files, scratch_create, scratch_destroy),
        cmocka_unit_test_setup_teardown(little_memory, scratch_create, scratch_destroy),
        cmocka_unit_test_setup_teardown(files_whose_rows_wait, scratch_create, scratch_destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
