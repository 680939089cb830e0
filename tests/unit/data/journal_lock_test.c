/* SPDX-License-Identifier: Apache-2.0 */
/* Who counts as alive of a lock's holders, and what locks and journals leave open. */
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/journal/lock.h"
#include "scratch_folder.h"
#include "sluice/data.h"

static const char identity[] = "data: sha256 1\n";

static void slurm(const char *job, const char *restart)
{
    if (job == NULL) {
        unsetenv("SLURM_JOB_ID");
        unsetenv("SLURM_RESTART_COUNT");
        return;
    }
    setenv("SLURM_JOB_ID", job, 1);
    setenv("SLURM_RESTART_COUNT", restart, 1);
}

/* A holder of this host that lives: it has the lock's text, but not the kernel's lock, as on a file
 * system without flock(2). */
static void write_living_holder(void **state, const char *path, const char *job, long restart)
{
    struct journal_lock *lock;
    char text[1024] = "", all[2048];
    assert_int_equal(journal_lock_take(scratch_path(state, "own"), &lock), STATUS_OK);
    FILE *file = fopen(scratch_path(state, "own"), "r");
    assert_non_null(file);
    assert_true(fread(text, 1, sizeof text - 1, file) > 0);
    fclose(file);
    journal_lock_release(lock);
    char *slurm_line = strstr(text, "slurm "), *place = strstr(text, "place ");
    assert_non_null(slurm_line);
    assert_non_null(place);
    *slurm_line = '\0';
    snprintf(all, sizeof all, "%sslurm %s %ld\n%s", text, job, restart, place);
    scratch_write(state, path, all, strlen(all));
}

/* Only a later start of the same Slurm job may take a lock whose holder lives. */
static void a_living_holder_keeps_its_lock(void **state)
{
    static const struct {
        const char *held_by;
        long held_restart;
        const char *job, *restart;
        bool taken;
    } cases[] = {
        {"77", 0, "77", "1", true},  {"77", 1, "77", "1", false},  {"77", 2, "77", "1", false},
        {"77", 0, "78", "1", false}, {"77", 0, NULL, NULL, false}, {"-", 0, "77", "1", false},
        {"-", 0, NULL, NULL, false},
    };
    const char *path = scratch_path(state, "held");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        bool unsure;
        struct journal_lock *lock;
        slurm(NULL, NULL);
        write_living_holder(state, "held", cases[i].held_by, cases[i].held_restart);
        slurm(cases[i].job, cases[i].restart);
        const status expected = cases[i].taken ? STATUS_OK : STATUS_EXISTS;
        assert_int_equal(journal_lock_look(path, &unsure), expected);
        assert_false(unsure);
        assert_int_equal(journal_lock_take(path, &lock), expected);
        if (lock == NULL) {
            char self[64];
            snprintf(self, sizeof self, "in use by process %ld", (long)getpid());
            assert_non_null(strstr(status_message(), self));
            assert_int_equal(unlink(path), 0);
        }
        journal_lock_release(lock);
    }
    slurm(NULL, NULL);
}

/* A process of the same number that started at another time is another one. */
static void a_later_process_of_the_same_number_is_no_holder(void **state)
{
    const char *path = scratch_path(state, "held");
    char text[1024] = "", all[2048];
    struct journal_lock *lock;
    write_living_holder(state, "held", "-", 0);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_true(fread(text, 1, sizeof text - 1, file) > 0);
    fclose(file);
    char *start = strstr(text, "start "), *behind = strstr(text, "slurm ");
    assert_non_null(start);
    assert_non_null(behind);
    snprintf(all, sizeof all, "%.*sstart 3\n%s", (int)(start - text), text, behind);
    scratch_write(state, "held", all, strlen(all));
    assert_int_equal(journal_lock_take(path, &lock), STATUS_OK);
    journal_lock_release(lock);
}

static int open_files(void)
{
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    int count = 0;
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

/* Journals that are opened, written, refused and closed leave no descriptor open. */
static void nothing_stays_open(void **state)
{
    const char *path = scratch_path(state, "journal");
    const int before = open_files();
    for (int i = 0; i < 5; i++) {
        struct journal *journal, *second;
        struct buffer payload = {0};
        const struct result result = {.row = i, .text = "x", .text_length = 1};
        assert_int_equal(journal_open(path, identity, 0, &journal), STATUS_OK);
        assert_int_equal(journal_open(path, identity, 0, &second), STATUS_EXISTS);
        assert_int_equal(result_encode(&result, &payload), STATUS_OK);
        assert_int_equal(journal_append(journal, i, payload.data, payload.length), STATUS_OK);
        assert_int_equal(journal_commit(journal), STATUS_OK);
        buffer_destroy(&payload);
        journal_close(journal, i == 4);
        assert_int_equal(journal_open(path, "data: sha256 2\n", 0, &journal),
                         i == 4 ? STATUS_OK : STATUS_EXISTS);
        journal_close(journal, i == 4);
        assert_int_equal(open_files(), before);
    }
    for (int i = 0; i < 3; i++) {
        struct journal_lock *lock;
        bool unsure;
        assert_int_equal(journal_lock_take(scratch_path(state, "lock"), &lock), STATUS_OK);
        assert_int_equal(journal_lock_look(scratch_path(state, "lock"), &unsure), STATUS_EXISTS);
        journal_lock_release(lock);
        assert_int_equal(open_files(), before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_living_holder_keeps_its_lock, scratch_create,
                                        scratch_destroy),
        cmocka_unit_test_setup_teardown(a_later_process_of_the_same_number_is_no_holder,
                                        scratch_create, scratch_destroy),
        cmocka_unit_test_setup_teardown(nothing_stays_open, scratch_create, scratch_destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
