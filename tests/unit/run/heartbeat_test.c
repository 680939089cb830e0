/* SPDX-License-Identifier: Apache-2.0 */
/* Signs of life between two hosts: this process is one, the test's own socket the other. The world
 * and the few calls of MPI that the heartbeat makes are the test's. */
#include <arpa/inet.h>
#include <mpi.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "failing/failing.h"
#include "run/hosts/beat.h"
#include "run/hosts/heartbeat.h"
#include "run/hosts/host_table.h"
#include "run/ranks/world.h"
#include "sluice/run.h"

enum { PATIENCE_MS = 20000 };

/* ---- The world: rank 0 on this host, rank 1 on host hb ---- */

static struct world fake = {.rank = 0, .size = 2, .host_rank = 0, .host_size = 1, .host = "ha"};
static uint8_t token[BEAT_TOKEN_BYTES];
static struct host_card cards[2];
static int other; /* the socket of rank 1 */

const struct world *world_get(void)
{
    return &fake;
}

void world_pause(int idle_rounds)
{
    (void)idle_rounds;
}

status run_agree(status own)
{
    return own;
}

int MPI_Bcast(void *buffer, int count, MPI_Datatype datatype, int root, MPI_Comm comm)
{
    (void)datatype, (void)comm;
    assert_int_equal(count, sizeof token);
    assert_int_equal(root, 0);
    memcpy(token, buffer, sizeof token);
    return MPI_SUCCESS;
}

int MPI_Allgather(const void *sent, int sent_count, MPI_Datatype sent_type, void *received,
                  int received_count, MPI_Datatype received_type, MPI_Comm comm)
{
    (void)sent_type, (void)received_type, (void)comm;
    assert_int_equal(sent_count, sizeof cards[0]);
    assert_int_equal(received_count, sizeof cards[0]);
    memcpy(&cards[0], sent, sizeof cards[0]);
    memcpy(received, cards, sizeof cards);
    return MPI_SUCCESS;
}

static int barriers;

int MPI_Ibarrier(MPI_Comm comm, MPI_Request *request)
{
    (void)comm, (void)request;
    barriers++;
    return MPI_SUCCESS;
}

int MPI_Test(MPI_Request *request, int *flag, MPI_Status *of)
{
    (void)request, (void)of;
    *flag = 1;
    return MPI_SUCCESS;
}

static int make_other(void **state)
{
    (void)state;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    other = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (bind(other, (const struct sockaddr *)&at, sizeof at) != 0 ||
        getsockname(other, (struct sockaddr *)&at, &length) != 0) {
        return -1;
    }
    static const uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff, 127, 0, 0, 1};
    cards[1] =
        (struct host_card){.name = "hb", .leader = 1, .addresses = 1, .port = ntohs(at.sin_port)};
    memcpy(cards[1].address[0], mapped, sizeof mapped);
    barriers = 0;
    return 0;
}

static int close_other(void **state)
{
    (void)state;
    return close(other);
}

static void start(double warn, double limit)
{
    if (heartbeat_start() != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    heartbeat_configure(warn, limit);
}

/* ---- Beats of the other host ---- */

static bool receive(struct beat *beat)
{
    uint8_t bytes[BEAT_BYTES + 1];
    struct pollfd file = {.fd = other, .events = POLLIN};
    return poll(&file, 1, PATIENCE_MS) == 1 &&
           beat_unpack(bytes, (size_t)recv(other, bytes, sizeof bytes, 0), token, beat);
}

static void send_bytes(const void *bytes, size_t length)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(cards[0].port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(sendto(other, bytes, length, 0, (const struct sockaddr *)&to, sizeof to),
                     length);
}

static void send_beat(int rank, uint64_t number, int lost, const uint8_t with[BEAT_TOKEN_BYTES])
{
    uint8_t bytes[BEAT_BYTES];
    const struct beat beat = {.rank = rank, .number = number, .lost = lost};
    assert_true(beat_pack(&beat, with, bytes));
    send_bytes(bytes, sizeof bytes);
}

/* ---- Tests ---- */

static void beats_come_each_second_and_end(void **state)
{
    (void)state;
    struct beat first, second;
    const int before = failing_open_descriptors();
    start(15, 90);
    assert_true(receive(&first));
    const double at = clock_seconds();
    assert_int_equal(first.rank, 0);
    assert_int_equal(first.lost, -1);
    assert_true(receive(&second));
    assert_true(second.number == first.number + 1);
    assert_true(clock_seconds() - at > 0.5);
    heartbeat_end();
    assert_int_equal(barriers, 1);
    assert_int_equal(failing_open_descriptors(), before);
    heartbeat_end(); /* nothing is left to end */
    assert_int_equal(barriers, 1);
}

static void one_host_has_no_beats(void **state)
{
    (void)state;
    const int before = failing_open_descriptors();
    fake.host_size = 2;
    assert_int_equal(heartbeat_start(), STATUS_OK);
    fake.host_size = 1;
    assert_int_equal(failing_open_descriptors(), before);
    heartbeat_configure(1, 2);
    heartbeat_end();
    assert_int_equal(barriers, 0);
}

/* What nobody of the job can have sent, or has sent before, ends nothing. */
static void beats_that_do_not_count(void **state)
{
    (void)state;
    static const uint8_t wrong[BEAT_TOKEN_BYTES];
    struct beat beat;
    start(15, 90);
    send_beat(1, 5, 0, wrong);
    send_beat(2, 5, 0, token);
    send_beat(-1, 5, 0, token);
    send_beat(1, 5, -1, token);
    send_beat(1, 5, 0, token); /* a number that was there */
    send_beat(1, 4, 0, token);
    send_beat(1, 6, 2, token); /* no such host */
    uint8_t bytes[BEAT_BYTES + 1] = {0};
    const struct beat longer = {.rank = 1, .number = 9, .lost = 0};
    assert_true(beat_pack(&longer, token, bytes));
    send_bytes(bytes, sizeof bytes);
    for (int i = 0; i < 2; i++) { /* two looks later it still goes on */
        assert_true(receive(&beat));
        assert_int_equal(beat.lost, -1);
    }
    heartbeat_end();
}

/* Runs in a process of its own; what it prints is in `out`. Returns its exit status. */
static int in_child(void (*what)(void), char *out, size_t size)
{
    int ends[2], code;
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        what();
        _exit(1);
    }
    close(ends[1]);
    size_t length = 0;
    ssize_t got;
    while (length < size - 1 && (got = read(ends[0], out + length, size - 1 - length)) > 0) {
        length += (size_t)got;
    }
    out[length] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, &code, 0), child);
    return WIFEXITED(code) ? WEXITSTATUS(code) : -1;
}

static void heard_once_and_never_again(void)
{
    start(0.5, 1.5);
    send_beat(1, 1, -1, token);
    poll(NULL, 0, PATIENCE_MS);
}

static void a_silent_host_ends_the_process(void **state)
{
    (void)state;
    char said[4096];
    const char *names = "silent_hosts_of_heartbeat_test";
    setenv("SLUICE_SILENT_HOSTS", names, 1);
    assert_int_equal(in_child(heard_once_and_never_again, said, sizeof said), 75);
    unsetenv("SLUICE_SILENT_HOSTS");
    assert_non_null(strstr(said, "warning: host hb (rank 1) has been silent for"));
    assert_non_null(strstr(said, "the job ends after 2 s of it"));
    assert_non_null(strstr(said, "host hb (rank 1)"));
    char list[16] = "";
    FILE *file = fopen(names, "r");
    assert_non_null(file);
    assert_non_null(fgets(list, sizeof list, file));
    assert_string_equal(list, "hb\n");
    fclose(file);
    remove(names);
}

static void told_by_another(void)
{
    start(15, 90);
    send_beat(1, 1, 0, token);
    poll(NULL, 0, PATIENCE_MS);
}

/* Those that the others have given up end as well, without a word about a host that is silent. */
static void a_host_that_others_lost_ends(void **state)
{
    (void)state;
    char said[4096];
    const double before = clock_seconds();
    assert_int_equal(in_child(told_by_another, said, sizeof said), 75);
    assert_true(clock_seconds() - before < PATIENCE_MS * 1e-3);
    assert_null(strstr(said, "hb"));
}

static void no_limit(void)
{
    start(0.5, 0);
    send_beat(1, 1, -1, token);
    struct beat beat;
    for (int i = 0; i < 4 && receive(&beat) && beat.lost == -1; i++) {
    }
    send_beat(1, 2, -1, token);
    (void)receive(&beat);
    (void)receive(&beat);
    heartbeat_end();
    _exit(3);
}

static void without_a_limit_a_silence_is_waited_for(void **state)
{
    (void)state;
    char said[4096];
    assert_int_equal(in_child(no_limit, said, sizeof said), 3);
    assert_non_null(strstr(said, "the job waits for it (run.silence_limit: off)"));
    assert_non_null(strstr(said, "host hb (rank 1) is heard again, after"));
}

/* ---- Failures at the start: all ranks or none ---- */

static status start_and_end(void *context)
{
    (void)context;
    const status s = heartbeat_start();
    if (s == STATUS_OK) {
        heartbeat_end();
    }
    return s;
}

static void a_start_without_memory(void **state)
{
    (void)state;
    const struct failing_walk walk = {.name = "heartbeat",
                                      .kinds = FAIL_MEMORY | FAIL_THREAD,
                                      .act = start_and_end,
                                      .optional = FAIL_THREAD};
    assert_true(failing_walk(&walk) >= 8);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_other, close_other)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(beats_come_each_second_and_end), TEST(one_host_has_no_beats),
        TEST(beats_that_do_not_count),        TEST(a_silent_host_ends_the_process),
        TEST(a_host_that_others_lost_ends),   TEST(without_a_limit_a_silence_is_waited_for),
        TEST(a_start_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
