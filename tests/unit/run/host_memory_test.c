/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that the ranks of a host share. Three threads are the ranks; the few calls of MPI that are
 * made, and those that make a segment, are the test's. */
#include <errno.h>
#include <fcntl.h>
#include <mpi.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "failing/failing.h"
#include "run/hosts/host_memory.h"
#include "sluice/run.h"

enum { RANKS = 3, ROOM = 1 << 20 };

/* ---- The host ---- */

static _Thread_local int rank;
static pthread_barrier_t together;
static int ranks; /* of this host, for now */
static struct {
    unsigned char bytes[64];
    int least;
} passed;
static char path[64];        /* of the file that is the segment */
static size_t room;          /* of /dev/shm */
static int refused_opens;    /* rank by which the segment cannot be opened; -1: none */
static bool refused_split;   /* MPI cannot group the ranks */
static int groups, segments; /* that are there */

static void wait_for_all(void)
{
    pthread_barrier_wait(&together);
}

status run_agree(status own)
{
    return own;
}

int MPI_Comm_split_type(MPI_Comm comm, int type, int key, MPI_Info info, MPI_Comm *out)
{
    (void)comm, (void)type, (void)key, (void)info;
    if (refused_split) {
        return MPI_ERR_OTHER;
    }
    __atomic_add_fetch(&groups, 1, __ATOMIC_SEQ_CST);
    *out = MPI_COMM_SELF;
    return MPI_SUCCESS;
}

int MPI_Error_string(int code, char *text, int *length)
{
    (void)code;
    *length = snprintf(text, MPI_MAX_ERROR_STRING, "no group");
    return MPI_SUCCESS;
}

int MPI_Comm_free(MPI_Comm *comm)
{
    __atomic_sub_fetch(&groups, 1, __ATOMIC_SEQ_CST);
    *comm = MPI_COMM_NULL;
    return MPI_SUCCESS;
}

int MPI_Comm_rank(MPI_Comm comm, int *out)
{
    (void)comm;
    *out = rank;
    return MPI_SUCCESS;
}

int MPI_Comm_size(MPI_Comm comm, int *out)
{
    (void)comm;
    *out = ranks;
    return MPI_SUCCESS;
}

int MPI_Bcast(void *buffer, int count, MPI_Datatype datatype, int root, MPI_Comm comm)
{
    (void)datatype, (void)comm;
    if (rank == root) {
        memcpy(passed.bytes, buffer, (size_t)count);
    }
    wait_for_all();
    memcpy(buffer, passed.bytes, (size_t)count);
    wait_for_all();
    return MPI_SUCCESS;
}

int MPI_Allreduce(const void *sent, void *received, int count, MPI_Datatype datatype, MPI_Op op,
                  MPI_Comm comm)
{
    (void)count, (void)datatype, (void)op, (void)comm;
    passed.least = 1;
    wait_for_all();
    if (*(const int *)sent == 0) {
        passed.least = 0;
    }
    wait_for_all();
    *(int *)received = passed.least;
    wait_for_all();
    return MPI_SUCCESS;
}

int shm_open(const char *name, int flags, mode_t mode)
{
    (void)name, (void)mode;
    if (flags & O_CREAT) {
        snprintf(path, sizeof path, "/tmp/sluice_host_memory.XXXXXX");
        assert_true(flags & O_EXCL);
        segments++;
        return mkstemp(path);
    }
    if (rank == refused_opens) {
        errno = EMFILE;
        return -1;
    }
    return open(path, O_RDWR | O_CLOEXEC);
}

int shm_unlink(const char *name)
{
    assert_non_null(strstr(name, "/sluice-"));
    segments--;
    return unlink(path);
}

int posix_fallocate(int fd, off_t offset, off_t length)
{
    assert_int_equal(offset, 0);
    return (size_t)length > room ? ENOSPC : ftruncate(fd, length) == 0 ? 0 : errno;
}

/* ---- A rank ---- */

struct seat {
    int rank;
    size_t most, least;
    struct host_memory memory;
    status made, agreed;
    bool own, all, is_same;
};

static void *sit(void *argument)
{
    struct seat *seat = argument;
    rank = seat->rank;
    seat->made = host_memory_create(seat->most, seat->least, &seat->memory);
    unsigned char *bytes = seat->memory.address;
    if (bytes != NULL) {
        bytes[rank] += (unsigned char)(rank + 1); /* on zeros */
        bytes[seat->memory.bytes - 1 - (size_t)rank] += 7;
        wait_for_all();
        seat->is_same = true;
        for (int i = 0; i < ranks; i++) {
            seat->is_same = seat->is_same && bytes[i] == i + 1 &&
                            bytes[seat->memory.bytes - 1 - (size_t)i] == 7;
        }
        wait_for_all();
    }
    seat->agreed = host_memory_agree(seat->own, &seat->all);
    return NULL;
}

/* All ranks of a host at once; nothing but the memory is left. */
static void gather(struct seat seats[RANKS], int count, size_t most, size_t least)
{
    pthread_t threads[RANKS];
    const int open_before = failing_open_descriptors();
    ranks = count;
    groups = segments = 0;
    pthread_barrier_init(&together, NULL, (unsigned)count);
    for (int i = 0; i < count; i++) {
        const bool own = seats[i].own;
        seats[i] = (struct seat){.rank = i, .most = most, .least = least, .own = own};
        assert_int_equal(pthread_create(&threads[i], NULL, sit, &seats[i]), 0);
    }
    for (int i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_barrier_destroy(&together);
    assert_int_equal(groups, 0);
    assert_int_equal(segments, 0); /* no name is left */
    assert_int_equal(failing_open_descriptors(), open_before);
}

static void assert_shared(struct seat seats[RANKS], int count, size_t bytes)
{
    for (int i = 0; i < count; i++) {
        assert_int_equal(seats[i].made, STATUS_OK);
        assert_int_equal(seats[i].memory.rank, i);
        assert_int_equal(seats[i].memory.size, count);
        assert_int_equal(seats[i].memory.address != NULL, bytes > 0);
        if (bytes > 0) {
            assert_int_equal(seats[i].memory.bytes, bytes);
            assert_true(seats[i].is_same);
        }
        host_memory_destroy(&seats[i].memory);
        assert_null(seats[i].memory.address);
        assert_int_equal(seats[i].memory.bytes, 0);
        host_memory_destroy(&seats[i].memory); /* nothing is left to let go */
    }
}

static int begin(void **state)
{
    (void)state;
    room = ROOM;
    refused_opens = -1;
    refused_split = false;
    return 0;
}

/* ---- Tests ---- */

static void all_ranks_see_what_one_writes(void **state)
{
    (void)state;
    struct seat seats[RANKS] = {0};
    for (int count = 2; count <= RANKS; count++) {
        gather(seats, count, 65536, 4096);
        assert_shared(seats, count, 65536);
    }
}

static void one_rank_has_nobody_to_share_with(void **state)
{
    (void)state;
    struct seat seats[RANKS] = {0};
    gather(seats, 1, 65536, 4096);
    assert_shared(seats, 1, 0);
}

static void less_room_means_less_memory(void **state)
{
    (void)state;
    struct seat seats[RANKS] = {0};
    gather(seats, 2, ROOM, 4096);
    assert_shared(seats, 2, ROOM);
    gather(seats, 2, 8 * ROOM, 4096); /* halves of it */
    assert_shared(seats, 2, ROOM);
    gather(seats, 3, 3 * ROOM, 4096);
    assert_shared(seats, 3, 3 * ROOM / 4);
    gather(seats, 2, 3 * ROOM, ROOM); /* a half would be less than the least */
    assert_shared(seats, 2, ROOM);
    gather(seats, 2, 3 * ROOM, ROOM + 1);
    assert_shared(seats, 2, 0);
}

static void a_rank_that_cannot_open_it_leaves_all_without(void **state)
{
    (void)state;
    struct seat seats[RANKS] = {0};
    for (refused_opens = 1; refused_opens < RANKS; refused_opens++) {
        gather(seats, RANKS, 65536, 4096);
        assert_shared(seats, RANKS, 0);
    }
}

static void ranks_agree_where_all_do(void **state)
{
    (void)state;
    struct seat seats[RANKS];
    for (int who = 0; who < 1 << RANKS; who++) {
        for (int i = 0; i < RANKS; i++) {
            seats[i] = (struct seat){.own = who >> i & 1};
        }
        gather(seats, RANKS, 65536, 4096);
        for (int i = 0; i < RANKS; i++) {
            assert_int_equal(seats[i].agreed, STATUS_OK);
            assert_int_equal(seats[i].all, who == (1 << RANKS) - 1);
        }
        assert_shared(seats, RANKS, 65536);
    }
}

static void ranks_that_cannot_be_grouped_fail(void **state)
{
    (void)state;
    struct seat seats[RANKS] = {0};
    refused_split = true;
    gather(seats, RANKS, 65536, 4096);
    for (int i = 0; i < RANKS; i++) {
        assert_true(seats[i].made != STATUS_OK && seats[i].agreed != STATUS_OK);
        assert_null(seats[i].memory.address);
        assert_false(seats[i].all);
    }
}

#define TEST(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_ranks_see_what_one_writes), TEST(one_rank_has_nobody_to_share_with),
        TEST(less_room_means_less_memory),   TEST(a_rank_that_cannot_open_it_leaves_all_without),
        TEST(ranks_agree_where_all_do),      TEST(ranks_that_cannot_be_grouped_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
