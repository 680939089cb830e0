/* SPDX-License-Identifier: Apache-2.0 */
/* Files of a model directory by name and by their first bytes. */
#include "model/read/model_files.h"

#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* ---- Names ---- */

bool name_ends_with(const char *name, const char *end)
{
    size_t length = strlen(name), end_length = strlen(end);
    return length > end_length && strcmp(name + length - end_length, end) == 0;
}

static int compare_texts(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static status add_name(struct file_names *names, const char *name)
{
    void *items = names->items;
    TRY(array_grow(&items, &names->capacity, names->count + 1, sizeof *names->items));
    names->items = items;
    names->items[names->count] = strdup(name);
    if (names->items[names->count] == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the names of files");
    }
    names->count++;
    return STATUS_OK;
}

status file_names_read(const char *folder, const char *end, struct file_names *out)
{
    *out = (struct file_names){0};
    DIR *entries = opendir(folder);
    status s = STATUS_OK;
    for (struct dirent *entry; s == STATUS_OK && entries != NULL && (entry = readdir(entries));) {
        if (entry->d_name[0] != '.' && name_ends_with(entry->d_name, end)) {
            s = add_name(out, entry->d_name);
        }
    }
    if (entries != NULL) {
        closedir(entries);
    }
    if (out->count > 0) {
        qsort(out->items, out->count, sizeof *out->items, compare_texts);
    }
    return s;
}

void file_names_destroy(struct file_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        free(names->items[i]);
    }
    free(names->items);
    *names = (struct file_names){0};
}

/* Five digits, as every writer of parts pads them. */
static bool read_number(const char *text, int *out)
{
    *out = 0;
    for (int i = 0; i < 5; i++) {
        if (!isdigit((unsigned char)text[i])) {
            return false;
        }
        *out = 10 * *out + (text[i] - '0');
    }
    return true;
}

bool part_name_parse(const char *name, struct part_name *out)
{
    enum { TAIL = sizeof "-00001-of-00001" - 1 };
    const char *end = strrchr(name, '.');
    if (end == NULL || end - name <= TAIL) {
        return false;
    }
    const char *tail = end - TAIL;
    *out = (struct part_name){.stem = (size_t)(tail - name), .end = end};
    return tail[0] == '-' && read_number(tail + 1, &out->number) &&
           strncmp(tail + 6, "-of-", 4) == 0 && read_number(tail + 10, &out->count) &&
           out->number >= 1 && out->number <= out->count;
}

status part_name_write(const char *name, const struct part_name *part, int number,
                       struct buffer *out)
{
    return buffer_format(out, "%.*s-%05d-of-%05d%s", (int)part->stem, name, number, part->count,
                         part->end);
}

/* ---- First bytes ---- */

static bool begins(const char *text, size_t length, const char *with)
{
    return length >= strlen(with) && strncasecmp(text, with, strlen(with)) == 0;
}

status model_file_check(const char *path, const void *head, size_t length)
{
    static const struct {
        const char *begin, *is;
    } others[] = {
        {"version https://git-lfs.github.com/spec/",
         "a pointer of git-lfs in the file's place: git lfs pull fetches the file itself"},
        {"<!DOCTYPE html", "a page of HTML, not the file: download it again"},
        {"<html", "a page of HTML, not the file: download it again"},
        {"<?xml", "an answer in XML, not the file: download it again"},
        {"Access to model ", "the Hub's refusal in the file's place: ask for access and download "
                             "it again with a token"},
        {"Entry not found", "the Hub's refusal in the file's place: download it again"},
        {"Invalid username or password", "the Hub's refusal in the file's place: download it again "
                                         "with a token"},
        {"Repository not found", "the Hub's refusal in the file's place: download it again"},
    };
    const char *text = head;
    while (length > 0 && isspace((unsigned char)*text)) {
        text++;
        length--;
    }
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        if (begins(text, length, others[i].begin)) {
            return status_fail(STATUS_INVALID, "%s: %s", path, others[i].is);
        }
    }
    if (length >= 4 && memcmp(text, "PK\3\4", 4) == 0) {
        return status_fail(STATUS_INVALID,
                           "%s: a ZIP archive, as torch.save writes them (pickled weights); only "
                           "safetensors and GGUF are read",
                           path);
    }
    return STATUS_OK;
}

/* ---- Weights that are not read ---- */

static bool is_adapter(const char *folder)
{
    struct buffer path = {0};
    struct stat info;
    bool found =
        path_join(folder, "adapter_config.json", &path) == STATUS_OK && stat(path.data, &info) == 0;
    buffer_destroy(&path);
    return found;
}

static status refuse_adapter(const char *folder)
{
    return status_fail(STATUS_UNSUPPORTED,
                       "%s: adapter_config.json is there: an adapter (LoRA), not a whole model; "
                       "merge it into its base model (peft: merge_and_unload) and save that",
                       folder);
}

status model_name_other_folder(const char *folder)
{
    static const char *const ends[] = {".safetensors", ".bin", ".pt",  ".pth",
                                       ".ckpt",        ".h5",  ".json"};
    if (is_adapter(folder)) {
        return refuse_adapter(folder);
    }
    status s = STATUS_OK;
    for (size_t i = 0; s == STATUS_OK && i < COUNT_OF(ends); i++) {
        struct file_names names;
        s = file_names_read(folder, ends[i], &names);
        if (s == STATUS_OK && names.count > 0) {
            s = status_fail(
                STATUS_NOT_FOUND,
                "%s: there is no config.json, so this is not a whole model; %s is there", folder,
                names.items[0]);
        }
        file_names_destroy(&names);
    }
    return s != STATUS_OK
               ? s
               : status_fail(STATUS_NOT_FOUND, "%s: there is no config.json: not a model", folder);
}

status model_name_other_weights(const char *folder)
{
    static const struct {
        const char *end, *are;
    } forms[] = {
        {".bin", "pickled weights of PyTorch"},
        {".pt", "pickled weights of PyTorch"},
        {".pth", "pickled weights of PyTorch"},
        {".ckpt", "pickled weights of PyTorch"},
        {".gguf", "a GGUF file"},
        {".h5", "weights of TensorFlow"},
        {".msgpack", "weights of Flax"},
        {".onnx", "a model for ONNX"},
        {".npz", "weights in NumPy's form"},
        {".nemo", "an archive of NeMo"},
        {".engine", "a compiled engine of TensorRT"},
        {".safetensors", "an adapter, or another "
                         "part of a model"},
    };
    if (is_adapter(folder)) {
        return refuse_adapter(folder);
    }
    status s = STATUS_OK;
    for (size_t i = 0; s == STATUS_OK && i < COUNT_OF(forms); i++) {
        struct file_names names;
        s = file_names_read(folder, forms[i].end, &names);
        for (size_t j = 0; s == STATUS_OK && j < names.count; j++) {
            if (strcmp(names.items[j], "training_args.bin") == 0) {
                continue;
            }
            bool is_gguf = strcmp(forms[i].end, ".gguf") == 0;
            s = status_fail(STATUS_NOT_FOUND,
                            "%s: there are no weights that can be read: %s is there, %s; %s",
                            folder, names.items[j], forms[i].are,
                            is_gguf ? "name it in model.path"
                                    : "sluice reads *.safetensors and *.gguf alone: save the model "
                                      "again with safetensors");
        }
        file_names_destroy(&names);
    }
    return s != STATUS_OK
               ? s
               : status_fail(STATUS_NOT_FOUND,
                             "%s: there are no weights: no *.safetensors is there", folder);
}
