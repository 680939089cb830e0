/* SPDX-License-Identifier: Apache-2.0 */
/* The moment that chat templates take for now: of a job's first start, in a file of the journal's
 * folder, so that rows of later starts get the prompts that they would have got in the first. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "data/journal/durable.h"
#include "data/journal/file.h"
#include "sluice/data.h"

enum { TIME_BYTES = 20 }; /* 2026-01-31T12:00:00Z */

static status read_time(const char *path, int64_t *out)
{
    struct buffer text = {0};
    status s = file_read(path, 2 * TIME_BYTES, &text);
    if (s == STATUS_OK) {
        bool is_whole = text.length == TIME_BYTES + 1 && text.data[TIME_BYTES] == '\n';
        if (is_whole) {
            text.data[TIME_BYTES] = '\0';
        }
        if (!is_whole || !clock_read_timestamp(text.data, out)) {
            s = status_fail(STATUS_INVALID,
                            "%s: not a time; set data.template_time, or start afresh with --fresh",
                            path);
        }
    }
    buffer_destroy(&text);
    return s;
}

/* Under another name first: the file is whole or not there. */
static status write_time(const char *path, const char *new_path, int64_t time)
{
    char text[TIME_BYTES + 2];
    clock_write_timestamp(time, text);
    text[TIME_BYTES] = '\n';
    int fd = open(new_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        return status_fail_errno(STATUS_IO, "%s", new_path);
    }
    status s = journal_write_at(fd, 0, text, TIME_BYTES + 1);
    if (s == STATUS_OK && fsync(fd) != 0) {
        s = status_fail_errno(STATUS_IO, "%s", new_path);
    }
    if (close(fd) != 0 && s == STATUS_OK) {
        s = status_fail_errno(STATUS_IO, "%s", new_path);
    }
    if (s == STATUS_OK && rename(new_path, path) != 0) {
        s = status_fail_errno(STATUS_IO, "%s", path);
    }
    return s == STATUS_OK ? durable_sync_parent(path) : s;
}

status template_time_open(const char *directory, bool fresh, int64_t *out)
{
    struct buffer path = {0}, new_path = {0};
    status s = path_join(directory, "template_time", &path);
    s = s != STATUS_OK ? s : path_join(directory, "template_time.new", &new_path);
    bool is_known = false;
    if (s == STATUS_OK && !fresh) {
        s = read_time(path.data, out);
        is_known = s == STATUS_OK;
        s = s == STATUS_NOT_FOUND ? STATUS_OK : s;
    }
    if (s == STATUS_OK && !is_known) {
        *out = (int64_t)time(NULL);
        s = write_time(path.data, new_path.data, *out);
    }
    buffer_destroy(&path);
    buffer_destroy(&new_path);
    return s;
}
