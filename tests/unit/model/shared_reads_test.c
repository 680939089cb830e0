/* SPDX-License-Identifier: Apache-2.0 */
/* Reads through shared memory: every process gets the file's bytes, each byte comes from the file
 * once, and whoever lags, stops or meets a fault does not hold up the others. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/read/shared_reads.h"

enum { MIB = 1 << 20, CHUNK = 3 * MIB / 2 + 7 }; /* no multiple of anything */

static uint8_t byte_at(uint64_t offset)
{
    const uint64_t mixed = offset * UINT64_C(0x9E3779B97F4A7C15);
    return (uint8_t)(mixed >> 56);
}

struct fixture {
    char path[64];
    struct tensor_file file;
    void *memory;
    uint64_t *totals; /* [2] bytes read from the file, processes that failed */
};

static void *shared_bytes(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    return memory;
}

static void create_within(struct fixture *self, size_t bytes, int readers, size_t memory_bytes)
{
    snprintf(self->path, sizeof self->path, "/tmp/shared_reads.XXXXXX");
    const int fd = mkstemp(self->path);
    uint8_t *content = malloc(bytes);
    for (size_t i = 0; i < bytes; i++) {
        content[i] = byte_at(i);
    }
    assert_int_equal(write(fd, content, bytes), bytes);
    free(content);
    self->file = (struct tensor_file){.path = self->path, .fd = fd, .size = bytes};
    self->memory = shared_bytes(shared_reads_bytes());
    self->totals = shared_bytes(4096);
    assert_int_equal(shared_reads_prepare(self->memory, memory_bytes, readers), STATUS_OK);
}

static void create(struct fixture *self, size_t bytes, int readers)
{
    create_within(self, bytes, readers, shared_reads_bytes());
}

static void destroy(struct fixture *self)
{
    munmap(self->memory, shared_reads_bytes());
    munmap(self->totals, 4096);
    close(self->file.fd);
    unlink(self->path);
}

/* Reads [from, to) of the file in chunks and looks at every byte; false where one is wrong. */
static bool read_all(struct fixture *self, int reader, uint64_t from, uint64_t to, double pause)
{
    struct shared_reads shared;
    uint8_t *bytes = malloc(CHUNK);
    bool right = true;
    shared_reads_attach(&shared, self->memory, reader);
    for (uint64_t at = from; right && at < to; at += CHUNK) {
        const size_t now = to - at < CHUNK ? (size_t)(to - at) : CHUNK;
        right = shared_reads_read(&shared, &self->file, 0, at, bytes, now) == STATUS_OK;
        for (size_t i = 0; right && i < now; i++) {
            right = bytes[i] == byte_at(at + i);
        }
        usleep((useconds_t)(pause * 1e6));
    }
    shared_reads_detach(&shared);
    __atomic_add_fetch(&self->totals[0], shared.bytes_read, __ATOMIC_SEQ_CST);
    free(bytes);
    return right;
}

static void start(struct fixture *self, int reader, uint64_t from, uint64_t to, double pause)
{
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(read_all(self, reader, from, to, pause) ? 0 : 1);
    }
}

static void expect_all_right(int children)
{
    for (int i = 0; i < children; i++) {
        int outcome = -1;
        assert_true(wait(&outcome) > 0);
        assert_int_equal(outcome, 0);
    }
}

static void each_byte_is_read_once(void **state)
{
    (void)state;
    struct fixture self;
    const size_t bytes = 41 * MIB + 5;
    create(&self, bytes, 4);
    for (int reader = 0; reader < 4; reader++) {
        start(&self, reader, 0, bytes, reader == 3 ? 0.005 : 0);
    }
    expect_all_right(4);
    assert_true(self.totals[0] == bytes);
    destroy(&self);
}

/* More than the memory holds: the fast ones wait for the slow one. */
static void a_slow_reader_is_waited_for(void **state)
{
    (void)state;
    struct fixture self;
    const size_t bytes = 400 * MIB;
    create(&self, bytes, 3);
    for (int reader = 0; reader < 3; reader++) {
        start(&self, reader, 0, bytes, reader == 2 ? 0.002 : 0);
    }
    expect_all_right(3);
    assert_true(self.totals[0] == bytes);
    destroy(&self);
}

static void readers_of_different_parts_share_what_they_both_need(void **state)
{
    (void)state;
    struct fixture self;
    create(&self, 40 * MIB, 2);
    start(&self, 0, 0, 24 * MIB, 0);
    start(&self, 1, 16 * MIB, 40 * MIB, 0);
    expect_all_right(2);
    assert_true(self.totals[0] == 40 * MIB);
    destroy(&self);
}

/* Reader 1 never comes. What the memory holds is given up after a second, once. */
static void a_reader_that_stopped_holds_up_nobody(void **state)
{
    (void)state;
    struct fixture self;
    const size_t bytes = 400 * MIB;
    create(&self, bytes, 2);
    const double start_seconds = clock_seconds();
    assert_true(read_all(&self, 0, 0, bytes, 0));
    assert_true(clock_seconds() - start_seconds > 1);
    assert_true(self.totals[0] == bytes);
    assert_true(read_all(&self, 1, 0, 10 * MIB, 0)); /* late, and from the file again */
    assert_true(self.totals[0] == bytes + 10 * MIB);
    destroy(&self);
}

static void a_fault_is_told_to_everyone_who_meets_it(void **state)
{
    (void)state;
    struct fixture self;
    create(&self, 8 * MIB, 1);
    assert_int_equal(ftruncate(self.file.fd, 3 * MIB), 0); /* after it was opened */
    struct shared_reads shared;
    uint8_t byte;
    shared_reads_attach(&shared, self.memory, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(shared_reads_read(&shared, &self.file, 0, 7 * MIB, &byte, 1),
                         STATUS_INVALID);
        assert_non_null(strstr(status_message(), "the file is truncated"));
    }
    assert_int_equal(shared_reads_read(&shared, &self.file, 0, 1 * MIB, &byte, 1), STATUS_OK);
    assert_int_equal(shared_reads_read(&shared, &self.file, 0, 8 * MIB, &byte, 1), STATUS_INVALID);
    destroy(&self);
}

/* As in a container with a small /dev/shm. */
static void little_memory_is_enough(void **state)
{
    (void)state;
    struct fixture self;
    const size_t bytes = 100 * MIB;
    create_within(&self, bytes, 2, shared_reads_least_bytes());
    start(&self, 0, 0, bytes, 0);
    start(&self, 1, 0, bytes, 0.002);
    expect_all_right(2);
    assert_true(self.totals[0] == bytes);
    destroy(&self);
}

static void too_much_is_refused(void **state)
{
    (void)state;
    void *memory = shared_bytes(shared_reads_bytes());
    assert_int_equal(shared_reads_prepare(memory, shared_reads_bytes(), SHARED_READERS + 1),
                     STATUS_LIMIT);
    assert_int_equal(shared_reads_prepare(memory, shared_reads_least_bytes() - 1, 1), STATUS_LIMIT);
    munmap(memory, shared_reads_bytes());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_byte_is_read_once),
        cmocka_unit_test(a_slow_reader_is_waited_for),
        cmocka_unit_test(readers_of_different_parts_share_what_they_both_need),
        cmocka_unit_test(a_reader_that_stopped_holds_up_nobody),
        cmocka_unit_test(a_fault_is_told_to_everyone_who_meets_it),
        cmocka_unit_test(little_memory_is_enough),
        cmocka_unit_test(too_much_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
