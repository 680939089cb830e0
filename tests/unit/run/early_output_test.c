/* SPDX-License-Identifier: Apache-2.0 */
/* The output while the job runs: which rows are in it, what makes it begin anew or give up; and
 * what its results come to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "run/writing/early_output.h"
#include "said.h"
#include "scratch_folder.h"

struct fixture {
    struct journal *journal;
    struct early_output *early;
    struct output_columns columns;
    char path[256];
};

static struct output_columns columns_now(const void *context)
{
    return ((const struct fixture *)context)->columns;
}

static struct result result_of(int64_t row)
{
    return (struct result){.row = row,
                           .id = "x",
                           .id_length = 1,
                           .text = "t",
                           .text_length = 1,
                           .error = "",
                           .passthrough = "",
                           .finish_reason = FINISH_STOP,
                           .prompt_tokens = 3,
                           .completion_tokens = 2};
}

static void add_rows(struct fixture *self, int64_t from, int64_t to)
{
    struct buffer bytes = {0};
    for (int64_t row = from; row < to; row++) {
        const struct result result = result_of(row);
        buffer_clear(&bytes);
        assert_int_equal(result_encode(&result, &bytes), STATUS_OK);
        assert_int_equal(journal_append(self->journal, row, bytes.data, bytes.length), STATUS_OK);
    }
    buffer_destroy(&bytes);
    assert_int_equal(journal_commit(self->journal), STATUS_OK);
}

static void begin(struct fixture *self, void **state, const char *name)
{
    *self = (struct fixture){0};
    early_output_rows = 4;
    assert_int_equal(journal_open(scratch_path(state, "journal"), "arithmetic: 1, x\njob: a\n",
                                  JOURNAL_FRESH, &self->journal),
                     STATUS_OK);
    snprintf(self->path, sizeof self->path, "%s", scratch_path(state, name));
    const struct early_output_options options = {
        .path = self->path, .journal = self->journal, .columns = columns_now, .context = self};
    assert_int_equal(early_output_create(&options, &self->early), STATUS_OK);
}

static bool partial_is_there(const struct fixture *self)
{
    char path[300];
    snprintf(path, sizeof path, "%s.partial", self->path);
    return access(path, F_OK) == 0;
}

static void end(struct fixture *self)
{
    early_output_destroy(self->early);
    journal_close(self->journal, true);
    assert_false(partial_is_there(self));
}

/* What it has written; the rows in it, -1 where there is no file. */
static int64_t take(struct fixture *self, int64_t *next)
{
    struct results_file *file;
    assert_int_equal(early_output_take(self->early, &file, next), STATUS_OK);
    const int64_t rows = file != NULL ? file->totals.rows : -1;
    results_file_destroy(file);
    return rows;
}

static void rows_are_written_up_to_a_gap(void **state)
{
    struct fixture self;
    int64_t next;
    begin(&self, state, "out.h5");
    add_rows(&self, 0, 3);
    early_output_follow(self.early, 3); /* too few */
    assert_false(partial_is_there(&self));
    add_rows(&self, 3, 6);
    add_rows(&self, 7, 9);
    early_output_follow(self.early, 9);
    assert_int_equal(take(&self, &next), 6);
    assert_int_equal(next, 6);
    early_output_follow(self.early, 9); /* nothing more is taken */
    assert_int_equal(take(&self, &next), -1);
    end(&self);
}

static void only_rows_that_were_read(void **state)
{
    struct fixture self;
    int64_t next;
    begin(&self, state, "out.h5");
    add_rows(&self, 0, 8);
    early_output_follow(self.early, 3); /* fewer than it begins with */
    early_output_follow(self.early, -1);
    early_output_follow(self.early, 5);
    assert_int_equal(take(&self, &next), 5);
    assert_int_equal(next, 5);
    end(&self);
}

static void few_rows_are_left_to_the_end(void **state)
{
    struct fixture self;
    int64_t next;
    begin(&self, state, "out.h5");
    add_rows(&self, 0, 2);
    add_rows(&self, 3, 8); /* enough rows, but not from the first on */
    early_output_follow(self.early, 8);
    assert_int_equal(take(&self, &next), -1);
    assert_int_equal(next, 0);
    end(&self);
}

/* Waits for the thread to have written what it has: `row` is in the file. */
static void follow_to(struct fixture *self, int64_t rows)
{
    early_output_follow(self->early, rows);
    while (!partial_is_there(self)) {
        early_output_follow(self->early, rows);
        usleep(1000);
    }
}

static void other_columns_begin_it_anew(void **state)
{
    struct fixture self;
    int64_t next;
    begin(&self, state, "out.h5");
    add_rows(&self, 0, 5);
    follow_to(&self, 5);
    self.columns.token_ids = true;
    assert_int_equal(take(&self, &next), -1); /* nothing that could be used */
    assert_int_equal(next, 0);
    end(&self);
    begin(&self, state, "out.h5");
    add_rows(&self, 0, 5);
    follow_to(&self, 5);
    add_rows(&self, 5, 9);
    self.columns.token_ids = true;
    for (int i = 0; i < 2000; i++) { /* until the thread is idle and takes what is new */
        early_output_follow(self.early, 9);
        usleep(100);
    }
    assert_int_equal(take(&self, &next), 9);
    assert_int_equal(next, 9);
    end(&self);
}

static void a_failure_leaves_it_to_the_end(void **state)
{
    struct fixture self;
    int64_t next;
    begin(&self, state, "nowhere/out.h5");
    add_rows(&self, 0, 5);
    early_output_follow(self.early, 5);
    said_begin();
    const int64_t rows = take(&self, &next);
    const char *text = said_end();
    assert_int_equal(rows, -1);
    assert_int_equal(next, 0);
    assert_non_null(strstr(text, "nowhere/out.h5.partial: No such file or directory; the output "
                                 "is written at the end instead\n"));
    early_output_follow(self.early, 5);
    said_begin();
    assert_int_equal(take(&self, &next), -1);
    assert_string_equal(said_end(), "");
    end(&self);
    begin(&self, state, "nowhere/out.h5");
    add_rows(&self, 0, 5);
    said_begin();
    for (int i = 0; i < 2000; i++) {
        early_output_follow(self.early, 5);
        usleep(100);
    }
    text = said_end(); /* once */
    const char *first = strstr(text, "; the output is written at the end instead\n");
    assert_non_null(first);
    assert_null(strstr(first + 1, "; the output is written at the end instead\n"));
    assert_int_equal(take(&self, &next), -1);
    end(&self);
}

static void results_are_counted(void **state)
{
    struct results_file *file;
    struct buffer errors = {0};
    const struct output_columns columns = {0};
    assert_int_equal(
        results_file_create(scratch_path(state, "out.h5"), false, &columns, "1, x", &file),
        STATUS_OK);
    struct result results[] = {result_of(0), result_of(1), result_of(1),
                               result_of(1), result_of(2), result_of(2)};
    results[0].stream = results[1].stream = results[4].stream = 77;
    results[2].sample = results[5].sample = 1;
    results[2].stream = 77; /* another sample is no twin */
    results[3].sample = 2;
    for (int i = 2; i < 6; i++) {
        results[i].finish_reason = i == 4 ? FINISH_STOP : FINISH_ERROR;
        results[i].error = i == 4 ? "" : "too long";
        results[i].error_length = strlen(results[i].error);
    }
    for (size_t i = 0; i < COUNT_OF(results); i++) {
        assert_int_equal(results_file_append(file, &results[i]), STATUS_OK);
    }
    assert_int_equal(file->totals.rows, 3);
    assert_int_equal(file->totals.error_rows, 2);
    assert_int_equal(file->totals.prompt_tokens, 9);
    assert_int_equal(file->totals.output_tokens, 12);
    assert_int_equal(file->totals.answers, 3);
    assert_int_equal(repeats_count(&file->twins), 2);
    assert_int_equal(error_tally_describe(&file->errors, &errors), STATUS_OK);
    assert_string_equal(errors.data, "2 rows: too long");
    assert_true(file->seconds > 0 && file->seconds < 60);
    buffer_destroy(&errors);
    results_file_destroy(file);
    results_file_destroy(NULL);
}

int main(void)
{
    log_configure(LOG_INFO, "");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_are_written_up_to_a_gap, scratch_create,
                                        scratch_destroy),
        cmocka_unit_test_setup_teardown(only_rows_that_were_read, scratch_create, scratch_destroy),
        cmocka_unit_test_setup_teardown(few_rows_are_left_to_the_end, scratch_create,
                                        scratch_destroy),
        cmocka_unit_test_setup_teardown(other_columns_begin_it_anew, scratch_create,
                                        scratch_destroy),
        cmocka_unit_test_setup_teardown(a_failure_leaves_it_to_the_end, scratch_create,
                                        scratch_destroy),
        cmocka_unit_test_setup_teardown(results_are_counted, scratch_create, scratch_destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
