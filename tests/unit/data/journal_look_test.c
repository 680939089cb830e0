/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at a journal: what opening it would find, with nothing changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/journal/lock.h"
#include "scratch_folder.h"
#include "sluice/data.h"

static const char identity[] = "data: sha256 1234\nmodel: tiny\nseed: 1\n";

/* A journal of so many rows; returns its file's bytes. */
static off_t make_journal(const char *directory, int rows)
{
    struct journal *journal;
    struct buffer bytes = {0};
    char path[300];
    struct stat info;
    assert_int_equal(journal_open(directory, identity, 0, &journal), STATUS_OK);
    for (int row = 0; row < rows; row++) {
        const struct result result = {.row = row, .text = "x", .text_length = 1, .id = ""};
        buffer_clear(&bytes);
        assert_int_equal(result_encode(&result, &bytes), STATUS_OK);
        assert_int_equal(journal_append(journal, row, bytes.data, bytes.length), STATUS_OK);
    }
    journal_close(journal, false);
    buffer_destroy(&bytes);
    snprintf(path, sizeof path, "%s/journal", directory);
    assert_int_equal(stat(path, &info), 0);
    return info.st_size;
}

static void append_to(const char *path, const char *text)
{
    FILE *file = fopen(path, "ab");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void what_is_there(void **state)
{
    const char *directory = scratch_path(state, "there");
    struct journal_state found;
    struct stat info;
    assert_int_equal(journal_look(directory, identity, false, &found), STATUS_OK);
    assert_false(found.exists);
    assert_int_not_equal(stat(directory, &info), 0); /* and is not made */
    make_journal(directory, 7);
    assert_int_equal(journal_look(directory, identity, false, &found), STATUS_OK);
    assert_true(found.exists && found.rows == 7 && !found.lock_unsure);
    assert_int_equal(journal_look(directory, "data: other\n", false, &found), STATUS_EXISTS);
    assert_non_null(strstr(status_message(), "rows of another job"));
}

static void nothing_is_changed(void **state)
{
    const char *directory = scratch_path(state, "torn");
    const char *path = scratch_path(state, "torn/journal");
    struct journal_state found;
    struct stat info;
    off_t size = make_journal(directory, 3);
    append_to(path, "half an entry");
    assert_int_equal(journal_look(directory, identity, false, &found), STATUS_OK);
    assert_int_equal(found.rows, 3);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_size, size + 13);
    assert_int_not_equal(stat(scratch_path(state, "torn/lock"), &info), 0);
}

static void what_is_no_journal(void **state)
{
    struct journal_state found;
    assert_non_null(scratch_write(state, "file", "x", 1));
    assert_int_equal(journal_look(scratch_path(state, "file"), identity, false, &found),
                     STATUS_EXISTS);
    make_journal(scratch_path(state, "foreign"), 1);
    assert_non_null(scratch_write(state, "foreign/journal", "no journal", 10));
    assert_int_equal(journal_look(scratch_path(state, "foreign"), identity, false, &found),
                     STATUS_INVALID);
}

/* This process opens the journal; a child looks. */
static void a_live_holder_is_named(void **state)
{
    const char *directory = scratch_path(state, "held");
    struct journal *journal;
    assert_int_equal(journal_open(directory, identity, 0, &journal), STATUS_OK);
    pid_t child = fork();
    if (child == 0) {
        struct journal_state found;
        char holder[64];
        snprintf(holder, sizeof holder, "in use by process %ld ", (long)getppid());
        bool right = journal_look(directory, identity, false, &found) == STATUS_EXISTS &&
                     strstr(status_message(), holder) != NULL;
        _exit(right ? 0 : 1);
    }
    int ended = -1;
    assert_int_equal(waitpid(child, &ended, 0), child);
    assert_int_equal(ended, 0);
    journal_close(journal, false);
}

/* A process of this machine that is gone leaves a lock that does not count; whether one elsewhere
 * lives cannot be told at once. */
static void locks_that_are_left(void **state)
{
    const char *directory = scratch_path(state, "left");
    struct journal_state found;
    make_journal(directory, 2);
    pid_t child = fork();
    if (child == 0) {
        struct journal *journal;
        _exit(journal_open(directory, identity, 0, &journal) == STATUS_OK ? 0 : 1);
    }
    int ended = -1;
    assert_int_equal(waitpid(child, &ended, 0), child);
    assert_int_equal(ended, 0);
    struct stat info;
    assert_int_equal(stat(scratch_path(state, "left/lock"), &info), 0);
    assert_int_equal(journal_look(directory, identity, false, &found), STATUS_OK);
    assert_true(found.rows == 2 && !found.lock_unsure);
    const char elsewhere[] = "host far\npid 12\nstart 34\nslurm - 0\nplace other/pid:[1]\nbeat 0\n";
    assert_non_null(scratch_write(state, "left/lock", elsewhere, sizeof elsewhere - 1));
    assert_int_equal(journal_look(directory, identity, false, &found), STATUS_OK);
    assert_true(found.rows == 2 && found.lock_unsure);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_there),       cmocka_unit_test(nothing_is_changed),
        cmocka_unit_test(what_is_no_journal),  cmocka_unit_test(a_live_holder_is_named),
        cmocka_unit_test(locks_that_are_left),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
