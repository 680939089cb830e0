/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the output would take the place of something that the job reads.
 *
 * Files are compared by what they are, device and inode, so that a path's spelling, links and hard
 * links make no difference. What is written are the output, its partial file and the folder of the
 * journal. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sluice/inputs.h"
#include "sluice/job.h"

struct place {
    const char *option, *path; /* of the output, and what set it */
    const char *beside;        /* what the partial file's name has behind the output's */
    struct stat output, partial, journal;
    bool has_output, has_partial, has_journal;
};

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static status find_place(const char *option, const char *path, struct place *place)
{
    struct buffer name = {0};
    *place = (struct place){.option = option, .path = path, .beside = ".partial"};
    place->has_output = stat(path, &place->output) == 0;
    status s = buffer_format(&name, "%s.partial", path);
    if (s == STATUS_OK) {
        place->has_partial = stat(name.data, &place->partial) == 0;
        buffer_clear(&name);
        s = buffer_format(&name, "%s.sluice", path);
    }
    if (s == STATUS_OK) {
        place->has_journal =
            stat(name.data, &place->journal) == 0 && S_ISDIR(place->journal.st_mode);
    }
    buffer_destroy(&name);
    return s;
}

static status refuse(const struct place *place, const char *written, const char *what,
                     const char *key, const char *path)
{
    return status_fail(STATUS_INVALID, "%s: %s%s would replace %s, %s (%s); choose another output",
                       place->option, place->path, written, what, path, key);
}

/* ---- Single files ---- */

/* The folder that a path's file stands in, after links; false where there is none. */
static bool folder_of(const char *path, struct stat *folder)
{
    struct buffer name = {0};
    char *whole = realpath(path, NULL);
    bool found = false;
    if (whole != NULL && buffer_format(&name, "%s", whole) == STATUS_OK) {
        char *slash = strrchr(name.data, '/');
        slash[slash == name.data ? 1 : 0] = '\0';
        found = stat(name.data, folder) == 0;
    }
    free(whole);
    buffer_destroy(&name);
    return found;
}

static status check_file(const struct place *place, const char *what, const char *key,
                         const char *path)
{
    struct stat file, folder;
    if (stat(path, &file) != 0) {
        return STATUS_OK; /* whoever reads it says so */
    }
    if (place->has_output && is_same(&file, &place->output)) {
        return refuse(place, "", what, key, path);
    }
    if (place->has_partial && is_same(&file, &place->partial)) {
        return refuse(place, place->beside, what, key, path);
    }
    bool in_journal = place->has_journal && folder_of(path, &folder) &&
                      (is_same(&folder, &place->journal) || is_same(&file, &place->journal));
    return in_journal ? refuse(place, ".sluice", what, key, path) : STATUS_OK;
}

/* ---- The model ---- */

/* An output that an earlier start has left there is no part of the model. */
static bool is_output(const char *path)
{
    struct output_reader *reader;
    if (output_open(path, &reader) != STATUS_OK) {
        return false;
    }
    output_reader_close(reader);
    return true;
}

/* Whether the file at `path` stands in `folder`, however deep. */
static bool stands_in(const char *path, const struct stat *folder)
{
    char *whole = realpath(path, NULL);
    bool inside = false;
    for (char *slash = whole != NULL ? strrchr(whole, '/') : NULL; slash != NULL && !inside;
         slash = strrchr(whole, '/')) {
        struct stat above;
        slash[slash == whole ? 1 : 0] = '\0';
        inside = stat(whole, &above) == 0 && is_same(&above, folder);
        if (slash == whole) {
            break;
        }
    }
    free(whole);
    return inside;
}

/* Files of the folder, and of those in it: the cache of Hugging Face has links to elsewhere, which
 * is why the files are looked at one by one. */
static status check_folder(const struct place *place, const char *folder, int depth)
{
    DIR *entries = opendir(folder);
    status s = STATUS_OK;
    struct buffer path = {0};
    for (struct dirent *entry; s == STATUS_OK && entries != NULL;) {
        struct stat info;
        if ((entry = readdir(entries)) == NULL) {
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        buffer_clear(&path);
        s = path_join(folder, entry->d_name, &path);
        if (s != STATUS_OK || stat(path.data, &info) != 0) {
            continue;
        }
        if (S_ISDIR(info.st_mode) && depth > 0) {
            s = check_folder(place, path.data, depth - 1);
        } else if (S_ISREG(info.st_mode) && is_same(&info, &place->output)) {
            s = refuse(place, "", "a file of the model", "model.path", path.data);
        }
    }
    if (entries != NULL) {
        closedir(entries);
    }
    buffer_destroy(&path);
    return s;
}

static status check_model_folder(const struct place *place, const char *path,
                                 const struct stat *folder)
{
    if (place->has_journal && is_same(folder, &place->journal)) {
        return refuse(place, ".sluice", "the model", "model.path", path);
    }
    if (!place->has_output || !S_ISREG(place->output.st_mode) || is_output(place->path)) {
        return STATUS_OK;
    }
    if (stands_in(place->path, folder)) {
        return refuse(place, "", "a file in the model's directory", "model.path", path);
    }
    return check_folder(place, path, 1);
}

/* Parts of a model that is split into files are called X-00001-of-00003.gguf. */
static status check_parts(const struct place *place, const char *path)
{
    enum { DIGITS = 5 };
    static const char end[] = "-00001-of-00001.gguf";
    size_t length = strlen(path), tail = strlen(end);
    if (length < tail || strncmp(path + length - tail + 1 + DIGITS, "-of-", 4) != 0) {
        return STATUS_OK;
    }
    int parts = atoi(path + length - tail + 1 + DIGITS + 4);
    status s = STATUS_OK;
    for (int part = 1; s == STATUS_OK && part <= parts; part++) {
        struct buffer name = {0};
        s = buffer_format(&name, "%.*s-%05d%s", (int)(length - tail), path, part,
                          path + length - tail + 1 + DIGITS);
        if (s == STATUS_OK) {
            s = check_file(place, "a part of the model", "model.path", name.data);
        }
        buffer_destroy(&name);
    }
    return s;
}

static status check_located(const struct place *place, const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        return STATUS_OK; /* whoever reads it says so */
    }
    if (S_ISDIR(info.st_mode)) {
        return check_model_folder(place, path, &info);
    }
    TRY(check_file(place, "the model", "model.path", path));
    return check_parts(place, path);
}

static status check_model(const struct place *place, const char *name)
{
    struct buffer path = {0};
    status s = model_locate(name, &path);
    if (s != STATUS_NO_MEMORY) {
        s = s != STATUS_OK ? STATUS_OK : check_located(place, path.data);
    }
    buffer_destroy(&path);
    return s;
}

static status check_place(const struct place *place, const struct job *job, const char *job_path,
                          const struct input_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        TRY(check_file(place, "the data set", "data.input", files->items[i].path));
    }
    TRY(check_file(place, "the job file", "the job itself", job_path));
    if (job->data.chat_template != NULL) {
        TRY(check_file(place, "the chat template", "data.chat_template", job->data.chat_template));
    }
    return check_model(place, job->model.path);
}

/* The file of metrics, which is written at FILE.next first. */
static status check_metrics(const struct job *job, const char *job_path,
                            const struct input_files *files)
{
    struct place place;
    struct buffer next = {0};
    const char *path = job->output.metrics, *output = job->output.path;
    TRY(find_place("output.metrics", path, &place));
    place.has_journal = false;
    place.beside = ".next";
    status s = buffer_format(&next, "%s.next", path);
    if (s == STATUS_OK) {
        place.has_partial = stat(next.data, &place.partial) == 0;
        s = strcmp(path, output) == 0 ? refuse(&place, "", "the output", "output.path", output)
                                      : check_file(&place, "the output", "output.path", output);
    }
    buffer_destroy(&next);
    TRY(s);
    return check_place(&place, job, job_path, files);
}

status job_check_files(const struct job *job, const char *job_path)
{
    struct input_files files;
    TRY(input_files_resolve(job->data.input.items, job->data.input.count, &files));
    struct place place;
    status s = find_place("output.path", job->output.path, &place);
    if (s == STATUS_OK) {
        s = check_place(&place, job, job_path, &files);
    }
    if (s == STATUS_OK && job->output.metrics != NULL) {
        s = check_metrics(job, job_path, &files);
    }
    input_files_destroy(&files);
    return s;
}

status job_check_output(const char *option, const char *output, const char *model,
                        const char *input)
{
    struct place place;
    TRY(find_place(option, output, &place));
    if (input != NULL) {
        TRY(check_file(&place, "the input", "the command line", input));
    }
    return check_model(&place, model);
}
