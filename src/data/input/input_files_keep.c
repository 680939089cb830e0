/* SPDX-License-Identifier: Apache-2.0 */
/* The list of files that a job began with, through its resumes.
 *
 * Folders fill up while a job waits in a queue. What a pattern matches at the first start is what
 * the job is about; later files are named and left out. The list stands in the journal's folder as
 * a JSON list of paths, and in the finished output. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/journal/durable.h"
#include "sluice/data.h"
#include "sluice/inputs.h"

enum { LIST_MAX_BYTES = 64 << 20, NAMES_SHOWN = 3 };

static const char list_name[] = "inputs";

/* ---- Reading ---- */

static status read_list(const char *path, struct arena *arena, const struct json **out)
{
    struct buffer text = {0};
    struct json *list = NULL;
    status s = file_read(path, LIST_MAX_BYTES, &text);
    if (s == STATUS_OK) {
        s = status_context(json_parse(text.data, text.length, arena, &list), "%s", path);
    }
    buffer_destroy(&text);
    *out = list;
    return s;
}

struct kept_list {
    const char **paths; /* sorted; NULL: there is none */
    size_t count;
};

static status take_json(const struct json *list, struct arena *arena, struct kept_list *out)
{
    if (list->type != JSON_ARRAY) {
        return STATUS_OK;
    }
    const char **paths = arena_allocate_array(arena, list->length + 1, sizeof *paths);
    if (paths == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the data set's files");
    }
    for (size_t i = 0; i < list->length; i++) {
        paths[i] = json_string(list->items[i]);
        if (paths[i] == NULL) {
            return STATUS_OK;
        }
    }
    *out = (struct kept_list){paths, list->length};
    return STATUS_OK;
}

static status take_output(const char *path, struct arena *arena, struct kept_list *out)
{
    struct output_reader *reader;
    const char *const *paths;
    size_t count;
    TRY(output_open(path, &reader));
    output_input_paths(reader, &paths, &count);
    const char **copy = arena_allocate_array(arena, count + 1, sizeof *copy);
    status s = STATUS_OK;
    for (size_t i = 0; copy != NULL && i < count; i++) {
        copy[i] = arena_copy(arena, paths[i], strlen(paths[i]));
        copy = copy[i] != NULL ? copy : NULL;
    }
    if (copy == NULL) {
        s = status_fail(STATUS_NO_MEMORY, "out of memory for the data set's files");
    } else if (count > 0) {
        *out = (struct kept_list){copy, count};
    }
    output_reader_close(reader);
    return s;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The list of an earlier start. What is no such list is no obstacle: the identity still tells
 * whether the job is the same. */
static status find_list(const char *output_path, bool overwrite, struct arena *arena,
                        struct kept_list *out)
{
    struct buffer path = {0};
    const struct json *list = NULL;
    *out = (struct kept_list){0};
    status s = buffer_format(&path, "%s.sluice/%s", output_path, list_name);
    if (s == STATUS_OK) {
        s = read_list(path.data, arena, &list);
    }
    if (s == STATUS_OK) {
        s = take_json(list, arena, out);
    } else if (s != STATUS_NO_MEMORY && !overwrite) {
        s = take_output(output_path, arena, out);
    }
    buffer_destroy(&path);
    if (out->paths != NULL) {
        qsort(out->paths, out->count, sizeof *out->paths, compare_names);
    }
    return s == STATUS_NO_MEMORY ? s : STATUS_OK;
}

/* ---- Comparing ---- */

/* Marks those that are new; false where the kept list is of another job: it has files that are not
 * there any more, or the job names new ones itself. */
static bool mark_new(const struct input_files *files, const struct kept_list *kept, bool *is_new)
{
    size_t known = 0;
    for (size_t i = 0; i < files->count; i++) {
        const char *path = files->items[i].path;
        is_new[i] =
            bsearch(&path, kept->paths, kept->count, sizeof *kept->paths, compare_names) == NULL;
        if (is_new[i] && !files->items[i].matched) {
            return false;
        }
        known += !is_new[i];
    }
    return known == kept->count;
}

static status remove_new(struct input_files *files, const bool *is_new)
{
    struct buffer names = {0};
    size_t left = 0, count = 0;
    status s = STATUS_OK;
    for (size_t i = 0; i < files->count; i++) {
        if (!is_new[i]) {
            files->items[left++] = files->items[i];
            continue;
        }
        if (s == STATUS_OK && count < NAMES_SHOWN) {
            s = buffer_format(&names, "%s%s", count > 0 ? ", " : "", files->items[i].path);
        }
        free(files->items[i].path);
        count++;
    }
    files->count = left;
    if (s == STATUS_OK && count > 0) {
        log_write(LOG_WARNING,
                  "data.input: %zu file%s now, not there when the job began, and left out: %s%s",
                  count, count == 1 ? " matches" : "s match", names.data,
                  count > NAMES_SHOWN ? ", …" : "");
    }
    buffer_destroy(&names);
    return s;
}

status input_files_keep(const char *output_path, bool overwrite, struct input_files *files)
{
    struct arena arena = {0};
    struct kept_list kept = {0};
    status s = files->has_patterns ? find_list(output_path, overwrite, &arena, &kept) : STATUS_OK;
    bool *is_new = arena_allocate_array(&arena, files->count + 1, sizeof *is_new);
    if (s == STATUS_OK && is_new == NULL) {
        s = status_fail(STATUS_NO_MEMORY, "out of memory for the data set's files");
    }
    if (s == STATUS_OK && kept.count > 0 && mark_new(files, &kept, is_new)) {
        s = remove_new(files, is_new);
    }
    arena_destroy(&arena);
    return s;
}

/* ---- Writing ---- */

static status write_list(const struct input_files *files, struct buffer *out)
{
    for (size_t i = 0; i < files->count; i++) {
        TRY(buffer_append_text(out, i == 0 ? "[" : ",\n"));
        TRY(json_write_string(files->items[i].path, strlen(files->items[i].path), out));
    }
    return buffer_append_text(out, "]\n");
}

/* Under another name first: it is there whole or not at all. */
static status write_file(const char *path, const char *text, size_t length)
{
    struct buffer new_path = {0};
    TRY(buffer_format(&new_path, "%s.new", path));
    int fd = open(new_path.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool written = fd >= 0;
    for (size_t at = 0; written && at < length;) {
        ssize_t put = write(fd, text + at, length - at);
        written = put > 0 || (put < 0 && errno == EINTR);
        at += put > 0 ? (size_t)put : 0;
    }
    written = written && fsync(fd) == 0;
    if (fd >= 0) {
        written = close(fd) == 0 && written;
    }
    status s = written && rename(new_path.data, path) == 0
                   ? STATUS_OK
                   : status_fail_errno(STATUS_IO, "%s", path);
    buffer_destroy(&new_path);
    return s;
}

status input_files_save(const char *directory, const struct input_files *files)
{
    if (!files->has_patterns) {
        return STATUS_OK;
    }
    struct buffer path = {0}, text = {0};
    status s = path_join(directory, list_name, &path);
    if (s == STATUS_OK) {
        s = write_list(files, &text);
    }
    if (s == STATUS_OK) {
        s = write_file(path.data, text.data, text.length);
    }
    if (s == STATUS_OK) {
        s = durable_sync_folder(directory);
    }
    buffer_destroy(&path);
    buffer_destroy(&text);
    return s;
}
