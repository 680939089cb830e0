/* SPDX-License-Identifier: Apache-2.0 */
/* Rows under way when a start ends, and what becomes of them: blamed, run alone, set aside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "scratch_folder.h"
#include "sluice/data.h"

static struct journal *journal;
static char folder[256];
static int next_folder;

/* A journal of its own for each test. */
static int open_journal(void **state)
{
    char name[32];
    snprintf(name, sizeof name, "journal%d", next_folder++);
    snprintf(folder, sizeof folder, "%s", scratch_path(state, name));
    return journal_open(folder, "a: job\n", 0, &journal) == STATUS_OK ? 0 : -1;
}

static int close_journal(void **state)
{
    (void)state;
    journal_close(journal, false);
    return 0;
}

static struct attempts *start(void)
{
    struct attempts *attempts;
    if (attempts_open(folder, journal, false, &attempts) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    return attempts;
}

/* A start that has rows 10 to 13 under way, two on each of two replicas, and ends so. */
static void one_start(enum attempts_end end)
{
    struct attempts *attempts = start();
    for (int row = 10; row < 14; row++) {
        assert_int_equal(attempts_begin(attempts, row, (row - 10) / 2), STATUS_OK);
    }
    attempts_close(attempts, end);
}

static void one_start_alone(int64_t row, enum attempts_end end)
{
    struct attempts *attempts = start();
    assert_int_equal(attempts_begin_alone(attempts, row), STATUS_OK);
    attempts_close(attempts, end);
}

static void note_crash(int rank, int replica)
{
    struct buffer path = {0}, text = {0};
    assert_int_equal(attempts_note(folder, rank, replica, &path, &text), STATUS_OK);
    assert_int_equal(buffer_append_text(&text, "11\n"), STATUS_OK);
    FILE *file = fopen(path.data, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text.data, 1, text.length, file), text.length);
    assert_int_equal(fclose(file), 0);
    buffer_destroy(&path);
    buffer_destroy(&text);
}

static void expect_verdicts(enum attempt_verdict rows_10_11, enum attempt_verdict rows_12_13)
{
    struct attempts *attempts = start();
    assert_int_equal(attempts_verdict(attempts, 9), ATTEMPT_FREE);
    for (int row = 10; row < 14; row++) {
        assert_int_equal(attempts_verdict(attempts, row), row < 12 ? rows_10_11 : rows_12_13);
    }
    attempts_close(attempts, ATTEMPTS_ORDERLY);
}

static void append_to_journal(int64_t row)
{
    const struct result result = {.row = row, .id = "", .text = "", .error = "", .passthrough = ""};
    struct buffer bytes = {0};
    assert_int_equal(result_encode(&result, &bytes), STATUS_OK);
    assert_int_equal(journal_append(journal, row, bytes.data, bytes.length), STATUS_OK);
    buffer_destroy(&bytes);
}

static void orderly_ends_blame_nobody(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        one_start(ATTEMPTS_ORDERLY);
    }
    expect_verdicts(ATTEMPT_FREE, ATTEMPT_FREE);
}

static void rows_under_way_at_two_unexplained_ends_run_alone(void **state)
{
    (void)state;
    one_start(ATTEMPTS_DIED);
    expect_verdicts(ATTEMPT_FREE, ATTEMPT_FREE);
    one_start(ATTEMPTS_DIED);
    expect_verdicts(ATTEMPT_ALONE, ATTEMPT_ALONE);
    /* Batches that die again and again set nobody aside. */
    for (int i = 0; i < 20; i++) {
        one_start(ATTEMPTS_DIED);
    }
    expect_verdicts(ATTEMPT_ALONE, ATTEMPT_ALONE);
    /* What is done is no longer under suspicion. */
    append_to_journal(10);
    append_to_journal(11);
    expect_verdicts(ATTEMPT_FREE, ATTEMPT_ALONE);
}

static void three_unexplained_ends_alone_set_a_row_aside(void **state)
{
    (void)state;
    one_start(ATTEMPTS_DIED);
    one_start(ATTEMPTS_DIED);
    one_start_alone(12, ATTEMPTS_DIED);
    one_start_alone(12, ATTEMPTS_DIED);
    expect_verdicts(ATTEMPT_ALONE, ATTEMPT_ALONE);
    one_start_alone(13, ATTEMPTS_DIED);
    one_start_alone(12, ATTEMPTS_DIED);
    struct attempts *attempts = start();
    assert_int_equal(attempts_verdict(attempts, 11), ATTEMPT_ALONE);
    assert_int_equal(attempts_verdict(attempts, 12), ATTEMPT_SET_ASIDE);
    assert_int_equal(attempts_verdict(attempts, 13), ATTEMPT_ALONE);
    char text[160];
    attempts_describe(attempts, 12, text);
    assert_string_equal(
        text, "set aside: ranks died 5 times with this row under way, 3 of them with no other");
    attempts_close(attempts, ATTEMPTS_ORDERLY);
}

static void two_crashes_set_a_row_aside(void **state)
{
    (void)state;
    note_crash(3, 1);
    one_start(ATTEMPTS_DIED); /* removes a note from before its time */
    note_crash(3, 1);
    expect_verdicts(ATTEMPT_FREE, ATTEMPT_ALONE); /* replica 1 has rows 12 and 13 */
    one_start_alone(13, ATTEMPTS_DIED);
    note_crash(0, 0);
    struct attempts *attempts = start();
    assert_int_equal(attempts_verdict(attempts, 12), ATTEMPT_ALONE);
    assert_int_equal(attempts_verdict(attempts, 13), ATTEMPT_SET_ASIDE);
    attempts_close(attempts, ATTEMPTS_ORDERLY);
}

static void a_row_that_came_back_is_not_blamed(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct attempts *attempts = start();
        assert_int_equal(attempts_begin(attempts, 20, 0), STATUS_OK);
        attempts_end(attempts, 20);
        assert_int_equal(attempts_begin(attempts, 21, 0), STATUS_OK); /* takes its place */
        attempts_close(attempts, ATTEMPTS_DIED);
    }
    struct attempts *attempts = start();
    assert_int_equal(attempts_verdict(attempts, 20), ATTEMPT_FREE);
    assert_int_equal(attempts_verdict(attempts, 21), ATTEMPT_ALONE);
    assert_int_equal(attempts_begin_alone(attempts, 21), STATUS_OK);
    assert_int_equal(attempts_end_alone(attempts), STATUS_OK);
    attempts_close(attempts, ATTEMPTS_DIED);
    for (int i = 0; i < 5; i++) {
        attempts_close(start(), ATTEMPTS_DIED);
    }
    attempts = start();
    assert_int_equal(attempts_verdict(attempts, 21), ATTEMPT_ALONE);
    attempts_close(attempts, ATTEMPTS_DONE);
    note_crash(1, 0);
    journal_close(journal, true);
    assert_int_equal(access(folder, F_OK), -1);
    assert_int_equal(journal_open(folder, "a: job\n", 0, &journal), STATUS_OK);
}

static void damage_is_taken_for_nothing(void **state)
{
    one_start(ATTEMPTS_DIED);
    one_start(ATTEMPTS_DIED);
    expect_verdicts(ATTEMPT_ALONE, ATTEMPT_ALONE);
    struct buffer path = {0}, bytes = {0}, name = {0};
    assert_int_equal(path_join(folder, "attempts", &path), STATUS_OK);
    assert_int_equal(file_read(path.data, 1 << 20, &bytes), STATUS_OK);
    assert_int_equal(buffer_format(&name, "journal%d/attempts", next_folder - 1), STATUS_OK);
    /* Any cut, and any byte of what is checked: no crash, and no row set aside. */
    for (size_t i = 0; i < bytes.length; i += 5) { /* syncing takes its time */
        assert_non_null(scratch_write(state, name.data, bytes.data, i));
        struct attempts *attempts = start();
        assert_int_not_equal(attempts_verdict(attempts, 10), ATTEMPT_SET_ASIDE);
        attempts_close(attempts, ATTEMPTS_ORDERLY);
        bytes.data[i] ^= 0x7f;
        assert_non_null(scratch_write(state, name.data, bytes.data, bytes.length));
        bytes.data[i] ^= 0x7f;
        attempts = start();
        assert_int_not_equal(attempts_verdict(attempts, 10), ATTEMPT_SET_ASIDE);
        attempts_close(attempts, ATTEMPTS_ORDERLY);
    }
    buffer_destroy(&path);
    buffer_destroy(&bytes);
    buffer_destroy(&name);
}

int main(void)
{
#define ATTEMPTS_TEST(name) cmocka_unit_test_setup_teardown(name, open_journal, close_journal)
    const struct CMUnitTest tests[] = {
        ATTEMPTS_TEST(orderly_ends_blame_nobody),
        ATTEMPTS_TEST(rows_under_way_at_two_unexplained_ends_run_alone),
        ATTEMPTS_TEST(three_unexplained_ends_alone_set_a_row_aside),
        ATTEMPTS_TEST(two_crashes_set_a_row_aside),
        ATTEMPTS_TEST(a_row_that_came_back_is_not_blamed),
        ATTEMPTS_TEST(damage_is_taken_for_nothing),
    };
    log_configure(LOG_ERROR, NULL);
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
