/* SPDX-License-Identifier: Apache-2.0 */
/* The communicator that times another: every call reaches it with its own arguments, is waited for,
 * and is booked; what fails is told. What communicators take beside their buffers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "comm/nccl/memory.h"
#include "sluice/backend.h"
#include "sluice/call_times.h"

/* What was called last, and with what. */
struct seen {
    char call;
    const void *buffers[2];
    size_t count;
    int number;
    const int *widths;
    int waits, checks;
};

static struct seen seen;
static status inner_answer, wait_answer;
static int buffer_a, buffer_b; /* their addresses only */

static struct device_buffer *device_a(void)
{
    return (struct device_buffer *)(void *)&buffer_a;
}

static struct device_buffer *device_b(void)
{
    return (struct device_buffer *)(void *)&buffer_b;
}

static status inner_sum(struct communicator *self, struct device_buffer *data, size_t count)
{
    self->bytes += 1;
    seen = (struct seen){.call = 's', .buffers = {data}, .count = count};
    return inner_answer;
}

static status inner_gather(struct communicator *self, struct device_buffer *own,
                           struct device_buffer *all, size_t bytes)
{
    self->bytes += 10;
    seen = (struct seen){.call = 'g', .buffers = {own, all}, .count = bytes};
    return inner_answer;
}

static status inner_columns(struct communicator *self, struct device_buffer *in,
                            struct device_buffer *out, int rows, const int *widths)
{
    self->bytes += 100;
    seen = (struct seen){.call = 'c', .buffers = {in, out}, .number = rows, .widths = widths};
    return inner_answer;
}

static status inner_send(struct communicator *self, struct device_buffer *data, size_t bytes,
                         int to)
{
    self->bytes += 1000;
    seen = (struct seen){.call = 't', .buffers = {data}, .count = bytes, .number = to};
    return inner_answer;
}

static status inner_receive(struct communicator *self, struct device_buffer *data, size_t bytes,
                            int from)
{
    self->bytes += 10000;
    seen = (struct seen){.call = 'r', .buffers = {data}, .count = bytes, .number = from};
    return inner_answer;
}

static status inner_check(struct communicator *self)
{
    (void)self;
    seen.checks++;
    return inner_answer;
}

static void inner_destroy(struct communicator *self)
{
    (void)self;
    fail_msg("the inner one is the caller's");
}

static status wait_a_while(struct backend *backend)
{
    (void)backend;
    seen.waits++;
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL); /* the time that is to be booked */
    return wait_answer;
}

static struct communicator inner_communicator(void)
{
    return (struct communicator){.name = "inner",
                                 .rank = 3,
                                 .size = 8,
                                 .sum = inner_sum,
                                 .gather = inner_gather,
                                 .gather_columns = inner_columns,
                                 .send = inner_send,
                                 .receive = inner_receive,
                                 .check = inner_check,
                                 .destroy = inner_destroy,
                                 .patience = 7};
}

static const int two_widths[] = {1, 2};

static status call(struct communicator *comm, char which)
{
    switch (which) {
    case 's':
        return comm->sum(comm, device_a(), 11);
    case 'g':
        return comm->gather(comm, device_a(), device_b(), 12);
    case 'c':
        return comm->gather_columns(comm, device_a(), device_b(), 13, two_widths);
    case 't':
        return comm->send(comm, device_a(), 14, 5);
    default:
        return comm->receive(comm, device_b(), 15, 6);
    }
}

static void calls_are_passed_on_and_booked(void **state)
{
    (void)state;
    static const struct backend_operations operations = {.synchronize = wait_a_while};
    struct backend backend = {&operations};
    struct communicator inner = inner_communicator(), *comm;
    inner_answer = wait_answer = STATUS_OK;
    assert_int_equal(call_times_create(&inner, &backend, &comm), STATUS_OK);
    assert_string_equal(comm->name, "inner");
    assert_int_equal(comm->rank, 3);
    assert_int_equal(comm->size, 8);
    assert_true(comm->patience == 7);
    static const struct seen expected[] = {
        {.call = 's', .buffers = {&buffer_a}, .count = 11},
        {.call = 'g', .buffers = {&buffer_a, &buffer_b}, .count = 12},
        {.call = 'c', .buffers = {&buffer_a, &buffer_b}, .number = 13, .widths = two_widths},
        {.call = 't', .buffers = {&buffer_a}, .count = 14, .number = 5},
        {.call = 'r', .buffers = {&buffer_b}, .count = 15, .number = 6},
    };
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        const double before = comm->seconds;
        const double start = clock_seconds();
        assert_int_equal(call(comm, expected[i].call), STATUS_OK);
        const double took = clock_seconds() - start;
        assert_int_equal(seen.call, expected[i].call);
        assert_ptr_equal(seen.buffers[0], expected[i].buffers[0]);
        assert_ptr_equal(seen.buffers[1], expected[i].buffers[1]);
        assert_int_equal(seen.count, expected[i].count);
        assert_int_equal(seen.number, expected[i].number);
        assert_ptr_equal(seen.widths, expected[i].widths);
        assert_int_equal(seen.waits, 1);
        assert_true(comm->seconds - before >= 0.0019 && comm->seconds - before <= took);
        assert_int_equal(comm->bytes, inner.bytes);
    }
    assert_int_equal(comm->bytes, 11111);
    assert_int_equal(comm->check(comm), STATUS_OK);
    assert_int_equal(seen.checks, 1);
    comm->destroy(comm);
}

static void failures_are_told(void **state)
{
    (void)state;
    static const struct backend_operations operations = {.synchronize = wait_a_while};
    struct backend backend = {&operations};
    struct communicator inner = inner_communicator(), *comm;
    assert_int_equal(call_times_create(&inner, &backend, &comm), STATUS_OK);
    for (const char *which = "sgctr"; *which != '\0'; which++) {
        inner_answer = STATUS_IO;
        wait_answer = STATUS_OK;
        assert_int_equal(call(comm, *which), STATUS_IO);
        assert_int_equal(seen.waits, 0); /* there is nothing to wait for */
        inner_answer = STATUS_OK;
        wait_answer = STATUS_LIMIT;
        assert_int_equal(call(comm, *which), STATUS_LIMIT);
        assert_int_equal(seen.waits, 1);
    }
    inner_answer = STATUS_IO;
    assert_int_equal(comm->check(comm), STATUS_IO);
    comm->destroy(comm);
}

/* ---- Memory ---- */

static struct scratch_bytes scratch_of(bool own_memory, const struct step_shape *shape, int stages)
{
    const struct backend_kind kind = {.has_own_memory = own_memory};
    struct scratch_bytes total = {.rows = 1000, .work = 2000}; /* added to what others need */
    comm_add_scratch(&kind, shape, stages, &total);
    return total;
}

static void expect_scratch(bool own_memory, const struct step_shape *shape, int stages,
                           int64_t rows, int64_t work)
{
    const struct scratch_bytes total = scratch_of(own_memory, shape, stages);
    assert_int_equal(total.rows, 1000 + rows);
    assert_int_equal(total.work, 2000 + work);
}

static void memory_of_groups_and_pipelines(void **state)
{
    (void)state;
    const int64_t group = (512ll << 20) + (32ll << 20) + (16ll << 20) + (64ll << 10);
    const int64_t links = 512ll << 20;
    struct step_shape shape = {.tokens = 70000,
                               .hidden = 8192,
                               .outputs = 300,
                               .vocabulary = 128256,
                               .vocabulary_rows = 32064,
                               .ranks = 4};
    const int64_t send = 70000ll * 8192 * 4, logits = 300ll * (128256 - 32064) * 4;
    assert_int_equal(comm_largest_send(&shape), send);
    expect_scratch(false, &shape, 1, logits, 0);
    expect_scratch(false, &shape, 2, logits, 0);
    expect_scratch(true, &shape, 1, logits, group);
    expect_scratch(true, &shape, 2, logits, group + links + 2 * send);
    shape.rank = 1; /* only the first gets the logits */
    expect_scratch(true, &shape, 1, 0, group);
    shape.rank = 0;
    shape.vocabulary = shape.vocabulary_rows = 0; /* not on this stage */
    expect_scratch(true, &shape, 1, 0, group);
    shape.ranks = 1;
    shape.vocabulary = 128256;
    expect_scratch(true, &shape, 1, 0, 0);
    expect_scratch(true, &shape, 2, 0, links + 2 * send);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_are_passed_on_and_booked),
        cmocka_unit_test(failures_are_told),
        cmocka_unit_test(memory_of_groups_and_pipelines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
