/* SPDX-License-Identifier: Apache-2.0 */
/* Communicators and what watches them, made and used on one rank, with each allocation and thread
 * of theirs failing in turn: the call says so, and what was there is given back. */
#include <mpi.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "comm/comm_mpi.h"
#include "comm/watchdog.h"
#include "failing/failing.h"
#include "sluice/backend.h"
#include "sluice/call_times.h"
#include "sluice/comm_create.h"

enum { VALUES = 6 };

/* What Open MPI keeps until its end, which comes after leaks are looked for. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libmpi\nleak:libopen-\nleak:mca_\nleak:libpmix\nleak:libhwloc\nleak:libevent\n"
           "leak:libpciaccess\nleak:libucp\nleak:libfabric\nleak:libibverbs\nleak:libnl-\n";
}

void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));
void __lsan_do_leak_check(void) __attribute__((weak));
void __gcov_dump(void) __attribute__((weak));

/* ---- A device whose memory is not the host's ---- */

static void *no_address(struct backend *backend, struct device_buffer *buffer)
{
    (void)backend;
    (void)buffer;
    return NULL;
}

static status copy_up(struct backend *backend, struct device_buffer *to, size_t offset,
                      const void *from, size_t bytes)
{
    (void)backend;
    memcpy((char *)to + offset, from, bytes);
    return STATUS_OK;
}

static status copy_down(struct backend *backend, const struct device_buffer *from, size_t offset,
                        void *to, size_t bytes)
{
    (void)backend;
    memcpy(to, (const char *)from + offset, bytes);
    return STATUS_OK;
}

static status no_wait(struct backend *backend)
{
    (void)backend;
    return STATUS_OK;
}

static const struct backend_operations device = {
    .host_address = no_address, .upload = copy_up, .download = copy_down, .synchronize = no_wait};
static struct backend backend = {&device};

/* ---- Every call of a communicator ---- */

static float in[VALUES] = {1, 2, 3, 4, 5, 6}, out[VALUES];

static status call_all(struct communicator *comm)
{
    static const int widths[] = {VALUES / 2};
    struct device_buffer *from = (struct device_buffer *)(void *)in;
    struct device_buffer *to = (struct device_buffer *)(void *)out;
    TRY(comm->send(comm, from, sizeof in, 0));
    TRY(comm->receive(comm, to, sizeof in, 0));
    TRY(comm->gather(comm, from, to, sizeof in));
    TRY(comm->gather_columns(comm, from, to, 2, widths));
    TRY(comm->sum(comm, to, VALUES));
    return comm->check(comm);
}

static status call_timed(struct communicator *comm)
{
    struct communicator *timed;
    TRY(call_times_create(comm, &backend, &timed));
    const status s = call_all(timed);
    timed->destroy(timed);
    return s;
}

static status create_and_call(void *context)
{
    (void)context;
    const struct comm_options options = {.device_address = ""};
    struct communicator *comm;
    int own, most;
    TRY(comm_device_sharers(MPI_COMM_SELF, "0000:01:00.0", &own, &most));
    assert_int_equal(own, 1);
    assert_int_equal(most, 1);
    TRY(comm_create(MPI_COMM_SELF, &backend, &options, &comm));
    const status s = call_timed(comm);
    comm->destroy(comm);
    return s;
}

static void communicators(void **state)
{
    (void)state;
    const struct failing_walk how = {
        .name = "communicator", .kinds = FAIL_MEMORY, .act = create_and_call};
    /* Keys of devices, two objects, room for sums, for what is sent and for both copies. */
    assert_true(failing_walk(&how) >= 6);
    memset(out, 0, sizeof out);
    assert_int_equal(create_and_call(NULL), STATUS_OK);
    assert_memory_equal(in, out, sizeof in);
}

/* Each call alone, so that no other has made room for it. */
static status (*one_call)(struct communicator *comm, struct device_buffer *from,
                          struct device_buffer *to);

static status only_sum(struct communicator *comm, struct device_buffer *from,
                       struct device_buffer *to)
{
    (void)from;
    return comm->sum(comm, to, VALUES);
}

static status only_gather(struct communicator *comm, struct device_buffer *from,
                          struct device_buffer *to)
{
    return comm->gather(comm, from, to, sizeof in);
}

static status only_columns(struct communicator *comm, struct device_buffer *from,
                           struct device_buffer *to)
{
    static const int widths[] = {VALUES / 2};
    return comm->gather_columns(comm, from, to, 2, widths);
}

static status only_message(struct communicator *comm, struct device_buffer *from,
                           struct device_buffer *to)
{
    TRY(comm->send(comm, from, sizeof in, 0));
    return comm->receive(comm, to, sizeof in, 0);
}

static status create_and_call_one(void *context)
{
    (void)context;
    struct communicator *comm;
    TRY(comm_mpi_create(MPI_COMM_SELF, &backend, &comm));
    const status s =
        one_call(comm, (struct device_buffer *)(void *)in, (struct device_buffer *)(void *)out);
    comm->destroy(comm);
    assert_true(s == STATUS_OK || s == STATUS_NO_MEMORY); /* MPI was not asked without room */
    return s;
}

/* A send whose room was not there leaves a message that nobody sent: receiving it would not end. */
static void calls_one_by_one(void **state)
{
    (void)state;
    static const struct {
        status (*call)(struct communicator *comm, struct device_buffer *from,
                       struct device_buffer *to);
        int failures; /* the communicator, scratch, copies of both buffers */
    } calls[] = {{only_sum, 3}, {only_gather, 3}, {only_columns, 4}, {only_message, 3}};
    for (size_t i = 0; i < COUNT_OF(calls); i++) {
        one_call = calls[i].call;
        const struct failing_walk how = {
            .name = "call", .kinds = FAIL_MEMORY, .act = create_and_call_one};
        assert_int_equal(failing_walk(&how), calls[i].failures);
    }
}

/* ---- The watchdog ---- */

static struct watch_sight look(void *context)
{
    (void)context;
    return (struct watch_sight){.state = WATCH_IDLE};
}

static void never(void *context, double waited)
{
    (void)context;
    fail_msg("stopped after %g s", waited);
}

static status watch_nothing(void *context)
{
    (void)context;
    const struct watchdog_options options = {
        .interval = 10, .grace = 10, .look = look, .give_up = never, .stop = never};
    struct watchdog *watchdog;
    TRY(watchdog_create(&options, &watchdog));
    watchdog_destroy(watchdog);
    return STATUS_OK;
}

static void watchdogs(void **state)
{
    (void)state;
    const struct failing_walk how = {
        .name = "watchdog", .kinds = FAIL_MEMORY | FAIL_THREAD, .act = watch_nothing};
    assert_int_equal(failing_walk(&how), 2);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(communicators),
        cmocka_unit_test(calls_one_by_one),
        cmocka_unit_test(watchdogs),
    };
    if (__lsan_disable != NULL) {
        __lsan_disable();
    }
    MPI_Init(&argc, &argv);
    if (__lsan_enable != NULL) {
        __lsan_enable();
    }
    const int result = cmocka_run_group_tests(tests, NULL, NULL);
    if (__lsan_do_leak_check != NULL) {
        __lsan_do_leak_check(); /* before the end unloads plug-ins, whose leaks then have no name */
    }
    if (__gcov_dump != NULL) {
        __gcov_dump();
    }
    fflush(NULL);
    _exit(result);
}
