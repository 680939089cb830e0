/* SPDX-License-Identifier: Apache-2.0 */
/* A communicator that times another one. */
#include "sluice/call_times.h"

#include <stdlib.h>

struct call_times {
    struct communicator base;
    struct communicator *inner;
    struct backend *backend;
};

static struct call_times *times_of(struct communicator *self)
{
    return (struct call_times *)(void *)self;
}

static struct communicator *inner_of(struct communicator *self)
{
    return times_of(self)->inner;
}

/* Ends a call that began at `start` and returned `s`. */
static status book(struct communicator *self, double start, status s)
{
    struct backend *backend = times_of(self)->backend;
    if (s == STATUS_OK) {
        s = backend->operations->synchronize(backend);
    }
    self->seconds += clock_seconds() - start;
    self->bytes = inner_of(self)->bytes;
    return s;
}

static status timed_sum(struct communicator *self, struct device_buffer *data, size_t count)
{
    double start = clock_seconds();
    return book(self, start, inner_of(self)->sum(inner_of(self), data, count));
}

static status timed_gather(struct communicator *self, struct device_buffer *own,
                           struct device_buffer *all, size_t bytes)
{
    double start = clock_seconds();
    return book(self, start, inner_of(self)->gather(inner_of(self), own, all, bytes));
}

static status timed_gather_columns(struct communicator *self, struct device_buffer *in,
                                   struct device_buffer *out, int rows, const int *widths)
{
    double start = clock_seconds();
    return book(self, start, inner_of(self)->gather_columns(inner_of(self), in, out, rows, widths));
}

static status timed_send(struct communicator *self, struct device_buffer *data, size_t bytes,
                         int to)
{
    double start = clock_seconds();
    return book(self, start, inner_of(self)->send(inner_of(self), data, bytes, to));
}

static status timed_receive(struct communicator *self, struct device_buffer *data, size_t bytes,
                            int from)
{
    double start = clock_seconds();
    return book(self, start, inner_of(self)->receive(inner_of(self), data, bytes, from));
}

static status timed_check(struct communicator *self)
{
    return inner_of(self)->check(inner_of(self));
}

static void timed_destroy(struct communicator *self)
{
    free(times_of(self));
}

status call_times_create(struct communicator *inner, struct backend *backend,
                         struct communicator **out)
{
    *out = NULL;
    struct call_times *times = calloc(1, sizeof *times);
    if (times == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a communicator");
    }
    *times = (struct call_times){.base = {.name = inner->name,
                                          .rank = inner->rank,
                                          .size = inner->size,
                                          .sum = timed_sum,
                                          .gather = timed_gather,
                                          .gather_columns = timed_gather_columns,
                                          .send = timed_send,
                                          .receive = timed_receive,
                                          .check = timed_check,
                                          .destroy = timed_destroy,
                                          .patience = inner->patience},
                                 .inner = inner,
                                 .backend = backend};
    *out = &times->base;
    return STATUS_OK;
}
