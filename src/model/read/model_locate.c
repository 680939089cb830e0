/* SPDX-License-Identifier: Apache-2.0 */
/* Where a model lies: model.path is a directory or a file of this machine, or a name that the local
 * cache of the Hugging Face Hub has.
 *
 * The cache's layout: huggingface_hub, "Understand caching": models--ORG--NAME/refs/main holds the
 * name of a folder under snapshots/. */
#include "model/read/model_files.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sluice/model.h"

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* "org/name", or the Hub's older names without "org/", of the letters that the Hub allows; what
 * ends like a file is meant as one. */
static bool is_hub_name(const char *path)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t org = strspn(path, allowed);
    size_t length = strlen(path), name = path[org] == '/' ? strspn(path + org + 1, allowed) : 0;
    bool whole = path[org] == '\0' || (name > 0 && name <= 96 && org + 1 + name == length);
    return whole && org > 0 && org <= 96 && path[0] != '.' && strstr(path, "..") == NULL &&
           !name_ends_with(path, ".gguf") && !name_ends_with(path, ".safetensors") &&
           !name_ends_with(path, ".json");
}

/* The cache's folder, as huggingface_hub finds it. */
static status find_cache(struct buffer *out)
{
    static const struct {
        const char *variable, *inside;
    } places[] = {
        {"HF_HUB_CACHE", ""},
        {"HUGGINGFACE_HUB_CACHE", ""},
        {"HF_HOME", "/hub"},
        {"XDG_CACHE_HOME", "/huggingface/hub"},
        {"HOME", "/.cache/huggingface/hub"},
    };
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        const char *value = getenv(places[i].variable);
        if (value != NULL && value[0] != '\0') {
            TRY(path_from_home(value, out));
            return buffer_append_text(out, places[i].inside);
        }
    }
    return buffer_append_text(out, ".cache/huggingface/hub");
}

/* The revision that refs/main names, where it is a plain folder name. */
static status read_main(const char *repository, struct buffer *revision)
{
    struct buffer path = {0};
    status s = buffer_format(&path, "%s/refs/main", repository);
    if (s == STATUS_OK) {
        s = file_read(path.data, 256, revision);
    }
    buffer_destroy(&path);
    if (s != STATUS_OK) {
        return s == STATUS_NO_MEMORY ? s : STATUS_OK;
    }
    size_t length = strspn(revision->data, "0123456789abcdefghijklmnopqrstuvwxyz-_");
    revision->length = length;
    revision->data[length] = '\0';
    return STATUS_OK;
}

/* The only snapshot, where refs/main is missing: a cache that was copied in part. */
static status find_only_snapshot(const char *repository, struct buffer *revision)
{
    struct buffer path = {0};
    status s = buffer_format(&path, "%s/snapshots", repository);
    DIR *folder = s == STATUS_OK ? opendir(path.data) : NULL;
    int found = 0;
    for (struct dirent *entry; s == STATUS_OK && folder != NULL && (entry = readdir(folder));) {
        if (entry->d_name[0] != '.' && ++found == 1) {
            s = buffer_append_text(revision, entry->d_name);
        }
    }
    if (found > 1) {
        buffer_clear(revision);
    }
    if (folder != NULL) {
        closedir(folder);
    }
    buffer_destroy(&path);
    return s;
}

static status refuse_name(const char *name, const char *cache, const char *repository)
{
    if (is_folder(repository)) {
        return status_fail(STATUS_NOT_FOUND,
                           "%s: the cache of the Hugging Face Hub has it in part: %s, without the "
                           "snapshot that its refs/main names, or without refs/main; name a folder "
                           "of its snapshots in model.path, or hf download %s",
                           name, repository, name);
    }
    return status_fail(STATUS_NOT_FOUND,
                       "%s: no directory or file of this machine, and not in the cache of the "
                       "Hugging Face Hub (%s); sluice downloads nothing: hf download %s "
                       "--local-dir DIR where there is a network, then model.path: DIR",
                       name, cache, name);
}

static status find_in_cache(const char *name, struct buffer *out)
{
    struct buffer cache = {0}, repository = {0}, revision = {0};
    const char *slash = strchr(name, '/');
    status s = find_cache(&cache);
    if (s == STATUS_OK) {
        s = slash == NULL ? buffer_format(&repository, "%s/models--%s", cache.data, name)
                          : buffer_format(&repository, "%s/models--%.*s--%s", cache.data,
                                          (int)(slash - name), name, slash + 1);
    }
    if (s == STATUS_OK) {
        s = read_main(repository.data, &revision);
    }
    if (s == STATUS_OK && revision.length == 0) {
        s = find_only_snapshot(repository.data, &revision);
    }
    if (s == STATUS_OK && revision.length > 0) {
        s = buffer_format(out, "%s/snapshots/%s", repository.data, revision.data);
    }
    if (s == STATUS_OK && (out->length == 0 || !is_folder(out->data))) {
        s = refuse_name(name, cache.data, repository.data);
    }
    buffer_destroy(&cache);
    buffer_destroy(&repository);
    buffer_destroy(&revision);
    return s;
}

/* The GGUF file of a folder that holds nothing else to load: one file, or the first part of one. */
static status find_gguf(const char *folder, struct buffer *out)
{
    struct file_names names;
    TRY(file_names_read(folder, ".gguf", &names));
    const char *chosen = NULL, *later = NULL;
    status s = STATUS_OK;
    for (size_t i = 0; s == STATUS_OK && i < names.count; i++) {
        struct part_name part;
        if (part_name_parse(names.items[i], &part) && part.number != 1) {
            later = names.items[i];
            continue;
        }
        if (strncmp(names.items[i], "mmproj", strlen("mmproj")) == 0) {
            continue; /* the eyes of a model beside it */
        }
        if (chosen != NULL) {
            s = status_fail(STATUS_INVALID,
                            "%s: several GGUF files are there, %s and %s among them; name one in "
                            "model.path",
                            folder, chosen, names.items[i]);
        }
        chosen = names.items[i];
    }
    if (s == STATUS_OK && chosen == NULL && later != NULL) {
        s = status_fail(STATUS_NOT_FOUND,
                        "%s: %s is there, a part of a split GGUF file, without the first part",
                        folder, later);
    }
    if (s == STATUS_OK && chosen != NULL) {
        s = path_join(folder, chosen, out);
    }
    file_names_destroy(&names);
    return s;
}

static status locate(const char *path, struct buffer *out)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        return is_hub_name(path) ? find_in_cache(path, out)
                                 : status_fail_errno(STATUS_NOT_FOUND, "%s", path);
    }
    if (S_ISDIR(info.st_mode)) {
        struct buffer config = {0};
        status s = path_join(path, "config.json", &config);
        bool has_config = s == STATUS_OK && stat(config.data, &info) == 0;
        buffer_destroy(&config);
        TRY(s);
        if (!has_config) {
            TRY(find_gguf(path, out));
        }
    }
    return out->length > 0 ? STATUS_OK : buffer_append_text(out, path);
}

status model_locate(const char *path, struct buffer *out)
{
    struct buffer place = {0};
    status s = path_from_home(path, &place);
    s = s != STATUS_OK ? s : locate(place.data, out);
    buffer_destroy(&place);
    return s;
}
