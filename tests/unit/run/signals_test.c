/* SPDX-License-Identifier: Apache-2.0 */
/* What signals do to a rank: the first asks it to stop, a later one ends it, a deadline ends what
 * does not stop; and what a rank that dies leaves behind for the next start. Each signal comes to a
 * process of its own. */
#include "commands.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "run/ranks/crash_note.h"
#include "run/ranks/stop_request.h"
#include "run/ranks/world.h"
#include "said.h"
#include "sluice/data.h"

/* How a process ended that did this. */
static int end_of(void (*act)(void))
{
    int ended;
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        act();
        _exit(100);
    }
    assert_int_equal(waitpid(child, &ended, 0), child);
    return ended;
}

static void expect_exit(void (*act)(void), int code)
{
    const int ended = end_of(act);
    if (!WIFEXITED(ended) || WEXITSTATUS(ended) != code) {
        fail_msg("status %x", (unsigned)ended);
    }
}

static void expect_signal(void (*act)(void), int number)
{
    const int ended = end_of(act);
    if (!WIFSIGNALED(ended) || WTERMSIG(ended) != number) {
        fail_msg("status %x", (unsigned)ended);
    }
}

/* In a child: the line of the first thing that is not so is its status. */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            _exit(101 + __LINE__ % 100);                                                           \
        }                                                                                          \
    } while (0)

static void wait_a_second(void)
{
    const double until = clock_seconds() + 1.05;
    while (clock_seconds() < until) {
        usleep(50000);
    }
}

/* ---- Being asked ---- */

static void is_asked(int number)
{
    REQUIRE(!stop_requested() && interrupt_check() == STATUS_OK);
    raise(number);
    REQUIRE(stop_requested() && stop_requested());
    REQUIRE(interrupt_check() == STATUS_STOPPED);
    REQUIRE(!stop_overdue());
    const unsigned left = alarm(0);
    REQUIRE(left > STOP_SECONDS - 3 && left <= STOP_SECONDS);
    raise(number); /* the same, sent twice */
    raise(number);
    REQUIRE(alarm(0) == 0); /* the deadline is the first one's */
    stop_end();
    REQUIRE(interrupt_check() == STATUS_OK);
    _exit(0);
}

static void by_term(void)
{
    is_asked(SIGTERM);
}

static void by_int(void)
{
    is_asked(SIGINT);
}

static void by_usr1(void)
{
    is_asked(SIGUSR1);
}

static void by_xcpu(void)
{
    is_asked(SIGXCPU);
}

static void the_first_signal_asks(void **state)
{
    (void)state;
    expect_exit(by_term, 0);
    expect_exit(by_int, 0);
    expect_exit(by_usr1, 0);
    expect_exit(by_xcpu, 0);
}

static void each_other_signal_is_a_first_one(void)
{
    raise(SIGTERM);
    raise(SIGXCPU);
    wait_a_second();
    raise(SIGINT);
    raise(SIGUSR1);
    raise(SIGXCPU); /* which comes again and again */
    _exit(0);
}

static void later_signals_end_it(void)
{
    raise(SIGTERM);
    wait_a_second();
    raise(SIGTERM);
}

static void a_later_one_ends(void **state)
{
    (void)state;
    expect_exit(each_other_signal_is_a_first_one, 0);
    expect_signal(later_signals_end_it, SIGTERM);
}

static void the_deadline_comes(void)
{
    raise(SIGALRM);
}

static void the_deadline_comes_in_json(void)
{
    log_use_json();
    raise(SIGALRM);
}

static void a_deadline_ends(void **state)
{
    (void)state;
    static const char text[] =
        "stopped at the deadline, in the middle of something that takes long; what was committed "
        "is kept, and the same command continues";
    char wanted[400];
    said_begin();
    expect_exit(the_deadline_comes, 75);
    snprintf(wanted, sizeof wanted, "sluice: %s\n", text);
    assert_string_equal(said_end(), wanted);
    said_begin();
    expect_exit(the_deadline_comes_in_json, 75);
    snprintf(wanted, sizeof wanted, "{\"level\":\"info\",\"message\":\"%s\"}\n", text);
    assert_string_equal(said_end(), wanted);
}

static void wants_a_snapshot(void)
{
    REQUIRE(!snapshot_requested());
    raise(SIGUSR2);
    REQUIRE(snapshot_requested());
    REQUIRE(!snapshot_requested());
    REQUIRE(!stop_requested());
    _exit(0);
}

static void a_snapshot_stops_nothing(void **state)
{
    (void)state;
    expect_exit(wants_a_snapshot, 0);
}

static bool is_ignored(int number)
{
    struct sigaction action;
    assert_int_equal(sigaction(number, NULL, &action), 0);
    return action.sa_handler == SIG_IGN;
}

/* As nohup and the background of a shell's script start it. */
static void signals_that_were_ignored(void **state)
{
    (void)state;
    assert_true(is_ignored(SIGHUP)); /* main has done so before stop_start */
    assert_false(is_ignored(SIGINT));
    assert_false(is_ignored(SIGTERM));
    assert_true(is_ignored(SIGPIPE));
    struct sigaction action;
    assert_int_equal(sigaction(SIGTERM, NULL, &action), 0);
    assert_true((action.sa_flags & SA_RESTART) != 0);
}

/* ---- What dying ranks leave ---- */

static char journal[128];

static void expect_file(const char *path, const char *text, const char *more)
{
    char read[512], wanted[512];
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        fail_msg("no %s", path);
    }
    read[fread(read, 1, sizeof read - 1, file)] = '\0';
    fclose(file);
    snprintf(wanted, sizeof wanted, "%s%s", text, more);
    assert_string_equal(read, wanted);
}

static void dies(void)
{
    signal(SIGABRT, SIG_DFL); /* not MPI's handler */
    if (crash_note_start(journal, 3, 4, 1) == STATUS_OK) {
        raise(SIGABRT);
    }
}

static void dies_afterwards(void)
{
    signal(SIGABRT, SIG_DFL); /* not MPI's handler */
    if (crash_note_start(journal, 3, 4, 1) == STATUS_OK) {
        crash_note_end();
        crash_note_end();
        raise(SIGABRT);
    }
}

static void a_crash_leaves_a_note(void **state)
{
    (void)state;
    struct buffer path = {0}, text = {0};
    assert_int_equal(attempts_note(journal, 3, 1, &path, &text), STATUS_OK);
    expect_signal(dies_afterwards, SIGABRT);
    assert_int_equal(access(path.data, F_OK), -1);
    expect_signal(dies, SIGABRT);
    expect_file(path.data, text.data, "06\n");
    buffer_destroy(&path);
    buffer_destroy(&text);
}

static void is_asked_to_end(void)
{
    crash_note_asked(); /* nothing is known yet */
    if (crash_note_start(journal, 2, 4, 1) == STATUS_OK) {
        errno = 5;
        raise(SIGTERM);
        _exit(errno == 5 ? 0 : 1);
    }
}

static void host_is_lost(void)
{
    if (crash_note_start("elsewhere", 2, 4, 1) == STATUS_OK &&
        crash_note_start(journal, 2, 4, 1) == STATUS_OK) {
        crash_note_end();
        crash_note_host_lost(); /* as another thread may say at the end */
        _exit(0);
    }
}

static void an_end_from_outside_is_excused(void **state)
{
    (void)state;
    struct buffer path = {0}, asked = {0}, again = {0}, lost = {0};
    assert_int_equal(attempts_excuse(journal, 2, 4, &path, &asked), STATUS_OK);
    assert_int_equal(attempts_excuse(journal, 2, 1, &again, &lost), STATUS_OK);
    assert_string_equal(path.data, again.data);
    assert_string_not_equal(asked.data, lost.data);
    expect_exit(is_asked_to_end, 0);
    expect_file(path.data, asked.data, "");
    expect_exit(host_is_lost, 0);
    expect_file(path.data, lost.data, "");
    buffer_destroy(&path);
    buffer_destroy(&asked);
    buffer_destroy(&again);
    buffer_destroy(&lost);
}

static int enter(void **state)
{
    const int failed = commands_enter(state);
    snprintf(journal, sizeof journal, "journal");
    return failed == 0 ? mkdir(journal, 0777) : failed;
}

int main(void)
{
    int rank;
    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    commands_start();
    if (world_start(NULL, NULL, &rank) != STATUS_OK || stop_start() != STATUS_OK) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_signal_asks),
        cmocka_unit_test(a_later_one_ends),
        cmocka_unit_test(a_deadline_ends),
        cmocka_unit_test(a_snapshot_stops_nothing),
        cmocka_unit_test(signals_that_were_ignored),
        cmocka_unit_test_setup_teardown(a_crash_leaves_a_note, enter, commands_leave),
        cmocka_unit_test_setup_teardown(an_end_from_outside_is_excused, enter, commands_leave),
    };
    return commands_end(cmocka_run_group_tests(tests, NULL, NULL));
}
