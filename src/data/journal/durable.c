/* SPDX-License-Identifier: Apache-2.0 */
/* fsync of folders. */
#include "data/journal/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

status durable_sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return status_fail_errno(STATUS_IO, "%s", path);
    }
    status s = STATUS_OK;
    if (fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP && errno != EROFS) {
        s = status_fail_errno(STATUS_IO, "%s", path);
    }
    close(fd);
    return s;
}

status durable_sync_parent(const char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    while (length > 0 && path[length - 1] != '/') {
        length--;
    }
    struct buffer parent = {0};
    status s =
        length == 0 ? buffer_append_text(&parent, ".") : buffer_append(&parent, path, length);
    if (s == STATUS_OK) {
        s = durable_sync_folder(parent.data);
    }
    buffer_destroy(&parent);
    return s;
}
