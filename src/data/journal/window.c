/* SPDX-License-Identifier: Apache-2.0 */
/* Windows on a journal file. */
#include "data/journal/window.h"

#include "data/journal/file.h"

static status window_read(struct buffer *bytes, int fd, int64_t offset, size_t length)
{
    buffer_clear(bytes);
    TRY(buffer_reserve(bytes, length));
    TRY(journal_read_at(fd, offset, bytes->data, length));
    bytes->length = length;
    return STATUS_OK;
}

status journal_windows_get(struct journal_windows *windows, int fd, int64_t end, int64_t offset,
                           size_t length, const char **out)
{
    if (offset < 0 || offset > end || length > (uint64_t)(end - offset)) {
        return status_fail(STATUS_INVALID, "offset %lld: the file ends", (long long)offset);
    }
    if (length > JOURNAL_WINDOW_BYTES) {
        TRY(window_read(&windows->large, fd, offset, length));
        *out = windows->large.data;
        return STATUS_OK;
    }
    struct journal_window *oldest = &windows->windows[0];
    for (size_t i = 0; i < JOURNAL_WINDOWS; i++) {
        struct journal_window *window = &windows->windows[i];
        if (offset >= window->offset &&
            offset + (int64_t)length <= window->offset + (int64_t)window->bytes.length) {
            window->used = ++windows->tick;
            *out = window->bytes.data + (offset - window->offset);
            return STATUS_OK;
        }
        if (window->used < oldest->used) {
            oldest = window;
        }
    }
    int64_t left = end - offset;
    size_t wanted = left < JOURNAL_WINDOW_BYTES ? (size_t)left : JOURNAL_WINDOW_BYTES;
    oldest->offset = offset;
    oldest->used = ++windows->tick;
    TRY(window_read(&oldest->bytes, fd, offset, wanted));
    *out = oldest->bytes.data;
    return STATUS_OK;
}

void journal_windows_destroy(struct journal_windows *windows)
{
    for (size_t i = 0; i < JOURNAL_WINDOWS; i++) {
        buffer_destroy(&windows->windows[i].bytes);
    }
    buffer_destroy(&windows->large);
    windows->tick = 0;
}
