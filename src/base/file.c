/* SPDX-License-Identifier: Apache-2.0 */
/* Files to read, and paths. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sluice/base.h"

status file_open(const char *path, int *fd, uint64_t *bytes)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not block here */
    if (*fd < 0) {
        return status_fail_errno(errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "%s", path);
    }
    status s = STATUS_OK;
    struct stat info;
    if (fstat(*fd, &info) != 0) {
        s = status_fail_errno(STATUS_IO, "%s", path);
    } else if (!S_ISREG(info.st_mode)) {
        s = status_fail(STATUS_INVALID, "%s: %s", path,
                        S_ISDIR(info.st_mode) ? "a directory, not a file" : "not a regular file");
    }
    if (s != STATUS_OK) {
        close(*fd);
        *fd = -1;
        return s;
    }
    *bytes = (uint64_t)info.st_size;
    return STATUS_OK;
}

status file_read(const char *path, size_t limit, struct buffer *out)
{
    int fd;
    uint64_t bytes;
    TRY(file_open(path, &fd, &bytes));
    status s = STATUS_OK;
    if (bytes > limit) {
        char size[24], most[24];
        s = status_fail(STATUS_LIMIT, "%s: %s, more than the %s that such a file may have", path,
                        format_bytes(bytes < INT64_MAX ? (int64_t)bytes : INT64_MAX, size),
                        format_bytes((int64_t)limit, most));
    } else {
        s = buffer_reserve(out, (size_t)bytes);
    }
    size_t start = out->length;
    while (s == STATUS_OK) {
        char block[16384];
        ssize_t got = read(fd, block, sizeof block);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            s = status_fail_errno(STATUS_IO, "%s", path);
        } else if (got == 0) {
            break;
        } else if (out->length - start + (size_t)got > limit) {
            char most[24];
            s = status_fail(STATUS_LIMIT, "%s: grew past %s while it was read", path,
                            format_bytes((int64_t)limit, most));
        } else {
            s = buffer_append(out, block, (size_t)got);
        }
    }
    close(fd);
    if (s == STATUS_OK) {
        s = buffer_append(out, "", 0); /* the NUL, for an empty file too */
    }
    return s;
}

status path_join(const char *directory, const char *name, struct buffer *out)
{
    TRY(buffer_append_text(out, directory));
    if (out->length > 0 && out->data[out->length - 1] != '/') {
        TRY(buffer_append_byte(out, '/'));
    }
    return buffer_append_text(out, name);
}

status path_from_home(const char *path, struct buffer *out)
{
    const char *home = "";
    bool in_home = path[0] == '~' && (path[1] == '\0' || path[1] == '/');
    if (path[0] == '~' && !in_home) {
        return status_fail(STATUS_INVALID,
                           "%.*s: homes of others are not looked up; write the path out, or "
                           "./%.*s for a file of this name",
                           (int)strcspn(path, "/"), path, (int)strcspn(path, "/"), path);
    }
    if (in_home && ((home = getenv("HOME")) == NULL || home[0] == '\0')) {
        return status_fail(STATUS_INVALID, "%.200s: HOME is not set; write the path out", path);
    }
    return buffer_format(out, "%s%s", home, path + in_home);
}
