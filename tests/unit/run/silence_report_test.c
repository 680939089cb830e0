/* SPDX-License-Identifier: Apache-2.0 */
/* What people are told of silent hosts, word for word, and who tells them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "run/hosts/silence_report.h"
#include "scratch_folder.h"

enum { HOSTS = 24 };

/* Hosts h0, h1, … of two ranks each; the first `silent` behind the own one were heard, and are not
 * any more. */
struct scene {
    struct host_card cards[2 * HOSTS];
    int ranks[2 * HOSTS];
    struct host hosts[HOSTS];
    struct silence silences[HOSTS];
    struct host_table table;
    struct silence_report report;
};

static void set(struct scene *scene, int hosts, int own, int silent)
{
    *scene = (struct scene){0};
    for (int i = 0; i < 2 * hosts; i++) {
        scene->ranks[i] = i;
        snprintf(scene->cards[i].name, sizeof scene->cards[i].name, "h%d", i / 2);
        scene->hosts[i / 2] = (struct host){&scene->ranks[i / 2 * 2], 2};
    }
    for (int i = 0; i < silent; i++) {
        scene->silences[own + 1 + i] =
            (struct silence){.was_heard = true, .is_warned = true, .seconds = 90 + i};
    }
    scene->table = (struct host_table){
        .cards = scene->cards, .ranks = scene->ranks, .hosts = scene->hosts, .count = hosts};
    scene->report = (struct silence_report){.table = &scene->table,
                                            .silences = scene->silences,
                                            .own_host = own,
                                            .is_first_rank = true};
}

/* Standard error of a call. */
static char said[4096];

static int caught = -1;

static void catch_begin(void)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(stderr);
    caught = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    fclose(file);
}

static void catch_end(void)
{
    fflush(stderr);
    const ssize_t length = pread(STDERR_FILENO, said, sizeof said - 1, 0);
    said[length > 0 ? length : 0] = '\0';
    dup2(caught, STDERR_FILENO);
    close(caught);
}

static const char *say(const struct scene *scene, int host, enum silence_event event, double limit)
{
    const struct silence_limits limits = {.warn = 15, .limit = limit};
    catch_begin();
    silence_say(&scene->report, host, event, &limits);
    catch_end();
    return said;
}

static const char *say_end(const struct scene *scene)
{
    catch_begin();
    silence_say_end(&scene->report);
    catch_end();
    return said;
}

static void the_first_rank_of_the_first_host_that_is_heard_speaks(void **state)
{
    (void)state;
    struct scene scene;
    set(&scene, 4, 2, 0);
    assert_true(silence_speaks(&scene.report)); /* hosts 0 and 1 were never heard */
    scene.silences[1].was_heard = true;
    assert_false(silence_speaks(&scene.report));
    scene.silences[1].is_warned = true;
    assert_true(silence_speaks(&scene.report));
    scene.silences[3].was_heard = true; /* a later host takes nobody's word */
    assert_true(silence_speaks(&scene.report));
    scene.report.is_first_rank = false;
    assert_false(silence_speaks(&scene.report));
}

static void events_in_words(void **state)
{
    (void)state;
    struct scene scene;
    set(&scene, 3, 0, 1);
    scene.silences[1].before = 33;
    assert_string_equal(say(&scene, 2, SILENCE_MISSING, 90),
                        "sluice: warning: not one sign of life has come from host h2 (ranks 4-5): "
                        "is UDP between the hosts blocked? Should that host vanish, this job will "
                        "not notice\n");
    assert_string_equal(say(&scene, 1, SILENCE_WARN, 120),
                        "sluice: warning: host h1 (ranks 2-3) has been silent for 90 s; the job "
                        "ends after 120 s of it\n");
    assert_string_equal(say(&scene, 1, SILENCE_WARN, 0),
                        "sluice: warning: host h1 (ranks 2-3) has been silent for 90 s; the job "
                        "waits for it (run.silence_limit: off)\n");
    assert_string_equal(say(&scene, 1, SILENCE_BACK, 90),
                        "sluice: warning: host h1 (ranks 2-3) is heard again, after 33 s\n");
    assert_string_equal(say(&scene, 1, SILENCE_NOTHING, 90), "");
    assert_string_equal(say(&scene, 1, SILENCE_END, 90), "");
}

static void assert_file(const char *path, const char *expected)
{
    char text[256] = "";
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    assert_string_equal(text, expected);
}

static void the_end_names_the_hosts(void **state)
{
    struct scene scene;
    const char *path = scratch_path(state, "silent");
    setenv("SLUICE_SILENT_HOSTS", path, 1);
    set(&scene, 4, 0, 1);
    assert_string_equal(
        say_end(&scene),
        "sluice: stopped: nothing was heard of host h1 (ranks 2-3) for 90 s; finished rows are "
        "kept, and the same command continues without it: leave out the line in mpirun's "
        "hostfile, or under Slurm --exclude\n");
    assert_file(path, "h1\n");
    set(&scene, 4, 0, 2);
    assert_string_equal(
        say_end(&scene),
        "sluice: stopped: nothing was heard of host h1 (ranks 2-3), host h2 (ranks 4-5) for 91 s; "
        "finished rows are kept, and the same command continues without them: leave out the line "
        "in mpirun's hostfile, or under Slurm --exclude\n");
    assert_file(path, "h1\nh2\n");
    setenv("SLUICE_SILENT_HOSTS", "", 1);
    set(&scene, 24, 1, 12);
    assert_non_null(strstr(say_end(&scene), "host h9 (ranks 18-19) and 4 more for 101 s"));
    assert_null(strstr(said, "h10"));
    unsetenv("SLUICE_SILENT_HOSTS");
}

/* Where most hosts are silent it is more likely this one that is cut off: none is to be left out.
 */
static void most_hosts_silent_accuse_this_one(void **state)
{
    struct scene scene;
    const char *path = scratch_path(state, "silent");
    setenv("SLUICE_SILENT_HOSTS", path, 1);
    set(&scene, 4, 0, 3);
    assert_string_equal(
        say_end(&scene),
        "sluice: stopped: nothing was heard of host h1 (ranks 2-3), host h2 (ranks 4-5), host h3 "
        "(ranks 6-7), which is most of the job: host h0 may be the one that is cut off; finished "
        "rows are kept, and the same command continues on hosts that reach each other\n");
    assert_int_equal(access(path, F_OK), -1);
    set(&scene, 4, 3, 0);
    scene.silences[3].was_heard = scene.silences[3].is_warned = true; /* of itself: not counted */
    assert_string_equal(say_end(&scene),
                        "sluice: stopped: the other hosts hear nothing of host h3; finished rows "
                        "are kept, and the same command continues without it\n");
    unsetenv("SLUICE_SILENT_HOSTS");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_rank_of_the_first_host_that_is_heard_speaks),
        cmocka_unit_test(events_in_words),
        cmocka_unit_test_setup_teardown(the_end_names_the_hosts, scratch_create, scratch_destroy),
        cmocka_unit_test_setup_teardown(most_hosts_silent_accuse_this_one, scratch_create,
                                        scratch_destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
