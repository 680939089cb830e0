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
    assert_int_equal(attempts_write(attempts), STATUS_OK);
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
    expect_verdicts(ATTEMPT_SUSPECT, ATTEMPT_SUSPECT);
    /* Batches that die again and again set nobody aside. */
    for (int i = 0; i < 20; i++) {
        one_start(ATTEMPTS_DIED);
    }
    expect_verdicts(ATTEMPT_SUSPECT, ATTEMPT_SUSPECT);
    /* What is done is no longer under suspicion. */
    append_to_journal(10);
    append_to_journal(11);
    expect_verdicts(ATTEMPT_FREE, ATTEMPT_SUSPECT);
}

static void three_unexplained_ends_alone_set_a_row_aside(void **state)
{
    (void)state;
    one_start(ATTEMPTS_DIED);
    one_start(ATTEMPTS_DIED);
    one_start_alone(12, ATTEMPTS_DIED);
    one_start_alone(12, ATTEMPTS_DIED);
    expect_verdicts(ATTEMPT_SUSPECT, ATTEMPT_SUSPECT);
    one_start_alone(13, ATTEMPTS_DIED);
    one_start_alone(12, ATTEMPTS_DIED);
    struct attempts *attempts = start();
    assert_int_equal(attempts_verdict(attempts, 11), ATTEMPT_SUSPECT);
    assert_int_equal(attempts_verdict(attempts, 12), ATTEMPT_SET_ASIDE);
    assert_int_equal(attempts_verdict(attempts, 13), ATTEMPT_SUSPECT);
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
    expect_verdicts(ATTEMPT_FREE, ATTEMPT_SUSPECT); /* replica 1 has rows 12 and 13 */
    one_start_alone(13, ATTEMPTS_DIED);
    note_crash(0, 0);
    struct attempts *attempts = start();
    assert_int_equal(attempts_verdict(attempts, 12), ATTEMPT_SUSPECT);
    assert_int_equal(attempts_verdict(attempts, 13), ATTEMPT_SET_ASIDE);
    attempts_close(attempts, ATTEMPTS_ORDERLY);
}

static void a_row_that_came_back_is_not_blamed(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct attempts *attempts = start();
        assert_int_equal(attempts_begin(attempts, 20, 0), STATUS_OK);
        assert_int_equal(attempts_write(attempts), STATUS_OK);
        attempts_end(attempts, 20);
        assert_int_equal(attempts_begin(attempts, 21, 0), STATUS_OK); /* takes its place */
        assert_int_equal(attempts_write(attempts), STATUS_OK);
        attempts_close(attempts, ATTEMPTS_DIED);
    }
    struct attempts *attempts = start();
    assert_int_equal(attempts_verdict(attempts, 20), ATTEMPT_FREE);
    assert_int_equal(attempts_verdict(attempts, 21), ATTEMPT_SUSPECT);
    assert_int_equal(attempts_begin_alone(attempts, 21), STATUS_OK);
    assert_int_equal(attempts_end_alone(attempts), STATUS_OK);
    attempts_close(attempts, ATTEMPTS_DIED);
    for (int i = 0; i < 5; i++) {
        attempts_close(start(), ATTEMPTS_DIED);
    }
    attempts = start();
    assert_int_equal(attempts_verdict(attempts, 21), ATTEMPT_SUSPECT);
    attempts_close(attempts, ATTEMPTS_DONE);
    note_crash(1, 0);
    journal_close(journal, true);
    assert_int_equal(access(folder, F_OK), -1);
    assert_int_equal(journal_open(folder, "a: job\n", 0, &journal), STATUS_OK);
}

/* A start that has these rows under way, all on one replica, and dies. */
static void one_start_with(int64_t first, int64_t count)
{
    struct attempts *attempts = start();
    for (int64_t row = first; row < first + count; row++) {
        assert_int_equal(attempts_begin(attempts, row, 0), STATUS_OK);
    }
    assert_int_equal(attempts_write(attempts), STATUS_OK);
    attempts_close(attempts, ATTEMPTS_DIED);
}

static void expect_group(int64_t row, enum attempt_verdict verdict, int64_t group)
{
    struct attempts *attempts = start();
    assert_int_equal(attempts_verdict(attempts, row), verdict);
    assert_int_equal(attempts_group(attempts, row), group);
    attempts_close(attempts, ATTEMPTS_ORDERLY);
}

static void groups_of_suspects_are_halved_when_they_die(void **state)
{
    (void)state;
    one_start_with(0, 1000);
    one_start_with(0, 1000);
    expect_group(0, ATTEMPT_SUSPECT, 500);
    expect_group(999, ATTEMPT_SUSPECT, 500);
    expect_group(1000, ATTEMPT_FREE, INT64_MAX);
    one_start_with(0, 500);
    expect_group(499, ATTEMPT_SUSPECT, 250);
    expect_group(500, ATTEMPT_SUSPECT, 500);
    one_start_with(0, 250);
    one_start_with(0, 125);
    one_start_with(0, 63);
    expect_group(62, ATTEMPT_SUSPECT, 32);
    expect_group(63, ATTEMPT_SUSPECT, 63);
    one_start_with(0, 32); /* halves that are this small run one at a time */
    expect_group(31, ATTEMPT_SUSPECT, 1);
    expect_group(32, ATTEMPT_SUSPECT, 32);
    for (int i = 0; i < 3; i++) {
        one_start_alone(7, ATTEMPTS_DIED);
    }
    expect_group(7, ATTEMPT_SET_ASIDE, 1);
    expect_group(8, ATTEMPT_SUSPECT, 1);
}

static void a_crash_halves_its_replicas_rows(void **state)
{
    (void)state;
    struct attempts *attempts = start();
    for (int row = 0; row < 200; row++) {
        assert_int_equal(attempts_begin(attempts, row, row % 2), STATUS_OK);
    }
    assert_int_equal(attempts_write(attempts), STATUS_OK);
    attempts_close(attempts, ATTEMPTS_DIED);
    note_crash(3, 1);
    expect_group(1, ATTEMPT_SUSPECT, 50);
    expect_group(2, ATTEMPT_FREE, INT64_MAX);
    /* Few suspects run alone whatever they have behind them. */
    for (int row = 0; row < 200; row++) {
        if (row % 2 == 0 || row >= 20) {
            append_to_journal(row);
        }
    }
    expect_group(1, ATTEMPT_SUSPECT, 1);
}

static void note_excuse(int rank, int ranks)
{
    struct buffer path = {0}, text = {0};
    assert_int_equal(attempts_excuse(folder, rank, ranks, &path, &text), STATUS_OK);
    FILE *file = fopen(path.data, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text.data, 1, text.length, file), text.length);
    assert_int_equal(fclose(file), 0);
    buffer_destroy(&path);
    buffer_destroy(&text);
}

/* All ranks were asked to end, or a host is gone. */
static void ends_from_outside_blame_nobody(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        one_start(ATTEMPTS_DIED);
        for (int rank = 0; rank < 3; rank++) {
            note_excuse(rank, 3);
        }
        expect_verdicts(ATTEMPT_FREE, ATTEMPT_FREE);
    }
    for (int i = 0; i < 4; i++) {
        one_start(ATTEMPTS_DIED);
        note_excuse(2, 1);
        expect_verdicts(ATTEMPT_FREE, ATTEMPT_FREE);
    }
    /* A rank that was gone before it could be asked is a death, and so is a crash on the way. */
    one_start(ATTEMPTS_DIED);
    note_excuse(0, 3);
    note_excuse(1, 3);
    expect_verdicts(ATTEMPT_FREE, ATTEMPT_FREE);
    one_start(ATTEMPTS_DIED); /* whose excuses are not those of the start before */
    note_excuse(2, 3);
    expect_verdicts(ATTEMPT_SUSPECT, ATTEMPT_SUSPECT);
    for (int row = 10; row < 14; row++) {
        append_to_journal(row);
    }
    one_start_with(20, 2);
    note_excuse(0, 1);
    note_crash(0, 0);
    expect_group(20, ATTEMPT_SUSPECT, 1);
}

/* A file as the version before groups wrote it: row 10 was under way at two ends without a note,
 * and rows 10 and 11 are under way now. */
static void a_file_of_the_first_version_is_read(void **state)
{
    char bytes[36 + 24 + 2 * 12] = "SLUICEA\n", name[32];
    bytes[8] = 1;  /* version */
    bytes[12] = 1; /* suspects */
    bytes[24] = 1; /* running */
    bytes[36] = 10;
    bytes[36 + 8] = 1;
    bytes[36 + 24] = 11; /* row plus one */
    bytes[36 + 24 + 12] = 12;
    uint64_t checksum = hash_bytes(bytes + 36, 24, 1);
    memcpy(bytes + 16, &checksum, sizeof checksum);
    snprintf(name, sizeof name, "journal%d/attempts", next_folder - 1);
    assert_non_null(scratch_write(state, name, bytes, sizeof bytes));
    struct attempts *attempts = start();
    assert_int_equal(attempts_verdict(attempts, 10), ATTEMPT_SUSPECT);
    assert_int_equal(attempts_verdict(attempts, 11), ATTEMPT_FREE);
    attempts_close(attempts, ATTEMPTS_ORDERLY);
}

/* What two crashes of a large job leave: more than the 64 MiB that were the file's limit once. */
static void any_number_of_rows_under_way_is_read(void **state)
{
    (void)state;
    enum { ROWS = 2400000 };
    one_start_with(0, ROWS);
    one_start_with(5, ROWS);
    struct attempts *attempts = start();
    assert_int_equal(attempts_verdict(attempts, 4), ATTEMPT_FREE);
    assert_int_equal(attempts_verdict(attempts, 5), ATTEMPT_SUSPECT);
    assert_int_equal(attempts_group(attempts, ROWS - 1), ROWS / 2);
    assert_int_equal(attempts_verdict(attempts, ROWS), ATTEMPT_FREE);
    attempts_close(attempts, ATTEMPTS_ORDERLY);
}

/* ---- Random starts beside a model ---- */

enum { MODEL_ROWS = 60 };

struct model_row {
    bool done;
    int ends, alone_ends, crashes, alone_crashes; /* as in docs/reliability.md */
};

static enum attempt_verdict model_verdict(const struct model_row *row)
{
    int others = row->crashes + row->alone_crashes + row->alone_ends;
    if ((row->alone_crashes > 0 && others >= 2) || row->alone_ends >= 3) {
        return ATTEMPT_SET_ASIDE;
    }
    return others > 0 || row->ends >= 2 ? ATTEMPT_SUSPECT : ATTEMPT_FREE;
}

static void model_blame(struct model_row *row, bool crashed, bool alone)
{
    int *count = crashed ? (alone ? &row->alone_crashes : &row->crashes)
                         : (alone ? &row->alone_ends : &row->ends);
    *count += !row->done;
}

/* One start: some rows begin, some come back, and it dies, crashes or ends in order. */
static void random_start(struct model_row *rows, uint64_t *random)
{
#define DRAW(below)                                                                                \
    ((*random = *random * UINT64_C(6364136223846793005) + 1, *random >> 33) % (below))
    struct attempts *attempts = start();
    int replica_of[MODEL_ROWS], alone = -1;
    for (int row = 0; row < MODEL_ROWS; row++) {
        replica_of[row] = -1;
        assert_int_equal(attempts_verdict(attempts, row),
                         rows[row].done ? ATTEMPT_FREE : model_verdict(&rows[row]));
        int64_t group = attempts_group(attempts, row);
        assert_true(group >= 1);
        if (!rows[row].done && DRAW(4) == 0) {
            replica_of[row] = (int)DRAW(3);
            assert_int_equal(attempts_begin(attempts, row, replica_of[row]), STATUS_OK);
        }
        if (DRAW(20) == 0) {
            assert_int_equal(attempts_write(attempts), STATUS_OK);
        }
    }
    assert_int_equal(attempts_write(attempts), STATUS_OK);
    for (int row = 0; row < MODEL_ROWS; row++) {
        if (replica_of[row] >= 0 && DRAW(20) == 0) {
            attempts_end(attempts, row);
            append_to_journal(row);
            rows[row].done = true;
        }
    }
    if (DRAW(3) == 0) {
        alone = (int)DRAW(MODEL_ROWS);
        assert_int_equal(attempts_begin_alone(attempts, alone), STATUS_OK);
    }
    bool orderly = DRAW(4) == 0, crashed = DRAW(3) == 0;
    int crashed_replica = (int)DRAW(3);
    attempts_close(attempts, orderly ? ATTEMPTS_ORDERLY : ATTEMPTS_DIED);
    if (crashed) {
        note_crash(9, crashed_replica);
    }
    for (int row = 0; row < MODEL_ROWS && !orderly; row++) {
        bool suspected =
            alone >= 0 ? row == alone
                       : replica_of[row] >= 0 && (!crashed || replica_of[row] == crashed_replica);
        if (suspected) {
            model_blame(&rows[row], crashed, alone >= 0);
        }
    }
#undef DRAW
}

static void random_starts_end_as_the_model_says(void **state)
{
    (void)state;
    struct model_row rows[MODEL_ROWS] = {0};
    uint64_t random = 11;
    for (int i = 0; i < 150; i++) {
        random_start(rows, &random);
    }
}

static void damage_is_taken_for_nothing(void **state)
{
    one_start(ATTEMPTS_DIED);
    one_start(ATTEMPTS_DIED);
    expect_verdicts(ATTEMPT_SUSPECT, ATTEMPT_SUSPECT);
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
        ATTEMPTS_TEST(groups_of_suspects_are_halved_when_they_die),
        ATTEMPTS_TEST(a_crash_halves_its_replicas_rows),
        ATTEMPTS_TEST(ends_from_outside_blame_nobody),
        ATTEMPTS_TEST(a_file_of_the_first_version_is_read),
        ATTEMPTS_TEST(any_number_of_rows_under_way_is_read),
        ATTEMPTS_TEST(random_starts_end_as_the_model_says),
        ATTEMPTS_TEST(damage_is_taken_for_nothing),
    };
    log_configure(LOG_ERROR, NULL);
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
